//! What two instances of a subject that did the same show differently without any migration. Some of it
//! is volatile, such as a clock or an interrupt that comes when it likes; some is of the instance, such
//! as a serial number ([`Nature`]).
//!
//! Control runs find it ([`Bench::same`](crate::bench::Bench::same)), or a profile says so. From then on
//! no comparison with a twin sees it, in any rule and case of the subject. What is volatile is counted, and
//! more than [`MOST`] of what is compared is too much for a verdict. What is of the instance is compared
//! between source and destination.

mod column;
mod compare;
mod own;
pub mod pin;
mod place;
mod report;
mod sample;
mod stays;

pub use compare::{Difference, Masks};
pub(crate) use own::{Lost, View};
pub use pin::Range;
pub(crate) use pin::{BadPin, Pin, Written};
pub use place::{Entry, How, Nature, Pattern, Place};
pub use report::Report;
pub use sample::{Sample, learn, may_be_of_instances};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

/// The largest part of what is compared that may be volatile, as one in so many: a quarter. Where
/// more of it is, the verdict is *incomplete*: what is left says too little of the device.
pub const MOST: u64 = 4;

/// The most places that are kept apart. A subject with more of them is volatile as a whole: nothing
/// is compared any more, and the verdict is *incomplete*.
pub const PLACES: usize = 256;

/// How often a place is learned until all bits above its lowest volatile one count as volatile.
const OFTEN: u32 = 3;

/// What is volatile in one subject, shared by all who have it open.
#[derive(Debug, Default)]
pub struct Learned {
    known: RwLock<Known>,
    /// How often something was added.
    generation: AtomicU32,
    /// Whether something of it is of the instance.
    has_own: AtomicBool,
    /// What was known when instances were watched for long and nothing of theirs changed: one more than
    /// the generation then.
    watched: AtomicU32,
    /// Differences that control runs did not explain, by place and kind, and what was known then.
    steady: Mutex<(u32, BTreeSet<String>)>,
    /// How long what comes late is waited for at first, in milliseconds.
    patience: AtomicU32,
    counts: Counts,
    /// Bytes whose values a profile keeps out of everything that is seen.
    ranges: Vec<Range>,
}

/// What comparisons looked at.
#[derive(Debug, Default)]
struct Counts {
    /// Things seen that were compared, volatile or not.
    compared: AtomicU64,
    /// What of them was volatile, in parts of [`WHOLE`].
    hidden: AtomicU64,
}

/// A value of which no bit is compared counts so much.
const WHOLE: u64 = 64;

/// The places, and where to find the entry of each.
#[derive(Debug, Default)]
struct Known {
    entries: Vec<Noted>,
    /// Volatile bits by region and byte.
    bytes: BTreeMap<(u32, u64), (u8, usize)>,
    /// Those that are of the instance, where they are not volatile.
    own: BTreeMap<(u32, u64), (u8, usize)>,
    /// The others, by what they are.
    others: BTreeMap<Place, usize>,
    /// Whether there were more than [`PLACES`].
    is_full: bool,
}

#[derive(Debug)]
struct Noted {
    entry: Entry,
    hid: AtomicU64,
}

impl Learned {
    /// What is known to be volatile before anything is tried.
    pub fn pinned(places: impl IntoIterator<Item = (Place, Nature)>, ranges: Vec<Range>) -> Learned {
        let learned = Learned { ranges, ..Learned::default() };
        for (place, nature) in places {
            learned.add(place, nature, How::Pinned);
        }
        learned.generation.store(0, Relaxed);
        learned
    }

    /// How often something was learned; anything else than before means that there is more now.
    pub fn generation(&self) -> u32 {
        self.generation.load(Relaxed)
    }

    /// Whether nothing is volatile, as far as anybody knows.
    pub fn is_empty(&self) -> bool {
        self.read().entries.is_empty()
    }

    /// Whether something is of the instance.
    pub fn has_own(&self) -> bool {
        self.has_own.load(Relaxed)
    }

    /// Instances were watched for long, and nothing of theirs changed.
    pub(crate) fn was_watched(&self) {
        self.watched.store(self.generation().saturating_add(1), Relaxed);
    }

    /// Whether that was so, with what is known now.
    pub(crate) fn is_watched(&self) -> bool {
        self.watched.load(Relaxed) == self.generation().saturating_add(1)
    }

    /// Control runs, apart in time, did not explain a difference of this kind.
    pub(crate) fn was_steady(&self, kind: &str) {
        let mut steady = self.steady.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.generation();
        if steady.0 != generation {
            *steady = (generation, BTreeSet::new());
        }
        if steady.1.len() < PLACES {
            steady.1.insert(kind.to_owned());
        }
    }

    /// Whether that was so, with what is known now.
    pub(crate) fn is_steady(&self, kind: &str) -> bool {
        let steady = self.steady.lock().unwrap_or_else(PoisonError::into_inner);
        steady.0 == self.generation() && steady.1.contains(kind)
    }

