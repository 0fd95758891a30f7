//! Nothing lost, nothing let in: by files and options.

use super::{Files, LIMITS, Row, USUAL, stranger};
use crate::example::write_program;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

const ENOUGH: &str = "too little is too little";
const PARTIAL: &str = "a partial run says so";
const EXCLUDED: &str = "what is excluded is said";
const WAIVERS: &str = "waivers are for rules that break";
const FILES: &str = "files are written where they should be";
const INPUTS: &str = "an input costs little";
const TIME: &str = "a limit of time is a limit";
const REASONS: &str = "not applicable has the true reason";
const OURS: &str = "a fault of our own is no finding";

const FAULTY: &str = "certify builtin:nic+pcihost-cfgaddr --seed 1 --cases 40 --only twin-after-load -j 1";

const fn row(
    point: &'static str,
    name: &'static str,
    make: fn(&Path),
    run: &'static str,
    status: i32,
) -> Row {
    Row::new(point, name, Files(make), run, status).gate()
}

/// An input that is refused, in few words.
const fn refused(name: &'static str, make: fn(&Path), run: &'static str) -> Row {
    row(INPUTS, name, make, run, 2).then(|_, said| {
        assert!(said.len() < 2000, "{} bytes were printed", said.len());
    })
}

const DEVICE: &str = "certify device.toml";
/// A waiver is judged by enough cases: a rule that builds on a waived one has only those that don't break it.
const WAIVED: &str =
    "certify device.toml --seed 1 --cases 40 -j 2 --only twin-after-load,twin-after-second,chunking";
const STARTS: &str = "certify device.toml --seed 1 --cases 10 -j 1 --only R-4,R-8";
const CASE: &str = "replay case.toml";
const TEN_SECONDS: &str = "certify device.toml --seed 1 --max-time 10s -j 1";

pub(super) const ROWS: &[Row] = &[
    refused("a_guest_for_another_device", |at| of_type(at, "net"), DEVICE).says(&["`net`"]).never(&["broken"]).long(),
    row(REASONS, "nothing_to_migrate", |at| profile_of(at, "not-migratable", ""), USUAL, 4)
        .says(&["can't be migrated"])
        .never(&["broken  "]),
    row(REASONS, "nobody_to_ask", |at| profile(at, DESCRIBED), STARTS, 0)
        .says(&["unsupported-is-refused", "the program can't be asked for what its profile does not describe"])
        .never(&["broken  "]),
    row(ENOUGH, "no_case", nothing, "certify builtin:nic+pcihost-cfgaddr --seed 1 --cases 0", 4),
    row(ENOUGH, "one_case", nothing, "certify builtin:nic --seed 1 --cases 1", 4),
    row(PARTIAL, "one_rule", nothing, "certify builtin:nic --seed 1 --only chunking", 0).says(&["partial"]),
    row(EXCLUDED, "everything_is_volatile", |place| profile(place, ALL_VOLATILE), USUAL, 4).says(&["volatile"]),
    row(EXCLUDED, "a_register_is_volatile", |place| profile(place, ONE_VOLATILE), USUAL, 0).says(&["volatile"]),
    row(EXCLUDED, "everything_is_never_touched", |place| profile(place, ALL_NEVER), USUAL, 4).long(),
    row(EXCLUDED, "a_waiver", |place| faulty_profile(place, "[waive]\n\"twin-after-load\" = \"known\"\n"), WAIVED, 0)
        .says(&["waived", "known"]),
    row(WAIVERS, "of_no_rule", |place| profile(place, "[waive]\n\"no-such-rule\" = \"why not\"\n"), DEVICE, 2)
        .says(&["no-such-rule"]),
    row(WAIVERS, "of_a_rule_that_holds", |place| profile(place, "[waive]\nchunking = \"why not\"\n"), WAIVED, 100)
        .never(&["\npass"]),
    row(TIME, "absurd", nothing, "certify builtin:nic --max-time 99999999999999999999h", 2),
    row(TIME, "overflowing", nothing, "certify builtin:nic --max-time 18446744073709551615s", 2),
    row(TIME, "nothing_is_answered", silent, "certify device.toml --seed 1 --max-time 4s -j 1", 4)
        .within(30)
        .long(),
    row(TIME, "answers_take_a_fifth_of_a_second", |place| stranger(place, "answers-in-200-ms"), TEN_SECONDS, 4)
        .within(15)
        .long(),
    row(TIME, "answers_take_a_second", |place| stranger(place, "answers-in-1000-ms"), TEN_SECONDS, 4).within(16).long(),
    row(TIME, "answers_take_nine_seconds", |place| stranger(place, "answers-in-9000-ms"), TEN_SECONDS, 4)
        .within(30)
        .long(),
    row(TIME, "findings_are_confirmed", slow_and_faulty, CONFIRMED, 100)
        .within(30)
        .long(),
    refused("scripts_that_double", |place| profile(place, &doubling()), DEVICE),
    refused("scripts_that_recurse", |place| profile(place, "[scripts]\na = [\"request a\"]\n"), DEVICE),
    refused("a_long_line", |place| case(place, &format!("damage = [\"{}\"]", "x".repeat(1 << 20))), CASE),
    refused("a_long_rule", |place| case(place, &format!("walk = [\"{}\"]", "\\u001b[31m".repeat(1 << 14))), CASE),
    row(INPUTS, "a_state_that_doubles", |place| case(place, &repeats()), CASE, 4)
        .says(&["adds more than"]),
    refused("three_points", |place| case(place, "at = [0, 1, 2]"), CASE),
    refused("a_setup_of_two_forms", |place| case_of(place, "", "version = \"1\"\n"), CASE),
    row(OURS, "a_case_without_a_parameter", case_without_a_parameter, CASE, 2),
    row(
        OURS,
        "too_few_descriptors",
        |place| stranger(place, "plain"),
        "sh ulimit -n 14; $M certify device.toml --seed 1 --cases 2; test $? != 100",
        0,
    )
    .never(&["broken  "])
    .long(),
    row(FILES, "programs_of_one_name", two_of_one_name, TWO, 100).then(every_case_is_there).long(),
    row(FILES, "a_report_through_a_link", report_is_a_link, "certify builtin:nic --seed 1 --only chunking --report r", 101)
        .says(&["pass (partial", "symbolic link"])
        .then(nothing_precious_is_lost),
    row(FILES, "a_case_through_a_link", case_is_a_link, FAULTY, 100).then(nothing_precious_is_lost),
    row(FILES, "no_place_for_cases", |place| fs::write(place.join("migcert-findings"), "").expect("written"), FAULTY, 100)
        .says(&["broken  twin-after-load", "format = 1"]),
    row(
        FILES,
        "a_blocked_write",
        |place| fifo(place, "out"),
        "sh sleep 60 < out & R=$!; (head -c 65536 /dev/zero; exec $M list faults) > out & sleep 1; kill -TERM $!; wait $!; S=$?; kill $R; wait $R; test $S = 143",
        0,
    )
    .within(30)
    .long(),
];

