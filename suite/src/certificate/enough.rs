//! Whether a rule was tried often enough to say that it held. What was tried too little is
//! *unsettled*, and says how much of what was planned is missing.

use super::RuleResult;
use crate::case::Draws;
use crate::finding::{Cause, Class, Classes, Finding, NotApplicable, Outcome, What};
use crate::rules::BYTES;
use std::collections::BTreeMap;

/// At least this many cases of a rule that draws are planned, or it does not count as held.
pub const FLOOR: u32 = 10;
/// Minimum share of planned cases that must have been begun, in percent.
pub const SHARE: u32 = 95;
/// At least this many cases of a rule that draws must have been judged, on all pairs together: where more
/// of them are not applicable, it was hardly tried.
pub const HANDFUL: u32 = 5;

/// What is known of one implementation that leaves open what its results mean.
#[derive(Clone, Debug, Default)]
pub struct Caveat {
    /// What is not kept apart on this machine: the state may lie there.
    pub left_open: Option<String>,
    /// Too much of what its guests see is volatile.
    pub too_much: Option<String>,
}

/// The caveats about all implementations, in their order.
pub struct Caveats(Vec<Caveat>);

impl Caveats {
    /// About these implementations.
    pub fn of(subjects: impl IntoIterator<Item = Caveat>) -> Caveats {
        Caveats(subjects.into_iter().collect())
    }

    /// Why a result does not count. If something is not kept apart, the state may not be in the bytes. If too
    /// much of what guests see is volatile, the rest may be, too: then a difference does not count, but a
    /// failed operation does.
    pub fn about(&self, result: &RuleResult) -> Option<String> {
        let first = |caveat: fn(&Caveat) -> Option<&String>| {
            [result.pair.0, result.pair.1].into_iter().find_map(|at| self.0.get(at).and_then(caveat))
        };
        match &result.outcome {
            Outcome::Held if result.rule.id == BYTES => first(|caveat| caveat.left_open.as_ref()).cloned(),
            Outcome::Broken(Finding {
                summary, cause: Cause { what: What::Difference { .. }, .. }, ..
            }) => first(|caveat| caveat.too_much.as_ref()).map(|why| format!("{summary}; but {why}")),
            _ => None,
        }
    }
}

/// The results; those that held, were not applicable or are broken on too little evidence are unsettled. While a
/// rule is tried, its findings are confirmed and its cases added up. After that, only this function and
/// [`blame`](super::blame()) change outcomes.
pub fn enough(results: Vec<RuleResult>, caveats: &Caveats) -> Vec<RuleResult> {
    let mut results = doubted(results, caveats);
    let judged = sums(&results, |result| result.judged);
    let seen = seen(&results);
    for result in &mut results {
        if let Some(why) = missing(result, &judged, &seen) {
            result.outcome = Outcome::Unsettled(why);
        } else if result.outcome == Outcome::Held && is_blind(result, &seen) {
            let cases = std::mem::take(&mut result.judged);
            result.skipped.insert(NotApplicable::NothingRead, cases);
            result.outcome = Outcome::NotApplicable(NotApplicable::NothingRead);
        }
    }
    results
}

/// The results; those that a caveat is about are unsettled. All that is asked of a part.
pub(super) fn doubted(mut results: Vec<RuleResult>, caveats: &Caveats) -> Vec<RuleResult> {
    for result in &mut results {
        if let Some(why) = caveats.about(result) {
            result.outcome = Outcome::Unsettled(why);
        }
    }
    results
}

/// Whether more cases would settle a result that they don't settle so far.
pub fn lacks(results: &[RuleResult]) -> Vec<bool> {
    let judged = sums(results, |result| result.judged);
    let seen = seen(results);
    let is_open = |result: &RuleResult| !matches!(result.outcome, Outcome::Unsettled(_));
    results.iter().map(|result| is_open(result) && missing(result, &judged, &seen).is_some()).collect()
}

