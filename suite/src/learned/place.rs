//! Where something volatile shows, how that is known, and how both are written.

use migcert_core::device::GUEST_MEMORY;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where something volatile shows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Place {
    /// Bits of a region, as an access of this size sees them; of guest memory that the device
    /// writes, where the region is [`GUEST_MEMORY`].
    Bits {
        /// Region number.
        region: u32,
        /// Bytes from the start of the region.
        offset: u64,
        /// 1, 2, 4 or 8 bytes.
        size: u8,
        /// Which bits of the little-endian number there.
        bits: u64,
    },
    /// An interrupt.
    Interrupt {
        /// Which.
        vector: u32,
        /// Whether it comes as often each time, only not in the same step: then how often it came
        /// is compared, over all steps that follow.
        late: bool,
    },
    /// What is written to guest memory comes now in one step and now in another: what is there in
    /// the end is compared.
    LateMemory,
    /// The same of bytes that leave the device: they are compared one after the other, whatever
    /// step they come in.
    LateOutput,
    /// A byte of what leaves the device in a step of this kind; all of it without a number.
    Output {
        /// `pass`, or the beginning of another step.
        step: String,
        /// Which byte, from 0.
        byte: Option<u32>,
    },
    /// A word of the answer to a step of this kind; all of the answer without a number.
    Reply {
        /// The first word of a request, or a whole access.
        step: String,
        /// Which word, from 0.
        field: Option<u32>,
    },
    /// Bits of one of the values that a request gives.
    Value {
        /// The first word of the request.
        step: String,
        /// Which value, from 0.
        index: u32,
        /// Which bits.
        bits: u64,
    },
}

impl Place {
    /// Whether what shows there is compared, only not step by step.
    pub fn is_late(&self) -> bool {
        matches!(self, Place::Interrupt { late: true, .. } | Place::LateMemory | Place::LateOutput)
    }

    /// The place without what widens it.
    pub(super) fn key(&self) -> Place {
        match self.clone() {
            Place::Bits { region, offset, size, .. } => Place::Bits { region, offset, size, bits: 0 },
            Place::Interrupt { vector, .. } => Place::Interrupt { vector, late: false },
            Place::Value { step, index, .. } => Place::Value { step, index, bits: 0 },
            other => other,
        }
    }

    /// This and another with the same key.
    pub(super) fn wider(&self, other: &Place) -> Place {
        match (self, other) {
            (Place::Interrupt { vector, late: one }, Place::Interrupt { late: two, .. }) => {
                Place::Interrupt { vector: *vector, late: *one && *two }
            }
            (Place::Value { step, index, bits: one }, Place::Value { bits: two, .. }) => {
                Place::Value { step: step.clone(), index: *index, bits: super::span(one | two) }
            }
            _ => self.clone(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Bits { region: GUEST_MEMORY, offset, size, bits } => {
                write!(f, "guest memory at {offset:#x}/{size}, {}", Bits(*bits))
            }
            Place::Bits { region, offset, size, bits } => {
                write!(f, "region {region} at {offset:#x}/{size}, {}", Bits(*bits))
            }
            Place::Interrupt { vector, late: true } => write!(f, "interrupt {vector}, its step"),
            Place::Interrupt { vector, late: false } => write!(f, "interrupt {vector}"),
            Place::LateMemory => f.write_str("what is written to guest memory, its step"),
            Place::LateOutput => f.write_str("what leaves the device, its step"),
            Place::Output { step, byte: None } => write!(f, "what leaves the device at `{step}`"),
            Place::Output { step, byte: Some(byte) } => {
                write!(f, "what leaves the device at `{step}`, byte {byte}")
            }
            Place::Reply { step, field: None } => write!(f, "the answer to `{step}`"),
            Place::Reply { step, field: Some(field) } => {
                write!(f, "the answer to `{step}`, word {}", field + 1)
            }
            Place::Value { step, index, bits } => {
                write!(f, "the answer to `{step}`, value {}, {}", index + 1, Bits(*bits))
            }
        }
    }
}

/// Runs of bits, as `bits 0-7, 12`.
struct Bits(u64);

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut before = if rest.is_power_of_two() { "bit " } else { "bits " };
        while rest != 0 {
            let first = rest.trailing_zeros();
            let many = (rest >> first).trailing_ones();
            match many {
                1 => write!(f, "{before}{first}")?,
                _ => write!(f, "{before}{first}-{}", first + many - 1)?,
            }
            rest &= u64::MAX.checked_shl(first + many).unwrap_or(0);
            before = ", ";
        }
        Ok(())
    }
}

/// How it is known that a place is volatile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// A profile says so.
    Pinned,
    /// Fresh instances that did the same, without a migration, showed it differently.
    Seen {
        /// How far apart they were, in milliseconds.
        apart: u64,
        /// How it changes.
        pattern: Pattern,
    },
}

/// How something volatile changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Pattern {
    /// It grows from run to run and from read to read.
    CountsUp,
    /// It falls.
    CountsDown,
    /// It comes, but not always in the same step.
    Late,
    /// It is another one each time, or now and then.
    Varies,
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Pattern::CountsUp => "counts up",
            Pattern::CountsDown => "counts down",
            Pattern::Late => "comes as often each time, now in one step and now in another",
            Pattern::Varies => "varies",
        })
    }
}

/// What is known of what shows at a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Nature {
    /// It changes as it likes, and is compared with nothing.
    #[default]
    Volatile,
    /// Each instance has its own, and keeps it: it is compared between the source before it stops
    /// and the destination after the load, and not with a twin.
    Instance,
}

impl Nature {
    /// Of what is one thing and the other.
    pub(super) fn and(self, other: Nature) -> Nature {
        self.min(other)
    }
}

/// A place, and what there is to say of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Where.
    pub place: Place,
    /// What is known of it.
    #[serde(default)]
    pub nature: Nature,
    /// How that is known.
    pub how: How,
    /// How often it was learned, each time wider.
    #[serde(default)]
    pub times: u32,
    /// How many compared things it hid, in whole or in part.
    pub hid: u64,
}

impl Entry {
    /// Whether it was pinned and hid nothing.
    pub fn is_stale(&self) -> bool {
        self.how == How::Pinned && self.hid == 0
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.how {
            How::Pinned => write!(f, "{}: pinned by the profile", self.place),
            How::Seen { apart, .. } if self.nature == Nature::Instance => write!(
                f,
                "{}: differed between fresh instances that did the same, {apart} ms apart, and not in one",
                self.place
            ),
            How::Seen { apart, pattern } => write!(
                f,
                "{}: differed between fresh instances that did the same, {apart} ms apart; {pattern}",
                self.place
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_written_in_runs() {
        let says = |bits, text: &str| assert_eq!(Bits(bits).to_string(), text);
        says(1, "bit 0");
        says(u64::MAX, "bits 0-63");
        says(0xffff_0001, "bits 0, 16-31");
        says(1 << 63, "bit 63");
    }
}