const ALL_VOLATILE: &str =
    "volatile = [{ region = 0, offset = 0, size = 0x40 }, { region = 7, offset = 0, size = 0x100 }]\n";
const ONE_VOLATILE: &str = "volatile = [{ region = 0, offset = 0x10, size = 4 }]\n";
const ALL_NEVER: &str =
    "never = [{ region = 0, offset = 0, size = 0x40 }, { region = 7, offset = 0, size = 0x100 }]\n";
const CONFIRMED: &str = "certify device.toml --seed 1 --only twin-after-load --max-time 10s -j 1";
const TWO: &str = "certify a/device --to b/device --seed 1 --cases 10 -j 1 --only twin-after-load";

/// What the program can be told by options, told by the profile.
const DESCRIBED: &str = r#"
args = ["--socket-path={socket}", "--m-words={param:words}"]
[info.models."example.org/stranger".params.words]
type = "int"
init_value = 4
allowed_values = [4, 8]
description = "how many words there are"
"#;

fn nothing(_: &Path) {}

/// A profile of the honest device, and more.
fn profile(place: &Path, more: &str) {
    profile_of(place, "plain", more);
}

fn faulty_profile(place: &Path, more: &str) {
    profile_of(place, "loses-words", more);
}

fn profile_of(place: &Path, kinds: &str, more: &str) {
    stranger(place, kinds);
    let limits = if more.contains("limits.") { "" } else { LIMITS };
    let text = format!("program = \"./device+{kinds}\"\nwire = \"vfio-user\"\n{limits}{more}");
    fs::write(place.join("device.toml"), text).expect("written");
}

