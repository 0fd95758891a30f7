//! A PCI device of registers of any width at any place, of which one is not carried as it should be.

use migcert_core::device::{
    Capabilities, Device, Interface, Machine, Options, Outside, Register, Seen, Sight, State, Step, Windows,
    walk,
};
use migcert_core::envelope::BadState;
use migcert_core::error::{Error, Refusal};
use migcert_core::manifest::BadManifest;
use migcert_core::model::ModelId;
use migcert_core::program::{Manifest, Program};
use migcert_core::version::Setup;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Where registers are, and what they do.
#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) name: &'static str,
    /// Regions and their sizes.
    pub(crate) regions: &'static [(u32, u64)],
    pub(crate) registers: &'static [(u32, u64, u8, Kind)],
    /// Whether a register answers accesses of its own width alone.
    pub(crate) strict: bool,
}

/// What a register does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It keeps what is written.
    Plain,
    /// It keeps these bits.
    Bits(u64),
    /// A one that is written clears.
    Clear,
    /// What is written sets bits of the register of this number; reads 0.
    Raise(usize),
    /// One of so many words, which the register of this number chooses.
    Behind(usize, usize),
    /// What was written is read once, in order.
    Queue,
    /// It counts writes.
    Count,
}

/// Words of a queue, and how many of them are there.
const QUEUE: usize = 8;

impl Kind {
    fn cells(self) -> usize {
        match self {
            Kind::Raise(_) => 0,
            Kind::Behind(_, words) => words,
            Kind::Queue => QUEUE + 1,
            _ => 1,
        }
    }

    pub(crate) fn is_plain(self) -> bool {
        matches!(self, Kind::Plain | Kind::Bits(_))
    }
}

/// What goes wrong when the device is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A cell is not saved.
    Lost(usize),
    /// Two are saved in the wrong order.
    Swapped(usize, usize),
    /// The upper half of one is not saved.
    Halved(usize),
}

impl Map {
    /// Each register with its first cell.
    pub(crate) fn cells(&self) -> impl Iterator<Item = (usize, &(u32, u64, u8, Kind))> {
        self.registers.iter().scan(0, |next, register| {
            let cell = *next;
            *next += register.3.cells();
            Some((cell, register))
        })
    }

    /// Every fault there can be, and whether it is one of a register that merely keeps what is written.
    pub(crate) fn faults(&self) -> Vec<(Fault, bool)> {
        let mut faults = Vec::new();
        let mut before: Option<(usize, u8)> = None;
        for (cell, (_, _, size, kind)) in self.cells() {
            let saved = if *kind == Kind::Queue { 1..2 } else { 0..kind.cells() };
            faults.extend(saved.map(|at| (Fault::Lost(cell + at), kind.is_plain())));
            if *kind == Kind::Plain {
                faults.push((Fault::Halved(cell), true));
                if let Some((other, wide)) = before.replace((cell, *size))
                    && wide == *size
                {
                    faults.push((Fault::Swapped(other, cell), true));
                }
            }
        }
        faults
    }
}

const INFO: &[u8] = br#"{"models": {"https://example.com/devices/map": {"params": {}}}}"#;
const CONFIG: u32 = 7;
const CONFIG_SIZE: usize = 256;
/// Words of configuration space that keep what is written.
const KEPT: &[usize] = &[0x04, 0x0c, 0x10, 0x14, 0x18, 0x1c, 0x3c, 0x40, 0x44, 0x48];

/// The device program.
#[derive(Clone, Debug)]
pub(crate) struct Mapped {
    pub(crate) map: &'static Map,
    pub(crate) fault: Option<Fault>,
    /// How often guests did something.
    pub(crate) accesses: Arc<AtomicU64>,
}

impl Program for Mapped {
    fn describe(&self) -> Result<Manifest, Error> {
        let bad = |why: BadManifest| Error::Refused(Refusal::ByDevice(why.to_string()));
        Manifest::from_json(INFO).map_err(bad)
    }

    fn outside(&self) -> Result<Outside, Error> {
        Ok(Outside::none())
    }

    fn start(&self, model: &ModelId, setup: &Setup, _: &Outside) -> Result<Box<dyn Device>, Error> {
        self.describe()?.complete(model, setup).map_err(Refusal::from)?;
        Ok(Box::new(Instance::new(self.clone())))
    }
}

struct Instance {
    program: Mapped,
    cells: Vec<u64>,
    config: [u8; CONFIG_SIZE],
    state: State,
    session: Vec<u8>,
}

fn mask(size: u8) -> u64 {
    u64::MAX >> (64 - 8 * u32::from(size))
}

