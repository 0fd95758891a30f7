//! The kill matrix: every planted fault is noticed by a rule of the requirement that it breaks,
//! every rule notices something, and devices without faults are left alone.

use migcert::case::Case;
use migcert::certificate::RuleResult;
use migcert::certify::{Budget, Job, certify};
use migcert::devices::fault::{Events, Family, Fault};
use migcert::devices::{self, Faulty, engine};
use migcert::finding::Outcome;
use migcert::impls;
use migcert::known::Known;
use migcert::parallel::Threads;
use migcert::rule::Rule;
use migcert::rules;
use migcert::subject::Subject;
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

/// Of the faults, every so many are tried in the gate.
const EVERY: usize = 8;

/// A part of the matrix, which must be as the golden file has it. A fault that takes more cases than most is
/// for the long run.
#[test]
fn faults_are_killed_as_ever() {
    let golden = fs::read_to_string(golden_path("kills.txt")).expect("the matrix");
    let lines: BTreeSet<&str> = golden.lines().collect();
    let faults: Vec<_> = devices::faulty().step_by(EVERY).collect();
    let mut late = Vec::new();
    for faulty in &faults {
        match row(faulty, killed_by(faulty, CASES)) {
            Some(Row { line, .. }) => {
                assert!(
                    lines.contains(&*line),
                    "kills.txt has another line for this fault; it is now:\n{line}"
                );
            }
            None => late.push(faulty.fault.id),
        }
    }
    assert!(late.len() * EVERY <= faults.len(), "are noticed late: {late:?}");
}

#[test]
#[ignore = "long: all faults"]
fn every_fault_is_killed_and_every_rule_kills() {
    let mut matrix = String::from(HEAD);
    let mut killers = BTreeSet::new();
    let (mut late, mut survivors) = (Vec::new(), Vec::new());
    for faulty in devices::faulty() {
        let soon = row(&faulty, killed_by(&faulty, CASES));
        let row = soon.or_else(|| {
            late.push(faulty.fault.id);
            row(&faulty, killed_by(&faulty, LATE))
        });
        let Some(row) = row else {
            survivors.push((faulty.fault.breaks, faulty.fault.id));
            continue;
        };
        killers.extend(row.killers);
        matrix += &row.line;
        matrix += "\n";
    }
    golden("kills.txt", &matrix);
    assert_eq!(survivors, [], "survive the rules of the requirement that they break");
    let few = late.len() * 100 <= devices::faulty().count() * LATE_OF_HUNDRED;
    assert!(few, "are noticed late: {late:?}");
    let idle = rules::ALL.iter().map(|rule| rule.id).filter(|id| !killers.contains(id));
    assert_eq!(idle.collect::<Vec<_>>(), [""; 0], "notice no fault");
}

/// A fault that was killed.
struct Row {
    /// Its line in the matrix.
    line: String,
    /// The rules that notice it.
    killers: Vec<&'static str>,
}

/// None where no rule of the requirement that it breaks kills it.
fn row(faulty: &Faulty, (own, others, events): Killed) -> Option<Row> {
    if own.is_empty() {
        return None;
    }
    let Faulty { fault, name, .. } = faulty;
    let Events { reached, triggered } = events;
    let [reached, triggered] =
        [(reached, 'r'), (triggered, 't')].map(|(is, sign)| if is { sign } else { '-' });
    let beside = if others.is_empty() { String::new() } else { format!(" | {}", others.join(" ")) };
    let name = name.trim_start_matches("builtin:");
    let line = format!("{reached}{triggered}d {} {name}: {}{beside}", fault.breaks, own.join(" "));
    Some(Row { line, killers: [own, others].concat() })
}

const HEAD: &str = "\
# Which rules notice a fault that was planted in the latest release of a device, beside the one before:
# whether it was (r)eached, (t)riggered, (d)etected; requirement, fault, the rules of that requirement | other rules.
";

/// The rules that a fault breaks: those of its requirement, and others; and what the device noted.
type Killed = (Vec<&'static str>, Vec<&'static str>, Events);

fn killed_by(faulty: &Faulty, cases: u32) -> Killed {
    let is_own = |rule: &&Rule| rule.cites == faulty.fault.breaks;
    let mut events = Events::default();
    let mut fires = |rules: Vec<&'static Rule>, cases| -> Vec<&'static Rule> {
        let (subjects, faults) = zoo::open(faulty).expect("a builtin");
        let results = run(&subjects, rules, cases);
        let Events { reached, triggered } = faults.take_events(faulty.fault);
        events = Events { reached: events.reached || reached, triggered: events.triggered || triggered };
        let broken = results.iter().filter(|result| matches!(result.outcome, Outcome::Broken(_)));
        let mut rules: Vec<_> = broken.map(|result| result.rule).collect();
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
        let results = run(&opened(&[format!("builtin:synthetic+{}={INFO}", row.id)]), own, CASES);
        if !results.iter().any(|result| matches!(result.outcome, Outcome::Broken(_))) {
            survivors.push(row.id);
        }
    }
    assert_eq!(survivors, [""; 0]);
}

/// A model with PRE_COPY and P2P.
const INFO: &str = r#"{"models": {"vendor-a.com/nic": {"params":
    {"size": {"type": "int", "init_value": 2, "off_value": 0, "allowed_values": ["0-4"]}}}}}"#;

/// Cases of each rule, on each pair of a clean device, in the gate.
const SOME: u32 = 100;

#[test]
fn clean_devices_are_left_alone() {
    is_quiet(SOME);
}

#[test]
#[ignore = "long: more cases"]
fn clean_devices_are_left_alone_for_long() {
    is_quiet(CASES);
}

#[track_caller]
fn is_quiet(cases: u32) {
    for device in devices::ALL.iter().filter(|device| 1 < device.releases()) {
        let releases = (1..=device.releases()).map(|release| format!("builtin:{}@{release}", device.name));
        let results = run(&opened(&releases.collect::<Vec<_>>()), rules::ALL.to_vec(), cases);
        for result in &results {
            let quiet = matches!(result.outcome, Outcome::Held | Outcome::NotApplicable(_));
            assert!(quiet, "{}: {} on {:?}: {:?}", device.name, result.rule.id, result.pair, result.outcome);
        }
    }
}

fn open(name: &str) -> Result<Subject, String> {
    impls::subject(name).map_err(|why| why.to_string())
}

fn opened(names: &[String]) -> Vec<Subject> {
    names.iter().map(|name| open(name).expect("a builtin")).collect()
}

fn run(subjects: &[Subject], rules: Vec<&'static Rule>, cases: u32) -> Vec<RuleResult> {
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
        reuse: false,
        reopen: &open,
    };
    certify(&job, &|_| ())
}

/// Compares with a file in `corpus/golden`; `UPDATE_GOLDEN=1` writes it.
#[track_caller]
fn golden(name: &str, text: &str) {
    let path = golden_path(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, text).expect("written");
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "{name} differs; UPDATE_GOLDEN=1 writes it:\n{text}");
}

fn golden_path(name: &str) -> String {
    format!("{}/../corpus/golden/{name}", env!("CARGO_MANIFEST_DIR"))
}
