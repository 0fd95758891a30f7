//! The line itself: registers, FIFOs, timers, interrupts.

use super::Shape;
use super::faults::*;
use crate::devices::engine::Reference;
use crate::devices::fault::Faults;
use crate::devices::host::Host;
use crate::devices::memory::Memory;
use crate::devices::release::Start;
use migcert_core::device::{Interface, Options, Register, Seen, Sight, Step};
use migcert_core::error::Error;
use migcert_core::model::ModelId;
use migcert_core::version::Setup;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Region 0, the registers.
mod reg {
    pub(super) const IDENTITY: u64 = 0x00;
    pub(super) const DATA: u64 = 0x10;
    pub(super) const ENABLE: u64 = 0x14;
    pub(super) const CAUSE: u64 = 0x18;
    pub(super) const CONTROL: u64 = 0x1c;
    pub(super) const LINE: u64 = 0x20;
    pub(super) const MODEM: u64 = 0x24;
    pub(super) const SCRATCH: u64 = 0x28;
    pub(super) const DIVISOR: u64 = 0x2c;
    pub(super) const INDEX: u64 = 0x30;
    pub(super) const OPTION: u64 = 0x34;
    pub(super) const TICKS: u64 = 0x38;
    pub(super) const TIMER: u64 = 0x40;
}

/// Bits of CONTROL.
pub(super) mod control {
    /// The transmitter works.
    pub(crate) const RUN: u8 = 1;
    /// The divisor can be written.
    pub(crate) const LATCH: u8 = 2;
    /// The upper byte of a word of DATA comes first.
    pub(crate) const BIG: u8 = 4;
    /// What is sent leaves; without it, it is received.
    pub(crate) const WIRE: u8 = 8;
    pub(crate) const ALL: u8 = 15;
}

/// Causes of interrupts, the most urgent first.
mod cause {
    pub(super) const LINE: u8 = 1;
    pub(super) const RECEIVED: u8 = 2;
    pub(super) const SENT: u8 = 4;
    pub(super) const MODEM: u8 = 8;
    pub(super) const TIMER: u8 = 16;
}

/// Errors of the line.
mod error {
    pub(super) const OVERRUN: u8 = 1;
    pub(super) const BREAK: u8 = 2;
}

pub(super) const VENDOR: u32 = 0x5345_5249;
/// What of a host's features the guest is told of: all hosts have it.
pub(super) const FEATURES: u32 = 0b0111;
/// Bytes of firmware and of the page that identifies the device.
const FIRMWARE: u32 = 64;
const PAGE_SIZE: u32 = 16;

/// The option table: speed, trigger level, units of silence before waiting characters are told of.
pub(super) const OPTIONS: usize = 3;
pub(super) const SPEED: usize = 0;
pub(super) const TRIGGER: usize = 1;
pub(super) const SILENCE: usize = 2;

/// By speed: so many characters leave in as many units of time as the divisor says.
pub(super) const PACES: [u8; 4] = [1, 2, 4, 8];
pub(super) const MAX_DIVISOR: u8 = 8;
pub(super) const MAX_SILENCE: u8 = 7;
/// A word of the receive FIFO whose predecessor was lost.
pub(super) const LOST: u16 = 0x100;

pub(super) const TIMERS: usize = 4;
pub(super) const MAX_TIMER: u8 = 15;

/// Bytes of the trace, and of the pages that are sent again in PRE_COPY.
pub(super) const TRACE: usize = 512;
pub(super) const PAGE: usize = 64;

/// A byte of the disk that the host sets while what was sent is copied from it: nothing is sent.
const COPYING: usize = 0;

