//! Classes of event: what a rule must have seen at least once before it says that it held.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A class of event. Vacuous success does not count: what never happened was not tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The guest saw an interrupt. Not demanded of a device that never raises one.
    Interrupt,
    /// A guest went on at a destination that had loaded a state.
    Migration,
    /// Bytes of state were read in PRE_COPY.
    PreCopy,
    /// A value that a guest wrote was read at a destination. Not demanded of a device where that never
    /// happens: its rule is not applicable then.
    ReadBack,
    /// A state was refused.
    Refusal,
    /// The device was reset.
    Reset,
}

impl Class {
    /// All classes.
    pub const ALL: [Class; 6] =
        [Class::Interrupt, Class::Migration, Class::PreCopy, Class::ReadBack, Class::Refusal, Class::Reset];

    /// In words, for "never saw ...".
    pub const fn what(self) -> &'static str {
        match self {
            Class::Interrupt => "an interrupt, and the device raises some",
            Class::Migration => "a migration that completed",
            Class::PreCopy => "a PRE_COPY round that sent something",
            Class::ReadBack => "a value that a guest wrote and read at a destination",
            Class::Refusal => "a state that was refused",
            Class::Reset => "a reset",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what())
    }
}

/// A set of classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Class>", into = "Vec<Class>")]
pub struct Classes(u32);

impl Classes {
    /// The bit of a class.
    pub(crate) const fn bit(class: Class) -> u32 {
        1 << class as u32
    }

    /// The set of these bits.
    pub(crate) const fn of_bits(bits: u32) -> Classes {
        Classes(bits)
    }

    /// Whether it has this class.
    pub const fn has(self, class: Class) -> bool {
        self.0 & Classes::bit(class) != 0
    }

    /// The union.
    #[must_use]
    pub const fn or(self, other: Classes) -> Classes {
        Classes(self.0 | other.0)
    }
}

impl From<Vec<Class>> for Classes {
    fn from(classes: Vec<Class>) -> Classes {
        Classes(classes.into_iter().fold(0, |bits, class| bits | Classes::bit(class)))
    }
}

impl From<Classes> for Vec<Class> {
    fn from(classes: Classes) -> Vec<Class> {
        Class::ALL.into_iter().filter(|class| classes.has(*class)).collect()
    }
}
