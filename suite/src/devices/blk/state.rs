//! How the device is saved: sections, requests in two representations.

use super::faults::*;
use super::hardware::Blk;
use super::parts::{FIRST, Hardware, LOG, Live, PAGE, PLACES, Queue, SLOTS, feature};
use super::work::{Kind, Request};
use crate::devices::engine::faults::FIELDS_UNCHECKED;
use crate::devices::engine::{Pass, Stored};
use crate::devices::memory;
use migcert_core::envelope::read::Sections;
use migcert_core::envelope::write::Writer;
use migcert_core::envelope::{BadState, Tag};
use migcert_core::error::{Error, Refusal};
use migcert_core::model::ModelId;
use migcert_core::structured;
use migcert_core::version::Setup;
use serde::{Deserialize, Serialize};

const IDENTITY: Tag = Tag::new(b"iden");
const REGISTERS: Tag = Tag::new(b"regs");
const CACHED: Tag = Tag::new(b"cach");
const QUEUES: Tag = Tag::new(b"queu");
const REQUESTS: Tag = Tag::new(b"reqs");
const COMPACT_REQUESTS: Tag = Tag::new(b"creq");
const DISCARDED: Tag = Tag::new(b"disc");
const EVENTS: Tag = Tag::new(b"evnt");

/// A slot for a request, as releases 1 and 2 save all of them.
#[derive(Default, Serialize, Deserialize)]
struct Slot {
    taken: bool,
    request: Request,
}

impl Blk {
    /// The device as it is saved.
    fn saved(&mut self) -> Hardware {
        let mut saved = self.state.clone();
        self.miss_registers(&mut saved);
        self.miss_queues(&mut saved.queues);
        self.miss_requests(&mut saved.requests);
        saved
    }

    fn miss_registers(&self, saved: &mut Hardware) {
        let acked = &mut saved.registers.acked;
        if self.hits(&FEATURES_FORGOTTEN, *acked != feature::CACHE) {
            *acked = feature::CACHE;
        }
        if self.hits(&FEATURE_DROPPED, !self.shape.compact && *acked & feature::DISCARD != 0) {
            *acked &= !feature::DISCARD;
        }
    }

    fn miss_queues(&self, queues: &mut [Queue]) {
        for (number, queue) in queues.iter_mut().enumerate() {
            if self.hits(&ADDRESS_INFERRED, queue.address & 0xff != 0) {
                queue.address &= !0xff;
            }
            if self.hits(&HALF_ADDRESS_FORGOTTEN, queue.low != 0) {
                queue.low = 0;
            }
            let stale = self.scar.submitted[number];
            if self.hits(&STALE_INDEX_SAVED, queue.submitted != stale) {
                queue.submitted = stale;
            }
            let completed = self.live.completed[number];
            if self.hits(&COMPLETED_FOR_SUBMITTED, queue.submitted != completed) {
                queue.submitted = completed;
            }
            if self.hits(&SIGNAL_FORGOTTEN, queue.signal) {
                queue.signal = false;
            }
            let early = self.scar.signals.get(number).is_some_and(|early| *early);
            if self.hits(&SIGNALS_TAKEN_EARLY, queue.signal != early) {
                queue.signal = early;
            }
        }
    }

    fn miss_requests(&self, requests: &mut Vec<Request>) {
        for request in requests.iter_mut() {
            if self.hits(&QUEUE_FORGOTTEN, request.queue != 0) {
                request.queue = 0;
            }
            if self.faults.has(&HOST_POINTERS_SAVED) {
                request.place = (request.place + self.host_base()) % PLACES;
            }
        }
        let new_kind = |request: &Request| request.kind == Kind::Discard;
        if !self.shape.compact && self.hits(&NEW_KIND_SKIPPED, requests.iter().any(new_kind)) {
            requests.retain(|request| !new_kind(request));
        }
        if !self.shape.compact && self.hits(&NEW_KIND_CRASHES, requests.iter().any(new_kind)) {
            panic!("a request of an unknown kind");
        }
    }

    /// Where the host has put the buffers of the guest.
    fn host_base(&self) -> u8 {
        if self.host.is_first() { 0 } else { PLACES / 4 }
    }

    fn slots(&self, requests: &[Request]) -> Vec<Slot> {
        let taken = requests.iter().map(|request| Slot { taken: true, request: request.clone() });
        let padding =
            if self.hits(&PADDING_SAVED, requests.len() < SLOTS) { self.scar.saves as u8 } else { 0 };
        let empty = || Slot { taken: false, request: Request { sector: padding, ..Request::default() } };
        taken.chain(std::iter::repeat_with(empty)).take(SLOTS).collect()
    }

