//! Control runs: on which instances they are made, at which pace, and how many.

use super::{ARRIVAL, Recipe, is_answer};
use crate::bench::story::Story;
use crate::bench::tally::Of;
use crate::bench::{Bench, Controls, Named};
use crate::deadline::{now, sleep};
use crate::finding::{Judgement, Stop, Who};
use crate::learned::{Sample, learn, may_be_of_instances, millis};
use crate::subject::{Subject, Time};
use migcert_core::device::{Device, Outside, Seen, State, Step};
use migcert_core::error::Error;
use migcert_core::program::Program;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Number of control runs for a difference.
const RUNS: u32 = 4;
/// Number of control runs of a device without time of its own: more would show the same.
const TIMELESS_RUNS: usize = 2;
/// Number of further control runs of a subject that is known not to be deterministic.
const CLOSER_RUNS: usize = 12;
/// Minimum pause before a control run.
const SHORT: Duration = Duration::from_millis(20);
/// Maximum pause before a control run, unless the run that found the difference took longer.
const LONG: Duration = Duration::from_secs(2);
/// Maximum sum of pauses in the middle of a run. Those of the last run are as long as the run that found the
/// difference, because a migration lies between two of its steps.
const BETWEEN: Duration = Duration::from_millis(200);
/// Number of times that instances replay their script if something that belongs to the instance was lost.
const WATCHES: u32 = 5;
/// Minimum number of them that must reach its end.
const WATCHED: usize = 2;
/// Number of places at which a run pauses.
const PLACES: usize = 8;

/// A control run.
struct Control {
    seen: Vec<Seen>,
    has_waited: bool,
    /// The time at which it reached the end of the script.
    played: Instant,
    /// What it showed each time that it replayed the script, as far as it got.
    again: Vec<Vec<Seen>>,
    instance: Option<Instance>,
}

/// The instance of a control run, still running.
struct Instance {
    /// The time at which it had started.
    began: Instant,
    device: Box<dyn Device>,
    _earlier: Option<Box<dyn Device>>,
    _outside: Outside,
}

impl Control {
    /// Replays the script.
    fn plays_again(&mut self, script: &[Step]) {
        let Some(Instance { device, .. }) = &mut self.instance else { return };
        self.again.push(script.iter().map_while(|step| device.guest(step).ok()).collect());
    }
}

/// What control runs are to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) enum Doubt<'d> {
    /// Whether a difference of this kind, at this place, also shows without a migration.
    Difference(&'d str),
    /// Whether what a migration lost stays the same in an instance that never migrates: they are
    /// watched for a while.
    Loss,
}

fn samples<'s>(known: &'s [Rc<Vec<Seen>>], controls: &'s [Control]) -> Vec<Sample<'s>> {
    let known = known.iter().map(|seen| Sample { seen, has_waited: false, again: &[] });
    let controls = controls.iter().map(|control| {
        let Control { seen, has_waited, again, .. } = control;
        Sample { seen, has_waited: *has_waited, again }
    });
    known.chain(controls).collect()
}

/// The pauses of a run.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// From the start to the first step.
    before: Duration,
    between: Duration,
    /// From the last step to the end; `None` for no wait.
    after: Option<Duration>,
}

/// The paces of control runs for a run that took this long.
fn paces(took: Duration, waits: bool) -> Vec<Pace> {
    let longest = LONG.max(took);
    let pause = took.clamp(SHORT, longest);
    let pace = |run: u32| {
        let last = if run == RUNS { took.min(LONG) } else { Duration::ZERO };
        let before = (pause * run).min((longest - last).max(took));
        // One of them does not pause: the reference may have been the slow one.
        let between = if run == 1 { Duration::ZERO } else { before.min(BETWEEN).max(last) };
        Pace { before, between, after: waits.then(|| ARRIVAL.max(last)) }
    };
    (1..=RUNS).map(pace).collect()
}

