//! What runs without a migration show differently, as places.

use super::compare::{Split, fields, kind, value_place};
use super::{How, Learned, Masks, Pattern, Place, span, upwards, wide};
use migcert_core::device::{GUEST_MEMORY, Seen, Step};
use std::collections::{BTreeMap, BTreeSet};

/// What a guest saw on an instance that never migrated.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Step by step; perhaps once more, after a wait at the end.
    pub seen: &'a [Seen],
    /// Whether it waited at the end until everything that was under way had arrived.
    pub has_waited: bool,
}

/// Learns what differs between runs of one script, in the order of time. Says whether there was
/// something that was not known yet.
pub fn learn(learned: &Learned, script: &[Step], samples: &[Sample<'_>], apart: u64) -> bool {
    let found = {
        let masks = Masks::of(learned, learned);
        Search { masks, script, samples }.places()
    };
    let mut is_news = false;
    for (place, pattern) in found {
        is_news |= learned.add(place, How::Seen { apart, pattern });
    }
    is_news
}

/// Values that fewer distinct ones were seen of say nothing of how they change.
const SEVERAL: usize = 3;
/// So many volatile bits of a value are no flags but a number, which has all bits between them.
const MANY: u32 = 6;
/// With more volatile bytes than this, all of an output is.
const BYTES: usize = 16;

struct Search<'a> {
    masks: Masks<'a>,
    script: &'a [Step],
    samples: &'a [Sample<'a>],
}

/// The values at one place: for each sample those of all steps that read it, in order.
#[derive(Default)]
struct Column {
    bits: u64,
    series: Vec<Vec<u64>>,
}

