//! Control runs: a difference that also shows between two runs without a migration is not a finding.
//!
//! Where a comparison finds a difference, the script is played again on fresh instances that never
//! migrate: the same steps, further apart in time and at another pace. What differs between these runs
//! and the reference is learned as volatile ([`Learned`]) and no longer compared. A device without clock,
//! chance and threads shows the same each time, and costs these runs only before a finding.

mod runs;

pub(super) use runs::Doubt;

use super::Bench;
use super::judgement::kind_of;
use crate::deadline::{self, sleep};
use crate::finding::{Cause, Finding, Judgement, Stop, What, Who, broken};
use crate::learned::{Difference, Masks};
use crate::subject::Subject;
use migcert_core::device::{Device, Outside, Seen, Sight, State, Step};
use migcert_core::error::Error;
use migcert_core::version::Setup;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

/// Time to wait at the end of a run for what may be in flight.
const ARRIVAL: Duration = Duration::from_millis(120);
/// What a stopped device must show.
const NOTHING: &str = "nothing is seen while time passes";
/// Maximum length of a script with a wait after each step.
const FEW: usize = 5;

/// Which differences are compared with control runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Controls {
    /// All differences.
    All,
    /// All differences; without pauses those of a kind that control runs did not explain before.
    #[default]
    Known,
    /// No differences.
    None,
}

/// How to make an instance that never migrates, so that its run can be repeated.
#[derive(Clone, PartialEq)]
pub struct Recipe<'a> {
    /// The part that it plays.
    pub who: Who,
    /// Whose instance.
    pub subject: &'a Subject,
    /// Its configuration.
    pub setup: Setup,
    /// What happened on its host side before it was started.
    pub earlier: Option<Earlier<'a>>,
}

/// An earlier instance on the same host side, which is stopped and stays.
#[derive(Clone, PartialEq)]
pub struct Earlier<'a> {
    /// Whose instance.
    pub subject: &'a Subject,
    /// Its configuration.
    pub setup: Setup,
    /// How many steps of the script it did.
    pub steps: usize,
}

/// A run without a migration.
pub struct Unmoved<'a> {
    /// What it showed, step by step.
    pub seen: Rc<Vec<Seen>>,
    /// The device, at the end of the script.
    pub device: Box<dyn Device>,
    /// How it was made.
    pub recipe: Recipe<'a>,
    _earlier: Option<Box<dyn Device>>,
    _outside: Outside,
}

/// What is kept of a run without a migration.
pub(super) struct Kept<'a> {
    recipe: Recipe<'a>,
    seen: Rc<Vec<Seen>>,
}

impl PartialEq for Subject {
    /// Identity: the same subject, not an equal one.
    fn eq(&self, other: &Subject) -> bool {
        std::ptr::eq(self, other)
    }
}

