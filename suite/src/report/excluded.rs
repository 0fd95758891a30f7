//! What a certification did not look at, or left out of its comparisons: each exclusion with what it
//! hid. Nothing is left out without being said.

use super::{Certificate, Tested};
use crate::case::Draws;
use crate::certify::{Short, Unit};
use crate::finding::{Class, Outcome};
use crate::row;
use crate::subject::Untouched;
use crate::text::Lines;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// One exclusion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// Fewer cases than by default.
    Cases {
        /// Of each rule on each pair.
        cases: u32,
        /// By default.
        usual: u32,
    },
    /// Interrupts that a device offers and never raised: whether they survive a migration is not known.
    Interrupts {
        /// The subject's IMPL.
        subject: String,
        /// How many it offers.
        offered: u32,
    },
    /// What shows at a place differs without a migration, and was not compared, or only over all steps, or
    /// only between source and destination.
    Learned {
        /// The subject's IMPL.
        subject: String,
        /// Where.
        place: String,
        /// Things seen that it hid, in whole or in part.
        hid: u64,
        /// Of all that were compared.
        of: u64,
        /// Whether a profile pinned it and no guest came there.
        is_stale: bool,
    },
    /// A profile has the guest leave a place alone.
    Never {
        /// The subject's IMPL.
        subject: String,
        /// Where.
        place: Untouched,
        /// Bytes that a guest may touch, of which this is a share.
        reachable: u64,
    },
    /// Cases of which a rule says nothing.
    NotApplicable {
        /// The rule.
        rule: &'static str,
        /// Why.
        why: String,
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
    /// Cases that were planned and not begun.
    Short {
        /// The rule.
        rule: &'static str,
        /// Why.
        why: Short,
        /// How many cases.
        cases: u32,
        /// Of how many that were planned.
        planned: u32,
    },
    /// There was a limit of the time.
    Time {
        /// The limit in seconds.
        seconds: u64,
        /// Rules that it cut short.
        rules: usize,
    },
    /// Values at a place were not compared.
    Volatile {
        /// The subject's IMPL.
        subject: String,
        /// Where.
        place: String,
        /// Bits of each value; 0 where that is not known.
        bits: u64,
        /// Values that were not compared.
        sights: u64,
        /// Of all that guests saw of the subject.
        of: u64,
    },
    /// Findings are not held against a subject.
    Waived {
        /// The subject's IMPL.
        subject: String,
        /// The rule or requirement.
        waives: String,
        /// Why.
        why: String,
        /// Rules that it hid.
        rules: Vec<&'static str>,
        /// Findings that it hid.
        findings: u32,
    },
}

