//! Comparing what two guests saw, but for what is volatile.

use super::{Entry, Known, Learned, Nature, Place, WHOLE, masked};
use migcert_core::device::{GUEST_MEMORY, Seen, Sight, Step};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::RwLockReadGuard;
use std::sync::atomic::Ordering::Relaxed;

/// What must not be compared, of the one or two subjects of a case.
pub struct Masks<'a> {
    learned: Vec<&'a Learned>,
    pub(super) known: Vec<RwLockReadGuard<'a, Known>>,
}

/// Where two guests saw different things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The step, counted from the first that was compared.
    pub step: usize,
    /// What differs over all steps together, where no step by itself does.
    pub over_all: Option<String>,
    /// What one saw.
    pub expected: String,
    /// What the other saw.
    pub observed: String,
}

impl<'a> Masks<'a> {
    /// Of a subject, and of another where there are two.
    pub fn of(one: &'a Learned, other: &'a Learned) -> Masks<'a> {
        let mut learned = vec![one];
        if !std::ptr::eq(one, other) {
            learned.push(other);
        }
        let known = learned.iter().map(|learned| learned.read()).collect();
        Masks { learned, known }
    }

    fn is_empty(&self) -> bool {
        self.known.iter().all(|known| known.entries.is_empty())
    }

    /// The first difference between what was seen at the same steps; the shorter one ends it.
    pub fn difference(&self, script: &[Step], expected: &[Seen], observed: &[Seen]) -> Option<Difference> {
        let pairs = || expected.iter().zip(observed);
        if self.is_empty() {
            let (step, (expected, observed)) = pairs().enumerate().find(|(_, (e, o))| e != o)?;
            let (expected, observed) = (expected.to_string(), observed.to_string());
            return Some(Difference { step, over_all: None, expected, observed });
        }
        if self.known.iter().any(|known| known.is_full) {
            return None;
        }
        for (at, (e, o)) in pairs().enumerate() {
            if e != o && !self.alike(script.get(at), e, o) {
                let (expected, observed) = (e.to_string(), o.to_string());
                return Some(Difference { step: at, over_all: None, expected, observed });
            }
        }
        self.over_all(&pairs().collect::<Vec<_>>())
    }

    /// Whether all of this may have come about before it was seen.
    pub fn are_late(&self, seen: &Seen) -> bool {
        seen.0.iter().all(|sight| match sight {
            Sight::Interrupt(vector) => self.interrupt(*vector).is_some(),
            Sight::Memory { .. } => self.has(&Place::LateMemory),
            Sight::Bytes(_) => self.has(&Place::LateOutput),
            Sight::Refused { .. } | Sight::Value(_) | Sight::Volatile | Sight::Words(_) => false,
        })
    }

    /// Counts what was compared, and what of it was not. Every comparison is counted once.
    pub fn count(&self, script: &[Step], compared: &[Seen]) {
        let sights = compared.iter().map(|seen| seen.0.len() as u64).sum();
        self.learned.iter().for_each(|learned| {
            learned.counts.compared.fetch_add(sights, Relaxed);
        });
        for (learned, known) in self.learned.iter().zip(&self.known) {
            let of = |(at, seen): (usize, &Seen)| match known.entries.is_empty() {
                true => WHOLE * seen.0.iter().filter(|sight| **sight == Sight::Volatile).count() as u64,
                false => known.hides(script.get(at), seen),
            };
            learned.counts.hidden.fetch_add(compared.iter().enumerate().map(of).sum(), Relaxed);
        }
    }

    /// Whether two guests saw the same at a step, but for what is volatile.
    fn alike(&self, step: Option<&Step>, expected: &Seen, observed: &Seen) -> bool {
        let (one, other) = (Split::of(expected), Split::of(observed));
        self.same_answer(step, &one, &other)
            && self.same_interrupts(&one, &other)
            && self.same_memory(&one.memory, &other.memory, false)
            && self.same_output(step, &one, &other)
    }

    fn same_answer(&self, step: Option<&Step>, one: &Split<'_>, other: &Split<'_>) -> bool {
        let kind = kind(step);
        if self.has(&Place::Reply { step: kind.clone(), field: None }) {
            return true;
        }
        let values = || one.values.iter().zip(&other.values).enumerate();
        let words = || one.words.iter().zip(&other.words);
        one.others == other.others
            && one.values.len() == other.values.len()
            && values().all(|(i, (a, b))| (a ^ b) & !self.value(step, i) == 0)
            && one.words.len() == other.words.len()
            && words().all(|(a, b)| self.same_words(&kind, a, b))
    }

    fn same_words(&self, kind: &str, one: &str, other: &str) -> bool {
        one == other
            || fields(one).count() == fields(other).count() && {
                let mut pairs = (0..).zip(fields(one).zip(fields(other)));
                pairs.all(|(field, (a, b))| {
                    a == b || self.has(&Place::Reply { step: kind.to_owned(), field: Some(field) })
                })
            }
    }

    fn same_interrupts(&self, one: &Split<'_>, other: &Split<'_>) -> bool {
        let vectors: BTreeSet<u32> = one.interrupts.keys().chain(other.interrupts.keys()).copied().collect();
        let same = |vector: &u32| one.interrupts.get(vector) == other.interrupts.get(vector);
        vectors.iter().all(|vector| same(vector) || self.interrupt(*vector).is_some())
    }

    /// What is volatile in a byte may be there or not: a device that writes what is there already
    /// is not seen.
    fn same_memory(&self, one: &BTreeMap<u64, u8>, other: &BTreeMap<u64, u8>, in_the_end: bool) -> bool {
        if !in_the_end && self.has(&Place::LateMemory) {
            return true;
        }
        let addresses: BTreeSet<u64> = one.keys().chain(other.keys()).copied().collect();
        addresses.into_iter().all(|at| {
            let mask = self.bits(GUEST_MEMORY, at, 1) as u8;
            match (one.get(&at), other.get(&at)) {
                (Some(a), Some(b)) => (a ^ b) & !mask == 0,
                _ => mask != 0,
            }
        })
    }

    fn same_output(&self, step: Option<&Step>, one: &Split<'_>, other: &Split<'_>) -> bool {
        if one.bytes == other.bytes || self.has(&Place::LateOutput) {
            return true;
        }
        let kind = kind(step);
        if self.has(&Place::Output { step: kind.clone(), byte: None }) {
            return true;
        }
        let lengths = |split: &Split<'_>| split.bytes.iter().map(|bytes| bytes.len()).collect::<Vec<_>>();
        let flat = |split: &Split<'_>| split.bytes.concat();
        lengths(one) == lengths(other)
            && (0..).zip(flat(one).into_iter().zip(flat(other))).all(|(byte, (a, b))| {
                a == b || self.has(&Place::Output { step: kind.clone(), byte: Some(byte) })
            })
    }

    /// What comes late is compared over all steps together.
    fn over_all(&self, pairs: &[(&Seen, &Seen)]) -> Option<Difference> {
        let last = pairs.len().checked_sub(1)?;
        let difference = |what: String, expected: String, observed: String| {
            Some(Difference { step: last, over_all: Some(what), expected, observed })
        };
        let (mut one, mut other) = (Split::default(), Split::default());
        pairs.iter().for_each(|(expected, observed)| {
            one.then(expected);
            other.then(observed);
        });
        let late = self.known.iter().flat_map(|known| known.others.keys()).filter_map(|place| match place {
            Place::Interrupt { vector, .. } => Some(*vector),
            _ => None,
        });
        for vector in late.filter(|vector| self.interrupt(*vector) == Some(Late)) {
            let times = |split: &Split<'_>| split.interrupts.get(&vector).copied().unwrap_or(0);
            if times(&one) != times(&other) {
                let [expected, observed] = [&one, &other].map(|split| format!("{} times", times(split)));
                return difference(format!("interrupt {vector}"), expected, observed);
            }
        }
        if self.has(&Place::LateMemory) && !self.same_memory(&one.memory, &other.memory, true) {
            let [expected, observed] = [one.memory, other.memory].map(|memory| in_hex(&memory));
            return difference("guest memory in the end".to_owned(), expected, observed);
        }
        if self.has(&Place::LateOutput) && one.bytes.concat() != other.bytes.concat() {
            let [expected, observed] = [one.bytes, other.bytes].map(|bytes| hex::encode(bytes.concat()));
            return difference("what left the device".to_owned(), expected, observed);
        }
        None
    }

    /// The volatile bits of the value with this index that a step gives.
    pub(super) fn value(&self, step: Option<&Step>, index: usize) -> u64 {
        match step {
            Some(Step::Read { region, offset, size }) => self.bits(*region, *offset, *size),
            _ => {
                let place = value_place(step, index, 0);
                let known = self.known.iter().filter_map(|known| known.entry(&place));
                known.fold(0, |all, at| match at {
                    Place::Value { bits, .. } => all | bits,
                    _ => all,
                })
            }
        }
    }

    pub(super) fn bits(&self, region: u32, offset: u64, size: u8) -> u64 {
        self.known.iter().fold(0, |mask, known| mask | known.mask(region, offset, size))
    }

    pub(super) fn has(&self, place: &Place) -> bool {
        self.known.iter().any(|known| known.others.contains_key(place))
    }

    /// How a vector is volatile, if it is.
    pub(super) fn interrupt(&self, vector: u32) -> Option<When> {
        let place = Place::Interrupt { vector, late: false };
        let mut found = self.known.iter().filter_map(|known| known.entry(&place));
        let is_late = |place: &Place| if place.is_late() { Late } else { Never };
        found.next().map(|first| if found.all(Place::is_late) { is_late(first) } else { Never })
    }
}

