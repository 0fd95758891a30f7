//! What a device, a description, a file or an argument says can't write to a terminal, nor lines of
//! its own into a log: every command is run on texts that try, and the bytes that come out are
//! looked at.

use crate::example::write_program;
use migcert::case::Case;
use serde_json::{Value as Json, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// What a terminal or the log of a CI job takes for an order: escapes, a bell, backspaces, a C1
/// control, bidirectional overrides, a carriage return, an order that GitHub takes anywhere in a line.
const ORDERS: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{8}\u{8}\u{9b}2J\u{202e}\u{2066}\r##[error]owned";
/// The same with lines of its own.
const LINES: &str = "\n::error::owned\n::add-mask::a\u{2028}::error::b\u{85}::error::c\u{b}::error::d\0";
/// What breaks out of quotes of Rust, TOML, JSON and shells.
const QUOTES: &str = "\"'\\\"\"\"'''\"##}$(touch owned)`touch owned`{{}}\nCASE\n";

fn everything() -> String {
    format!("x{ORDERS}{LINES}{QUOTES}")
}

/// The same, for what is an argument of a program.
fn arguable() -> String {
    everything().replace('\0', "")
}

/// Migration info with such texts wherever text may stand.
fn info() -> Json {
    info_with(&everything())
}

/// The same, with this text in places that become arguments of a program.
fn info_with(text: &str) -> Json {
    let name: String =
        format!("p{ORDERS}{QUOTES}").chars().filter(|c| !c.is_whitespace() && !"=/".contains(*c)).collect();
    let value = text.replace('\n', " ");
    let version: String = value.chars().filter(|c| c.is_ascii() && !"\r\n".contains(*c)).collect();
    json!({ "models": {
        text: {
            "params": {
                &name: { "type": "str", "init_value": &value, "off_value": "", "allowed_values": [&value, ""],
                    "description": everything(), everything(): 1 },
                "n": { "type": "int", "init_value": 1, "allowed_values": [1, 2] },
            },
            "versions": { &version: { "n": 1 } },
            "latest": &version,
            "requires": [{ "if": { &name: [&value] }, "then": { "n": [1, 2] } }],
            everything(): 2,
        },
    }})
}

/// Lines of text that begin with words of ours, or JSON, or TOML; a line that is quoted has a bar
/// in front of it.
#[track_caller]
fn is_ours(output: &[u8], what: &str) {
    let text = str::from_utf8(output).unwrap_or_else(|why| panic!("{what}: {why}"));
    for line in text.split('\n') {
        let foreign = line.chars().find(|c| !migcert_core::text::is_plain(*c));
        assert_eq!(foreign, None, "{what}: {line:?}");
        let first = line.trim_start().chars().next().unwrap_or('-');
        assert!(first.is_ascii_alphanumeric() || "-#[]{}\"|/}$&".contains(first), "{what}: {line}");
        // A raw string of Rust may begin or end with such signs.
        assert!(!line.contains("##["), "{what}: {line}");
        assert!(!line.trim_start().starts_with("owned"), "{what}: {line}");
    }
}

struct Place(TempDir);

impl Place {
    /// A folder with descriptions, device programs, cases and reports, all of them hostile.
    fn new() -> Place {
        let place = Place(tempfile::tempdir().expect("a folder"));
        place.write("info.json", &info().to_string());
        place.write("served.json", &info_with(&arguable()).to_string());
        place.write(
            "r4.json",
            &json!({ "models": { everything(): { "versions": ["\u{1b}]0;x\u{7}::error::"] } } }).to_string(),
        );
        place.write(
            "bad.json",
            &json!({ "models": { everything(): { "params": { everything(): 1 } } } }).to_string(),
        );
        place.write("other.json", &json!({ "models": { "m": { "params": {} } } }).to_string());
        // A device that says so and serves, one that dies of it, one that refuses with it.
        let binary = env!("CARGO_BIN_EXE_migcert");
        let words = format!("printf '%b' '{}' >&2", octal(&everything()));
        let serve = format!(
            "{words}\nexec {binary} serve \"builtin:synthetic+fresh-stopped=$(cat \"$(dirname \"$0\")/served.json\")\" \"$@\""
        );
        place.program("serves", &serve);
        place.program(
            "dies",
            &format!(
                "case $1 in --print*) exec {binary} serve builtin:nic \"$@\";; esac\n{words}\nkill -SEGV $$"
            ),
        );
        place.program("refuses", &format!("{words}\nexit 1"));
        place.write("profile.toml", "program = './dies'\nwire = 'vfio-user'\n");
        place
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).expect("written");
    }

    fn program(&self, name: &str, script: &str) {
        write_program(&self.0.path().join(name), &format!("#!/bin/sh\n{script}\n"));
    }

    /// Runs a command, and looks at all that it prints. `TMPDIR` keeps what a shell would make.
    #[track_caller]
    fn run<S: AsRef<str>>(&self, args: &[S]) -> (Option<i32>, String) {
        let args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
        let run = Command::new(env!("CARGO_BIN_EXE_migcert")).args(&args).current_dir(self.0.path()).output();
        let run = run.expect("migcert runs");
        let what = format!("{args:?}");
        is_ours(&run.stdout, &what);
        is_ours(&run.stderr, &what);
        assert!(!run.stdout.is_empty() || !run.stderr.is_empty(), "{what} says something");
        (run.status.code(), String::from_utf8(run.stdout).expect("text"))
    }

    /// The same as text and as JSON, which is JSON.
    #[track_caller]
    fn both(&self, args: &[&str], status: i32) -> String {
        let (code, json) = self.run(&[args, &["--format", "json"]].concat());
        assert_eq!(code, Some(status), "{args:?}");
        serde_json::from_str::<Json>(&json).unwrap_or_else(|why| panic!("{args:?}: {why}"));
        let (code, text) = self.run(args);
        assert_eq!(code, Some(status), "{args:?}: {text}");
        text
    }
}

