//! Which bytes stay in an instance and differ from those of another, of what a device writes to guest
//! memory or sends.

use super::compare::{Split, kind};
use super::sample::{INSTANCES, Sample};
use migcert_core::device::Step;
use std::collections::{BTreeMap, BTreeSet};

/// The bytes that instances showed, by where they showed them.
pub(super) struct Stays<K> {
    spots: BTreeMap<K, Spot>,
    /// The samples that played their script once more, to its end.
    twice: BTreeSet<usize>,
}

#[derive(Default)]
struct Spot {
    /// The first byte that each sample showed.
    first: BTreeMap<usize, u8>,
    /// Whether one of them showed another one later.
    changes: bool,
}

impl Stays<u64> {
    /// Of guest memory, by address. What is there already is not seen to be written again: an instance
    /// that played its script again, and was seen to write nothing else, stays with it.
    pub(super) fn in_memory(script: &[Step], samples: &[Sample<'_>]) -> Stays<u64> {
        Stays::of(script, samples, |_, split| split.memory.iter().map(|(at, byte)| (*at, *byte)).collect())
    }
}

impl Stays<(String, u32)> {
    /// Of what leaves the device, by the step and the place in what leaves there.
    pub(super) fn in_output(script: &[Step], samples: &[Sample<'_>]) -> Stays<(String, u32)> {
        Stays::of(script, samples, |step, split| {
            let step = kind(step);
            (0..).zip(split.bytes.concat()).map(|(at, byte)| ((step.clone(), at), byte)).collect()
        })
    }
}

impl<K: Ord> Stays<K> {
    fn of(
        script: &[Step],
        samples: &[Sample<'_>],
        bytes: impl Fn(Option<&Step>, &Split<'_>) -> Vec<(K, u8)>,
    ) -> Stays<K> {
        let mut stays = Stays { spots: BTreeMap::new(), twice: BTreeSet::new() };
        for (at, sample) in samples.iter().enumerate() {
            for seen in std::iter::once(sample.seen).chain(sample.again.iter().map(|seen| &seen[..])) {
                for (step, seen) in seen.iter().enumerate() {
                    for (spot, byte) in bytes(script.get(step), &Split::of(seen)) {
                        stays.spots.entry(spot).or_default().shows(at, byte);
                    }
                }
            }
            if sample.again.iter().any(|seen| seen.len() == script.len()) {
                stays.twice.insert(at);
            }
        }
        stays
    }

    /// Where an instance showed something in two ways.
    pub(super) fn changing(&self) -> impl Iterator<Item = &K> {
        self.spots.iter().filter(|(_, spot)| spot.changes).map(|(at, _)| at)
    }

    /// Whether instances that played twice differ there, and none of them in itself.
    pub(super) fn is_own(&self, at: &K) -> bool {
        let Some(Spot { first, changes: false }) = self.spots.get(at) else { return false };
        let twice: BTreeMap<_, _> = first.iter().filter(|(at, _)| self.twice.contains(at)).collect();
        let values: BTreeSet<_> = twice.values().collect();
        INSTANCES <= twice.len() && 1 < values.len()
    }

    /// Where that may be so, once some play again.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &K> {
        let differs = |spot: &Spot| 1 < spot.first.values().collect::<BTreeSet<_>>().len();
        self.spots.iter().filter(move |(_, spot)| !spot.changes && differs(spot)).map(|(at, _)| at)
    }
}

impl Spot {
    fn shows(&mut self, sample: usize, byte: u8) {
        let first = *self.first.entry(sample).or_insert(byte);
        self.changes |= first != byte;
    }
}

#[cfg(test)]
mod tests {
    use crate::learned::Masks;
    use crate::learned::{Learned, Nature, Place, Sample, View, learn, may_be_of_instances};
    use migcert_core::device::{GUEST_MEMORY, Seen, Sight, Step};

    const STEP: Step = Step::Pass(1);

