//! What each instance shows in its own way and keeps as long as it lives: a serial number or an
//! address that is drawn at the start.
//!
//! A twin is another instance, so it says nothing of such a place. But a migration makes the
//! destination the instance that the source was: its guest must find there what it saw before.

use super::compare::{Masks, Split, fields, kind, value_place};
use super::{Nature, Pin, Place, masked};
use migcert_core::device::{GUEST_MEMORY, Seen, Step};
use std::collections::BTreeMap;

/// What the guest of an instance saw of it where instances differ.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    shown: BTreeMap<Spot, Shown>,
}

/// Where something shows, so that accesses of other sizes see the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Spot {
    Byte { region: u32, at: u64 },
    Value { step: String, index: u32 },
    Word { step: String, field: u32 },
    Output { step: String, byte: u32 },
}

/// What was seen at a spot last.
#[derive(Clone, Debug)]
struct Shown {
    what: What,
    /// Whether an instance showed it that this one was loaded from.
    is_inherited: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Bits { of: u64, number: u64 },
    Word(String),
}

impl What {
    fn differs(&self, other: &What) -> bool {
        match (self, other) {
            (What::Bits { of, number }, What::Bits { of: also, number: other }) => {
                (number ^ other) & of & also != 0
            }
            (one, other) => one != other,
        }
    }
}

/// What a migration lost.
#[derive(Clone, Debug)]
pub(crate) struct Lost {
    /// The step that showed it.
    pub(crate) step: Step,
    /// What it must have shown.
    pub(crate) expected: String,
    /// What it showed.
    pub(crate) observed: String,
    /// Where, of the value or the answer.
    place: Place,
}

impl Lost {
    /// How a profile says that it belongs to something else than the instance.
    pub(crate) fn pin(&self, masks: &Masks<'_>) -> String {
        Pin::Place(masks.whole(&self.place), Nature::Volatile).toml()
    }

    /// Whether the place still counts as one of the instance.
    pub(crate) fn is_certain(&self, masks: &Masks<'_>) -> bool {
        match &self.place {
            Place::Bits { region, offset, size, bits } => masks.own_bits(*region, *offset, *size) & bits != 0,
            Place::Value { index, .. } => masks.own_value(Some(&self.step), *index as usize) != 0,
            place => masks.is_own(place),
        }
    }
}

impl Masks<'_> {
    /// The bits of an access that are of the instance.
    pub(super) fn own_bits(&self, region: u32, offset: u64, size: u8) -> u64 {
        self.known.iter().fold(0, |own, known| own | masked(&known.own, region, offset, size))
            & !self.known.iter().fold(0, |all, known| all | masked(&known.bytes, region, offset, size))
    }

    /// The bits of the value with this index that are of the instance.
    pub(super) fn own_value(&self, step: Option<&Step>, index: usize) -> u64 {
        match step {
            Some(Step::Read { region, offset, size }) => self.own_bits(*region, *offset, *size),
            _ => {
                let place = value_place(step, index, 0);
                if self.is_own(&place) { self.value(step, index) } else { 0 }
            }
        }
    }

    /// Whether a place is of the instance, which no value of a read is.
    pub(super) fn is_own(&self, place: &Place) -> bool {
        let found = || self.known.iter().filter_map(|known| Some(&known.entries[*known.others.get(place)?]));
        found().next().is_some() && found().all(|noted| noted.entry.nature == Nature::Instance)
    }

    /// All of the place that this is a part of.
    fn whole(&self, part: &Place) -> Place {
        let Place::Bits { region, offset, size, .. } = *part else { return part.clone() };
        let bytes = || (0..u64::from(size)).map(|i| (region, offset.saturating_add(i)));
        let mut found = self.known.iter().filter_map(|known| {
            let (_, at) = bytes().find_map(|byte| known.own.get(&byte))?;
            Some(known.entries[*at].entry.place.clone())
        });
        found.next().unwrap_or_else(|| part.clone())
    }
}

impl View {
    /// What the guest of an instance saw that is loaded into another one now.
    pub(crate) fn inherited(mut self) -> View {
        self.shown.values_mut().for_each(|shown| shown.is_inherited = true);
        self
    }

