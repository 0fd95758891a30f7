//! From a crash to a test: what a maintainer does with a file of a finding.

use crate::example::{example, write_program};
use migcert::certify::{Budget, Job, certify};
use migcert::finding::Outcome;
use migcert::parallel::Threads;
use migcert::rules;
use migcert::{case::Case, impls, known::Known};
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use tempfile::TempDir;

const CASE: &str = r#"
format = 1
rule = "twin-after-load"
source = "builtin:nic+pcihost-cfgaddr"
destination = "builtin:nic+pcihost-cfgaddr"
model = "https://migcert.example/devices/nic"
script = ["read 0:0x0/4", "write 0:0x10/4=0x3", "pass 7", "read 0:0x10/4"]
at = [2, 3]

[setup.params]
compact-rings = false
num-queues = 2
rx-filter-size = 16
"#;

#[test]
fn a_smaller_case_breaks_the_same_rule_and_gets_no_smaller() {
    let place = with(CASE);
    assert_eq!(ran(&place, "minimize a.toml -o b.toml").1, 100);
    assert_eq!(ran(&place, "minimize b.toml -o c.toml").1, 100);
    let [b, c] = ["b.toml", "c.toml"].map(|name| fs::read_to_string(place.path().join(name)).expect("text"));
    assert_eq!(b, c);
    let (small, found) = Case::from_toml(&b).expect("a case");
    assert_eq!((small.rule.as_str(), small.script.len()), ("twin-after-load", 2));
    assert!(found.finding.is_some());
    assert_eq!(ran(&place, "replay b.toml").1, 100);
}

#[test]
fn what_is_fixed_is_pruned() {
    let place = with(CASE);
    fs::write(place.path().join("b.toml"), CASE.replace("+pcihost-cfgaddr", "")).expect("written");
    assert_eq!(ran(&place, "replay --all . --prune").1, 100);
    assert!(place.path().join("a.toml").exists() && !place.path().join("b.toml").exists());
}

#[test]
fn a_test_in_rust_fails_as_the_case_does() {
    let place = with(CASE);
    assert_eq!(ran(&place, "export a.toml --rust -o test.rs").1, 0);
    let built = libraries().into_iter().any(|library| {
        let mut with = std::ffi::OsString::from("migcert=");
        with.push(&library);
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        rustc.args(["--edition", "2024", "--test", "test.rs", "-o", "a-test", "--extern"]).arg(with);
        rustc.arg("-L").arg(library.parent().expect("a folder")).current_dir(place.path());
        rustc.output().expect("rustc runs").status.success()
    });
    assert!(built, "builds with none of {:?}", libraries());
    let run = Command::new(place.path().join("a-test")).output().expect("it runs");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(!run.status.success() && said.contains("step 4: the guest reads INDEX"), "{said}");
}

/// The library, as `cargo test` built it, the newest first: old ones may lie beside it.
fn libraries() -> Vec<PathBuf> {
    let tests = std::env::current_exe().expect("a path");
    let beside = fs::read_dir(tests.parent().expect("a folder")).expect("a folder");
    let is_library = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libmigcert-") && name.ends_with(".rlib")
    };
    let mut all: Vec<_> = beside.map(|entry| entry.expect("an entry").path()).filter(is_library).collect();
    all.sort_by_key(|path| std::cmp::Reverse(path.metadata().and_then(|of| of.modified()).ok()));
    all
}

#[test]
fn a_shell_script_ends_as_the_case_does() {
    let place = with(CASE);
    for (case, status) in [(CASE.to_owned(), 100), (CASE.replace("+pcihost-cfgaddr", ""), 0)] {
        fs::write(place.path().join("a.toml"), case).expect("written");
        assert_eq!(ran(&place, "export a.toml --sh -o test.sh").1, 0);
        let mut sh = Command::new("sh");
        sh.arg("test.sh").current_dir(place.path()).env("MIGCERT", env!("CARGO_BIN_EXE_migcert"));
        assert_eq!(sh.output().expect("sh runs").status.code(), Some(status));
    }
}

#[test]
fn what_a_property_keeps_is_replayed() {
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("bytes.txt").display().to_string();
    let kept = FileFailurePersistence::Direct(file.leak());
    let config = Config { failure_persistence: Some(Box::new(kept)), ..Config::default() };
    let failed = TestRunner::new(config).run(&vec(any::<u8>(), 0..99), |bytes| {
        if bytes.len() < 7 { Ok(()) } else { Err(TestCaseError::fail("planted")) }
    });
    assert!(failed.is_err());
    let (told, status) = ran(&place, "replay bytes.txt");
    assert!(status == 0 && told.starts_with("replay  bytes.txt\ninput   7 bytes for `bytes`"), "{told}");
}

