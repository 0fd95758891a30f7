//! Instances that have a name, tell what they do, and may panic.

use super::Subject;
use super::tally::{Of, Tally};
use crate::coverage::{Dimension, is_asked, outcome, saw};
use crate::deadline;
use crate::guests::{self, Guest};
use crate::rules::Class;
use migcert_core::device::{Capabilities, Device, Outside, Seen, State, Step, walk};
use migcert_core::error::{Error, Misbehaved};
use migcert_core::model::ModelId;
use migcert_core::program::{Manifest, Program};
use migcert_core::version::Setup;
use std::cell::Cell;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

/// What happened, in words, if somebody wants to hear it.
#[derive(Clone)]
pub(super) struct Story(pub(super) Option<Arc<Mutex<Told>>>);

/// The lines of a story, and how far it is.
#[derive(Clone, Default)]
pub(super) struct Told {
    pub(super) lines: Vec<String>,
    pub(super) phase: String,
}

impl Story {
    pub(super) fn tell(&self, line: impl FnOnce() -> String) {
        self.change(|told| told.lines.push(line()));
    }

    /// An instance was asked for something in this state; without one, to start.
    fn reach(&self, who: &str, state: Option<State>) {
        self.change(|told| {
            told.phase = state.map_or_else(|| format!("{who} starts"), |at| format!("{who} in {at}"));
        });
    }

    fn change(&self, change: impl FnOnce(&mut Told)) {
        if let Some(told) = &self.0 {
            change(&mut told.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// A program whose instances have a name and tell what they do.
pub struct Named<'a> {
    pub(super) who: &'static str,
    pub(super) subject: &'a Subject,
    pub(super) of: Of,
    pub(super) story: Story,
    pub(super) tally: Arc<Tally>,
}

impl Program for Named<'_> {
    fn describe(&self) -> Result<Manifest, Error> {
        guarded(|| self.subject.program.describe())
    }

    fn outside(&self) -> Result<Outside, Error> {
        self.subject.program.outside()
    }

    fn start(&self, model: &ModelId, setup: &Setup, outside: &Outside) -> Result<Box<dyn Device>, Error> {
        self.story.reach(self.who, None);
        let started = guarded(|| self.subject.program.start(model, setup, outside));
        self.story.tell(|| {
            let how = started.as_ref().map_or_else(|why| format!("refused: {why}"), |_| "RUNNING".into());
            format!("{} is started as {} with `{setup}`: {how}", self.who, self.subject.name)
        });
        if matches!(started, Err(Error::Refused(_))) {
            saw(Dimension::Outcome, || outcome::REFUSED_AT_START);
        }
        let device = started?;
        let interface = device.capabilities().interface;
        self.tally.started(self.of, &interface);
        let guest = self.story.0.as_ref().map(|_| guests::of(&interface));
        let (who, of, story, tally) = (self.who, self.of, self.story.clone(), Arc::clone(&self.tally));
        Ok(Box::new(Teller { who, of, device, guest, at: State::Running, is_loaded: false, story, tally }))
    }
}

thread_local! {
    /// Whether the device has the word, so that a panic is its own.
    static AT_DEVICE: Cell<bool> = const { Cell::new(false) };
}

/// Keeps panics of devices, which become findings, from being printed as well.
pub fn keep_device_panics_quiet() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |why| {
        if !AT_DEVICE.get() {
            usual(why);
        }
    }));
}

/// A panic in process is the device's, not ours. Once the time is up, no device is asked.
pub(super) fn guarded<T>(act: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    deadline::check()?;
    let before = AT_DEVICE.replace(true);
    let done = catch_unwind(AssertUnwindSafe(act));
    AT_DEVICE.set(before);
    done.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Err(Misbehaved::Panicked(words.unwrap_or_else(|| "without a message".to_owned())).into())
    })
}

/// Has a device go to a state, and doesn't take its word for it.
pub(super) fn arrive(device: &mut dyn Device, to: State) -> Result<(), Error> {
    device.set_state(to)?;
    match device.state()? {
        says if says == to => Ok(()),
        says => Err(Misbehaved::InWrongState { says, should: to }.into()),
    }
}

/// A device that has a name and tells what it does.
struct Teller {
    who: &'static str,
    of: Of,
    device: Box<dyn Device>,
    guest: Option<Box<dyn Guest>>,
    at: State,
    /// Whether it accepted a state and the guest has not gone on yet.
    is_loaded: bool,
    story: Story,
    tally: Arc<Tally>,
}

impl Teller {
    fn done<T>(&self, what: impl FnOnce() -> String, how: &Result<T, Error>) {
        self.story.reach(self.who, Some(self.at));
        self.story.tell(|| match how {
            Ok(_) => format!("{} {}", self.who, what()),
            Err(why) => format!("{} {}: {why}", self.who, what()),
        });
    }
}

