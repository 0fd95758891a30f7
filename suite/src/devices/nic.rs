//! A network card, as the thread that began it all imagines one, in three releases.
//!
//! | release | parameters | |
//! |---|---|---|
//! | 1 | `num-queues` 1, 2, 4 | |
//! | 2 | `rx-filter-size` 0 to 64, off 0; above 32 it needs two queues | interface and representation |
//! | 3 | `compact-rings`, off; `num-queues` 8 | representation alone |
//!
//! The guest fills slots of packet memory and rings a doorbell; packets wait in rings whose
//! indices no register shows until the device gets time to send them. Packets that arrive go
//! through the filter into packet memory. A pair of registers, INDEX and DATA, reaches a table
//! with the address, the interrupt delay and the filter.

use super::engine::{Engine, Pass, Reference};
use super::fault::{Fault, Faults};
use migcert_core::device::{Device, Interface, Options, Outside, Register, Seen, Sight, Step};
use migcert_core::envelope::read::Sections;
use migcert_core::envelope::write::Writer;
use migcert_core::envelope::{BadState, Tag};
use migcert_core::error::{Error, Refusal};
use migcert_core::model::ModelId;
use migcert_core::param::{Allowed, Configuration, Param, Type, Value};
use migcert_core::program::{Culprit, Description, Manifest, Model, Program, Requires, Unsupported};
use migcert_core::structured;
use migcert_core::version::Setup;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// Releases are numbered from 1 to this.
pub const RELEASES: u32 = 3;

const MODEL: &str = "https://migcert.example/devices/nic";

/// Packet memory of each queue, 4 KiB: 16 slots to receive, 16 to send.
const QUEUE_MEMORY: usize = 2 * SLOTS * SLOT;
const SLOTS: usize = 16;
/// Bytes in a slot.
const SLOT: usize = 128;
/// What is sent again in PRE_COPY, is sent in pages.
const PAGE: usize = 1 << 10;

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

/// The device program of one release.
pub fn program(release: u32, faults: Faults) -> Box<dyn Program> {
    let described = description(release, faults);
    let (asked, carrier) = (AtomicU32::new(0), Arc::new(AtomicBool::new(true)));
    Box::new(Release { release, faults, described, asked, carrier })
}

struct Release {
    release: u32,
    faults: Faults,
    /// What it supports, before any fault of the description.
    described: Description,
    /// How often the description was asked for.
    asked: AtomicU32,
    /// Whether the wire has a carrier; only a faulty description touches it.
    carrier: Arc<AtomicBool>,
}

impl Release {
    fn has(&self, fault: Fault) -> bool {
        self.faults.has(fault)
    }
}

/// What a release supports.
fn description(release: u32, faults: Faults) -> Description {
    let int = |init: i64, off: Option<i64>, allowed: &[std::ops::RangeInclusive<i64>], what: &str| Param {
        ty: Type::Int,
        init: Value::Int(init),
        off: off.map(Value::Int),
        allowed: Allowed::Ints(allowed.iter().cloned().collect()),
        description: Some(what.to_owned()),
    };
    let mut description = Description::default();
    let mut add = |name: &str, param: Param| {
        description.params.extend(name.parse().ok().map(|name| (name, param)));
    };
    let widest = if release < 3 { 4 } else { 8 };
    let queues = [1..=2, 4..=4, widest..=widest];
    add("num-queues", int(i64::from(release.min(2)), None, &queues, "pairs of queues"));
    if 2 <= release {
        add("rx-filter-size", int(16, Some(0), &[0..=64], "entries of the receive filter"));
    }
    if 3 <= release {
        add(
            "compact-rings",
            Param {
                ty: Type::Bool,
                init: Value::Bool(true),
                off: Some(Value::Bool(false)),
                allowed: Allowed::Bools([false, true].into()),
                description: Some("rings are saved without their empty slots".to_owned()),
            },
        );
    }
    let known = description.params.clone();
    for version in 1..=release {
        let drift = i64::from(faults.has(Fault::VersionDrift) && release == 3);
        let full = [
            ("num-queues", Value::Int(i64::from(version.min(2)))),
            ("rx-filter-size", Value::Int(if version < 2 { 0 } else { 16 + drift })),
            ("compact-rings", Value::Bool(3 <= version)),
        ];
        let full = full.into_iter().filter_map(|(name, value)| Some((name.parse().ok()?, value)));
        let full: Configuration = full.filter(|(name, _)| known.contains_key(name)).collect();
        if let Ok(version) = version.to_string().parse() {
            description.versions.insert(version, full);
        }
    }
    description.latest = release.to_string().parse().ok();
    if 2 <= release {
        let set =
            |name: &str, range| Some((name.parse().ok()?, Allowed::Ints([range].into_iter().collect())));
        description.requires.push(Requires {
            when: set("rx-filter-size", 33..=64).into_iter().collect(),
            then: set("num-queues", 2..=8).into_iter().collect(),
        });
    }
    description
}

