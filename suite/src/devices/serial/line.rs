//! The line at work: characters come and go, time passes, interrupts are delivered.

use super::Shape;
use super::faults::*;
use super::hardware::*;
use crate::devices::engine::Reference;
use crate::devices::fault::Faults;
use crate::devices::host::Host;
use crate::devices::memory::Memory;
use crate::devices::release::Start;
use migcert_core::device::{Interface, Options, Seen, Sight, Step};
use migcert_core::error::Error;
use migcert_core::model::ModelId;
use migcert_core::version::Setup;

/// The byte of the disk that is set while what was sent is copied from there: nothing is sent then.
const COPYING: usize = 0;

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
    /// Nothing is sent.
    pub(super) mute: bool,
    /// The line could not be opened when that was tried last.
    pub(super) half_open: bool,
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
        let silent = self.scar.mute || self.host.disk()[COPYING] != 0;
        let Hardware { core, to_send, options, .. } = &mut self.state;
        if to_send.is_empty() || silent || core.control & control::RUN == 0 {
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
            self.state.raise(cause::SENT);
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
        Interface::Registers(self.registers().into())
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
        let Scar { active, half_open, .. } = self.scar;
        self.scar = Scar { active, half_open, ..Scar::default() };
    }

    fn pause(&mut self, paused: bool) -> Result<(), Error> {
        let wakes = self.paused && !paused;
        self.paused = paused;
        if !wakes {
            return Ok(());
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
        Ok(())
    }
}