impl Search<'_> {
    fn places(&self) -> Vec<(Place, Pattern)> {
        let steps = self.samples.iter().map(|sample| sample.seen.len()).min().unwrap_or(0);
        let steps = steps.min(self.script.len());
        let mut found = Vec::new();
        let mut columns: BTreeMap<Place, Column> = BTreeMap::new();
        let splits =
            (0..steps).map(|at| self.samples.iter().map(|s| Split::of(&s.seen[at])).collect::<Vec<_>>());
        let splits: Vec<Vec<Split<'_>>> = splits.collect();
        for (step, all) in self.script.iter().zip(&splits) {
            self.answers(Some(step), all, &mut found, &mut columns);
        }
        for (place, column) in columns.into_iter().filter(|(_, column)| column.bits != 0) {
            found.push(column.place(place));
        }
        self.interrupts(&mut found);
        self.memory(&splits, &mut found);
        self.output(&splits, &mut found);
        found
    }

    fn answers(
        &self,
        step: Option<&Step>,
        all: &[Split<'_>],
        found: &mut Vec<(Place, Pattern)>,
        columns: &mut BTreeMap<Place, Column>,
    ) {
        let kind = kind(step);
        let whole = Place::Reply { step: kind.clone(), field: None };
        let Some(first) = all.first() else { return };
        if self.masks.has(&whole) {
            return;
        }
        let shape = |split: &Split<'_>| (split.values.len(), split.words.len());
        if all.iter().any(|split| shape(split) != shape(first) || split.others != first.others) {
            found.push((whole, Pattern::Varies));
            return;
        }
        for index in 0..first.values.len() {
            let values = all.iter().map(|split| split.values[index]);
            let differ = values.clone().fold(0, |bits, value| bits | (value ^ first.values[index]));
            let column = columns.entry(value_place(step, index, 0)).or_default();
            column.bits |= differ & !self.masks.value(step, index);
            column.series.resize(all.len(), Vec::new());
            column.series.iter_mut().zip(values).for_each(|(series, value)| series.push(value));
        }
        for index in 0..first.words.len() {
            let words = || all.iter().map(|split| split.words[index]);
            let count = fields(first.words[index]).count();
            if words().any(|words| fields(words).count() != count) {
                found.push((whole.clone(), Pattern::Varies));
                continue;
            }
            for field in 0..count {
                let mut each = words().filter_map(|words| fields(words).nth(field));
                let expected = each.next();
                let place = Place::Reply { step: kind.clone(), field: Some(field as u32) };
                if each.any(|word| Some(word) != expected) && !self.masks.has(&place) {
                    found.push((place, Pattern::Varies));
                }
            }
        }
    }

    /// How often each vector came in each step, and where the guest waited, in the end as well.
    fn interrupts(&self, found: &mut Vec<(Place, Pattern)>) {
        use super::compare::When::{Late, Never};
        let splits =
            |sample: &Sample<'_>| sample.seen.iter().map(Split::of).map(|split| split.interrupts).collect();
        let counts: Vec<Vec<BTreeMap<u32, u32>>> = self.samples.iter().map(splits).collect();
        let vectors: BTreeSet<u32> = counts.iter().flatten().flat_map(BTreeMap::keys).copied().collect();
        for vector in vectors {
            let by_step = |counts: &Vec<BTreeMap<u32, u32>>| -> Vec<u32> {
                let mut times: Vec<u32> =
                    counts.iter().map(|step| step.get(&vector).copied().unwrap_or(0)).collect();
                while times.last() == Some(&0) {
                    times.pop();
                }
                times
            };
            let times: Vec<Vec<u32>> = counts.iter().map(by_step).collect();
            let waited = times.iter().zip(self.samples).filter(|(_, sample)| sample.has_waited);
            let totals: BTreeSet<u32> = waited.map(|(times, _)| times.iter().sum()).collect();
            let has_another_number = 1 < totals.len();
            let has_another_step = times.iter().any(|other| *other != times[0]);
            match self.masks.interrupt(vector) {
                Some(Never) => {}
                None | Some(Late) if has_another_number => {
                    found.push((Place::Interrupt { vector, late: false }, Pattern::Varies));
                }
                None if has_another_step => {
                    found.push((Place::Interrupt { vector, late: true }, Pattern::Late));
                }
                None | Some(Late) => {}
            }
        }
    }

    fn memory(&self, splits: &[Vec<Split<'_>>], found: &mut Vec<(Place, Pattern)>) {
        let mut volatile: BTreeSet<u64> = BTreeSet::new();
        let mut moves = false;
        let is_known = |at: u64| self.masks.bits(GUEST_MEMORY, at, 1) != 0;
        for all in splits {
            let addresses: BTreeSet<u64> =
                all.iter().flat_map(|split| split.memory.keys()).copied().collect();
            for at in addresses.into_iter().filter(|at| !is_known(*at)) {
                let mut bytes = all.iter().filter_map(|split| split.memory.get(&at));
                let first = bytes.next();
                if bytes.any(|byte| Some(byte) != first) {
                    volatile.insert(at);
                }
            }
        }
        for all in splits {
            let Some((first, rest)) = all.split_first() else { continue };
            let here = |split: &Split<'_>| -> BTreeSet<u64> {
                let known = |at: &&u64| !volatile.contains(*at) && !is_known(**at);
                split.memory.keys().filter(known).copied().collect()
            };
            moves |= rest.iter().any(|split| here(split) != here(first));
        }
        if moves {
            found.push((Place::LateMemory, Pattern::Late));
        }
        if moves || self.masks.has(&Place::LateMemory) {
            let mut ends = self.samples.iter().filter(|sample| sample.has_waited).map(|sample| {
                let mut end = Split::default();
                sample.seen.iter().for_each(|seen| end.then(seen));
                end.memory
            });
            let first = ends.next().unwrap_or_default();
            for end in ends {
                let all: BTreeSet<u64> = first.keys().chain(end.keys()).copied().collect();
                volatile.extend(all.into_iter().filter(|at| first.get(at) != end.get(at) && !is_known(*at)));
            }
        }
        // By words, or a time that is written somewhere would be as many places as it has bytes.
        let mut words: BTreeMap<u64, u64> = BTreeMap::new();
        for at in volatile {
            *words.entry(at & !7).or_insert(0) |= 0xff << (8 * (at & 7));
        }
        found.extend(words.into_iter().map(|(offset, bits)| {
            (Place::Bits { region: GUEST_MEMORY, offset, size: 8, bits }, Pattern::Varies)
        }));
    }

    fn output(&self, splits: &[Vec<Split<'_>>], found: &mut Vec<(Place, Pattern)>) {
        if self.masks.has(&Place::LateOutput) {
            return;
        }
        let mut bytes: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        let mut wholes: BTreeSet<String> = BTreeSet::new();
        for (step, all) in self.script.iter().zip(splits) {
            let Some((first, rest)) = all.split_first() else { continue };
            let lengths = |split: &Split<'_>| split.bytes.iter().map(|bytes| bytes.len()).collect::<Vec<_>>();
            if rest.iter().any(|split| lengths(split) != lengths(first)) {
                wholes.insert(kind(Some(step)));
            }
            for (byte, expected) in (0..).zip(first.bytes.concat()) {
                if rest.iter().any(|split| split.bytes.concat().get(byte as usize) != Some(&expected)) {
                    bytes.entry(kind(Some(step))).or_default().insert(byte);
                }
            }
        }
        let is_known = |step: &String, byte| self.masks.has(&Place::Output { step: step.clone(), byte });
        wholes.retain(|step| !is_known(step, None));
        if !wholes.is_empty() && self.same_output_in_the_end() {
            found.push((Place::LateOutput, Pattern::Late));
            return;
        }
        for (step, bytes) in bytes {
            let new: Vec<u32> = bytes.into_iter().filter(|byte| !is_known(&step, Some(*byte))).collect();
            if is_known(&step, None) || wholes.contains(&step) {
                continue;
            }
            if BYTES < new.len() {
                wholes.insert(step);
                continue;
            }
            let place = |byte| (Place::Output { step: step.clone(), byte: Some(byte) }, Pattern::Varies);
            found.extend(new.into_iter().map(place));
        }
        found.extend(wholes.into_iter().map(|step| (Place::Output { step, byte: None }, Pattern::Varies)));
    }

    fn same_output_in_the_end(&self) -> bool {
        let mut all = self.samples.iter().filter(|sample| sample.has_waited).map(|sample| {
            let mut end = Split::default();
            sample.seen.iter().for_each(|seen| end.then(seen));
            end.bytes.concat()
        });
        let first = all.next();
        first.is_some() && all.all(|other| Some(other) == first)
    }
}

impl Column {
    /// The place with all of its volatile bits, and how it changes.
    fn place(&self, place: Place) -> (Place, Pattern) {
        let distinct: BTreeSet<u64> = self.series.iter().flatten().copied().collect();
        let reads = self.series.iter().flat_map(|series| series.iter().zip(series.iter().skip(1)));
        let runs = self.series.iter().zip(self.series.iter().skip(1)).flat_map(|(a, b)| a.iter().zip(b));
        let pairs: Vec<_> = reads.chain(runs).collect();
        let pattern = match distinct.len() {
            ..SEVERAL => Pattern::Varies,
            _ if pairs.iter().all(|(a, b)| a <= b) => Pattern::CountsUp,
            _ if pairs.iter().all(|(a, b)| b <= a) => Pattern::CountsDown,
            _ => Pattern::Varies,
        };
        let is_number = SEVERAL <= distinct.len() && MANY <= self.bits.count_ones();
        let all = match pattern {
            Pattern::CountsUp | Pattern::CountsDown => upwards(self.bits),
            Pattern::Varies if is_number => span(self.bits),
            Pattern::Varies | Pattern::Late => self.bits,
        };
        let place = match place {
            Place::Bits { region, offset, size, .. } => {
                Place::Bits { region, offset, size, bits: all & wide(size) }
            }
            Place::Value { step, index, .. } => Place::Value { step, index, bits: all },
            other => other,
        };
        (place, pattern)
    }
}
