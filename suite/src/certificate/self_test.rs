//! The result of testing the rules themselves.

use super::Verdict;
use serde::{Deserialize, Serialize};

/// The result of testing the rules: whether they catch what is known to be bad.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SelfTest {
    /// Whether the null device is not green, and every planted fault is found by a rule of its requirement.
    pub holds: bool,
    /// The device that does nothing.
    pub null: NullReport,
    /// The planted faults; none where there was no time for the test.
    pub planted: Vec<PlantedReport>,
}

/// The result of the rules on the null device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NullReport {
    /// Its verdict.
    pub verdict: Verdict,
    /// Rules that it breaks.
    pub broken: usize,
    /// Rules that could not be executed on it.
    pub not_executed: usize,
}

/// A planted fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PlantedReport {
    /// The IMPL that has it.
    #[serde(rename = "impl")]
    pub name: String,
    /// The requirement that it breaks.
    pub requirement: String,
    /// The rule that found it.
    pub rule: Option<String>,
    /// The number of cases until then.
    pub cases: Option<u32>,
}

impl SelfTest {
    /// A self-test that there was no time for.
    pub const fn cut() -> SelfTest {
        let null = NullReport { verdict: Verdict::Incomplete, broken: 0, not_executed: 0 };
        SelfTest { holds: false, null, planted: Vec::new() }
    }

    /// How many planted faults were found.
    pub fn found(&self) -> usize {
        self.planted.iter().filter(|planted| planted.rule.is_some()).count()
    }
}
