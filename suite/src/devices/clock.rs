//! Devices that are not deterministic, and none of which is faulty: a counter that runs freely, a
//! serial number that is drawn at the start, interrupts that come when they are ready.
//!
//! All of it moves with the state. A device of this kind passes, and the report says what of it was
//! learned to be volatile or to be of the instance.

use super::engine::{Engine, Pass, Reference, Stored};
use super::fault::Faults;
use super::memory::Memory;
use super::release::{Kind, Start, description, int};
use crate::deadline::now;
use migcert_core::device::{Interface, Options, Register, Seen, Sight, Step};
use migcert_core::envelope::read::Sections;
use migcert_core::envelope::write::Writer;
use migcert_core::envelope::{BadState, Tag};
use migcert_core::error::Error;
use migcert_core::model::ModelId;
use migcert_core::param::Value;
use migcert_core::structured;
use migcert_core::version::Setup;
use serde::{Deserialize, Serialize};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

/// What is not deterministic in one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quirk {
    /// TIME counts microseconds while the device runs.
    Counter,
    /// SERIAL is drawn when the device starts.
    Serial,
    /// The interrupt of a DOORBELL comes some time later.
    Late,
}

macro_rules! kind {
    ($name:literal, $quirk:expr) => {
        Kind {
            model: concat!("https://migcert.example/devices/", $name),
            alias: None,
            describe: |_, _| {
                let notes = int(8, None, &[4..=4, 8..=8], "words that the guest can note");
                description([("notes", notes)], [vec![("notes", Value::Int(8))]])
            },
            power_on: |start| {
                let faults = start.faults.clone();
                Ok(Box::new(Engine::new(Clock::new(start, $quirk), faults)))
            },
        }
    };
}

/// A counter that runs freely.
pub static COUNTER: Kind = kind!("counter", Quirk::Counter);
/// A serial number that is drawn.
pub static SERIAL_NUMBER: Kind = kind!("serial-number", Quirk::Serial);
/// Interrupts that come late.
pub static LATE: Kind = kind!("late", Quirk::Late);

/// Of what comes late.
pub mod late {
    use crate::devices::fault::faults;

    faults! {
        GOES_ON "late-goes-on" G "R-6.1" ""
            "what is under way when the device stops comes all the same";
    }
}

/// Of what is drawn.
pub mod drawn {
    use crate::devices::fault::faults;

    faults! {
        SERIAL_LOST "serial-lost" A "R-1.4" ""
            "the serial number that was drawn at the start is not taken from the state";
    }
}

mod reg {
    pub(super) const CONTROL: u64 = 0x00;
    pub(super) const DOORBELL: u64 = 0x04;
    pub(super) const RINGS: u64 = 0x08;
    pub(super) const TIME: u64 = 0x10;
    pub(super) const SERIAL: u64 = 0x18;
    pub(super) const NOTE: u64 = 0x20;
}

/// CONTROL: the doorbell raises interrupts.
const INTERRUPTS: u32 = 1;
/// The bits that CONTROL has.
const CONTROL: u32 = 0xff;
/// The most interrupts that are under way.
const WAITING: usize = 16;
/// An interrupt comes after one to five times this.
const DELAY: Duration = Duration::from_micros(3);
/// So long after a device was stopped, everything that goes on in it is due.
const OVERDUE: Duration = Duration::from_micros(500);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Hardware {
    control: u32,
    rings: u32,
    notes: Vec<u32>,
    /// Microseconds that it ran, when it was stopped last.
    ran: u64,
    serial: u64,
    /// For each interrupt that is under way, the microseconds left when it was stopped last.
    waiting: Vec<u32>,
}

struct Clock {
    model: ModelId,
    list: Setup,
    quirk: Quirk,
    state: Hardware,
    /// Since when it runs.
    since: Option<Instant>,
    /// Since when it is stopped.
    stopped: Option<Instant>,
    faults: Faults,
}

const STATE: Tag = Tag::new(b"clck");

impl Clock {
    fn new(start: Start, quirk: Quirk) -> Clock {
        let serial = if quirk == Quirk::Serial { RandomState::new().build_hasher().finish() } else { 1 };
        let notes = vec![0; start.number("notes")];
        let state = Hardware { control: 0, rings: 0, notes, ran: 0, serial, waiting: vec![] };
        let Start { model, list, faults, .. } = start;
        Clock { model, list, quirk, state, since: Some(now()), stopped: None, faults }
    }

    /// Microseconds that it ran so far.
    fn ran(&self) -> u64 {
        let runs = self.since.map_or(Duration::ZERO, |since| now() - since);
        self.state.ran.wrapping_add(runs.as_micros() as u64)
    }

    fn read(&self, offset: u64) -> u64 {
        match offset {
            reg::CONTROL => self.state.control.into(),
            reg::RINGS => self.state.rings.into(),
            reg::TIME if self.quirk == Quirk::Counter => self.ran(),
            reg::SERIAL => self.state.serial,
            reg::NOTE.. => self.state.notes.get(note(offset)).copied().unwrap_or(0).into(),
            _ => 0,
        }
    }

