//! The result of a rule on a pair of implementations.

use crate::bench::Counted;
use crate::case::Case;
use crate::finding::{Bucket, NotApplicable, Outcome};
use crate::rule::{Level, Rule};
use crate::rules::by_id;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The result of one rule on one pair.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleResult {
    /// The rule.
    #[serde(with = "by_id")]
    pub rule: &'static Rule,
    /// Indices of source and destination.
    pub pair: (usize, usize),
    /// Whether it held.
    pub outcome: Outcome,
    /// Cases that were judged: held or broken.
    pub judged: u32,
    /// Cases that were begun, and not cut off by the end of the time.
    pub begun: u32,
    /// Cases that were planned; a finding ends it earlier.
    pub planned: u32,
    /// Why it had fewer, where that was not a finding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short: Option<Short>,
    /// Cases to which the rule does not apply, by the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<NotApplicable, u32>,
    /// What guests did and saw in its cases, and what happened in them.
    pub counted: Counted,
    /// The minimised case that breaks it; also one that does not reproduce every time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<Case>,
    /// The bucket of the finding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<Bucket>,
    /// The file of a known finding. A finding that is not known takes precedence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<String>,
    /// Whether a case broke it that also broke a rule that it builds on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blamed: bool,
    /// Why it is not held against the implementation, where a profile waives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waived: Option<String>,
}

/// Why not all cases of a rule were begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Short {
    /// Too many cases in a row could not be judged.
    Patience,
    /// The time was up.
    Time,
}

impl Short {
    /// In words.
    pub const fn what(self) -> &'static str {
        match self {
            Short::Patience => "too many cases in a row could not be judged",
            Short::Time => crate::deadline::UP,
        }
    }
}

/// The weight of a known finding.
const KNOWN: u8 = 2;

impl RuleResult {
    /// A result before any case was drawn.
    pub fn new(rule: &'static Rule, pair: (usize, usize)) -> RuleResult {
        RuleResult {
            rule,
            pair,
            outcome: Outcome::NotApplicable(NotApplicable::NotDrawn),
            judged: 0,
            begun: 0,
            planned: 0,
            short: None,
            skipped: BTreeMap::new(),
            counted: Counted::default(),
            case: None,
            bucket: None,
            known: None,
            blamed: false,
            waived: None,
        }
    }

    /// This result with that of the cases that follow it. Nothing follows a finding that is not known.
    #[must_use]
    pub fn then(mut self, mut next: RuleResult) -> RuleResult {
        let planned = self.planned.saturating_add(next.planned);
        if self.is_over() {
            return RuleResult { planned, ..self };
        }
        let (judged, begun) =
            (self.judged.saturating_add(next.judged), self.begun.saturating_add(next.begun));
        let (blamed, waived) = (self.blamed || next.blamed, self.waived.clone());
        let short = self.short.or(next.short);
        let (mut skipped, mut counted) =
            (std::mem::take(&mut self.skipped), std::mem::take(&mut self.counted));
        for (why, cases) in std::mem::take(&mut next.skipped) {
            let sum = skipped.entry(why).or_default();
            *sum = cases.saturating_add(*sum);
        }
        counted.add(&next.counted);
        let says = match (self.weight(), next.weight()) {
            (None, None) if judged != 0 => RuleResult { outcome: Outcome::Held, ..self },
            (None, None) if next.begun == 0 => self,
            (before, after) if before.is_some() && (after.is_none() || before < after) => self,
            (Some(KNOWN), Some(KNOWN)) => self,
            _ => next,
        };
        RuleResult { judged, begun, planned, short, skipped, counted, blamed, waived, ..says }
    }

    /// Whether further cases can't change it.
    pub(crate) fn is_over(&self) -> bool {
        match self.outcome {
            Outcome::Broken(_) => self.known.is_none(),
            Outcome::Unsettled(_) => self.is_flaky(),
            Outcome::Held | Outcome::NotApplicable(_) => false,
        }
    }

    /// Whether a case breaks it, but not every time.
    pub fn is_flaky(&self) -> bool {
        matches!(self.outcome, Outcome::Unsettled(_)) && self.case.is_some()
    }

    /// The weight of an outcome, lowest first; `None` if it has nothing to report.
    fn weight(&self) -> Option<u8> {
        match self.outcome {
            Outcome::Broken(_) if self.known.is_none() => Some(0),
            Outcome::Unsettled(_) => Some(1),
            Outcome::Broken(_) => Some(KNOWN),
            Outcome::Held | Outcome::NotApplicable(_) => None,
        }
    }

    /// Whether it counts for the verdict.
    pub(crate) fn counts(&self, strict: bool) -> bool {
        self.waived.is_none() && self.known.is_none() && (strict || self.rule.level == Level::Must)
    }
}

/// Adds a result for each rule that no pair was tried with, so that it is reported.
pub fn with_idle(rules: &[&'static Rule], mut results: Vec<RuleResult>) -> Vec<RuleResult> {
    for (at, rule) in rules.iter().enumerate() {
        if !results.iter().any(|result| result.rule.id == rule.id) {
            let why = Outcome::NotApplicable(NotApplicable::NeedsTwo);
            let end =
                results.iter().position(|result| rules[at + 1..].iter().any(|r| r.id == result.rule.id));
            results.insert(
                end.unwrap_or(results.len()),
                RuleResult { outcome: why, ..RuleResult::new(rule, (0, 0)) },
            );
        }
    }
    results
}
