//! How the parts of the line lie in a state: sections with versions of their own, of which some
//! are left out where they say nothing.

use super::faults::*;
use super::hardware::*;
use super::line::Serial;
use migcert_core::envelope::write::Writer;
use migcert_core::envelope::{BadState, Tag};
use migcert_core::error::{Error, Misbehaved};
use migcert_core::structured;
use std::collections::VecDeque;

pub(super) const LINE: Tag = Tag::new(b"line");
const OPTIONS: Tag = Tag::new(b"optn");
const OPTIONS_RENAMED: Tag = Tag::new(b"opts");
const MODEM: Tag = Tag::new(b"modm");
pub(super) const MODEM_MISSPELT: Tag = Tag::new(b"mdom");
pub(super) const TICKS: Tag = Tag::new(b"tick");
const TIMERS: Tag = Tag::new(b"timr");

/// The version of every part.
const VERSION: u8 = 1;

/// A section that is left out where it says nothing.
pub(super) struct Part {
    pub(super) tag: Tag,
    /// Whether it says anything; without this, it is always there.
    needed: Option<fn(&Hardware) -> bool>,
    save: fn(&Hardware) -> Result<Vec<u8>, Misbehaved>,
    load: fn(&mut Hardware, &[u8]) -> Result<(), BadState>,
}

/// The part that a field is saved in.
macro_rules! part {
    ($tag:ident $field:ident $needed:expr) => {
        Part {
            tag: $tag,
            needed: $needed,
            save: |saved| structured::encode(&saved.$field),
            load: |new, bytes| structured::decode(bytes).map(|field| new.$field = field),
        }
    };
}

static PARTS: &[Part] = &[
    part!(LINE line Some(|saved| saved.line != Line::default())),
    part!(OPTIONS options None),
    part!(MODEM modem Some(|saved| saved.modem != Modem::default())),
    part!(TICKS ticks Some(|saved| saved.ticks != 0)),
];

/// Those that came with the timers.
static TIMER_PARTS: &[Part] = &[part!(TIMERS timers Some(|saved| saved.timers.used != 0))];

