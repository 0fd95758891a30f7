//! Causes: findings of several rules that are one bug, and the rule that it is held against.
//!
//! Two findings have one cause where the same thing went wrong at the same place: the same operation
//! failed in the same way, or a guest saw the same kind of difference at the same register, at an
//! instance of the same implementation, in the same state and with the same past. An operation that
//! fails at an instance that went through more is a consequence, too; and whatever goes wrong at an
//! instance that was just started explains the same thing everywhere else. What only one rule knows
//! of is a cause of its own.

use super::RuleResult;
use crate::finding::{self, Cause, Moment, Outcome, Past, What, Who};
use crate::rule::{Level, Rule};
use crate::rules;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Findings of one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Eight hexadecimal digits: the same in each run with the same implementations.
    pub id: String,
    /// The index of the result whose rule is nearest to the cause.
    pub accused: usize,
    /// The indices of the others, in order.
    pub consequences: Vec<usize>,
}

impl Group {
    /// Whether a finding is one of the group.
    pub fn has(&self, result: usize) -> bool {
        self.accused == result || self.consequences.contains(&result)
    }
}

/// What is compared of a finding.
struct Node<'a> {
    result: usize,
    rule: &'static Rule,
    /// Whether a profile waives it: it explains nothing that counts.
    is_waived: bool,
    /// Whether it is known, and so not counted.
    is_known: bool,
    pair: (usize, usize),
    /// The implementation at fault.
    subject: usize,
    cause: &'a Cause,
    /// What distinguishes it from others of its rule, where only that rule knows of it.
    place: String,
}

/// The causes of all findings, in the order of the rules that they are held against.
pub fn causes(results: &[RuleResult]) -> Vec<Group> {
    let mut nodes: Vec<Node<'_>> =
        results.iter().enumerate().filter_map(|(at, result)| Node::of(at, result)).collect();
    // What happens to an instance that went through less explains what happens to others.
    nodes.sort_by_key(|node| {
        (node.is_waived, !node.cause.is_new(), node.past().len(), node.cause.steps, node.result)
    });
    let mut groups: Vec<Vec<Node<'_>>> = Vec::new();
    for node in nodes {
        match groups.iter_mut().find(|group| group[0].explains(&node)) {
            Some(group) => group.push(node),
            None => groups.push(vec![node]),
        }
    }
    let mut groups: Vec<Group> = groups.into_iter().filter_map(|group| held_against(&group)).collect();
    groups.sort_by_key(|group| group.accused);
    groups
}

impl<'a> Node<'a> {
    fn of(at: usize, result: &'a RuleResult) -> Option<Node<'a>> {
        let Outcome::Broken(finding) = &result.outcome else { return None };
        let cause = &finding.cause;
        let loads = |site: Moment| {
            matches!(site.who, Who::Destination | Who::Newer | Who::Other | Who::OtherInstance | Who::Second)
        };
        let subject = if cause.site.is_some_and(loads) { result.pair.1 } else { result.pair.0 };
        let (is_waived, is_known) = (result.waived.is_some(), result.known.is_some());
        let place = finding::place_of(finding);
        Some(Node {
            result: at,
            rule: result.rule,
            pair: result.pair,
            is_waived,
            is_known,
            subject,
            cause,
            place,
        })
    }

    fn past(&self) -> Past {
        self.cause.site.map_or_else(Past::default, |site| site.past)
    }

    /// Whether what happened here is the cause of what happened there.
    fn explains(&self, other: &Node<'_>) -> bool {
        if self.is_waived && !other.is_waived {
            return false;
        }
        // Two bugs may show at one register: none that is not known hides behind one that is.
        let is_difference = matches!(self.cause.what, What::Difference { .. });
        if is_difference && self.is_known != other.is_known {
            return false;
        }
        if self.cause.what == What::Other {
            // Of two implementations that are compared, both are at fault, or none.
            let is_reverse = self.cause.site.is_none() && self.pair == (other.pair.1, other.pair.0);
            let is_same = (self.rule.id, &self.place) == (other.rule.id, &other.place);
            return is_same
                && other.cause.what == What::Other
                && (is_reverse || self.subject == other.subject);
        }
        self.subject == other.subject && self.cause.explains(other.cause)
    }

    fn id(&self) -> String {
        let Cause { what, site, .. } = self.cause;
        let what = match what {
            What::Other => format!("{} {}", self.rule.id, self.place),
            what => format!("{what:?}"),
        };
        let site = site.map_or_else(String::new, |site| format!("{:?} {:?}", site.at, site.past));
        hex::encode(&Sha256::digest(format!("{what} {site} {}", self.subject))[..4])
    }
}

/// The rule nearest to the cause, of those that count most: the one about the operation that failed, else
/// one that builds on no other, with the fewest operations before.
fn held_against(group: &[Node<'_>]) -> Option<Group> {
    let about = |node: &Node<'_>| match &node.cause.what {
        What::Failure { operation, .. } => {
            let about = rules::about(operation);
            about.iter().position(|rule| rule.id == node.rule.id).unwrap_or(about.len())
        }
        _ => 0,
    };
    let builds = |node: &Node<'_>| group.iter().any(|other| node.rule.builds_on(other.rule));
    let counts_less = |node: &Node<'_>| (node.is_waived, node.rule.level == Level::Should);
    let nearest =
        |node: &&Node<'_>| (counts_less(node), about(node), builds(node), node.cause.steps, node.result);
    let accused = group.iter().min_by_key(nearest)?.result;
    let mut consequences: Vec<usize> =
        group.iter().map(|node| node.result).filter(|result| *result != accused).collect();
    consequences.sort_unstable();
    Some(Group { id: group.first()?.id(), accused, consequences })
}

/// Findings of one cause, and the rule that they are held against: an element of `causes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CauseReport {
    /// Eight hexadecimal digits: the same in each run with the same implementations.
    pub id: String,
    /// The id of the accused rule.
    pub rule: String,
    /// Its finding, in one line.
    pub summary: String,
    /// The rules that are broken by it, too.
    pub consequences: Vec<Consequence>,
}

