//! Certifications with little time, by a clock of their own.

use super::*;
use crate::certificate::{Short, enough};
use crate::deadline::driven::Clock;
use crate::devices;
use crate::finding::{Cause, Finding, What};
use crate::implementation::Builtin;
use crate::impls;
use crate::learned::Place;
use crate::rules;
use migcert_core::device::{Device, Outside};
use migcert_core::error::Error;
use migcert_core::program::{Manifest, Program};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A reference device whose first instances are slow to start.
struct Slow {
    program: Box<dyn Program>,
    clock: Clock,
    start: Duration,
    left: AtomicU32,
}

impl Program for Slow {
    fn describe(&self) -> Result<Manifest, Error> {
        self.program.describe()
    }
    fn outside(&self) -> Result<Outside, Error> {
        self.program.outside()
    }
    fn start(&self, model: &ModelId, setup: &Setup, outside: &Outside) -> Result<Box<dyn Device>, Error> {
        let is_slow = self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        self.clock.pass(if is_slow { self.start } else { Duration::ZERO });
        self.program.start(model, setup, outside)
    }
}

fn slow(clock: Clock, name: &str, start: Duration) -> Subject {
    slow_at_first(clock, name, start, u32::MAX)
}

fn slow_at_first(clock: Clock, name: &str, start: Duration, instances: u32) -> Subject {
    let name = format!("builtin:{name}");
    let (program, _) = devices::planted(&Builtin::of(&name).expect("a name")).expect("a device");
    let manifest = program.describe().expect("described");
    Subject::new(name, Box::new(Slow { program, clock, start, left: instances.into() }), manifest)
}

fn job<'a>(
    subjects: &'a [Subject],
    known: &'a Known,
    reopen: &'a (dyn Fn(&str) -> Result<Subject, String> + Sync),
    budget: Budget,
) -> Job<'a> {
    Job {
        subjects,
        rules: rules::ALL.to_vec(),
        seed: 1,
        cases: 1_000_000,
        fit: None,
        shrinks: 100,
        threads: Threads::exactly(1),
        budget,
        known,
        reuse: false,
        reopen,
    }
}

