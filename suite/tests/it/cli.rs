//! The command line, as `corpus/cases/cli-*.toml` has it: files, arguments, output, exit status.
//!
//! `UPDATE_GOLDEN=1` writes what is printed now into the cases; read the difference.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What is promised.
    what: String,
    args: Vec<String>,
    status: i32,
    /// All of it.
    #[serde(default)]
    stdout: String,
    /// A part of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    stderr: String,
    /// Files that lie there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    files: BTreeMap<String, String>,
}

#[test]
fn the_command_line_is_as_its_cases_say() {
    let mut seen = BTreeMap::new();
    for path in cases() {
        let text = fs::read_to_string(&path).expect("readable");
        let mut case: Case = toml::from_str(&text).unwrap_or_else(|why| panic!("{path:?}: {why}"));
        let dir = tempfile::tempdir().expect("a directory");
        for (name, content) in &case.files {
            fs::write(dir.path().join(name), content).expect("written");
        }
        let run = Command::new(env!("CARGO_BIN_EXE_migcert"))
            .args(&case.args)
            .current_dir(dir.path())
            .env("NO_COLOR", "1")
            .env("CI", "1")
            .output()
            .expect("migcert runs");
        let (stdout, stderr) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        let status = run.status.code().expect("no signal");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            (case.stdout, case.status) = (stdout.into_owned(), status);
            fs::write(&path, toml::to_string(&case).expect("toml")).expect("written");
            continue;
        }
        assert_eq!(stdout, case.stdout, "{}: {}", path.display(), case.what);
        assert_eq!(status, case.status, "{}: {stderr}", path.display());
        assert!(stderr.contains(&case.stderr), "{}: {stderr}", path.display());
        *seen.entry(status).or_insert(0) += 1;
    }
    for status in [0, 2, 4, 100] {
        assert!(seen.contains_key(&status), "no case ends with {status}");
    }
}

fn cases() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/cases");
    let all = fs::read_dir(dir).expect("corpus/cases").map(|entry| entry.expect("readable").path());
    let name =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("cli-"));
    let mut all: Vec<_> = all.filter(name).collect();
    all.sort();
    assert!(!all.is_empty());
    all
}

#[test]
fn a_report_is_the_same_whatever_j_is() {
    let run = |jobs: &str| {
        let dir = tempfile::tempdir().expect("a directory");
        let run = Command::new(env!("CARGO_BIN_EXE_migcert"))
            .args(["certify", "builtin:nic+macio-regs", "--to", "builtin:nic@2", "--seed", "7"])
            .args(["--cases", "60", "--format", "json", "-j", jobs])
            .current_dir(dir.path())
            .output()
            .expect("migcert runs");
        assert_eq!(run.status.code(), Some(100));
        String::from_utf8(run.stdout).expect("text")
    };
    let one = run("1");
    assert_eq!(one, run("3"));
    assert_eq!(one, run("1"));
}

#[test]
fn parts_come_to_what_one_run_comes_to() {
    for (names, status) in [
        (&["builtin:nic"][..], 0),
        (&["builtin:nic+macio-regs", "--to", "builtin:nic@2"], 100),
        (&["builtin:blk+end-forgotten", "--only", "R-7.5,R-1.1"], 100),
        (&["builtin:nic+macio-regs", "--only", "R-1.4", "--known", "known"], 0),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let run = |args: &[&str]| {
            let run = Command::new(env!("CARGO_BIN_EXE_migcert"))
                .args(args)
                .args(["--format", "json"])
                .current_dir(dir.path())
                .output()
                .expect("migcert runs");
            (run.status.code(), String::from_utf8(run.stdout).expect("text"))
        };
        let certify =
            |more: &[&str]| run(&[&["certify", "--seed", "3", "--cases", "90"], names, more].concat());
        learn(dir.path(), "builtin:nic+macio-regs", &["--seed", "3", "--cases", "90"]);
        let whole = certify(&[]);
        for part in ["2/3", "1/3", "3/3"] {
            let (status, _) = certify(&["--shard", part, "--report", &part[..1]]);
            assert!(matches!(status, Some(4 | 100)), "no part passes: {status:?}");
        }
        let merged = run(&["merge", "3/report.json", "1/report.json", "2/report.json"]);
        assert_eq!(merged, whole, "{names:?}");
        assert_eq!(merged.0, Some(status), "{names:?}");
        assert_eq!(run(&["merge", "3/report.json", "1/report.json"]).0, Some(2), "a part is missing");
    }
}

#[test]
fn what_is_known_hides_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let args = ["--seed", "2", "--cases", "300"];
    learn(dir.path(), "builtin:nic+macio-regs", &args);
    let (status, said) = certify_knowing(dir.path(), "builtin:nic+macio-regs", &args);
    assert_eq!((status, said.contains("known      not counted")), (Some(0), true), "{said}");
    let (status, said) = certify_knowing(dir.path(), "builtin:nic+macio-regs+pcihost-cfgaddr", &args);
    assert_eq!((status, said.contains("known      not counted")), (Some(100), false), "{said}");
}

/// Certifies for one requirement, and puts into the folder `known` what is found, until nothing is.
fn learn(dir: &Path, name: &str, args: &[&str]) {
    let known = dir.join("known");
    fs::create_dir(&known).expect("a directory");
    for round in 0..10 {
        let report = format!("round-{round}");
        let (status, said) = certify_knowing(dir, name, &[args, &["--report", &report]].concat());
        if status == Some(0) {
            return;
        }
        assert_eq!(status, Some(100), "{said}");
        for case in fs::read_dir(dir.join(report).join("cases")).expect("cases") {
            let case = case.expect("a case").path();
            fs::copy(&case, known.join(format!("{round}.toml"))).expect("copied");
        }
    }
    panic!("there is always something new");
}

