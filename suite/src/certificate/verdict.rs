//! The verdict table: the first row that applies decides the verdict of a certification.

use super::{RuleResult, SubjectInfo, Waiver};
use crate::finding::Outcome;
use serde::{Deserialize, Serialize};

/// The verdict of a certification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything that could be judged held.
    Pass,
    /// A promise is broken.
    Fail,
    /// Too little could be judged to say.
    Incomplete,
}

impl Verdict {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Incomplete => "incomplete",
        }
    }
}

/// The facts that a verdict depends on.
pub struct Facts<'a> {
    /// The results of the rules.
    pub results: &'a [RuleResult],
    /// Whether rules of the level should count.
    pub strict: bool,
    /// The implementations.
    pub subjects: &'a [SubjectInfo],
    /// Their waivers.
    pub waivers: &'a [Waiver],
    /// Whether the rules passed their own test.
    pub is_self_tested: bool,
    /// Whether these are the results of a part.
    pub is_part: bool,
}

/// A row of the verdict table.
pub struct Ruling {
    /// Stable name, for scripts.
    pub id: &'static str,
    when: fn(&Facts<'_>) -> bool,
    /// What it decides.
    pub verdict: Verdict,
    /// The exit status of `migcert certify`.
    pub exit: u8,
    /// Why, in words.
    pub why: &'static str,
}

/// The table. Nothing passes by default: some rule must have held, or have a known finding.
#[rustfmt::skip]
static TABLE: &[Ruling] = &[
    Ruling { id: "self-test",     when: |facts| !facts.is_self_tested,           verdict: Verdict::Incomplete, exit: 4,
        why: "the rules fail their own test" },
    Ruling { id: "changed",       when: |facts| any(facts, |info| info.changed.is_some()), verdict: Verdict::Incomplete, exit: 4,
        why: "an implementation was replaced while it was tried" },
    Ruling { id: "broken",        when: is_broken,                               verdict: Verdict::Fail,       exit: 100,
        why: "a rule is broken" },
    Ruling { id: "stale-waiver",  when: |facts| facts.waivers.iter().any(|waiver| waiver.is_stale), verdict: Verdict::Fail, exit: 100,
        why: "a waiver hides nothing" },
    Ruling { id: "part",          when: |facts| facts.is_part,                   verdict: Verdict::Incomplete, exit: 4,
        why: "this is one part; `migcert merge` decides" },
    Ruling { id: "unsettled",     when: is_unsettled,                            verdict: Verdict::Incomplete, exit: 4,
        why: "a rule is unsettled" },
    Ruling { id: "few-judged",    when: is_little,                               verdict: Verdict::Incomplete, exit: 4,
        why: "fewer than a third of the cases could be judged" },
    Ruling { id: "nothing-held",  when: |facts| !facts.results.iter().any(shows), verdict: Verdict::Incomplete, exit: 4,
        why: "no rule held" },
    Ruling { id: "inert",         when: |facts| any(facts, |info| !info.inert.is_empty()), verdict: Verdict::Incomplete, exit: 4,
        why: "no guest action has a visible effect" },
    Ruling { id: "needs-shared",  when: |facts| any(facts, |info| info.needed().is_some()), verdict: Verdict::Incomplete, exit: 4,
        why: "a program needs something shared that its profile does not share" },
    Ruling { id: "volatile",      when: |facts| any(facts, |info| info.learned.too_much().is_some()), verdict: Verdict::Incomplete, exit: 4,
        why: "too much of what guests see is volatile" },
    Ruling { id: "held",          when: |_| true,                                verdict: Verdict::Pass,       exit: 0,
        why: "nothing that counts is broken or unsettled" },
];

/// The row that decides.
pub fn decide(facts: &Facts<'_>) -> &'static Ruling {
    let first = TABLE.iter().find(|row| (row.when)(facts));
    first.expect("the last row always applies")
}

fn any(facts: &Facts<'_>, is: fn(&SubjectInfo) -> bool) -> bool {
    facts.subjects.iter().any(is)
}

fn is_broken(facts: &Facts<'_>) -> bool {
    counted(facts).any(|result| matches!(result.outcome, Outcome::Broken(_)))
}

fn is_unsettled(facts: &Facts<'_>) -> bool {
    counted(facts).any(|result| matches!(result.outcome, Outcome::Unsettled(_)))
}

/// Whether fewer than a third of the cases begun were judged.
fn is_little(facts: &Facts<'_>) -> bool {
    let sum = |count: fn(&RuleResult) -> u32| -> u64 {
        facts.results.iter().map(|result| u64::from(count(result))).sum()
    };
    sum(|result| result.judged) < sum(|result| result.begun) / 3
}

fn counted<'a>(facts: &Facts<'a>) -> impl Iterator<Item = &'a RuleResult> {
    let strict = facts.strict;
    facts.results.iter().filter(move |result| result.counts(strict))
}

