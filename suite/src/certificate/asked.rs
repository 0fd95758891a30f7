//! What a certification was asked for, as far as it leaves something out.

use crate::rules;
use serde::{Deserialize, Serialize};

/// What was asked for on the command line, and by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Rules, requirements or chapters that were selected; none for all rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// Cases of each rule on each pair, if a number was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cases: Option<u32>,
    /// Cases of each rule on each pair by default.
    pub usual_cases: u32,
    /// The time limit of the whole run in seconds, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_seconds: Option<u64>,
    /// Whether that limit is the default of device programs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_time_usual: bool,
    /// Whether rules of the level should count, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
}

impl Asked {
    /// All rules, this many cases each, and no time limit.
    pub fn all(cases: u32) -> Asked {
        Asked { cases: Some(cases), usual_cases: cases, ..Asked::default() }
    }

    /// How many rules were selected, and of how many.
    pub fn selected(&self) -> (usize, usize) {
        let selected = rules::selected(&self.only).map_or(0, |rules| rules.len());
        (selected, rules::ALL.len())
    }

    /// Whether rules were left out.
    pub fn is_partial(&self) -> bool {
        let (selected, all) = self.selected();
        selected < all
    }
}
