//! Exclusions: what a certification did not test or compare, each with what it hid. Everything that is left
//! out is listed.

use super::{Asked, Cost, RuleResult, Short, SubjectInfo, Waiver};
use crate::bench::Guests;
use crate::case::Draws;
use crate::finding::{Class, NotApplicable, Outcome};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One exclusion: an element of `excluded`. Shares are in percent, to a tenth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Exclusion {
    /// Fewer cases than by default.
    Cases {
        /// Of each rule on each pair.
        cases: u32,
        /// By default.
        default: u32,
    },
    /// Interrupts that a device offers and never raised: whether they survive a migration is not known.
    Interrupts {
        /// The subject's IMPL.
        #[serde(rename = "impl")]
        subject: String,
        /// How many it offers.
        offered: u32,
    },
    /// What shows at a place differs without a migration, and was not compared, or only over all steps, or
    /// only between source and destination.
    Learned {
        /// The subject's IMPL.
        #[serde(rename = "impl")]
        subject: String,
        /// Where.
        place: String,
        /// Things seen that it hid, in whole or in part.
        steps: u64,
        /// Of all that were compared.
        percent: f64,
        /// Whether a profile pinned it and no guest came there.
        stale: bool,
    },
    /// A profile has the guest leave a place alone.
    Never {
        /// The subject's IMPL.
        #[serde(rename = "impl")]
        subject: String,
        /// Region number.
        region: u32,
        /// Bytes from the start of the region.
        offset: u64,
        /// How many bytes.
        size: u64,
        /// How many bits.
        bits: u64,
        /// Steps that it hid: 0, because no guest does them.
        steps: u64,
        /// Of the registers that a guest may touch.
        percent: f64,
    },
    /// Cases to which a rule does not apply.
    NotApplicable {
        /// The rule.
        rule: String,
        /// Why.
        #[cfg_attr(test, schemars(with = "String"))]
        why: NotApplicable,
        /// How many cases.
        cases: u32,
        /// Of how many that were planned.
        planned: u32,
    },
    /// Cases that were planned and not begun.
    NotBegun {
        /// The rule.
        rule: String,
        /// Why, in words.
        why: String,
        /// Why.
        short: Short,
        /// How many cases.
        cases: u32,
        /// Of how many that were planned.
        planned: u32,
    },
    /// Rules that were not selected.
    NotSelected {
        /// What was selected.
        only: Vec<String>,
        /// Rules that were not.
        rules: usize,
        /// Of how many.
        of: usize,
    },
    /// The run had a time limit.
    Time {
        /// The limit in seconds.
        seconds: u64,
        /// Rules that it cut short.
        rules: usize,
    },
    /// Values at a place were not compared.
    Volatile {
        /// The subject's IMPL.
        #[serde(rename = "impl")]
        subject: String,
        /// Where.
        place: String,
        /// Bits of each value; 0 where that is not known.
        bits: u64,
        /// Values that were not compared.
        steps: u64,
        /// Things that guests saw of the subject.
        of: u64,
        /// The values that were not compared, of all that guests saw.
        percent: f64,
    },
    /// Findings are not held against a subject.
    Waived {
        /// The subject's IMPL.
        #[serde(rename = "impl")]
        subject: String,
        /// The rule or requirement.
        waives: String,
        /// Why.
        why: String,
        /// Rules that it hid.
        rules: Vec<String>,
        /// Findings that it hid.
        findings: u32,
    },
}

