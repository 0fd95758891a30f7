//! Runs the tasks of a job in turns: each with its smallest case first, so that whatever the time is,
//! it is spent evenly on rules and pairs.

use super::cost;
use super::reuse::{ResetFinding, Reuse};
use super::settle::{Shrinking, settle};
use super::turns::{self, Turn};
use super::{Drawn, Interfaces, Job, PIECE, Task, drawn};
use crate::bench::Bench;
use crate::case::Case;
use crate::certificate::{Cost, FLOOR, Reused, RuleResult, Short, causes, lacks};
use crate::deadline::{self, Timed};
use crate::finding::{Bucket, Finding, NotApplicable, Outcome};
use crate::parallel::Threads;
use crate::rule::Rule;
use crate::rules::{self, Judge};
use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Stop after this many consecutive unsettled cases: each takes its whole time limit, and a program that
/// hangs must not hang us.
const PATIENCE: u32 = 12;

/// Minimum duration of a turn, unless it is one case: changing turns is not free.
const TURN: Duration = Duration::from_millis(20);

/// Number of cases of each rule on each pair that measure the cost of a case: the smallest and one that is
/// not.
const MEASURED: u32 = 2;

/// Confirming a finding takes about as long as this many cases.
const CONFIRMING: u32 = 20;

/// Fraction of the time left after all rules had their turns that is for minimising findings: three
/// quarters. The rest is for confirming them.
const SHRINKING: (u32, u32) = (3, 4);

/// A task whose cases were all not applicable so far waits `IDLE` times as long for its next turn.
const IDLE: u32 = 8;

/// Runs the tasks of a job.
pub struct Runner<'a> {
    job: &'a Job<'a>,
    interfaces: Interfaces,
    /// Unsettled cases in a row.
    streak: AtomicU32,
    /// Cases that were begun, and the microseconds that they took.
    spent: (AtomicU64, AtomicU64),
    /// Whether a case broke its rule.
    has_found: AtomicBool,
    /// Which subjects reuse instances, once that is known.
    reuse: OnceLock<Reuse>,
}

/// The progress of a task.
struct Progress<'t> {
    task: &'t Task,
    /// The index of the next case.
    next: u32,
    /// The index after the last case.
    end: u32,
    result: RuleResult,
    /// Buckets of large cases whose small ones are known.
    known: BTreeSet<Bucket>,
    /// A case that breaks the rule, not yet minimised or confirmed: every rule has its turns first.
    found: Option<Unconfirmed>,
    /// Whether it is to be minimised and confirmed now.
    is_due: bool,
    spent: Duration,
    /// The duration of its last case.
    last: Option<Duration>,
    is_over: bool,
    /// Whether `done` was called for it.
    is_told: bool,
}

impl Progress<'_> {
    /// Another case was judged.
    fn add(&mut self, result: RuleResult) {
        self.result = self.result.clone().then(result);
        self.is_over = self.result.is_over();
    }

    /// The result so far; an unconfirmed finding counts as broken.
    fn shown(&self) -> RuleResult {
        match &self.found {
            Some(found) => RuleResult { waived: self.result.waived.clone(), ..found.broken() },
            None => self.result.clone(),
        }
    }

    /// Marks its finding as the consequence of another, which is known from this file.
    fn is_consequence(&mut self, known: Option<&str>) {
        let Some(found) = self.found.take() else { return };
        let result = RuleResult { known: known.map(str::to_owned), ..found.broken() };
        self.known.extend(found.large.filter(|_| known.is_some()));
        self.add(result);
    }
}

/// The result of a case.
enum CaseResult {
    Judged(Box<RuleResult>),
    Broken(Box<Unconfirmed>),
}

/// A case that breaks its rule.
struct Unconfirmed {
    result: RuleResult,
    case: Case,
    finding: Finding,
    /// The bucket of this case, where findings are known.
    large: Option<Bucket>,
}