impl Serial {
    /// The parts that a state may have.
    pub(super) fn parts(&self) -> impl Iterator<Item = &'static Part> + use<> {
        let timers = if self.shape.timers == 0 { &[] } else { TIMER_PARTS };
        PARTS.iter().chain(timers)
    }

    /// The parts that say something.
    pub(super) fn needed_parts<'a>(
        &'a self,
        saved: &'a Hardware,
    ) -> impl Iterator<Item = &'static Part> + 'a {
        let any = PARTS.iter().any(|part| part.needed.is_some_and(|needed| needed(saved)));
        let replaced = saved.timers.used != 0 && self.faults.hits(&PARTS_REPLACED, any);
        let parts = if replaced { &[] } else { PARTS };
        let ends = |part: &Part| part.needed.is_none() && self.faults.hits(&PARTS_END_EARLY, true);
        let parts = parts.iter().take_while(move |part| !ends(part)).chain(TIMER_PARTS);
        parts.filter(|part| self.needs(part, saved))
    }

    fn needs(&self, part: &Part, saved: &Hardware) -> bool {
        let needed = part.needed.is_none_or(|needed| needed(saved));
        let sibling = saved.line != Line::default();
        let host = self.host.features() & !FEATURES != 0;
        match part.tag {
            MODEM if self.faults.hits(&NEEDED_OF_SIBLING, sibling != needed) => sibling,
            TIMERS if self.faults.hits(&NEEDED_BY_HOST, host && !needed) => host,
            _ => needed,
        }
    }

    pub(super) fn tag(&self, part: &Part) -> Tag {
        match part.tag {
            OPTIONS if self.faults.hits(&PART_RENAMED, true) => OPTIONS_RENAMED,
            tag => tag,
        }
    }

    pub(super) fn write_part(&self, part: &Part, saved: &Hardware, writer: &mut Writer) -> Result<(), Error> {
        let mut tag = self.tag(part);
        if tag == MODEM && self.faults.hits(&PART_MISSPELT, true) {
            tag = MODEM_MISSPELT;
        }
        let newer = part.tag == MODEM && self.faults.hits(&PART_OF_OTHER_VERSION, true);
        let bytes = versioned(VERSION + u8::from(newer), (part.save)(saved)?);
        writer.section(tag, &bytes);
        if part.tag == LINE && self.faults.hits(&PART_TWICE, true) {
            writer.section(tag, &bytes);
        }
        Ok(())
    }

    pub(super) fn read_part(&self, part: &Part, bytes: &[u8], new: &mut Hardware) -> Result<(), BadState> {
        match split(bytes)? {
            (VERSION, bytes) => (part.load)(new, bytes),
            (version, _) => Err(refused(&format!("version {version} of section `{}`", part.tag))),
        }
    }

    /// Slots that are saved of a FIFO.
    fn slots(&self) -> usize {
        let depth = self.shape.depth;
        if self.faults.hits(&FIFO_GREW, depth < 32) { 32 } else { depth }
    }

    /// How many words there are, and all slots, in the order of bytes that the guest chose.
    pub(super) fn write_fifo(&self, fifo: &VecDeque<u16>, out: &mut Vec<u8>) {
        let slots = self.slots();
        let mut words: Vec<u16> = fifo.iter().copied().collect();
        words.resize(slots, 0);
        let overruns = self.faults.hits(&SAVE_OVERRUN, slots < 2 * fifo.len());
        let end = if overruns { 2 * fifo.len() } else { slots };
        out.extend((fifo.len() as i32).to_le_bytes());
        let control = self.state.core.control;
        out.extend((0..end).flat_map(|slot| ordered(words[slot], control).to_le_bytes()));
    }

    pub(super) fn read_fifo(&self, bytes: &mut &[u8], control: u8) -> Result<VecDeque<u16>, BadState> {
        let (len, slots) = bytes.split_first_chunk().ok_or_else(|| refused("the length of a FIFO"))?;
        let len = i32::from_le_bytes(*len);
        let (slots, rest) =
            slots.split_at_checked(2 * self.slots()).ok_or_else(|| refused("the length of a FIFO"))?;
        *bytes = rest;
        let words = slots.chunks_exact(2).map(|word| u16::from_le_bytes([word[0], word[1]]));
        let words: Vec<u16> = words.map(|word| ordered(word, control)).collect();
        if (self.shape.depth as i32) < len || !self.faults.passes(&NEGATIVE_FITS, 0 <= len) {
            return Err(refused("the number of characters in a FIFO"));
        }
        Ok(words[..len as usize].iter().copied().collect())
    }

    /// The trace as runs of equal characters: how many, and which.
    pub(super) fn runs(&self) -> Vec<u8> {
        let run = |run: &[u8]| [run.len() as u8, run[0]];
        let runs = self.state.trace.chunk_by(|a, b| a == b).flat_map(|equal| {
            let wraps = self.faults.hits(&RUN_WRAPS, usize::from(u8::MAX) < equal.len());
            equal.chunks(if wraps { TRACE } else { u8::MAX.into() }).flat_map(run)
        });
        runs.collect()
    }
}

/// The trace of its runs.
pub(super) fn traced(runs: &[u8]) -> Result<Vec<u8>, BadState> {
    let mut trace = Vec::new();
    for run in runs.chunks(2) {
        match *run {
            [len, byte] if 0 < len && trace.len() < TRACE => trace.extend(vec![byte; len.into()]),
            _ => return Err(refused("a run of the trace")),
        }
    }
    Ok(trace)
}

/// A section with its version.
pub(super) fn versioned(version: u8, mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.insert(0, version);
    bytes
}

/// A section without its version.
pub(super) fn split(bytes: &[u8]) -> Result<(u8, &[u8]), BadState> {
    let (version, bytes) = bytes.split_first().ok_or_else(|| refused("a section without version"))?;
    Ok((*version, bytes))
}

pub(super) fn refused(what: &str) -> BadState {
    BadState::ByDevice(format!("{what} is out of range"))
}
