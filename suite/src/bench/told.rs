//! Named instances: traced, counted, and allowed to panic.

use super::identity::{Identity, Watching};
use super::story::Story;
use super::tally::{Of, Tally};
use crate::coverage::{Dimension, is_asked, outcome, saw};
use crate::deadline;
use crate::finding::{Class, Event, Moment, Operation, Past, Who};
use crate::guests::{self, Guest};
use crate::subject::Subject;
use migcert_core::device::{Capabilities, Device, Outside, Seen, State, Step, walk};
use migcert_core::error::{Error, Misbehaved};
use migcert_core::model::ModelId;
use migcert_core::program::{Manifest, Program};
use migcert_core::version::Setup;
use std::cell::Cell;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A program whose instances have a name and are traced.
pub struct Named<'a> {
    pub(super) who: Who,
    pub(super) subject: &'a Subject,
    /// The subject's program, or the same with instances that are used again.
    pub(super) program: &'a dyn Program,
    pub(super) of: Of,
    pub(super) story: Story,
    pub(super) tally: Arc<Tally>,
    /// Watches what belongs to an instance, if the bench does.
    pub(super) watching: Option<Watching>,
}

impl Program for Named<'_> {
    fn describe(&self) -> Result<Manifest, Error> {
        let described = guarded(|| self.subject.program.describe());
        self.noted(Operation::Describe, described)
    }

    fn outside(&self) -> Result<Outside, Error> {
        self.outside_of(self.program)
    }

    fn start(&self, model: &ModelId, setup: &Setup, outside: &Outside) -> Result<Box<dyn Device>, Error> {
        self.start_of(self.program, model, setup, outside)
    }
}

/// A program that stands in for a subject's; its instances have a name and are traced.
pub struct Standing<'a> {
    pub(super) named: Named<'a>,
    pub(super) program: &'a dyn Program,
}

impl Program for Standing<'_> {
    fn describe(&self) -> Result<Manifest, Error> {
        self.named.describe()
    }

    fn outside(&self) -> Result<Outside, Error> {
        self.named.outside_of(self.program)
    }

    fn start(&self, model: &ModelId, setup: &Setup, outside: &Outside) -> Result<Box<dyn Device>, Error> {
        self.named.start_of(self.program, model, setup, outside)
    }
}

impl Named<'_> {
    fn outside_of(&self, program: &dyn Program) -> Result<Outside, Error> {
        let outside = guarded(|| program.outside());
        self.noted(Operation::Outside, outside)
    }

    fn start_of(
        &self,
        program: &dyn Program,
        model: &ModelId,
        setup: &Setup,
        outside: &Outside,
    ) -> Result<Box<dyn Device>, Error> {
        let started = guarded(|| program.start(model, setup, outside));
        let started = self.noted(Operation::Start, started);
        self.story.tell(|| {
            let how = started.as_ref().map_or_else(|why| format!("refused: {why}"), |_| "RUNNING".into());
            format!("{} is started as {} with `{setup}`: {how}", self.who, self.subject.name)
        });
        if matches!(started, Err(Error::Refused(_))) {
            saw(Dimension::Outcome, || outcome::REFUSED_AT_START);
        }
        let device = started?;
        let capabilities = device.capabilities();
        self.tally.started(self.of, &capabilities);
        let guest = self.story.is_told().then(|| guests::of(&capabilities.interface));
        let site = Moment { who: self.who, at: Some(State::Running), past: Past::default() };
        let (of, story, tally) = (self.of, self.story.clone(), Arc::clone(&self.tally));
        let identity = self.watching.as_ref().map(Watching::instance);
        Ok(Box::new(Teller { site, of, device, guest, is_loaded: false, identity, story, tally }))
    }

    fn noted<T>(&self, operation: Operation, how: Result<T, Error>) -> Result<T, Error> {
        let site = Moment { who: self.who, at: None, past: Past::default() };
        self.story.reach(site);
        how.inspect_err(|why| self.story.failed(site, operation, why))
    }
}

