//! What the device does with its time: requests, transfers, completions, interrupts.

use super::faults::*;
use super::hardware::Blk;
use super::parts::{PAGE, SECTOR, SECTORS, SLOTS, feature};
use migcert_core::device::Sight;
use serde::{Deserialize, Serialize};

/// What a request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    #[default]
    Read,
    Write,
    Flush,
    /// Since release 2.
    Discard,
}

impl Kind {
    /// In the order of their doorbells.
    pub(super) const ALL: [Kind; 4] = [Kind::Read, Kind::Write, Kind::Flush, Kind::Discard];

    /// The largest value of its doorbell: place, sectors less one, sector, tag.
    pub(super) const fn max(self) -> u32 {
        match self {
            Kind::Read | Kind::Write => 0x1fff,
            Kind::Discard => 0x1ff,
            Kind::Flush => 0x7,
        }
    }

    /// Units of time until the first sector.
    const fn wait(self) -> u8 {
        match self {
            Kind::Read => 4,
            Kind::Write => 1,
            Kind::Flush => MAX_WAIT,
            Kind::Discard => 3,
        }
    }
}

pub(super) const MAX_WAIT: u8 = 6;

/// A request in flight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) queue: u8,
    pub(super) tag: u8,
    pub(super) sector: u8,
    /// How many of them; none for what fails, and for a flush.
    pub(super) sectors: u8,
    /// How many of them were transferred.
    pub(super) done: u8,
    pub(super) place: u8,
    pub(super) wait: u8,
}

/// What came of a request.
#[derive(Clone, Copy)]
enum Status {
    Done,
    OutOfRange,
    Unsupported,
}

impl Blk {
    /// A doorbell rings. What doesn't fit is not taken.
    pub(super) fn submit(&mut self, kind: Kind, queue: u8, value: u32) {
        let slots = if self.scar.buffers_gone { 0 } else { SLOTS };
        let in_flight = self.state.in_flight(queue);
        let fits = self.state.requests.len() < slots;
        let known = kind != Kind::Discard || self.shape.discard;
        let ring = &mut self.state.queues[usize::from(queue)];
        if !known || !ring.enabled || !fits || ring.size <= in_flight.into() {
            return;
        }
        if self.scar.just_loaded && self.faults.hits(&FIRST_KICK_LOST, true) {
            return;
        }
        let field = |at: u32, bits: u32| (value >> at & ((1 << bits) - 1)) as u8;
        let sector = field(3, 4);
        let left = (self.shape.capacity as u8).saturating_sub(sector);
        let may = self.state.registers.acked & feature::DISCARD != 0;
        let sectors = match kind {
            Kind::Flush => 0,
            Kind::Discard if !may => 0,
            _ => left.min(1 + field(7, 2)),
        };
        let (tag, place, wait) = (field(0, 3), field(9, 4), kind.wait());
        ring.submitted = ring.submitted.wrapping_add(1);
        self.state.requests.push(Request { kind, queue, tag, sector, sectors, done: 0, place, wait });
        self.live.kicked = true;
    }

    /// One unit of the device's own work: interrupts are delivered, and a sector is transferred or
    /// a request completed. A parked queue stands still.
    pub(super) fn work(&mut self, seen: &mut Vec<Sight>) {
        self.scar.just_loaded = false;
        for number in 0..self.state.identity.queues as usize {
            let queue = &mut self.state.queues[number];
            let open = self.live.users != 0 && self.state.registers.mask & 1 << number != 0;
            if queue.signal && open && !self.parked[number] {
                queue.signal = false;
                seen.push(Sight::Interrupt(number as u32));
            }
        }
        if !self.live.kicked {
            return;
        }
        let parked = &self.parked;
        let awake = |request: &Request| !parked.get(usize::from(request.queue)).is_some_and(|parked| *parked);
        for request in self.state.requests.iter_mut().filter(|request| awake(request)) {
            request.wait = request.wait.saturating_sub(1);
        }
        let ready = |request: &Request| request.wait == 0 && request.done == 0;
        let next = self.live.current.or_else(|| self.state.requests.iter().position(ready));
        let Some(next) = next.filter(|next| awake(&self.state.requests[*next])) else { return };
        if self.state.requests[next].done != self.state.requests[next].sectors {
            self.transfer(next, seen);
            self.state.requests[next].done += 1;
            self.live.current = Some(next);
        } else {
            self.complete(next, seen);
        }
    }

