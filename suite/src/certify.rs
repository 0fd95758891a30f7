//! A certification: every selected rule on every pair, the same for the same seed.

use crate::bench::{Bench, Subject};
use crate::bucket::Bucket;
use crate::case::Case;
use crate::generate::script::{self, Between};
use crate::known::Known;
use crate::minimize::{Bounds, Names, minimize};
use crate::parallel;
use crate::report::Tested;
use crate::rules::{BLAMED, Draws, Finding, Judge, Outcome, Rule};
use arbitrary::Unstructured;
use migcert_core::device::Interface;
use migcert_core::model::ModelId;
use migcert_core::version::Setup;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

mod task;
mod unit;

pub use task::{Task, tasks, work};
pub use unit::{Unit, Verdict, verdict, with_idle};

/// Bytes that one case is drawn from.
const DNA: usize = 1024;
/// A finding is confirmed by so many further runs on fresh instances.
const CONFIRM: usize = 5;

/// After so many unsettled cases in a row no further one is begun: each takes its whole time limit,
/// and a program that hangs must not hang us.
const PATIENCE: u32 = 12;

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
    /// Smaller cases tried for each finding.
    pub shrinks: u32,
    /// Threads.
    pub jobs: usize,
    /// No case is begun after this.
    pub until: Option<Instant>,
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

/// Runs all of it. `done` is called after each rule on each pair.
pub fn certify(job: &Job<'_>, done: &(dyn Fn(&Unit) + Sync)) -> Vec<Unit> {
    let runner = Runner::of(job);
    let mut units = runner.run(&job.tasks(u32::MAX), done);
    blame(&mut units, |unit| runner.alone(&Task::whole(unit.rule, unit.pair, job.cases)));
    with_idle(&job.rules, units)
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

/// Runs the tasks of a job.
pub struct Runner<'a> {
    job: &'a Job<'a>,
    interfaces: Interfaces,
    /// Unsettled cases in a row.
    streak: AtomicU32,
}

impl<'a> Runner<'a> {
    /// Of this job.
    pub fn of(job: &'a Job<'a>) -> Runner<'a> {
        Runner { job, interfaces: Interfaces::default(), streak: AtomicU32::new(0) }
    }

    /// What came of each task, in their order. `done` is called after each.
    pub fn run(&self, tasks: &[Task], done: &(dyn Fn(&Unit) + Sync)) -> Vec<Unit> {
        parallel::each(tasks, self.job.jobs, |task| {
            let unit = self.one(task, Rule::judge);
            done(&unit);
            unit
        })
    }

    /// What comes of a task, whatever else its cases break.
    pub fn alone(&self, task: &Task) -> Unit {
        self.one(task, Rule::alone)
    }

    fn one(&self, task: &Task, judge: Judge) -> Unit {
        let Task { rule, pair, cases } = task.clone();
        let (source, destination) = (&self.job.subjects[pair.0], &self.job.subjects[pair.1]);
        let waived = waiver(rule, &source.waive).or_else(|| waiver(rule, &destination.waive));
        let mut unit = Unit { waived: waived.map(|(_, why)| why.to_owned()), ..Unit::new(rule, pair) };
        let mut known = BTreeSet::new();
        for index in cases {
            if self.job.until.is_some_and(|until| until <= Instant::now()) {
                if unit.judged == 0 {
                    unit.outcome = Outcome::Unsettled("the time was up".to_owned());
                }
                break;
            }
            if PATIENCE <= self.streak.load(Relaxed) {
                if unit.begun == 0 {
                    let why = "not tried: too many cases in a row could not be judged";
                    unit.outcome = Outcome::Unsettled(why.to_owned());
                }
                break;
            }
            if index.is_multiple_of(PIECE) {
                known.clear();
            }
            let Some(case) = drawn(self.job, rule, pair, index, &self.interfaces) else { continue };
            unit = unit.then(self.case(task, case, &mut known, judge));
            if unit.is_over() {
                break;
            }
        }
        unit
    }

    /// What comes of a case. `known` are the buckets of large cases whose small ones are known.
    fn case(&self, task: &Task, case: Case, known: &mut BTreeSet<Bucket>, judge: Judge) -> Unit {
        let &Task { rule, pair, .. } = task;
        let (source, destination) = (&self.job.subjects[pair.0], &self.job.subjects[pair.1]);
        let outcome = judge(rule, &Bench::new(&case, source, destination));
        match &outcome {
            Outcome::Unsettled(_) => drop(self.streak.fetch_add(1, Relaxed)),
            Outcome::Held | Outcome::Broken(_) => self.streak.store(0, Relaxed),
            Outcome::NotApplicable(_) => {}
        }
        let judged = u32::from(matches!(outcome, Outcome::Held | Outcome::Broken(_)));
        let blamed = outcome == Outcome::NotApplicable(BLAMED.into());
        let unit = Unit { judged, begun: 1, blamed, ..Unit::new(rule, pair) };
        let Outcome::Broken(finding) = outcome else { return Unit { outcome, ..unit } };
        let telling = || Bench::new(&case, source, destination).telling();
        let is_any_known = !self.job.known.is_empty();
        let large = is_any_known.then(|| Bucket::judged(judge, rule, &telling()).1).flatten();
        if large.as_ref().is_some_and(|large| known.contains(large)) {
            return Unit { outcome: Outcome::Held, ..unit };
        }
        let unit = settle(self.job, unit, case, finding, (source, destination), judge);
        let file = unit.bucket.as_ref().and_then(|bucket| self.job.known.file(bucket));
        known.extend(large.filter(|_| file.is_some()));
        Unit { known: file, ..unit }
    }
}

