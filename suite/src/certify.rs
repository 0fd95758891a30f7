//! A certification: every selected rule on every pair, the same for the same seed.

use crate::bench::Bench;
use crate::case::Case;
use crate::case::Draws;
use crate::finding::{Outcome, What};
use crate::generate::script::{self, Between};
use crate::known::Known;
use crate::parallel::Threads;
use crate::rule::Rule;
use crate::rules::{self, BLAMED};
use crate::subject::Subject;
use arbitrary::Unstructured;
use migcert_core::device::Interface;
use migcert_core::error::Error;
use migcert_core::model::ModelId;
use migcert_core::version::Setup;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

mod budget;
mod causes;
mod cost;
mod enough;
mod runner;
mod settle;
mod task;
#[cfg(test)]
mod tests;
mod turns;
mod unit;

pub use budget::{Budget, LONGEST};
pub use causes::{Group, causes};
pub use cost::Cost;
pub use enough::{FLOOR, HANDFUL, SHARE, enough};
pub use runner::Runner;
pub use task::{Task, tasks, work};
pub use unit::{Short, Unit, Verdict, verdict, with_idle};

/// Bytes that one case is drawn from.
const DNA: usize = 1024;
/// So many cases of a rule on a pair are tried in one go, wherever that is: what is learnt of one
/// helps with these only.
pub const PIECE: u32 = 20;

/// What is to be done.
pub struct Job<'a> {
    /// The implementations; every ordered pair of them is tried, and each with itself.
    pub subjects: &'a [Subject],
    /// The rules.
    pub rules: Vec<&'static Rule>,
    /// What cases are drawn from.
    pub seed: u64,
    /// Cases drawn for each rule on each pair.
    pub cases: u32,
    /// How long they may take; where it is more, fewer are drawn. `None`: as many as there are.
    pub fit: Option<Duration>,
    /// Smaller cases tried for each finding.
    pub shrinks: u32,
    /// How many threads there are.
    pub threads: Threads,
    /// The time for all of it.
    pub budget: Budget,
    /// Findings that don't count.
    pub known: &'a Known,
    /// Opens an implementation anew, to confirm a finding on instances that nothing was tried on.
    pub reopen: &'a (dyn Fn(&str) -> Result<Subject, String> + Sync),
}

impl Job<'_> {
    /// Each rule on each pair that it looks at, rule by rule.
    pub fn work(&self) -> Vec<(&'static Rule, (usize, usize))> {
        work(&self.rules, self.subjects.len())
    }

    /// The work, each rule on each pair in pieces of so many cases.
    pub fn tasks(&self, most: u32) -> Vec<Task> {
        tasks(&self.rules, self.subjects.len(), self.cases, most).collect()
    }
}

/// The result of a job.
pub struct Run {
    /// The result of each rule on each pair, as it is: [`enough`] judges whether it is enough.
    pub units: Vec<Unit>,
    /// What a case costs, where it was measured.
    pub cost: Option<Cost>,
}

/// Runs all of it; the units of [`run`].
pub fn certify(job: &Job<'_>, done: &(dyn Fn(&Unit) + Sync)) -> Vec<Unit> {
    run(job, done).units
}

/// Runs all of it. `done` is called after each rule on each pair.
pub fn run(job: &Job<'_>, done: &(dyn Fn(&Unit) + Sync)) -> Run {
    let runner = Runner::of(job);
    let Run { mut units, cost } = runner.run(&job.tasks(u32::MAX), done);
    blame(&mut units, |unit| runner.alone(&Task::whole(unit.rule, unit.pair, unit.planned)));
    Run { units: with_idle(&job.rules, units), cost }
}

/// The unit; where something is not kept apart on this machine, nobody can say that the state is in the
/// bytes; where more of what guests see is volatile than may be, a difference in the rest is no finding
/// that counts: who knows what else varies? What fails does so whatever is seen.
fn doubted(subjects: &[Subject], unit: Unit) -> Unit {
    if unit.outcome == Outcome::Held && unit.rule.id == rules::BYTES {
        let isolation = |at: usize| subjects[at].isolation.as_ref()?.so_far()?.left_open();
        return match isolation(unit.pair.0).or_else(|| isolation(unit.pair.1)) {
            Some(why) => Unit { outcome: Outcome::Unsettled(why), ..unit },
            None => unit,
        };
    }
    let Outcome::Broken(finding) = &unit.outcome else { return unit };
    let What::Difference { .. } = finding.cause.what else { return unit };
    let too_much = |at: usize| subjects[at].learned.report().too_much();
    match too_much(unit.pair.0).or_else(|| too_much(unit.pair.1)) {
        Some(why) => Unit { outcome: Outcome::Unsettled(format!("{}; but {why}", finding.summary)), ..unit },
        None => unit,
    }
}