/// Whether a rule held, or has a known finding.
fn shows(result: &RuleResult) -> bool {
    let is_known = matches!(result.outcome, Outcome::Broken(_)) && result.known.is_some();
    result.outcome == Outcome::Held || is_known
}

impl std::fmt::Debug for Ruling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.id)
    }
}

/// A row in files: its id.
pub(super) mod by_id {
    use super::{Ruling, TABLE};
    use migcert_core::text::Short;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(row: &Ruling, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(row.id)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<&'static Ruling, D::Error> {
        let id = String::deserialize(deserializer)?;
        let row = TABLE.iter().find(|row| row.id == id);
        row.ok_or_else(|| D::Error::custom(format!("unknown row `{}` of the verdict table", Short(&id))))
    }
}

/// The ids of the table, for the schema.
#[cfg(test)]
pub(super) fn ids() -> Vec<&'static str> {
    TABLE.iter().map(|row| row.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Finding;
    use crate::rules::named;

    fn result(rule: &str, outcome: Outcome) -> RuleResult {
        let rule = named(rule).expect("a rule");
        RuleResult { outcome, judged: 9, begun: 9, ..RuleResult::new(rule, (0, 0)) }
    }

    fn decided(results: &[RuleResult], change: impl FnOnce(&mut Facts<'_>)) -> &'static str {
        let mut facts = Facts {
            results,
            strict: false,
            subjects: &[],
            waivers: &[],
            is_self_tested: true,
            is_part: false,
        };
        change(&mut facts);
        decide(&facts).id
    }

    #[test]
    fn the_first_row_that_applies_decides() {
        let held = || result("chunking", Outcome::Held);
        let broken = || result("twin-after-load", Outcome::Broken(Finding::default()));
        let unsettled = || result("ping-pong", Outcome::Unsettled(String::new()));
        assert_eq!(decided(&[held()], |_| ()), "held");
        assert_eq!(decided(&[held()], |facts| facts.is_part = true), "part");
        assert_eq!(decided(&[], |facts| facts.is_part = true), "part");
        assert_eq!(decided(&[held(), unsettled()], |_| ()), "unsettled");
        assert_eq!(decided(&[], |_| ()), "nothing-held");
        assert_eq!(decided(&[held(), RuleResult { begun: 99, ..held() }], |_| ()), "few-judged");
        assert_eq!(decided(&[held(), unsettled(), broken()], |facts| facts.is_part = true), "broken");
        assert_eq!(decided(&[held(), broken()], |facts| facts.is_self_tested = false), "self-test");
        let known = RuleResult { known: Some("a.toml".to_owned()), ..broken() };
        assert_eq!(decided(&[known], |_| ()), "held");
    }

    #[test]
    fn rules_of_the_level_should_count_where_that_is_asked_for() {
        let should = crate::rules::ALL.iter().find(|rule| rule.level == crate::rule::Level::Should);
        let broken = result(should.expect("a rule").id, Outcome::Broken(Finding::default()));
        let results = [result("chunking", Outcome::Held), broken];
        assert_eq!(decided(&results, |_| ()), "held");
        assert_eq!(decided(&results, |facts| facts.strict = true), "broken");
    }

    #[test]
    fn the_readme_has_the_table() {
        let readme = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md"));
        let rows =
            TABLE.iter().map(|row| format!("| `{}` | {} | {} |", row.id, row.verdict.name(), row.exit));
        let at: Vec<_> =
            rows.map(|row| readme.find(&row).unwrap_or_else(|| panic!("no row `{row}`"))).collect();
        assert!(at.is_sorted(), "in the order of the table");
    }

    #[test]
    fn each_row_has_a_name_of_its_own_and_the_status_of_its_verdict() {
        for (at, row) in TABLE.iter().enumerate() {
            assert!(TABLE[..at].iter().all(|other| other.id != row.id), "{row:?}");
            let status = match row.verdict {
                Verdict::Pass => 0,
                Verdict::Fail => 100,
                Verdict::Incomplete => 4,
            };
            assert_eq!(row.exit, status, "{row:?}");
        }
    }
}