    fn write(&mut self, offset: u64, value: u32, seen: &mut Vec<Sight>) {
        match offset {
            reg::CONTROL => self.state.control = value & CONTROL,
            reg::DOORBELL => {
                self.state.rings = self.state.rings.wrapping_add(1);
                if self.state.control & INTERRUPTS == 0 {
                    return;
                }
                if self.quirk != Quirk::Late {
                    seen.push(Sight::Interrupt(0));
                } else if self.state.waiting.len() < WAITING {
                    let delay = DELAY * (1 + value % 5);
                    let due = self.ran().wrapping_sub(self.state.ran) + delay.as_micros() as u64;
                    self.state.waiting.push(u32::try_from(due).unwrap_or(u32::MAX));
                }
            }
            reg::NOTE.. => {
                if let Some(note) = self.state.notes.get_mut(note(offset)) {
                    *note = value;
                }
            }
            _ => {}
        }
    }

    /// The interrupts that are due.
    fn arrivals(&mut self, seen: &mut Vec<Sight>) {
        let now = self.ran().wrapping_sub(self.state.ran);
        let before = self.state.waiting.len();
        self.state.waiting.retain(|due| now < u64::from(*due));
        seen.extend((self.state.waiting.len()..before).map(|_| Sight::Interrupt(0)));
    }

    fn take(&mut self, new: Hardware) {
        let serial = self.state.serial;
        self.state = new;
        if self.faults.hits(&drawn::SERIAL_LOST, self.state.serial != serial) {
            self.state.serial = serial;
        }
    }

    fn judge(&self, new: &Hardware) -> Result<(), BadState> {
        let fits = new.control & !CONTROL == 0
            && new.notes.len() == self.state.notes.len()
            && new.waiting.len() <= WAITING;
        if fits { Ok(()) } else { Err(BadState::ByDevice("a field is out of range".to_owned())) }
    }
}

fn note(offset: u64) -> usize {
    (offset - reg::NOTE) as usize / 4
}

impl Reference for Clock {
    fn options(&self) -> Options {
        Options { p2p: false, pre_copy: false }
    }

    fn interface(&self) -> Interface {
        let register = |name: &'static str, offset, size: u8, count, writable, max| Register {
            name: name.into(),
            region: 0,
            offset,
            size,
            count,
            stride: size.into(),
            writable,
            max,
        };
        let word = u64::from(u32::MAX);
        let notes = self.state.notes.len() as u32;
        Interface::Registers(
            [
                register("CONTROL", reg::CONTROL, 4, 1, true, CONTROL.into()),
                register("DOORBELL", reg::DOORBELL, 4, 1, true, word),
                register("RINGS", reg::RINGS, 4, 1, false, word),
                register("TIME", reg::TIME, 8, 1, false, u64::MAX),
                register("SERIAL", reg::SERIAL, 8, 1, false, u64::MAX),
                register("NOTE", reg::NOTE, 4, notes, true, word),
            ]
            .into(),
        )
    }

    fn memory(&mut self) -> Option<&mut Memory> {
        None
    }

    fn step(&mut self, step: &Step) -> Seen {
        let mut seen = Vec::new();
        match step {
            Step::Read { offset, .. } => seen.push(Sight::Value(self.read(*offset))),
            Step::Write { offset, value, .. } => self.write(*offset, *value as u32, &mut seen),
            Step::Receive(_) | Step::Pass(_) | Step::Request(_) => {}
        }
        self.arrivals(&mut seen);
        Seen(seen)
    }

    fn rest(&mut self, _units: u32) -> Seen {
        let is_due = self.stopped.is_some_and(|stopped| OVERDUE <= now() - stopped);
        if !self.faults.hits(&late::GOES_ON, is_due && !self.state.waiting.is_empty()) {
            return Seen::default();
        }
        Seen(self.state.waiting.drain(..).map(|_| Sight::Interrupt(0)).collect())
    }

    fn reset(&mut self) {
        let Hardware { notes, serial, .. } = &self.state;
        let (notes, serial) = (vec![0; notes.len()], *serial);
        self.state = Hardware { control: 0, rings: 0, notes, ran: 0, serial, waiting: vec![] };
        self.since = self.since.map(|_| now());
    }

    fn pause(&mut self, paused: bool) -> Result<(), Error> {
        self.stopped = paused.then(now);
        if !paused {
            self.since.get_or_insert_with(now);
        } else if self.since.is_some() {
            let total = self.ran();
            let ran = u32::try_from(total.wrapping_sub(self.state.ran)).unwrap_or(u32::MAX);
            self.state.waiting.iter_mut().for_each(|due| *due = due.saturating_sub(ran));
            (self.state.ran, self.since) = (total, None);
        }
        Ok(())
    }
}

impl Stored for Clock {
    fn identity(&self) -> (&ModelId, &Setup) {
        (&self.model, &self.list)
    }

    fn save(&mut self, pass: Pass, writer: &mut Writer) -> Result<(), Error> {
        if pass == Pass::Last {
            writer.structured(STATE, &self.state)?;
        }
        Ok(())
    }

    fn estimate(&self) -> usize {
        64 + 4 * self.state.notes.len()
    }

    fn is_dirty(&self) -> bool {
        false
    }

    fn load(&mut self, mut sections: Sections) -> Result<(), BadState> {
        let new: Hardware = sections.take_structured(STATE)?;
        sections.end()?;
        self.judge(&new)?;
        self.take(new);
        Ok(())
    }

    fn load_tail(&mut self, _: &[u8]) {}

    fn load_plain(&mut self, bytes: &[u8]) -> Result<(), BadState> {
        let new: Hardware = structured::decode(bytes)?;
        self.judge(&new)?;
        self.take(new);
        Ok(())
    }

    fn save_plain(&mut self) -> Result<Vec<u8>, Error> {
        Ok(structured::encode(&self.state)?)
    }
}