fn broken_rules(units: &[Unit]) -> impl Iterator<Item = &'static Rule> {
    units.iter().filter(|unit| matches!(unit.outcome, Outcome::Broken(_))).map(|unit| unit.rule)
}

/// What guests can do with the instances of a subject; started once for each setup.
#[derive(Default)]
struct Interfaces(Mutex<BTreeMap<(usize, ModelId, Setup), Option<Interface>>>);

impl Interfaces {
    fn of(&self, job: &Job<'_>, subject: usize, model: &ModelId, setup: &Setup) -> Option<Interface> {
        let key = (subject, model.clone(), setup.clone());
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        known.unwrap_or_else(|| {
            let found = job.subjects[subject].interface(model, setup);
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, found.clone());
            found
        })
    }
}

/// Draws the case with this index of a rule on a pair; `None` where there is none.
fn drawn(
    job: &Job<'_>,
    rule: &'static Rule,
    pair: (usize, usize),
    index: u32,
    known: &Interfaces,
) -> Option<Case> {
    let (source, destination) = (&job.subjects[pair.0], &job.subjects[pair.1]);
    let interface = |model: &ModelId, setup: &Setup| known.of(job, pair.0, model, setup);
    let between = Between {
        source: (&source.name, &source.manifest),
        destination: (&destination.name, &destination.manifest),
        interface: &interface,
    };
    let dna = dna(job.seed, rule, &source.name, &destination.name, index);
    script::case(&mut Unstructured::new(&dna), rule, &between).ok().flatten()
}

/// Runs the cases of a job in turns: the first of every rule on every pair in which the first
/// subject takes part, then the second of each. Ends when `each` says so.
pub fn in_turns(job: &Job<'_>, each: &mut dyn FnMut(&'static Rule, &Case, Outcome) -> ControlFlow<()>) {
    let known = Interfaces::default();
    let mut work = job.work();
    work.retain(|(_, (from, to))| [*from, *to].contains(&0));
    for index in 0..job.cases {
        for (rule, pair) in &work {
            let Some(case) = drawn(job, rule, *pair, index, &known) else { continue };
            let outcome = judge(rule, &case, &job.subjects[pair.0], &job.subjects[pair.1]);
            if each(rule, &case, outcome).is_break() {
                return;
            }
        }
        work.retain(|(rule, _)| rule.draws != Draws::Nothing);
    }
}

/// Judges one case.
pub fn judge(rule: &Rule, case: &Case, source: &Subject, destination: &Subject) -> Outcome {
    rule.judge(&Bench::new(case, source, destination))
}

/// What waives a rule for a subject: its id or its requirement, and the reason.
fn waiver<'a>(rule: &Rule, waive: &'a BTreeMap<String, String>) -> Option<(&'a str, &'a str)> {
    let of = |(name, _): &(&String, &String)| *name == rule.id || *name == rule.cites;
    waive.iter().find(of).map(|(name, why)| (name.as_str(), why.as_str()))
}

