//! Reuse of instances: a reset instead of a start, as long as that makes no difference.
//!
//! A case is tried first on instances that may have served before and were reset since. If it holds there,
//! it held. Otherwise it is judged again on new instances, and only that counts: every finding comes from
//! new instances. One case in [`AUDIT`] is always judged on new instances, too. If the results differ, a reset
//! does not give a fresh device: reuse ends, everything is judged again on new instances if there is time, and
//! the cases that were tried one after the other become a case of a rule about resets, if one breaks.

use super::{Interfaces, Job, Task, drawn};
use crate::bench::{Bench, Counted};
use crate::case::Case;
use crate::certificate::Reused;
use crate::deadline;
use crate::finding::{Finding, NotApplicable, Outcome};
use crate::parallel;
use crate::rule::Rule;
use crate::rules::{self, Judge};
use migcert_core::device::State;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

#[cfg(test)]
mod tests;

/// Rules whose first cases must hold before instances are reused.
const RESETS: [&str; 2] = ["reset-is-fresh", "reset-forgets-a-load"];
/// Number of cases of each that are tried.
const TRIED: u32 = 5;
/// Minimum number of them in which the first rule must have been applicable.
const HELD: usize = 3;
/// One in `AUDIT` cases is judged on new instances as well.
const AUDIT: u32 = 32;
/// At most 1/`TRYING` of a limited time is for that.
const TRYING: u32 = 6;
/// Minimum number of cases in a run for reuse: in shorter runs it does not pay.
const FEW: u64 = 100;
/// Number of times that a difference must show again to count.
const AGAIN: u32 = 2;
/// Number of earlier cases that are kept.
const KEPT: usize = 8;

/// Which subjects of a job reuse instances, and how often they did.
pub(super) struct Reuse {
    subjects: Vec<Used>,
    /// Whether this is the second run, on new instances only.
    is_second: bool,
}

/// Reuse of the instances of one subject.
struct Used {
    is_on: AtomicBool,
    differs: Mutex<Option<String>>,
    cases: AtomicU32,
    both: AtomicU32,
    /// The last cases that held on reused instances.
    recent: Mutex<VecDeque<Case>>,
    found: Mutex<Option<ResetFinding>>,
}

/// A case that breaks a rule about resets, made from cases that were tried one after the other.
pub(super) struct ResetFinding {
    pub(super) rule: &'static Rule,
    pub(super) case: Case,
    pub(super) finding: Finding,
}

impl Reuse {
    /// Decides for each subject whether its instances are reused: tries first whether a reset gives a fresh device.
    pub(super) fn of(job: &Job<'_>, tasks: &[Task], interfaces: &Interfaces) -> Reuse {
        let cases: u64 = tasks.iter().map(|task| task.cases.len() as u64).sum();
        let is_much = job.reuse && FEW <= cases;
        let used = |at: usize| Used {
            is_on: AtomicBool::new(is_much && is_fresh_after_a_reset(job, at, interfaces)),
            differs: Mutex::default(),
            cases: AtomicU32::new(0),
            both: AtomicU32::new(0),
            recent: Mutex::default(),
            found: Mutex::default(),
        };
        let subjects: Vec<Used> = (0..job.subjects.len()).map(used).collect();
        interfaces.may_reuse.store(subjects.iter().all(|used| used.is_on.load(Relaxed)), Relaxed);
        Reuse { subjects, is_second: false }
    }

    /// Whether reused instances differed from new ones, so that everything is to be judged again.
    pub(super) fn is_in_doubt(&self) -> bool {
        !self.is_second && self.subjects.iter().any(|used| locked(&used.differs).is_some())
    }

    /// The state for a second run, on new instances only; keeps the counts and the finding of the first.
    pub(super) fn off(&self) -> Reuse {
        let used = |used: &Used| Used {
            is_on: AtomicBool::new(false),
            differs: Mutex::new(locked(&used.differs).clone()),
            cases: AtomicU32::new(used.cases.load(Relaxed)),
            both: AtomicU32::new(used.both.load(Relaxed)),
            recent: Mutex::default(),
            found: Mutex::new(locked(&used.found).take()),
        };
        Reuse { subjects: self.subjects.iter().map(used).collect(), is_second: true }
    }

