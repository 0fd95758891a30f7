//! Waivers, and what they hid: one that hides nothing is stale, and a finding of its profile.

use super::{RuleResult, SubjectInfo};
use crate::case::Draws;
use crate::finding::Outcome;
use crate::rules;
use serde::{Deserialize, Serialize};

/// At least this many cases of a rule that a waiver is about are planned before the waiver is called stale.
const USUAL: u32 = 40;

/// A waiver of a subject, and what it hid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Waiver {
    /// The subject's IMPL.
    #[serde(rename = "impl")]
    pub subject: String,
    /// The rule or requirement that it waives.
    pub waives: String,
    /// Why, in the words of the profile.
    pub why: String,
    /// The rules that it waives and that were tried.
    pub rules: Vec<String>,
    /// Findings that are not held against the subject because of it.
    pub findings: u32,
    /// Whether everything that it waives was tried often enough, and held.
    #[serde(rename = "stale")]
    pub is_stale: bool,
}

/// The waivers of all subjects.
pub fn waivers(subjects: &[SubjectInfo], results: &[RuleResult]) -> Vec<Waiver> {
    let each = subjects.iter().enumerate();
    each.flat_map(|(at, subject)| {
        subject.waive.iter().map(move |(waives, why)| judged(at, subject, (waives, why), results))
    })
    .collect()
}

fn judged(
    at: usize,
    subject: &SubjectInfo,
    (waives, why): (&String, &String),
    results: &[RuleResult],
) -> Waiver {
    let of = |result: &&RuleResult| {
        let is_here = [result.pair.0, result.pair.1].contains(&at);
        is_here && result.rule.waiver(&subject.waive).is_some_and(|(name, _)| name == waives)
    };
    let results: Vec<&RuleResult> = results.iter().filter(of).collect();
    let mut rules: Vec<&'static str> = results.iter().map(|result| result.rule.id).collect();
    rules.dedup();
    let findings = results.iter().filter(|result| matches!(result.outcome, Outcome::Broken(_))).count();
    let has_all =
        rules::ALL.iter().filter(|rule| rule.is_waived(waives)).all(|rule| rules.contains(&rule.id));
    // A flaky finding is not gone because a few cases don't show it.
    let hides_nothing = |result: &&RuleResult| {
        result.outcome == Outcome::Held && (result.rule.draws == Draws::Nothing || USUAL <= result.planned)
    };
    let is_stale = has_all && !rules.is_empty() && results.iter().all(hides_nothing);
    Waiver {
        subject: subject.name.clone(),
        waives: waives.clone(),
        why: why.clone(),
        rules: rules.into_iter().map(str::to_owned).collect(),
        findings: u32::try_from(findings).unwrap_or(u32::MAX),
        is_stale,
    }
}
