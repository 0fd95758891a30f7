//! A device that behaves as a description says: any description.
//!
//! The configuration determines all of it. The base has an interrupt mask, causes and a small
//! memory. Each parameter that is not off adds a *unit*: a region of registers, a section of the
//! state, and behaviour that depends on the name and the value. What is off adds nothing, to the
//! byte. A version string (r4) is one unit of its own.
//!
//! A unit has words behind a data register whose index nothing shows, a sum over all that was
//! written, and jobs that wait until the device gets time for them. Which of the optional states
//! there are depends on the model id, so all four kinds occur.

use super::engine::{Engine, Pass, Reference};
use super::fault::{Fault, Faults};
use migcert_core::device::{Device, Interface, Options, Outside, Register, Seen, Sight, Step};
use migcert_core::envelope::read::Sections;
use migcert_core::envelope::write::Writer;
use migcert_core::envelope::{BadState, Tag};
use migcert_core::error::{Error, Refusal};
use migcert_core::model::ModelId;
use migcert_core::program::{Culprit, Manifest, Model, Program, Unsupported};
use migcert_core::structured;
use migcert_core::version::Setup;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes of memory.
const MEMORY: usize = 256;
/// What is sent again in PRE_COPY, is sent in pages.
const PAGE: usize = 64;
/// So many jobs wait in a unit.
const JOBS: usize = 4;
/// Interrupt 0 is for what arrives; units share the others.
const CAUSES: u32 = 0xffff;

/// Region 0: the base.
mod reg {
    pub(super) const ID: u64 = 0x00;
    pub(super) const MASK: u64 = 0x04;
    pub(super) const CAUSE: u64 = 0x08;
    pub(super) const MEMORY: u64 = 0x100;
}

/// Region 1 and up: a unit each.
mod unit {
    pub(super) const KIND: u64 = 0x00;
    pub(super) const NEXT: u64 = 0x04;
    pub(super) const JOB: u64 = 0x08;
    pub(super) const WORD: u64 = 0x10;
}

/// The faults that can be planted here: those that are not in the hardware.
pub const FAULTS: &[Fault] = &[
    Fault::LoadedOnce,
    Fault::CancelKeepsSession,
    Fault::WorksInStop,
    Fault::RefusalRuns,
    Fault::RefusalSticks,
    Fault::RefusalSurvivesReset,
    Fault::PlainFormat,
    Fault::TailIgnored,
    Fault::TailApplied,
    Fault::ErrorSwallowed,
    Fault::PrecopyConsumes,
    Fault::PieceLost,
    Fault::ShortReadTruncates,
    Fault::FreshStopped,
    Fault::ArcMissing,
    Fault::StateUnreported,
    Fault::IllegalArc,
    Fault::ErrorRequested,
    Fault::JudgedLate,
    Fault::EmptyAccepted,
    Fault::ReadableOutside,
    Fault::SessionResumed,
    Fault::EndForgotten,
    Fault::ResetKeepsState,
];

/// The device program that is described so.
pub fn program(manifest: Manifest, faults: Faults) -> Box<dyn Program> {
    Box::new(Described { manifest, faults })
}

struct Described {
    manifest: Manifest,
    faults: Faults,
}

impl Program for Described {
    fn describe(&self) -> Result<Manifest, Error> {
        Ok(self.manifest.clone())
    }

    fn outside(&self) -> Result<Outside, Error> {
        Ok(Outside::none())
    }

    fn start(&self, model: &ModelId, setup: &Setup, _outside: &Outside) -> Result<Box<dyn Device>, Error> {
        let list = self.list(model, setup).map_err(Refusal::from)?;
        let shapes = shapes(&list);
        let device = Synthetic {
            model: model.clone(),
            interface: Interface::Registers(interface(&shapes)),
            faults: self.faults,
            state: Hardware::fresh(&shapes),
            list,
            shapes,
            dirty: [true; MEMORY / PAGE],
            tainted: false,
        };
        Ok(Box::new(Engine::new(device, self.faults)))
    }
}