impl<'a> Bench<'a> {
    /// The same, which makes no control runs: what differs and is not known to be volatile is broken
    /// at once. For cases that are tried on the way to a finding.
    pub fn hasty(mut self) -> Bench<'a> {
        self.controls = Controls::None;
        self
    }

    /// The same, with all control runs at full length: for the finding itself.
    pub fn thorough(mut self) -> Bench<'a> {
        self.controls = Controls::All;
        self
    }

    /// An instance that never migrates plays the whole script.
    ///
    /// # Errors
    /// As [`Bench::instance`] and [`Bench::play`].
    pub fn unmoved(&self, recipe: Recipe<'a>) -> Result<Unmoved<'a>, Stop> {
        let outside = self.outside()?;
        let earlier =
            recipe.earlier.as_ref().map(|earlier| self.earlier_device(earlier, &outside)).transpose()?;
        let mut device = self.instance(recipe.who, recipe.subject, &recipe.setup, &outside)?;
        let mut seen = Vec::new();
        for part in self.parts() {
            seen.extend(self.play(&mut *device, part)?);
        }
        let seen = Rc::new(seen);
        let kept = Kept { recipe: recipe.clone(), seen: Rc::clone(&seen) };
        self.unmoved.borrow_mut().push(kept);
        Ok(Unmoved { seen, device, recipe, _earlier: earlier, _outside: outside })
    }

    /// An instance that did its part of the script and was stopped; what it had to write to the host side is
    /// written.
    ///
    /// # Errors
    /// As [`Bench::instance`] and [`Bench::play`].
    pub fn earlier_device(&self, earlier: &Earlier<'_>, outside: &Outside) -> Result<Box<dyn Device>, Stop> {
        let mut device = self.instance(Who::Earlier, earlier.subject, &earlier.setup, outside)?;
        self.play(&mut *device, 0..earlier.steps)?;
        device.set_state(State::Stop)?;
        Ok(device)
    }

    /// A source of the case's configuration, on a host side of its own.
    pub fn plain(&self) -> Recipe<'a> {
        Recipe { who: Who::Twin, subject: self.source, setup: self.case.setup.clone(), earlier: None }
    }

    /// The script in the parts after which a rule waits, where it waits.
    fn parts(&self) -> Vec<Range<usize>> {
        let len = self.case.script.len();
        let mut ends: Vec<usize> = match self.patience.get() {
            None => vec![],
            Some(_) if len <= FEW => (1..len).collect(),
            Some(_) => self.at().to_vec(),
        };
        ends.push(len);
        let begins = std::iter::once(0).chain(ends.clone());
        begins.zip(ends).map(|(begin, end)| begin..end).collect()
    }

    /// Compares what two devices showed from a step on: a source that never migrated, and another.
    ///
    /// # Errors
    /// [`Stop::Broken`] with the first difference that control runs don't explain.
    pub fn same(&self, what: &str, from: usize, expected: &[Seen], observed: &[Seen]) -> Judgement {
        self.same_as(&self.plain(), what, from, expected, observed)
    }

    /// The same, for a reference that was made by another recipe.
    ///
    /// # Errors
    /// As [`Bench::same`].
    pub fn same_as(
        &self,
        recipe: &Recipe<'a>,
        what: &str,
        from: usize,
        expected: &[Seen],
        observed: &[Seen],
    ) -> Judgement {
        let script = self.case.script.get(from..).unwrap_or_default();
        let difference = || self.masks().difference(script, expected, observed);
        let count = expected.len().min(observed.len());
        self.masks().count(script, &expected[..count]);
        let Some(mut left) = difference() else { return self.same_instance(recipe, what, observed) };
        // Its place and kind.
        let told = |left: &Difference| match &left.over_all {
            Some(what_of) => (what_of.clone(), "over all steps".to_owned()),
            None => {
                let place = script.get(left.step).map_or_else(String::new, crate::finding::place);
                (place, kind_of(&expected[left.step], &observed[left.step]))
            }
        };
        // Wait for what comes late before making control runs.
        if left.over_all.is_none() || self.patience.get() == Some(ARRIVAL) {
            let (place, kind) = told(&left);
            self.learns(recipe, observed, Doubt::Difference(&format!("{place}: {kind}")))?;
            if difference().is_some() {
                self.looks_closer(recipe)?;
            }
            let Some(now) = difference() else { return self.same_instance(recipe, what, observed) };
            left = now;
        }
        let ((place, kind), other) = (told(&left), &observed[left.step]);
        let Difference { step, over_all, expected, observed } = left;
        let step = from + step;
        let summary = match over_all {
            Some(what_of) => format!("{what}: {what_of}, up to step {}", step + 1),
            None => {
                let words = self.case.script.get(step).map_or_else(String::new, |step| self.words(step));
                format!("{what}: step {}: {words}", step + 1)
            }
        };
        let told = self.story.so_far();
        Err(Stop::Broken(Box::new(Finding {
            summary,
            expected,
            observed,
            cause: Cause { what: What::Difference { place, kind }, site: told.used, steps: told.steps },
            words: other.words(),
        })))
    }

    /// A device that was just stopped does nothing, however much time passes.
    ///
    /// # Errors
    /// [`Stop::Broken`] if it does.
    pub fn still(&self, device: &mut dyn Device, what: impl Fn() -> String) -> Judgement {
        const UNITS: u32 = 8;
        let seen = device.guest(&Step::Pass(UNITS))?;
        let is_forgiven = || self.masks().are_late(&seen);
        if !is_forgiven() {
            let doubt = Doubt::Difference(NOTHING);
            self.learns(&self.plain(), std::slice::from_ref(&seen), doubt)?;
        }
        if !is_forgiven() {
            return Err(broken(what(), NOTHING, format!("seen: {seen}")));
        }
        let Some(time) = self.late() else { return Ok(()) };
        // Seen now, it was raised before the device stopped. What comes from here on was not.
        sleep(time);
        let seen = device.guest(&Step::Pass(UNITS))?;
        if seen == Seen::default() {
            return Ok(());
        }
        self.is_certain.set(true);
        Err(broken(what(), NOTHING, format!("seen: {seen}")))
    }

    pub(super) fn masks(&self) -> Masks<'_> {
        Masks::of(&self.source.learned, &self.destination.learned)
    }

    /// Begins to wait for what comes late, or to wait longer, if a subject is known to be late at all.
    /// Returns whether that makes a difference.
    pub(crate) fn begins_to_wait(&self) -> bool {
        let Some(next) = self.longer() else { return false };
        self.patience.set(Some(next));
        self.begins_anew();
        true
    }

    /// Starts judging the rule once more, on instances that start from now on.
    pub(super) fn begins_anew(&self) {
        self.began.set(deadline::now());
        self.unmoved.borrow_mut().clear();
        self.story.forget();
        self.forgets_instances();
    }

    /// Whether a broken rule may hold with a longer wait: it is judged again then.
    pub(crate) fn may_wait(&self) -> bool {
        self.longer().is_some()
    }

    /// Time to wait the next time, if that makes a difference.
    fn longer(&self) -> Option<Duration> {
        match (self.late(), self.patience.get()) {
            (None, _) | (_, Some(ARRIVAL)) => None,
            (_, patience)
                if self.is_certain.get() || self.controls == Controls::None && patience.is_some() =>
            {
                None
            }
            (Some(first), None) => Some(first),
            (Some(_), Some(_)) => Some(ARRIVAL),
        }
    }

    /// Initial time to wait for what comes late; `None` if nothing is known to be late.
    fn late(&self) -> Option<Duration> {
        let all = [&self.source.learned, &self.destination.learned];
        let late = all.into_iter().filter(|learned| learned.has_late());
        late.map(|learned| learned.patience().min(ARRIVAL)).max()
    }

    /// Notes that a broken rule held with a long wait: the next time, wait long at once.
    pub(crate) fn was_impatient(&self) {
        if self.patience.get() == Some(ARRIVAL) {
            self.source.learned.waits_longer();
            self.destination.learned.waits_longer();
        }
    }

    /// Waits for what comes late, if the bench waits at all, and returns it.
    ///
    /// # Errors
    /// The device's own.
    pub fn arrivals(&self, device: &mut dyn Device) -> Result<Seen, Error> {
        match self.patience.get() {
            Some(time) if device.capabilities().interface.has_registers() => {
                sleep(time);
                device.guest(&Step::Pass(0))
            }
            _ => Ok(Seen::default()),
        }
    }
}

/// Whether it is the answer to the step, which always comes with the step.
fn is_answer(sight: &Sight) -> bool {
    !matches!(sight, Sight::Bytes(_) | Sight::Interrupt(_) | Sight::Memory { .. })
}
