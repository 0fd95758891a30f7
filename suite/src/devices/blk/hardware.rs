//! The device as the guest sees it: registers, features, queues; and how it stops.

use super::Shape;
use super::faults::*;
use super::parts::{Hardware, Identity, LOG, Live, PAGE, PLACES, RING, Registers, SLOTS, feature};
use super::work::Kind;
use crate::devices::engine::Reference;
use crate::devices::fault::{Fault, Faults};
use crate::devices::host::Host;
use crate::devices::memory::{self, Memory};
use crate::devices::release::Start;
use migcert_core::device::{GUEST_MEMORY, Interface, Options, Register, Seen, Sight, Step};
use migcert_core::error::{Error, Refusal};
use migcert_core::model::ModelId;
use migcert_core::version::Setup;
use std::collections::BTreeMap;

/// Region 0, the registers.
mod reg {
    pub(super) const ID: u64 = 0x00;
    pub(super) const OFFERED: u64 = 0x04;
    pub(super) const FEATURES: u64 = 0x08;
    pub(super) const CACHE: u64 = 0x0c;
    pub(super) const CAPACITY: u64 = 0x10;
    pub(super) const SERIAL: u64 = 0x14;
    pub(super) const MASK: u64 = 0x18;
    pub(super) const QUEUE: u64 = 0x1c;
    pub(super) const SIZE: u64 = 0x20;
    pub(super) const ADDRESS_LOW: u64 = 0x24;
    pub(super) const ADDRESS_HIGH: u64 = 0x28;
    pub(super) const ENABLE: u64 = 0x2c;
    pub(super) const DISCARDED: u64 = 0x30;
    pub(super) const IN_FLIGHT: u64 = 0x100;
    pub(super) const COMPLETED: u64 = 0x140;
    pub(super) const EVENT: u64 = 0x180;
    pub(super) const DOORBELL: u64 = 0x200;
    /// From the doorbells of one kind of request to those of the next.
    pub(super) const KIND: u64 = 0x40;
}

const ID: u64 = 0x424c_4b01;

/// The block device.
pub(super) struct Blk {
    pub(super) model: ModelId,
    pub(super) list: Setup,
    pub(super) shape: Shape,
    pub(super) faults: Faults,
    pub(super) host: Host,
    pub(super) memory: Memory,
    pub(super) state: Hardware,
    pub(super) live: Live,
    /// The features on offer.
    pub(super) offered: u32,
    /// Sectors that were written and are not on the disk yet.
    pub(super) cache: BTreeMap<usize, Vec<u8>>,
    pub(super) stopped: bool,
    /// By queue: its worker rests, because the device is stopped.
    pub(super) parked: Vec<bool>,
    /// By page of the log: changed since it was sent.
    pub(super) dirty: Vec<bool>,
    pub(super) scar: Scar,
}

/// What faults need to remember.
#[derive(Debug, Default)]
pub(super) struct Scar {
    /// Indices as they were when the device started, or loaded.
    pub(super) submitted: Vec<u16>,
    /// Interrupts as they were when PRE_COPY began.
    pub(super) signals: Vec<bool>,
    /// The disk as it was when the device started.
    pub(super) disk: Vec<u8>,
    pub(super) saves: u32,
    /// A first pass is under way.
    pub(super) saving: bool,
    pub(super) just_loaded: bool,
    pub(super) buffers_gone: bool,
    pub(super) log_failed: bool,
}

impl Scar {
    fn fresh(state: &Hardware, host: &Host, faults: &Faults) -> Scar {
        let disk = if faults.has(&SOURCE_RECONNECTS) { host.disk().clone() } else { Vec::new() };
        let submitted = state.queues.iter().map(|queue| queue.submitted).collect();
        Scar { submitted, disk, ..Scar::default() }
    }
}

impl Blk {
    /// A device that was just started.
    pub(super) fn new(start: Start) -> Result<Blk, Error> {
        let Start { model, list, faults, host, .. } = &start;
        host.act("open the disk")?;
        if faults.hits(&HOST_FEATURE_REFUSED, host.features() & feature::OF_HOST != 0) {
            return Err(Refusal::ByDevice("the host has a feature that is not known".to_owned()).into());
        }
        let shape = Shape::new(&start);
        let mut offered = feature::CACHE | if shape.discard { feature::DISCARD } else { 0 };
        if faults.hits(&HOST_FEATURE_OFFERED, host.features() & feature::OF_HOST != 0) {
            offered |= feature::OF_HOST;
        }
        let state = Hardware::fresh(&shape);
        Ok(Blk {
            model: model.clone(),
            list: list.clone(),
            faults: faults.clone(),
            host: host.clone(),
            memory: Memory::fresh(),
            live: Live::of(&state),
            offered,
            cache: BTreeMap::new(),
            stopped: false,
            parked: vec![false; shape.queues],
            dirty: vec![true; LOG / PAGE],
            scar: Scar::fresh(&state, &start.host, &start.faults),
            state,
            shape,
        })
    }

