//! Control runs: devices that are not deterministic pass, what of them is volatile is learned, and
//! what is wrong with them beside is found. Devices that are deterministic teach nothing.

use migcert::certificate::RuleResult;
use migcert::certify::{Budget, Job, certify};
use migcert::devices;
use migcert::finding::Outcome;
use migcert::impls;
use migcert::known::Known;
use migcert::learned::{Learned, Nature, Place, Report};
use migcert::parallel::Threads;
use migcert::rule::Rule;
use migcert::rules;
use migcert::subject::Subject;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;

/// Cases of each rule.
const CASES: u32 = 20;

#[test]
fn a_counter_that_runs_is_learned() {
    let learned = passes("builtin:counter");
    let all = |place: &Place| matches!(place, Place::Bits { region: 0, offset: 0x10, size: 8, .. });
    assert!(is_all_of_it(&learned, all), "{learned:#?}");
}

#[test]
fn a_serial_number_that_is_drawn_is_learned() {
    let learned = passes("builtin:serial-number");
    let all = |place: &Place| matches!(place, Place::Bits { region: 0, offset: 0x18, size: 8, .. });
    assert!(is_all_of_it(&learned, all), "{learned:#?}");
    assert_eq!(learned.entries[0].nature, Nature::Instance);
}

#[test]
fn an_interrupt_that_comes_late_is_learned() {
    let learned = passes("builtin:late");
    let all = |place: &Place| *place == Place::Interrupt { vector: 0, late: true };
    assert!(is_all_of_it(&learned, all), "{learned:#?}");
}

fn is_all_of_it(learned: &Report, is_expected: impl Fn(&Place) -> bool) -> bool {
    let [only] = &learned.entries[..] else { return false };
    is_expected(&only.place) && only.hid != 0 && learned.too_much().is_none()
}

/// What is learned of a device that passes.
#[track_caller]
fn passes(name: &str) -> Report {
    let subjects = [open(name)];
    for result in run(&subjects, rules::ALL.to_vec(), CASES) {
        let is_quiet = matches!(result.outcome, Outcome::Held | Outcome::NotApplicable(_));
        assert!(is_quiet, "{name}, {}: {:?}", result.rule.id, result.outcome);
    }
    subjects[0].learned.report()
}

/// What was pinned is not learned again, and nothing else is.
#[test]
fn what_is_pinned_is_excluded_from_the_start() {
    let place = Place::Bits { region: 0, offset: 0x10, size: 8, bits: u64::MAX };
    let pinned = Arc::new(Learned::pinned([(place, Nature::Volatile)], vec![]));
    let subjects = [Subject { learned: Arc::clone(&pinned), ..open("builtin:counter") }];
    let about_moving = rules::selected(&["R-1".to_owned()]).expect("rules");
    for result in run(&subjects, about_moving, CASES) {
        let is_quiet = matches!(result.outcome, Outcome::Held | Outcome::NotApplicable(_));
        assert!(is_quiet, "{}: {:?}", result.rule.id, result.outcome);
    }
    assert_eq!(pinned.generation(), 0);
    assert_eq!(pinned.report().pins(), [""; 0], "nothing new was learned");
}

/// A device may have a clock and a fault. Most of the time, control runs sleep: one thread each.
#[test]
fn faults_are_found_beside_what_is_volatile() {
    const FAULTS: &[(&str, &str)] = &[
        ("hisi-match-done", "ping-pong"),
        ("session-resumed", "sessions-end"),
        ("late-goes-on", "stop-is-still"),
        ("serial-lost", "twin-after-load"),
        ("vfio-realize-cleanup", "refusal-can-be-retried"),
        ("plain-format", "damage-is-noticed"),
        ("pds-fds-reset", "reset-is-fresh"),
    ];
    let find = |device: &str, fault: &str, rule: &str| {
        let name = format!("builtin:{device}+{fault}");
        let own = rules::selected(&[rule.to_owned()]).expect("a rule");
        let results = run(&[open(&name)], own, 60);
        let found = results.iter().any(|result| matches!(result.outcome, Outcome::Broken(_)));
        assert!(found, "{name}: {:#?}", results.iter().map(|result| &result.outcome).collect::<Vec<_>>());
    };
    thread::scope(|scope| {
        for device in devices::CLOCKS {
            let has = |fault: &str| device.faults().any(|known| known.id == fault);
            for (fault, rule) in FAULTS.iter().filter(|(fault, _)| has(fault)) {
                scope.spawn(|| find(device.name, fault, rule));
            }
        }
    });
    // No other test finds what only these devices have.
    let of_others: BTreeSet<&str> = devices::faulty().map(|faulty| faulty.fault.id).collect();
    let own = devices::CLOCKS.iter().flat_map(|device| device.faults()).map(|fault| fault.id);
    let unfound: Vec<&str> =
        own.filter(|id| !of_others.contains(id) && !FAULTS.iter().any(|(fault, _)| fault == id)).collect();
    assert!(unfound.is_empty(), "{unfound:?}");
}

#[test]
fn devices_that_are_deterministic_teach_nothing() {
    for device in devices::ALL.iter().filter(|device| 1 < device.releases()) {
        let subjects =
            [1, device.releases()].map(|release| open(&format!("builtin:{}@{release}", device.name)));
        for result in run(&subjects, rules::ALL.to_vec(), 10) {
            let is_quiet = matches!(result.outcome, Outcome::Held | Outcome::NotApplicable(_));
            assert!(is_quiet, "{}, {}: {:?}", device.name, result.rule.id, result.outcome);
        }
        assert!(subjects.iter().all(|subject| subject.learned.is_empty()), "{}", device.name);
    }
}

fn open(name: &str) -> Subject {
    impls::subject(name).unwrap_or_else(|why| panic!("{why}"))
}

fn run(subjects: &[Subject], rules: Vec<&'static Rule>, cases: u32) -> Vec<RuleResult> {
    let job = Job {
        subjects,
        rules,
        seed: 1,
        cases,
        shrinks: 50,
        threads: Threads::exactly(2),
        budget: Budget::unlimited(),
        fit: None,
        known: &Known::default(),
        reuse: false,
        reopen: &|name| Ok(open(name)),
    };
    certify(&job, &|_| ())
}
