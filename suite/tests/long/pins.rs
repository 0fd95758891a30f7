//! Pins: what one run learned to be volatile goes into the profile as the report prints it, and the
//! next run judges alike and learns nothing new.

use crate::example::example;
use serde_json::Value as Json;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A clock in a register, a time that is written into guest memory, and bytes that are left out by hand.
const KINDS: &str = "device+clock+dma-timestamp";
const RANGE: &str = "volatile = [{ region = 0, offset = 0x8, size = 4 }]\n";
const REST: &str = r#"
wire = "vfio-user"

[scripts]
record = ["write 0:0x14/4=0x10000", "write 0:0x4/4=2", "write 0:0xc/4=1"]
"#;

#[test]
fn what_was_learned_can_be_pasted_into_the_profile() {
    let place = tempfile::Builder::new().prefix("pins-").tempdir().expect("a directory");
    let place = place.path();
    fs::copy(example("strangers"), place.join(KINDS)).expect("copied");
    let program = format!("program = \"./{KINDS}\"\n");

    let (said, first) = certified(place, &format!("{program}{RANGE}{REST}"));
    assert!(said.contains("differed between fresh instances"), "{said}");
    let begin = said.find("volatile = [\n").unwrap_or_else(|| panic!("nothing to paste in\n{said}"));
    let end = begin + said[begin..].find("\n]\n").expect("an end") + "\n]\n".len();
    let pasted = &said[begin..end];
    assert!(pasted.contains("  { region = 0, offset = 0x8, size = 4 },\n"), "{pasted}");
    assert!(pasted.contains("{ memory = ") && pasted.contains("{ region = 0, offset = 0x1"), "{pasted}");

    let (said, second) = certified(place, &format!("{program}{pasted}{REST}"));
    assert!(said.contains("all of it, by the profile; nothing new was learned"), "{said}");
    assert!(!said.contains("volatile = ["), "{said}");
    assert_eq!(outcomes(&first), outcomes(&second));
    let learned = second["learned"].as_array().expect("learned");
    // What was learned in two places, 8 bytes and 4 of them, is pinned once.
    let mut pins: Vec<&str> = learned.iter().filter_map(|entry| entry["pin"].as_str()).collect();
    pins.push("{ region = 0, offset = 0x8, size = 4 }");
    let mut elements: Vec<&str> = pasted.lines().filter_map(|line| line.trim().strip_suffix(',')).collect();
    pins.sort_unstable();
    elements.sort_unstable();
    assert_eq!(pins, elements);
    assert!(learned.iter().all(|entry| entry["pinned"] == true && entry["stale"] == false), "{learned:#?}");
}

#[test]
fn a_pin_that_no_guest_comes_to_is_stale() {
    let place = tempfile::Builder::new().prefix("pins-").tempdir().expect("a directory");
    let place = place.path();
    fs::copy(example("strangers"), place.join("device+plain")).expect("copied");
    let pins = "volatile = [{ interrupt = 77 }, { reply = \"no \\\"such\\\" step\", field = 1 }]\n";
    let (said, report) = certified(place, &format!("program = \"./device+plain\"\n{pins}{REST}"));
    assert!(said.contains("stale      interrupt 77: no guest of this run touched it"), "{said}");
    assert_eq!(report["verdict"], "pass");
    let excluded = report["excluded"].as_array().expect("excluded");
    let stale = excluded.iter().filter(|exclusion| exclusion["stale"] == true);
    assert_eq!(stale.count(), 2, "{excluded:#?}");
}

/// What is pinned counts: where it is more than a quarter of what is compared, nothing is certified.
#[test]
fn pins_of_everything_are_too_much() {
    let place = tempfile::Builder::new().prefix("pins-").tempdir().expect("a directory");
    let place = place.path();
    fs::copy(example("strangers"), place.join("device+plain")).expect("copied");
    let word = |at: u64| format!("{{ region = 0, offset = {at}, size = 4, bits = 0xffffffff }}, ");
    let pins: String = (0..0x40).step_by(4).map(word).collect();
    for pins in [pins, "{ region = 0, offset = 0, size = 0x40 }".to_owned()] {
        let profile = format!("program = \"./device+plain\"\nvolatile = [{pins}]\n{REST}");
        let (said, report) = certified(place, &profile);
        assert_eq!(report["verdict"], "incomplete", "{said}");
        assert!(said.contains("is volatile, more than one in 4"), "{said}");
    }
}

/// Each rule with its outcome, and the verdict.
fn outcomes(report: &Json) -> Vec<Json> {
    let rules = report["rules"].as_array().expect("rules");
    let outcomes = rules.iter().map(|rule| serde_json::json!([rule["id"], rule["outcome"]]));
    outcomes.chain([report["verdict"].clone()]).collect()
}

/// What a certification prints, and its report.
fn certified(place: &Path, profile: &str) -> (String, Json) {
    fs::write(place.join("device.toml"), profile).expect("written");
    let run = "certify device.toml --seed 1 --cases 10 -j 2 --report report";
    let output = Command::new(env!("CARGO_BIN_EXE_migcert")).args(run.split(' ')).current_dir(place).output();
    let output = output.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let file = fs::read(place.join("report/report.json"));
    let file =
        file.unwrap_or_else(|why| panic!("{why}\n{said}\n{}", String::from_utf8_lossy(&output.stderr)));
    (said, serde_json::from_slice(&file).expect("JSON"))
}