/// Everything that was left out.
pub(super) fn all(
    asked: &Asked,
    cost: Option<Cost>,
    subjects: &[SubjectInfo],
    results: &[RuleResult],
    waivers: &[Waiver],
) -> Vec<Exclusion> {
    let mut all = Vec::new();
    let (selected, of) = asked.selected();
    if selected < of {
        all.push(Exclusion::NotSelected { only: asked.only.clone(), rules: of - selected, of });
    }
    let default = asked.usual_cases;
    let cases = cases(asked, cost, results).filter(|cases| *cases < default);
    all.extend(cases.map(|cases| Exclusion::Cases { cases, default }));
    let rules: Vec<&[RuleResult]> = results.chunk_by(|one, next| one.rule.id == next.rule.id).collect();
    let is_short = |short: Short| move |result: &&RuleResult| result.short == Some(short);
    if let Some(seconds) = asked.max_seconds {
        let is_cut = |results: &&&[RuleResult]| results.iter().any(|result| is_short(Short::Time)(&result));
        let rules = rules.iter().filter(is_cut).count();
        if rules != 0 || !asked.is_time_usual {
            all.push(Exclusion::Time { seconds, rules });
        }
    }
    for (at, subject) in subjects.iter().enumerate() {
        all.extend(places(at, subject, results));
    }
    all.extend(waivers.iter().map(|waiver| Exclusion::Waived {
        subject: waiver.subject.clone(),
        waives: waiver.waives.clone(),
        why: waiver.why.clone(),
        rules: waiver.rules.clone(),
        findings: waiver.findings,
    }));
    for results in rules {
        all.extend(skipped(results));
        all.extend([Short::Patience, Short::Time].into_iter().filter_map(|short| {
            let short_ones: Vec<_> = results.iter().filter(is_short(short)).collect();
            let sum = |count: fn(&RuleResult) -> u32| short_ones.iter().map(|result| count(result)).sum();
            let (planned, begun): (u32, u32) = (sum(|result| result.planned), sum(|result| result.begun));
            let (rule, why) = (short_ones.first()?.rule.id.to_owned(), short.what().to_owned());
            Some(Exclusion::NotBegun { rule, why, short, cases: planned.saturating_sub(begun), planned })
        }));
    }
    all
}

/// Cases of each rule on each pair: asked for, or as many as fit into the time.
fn cases(asked: &Asked, cost: Option<Cost>, results: &[RuleResult]) -> Option<u32> {
    let fit = cost.and_then(|_| {
        let drawn = results.iter().filter(|result| result.rule.draws != Draws::Nothing);
        drawn.map(|result| result.planned).filter(|planned| *planned != 0).max()
    });
    asked.cases.or(fit)
}

/// Places of a subject that guests left alone, or that were not compared.
fn places(at: usize, info: &SubjectInfo, results: &[RuleResult]) -> Vec<Exclusion> {
    let subject = || info.name.clone();
    let left = info.never.iter().map(|place| Exclusion::Never {
        subject: subject(),
        region: place.region,
        offset: place.offset,
        size: place.size,
        bits: place.size.saturating_mul(8),
        steps: 0,
        percent: share(place.size, place.size.saturating_add(info.reachable)),
    });
    let guests: Guests = SubjectInfo::guests(at, results);
    let volatile = guests.volatile.iter().map(|(place, hidden)| Exclusion::Volatile {
        subject: subject(),
        place: place.clone(),
        bits: hidden.bits,
        steps: hidden.sights,
        of: guests.sights,
        percent: share(hidden.sights, guests.sights),
    });
    let learned = info.learned.entries.iter().map(|entry| Exclusion::Learned {
        subject: subject(),
        place: entry.place.to_string(),
        steps: entry.hid,
        percent: share(entry.hid, info.learned.compared),
        stale: entry.is_stale(),
    });
    let of_this = |result: &&RuleResult| result.pair.0 == at || result.pair.1 == at;
    let raises = results.iter().filter(of_this).any(|result| result.counted.classes.has(Class::Interrupt));
    let silent = (!raises && 0 < guests.interrupts)
        .then(|| Exclusion::Interrupts { subject: subject(), offered: guests.interrupts });
    left.chain(volatile).chain(learned).chain(silent).collect()
}

/// Cases to which a rule does not apply, by reason.
fn skipped(results: &[RuleResult]) -> Vec<Exclusion> {
    let rule = results[0].rule.id;
    let planned = results.iter().map(|result| result.planned).sum();
    let mut reasons: BTreeMap<String, (&NotApplicable, u32)> = BTreeMap::new();
    for result in results {
        for (why, cases) in &result.skipped {
            reasons.entry(why.to_string()).or_insert((why, 0)).1 += cases;
        }
        if let (Outcome::NotApplicable(why), 0) = (&result.outcome, result.begun) {
            reasons.entry(why.to_string()).or_insert((why, 0));
        }
    }
    let reason = |(why, cases): (&NotApplicable, u32)| Exclusion::NotApplicable {
        rule: rule.to_owned(),
        why: why.clone(),
        cases,
        planned,
    };
    reasons.into_values().map(reason).collect()
}

/// A part of a whole in percent, to a tenth.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 * 1000.0 / whole as f64).round() / 10.0 }
}
