//! A timer that counts down and interrupts: what a vendor's own device looks like.
//!
//! | register | offset | |
//! |---|---|---|
//! | LOAD | 0x0 | where it begins; a write starts it |
//! | COUNT | 0x4 | what is left; read only |
//! | CONTROL | 0x8 | bit 0: interrupts, bit 1: begins again (with the parameter `periodic` alone) |
//! | STATUS | 0xc | 1 after it ended; any write clears it |
//!
//! Its state is a line of text with every parameter that is not off, the words LOAD, COUNT, CONTROL
//! and STATUS, little-endian, and a checksum of all that.

mod state;

use migcert_core::device::{
    Capabilities, Device, Interface, Machine, Options, Outside, Register, Seen, Sight, State, Step, walk,
};
use migcert_core::envelope::BadState;
use migcert_core::error::{Error, Refusal};
use migcert_core::manifest::BadManifest;
use migcert_core::model::ModelId;
use migcert_core::param::Value;
use migcert_core::program::{Manifest, Program};
use migcert_core::version::Setup;
use std::ops::Range;

/// What the program supports (R-8.1).
const INFO: &str = r#"{"models": {"https://example.com/devices/timer": {
    "params": {"periodic": {"type": "bool", "init_value": true, "off_value": false}},
    "versions": {"1": {"periodic": false}, "2": {"periodic": true}}, "latest": "2"}}}"#;

/// The device program.
#[derive(Clone, Copy, Debug)]
pub struct Timers;

impl Program for Timers {
    fn describe(&self) -> Result<Manifest, Error> {
        let bad = |why: BadManifest| Error::Refused(Refusal::ByDevice(why.to_string()));
        Manifest::from_json(INFO.as_bytes()).map_err(bad)
    }

    fn outside(&self) -> Result<Outside, Error> {
        Ok(Outside::none())
    }

    fn start(&self, model: &ModelId, setup: &Setup, _: &Outside) -> Result<Box<dyn Device>, Error> {
        let configuration = self.describe()?.complete(model, setup).map_err(Refusal::from)?;
        let periodic = configuration.values().any(|value| *value == Value::Bool(true));
        Ok(Box::new(Instance::new(periodic)))
    }
}

/// What the guest can change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Timer {
    load: u32,
    count: u32,
    control: u32,
    status: u32,
}

const INTERRUPTS: u32 = 1;
const PERIODIC: u32 = 2;

struct Instance {
    periodic: bool,
    timer: Timer,
    state: State,
    session: Session,
}

enum Session {
    None,
    /// What waits to be read.
    Saving(Vec<u8>),
    Loading(Vec<u8>),
}

impl Instance {
    fn new(periodic: bool) -> Instance {
        Instance { periodic, timer: Timer::default(), state: State::Running, session: Session::None }
    }

    fn register(&self, name: &'static str, offset: u64, max: u64) -> Register {
        let writable = name != "COUNT";
        Register { name: name.into(), region: 0, offset, size: 4, count: 1, stride: 4, writable, max }
    }

    fn write(&mut self, offset: u64, value: u32) {
        let timer = &mut self.timer;
        match offset {
            0x0 => (timer.load, timer.count) = (value, value),
            0x8 => timer.control = value & if self.periodic { INTERRUPTS | PERIODIC } else { INTERRUPTS },
            0xc => timer.status = 0,
            _ => {}
        }
    }

    fn read(&self, offset: u64) -> u32 {
        let Timer { load, count, control, status } = self.timer;
        [load, count, control, status].get(offset as usize / 4).copied().unwrap_or(0)
    }

    fn tick(&mut self) -> Option<Sight> {
        let timer = &mut self.timer;
        timer.count = timer.count.checked_sub(1)?;
        if timer.count != 0 {
            return None;
        }
        timer.status = 1;
        if timer.control & PERIODIC != 0 {
            timer.count = timer.load;
        }
        (timer.control & INTERRUPTS != 0).then_some(Sight::Interrupt(0))
    }

    fn enter(&mut self, to: State) -> Result<(), Error> {
        match (self.state, to, std::mem::replace(&mut self.session, Session::None)) {
            (_, State::StopCopy, _) => self.session = Session::Saving(state::save(self.periodic, self.timer)),
            (_, State::Resuming, _) => self.session = Session::Loading(Vec::new()),
            (State::Resuming, _, Session::Loading(bytes)) => {
                // Judged as a whole, and only then swapped in (R-7.4).
                self.state = State::Error;
                self.timer = state::load(self.periodic, &bytes)?;
            }
            _ => {}
        }
        self.state = to;
        Ok(())
    }
}

impl Device for Instance {
    fn capabilities(&self) -> Capabilities {
        let control = if self.periodic { 3 } else { 1 };
        let registers = [
            self.register("LOAD", 0x0, u32::MAX.into()),
            self.register("COUNT", 0x4, u32::MAX.into()),
            self.register("CONTROL", 0x8, control),
            self.register("STATUS", 0xc, 1),
        ];
        Capabilities {
            options: Options::default(),
            machine: Machine::Device,
            can_reset: true,
            interface: Interface::Registers(registers.into()),
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
        let Session::Saving(bytes) = &mut self.session else {
            return Err(Refusal::NotIn { what: "read state", state: self.state }.into());
        };
        let n = bytes.len().min(into.len());
        into[..n].copy_from_slice(&bytes[..n]);
        bytes.drain(..n);
        Ok(n)
    }

    fn write_state(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Session::Loading(all) = &mut self.session else {
            return Err(Refusal::NotIn { what: "write state", state: self.state }.into());
        };
        if state::MOST < all.len() + bytes.len() {
            return Err(BadState::ByDevice("it is too long".to_owned()).into());
        }
        all.extend(bytes);
        Ok(())
    }

    fn estimate(&mut self) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    fn reset(&mut self) -> Result<(), Error> {
        *self = Instance::new(self.periodic);
        Ok(())
    }

    fn guest(&mut self, step: &Step) -> Result<Seen, Error> {
        let seen = match step {
            Step::Read { offset, .. } => vec![Sight::Value(self.read(*offset).into())],
            Step::Write { offset, value, .. } => {
                self.write(*offset, *value as u32);
                vec![]
            }
            Step::Pass(units) if self.state.runs() => (0..*units).filter_map(|_| self.tick()).collect(),
            Step::Pass(_) | Step::Receive(_) | Step::Request(_) => vec![],
        };
        Ok(Seen(seen))
    }

    fn guest_memory(&mut self) -> Result<Vec<u8>, Error> {
        Ok(Vec::new())
    }

    fn set_guest_memory(&mut self, _: &[u8]) -> Result<(), Error> {
        Ok(())
    }

    fn dirty_memory(&mut self) -> Result<Option<Vec<Range<usize>>>, Error> {
        Ok(None)
    }

    fn footprint(&mut self) -> Result<Option<u64>, Error> {
        Ok(None)
    }
}
