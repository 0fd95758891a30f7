//! Devices over a vfio-user socket: what is found in process is found there, and nothing else.

use crate::example::example;
use arbitrary::Unstructured;
use migcert::bench::Bench;
use migcert::case::Case;
use migcert::certificate::RuleResult;
use migcert::certify::{self, Budget, Job, certify};
use migcert::devices::{fault::Fault, faulty};
use migcert::finding::Outcome;
use migcert::generate::script::{self, Between};
use migcert::hosts::limits::Limits;
use migcert::hosts::template::Template;
use migcert::hosts::vfio_user::{Config, Socket, Told, VfioUser};
use migcert::impls;
use migcert::known::Known;
use migcert::parallel::Threads;
use migcert::rule::Rule;
use migcert::rules;
use migcert::subject::Subject;
use migcert_core::device::{Seen, Sight, State, Step};
use migcert_core::error::{Error, Misbehaved, Refusal};
use migcert_core::param::Value;
use migcert_core::program::{Manifest, Program};
use migcert_core::version::{Request, Setup};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

/// Limits that only a hang reaches.
const LIMITS: Limits = Limits::of(Duration::from_secs(300));

/// Faults that a socket hides, and why.
const HIDDEN: &[(&str, &str)] = &[
    ("describe-disturbs", "a program that is asked shares nothing with one that runs"),
    ("memory-by-host", "a program believes that it runs on the first host"),
    ("token-for-state", "a program has a table of its own, where no state of another lies"),
    ("token-padded", "a program has a table of its own, where no state of another lies"),
];

/// Cases that a rule of the fault's own requirement, and any rule, is tried on in process.
const CASES: [u32; 2] = [300, 40];
/// Of the rules that notice nothing, every so many are tried over the socket as well; which of
/// them, differs from fault to fault.
const QUIET: usize = 3;

#[test]
fn a_clean_device_passes() {
    let subjects = [served("builtin:nic")];
    for result in run(&subjects, &|name| Ok(served(name)), rules::ALL.to_vec(), 4) {
        let quiet = matches!(result.outcome, Outcome::Held | Outcome::NotApplicable(_));
        assert!(quiet, "{}: {:?}", result.rule.id, result.outcome);
    }
}

/// What an instance shows that served before, and is sent whole scripts, is what a new one shows: outcomes, and
/// how much guests saw.
#[test]
fn reused_instances_show_what_new_ones_show() {
    let rules = ["twin-after-load", "chunking", "source-goes-on"].map(|id| rules::named(id).expect("a rule"));
    let subjects = [served("builtin:nic")];
    let reopen = |name: &str| Ok(served(name));
    let ran = |reuse| {
        let known = Known::default();
        let job = job(&subjects, &known, &reopen, rules.to_vec(), 40);
        let ran = certify::run(&Job { reuse, ..job }, &|_| ());
        let reused = ran.reused.into_iter().flatten().map(|reused| (reused.cases, reused.differs)).next();
        let judged = ran.pieces.into_iter().map(|piece| piece.judged);
        let judged = judged.map(|judged| (judged.rule.id, judged.outcome, judged.judged, judged.counted));
        (judged.collect::<Vec<_>>(), reused)
    };
    let ((new, none), (reused, cases)) = (ran(false), ran(true));
    assert_eq!((none, cases), (None, Some((120, None))));
    assert_eq!(new, reused);
}

/// Whoever breaks a rule in process breaks it over the socket by the same case; who doesn't, doesn't.
#[test]
#[ignore = "long: all faults"]
fn the_kill_matrix_is_the_same() {
    const THREADS: usize = 4;
    let beside = [builtin(BESIDE), served(BESIDE)];
    let of_nic = faulty().filter(|faulty| faulty.name.starts_with("builtin:nic+"));
    let rows = Mutex::new(of_nic.map(|faulty| faulty.fault).enumerate());
    let next = || rows.lock().expect("whole").next();
    let differ = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some((at, row)) = next() {
                    let found = differences(at, row, &beside);
                    differ.lock().expect("whole").extend(found.into_iter().map(|what| (row.id, what)));
                }
            });
        }
    });
    let differ = differ.into_inner().expect("whole");
    let is_hidden = |id: &str| HIDDEN.iter().any(|(hidden, _)| *hidden == id);
    let (hidden, wrong): (Vec<_>, Vec<_>) = differ.into_iter().partition(|(id, _)| is_hidden(id));
    assert!(wrong.is_empty(), "{wrong:#?}");
    let not_hidden = HIDDEN.iter().find(|(id, _)| !hidden.iter().any(|(found, _)| found == id));
    assert_eq!(not_hidden, None, "{hidden:#?}");
}

