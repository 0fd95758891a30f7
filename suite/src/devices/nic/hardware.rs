//! The card itself: registers, rings, packets, interrupts.

use super::Shape;
use super::faults::*;
use crate::devices::engine::Reference;
use crate::devices::fault::Faults;
use crate::devices::host::Host;
use crate::devices::memory::Memory;
use crate::devices::release::Start;
use migcert_core::device::{Interface, Options, Register, Seen, Sight, Step};
use migcert_core::envelope::BadState;
use migcert_core::error::Error;
use migcert_core::model::ModelId;
use migcert_core::version::Setup;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Packet memory of each queue, 4 KiB: 16 slots to receive, 16 to send.
pub(super) const QUEUE_MEMORY: usize = 2 * SLOTS * SLOT;
pub(super) const SLOTS: usize = 16;
/// Bytes in a slot.
const SLOT: usize = 128;
/// What is sent again in PRE_COPY, is sent in pages.
pub(super) const PAGE: usize = 1 << 10;

/// Region 0, the registers.
mod reg {
    pub(super) const ID: u64 = 0x00;
    pub(super) const STATUS: u64 = 0x04;
    pub(super) const MASK: u64 = 0x08;
    pub(super) const CAUSE: u64 = 0x0c;
    pub(super) const INDEX: u64 = 0x10;
    pub(super) const DATA: u64 = 0x14;
    pub(super) const FEATURES: u64 = 0x18;
    pub(super) const TX_DOORBELL: u64 = 0x100;
    pub(super) const RX_NEXT: u64 = 0x200;
}

const ID: u64 = 0x4e49_4301;
/// The table behind INDEX and DATA: two words of address, the interrupt delay, the filter.
const TABLE: usize = 3;
const DELAY: usize = 2;
const MAX_DELAY: u32 = 7;

/// Everything that a migration has to carry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Hardware {
    pub(super) registers: Registers,
    pub(super) rings: Vec<Ring>,
    pub(super) filter: Vec<u8>,
    pub(super) memory: Vec<u8>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Registers {
    pub(super) mask: u32,
    /// Read and cleared by the guest.
    pub(super) cause: u32,
    /// Causes whose interrupt was not delivered yet.
    pub(super) pending: u32,
    pub(super) index: u32,
    pub(super) address: [u32; 2],
    delay: u32,
    /// Units of time until the next interrupt may be delivered.
    wait: u32,
    /// The queue whose turn it is to send.
    turn: u32,
    pub(super) link: bool,
}

/// The rings of a queue: free-running indices and the lengths of packets in the slots between.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ring {
    pub(super) sent: u16,
    pub(super) send: VecDeque<u8>,
    pub(super) taken: u16,
    pub(super) received: VecDeque<u8>,
}

impl Hardware {
    fn fresh(shape: &Shape) -> Hardware {
        Hardware {
            registers: Registers { link: true, address: [0x5254_0001, 0xcafe], ..Registers::default() },
            rings: vec![Ring::default(); shape.queues],
            filter: vec![0; shape.filter],
            memory: vec![0; shape.memory()],
        }
    }

    /// Whether a guest could have brought it there.
    pub(super) fn judge(&self, shape: &Shape) -> Result<(), BadState> {
        let Registers { mask, cause, pending, index, delay, wait, turn, .. } = self.registers;
        let fits = |ring: &VecDeque<u8>| {
            ring.len() <= SLOTS && ring.iter().all(|len| (1..=SLOT).contains(&usize::from(*len)))
        };
        let checks = [
            ("interrupt causes", (mask | cause | pending) & !shape.causes() == 0),
            ("the table index", (index as usize) < TABLE + shape.filter),
            ("the interrupt delay", delay <= MAX_DELAY && wait <= MAX_DELAY),
            ("the turn", (turn as usize) < shape.queues),
            ("the number of queues", self.rings.len() == shape.queues),
            ("a ring", self.rings.iter().all(|ring| fits(&ring.send) && fits(&ring.received))),
            ("the receive filter", self.filter.len() == shape.filter),
            ("packet memory", self.memory.len() == shape.memory()),
        ];
        match checks.into_iter().find(|(_, ok)| !ok) {
            Some((what, _)) => Err(BadState::ByDevice(format!("{what} is out of range"))),
            None => Ok(()),
        }
    }
}

/// The card.
pub(super) struct Nic {
    pub(super) model: ModelId,
    pub(super) list: Setup,
    pub(super) shape: Shape,
    pub(super) faults: Faults,
    pub(super) host: Host,
    /// The wire has no carrier.
    cut: Arc<AtomicBool>,
    pub(super) state: Hardware,
    /// Made from the filter: which first bytes of a packet pass.
    passed: Vec<bool>,
    /// By page of packet memory: changed since it was sent.
    pub(super) dirty: Vec<bool>,
    pub(super) loads: u32,
    pub(super) saves: u32,
}

