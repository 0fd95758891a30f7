//! The minimiser against that of proptest, from the same failures: it makes them at least as small.

#[path = "engine/bytes.rs"]
mod bytes;

use bytes::Bytes;
use migcert::case::{Case, Found};
use migcert::certify::judge;
use migcert::devices::engine;
use migcert::impls;
use migcert::minimize::{Bounds, Names, Size, minimize};
use migcert::oracle::TARGETS;
use migcert::rules::{Outcome, named};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// So many failures, of faults of the engine.
const FAILURES: usize = 30;
/// Both may try so many smaller ones for each.
const TRIES: u32 = 20_000;

#[test]
fn cases_get_as_small_as_bytes_do() {
    let mut rows = Vec::new();
    for (target, fault) in
        ["migrate", "damage"].iter().flat_map(|t| engine::faults::ALL.iter().map(move |f| (t, f)))
    {
        if rows.len() < FAILURES {
            rows.extend(row(target, fault.id));
        }
    }
    let table: Vec<String> = rows.iter().map(|row| row.what.clone()).collect();
    println!("{}", table.join("\n"));
    assert_eq!(rows.len(), FAILURES, "{}", table.join("\n"));
    let larger: Vec<_> = rows.iter().filter(|row| row.theirs < row.ours).map(|row| &row.what).collect();
    assert!(larger.is_empty(), "{larger:#?}");
    assert!(rows.iter().all(|row| row.took < Duration::from_secs(30)));
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

/// What became of one failure: sizes of all levels together.
struct Row {
    what: String,
    theirs: usize,
    ours: usize,
    took: Duration,
}

fn row(target: &str, fault: &str) -> Option<Row> {
    let first = RefCell::new(None::<Case>);
    let config =
        Config { cases: 3_000, max_shrink_iters: TRIES, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let began = Instant::now();
    let failed = runner.run(&Bytes(1024), |bytes| {
        let Some(case) = planted(target, fault, &bytes) else { return Ok(()) };
        let is_other = first.borrow().as_ref().is_some_and(|first| first.rule != case.rule);
        if is_other || !breaks(&case) {
            return Ok(());
        }
        first.borrow_mut().get_or_insert(case);
        Err(TestCaseError::fail("planted"))
    });
    let theirs_took = began.elapsed();
    let Err(TestError::Fail(_, bytes)) = failed else { return None };
    let (first, theirs) = (first.into_inner()?, planted(target, fault, &bytes)?);
    let [source, destination] =
        [&first.source, &first.destination].map(|name| impls::subject(name).expect("a builtin"));
    let bounds = Bounds { tries: TRIES, subjects: [&source, &destination], names: Names::Free };
    let began = Instant::now();
    let small = minimize(first.clone(), &bounds, &mut breaks);
    let took = began.elapsed();
    assert!(breaks(&small.case) && small.case.rule == first.rule);
    let [first, theirs, ours] = [&first, &theirs, &small.case]
        .map(|case| Size::of(case, &bounds).levels().iter().map(|(_, size)| size).sum::<usize>());
    let what = format!(
        "{target:<8} {fault:<26} {:<24} {first:>4} proptest {theirs:>3} in {theirs_took:>7.0?}, ours {ours:>3} in {took:>7.0?}, {:>5} tries",
        small.case.rule, small.tries
    );
    Some(Row { what, theirs, ours, took })
}

/// The case that bytes mean, with a fault planted in both of its synthetic devices.
fn planted(target: &str, fault: &str, bytes: &[u8]) -> Option<Case> {
    let target = TARGETS.iter().find(|known| known.name == target).expect("a target");
    let mut case = target.draw(bytes)?.case;
    for name in [&mut case.source, &mut case.destination] {
        let info = name.strip_prefix("builtin:synthetic=")?;
        *name = format!("builtin:synthetic+{fault}={info}");
    }
    Some(case)
}

fn breaks(case: &Case) -> bool {
    let (Ok(source), Ok(destination)) = (impls::subject(&case.source), impls::subject(&case.destination))
    else {
        return false;
    };
    let rule = named(&case.rule).expect("a rule");
    matches!(judge(rule, case, &source, &destination), Outcome::Broken(_))
}
