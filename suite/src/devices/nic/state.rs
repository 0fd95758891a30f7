//! How the card is saved: a state of sections, rings in two representations.

use super::RELEASES;
use super::faults::*;
use super::hardware::{Hardware, Nic, PAGE, Registers, Ring, SLOTS};
use crate::devices::engine::faults::{FIELDS_UNCHECKED, OTHER_SETUP_ACCEPTED};
use crate::devices::engine::{Pass, Stored};
use migcert_core::envelope::read::Sections;
use migcert_core::envelope::write::Writer;
use migcert_core::envelope::{BadState, Tag};
use migcert_core::error::Error;
use migcert_core::model::ModelId;
use migcert_core::structured;
use migcert_core::version::Setup;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const REGISTERS: Tag = Tag::new(b"regs");
const RINGS: Tag = Tag::new(b"ring");
const COMPACT_RINGS: Tag = Tag::new(b"crng");
const FILTER: Tag = Tag::new(b"filt");
const PACKETS: Tag = Tag::new(b"pmem");
const CLOCK: Tag = Tag::new(b"clck");

/// A ring with all of its slots, as releases 1 and 2 save it.
#[derive(Serialize, Deserialize)]
struct WideRing {
    sent: u16,
    send: [u8; SLOTS],
    taken: u16,
    received: [u8; SLOTS],
}

impl From<&Ring> for WideRing {
    fn from(ring: &Ring) -> WideRing {
        let wide = |lens: &VecDeque<u8>| {
            let mut all = [0; SLOTS];
            all.iter_mut().zip(lens).for_each(|(slot, len)| *slot = *len);
            all
        };
        WideRing {
            sent: ring.sent,
            send: wide(&ring.send),
            taken: ring.taken,
            received: wide(&ring.received),
        }
    }
}

impl From<WideRing> for Ring {
    fn from(wide: WideRing) -> Ring {
        let narrow = |lens: [u8; SLOTS]| lens.into_iter().take_while(|len| *len != 0).collect();
        Ring { sent: wide.sent, send: narrow(wide.send), taken: wide.taken, received: narrow(wide.received) }
    }
}

impl Nic {
    /// The registers as they are saved.
    fn saved(&mut self) -> Registers {
        let registers = &mut self.state.registers;
        if self.faults.hits(&SAVE_DELIVERS, registers.pending != 0) {
            registers.pending = 0;
        }
        let mut saved = registers.clone();
        let forgets = [
            (&MASK_FORGOTTEN, &mut saved.mask),
            (&PENDING_FORGOTTEN, &mut saved.pending),
            (&INDEX_FORGOTTEN, &mut saved.index),
        ];
        for (fault, field) in forgets {
            if self.faults.hits(fault, *field != 0) {
                *field = 0;
            }
        }
        if self.faults.hits(&ADDRESS_SWAPPED, saved.address[0] != saved.address[1]) {
            saved.address.reverse();
        }
        saved
    }

    fn saved_rings(&self) -> Vec<Ring> {
        let mut rings = self.state.rings.clone();
        for ring in &mut rings {
            if self.faults.hits(&RING_INDEX_FORGOTTEN, ring.sent != 0) {
                ring.sent = 0;
            }
            if self.faults.hits(&IN_FLIGHT_LOST, !ring.send.is_empty()) {
                ring.send.clear();
            }
        }
        rings
    }

    /// Whether rings are saved without their empty slots.
    fn saves_compact(&self) -> bool {
        let newest = self.faults.has(&NEWEST_LEVEL_SAVED) && self.shape.release == RELEASES;
        self.shape.compact || newest && self.faults.hits(&NEWEST_LEVEL_SAVED, true)
    }

    /// Whether the filter has a section.
    fn saves_filter(&self) -> bool {
        self.shape.filter != 0 || 2 <= self.shape.release && self.faults.hits(&OFF_WRITES_SECTION, true)
    }

    /// Swaps in a state that was judged.
    fn swap_in(&mut self, mut new: Hardware) {
        if self.faults.hits(&LINK_FORCED_UP, !new.registers.link) {
            new.registers.link = true;
        }
        let adds = self.state.registers.cause != 0 || self.state.filter.iter().any(|entry| *entry != 0);
        if self.faults.hits(&LOAD_MERGES, adds) {
            new.registers.cause |= self.state.registers.cause;
            new.filter.iter_mut().zip(&self.state.filter).for_each(|(new, old)| *new |= old);
        }
        let refiltered = self.state.filter != new.filter;
        self.state = new;
        self.dirty.fill(true);
        self.loads += 1;
        if !self.faults.hits(&FILTER_STALE, refiltered) {
            self.derive();
        }
    }
}