/// A vhost-user program of some type, driven as if it were a file system.
fn of_type(place: &Path, kind: &str) {
    const PROFILE: &str = r#"
program = "./device"
args = ["--socket-path={socket}", "--shared-dir={shared}"]
wire = "vhost-user"
guest = "virtio-fs"
info.models."example.org/device".params = {}
"#;
    let script = format!("#!/bin/sh\necho '{{\"type\": \"{kind}\", \"features\": []}}'\n");
    write_program(&place.join("device"), &script);
    fs::write(place.join("device.toml"), PROFILE).expect("written");
}

fn silent(place: &Path) {
    profile_of(place, "never-answers", "limits.answer-ms = 3000\n");
}

fn slow_and_faulty(place: &Path) {
    const SLOW: &str = "args = [\"--delay-ms=20\"]\nlimits.answer-ms = 2000\n";
    profile_of(place, "loses-words", SLOW);
}

/// Sixty scripts, each of which plays the next one twice.
fn doubling() -> String {
    let line = |at: u32| format!("s{at} = [\"request s{0}\", \"request s{0}\"]\n", at + 1);
    let lines: String = (0..60).map(line).collect();
    format!("[scripts]\n{lines}s60 = [\"read 0:0x0/4\"]\n")
}

fn fifo(place: &Path, name: &str) {
    let made = Command::new("mkfifo").arg(place.join(name)).status();
    assert!(made.expect("mkfifo").success());
}

/// A state that is repeated into itself, forty times.
fn repeats() -> String {
    let damage = (0..40).map(|_| "\"repeat 0 4294967295\"").collect::<Vec<_>>().join(", ");
    format!("damage = [{damage}]")
}

const PARAMS: &str = "[setup.params]\ncompact-rings = true\nnum-queues = 2\nrx-filter-size = 0\n";

fn case(place: &Path, more: &str) {
    case_of(place, more, "");
}

fn case_without_a_parameter(place: &Path) {
    case(place, "");
    let path = place.join("case.toml");
    let text = fs::read_to_string(&path).expect("read").replace("num-queues = 2\n", "");
    fs::write(path, text).expect("written");
}

fn case_of(place: &Path, more: &str, setup: &str) {
    let setup = if setup.is_empty() { PARAMS.to_owned() } else { format!("[setup]\n{setup}{PARAMS}") };
    let text = format!(
        r#"format = 1
rule = "damage-is-consistent"
source = "builtin:nic"
destination = "builtin:nic"
model = "https://migcert.example/devices/nic"
script = ["write 0:0x8/4=0x5", "read 0:0x8/4"]
{more}

{setup}"#
    );
    fs::write(place.join("case.toml"), text).expect("written");
}

/// Two folders with programs of one file name; both are at fault.
fn two_of_one_name(place: &Path) {
    stranger(place, "loses-words");
    for folder in ["a", "b"] {
        fs::create_dir(place.join(folder)).expect("made");
        let script = "#!/bin/sh\nexec \"${0%/*}\"/../device+loses-words \"$@\"\n";
        write_program(&place.join(folder).join("device"), script);
    }
}

/// Every case that the report names is a file, and none is there twice.
fn every_case_is_there(place: &Path, said: &str) {
    let named =
        said.lines().filter_map(|line| line.split_once("migcert replay ").map(|(_, path)| path.trim()));
    let mut named: Vec<_> = named.collect();
    let all = named.len();
    named.sort_unstable();
    named.dedup();
    assert!(1 < all, "too few findings in\n{said}");
    assert_eq!(named.len(), all, "two findings have one file in\n{said}");
    for path in named {
        let path = path.trim_matches('\'');
        assert!(place.join(path).is_file(), "{path} is not there:\n{said}");
    }
}

const PRECIOUS: &str = "precious";

fn report_is_a_link(place: &Path) {
    fs::create_dir(place.join("r")).expect("made");
    fs::write(place.join(PRECIOUS), PRECIOUS).expect("written");
    for name in ["report.json", "report.txt", "report.part"] {
        symlink("../precious", place.join("r").join(name)).expect("linked");
    }
}

fn case_is_a_link(place: &Path) {
    fs::create_dir(place.join("migcert-findings")).expect("made");
    fs::write(place.join(PRECIOUS), PRECIOUS).expect("written");
    for ending in ["toml", "part"] {
        let case = format!("twin-after-load-nic+pcihost-cfgaddr.{ending}");
        symlink("../precious", place.join("migcert-findings").join(case)).expect("linked");
    }
}

fn nothing_precious_is_lost(place: &Path, _: &str) {
    assert_eq!(fs::read_to_string(place.join(PRECIOUS)).expect("read"), PRECIOUS);
}
