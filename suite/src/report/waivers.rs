//! Waivers, and what came of them: one that hides nothing is stale, and a finding of its profile.

use super::Tested;
use crate::case::Draws;
use crate::certify::Unit;
use crate::finding::Outcome;
use crate::row;
use crate::rules;
use crate::text::Lines;
use serde_json::{Value as Json, json};

/// A rule that a waiver is about must have had so many cases before the waiver is called stale.
const USUAL: u32 = 40;

/// A waiver of a subject, and what it hid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiver {
    /// The subject's IMPL.
    pub subject: String,
    /// The rule or requirement that it waives.
    pub waives: String,
    /// Why, in the words of the profile.
    pub why: String,
    /// The rules that it waives and that were tried.
    pub rules: Vec<&'static str>,
    /// Findings that are not held against the subject because of it.
    pub findings: u32,
    /// Whether everything that it waives was tried often enough, and held.
    pub is_stale: bool,
}

impl Waiver {
    /// As an element of `waivers`.
    pub fn json(&self) -> Json {
        let Waiver { subject, waives, why, rules, findings, is_stale } = self;
        json!({ "impl": subject, "waives": waives, "why": why, "rules": rules, "findings": findings,
            "stale": is_stale })
    }

    /// As a finding of the profile.
    pub fn text(&self, out: &mut Lines) {
        row!(out);
        row!(out, "stale waiver of {} in {}", self.waives, self.subject);
        row!(out, "  reason     {}", self.why);
        row!(out, "  found      it hides nothing: {} held", self.rules.join(", "));
        row!(out, "  advice     take it out of the profile, so that it can't hide anything later");
    }
}

/// The waivers of all subjects.
pub fn waivers(subjects: &[Tested], units: &[Unit]) -> Vec<Waiver> {
    let each = subjects.iter().enumerate();
    each.flat_map(|(at, subject)| {
        subject.waive.iter().map(move |(waives, why)| judged(at, subject, (waives, why), units))
    })
    .collect()
}

fn judged(at: usize, subject: &Tested, (waives, why): (&String, &String), units: &[Unit]) -> Waiver {
    let of = |unit: &&Unit| {
        let is_here = [unit.pair.0, unit.pair.1].contains(&at);
        is_here && unit.rule.waiver(&subject.waive).is_some_and(|(name, _)| name == waives)
    };
    let units: Vec<&Unit> = units.iter().filter(of).collect();
    let mut rules: Vec<&'static str> = units.iter().map(|unit| unit.rule.id).collect();
    rules.dedup();
    let findings = units.iter().filter(|unit| matches!(unit.outcome, Outcome::Broken(_))).count();
    let has_all =
        rules::ALL.iter().filter(|rule| rule.is_waived(waives)).all(|rule| rules.contains(&rule.id));
    // What is found now and then is not gone because few cases don't show it.
    let hides_nothing = |unit: &&Unit| {
        unit.outcome == Outcome::Held && (unit.rule.draws == Draws::Nothing || USUAL <= unit.planned)
    };
    let is_stale = has_all && !rules.is_empty() && units.iter().all(hides_nothing);
    Waiver {
        subject: subject.name.clone(),
        waives: waives.clone(),
        why: why.clone(),
        rules,
        findings: u32::try_from(findings).unwrap_or(u32::MAX),
        is_stale,
    }
}
