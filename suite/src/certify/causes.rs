//! Causes: findings of several rules that are one bug, and the rule that it is held against.
//!
//! Two findings have one cause where the same thing went wrong at the same place: the same operation
//! failed in the same way, or a guest saw the same kind of difference at the same register, at an
//! instance of the same implementation, in the same state and with the same past. An operation that
//! fails at an instance that went through more is a consequence, too; and whatever goes wrong at an
//! instance that was just started explains the same thing everywhere else. What only one rule knows
//! of is a cause of its own.

use super::Unit;
use crate::finding::{self, Cause, Moment, Outcome, Past, What, Who};
use crate::rule::{Level, Rule};
use crate::rules;
use sha2::{Digest, Sha256};

/// Findings of one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Eight hexadecimal digits: the same in each run with the same implementations.
    pub id: String,
    /// The index of the unit whose rule is nearest to the cause.
    pub accused: usize,
    /// The indices of the others, in order.
    pub consequences: Vec<usize>,
}

impl Group {
    /// Whether a finding is one of it.
    pub fn has(&self, unit: usize) -> bool {
        self.accused == unit || self.consequences.contains(&unit)
    }
}

/// What is compared of a finding.
struct Node<'a> {
    unit: usize,
    rule: &'static Rule,
    /// Whether a profile waives it: it explains nothing that counts.
    is_waived: bool,
    /// Whether it is known, and so not counted.
    is_known: bool,
    pair: (usize, usize),
    /// The implementation at fault.
    subject: usize,
    cause: &'a Cause,
    /// What tells it apart where only its rule knows of it.
    place: String,
}

