//! Everything that fuzzing began with or left behind, replayed on stable.

use migcert::hostile;
use migcert::rules::Outcome;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// What each fuzz target does with its bytes; it panics where they break a promise.
const TARGETS: &[(&str, Replay)] =
    &[("bytes", |bytes| holds(&hostile::bytes_are_understood_or_refused(bytes)))];

type Replay = fn(&[u8]);

fn holds(outcome: &Outcome) {
    if let Outcome::Broken(finding) = outcome {
        panic!("{finding:#?}");
    }
}

#[test]
fn nothing_that_was_found_is_found_again() {
    let mut broken = Vec::new();
    for (target, replay) in TARGETS {
        let inputs = inputs(target);
        assert!(!inputs.is_empty(), "no seeds for {target}");
        for input in inputs {
            // A fuzzer that runs at the same time replaces its inputs by smaller ones.
            let Ok(bytes) = fs::read(&input) else { continue };
            if catch_unwind(|| replay(&bytes)).is_err() {
                broken.push(input);
            }
        }
    }
    assert!(broken.is_empty(), "broken by {broken:#?}");
}

#[test]
fn every_target_is_replayed() {
    let mut targets: Vec<String> = stems(&root().join("fuzz/fuzz_targets"));
    targets.sort();
    let mut replayed: Vec<_> = TARGETS.iter().map(|row| row.0).collect();
    replayed.sort_unstable();
    assert_eq!(targets, replayed);
}

/// The seeds, and what a run on this machine left.
fn inputs(target: &str) -> Vec<PathBuf> {
    let folders = ["corpus/seeds", "fuzz/corpus", "fuzz/artifacts"];
    let mut inputs: Vec<_> =
        folders.iter().flat_map(|folder| files(&root().join(folder).join(target))).collect();
    inputs.sort();
    inputs
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return vec![] };
    entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file()).collect()
}

fn stems(folder: &Path) -> Vec<String> {
    let stem = |path: &PathBuf| path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
    files(folder).iter().filter_map(stem).collect()
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
