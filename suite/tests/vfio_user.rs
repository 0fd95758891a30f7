//! Devices over a vfio-user socket: what is found in process is found there, and nothing else.

use migcert::bench::Subject;
use migcert::certify::{Job, certify};
use migcert::devices::faulty;
use migcert::hosts::vfio_user::{Config, Socket, VfioUser};
use migcert::impls;
use migcert::rules::{self, Outcome, Rule};
use migcert_core::device::{Seen, Sight, State, Step};
use migcert_core::error::{Error, Misbehaved};
use migcert_core::program::Program;
use migcert_core::version::{Request, Setup};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Faults of each kind of rule; all of them are compared by `the_whole_matrix_is_the_same`.
const SOME: &[&str] = &[
    "pcihost-cfgaddr",
    "piece-lost",
    "spdk-precopy-consumes",
    "refusal-runs",
    "end-forgotten",
    "versionize-nolimit",
];

/// Faults that are seen through a socket otherwise than in process, and why.
const OTHERWISE: &[(&str, &str)] = &[
    ("describe-disturbs", "a program that is asked shares nothing with one that runs"),
    ("description-unstable", "a program that is asked does not know that it was asked before"),
    ("state-unreported", "the host reads every state back and accuses in whatever rule it is"),
];

#[test]
fn a_clean_device_passes() {
    assert_eq!(killers(&served("builtin:nic"), &served, rules::ALL.to_vec(), 4), none());
}

#[test]
fn faults_are_seen_as_in_process() {
    for (device, row) in faulty().filter(|(_, row)| SOME.contains(&row.id)) {
        let own = rules::ALL.iter().copied().filter(|rule| rule.cites == row.breaks);
        let (here, there) = both(&device.with(row), own.collect(), 30);
        assert_eq!(here, there, "{}", row.id);
        assert_ne!(here, none(), "{}", row.id);
    }
}

#[test]
#[ignore = "takes some minutes; run it with --release"]
fn the_whole_matrix_is_the_same() {
    let cases = std::env::var("CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(20);
    let mut differ = Vec::new();
    for (device, row) in faulty().filter(|(_, row)| !OTHERWISE.iter().any(|(id, _)| *id == row.id)) {
        let (here, there) = both(&device.with(row), rules::ALL.to_vec(), cases);
        eprintln!("{} {}: {here:?}", row.breaks, row.id);
        if here != there {
            eprintln!("over the socket: {there:?}");
            differ.push((row.id, here, there));
        }
    }
    assert!(differ.is_empty(), "fault, rules in process, rules over the socket: {differ:#?}");
}

/// Which rules a fault breaks, in process and over a socket.
fn both(
    name: &str,
    rules: Vec<&'static Rule>,
    cases: u32,
) -> (BTreeSet<&'static str>, BTreeSet<&'static str>) {
    (killers(&builtin(name), &builtin, rules.clone(), cases), killers(&served(name), &served, rules, cases))
}

fn none() -> BTreeSet<&'static str> {
    BTreeSet::new()
}

fn killers(
    subject: &Subject,
    open: &(dyn Fn(&str) -> Subject + Sync),
    rules: Vec<&'static Rule>,
    cases: u32,
) -> BTreeSet<&'static str> {
    let subjects = [open(&subject.name)];
    let reopen = |name: &str| Ok(open(name));
    let job =
        Job { subjects: &subjects, rules, seed: 1, cases, shrinks: 0, jobs: 2, until: None, reopen: &reopen };
    let units = certify(&job, &|_| ());
    units
        .iter()
        .filter_map(|unit| match &unit.outcome {
            Outcome::Broken(_) => Some(unit.rule.id),
            Outcome::Unsettled(why) => panic!("{} is unsettled: {why}", unit.rule.id),
            _ => None,
        })
        .collect()
}

fn builtin(name: &str) -> Subject {
    impls::subject(name).unwrap_or_else(|why| panic!("{why}"))
}

/// The same device behind a socket, under the same name, so that the same cases are drawn.
fn served(name: &str) -> Subject {
    let program = program(name, Socket::Path);
    let manifest = program.describe().unwrap_or_else(|why| panic!("{why}"));
    Subject::new(name.to_owned(), Box::new(program), manifest)
}

fn program(name: &str, socket: Socket) -> VfioUser {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_migcert"));
    let args = vec!["serve".to_owned(), name.to_owned()];
    VfioUser::new(Config { args, socket, ..Config::standard(binary) })
}

#[test]
fn a_descriptor_is_as_good_as_a_path() {
    for socket in [Socket::Path, Socket::Descriptor] {
        let mut device = start(&program("builtin:nic", socket), "num-queues=4").expect("starts");
        let features = device.guest(&Step::Read { region: 0, offset: 0x18, size: 4 }).expect("reads");
        assert_eq!(features, Seen(vec![Sight::Value(0x1004)]));
        assert_eq!(device.state().expect("has a state"), State::Running);
    }
}

fn start(program: &VfioUser, setup: &str) -> Result<Box<dyn migcert_core::device::Device>, Error> {
    let manifest = program.describe().expect("described");
    let (id, model) = manifest.models.first_key_value().expect("a model");
    let setup = Request::parse([setup]).expect("a request").expand(model).expect("a setup");
    program.start(id, &setup, &program.outside().expect("an outside"))
}

#[test]
fn a_refusal_is_in_the_words_of_the_program() {
    let program = program("builtin:nic", Socket::Path);
    let (id, _) = program.describe().expect("described").models.pop_first().expect("a model");
    let setup = |name: &str, value| Setup::Params([(name.parse().expect("a name"), value)].into());
    let refused = |setup: &Setup| {
        let started = program.start(&id, setup, &program.outside().expect("an outside"));
        match started {
            Err(Error::Refused(why)) => why.to_string(),
            Err(why) => panic!("{why}"),
            Ok(_) => panic!("it started"),
        }
    };
    let int = migcert_core::param::Value::Int;
    assert_eq!(
        refused(&setup("num-queues", int(3))),
        "the device refused: exit status 1: `num-queues=3` is not allowed"
    );
    assert_eq!(
        refused(&setup("no-such", int(3))),
        "the device refused: exit status 1: parameter `no-such` is not known"
    );
}

#[test]
fn a_device_that_breaks_is_told_of_with_its_last_words() {
    let mut device = start(&program("builtin:nic+fields-unchecked", Socket::Path), "").expect("starts");
    // The plain state of this fault: a magic number, then a mask, a cause, ... the index.
    device.set_state(State::StopCopy).expect("stops");
    let mut state = vec![0; 1 << 16];
    let count = device.read_state(&mut state).expect("reads");
    state.truncate(count);
    state[16] = 200;
    device.set_state(State::Resuming).expect("waits for a state");
    device.write_state(&state).expect("writes");
    device.set_state(State::Running).expect("runs");
    let broken = device.guest(&Step::Read { region: 0, offset: 0x14, size: 4 });
    match broken {
        Err(Error::Misbehaved(Misbehaved::Died { during, how })) => {
            assert_eq!(during, "REGION_READ 0:0x14/4");
            assert!(how.starts_with("exit status 101; its last words: "), "{how}");
        }
        other => panic!("{other:?}"),
    }
}