/// A checksum of cells.
fn sum(cells: &[u64]) -> u64 {
    let add = |sum: u64, cell: &u64| (sum ^ cell).wrapping_mul(0x100_0000_01b3).rotate_left(23);
    cells.iter().fold(0xcbf2_9ce4_8422_2325, add)
}

impl Instance {
    fn new(program: Mapped) -> Instance {
        let cells = vec![0; program.map.registers.iter().map(|register| register.3.cells()).sum()];
        Instance { program, cells, config: [0; CONFIG_SIZE], state: State::Running, session: Vec::new() }
    }

    /// The register that an access is to, and its cell.
    fn register(&self, region: u32, offset: u64, size: u8) -> Option<(usize, u8, Kind)> {
        self.program.map.cells().find_map(|(cell, &(there, at, wide, kind))| {
            let fits = (there, at, wide) == (region, offset, size);
            fits.then_some((cell, wide, kind))
        })
    }

    /// The cell and the bit of it that a byte is in, where registers take any access.
    fn byte(&self, region: u32, offset: u64) -> Option<(usize, u32, u64)> {
        if self.program.map.strict {
            return None;
        }
        self.program.map.cells().find_map(|(cell, &(there, at, wide, kind))| {
            let into = offset.checked_sub(at).filter(|into| *into < wide.into())?;
            let bits = if let Kind::Bits(bits) = kind { bits } else { u64::MAX };
            (there == region && kind.is_plain()).then_some((cell, 8 * into as u32, bits))
        })
    }

    fn chosen(&self, index: usize, words: usize) -> usize {
        let cell = self.program.map.cells().nth(index).map_or(0, |(cell, _)| cell);
        self.cells[cell] as usize % words
    }

    fn read(&mut self, region: u32, offset: u64, size: u8) -> u64 {
        let Some((cell, _, kind)) = self.register(region, offset, size) else {
            let byte = |at: u64| {
                let (cell, bit, _) = self.byte(region, offset + at)?;
                Some((self.cells[cell] >> bit & 0xff) << (8 * at))
            };
            return (0..size.into()).filter_map(byte).sum();
        };
        match kind {
            Kind::Raise(_) => 0,
            Kind::Behind(index, words) => self.cells[cell + self.chosen(index, words)],
            Kind::Queue => {
                let [len, queue @ ..] = &mut self.cells[cell..=cell + QUEUE] else { return 0 };
                *len = len.saturating_sub(1);
                queue.rotate_left(1);
                std::mem::take(&mut queue[QUEUE - 1])
            }
            _ => self.cells[cell],
        }
    }

    fn write(&mut self, region: u32, offset: u64, size: u8, value: u64) {
        let value = value & mask(size);
        let Some((cell, wide, kind)) = self.register(region, offset, size) else {
            for at in 0..u64::from(size) {
                if let Some((cell, bit, bits)) = self.byte(region, offset + at) {
                    let old = self.cells[cell] & !(0xff << bit);
                    self.cells[cell] = (old | (value >> (8 * at) & 0xff) << bit) & bits;
                }
            }
            return;
        };
        match kind {
            Kind::Plain => self.cells[cell] = value,
            Kind::Bits(bits) => self.cells[cell] = value & bits,
            Kind::Clear => self.cells[cell] &= !value,
            Kind::Raise(index) => {
                let there = self.program.map.cells().nth(index).map_or(0, |(cell, _)| cell);
                self.cells[there] |= value & mask(wide);
            }
            Kind::Behind(index, words) => {
                let chosen = cell + self.chosen(index, words);
                self.cells[chosen] = value;
            }
            Kind::Queue => {
                let len = self.cells[cell] as usize;
                if len < QUEUE {
                    self.cells[cell + 1 + len] = value;
                    self.cells[cell] += 1;
                }
            }
            Kind::Count => self.cells[cell] = self.cells[cell].wrapping_add(1) & mask(wide),
        }
    }

    fn save(&self) -> Vec<u8> {
        let mut cells = self.cells.clone();
        match self.program.fault {
            Some(Fault::Lost(cell)) => cells[cell] = 0,
            Some(Fault::Swapped(one, other)) => cells.swap(one, other),
            Some(Fault::Halved(cell)) => {
                let wide = self.program.map.cells().find(|(at, _)| *at == cell).map_or(8, |(_, r)| r.2);
                cells[cell] &= mask(wide) >> (4 * u32::from(wide));
            }
            None => {}
        }
        cells.push(sum(&cells));
        cells.into_iter().flat_map(u64::to_le_bytes).collect()
    }