impl Certificate<'_> {
    /// Everything that was left out.
    pub fn excluded(&self) -> Vec<Exclusion> {
        let mut all = Vec::new();
        let (selected, of) = self.asked.selected();
        if selected < of {
            let only = self.asked.only.clone();
            all.push(Exclusion::NotSelected { only, rules: of - selected, of });
        }
        let usual = self.asked.usual_cases;
        all.extend(
            self.cases().filter(|cases| *cases < usual).map(|cases| Exclusion::Cases { cases, usual }),
        );
        let rules = self.rules();
        let is_short = |short: Short| move |(_, unit): &(usize, &Unit)| unit.short == Some(short);
        if let Some(seconds) = self.asked.max_seconds {
            let rules = rules.iter().filter(|units| units.iter().any(is_short(Short::Time))).count();
            if rules != 0 || !self.asked.is_time_usual {
                all.push(Exclusion::Time { seconds, rules });
            }
        }
        for (at, subject) in self.subjects.iter().enumerate() {
            all.extend(self.places(at, subject));
        }
        all.extend(self.waivers.iter().map(|waiver| Exclusion::Waived {
            subject: waiver.subject.clone(),
            waives: waiver.waives.clone(),
            why: waiver.why.clone(),
            rules: waiver.rules.clone(),
            findings: waiver.findings,
        }));
        for units in &rules {
            all.extend(skipped(units));
            all.extend([Short::Patience, Short::Time].into_iter().filter_map(|why| {
                let units: Vec<_> = units.iter().filter(|unit| is_short(why)(unit)).collect();
                let sum = |count: fn(&Unit) -> u32| units.iter().map(|(_, unit)| count(unit)).sum();
                let (planned, begun): (u32, u32) = (sum(|unit| unit.planned), sum(|unit| unit.begun));
                let rule = units.first()?.1.rule.id;
                Some(Exclusion::Short { rule, why, cases: planned.saturating_sub(begun), planned })
            }));
        }
        all
    }

    /// Cases of each rule on each pair: asked for, or as many as fit into the time.
    pub(super) fn cases(&self) -> Option<u32> {
        let fit = self.cost.and_then(|_| {
            let drawn = self.units.iter().filter(|unit| unit.rule.draws != Draws::Nothing);
            drawn.map(|unit| unit.planned).filter(|planned| *planned != 0).max()
        });
        self.asked.cases.or(fit)
    }

    /// Places of a subject that guests left alone, or that were not compared.
    fn places(&self, at: usize, subject: &Tested) -> Vec<Exclusion> {
        let left = subject.never.iter().map(|place| Exclusion::Never {
            subject: subject.name.clone(),
            place: *place,
            reachable: subject.reachable,
        });
        let guests = self.guests(at);
        let volatile = guests.volatile.iter().map(|(place, hidden)| Exclusion::Volatile {
            subject: subject.name.clone(),
            place: place.clone(),
            bits: hidden.bits,
            sights: hidden.sights,
            of: guests.sights,
        });
        let learned = subject.learned.entries.iter().map(|entry| Exclusion::Learned {
            subject: subject.name.clone(),
            place: entry.place.to_string(),
            hid: entry.hid,
            of: subject.learned.compared,
            is_stale: entry.is_stale(),
        });
        let of_this = |unit: &&Unit| unit.pair.0 == at || unit.pair.1 == at;
        let raises = self.units.iter().filter(of_this).any(|unit| unit.counted.classes.has(Class::Interrupt));
        let silent = (!raises && 0 < guests.interrupts)
            .then(|| Exclusion::Interrupts { subject: subject.name.clone(), offered: guests.interrupts });
        left.chain(volatile).chain(learned).chain(silent).collect()
    }
}

/// Cases of which a rule says nothing, by reason.
fn skipped(units: &[(usize, &Unit)]) -> Vec<Exclusion> {
    let rule = units[0].1.rule.id;
    let planned = units.iter().map(|(_, unit)| unit.planned).sum();
    let mut reasons: BTreeMap<&str, u32> = BTreeMap::new();
    for (_, unit) in units {
        unit.skipped.iter().for_each(|(why, cases)| *reasons.entry(why).or_default() += cases);
        if let (Outcome::NotApplicable(why), 0) = (&unit.outcome, unit.begun) {
            reasons.entry(why).or_default();
        }
    }
    let reason =
        |(why, cases): (&str, u32)| Exclusion::NotApplicable { rule, why: why.to_owned(), cases, planned };
    reasons.into_iter().map(reason).collect()
}

/// A part of a whole in percent, to a tenth.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 * 1000.0 / whole as f64).round() / 10.0 }
}

