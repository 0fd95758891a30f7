//! A certification: every selected rule on every pair, the same for the same seed.

use crate::bench::Bench;
use crate::case::{Case, Draws};
use crate::certificate::{
    Caveat, Caveats, Cost, Piece, Reused, RuleResult, Shard, blame, not_taken, with_idle,
};
use crate::finding::Outcome;
use crate::generate::script::{self, Between};
use crate::known::Known;
use crate::parallel::Threads;
use crate::rule::Rule;
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
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

mod budget;
mod cost;
mod reuse;
mod runner;
mod settle;
mod task;
#[cfg(test)]
mod tests;
mod turns;

pub use budget::{Budget, LONGEST};
pub use runner::Runner;
pub use task::{Task, tasks, work};

/// Number of bytes that one case is drawn from.
const DNA: usize = 1024;
/// Maximum number of cases in one piece of work. Known buckets are shared within one piece only.
pub const PIECE: u32 = 20;

/// The work of a certification.
pub struct Job<'a> {
    /// The implementations; every ordered pair of them is tried, and each with itself.
    pub subjects: &'a [Subject],
    /// The rules.
    pub rules: Vec<&'static Rule>,
    /// The seed of case generation.
    pub seed: u64,
    /// Cases drawn for each rule on each pair.
    pub cases: u32,
    /// Time for trying cases; fewer are drawn if they take longer. `None`: no limit.
    pub fit: Option<Duration>,
    /// Maximum number of smaller cases to try for each finding.
    pub shrinks: u32,
    /// How many threads there are.
    pub threads: Threads,
    /// The time for the whole run.
    pub budget: Budget,
    /// Findings that don't count.
    pub known: &'a Known,
    /// Whether instances are reused where a reset gives a fresh device.
    pub reuse: bool,
    /// Opens an implementation again, to confirm a finding on fresh instances.
    pub reopen: &'a (dyn Fn(&str) -> Result<Subject, String> + Sync),
}

impl Job<'_> {
    /// Each rule on each pair that it tests, rule by rule.
    pub fn work(&self) -> Vec<(&'static Rule, (usize, usize))> {
        work(&self.rules, self.subjects.len())
    }

    /// The work, each rule on each pair in pieces of at most `most` cases.
    pub fn tasks(&self, most: u32) -> Vec<Task> {
        tasks(&self.rules, self.subjects.len(), self.cases, most).collect()
    }

    /// The tasks of a part of it.
    pub fn share(&self, shard: Shard) -> Vec<Task> {
        shard.share(self.tasks(PIECE).into_iter()).collect()
    }
}

/// The result of a job.
pub struct Run {
    /// The result of each rule on each pair, as judged; a certificate weighs them.
    pub pieces: Vec<Piece>,
    /// What a case costs, where it was measured.
    pub cost: Option<Cost>,
    /// How often instances were reused, for each subject.
    pub reused: Vec<Option<Reused>>,
}

/// Runs a job and settles the blame, without checking that enough was tried.
pub fn certify(job: &Job<'_>, done: &(dyn Fn(&RuleResult) + Sync)) -> Vec<RuleResult> {
    let results = blame(run(job, done).pieces, &caveats(job));
    with_idle(&job.rules, results)
}

/// Runs a job. `done` is called after each rule on each pair.
pub fn run(job: &Job<'_>, done: &(dyn Fn(&RuleResult) + Sync)) -> Run {
    let (runner, results, cost) = Runner::finished(job, &job.tasks(u32::MAX), done);
    let mut pieces: Vec<_> = results.into_iter().map(|judged| Piece { judged, alone: None }).collect();
    for at in not_taken(&pieces, &caveats(job)) {
        let RuleResult { rule, pair, planned, .. } = pieces[at].judged;
        pieces[at].alone = Some(runner.alone(&Task::whole(rule, pair, planned)));
    }
    Run { pieces, cost, reused: runner.reused() }
}

/// Runs a part of a job. `done` is called after each of its tasks.
pub fn run_share(job: &Job<'_>, shard: Shard, done: &(dyn Fn(&RuleResult) + Sync)) -> Run {
    let tasks = job.share(shard);
    let (runner, results, _) = Runner::finished(job, &tasks, done);
    let piece = |(task, judged): (&Task, RuleResult)| {
        // A rule that it builds on may be broken in another part.
        let alone = judged.blamed.then(|| runner.alone(task));
        Piece { judged, alone }
    };
    let pieces = tasks.iter().zip(results).map(piece).collect();
    Run { pieces, cost: None, reused: runner.reused() }
}

fn caveats(job: &Job<'_>) -> Caveats {
    Caveats::of(job.subjects.iter().map(Caveat::of))
}

/// What guests can do with the instances of a subject; `None` where it refuses the setup. Started once
/// for each setup, if that is answered.
#[derive(Default)]
struct Interfaces {
    known: Mutex<BTreeMap<(usize, ModelId, Setup), Option<Interface>>>,
    /// Whether an instance that served before may be asked.
    may_reuse: AtomicBool,
}

impl Interfaces {
    fn of(
        &self,
        job: &Job<'_>,
        subject: usize,
        model: &ModelId,
        setup: &Setup,
    ) -> Result<Option<Interface>, Error> {
        let key = (subject, model.clone(), setup.clone());
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let subject = &job.subjects[subject];
        let reusing = subject.program.reusing().filter(|_| self.may_reuse.load(Relaxed));
        let found = match subject.interface_by(reusing.unwrap_or(&*subject.program), model, setup) {
            Ok(interface) => Some(interface),
            Err(Error::Refused(_)) => None,
            Err(why) => return Err(why),
        };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, found.clone());
        Ok(found)
    }
}

/// A case that was drawn.
struct Drawn {
    case: Case,
    /// Why the guest interface is unknown, so that the script is empty.
    blind: Option<String>,
}

/// Draws the case with this index of a rule on a pair, if there is one.
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
/// subject takes part, then the second of each. Ends when `each` breaks.
pub fn in_turns(job: &Job<'_>, each: &mut dyn FnMut(&'static Rule, &Case, Outcome) -> ControlFlow<()>) {
    let known = Interfaces::default();
    let mut work = job.work();
    work.retain(|(_, (from, to))| [*from, *to].contains(&0));
    for index in 0..job.cases {
        for (rule, pair) in &work {
            let Some(drawn) = drawn(job, rule, *pair, index, &known) else { continue };
            let (source, destination) = (&job.subjects[pair.0], &job.subjects[pair.1]);
            let outcome = rule.judge(&Bench::new(&drawn.case, source, destination).blind(drawn.blind));
            if each(rule, &drawn.case, outcome).is_break() {
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