    fn enter(&mut self, to: State) -> Result<(), Error> {
        match (self.state, to) {
            (_, State::StopCopy) => self.session = self.save(),
            (_, State::Resuming) => self.session.clear(),
            (State::Resuming, _) => {
                let (words, rest) = self.session.as_chunks();
                let mut cells: Vec<u64> = words.iter().map(|cell| u64::from_le_bytes(*cell)).collect();
                let last = cells.pop();
                if cells.len() != self.cells.len() || last != Some(sum(&cells)) || !rest.is_empty() {
                    self.state = State::Error;
                    return Err(BadState::ByDevice("its length or its sum is wrong".to_owned()).into());
                }
                self.cells = cells;
            }
            _ => {}
        }
        self.state = to;
        Ok(())
    }
}

impl Device for Instance {
    fn capabilities(&self) -> Capabilities {
        let window = |name: &str, region, size: u8, bytes: u64, writable| Register {
            name: name.to_owned().into(),
            region,
            offset: 0,
            size,
            count: (bytes / u64::from(size)) as u32,
            stride: size.into(),
            writable,
            max: mask(size),
        };
        let learned = |offset: &usize| Register {
            offset: *offset as u64,
            count: 1,
            ..window("CONFIG", CONFIG, 4, CONFIG_SIZE as u64, true)
        };
        let mut windows: Vec<Register> = KEPT.iter().map(learned).collect();
        for size in [4, 8, 2, 1] {
            for &(region, bytes) in self.program.map.regions {
                windows.push(window(&format!("BAR{region}"), region, size, bytes, true));
            }
            windows.push(window("CONFIG", CONFIG, size, CONFIG_SIZE as u64, false));
        }
        let windows = Windows {
            windows: windows.into(),
            config: Some(CONFIG),
            carried: Some(CONFIG),
            ..Windows::default()
        };
        Capabilities {
            options: Options::default(),
            machine: Machine::Device,
            can_reset: true,
            interface: Interface::Windows(Arc::new(windows)),
        }
    }

    fn state(&mut self) -> Result<State, Error> {
        Ok(self.state)
    }

    fn set_state(&mut self, to: State) -> Result<(), Error> {
        let walk = walk(self.state, to, Options::default()).map_err(Refusal::from)?;
        walk.into_iter().try_for_each(|state| self.enter(state))
    }

    fn read_state(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        if self.state != State::StopCopy {
            return Err(Refusal::NotIn { what: "read state", state: self.state }.into());
        }
        let n = self.session.len().min(into.len());
        into[..n].copy_from_slice(&self.session[..n]);
        self.session.drain(..n);
        Ok(n)
    }

    fn write_state(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.state != State::Resuming {
            return Err(Refusal::NotIn { what: "write state", state: self.state }.into());
        }
        if 8 * (self.cells.len() + 1) < self.session.len() + bytes.len() {
            return Err(BadState::ByDevice("it is too long".to_owned()).into());
        }
        self.session.extend(bytes);
        Ok(())
    }

    fn estimate(&mut self) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    fn reset(&mut self) -> Result<(), Error> {
        *self = Instance::new(self.program.clone());
        Ok(())
    }

    fn guest(&mut self, step: &Step) -> Result<Seen, Error> {
        if !self.state.runs() && !matches!(step, Step::Pass(_)) {
            return Err(Refusal::NotIn { what: "use the device", state: self.state }.into());
        }
        self.program.accesses.fetch_add(1, Relaxed);
        let seen = match *step {
            Step::Read { region: CONFIG, offset, size } => {
                let bytes = &self.config[offset as usize..][..size.into()];
                let value = bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
                vec![Sight::Value(value)]
            }
            Step::Read { region, offset, size } => vec![Sight::Value(self.read(region, offset, size))],
            Step::Write { region: CONFIG, offset, value, .. } => {
                if KEPT.contains(&(offset as usize)) {
                    self.config[offset as usize..][..4].copy_from_slice(&(value as u32).to_le_bytes());
                }
                vec![]
            }
            Step::Write { region, offset, size, value } => {
                self.write(region, offset, size, value);
                vec![]
            }
            Step::Pass(_) | Step::Receive(_) | Step::Request(_) => vec![],
        };
        Ok(Seen(seen))
    }

    fn guest_memory(&mut self) -> Result<Vec<u8>, Error> {
        Ok(self.config.to_vec())
    }

    fn set_guest_memory(&mut self, memory: &[u8]) -> Result<(), Error> {
        self.config.copy_from_slice(memory);
        Ok(())
    }

    fn dirty_memory(&mut self) -> Result<Option<Vec<Range<usize>>>, Error> {
        Ok(None)
    }

    fn footprint(&mut self) -> Result<Option<u64>, Error> {
        Ok(None)
    }
}