/// The release that a faulty one is paired with.
const BESIDE: &str = "builtin:nic@2";

/// The rules, but those that make the host fail: the host of a program is out of reach.
fn comparable() -> impl Iterator<Item = &'static Rule> {
    rules::ALL.iter().copied().filter(|rule| !rule.id.starts_with("trouble-"))
}

/// What becomes of cases that are judged otherwise over the socket than in process.
fn differences(at: usize, row: &Fault, beside: &[Subject; 2]) -> Vec<String> {
    let name = format!("builtin:nic+{}", row.id);
    let [here, there] = [builtin(&name), served(&name)];
    let judged = |(rule, (from, to), case): (&'static Rule, (usize, usize), Case)| {
        let [here, there] = [[&here, &beside[0]], [&there, &beside[1]]].map(|on| {
            let outcome = rule.judge(&Bench::new(&case, on[from], on[to]));
            (outcome.name(), outcome)
        });
        (here.0 != there.0).then(|| format!("{}: {:?}, over the socket {:?}", rule.id, here.1, there.1))
    };
    let mut cases = killers(row);
    let quiet = comparable().filter(|rule| !cases.iter().any(|(killer, ..)| killer.id == rule.id));
    let quiet: Vec<_> = quiet.enumerate().filter(|(i, _)| (i + at).is_multiple_of(QUIET)).collect();
    cases.extend(quiet.into_iter().filter_map(|(_, rule)| Some((rule, (0, 0), drawn(rule, &here)?))));
    cases.into_iter().filter_map(judged).collect()
}

/// The rules that a fault breaks in process, and cases that break them.
fn killers(row: &Fault) -> Vec<(&'static Rule, (usize, usize), Case)> {
    let subjects = [format!("builtin:nic+{}", row.id), BESIDE.to_owned()].map(|name| builtin(&name));
    let own = comparable().filter(|rule| rule.cites == row.breaks);
    let runs = [(own.collect(), CASES[0]), (comparable().collect(), CASES[1])];
    let results =
        runs.into_iter().flat_map(|(rules, cases)| run(&subjects, &|name| Ok(builtin(name)), rules, cases));
    let mut killers: Vec<_> =
        results.filter_map(|result| Some((result.rule, result.pair, result.case?))).collect();
    killers.sort_by_key(|(rule, pair, _)| (rule.id, *pair));
    killers.dedup_by_key(|(rule, pair, _)| (rule.id, *pair));
    assert!(!killers.is_empty(), "{} is not noticed in process", row.id);
    killers
}

/// One case of a rule, long, and the same for every fault.
fn drawn(rule: &Rule, subject: &Subject) -> Option<Case> {
    let bytes: Vec<u8> = (0..1024u32).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
    let between = Between {
        source: (&subject.name, &subject.manifest),
        destination: (&subject.name, &subject.manifest),
        interface: &|model, setup| subject.interface(model, setup).ok(),
        number: None,
    };
    script::case(&mut Unstructured::new(&bytes), rule, &between).expect("enough bytes")
}

fn run(
    subjects: &[Subject],
    reopen: &(dyn Fn(&str) -> Result<Subject, String> + Sync),
    rules: Vec<&'static Rule>,
    cases: u32,
) -> Vec<RuleResult> {
    certify(&job(subjects, &Known::default(), reopen, rules, cases), &|_| ())
}

fn job<'a>(
    subjects: &'a [Subject],
    known: &'a Known,
    reopen: &'a (dyn Fn(&str) -> Result<Subject, String> + Sync),
    rules: Vec<&'static Rule>,
    cases: u32,
) -> Job<'a> {
    Job {
        subjects,
        rules,
        seed: 1,
        cases,
        shrinks: 0,
        threads: Threads::exactly(1),
        fit: None,
        budget: Budget::unlimited(),
        known,
        reuse: false,
        reopen,
    }
}

fn builtin(name: &str) -> Subject {
    impls::subject(name).unwrap_or_else(|why| panic!("{why}"))
}