    pub(super) fn hits(&self, fault: &'static Fault, differs: bool) -> bool {
        self.faults.hits(fault, differs)
    }

    fn read(&self, offset: u64) -> u64 {
        let Registers { acked, mask, selected, .. } = self.state.registers;
        let selected_queue = &self.state.queues[selected as usize];
        let within = |from: u64, count: usize| {
            (from..from + 4 * count as u64).contains(&offset).then(|| (offset - from) as usize / 4)
        };
        u64::from(match offset {
            reg::ID => return ID,
            reg::OFFERED => self.offered,
            reg::FEATURES => acked,
            reg::CACHE => u32::from(self.state.cached),
            reg::CAPACITY => self.state.identity.capacity,
            reg::SERIAL => self.state.identity.serial,
            reg::MASK => mask,
            reg::QUEUE => selected,
            reg::SIZE => selected_queue.size,
            reg::ADDRESS_LOW => selected_queue.address & 0xff,
            reg::ADDRESS_HIGH => selected_queue.address >> 8,
            reg::ENABLE => u32::from(selected_queue.enabled),
            reg::DISCARDED => self.state.discarded,
            _ => match (within(reg::IN_FLIGHT, self.shape.queues), within(reg::COMPLETED, self.shape.queues))
            {
                (Some(queue), _) => {
                    self.state.queues[queue].submitted.wrapping_sub(self.live.completed[queue]).into()
                }
                (_, Some(queue)) => {
                    u32::from(self.live.completed[queue]) << 16 | u32::from(self.state.queues[queue].latest)
                }
                _ => within(reg::EVENT, LOG / 4).map_or(0, |event| self.event(event)),
            },
        })
    }

    fn write(&mut self, offset: u64, value: u32) {
        let Registers { acked, mask, selected, .. } = &mut self.state.registers;
        let queue = &mut self.state.queues[*selected as usize];
        match offset {
            reg::FEATURES => {
                *acked = value & self.offered;
                self.set_cached(value & feature::CACHE != 0);
            }
            reg::CACHE if *acked & feature::CACHE != 0 => self.set_cached(value != 0),
            reg::MASK => *mask = value & ((1 << self.shape.queues) - 1),
            reg::QUEUE => *selected = value % self.shape.queues as u32,
            reg::SIZE if (1..=RING).contains(&value) => queue.size = value,
            reg::ADDRESS_LOW => queue.low = value & 0xff,
            reg::ADDRESS_HIGH => queue.address = (value & 0xf) << 8 | queue.low,
            reg::ENABLE
                if value != 0 || !self.state.requests.iter().any(|r| u32::from(r.queue) == *selected) =>
            {
                queue.enabled = value != 0;
                self.live.users = Live::of(&self.state).users;
            }
            _ => {
                let doorbells = offset.checked_sub(reg::DOORBELL);
                let kind = doorbells.and_then(|at| Kind::ALL.get((at / reg::KIND) as usize));
                let queue = doorbells.unwrap_or(0) % reg::KIND / 4;
                if let Some(kind) = kind.filter(|_| queue < self.shape.queues as u64) {
                    self.submit(*kind, queue as u8, value);
                }
            }
        }
    }

    fn set_cached(&mut self, cached: bool) {
        self.state.cached = cached;
        if !cached {
            self.write_back();
        }
    }

    /// Stops: everything is on the disk then, and nobody works.
    fn stop(&mut self) -> Result<(), Error> {
        let flushed = self.host.act("flush the disk");
        if flushed.is_ok() && !self.hits(&CACHE_KEPT, !self.cache.is_empty()) {
            self.write_back();
        }
        if flushed.is_err() && self.hits(&MASK_NOT_RESTORED, self.state.registers.mask != 0) {
            self.state.registers.mask = 0;
        }
        if flushed.is_err() && !self.hits(&FLUSH_OVERWRITTEN, !self.cache.is_empty()) {
            return flushed;
        }
        let current = self.live.current.map(|current| &self.state.requests[current]);
        let current = current.filter(|request| request.kind == Kind::Read).map(|request| request.queue);
        for queue in 0..self.parked.len() {
            if let Err(why) = self.host.act("park a worker") {
                if !self.hits(&WORKERS_STAY_PARKED, queue != 0) {
                    self.parked.fill(false);
                }
                return Err(why);
            }
            let works = self.state.in_flight(queue as u8) != 0;
            self.parked[queue] = !self.hits(&ONLY_FIRST_PARKED, queue != 0 && works)
                && !self.hits(&TRANSFER_GOES_ON, current == Some(queue as u8));
        }
        if self.faults.has(&LOG_ENDS_EARLY) {
            let log = self.memory.take_log();
            if !self.hits(&LOG_ENDS_EARLY, !log.is_empty()) {
                log.into_iter().for_each(|range| self.memory.mark(range.start, range.len()));
            }
        }
        Ok(())
    }
}