impl Teller {
    /// Keeps what a change of state touched.
    fn went(&mut self, to: State, how: &Result<(), Error>) {
        use outcome::{MIGRATED, REFUSED_AT_LOAD, SAVE_FAILED, SOURCE_GOES_ON};
        let from = self.at;
        let has_migrated = how.is_ok() && self.is_loaded && to == State::Running;
        if has_migrated {
            self.tally.saw(Class::Migration);
        }
        if how.is_ok() {
            self.is_loaded = from == State::Resuming || self.is_loaded && to != State::Running;
        }
        if from == State::Resuming {
            self.judged(how);
        }
        if !is_asked() {
            return;
        }
        match how {
            Ok(()) => {
                let walk = walk(from, to, self.device.capabilities().options).unwrap_or_default();
                let mut at = from;
                for next in walk {
                    saw(Dimension::Arc, || format!("{at} -> {next}"));
                    at = next;
                }
                if has_migrated {
                    saw(Dimension::Outcome, || MIGRATED);
                } else if from.saves() && to == State::Running {
                    saw(Dimension::Outcome, || SOURCE_GOES_ON);
                }
            }
            Err(_) if to.saves() => saw(Dimension::Outcome, || SAVE_FAILED),
            Err(_) if from == State::Resuming => saw(Dimension::Outcome, || REFUSED_AT_LOAD),
            Err(_) => {}
        }
    }

    /// Keeps whether a state was refused.
    fn judged(&self, how: &Result<(), Error>) {
        if matches!(how, Err(Error::BadState(_) | Error::Refused(_))) {
            self.tally.saw(Class::Refusal);
        }
    }
}

impl Device for Teller {
    fn capabilities(&self) -> Capabilities {
        self.device.capabilities()
    }

    fn state(&mut self) -> Result<State, Error> {
        guarded(|| self.device.state())
    }

    fn set_state(&mut self, to: State) -> Result<(), Error> {
        let result = guarded(|| arrive(&mut *self.device, to));
        self.went(to, &result);
        self.at = to;
        self.done(|| format!("is asked to go to {to}"), &result);
        result
    }

    fn read_state(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        let result = guarded(|| self.device.read_state(into));
        match result {
            Err(_) => saw(Dimension::Outcome, || outcome::SAVE_FAILED),
            Ok(1..) if self.at.runs() => self.tally.saw(Class::PreCopy),
            Ok(_) => {}
        }
        self.done(|| format!("gives {} bytes of state", result.as_ref().unwrap_or(&0)), &result);
        result
    }

    fn write_state(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let result = guarded(|| self.device.write_state(bytes));
        if result.is_err() {
            saw(Dimension::Outcome, || outcome::REFUSED_AT_LOAD);
        }
        self.judged(&result);
        self.done(|| format!("gets {} bytes of state", bytes.len()), &result);
        result
    }

    fn estimate(&mut self) -> Result<Option<u64>, Error> {
        let result = guarded(|| self.device.estimate());
        self.done(
            || format!("estimates its state at {:?} bytes", result.as_ref().ok().copied().flatten()),
            &result,
        );
        result
    }

    fn reset(&mut self) -> Result<(), Error> {
        let result = guarded(|| self.device.reset());
        if result.is_ok() {
            self.tally.saw(Class::Reset);
            saw(Dimension::Outcome, || outcome::RESET);
        }
        self.done(|| "is reset".to_owned(), &result);
        (self.at, self.is_loaded) = (State::Running, false);
        result
    }

    fn guest(&mut self, step: &Step) -> Result<Seen, Error> {
        let result = guarded(|| self.device.guest(step));
        match &result {
            Ok(seen) => self.tally.stepped(self.of, step, seen),
            Err(Error::Refused(_)) => self.tally.failed(self.of),
            Err(_) => {}
        }
        self.story.reach(self.who, Some(self.at));
        self.story.tell(|| {
            let words = self.guest.as_ref().map_or_else(|| step.to_string(), |guest| guest.tell(step));
            match &result {
                Ok(seen) => format!("at {}, {words}: {seen}", self.who),
                Err(why) => format!("at {}, {words}: {why}", self.who),
            }
        });
        result
    }

    fn guest_memory(&mut self) -> Result<Vec<u8>, Error> {
        guarded(|| self.device.guest_memory())
    }

    fn set_guest_memory(&mut self, memory: &[u8]) -> Result<(), Error> {
        guarded(|| self.device.set_guest_memory(memory))
    }

    fn dirty_memory(&mut self) -> Result<Option<Vec<Range<usize>>>, Error> {
        guarded(|| self.device.dirty_memory())
    }

    fn footprint(&mut self) -> Result<Option<u64>, Error> {
        guarded(|| self.device.footprint())
    }
}