    /// Whether the section of the cache mode is there: since release 1 it always is.
    fn saves_cached(&self, cached: bool) -> bool {
        let level = 1 + u32::from(self.shape.discard) + u32::from(self.shape.compact);
        !self.hits(&VERSION_COMPARED, level != 1 && !cached)
    }

    /// Swaps in a state that was judged.
    fn swap_in(&mut self, mut new: Hardware) {
        let acked = self.state.registers.acked;
        self.lose_requests(&mut new, acked);
        let features = new.registers.acked & feature::CACHE != 0;
        if self.hits(&CACHE_RESET, new.cached != features) {
            new.cached = features;
        }
        for queue in &mut new.queues {
            let entry = self.memory.read(queue.address as usize + 2, 2);
            let stale = u16::from_le_bytes([entry[0], entry[1]]);
            if self.hits(&INDEX_FROM_MEMORY, queue.submitted != stale) {
                queue.submitted = stale;
            }
        }
        if self.hits(&OFFER_OVERWRITTEN, self.offered != new.registers.acked) {
            self.offered = new.registers.acked;
        }
        self.state = new;
        self.live = self.derived();
        self.dirty.fill(true);
        self.scar.submitted = self.state.queues.iter().map(|queue| queue.submitted).collect();
        self.scar.just_loaded = true;
    }

    fn lose_requests(&self, new: &mut Hardware, acked: u32) {
        let Hardware { queues, requests, .. } = new;
        for request in requests.iter_mut() {
            let base = self.host_base();
            if self.hits(&HOST_POINTERS_SAVED, base != 0 && matches!(request.kind, Kind::Read | Kind::Write))
            {
                request.place = (request.place + PLACES - base) % PLACES;
            }
        }
        let in_flight = requests.clone();
        let idle = |queue: u8| {
            let count = in_flight.iter().filter(|request| request.queue == queue).count() as u16;
            queues[usize::from(queue)].submitted.wrapping_sub(count) == FIRST
        };
        let reconfigures = queues.iter().skip(1).any(|queue| queue.enabled);
        requests.retain(|request| {
            let lost = [
                (&FIRST_TAG_CLEARED, request.tag == 0 && idle(request.queue)),
                (&LOST_ON_RECONFIGURE, request.queue == 0 && reconfigures),
                (&OLD_FEATURES_CHECKED, request.kind == Kind::Discard && acked & feature::DISCARD == 0),
            ];
            !lost.into_iter().any(|(fault, here)| self.hits(fault, here))
        });
    }

    /// Makes anew what is made from the state.
    fn derived(&self) -> Live {
        let mut live = Live::of(&self.state);
        for (number, (completed, queue)) in live.completed.iter_mut().zip(&self.state.queues).enumerate() {
            let plain = queue.submitted.saturating_sub(self.state.in_flight(number as u8));
            if self.hits(&INDEX_WRAP_FORGOTTEN, *completed != plain) {
                *completed = plain;
            }
            if self.hits(&COMPLETED_FORGOTTEN, *completed != FIRST) {
                *completed = FIRST;
            }
        }
        if self.hits(&USERS_NOT_COUNTED, live.users != 0) {
            live.users = 0;
        }
        if self.hits(&KICK_FORGOTTEN, live.kicked) {
            live.kicked = false;
        }
        if self.hits(&CURRENT_FORGOTTEN, live.current.is_some()) {
            live.current = None;
        }
        live
    }

    /// The log as it arrives, page by page.
    fn put_in_place(&self, mut log: Vec<u8>) -> Result<Vec<u8>, BadState> {
        for page in (0..LOG).step_by(PAGE) {
            let put = self.host.act("put a page of the log in place");
            if put.is_err()
                && self.hits(&REPLY_NOT_READ, log[page..][..PAGE] != self.state.log[page..][..PAGE])
            {
                log[page..][..PAGE].copy_from_slice(&self.state.log[page..][..PAGE]);
            } else {
                put.map_err(told)?;
            }
        }
        Ok(log)
    }

    /// What a first pass begins with.
    fn begin(&mut self) -> Result<(), Error> {
        if self.hits(&TRACKER_KEPT, self.scar.saving) {
            return Err(Refusal::ByDevice("what is written is tracked already".to_owned()).into());
        }
        let tracked = self.host.act("track what is written");
        self.scar.log_failed = tracked.is_err() && self.hits(&LOG_ERROR_IGNORED, true);
        if !self.scar.log_failed {
            tracked?;
        }
        self.scar.saving = true;
        self.scar.signals = self.state.queues.iter().map(|queue| queue.signal).collect();
        Ok(())
    }