impl Described {
    /// The migration parameter list that an instance of this setup has, if it can be
    /// started. What is not named has its init value.
    fn list(&self, model: &ModelId, setup: &Setup) -> Result<Setup, Unsupported> {
        let Some(described) = self.manifest.models.get(model) else {
            return Err(Unsupported(vec![Culprit::Model(model.clone())]));
        };
        let full = match (described, setup) {
            (Model::Params(description), Setup::Params(some)) => {
                let mut full = description.init();
                full.extend(some.clone());
                Setup::Params(full)
            }
            (Model::Versions(versions), Setup::Params(none)) if none.is_empty() => {
                Setup::Version(versions.latest().clone())
            }
            (_, setup) => setup.clone(),
        };
        let culprits = described.faults(&full);
        if !culprits.is_empty() {
            return Err(Unsupported(culprits));
        }
        Ok(match (described, full) {
            (Model::Params(description), Setup::Params(full)) => {
                Setup::Params(description.parameter_list(&full))
            }
            (_, full) => full,
        })
    }
}

/// What a value makes of its unit.
#[derive(Clone, Debug)]
struct Shape {
    kind: u32,
    words: usize,
    /// The bits that a word has.
    mask: u32,
    /// What the sum is multiplied with before a value is added.
    factor: u32,
}

/// One for each parameter that is not off.
fn shapes(list: &Setup) -> Vec<Shape> {
    let shape = |text: String| {
        let hash = hash(text.as_bytes());
        Shape {
            kind: hash as u32,
            words: 1 + (hash >> 32) as usize % 4,
            mask: (1 << (8 + (hash >> 40) % 17)) - 1,
            factor: (hash >> 16) as u32 | 1,
        }
    };
    match list {
        Setup::Version(version) => vec![shape(version.to_string())],
        Setup::Params(list) => {
            list.iter().map(|(name, value)| shape(format!("{name}={} {value}", value.ty()))).collect()
        }
    }
}

/// FNV-1a: the same on every machine and in every version.
fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

fn interface(shapes: &[Shape]) -> Arc<[Register]> {
    let register = |name: &'static str, region, offset, writable, max: u32| Register {
        name: name.into(),
        region,
        offset,
        size: 4,
        count: 1,
        stride: 4,
        writable,
        max: max.into(),
    };
    let window = |count: usize, register| Register { count: count as u32, ..register };
    let mut all = vec![
        register("ID", 0, reg::ID, false, ID),
        register("INTERRUPT_MASK", 0, reg::MASK, true, CAUSES),
        register("INTERRUPT_CAUSE", 0, reg::CAUSE, false, CAUSES),
        window(MEMORY / 4, register("MEMORY", 0, reg::MEMORY, true, u32::MAX)),
    ];
    for (region, shape) in (1..).zip(shapes) {
        all.push(register("KIND", region, unit::KIND, false, shape.kind));
        all.push(register("NEXT", region, unit::NEXT, true, shape.mask));
        all.push(register("JOB", region, unit::JOB, true, shape.mask));
        all.push(window(shape.words, register("WORD", region, unit::WORD, true, shape.mask)));
    }
    all.into()
}

const ID: u32 = 0x5359_4e01;

