//! The bench: what a rule works with. Starts devices, plays the guest's steps, moves devices,
//! compares what was seen, and tells all of it as a story if somebody wants to hear it.

mod control;
mod identity;
mod noise;
mod story;
mod tally;
mod told;
mod trouble;
mod who;

pub use control::{Earlier, Recipe, Time, Unmoved};
pub use noise::Noise;
pub use tally::{Counted, Guests, Hidden};
pub use told::{Named, Standing, keep_device_panics_quiet};
pub use who::{Event, Operation, Past, Site, Who};

use crate::bucket::without_marks;
use crate::case::Case;
use crate::coverage::{Dimension, outcome, saw};
use crate::deadline;
use crate::guests;
use crate::hosts::isolation::Known;
use crate::learned::Learned;
use crate::rules::{Cause, Class, Failing, Finding, Judgement, Outcome, Stop, What, broken, refused};
use control::{Controls, Kept};
use migcert_core::compat::Verdict;
use migcert_core::device::{Device, Interface, Machine, Outside, Seen, Sight, State, Step};
use migcert_core::error::Error;
use migcert_core::migrate::{self, Carrier, Failed, Plan, Saved, Stayed, Stranded};
use migcert_core::model::ModelId;
use migcert_core::program::{Manifest, Model, Program};
use migcert_core::version::Setup;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use story::Story;
use tally::{Of, Tally};
use trouble::Trouble;

/// Cases for a rule if nobody says otherwise.
const CASES: u32 = 1000;

/// An implementation under test: a device program and what it says of itself.
pub struct Subject {
    /// As the user named it (IMPL).
    pub name: String,
    /// The program.
    pub program: Box<dyn Program>,
    /// Its description, asked for once.
    pub manifest: Manifest,
    /// SHA-256 of the file behind it, in hexadecimal digits, if there is one.
    pub sha256: Option<String>,
    /// That file.
    pub file: Option<PathBuf>,
    /// Places that its guest leaves alone.
    pub never: Vec<Untouched>,
    /// Rules and requirements that are not held against it, each with the reason.
    pub waive: BTreeMap<String, String>,
    /// How many cases a rule is given if nobody says otherwise: what takes a few seconds.
    pub cases: u32,
    /// What is known of how instances are kept apart; `None` where they run in this process.
    pub isolation: Option<Known>,
    /// What of it is volatile. Whoever opens it again, to confirm a finding, shares this.
    pub learned: Arc<Learned>,
    /// Whether it has time of its own.
    pub time: Time,
}

/// Bytes of a region that no guest touches, because a profile says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Untouched {
    /// Region number.
    pub region: u32,
    /// Bytes from the start of the region.
    pub offset: u64,
    /// How many bytes.
    pub size: u64,
}

/// What one case is tried on.
pub struct Bench<'a> {
    /// The case.
    pub case: &'a Case,
    /// Who saves.
    pub source: &'a Subject,
    /// Who loads.
    pub destination: &'a Subject,
    earlier: OnceCell<Vec<u8>>,
    story: Story,
    tally: Arc<Tally>,
    /// When the first of the instances that are compared can have started.
    began: Cell<Instant>,
    /// What control runs follow a difference.
    controls: Controls,
    /// How long to wait for what comes late; `None` where nothing is waited for.
    patience: Cell<Option<Duration>>,
    /// Whether what is broken stays so however long is waited.
    is_certain: Cell<bool>,
    /// The runs without a migration.
    unmoved: RefCell<Vec<Kept<'a>>>,
}

/// What became of a load.
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
    /// What it saved.
    pub state: Vec<u8>,
    /// What the carrier brings beside it.
    pub memory: Vec<u8>,
}

impl<'a> Bench<'a> {
    /// A bench for a case, which tells nothing.
    pub fn new(case: &'a Case, source: &'a Subject, destination: &'a Subject) -> Bench<'a> {
        let bench = Bench {
            case,
            source,
            destination,
            earlier: OnceCell::new(),
            story: Story::default(),
            tally: Arc::default(),
            began: Cell::new(deadline::now()),
            controls: Controls::default(),
            patience: Cell::new(None),
            is_certain: Cell::new(false),
            unmoved: RefCell::default(),
        };
        bench.begins_to_watch();
        bench
    }

    /// The same, which tells what happens.
    pub fn telling(mut self) -> Bench<'a> {
        self.story = Story::telling();
        self.begins_to_watch();
        self
    }