impl Reference for Blk {
    fn options(&self) -> Options {
        Options { p2p: true, pre_copy: true }
    }

    fn interface(&self) -> Interface {
        let register = |name: &'static str, offset, writable, max: u32| Register {
            name: name.into(),
            region: 0,
            offset,
            size: 4,
            count: 1,
            stride: 4,
            writable,
            max: max.into(),
        };
        let Identity { queues, capacity, serial } = Identity::of(&self.shape);
        let each = |register| Register { count: queues, ..register };
        let memory = |name: &'static str, stride: usize| Register {
            region: GUEST_MEMORY,
            count: (memory::SIZE / stride) as u32,
            stride: stride as u32,
            ..register(name, 0, true, u32::MAX)
        };
        let doorbell = |kind: Kind, name: &'static str| {
            each(register(name, reg::DOORBELL + kind as u64 * reg::KIND, true, kind.max()))
        };
        let mut all = vec![
            register("ID", reg::ID, false, ID as u32),
            register("OFFERED", reg::OFFERED, false, self.offered),
            register("FEATURES", reg::FEATURES, true, self.offered),
            register("CACHE", reg::CACHE, true, 1),
            register("CAPACITY", reg::CAPACITY, false, capacity),
            register("SERIAL", reg::SERIAL, false, serial),
            register("INTERRUPT_MASK", reg::MASK, true, (1 << queues) - 1),
            register("QUEUE", reg::QUEUE, true, queues - 1),
            register("QUEUE_SIZE", reg::SIZE, true, RING),
            register("QUEUE_ADDRESS_LOW", reg::ADDRESS_LOW, true, 0xff),
            register("QUEUE_ADDRESS_HIGH", reg::ADDRESS_HIGH, true, 0xf),
            register("QUEUE_ENABLE", reg::ENABLE, true, 1),
            memory("PLACE", memory::SIZE / usize::from(PLACES)),
            doorbell(Kind::Write, "WRITE"),
            doorbell(Kind::Read, "READ"),
            doorbell(Kind::Flush, "FLUSH"),
            each(register("IN_FLIGHT", reg::IN_FLIGHT, false, SLOTS as u32)),
            each(register("COMPLETED", reg::COMPLETED, false, 0xffff_ffff)),
            Register { count: LOG as u32 / 4, ..register("EVENT", reg::EVENT, false, u32::MAX) },
            memory("MEMORY", 4),
        ];
        if self.shape.discard {
            all.push(doorbell(Kind::Discard, "DISCARD"));
            all.push(register("DISCARDED", reg::DISCARDED, false, u32::MAX));
        }
        Interface::Registers(all.into())
    }

    fn memory(&mut self) -> Option<&mut Memory> {
        Some(&mut self.memory)
    }

    fn step(&mut self, step: &Step) -> Seen {
        let mut seen = Vec::new();
        match step {
            Step::Read { region: 0, offset, .. } => seen.push(Sight::Value(self.read(*offset))),
            Step::Write { region: 0, offset, value, .. } => self.write(*offset, *value as u32),
            Step::Read { region: GUEST_MEMORY, offset, size } => {
                seen.push(Sight::Value(self.memory.guest_read(*offset, *size)));
            }
            Step::Write { region: GUEST_MEMORY, offset, size, value } => {
                self.memory.guest_write(*offset, *size, *value);
            }
            Step::Pass(units) => (0..(*units).min(64)).for_each(|_| self.work(&mut seen)),
            _ => {}
        }
        Seen(seen)
    }

    fn reset(&mut self) {
        self.write_back();
        self.state = Hardware::fresh(&self.shape);
        self.live = Live::of(&self.state);
        self.dirty.fill(true);
        self.scar = Scar::fresh(&self.state, &self.host, &self.faults);
    }

    fn pause(&mut self, paused: bool) -> Result<(), Error> {
        if paused && !self.stopped {
            self.stop()?;
        }
        if !paused && self.stopped && !self.hits(&LEFT_PAUSED, self.scar.saves != 0) {
            self.parked.fill(false);
        }
        self.stopped = paused;
        Ok(())
    }

    fn rest(&mut self, units: u32) -> Seen {
        if self.scar.saves != 0 && self.faults.has(&SOURCE_RECONNECTS) {
            let mut disk = self.host.disk();
            if self.hits(&SOURCE_RECONNECTS, *disk != self.scar.disk) {
                disk.clone_from(&self.scar.disk);
            }
        }
        let mut seen = Vec::new();
        (0..units.min(64)).for_each(|_| self.work(&mut seen));
        Seen(seen)
    }
}