    /// Whether something comes now in one step and now in another.
    pub fn has_late(&self) -> bool {
        self.read().entries.iter().any(|noted| noted.entry.place.is_late())
    }

    /// How long to wait for what comes late, to begin with.
    pub fn patience(&self) -> Duration {
        Duration::from_millis(self.patience.load(Relaxed).max(1).into())
    }

    /// That was too short.
    pub fn waits_longer(&self) {
        let now = self.patience.load(Relaxed);
        self.patience.store(now.max(1).saturating_mul(2), Relaxed);
    }

    /// Adds a place, or widens one. Says whether it was news.
    pub fn add(&self, place: Place, nature: Nature, how: How) -> bool {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = known.add(place, nature, how);
        if nature == Nature::Instance {
            self.has_own.store(true, Relaxed);
        }
        if is_new {
            self.generation.fetch_add(1, Relaxed);
        }
        is_new
    }

    /// What is known now, with what it hid.
    pub fn report(&self) -> Report {
        let known = self.read();
        let hid = |noted: &Noted| Entry { hid: noted.hid.load(Relaxed), ..noted.entry.clone() };
        let mut entries: Vec<Entry> = known.entries.iter().map(hid).collect();
        entries.sort();
        Report {
            entries,
            compared: self.counts.compared.load(Relaxed),
            hidden: self.counts.hidden.load(Relaxed) / WHOLE,
            is_full: known.is_full,
            ranges: self.ranges.clone(),
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn add(&mut self, place: Place, nature: Nature, how: How) -> bool {
        if self.is_full {
            return false;
        }
        if let Place::Bits { region, offset, size, bits } = place {
            return self.add_bits((region, offset, size), bits, nature, how);
        }
        let key = place.key();
        if let Some(at) = self.others.get(&key).copied() {
            let known = &mut self.entries[at].entry;
            let wider = (known.place.wider(&place), known.nature.and(nature));
            let is_news = wider != (known.place.clone(), known.nature);
            if is_news {
                (known.place, known.nature) = wider;
                known.how = how;
            }
            return is_news;
        }
        if let Some(at) = self.push(place, nature, how) {
            self.others.insert(key, at);
        }
        true
    }

    fn add_bits(
        &mut self,
        (region, offset, size): (u32, u64, u8),
        bits: u64,
        nature: Nature,
        how: How,
    ) -> bool {
        let before = match nature {
            Nature::Instance => self.mask(region, offset, size),
            Nature::Volatile => masked(&self.bytes, region, offset, size),
        };
        if bits & !before == 0 {
            return false;
        }
        let position = |known: &Known, nature| {
            known.entries.iter().position(|Noted { entry, .. }| {
                entry.nature == nature
                    && matches!(entry.place, Place::Bits { region: r, offset: o, size: s, .. }
                        if (r, o, s) == (region, offset, size))
            })
        };
        let mut found = position(self, nature);
        if let (None, Nature::Volatile, Some(at)) = (found, nature, position(self, Nature::Instance)) {
            // It is not of the instance after all.
            self.entries[at].entry.nature = Nature::Volatile;
            self.own.retain(|_, (_, of)| *of != at);
            found = Some(at);
        }
        let place = Place::Bits { region, offset, size, bits: 0 };
        let Some(at) = found.or_else(|| self.push(place, nature, how.clone())) else { return true };
        let entry = &mut self.entries[at].entry;
        let is_pinned = how == How::Pinned;
        // What was pinned in part is learned now.
        if entry.how != how && entry.how == How::Pinned {
            entry.how = how;
        }
        let Place::Bits { bits: known, .. } = &mut entry.place else { return false };
        // Whatever changes again, and more of it, changes as a whole.
        let all = match entry.times {
            _ if is_pinned => *known | bits,
            0 => *known | bits,
            1..OFTEN => span(*known | bits),
            _ if nature == Nature::Instance => span(*known | bits),
            _ => upwards(*known | bits) & wide(size),
        };
        *known = all;
        entry.times += u32::from(!is_pinned);
        for (byte, mask) in (offset..).zip(all.to_le_bytes()).take(size.into()).filter(|(_, mask)| *mask != 0)
        {
            let bytes = if nature == Nature::Instance { &mut self.own } else { &mut self.bytes };
            bytes.entry((region, byte)).or_insert((0, at)).0 |= mask;
        }
        true
    }

    fn push(&mut self, place: Place, nature: Nature, how: How) -> Option<usize> {
        if PLACES <= self.entries.len() {
            self.is_full = true;
            return None;
        }
        let entry = Entry { place, nature, how, times: 0, hid: 0 };
        self.entries.push(Noted { entry, hid: AtomicU64::new(0) });
        Some(self.entries.len() - 1)
    }

    /// The bits of an access that are not compared with a twin.
    fn mask(&self, region: u32, offset: u64, size: u8) -> u64 {
        masked(&self.bytes, region, offset, size) | masked(&self.own, region, offset, size)
    }

    /// Notes that something of an access was not compared.
    fn hid(&self, region: u32, offset: u64, size: u8) {
        for bytes in [&self.bytes, &self.own] {
            let mut bytes =
                (0..u64::from(size)).filter_map(|i| bytes.get(&(region, offset.saturating_add(i))));
            if let Some((_, at)) = bytes.next() {
                self.entries[*at].hid.fetch_add(1, Relaxed);
            }
        }
    }
}

/// The bits of an access in a table by region and byte.
fn masked(bytes: &BTreeMap<(u32, u64), (u8, usize)>, region: u32, offset: u64, size: u8) -> u64 {
    let byte = |at: u64| bytes.get(&(region, at)).map_or(0, |(mask, _)| *mask);
    (0..u64::from(size.min(8))).rev().fold(0, |mask, i| mask << 8 | u64::from(byte(offset.saturating_add(i))))
}

/// All bits of so many bytes.
fn wide(size: u8) -> u64 {
    u64::MAX.checked_shr(64 - 8 * u32::from(size.clamp(1, 8))).unwrap_or(u64::MAX)
}

/// All bits from the lowest of these to the highest.
fn span(bits: u64) -> u64 {
    upwards(bits) & u64::MAX.checked_shr(bits.leading_zeros()).unwrap_or(0)
}

/// All bits from the lowest of these upwards.
fn upwards(bits: u64) -> u64 {
    u64::MAX.checked_shl(bits.trailing_zeros()).unwrap_or(0)
}

/// How far apart two instances were that did the same.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> How {
        How::Seen { apart: 40, pattern: Pattern::Varies }
    }

