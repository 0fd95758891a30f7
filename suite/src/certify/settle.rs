//! Minimises a finding, and confirms it on fresh instances.

use super::Job;
use crate::bench::Bench;
use crate::case::Case;
use crate::certificate::RuleResult;
use crate::deadline::{self, Timed};
use crate::finding::{Finding, Outcome};
use crate::minimize::{Bounds, Names, minimize};
use crate::rules::{self, Judge};
use crate::subject::Subject;
use std::time::Instant;

/// Number of runs on fresh instances that confirm a finding.
const CONFIRM: usize = 5;

/// Maximum number of times that a finding is settled, as control runs of its small case learn more volatile
/// places.
const ROUNDS: usize = 3;

/// How smaller cases of a finding are looked for.
#[derive(Clone, Copy)]
pub(super) struct Shrinking {
    /// When the time for it is up.
    pub(super) until: Option<Instant>,
    /// Whether on instances that may have served before.
    pub(super) reuses: bool,
}

/// Minimises a finding, until its time is up, and confirms it on fresh instances. A finding that does not
/// reproduce every time is flaky; one that control runs of the small case explain is dropped; and one that
/// there is no time to confirm is unsettled, with its case.
pub(super) fn settle(
    job: &Job<'_>,
    mut result: RuleResult,
    case: Case,
    mut finding: Finding,
    pair: (&Subject, &Subject),
    judge: Judge,
    search: Shrinking,
) -> RuleResult {
    for round in 1.. {
        let generations = || [pair.0.learned.generation(), pair.1.learned.generation()];
        let before = generations();
        let settled = settle_once(job, result.clone(), case.clone(), finding, pair, judge, search);
        if before == generations() || ROUNDS <= round {
            return settled;
        }
        // The small case learned something: judge the case that was found again.
        let again = || judge(result.rule, &Bench::new(&case, pair.0, pair.1));
        match deadline::until(job.budget.end(), again) {
            Timed::Whole(Outcome::Broken(again)) => finding = again,
            Timed::Whole(outcome) => {
                result.judged = u32::from(outcome == Outcome::Held);
                return RuleResult { outcome, ..result };
            }
            Timed::Cut => return settled,
        }
    }
    result
}

fn settle_once(
    job: &Job<'_>,
    result: RuleResult,
    case: Case,
    mut finding: Finding,
    (source, destination): (&Subject, &Subject),
    judge: Judge,
    search: Shrinking,
) -> RuleResult {
    let rule = result.rule;
    let breaks = |case: &Case, reuses: bool, until: Option<Instant>| {
        let bench = Bench::new(case, source, destination).hasty();
        let judged = || judge(rule, &if reuses { bench.reusing() } else { bench });
        matches!(deadline::until(until, judged), Timed::Whole(Outcome::Broken(_)))
    };
    let bounds = Bounds { tries: job.shrinks, subjects: [source, destination], names: Names::Kept };
    let minimized =
        |reuses| minimize(case.clone(), &bounds, &mut |case| breaks(case, reuses, search.until)).case;
    // What is smaller on instances that were used before counts only if it is broken on new ones.
    let quick = search
        .reuses
        .then(|| minimized(true))
        .filter(|small| *small == case || breaks(small, false, job.budget.end()));
    let case = quick.unwrap_or_else(|| minimized(false));
    let mut bucket = None;
    let mut others = Vec::new();
    let found = finding.summary.clone();
    let unconfirmed = |why: &str| {
        let why = format!("{found}; it could not be confirmed: {why}");
        RuleResult { outcome: Outcome::Unsettled(why), case: Some(case.clone()), ..result.clone() }
    };
    let mut is_controlled = false;
    for _ in 0..CONFIRM {
        let again = |subject: &Subject| Ok::<_, String>((job.reopen)(&subject.name)?.sharing(subject));
        let reopened = || again(source).and_then(|first| Ok((first, again(destination)?)));
        let Timed::Whole(fresh) = deadline::until(job.budget.end(), reopened) else {
            return unconfirmed(deadline::UP);
        };
        let (first, second) = match fresh {
            Ok(fresh) => fresh,
            Err(why) => return unconfirmed(&why),
        };
        let bench = Bench::new(&case, &first, &second).telling();
        // Control runs for one of them are enough for all.
        let bench = if is_controlled { bench.hasty() } else { bench.thorough() };
        match deadline::until(job.budget.end(), || rules::judged(judge, rule, &bench)) {
            Timed::Whole((Outcome::Broken(again), there)) => {
                (finding, bucket) = (again, there);
                is_controlled = true;
            }
            Timed::Whole((other, _)) => others.push(other.name()),
            // It reproduced in every run so far.
            Timed::Cut if is_controlled && others.is_empty() => break,
            Timed::Cut => return unconfirmed(deadline::UP),
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
    RuleResult { outcome, case: Some(case), bucket, ..result }
}