impl<'a> Bench<'a> {
    /// Learns from control runs.
    ///
    /// # Errors
    /// [`Stop::Unsettled`] if they can't be made.
    pub(in crate::bench) fn learns(
        &self,
        recipe: &Recipe<'a>,
        observed: &[Seen],
        doubt: Doubt<'_>,
    ) -> Judgement {
        if self.controls == Controls::None {
            return Ok(());
        }
        let took = now() - self.began.get();
        for recipe in self.recipes(recipe) {
            let known = self.known(&recipe);
            let comes = |seen: &[Seen]| seen.iter().flat_map(|seen| &seen.0).any(|sight| !is_answer(sight));
            let waits = comes(observed) || known.iter().any(|seen| comes(seen));
            let (subject, quick) = (recipe.subject, [Pace::default(); TIMELESS_RUNS]);
            let pauses = |subject: &Subject| subject.pauses() && !self.is_steady(subject, doubt);
            let is_slow = pauses(subject);
            if !is_slow {
                self.control(&recipe, &known, &quick, doubt)?;
            }
            if is_slow || pauses(subject) {
                self.control(&recipe, &known, &paces(took, waits), doubt)?;
            }
        }
        Ok(())
    }

    /// Whether control runs with pauses already failed to explain a difference of this kind. A finding is
    /// compared with such runs in any case.
    fn is_steady(&self, subject: &Subject, doubt: Doubt<'_>) -> bool {
        let Doubt::Difference(kind) = doubt else { return false };
        self.controls == Controls::Known && subject.learned.is_steady(kind)
    }

    /// Learns from many control runs, one right after the other, of a device that is known not to be
    /// deterministic: a bit that changes by chance is the same in a few of them, now and then.
    pub(super) fn looks_closer(&self, recipe: &Recipe<'a>) -> Judgement {
        if self.controls == Controls::None {
            return Ok(());
        }
        for recipe in self.recipes(recipe) {
            if recipe.subject.time != Time::Given && !recipe.subject.learned.is_empty() {
                let paces = [Pace::default(); CLOSER_RUNS];
                self.control(&recipe, &self.known(&recipe), &paces, Doubt::Difference(""))?;
            }
        }
        Ok(())
    }

    fn control(
        &self,
        recipe: &Recipe<'a>,
        known: &[Rc<Vec<Seen>>],
        paces: &[Pace],
        doubt: Doubt<'_>,
    ) -> Judgement {
        let began = now();
        let mut controls = Vec::with_capacity(paces.len());
        for paces in paces.chunks(RUNS as usize) {
            let mut played = self
                .controlled(recipe, paces)
                .map_err(|why| Stop::Unsettled(format!("a control run without a migration failed: {why}")))?;
            if !controls.is_empty() {
                played.iter_mut().for_each(|control| control.instance = None);
            }
            controls.append(&mut played);
        }
        let apart = millis((now() - began) / paces.len().max(1) as u32);
        let (script, learned) = (&self.case.script, &recipe.subject.learned);
        let before = learned.generation();
        match doubt {
            Doubt::Loss => self.watch(recipe.subject, &mut controls)?,
            // By now the first of them is older than any other was when it played its script.
            Doubt::Difference(_) if may_be_of_instances(learned, script, &samples(known, &controls)) => {
                controls.iter_mut().for_each(|control| control.plays_again(script));
            }
            Doubt::Difference(_) => {}
        }
        let is_news = learn(learned, script, &samples(known, &controls), apart);
        let has_paused = paces.iter().any(|pace| !pace.before.is_zero());
        if let Doubt::Difference(kind) = doubt
            && has_paused
            && !is_news
        {
            learned.was_steady(kind);
        }
        if doubt == Doubt::Loss && learned.generation() == before {
            learned.was_watched();
        }
        self.tell(|| {
            let what =
                if is_news { "differed from each other, which is learned" } else { "showed nothing new" };
            let of = if std::ptr::eq(recipe.subject, self.source) { "source" } else { "destination" };
            format!("{} control runs of the {of} without a migration {what}", paces.len())
        });
        Ok(())
    }