/// Waivers of which every rule was judged and none was broken: they hide nothing, and would.
pub fn unused_waivers(subjects: &[Tested], units: &[Unit]) -> Vec<String> {
    let unused = |(index, subject): (usize, &Tested), name: &String| {
        let of = |unit: &&Unit| {
            let here = [unit.pair.0, unit.pair.1].contains(&index);
            here && waiver(unit.rule, &subject.waive).is_some_and(|(waived, _)| waived == name)
        };
        let outcomes: Vec<_> = units.iter().filter(of).map(|unit| &unit.outcome).collect();
        !outcomes.is_empty() && outcomes.iter().all(|outcome| matches!(outcome, Outcome::Held))
    };
    let each = subjects.iter().enumerate();
    let names = each.flat_map(|(i, s)| s.waive.keys().map(move |name| ((i, s), name)));
    names
        .filter(|(at, name)| unused(*at, name))
        .map(|((_, s), name)| format!("`{name}` of {}", s.name))
        .collect()
}

/// A finding is settled anew so often at most where control runs of its small case teach more of what
/// is volatile.
const ROUNDS: usize = 3;

/// Makes a finding small and confirms it on fresh instances. What is not there every time is none,
/// but flaky; and what control runs of the small case explain is none either.
fn settle(
    job: &Job<'_>,
    mut unit: Unit,
    case: Case,
    mut finding: Finding,
    pair: (&Subject, &Subject),
    judge: Judge,
) -> Unit {
    for round in 1.. {
        let generations = || [pair.0.learned.generation(), pair.1.learned.generation()];
        let before = generations();
        let settled = settle_once(job, unit.clone(), case.clone(), finding, pair, judge);
        if before == generations() || ROUNDS <= round {
            return settled;
        }
        // The small case taught something: what is left of the case that was found?
        match judge(unit.rule, &Bench::new(&case, pair.0, pair.1)) {
            Outcome::Broken(again) => finding = again,
            outcome => {
                unit.judged = u32::from(outcome == Outcome::Held);
                return Unit { outcome, ..unit };
            }
        }
    }
    unit
}

fn settle_once(
    job: &Job<'_>,
    unit: Unit,
    case: Case,
    mut finding: Finding,
    (source, destination): (&Subject, &Subject),
    judge: Judge,
) -> Unit {
    let rule = unit.rule;
    let mut breaks = |case: &Case| {
        let bench = Bench::new(case, source, destination).hasty();
        matches!(judge(rule, &bench), Outcome::Broken(_))
    };
    let bounds = Bounds { tries: job.shrinks, subjects: [source, destination], names: Names::Kept };
    let case = minimize(case, &bounds, &mut breaks).case;
    let mut bucket = None;
    let mut others = Vec::new();
    let mut is_controlled = false;
    for _ in 0..CONFIRM {
        let again = |subject: &Subject| Ok((job.reopen)(&subject.name)?.sharing(subject));
        let fresh = again(source).and_then(|first| Ok((first, again(destination)?)));
        let (first, second) = match fresh {
            Ok(fresh) => fresh,
            Err(why) => {
                let why: String = why;
                let outcome = Outcome::Unsettled(format!("a finding could not be confirmed: {why}"));
                return Unit { outcome, case: Some(case), ..unit };
            }
        };
        let bench = Bench::new(&case, &first, &second).telling();
        // Control runs for one of them say it for all.
        let bench = if is_controlled { bench.hasty() } else { bench };
        match Bucket::judged(judge, rule, &bench) {
            (Outcome::Broken(again), there) => {
                (finding, bucket) = (again, there);
                is_controlled = true;
            }
            (other, _) => others.push(other.name()),
        }
    }
    let broken = CONFIRM - others.len();
    let outcome = match others.first() {
        None => Outcome::Broken(finding),
        Some(other) => Outcome::Unsettled(format!(
            "{}: broken in {broken} of {CONFIRM} on fresh instances, flaky: {other} otherwise",
            finding.summary
        )),
    };
    Unit { outcome, case: Some(case), bucket, ..unit }
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