    /// What a last pass begins with.
    fn end(&mut self) -> Result<(), Error> {
        if let Err(why) = self.host.act("get memory for the state") {
            self.scar.buffers_gone = self.hits(&BUFFERS_LEAK, true);
            return Err(why);
        }
        let reading = (0..self.state.requests.len()).find(|request| self.is_reading(*request));
        if let Some(reading) = reading.filter(|_| self.memory.is_logged())
            && self.hits(&SAVE_WRITES_MEMORY, true)
        {
            let (sector, at) = self.span(reading);
            self.memory.write_unlogged(at, &self.load_sector(sector));
        }
        self.scar.saving = false;
        self.scar.saves += 1;
        Ok(())
    }
}

fn told(why: Error) -> BadState {
    BadState::ByDevice(why.to_string())
}

/// What a state without envelope begins with.
const PLAIN: u32 = 0x504c_4231;

impl Stored for Blk {
    fn identity(&self) -> (&ModelId, &Setup) {
        (&self.model, &self.list)
    }

    fn save(&mut self, pass: Pass, writer: &mut Writer) -> Result<(), Error> {
        if pass == Pass::First {
            self.begin()?;
            writer.section(EVENTS, &self.state.log);
            self.dirty.fill(false);
        }
        for (page, dirty) in self.dirty.iter_mut().enumerate() {
            if std::mem::take(dirty) {
                let at = page * PAGE;
                writer.part(EVENTS, at as u64, &self.state.log[at..at + PAGE]);
            }
        }
        if pass != Pass::Last {
            return Ok(());
        }
        self.end()?;
        let saved = self.saved();
        writer.structured(IDENTITY, &saved.identity)?;
        writer.structured(REGISTERS, &saved.registers)?;
        if self.saves_cached(saved.cached) {
            writer.structured(CACHED, &saved.cached)?;
        }
        writer.structured(QUEUES, &saved.queues)?;
        if self.shape.compact {
            writer.structured(COMPACT_REQUESTS, &saved.requests)?;
        } else {
            writer.structured(REQUESTS, &self.slots(&saved.requests))?;
        }
        if self.shape.discard {
            writer.structured(DISCARDED, &saved.discarded)?;
        }
        Ok(())
    }

    fn estimate(&self) -> usize {
        self.dirty.len() * PAGE
    }

    fn is_dirty(&self) -> bool {
        self.dirty.contains(&true)
    }

    fn load(&mut self, mut sections: Sections) -> Result<(), BadState> {
        match self.host.act("ask the disk what it is") {
            Err(_) if self.hits(&NOTHING_IS_FINE, true) => return Ok(()),
            asked => asked.map_err(told)?,
        }
        let identity = sections.take_structured(IDENTITY)?;
        let registers = sections.take_structured(REGISTERS)?;
        let cached = match sections.take_structured(CACHED) {
            Err(BadState::Missing(_)) if self.faults.has(&VERSION_COMPARED) => true,
            cached => cached?,
        };
        let queues: Vec<Queue> = sections.take_structured(QUEUES)?;
        if self.faults.has(&LOG_SIZE_UNCHECKED) {
            let end = queues.iter().map(|queue| queue.address as usize).max().unwrap_or(0);
            if self.hits(&LOG_SIZE_UNCHECKED, memory::SIZE <= end) {
                drop(std::hint::black_box(Vec::<u8>::with_capacity(end.min(1 << 31))));
            }
        }
        let requests = if self.shape.compact {
            sections.take_structured(COMPACT_REQUESTS)?
        } else {
            let slots: Vec<Slot> = sections.take_structured(REQUESTS)?;
            slots.into_iter().filter(|slot| slot.taken).map(|slot| slot.request).collect()
        };
        let discarded = if self.shape.discard { sections.take_structured(DISCARDED)? } else { 0 };
        let log = sections.take_sized(EVENTS, LOG)?;
        sections.end()?;
        let new = Hardware { identity, registers, cached, queues, requests, discarded, log };
        self.judge(&new)?;
        if self.refuses(&new) {
            return Err(BadState::ByDevice("the state is not supported".to_owned()));
        }
        let log = self.put_in_place(new.log)?;
        self.swap_in(Hardware { log, ..new });
        Ok(())
    }

    fn load_tail(&mut self, tail: &[u8]) {
        let n = tail.len().min(LOG);
        self.state.log[..n].copy_from_slice(&tail[..n]);
    }

    fn save_plain(&mut self) -> Result<Vec<u8>, Error> {
        let saved = self.saved();
        Ok(structured::encode(&(PLAIN, saved))?)
    }

    fn load_plain(&mut self, bytes: &[u8]) -> Result<(), BadState> {
        let (magic, new): (u32, Hardware) = structured::decode(bytes)?;
        if magic != PLAIN {
            return Err(BadState::NoMagic);
        }
        let judged = self.judge(&new);
        if !self.hits(&FIELDS_UNCHECKED, judged.is_err()) {
            judged?;
        }
        self.swap_in(new);
        Ok(())
    }
}
