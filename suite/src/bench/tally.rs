//! Counts of what guests did and saw on a bench.

use crate::finding::{Class, Classes};
use migcert_core::device::{Capabilities, Interface, Machine, Seen, Sight, Step};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Running counts for source and destination.
#[derive(Debug, Default)]
pub(super) struct Tally {
    sides: [Side; 2],
    classes: AtomicU32,
}

#[derive(Debug, Default)]
struct Side {
    steps: AtomicU64,
    refused: AtomicU64,
    sights: AtomicU64,
    interrupts: AtomicU32,
    is_driven: AtomicBool,
    volatile: Mutex<BTreeMap<String, Hidden>>,
}

/// Whose instance it is: the source's subject or the destination's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Source,
    Destination,
}

impl Tally {
    fn side(&self, of: Of) -> &Side {
        match of {
            Of::Source => &self.sides[0],
            Of::Destination => &self.sides[1],
        }
    }

    /// Counts an event of this class.
    pub(super) fn saw(&self, class: Class) {
        self.classes.fetch_or(Classes::bit(class), Relaxed);
    }

    /// Counts a started instance with these capabilities.
    pub(super) fn started(&self, of: Of, capabilities: &Capabilities) {
        let side = self.side(of);
        if let Interface::Windows(windows) = &capabilities.interface {
            side.interrupts.fetch_max(windows.interrupts, Relaxed);
        }
        if capabilities.machine == Machine::Host {
            side.is_driven.store(true, Relaxed);
        }
    }

    /// Counts a guest's step and what it saw.
    pub(super) fn stepped(&self, of: Of, step: &Step, seen: &Seen) {
        let side = self.side(of);
        side.steps.fetch_add(1, Relaxed);
        side.sights.fetch_add(seen.0.len() as u64, Relaxed);
        let mut is_refused = false;
        for sight in &seen.0 {
            match sight {
                Sight::Interrupt(_) => self.saw(Class::Interrupt),
                Sight::Refused { .. } => is_refused = true,
                Sight::Volatile => side.hide(step),
                Sight::Bytes(_) | Sight::Memory { .. } | Sight::Value(_) | Sight::Words(_) => {}
            }
        }
        side.refused.fetch_add(is_refused.into(), Relaxed);
    }

    /// Counts a guest's step that failed.
    pub(super) fn failed(&self, of: Of) {
        let side = self.side(of);
        side.steps.fetch_add(1, Relaxed);
        side.refused.fetch_add(1, Relaxed);
    }

    /// The counts so far.
    pub(super) fn counted(&self) -> Counted {
        let side = |side: &Side| Guests {
            steps: side.steps.load(Relaxed),
            refused: side.refused.load(Relaxed),
            sights: side.sights.load(Relaxed),
            interrupts: side.interrupts.load(Relaxed),
            is_driven: side.is_driven.load(Relaxed),
            volatile: side.volatile.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        };
        let [source, destination] = &self.sides;
        Counted {
            source: side(source),
            destination: side(destination),
            classes: Classes::of_bits(self.classes.load(Relaxed)),
        }
    }
}

impl Side {
    fn hide(&self, step: &Step) {
        let (place, bits) = match step {
            Step::Read { region, offset, size } => {
                (format!("{region}:{offset:#x}/{size}"), u64::from(*size) * 8)
            }
            other => (other.to_string(), 0),
        };
        let mut volatile = self.volatile.lock().unwrap_or_else(PoisonError::into_inner);
        let hidden = volatile.entry(place).or_default();
        (hidden.bits, hidden.sights) = (bits, hidden.sights + 1);
    }
}

/// What guests did and saw, and the classes of event that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    /// At instances of the source's subject.
    pub source: Guests,
    /// At instances of the destination's subject, if that is another one.
    pub destination: Guests,
    /// Classes of event that happened.
    pub classes: Classes,
}

impl Counted {
    /// Adds other counts.
    pub fn add(&mut self, other: &Counted) {
        self.source.add(&other.source);
        self.destination.add(&other.destination);
        self.classes = self.classes.or(other.classes);
    }
}

/// What guests did at the instances of one subject, and what they saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guests {
    /// Number of their steps.
    pub steps: u64,
    /// Steps that were answered with an error.
    pub refused: u64,
    /// Things seen: values, interrupts, bytes, words.
    pub sights: u64,
    /// Maximum number of interrupt vectors that an instance reported; 0 if unknown.
    pub interrupts: u32,
    /// Whether our host walks the states for it: then nothing is ever sent in PRE_COPY.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_driven: bool,
    /// Things seen that were not compared, by the place where they were.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volatile: BTreeMap<String, Hidden>,
}

impl Guests {
    /// Adds other counts.
    pub fn add(&mut self, other: &Guests) {
        self.steps = self.steps.saturating_add(other.steps);
        self.refused = self.refused.saturating_add(other.refused);
        self.sights = self.sights.saturating_add(other.sights);
        self.interrupts = self.interrupts.max(other.interrupts);
        self.is_driven |= other.is_driven;
        for (place, hidden) in &other.volatile {
            let entry = self.volatile.entry(place.clone()).or_default();
            (entry.bits, entry.sights) = (hidden.bits, entry.sights.saturating_add(hidden.sights));
        }
    }
}

/// What was not compared at one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hidden {
    /// Its width in bits; 0 where that is not known.
    pub bits: u64,
    /// Number of times that it was seen.
    pub sights: u64,
}
