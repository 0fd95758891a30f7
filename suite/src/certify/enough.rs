//! Whether a rule was tried often enough to say that it held. What was tried too little is
//! *unsettled*, and says how much of what was planned is missing.

use super::unit::{NOT_DRAWN, Short, Unit};
use crate::case::Draws;
use crate::finding::{Class, Classes, Outcome};
use std::collections::BTreeMap;

/// A rule that draws cases is given at least so many, or it is not said to have held.
pub const FLOOR: u32 = 10;
/// So many of a hundred planned cases must have been begun.
pub const SHARE: u32 = 95;
/// So many cases of a rule that draws must have been judged, on all pairs together: where more of
/// them are not applicable, it was hardly tried.
pub const HANDFUL: u32 = 5;

/// Why a rule is not applicable that weighs what guests read at destinations.
const NOTHING_READ: &str = "nothing that a guest wrote could be read at a destination";

/// The same units; those that held, or were not applicable, on too little are unsettled.
pub fn enough(mut units: Vec<Unit>) -> Vec<Unit> {
    let judged = sums(&units, |unit| unit.judged);
    let seen = seen(&units);
    for unit in &mut units {
        let missing = cut_short(unit).or_else(|| match unit.outcome {
            Outcome::Held => {
                planned(unit).or_else(|| handful(unit, judged[unit.rule.id])).or_else(|| unseen(unit, &seen))
            }
            Outcome::NotApplicable(ref why) if why == NOT_DRAWN => planned(unit),
            _ => None,
        });
        if let Some(why) = missing {
            unit.outcome = Outcome::Unsettled(why);
        } else if unit.outcome == Outcome::Held && is_blind(unit, &seen) {
            let cases = std::mem::take(&mut unit.judged);
            unit.skipped.insert(NOTHING_READ.to_owned(), cases);
            unit.outcome = Outcome::NotApplicable(NOTHING_READ.into());
        }
    }
    units
}

/// Not all planned cases were begun.
fn cut_short(unit: &Unit) -> Option<String> {
    let is_quiet = matches!(unit.outcome, Outcome::Held | Outcome::NotApplicable(_));
    let short = unit.short.filter(|_| is_quiet)?;
    let enough = u64::from(unit.begun) * 100 >= u64::from(unit.planned) * u64::from(SHARE);
    let Unit { begun, planned, .. } = unit;
    match (enough, begun) {
        (true, 1..) => None,
        (_, 0) => Some(format!("not tried: {}", short.what())),
        _ => Some(format!("{}, after {begun} of {planned} cases", short.what())),
    }
}

fn planned(unit: &Unit) -> Option<String> {
    let is_too_little = unit.rule.draws != Draws::Nothing && unit.planned < FLOOR;
    is_too_little.then(|| format!("{} of at least {FLOOR} cases were to be tried", unit.planned))
}

fn handful(unit: &Unit, (judged, planned): (u32, u32)) -> Option<String> {
    let is_handful = unit.rule.draws != Draws::Nothing && judged < HANDFUL;
    is_handful.then(|| format!("only {judged} of {planned} cases could be judged"))
}

