//! Moving devices: plans, saves and loads as in the case.

use super::Bench;
use super::trouble::Trouble;
use crate::case::Case;
use crate::coverage::{Dimension, outcome, saw};
use crate::finding::{Judgement, Stop, Who, refused};
use crate::subject::Subject;
use migcert_core::compat::Verdict;
use migcert_core::device::{Device, Outside, State};
use migcert_core::error::Error;
use migcert_core::migrate::{self, Carrier, Failed, Plan, Saved, Stayed, Stranded};
use migcert_core::program::Program;

/// The result of a load.
#[derive(Debug)]
pub enum Load {
    /// The device is in STOP and has the state.
    Accepted,
    /// It refused: [`Error::BadState`] or [`Error::Refused`].
    Refused(Error),
}

impl Load {
    /// Whether the device has the state.
    pub const fn is_accepted(&self) -> bool {
        matches!(self, Load::Accepted)
    }
}

/// A source that was stopped and saved.
pub struct Stopped {
    /// The source, in STOP_COPY.
    pub device: Box<dyn Device>,
    /// Its host side, which a destination shares.
    pub outside: Outside,
    /// The bytes that it saved.
    pub state: Vec<u8>,
    /// What the carrier brings beside it.
    pub memory: Vec<u8>,
}

impl Bench<'_> {
    /// A source that played the script up to a point, then was stopped and saved.
    pub fn stopped(&self, at: usize) -> Result<Stopped, Stop> {
        let (mut device, outside) = self.started()?;
        self.play(&mut *device, 0..at)?;
        let state = self.usual().save(&mut *device, None)?;
        self.tell(|| format!("{} bytes of state were saved", state.len()));
        let memory = device.guest_memory()?;
        Ok(Stopped { device, outside, state, memory })
    }

    /// A destination like a new one: reset, or replaced if it can't be.
    pub fn renewed(&self, mut device: Box<dyn Device>, stopped: &Stopped) -> Result<Box<dyn Device>, Stop> {
        if !device.capabilities().can_reset {
            return self.prepared(stopped);
        }
        device.reset()?;
        Ok(device)
    }

    /// The migration of the case, if the check allows it.
    ///
    /// # Errors
    /// [`Stop::NotApplicable`] if it doesn't.
    pub fn plan(&self) -> Result<Plan, Stop> {
        self.verdict()?.map_err(|_| Stop::NotApplicable("the check refuses this pair".into()))
    }

    /// The verdict of the check on the case.
    pub fn verdict(&self) -> Result<Result<Plan, Verdict>, Stop> {
        let Case { model, setup, .. } = self.case;
        let plan = Plan::new(model, self.model()?, setup, &self.destination.manifest);
        if plan.is_err() {
            saw(Dimension::Outcome, || outcome::REFUSED_BY_CHECK);
        }
        Ok(plan)
    }

    /// A fresh destination for a stopped source, RUNNING.
    pub fn prepared(&self, stopped: &Stopped) -> Result<Box<dyn Device>, Stop> {
        let plan = self.plan()?;
        self.instance(Who::Destination, self.destination, plan.destination(), &stopped.outside)
    }

    /// Moves a running source to a fresh instance of `to`, through all phases.
    pub fn migrate(
        &self,
        source: Box<dyn Device>,
        plan: Plan,
        to: &Subject,
        outside: &Outside,
        guest: Option<migrate::Guest<'_>>,
    ) -> Result<Box<dyn Device>, Stop> {
        self.migrate_to(source, plan, &self.named(Who::Destination, to), outside, guest)
    }

    /// The same, to an instance of a program.
    pub fn migrate_to(
        &self,
        source: Box<dyn Device>,
        plan: Plan,
        to: &dyn Program,
        outside: &Outside,
        guest: Option<migrate::Guest<'_>>,
    ) -> Result<Box<dyn Device>, Stop> {
        let carrier = self.usual();
        let moved = plan
            .prepare(source, to, outside)
            .and_then(|prepared| prepared.save(&carrier, guest))
            .and_then(|saved| saved.load(&carrier));
        Ok(moved.map_err(failed)?.running)
    }

    /// Prepares and saves, and leaves the rest to the rule.
    pub fn save_for(&self, source: Box<dyn Device>, plan: Plan, outside: &Outside) -> Result<Saved, Stop> {
        let prepared = plan.prepare(source, &self.named(Who::Destination, self.destination), outside);
        prepared.and_then(|prepared| prepared.save(&self.usual(), None)).map_err(failed)
    }

    /// A carrier that moves bytes in the pieces of the case.
    pub fn carrier(&self) -> Carrier {
        Carrier { pieces: self.case.pieces.clone(), ..Carrier::default() }
    }

    /// A carrier that moves bytes in pieces of the default size.
    pub fn usual(&self) -> Carrier {
        Carrier::default()
    }

    /// Loads a state as it was saved, in the pieces of the case, into a device that runs;
    /// afterwards it is in STOP, or it refused.
    ///
    /// # Errors
    /// [`Stop::Failed`] if it neither accepted nor refused but broke.
    pub fn load(&self, device: &mut dyn Device, state: &[u8]) -> Result<Load, Stop> {
        self.load_by(&self.carrier(), device, state)
    }

    /// The same, in the pieces of a carrier.
    pub fn load_by(&self, carrier: &Carrier, device: &mut dyn Device, state: &[u8]) -> Result<Load, Stop> {
        self.loaded(carrier.load(device, state), "a state")
    }

    /// The same with bytes that are not a state as it was saved; `what` names them in the trace: `a damaged
    /// state`.
    pub fn load_other(
        &self,
        device: &mut dyn Device,
        what: &'static str,
        bytes: &[u8],
    ) -> Result<Load, Stop> {
        self.story.send(Some(what));
        let loaded = self.carrier().load(device, bytes);
        self.story.send(None);
        self.loaded(loaded, what)
    }

    fn loaded(&self, loaded: Result<(), Error>, what: &str) -> Result<Load, Stop> {
        match loaded {
            Ok(()) => Ok(Load::Accepted),
            Err(why @ (Error::BadState(_) | Error::Refused(_))) => Ok(Load::Refused(why)),
            Err(why) => {
                let clause = format!("while {what} was loaded");
                Err(refused(why, clause, format!("{what} is accepted, or refused with a clear error")))
            }
        }
    }

    /// Lets the guest go on with a device that accepted a state.
    pub fn go_on(&self, device: &mut dyn Device, memory: &[u8]) -> Judgement {
        device.set_guest_memory(memory)?;
        Ok(device.set_state(State::Running)?)
    }
}

/// A failed migration, where it had to work.
pub fn failed(why: Failed) -> Stop {
    let completes = "the migration completes, since the check allows it";
    match why {
        Failed::Stayed(Stayed { why, .. }) => {
            refused(*why, "though the check allows the migration", completes)
        }
        Failed::Stranded(stranded) => failed_for_good(stranded),
    }
}

/// A migration after which no instance runs. The first failure is the finding, unless it was only a
/// refusal.
fn failed_for_good(Stranded { why, then, .. }: Stranded) -> Stop {
    let runs = "after a migration that failed or was given up, the source runs";
    match why.map(|why| *why) {
        Some(why @ (Error::Misbehaved(_) | Error::Unavailable(_))) => {
            refused(why, format!("and the source can't go on: {}", without_words(&then)), runs)
        }
        Some(why) => refused(*then, format!("after a migration that failed: {}", without_words(&why)), runs),
        None => refused(*then, "after a migration that was given up", runs),
    }
}

fn without_words(why: &Error) -> String {
    Trouble::of(why).headline(None)
}