    /// What was told so far.
    pub fn told(&self) -> Vec<String> {
        self.story.so_far().lines
    }

    /// What guests did and saw so far, and what happened.
    pub fn counted(&self) -> Counted {
        self.tally.counted()
    }

    /// An event of this class happened, which no instance can tell.
    pub fn saw(&self, class: Class) {
        self.tally.saw(class);
    }

    /// Adds a line to the story.
    pub fn tell(&self, line: impl FnOnce() -> String) {
        self.story.tell(line);
    }

    /// The source's description of the model of the case.
    pub fn model(&self) -> Result<&Model, Stop> {
        let model = self.source.manifest.models.get(&self.case.model);
        model.ok_or(Stop::NotApplicable("the source does not have the model".into()))
    }

    /// A host side for one virtual machine.
    pub fn outside(&self) -> Result<Outside, Stop> {
        Ok(self.named(Who::Program, self.source).outside()?)
    }

    /// Starts an instance.
    ///
    /// # Errors
    /// The program's own.
    pub fn start(
        &self,
        who: Who,
        subject: &Subject,
        setup: &Setup,
        outside: &Outside,
    ) -> Result<Box<dyn Device>, Error> {
        self.named(who, subject).start(&self.case.model, setup, outside)
    }

    /// The subject's program, whose instances tell what they do under a name.
    pub fn named<'b>(&self, who: Who, subject: &'b Subject) -> Named<'b> {
        let of = if std::ptr::eq(subject, self.source) { Of::Source } else { Of::Destination };
        Named { who, subject, of, story: self.story.clone(), tally: Arc::clone(&self.tally) }
    }

    /// The same of a program that stands for the subject's.
    pub fn standing<'b>(&self, who: Who, subject: &'b Subject, program: &'b dyn Program) -> Standing<'b> {
        Standing { named: self.named(who, subject), program }
    }

    /// A fresh source of the case's configuration.
    ///
    /// # Errors
    /// [`Stop::NotApplicable`] if it can't be started: that is for rules about starting to judge.
    pub fn started(&self) -> Result<(Box<dyn Device>, Outside), Stop> {
        let outside = self.outside()?;
        let device = self.instance(Who::Source, self.source, &self.case.setup, &outside)?;
        Ok((device, outside))
    }

    /// An instance, where starting it is not what is judged.
    ///
    /// # Errors
    /// [`Stop::NotApplicable`] if it can't be started.
    pub fn instance(
        &self,
        who: Who,
        subject: &Subject,
        setup: &Setup,
        outside: &Outside,
    ) -> Result<Box<dyn Device>, Stop> {
        self.start(who, subject, setup, outside).map_err(cannot_start)
    }

    /// Where the device moves the first and the second time, as indices into the script.
    pub fn at(&self) -> [usize; 2] {
        self.case.at.map(|at| at.min(self.case.script.len()))
    }

    /// Plays a part of the script.
    ///
    /// # Errors
    /// [`Stop`] if the device fails at a step.
    pub fn play(&self, device: &mut dyn Device, steps: Range<usize>) -> Result<Vec<Seen>, Stop> {
        let steps = self.case.script.get(steps).unwrap_or_default();
        let mut seen = steps.iter().map(|step| device.guest(step)).collect::<Result<Vec<_>, Error>>()?;
        if let Some(last) = seen.last_mut() {
            last.0.extend(self.arrivals(device)?.0);
        }
        Ok(seen)
    }

    /// What a device that never migrates shows for the whole script.
    pub fn twin(&self) -> Result<Rc<Vec<Seen>>, Stop> {
        Ok(self.unmoved(self.plain())?.seen)
    }

    /// A source that played the script up to a point, then was stopped and saved.
    pub fn stopped(&self, at: usize) -> Result<Stopped, Stop> {
        let (mut device, outside) = self.started()?;
        self.play(&mut *device, 0..at)?;
        let state = self.usual().save(&mut *device, None)?;
        self.tell(|| format!("{} bytes of state were saved", state.len()));
        let memory = device.guest_memory()?;
        Ok(Stopped { device, outside, state, memory })
    }

    /// The state of a source that did nothing, saved once for all that needs it.
    pub fn earlier(&self) -> Result<&[u8], Stop> {
        if let Some(earlier) = self.earlier.get() {
            return Ok(earlier);
        }
        let saved = self.stopped(0)?.state;
        Ok(self.earlier.get_or_init(|| saved))
    }

    /// A destination that is as good as new: reset, or another one where it can't be.
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

    /// What the check says of the case.
    pub fn verdict(&self) -> Result<Result<Plan, Verdict>, Stop> {
        let Case { model, setup, .. } = self.case;
        let plan = Plan::new(model, self.model()?, setup, &self.destination.manifest);
        if plan.is_err() {
            saw(Dimension::Outcome, || outcome::REFUSED_BY_CHECK);
        }
        Ok(plan)
    }

    /// A destination for what was stopped, fresh and RUNNING.
    pub fn prepared(&self, stopped: &Stopped) -> Result<Box<dyn Device>, Stop> {
        let plan = self.plan()?;
        self.instance(Who::Destination, self.destination, plan.destination(), &stopped.outside)
    }

    /// Moves a running source to a fresh instance of `to`, all phases of it.
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

    /// Bytes travel in the pieces of the case.
    pub fn carrier(&self) -> Carrier {
        Carrier { pieces: self.case.pieces.clone(), ..Carrier::default() }
    }

    /// Bytes travel in the usual pieces.
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

    /// The same with bytes that are not a state as it was saved; `what` they are is told: `a damaged state`.
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

    /// Whether the answers to a part of the script could be those of a legitimate history.
    ///
    /// # Errors
    /// [`Stop::Broken`] with the first that could not.
    pub fn plausible(&self, device: &dyn Device, from: usize, seen: &[Seen]) -> Judgement {
        let guest = guests::of(&device.capabilities().interface);
        for (step, seen) in self.case.script[from..].iter().zip(seen) {
            if let Err(why) = guest.plausible(step, seen) {
                return Err(broken(format!("impossible answer: {}", guest.tell(step)), why, seen));
            }
        }
        Ok(())
    }

    /// Whether something may still be on its way after so many steps of the script.
    pub fn leaves_in_flight(&self, device: &dyn Device, steps: usize) -> bool {
        let script = &self.case.script[..steps.min(self.case.script.len())];
        guests::of(&device.capabilities().interface).leaves_in_flight(script)
    }

    /// What comes of a judgement: the instance at fault is looked up, and named.
    pub fn conclude(&self, judgement: Judgement) -> Outcome {
        match judgement {
            Ok(()) => Outcome::Held,
            Err(Stop::Broken(mut finding)) => {
                let told = self.story.so_far();
                finding.cause.site = finding.cause.site.or(told.asked);
                finding.cause.steps = finding.cause.steps.max(told.steps);
                Outcome::Broken(*finding)
            }
            Err(Stop::Failed(failing)) => Outcome::Broken(self.finding(*failing)),
            Err(Stop::NotApplicable(why)) => Outcome::NotApplicable(why),
            Err(Stop::Unsettled(why)) => Outcome::Unsettled(why),
        }
    }

    /// What a part of a rule finds. The rule as a whole is judged again where that may be only late.
    ///
    /// # Errors
    /// What else stops the rule.
    pub fn found(&self, judgement: Judgement) -> Result<Option<Finding>, Stop> {
        match self.conclude(judgement) {
            Outcome::Held => Ok(None),
            Outcome::Broken(finding) if self.may_wait() => Err(Stop::Broken(Box::new(finding))),
            Outcome::Broken(finding) => Ok(Some(finding)),
            Outcome::NotApplicable(why) => Err(Stop::NotApplicable(why)),
            Outcome::Unsettled(why) => Err(Stop::Unsettled(why)),
        }
    }

    fn finding(&self, Failing { why, clause, expected }: Failing) -> Finding {
        let trouble = Trouble::of(&why);
        let failed = self.story.failure(&trouble);
        let operation = failed.as_ref().map(|failed| &failed.operation);
        let at = failed.as_ref().map_or_else(String::new, |failed| format!("at {}, ", failed.site.who));
        let clause = clause.map_or_else(String::new, |clause| format!(" ({clause})"));
        let (what, how) = trouble.cause(operation);
        Finding {
            summary: format!("{at}{}{clause}", trouble.headline(operation)),
            expected: expected.unwrap_or_else(|| trouble.expected(operation)),
            observed: trouble.observed(),
            cause: Cause {
                what: What::Failure { operation: what, how },
                site: failed.as_ref().map(|failed| failed.site),
                steps: failed.as_ref().map_or(0, |failed| failed.steps),
            },
            words: trouble.words(),
        }
    }

    fn words(&self, step: &Step) -> String {
        let interface = self.source.interface(&self.case.model, &self.case.setup);
        interface.map_or_else(|_| step.to_string(), |interface| guests::of(&interface).tell(step))
    }
}

