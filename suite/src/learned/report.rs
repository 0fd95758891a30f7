//! What a report says of what is volatile.

use super::{Entry, How, Learned, MOST, Nature, PLACES, Pin, Place, Range};
use crate::row;
use crate::text::Lines;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

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

    /// Adds the section of a text report; nothing where nothing is volatile.
    pub fn text(&self, name: &str, out: &mut Lines) {
        if self.entries.is_empty() {
            if let Some(why) = self.too_much() {
                row!(out);
                row!(out, "learned  {name}: too much: {why}");
            }
            return;
        }
        let volatile = self.entries.iter().filter(|entry| entry.nature == Nature::Volatile).count();
        let is_or_are = |count, what: &str| match count {
            1 => format!("1 place is {what}"),
            many => format!("{many} places are {what}"),
        };
        row!(out);
        match self.entries.len() - volatile {
            0 => row!(out, "learned  {name}: {} and not compared", is_or_are(volatile, "volatile")),
            own if volatile == 0 => row!(out, "learned  {name}: {}", is_or_are(own, "of the instance")),
            own => {
                let (volatile, own) = (is_or_are(volatile, "volatile"), is_or_are(own, "of the instance"));
                row!(out, "learned  {name}: {volatile} and not compared, {own}");
            }
        }
        for entry in &self.entries {
            let (hid, compared) = (entry.hid, self.compared);
            match entry.nature {
                Nature::Volatile if entry.place.is_late() => row!(
                    out,
                    "  volatile   {entry}; compared over all steps that follow, not step by step; {hid} of {compared} values"
                ),
                Nature::Volatile => row!(out, "  volatile   {entry}; hid {hid} of {compared} values"),
                Nature::Instance => row!(
                    out,
                    "  instance   {entry}; compared between source and destination, not with a twin: {hid} of {compared} values"
                ),
            }
            if entry.is_stale() {
                row!(out, "  stale      {}: no guest of this run came there", entry.place);
            }
        }
        if let Some(why) = self.too_much() {
            row!(out, "  too much   {why}");
        }
        if self.unpinned().next().is_none() {
            row!(out, "  pinned     all of it, by the profile; nothing new was learned");
            return;
        }
        row!(out, "  note       it is not deterministic, so the same seed need not teach the same again");
    }

    /// Adds what to write into a profile to have all of it pinned; nothing where it is already.
    pub fn pins(&self, out: &mut Lines) {
        if self.is_full || self.unpinned().next().is_none() {
            return;
        }
        row!(out, "  pin it     above the first [table] of the profile, in place of its `volatile`:");
        row!(out, "volatile = [");
        self.elements().iter().for_each(|pin| out.after("  ", format_args!("{},", pin.toml())));
        out.after("]", format_args!(""));
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

    /// As elements of the member `learned` of a report.
    pub fn json(&self, name: &str) -> Vec<Json> {
        let element = |entry: &Entry| {
            let mut json = json!({
                "impl": name,
                "place": entry.place.to_string(),
                "nature": entry.nature,
                "pin": Pin::Place(entry.place.clone(), entry.nature).toml(),
                "pinned": entry.how == How::Pinned,
                "stale": entry.is_stale(),
                "hid": entry.hid,
                "compared": self.compared,
            });
            if let How::Seen { apart, pattern } = &entry.how {
                json["apart_ms"] = json!(apart);
                json["pattern"] = json!(pattern);
            }
            json
        };
        self.entries.iter().map(element).collect()
    }
}