impl Nic {
    /// A card that was just started.
    pub(super) fn new(start: Start) -> Nic {
        let shape = Shape::new(&start);
        let mut nic = Nic {
            model: start.model,
            list: start.list,
            faults: start.faults,
            host: start.host,
            cut: start.disturbed,
            state: Hardware::fresh(&shape),
            dirty: vec![true; shape.memory() / PAGE],
            shape,
            passed: vec![false; 256],
            loads: 0,
            saves: 0,
        };
        nic.derive();
        nic
    }

    /// Makes anew what is made from the state.
    pub(super) fn derive(&mut self) {
        let filter = &self.state.filter;
        let all = filter.iter().all(|entry| *entry == 0);
        self.passed.fill(all);
        filter.iter().filter(|entry| **entry != 0).for_each(|entry| self.passed[usize::from(*entry)] = true);
    }

    /// Where a slot lies in packet memory.
    fn slot(queue: usize, sends: bool, index: u16) -> usize {
        queue * QUEUE_MEMORY + (usize::from(sends) * SLOTS + usize::from(index) % SLOTS) * SLOT
    }

    fn store(&mut self, at: usize, bytes: &[u8]) {
        self.state.memory[at..at + bytes.len()].copy_from_slice(bytes);
        self.dirty[at / PAGE] = true;
    }

    fn read(&mut self, offset: u64) -> u64 {
        let registers = &mut self.state.registers;
        u64::from(match offset {
            reg::ID => return ID,
            reg::STATUS => u32::from(registers.link && !self.cut.load(Relaxed)),
            reg::MASK => registers.mask,
            reg::CAUSE => {
                registers.pending = 0;
                std::mem::take(&mut registers.cause)
            }
            reg::INDEX => registers.index,
            reg::DATA => self.table(None),
            reg::FEATURES => {
                let release = if self.faults.hits(&OFF_SHOWS, true) { self.shape.release << 24 } else { 0 };
                (self.shape.filter << 8 | self.shape.queues) as u32 | release
            }
            _ if (reg::RX_NEXT..reg::RX_NEXT + 4 * self.shape.queues as u64).contains(&offset) => {
                let ring = &mut self.state.rings[(offset - reg::RX_NEXT) as usize / 4];
                let Some(len) = ring.received.pop_front() else { return 0 };
                ring.taken = ring.taken.wrapping_add(1);
                u32::from(ring.taken) << 8 | u32::from(len)
            }
            _ => 0,
        })
    }

    /// Reads or writes the entry under INDEX, and goes on to the next.
    fn table(&mut self, write: Option<u32>) -> u32 {
        let Hardware { registers, filter, .. } = &mut self.state;
        let index = registers.index as usize;
        registers.index = ((index + 1) % (TABLE + self.shape.filter)) as u32;
        let value = match index {
            DELAY => {
                registers.delay = write.map_or(registers.delay, |value| value & MAX_DELAY);
                registers.delay
            }
            _ if index < DELAY => {
                let word = &mut registers.address[index];
                *word = write.unwrap_or(*word);
                *word
            }
            _ => {
                let entry = &mut filter[index - TABLE];
                *entry = write.map_or(*entry, |value| value as u8);
                u32::from(*entry)
            }
        };
        if write.is_some() {
            self.derive();
        }
        value
    }

    fn write(&mut self, offset: u64, value: u32) {
        let registers = &mut self.state.registers;
        match offset {
            reg::STATUS => registers.link = value & 1 != 0,
            reg::MASK => registers.mask = value & self.shape.causes(),
            reg::INDEX => registers.index = value % (TABLE + self.shape.filter) as u32,
            reg::DATA => drop(self.table(Some(value))),
            _ if (reg::TX_DOORBELL..reg::TX_DOORBELL + 4 * self.shape.queues as u64).contains(&offset) => {
                let ring = &mut self.state.rings[(offset - reg::TX_DOORBELL) as usize / 4];
                if ring.send.len() < SLOTS && (1..=SLOT as u32).contains(&value) {
                    ring.send.push_back(value as u8);
                }
            }
            _ => {}
        }
    }

    fn receive(&mut self, packet: &[u8]) {
        let Some(first) = packet.first() else { return };
        let queue = usize::from(*first) % self.shape.queues;
        let ring = &mut self.state.rings[queue];
        let up = self.state.registers.link && self.passed[usize::from(*first)];
        if !up || SLOTS <= ring.received.len() || SLOT < packet.len() {
            return;
        }
        let next = ring.taken.wrapping_add(ring.received.len() as u16);
        ring.received.push_back(packet.len() as u8);
        let at = Nic::slot(queue, false, next);
        let dirty = self.dirty[at / PAGE];
        self.store(at, packet);
        if self.faults.hits(&STALE_PRECOPY, !dirty) {
            self.dirty[at / PAGE] = dirty;
        }
        self.raise(1 << queue);
    }

    fn raise(&mut self, cause: u32) {
        self.state.registers.cause |= cause;
        self.state.registers.pending |= cause;
    }

