//! What the synthetic device does, and how it is saved.

use super::{Shape, hash, shapes};
use crate::devices::engine::faults::FIELDS_UNCHECKED;
use crate::devices::engine::{Pass, Reference, Stored};
use crate::devices::fault::Faults;
use crate::devices::memory::Memory;
use migcert_core::device::{Interface, Options, Register, Seen, Sight, Step};
use migcert_core::envelope::read::Sections;
use migcert_core::envelope::write::Writer;
use migcert_core::envelope::{BadState, Tag};
use migcert_core::error::Error;
use migcert_core::model::ModelId;
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

/// The device.
pub(super) struct Synthetic {
    model: ModelId,
    list: Setup,
    shapes: Vec<Shape>,
    interface: Interface,
    faults: Faults,
    state: Hardware,
    /// By page of memory: changed since it was sent.
    dirty: [bool; MEMORY / PAGE],
}

const BASE: Tag = Tag::new(b"base");
const BYTES: Tag = Tag::new(b"byte");

/// The section of a unit.
fn section(index: usize) -> Tag {
    let digit = |shift: usize| b"0123456789abcdef"[index >> shift & 0xf];
    Tag::new(&[b'u', digit(8), digit(4), digit(0)])
}

impl Synthetic {
    /// An instance that was just started.
    pub(super) fn new(model: ModelId, list: Setup, faults: Faults) -> Synthetic {
        let shapes = shapes(&list);
        Synthetic {
            model,
            interface: Interface::Registers(interface(&shapes)),
            faults,
            state: Hardware::fresh(&shapes),
            list,
            shapes,
            dirty: [true; MEMORY / PAGE],
        }
    }

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

    fn swap_in(&mut self, new: Hardware) {
        self.state = new;
        self.dirty.fill(true);
    }
}

impl Reference for Synthetic {
    fn options(&self) -> Options {
        Options::ALL[hash(self.model.as_str().as_bytes()) as usize % Options::ALL.len()]
    }

    fn interface(&self) -> Interface {
        self.interface.clone()
    }

    fn memory(&mut self) -> Option<&mut Memory> {
        None
    }

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

    fn reset(&mut self) {
        self.state = Hardware::fresh(&self.shapes);
        self.dirty.fill(true);
    }

    fn pause(&mut self, _paused: bool) -> Result<(), Error> {
        Ok(())
    }
}

impl Stored for Synthetic {
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
        let new = Hardware { base, units, memory };
        new.judge(&self.shapes)?;
        self.swap_in(new);
        Ok(())
    }

    fn load_tail(&mut self, tail: &[u8]) {
        self.store(0, &tail[..tail.len().min(MEMORY)]);
    }

    fn load_plain(&mut self, bytes: &[u8]) -> Result<(), BadState> {
        let new: Hardware = structured::decode(bytes)?;
        let judged = new.judge(&self.shapes);
        if !self.faults.hits(&FIELDS_UNCHECKED, judged.is_err()) {
            judged?;
        }
        self.swap_in(new);
        Ok(())
    }

    fn save_plain(&mut self) -> Result<Vec<u8>, Error> {
        Ok(structured::encode(&self.state)?)
    }
}