/// When something volatile is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Over all steps together.
    Late,
    /// It is not.
    Never,
}
use When::{Late, Never};

impl Known {
    fn entry(&self, key: &Place) -> Option<&Place> {
        self.others.get(key).map(|at| &self.entries[*at].entry.place)
    }

    /// How much of what was seen at a step is not compared, in parts of [`WHOLE`].
    fn hides(&self, step: Option<&Step>, seen: &Seen) -> u64 {
        if self.is_full {
            return WHOLE * seen.0.len() as u64;
        }
        let noted = |place: &Place| {
            let at = self.others.get(place)?;
            self.entries[*at].hid.fetch_add(1, Relaxed);
            let Entry { place, nature, .. } = &self.entries[*at].entry;
            // What is of the instance is compared, only not with a twin.
            (*nature == Nature::Volatile).then_some(place)
        };
        let whole = |hides: bool| if hides { WHOLE } else { 0 };
        let mut values = 0;
        let mut output = 0;
        let mut part = |sight: &Sight| match sight {
            Sight::Value(_) => {
                values += 1;
                let (bits, width) = match step {
                    Some(Step::Read { region, offset, size }) => {
                        self.hid(*region, *offset, *size);
                        (masked(&self.bytes, *region, *offset, *size), 8 * u64::from((*size).max(1)))
                    }
                    _ => match noted(&value_place(step, values - 1, 0)) {
                        Some(Place::Value { bits, .. }) => (*bits, WHOLE),
                        _ => (0, WHOLE),
                    },
                };
                WHOLE * u64::from(bits.count_ones()) / width
            }
            Sight::Interrupt(vector) => {
                let place = noted(&Place::Interrupt { vector: *vector, late: false });
                whole(place.is_some_and(|place| !place.is_late()))
            }
            Sight::Memory { address, bytes } => {
                noted(&Place::LateMemory);
                let at = |i: usize| address.saturating_add(i as u64);
                (0..bytes.len()).for_each(|i| self.hid(GUEST_MEMORY, at(i), 1));
                let is_masked = |i: &usize| masked(&self.bytes, GUEST_MEMORY, at(*i), 1) != 0;
                (0..bytes.len()).filter(is_masked).count() as u64 * WHOLE / bytes.len().max(1) as u64
            }
            Sight::Bytes(bytes) => {
                noted(&Place::LateOutput);
                let step = kind(step);
                let mut masked = 0;
                for _ in bytes {
                    masked +=
                        u64::from(noted(&Place::Output { step: step.clone(), byte: Some(output) }).is_some());
                    output += 1;
                }
                WHOLE * masked / bytes.len().max(1) as u64
            }
            Sight::Words(words) => {
                let step = kind(step);
                let field = |field| Place::Reply { step: step.clone(), field: Some(field) };
                let count = fields(words).count() as u32;
                let masked = (0..count).filter(|i| noted(&field(*i)).is_some()).count() as u64;
                WHOLE * masked / u64::from(count.max(1))
            }
            Sight::Refused { .. } => 0,
            Sight::Volatile => WHOLE,
        };
        let parts: u64 = seen.0.iter().map(&mut part).sum();
        let step = kind(step);
        let all = [Place::Reply { step: step.clone(), field: None }, Place::Output { step, byte: None }];
        match all.iter().any(|place| noted(place).is_some()) {
            true => WHOLE * seen.0.len() as u64,
            false => parts,
        }
    }
}

