//! The bench on which a rule judges a case. It starts devices, plays the guest's steps, moves devices,
//! compares what was seen, and records a trace on request.

mod control;
mod identity;
mod judgement;
mod moving;
mod noise;
mod story;
mod tally;
mod told;
mod trouble;

pub use control::{Earlier, Recipe, Unmoved};
pub use judgement::{cannot_start, needs, needs_own_machine, needs_reset};
pub use moving::{Load, Stopped, failed};
pub use noise::Noise;
pub use tally::{Counted, Guests, Hidden};
pub use told::{Named, Standing, keep_device_panics_quiet};

use crate::case::Case;
use crate::deadline;
use crate::finding::{Class, Judgement, Stop, Who, broken};
use crate::guests;
use crate::subject::Subject;
use control::{Controls, Kept};
use identity::Watching;
use migcert_core::device::{Device, Outside, Seen};
use migcert_core::error::Error;
use migcert_core::program::{Model, Program};
use migcert_core::version::Setup;
use std::cell::{Cell, OnceCell, RefCell};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use story::Story;
use tally::{Of, Tally};

/// Number of steps announced to a device at once: their requests fit into the buffer of a socket.
const AT_ONCE: usize = 64;

/// One case, and the subjects that it is tried on.
pub struct Bench<'a> {
    /// The case.
    pub case: &'a Case,
    /// The subject that saves.
    pub source: &'a Subject,
    /// The subject that loads.
    pub destination: &'a Subject,
    earlier: OnceCell<Vec<u8>>,
    story: Story,
    /// Whether what belongs to an instance is watched.
    watching: OnceCell<Watching>,
    tally: Arc<Tally>,
    /// The earliest time at which one of the compared instances can have started.
    began: Cell<Instant>,
    /// Which control runs follow a difference.
    controls: Controls,
    /// Time to wait for what comes late; `None` if nothing is waited for.
    patience: Cell<Option<Duration>>,
    /// Whether what is broken stays so, however long the wait.
    is_certain: Cell<bool>,
    /// Why the guest interface is unknown, so that the script is empty.
    blind: Option<String>,
    /// Whether instances may have served before.
    reuses: bool,
    /// The runs without a migration.
    unmoved: RefCell<Vec<Kept<'a>>>,
}

impl<'a> Bench<'a> {
    /// A bench for a case, without a trace.
    pub fn new(case: &'a Case, source: &'a Subject, destination: &'a Subject) -> Bench<'a> {
        let bench = Bench {
            case,
            source,
            destination,
            earlier: OnceCell::new(),
            story: Story::default(),
            watching: OnceCell::new(),
            tally: Arc::default(),
            began: Cell::new(deadline::now()),
            controls: Controls::default(),
            patience: Cell::new(None),
            is_certain: Cell::new(false),
            blind: None,
            reuses: false,
            unmoved: RefCell::default(),
        };
        bench.begins_to_watch();
        bench
    }

    /// The same, with a trace.
    pub fn telling(mut self) -> Bench<'a> {
        self.story = Story::telling();
        self.watching = OnceCell::new();
        self.begins_to_watch();
        self
    }

    /// The same, on reused instances if the program can do that. Those that show what a fresh device does
    /// ([`Who::Fresh`]) are new all the same.
    pub fn reusing(mut self) -> Bench<'a> {
        self.reuses = true;
        self
    }

    /// The same, for a case whose guest interface is unknown, for this reason.
    pub(crate) fn blind(mut self, why: Option<String>) -> Bench<'a> {
        self.blind = why;
        self
    }

    /// The trace so far, in lines.
    pub fn told(&self) -> Vec<String> {
        self.story.so_far().lines
    }

    /// What guests did and saw so far, and what happened.
    pub fn counted(&self) -> Counted {
        self.tally.counted()
    }

    /// Counts an event of this class that no instance can notice.
    pub fn saw(&self, class: Class) {
        self.tally.saw(class);
    }

    /// Adds a line to the trace.
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

    /// The subject's program, with instances that are traced under a name.
    pub fn named<'b>(&self, who: Who, subject: &'b Subject) -> Named<'b> {
        let of = if std::ptr::eq(subject, self.source) { Of::Source } else { Of::Destination };
        let reusing = self.reuses.then(|| subject.program.reusing()).flatten();
        Named {
            who,
            subject,
            program: reusing.filter(|_| who != Who::Fresh).unwrap_or(&*subject.program),
            of,
            story: self.story.clone(),
            tally: Arc::clone(&self.tally),
            watching: self.watching.get().cloned(),
        }
    }

    /// The same for a program that stands in for the subject's.
    pub fn standing<'b>(&self, who: Who, subject: &'b Subject, program: &'b dyn Program) -> Standing<'b> {
        Standing { named: self.named(who, subject), program }
    }

    /// A fresh source of the case's configuration.
    ///
    /// # Errors
    /// [`Stop::NotApplicable`] if it can't be started: rules about starting judge that.
    pub fn started(&self) -> Result<(Box<dyn Device>, Outside), Stop> {
        let outside = self.outside()?;
        let device = self.instance(Who::Source, self.source, &self.case.setup, &outside)?;
        Ok((device, outside))
    }

    /// Starts an instance for a rule that is not about starting.
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
        let mut seen = Vec::with_capacity(steps.len());
        for part in steps.chunks(AT_ONCE) {
            device.foresee(part);
            for step in part {
                seen.push(device.guest(step)?);
            }
        }
        if let Some(last) = seen.last_mut() {
            last.0.extend(self.arrivals(device)?.0);
        }
        Ok(seen)
    }

    /// Announces that the footprint of a device will be read: that of a reused one is not measured otherwise.
    ///
    /// # Errors
    /// The device's own.
    pub fn will_measure(&self, device: &mut dyn Device) -> Judgement {
        if self.reuses {
            device.footprint()?;
        }
        Ok(())
    }

    /// What a device that never migrates shows for the whole script.
    pub fn twin(&self) -> Result<Rc<Vec<Seen>>, Stop> {
        Ok(self.unmoved(self.plain())?.seen)
    }

    /// The state of a source that did nothing, saved once for each case.
    pub fn earlier(&self) -> Result<&[u8], Stop> {
        if let Some(earlier) = self.earlier.get() {
            return Ok(earlier);
        }
        let saved = self.stopped(0)?.state;
        Ok(self.earlier.get_or_init(|| saved))
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

    /// Whether something may still be in flight after the first `steps` steps of the script.
    pub fn leaves_in_flight(&self, device: &dyn Device, steps: usize) -> bool {
        let script = &self.case.script[..steps.min(self.case.script.len())];
        guests::of(&device.capabilities().interface).leaves_in_flight(script)
    }
}