/// What kinds of things must be seen and were, without their values.
fn kind_of(expected: &Seen, observed: &Seen) -> String {
    let kinds = |seen: &Seen| {
        let kinds: Vec<String> = seen.0.iter().map(kind).collect();
        if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(", ") }
    };
    format!("{} instead of {}", kinds(observed), kinds(expected))
}

fn kind(sight: &Sight) -> String {
    match sight {
        Sight::Value(_) => "a value".to_owned(),
        Sight::Interrupt(vector) => format!("interrupt {vector}"),
        Sight::Bytes(_) => "bytes".to_owned(),
        Sight::Refused { errno, .. } => errno.to_string(),
        Sight::Memory { .. } => "memory".to_owned(),
        Sight::Volatile => "what is volatile".to_owned(),
        Sight::Words(words) => without_marks(words),
    }
}

impl Subject {
    /// A subject that describes itself so.
    pub fn new(name: String, program: Box<dyn Program>, manifest: Manifest) -> Subject {
        Subject {
            name,
            program,
            manifest,
            sha256: None,
            file: None,
            never: vec![],
            waive: BTreeMap::new(),
            cases: CASES,
            isolation: None,
            learned: Arc::default(),
            time: Time::Own,
        }
    }

    /// The same, known to have no time but what steps give it.
    #[must_use]
    pub fn timeless(self) -> Subject {
        Subject { time: Time::Given, ..self }
    }