    /// Judges a case of a rule on a pair, on reused instances first; `None` if they are not reused.
    pub(super) fn judge(
        &self,
        job: &Job<'_>,
        (rule, pair, index): (&'static Rule, (usize, usize), u32),
        case: &Case,
        judge: Judge,
    ) -> Option<(Outcome, Counted)> {
        let (source, destination) = (&job.subjects[pair.0], &job.subjects[pair.1]);
        let used = self.used(rule, pair)?;
        let bench = Bench::new(case, source, destination).hasty().reusing();
        let before = rule.alone(&bench);
        for used in &used {
            used.cases.fetch_add(1, Relaxed);
        }
        let holds = matches!(before, Outcome::Held | Outcome::NotApplicable(_));
        if holds && !is_audited(rule, index) {
            used.iter().for_each(|used| used.keep(case));
            return Some((before, bench.counted()));
        }
        let generation = || source.learned.generation() + destination.learned.generation();
        let known = generation();
        let bench = Bench::new(case, source, destination);
        let now = judge(rule, &bench);
        for used in &used {
            used.both.fetch_add(1, Relaxed);
        }
        // What is volatile may differ by chance. Control runs are for new instances only: they would learn as
        // volatile what a reset left.
        let again = || {
            let before = rule.alone(&Bench::new(case, source, destination).hasty().reusing());
            [before, judge(rule, &Bench::new(case, source, destination))]
        };
        let (was, is) = (OutcomeKind::of(&before), OutcomeKind::of(&now));
        let is_again = || again().each_ref().map(OutcomeKind::of) == [was, is];
        let differ = was != is
            && ![was, is].contains(&OutcomeKind::Unsettled)
            && (0..AGAIN).all(|_| is_again())
            && known == generation();
        if differ {
            let (before, now, number) = (before.name(), now.name(), index + 1);
            let what =
                format!("case {number} of {}: {before} on reused instances, {now} on new ones", rule.id);
            used.iter().for_each(|used| used.differ(&what));
            if pair.0 == pair.1 {
                self.search(job, pair.0, case);
            }
        }
        Some((now, bench.counted()))
    }

    /// Whether instances of a pair are used again for this rule.
    pub(super) fn is_on(&self, rule: &Rule, pair: (usize, usize)) -> bool {
        self.used(rule, pair).is_some()
    }

    /// The implementations of a pair, if instances of both are used again for this rule.
    fn used(&self, rule: &Rule, (source, destination): (usize, usize)) -> Option<Vec<&Used>> {
        let mut all = vec![self.subjects.get(source)?, self.subjects.get(destination)?];
        all.truncate(if source == destination { 1 } else { 2 });
        (!rule.is_about_starts() && all.iter().all(|used| used.is_on.load(Relaxed))).then_some(all)
    }

    /// Looks for a case of the rules about resets that shows what a reset left of an earlier case.
    fn search(&self, job: &Job<'_>, at: usize, case: &Case) {
        let (used, subject) = (&self.subjects[at], &job.subjects[at]);
        let recent: Vec<Case> = locked(&used.recent).iter().rev().cloned().collect();
        for before in
            recent.iter().filter(|before| (&before.model, &before.setup) == (&case.model, &case.setup))
        {
            let at = before.script.len();
            let script: Vec<_> = before.script.iter().chain(&case.script).cloned().collect();
            for walk in [before.walk.clone(), vec![State::Running], vec![State::StopCopy]] {
                for rule in resets() {
                    let (rule_id, script) = (rule.id.to_owned(), script.clone());
                    let case =
                        Case { rule: rule_id, script, at: [at; 2], walk: walk.clone(), ..case.clone() };
                    let bench = Bench::new(&case, subject, subject);
                    if let Outcome::Broken(finding) = rule.alone(&bench) {
                        *locked(&used.found) = Some(ResetFinding { rule, case, finding });
                        return;
                    }
                }
            }
        }
    }

    /// The cases that were found, each once, with the index of the implementation.
    pub(super) fn found(&self) -> Vec<(usize, ResetFinding)> {
        let each = self.subjects.iter().enumerate();
        each.filter_map(|(at, used)| Some((at, locked(&used.found).take()?))).collect()
    }

    /// How often instances were used again, for each implementation.
    pub(super) fn report(&self) -> Vec<Option<Reused>> {
        let report = |used: &Used| {
            let (cases, both) = (used.cases.load(Relaxed), used.both.load(Relaxed));
            (cases != 0).then(|| Reused { cases, both, differs: locked(&used.differs).clone() })
        };
        self.subjects.iter().map(report).collect()
    }
}

impl Used {
    fn keep(&self, case: &Case) {
        let mut recent = locked(&self.recent);
        recent.push_back(case.clone());
        if KEPT < recent.len() {
            recent.pop_front();
        }
    }

    /// Ends reuse, for this reason.
    fn differ(&self, what: &str) {
        self.is_on.store(false, Relaxed);
        locked(&self.differs).get_or_insert_with(|| what.to_owned());
    }
}

fn locked<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is compared of outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OutcomeKind {
    Held,
    /// Broken, whichever rule is blamed.
    Broken,
    NotApplicable,
    Unsettled,
}

impl OutcomeKind {
    fn of(outcome: &Outcome) -> OutcomeKind {
        match outcome {
            Outcome::Held => OutcomeKind::Held,
            Outcome::Broken(_) | Outcome::NotApplicable(NotApplicable::Blamed) => OutcomeKind::Broken,
            Outcome::NotApplicable(_) => OutcomeKind::NotApplicable,
            Outcome::Unsettled(_) => OutcomeKind::Unsettled,
        }
    }
}

/// Whether a case is always judged on new instances, too: the same cases in each run.
fn is_audited(rule: &Rule, index: u32) -> bool {
    let number = rules::ALL.iter().position(|other| std::ptr::eq(*other, rule)).unwrap_or_default();
    (index + number as u32) % AUDIT == AUDIT - 1
}

/// Whether the first cases of the rules about resets hold, as many as there is time for.
fn is_fresh_after_a_reset(job: &Job<'_>, at: usize, interfaces: &Interfaces) -> bool {
    let subject = &job.subjects[at];
    if subject.program.reusing().is_none() {
        return false;
    }
    let cases: Vec<_> = (0..TRIED).flat_map(|index| resets().map(move |rule| (rule, index))).collect();
    let until = job.budget.part(TRYING);
    let tried = parallel::each(&cases, job.threads.first, |(rule, index)| {
        let judged = deadline::until(until, || {
            let drawn = drawn(job, rule, (at, at), *index, interfaces)?;
            Some(rule.alone(&Bench::new(&drawn.case, subject, subject).blind(drawn.blind)))
        });
        judged.whole().flatten()
    });
    let is_bad = |outcome: &Outcome| matches!(outcome, Outcome::Broken(_) | Outcome::Unsettled(_));
    let held = cases
        .iter()
        .zip(&tried)
        .filter(|((rule, _), outcome)| rule.id == RESETS[0] && matches!(outcome, Some(Outcome::Held)));
    HELD <= held.count() && !tried.iter().flatten().any(is_bad)
}

fn resets() -> impl Iterator<Item = &'static Rule> {
    RESETS.iter().filter_map(|id| rules::ALL.iter().copied().find(|rule| rule.id == *id))
}
