//! What others make of an artifact: the smallest case that still breaks its rule.

use crate::artifact::{Artifact, Measure, TRIES, breaks};
use crate::drawn::{bytes, dna, origin, runner};
use crate::tree::Tree;
use migcert::case::Case;
use migcert::entry;
use proptest::strategy::{Strategy, ValueTree};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Executions of libFuzzer after which it takes a case for the smallest.
const RUNS: u32 = 100_000;

/// `-minimize_crash=1`, which ends when so many executions find nothing smaller, or at the limit.
pub(crate) fn libfuzzer(artifact: &Artifact, program: &Path, limit: Duration) -> Option<Case> {
    let place = tempfile::tempdir().expect("a place for its artifacts");
    let first = place.path().join("crash");
    fs::write(&first, entry::encode(&artifact.case)?).expect("an entry is written");
    let mut command = Command::new("timeout");
    command.arg(limit.as_secs().to_string()).arg(program).env("MIGCERT_RULE", &artifact.case.rule);
    command.env("RUST_BACKTRACE", "0");
    command.args(["-minimize_crash=1", "-seed=1", "-rss_limit_mb=2048", "-timeout=20"]);
    command.args([format!("-runs={RUNS}"), format!("-max_total_time={}", limit.as_secs())]);
    command.arg("crash").current_dir(place.path()).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("the fuzz program runs");
    let files =
        fs::read_dir(place.path()).expect("a folder").filter_map(|file| fs::read(file.ok()?.path()).ok());
    let cases = files.filter_map(|bytes| entry::decode(&bytes).ok());
    let still = cases.filter(|case| case.rule == artifact.case.rule && breaks(case));
    still.min_by_key(|case| Measure::of(case).bytes)
}

/// The better of two: bytes as proptest makes vectors smaller, and as our own properties have them
/// made smaller. `None` where its bytes mean another case by now.
pub(crate) fn proptest(artifact: &Artifact) -> Option<Case> {
    let (planted, seed) = origin(artifact)?;
    let dna = dna(seed);
    if planted.case(&dna)? != artifact.case {
        return None;
    }
    let still = |dna: &[u8]| planted.case(dna).filter(|case| case.rule == artifact.case.rule && breaks(case));
    let mut vectors = bytes().new_tree(&mut runner(seed)).expect("bytes");
    let smallest = [shrunk(&mut vectors, still), shrunk(&mut Tree::of(dna), still)];
    smallest.into_iter().flatten().min_by_key(|case| Measure::of(case).bytes)
}

/// What proptest does with a value that fails.
fn shrunk<T: ValueTree<Value = Vec<u8>>>(
    tree: &mut T,
    still: impl Fn(&[u8]) -> Option<Case>,
) -> Option<Case> {
    let mut best = still(&tree.current());
    let mut more = tree.simplify();
    for _ in 0..TRIES {
        if !more {
            break;
        }
        more = match still(&tree.current()) {
            Some(case) => {
                best = Some(case);
                tree.simplify()
            }
            None => tree.complicate(),
        };
    }
    best
}