/// What a state without envelope begins with.
const PLAIN: u32 = 0x504c_4e31;

impl Stored for Nic {
    fn identity(&self) -> (&ModelId, &Setup) {
        (&self.model, &self.list)
    }

    fn save(&mut self, pass: Pass, writer: &mut Writer) -> Result<(), Error> {
        if pass == Pass::First {
            writer.section(PACKETS, &self.state.memory);
            self.dirty.fill(false);
        }
        for (page, dirty) in self.dirty.iter_mut().enumerate() {
            if std::mem::take(dirty) {
                let at = page * PAGE;
                writer.part(PACKETS, at as u64, &self.state.memory[at..at + PAGE]);
            }
        }
        if pass != Pass::Last {
            return Ok(());
        }
        self.host.act("take the wire's backlog")?;
        let registers = self.saved();
        writer.structured(REGISTERS, &registers)?;
        let rings = self.saved_rings();
        if self.saves_compact() {
            writer.structured(COMPACT_RINGS, &rings)?;
        } else {
            writer.structured(RINGS, &rings.iter().map(WideRing::from).collect::<Vec<_>>())?;
        }
        if self.saves_filter() {
            let is_used = self.state.filter.iter().any(|entry| *entry != 0);
            let lost = self.faults.hits(&FILTER_LOST_ON_SECOND, self.loads != 0 && is_used);
            let nothing = vec![0; self.shape.filter];
            writer.section(FILTER, if lost { &nothing } else { &self.state.filter });
        }
        if self.faults.hits(&CLOCK_IN_STATE, true) {
            self.saves += 1;
            writer.structured(CLOCK, &self.saves)?;
        }
        Ok(())
    }

    fn estimate(&self) -> usize {
        self.shape.memory()
    }

    fn is_dirty(&self) -> bool {
        self.dirty.contains(&true)
    }

    fn load(&mut self, mut sections: Sections) -> Result<(), BadState> {
        let registers = sections.take_structured(REGISTERS)?;
        let newest = self.faults.has(&NEWEST_LEVEL_SAVED).then(|| sections.take_structured(COMPACT_RINGS));
        let rings: Vec<Ring> = if let Some(Ok(rings)) = newest {
            rings
        } else if self.shape.compact {
            sections.take_structured(COMPACT_RINGS)?
        } else {
            let wide: Vec<WideRing> = sections.take_structured(RINGS)?;
            wide.into_iter().map(Ring::from).collect()
        };
        let filter = match sections.take(FILTER) {
            Err(BadState::Missing(_)) if self.shape.filter == 0 => Vec::new(),
            Ok(filter) if self.faults.has(&OTHER_SETUP_ACCEPTED) => {
                let mut filter = filter;
                filter.resize(self.shape.filter, 0);
                filter
            }
            filter => filter?,
        };
        let memory = sections.take_sized(PACKETS, self.shape.memory())?;
        if self.faults.has(&CLOCK_IN_STATE) {
            sections.take(CLOCK)?;
        }
        sections.end()?;
        let new = Hardware { registers, rings, filter, memory };
        new.judge(&self.shape)?;
        if self.faults.hits(&DESCRIBES_TOO_MUCH, self.shape.queues == 8) {
            return Err(BadState::ByDevice("more than 4 queues can't be loaded".to_owned()));
        }
        self.host.act("set up the wire").map_err(|why| BadState::ByDevice(why.to_string()))?;
        self.swap_in(new);
        Ok(())
    }

    fn load_tail(&mut self, tail: &[u8]) {
        let n = tail.len().min(self.state.memory.len());
        self.state.memory[..n].copy_from_slice(&tail[..n]);
    }

    fn save_plain(&mut self) -> Result<Vec<u8>, Error> {
        let registers = self.saved();
        let rings = self.saved_rings();
        let Hardware { filter, memory, .. } = self.state.clone();
        Ok(structured::encode(&(PLAIN, Hardware { registers, rings, filter, memory }))?)
    }

    fn load_plain(&mut self, bytes: &[u8]) -> Result<(), BadState> {
        let (magic, new): (u32, Hardware) = structured::decode(bytes)?;
        if magic != PLAIN {
            return Err(BadState::NoMagic);
        }
        let judged = new.judge(&self.shape);
        if !self.faults.hits(&FIELDS_UNCHECKED, judged.is_err()) {
            judged?;
        }
        self.swap_in(new);
        Ok(())
    }
}
