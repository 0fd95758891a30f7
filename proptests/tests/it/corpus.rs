//! Everything that fuzzing began with or left behind, replayed on stable.

use migcert::bench::Bench;
use migcert::case::Case;
use migcert::finding::Outcome;
use migcert::impls;
use migcert::oracle::TARGETS;
use migcert::rules;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

#[test]
fn nothing_that_was_found_is_found_again() {
    let mut broken = Vec::new();
    for target in TARGETS {
        let inputs = inputs(target.name);
        assert!(!inputs.is_empty(), "no seeds for {}", target.name);
        for input in inputs {
            // A fuzzer that runs at the same time replaces its inputs by smaller ones.
            let Ok(bytes) = fs::read(&input) else { continue };
            if !matches!(catch_unwind(|| target.judge(&bytes)), Ok(outcome) if !is_broken(&outcome)) {
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
    let mut replayed: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    replayed.sort_unstable();
    assert_eq!(targets, replayed);
}

fn is_broken(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Broken(_))
}

/// Cases of findings, and what was found: `migcert replay` writes and tells them.
#[test]
fn every_case_is_as_it_was() {
    let cases = files(&root().join("corpus/cases"));
    let is_case = |path: &&PathBuf| !path.to_string_lossy().contains("/cli-");
    let mut count = 0;
    for path in cases.iter().filter(is_case) {
        let text = fs::read_to_string(path).expect("a case");
        let (case, found) = Case::from_toml(&text).expect("a case");
        let rule = rules::named(&case.rule).expect("a rule");
        let [source, destination] =
            [&case.source, &case.destination].map(|name| impls::subject(name).expect("a builtin"));
        let now = match rule.judge(&Bench::new(&case, &source, &destination)) {
            Outcome::Broken(finding) => Some(finding),
            _ => None,
        };
        assert_eq!(now, found.finding, "{path:?}");
        count += 1;
    }
    assert_ne!(count, 0);
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
