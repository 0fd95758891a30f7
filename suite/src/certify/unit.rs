//! What came of the rules, and what that comes to.

use crate::bench::Counted;
use crate::case::Case;
use crate::finding::Bucket;
use crate::finding::Outcome;
use crate::rule::{Level, Rule};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What came of one rule on one pair.
#[derive(Clone, Debug)]
pub struct Unit {
    /// The rule.
    pub rule: &'static Rule,
    /// Indices of source and destination.
    pub pair: (usize, usize),
    /// What became of it.
    pub outcome: Outcome,
    /// Cases that were judged: held or broken.
    pub judged: u32,
    /// Cases that were begun, and not cut off by the end of the time.
    pub begun: u32,
    /// Cases that it was to have; a finding ends it before.
    pub planned: u32,
    /// Why it had fewer, where that was not a finding.
    pub short: Option<Short>,
    /// Cases of which the rule says nothing, by the reason.
    pub skipped: BTreeMap<String, u32>,
    /// What guests did and saw in its cases, and what happened in them.
    pub counted: Counted,
    /// The case that breaks it, made small; also one that doesn't each time.
    pub case: Option<Case>,
    /// What findings of the same bug share with it.
    pub bucket: Option<Bucket>,
    /// The file of the finding, where it is known. A finding that is not known takes its place.
    pub known: Option<String>,
    /// Whether a case broke it that also broke a rule that it builds on.
    pub blamed: bool,
    /// Why it is not held against the implementation, where a profile waives it.
    pub waived: Option<String>,
}

/// Why not all cases of a rule were begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Short {
    /// Too many cases in a row could not be judged.
    Patience,
    /// The time was up.
    Time,
}

/// What is said of a rule that no case could be drawn for.
pub(super) const NOT_DRAWN: &str = "no case was drawn";

/// How much a finding that is known weighs.
const KNOWN: u8 = 2;

impl Unit {
    /// Before any case was drawn.
    pub fn new(rule: &'static Rule, pair: (usize, usize)) -> Unit {
        Unit {
            rule,
            pair,
            outcome: Outcome::NotApplicable(NOT_DRAWN.into()),
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

    /// This one, and then the cases that follow it: nothing follows a finding that is not known.
    #[must_use]
    pub fn then(mut self, mut next: Unit) -> Unit {
        let planned = self.planned.saturating_add(next.planned);
        if self.is_over() {
            return Unit { planned, ..self };
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
            (None, None) if judged != 0 => Unit { outcome: Outcome::Held, ..self },
            (None, None) if next.begun == 0 => self,
            (before, after) if before.is_some() && (after.is_none() || before < after) => self,
            (Some(KNOWN), Some(KNOWN)) => self,
            _ => next,
        };
        Unit { judged, begun, planned, short, skipped, counted, blamed, waived, ..says }
    }

    /// Whether there is nothing to be found any more.
    pub(super) fn is_over(&self) -> bool {
        match self.outcome {
            Outcome::Broken(_) => self.known.is_none(),
            Outcome::Unsettled(_) => self.is_flaky(),
            Outcome::Held | Outcome::NotApplicable(_) => false,
        }
    }

    /// Whether a case breaks it, and doesn't each time.
    pub fn is_flaky(&self) -> bool {
        matches!(self.outcome, Outcome::Unsettled(_)) && self.case.is_some()
    }

    /// What outweighs what; nothing where there is nothing to be told.
    fn weight(&self) -> Option<u8> {
        match self.outcome {
            Outcome::Broken(_) if self.known.is_none() => Some(0),
            Outcome::Unsettled(_) => Some(1),
            Outcome::Broken(_) => Some(KNOWN),
            Outcome::Held | Outcome::NotApplicable(_) => None,
        }
    }

    /// Whether it counts for the verdict.
    pub(super) fn counts(&self, strict: bool) -> bool {
        self.waived.is_none() && self.known.is_none() && (strict || self.rule.level == Level::Must)
    }
}

/// A rule without a pair to look at is said, not left out.
pub fn with_idle(rules: &[&'static Rule], mut units: Vec<Unit>) -> Vec<Unit> {
    for (at, rule) in rules.iter().enumerate() {
        if !units.iter().any(|unit| unit.rule.id == rule.id) {
            let why = Outcome::NotApplicable("it looks at two implementations: add one with --to".into());
            let end = units.iter().position(|unit| rules[at + 1..].iter().any(|r| r.id == unit.rule.id));
            units.insert(end.unwrap_or(units.len()), Unit { outcome: why, ..Unit::new(rule, (0, 0)) });
        }
    }
    units
}

/// What a certification comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything that could be judged held.
    Pass,
    /// A promise is broken.
    Fail,
    /// Too little could be judged to say.
    Incomplete,
}

impl Verdict {
    /// As reports write it.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Incomplete => "incomplete",
        }
    }
}

/// What the units come to. `strict` counts rules of the level should.
///
/// Nothing passes by default: something must have held, or be broken in a way that is known; at least a
/// third of what was begun must have been judged; and nothing may be left unsettled.
pub fn verdict(units: &[Unit], strict: bool) -> Verdict {
    let counts = |unit: &&Unit| unit.counts(strict);
    if units.iter().filter(counts).any(|unit| matches!(unit.outcome, Outcome::Broken(_))) {
        return Verdict::Fail;
    }
    let judged: u32 = units.iter().map(|unit| unit.judged).sum();
    let begun: u32 = units.iter().map(|unit| unit.begun).sum();
    let unsettled = units.iter().filter(counts).any(|unit| matches!(unit.outcome, Outcome::Unsettled(_)));
    let shows = |unit: &Unit| {
        unit.outcome == Outcome::Held || matches!(unit.outcome, Outcome::Broken(_)) && unit.known.is_some()
    };
    if !units.iter().any(shows) || judged < begun / 3 || unsettled {
        Verdict::Incomplete
    } else {
        Verdict::Pass
    }
}