/// Everything that a migration has to carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hardware {
    pub(super) core: Core,
    pub(super) received: VecDeque<u16>,
    pub(super) to_send: VecDeque<u16>,
    pub(super) options: [u8; OPTIONS],
    pub(super) line: Line,
    pub(super) modem: Modem,
    pub(super) ticks: u32,
    pub(super) timers: Timers,
    pub(super) trace: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Core {
    pub(super) vendor: u32,
    pub(super) features: u32,
    pub(super) enable: u8,
    /// Told by CAUSE, one by one.
    pub(super) cause: u8,
    /// Causes whose interrupt was not delivered yet.
    pub(super) pending: u8,
    pub(super) control: u8,
    pub(super) scratch: u8,
    pub(super) divisor: u8,
    /// What of a unit is left over for the next character.
    pub(super) phase: u8,
    /// Units of silence since the last character came.
    pub(super) silent: u8,
    pub(super) index: u8,
    /// Where in the trace the next character goes.
    pub(super) traced: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    /// Read and cleared by the guest.
    pub(super) errors: u8,
    /// The next character that fits is marked.
    pub(super) lost: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Modem {
    pub(super) lines: u8,
    /// Which of them changed; read and cleared by the guest.
    pub(super) changed: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Timers {
    pub(super) used: u8,
    pub(super) all: [Timer; TIMERS],
}

/// Runs down once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Timer {
    pub(super) begin: u8,
    pub(super) left: u8,
}

impl Hardware {
    pub(super) fn fresh(shape: &Shape) -> Hardware {
        Hardware {
            core: Core {
                vendor: VENDOR,
                features: FEATURES,
                enable: 0,
                cause: 0,
                pending: 0,
                control: control::RUN | control::WIRE,
                scratch: 0,
                divisor: 4,
                phase: 0,
                silent: 0,
                index: 0,
                traced: 0,
            },
            received: VecDeque::new(),
            to_send: VecDeque::new(),
            options: [2, 1, 0],
            line: Line::default(),
            modem: Modem::default(),
            ticks: 0,
            timers: Timers { used: shape.timers as u8, all: Default::default() },
            trace: vec![0; TRACE],
        }
    }

    /// Interrupts that this device has.
    pub(super) fn causes(shape: &Shape) -> u8 {
        if shape.timers == 0 { 0x0f } else { 0x1f }
    }

    fn raise(&mut self, cause: u8) {
        self.core.cause |= cause;
        self.core.pending |= cause;
    }

    /// Raises the cause that says that all was sent.
    pub(super) fn all_sent(&mut self) {
        self.raise(cause::SENT);
    }

    /// Raises the cause that tells of the line.
    pub(super) fn line_event(&mut self) {
        self.raise(cause::LINE);
    }
}

/// A word in the order of bytes that the guest chose.
pub(super) fn ordered(word: u16, control: u8) -> u16 {
    if control & control::BIG == 0 { word } else { word.swap_bytes() }
}

/// The line.
pub(super) struct Serial {
    pub(super) model: ModelId,
    pub(super) list: Setup,
    pub(super) shape: Shape,
    pub(super) faults: Faults,
    pub(super) host: Host,
    pub(super) state: Hardware,
    /// What a reset makes of it.
    pub(super) constructed: Hardware,
    /// By page of the trace: changed since it was sent.
    pub(super) dirty: Vec<bool>,
    paused: bool,
    pub(super) scar: Scar,
}

/// What faults need to remember.
#[derive(Default)]
pub(super) struct Scar {
    /// It worked or was loaded.
    pub(super) active: bool,
    /// It was loaded since it last ran.
    pub(super) loaded: bool,
    /// Nothing is received.
    deaf: bool,
    /// A pre-copy has begun and not ended.
    pub(super) hinted: bool,
}

impl Serial {
    /// A line that was just started.
    pub(super) fn new(start: Start) -> Serial {
        let shape = Shape::new(&start);
        let mut fresh = Hardware::fresh(&shape);
        let mut list = start.list;
        if let Setup::Params(params) = &mut list
            && start.faults.hits(&CAP_FORGOTTEN, true)
        {
            params.retain(|name, _| name.as_str() != "tick-rate");
        }
        let features = start.host.features();
        if start.faults.hits(&IDENTITY_REGENERATED, features != FEATURES) {
            fresh.core.features = features;
        }
        Serial {
            model: start.model,
            list,
            faults: start.faults,
            host: start.host,
            state: fresh.clone(),
            constructed: fresh,
            dirty: vec![true; TRACE / PAGE],
            shape,
            paused: false,
            scar: Scar::default(),
        }
    }

    fn read(&mut self, offset: u64) -> u32 {
        let Hardware { core, received, to_send, line, modem, .. } = &mut self.state;
        u32::from(match offset {
            _ if offset < reg::DATA => return self.identity(offset as usize / 4),
            reg::DATA => {
                let word = received.pop_front().unwrap_or(0);
                return ordered(word, core.control).into();
            }
            reg::ENABLE => core.enable,
            reg::CAUSE => {
                let urgent = (core.cause & core.enable).trailing_zeros() as u8 % 8;
                let cause = core.cause & core.enable & 1 << urgent;
                core.cause &= !cause;
                core.pending &= !cause;
                if cause == 0 { 0 } else { urgent + 1 }
            }
            reg::CONTROL => core.control,
            reg::LINE => {
                let ready = u8::from(!received.is_empty());
                let empty = u8::from(to_send.is_empty());
                ready | empty << 1 | std::mem::take(&mut line.errors) << 2
            }
            reg::MODEM => modem.lines | std::mem::take(&mut modem.changed) << 2,
            reg::SCRATCH => core.scratch,
            reg::DIVISOR => core.divisor,
            reg::INDEX => core.index,
            reg::OPTION => *self.option(),
            reg::TICKS => return self.state.ticks,
            _ => match self.timer(offset) {
                Some(timer) => return u32::from(timer.begin) << 8 | u32::from(timer.left),
                None => 0,
            },
        })
    }

    /// A word of what identifies the device.
    fn identity(&self, word: usize) -> u32 {
        let firmware = self.host.firmware_size();
        match word {
            0 => self.state.core.vendor,
            1 => self.state.core.features,
            // One word more, and the size is a power of two.
            2 if self.faults.hits(&PAGE_GREW, true) => 2 * PAGE_SIZE,
            2 => PAGE_SIZE,
            _ if self.faults.hits(&FIRMWARE_OF_HOST, firmware != FIRMWARE) => firmware,
            _ => FIRMWARE,
        }
    }

    /// The option under INDEX, which goes on to the next.
    fn option(&mut self) -> &mut u8 {
        let index = usize::from(self.state.core.index);
        self.state.core.index = ((index + 1) % OPTIONS) as u8;
        &mut self.state.options[index]
    }

    fn timer(&mut self, offset: u64) -> Option<&mut Timer> {
        let index = usize::try_from(offset.checked_sub(reg::TIMER)? / 4).ok()?;
        let Timers { used, all } = &mut self.state.timers;
        all[..usize::from(*used)].get_mut(index)
    }

    fn write(&mut self, offset: u64, value: u32) {
        let byte = value as u8;
        match offset {
            reg::DATA => {
                let word = ordered(value as u16, self.state.core.control) & 0xff;
                if self.state.to_send.len() < self.shape.depth {
                    self.state.to_send.push_back(word);
                }
            }
            reg::ENABLE => self.state.core.enable = byte & Hardware::causes(&self.shape),
            reg::CONTROL => self.set_control(byte & control::ALL),
            reg::MODEM => {
                let modem = &mut self.state.modem;
                let changed = (modem.lines ^ byte) & 3;
                modem.lines ^= changed;
                modem.changed |= changed;
                if changed != 0 {
                    self.state.raise(cause::MODEM);
                }
            }
            reg::SCRATCH => self.state.core.scratch = byte,
            reg::DIVISOR => self.set_divisor(byte),
            reg::INDEX => self.state.core.index = byte % OPTIONS as u8,
            reg::OPTION => {
                let limits = [PACES.len() as u8 - 1, u8::MAX, MAX_SILENCE];
                let limit = limits[usize::from(self.state.core.index)];
                *self.option() = byte & limit;
            }
            _ => {
                let faults = self.faults.clone();
                let Some(timer) = self.timer(offset) else { return };
                let stops = byte & MAX_TIMER == 0;
                timer.begin = byte & MAX_TIMER;
                if !(stops && faults.hits(&STOPPED_TIMER_STAYS, timer.left != 0)) {
                    timer.left = timer.begin;
                }
            }
        }
    }

    /// Another order of bytes begins with empty FIFOs.
    fn set_control(&mut self, control: u8) {
        if (self.state.core.control ^ control) & control::BIG != 0 {
            self.state.received.clear();
            self.state.to_send.clear();
        }
        self.state.core.control = control;
    }

    fn set_divisor(&mut self, divisor: u8) {
        let core = &mut self.state.core;
        if core.control & control::LATCH != 0 && (1..=MAX_DIVISOR).contains(&divisor) {
            core.divisor = divisor;
            core.phase = 0;
        }
    }

    fn receive(&mut self, byte: u8) {
        let Hardware { core, received, line, options, .. } = &mut self.state;
        if byte == 0 {
            line.errors |= error::BREAK;
        }
        let fits = received.len() < self.shape.depth;
        if fits {
            let mark = if std::mem::take(&mut line.lost) { LOST } else { 0 };
            received.push_back(u16::from(byte) | mark);
        } else {
            line.errors |= error::OVERRUN;
            line.lost = true;
        }
        core.silent = 0;
        let told = usize::from(options[TRIGGER]).clamp(1, self.shape.depth) <= received.len();
        let errs = byte == 0 || !fits;
        self.state.raise(if told { cause::RECEIVED } else { 0 } | if errs { cause::LINE } else { 0 });
    }

    /// One unit of the device's own work: characters leave, time is kept, interrupts are delivered.
    pub(super) fn work(&mut self, seen: &mut Vec<Sight>) {
        self.scar.active = true;
        self.send(seen);
        self.tick();
        let core = &mut self.state.core;
        let signal = core.pending & core.enable;
        core.pending &= !signal;
        seen.extend((0..8).filter(|vector| signal & 1 << vector != 0).map(Sight::Interrupt));
    }

    fn send(&mut self, seen: &mut Vec<Sight>) {
        let copied = self.host.disk()[COPYING] != 0;
        let Hardware { core, to_send, options, .. } = &mut self.state;
        if to_send.is_empty() || copied || core.control & control::RUN == 0 {
            return;
        }
        let due = core.phase + PACES[usize::from(options[SPEED])];
        let ready = usize::from(due / core.divisor).min(to_send.len());
        core.phase = due % core.divisor;
        let bytes: Vec<u8> = to_send.drain(..ready).map(|word| word as u8).collect();
        let done = to_send.is_empty();
        bytes.iter().for_each(|byte| self.trace(*byte));
        if self.state.core.control & control::WIRE == 0 {
            bytes.into_iter().for_each(|byte| self.receive(byte));
        } else if !bytes.is_empty() {
            seen.push(Sight::Bytes(bytes));
        }
        if done {
            self.state.all_sent();
        }
    }

    fn trace(&mut self, byte: u8) {
        let at = usize::from(self.state.core.traced);
        self.store(at, &[byte]);
        self.state.core.traced = ((at + 1) % TRACE) as u16;
    }

    fn store(&mut self, at: usize, bytes: &[u8]) {
        self.state.trace[at..at + bytes.len()].copy_from_slice(bytes);
        self.dirty[at / PAGE] = true;
    }

    fn tick(&mut self) {
        let rate = match self.host.clock_rate() {
            theirs if self.faults.hits(&CLOCK_OF_HOST, theirs != self.shape.rate) => theirs,
            _ => self.shape.rate,
        };
        let Hardware { core, received, options, ticks, timers, .. } = &mut self.state;
        *ticks = ticks.wrapping_add(rate);
        let mut raised = 0;
        for timer in &mut timers.all[..usize::from(timers.used)] {
            if timer.begin != 0 && timer.left != 0 {
                timer.left = timer.left.saturating_sub(rate as u8);
                raised |= if timer.left == 0 { cause::TIMER } else { 0 };
            }
        }
        if !received.is_empty() && core.silent < options[SILENCE] {
            core.silent += 1;
            raised |= if core.silent == options[SILENCE] { cause::RECEIVED } else { 0 };
        }
        self.state.raise(raised);
    }

    /// Does something on the host during which nothing is sent.
    pub(super) fn copy_what_was_sent(&mut self) -> Result<(), Error> {
        self.host.disk()[COPYING] = 1;
        let done = self.host.act("copy what was sent");
        if !(done.is_err() && self.faults.hits(&COPY_LEFT_OVER, true)) {
            self.host.disk()[COPYING] = 0;
        }
        done
    }
}

impl Reference for Serial {
    fn options(&self) -> Options {
        Options { p2p: false, pre_copy: true }
    }

    fn interface(&self) -> Interface {
        let register = |name: &'static str, offset, count, writable, max: u32| Register {
            name: name.into(),
            region: 0,
            offset,
            size: 4,
            count,
            stride: 4,
            writable,
            max: max.into(),
        };
        let causes = Hardware::causes(&self.shape);
        let timer = u32::from(MAX_TIMER);
        let mut all = vec![
            register("IDENTITY", reg::IDENTITY, PAGE_SIZE / 4, false, VENDOR),
            register("DATA", reg::DATA, 1, true, 0xffff),
            register("ENABLE", reg::ENABLE, 1, true, causes.into()),
            register("CAUSE", reg::CAUSE, 1, false, causes.count_ones()),
            register("CONTROL", reg::CONTROL, 1, true, control::ALL.into()),
            register("LINE", reg::LINE, 1, false, 15),
            register("MODEM", reg::MODEM, 1, true, 15),
            register("SCRATCH", reg::SCRATCH, 1, true, 0xff),
            register("DIVISOR", reg::DIVISOR, 1, true, MAX_DIVISOR.into()),
            register("INDEX", reg::INDEX, 1, true, OPTIONS as u32 - 1),
            register("OPTION", reg::OPTION, 1, true, 0xff),
            register("TICKS", reg::TICKS, 1, false, u32::MAX),
        ];
        if self.shape.timers != 0 {
            all.push(register("TIMER", reg::TIMER, self.shape.timers as u32, true, timer << 8 | timer));
        }
        let trace = |name, words| Register { region: 1, ..register(name, 0, words, true, u32::MAX) };
        all.push(trace("TRACE_BEGIN", 16));
        all.push(trace("TRACE", TRACE as u32 / 4));
        Interface::Registers(all.into())
    }

    fn memory(&mut self) -> Option<&mut Memory> {
        None
    }

    fn step(&mut self, step: &Step) -> Seen {
        let mut seen = Vec::new();
        match step {
            Step::Read { region: 0, offset, .. } => seen.push(Sight::Value(self.read(*offset).into())),
            Step::Write { region: 0, offset, value, .. } => self.write(*offset, *value as u32),
            Step::Read { region: 1, offset, size: 4 } => {
                let at = (*offset as usize % TRACE) & !3;
                let bytes = [0, 1, 2, 3].map(|i| self.state.trace[at + i]);
                seen.push(Sight::Value(u32::from_le_bytes(bytes).into()));
            }
            Step::Write { region: 1, offset, size: 4, value } => {
                self.store((*offset as usize % TRACE) & !3, &(*value as u32).to_le_bytes());
            }
            Step::Receive(bytes) if !self.scar.deaf => bytes.iter().for_each(|byte| self.receive(*byte)),
            Step::Pass(units) => (0..(*units).min(64)).for_each(|_| self.work(&mut seen)),
            _ => {}
        }
        Seen(seen)
    }

    fn reset(&mut self) {
        self.state = self.constructed.clone();
        self.dirty.fill(true);
        self.scar = Scar { active: self.scar.active, ..Scar::default() };
    }

    fn pause(&mut self, paused: bool) {
        let wakes = self.paused && !paused;
        self.paused = paused;
        if !wakes {
            return;
        }
        let fresh = std::mem::take(&mut self.scar.loaded);
        assert!(!self.faults.hits(&CLOCK_NOT_IDLE, !self.scar.active), "a clock wakes that is no clock yet");
        let held = self.state.core.control & control::RUN == 0;
        if !fresh && self.faults.hits(&HELD_RESUMED, held) {
            self.state.core.control |= control::RUN;
        }
        if !fresh && self.faults.hits(&GATE_ARMED, true) {
            self.scar.deaf = true;
        }
    }
}