    /// One unit of the device's own work: a packet leaves, interrupts are delivered.
    fn work(&mut self, seen: &mut Vec<Sight>) {
        let queues = self.shape.queues;
        let turn = self.state.registers.turn as usize;
        let busy = (turn..turn + queues).map(|queue| queue % queues);
        let busy = busy.into_iter().find(|queue| !self.state.rings[*queue].send.is_empty());
        if let Some(queue) = busy.filter(|_| self.state.registers.link) {
            let ring = &mut self.state.rings[queue];
            let len = ring.send.pop_front().unwrap_or(0);
            let at = Nic::slot(queue, true, ring.sent);
            ring.sent = ring.sent.wrapping_add(1);
            seen.push(Sight::Bytes(self.state.memory[at..at + usize::from(len)].to_vec()));
            self.state.registers.turn = ((queue + 1) % queues) as u32;
            self.raise(1 << (8 + queue));
        }
        let registers = &mut self.state.registers;
        let signal = registers.pending & registers.mask;
        if registers.wait != 0 {
            registers.wait -= 1;
        } else if signal != 0 {
            seen.extend((0..16).filter(|vector| signal & 1 << vector != 0).map(Sight::Interrupt));
            registers.pending &= !signal;
            registers.wait = registers.delay;
        }
    }
}

impl Reference for Nic {
    fn options(&self) -> Options {
        Options { p2p: true, pre_copy: true }
    }

    fn interface(&self) -> Interface {
        let register = |name: &'static str, offset, count, writable, max| Register {
            name: name.into(),
            region: 0,
            offset,
            size: 4,
            count,
            stride: 4,
            writable,
            max,
        };
        let queues = self.shape.queues as u32;
        let causes = u64::from(self.shape.causes());
        let features = (self.shape.filter << 8 | self.shape.queues) as u64;
        let features = if self.faults.has(&OFF_SHOWS) { u64::from(u32::MAX) } else { features };
        let mut all = vec![
            register("ID", reg::ID, 1, false, ID),
            register("STATUS", reg::STATUS, 1, true, 1),
            register("INTERRUPT_MASK", reg::MASK, 1, true, causes),
            register("INTERRUPT_CAUSE", reg::CAUSE, 1, false, causes),
            register("INDEX", reg::INDEX, 1, true, (TABLE + self.shape.filter - 1) as u64),
            register("DATA", reg::DATA, 1, true, u64::from(u32::MAX)),
            register("FEATURES", reg::FEATURES, 1, false, features),
            register("TX_DOORBELL", reg::TX_DOORBELL, queues, true, SLOT as u64),
            register("RX_NEXT", reg::RX_NEXT, queues, false, 0xffff << 8 | SLOT as u64),
        ];
        let word = |name: &'static str, offset, count, stride| Register {
            region: 1,
            stride: stride as u32,
            ..register(name, offset as u64, count as u32, true, u64::from(u32::MAX))
        };
        let slots = self.shape.queues * 2 * SLOTS;
        all.push(word("SEND_SLOT", Nic::slot(0, true, 0), SLOTS, SLOT));
        all.push(word("SLOT", 0, slots, SLOT));
        let hidden = if self.faults.hits(&MEMORY_BY_HOST, !self.host.is_first()) { 2 } else { 1 };
        all.push(word("PACKET_MEMORY", 0, self.shape.memory() / 4 / hidden, 4));
        Interface::Registers(all.into())
    }

    fn memory(&mut self) -> Option<&mut Memory> {
        None
    }

    fn step(&mut self, step: &Step) -> Seen {
        let mut seen = Vec::new();
        match step {
            Step::Read { region: 0, offset, .. } => seen.push(Sight::Value(self.read(*offset))),
            Step::Write { region: 0, offset, value, .. } => self.write(*offset, *value as u32),
            Step::Read { region: 1, offset, size: 4 } => {
                let at = (*offset as usize % self.shape.memory()) & !3;
                let bytes = [0, 1, 2, 3].map(|i| self.state.memory[at + i]);
                seen.push(Sight::Value(u64::from(u32::from_le_bytes(bytes))));
            }
            Step::Write { region: 1, offset, size: 4, value } => {
                self.store((*offset as usize % self.shape.memory()) & !3, &(*value as u32).to_le_bytes());
            }
            Step::Receive(packet) => self.receive(packet),
            Step::Pass(units) => (0..(*units).min(64)).for_each(|_| self.work(&mut seen)),
            _ => {}
        }
        Seen(seen)
    }

    fn reset(&mut self) {
        let before = std::mem::replace(&mut self.state, Hardware::fresh(&self.shape));
        if self.faults.hits(&RESET_KEEPS_FILTER, self.state.filter != before.filter) {
            self.state.filter = before.filter;
        }
        self.dirty.fill(true);
        self.derive();
    }

    fn pause(&mut self, paused: bool) -> Result<(), Error> {
        let waits = self.state.rings.iter().any(|ring| !ring.received.is_empty());
        if paused && self.faults.hits(&STOP_FORGETS_QUEUES, waits) {
            self.state.rings.iter_mut().for_each(|ring| ring.received.clear());
        }
        Ok(())
    }
}
