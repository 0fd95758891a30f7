//! What runs without a migration show differently, as places.

use super::column::{Column, with_bits};
use super::compare::{Split, fields, kind, value_place};
use super::stays::Stays;
use super::{How, Learned, Masks, Nature, Pattern, Place};
use migcert_core::device::{GUEST_MEMORY, Seen, Step};
use std::collections::{BTreeMap, BTreeSet};

/// What a guest saw on an instance that never migrated.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Step by step; perhaps once more, after a wait at the end.
    pub seen: &'a [Seen],
    /// Whether it waited at the end until everything that was under way had arrived.
    pub has_waited: bool,
    /// What the same instance showed each time that it played the script once more, after all others
    /// had; as far as it got.
    pub again: &'a [Vec<Seen>],
}

/// Learns what differs between runs of one script, in the order of time. Says whether there was
/// something that was not known yet.
pub fn learn(learned: &Learned, script: &[Step], samples: &[Sample<'_>], apart: u64) -> bool {
    let found = {
        let masks = Masks::of(learned, learned);
        Search { masks, script, samples }.places()
    };
    let mut is_news = false;
    for (place, nature, pattern) in found {
        is_news |= learned.add(place, nature, How::Seen { apart, pattern });
    }
    is_news
}

/// Whether something differs between instances that differs in none of them, as far as one run of each
/// can show that.
pub fn may_be_of_instances(learned: &Learned, script: &[Step], samples: &[Sample<'_>]) -> bool {
    let masks = Masks::of(learned, learned);
    let search = Search { masks, script, samples };
    let (_, columns, words) = search.answered();
    columns.values().any(|column| column.bits != 0 && column.within == 0)
        || words.values().any(|word| word.differs && !word.changes)
        || Stays::in_memory(script, samples).candidates().any(|at| !search.is_known(*at))
        || Stays::in_output(script, samples).candidates().any(|(step, byte)| !search.is_sent(step, *byte))
}

/// Instances that must have played the script twice to say that something is theirs.
pub(super) const INSTANCES: usize = 2;
/// With more volatile bytes than this, all of an output is.
const BYTES: usize = 16;

struct Search<'a> {
    masks: Masks<'a>,
    script: &'a [Step],
    samples: &'a [Sample<'a>],
}

/// A word at one place of answers.
#[derive(Default)]
struct Word<'a> {
    differs: bool,
    among: bool,
    changes: bool,
    twice: usize,
    /// For each sample the first that was seen.
    first: Vec<Option<&'a str>>,
}

type Words<'a> = BTreeMap<Place, Word<'a>>;
type Found = Vec<(Place, Nature, Pattern)>;

impl<'a> Search<'a> {
    fn places(&self) -> Found {
        let (mut found, columns, words) = self.answered();
        for (place, column) in columns {
            if column.own & column.within != 0 {
                found.push((with_bits(place.clone(), column.own), Nature::Volatile, Pattern::Varies));
            }
            if column.bits != 0 {
                found.push(column.place(place));
            }
        }
        for (place, word) in words {
            let is_known = self.masks.has(&place);
            let is_own = INSTANCES <= word.twice && word.among && !word.changes;
            if is_known && word.changes && self.masks.is_own(&place) || !is_known && word.differs && !is_own {
                found.push((place, Nature::Volatile, Pattern::Varies));
            } else if !is_known && word.differs {
                found.push((place, Nature::Instance, Pattern::Varies));
            }
        }
        let splits: Vec<Vec<Split<'_>>> = (0..self.steps())
            .map(|at| self.samples.iter().map(|s| Split::of(&s.seen[at])).collect())
            .collect();
        self.interrupts(&mut found);
        self.memory(&splits, &mut found);
        self.output(&splits, &mut found);
        found
    }

    /// Steps that every sample has.
    fn steps(&self) -> usize {
        let steps = self.samples.iter().map(|sample| sample.seen.len()).min().unwrap_or(0);
        steps.min(self.script.len())
    }

    /// What of the answers differs: some of it for good, the rest by place.
    fn answered(&self) -> (Found, BTreeMap<Place, Column>, Words<'a>) {
        let (mut found, mut columns, mut words) = (Found::new(), BTreeMap::new(), Words::new());
        for (at, step) in self.script.iter().enumerate().take(self.steps()) {
            let all: Vec<Split<'a>> = self.samples.iter().map(|s| Split::of(&s.seen[at])).collect();
            let again =
                |s: &Sample<'a>| s.again.iter().filter_map(|seen| seen.get(at)).map(Split::of).collect();
            let again: Vec<Vec<Split<'a>>> = self.samples.iter().map(again).collect();
            self.answers(step, (&all, &again), &mut found, &mut columns, &mut words);
        }
        (found, columns, words)
    }

