//! The kill matrix: every planted fault is noticed by a rule of the requirement that it breaks,
//! every rule notices something, and devices without faults are left alone.

use migcert::bench::Subject;
use migcert::case::Case;
use migcert::certify::{Budget, Job, Unit, certify};
use migcert::devices::fault::{Events, Family, Fault};
use migcert::devices::{self, Faulty, engine};
use migcert::impls;
use migcert::known::Known;
use migcert::parallel::Threads;
use migcert::rules::{self, Outcome, Rule};
use migcert::zoo;
use std::collections::BTreeSet;
use std::fs;

/// Within so many cases on each pair, a rule of its own requirement kills most faults.
const CASES: u32 = 300;
/// Within so many, all of them: ten times what `certify` tries.
const LATE: u32 = 10_000;
/// Of a hundred faults, so many may be late.
const LATE_OF_HUNDRED: usize = 3;
/// The other rules get so many.
const FEW: u32 = 40;

#[test]
fn every_fault_is_killed_and_every_rule_kills() {
    let mut matrix = String::from(HEAD);
    let mut killers = BTreeSet::new();
    let (mut late, mut survivors) = (Vec::new(), Vec::new());
    for faulty in devices::faulty() {
        let Faulty { fault, name, .. } = &faulty;
        let (mut own, others, mut events) = killed_by(&faulty, CASES);
        if own.is_empty() {
            late.push(fault.id);
            (own, _, events) = killed_by(&faulty, LATE);
        }
        if own.is_empty() {
            survivors.push((fault.breaks, fault.id));
        }
        let Events { reached, triggered } = events;
        killers.extend(own.iter().chain(&others).copied());
        let sign = |is: bool, letter| if is { letter } else { '-' };
        let signs = [(reached, 'r'), (triggered, 't'), (!own.is_empty(), 'd')];
        let signs: String = signs.into_iter().map(|(is, letter)| sign(is, letter)).collect();
        let others = if others.is_empty() { String::new() } else { format!(" | {}", others.join(" ")) };
        let name = name.trim_start_matches("builtin:");
        matrix += &format!("{signs} {} {name}: {}{others}\n", fault.breaks, own.join(" "));
    }
    golden("kills.txt", &matrix);
    assert_eq!(survivors, [], "survive the rules of the requirement that they break");
    let few = late.len() * 100 <= devices::faulty().count() * LATE_OF_HUNDRED;
    assert!(few, "are noticed late: {late:?}");
    let idle = rules::ALL.iter().map(|rule| rule.id).filter(|id| !killers.contains(id));
    assert_eq!(idle.collect::<Vec<_>>(), [""; 0], "notice no fault");
}

const HEAD: &str = "\
# Which rules notice a fault that was planted in the latest release of a device, beside the one before:
# whether it was (r)eached, (t)riggered, (d)etected; requirement, fault, the rules of that requirement | other rules.
";

/// The rules that a fault breaks: those of its requirement, and others.
fn killed_by(faulty: &Faulty, cases: u32) -> (Vec<&'static str>, Vec<&'static str>, Events) {
    let is_own = |rule: &&Rule| rule.cites == faulty.fault.breaks;
    let mut events = Events::default();
    let mut fires = |rules: Vec<&'static Rule>, cases| -> Vec<&'static Rule> {
        let (subjects, faults) = zoo::open(faulty).expect("a builtin");
        let units = run(&subjects, rules, cases);
        let Events { reached, triggered } = faults.take_events(faulty.fault);
        events = Events { reached: events.reached || reached, triggered: events.triggered || triggered };
        let broken = units.iter().filter(|unit| matches!(unit.outcome, Outcome::Broken(_)));
        let mut rules: Vec<_> = broken.map(|unit| unit.rule).collect();
        rules.dedup_by_key(|rule| rule.id);
        rules
    };
    let own = fires(rules::ALL.iter().copied().filter(is_own).collect(), cases);
    // All of them together: a rule is not to blame where one that it builds on is.
    let others = fires(rules::ALL.to_vec(), FEW).into_iter().filter(|rule| !is_own(rule));
    (own.iter().map(|rule| rule.id).collect(), others.map(|rule| rule.id).collect(), events)
}