fn certify_knowing(dir: &Path, name: &str, args: &[&str]) -> (Option<i32>, String) {
    let args = [&["certify", name, "--only", "R-1.4", "--known", "known"], args].concat();
    let run = Command::new(env!("CARGO_BIN_EXE_migcert")).args(args).current_dir(dir).output();
    let run = run.expect("migcert runs");
    (run.status.code(), String::from_utf8_lossy(&run.stdout).into_owned())
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let run = |args: &[&str]| {
        let run = Command::new(env!("CARGO_BIN_EXE_migcert")).args(args).current_dir(dir.path()).output();
        let run = run.expect("migcert runs");
        (run.status.code(), String::from_utf8_lossy(&run.stderr).into_owned())
    };
    let part = |name: &str, seed: &str, shard: &str, to: &str, more: &[&str]| {
        let args = ["certify", to, "--only", "R-7.1", "--cases", "40", "--seed", seed, "--shard", shard];
        run(&[&args, more, &["--report", name]].concat());
        fs::read_to_string(dir.path().join(name).join("report.json")).expect("a report")
    };
    let first = part("first", "1", "1/2", "builtin:nic", &[]);
    part("second", "1", "2/2", "builtin:nic", &[]);
    part("seed", "2", "2/2", "builtin:nic", &[]);
    part("third", "1", "2/3", "builtin:nic", &[]);
    part("device", "1", "2/2", "builtin:blk", &[]);
    part("strict", "1", "2/2", "builtin:nic", &["--strict"]);
    fs::create_dir(dir.path().join("old")).expect("a directory");
    let old =
        first.replace(&format!("\"migcert\": \"{}\"", env!("CARGO_PKG_VERSION")), "\"migcert\": \"0.0.1\"");
    fs::write(dir.path().join("old/report.json"), old).expect("written");
    for (other, why) in [
        ("first", "part 1/2 is given twice"),
        ("seed", "another seed"),
        ("third", "another number of parts"),
        ("device", "other implementations"),
        ("strict", "another strictness"),
        ("old", "made by migcert 0.0.1"),
    ] {
        let (status, said) = run(&["merge", "first/report.json", &format!("{other}/report.json")]);
        assert_eq!(status, Some(2), "{other}: {said}");
        assert!(said.contains(why) && said.contains(other), "{said}");
    }
    let (status, said) = run(&["merge", "first/report.json"]);
    assert_eq!((status, said.contains("part 2/2 is missing")), (Some(2), true), "{said}");
    assert_eq!(run(&["merge", "first/report.json", "second/report.json"]).0, Some(0));
}

#[test]
fn parts_that_contradict_themselves_are_refused() {
    use serde_json::{Value, json};
    let dir = tempfile::tempdir().expect("a directory");
    let run = |args: &[&str]| {
        let run = Command::new(env!("CARGO_BIN_EXE_migcert")).args(args).current_dir(dir.path()).output();
        let run = run.expect("migcert runs");
        (run.status.code(), String::from_utf8_lossy(&run.stderr).into_owned())
    };
    let args = ["certify", "builtin:nic", "--only", "R-7.1", "--cases", "20", "--seed", "1"];
    assert_eq!(run(&[&args[..], &["--shard", "1/1", "--report", "."]].concat()).0, Some(4));
    let text = fs::read_to_string(dir.path().join("report.json")).expect("a report");
    let part: Value = serde_json::from_str(&text).expect("JSON");
    let unit = "/part/pieces/0/judged";
    for (place, value, why) in [
        ("/begun", json!(21), "more cases were begun than planned"),
        ("/judged", json!(21), "more cases were judged than begun"),
        ("/judged", json!(0), "it held, but no case was judged"),
        ("/begun", json!(20), "merges"),
        ("/skipped", json!({ "no reason": 1 }), "more cases were skipped"),
        ("/outcome", json!({ "not-applicable": "so" }), "not applicable, but cases were judged"),
        (
            "/outcome",
            json!({ "broken": { "summary": "a", "expected": "b", "observed": "c" } }),
            "it is broken, but has no case",
        ),
        ("/known", json!("x.toml"), "not among the known findings"),
        ("/waived", json!("why not"), "its waiver is not one of the implementations"),
        ("/counted/source/refused", json!(1), "more steps were refused than executed"),
        ("!/verdict", json!("pass"), "a part can't pass"),
        ("!/partial", json!(false), "contradict each other"),
        ("!/selected", json!(51), "contradict each other"),
    ] {
        let mut part = part.clone();
        let place = place.strip_prefix('!').map_or_else(|| format!("{unit}{place}"), str::to_owned);
        let (parent, member) = place.rsplit_once('/').expect("a member");
        let parent = part.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
        parent.insert(member.to_owned(), value);
        fs::write(dir.path().join("other.json"), part.to_string()).expect("written");
        let (status, said) = run(&["merge", "other.json"]);
        let expected = if why == "merges" { (Some(0), true) } else { (Some(2), said.contains(why)) };
        assert_eq!((status, expected.1), (expected.0, true), "{place}: {said}");
    }
}
