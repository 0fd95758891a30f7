//! A rule: what a device promises, and what selects, weighs and draws its cases.

use crate::case::Draws;
use crate::finding::Class;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A promise of a device. The row is the documentation, the report and the selector.
#[derive(Debug)]
pub struct Rule {
    /// Stable name, for `--only` and scripts.
    pub id: &'static str,
    /// The requirement that it tests.
    pub cites: &'static str,
    /// Whether breaking it fails a certification.
    pub level: Level,
    /// What the device promises, in one sentence.
    pub promise: &'static str,
    /// What to do where it is broken.
    pub advice: &'static str,
    /// How much of a case is drawn for it.
    pub draws: Draws,
    /// The pairs of implementations that it tests.
    pub on: On,
    /// Events that must have happened at least once in its cases, or it does not count as held.
    pub sees: &'static [Class],
    /// Base rules: if the same case breaks one of them, this rule is not blamed.
    pub builds_on: &'static [&'static Rule],
}

impl Rule {
    /// Whether it builds on another rule, directly or not.
    pub fn builds_on(&self, other: &Rule) -> bool {
        self.builds_on.iter().any(|base| base.id == other.id || base.builds_on(other))
    }

    /// Whether it is about starts: only a new process shows that.
    pub fn is_about_starts(&self) -> bool {
        matches!(self.cites, "R-7.1" | "R-8.3")
    }

    /// Whether a waiver of this name is about it: its id or its requirement.
    pub fn is_waived(&self, waives: &str) -> bool {
        waives == self.id || waives == self.cites
    }

    /// The waiver that is about it, by name, and the reason.
    pub fn waiver<'a>(&self, waive: &'a BTreeMap<String, String>) -> Option<(&'a str, &'a str)> {
        let of = |(name, _): &(&String, &String)| self.is_waived(name);
        waive.iter().find(of).map(|(name, why)| (name.as_str(), why.as_str()))
    }
}

/// How much a broken rule weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The device may leave a guest broken.
    Must,
    /// Good devices do; counted with `--strict`.
    Should,
}

impl Level {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Must => "must",
            Level::Should => "should",
        }
    }
}

/// The ordered pairs (source, destination) that a rule tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum On {
    /// An implementation with itself.
    One,
    /// An implementation with itself and with each other one.
    Any,
    /// Different implementations only.
    Two,
}