    fn bits(offset: u64, size: u8, bits: u64) -> Place {
        Place::Bits { region: 0, offset, size, bits }
    }

    #[test]
    fn what_changes_again_changes_as_a_whole() {
        let learned = Learned::default();
        assert!(learned.add(bits(0x10, 4, 0b100), Nature::Volatile, seen()));
        assert!(!learned.add(bits(0x10, 4, 0b100), Nature::Volatile, seen()));
        assert_eq!(learned.read().mask(0, 0x10, 4), 0b100);
        assert!(learned.add(bits(0x10, 4, 1 << 6), Nature::Volatile, seen()));
        assert_eq!(learned.read().mask(0, 0x10, 4), 0b111_1100);
        assert!(learned.add(bits(0x10, 4, 1 << 7), Nature::Volatile, seen()));
        assert_eq!(learned.read().mask(0, 0x10, 4), 0b1111_1100);
        assert!(learned.add(bits(0x10, 4, 1 << 8), Nature::Volatile, seen()));
        assert_eq!(learned.read().mask(0, 0x10, 4), 0xffff_fffc);
        assert_eq!(learned.report().entries.len(), 1);
    }

    #[test]
    fn accesses_of_other_sizes_see_the_same_bits() {
        let learned = Learned::default();
        learned.add(bits(0x10, 4, 0x00ff_0001), Nature::Volatile, seen());
        let known = learned.read();
        assert_eq!(known.mask(0, 0x12, 1), 0xff);
        assert_eq!(known.mask(0, 0x0c, 8), 0x00ff_0001 << 32);
        assert_eq!(known.mask(1, 0x10, 4), 0);
    }

    #[test]
    fn what_changes_in_an_instance_is_not_of_it() {
        let learned = Learned::default();
        learned.add(bits(0x18, 8, u64::MAX), Nature::Instance, seen());
        assert!(learned.has_own());
        assert!(!learned.add(bits(0x18, 8, 0xff), Nature::Instance, seen()));
        assert!(learned.add(bits(0x1c, 1, 0x0f), Nature::Volatile, seen()));
        let own = |offset, size| Masks::of(&learned, &learned).own_bits(0, offset, size);
        assert_eq!(own(0x18, 8), !(0x0f << 32));
        assert!(learned.add(bits(0x18, 8, 1), Nature::Volatile, seen()));
        assert_eq!((own(0x18, 8), learned.read().mask(0, 0x18, 8)), (0, u64::MAX));
        assert!(!learned.add(bits(0x18, 8, 1), Nature::Instance, seen()));
    }

    #[test]
    fn too_many_places_are_all_of_them() {
        let learned = Learned::default();
        for offset in 0..PLACES as u64 {
            learned.add(bits(offset * 8, 4, 1), Nature::Volatile, seen());
        }
        assert_eq!(learned.report().too_much(), None);
        learned.add(bits(0x10_0000, 4, 1), Nature::Volatile, seen());
        assert!(learned.report().too_much().is_some());
    }
}
