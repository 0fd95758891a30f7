//! What a profile says is volatile.

use super::why::Why;
use crate::hosts::vfio_user::Place as Bytes;
use crate::learned::{Learned, Nature, Pin, Place, Range, Written};

/// What is not compared from the start.
#[derive(Debug, Default)]
pub(super) struct Volatile {
    /// Bytes that are read and not looked at.
    pub(super) ranges: Vec<Range>,
    /// Places that are pinned, as they would have been learned.
    pub(super) places: Vec<(Place, Nature)>,
}

impl Volatile {
    /// Reads the elements of `volatile`.
    pub(super) fn of(written: &[Written]) -> Result<Volatile, Why> {
        if Pin::MOST < written.len() {
            return Err(Why::TooVolatile(written.len()));
        }
        let mut volatile = Volatile::default();
        let mut pins: Vec<Pin> = Vec::new();
        for (at, written) in written.iter().enumerate() {
            let pin = written.clone().pin().map_err(|why| Why::Volatile { at, why })?;
            if let Some(other) = pins.iter().position(|other| pin.overlaps(other)) {
                return Err(Why::Overlap { at, other });
            }
            match pin.clone() {
                Pin::Range(range) => volatile.ranges.push(range),
                Pin::Place(place, nature) => volatile.places.push((place, nature)),
            }
            pins.push(pin);
        }
        Ok(volatile)
    }

    /// The bytes that a host does not look at.
    pub(super) fn bytes(&self) -> Vec<Bytes> {
        let bytes = |&Range { region, offset, size }: &Range| Bytes { region, offset, size };
        self.ranges.iter().map(bytes).collect()
    }

    /// What is known before anything is tried.
    pub(super) fn learned(self) -> Learned {
        Learned::pinned(self.places, self.ranges)
    }

    /// Whether something of it is about registers.
    pub(super) fn is_about_registers(&self) -> bool {
        !self.ranges.is_empty() || self.places.iter().any(|(place, _)| matches!(place, Place::Bits { .. }))
    }
}
