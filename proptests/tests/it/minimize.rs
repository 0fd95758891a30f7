//! The minimiser on the artifacts that `scripts/shrinking` gives to others as well.

mod artifact;

use crate::engine::bytes::Bytes;
use artifact::{Artifact, Measure, breaks, ours};
use migcert::case::Found;
use migcert::impls;
use migcert::minimize::{Bounds, Names, minimize};
use migcert::oracle::TARGETS;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Every third is made smaller twice, to see whether it comes out the same.
const TWICE: usize = 3;

#[test]
fn artifacts_stay_as_small_as_they_were() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/golden/minimised.txt");
    let mut text = String::new();
    let mut sizes = BTreeMap::new();
    for (at, Artifact { name, case }) in Artifact::all().expect("artifacts").into_iter().enumerate() {
        let small = ours(&case).case;
        assert!(breaks(&small) && small.rule == case.rule, "{name}: {}", small.to_toml(&Found::default()));
        assert_eq!(ours(&small).case, small, "{name} gets smaller still");
        if at % TWICE == 0 {
            assert_eq!(ours(&case).case, small, "{name} is another one each time");
        }
        let [before, after] = [&case, &small].map(Measure::of);
        text += &format!("{name}: {before} -> {after}\n");
        sizes.insert(name, [after.bytes, after.total()]);
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &text).expect("written");
    }
    let golden = fs::read_to_string(golden).expect("sizes");
    assert_eq!(golden.lines().count(), sizes.len());
    let is_larger = |line: &&str| {
        let (name, most) = read(line).expect("a name and its sizes");
        sizes[name].iter().zip(most).any(|(now, most)| most < *now)
    };
    let larger: Vec<_> = golden.lines().filter(is_larger).collect();
    assert!(larger.is_empty(), "larger than {larger:#?}, now:\n{text}");
}

/// The name in a line, and what its case was made smaller to: bytes, and all levels together.
fn read(line: &str) -> Option<(&str, [usize; 2])> {
    let (name, sizes) = line.split_once(": ")?;
    let (bytes, levels) = sizes.split_once("-> ")?.1.strip_suffix(')')?.split_once(" (")?;
    Some((
        name,
        [bytes.parse().ok()?, levels.split('+').filter_map(|level| level.parse::<usize>().ok()).sum()],
    ))
}

/// What a case is made smaller to is a case that could be drawn: a device that keeps its promises
/// keeps them there too.
#[test]
fn smaller_cases_accuse_nobody() {
    let mut tried = 0;
    for (target, cases) in [("check", 400), ("migrate", 400), ("damage", 100)] {
        let target = TARGETS.iter().find(|known| known.name == target).expect("a target");
        for_each(cases, |bytes| {
            let Some(case) = target.draw(bytes).map(|drawn| drawn.case) else { return };
            let [source, destination] =
                [&case.source, &case.destination].map(|name| impls::subject(name).expect("a builtin"));
            let bounds = Bounds { tries: 400, subjects: [&source, &destination], names: Names::Free };
            minimize(case, &bounds, &mut |case| {
                tried += 1;
                assert!(!breaks(case), "{}", case.to_toml(&Found::default()));
                // Half of them are kept, to see what is smaller still.
                tried % 2 == 0
            });
        });
    }
    assert!(10_000 < tried, "{tried}");
}

fn for_each(cases: u32, mut act: impl FnMut(&[u8])) {
    let config = Config { failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    for _ in 0..cases {
        act(&Bytes(1024).new_tree(&mut runner).expect("bytes").current());
    }
}