/// The causes of all findings, in the order of the rules that they are held against.
pub fn causes(units: &[Unit]) -> Vec<Group> {
    let mut nodes: Vec<Node<'_>> =
        units.iter().enumerate().filter_map(|(at, unit)| Node::of(at, unit)).collect();
    // What happens to an instance that went through less explains what happens to others.
    nodes.sort_by_key(|node| {
        (node.is_waived, !node.cause.is_new(), node.past().len(), node.cause.steps, node.unit)
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
    fn of(at: usize, unit: &'a Unit) -> Option<Node<'a>> {
        let Outcome::Broken(finding) = &unit.outcome else { return None };
        let cause = &finding.cause;
        let loads = |site: Moment| {
            matches!(site.who, Who::Destination | Who::Newer | Who::Other | Who::OtherInstance | Who::Second)
        };
        let subject = if cause.site.is_some_and(loads) { unit.pair.1 } else { unit.pair.0 };
        let (is_waived, is_known) = (unit.waived.is_some(), unit.known.is_some());
        let place = finding::place_of(finding);
        Some(Node { unit: at, rule: unit.rule, pair: unit.pair, is_waived, is_known, subject, cause, place })
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
        |node: &&Node<'_>| (counts_less(node), about(node), builds(node), node.cause.steps, node.unit);
    let accused = group.iter().min_by_key(nearest)?.unit;
    let mut consequences: Vec<usize> =
        group.iter().map(|node| node.unit).filter(|unit| *unit != accused).collect();
    consequences.sort_unstable();
    Some(Group { id: group.first()?.id(), accused, consequences })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{Event, Finding};
    use migcert_core::device::State;

    const RESET: &str = "reset: DEVICE_RESET";

    fn unit(rule: &str, what: What, site: Option<(Who, Option<State>, Past)>, steps: u32) -> Unit {
        let site = site.map(|(who, at, past)| Moment { who, at, past });
        let rule = rules::named(rule).expect("a rule");
        let finding =
            Finding { summary: rule.id.to_owned(), cause: Cause { what, site, steps }, ..Finding::default() };
        Unit { outcome: Outcome::Broken(finding), ..Unit::new(rule, (0, 0)) }
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
    fn told(units: &[Unit]) -> Vec<String> {
        let name = |at: &usize| units[*at].rule.id;
        let group = |group: Group| {
            let consequences: Vec<&str> = group.consequences.iter().map(name).collect();
            format!("{}: {}", name(&group.accused), consequences.join(" "))
        };
        causes(units).into_iter().map(group).collect()
    }

    #[test]
    fn an_operation_is_held_against_the_rule_about_it() {
        let refused = |at, past| Some((Who::Destination, Some(at), past));
        let units = [
            unit(
                "refusal-leaves-nothing",
                failure(RESET, "EINVAL"),
                refused(State::Resuming, past(&[Event::Refused])),
                9,
            ),
            unit(
                "fresh-runs",
                failure(RESET, "EINVAL"),
                Some((Who::Source, Some(State::Running), past(&[]))),
                3,
            ),
            unit(
                "reset-is-fresh",
                failure(RESET, "EINVAL"),
                Some((Who::Source, Some(State::Running), past(&[]))),
                4,
            ),
            unit(
                "reset-forgets-a-load",
                failure(RESET, "EIO"),
                refused(State::Stop, past(&[Event::Loaded])),
                9,
            ),
        ];
        assert_eq!(
            told(&units),
            ["reset-is-fresh: refusal-leaves-nothing fresh-runs", "reset-forgets-a-load: "]
        );
    }

    #[test]
    fn what_fails_in_two_places_only_has_two_causes() {
        let at = |state, event| Some((Who::Destination, Some(state), past(&[event])));
        let units = [
            unit("refusal-leaves-nothing", failure(RESET, "EINVAL"), at(State::Resuming, Event::Refused), 9),
            unit("reset-forgets-a-load", failure(RESET, "EINVAL"), at(State::Stop, Event::Loaded), 9),
        ];
        assert_eq!(told(&units).len(), 2);
    }

    #[test]
    fn differences_are_told_apart_by_place_kind_and_past() {
        let loaded = Some((Who::Destination, Some(State::Running), past(&[Event::Loaded])));
        let reset = Some((Who::Destination, Some(State::Running), past(&[Event::Loaded, Event::Reset])));
        let value = "a value instead of a value";
        let units = [
            unit("twin-after-second", difference("read 0:0x10", value), loaded, 20),
            unit("twin-after-load", difference("read 0:0x10", value), loaded, 10),
            unit("chunking", difference("read 0:0x14", value), loaded, 10),
            unit("precopy-is-stop-copy", difference("read 0:0x10", "EIO instead of a value"), loaded, 10),
            unit("reset-forgets-a-load", difference("read 0:0x10", value), reset, 10),
        ];
        let alone = ["chunking: ", "precopy-is-stop-copy: ", "reset-forgets-a-load: "];
        assert_eq!(told(&units), [&["twin-after-load: twin-after-second"], &alone[..]].concat());
    }

    #[test]
    fn what_only_a_rule_knows_of_is_a_cause_of_its_own() {
        let units =
            [unit("save-is-repeatable", What::Other, None, 3), unit("load-is-bounded", What::Other, None, 3)];
        assert_eq!(told(&units), ["save-is-repeatable: ", "load-is-bounded: "]);
        let pairs = [units[0].clone(), Unit { pair: (1, 1), ..units[0].clone() }];
        assert_eq!(told(&pairs).len(), 2, "two implementations have two bugs");
        let compared = unit("off-means-the-same", What::Other, None, 1);
        let pairs = [Unit { pair: (0, 1), ..compared.clone() }, Unit { pair: (1, 0), ..compared }];
        assert_eq!(told(&pairs).len(), 1, "two that are compared have one");
    }

    #[test]
    fn what_does_not_count_hides_nothing_that_counts() {
        let loaded = Some((Who::Destination, Some(State::Running), past(&[Event::Loaded])));
        let value = difference("read 0:0x10", "a value instead of a value");
        let refused = Some((Who::Source, Some(State::Running), past(&[])));
        for (what, site, is_known_with) in [(value, loaded, false), (failure(RESET, "EINVAL"), refused, true)]
        {
            let [one, other] = ["twin-after-load", "chunking"].map(|rule| unit(rule, what.clone(), site, 10));
            let waived = Unit { waived: Some("known".to_owned()), ..one.clone() };
            let known = Unit { known: Some("a.toml".to_owned()), ..one.clone() };
            assert_eq!(told(&[one, other.clone()]), ["twin-after-load: chunking"]);
            assert!(told(&[waived, other.clone()]).contains(&"chunking: twin-after-load".to_owned()));
            assert_eq!(told(&[known, other]).len() == 1, is_known_with);
        }
    }
}