/// A class of event that a rule must have seen never happened: in any case with the same source, since
/// some pairs have few that can be judged.
fn unseen(unit: &Unit, seen: &BTreeMap<(&'static str, usize), Seen>) -> Option<String> {
    let seen = seen.get(&(unit.rule.id, unit.pair.0))?;
    let is_missing = |class: &&Class| {
        let is_due = match class {
            Class::Interrupt => seen.raises_interrupts,
            Class::PreCopy => !seen.is_driven,
            Class::ReadBack => false,
            Class::Migration | Class::Refusal | Class::Reset => true,
        };
        is_due && !seen.classes.has(**class)
    };
    let missing = unit.rule.sees.iter().find(is_missing)?;
    Some(format!("it never saw {missing}"))
}

/// A rule that weighs what guests read at destinations, of a device that shows them nothing they wrote.
fn is_blind(unit: &Unit, seen: &BTreeMap<(&'static str, usize), Seen>) -> bool {
    let has_read =
        seen.get(&(unit.rule.id, unit.pair.0)).is_some_and(|seen| seen.classes.has(Class::ReadBack));
    unit.rule.sees.contains(&Class::ReadBack) && !has_read
}

/// What happened in the cases of a rule with one source.
#[derive(Clone, Copy, Default)]
struct Seen {
    classes: Classes,
    /// Whether the source, or a destination of it, raised an interrupt in any case of any rule.
    raises_interrupts: bool,
    /// Whether our host walks the states for the source, and sends nothing in PRE_COPY.
    is_driven: bool,
}

fn seen(units: &[Unit]) -> BTreeMap<(&'static str, usize), Seen> {
    let mut raises = BTreeMap::new();
    for unit in units {
        *raises.entry(unit.pair.0).or_insert(false) |= unit.counted.classes.has(Class::Interrupt);
    }
    let mut all: BTreeMap<_, Seen> = BTreeMap::new();
    for unit in units {
        let seen = all.entry((unit.rule.id, unit.pair.0)).or_default();
        seen.classes = seen.classes.or(unit.counted.classes);
        seen.raises_interrupts = raises[&unit.pair.0];
        seen.is_driven |= unit.counted.source.is_driven;
    }
    all
}

/// Judged and planned cases of each rule, on all pairs.
fn sums(units: &[Unit], judged: fn(&Unit) -> u32) -> BTreeMap<&'static str, (u32, u32)> {
    let mut sums = BTreeMap::new();
    for unit in units {
        let sum: &mut (u32, u32) = sums.entry(unit.rule.id).or_default();
        *sum = (sum.0.saturating_add(judged(unit)), sum.1.saturating_add(unit.planned));
    }
    sums
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Counted, Guests};
    use crate::rules::named;

    /// A unit that held, of a rule on the first subject with itself.
    fn held(rule: &str, judged: u32, begun: u32, planned: u32) -> Unit {
        let rule = named(rule).expect("a rule");
        let classes = Classes::from(Class::ALL.to_vec());
        let counted = Counted { classes, ..Counted::default() };
        Unit { outcome: Outcome::Held, judged, begun, planned, counted, ..Unit::new(rule, (0, 0)) }
    }

    #[track_caller]
    fn says(unit: Unit, expected: &str) {
        let outcome = enough(vec![unit]).remove(0).outcome;
        let said = match &outcome {
            Outcome::Unsettled(why) => why,
            Outcome::Held => "held",
            other => panic!("{other:?}"),
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn too_little_is_too_little() {
        says(held("chunking", 40, 40, 40), "held");
        says(held("chunking", 10, 10, 10), "held");
        says(held("chunking", 9, 9, 9), "9 of at least 10 cases were to be tried");
        says(held("chunking", 1, 1, 1), "1 of at least 10 cases were to be tried");
        says(held("latest-starts", 1, 1, 1), "held");
        says(
            Unit::new(named("chunking").expect("a rule"), (0, 0)),
            "0 of at least 10 cases were to be tried",
        );
        says(held("chunking", 4, 40, 40), "only 4 of 40 cases could be judged");
        says(held("chunking", 5, 40, 40), "held");
    }

    #[test]
    fn what_was_cut_short_says_how_short() {
        let short = |unit: Unit, short| Unit { short: Some(short), ..unit };
        says(short(held("chunking", 38, 38, 40), Short::Time), "held");
        says(short(held("chunking", 37, 37, 40), Short::Time), "the time was up, after 37 of 40 cases");
        let nothing = Unit { planned: 40, ..Unit::new(named("chunking").expect("a rule"), (0, 0)) };
        says(short(nothing, Short::Patience), "not tried: too many cases in a row could not be judged");
    }

    #[test]
    fn where_nothing_can_be_read_there_is_nothing_to_weigh() {
        let unit = || held("state-is-in-the-bytes", 40, 40, 40);
        says(unit(), "held");
        let blind = enough(vec![Unit { counted: Counted::default(), ..unit() }]).remove(0);
        assert_eq!(blind.outcome, Outcome::NotApplicable(NOTHING_READ.into()));
        assert_eq!((blind.judged, blind.skipped[NOTHING_READ]), (0, 40));
    }

    #[test]
    fn a_rule_says_what_it_must_have_seen() {
        let blind = |unit: Unit, guests: Guests| Unit {
            counted: Counted { source: guests, ..Counted::default() },
            ..unit
        };
        let unit = || held("chunking", 40, 40, 40);
        says(blind(unit(), Guests::default()), "it never saw a migration that completed");
        let classes = Classes::from(vec![Class::Migration]);
        let twin = || held("twin-after-load", 40, 40, 40);
        let moved = |guests| {
            let counted = Counted { source: guests, classes, ..Counted::default() };
            Unit { counted, ..twin() }
        };
        says(moved(Guests::default()), "held");
        // An interrupt that is offered and never raised leaves nothing open.
        says(moved(Guests { interrupts: 1, ..Guests::default() }), "held");
        // Over vhost-user, where our host walks the states, nothing is sent while the device runs.
        let pre_copy = |guests| {
            let counted = Counted { source: guests, classes, ..Counted::default() };
            Unit { counted, ..held("precopy-is-stop-copy", 40, 40, 40) }
        };
        says(pre_copy(Guests::default()), "it never saw a PRE_COPY round that sent something");
        says(pre_copy(Guests { is_driven: true, ..Guests::default() }), "held");
        // Raised in the cases of another rule: then this one must see one, too.
        let units = enough(vec![moved(Guests::default()), unit()]);
        let why = "it never saw an interrupt, and the device raises some";
        assert_eq!(units[0].outcome, Outcome::Unsettled(why.to_owned()));
    }
}
