//! A device program that is not ours, certified as its vendor would do it: it passes in both
//! releases, and with each of its faults it fails by the rule that the fault breaks.

use crate::example::example;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use tempfile::TempDir;

#[path = "../../examples/rtc/fault.rs"]
#[expect(dead_code, reason = "here, only the table counts")]
mod fault;

/// Faults that show between releases only.
const BY_PAIR: &[&str] = &["off-is-written", "version-drift"];
/// Requirements whose faults chance finds late, and how many cases they and others are given.
const LATE: &[&str] = &["R-1.4", "R-6.2"];
const LATE_CASES: &str = "200";
const CASES: &str = "60";
/// Faults that show where the guest does what a profile tells it.
const BY_SCRIPT: &[&str] = &["config-forgotten", "log-place-forgotten"];

#[test]
fn clean_releases_pass_and_migrate_to_each_other() {
    let place = place();
    let report = certify(&place, &["./rtc-2", "--to", "./rtc-1", "--cases", "40"], 0);
    assert_eq!(report["verdict"], "pass");
    assert_eq!(outcomes(&report, "unsettled"), BTreeSet::new());
}

#[test]
fn clean_releases_pass_by_a_profile() {
    let place = place();
    let report = certify(&place, &["rtc.toml", "--to", "rtc.toml@1", "--cases", "20"], 0);
    assert_eq!(report["verdict"], "pass");
    assert_eq!(outcomes(&report, "unsettled"), BTreeSet::new());
}

#[test]
fn every_fault_fails_by_its_rule() {
    let rows = fault::FAULTS.iter().filter(|row| !BY_SCRIPT.contains(&row.0));
    all_fail(rows.map(|row| (format!("./rtc-2+{}", row.0), *row)).collect());
}

#[test]
fn faults_fail_by_a_profile() {
    let rows = fault::FAULTS.iter().filter(|row| BY_SCRIPT.contains(&row.0) || PLAIN.contains(&row.0));
    all_fail(rows.map(|row| (format!("rtc.toml@2+{}", row.0), *row)).collect());
}

/// What a profile leaves out is said, and a waiver that nothing needs is a finding of the profile.
#[test]
fn what_a_profile_excludes_is_said() {
    let place = place();
    let profile = |text: &str| {
        let text = format!("program = \"./rtc-2\"\nwire = \"vfio-user\"\n{text}");
        fs::write(place.path().join("p.toml"), text).expect("written");
    };
    profile("never = [{ region = 0, offset = 0, size = 4 }]\nwaive = { \"R-7.1\" = \"so what\" }");
    let report = certify(&place, &["p.toml", "--only", "R-1.4,R-7.1", "--cases", "40"], 100);
    assert_eq!((&report["verdict"], &report["partial"]), (&"fail".into(), &true.into()));
    assert_eq!(outcomes(&report, "broken"), BTreeSet::new());
    assert_eq!(report["waivers"][0]["stale"], true);
    let excludes = |report: &Value, kinds: &[&str]| {
        let excluded = report["excluded"].as_array().expect("a list");
        for kind in kinds {
            assert!(excluded.iter().any(|excluded| excluded["kind"] == *kind), "{kind}: {excluded:#?}");
        }
    };
    excludes(&report, &["not-selected", "never", "waived", "not-applicable"]);
    // What a dozen cases don't show is not gone.
    let report = certify(&place, &["p.toml", "--only", "R-1.4,R-7.1", "--cases", "12"], 0);
    assert_eq!(report["waivers"][0]["stale"], false);
    excludes(&report, &["cases"]);
    // A rule that was not judged may need its waiver.
    profile("waive = { \"trouble-is-told\" = \"no host to fail\" }");
    let report = certify(&place, &["p.toml", "--only", "R-1.4,R-7.1", "--cases", "12"], 0);
    assert_eq!(report["waivers"][0]["stale"], false);
    profile("waive = { \"no-such-rule\" = \"no such rule\" }");
    assert_eq!(run(&place, &["p.toml"]).0, Some(2));
}

/// However a path is written, it is the same implementation, with the same cases and the same report.
#[test]
fn names_of_one_implementation_are_one_name() {
    let place = place();
    let report = |name: &str| certify(&place, &[name, "--only", "R-1.1,R-6.4", "--cases", "10"], 0);
    assert_eq!(report("rtc.toml@2"), report("././rtc.toml@2"));
    assert_eq!(report("rtc-2"), report("./rtc-2"));
}

/// A few of those that need no script.
const PLAIN: &[&str] = &["alarm-forgotten", "setup-ignored", "fresh-stopped"];

/// Certifies each by the rules of the requirement that its fault breaks.
#[track_caller]
fn all_fail(rows: Vec<(String, (&str, &str, &str))>) {
    let place = place();
    let wrong = Mutex::new(Vec::new());
    let rows = Mutex::new(rows.into_iter());
    let next = || rows.lock().expect("whole").next();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((program, (name, breaks, what))) = next() {
                    let cases = if LATE.contains(&breaks) { LATE_CASES } else { CASES };
                    let mut args = vec![&*program, "--only", breaks, "--cases", cases, "-j", "1"];
                    if BY_PAIR.contains(&name) {
                        args.extend(["--to", "./rtc-1"]);
                    }
                    let report = run(&place, &args);
                    let broken = report.1.as_ref().map(|report| outcomes(report, "broken"));
                    if report.0 != Some(100) || !broken.is_some_and(|broken| broken.contains(breaks)) {
                        let line = format!("{name}: {what}: {:?} {:?}", report.0, report.1);
                        wrong.lock().expect("whole").push(line);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("whole");
    assert!(wrong.is_empty(), "not found:\n{}", wrong.join("\n"));
}

/// A folder with the program under all its names, and its profile.
fn place() -> TempDir {
    let place = tempfile::tempdir().expect("a directory");
    let names = fault::FAULTS.iter().map(|row| format!("rtc-2+{}", row.0));
    for name in names.chain(["rtc-1".to_owned(), "rtc-2".to_owned()]) {
        symlink(example("rtc"), place.path().join(name)).expect("linked");
    }
    let profile = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/rtc/rtc.toml");
    fs::copy(profile, place.path().join("rtc.toml")).expect("copied");
    place
}

#[track_caller]
fn certify(place: &TempDir, args: &[&str], status: i32) -> Value {
    let (ended, report) = run(place, args);
    assert_eq!(ended, Some(status), "{report:#?}");
    report.expect("a report")
}

fn run(place: &TempDir, args: &[&str]) -> (Option<i32>, Option<Value>) {
    let run = Command::new(env!("CARGO_BIN_EXE_migcert"))
        .arg("certify")
        .args(args)
        .args(["--seed", "1", "--format", "json"])
        .current_dir(place.path())
        .output()
        .expect("migcert runs");
    (run.status.code(), serde_json::from_slice(&run.stdout).ok())
}

/// The requirements of the rules with an outcome.
fn outcomes(report: &Value, outcome: &str) -> BTreeSet<String> {
    let rules = report["rules"].as_array().expect("rules").iter();
    let rules = rules.filter(|rule| rule["outcome"] == outcome);
    rules.map(|rule| rule["requirement"].as_str().expect("a requirement").to_owned()).collect()
}