    /// Transfers the next sector of a request.
    pub(super) fn transfer(&mut self, index: usize, seen: &mut Vec<Sight>) {
        let Request { kind, queue, .. } = self.state.requests[index];
        let (sector, at) = self.span(index);
        match kind {
            Kind::Read => {
                let bytes = self.load_sector(sector);
                self.dma(queue, at, &bytes);
                seen.push(Sight::Bytes(bytes));
            }
            Kind::Write => self.store_sector(sector, self.memory.read(at, SECTOR)),
            Kind::Discard => {
                self.store_sector(sector, vec![0; SECTOR]);
                self.state.discarded = self.state.discarded.wrapping_add(1);
            }
            Kind::Flush => {}
        }
    }

    /// The next sector of a request, and where it lies in guest memory.
    pub(super) fn span(&self, index: usize) -> (usize, usize) {
        const SPOTS: [usize; SECTORS as usize] = [0, SECTOR, 2 * SECTOR, 3 * SECTOR];
        let Request { sector, done, place, .. } = self.state.requests[index];
        let place = usize::from(place) * SECTORS as usize * SECTOR;
        (usize::from(sector) + usize::from(done), place + SPOTS[usize::from(done)])
    }

    /// Whether a request is about to write to guest memory.
    pub(super) fn is_reading(&self, index: usize) -> bool {
        let request = &self.state.requests[index];
        request.kind == Kind::Read && request.done < request.sectors
    }

    fn complete(&mut self, index: usize, seen: &mut Vec<Sight>) {
        let Request { kind, queue, tag, sectors, .. } = self.state.requests.remove(index);
        self.live.current = None;
        self.live.kicked = !self.state.requests.is_empty();
        let status = match kind {
            Kind::Flush => {
                self.write_back();
                Status::Done
            }
            Kind::Discard if self.state.registers.acked & feature::DISCARD == 0 => Status::Unsupported,
            _ if sectors == 0 => Status::OutOfRange,
            _ => Status::Done,
        };
        let number = usize::from(queue);
        let completed = self.live.completed[number];
        let ring = &mut self.state.queues[number];
        ring.latest = u16::from(sectors) << 8 | u16::from(status as u8) << 4 | u16::from(tag);
        ring.signal = true;
        let entry = (u32::from(completed) << 16 | u32::from(ring.latest)).to_le_bytes();
        let at = ring.address as usize + 4 * (u32::from(completed) % ring.size) as usize;
        let latest = ring.latest;
        self.dma(queue, at, &entry);
        seen.push(Sight::Bytes(entry.to_vec()));
        self.live.completed[number] = completed.wrapping_add(1);
        self.note([queue, kind as u8, latest as u8, sectors]);
    }

    /// Adds to the log of events.
    fn note(&mut self, event: [u8; 4]) {
        let head = self.state.registers.head as usize;
        let at = 4 * head;
        self.state.log[at..at + 4].copy_from_slice(&event);
        self.state.registers.head = ((head + 1) % (self.state.log.len() / 4)) as u32;
        if !(self.scar.log_failed && self.hits(&LOG_ERROR_IGNORED, !self.dirty[at / PAGE])) {
            self.dirty[at / PAGE] = true;
        }
    }

    /// An event of the log.
    pub(super) fn event(&self, index: usize) -> u32 {
        let bytes = &self.state.log[4 * index..];
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    /// Writes to guest memory, and to its log.
    fn dma(&mut self, queue: u8, at: usize, bytes: &[u8]) {
        let logged = self.memory.is_logged();
        let in_bits = (8 * bytes.len()) as u8;
        let (mut from, mut len) = (at, bytes.len());
        if self.hits(&LOGS_FIRST_QUEUE, logged && queue != 0) || self.hits(&LOGS_NO_LENGTH, logged) {
            len = 0;
        }
        if self.hits(&LOG_LENGTH_WRAPS, logged && len != usize::from(in_bits) / 8) {
            len = usize::from(in_bits) / 8;
        }
        let base = SECTORS as usize * SECTOR;
        if self.hits(&LOGS_WITHOUT_BASE, logged && base <= at) {
            from = at % base;
        }
        self.memory.write_unlogged(at, bytes);
        self.memory.mark(from, len);
    }

    /// A read of the guest finds what is in the cache, or what is on the disk.
    pub(super) fn load_sector(&self, sector: usize) -> Vec<u8> {
        let cached = self.cache.get(&sector);
        cached.cloned().unwrap_or_else(|| self.host.disk()[sector * SECTOR..][..SECTOR].to_vec())
    }

    fn store_sector(&mut self, sector: usize, bytes: Vec<u8>) {
        self.cache.insert(sector, bytes);
        if !self.state.cached {
            self.write_back();
        }
    }

    /// Puts onto the disk what waits in the cache.
    pub(super) fn write_back(&mut self) {
        let mut disk = self.host.disk();
        for (sector, bytes) in std::mem::take(&mut self.cache) {
            disk[sector * SECTOR..][..SECTOR].copy_from_slice(&bytes);
        }
    }
}