impl Unconfirmed {
    /// The result before it is confirmed.
    fn broken(&self) -> RuleResult {
        let (outcome, case) = (Outcome::Broken(self.finding.clone()), Some(self.case.clone()));
        RuleResult { outcome, case, bucket: self.large.clone(), ..self.result.clone() }
    }
}

impl<'a> Runner<'a> {
    /// A runner of this job.
    pub fn of(job: &'a Job<'a>) -> Runner<'a> {
        Runner {
            job,
            interfaces: Interfaces::default(),
            streak: AtomicU32::new(0),
            spent: (AtomicU64::new(0), AtomicU64::new(0)),
            has_found: AtomicBool::new(false),
            reuse: OnceLock::new(),
        }
    }

    /// A runner that has run these tasks, and the result of each. If reused instances turned out to differ from
    /// new ones, and the time is not limited, everything is judged a second time, on new ones.
    pub(super) fn finished(
        job: &'a Job<'a>,
        tasks: &[Task],
        done: &(dyn Fn(&RuleResult) + Sync),
    ) -> (Runner<'a>, Vec<RuleResult>, Option<Cost>) {
        let runner = Runner::of(job);
        let (results, cost) = runner.run(tasks, done);
        match runner.reuse.get() {
            Some(reuse) if runner.is_void() => {
                let again = Runner { reuse: OnceLock::from(reuse.off()), ..Runner::of(job) };
                let (results, cost) = again.run(tasks, done);
                (again, results, cost)
            }
            _ => (runner, results, cost),
        }
    }

    /// Whether the results so far are void, because everything is judged again.
    fn is_void(&self) -> bool {
        let is_in_doubt = || self.reuse.get().is_some_and(Reuse::is_in_doubt);
        self.job.budget.end().is_none() && is_in_doubt()
    }

    /// How often instances were reused, for each subject.
    pub(super) fn reused(&self) -> Vec<Option<Reused>> {
        self.reuse.get().map_or_else(Vec::new, |reuse| reuse.report())
    }

    /// The result of each task, in their order, whatever the number of threads is. `done` is called
    /// after each.
    pub(super) fn run(
        &self,
        tasks: &[Task],
        done: &(dyn Fn(&RuleResult) + Sync),
    ) -> (Vec<RuleResult>, Option<Cost>) {
        let mut all: Vec<_> = tasks.iter().map(|task| self.begin(task)).collect();
        let (mut threads, began) = (self.job.threads, deadline::now());
        self.reuse.get_or_init(|| Reuse::of(self.job, tasks, &self.interfaces));
        let cost = self.job.fit.map(|time| self.measure(&mut all, time, &mut threads, done));
        loop {
            threads.first = turns::take(&mut all, threads, |progress| {
                let turn = self.turn(progress, Rule::judge);
                if turn == Turn::Over {
                    Runner::tell(progress, done);
                }
                turn
            });
            if self.is_void() {
                break;
            }
            if self.extend(&mut all, deadline::now() - began) {
                continue;
            }
            self.add_reset_findings(&mut all);
            if all.iter().all(|progress| progress.found.is_none()) {
                break;
            }
            // A rule whose finding was dropped goes on with its remaining cases.
            threads.first = self.settle_causes(&mut all, threads);
            all.iter_mut().for_each(|progress| Runner::tell(progress, done));
        }
        (all.into_iter().map(|progress| progress.result).collect(), cost)
    }

    /// Settles one finding of each cause, that of the accused rule; returns the number of threads in the end.
    /// The others are its consequences: they stay as they were found, and are known if it is.
    fn settle_causes(&self, all: &mut [Progress<'_>], mut threads: Threads) -> usize {
        let groups = loop {
            let groups = causes(&all.iter().map(Progress::shown).collect::<Vec<_>>());
            for group in &groups {
                all[group.accused].is_due = all[group.accused].found.is_some();
            }
            let due = all.iter().filter(|progress| progress.is_due).count();
            if due == 0 {
                break groups;
            }
            let share = self.shrinking(due.div_ceil(threads.first.max(1)));
            threads.first = turns::take(all, threads, |progress| {
                if std::mem::take(&mut progress.is_due) {
                    self.settle(progress, Rule::judge, share);
                }
                Turn::Over
            });
        };
        for group in groups {
            let known = all[group.accused].result.known.clone();
            group.consequences.iter().for_each(|at| all[*at].is_consequence(known.as_deref()));
        }
        threads.first
    }

    /// Tries the first cases of all tasks, and plans as many cases as fit into the time.
    fn measure(
        &self,
        all: &mut [Progress<'_>],
        time: Duration,
        threads: &mut Threads,
        done: &(dyn Fn(&RuleResult) + Sync),
    ) -> Cost {
        all.iter_mut().for_each(|progress| progress.end = progress.end.min(progress.next + MEASURED));
        threads.first = turns::take(all, *threads, |progress| {
            let turn = self.turn(progress, Rule::judge);
            if progress.is_over {
                Runner::tell(progress, done);
            }
            turn
        });
        let samples: Vec<_> = all.iter().filter_map(|progress| progress.last).collect();
        let cases = cost::cases(self.job.cases, &samples, threads.first, time);
        for progress in all {
            let whole = &progress.task.cases;
            progress.end = whole.end.min(whole.start.saturating_add(cases));
            progress.result.planned = progress.end - whole.start;
        }
        cost::of(&samples)
    }

    /// Plans more cases if there is time left; returns whether there are any. All tasks get twice as many if
    /// as much time is left as was spent; otherwise those that saw too little get some more.
    fn extend(&self, all: &mut [Progress<'_>], spent: Duration) -> bool {
        let Some(time) = self.job.fit.filter(|_| self.short().is_none()) else { return false };
        let is_early = spent <= time / 2;
        let lacks = lacks(&all.iter().map(|progress| progress.result.clone()).collect::<Vec<_>>());
        let mut is_any = false;
        for (progress, lacks) in all.iter_mut().zip(lacks) {
            if progress.is_over || progress.found.is_some() || !(is_early || lacks) {
                continue;
            }
            let whole = &progress.task.cases;
            let more = if is_early { progress.result.planned.max(1) } else { FLOOR };
            let end = whole.end.min(progress.end.saturating_add(more));
            is_any |= progress.end < end;
            progress.end = end;
            progress.result.planned = end - whole.start;
        }
        is_any
    }

    /// Calls `done` once for a task that is over.
    fn tell(progress: &mut Progress<'_>, done: &(dyn Fn(&RuleResult) + Sync)) {
        if !progress.is_told && progress.found.is_none() {
            progress.is_told = true;
            done(&progress.result);
        }
    }

    /// The result of a task, ignoring base rules.
    pub fn alone(&self, task: &Task) -> RuleResult {
        let mut progress = self.begin(task);
        loop {
            while self.turn(&mut progress, Rule::alone) != Turn::Over {}
            if progress.found.is_none() {
                break;
            }
            let share = self.shrinking(1);
            self.settle(&mut progress, Rule::alone, share);
        }
        progress.result
    }

    fn begin<'t>(&self, task: &'t Task) -> Progress<'t> {
        let Task { rule, pair, cases } = task;
        let (source, destination) = (&self.job.subjects[pair.0], &self.job.subjects[pair.1]);
        let waived = rule.waiver(&source.waive).or_else(|| rule.waiver(&destination.waive));
        let waived = waived.map(|(_, why)| why.to_owned());
        Progress {
            task,
            next: cases.start,
            end: cases.end,
            result: RuleResult { waived, planned: cases.end - cases.start, ..RuleResult::new(rule, *pair) },
            known: BTreeSet::new(),
            found: None,
            is_due: false,
            spent: Duration::ZERO,
            last: None,
            is_over: false,
            is_told: false,
        }
    }

    /// Tries cases for a while: one where it is the first, or where one takes longer than a turn.
    fn turn(&self, progress: &mut Progress<'_>, judge: Judge) -> Turn {
        let is_first = progress.next == progress.task.cases.start;
        let began = deadline::now();
        loop {
            if !self.step(progress, judge) {
                return Turn::Over;
            }
            if is_first || TURN <= deadline::now() - began {
                let is_idle = progress.result.judged == 0 && MEASURED <= progress.result.begun;
                return Turn::More(if is_idle { progress.spent * IDLE } else { progress.spent });
            }
        }
    }

    /// Tries the next case, if there is one; whether there may be another.
    fn step(&self, progress: &mut Progress<'_>, judge: Judge) -> bool {
        if progress.is_over || progress.found.is_some() || progress.end <= progress.next || self.is_void() {
            return false;
        }
        if let Some(short) = self.short() {
            (progress.result.short, progress.is_over) = (Some(short), true);
            return false;
        }
        let index = progress.next;
        progress.next += 1;
        if index.is_multiple_of(PIECE) {
            progress.known.clear();
        }
        let began = deadline::now();
        match self.case(progress.task, index, judge) {
            Timed::Whole(Some(CaseResult::Judged(result))) => progress.add(*result),
            Timed::Whole(Some(CaseResult::Broken(found))) => self.found(progress, *found, judge),
            Timed::Whole(None) => {}
            // A case that was cut off does not count.
            Timed::Cut => (progress.result.short, progress.is_over) = (Some(Short::Time), true),
        }
        self.took(progress, deadline::now() - began);
        !progress.is_over && progress.found.is_none()
    }

    /// Why no further case is begun.
    fn short(&self) -> Option<Short> {
        // Findings that wait have a share of the time for themselves.
        let longest = self.job.budget.limit().filter(|_| self.has_found.load(Relaxed));
        let end = self.job.budget.search_end(longest.unwrap_or_else(|| self.case_cost() * CONFIRMING));
        if end.is_some_and(|end| end <= deadline::now()) {
            return Some(Short::Time);
        }
        (PATIENCE <= self.streak.load(Relaxed)).then_some(Short::Patience)
    }

    fn took(&self, progress: &mut Progress<'_>, time: Duration) {
        progress.spent += time;
        progress.last = Some(time);
        self.spent.0.fetch_add(1, Relaxed);
        self.spent.1.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// The mean duration of the cases tried so far.
    fn case_cost(&self) -> Duration {
        let (cases, micros) = (self.spent.0.load(Relaxed), self.spent.1.load(Relaxed));
        Duration::from_micros(micros / cases.max(1))
    }

    /// The result of the case with this index, if there is one.
    fn case(&self, task: &Task, index: u32, judge: Judge) -> Timed<Option<CaseResult>> {
        let &Task { rule, pair, .. } = task;
        let (source, destination) = (&self.job.subjects[pair.0], &self.job.subjects[pair.1]);
        let judged = deadline::until(self.job.budget.end(), || {
            let Drawn { case, blind } = drawn(self.job, rule, pair, index, &self.interfaces)?;
            let reuse = self.reuse.get().filter(|_| blind.is_none());
            let again = reuse.and_then(|reuse| reuse.judge(self.job, (rule, pair, index), &case, judge));
            let (outcome, counted) = again.unwrap_or_else(|| {
                let bench = Bench::new(&case, source, destination).blind(blind);
                (judge(rule, &bench), bench.counted())
            });
            Some((case, outcome, counted))
        });
        let (case, outcome, counted) = match judged {
            Timed::Whole(Some(judged)) => judged,
            Timed::Whole(None) => return Timed::Whole(None),
            Timed::Cut => return Timed::Cut,
        };
        match &outcome {
            Outcome::Unsettled(_) => drop(self.streak.fetch_add(1, Relaxed)),
            Outcome::Held | Outcome::Broken(_) => self.streak.store(0, Relaxed),
            Outcome::NotApplicable(_) => {}
        }
        let judged = u32::from(matches!(outcome, Outcome::Held | Outcome::Broken(_)));
        let blamed = outcome == Outcome::NotApplicable(NotApplicable::Blamed);
        let result = RuleResult { judged, begun: 1, blamed, counted, ..RuleResult::new(rule, pair) };
        Timed::Whole(Some(match outcome {
            Outcome::Broken(finding) => {
                CaseResult::Broken(Box::new(Unconfirmed { result, case, finding, large: None }))
            }
            Outcome::NotApplicable(why) => {
                let skipped = [(why.clone(), 1)].into();
                let outcome = Outcome::NotApplicable(why);
                CaseResult::Judged(Box::new(RuleResult { outcome, skipped, ..result }))
            }
            outcome => CaseResult::Judged(Box::new(RuleResult { outcome, ..result })),
        }))
    }

    /// Adds findings of rules about resets that were made from earlier cases.
    fn add_reset_findings(&self, all: &mut [Progress<'_>]) {
        for (at, ResetFinding { rule, case, finding }) in self.reuse.get().map_or_else(Vec::new, Reuse::found)
        {
            let is_its = |progress: &&mut Progress<'_>| {
                let Task { rule: of, pair, .. } = progress.task;
                of.id == rule.id
                    && *pair == (at, at)
                    && progress.found.is_none()
                    && !progress.result.is_over()
            };
            if let Some(progress) = all.iter_mut().find(is_its) {
                let result = RuleResult { judged: 1, begun: 1, ..RuleResult::new(rule, (at, at)) };
                self.found(progress, Unconfirmed { result, case, finding, large: None }, Rule::judge);
            }
        }
    }

    /// Keeps a case that breaks its rule, unless it is of a bucket whose small case is known already.
    fn found(&self, progress: &mut Progress<'_>, mut found: Unconfirmed, judge: Judge) {
        let RuleResult { rule, pair, .. } = found.result;
        let (source, destination) = (&self.job.subjects[pair.0], &self.job.subjects[pair.1]);
        let bucket = || rules::judged(judge, rule, &Bench::new(&found.case, source, destination).telling()).1;
        let is_any_known = !self.job.known.is_empty();
        let large = is_any_known.then(|| deadline::until(self.job.budget.end(), bucket).whole());
        found.large = large.flatten().flatten();
        if found.large.as_ref().is_some_and(|large| progress.known.contains(large)) {
            return progress.add(RuleResult { outcome: Outcome::Held, ..found.result });
        }
        let is_known = found.large.as_ref().is_some_and(|large| self.job.known.file(large).is_some());
        progress.found = Some(found);
        // A consequence of a known finding is known, too.
        let behind = progress.found.as_ref().and_then(|found| self.job.known.behind(&found.finding));
        match behind.filter(|_| !is_known) {
            Some(file) => progress.is_consequence(Some(&file)),
            None => self.has_found.store(true, Relaxed),
        }
    }

    /// Minimises the finding of a task, for a share of the time, and confirms it.
    fn settle(&self, progress: &mut Progress<'_>, judge: Judge, share: Option<Duration>) {
        let Some(Unconfirmed { result, case, finding, large }) = progress.found.take() else { return };
        let pair = result.pair;
        let (source, destination) = (&self.job.subjects[pair.0], &self.job.subjects[pair.1]);
        let until = share.map(|share| deadline::now() + share);
        let reuses = self.reuse.get().is_some_and(|reuse| reuse.is_on(result.rule, pair));
        let search = Shrinking { until, reuses };
        let result = settle(self.job, result, case, finding, (source, destination), judge, search);
        let by_bucket = result.bucket.as_ref().and_then(|bucket| self.job.known.file(bucket));
        let file = match &result.outcome {
            Outcome::Broken(finding) => by_bucket.or_else(|| self.job.known.behind(finding)),
            _ => by_bucket,
        };
        progress.known.extend(large.filter(|_| file.is_some()));
        progress.add(RuleResult { known: file, ..result });
    }

    /// Time for minimising each finding, if a thread has this many; `None` without a limit.
    fn shrinking(&self, findings: usize) -> Option<Duration> {
        let left = self.job.budget.end()?.saturating_duration_since(deadline::now());
        let findings = u32::try_from(findings.max(1)).unwrap_or(u32::MAX);
        Some(left * SHRINKING.0 / SHRINKING.1 / findings)
    }
}