impl Program for Release {
    fn describe(&self) -> Result<Manifest, Error> {
        let mut description = self.described.clone();
        let asked = self.asked.fetch_add(1, Relaxed);
        if self.has(Fault::DescribeDisturbs) && asked != 0 {
            self.carrier.store(false, Relaxed);
        }
        let queues = description.params.iter_mut().find(|(name, _)| name.as_str() == "num-queues");
        if let Some((_, queues)) = queues {
            let narrow = self.has(Fault::DescribesTooLittle) && self.release == RELEASES;
            let ends = if narrow { [1..=2, 2..=2] } else { [1..=2, 4..=4] };
            let allowed = match &queues.allowed {
                Allowed::Ints(set) if !narrow => set.ranges().to_vec(),
                _ => ends.to_vec(),
            };
            queues.allowed = Allowed::Ints(allowed.into_iter().collect());
            if self.has(Fault::DescriptionUnstable) {
                let process = std::process::id();
                queues.description =
                    Some(format!("pairs of queues, asked {asked} times in process {process}"));
            }
        }
        let models = [(ModelId::from(MODEL), Model::Params(description))].into();
        Ok(Manifest { models })
    }

    fn outside(&self) -> Result<Outside, Error> {
        self.carrier.store(true, Relaxed);
        Ok(Outside::none())
    }

    fn start(&self, model: &ModelId, setup: &Setup, _outside: &Outside) -> Result<Box<dyn Device>, Error> {
        let refuse = |culprit| Err(Refusal::from(Unsupported(vec![culprit])).into());
        if model.as_str() != MODEL {
            return refuse(Culprit::Model(model.clone()));
        }
        let mut full = match setup {
            Setup::Params(some) => some.clone(),
            Setup::Version(version) => return refuse(Culprit::Version(version.clone())),
        };
        let description = &self.described;
        for (name, param) in &description.params {
            let other = self.has(Fault::InitDiffers) && name.as_str() == "rx-filter-size";
            let init = if other { Value::Int(8) } else { param.init.clone() };
            full.entry(name.clone()).or_insert(init);
        }
        let mut culprits = description.faults(&full);
        if self.has(Fault::UnknownAccepted) {
            full.retain(|name, value| description.params.get(name).is_some_and(|param| param.allows(value)));
            for (name, param) in &description.params {
                full.entry(name.clone()).or_insert(param.init.clone());
            }
            culprits = description.faults(&full);
        }
        let latest = description.latest.as_ref().and_then(|latest| description.versions.get(latest));
        let oldest = description.versions.values().next();
        if (self.has(Fault::LatestRefused) && Some(&full) == latest)
            || (self.has(Fault::VersionRefused) && Some(&full) == oldest)
            || (self.has(Fault::AllowedRefused) && full.values().any(|value| *value == Value::Int(4)))
        {
            culprits
                .extend(full.iter().next().map(|(name, value)| Culprit::Value(name.clone(), value.clone())));
        }
        if !culprits.is_empty() && self.has(Fault::CulpritUnnamed) {
            return Err(Refusal::ByDevice("invalid configuration".to_owned()).into());
        }
        if !culprits.is_empty() {
            return Err(Refusal::from(Unsupported(culprits)).into());
        }
        let shape = Shape::new(&full, self.release);
        let list = Setup::Params(description.parameter_list(&full));
        let nic = Nic {
            model: model.clone(),
            list,
            faults: self.faults,
            carrier: self.carrier.clone(),
            state: Hardware::fresh(&shape),
            dirty: vec![true; shape.memory() / PAGE],
            shape,
            passed: vec![false; 256],
            loads: 0,
            saves: 0,
            tainted: false,
        };
        Ok(Box::new(Engine::new(nic.derived(), self.faults)))
    }
}

/// What the configuration makes of the card.
#[derive(Clone, Debug)]
struct Shape {
    release: u32,
    queues: usize,
    filter: usize,
    compact: bool,
}

impl Shape {
    fn new(full: &Configuration, release: u32) -> Shape {
        let int = |name: &str| match full.iter().find(|(n, _)| n.as_str() == name) {
            Some((_, Value::Int(n))) => usize::try_from(*n).unwrap_or(0),
            Some((_, Value::Bool(b))) => usize::from(*b),
            _ => 0,
        };
        Shape {
            release,
            queues: int("num-queues"),
            filter: int("rx-filter-size"),
            compact: int("compact-rings") != 0,
        }
    }