/// Blame that no rule took, because the one to take it was not selected or drew other cases, stays
/// where it was: `alone` says what becomes of such a unit, whatever else its cases break.
pub fn blame(units: &mut [Unit], mut alone: impl FnMut(&Unit) -> Unit) {
    let broken: Vec<&'static Rule> = broken_rules(units).collect();
    for unit in units {
        let is_taken =
            matches!(unit.outcome, Outcome::Broken(_)) || broken.iter().any(|base| unit.rule.builds_on(base));
        if unit.blamed && !is_taken {
            *unit = alone(unit);
        }
    }
}

fn broken_rules(units: &[Unit]) -> impl Iterator<Item = &'static Rule> {
    units.iter().filter(|unit| matches!(unit.outcome, Outcome::Broken(_))).map(|unit| unit.rule)
}

/// What guests can do with the instances of a subject; `None` where it refuses the setup. Started once
/// for each setup, if that is answered.
#[derive(Default)]
struct Interfaces(Mutex<BTreeMap<(usize, ModelId, Setup), Option<Interface>>>);

impl Interfaces {
    fn of(
        &self,
        job: &Job<'_>,
        subject: usize,
        model: &ModelId,
        setup: &Setup,
    ) -> Result<Option<Interface>, Error> {
        let key = (subject, model.clone(), setup.clone());
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let found = match job.subjects[subject].interface(model, setup) {
            Ok(interface) => Some(interface),
            Err(Error::Refused(_)) => None,
            Err(why) => return Err(why),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, found.clone());
        Ok(found)
    }
}

/// A case that was drawn.
struct Drawn {
    case: Case,
    /// Why nobody could tell what a guest can do: its script is empty for no reason of its own.
    blind: Option<String>,
}

impl Drawn {
    /// What the case shows: one without a guest can't show that a rule holds with one.
    fn shows(&self, outcome: Outcome) -> Outcome {
        let is_blamed = |why: &str| why == BLAMED;
        match (&self.blind, outcome) {
            (_, Outcome::NotApplicable(why)) if is_blamed(&why) => Outcome::NotApplicable(why),
            (Some(why), Outcome::Held | Outcome::NotApplicable(_)) => {
                Outcome::Unsettled(format!("no instance could be asked what its guest can do: {why}"))
            }
            (_, outcome) => outcome,
        }
    }
}

/// Draws the case with this index of a rule on a pair; `None` where there is none.
fn drawn(
    job: &Job<'_>,
    rule: &'static Rule,
    pair: (usize, usize),
    index: u32,
    known: &Interfaces,
) -> Option<Drawn> {
    let (source, destination) = (&job.subjects[pair.0], &job.subjects[pair.1]);
    let blind = Cell::new(None);
    let interface = |model: &ModelId, setup: &Setup| {
        let found = known.of(job, pair.0, model, setup);
        found.unwrap_or_else(|why| {
            blind.set(Some(why.to_string()));
            None
        })
    };
    let between = Between {
        source: (&source.name, &source.manifest),
        destination: (&destination.name, &destination.manifest),
        interface: &interface,
        number: Some(index),
    };
    let dna = dna(job.seed, rule, &source.name, &destination.name, index);
    let case = script::case(&mut Unstructured::new(&dna), rule, &between).ok().flatten()?;
    Some(Drawn { case, blind: blind.take() })
}

/// Runs the cases of a job in turns: the first of every rule on every pair in which the first
/// subject takes part, then the second of each. Ends when `each` says so.
pub fn in_turns(job: &Job<'_>, each: &mut dyn FnMut(&'static Rule, &Case, Outcome) -> ControlFlow<()>) {
    let known = Interfaces::default();
    let mut work = job.work();
    work.retain(|(_, (from, to))| [*from, *to].contains(&0));
    for index in 0..job.cases {
        for (rule, pair) in &work {
            let Some(drawn) = drawn(job, rule, *pair, index, &known) else { continue };
            let (source, destination) = (&job.subjects[pair.0], &job.subjects[pair.1]);
            let outcome = rule.judge(&Bench::new(&drawn.case, source, destination));
            if each(rule, &drawn.case, drawn.shows(outcome)).is_break() {
                return;
            }
        }
        work.retain(|(rule, _)| rule.draws != Draws::Nothing);
    }
}

/// The bytes that a case is drawn from: the first case of a rule is the smallest there is.
fn dna(seed: u64, rule: &Rule, source: &str, destination: &str, index: u32) -> Vec<u8> {
    let mut dna = vec![0; DNA];
    if index != 0 {
        let text = format!("{seed} {} {source} {destination} {index}", rule.id);
        ChaCha8Rng::from_seed(Sha256::digest(text).into()).fill_bytes(&mut dna);
    }
    dna
}