    /// The guest sees this. Says what differs from what it saw of the instance before that.
    pub(crate) fn sees(&mut self, masks: &Masks<'_>, step: &Step, seen: &Seen) -> Option<Lost> {
        let split = Split::of(seen);
        let name = kind(Some(step));
        let mut lost = None;
        let mut loses = |place, expected: String, observed: String| {
            lost.get_or_insert(Lost { step: step.clone(), expected, observed, place });
        };
        for (index, value) in split.values.iter().copied().enumerate() {
            let own = masks.own_value(Some(step), index);
            if own == 0 {
                continue;
            }
            let Step::Read { region, offset, size } = *step else {
                let index = index as u32;
                let spot = Spot::Value { step: name.clone(), index };
                if let Some(What::Bits { of, number }) = self.put(spot, What::Bits { of: own, number: value })
                {
                    let expected = value & !of | number & of;
                    let place = Place::Value { step: name.clone(), index, bits: own };
                    loses(place, format!("{expected:#x}"), format!("{value:#x}"));
                }
                continue;
            };
            let (mut expected, mut bits) = (value, 0);
            for i in 0..u64::from(size.min(8)) {
                let [of, number] = [own, value].map(|all| all >> (8 * i) & 0xff);
                let spot = Spot::Byte { region, at: offset.saturating_add(i) };
                let before = (of != 0).then(|| self.put(spot, What::Bits { of, number })).flatten();
                if let Some(What::Bits { of: was, number }) = before {
                    expected = expected & !(was << (8 * i)) | (number & was) << (8 * i);
                    bits |= (of & was) << (8 * i);
                }
            }
            if bits != 0 {
                let place = Place::Bits { region, offset, size, bits };
                loses(place, format!("{expected:#x}"), format!("{value:#x}"));
            }
        }
        for (at, byte) in &split.memory {
            let (of, number) = (masks.own_bits(GUEST_MEMORY, *at, 1), u64::from(*byte));
            let spot = Spot::Byte { region: GUEST_MEMORY, at: *at };
            let before = (of != 0).then(|| self.put(spot, What::Bits { of, number })).flatten();
            if let Some(What::Bits { number: before, .. }) = before {
                let place = Place::Bits { region: GUEST_MEMORY, offset: *at, size: 1, bits: of };
                let shown = |byte| format!("{byte:#04x} at {at:#x} of guest memory");
                loses(place, shown(before), shown(number));
            }
        }
        for (at, byte) in (0..).zip(split.bytes.concat()) {
            let place = Place::Output { step: name.clone(), byte: Some(at) };
            let (of, number) = (0xff, byte.into());
            let spot = Spot::Output { step: name.clone(), byte: at };
            let before = masks.is_own(&place).then(|| self.put(spot, What::Bits { of, number })).flatten();
            if let Some(What::Bits { number: before, .. }) = before {
                let shown = |byte| format!("{byte:#04x} as byte {at} of what leaves the device");
                loses(place, shown(before), shown(number));
            }
        }
        for words in &split.words {
            for (field, word) in (0..).zip(fields(words)) {
                let place = Place::Reply { step: name.clone(), field: Some(field) };
                if !masks.is_own(&place) {
                    continue;
                }
                let spot = Spot::Word { step: name.clone(), field };
                if let Some(What::Word(before)) = self.put(spot, What::Word(word.to_owned())) {
                    loses(place, before, word.to_owned());
                }
            }
        }
        lost
    }

