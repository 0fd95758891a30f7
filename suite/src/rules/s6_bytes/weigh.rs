//! Weighs how much arrived against how much could have been carried.

use super::values::Byte;
use migcert_core::device::{Seen, Sight, Step};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Minimum number of bits of one access that must be as written, or it may be chance.
const LEAST: u32 = 8;
/// Maximum number of places in a message.
const TOLD: usize = 4;

/// What was carried, each time: in which bytes it differed.
#[derive(Default)]
pub(super) struct Carried {
    first: Option<[Vec<u8>; 2]>,
    /// For each part: the bytes that were not always the same.
    differ: [BTreeSet<usize>; 2],
}

impl Carried {
    /// Adds what was carried once more; bytes are counted until there are more than `most`.
    pub(super) fn add(&mut self, parts: [Vec<u8>; 2], most: usize) {
        let Some(first) = &self.first else {
            self.first = Some(parts);
            return;
        };
        for ((differ, first), part) in self.differ.iter_mut().zip(first).zip(&parts) {
            // Each byte that only one of them has counts as different.
            let is_other = |at: &usize| first.get(*at) != part.get(*at);
            let all = 0..first.len().max(part.len());
            for at in all.filter(is_other) {
                if most < differ.len() {
                    break;
                }
                differ.insert(at);
            }
        }
    }

    pub(super) fn is_always_the_same(&self) -> bool {
        self.differ.iter().all(BTreeSet::is_empty)
    }

    /// Bits of the bytes that were not always the same.
    pub(super) fn bits(&self) -> usize {
        8 * self.differ.iter().map(BTreeSet::len).sum::<usize>()
    }
}

/// What arrived as it was written, each time.
#[derive(Default)]
pub(super) struct Arrived {
    /// Of each byte: the bits that were as written each time.
    bytes: Option<BTreeMap<Byte, u8>>,
    /// What was written last.
    last: BTreeMap<Byte, (u8, u8)>,
    /// The accesses that are read, each with its bytes.
    reads: Vec<(Step, Vec<Byte>)>,
}

impl Arrived {
    /// Adds what was written once more, and what the reads of it gave.
    pub(super) fn add(&mut self, written: BTreeMap<Byte, (u8, u8)>, reads: &[Step], seen: &[Seen]) {
        let mut now = BTreeMap::new();
        for (byte, found) in values(reads, seen) {
            if let Some((drawn, value)) = written.get(&byte) {
                // Read in several ways, it is as written if one of them says so.
                *now.entry(byte).or_insert(0) |= drawn & !(value ^ found);
            }
        }
        self.bytes = Some(match self.bytes.take() {
            None => now,
            Some(before) => {
                let both = |(byte, bits): (Byte, u8)| (byte, bits & now.get(&byte).copied().unwrap_or(0));
                before.into_iter().map(both).collect()
            }
        });
        self.last = written;
        self.reads = reads.iter().filter_map(|step| Some((step.clone(), place(step)?.collect()))).collect();
    }

    /// Maximum number of bytes that can arrive.
    pub(super) fn most(&self) -> usize {
        self.last.len()
    }

    /// Whether a whole byte arrived each time: even after two times that is not by chance.
    pub(super) fn is_sure(&self) -> bool {
        self.bytes.iter().flatten().any(|(_, bits)| *bits == u8::MAX)
    }

    /// Bits that arrived each time, in accesses in which enough did.
    pub(super) fn bits(&self) -> usize {
        let bytes: BTreeSet<Byte> = self.enough().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        bytes.into_iter().map(|byte| self.of(byte).count_ones() as usize).sum()
    }

    /// Leaves out what an instance that never loaded shows as it was written last.
    pub(super) fn forget_shown(&mut self, reads: &[Step], seen: &[Seen]) {
        let shown: BTreeMap<Byte, u8> = values(reads, seen).collect();
        let is_shown = |byte: &Byte| {
            let value = self.last.get(byte).map_or(0, |(_, value)| *value);
            shown.get(byte).is_some_and(|found| (found ^ value) & self.of(*byte) == 0)
        };
        let gone: Vec<Byte> = self
            .enough()
            .filter(|(_, bytes)| bytes.iter().all(is_shown))
            .flat_map(|(_, bytes)| bytes.clone())
            .collect();
        if let Some(bytes) = &mut self.bytes {
            bytes.retain(|byte, _| !gone.contains(byte));
        }
    }