/// No fault is dead: the smallest case that was found for it makes it differ.
/// `migcert zoo --seed 1 --witnesses corpus/witnesses` writes them; nothing but this reads them.
#[test]
fn every_fault_has_a_witness() {
    let folder = format!("{}/../corpus/witnesses", env!("CARGO_MANIFEST_DIR"));
    let mut strays: BTreeSet<_> = fs::read_dir(&folder)
        .expect("witnesses")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    for Faulty { fault, .. } in devices::faulty() {
        let file = format!("{}.toml", fault.id);
        let text = fs::read_to_string(format!("{folder}/{file}")).unwrap_or_default();
        let (case, _) = Case::from_toml(&text).unwrap_or_else(|why| panic!("{file}: {why}"));
        let Events { reached, triggered } = zoo::triggers(fault, &case).unwrap_or_else(|why| panic!("{why}"));
        assert!(reached && triggered, "{file}: reached {reached}, triggered {triggered}");
        strays.remove(&file);
    }
    assert_eq!(strays, BTreeSet::new(), "are of no fault");
}

/// What the zoo must hold: real bugs of every family, and faults that refuse what they must accept.
#[test]
fn the_zoo_is_complete() {
    let faults: Vec<_> = devices::faulty().map(|faulty| faulty.fault).collect();
    let ids: BTreeSet<_> = faults.iter().map(|fault| fault.id).collect();
    assert_eq!(ids.len(), faults.len(), "an id names one fault");
    for family in 'A'..='G' {
        let real =
            |fault: &&&Fault| fault.family.to_string() == family.to_string() && !fault.reference.is_empty();
        assert!(faults.iter().filter(real).count() >= 8, "family {family}");
    }
    let strict = faults.iter().filter(|fault| fault.family == Family::E && fault.breaks == "R-5.4");
    assert!(strict.count() >= 12, "faults that refuse what they must accept");
    for twin in faults.iter().filter(|fault| fault.reference.starts_with("twin of ")) {
        let lax = twin.reference.trim_start_matches("twin of ").split(':').next();
        assert!(lax.is_some_and(|id| ids.contains(id)), "{}: {lax:?}", twin.id);
    }
}

/// The faults of the engine don't depend on the hardware around it.
#[test]
fn every_fault_of_the_engine_is_killed_in_a_synthetic_device() {
    let mut survivors = Vec::new();
    for row in engine::faults::ALL {
        let own = rules::ALL.iter().copied().filter(|rule| rule.cites == row.breaks).collect();
        let units = run(&opened(&[format!("builtin:synthetic+{}={INFO}", row.id)]), own, CASES);
        if !units.iter().any(|unit| matches!(unit.outcome, Outcome::Broken(_))) {
            survivors.push(row.id);
        }
    }
    assert_eq!(survivors, [""; 0]);
}

/// A model with PRE_COPY and P2P.
const INFO: &str = r#"{"models": {"vendor-a.com/nic": {"params":
    {"size": {"type": "int", "init_value": 2, "off_value": 0, "allowed_values": ["0-4"]}}}}}"#;

#[test]
fn clean_devices_are_left_alone() {
    for device in devices::ALL.iter().filter(|device| 1 < device.releases()) {
        let releases = (1..=device.releases()).map(|release| format!("builtin:{}@{release}", device.name));
        let units = run(&opened(&releases.collect::<Vec<_>>()), rules::ALL.to_vec(), CASES);
        for unit in &units {
            let quiet = matches!(unit.outcome, Outcome::Held | Outcome::NotApplicable(_));
            assert!(quiet, "{}: {} on {:?}: {:?}", device.name, unit.rule.id, unit.pair, unit.outcome);
        }
    }
}

fn open(name: &str) -> Result<Subject, String> {
    impls::subject(name).map_err(|why| why.to_string())
}

fn opened(names: &[String]) -> Vec<Subject> {
    names.iter().map(|name| open(name).expect("a builtin")).collect()
}

fn run(subjects: &[Subject], rules: Vec<&'static Rule>, cases: u32) -> Vec<Unit> {
    let job = Job {
        subjects,
        rules,
        seed: 1,
        cases,
        shrinks: 0,
        threads: Threads::exactly(2),
        fit: None,
        budget: Budget::unlimited(),
        known: &Known::default(),
        reopen: &open,
    };
    certify(&job, &|_| ())
}

/// Compares with a file in `corpus/golden`; `UPDATE_GOLDEN=1` writes it.
#[track_caller]
fn golden(name: &str, text: &str) {
    let path = format!("{}/../corpus/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, text).expect("written");
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "{name} differs; UPDATE_GOLDEN=1 writes it:\n{text}");
}
