//! What a case costs.

use serde::{Deserialize, Serialize};

/// What cases cost, measured by the first ones of every rule on every pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Cost {
    /// The cost of a case in milliseconds, with starts of instances: the mean, rounded to a power of two,
    /// because a measurement is not repeatable more exactly.
    pub case_ms: u64,
    /// How many cases were measured.
    pub measured: u32,
}