    /// The same, in this process: where it has time of its own, two runs of it show that.
    #[must_use]
    pub fn in_process(self) -> Subject {
        Subject { time: Time::OnceSeen, ..self }
    }

    /// The same, which shares what is known to be volatile with another that is the same.
    #[must_use]
    pub fn sharing(self, other: &Subject) -> Subject {
        Subject { learned: Arc::clone(&other.learned), ..self }
    }

    /// What a guest can do with an instance of this setup.
    ///
    /// # Errors
    /// As [`migcert_core::program::Program::start`].
    pub fn interface(&self, model: &ModelId, setup: &Setup) -> Result<Interface, Error> {
        deadline::check()?;
        let outside = self.program.outside()?;
        let device = self.program.start(model, setup, &outside)?;
        Ok(device.capabilities().interface)
    }
}

/// What comes of an instance that can't be started, where that is not what is judged.
pub fn cannot_start(why: Error) -> Stop {
    match why {
        Error::Unavailable(why) => Stop::Unsettled(why.to_string()),
        why => Stop::NotApplicable(format!("the configuration can't be started: {why}").into()),
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

/// A migration after which nobody runs. What failed first is the finding, unless the source was to
/// blame for nothing until then.
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

/// Stops where a device doesn't have what a rule is about.
pub fn needs(has: bool, what: impl Into<Cow<'static, str>>) -> Judgement {
    if has { Ok(()) } else { Err(Stop::NotApplicable(what.into())) }
}

/// Stops where the state machine is not the device's own.
pub fn needs_own_machine(device: &dyn Device) -> Judgement {
    needs(
        device.capabilities().machine == Machine::Device,
        "the state machine is our host's, not the device's",
    )
}

/// Stops where a device can't be reset.
pub fn needs_reset(device: &dyn Device) -> Judgement {
    needs(device.capabilities().can_reset, "the device does not offer a reset")
}