    /// Some places where something arrived, for people.
    pub(super) fn places(&self) -> String {
        let mut text = String::new();
        for (step, _) in self.enough().take(TOLD) {
            if let Step::Read { region, offset, size } = step {
                let comma = if text.is_empty() { "" } else { ", " };
                let _ = write!(text, "{comma}{region}:{offset:#x}/{size}");
            }
        }
        match self.enough().count() {
            count if TOLD < count => format!("{text} and {} more places", count - TOLD),
            _ => text,
        }
    }

    fn of(&self, byte: Byte) -> u8 {
        self.bytes.as_ref().and_then(|bytes| bytes.get(&byte)).copied().unwrap_or(0)
    }

    fn enough(&self) -> impl Iterator<Item = &(Step, Vec<Byte>)> {
        self.reads
            .iter()
            .filter(|(_, bytes)| LEAST <= bytes.iter().map(|byte| self.of(*byte).count_ones()).sum::<u32>())
    }
}

/// The bytes of an access.
fn place(step: &Step) -> Option<impl Iterator<Item = Byte> + use<>> {
    let Step::Read { region, offset, size } = step else { return None };
    let region = *region;
    Some((*offset..offset.saturating_add(u64::from(*size))).map(move |at| (region, at)))
}

/// What reads gave, byte by byte.
fn values(reads: &[Step], seen: &[Seen]) -> impl Iterator<Item = (Byte, u8)> {
    let value = |(step, seen): (&Step, &Seen)| {
        let value = seen.0.iter().find_map(|sight| match sight {
            Sight::Value(value) => Some(*value),
            _ => None,
        })?;
        Some(place(step)?.zip(value.to_le_bytes()))
    };
    reads.iter().zip(seen).filter_map(value).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(all: &[&[u8]]) -> usize {
        let mut carried = Carried::default();
        all.iter().for_each(|state| carried.add([state.to_vec(), vec![7]], 100));
        carried.bits()
    }

    #[test]
    fn what_differs_counts_and_what_only_one_has() {
        assert_eq!(carried(&[b"abc", b"abc"]), 0);
        assert_eq!(carried(&[b"abc", b"abd", b"xbc"]), 16);
        assert_eq!(carried(&[b"abc", b"abcdef"]), 24);
        assert_eq!(carried(&[b"abc", b""]), 24);
        assert_eq!(carried(&[&[0; 1000], &[1; 1000]]), 8 * 101);
    }

    const READ: Step = Step::Read { region: 1, offset: 8, size: 2 };

    /// A word that is written with some values, of which some bits are drawn, and read as others.
    fn arrived(drawn: u16, pairs: &[(u16, u16)]) -> Arrived {
        let mut arrived = Arrived::default();
        for (wrote, read) in pairs {
            let bytes = drawn.to_le_bytes().into_iter().zip(wrote.to_le_bytes());
            let written = (8..).map(|at| (1, at)).zip(bytes).collect();
            arrived.add(written, &[READ], &[Seen(vec![Sight::Value((*read).into())])]);
        }
        arrived
    }

    #[test]
    fn only_what_is_as_written_each_time_arrived() {
        assert_eq!(arrived(0xffff, &[(0x1234, 0x1234), (0xedcb, 0xedcb)]).bits(), 16);
        assert_eq!(arrived(0xffff, &[(0x1234, 0x1234), (0xedcb, 0xedcf)]).bits(), 15);
        assert_eq!(arrived(0x0fff, &[(0x0234, 0x0234), (0x0dcb, 0x0dcb)]).bits(), 12);
        assert_eq!(arrived(0xffff, &[(0x1234, 0), (0xedcb, 0)]).bits(), 0);
    }

    #[test]
    fn a_few_bits_are_chance() {
        assert_eq!(arrived(0x007f, &[(0x34, 0x34), (0x4b, 0x4b)]).bits(), 0);
    }

    #[test]
    fn what_a_fresh_device_shows_did_not_arrive() {
        let shown = |value| {
            let mut arrived = arrived(0xffff, &[(0x1234, 0x1234), (0xedcb, 0xedcb)]);
            arrived.forget_shown(&[READ], &[Seen(vec![Sight::Value(value)])]);
            arrived.bits()
        };
        assert_eq!([shown(0xedcb), shown(0), shown(0xedca)], [0, 16, 16]);
    }
}