/// A program that is faulty in its first processes only, and then another binary.
#[test]
fn a_flaky_finding_says_its_rate_and_another_binary_is_noticed() {
    let place = tempfile::tempdir().expect("a directory");
    for name in ["rtc-2", "rtc-2+fresh-stopped"] {
        symlink(example("rtc"), place.path().join(name)).expect("linked");
    }
    device(&place, "");
    faulty(&place, 1_000_000);
    // Its instances count together, wherever the directory lies.
    let profile = "program = \"./dev\"\nwire = \"vfio-user\"\nshared = [\"left\"]\n";
    fs::write(place.path().join("dev.toml"), profile).expect("written");
    let dev = "certify dev.toml --only fresh-runs --seed 1 --cases 40 -j 1 --report r";
    let (told, status) = ran(&place, dev);
    assert_eq!(status, 100, "{told}");
    let file = "r/cases/fresh-runs-dev.toml";
    assert!(fs::read_to_string(place.path().join(file)).expect("a case").contains("[sha256]"));

    faulty(&place, 1_000_000);
    let (told, status) = ran(&place, &format!("replay {file}"));
    assert!(status == 100 && !told.contains("another binary"), "{told}");
    let each = 1_000_000 - left(&place);
    faulty(&place, each);
    let (told, status) = ran(&place, &format!("replay {file} --times 3"));
    assert!(status == 100 && told.contains("broken in 1 of 3: flaky"), "{told}");

    device(&place, "# another");
    faulty(&place, 1_000_000);
    let (told, _) = ran(&place, &format!("replay {file}"));
    assert!(told.contains("note: `dev.toml` is another binary: found in sha256 "), "{told}");
}

/// A device program that counts its instances down, one at a time, and is faulty until there are none
/// left.
fn device(place: &TempDir, more: &str) {
    let script = format!(
        "#!/bin/sh\n{more}\ncd {}\ncase \"$1\" in --print*) exec ./rtc-2 \"$@\" ;; esac\n\
         exec 9<left\nflock 9\nleft=$(cat left)\ntest \"$left\" = 0 || echo $((left - 1)) >left\nexec 9<&-\n\
         test \"$left\" = 0 && exec ./rtc-2 \"$@\"\nexec ./rtc-2+fresh-stopped \"$@\"\n",
        place.path().display()
    );
    write_program(&place.path().join("dev"), &script);
}

fn faulty(place: &TempDir, instances: u32) {
    fs::write(place.path().join("left"), instances.to_string()).expect("written");
}

fn left(place: &TempDir) -> u32 {
    let left = fs::read_to_string(place.path().join("left")).expect("a number");
    left.trim().parse().expect("a number")
}

#[test]
fn certify_says_how_often_a_flaky_finding_was_confirmed() {
    let name = "builtin:nic+pcihost-cfgaddr";
    let opened = AtomicU32::new(0);
    let open = |name: &str| impls::subject(name).map_err(|why| why.to_string());
    // Two subjects for each confirmation: those of the first are faulty.
    let reopen = |name: &str| {
        let is_first = opened.fetch_add(1, Relaxed) < 2;
        open(if is_first { name } else { "builtin:nic" })
    };
    let subjects = [open(name).expect("a builtin")];
    let rules = vec![rules::named("twin-after-load").expect("a rule")];
    let job = Job {
        subjects: &subjects,
        rules,
        seed: 1,
        cases: 1000,
        shrinks: 0,
        threads: Threads::exactly(1),
        fit: None,
        budget: Budget::unlimited(),
        known: &Known::default(),
        reuse: false,
        reopen: &reopen,
    };
    let units = certify(&job, &|_| ());
    let Outcome::Unsettled(why) = &units[0].outcome else { panic!("{:?}", units[0].outcome) };
    assert!(units[0].is_flaky());
    assert!(why.ends_with("broken in 1 of 5 on fresh instances, flaky: held otherwise"), "{why}");
}

fn with(case: &str) -> TempDir {
    let place = tempfile::tempdir().expect("a directory");
    fs::write(place.path().join("a.toml"), case).expect("written");
    place
}

/// What it prints and its exit status.
fn ran(place: &TempDir, args: &str) -> (String, i32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_migcert"));
    command.args(args.split(' ')).current_dir(place.path()).env("CI", "1");
    let Output { status, stdout, stderr } = command.output().expect("migcert runs");
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    (said, status.code().expect("no signal"))
}