/// What was seen at a step, kind by kind.
#[derive(Default)]
pub(super) struct Split<'a> {
    pub(super) values: Vec<u64>,
    pub(super) words: Vec<&'a str>,
    pub(super) bytes: Vec<&'a [u8]>,
    /// How often each vector came.
    pub(super) interrupts: BTreeMap<u32, u32>,
    /// What was written where.
    pub(super) memory: BTreeMap<u64, u8>,
    /// What is compared as a whole.
    pub(super) others: Vec<&'a Sight>,
}

impl<'a> Split<'a> {
    pub(super) fn of(seen: &'a Seen) -> Split<'a> {
        let mut split = Split::default();
        split.then(seen);
        split
    }

    /// Adds what was seen next.
    pub(super) fn then(&mut self, seen: &'a Seen) {
        for sight in &seen.0 {
            match sight {
                Sight::Value(value) => self.values.push(*value),
                Sight::Words(words) => self.words.push(words),
                Sight::Refused { .. } | Sight::Volatile => self.others.push(sight),
                Sight::Bytes(bytes) => self.bytes.push(bytes),
                Sight::Interrupt(vector) => *self.interrupts.entry(*vector).or_insert(0) += 1,
                Sight::Memory { address, bytes } => {
                    self.memory.extend((*address..).zip(bytes.iter().copied()));
                }
            }
        }
    }
}

/// What steps have in common that do the same to a device.
pub(super) fn kind(step: Option<&Step>) -> String {
    match step {
        None => "the end".to_owned(),
        Some(Step::Pass(_)) => "pass".to_owned(),
        Some(Step::Receive(_)) => "receive".to_owned(),
        Some(Step::Request(words)) => {
            let mut words = words.split(' ');
            let first = words.next().unwrap_or_default();
            match (first, words.next()) {
                ("post", Some(second)) => format!("post {second}"),
                _ => first.to_owned(),
            }
        }
        Some(step) => step.to_string().split('=').next().unwrap_or_default().to_owned(),
    }
}

/// The place of the value with this index that a step gives.
pub(super) fn value_place(step: Option<&Step>, index: usize, bits: u64) -> Place {
    match step {
        Some(Step::Read { region, offset, size }) => {
            Place::Bits { region: *region, offset: *offset, size: *size, bits }
        }
        _ => Place::Value { step: kind(step), index: index as u32, bits },
    }
}

/// The words of a reply.
pub(super) fn fields(reply: &str) -> impl Iterator<Item = &str> {
    reply.split(' ')
}

fn in_hex(memory: &BTreeMap<u64, u8>) -> String {
    let mut out = String::new();
    let mut next = None;
    for (at, byte) in memory {
        if next != Some(*at) {
            out += &format!("{}{at:#x}: ", if out.is_empty() { "" } else { ", " });
        }
        out += &format!("{byte:02x}");
        next = Some(at.wrapping_add(1));
    }
    if out.is_empty() { "nothing".to_owned() } else { out }
}
