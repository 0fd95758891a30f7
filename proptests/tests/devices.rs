//! The kill matrix: every planted fault is noticed by a rule of the requirement that it breaks,
//! every rule notices something, and devices without faults are left alone.

use migcert::bench::Subject;
use migcert::certify::{Job, Unit, certify};
use migcert::devices::fault::Fault;
use migcert::devices::{self, engine};
use migcert::impls;
use migcert::rules::{self, Outcome, Rule};
use std::collections::BTreeSet;
use std::fs;

/// Within so many cases on each pair, a rule of its own requirement kills a fault.
const CASES: u32 = 300;
/// The other rules get so many.
const FEW: u32 = 40;

#[test]
fn every_fault_is_killed_and_every_rule_kills() {
    let mut matrix = String::from(HEAD);
    let mut killers = BTreeSet::new();
    let mut survivors = BTreeSet::new();
    for (name, row) in devices::faulty() {
        let (own, others) = killed_by(&name, row);
        if own.is_empty() {
            survivors.insert((row.breaks, row.id));
        }
        killers.extend(own.iter().chain(&others).copied());
        let others = if others.is_empty() { String::new() } else { format!(" | {}", others.join(" ")) };
        matrix += &format!("{} {}: {}{others}\n", row.breaks, row.id, own.join(" "));
    }
    golden("kills.txt", &matrix);
    assert_eq!(
        survivors,
        SURVIVORS.iter().copied().collect(),
        "survive the rules of the requirement that they break"
    );
    let idle = rules::ALL.iter().map(|rule| rule.id).filter(|id| !killers.contains(id));
    assert_eq!(idle.collect::<Vec<_>>(), [""; 0], "notice no fault");
}

/// What no rule notices yet.
const SURVIVORS: &[(&str, &str)] = &[
    // An operation on the host has to fail during a migration.
    ("R-6.2", "mlx5-pages-leak"),
    ("R-6.2", "ch-movebar"),
    ("R-6.2", "qemu-inactivate-partial"),
    ("R-1.4", "hisi-zero-qp"),
    ("R-1.4", "ch-missing-response"),
    ("R-1.4", "vfio-dirtylog-err"),
    ("R-1.4", "qemu-retval-overwritten"),
    // The log of written memory has to be compared with what was written.
    ("R-6.5", "mlx5-track-maxmsg"),
    ("R-6.5", "vhost-log-early-zero"),
    ("R-6.5", "vhost-log-mq"),
    ("R-6.5", "vblk-dirty-len"),
    ("R-6.5", "vfu-dirty"),
];

const HEAD: &str = "\
# Which rules notice a fault that was planted in a device, beside the release before its latest:
# requirement, fault, the rules of that requirement | other rules.
";

/// The rules that a fault breaks: those of its requirement, and others.
fn killed_by(name: &str, row: &Fault) -> (Vec<&'static str>, Vec<&'static str>) {
    let is_own = |rule: &&Rule| rule.cites == row.breaks;
    let device = name.split('+').next().unwrap_or_default();
    let fires = |rules: Vec<&'static Rule>, cases| -> Vec<&'static Rule> {
        let units = run(&[name.to_owned(), format!("{device}@2")], rules, cases);
        let broken = units.iter().filter(|unit| matches!(unit.outcome, Outcome::Broken(_)));
        let mut rules: Vec<_> = broken.map(|unit| unit.rule).collect();
        rules.dedup_by_key(|rule| rule.id);
        rules
    };
    let own = fires(rules::ALL.iter().copied().filter(is_own).collect(), CASES);
    // All of them together: a rule is not to blame where one that it builds on is.
    let others = fires(rules::ALL.to_vec(), FEW).into_iter().filter(|rule| !is_own(rule));
    (own.iter().map(|rule| rule.id).collect(), others.map(|rule| rule.id).collect())
}

/// The faults of the engine don't depend on the hardware around it.
#[test]
fn every_fault_of_the_engine_is_killed_in_a_synthetic_device() {
    let mut survivors = Vec::new();
    for row in engine::faults::ALL {
        let own = rules::ALL.iter().copied().filter(|rule| rule.cites == row.breaks).collect();
        let units = run(&[format!("builtin:synthetic+{}={INFO}", row.id)], own, CASES);
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
    for device in ["nic", "blk"] {
        let releases = [1, 2, 3].map(|release| format!("builtin:{device}@{release}"));
        let units = run(&releases, rules::ALL.to_vec(), CASES);
        for unit in &units {
            let quiet = matches!(unit.outcome, Outcome::Held | Outcome::NotApplicable(_));
            assert!(quiet, "{device}: {} on {:?}: {:?}", unit.rule.id, unit.pair, unit.outcome);
        }
    }
}

fn run(names: &[String], rules: Vec<&'static Rule>, cases: u32) -> Vec<Unit> {
    let open = |name: &str| impls::subject(name).map_err(|why| why.to_string());
    let subjects: Vec<Subject> = names.iter().map(|name| open(name).expect("a builtin")).collect();
    let job =
        Job { subjects: &subjects, rules, seed: 1, cases, shrinks: 0, jobs: 2, until: None, reopen: &open };
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