    /// What was seen there before, if another instance showed it and it was something else.
    fn put(&mut self, spot: Spot, what: What) -> Option<What> {
        match self.shown.get(&spot) {
            Some(shown) if shown.is_inherited => shown.what.differs(&what).then(|| shown.what.clone()),
            _ => {
                self.shown.insert(spot, Shown { what, is_inherited: false });
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learned::{Learned, Sample, learn, may_be_of_instances};
    use migcert_core::device::Sight;

    const SERIAL: Step = Step::Read { region: 0, offset: 0x18, size: 4 };

    fn reads(values: &[u64]) -> Vec<Seen> {
        values.iter().map(|value| Seen(vec![Sight::Value(*value)])).collect()
    }

    fn says(words: &str) -> Seen {
        Seen(vec![Sight::Words(words.to_owned())])
    }

    /// Instances that each played the script first like this, and then like that.
    #[track_caller]
    fn teaches(learned: &Learned, script: &[Step], instances: &[(Vec<Seen>, Vec<Vec<Seen>>)]) {
        let sample = |(seen, again)| Sample { seen, has_waited: false, again };
        let samples: Vec<Sample<'_>> =
            instances.iter().map(|(seen, again)| sample((&seen[..], &again[..]))).collect();
        learn(learned, script, &samples, 1);
    }

    fn natures(learned: &Learned) -> Vec<Nature> {
        learned.report().entries.iter().map(|entry| entry.nature).collect()
    }

    #[test]
    fn what_instances_keep_is_theirs() {
        let learned = Learned::default();
        let played = |value| (reads(&[value]), vec![reads(&[value])]);
        teaches(&learned, &[SERIAL], &[played(0x1234), played(0xabcd), played(0x77)]);
        assert_eq!(natures(&learned), [Nature::Instance]);
    }

    #[test]
    fn what_changes_in_one_of_them_is_not() {
        let instances = |last| {
            [
                (reads(&[0x1234]), vec![reads(&[0x1234])]),
                (reads(&[0xabcd]), vec![reads(&[0xabcd]), reads(&[last])]),
            ]
        };
        let learned = Learned::default();
        teaches(&learned, &[SERIAL], &instances(0xabce));
        assert_eq!(natures(&learned), [Nature::Volatile]);
        // Chance may have it that nothing changes at first.
        let learned = Learned::default();
        teaches(&learned, &[SERIAL], &instances(0xabcd));
        assert_eq!(natures(&learned), [Nature::Instance]);
        teaches(&learned, &[SERIAL], &instances(0xabce));
        assert_eq!(natures(&learned), [Nature::Volatile]);
    }

    #[test]
    fn what_nobody_played_twice_is_nobodys() {
        let learned = Learned::default();
        let script = [Step::Pass(1), SERIAL];
        let played = |value| {
            let mut seen = vec![Seen::default()];
            seen.extend(reads(&[value]));
            // It does not get there again.
            (seen, vec![vec![Seen::default()]])
        };
        teaches(&learned, &script, &[played(0x1234), played(0xabcd)]);
        assert_eq!(natures(&learned), [Nature::Volatile]);
    }

    #[test]
    fn what_a_guest_changes_is_not_of_the_instance() {
        let learned = Learned::default();
        let script = [SERIAL, Step::Write { region: 0, offset: 0x18, size: 4, value: 1 }, SERIAL];
        let played = |value| {
            let seen = || vec![Seen(vec![Sight::Value(value)]), Seen::default(), Seen(vec![Sight::Value(1)])];
            (seen(), vec![seen()])
        };
        teaches(&learned, &script, &[played(0x1234), played(0xabcd)]);
        assert_eq!(natures(&learned), [Nature::Volatile]);
    }

    #[test]
    fn words_are_theirs_as_well() {
        let learned = Learned::default();
        let script = [Step::Request("identify".to_owned())];
        let played = |words| (vec![says(words)], vec![vec![says(words)]]);
        let instances = [played("serial a1 model 7"), played("serial b2 model 7")];
        let first = instances.iter().map(|(seen, _)| Sample { seen, has_waited: false, again: &[] });
        assert!(may_be_of_instances(&learned, &script, &first.collect::<Vec<_>>()));
        teaches(&learned, &script, &instances);
        let place = Place::Reply { step: "identify".to_owned(), field: Some(1) };
        assert!(Masks::of(&learned, &learned).is_own(&place));
    }

    #[test]
    fn a_guest_misses_what_its_instance_showed() {
        let learned = Learned::default();
        learned.add(
            Place::Bits { region: 0, offset: 0x18, size: 8, bits: 0xffff_ffff_0000_0000 },
            Nature::Instance,
            crate::learned::How::Pinned,
        );
        let masks = Masks::of(&learned, &learned);
        let read = |view: &mut View, offset, size, value| {
            let step = Step::Read { region: 0, offset, size };
            view.sees(&masks, &step, &Seen(vec![Sight::Value(value)]))
        };
        let mut before = View::default();
        assert!(read(&mut before, 0x1c, 4, 0x0a0b_0c0d).is_none());
        // Its own guest may see it change: that is judged without a migration.
        assert!(read(&mut before, 0x1c, 4, 0x0a0b_0c0e).is_none());
        let mut after = before.inherited();
        assert!(read(&mut after, 0x1c, 4, 0x0a0b_0c0e).is_none());
        assert!(read(&mut after, 0x18, 4, 0xffff_ffff).is_none(), "that is not of the instance");
        assert!(read(&mut after, 0x1d, 1, 0x0c).is_none());
        let lost = read(&mut after, 0x18, 8, 0x0a0b_0d0e_0000_0000).expect("it is lost");
        assert_eq!(lost.expected, "0xa0b0c0e00000000");
        assert!(lost.is_certain(&masks));
        assert_eq!(
            lost.pin(&masks),
            "{ region = 0, offset = 0x18, size = 8, bits = \"0xffffffff00000000\" }"
        );
    }
}