    /// Replays the script on instances several times; once for each state of knowledge, for as long as the
    /// longest pause, because what changes seldom does not belong to the instance either.
    fn watch(&self, subject: &Subject, controls: &mut [Control]) -> Judgement {
        let script = &self.case.script;
        let is_quick = !subject.pauses() || subject.learned.is_watched();
        let long = LONG.max(now() - self.began.get());
        // The first has waited since it played.
        let waited = controls.first().map_or(Duration::ZERO, |control| now() - control.played);
        for _ in 0..WATCHES {
            if !is_quick {
                sleep(long.saturating_sub(waited) / WATCHES);
            }
            controls.iter_mut().for_each(|control| control.plays_again(script));
        }
        let is_whole = |control: &&Control| control.again.iter().any(|seen| seen.len() == script.len());
        if WATCHED <= controls.iter().filter(is_whole).count() {
            return Ok(());
        }
        let why = "what belongs to the instance seems lost, and no instance that never migrates plays the script twice";
        Err(Stop::Unsettled(why.to_owned()))
    }

    /// The recipes of control runs: that of the reference, and that of the other subject.
    fn recipes(&self, recipe: &Recipe<'a>) -> Vec<Recipe<'a>> {
        let mut all = vec![recipe.clone()];
        if !Arc::ptr_eq(&self.source.learned, &self.destination.learned)
            && let Ok(plan) = self.plan()
        {
            let setup = plan.destination().clone();
            let other = Recipe { who: recipe.who, subject: self.destination, setup, earlier: None };
            if other != *recipe {
                all.push(Recipe { who: Who::Twin, ..other });
            }
        }
        all
    }

    /// The runs that were made like this so far.
    fn known(&self, recipe: &Recipe<'a>) -> Vec<Rc<Vec<Seen>>> {
        let kept = self.unmoved.borrow();
        kept.iter().filter(|kept| kept.recipe == *recipe).map(|kept| Rc::clone(&kept.seen)).collect()
    }

    /// Plays the whole script on instances, each at its pace, without a trace. They start and wait together,
    /// so that all of them take as long as the slowest.
    fn controlled(&self, recipe: &Recipe<'a>, paces: &[Pace]) -> Result<Vec<Control>, Error> {
        let instances = paces.iter().map(|_| self.instance_of(recipe)).collect::<Result<Vec<_>, _>>()?;
        let played = instances.into_iter().zip(paces).map(|(instance, pace)| self.played(instance, *pace));
        let mut controls = played.collect::<Result<Vec<_>, _>>()?;
        for (control, pace) in controls.iter_mut().zip(paces) {
            if let (Some(after), Some(Instance { device, .. })) = (pace.after, &mut control.instance)
                && device.capabilities().interface.has_registers()
            {
                sleep(after.saturating_sub(now() - control.played));
                control.seen.push(device.guest(&Step::Pass(0))?);
            }
        }
        Ok(controls)
    }

    fn played(&self, mut instance: Instance, pace: Pace) -> Result<Control, Error> {
        let script = &self.case.script;
        let apart = script.len().div_ceil(PLACES).max(1);
        let pauses = script.len() / apart;
        let mut seen = Vec::with_capacity(script.len() + 1);
        sleep(pace.before.saturating_sub(now() - instance.began));
        for (at, step) in script.iter().enumerate() {
            if at % apart == apart - 1 {
                sleep(pace.between / pauses.max(1) as u32);
            }
            seen.push(instance.device.guest(step)?);
        }
        let has_waited = pace.after.is_some();
        Ok(Control { seen, has_waited, played: now(), again: vec![], instance: Some(instance) })
    }

    fn instance_of(&self, recipe: &Recipe<'a>) -> Result<Instance, Error> {
        let start = |subject, setup, outside: &Outside| {
            let named = Named {
                who: Who::Control,
                subject,
                program: &*subject.program,
                of: Of::Source,
                story: Story::default(),
                tally: Arc::default(),
                watching: None,
            };
            named.start(&self.case.model, setup, outside)
        };
        let outside = recipe.subject.program.outside()?;
        let earlier = recipe.earlier.as_ref().map(|earlier| {
            let mut device = start(earlier.subject, &earlier.setup, &outside)?;
            let steps = self.case.script.iter().take(earlier.steps);
            steps.into_iter().try_for_each(|step| device.guest(step).map(drop))?;
            device.set_state(State::Stop)?;
            Ok::<_, Error>(device)
        });
        let earlier = earlier.transpose()?;
        let device = start(recipe.subject, &recipe.setup, &outside)?;
        Ok(Instance { began: now(), device, _earlier: earlier, _outside: outside })
    }
}