/// For `printf %b`.
fn octal(text: &str) -> String {
    text.bytes().map(|byte| format!("\\0{byte:03o}")).collect()
}

#[test]
fn descriptions() {
    let place = Place::new();
    let text = place.both(&["describe", "info.json"], 0);
    assert!(text.contains(r"\u{1b}[2J") && text.contains(r"\n::error::owned\n"), "{text}");
    place.both(&["describe", "r4.json"], 0);
    place.both(&["check", "info.json", "info.json"], 0);
    place.both(&["check", "info.json", "r4.json"], 100);
    place.both(&["check", "info.json", "other.json"], 100);
    assert_eq!(place.run(&["describe", "bad.json"]).0, Some(2));
    assert_eq!(place.run(&["check", "info.json", "info.json", "-c", &arguable()]).0, Some(2));
    assert_eq!(
        place.run(&["check", "info.json", "info.json", "-c", &format!("n={}", arguable())]).0,
        Some(2)
    );
    assert_eq!(place.run(&["check", "info.json", "other.json", "--model", &arguable()]).0, Some(2));
}

#[test]
fn programs_and_what_is_found_in_them() {
    let place = Place::new();
    place.both(&["describe", "./serves"], 0);
    assert_eq!(place.run(&["describe", "./refuses"]).0, Some(101));
    for (i, (name, rule)) in
        [("./serves", "fresh-runs"), ("./dies", "allowed-starts"), ("profile.toml", "R-8.3")]
            .into_iter()
            .enumerate()
    {
        let report = format!("report-{i}");
        let (code, text) =
            place.run(&["certify", name, "--only", rule, "--cases", "2", "--seed", "1", "--report", &report]);
        assert_eq!(code, Some(100), "{name}: {text}");
        for file in ["report.txt", "report.json"] {
            is_ours(&fs::read(place.0.path().join(&report).join(file)).expect("a report"), file);
        }
        for case in fs::read_dir(place.0.path().join(&report).join("cases")).expect("cases") {
            let case = case.expect("an entry").path();
            is_ours(&fs::read(&case).expect("a case"), "a case");
            all_of_a_case(&place, &case);
        }
    }
}

#[test]
fn devices_in_process() {
    let place = Place::new();
    let name = format!("builtin:synthetic+fresh-stopped={}", info());
    let (code, text) = place.run(&["certify", &name, "--cases", "3", "--seed", "1", "--report", "report"]);
    assert_eq!(code, Some(100), "{text}");
    let case = fs::read_dir(place.0.path().join("report/cases")).expect("cases").next();
    all_of_a_case(&place, &case.expect("a case").expect("an entry").path());
    assert_eq!(
        place.run(&["certify", &name, "--to", "builtin:nic", "--only", "R-7.1", "--cases", "2"]).0,
        Some(100)
    );
}