/// What one rule shows of a cause that another one is accused of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Consequence {
    /// The rule's id.
    pub rule: String,
    /// Pairs on which it is broken.
    pub pairs: u32,
    /// Cases that were judged on them.
    pub cases: u64,
}

/// The causes of the findings of a certification.
pub(super) struct Causes<'a> {
    results: &'a [RuleResult],
    groups: Vec<Group>,
}

impl<'a> Causes<'a> {
    pub(super) fn of(results: &'a [RuleResult]) -> Causes<'a> {
        Causes { results, groups: causes(results) }
    }

    /// The id of the cause of a finding.
    pub(super) fn id(&self, result: usize) -> Option<String> {
        self.groups.iter().find(|group| group.has(result)).map(|group| group.id.clone())
    }

    /// Whether a finding is the consequence of another, which is reported in its place.
    pub(super) fn is_consequence(&self, result: usize) -> bool {
        self.groups.iter().any(|group| group.consequences.contains(&result))
    }

    /// The causes that these results are consequences of.
    pub(super) fn behind(&self, results: &[usize]) -> Vec<String> {
        let behind = |group: &&Group| results.iter().any(|result| group.consequences.contains(result));
        self.groups.iter().filter(behind).map(|group| group.id.clone()).collect()
    }

    pub(super) fn reports(&self) -> Vec<CauseReport> {
        let report = |group: &Group| {
            let accused = &self.results[group.accused];
            let summary = match &accused.outcome {
                Outcome::Broken(finding) => finding.summary.clone(),
                _ => String::new(),
            };
            let (id, rule) = (group.id.clone(), accused.rule.id.to_owned());
            CauseReport { id, rule, summary, consequences: self.consequences(group) }
        };
        self.groups.iter().map(report).collect()
    }

    /// The rules that are broken by it, too, in their order.
    fn consequences(&self, group: &Group) -> Vec<Consequence> {
        let results: Vec<_> = group.consequences.iter().map(|at| &self.results[*at]).collect();
        let rule = |results: &[&RuleResult]| Consequence {
            rule: results[0].rule.id.to_owned(),
            pairs: u32::try_from(results.len()).unwrap_or(u32::MAX),
            cases: results.iter().map(|result| u64::from(result.judged)).sum(),
        };
        results.chunk_by(|one, next| one.rule.id == next.rule.id).map(rule).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{Event, Finding};
    use migcert_core::device::State;

    const RESET: &str = "reset: DEVICE_RESET";

    fn result(rule: &str, what: What, site: Option<(Who, Option<State>, Past)>, steps: u32) -> RuleResult {
        let site = site.map(|(who, at, past)| Moment { who, at, past });
        let rule = rules::named(rule).expect("a rule");
        let finding =
            Finding { summary: rule.id.to_owned(), cause: Cause { what, site, steps }, ..Finding::default() };
        RuleResult { outcome: Outcome::Broken(finding), ..RuleResult::new(rule, (0, 0)) }
    }

    fn failure(operation: &str, how: &str) -> What {
        What::Failure { operation: operation.to_owned(), how: how.to_owned() }
    }

    fn difference(place: &str, kind: &str) -> What {
        What::Difference { place: place.to_owned(), kind: kind.to_owned() }
    }

    fn past(events: &[Event]) -> Past {
        events.iter().fold(Past::default(), |past, event| past.with(*event))
    }

    /// The accused rules, each with its consequences.
    fn told(results: &[RuleResult]) -> Vec<String> {
        let name = |at: &usize| results[*at].rule.id;
        let group = |group: Group| {
            let consequences: Vec<&str> = group.consequences.iter().map(name).collect();
            format!("{}: {}", name(&group.accused), consequences.join(" "))
        };
        causes(results).into_iter().map(group).collect()
    }

    #[test]
    fn an_operation_is_held_against_the_rule_about_it() {
        let refused = |at, past| Some((Who::Destination, Some(at), past));
        let results = [
            result(
                "refusal-leaves-nothing",
                failure(RESET, "EINVAL"),
                refused(State::Resuming, past(&[Event::Refused])),
                9,
            ),
            result(
                "fresh-runs",
                failure(RESET, "EINVAL"),
                Some((Who::Source, Some(State::Running), past(&[]))),
                3,
            ),
            result(
                "reset-is-fresh",
                failure(RESET, "EINVAL"),
                Some((Who::Source, Some(State::Running), past(&[]))),
                4,
            ),
            result(
                "reset-forgets-a-load",
                failure(RESET, "EIO"),
                refused(State::Stop, past(&[Event::Loaded])),
                9,
            ),
        ];
        assert_eq!(
            told(&results),
            ["reset-is-fresh: refusal-leaves-nothing fresh-runs", "reset-forgets-a-load: "]
        );
    }

    #[test]
    fn what_fails_in_two_places_only_has_two_causes() {
        let at = |state, event| Some((Who::Destination, Some(state), past(&[event])));
        let results = [
            result(
                "refusal-leaves-nothing",
                failure(RESET, "EINVAL"),
                at(State::Resuming, Event::Refused),
                9,
            ),
            result("reset-forgets-a-load", failure(RESET, "EINVAL"), at(State::Stop, Event::Loaded), 9),
        ];
        assert_eq!(told(&results).len(), 2);
    }

    #[test]
    fn differences_are_told_apart_by_place_kind_and_past() {
        let loaded = Some((Who::Destination, Some(State::Running), past(&[Event::Loaded])));
        let reset = Some((Who::Destination, Some(State::Running), past(&[Event::Loaded, Event::Reset])));
        let value = "a value instead of a value";
        let results = [
            result("twin-after-second", difference("read 0:0x10", value), loaded, 20),
            result("twin-after-load", difference("read 0:0x10", value), loaded, 10),
            result("chunking", difference("read 0:0x14", value), loaded, 10),
            result("precopy-is-stop-copy", difference("read 0:0x10", "EIO instead of a value"), loaded, 10),
            result("reset-forgets-a-load", difference("read 0:0x10", value), reset, 10),
        ];
        let alone = ["chunking: ", "precopy-is-stop-copy: ", "reset-forgets-a-load: "];
        assert_eq!(told(&results), [&["twin-after-load: twin-after-second"], &alone[..]].concat());
    }

    #[test]
    fn what_only_a_rule_knows_of_is_a_cause_of_its_own() {
        let results = [
            result("save-is-repeatable", What::Other, None, 3),
            result("load-is-bounded", What::Other, None, 3),
        ];
        assert_eq!(told(&results), ["save-is-repeatable: ", "load-is-bounded: "]);
        let pairs = [results[0].clone(), RuleResult { pair: (1, 1), ..results[0].clone() }];
        assert_eq!(told(&pairs).len(), 2, "two implementations have two bugs");
        let compared = result("off-means-the-same", What::Other, None, 1);
        let pairs =
            [RuleResult { pair: (0, 1), ..compared.clone() }, RuleResult { pair: (1, 0), ..compared }];
        assert_eq!(told(&pairs).len(), 1, "two that are compared have one");
    }

    #[test]
    fn what_does_not_count_hides_nothing_that_counts() {
        let loaded = Some((Who::Destination, Some(State::Running), past(&[Event::Loaded])));
        let value = difference("read 0:0x10", "a value instead of a value");
        let refused = Some((Who::Source, Some(State::Running), past(&[])));
        for (what, site, is_known_with) in [(value, loaded, false), (failure(RESET, "EINVAL"), refused, true)]
        {
            let [one, other] =
                ["twin-after-load", "chunking"].map(|rule| result(rule, what.clone(), site, 10));
            let waived = RuleResult { waived: Some("known".to_owned()), ..one.clone() };
            let known = RuleResult { known: Some("a.toml".to_owned()), ..one.clone() };
            assert_eq!(told(&[one, other.clone()]), ["twin-after-load: chunking"]);
            assert!(told(&[waived, other.clone()]).contains(&"chunking: twin-after-load".to_owned()));
            assert_eq!(told(&[known, other]).len() == 1, is_known_with);
        }
    }
}