    /// Bytes of packet memory.
    fn memory(&self) -> usize {
        self.queues * QUEUE_MEMORY
    }

    fn causes(&self) -> u32 {
        let each = (1 << self.queues) - 1;
        each | each << 8
    }
}

/// Everything that a migration has to carry.
#[derive(Clone, Debug)]
struct Hardware {
    registers: Registers,
    rings: Vec<Ring>,
    filter: Vec<u8>,
    memory: Vec<u8>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Registers {
    mask: u32,
    /// Read and cleared by the guest.
    cause: u32,
    /// Causes whose interrupt was not delivered yet.
    pending: u32,
    index: u32,
    address: [u32; 2],
    delay: u32,
    /// Units of time until the next interrupt may be delivered.
    wait: u32,
    /// The queue whose turn it is to send.
    turn: u32,
    link: bool,
}

/// The rings of a queue: free-running indices and the lengths of packets in the slots between.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Ring {
    sent: u16,
    send: VecDeque<u8>,
    taken: u16,
    received: VecDeque<u8>,
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
    fn judge(&self, shape: &Shape) -> Result<(), BadState> {
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

struct Nic {
    model: ModelId,
    list: Setup,
    shape: Shape,
    faults: Faults,
    carrier: Arc<AtomicBool>,
    state: Hardware,
    /// Made from the filter: which first bytes of a packet pass.
    passed: Vec<bool>,
    /// By page of packet memory: changed since it was sent.
    dirty: Vec<bool>,
    loads: u32,
    saves: u32,
    /// Packet memory holds what no judge saw.
    tainted: bool,
}

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
    fn has(&self, fault: Fault) -> bool {
        self.faults.has(fault)
    }

    /// Makes anew what is made from the state.
    fn derived(mut self) -> Nic {
        self.derive();
        self
    }

    fn derive(&mut self) {
        let filter = &self.state.filter;
        let all = filter.iter().all(|entry| *entry == 0);
        self.passed.fill(all);
        filter.iter().filter(|entry| **entry != 0).for_each(|entry| self.passed[usize::from(*entry)] = true);
    }

    fn compact(&self) -> bool {
        self.shape.compact || (self.has(Fault::NewestLevelSaved) && self.shape.release == RELEASES)
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
            reg::STATUS => u32::from(registers.link && self.carrier.load(Relaxed)),
            reg::MASK => registers.mask,
            reg::CAUSE => {
                registers.pending = 0;
                std::mem::take(&mut registers.cause)
            }
            reg::INDEX => registers.index,
            reg::DATA => self.table(None),
            reg::FEATURES => {
                let release = if self.has(Fault::OffShows) { self.shape.release << 24 } else { 0 };
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
        if self.has(Fault::StalePrecopy) {
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

    /// The registers as they are saved.
    fn saved(&mut self) -> Registers {
        if self.has(Fault::SaveDelivers) {
            self.state.registers.pending = 0;
        }
        let mut saved = self.state.registers.clone();
        let forgets = [
            (Fault::MaskForgotten, &mut saved.mask),
            (Fault::PendingForgotten, &mut saved.pending),
            (Fault::IndexForgotten, &mut saved.index),
        ];
        forgets.into_iter().filter(|(fault, _)| self.faults.has(*fault)).for_each(|(_, field)| *field = 0);
        if self.has(Fault::MacSwapped) {
            saved.address.reverse();
        }
        saved
    }

    fn saved_rings(&self) -> Vec<Ring> {
        let mut rings = self.state.rings.clone();
        for ring in &mut rings {
            if self.has(Fault::RingIndexForgotten) {
                ring.sent = 0;
            }
            if self.has(Fault::InFlightLost) {
                ring.send.clear();
            }
        }
        rings
    }

    /// Swaps in a state that was judged.
    fn swap_in(&mut self, mut new: Hardware) {
        if self.has(Fault::LinkForcedUp) {
            new.registers.link = true;
        }
        if self.has(Fault::LoadMerges) {
            new.registers.cause |= self.state.registers.cause;
            new.filter.iter_mut().zip(&self.state.filter).for_each(|(new, old)| *new |= old);
        }
        self.state = new;
        self.dirty.fill(true);
        self.loads += 1;
        if !self.has(Fault::FilterStale) {
            self.derive();
        }
    }
}

/// The state without envelope, for faults that need one.
#[derive(Serialize, Deserialize)]
struct Plain {
    magic: u32,
    registers: Registers,
    rings: Vec<Ring>,
    filter: Vec<u8>,
    memory: Vec<u8>,
}

const PLAIN_MAGIC: u32 = 0x504c_4e31;

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
        let features = if self.has(Fault::OffShows) { u64::from(u32::MAX) } else { features };
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
        all.push(word("PACKET_MEMORY", 0, self.shape.memory() / 4, 4));
        Interface::Registers(all.into())
    }

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
        let registers = self.saved();
        writer.structured(REGISTERS, &registers)?;
        let rings = self.saved_rings();
        if self.compact() {
            writer.structured(COMPACT_RINGS, &rings)?;
        } else {
            writer.structured(RINGS, &rings.iter().map(WideRing::from).collect::<Vec<_>>())?;
        }
        let lost = self.has(Fault::FilterLostOnSecond) && self.loads != 0;
        if self.shape.filter != 0 || (self.has(Fault::OffWritesSection) && 2 <= self.shape.release) {
            let nothing = vec![0; self.shape.filter];
            writer.section(FILTER, if lost { &nothing } else { &self.state.filter });
        }
        if self.has(Fault::ClockInState) {
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
        let either = self.has(Fault::NewestLevelSaved).then(|| sections.take_structured(COMPACT_RINGS));
        let rings: Vec<Ring> = if let Some(Ok(rings)) = either {
            rings
        } else if self.shape.compact {
            sections.take_structured(COMPACT_RINGS)?
        } else {
            let wide: Vec<WideRing> = sections.take_structured(RINGS)?;
            wide.into_iter().map(Ring::from).collect()
        };
        let filter = match sections.take(FILTER) {
            Err(BadState::Missing(_)) if self.shape.filter == 0 => Vec::new(),
            Ok(filter) if self.has(Fault::OtherSetupAccepted) => {
                let mut filter = filter;
                filter.resize(self.shape.filter, 0);
                filter
            }
            filter => filter?,
        };
        let memory = sections.take_sized(PACKETS, self.shape.memory())?;
        if self.has(Fault::ClockInState) {
            sections.take(CLOCK)?;
        }
        sections.end()?;
        let new = Hardware { registers, rings, filter, memory };
        new.judge(&self.shape)?;
        if self.has(Fault::DescribesTooMuch) && self.shape.queues == 8 {
            return Err(BadState::ByDevice("more than 4 queues can't be loaded".to_owned()));
        }
        self.swap_in(new);
        Ok(())
    }

    fn load_tail(&mut self, tail: &[u8]) {
        let n = tail.len().min(self.state.memory.len());
        self.state.memory[..n].copy_from_slice(&tail[..n]);
        self.tainted = true;
    }

    fn save_plain(&mut self) -> Result<Vec<u8>, Error> {
        let registers = self.saved();
        let Hardware { filter, memory, .. } = self.state.clone();
        Ok(structured::encode(&Plain {
            magic: PLAIN_MAGIC,
            registers,
            rings: self.saved_rings(),
            filter,
            memory,
        })?)
    }

    fn load_plain(&mut self, bytes: &[u8]) -> Result<(), BadState> {
        let mut bytes = bytes.to_vec();
        if self.has(Fault::CutAccepted) && 1024 < bytes.len() {
            let whole = self.save_plain().map_err(|why| BadState::ByDevice(why.to_string()))?.len();
            bytes.resize(bytes.len().max(whole), 0);
        }
        if self.has(Fault::ReservesClaims) {
            let claims =
                bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
            let claim = claims.filter(|claim| *claim < 1 << 31).max().unwrap_or(0) as usize;
            drop(std::hint::black_box(Vec::<u8>::with_capacity(claim)));
        }
        let plain: Plain = structured::decode(&bytes)?;
        if plain.magic != PLAIN_MAGIC {
            return Err(BadState::NoMagic);
        }
        let Plain { registers, rings, filter, memory, .. } = plain;
        let new = Hardware { registers, rings, filter, memory };
        if !self.has(Fault::FieldsUnchecked) {
            new.judge(&self.shape)?;
        }
        self.swap_in(new);
        Ok(())
    }

    fn reset(&mut self) {
        let before = std::mem::replace(&mut self.state, Hardware::fresh(&self.shape));
        if self.has(Fault::ResetKeepsFilter) {
            self.state.filter = before.filter;
        }
        if self.has(Fault::RefusalSurvivesReset) && self.tainted {
            self.state.memory = before.memory;
        }
        self.dirty.fill(true);
        self.derive();
    }

    fn pause(&mut self, paused: bool) {
        if paused && self.has(Fault::StopForgetsQueues) {
            self.state.rings.iter_mut().for_each(|ring| ring.received.clear());
        }
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
}