/// Everything that can be done with a case.
#[track_caller]
fn all_of_a_case(place: &Place, case: &Path) {
    let file = case.display().to_string();
    let text = place.both(&["replay", &file], 100);
    assert!(text.contains("still broken"), "{text}");
    place.both(&["replay", &file, "--times", "2", "--save", "saved"], 100);
    place.both(&["replay", "--all", case.parent().expect("a folder").to_str().expect("text")], 100);
    let (_, small) = place.run(&["minimize", &file, "--tries", "20"]);
    assert!(small.contains("format = 1"), "{small}");
    let (_, toml) = place.run(&["export", &file, "--toml"]);
    let of = |text: &str| Case::from_toml(text).expect("a case").0;
    let original = of(&fs::read_to_string(case).expect("a case"));
    assert_eq!(of(&toml), original);
    // A literal of Rust has what it was given.
    let (_, rust) = place.run(&["export", &file, "--rust"]);
    let (fence, literal) =
        rust.split_once("&str = r").and_then(|(_, raw)| raw.split_once('"')).expect("a literal");
    let literal = literal.split_once(&format!("\"{fence};")).expect("its end").0;
    assert_eq!(of(literal), original);
    // A script runs nothing but migcert, on the same case.
    let (_, script) = place.run(&["export", &file, "--sh"]);
    place.write("test.sh", &script);
    place.program("migcert", "cp \"$2\" script.toml");
    let run =
        Command::new("sh").arg("test.sh").current_dir(place.0.path()).env("MIGCERT", "./migcert").status();
    assert!(run.expect("sh runs").success());
    assert_eq!(of(&fs::read_to_string(place.0.path().join("script.toml")).expect("a case")), original);
    assert!(!place.0.path().join("owned").exists());
}

#[test]
fn names_of_files() {
    let place = Place::new();
    let name: String = format!("::error::{ORDERS}\n::error::").chars().filter(|c| *c != '\0').collect();
    let known = place.0.path().join("known");
    fs::create_dir(&known).expect("made");
    fs::write(known.join(format!("{name}.txt")), "").expect("written");
    assert_eq!(
        place.run(&["certify", "builtin:nic", "--only", "R-7.1", "--cases", "1", "--known", "known"]).0,
        Some(4)
    );
    fs::write(known.join(format!("{name}.toml")), "x").expect("written");
    fs::write(known.join(format!("crash-migrate-{name}")), "x").expect("written");
    assert_eq!(place.run(&["certify", "builtin:nic", "--known", "known"]).0, Some(2));
    place.both(&["replay", "--all", "known"], 4);
    for file in [format!("{name}.json"), format!("{name}.toml"), name.clone()] {
        place.write(&file, "x");
        for command in ["describe", "certify", "replay", "minimize"] {
            place.run(&[command, &file]);
        }
        place.run(&["check", &file, &file]);
        place.run(&["merge", &file]);
        place.run(&["export", &file, "--sh"]);
        place.run(&["coverage", "migrate", &file]);
        place.run(&["coverage", &file]);
        place.run(&["certify", "builtin:nic", "--only", "R-7.1", "--cases", "1", "--report", &file]);
        place.run(&["serve", &file, "--socket-path", &file]);
    }
}

#[test]
fn arguments() {
    let place = Place::new();
    let text = arguable();
    for args in [
        &[&text[..]][..],
        &["explain", &text],
        &["list", &text],
        &["list", "walks", "--options", &text],
        &["zoo", &text],
        &["zoo", "--seed", &text],
        &["describe", &text],
        &["describe", &format!("builtin:{text}")],
        &["describe", &format!("builtin:nic@{text}")],
        &["describe", &format!("builtin:nic+{text}")],
        &["describe", &format!("builtin:synthetic={text}")],
        &["describe", &format!("p.toml@{text}")],
        &["describe", "builtin:nic", "--format", &text],
        &["certify", "builtin:nic", "--only", &text],
        &["certify", "builtin:nic", "--seed", &text],
        &["certify", "builtin:nic", "--shard", &text],
        &["certify", "builtin:nic", "--max-time", &text],
        &["certify", "builtin:nic", &format!("--{text}")],
        &["coverage", "migrate", "--min-coverage", &text],
        &["coverage", "migrate", "--min-coverage", &format!("{text}=1")],
        &["replay", "info.json", "--target", &text],
    ] {
        let code = place.run(args).0;
        assert!(matches!(code, Some(2)), "{args:?}: {code:?}");
    }
    // A program that isn't there.
    for args in
        [&["describe", &format!("profile.toml={text}")][..], &["certify", "profile.toml", "--program", &text]]
    {
        assert_eq!(place.run(args).0, Some(101), "{args:?}");
    }
    for args in [
        &["serve", "builtin:nic", &text][..],
        &["serve", "builtin:nic", "--fd", &text],
        &["serve", "builtin:nic", &format!("--m-{text}=1")],
        &["serve", "builtin:nic", "--migration-model", &text],
        &["serve", "builtin:nic", "--migration-version", &text],
        &["serve", "builtin:nic", "--socket-path", "a", &format!("--m-num-queues={text}")],
    ] {
        let code = place.run(args).0;
        assert!(matches!(code, Some(1 | 2)), "{args:?}: {code:?}");
    }
    place.run(&["serve", &format!("builtin:synthetic={}", info()), "--print-migration-info-json"]);
}
