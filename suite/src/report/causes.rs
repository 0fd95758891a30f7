//! What a report says of causes: which findings are one bug, and which rule it is held against.

use crate::certify::{self, Group, Unit};
use crate::finding::{Finding, Outcome};
use crate::row;
use crate::text::Lines;
use serde_json::{Value as Json, json};

/// The causes of the findings of a certification.
pub(super) struct Causes<'a> {
    units: &'a [Unit],
    groups: Vec<Group>,
}

/// What one rule shows of a cause that another one is accused of.
struct Consequence {
    rule: &'static str,
    /// Pairs on which it is broken.
    pairs: u32,
    /// Cases that were judged on them.
    cases: u64,
}

impl<'a> Causes<'a> {
    pub(super) fn of(units: &'a [Unit]) -> Causes<'a> {
        Causes { units, groups: certify::causes(units) }
    }

    /// `5 broken (2 causes)`, for that many broken rules.
    pub(super) fn count(&self, broken: usize) -> String {
        match self.groups.len() {
            0 => format!("{broken} broken"),
            1 => format!("{broken} broken (1 cause)"),
            several => format!("{broken} broken ({several} causes)"),
        }
    }

    fn group(&self, unit: usize) -> Option<&Group> {
        self.groups.iter().find(|group| group.has(unit))
    }

    /// Whether a finding is the consequence of another, which is reported in its place.
    pub(super) fn is_consequence(&self, unit: usize) -> bool {
        self.group(unit).is_some_and(|group| group.accused != unit)
    }

    /// The rule that a finding is a consequence of.
    fn consequence_of(&self, unit: usize) -> Option<&'static str> {
        let group = self.group(unit).filter(|group| group.accused != unit)?;
        Some(self.units[group.accused].rule.id)
    }

    /// What stands behind a broken rule of which every finding is a consequence.
    pub(super) fn why(&self, units: &[(usize, &Unit)]) -> String {
        let broken = units.iter().filter(|(_, unit)| matches!(unit.outcome, Outcome::Broken(_)));
        let rules: Option<Vec<&str>> = broken.map(|(at, _)| self.consequence_of(*at)).collect();
        match rules.as_deref() {
            Some([rule, ..]) => format!("  (consequence of {rule})"),
            _ => String::new(),
        }
    }

    /// The cause of a finding, as a member of its JSON object.
    pub(super) fn put(&self, unit: usize, json: &mut Json) {
        if let Some(group) = self.group(unit) {
            json["cause"] = json!(group.id);
        }
    }

    /// The causes that findings of a rule are consequences of.
    pub(super) fn behind(&self, units: &[(usize, &Unit)]) -> Vec<&str> {
        let behind = |group: &&Group| units.iter().any(|(unit, _)| group.consequences.contains(unit));
        self.groups.iter().filter(behind).map(|group| &*group.id).collect()
    }

    /// All of them as JSON.
    pub(super) fn json(&self) -> Vec<Json> {
        let consequence =
            |Consequence { rule, pairs, cases }| json!({ "rule": rule, "pairs": pairs, "cases": cases });
        let cause = |group: &Group| {
            json!({
                "id": group.id,
                "rule": self.units[group.accused].rule.id,
                "summary": self.summary(group),
                "consequences": self.consequences(group).into_iter().map(consequence).collect::<Vec<_>>(),
            })
        };
        self.groups.iter().map(cause).collect()
    }

    /// All of them as text, where one has consequences.
    pub(super) fn text(&self, out: &mut Lines) {
        if self.groups.iter().all(|group| group.consequences.is_empty()) {
            return;
        }
        row!(out);
        for group in &self.groups {
            row!(out, "cause   {} {}: {}", group.id, self.units[group.accused].rule.id, self.summary(group));
            for Consequence { rule, pairs, cases } in self.consequences(group) {
                let on = if pairs == 1 { String::new() } else { format!(" on {pairs} pairs") };
                row!(out, "  consequence  {rule:<27} within {cases} cases{on}");
            }
        }
    }

    fn summary(&self, group: &Group) -> &str {
        match &self.units[group.accused].outcome {
            Outcome::Broken(Finding { summary, .. }) => summary,
            _ => "",
        }
    }

    /// The rules that are broken by it, too, in their order.
    fn consequences(&self, group: &Group) -> Vec<Consequence> {
        let mut rules: Vec<Consequence> = Vec::new();
        for unit in group.consequences.iter().map(|at| &self.units[*at]) {
            match rules.last_mut() {
                Some(last) if last.rule == unit.rule.id => {
                    last.pairs += 1;
                    last.cases += u64::from(unit.judged);
                }
                _ => rules.push(Consequence { rule: unit.rule.id, pairs: 1, cases: unit.judged.into() }),
            }
        }
        rules
    }
}