/// The same device behind a socket, under the same name, so that the same cases are drawn.
fn served(name: &str) -> Subject {
    let program = program(name, Socket::Path);
    let manifest = program.describe().unwrap_or_else(|why| panic!("{why}"));
    // What is served has no time of its own, here or there.
    Subject::new(name.to_owned(), Box::new(program), manifest).timeless()
}

fn program(name: &str, socket: Socket) -> VfioUser {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_migcert"));
    let args = ["serve", name].map(Template::exactly).to_vec();
    VfioUser::new(Config { args, socket, limits: LIMITS, ..Config::standard(binary) })
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

/// A value of a parameter is what it is, whatever stands in it, for a program with options and for one
/// with arguments of its own.
#[test]
fn any_value_arrives_as_it_is() {
    const VALUES: &[&str] = &["{scratch}", "{socket}", "{fd}", "{param:x}", "a{b", "{{", "a}", "", " $x '\""];
    let json = json!({"models": {"example.org/x": {"params": {"x": {
        "type": "str", "init_value": VALUES[0], "allowed_values": VALUES,
    }}}}});
    let manifest = Manifest::from_json(json.to_string().as_bytes()).expect("described");
    let script =
        |last: &str| ["-c".to_owned(), format!("echo \"got <{last}>\" >&2; exit 1"), "sh".to_owned()];
    let by_options = (script("$2"), vec![], Told::ByOptions);
    let own = [
        "-l".parse().expect("parsed"),
        "{socket}".parse().expect("parsed"),
        "--x={param:x}".parse().expect("parsed"),
    ];
    let by_placeholders = (script("$3"), own.to_vec(), Told::ByPlaceholders);
    for (script, own, told) in [by_options, by_placeholders] {
        let args = script.map(Template::exactly).into_iter().chain(own).collect();
        let standard = Config { limits: LIMITS, ..Config::standard(PathBuf::from("/bin/sh")) };
        let program = VfioUser::new(Config { args, told, manifest: Some(manifest.clone()), ..standard });
        for value in VALUES {
            let named = [("x".parse().expect("a name"), Value::Str((*value).into()))];
            let setup = Setup::Params(named.into());
            let outside = program.outside().expect("an outside");
            let id = manifest.models.first_key_value().expect("a model").0;
            let Err(Error::Refused(why)) = program.start(id, &setup, &outside) else { panic!("it started") };
            let Refusal::Ended { words, .. } = &why else { panic!("{why}") };
            let option = if told == Told::ByOptions { "--m-x=" } else { "--x=" };
            assert!(words.to_string().contains(&format!("got <{option}{value}>")), "{words}");
        }
    }
}

/// Rules about a reset say that there is none; to the others, a fresh process is as good.
#[test]
fn a_device_without_a_reset_passes() {
    let open = |name: &str| {
        let args = vec![Template::exactly("--no-reset")];
        let program = VfioUser::new(Config { args, limits: LIMITS, ..Config::standard(example("rtc")) });
        let manifest = program.describe().map_err(|why| why.to_string())?;
        Ok(Subject::new(name.to_owned(), Box::new(program), manifest))
    };
    let subjects = [open("rtc").expect("described")];
    let mut without = Vec::new();
    for result in run(&subjects, &open, rules::ALL.to_vec(), 4) {
        match result.outcome {
            Outcome::NotApplicable(why) if why == "the device does not offer a reset".into() => {
                without.push(result.rule.id);
            }
            Outcome::Held | Outcome::NotApplicable(_) => {}
            other => panic!("{}: {other:?}", result.rule.id),
        }
    }
    assert_eq!(
        without,
        ["refusal-leaves-nothing", "refusal-can-be-retried", "reset-is-fresh", "reset-forgets-a-load",]
    );
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
        "the program ended with exit status 1: refused: `num-queues=3` is not allowed"
    );
    assert_eq!(
        refused(&setup("no-such", int(3))),
        "the program ended with exit status 1: refused: parameter `no-such` is not known"
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
        Err(Error::Misbehaved(Misbehaved::Died { during, how, words })) => {
            assert_eq!(during, "REGION_READ 0:0x14/4");
            assert_eq!(how, "exit status 101");
            assert!(words.last_during().is_some());
        }
        other => panic!("{other:?}"),
    }
}
