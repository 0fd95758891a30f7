//! What a report says of what is volatile.

use super::{Entry, How, Learned, MOST, PLACES, Pin, Place, Range};
use serde::{Deserialize, Serialize};

/// What a report says of the volatile places of a subject.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The places, in order.
    pub entries: Vec<Entry>,
    /// Things seen that were compared, volatile or not.
    pub compared: u64,
    /// How many of them that hid; what was hidden in part counts as the part.
    pub hidden: u64,
    /// Whether there were more places than are kept apart.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_full: bool,
    /// Bytes whose values a profile keeps out of everything that is seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<Range>,
}

impl Report {
    /// Why what is left to be compared says too little, where it does.
    pub fn too_much(&self) -> Option<String> {
        if self.is_full {
            return Some(format!(
                "more than {PLACES} places of it are volatile, so nothing was compared any more"
            ));
        }
        let is_too_much = self.compared < self.hidden.saturating_mul(MOST);
        is_too_much.then(|| {
            let percent = 100 * self.hidden / self.compared.max(1);
            format!("{percent} % of what was compared is volatile, more than one in {MOST}")
        })
    }

    /// Whether nothing is volatile.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.ranges.is_empty()
    }

    /// Adds what was learned and counted elsewhere.
    pub fn add(&mut self, other: &Report) {
        let all = Learned::default();
        for entry in self.entries.iter().chain(&other.entries) {
            all.add(entry.place.clone(), entry.nature, entry.how.clone());
        }
        let hid = |entry: &Entry| {
            let of = |report: &Report| {
                let same = report.entries.iter().filter(|known| known.place.key() == entry.place.key());
                same.map(|known| known.hid).sum::<u64>()
            };
            of(self) + of(other)
        };
        let mut merged = all.report();
        merged.entries.iter_mut().for_each(|entry| entry.hid = hid(entry));
        merged.compared = self.compared + other.compared;
        merged.hidden = self.hidden + other.hidden;
        merged.is_full |= self.is_full || other.is_full;
        merged.ranges = if self.ranges.is_empty() { other.ranges.clone() } else { self.ranges.clone() };
        *self = merged;
    }

    /// What to write into a profile to have all of it pinned, each an element of `volatile`; nothing where it is
    /// already.
    pub fn pins(&self) -> Vec<String> {
        if self.is_full || self.unpinned().next().is_none() {
            return Vec::new();
        }
        self.elements().iter().map(Pin::toml).collect()
    }

    /// All that is volatile, each thing once.
    fn elements(&self) -> Vec<Pin> {
        let mut pins: Vec<Pin> = self.ranges.iter().copied().map(Pin::Range).collect();
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        entries.sort_by_key(|entry| entry.nature);
        for Entry { place, nature, .. } in entries {
            let place = match *place {
                Place::Bits { region, offset, size, bits } => {
                    let hidden = pins.iter().fold(0, |hidden, pin| hidden | pin.hides(region, offset, size));
                    Place::Bits { region, offset, size, bits: bits & !hidden }
                }
                ref other => other.clone(),
            };
            let is_nothing = matches!(place, Place::Bits { bits: 0, .. });
            let pin = Pin::Place(place, *nature);
            if !is_nothing && !pins.iter().any(|known| known.overlaps(&pin)) {
                pins.push(pin);
            }
        }
        pins
    }

    /// What is not pinned.
    fn unpinned(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.how != How::Pinned)
    }
}