    fn answers(
        &self,
        step: &Step,
        (all, again): (&[Split<'a>], &[Vec<Split<'a>>]),
        found: &mut Found,
        columns: &mut BTreeMap<Place, Column>,
        texts: &mut Words<'a>,
    ) {
        let kind = kind(Some(step));
        let whole = Place::Reply { step: kind.clone(), field: None };
        let Some(first) = all.first() else { return };
        if self.masks.has(&whole) {
            return;
        }
        let shape = |split: &Split<'_>| {
            let counts: Vec<usize> = split.words.iter().map(|words| fields(words).count()).collect();
            (split.values.len(), counts)
        };
        if all.iter().any(|split| shape(split) != shape(first) || split.others != first.others) {
            found.push((whole, Nature::Volatile, Pattern::Varies));
            return;
        }
        // What a sample showed when it played again, where that was something like it.
        let later = |i: usize| {
            let is_like = |split: &'_ Split<'a>| shape(split) == shape(first);
            again[i].iter().map(move |split| Some(split).filter(|split| is_like(split)))
        };
        let twice: Vec<usize> = (0..all.len()).filter(|i| !again[*i].is_empty()).collect();
        for index in 0..first.values.len() {
            let values: Vec<u64> = all.iter().map(|split| split.values[index]).collect();
            let differ = |values: &mut dyn Iterator<Item = u64>| {
                let first = values.next().unwrap_or(0);
                values.fold(0, |bits, value| bits | (value ^ first))
            };
            let column = columns.entry(value_place(Some(step), index, 0)).or_default();
            column.bits |= differ(&mut values.iter().copied()) & !self.masks.value(Some(step), index);
            column.among |= differ(&mut twice.iter().map(|i| values[*i]));
            column.own |= self.masks.own_value(Some(step), index);
            column.twice = column.twice.max(twice.len());
            column.series.resize(all.len(), Vec::new());
            for (i, value) in values.into_iter().enumerate() {
                column.series[i].push(value);
                let first = column.series[i][0];
                column.within |= first ^ value;
                column.within |= later(i).fold(0, |within, split| {
                    within | split.map_or(u64::MAX, |split| first ^ split.values[index])
                });
            }
        }
        let word = |split: &Split<'a>, index: usize, field: usize| fields(split.words[index]).nth(field);
        for index in 0..first.words.len() {
            for field in 0..fields(first.words[index]).count() {
                let place = Place::Reply { step: kind.clone(), field: Some(field as u32) };
                let text = texts.entry(place).or_default();
                let differ = |words: &mut dyn Iterator<Item = Option<&'a str>>| {
                    let first = words.next().flatten();
                    words.fold(false, |differs, word| differs | (word != first))
                };
                text.differs |= differ(&mut all.iter().map(|split| word(split, index, field)));
                text.among |= differ(&mut twice.iter().map(|i| word(&all[*i], index, field)));
                text.twice = text.twice.max(twice.len());
                text.first.resize(all.len(), None);
                for (i, split) in all.iter().enumerate() {
                    let here = word(split, index, field);
                    let first = *text.first[i].get_or_insert(here.unwrap_or_default());
                    text.changes |= Some(first) != here;
                    text.changes |= later(i)
                        .any(|split| split.is_none_or(|split| word(split, index, field) != Some(first)));
                }
            }
        }
    }

    /// How often each vector came in each step, and where the guest waited, in the end as well.
    fn interrupts(&self, found: &mut Found) {
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
                    found.push((Place::Interrupt { vector, late: false }, Nature::Volatile, Pattern::Varies));
                }
                None if has_another_step => {
                    found.push((Place::Interrupt { vector, late: true }, Nature::Volatile, Pattern::Late));
                }
                None | Some(Late) => {}
            }
        }
    }

    /// Whether something is known of a byte of guest memory.
    fn is_known(&self, at: u64) -> bool {
        self.masks.bits(GUEST_MEMORY, at, 1) != 0
    }

    /// Whether something is known of a byte that leaves the device.
    fn is_sent(&self, step: &str, byte: u32) -> bool {
        let place = |byte| Place::Output { step: step.to_owned(), byte };
        self.masks.has(&Place::LateOutput)
            || [None, Some(byte)].map(place).iter().any(|place| self.masks.has(place))
    }

    fn memory(&self, splits: &[Vec<Split<'_>>], found: &mut Found) {
        let mut volatile: BTreeSet<u64> = BTreeSet::new();
        let mut moves = false;
        let is_known = |at: u64| self.is_known(at);
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
            found.push((Place::LateMemory, Nature::Volatile, Pattern::Late));
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
        let stays = Stays::in_memory(self.script, self.samples);
        let is_lost = |at: &&u64| self.masks.own_bits(GUEST_MEMORY, **at, 1) != 0;
        // By words, or a time that is written somewhere would be as many places as it has bytes; and
        // where some of them change, all do.
        let mut words: BTreeMap<u64, (u64, Nature)> = BTreeMap::new();
        for at in volatile.iter().chain(stays.changing().filter(is_lost)) {
            let nature = if stays.is_own(at) { Nature::Instance } else { Nature::Volatile };
            let (bits, known) = words.entry(at & !7).or_insert((0, nature));
            *bits |= 0xff << (8 * (at & 7));
            *known = known.and(nature);
        }
        found.extend(words.into_iter().map(|(offset, (bits, nature))| {
            (Place::Bits { region: GUEST_MEMORY, offset, size: 8, bits }, nature, Pattern::Varies)
        }));
    }

    fn output(&self, splits: &[Vec<Split<'_>>], found: &mut Found) {
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
        let stays = Stays::in_output(self.script, self.samples);
        wholes.retain(|step| !is_known(step, None));
        if !wholes.is_empty() && self.same_output_in_the_end() {
            found.push((Place::LateOutput, Nature::Volatile, Pattern::Late));
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
            // Where some of it changes, all does.
            let is_own = new.iter().all(|byte| stays.is_own(&(step.clone(), *byte)));
            let nature = if is_own { Nature::Instance } else { Nature::Volatile };
            let place = |byte| Place::Output { step: step.clone(), byte: Some(byte) };
            found.extend(new.into_iter().map(|byte| (place(byte), nature, Pattern::Varies)));
        }
        let changing =
            stays.changing().map(|(step, byte)| Place::Output { step: step.clone(), byte: Some(*byte) });
        let lost = changing.filter(|place| self.masks.is_own(place));
        found.extend(lost.map(|place| (place, Nature::Volatile, Pattern::Varies)));
        let whole = |step| (Place::Output { step, byte: None }, Nature::Volatile, Pattern::Varies);
        found.extend(wholes.into_iter().map(whole));
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