    /// What is learned of instances that show this at first, and that later.
    #[track_caller]
    fn teaches(learned: &Learned, instances: &[(Sight, Option<Sight>)]) -> Vec<(Place, Nature)> {
        let seen = |sight: &Sight| vec![Seen(vec![sight.clone()])];
        let later = |sight: &Option<Sight>| vec![sight.as_ref().map_or_else(|| vec![Seen::default()], seen)];
        let played: Vec<_> = instances.iter().map(|(first, again)| (seen(first), later(again))).collect();
        let once = played.iter().map(|(seen, _)| Sample { seen, has_waited: false, again: &[] });
        may_be_of_instances(learned, &[STEP], &once.collect::<Vec<_>>());
        let twice = played.iter().map(|(seen, again)| Sample { seen, has_waited: false, again });
        learn(learned, &[STEP], &twice.collect::<Vec<_>>(), 1);
        learned.report().entries.into_iter().map(|entry| (entry.place, entry.nature)).collect()
    }

    fn memory(bytes: [u8; 8]) -> Sight {
        Sight::Memory { address: 0x1000, bytes: bytes.to_vec() }
    }

    fn of_memory(bits: u64) -> Place {
        Place::Bits { region: GUEST_MEMORY, offset: 0x1000, size: 8, bits }
    }

    #[test]
    fn a_record_may_have_what_is_of_the_instance() {
        let learned = Learned::default();
        let record = |count, serial| memory([count, 0, 0, 0, serial, serial, 7, 7]);
        // What is there already is not seen to be written again.
        let instances = [(record(1, 0xaa), Some(record(2, 0xaa))), (record(1, 0xbb), None)];
        let own = of_memory(0xffff << 32);
        assert_eq!(teaches(&learned, &instances), [(own.clone(), Nature::Instance)]);

        let masks = Masks::of(&learned, &learned);
        let mut before = View::default();
        assert!(before.sees(&masks, &STEP, &Seen(vec![record(1, 0xaa)])).is_none());
        let mut after = before.inherited();
        assert!(after.sees(&masks, &STEP, &Seen(vec![record(2, 0xaa)])).is_none());
        let lost = after.sees(&masks, &STEP, &Seen(vec![record(3, 0xbb)])).expect("it is lost");
        assert!(lost.is_certain(&masks));
        drop(masks);

        // Watched for longer, it changes.
        let instances = [(record(1, 0xaa), Some(record(2, 0xab))), (record(1, 0xbb), None)];
        assert_eq!(teaches(&learned, &instances), [(own, Nature::Volatile)]);
        assert!(!lost.is_certain(&Masks::of(&learned, &learned)));
    }

    #[test]
    fn a_time_in_memory_is_nobodys() {
        let learned = Learned::default();
        let at = |low, high| memory([low, high, 0, 0, 0, 0, 0, 0]);
        let instances = [(at(1, 1), Some(at(9, 1))), (at(2, 2), Some(at(9, 2)))];
        assert_eq!(teaches(&learned, &instances), [(of_memory(0xffff), Nature::Volatile)]);
    }

    #[test]
    fn an_address_that_is_sent_is_of_the_instance() {
        let learned = Learned::default();
        let frame = |source, last| Sight::Bytes(vec![0xff, 0xff, source, source, last]);
        let instances = [(frame(1, 0), Some(frame(1, 5))), (frame(2, 0), Some(frame(2, 5)))];
        let place = |byte| Place::Output { step: "pass".to_owned(), byte: Some(byte) };
        assert_eq!(teaches(&learned, &instances), [2, 3].map(|byte| (place(byte), Nature::Instance)));

        let masks = Masks::of(&learned, &learned);
        let mut view = View::default();
        assert!(view.sees(&masks, &STEP, &Seen(vec![frame(1, 0)])).is_none());
        let mut view = view.inherited();
        assert!(view.sees(&masks, &STEP, &Seen(vec![frame(1, 9)])).is_none());
        assert!(
            view.sees(&masks, &STEP, &Seen(vec![frame(3, 0)])).is_some_and(|lost| lost.is_certain(&masks))
        );
        drop(masks);

        let instances = [(frame(1, 0), Some(frame(7, 0))), (frame(2, 0), Some(frame(2, 0)))];
        assert_eq!(teaches(&learned, &instances), [2, 3].map(|byte| (place(byte), Nature::Volatile)));
    }
}