impl Exclusion {
    /// As an element of `excluded`.
    pub fn json(&self) -> Json {
        match self {
            Exclusion::Cases { cases, usual } => json!({ "kind": "cases", "cases": cases, "default": usual }),
            Exclusion::Interrupts { subject, offered } => {
                json!({ "kind": "interrupts", "impl": subject, "offered": offered })
            }
            Exclusion::Learned { subject, place, hid, of, is_stale } => json!({
                "kind": "learned", "impl": subject, "place": place, "steps": hid,
                "percent": share(*hid, *of), "stale": is_stale,
            }),
            Exclusion::Never { subject, place, reachable } => json!({
                "kind": "never", "impl": subject, "region": place.region, "offset": place.offset,
                "size": place.size, "bits": place.size.saturating_mul(8), "steps": 0,
                "percent": share(place.size, place.size.saturating_add(*reachable)),
            }),
            Exclusion::NotApplicable { rule, why, cases, planned } => {
                json!({ "kind": "not-applicable", "rule": rule, "why": why, "cases": cases, "planned": planned })
            }
            Exclusion::NotSelected { only, rules, of } => {
                json!({ "kind": "not-selected", "only": only, "rules": rules, "of": of })
            }
            Exclusion::Short { rule, why, cases, planned } => {
                json!({ "kind": "not-begun", "rule": rule, "why": why.what(), "cases": cases, "planned": planned })
            }
            Exclusion::Time { seconds, rules } => {
                json!({ "kind": "time", "seconds": seconds, "rules": rules })
            }
            Exclusion::Volatile { subject, place, bits, sights, of } => json!({
                "kind": "volatile", "impl": subject, "place": place, "bits": bits, "steps": sights,
                "percent": share(*sights, *of),
            }),
            Exclusion::Waived { subject, waives, why, rules, findings } => json!({
                "kind": "waived", "impl": subject, "waives": waives, "why": why, "rules": rules,
                "findings": findings,
            }),
        }
    }

    /// As a line of the text, if the table of rules does not say it already.
    fn line(&self) -> Option<String> {
        Some(match self {
            Exclusion::Cases { cases, usual } => {
                format!("cases      {cases} for each rule; by default {usual}")
            }
            Exclusion::Never { subject, place: Untouched { region, offset, size }, reachable } => {
                let share = share(*size, size.saturating_add(*reachable));
                format!(
                    "never      {size} bytes of {subject} at {region}:{offset:#x}: {share} % of its registers"
                )
            }
            Exclusion::Interrupts { subject, offered } => {
                format!("interrupts {offered} that {subject} offers: none was ever raised")
            }
            // The section about what was learned says it.
            Exclusion::Learned { .. } => return None,
            Exclusion::NotApplicable { cases, planned, .. } if cases == planned => return None,
            Exclusion::NotApplicable { rule, why, cases, planned } => {
                format!("cases      {cases} of {planned} of {rule}: {why}")
            }
            Exclusion::NotSelected { only, rules, of } => {
                format!("rules      {rules} of {of}: only {} was selected", only.join(", "))
            }
            Exclusion::Short { rule, why, cases, planned } => {
                format!("cases      {cases} of {planned} of {rule}: {}", why.what())
            }
            Exclusion::Time { seconds, rules: 0 } => {
                format!("time       {seconds} s at most; no rule was cut short")
            }
            Exclusion::Time { seconds, rules } => {
                format!("time       after {seconds} s, {rules} rules were cut short")
            }
            Exclusion::Volatile { subject, place, bits, sights, of } => {
                let bits = if *bits == 0 { String::new() } else { format!(", {bits} bits") };
                let share = share(*sights, *of);
                format!(
                    "volatile   {place}{bits} of {subject}: {sights} of {of} things seen ({share} %) were not compared"
                )
            }
            Exclusion::Waived { subject, waives, why, rules, findings } => {
                let rules = rules.len();
                format!("waived     {waives} of {subject}: {rules} rules, {findings} findings: {why}")
            }
        })
    }

    /// Adds a section to the text, if there is something to say.
    pub fn section(all: &[Exclusion], out: &mut Lines) {
        let lines: Vec<_> = all.iter().filter_map(Exclusion::line).collect();
        if !lines.is_empty() {
            row!(out);
            row!(out, "excluded");
            lines.iter().for_each(|line| out.after("  ", format_args!("{line}")));
        }
    }
}
