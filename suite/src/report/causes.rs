//! What a report says of causes: which findings are one bug, and which rule it is held against.

use crate::certify::{self, Group, Unit};
use crate::row;
use crate::rules::{Finding, Outcome};
use crate::text::Lines;
use serde_json::{Value as Json, json};

/// The causes of the findings of a certification.
pub(super) struct Causes<'a> {
    units: &'a [Unit],
    groups: Vec<Group>,
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

    /// The rule that a finding is a consequence of.
    pub(super) fn consequence_of(&self, unit: usize) -> Option<&'static str> {
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

    /// The cause of a finding, as members of its JSON object.
    pub(super) fn put(&self, unit: usize, json: &mut Json) {
        if let Some(group) = self.group(unit) {
            json["cause"] = json!(group.id);
        }
        if let Some(rule) = self.consequence_of(unit) {
            json["consequence_of"] = json!(rule);
        }
    }

    /// All of them as JSON.
    pub(super) fn json(&self) -> Vec<Json> {
        let cause = |group: &Group| {
            json!({
                "id": group.id,
                "rule": self.units[group.accused].rule.id,
                "summary": self.summary(group),
                "consequences": self.consequences(group),
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
            let consequences = self.consequences(group);
            if !consequences.is_empty() {
                row!(out, "  consequences  {}", consequences.join(", "));
            }
        }
    }

    fn summary(&self, group: &Group) -> &str {
        match &self.units[group.accused].outcome {
            Outcome::Broken(Finding { summary, .. }) => summary,
            _ => "",
        }
    }

    /// The rules that are broken by it, too.
    fn consequences(&self, group: &Group) -> Vec<&'static str> {
        let mut rules: Vec<&'static str> = Vec::new();
        for unit in &group.consequences {
            let rule = self.units[*unit].rule.id;
            if !rules.contains(&rule) && rule != self.units[group.accused].rule.id {
                rules.push(rule);
            }
        }
        rules
    }
}
