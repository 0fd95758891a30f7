//! Certificates are read as they were written, and have the shape that their schema says.

use super::*;
use crate::certify::{self, Budget, Job};
use crate::finding::Outcome;
use crate::impls;
use crate::known::Known;
use crate::parallel::Threads;
use crate::report;
use crate::subject::Subject;
use std::fs;
use std::path::Path;

/// The shape of a certificate, for those who read it.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/certify-1.schema.json");
/// Cases of each rule.
const CASES: u32 = 20;

/// A certification of these implementations with a few cases, or the only part of it.
fn evidence(names: &[&str], is_part: bool) -> Evidence {
    let open = |name: &str| impls::subject(name).map_err(|why| why.to_string());
    let subjects: Vec<Subject> = names.iter().map(|name| open(name).expect("a builtin")).collect();
    let (known, asked) = (Known::default(), Asked::all(CASES));
    let job = Job {
        subjects: &subjects,
        rules: rules::ALL.to_vec(),
        seed: 1,
        cases: CASES,
        shrinks: 10,
        threads: Threads::exactly(1),
        fit: None,
        budget: Budget::unlimited(),
        known: &known,
        reuse: false,
        reopen: &open,
    };
    let infos: Vec<_> = subjects.iter().map(|subject| SubjectInfo::of(subject, Vec::new())).collect();
    let shard: Shard = "1/1".parse().expect("a shard");
    let pieces = if is_part {
        certify::run_share(&job, shard, &|_| ()).pieces
    } else {
        certify::run(&job, &|_| ()).pieces
    };
    let part = is_part.then(|| PartOf { shard, cases: CASES, known: Vec::new() });
    Evidence { seed: 1, asked, subjects: infos, pieces, self_test: SelfTest::cut(), cost: None, part }
}

/// Concludes it; every second finding has a file.
fn concluded(names: &[&str], is_part: bool) -> Certificate {
    let mut count = 0;
    Certificate::conclude(evidence(names, is_part), &mut |result, _| {
        count += 1;
        let case_text = result.case.as_ref()?.to_toml(&crate::case::Found::default());
        let is_written = count % 2 == 1;
        let written = CaseFile::Written { case: format!("cases/{count}.toml") };
        Some(if is_written { written } else { CaseFile::Unwritten { case_text, case_error: "full".into() } })
    })
}

#[test]
fn a_certificate_is_read_as_it_was_written() {
    for (names, is_part, has_findings) in [
        (&["builtin:nic+macio-regs"][..], false, true),
        (&["builtin:nic@2", "builtin:nic+off-drift"], false, true),
        (&["builtin:counter"], false, false),
        (&["builtin:nic+fresh-stopped"], true, true),
    ] {
        let certificate = concluded(names, is_part);
        let json = report::json(&certificate);
        let read = Certificate::from_json(json.to_string().as_bytes()).expect("a certificate");
        assert_eq!(report::json(&read), json);
        assert_eq!(report::text(&read), report::text(&certificate));
        let finds = read.rules.iter().any(|rule| !rule.findings.is_empty());
        assert_eq!((finds, read.part.is_some()), (has_findings, is_part), "{names:?}");
    }
}

#[test]
fn a_newer_schema_is_refused_with_both_numbers() {
    let json = report::json(&concluded(&["builtin:null"], false)).to_string();
    let refused = |schema: &str| {
        let json = json.replace("migcert/certify/1", schema);
        Certificate::from_json(json.as_bytes()).expect_err("refused").to_string()
    };
    let why = refused("migcert/certify/12");
    assert!(why.contains("migcert/certify/12") && why.contains("reads migcert/certify/1:"), "{why}");
    assert!(refused("migcert/check/1").contains("`migcert/check/1`"));
}

#[test]
fn after_a_run_only_blame_and_enough_change_outcomes() {
    let evidence = evidence(&["builtin:nic+macio-regs"], false);
    let judged: Vec<Outcome> = evidence.pieces.iter().map(|piece| piece.judged.outcome.clone()).collect();
    let caveats = Caveats::of([]);
    let results = enough(blame(evidence.pieces.clone(), &caveats), &caveats);
    let certificate = Certificate::conclude(evidence, &mut |_, _| None);
    for (result, was) in results.iter().zip(&judged) {
        let report = certificate.rules.iter().find(|report| report.rule.id == result.rule.id);
        let report = report.expect("the rule");
        assert_eq!(report.outcome, OutcomeName::from(&result.outcome), "{}: was {was:?}", result.rule.id);
    }
}

#[test]
fn the_schema_is_in_the_docs() {
    let schema = schemars::schema_for!(Certificate);
    let text = serde_json::to_string_pretty(&schema).expect("JSON") + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(FILE, &text).expect("written");
    }
    let kept = fs::read_to_string(Path::new(FILE)).unwrap_or_default();
    assert!(kept == text, "{FILE} differs from the types: UPDATE_GOLDEN=1 cargo test -p migcert the_schema");
}

/// Where more than a quarter of what guests see is volatile, a difference does not count; in a part neither.
#[test]
fn a_caveat_holds_in_a_part_as_well() {
    for (is_part, hidden) in [(false, 0), (true, 0), (false, 4), (true, 4)] {
        let mut evidence = evidence(&["builtin:nic+pcihost-cfgaddr"], is_part);
        evidence.self_test.holds = true;
        let learned = &mut evidence.subjects[0].learned;
        (learned.compared, learned.hidden) = (4, hidden);
        let certificate = Certificate::conclude(evidence, &mut |_, _| None);
        let broken = certificate.rules.iter().any(|rule| rule.outcome == OutcomeName::Broken);
        let is_sound = hidden == 0;
        assert_eq!(broken, is_sound, "{is_part}, {hidden}: {}", report::text(&certificate));
        let expected = if is_sound { Verdict::Fail } else { Verdict::Incomplete };
        assert_eq!(certificate.verdict, expected, "{is_part}, {hidden}: {}", certificate.why);
    }
}