/// What is missing for a result to count, if anything is.
fn missing(
    result: &RuleResult,
    judged: &BTreeMap<&'static str, (u32, u32)>,
    seen: &BTreeMap<(&'static str, usize), Seen>,
) -> Option<String> {
    cut_short(result).or_else(|| match result.outcome {
        Outcome::Held => planned(result)
            .or_else(|| handful(result, judged[result.rule.id]))
            .or_else(|| unseen(result, seen)),
        Outcome::NotApplicable(NotApplicable::NotDrawn) => planned(result),
        _ => None,
    })
}

/// Not all planned cases were begun.
fn cut_short(result: &RuleResult) -> Option<String> {
    let is_quiet = matches!(result.outcome, Outcome::Held | Outcome::NotApplicable(_));
    let short = result.short.filter(|_| is_quiet)?;
    let enough = u64::from(result.begun) * 100 >= u64::from(result.planned) * u64::from(SHARE);
    let RuleResult { begun, planned, .. } = result;
    match (enough, begun) {
        (true, 1..) => None,
        (_, 0) => Some(format!("not tried: {}", short.what())),
        _ => Some(format!("{}, after {begun} of {planned} cases", short.what())),
    }
}

fn planned(result: &RuleResult) -> Option<String> {
    let is_too_little = result.rule.draws != Draws::Nothing && result.planned < FLOOR;
    is_too_little.then(|| format!("planned {} cases; at least {FLOOR} are needed", result.planned))
}

fn handful(result: &RuleResult, (judged, planned): (u32, u32)) -> Option<String> {
    let is_handful = result.rule.draws != Draws::Nothing && judged < HANDFUL;
    is_handful.then(|| format!("only {judged} of {planned} cases could be judged"))
}

/// A class of event that a rule must have seen never happened: in any case with the same source, since
/// some pairs have few that can be judged.
fn unseen(result: &RuleResult, seen: &BTreeMap<(&'static str, usize), Seen>) -> Option<String> {
    let seen = seen.get(&(result.rule.id, result.pair.0))?;
    let is_missing = |class: &&Class| {
        let is_due = match class {
            Class::Interrupt => seen.raises_interrupts,
            Class::PreCopy => !seen.is_driven,
            Class::ReadBack => false,
            Class::Migration | Class::Refusal | Class::Reset => true,
        };
        is_due && !seen.classes.has(**class)
    };
    let missing = result.rule.sees.iter().find(is_missing)?;
    Some(format!("it never saw {missing}"))
}

/// A rule that weighs what guests read at destinations, of a device that shows them nothing they wrote.
fn is_blind(result: &RuleResult, seen: &BTreeMap<(&'static str, usize), Seen>) -> bool {
    let has_read =
        seen.get(&(result.rule.id, result.pair.0)).is_some_and(|seen| seen.classes.has(Class::ReadBack));
    result.rule.sees.contains(&Class::ReadBack) && !has_read
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

fn seen(results: &[RuleResult]) -> BTreeMap<(&'static str, usize), Seen> {
    let mut raises = BTreeMap::new();
    for result in results {
        *raises.entry(result.pair.0).or_insert(false) |= result.counted.classes.has(Class::Interrupt);
    }
    let mut all: BTreeMap<_, Seen> = BTreeMap::new();
    for result in results {
        let seen = all.entry((result.rule.id, result.pair.0)).or_default();
        seen.classes = seen.classes.or(result.counted.classes);
        seen.raises_interrupts = raises[&result.pair.0];
        seen.is_driven |= result.counted.source.is_driven;
    }
    all
}

/// Judged and planned cases of each rule, on all pairs.
fn sums(results: &[RuleResult], judged: fn(&RuleResult) -> u32) -> BTreeMap<&'static str, (u32, u32)> {
    let mut sums = BTreeMap::new();
    for result in results {
        let sum: &mut (u32, u32) = sums.entry(result.rule.id).or_default();
        *sum = (sum.0.saturating_add(judged(result)), sum.1.saturating_add(result.planned));
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::super::Short;
    use super::*;
    use crate::bench::{Counted, Guests};
    use crate::rules::named;

    /// A result that held, of a rule on the first subject with itself.
    fn held(rule: &str, judged: u32, begun: u32, planned: u32) -> RuleResult {
        let rule = named(rule).expect("a rule");
        let classes = Classes::from(Class::ALL.to_vec());
        let counted = Counted { classes, ..Counted::default() };
        RuleResult {
            outcome: Outcome::Held,
            judged,
            begun,
            planned,
            counted,
            ..RuleResult::new(rule, (0, 0))
        }
    }

    fn none() -> Caveats {
        Caveats::of([])
    }

    #[track_caller]
    fn says(result: RuleResult, expected: &str) {
        let outcome = enough(vec![result], &none()).remove(0).outcome;
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
        says(held("chunking", 9, 9, 9), "planned 9 cases; at least 10 are needed");
        says(held("chunking", 1, 1, 1), "planned 1 cases; at least 10 are needed");
        says(held("latest-starts", 1, 1, 1), "held");
        says(
            RuleResult::new(named("chunking").expect("a rule"), (0, 0)),
            "planned 0 cases; at least 10 are needed",
        );
        says(held("chunking", 4, 40, 40), "only 4 of 40 cases could be judged");
        says(held("chunking", 5, 40, 40), "held");
    }

    #[test]
    fn what_was_cut_short_says_how_short() {
        let short = |result: RuleResult, short| RuleResult { short: Some(short), ..result };
        says(short(held("chunking", 38, 38, 40), Short::Time), "held");
        says(short(held("chunking", 37, 37, 40), Short::Time), "the time was up, after 37 of 40 cases");
        let nothing =
            RuleResult { planned: 40, ..RuleResult::new(named("chunking").expect("a rule"), (0, 0)) };
        says(short(nothing, Short::Patience), "not tried: too many cases in a row could not be judged");
    }

    #[test]
    fn where_nothing_can_be_read_there_is_nothing_to_weigh() {
        let result = || held("state-is-in-the-bytes", 40, 40, 40);
        says(result(), "held");
        let blind = enough(vec![RuleResult { counted: Counted::default(), ..result() }], &none()).remove(0);
        assert_eq!(blind.outcome, Outcome::NotApplicable(NotApplicable::NothingRead));
        assert_eq!((blind.judged, blind.skipped[&NotApplicable::NothingRead]), (0, 40));
    }

    #[test]
    fn a_rule_says_what_it_must_have_seen() {
        let blind = |result: RuleResult, guests: Guests| RuleResult {
            counted: Counted { source: guests, ..Counted::default() },
            ..result
        };
        let result = || held("chunking", 40, 40, 40);
        says(blind(result(), Guests::default()), "it never saw a migration that completed");
        let classes = Classes::from(vec![Class::Migration]);
        let twin = || held("twin-after-load", 40, 40, 40);
        let moved = |guests| {
            let counted = Counted { source: guests, classes, ..Counted::default() };
            RuleResult { counted, ..twin() }
        };
        says(moved(Guests::default()), "held");
        // An interrupt that is offered and never raised leaves nothing open.
        says(moved(Guests { interrupts: 1, ..Guests::default() }), "held");
        // Over vhost-user, where our host walks the states, nothing is sent while the device runs.
        let pre_copy = |guests| {
            let counted = Counted { source: guests, classes, ..Counted::default() };
            RuleResult { counted, ..held("precopy-is-stop-copy", 40, 40, 40) }
        };
        says(pre_copy(Guests::default()), "it never saw a PRE_COPY round that sent something");
        says(pre_copy(Guests { is_driven: true, ..Guests::default() }), "held");
        // Raised in the cases of another rule: then this one must see one, too.
        let results = enough(vec![moved(Guests::default()), result()], &none());
        let why = "it never saw an interrupt, and the device raises some";
        assert_eq!(results[0].outcome, Outcome::Unsettled(why.to_owned()));
    }
}
