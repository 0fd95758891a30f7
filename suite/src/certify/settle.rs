//! Makes a finding small, and confirms it on fresh instances.

use super::{Job, Unit};
use crate::bench::Bench;
use crate::case::Case;
use crate::deadline::{self, Timed};
use crate::finding::{Finding, Outcome};
use crate::minimize::{Bounds, Names, minimize};
use crate::rules::{self, Judge};
use crate::subject::Subject;
use std::time::Instant;

/// Runs on fresh instances that confirm a finding.
const CONFIRM: usize = 5;

/// A finding is settled anew so often at most where control runs of its small case teach more of what
/// is volatile.
const ROUNDS: usize = 3;

/// Makes a finding small, until its time is up, and confirms it on fresh instances. What is not there
/// every time is none, but flaky; what control runs of the small case explain is none either; and what
/// there is no time to confirm is unsettled, with its case.
pub(super) fn settle(
    job: &Job<'_>,
    mut unit: Unit,
    case: Case,
    mut finding: Finding,
    pair: (&Subject, &Subject),
    judge: Judge,
    shrink_until: Option<Instant>,
) -> Unit {
    for round in 1.. {
        let generations = || [pair.0.learned.generation(), pair.1.learned.generation()];
        let before = generations();
        let settled = settle_once(job, unit.clone(), case.clone(), finding, pair, judge, shrink_until);
        if before == generations() || ROUNDS <= round {
            return settled;
        }
        // The small case taught something: what is left of the case that was found?
        let again = || judge(unit.rule, &Bench::new(&case, pair.0, pair.1));
        match deadline::until(job.budget.end(), again) {
            Timed::Whole(Outcome::Broken(again)) => finding = again,
            Timed::Whole(outcome) => {
                unit.judged = u32::from(outcome == Outcome::Held);
                return Unit { outcome, ..unit };
            }
            Timed::Cut => return settled,
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
    shrink_until: Option<Instant>,
) -> Unit {
    let rule = unit.rule;
    let mut breaks = |case: &Case| {
        let judged = || judge(rule, &Bench::new(case, source, destination).hasty());
        matches!(deadline::until(shrink_until, judged), Timed::Whole(Outcome::Broken(_)))
    };
    let bounds = Bounds { tries: job.shrinks, subjects: [source, destination], names: Names::Kept };
    let case = minimize(case, &bounds, &mut breaks).case;
    let mut bucket = None;
    let mut others = Vec::new();
    let found = finding.summary.clone();
    let unconfirmed = |why: &str| {
        let why = format!("{found}; it could not be confirmed: {why}");
        Unit { outcome: Outcome::Unsettled(why), case: Some(case.clone()), ..unit.clone() }
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
        // Control runs for one of them say it for all.
        let bench = if is_controlled { bench.hasty() } else { bench.thorough() };
        match deadline::until(job.budget.end(), || rules::judged(judge, rule, &bench)) {
            Timed::Whole((Outcome::Broken(again), there)) => {
                (finding, bucket) = (again, there);
                is_controlled = true;
            }
            Timed::Whole((other, _)) => others.push(other.name()),
            // It was there whenever somebody looked.
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
    Unit { outcome, case: Some(case), bucket, ..unit }
}