/// Everything that a migration has to carry.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Hardware {
    base: Base,
    units: Vec<Unit>,
    memory: Vec<u8>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Base {
    mask: u32,
    /// Read and cleared by the guest.
    cause: u32,
    /// Causes whose interrupt was not delivered yet.
    pending: u32,
    /// Where in memory the next byte that arrives is put.
    head: u16,
    /// The unit whose turn it is.
    turn: u16,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Unit {
    words: Vec<u32>,
    /// The word behind NEXT.
    next: u32,
    sum: u32,
    jobs: VecDeque<u32>,
}

impl Hardware {
    fn fresh(shapes: &[Shape]) -> Hardware {
        let unit =
            |shape: &Shape| Unit { words: vec![0; shape.words], next: 0, sum: 0, jobs: VecDeque::new() };
        Hardware { base: Base::default(), units: shapes.iter().map(unit).collect(), memory: vec![0; MEMORY] }
    }

    /// Whether a guest could have brought it there.
    fn judge(&self, shapes: &[Shape]) -> Result<(), BadState> {
        let Base { mask, cause, pending, head, turn } = self.base;
        let fits = |(unit, shape): (&Unit, &Shape)| {
            unit.words.len() == shape.words
                && (unit.next as usize) < shape.words
                && unit.jobs.len() <= JOBS
                && unit.words.iter().chain(&unit.jobs).all(|word| word & !shape.mask == 0)
        };
        let checks = [
            ("an interrupt cause", (mask | cause | pending) & !CAUSES == 0),
            ("the head", usize::from(head) < MEMORY),
            ("the turn", usize::from(turn) < shapes.len().max(1)),
            ("the number of units", self.units.len() == shapes.len()),
            ("a unit", self.units.iter().zip(shapes).all(fits)),
            ("memory", self.memory.len() == MEMORY),
        ];
        match checks.into_iter().find(|(_, ok)| !ok) {
            Some((what, _)) => Err(BadState::ByDevice(format!("{what} is out of range"))),
            None => Ok(()),
        }
    }

    fn raise(&mut self, cause: u32) {
        self.base.cause |= cause;
        self.base.pending |= cause;
    }
}

struct Synthetic {
    model: ModelId,
    list: Setup,
    shapes: Vec<Shape>,
    interface: Interface,
    faults: Faults,
    state: Hardware,
    /// By page of memory: changed since it was sent.
    dirty: [bool; MEMORY / PAGE],
    /// Memory holds what no judge saw.
    tainted: bool,
}

const BASE: Tag = Tag::new(b"base");
const BYTES: Tag = Tag::new(b"byte");

/// The section of a unit.
fn section(index: usize) -> Tag {
    let digit = |shift: usize| b"0123456789abcdef"[index >> shift & 0xf];
    Tag::new(&[b'u', digit(8), digit(4), digit(0)])
}

impl Synthetic {
    fn store(&mut self, at: usize, bytes: &[u8]) {
        for (i, byte) in bytes.iter().enumerate() {
            let at = (at + i) % MEMORY;
            self.state.memory[at] = *byte;
            self.dirty[at / PAGE] = true;
        }
    }

    fn read(&mut self, region: u32, offset: u64) -> u32 {
        let base = &mut self.state.base;
        let Some(index) = (region as usize).checked_sub(1) else {
            return match offset {
                reg::ID => ID,
                reg::MASK => base.mask,
                reg::CAUSE => {
                    base.pending = 0;
                    std::mem::take(&mut base.cause)
                }
                reg::MEMORY.. => {
                    let at = ((offset - reg::MEMORY) as usize % MEMORY) & !3;
                    u32::from_le_bytes([0, 1, 2, 3].map(|i| self.state.memory[at + i]))
                }
                _ => 0,
            };
        };
        let (Some(unit), Some(shape)) = (self.state.units.get_mut(index), self.shapes.get(index)) else {
            return 0;
        };
        match offset {
            unit::KIND => shape.kind,
            unit::NEXT => {
                let word = unit.words[unit.next as usize];
                unit.next = (unit.next + 1) % shape.words as u32;
                word
            }
            unit::WORD.. => unit.words.get((offset - unit::WORD) as usize / 4).copied().unwrap_or(0),
            _ => 0,
        }
    }

    fn write(&mut self, region: u32, offset: u64, value: u32) {
        let Some(index) = (region as usize).checked_sub(1) else {
            match offset {
                reg::MASK => self.state.base.mask = value & CAUSES,
                reg::MEMORY.. => {
                    self.store(((offset - reg::MEMORY) as usize % MEMORY) & !3, &value.to_le_bytes());
                }
                _ => {}
            }
            return;
        };
        let (Some(unit), Some(shape)) = (self.state.units.get_mut(index), self.shapes.get(index)) else {
            return;
        };
        let value = value & shape.mask;
        match offset {
            unit::NEXT => {
                unit.words[unit.next as usize] = value;
                unit.next = (unit.next + 1) % shape.words as u32;
                unit.sum = unit.sum.wrapping_mul(shape.factor).wrapping_add(value);
            }
            unit::JOB if unit.jobs.len() < JOBS => unit.jobs.push_back(value),
            unit::WORD.. => {
                if let Some(word) = unit.words.get_mut((offset - unit::WORD) as usize / 4) {
                    *word = value;
                }
            }
            _ => {}
        }
    }

    /// What arrives goes to memory, and into the sum of the unit that its first byte names.
    fn receive(&mut self, bytes: &[u8]) {
        let Some(first) = bytes.first() else { return };
        let index = usize::from(*first) % self.shapes.len().max(1);
        if let (Some(unit), Some(shape)) = (self.state.units.get_mut(index), self.shapes.get(index)) {
            unit.sum = unit.sum.wrapping_mul(shape.factor).wrapping_add(hash(bytes) as u32);
        }
        let head = usize::from(self.state.base.head);
        self.store(head, bytes);
        self.state.base.head = ((head + bytes.len()) % MEMORY) as u16;
        self.state.raise(1);
    }

    /// One unit of time: a job is done, interrupts are delivered.
    fn work(&mut self, seen: &mut Vec<Sight>) {
        let count = self.shapes.len();
        let turn = usize::from(self.state.base.turn);
        let mut order = (turn..turn + count).map(|index| index % count);
        if let Some(index) = order.find(|index| !self.state.units[*index].jobs.is_empty()) {
            let unit = &mut self.state.units[index];
            let job = unit.jobs.pop_front().unwrap_or(0);
            unit.sum = unit.sum.wrapping_mul(self.shapes[index].factor).wrapping_add(job);
            let sum = unit.sum.to_le_bytes();
            seen.push(Sight::Bytes(sum.to_vec()));
            self.store(job as usize, &sum[..1]);
            self.state.base.turn = ((index + 1) % count) as u16;
            self.state.raise(1 << (1 + index % 15));
        }
        let base = &mut self.state.base;
        let signal = base.pending & base.mask;
        seen.extend((0..16).filter(|vector| signal & 1 << vector != 0).map(Sight::Interrupt));
        base.pending &= !signal;
    }

    fn swap_in(&mut self, new: Hardware) -> Result<(), BadState> {
        new.judge(&self.shapes)?;
        self.state = new;
        self.dirty.fill(true);
        Ok(())
    }
}

impl Reference for Synthetic {
    fn options(&self) -> Options {
        Options::ALL[hash(self.model.as_str().as_bytes()) as usize % Options::ALL.len()]
    }

    fn interface(&self) -> Interface {
        self.interface.clone()
    }

    fn identity(&self) -> (&ModelId, &Setup) {
        (&self.model, &self.list)
    }

    fn save(&mut self, pass: Pass, writer: &mut Writer) -> Result<(), Error> {
        if pass == Pass::First {
            writer.section(BYTES, &self.state.memory);
            self.dirty.fill(false);
        }
        for (page, dirty) in self.dirty.iter_mut().enumerate() {
            if std::mem::take(dirty) {
                let at = page * PAGE;
                writer.part(BYTES, at as u64, &self.state.memory[at..at + PAGE]);
            }
        }
        if pass != Pass::Last {
            return Ok(());
        }
        writer.structured(BASE, &self.state.base)?;
        for (index, unit) in self.state.units.iter().enumerate() {
            writer.structured(section(index), unit)?;
        }
        Ok(())
    }

    fn estimate(&self) -> usize {
        MEMORY
    }

    fn is_dirty(&self) -> bool {
        self.dirty.contains(&true)
    }

    fn load(&mut self, mut sections: Sections) -> Result<(), BadState> {
        let base = sections.take_structured(BASE)?;
        let units = (0..self.shapes.len()).map(|index| sections.take_structured(section(index)));
        let units = units.collect::<Result<_, BadState>>()?;
        let memory = sections.take_sized(BYTES, MEMORY)?;
        sections.end()?;
        self.swap_in(Hardware { base, units, memory })
    }

    fn load_tail(&mut self, tail: &[u8]) {
        self.store(0, &tail[..tail.len().min(MEMORY)]);
        self.tainted = true;
    }

    fn save_plain(&mut self) -> Result<Vec<u8>, Error> {
        Ok(structured::encode(&self.state)?)
    }

    fn load_plain(&mut self, bytes: &[u8]) -> Result<(), BadState> {
        self.swap_in(structured::decode(bytes)?)
    }

    fn reset(&mut self) {
        let before = std::mem::replace(&mut self.state, Hardware::fresh(&self.shapes));
        if self.faults.has(Fault::RefusalSurvivesReset) && self.tainted {
            self.state.memory = before.memory;
        }
        self.dirty.fill(true);
    }

    fn pause(&mut self, _paused: bool) {}

    fn step(&mut self, step: &Step) -> Seen {
        let mut seen = Vec::new();
        match step {
            Step::Read { region, offset, .. } => {
                seen.push(Sight::Value(self.read(*region, *offset).into()));
            }
            Step::Write { region, offset, value, .. } => self.write(*region, *offset, *value as u32),
            Step::Receive(bytes) => self.receive(bytes),
            Step::Pass(units) => (0..(*units).min(64)).for_each(|_| self.work(&mut seen)),
            Step::Request(_) => {}
        }
        Seen(seen)
    }
}
