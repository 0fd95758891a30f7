//! A rule: what a device promises, and what is said and asked of it before it is tried.

use crate::case::Draws;
use crate::finding::Class;
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
    /// What of a case it needs drawn.
    pub draws: Draws,
    /// Which pairs of implementations it looks at.
    pub on: On,
    /// What must have happened at least once in its cases, or nothing is said of it.
    pub sees: &'static [Class],
    /// Where one of these is broken by the same case, this one is not to blame.
    pub builds_on: &'static [&'static Rule],
}

impl Rule {
    /// Whether it builds on another rule, or that on another.
    pub fn builds_on(&self, other: &Rule) -> bool {
        self.builds_on.iter().any(|base| base.id == other.id || base.builds_on(other))
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The device may leave a guest broken.
    Must,
    /// Good devices do; counted with `--strict`.
    Should,
}

impl Level {
    /// As reports write it.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Must => "must",
            Level::Should => "should",
        }
    }
}

/// Which ordered pairs (source, destination) a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum On {
    /// An implementation with itself.
    One,
    /// An implementation with itself and with each other one.
    Any,
    /// Different implementations only.
    Two,
}
