//! Chapter R-6: a migration, as phases that are types. Who may run is who holds the value.
//!
//! ```text
//! Plan ──prepare──► Prepared ──save──► Saved ──load──► Moved
//!  (no instance)        │                │
//!                       └──► Stayed ◄────┘    the source runs on
//!                              or Stranded    neither runs, and it says so
//! ```
//!
//! Every step takes its phase by value and gives one back, so that "both run" does not compile
//! (R-6.2):
//!
//! ```compile_fail
//! # use migcert_core::migrate::{Carrier, Saved};
//! fn both(saved: Saved, carrier: &Carrier) {
//!     let moved = saved.load(carrier);
//!     let stayed = saved.abandon(); // `saved` is gone
//! }
//! ```

use crate::compat::{self, Verdict};
use crate::device::{Device, Outside, State};
use crate::error::{Error, Misbehaved};
use crate::model::ModelId;
use crate::program::{Manifest, Model, Program};
use crate::version::Setup;
use std::fmt;

/// A migration that the check allows. Nothing was disturbed yet (R-1.3).
#[derive(Clone, Debug)]
pub struct Plan {
    model: ModelId,
    destination: Setup,
}

impl Plan {
    /// Checks model and configuration (R-6.1). `setup` is a full one, valid at the source.
    ///
    /// # Errors
    /// Every reason against it (R-5.3).
    pub fn new(
        model: &ModelId,
        source: &Model,
        setup: &Setup,
        destination: &Manifest,
    ) -> Result<Plan, Verdict> {
        let verdict = compat::check(model, source, setup, destination);
        if !verdict.is_compatible() {
            return Err(verdict);
        }
        let destination = match (source, setup, destination.models.get(model)) {
            (Model::Params(here), Setup::Params(full), Some(Model::Params(there))) => {
                Setup::Params(compat::destination(&here.parameter_list(full), there))
            }
            _ => setup.clone(),
        };
        Ok(Plan { model: model.clone(), destination })
    }

    /// What the destination is started with: every parameter named (R-8.2).
    pub fn destination(&self) -> &Setup {
        &self.destination
    }

    /// Starts the destination with exactly that configuration (R-6.1) and makes it wait for a
    /// state. The source is not touched.
    ///
    /// # Errors
    /// [`Failed::Stayed`]: the source goes on as if nothing had been asked.
    pub fn prepare(
        self,
        source: Box<dyn Device>,
        program: &dyn Program,
        outside: &Outside,
    ) -> Result<Prepared, Failed> {
        let started = program.start(&self.model, &self.destination, outside).and_then(|mut destination| {
            destination.set_state(State::Resuming)?;
            Ok(destination)
        });
        match started {
            Ok(destination) => Ok(Prepared { source, destination }),
            Err(why) => {
                Err(Failed::Stayed(Stayed { running: source, phase: Phase::Prepare, why: Box::new(why) }))
            }
        }
    }
}

/// The source runs, the destination waits for a state.
pub struct Prepared {
    source: Box<dyn Device>,
    destination: Box<dyn Device>,
}

impl Prepared {
    /// Stops the source and saves it.
    ///
    /// With pre-copy, the stream is read while the guest goes on: `guest` is called each time it
    /// has no more for now (R-7.5), until it says that it was the last time.
    ///
    /// # Errors
    /// [`Failed`] in [`Phase::Save`], with the source running again if that can be had.
    pub fn save(mut self, carrier: &Carrier, guest: Option<Guest<'_>>) -> Result<Saved, Failed> {
        match carrier.save(&mut *self.source, guest) {
            Ok(state) => Ok(Saved { source: self.source, destination: self.destination, state }),
            Err(why) => Err(back_to_running(self.source, Phase::Save, why)),
        }
    }
}

/// What the guest does while the state is read in PRE_COPY, round by round.
pub type Guest<'a> = &'a mut dyn FnMut(&mut dyn Device) -> Result<Round, Error>;

/// Whether the guest goes on for another round of pre-copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// Once more.
    Again,
    /// Stop and copy now.
    Last,
}

/// Both are stopped, and the state is on its way.
pub struct Saved {
    source: Box<dyn Device>,
    destination: Box<dyn Device>,
    /// The state, opaque (R-1.5). What happens to it on the way happens here.
    pub state: Vec<u8>,
}

impl Saved {
    /// Loads the state at the destination and lets the guest go on there. The source never runs
    /// again (R-6.2).
    ///
    /// # Errors
    /// [`Failed`] in [`Phase::Load`], with the source running again if that can be had.
    pub fn load(mut self, carrier: &Carrier) -> Result<Moved, Failed> {
        let loaded = carrier.write(&mut *self.destination, &self.state).and_then(|()| {
            self.destination.set_state(State::Stop)?; // The load is judged here (R-7.4).
            let memory = self.source.guest_memory()?;
            self.destination.set_guest_memory(&memory)?;
            self.destination.set_state(State::Running)
        });
        match loaded {
            Ok(()) => Ok(Moved { running: self.destination }),
            Err(why) => {
                drop(self.destination);
                Err(back_to_running(self.source, Phase::Load, why))
            }
        }
    }