thread_local! {
    /// Whether device code is on the stack, so that a panic is its own.
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

/// Runs device code; turns its panic into an error. Fails once the time is up.
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

/// Brings a device to a state, and checks that it is in it.
pub(super) fn arrive(device: &mut dyn Device, to: State) -> Result<(), Error> {
    device.set_state(to)?;
    match device.state()? {
        says if says == to => Ok(()),
        says => Err(Misbehaved::InWrongState { says, should: to }.into()),
    }
}

/// A device with a name, which is traced.
struct Teller {
    /// Its name, the state it was asked for last, and its past.
    site: Moment,
    of: Of,
    device: Box<dyn Device>,
    guest: Option<Box<dyn Guest>>,
    /// Whether it accepted a state and the guest has not gone on yet.
    is_loaded: bool,
    /// What its guest saw that belongs to the instance; only if that is watched.
    identity: Option<Identity>,
    story: Story,
    tally: Arc<Tally>,
}

impl Teller {
    /// Notes the result of an operation.
    fn noted<T>(&self, operation: Operation, how: Result<T, Error>) -> Result<T, Error> {
        self.story.reach(self.site);
        how.inspect_err(|why| self.story.failed(self.site, operation, why))
    }

    /// The same, and adds a line to the trace.
    fn done<T>(
        &self,
        operation: Operation,
        what: impl FnOnce(&Result<T, Error>) -> String,
        how: Result<T, Error>,
    ) -> Result<T, Error> {
        self.story.tell(|| match &how {
            Ok(_) => format!("{} {}", self.site.who, what(&how)),
            Err(why) => format!("{} {}: {why}", self.site.who, what(&how)),
        });
        self.noted(operation, how)
    }

    fn happened(&mut self, event: Event) {
        self.site.past = self.site.past.with(event);
    }

    /// Records coverage of a change of state, and the past of the instance.
    fn went(&mut self, to: State, how: &Result<(), Error>) {
        use outcome::{MIGRATED, REFUSED_AT_LOAD, SAVE_FAILED, SOURCE_GOES_ON};
        let from = self.site.at.unwrap_or(to);
        let has_migrated = how.is_ok() && self.is_loaded && to == State::Running;
        if has_migrated {
            self.tally.saw(Class::Migration);
        }
        if from == State::Resuming {
            self.judged(how);
        }
        if how.is_ok() {
            self.is_loaded = from == State::Resuming || self.is_loaded && to != State::Running;
            self.passed(from, to);
            self.site.at = Some(to);
            self.story.stands(self.site);
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

    /// Notes what a change of state means for later operations.
    fn passed(&mut self, from: State, to: State) {
        if let Some(identity) = &mut self.identity {
            if to == State::Resuming || to.saves() && !from.saves() {
                identity.begins();
            }
            if from == State::Resuming && to != State::Resuming {
                identity.is_loaded();
            }
        }
        if from == State::Resuming && to != State::Resuming {
            self.happened(if self.story.parcel().is_none() { Event::Loaded } else { Event::LoadedOther });
            let saved = self.story.saved();
            if saved.has(Event::Loaded) || saved.has(Event::LoadedOther) {
                self.happened(Event::LoadedAgain);
            }
        }
        match to {
            State::StopCopy => {
                self.story.saves(self.site.past);
                self.happened(Event::Saved);
            }
            State::PreCopy | State::PreCopyP2p => self.happened(Event::PreCopied),
            State::Stop if from.runs() => self.happened(Event::Stopped),
            _ => {}
        }
    }

    /// Notes whether a state was refused.
    fn judged<T>(&mut self, how: &Result<T, Error>) {
        if matches!(how, Err(Error::BadState(_) | Error::Refused(_))) {
            self.tally.saw(Class::Refusal);
            self.happened(Event::Refused);
        }
    }
}

impl Device for Teller {
    fn capabilities(&self) -> Capabilities {
        self.device.capabilities()
    }

    fn state(&mut self) -> Result<State, Error> {
        let result = guarded(|| self.device.state());
        self.noted(Operation::State, result)
    }

    fn set_state(&mut self, to: State) -> Result<(), Error> {
        let result = guarded(|| arrive(&mut *self.device, to));
        let result = self.done(Operation::SetState(to), |_| format!("is asked to go to {to}"), result);
        self.went(to, &result);
        result
    }

    fn read_state(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        let result = guarded(|| self.device.read_state(into));
        match (&result, &mut self.identity) {
            (Ok(0), Some(identity)) => identity.is_saved(),
            (Ok(count), Some(identity)) => identity.streams(into.get(..*count).unwrap_or_default()),
            _ => {}
        }
        match result {
            Err(_) => saw(Dimension::Outcome, || outcome::SAVE_FAILED),
            Ok(1..) if self.site.at.is_some_and(State::runs) => self.tally.saw(Class::PreCopy),
            Ok(_) => {}
        }
        let what = |how: &Result<usize, Error>| match how {
            Ok(count) => format!("gives {count} bytes of state"),
            Err(_) => "is asked for its state".to_owned(),
        };
        self.done(Operation::ReadState, what, result)
    }

    fn write_state(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let result = guarded(|| self.device.write_state(bytes));
        if result.is_err() {
            saw(Dimension::Outcome, || outcome::REFUSED_AT_LOAD);
        }
        if let (Ok(()), Some(identity)) = (&result, &mut self.identity) {
            identity.streams(bytes);
        }
        let parcel = self.story.parcel().unwrap_or("state");
        let what = |_: &Result<(), Error>| format!("gets {} bytes of {parcel}", bytes.len());
        let result = self.done(Operation::WriteState, what, result);
        self.judged(&result);
        result
    }

    fn estimate(&mut self) -> Result<Option<u64>, Error> {
        let result = guarded(|| self.device.estimate());
        let what = |how: &Result<Option<u64>, Error>| match how {
            Ok(Some(bytes)) => format!("estimates its state at {bytes} bytes"),
            Ok(None) => "gives no estimate of its state".to_owned(),
            Err(_) => "is asked for an estimate of its state".to_owned(),
        };
        self.done(Operation::Estimate, what, result)
    }

    fn reset(&mut self) -> Result<(), Error> {
        let result = guarded(|| self.device.reset());
        let result = self.done(Operation::Reset, |_| "is reset".to_owned(), result);
        if result.is_ok() {
            self.tally.saw(Class::Reset);
            saw(Dimension::Outcome, || outcome::RESET);
            (self.site.at, self.is_loaded) = (Some(State::Running), false);
            self.identity.iter_mut().for_each(Identity::is_new);
            self.happened(Event::Reset);
            self.story.stands(self.site);
        }
        result
    }

    fn guest(&mut self, step: &Step) -> Result<Seen, Error> {
        let result = guarded(|| self.device.guest(step));
        match &result {
            Ok(seen) => self.tally.stepped(self.of, step, seen),
            Err(Error::Refused(_)) => self.tally.failed(self.of),
            Err(_) => {}
        }
        if let (Ok(seen), Some(identity)) = (&result, &mut self.identity) {
            identity.sees(step, seen);
        }
        self.story.used(self.site);
        self.story.tell(|| {
            let words = self.guest.as_ref().map_or_else(|| step.to_string(), |guest| guest.tell(step));
            let who = self.site.who;
            match &result {
                Ok(seen) => format!("at {who}, {words}: {seen}"),
                Err(why) => format!("at {who}, {words}: {why}"),
            }
        });
        self.story.reach(self.site);
        result.inspect_err(|why| self.story.failed(self.site, Operation::Guest(step.clone()), why))
    }

    fn foresee(&mut self, steps: &[Step]) {
        self.device.foresee(steps);
    }

    fn guest_memory(&mut self) -> Result<Vec<u8>, Error> {
        let result = guarded(|| self.device.guest_memory());
        self.noted(Operation::GuestMemory, result)
    }

    fn set_guest_memory(&mut self, memory: &[u8]) -> Result<(), Error> {
        let result = guarded(|| self.device.set_guest_memory(memory));
        self.noted(Operation::SetGuestMemory, result)
    }

    fn dirty_memory(&mut self) -> Result<Option<Vec<Range<usize>>>, Error> {
        let result = guarded(|| self.device.dirty_memory());
        self.noted(Operation::DirtyMemory, result)
    }

    fn footprint(&mut self) -> Result<Option<u64>, Error> {
        let result = guarded(|| self.device.footprint());
        self.noted(Operation::Footprint, result)
    }
}