fn reopen(name: &str) -> Result<Subject, String> {
    impls::subject(name).map_err(|why| why.to_string())
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn whatever_the_time_is_every_rule_has_its_turn() {
    let clock = Clock::new();
    let subjects = [slow(clock, "nic", SECOND / 200)];
    let known = Known::default();
    let results = clock.drives(|| certify(&job(&subjects, &known, &reopen, Budget::of(8 * SECOND)), &|_| ()));
    let mut short = 0;
    for result in results.iter().filter(|result| result.planned != 0) {
        assert!(result.begun != 0, "{}: {:?}", result.rule.id, result.outcome);
        assert!(!matches!(result.outcome, Outcome::Broken(_)), "{}: {:?}", result.rule.id, result.outcome);
        short += u32::from(result.short == Some(Short::Time));
    }
    assert!(short != 0, "a million cases take longer");
    let unsettled = enough(results, &Caveats::of([]))
        .into_iter()
        .filter(|result| matches!(result.outcome, Outcome::Unsettled(_)));
    assert_eq!(unsettled.count(), short as usize, "what was cut short did not hold");
}

#[test]
fn after_the_end_nothing_is_tried() {
    let subjects = [slow(Clock::new(), "nic", Duration::ZERO)];
    let known = Known::default();
    let results = certify(&job(&subjects, &known, &reopen, Budget::of(Duration::ZERO)), &|_| ());
    let results = enough(results, &Caveats::of([]));
    for result in results.iter().filter(|result| result.planned != 0) {
        let why = Outcome::Unsettled("not tried: the time was up".to_owned());
        assert_eq!((result.begun, &result.outcome), (0, &why), "{}", result.rule.id);
    }
}

/// The end comes while the case is tried: what it shows then says nothing.
#[test]
fn a_case_that_the_end_cuts_off_does_not_count() {
    let clock = Clock::new();
    let subjects = [slow(clock, "nic+macio-regs", 2 * SECOND)];
    let known = Known::default();
    let results = clock.drives(|| certify(&job(&subjects, &known, &reopen, Budget::of(SECOND)), &|_| ()));
    for result in results.iter().filter(|result| result.planned != 0) {
        // A description is asked for without an instance.
        let is_nothing = (result.judged, result.case.is_some()) == (0, false);
        assert!(
            is_nothing || result.rule.draws == Draws::Nothing,
            "{}: {:?}",
            result.rule.id,
            result.outcome
        );
    }
}

#[test]
fn what_there_is_no_time_to_confirm_is_unsettled_with_its_case() {
    let clock = Clock::new();
    let subjects = [slow(clock, "nic+macio-regs", Duration::ZERO)];
    let known = Known::default();
    let reopen = |name: &str| {
        clock.pass(5 * SECOND);
        reopen(name)
    };
    let twin = || vec![rules::named("twin-after-load").expect("a rule")];
    let results = clock.drives(|| {
        let job = job(&subjects, &known, &reopen, Budget::of(5 * SECOND));
        certify(&Job { rules: twin(), ..job }, &|_| ())
    });
    let why = "it could not be confirmed: the time was up";
    assert!(
        matches!(&results[0].outcome, Outcome::Unsettled(said) if said.ends_with(why)),
        "{:?}",
        results[0].outcome
    );
    assert!(results[0].case.as_ref().is_some_and(|case| case.rule == "twin-after-load"));
}

/// Halves of the cases, where the first ones show that all of them take too long.
#[test]
fn cases_are_as_many_as_fit() {
    let clock = Clock::new();
    let subjects = [slow(clock, "nic", SECOND / 100)];
    let known = Known::default();
    let chunking = || vec![rules::named("chunking").expect("a rule")];
    let run = |fit| {
        let job = job(&subjects, &known, &reopen, Budget::unlimited());
        let job = Job { rules: chunking(), cases: 40, fit, ..job };
        let Run { pieces, cost, .. } = clock.drives(|| run(&job, &|_| ()));
        (pieces[0].judged.planned, pieces[0].judged.begun, cost.map(|cost| cost.measured))
    };
    assert_eq!(run(None), (40, 40, None));
    assert_eq!(run(Some(1000 * SECOND)), (40, 40, Some(1)));
    assert_eq!(run(Some(Duration::ZERO)), (10, 10, Some(1)));
}

#[test]
fn what_proves_cheap_has_more_cases() {
    let clock = Clock::new();
    let subjects = [slow_at_first(clock, "nic", SECOND / 4, 8)];
    let known = Known::default();
    let rules = vec![rules::named("chunking").expect("a rule")];
    let job = job(&subjects, &known, &reopen, Budget::unlimited());
    // By its first case alone, ten cases would take longer than that.
    let fit = Some(8 * SECOND);
    let Run { pieces, .. } = clock.drives(|| run(&Job { rules, cases: 160, fit, ..job }, &|_| ()));
    assert_eq!((pieces[0].judged.planned, pieces[0].judged.begun), (160, 160));
}

#[test]
fn where_too_much_varies_a_difference_is_no_finding_and_a_failure_is() {
    let subjects = [slow(Clock::new(), "nic", Duration::ZERO)];
    let broken = |what: What| {
        let cause = Cause { what, ..Cause::default() };
        let finding = Finding { summary: "something".into(), cause, ..Finding::default() };
        RuleResult { outcome: Outcome::Broken(finding), ..RuleResult::new(rules::ALL[0], (0, 0)) }
    };
    let outcomes = || {
        let difference = What::Difference { place: "0:0x0".into(), kind: "value".into() };
        let failure = What::Failure { operation: "SET".into(), how: "EINVAL".into() };
        let results = vec![broken(difference), broken(failure)];
        let results = enough(results, &Caveats::of(subjects.iter().map(Caveat::of)));
        results.iter().map(|result| result.outcome.name()).collect::<Vec<_>>()
    };
    assert_eq!(outcomes(), ["broken", "broken"]);
    for at in 0..=crate::learned::PLACES as u64 {
        let place = Place::Bits { region: 0, offset: 8 * at, size: 8, bits: 1 };
        subjects[0].learned.add(place, crate::learned::Nature::Volatile, crate::learned::How::Pinned);
    }
    assert_eq!(outcomes(), ["unsettled", "broken"]);
}

/// What varies in a device is learned, and accuses nobody.
#[test]
fn a_counter_that_runs_is_learned() {
    let subjects = [reopen("builtin:counter").expect("a device")];
    for result in by_the_clock(&subjects, rules::ALL.to_vec(), 20) {
        let is_quiet = matches!(result.outcome, Outcome::Held | Outcome::NotApplicable(_));
        assert!(is_quiet, "{}: {:?}", result.rule.id, result.outcome);
    }
    let learned = subjects[0].learned.report();
    let counter = |place: &Place| matches!(place, Place::Bits { region: 0, offset: 0x10, size: 8, .. });
    assert!(matches!(&learned.entries[..], [only] if counter(&only.place)), "{learned:#?}");
}

#[test]
fn a_fault_is_found_beside_a_counter_that_runs() {
    let subjects = [reopen("builtin:counter+hisi-match-done").expect("a device")];
    let ping_pong = rules::named("ping-pong").expect("a rule");
    let results = by_the_clock(&subjects, vec![ping_pong], 60);
    assert!(matches!(results[0].outcome, Outcome::Broken(_)), "{:?}", results[0].outcome);
}

fn by_the_clock(subjects: &[Subject], rules: Vec<&'static Rule>, cases: u32) -> Vec<RuleResult> {
    let known = Known::default();
    Clock::new().drives(|| {
        let job = job(subjects, &known, &reopen, Budget::unlimited());
        certify(&Job { rules, cases, ..job }, &|_| ())
    })
}