    /// Gives the migration up: the source goes on.
    ///
    /// # Errors
    /// [`Stranded`] if it can't.
    pub fn abandon(mut self) -> Result<Box<dyn Device>, Stranded> {
        match self.source.set_state(State::Running) {
            Ok(()) => Ok(self.source),
            Err(then) => Err(Stranded { phase: Phase::Save, why: None, then: Box::new(then) }),
        }
    }
}

fn back_to_running(mut source: Box<dyn Device>, phase: Phase, why: Error) -> Failed {
    match source.set_state(State::Running) {
        Ok(()) => Failed::Stayed(Stayed { running: source, phase, why: Box::new(why) }),
        Err(then) => Failed::Stranded(Stranded { phase, why: Some(Box::new(why)), then: Box::new(then) }),
    }
}

/// The guest goes on at the destination.
pub struct Moved {
    /// The destination.
    pub running: Box<dyn Device>,
}

/// The guest goes on at the source.
pub struct Stayed {
    /// The source.
    pub running: Box<dyn Device>,
    /// Which phase failed.
    pub phase: Phase,
    /// Why.
    pub why: Box<Error>,
}

/// Neither runs: the source can't go on either.
pub struct Stranded {
    /// Which phase failed.
    pub phase: Phase,
    /// Why it failed; `None` if it was given up.
    pub why: Option<Box<Error>>,
    /// Why the source can't go on.
    pub then: Box<Error>,
}

impl Stranded {
    fn why(&self) -> String {
        self.why.as_ref().map_or_else(|| "given up".to_owned(), ToString::to_string)
    }
}

/// How a migration failed (R-6.2).
#[derive(thiserror::Error)]
pub enum Failed {
    /// The source runs.
    #[error("failed to {}: {}; the source goes on", .0.phase, .0.why)]
    Stayed(Stayed),
    /// Neither runs.
    #[error("failed to {}: {}, and the source can't go on: {}", .0.phase, .0.why(), .0.then)]
    Stranded(Stranded),
}

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The phases that can fail once there is a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Start the destination.
    Prepare,
    /// Stop and save the source.
    Save,
    /// Load the destination.
    Load,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Phase::Prepare => "prepare the destination",
            Phase::Save => "save the source",
            Phase::Load => "load the destination",
        })
    }
}

/// How bytes are carried: in which pieces, and how many at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carrier {
    /// Sizes of the pieces in bytes, used in turn; 16 KiB each if there are none (R-6.6).
    pub pieces: Vec<u32>,
    /// A state that is longer does not end (R-6.7).
    pub limit: u64,
}

impl Default for Carrier {
    fn default() -> Carrier {
        Carrier { pieces: Vec::new(), limit: 1 << 30 }
    }
}

/// Bytes of the largest piece; what asks for larger ones gets these.
const MAX_PIECE: u32 = 1 << 20;

impl Carrier {
    /// Saves a running device: leaves it in STOP_COPY and returns its state.
    ///
    /// # Errors
    /// The device's own, and [`Misbehaved::StateWithoutEnd`].
    pub fn save(&self, device: &mut dyn Device, guest: Option<Guest<'_>>) -> Result<Vec<u8>, Error> {
        let mut state = Vec::new();
        if let Some(guest) = guest {
            device.set_state(State::PreCopy)?;
            loop {
                self.read_on(device, &mut state)?;
                if guest(device)? == Round::Last {
                    break;
                }
            }
        }
        device.set_state(State::StopCopy)?;
        self.read_on(device, &mut state)?;
        Ok(state)
    }

    /// Reads a state to its end: for good in STOP_COPY, for now in PRE_COPY (R-7.5).
    ///
    /// # Errors
    /// The device's own, and [`Misbehaved::StateWithoutEnd`].
    pub fn read_on(&self, device: &mut dyn Device, state: &mut Vec<u8>) -> Result<(), Error> {
        for piece in self.sizes() {
            let start = state.len();
            if self.limit < start as u64 {
                return Err(Misbehaved::StateWithoutEnd(start as u64).into());
            }
            state.resize(start + piece, 0);
            let read = device.read_state(&mut state[start..])?;
            state.truncate(start + read.min(piece));
            if read == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Writes a whole state to a device in RESUMING.
    ///
    /// # Errors
    /// The device's own.
    pub fn write(&self, device: &mut dyn Device, state: &[u8]) -> Result<(), Error> {
        let mut rest = state;
        let mut sizes = self.sizes();
        while !rest.is_empty() {
            let (piece, then) = rest.split_at(sizes.next().unwrap_or(rest.len()).min(rest.len()));
            device.write_state(piece)?;
            rest = then;
        }
        Ok(())
    }

    /// Loads a state into a device, which ends in STOP; RESUMING→STOP judges it (R-7.4).
    ///
    /// # Errors
    /// The device's own; [`Error::BadState`] where it refuses the state.
    pub fn load(&self, device: &mut dyn Device, state: &[u8]) -> Result<(), Error> {
        device.set_state(State::Resuming)?;
        self.write(device, state)?;
        device.set_state(State::Stop)
    }

    fn sizes(&self) -> impl Iterator<Item = usize> + '_ {
        const USUAL: &[u32] = &[16 << 10];
        let pieces = if self.pieces.is_empty() { USUAL } else { &self.pieces };
        // Room for a piece is made before it is read.
        pieces.iter().cycle().map(|piece| (*piece).clamp(1, MAX_PIECE) as usize)
    }
}
