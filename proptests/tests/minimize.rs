//! The minimiser against that of proptest, from the same failures: it makes them at least as small.

#[path = "engine/bytes.rs"]
mod bytes;

use bytes::Bytes;
use migcert::case::Case;
use migcert::certify::judge;
use migcert::devices::engine;
use migcert::impls;
use migcert::minimize::{Bounds, Names, Size, minimize};
use migcert::oracle::TARGETS;
use migcert::rules::{Outcome, named};
use migcert_core::program::Manifest;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// So many failures, of as many faults as there are.
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
    let manifest = Manifest::default();
    let bounds = Bounds { tries: TRIES, manifest: &manifest, names: Names::Free };
    let began = Instant::now();
    let small = minimize(first.clone(), &bounds, &mut breaks);
    let took = began.elapsed();
    assert!(breaks(&small.case) && small.case.rule == first.rule);
    let [first, theirs, ours] = [&first, &theirs, &small.case]
        .map(|case| Size::of(case, &manifest).levels().iter().map(|(_, size)| size).sum::<usize>());
    let what = format!(
        "{target:<8} {fault:<26} {:<24} {first:>4} proptest {theirs:>3} in {theirs_took:>7.0?}, ours {ours:>3} in {took:>7.0?}, {:>5} tries",
        small.case.rule, small.tries
    );
    Some(Row { what, theirs, ours, took })
}

/// The case that bytes mean, with a fault planted in both of its synthetic devices.
fn planted(target: &str, fault: &str, bytes: &[u8]) -> Option<Case> {
    let target = TARGETS.iter().find(|known| known.name == target).expect("a target");
    let mut case = (target.drawn)(bytes)?.case;
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
