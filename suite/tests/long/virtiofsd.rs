//! The real virtiofsd behind the two traits, with real FUSE traffic.

use arbitrary::Unstructured;
use migcert::guests::virtio_fs::{Drawn, NAMED, Opens, draw};
use migcert::hosts::limits::Limits;
use migcert::hosts::vhost_user::{Config, Processes, VhostUser};
use migcert::implementation::Which;
use migcert::profile::Profile;
use migcert_core::device::{Device, Interface, Outside, Seen, Sight, State, Step};
use migcert_core::envelope::BadState;
use migcert_core::error::{Error, Misbehaved, Refusal};
use migcert_core::model::ModelId;
use migcert_core::program::{Manifest, Program};
use migcert_core::version::Setup;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

const RELEASES: [&str; 3] = ["1.11.0", "1.13.2", "1.14.0"];

fn model() -> ModelId {
    ModelId::from("gitlab.com/virtio-fs/virtiofsd")
}

fn profile() -> Profile {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/virtiofsd.toml");
    Profile::read(&path).unwrap_or_else(|why| panic!("{why}"))
}

fn program(release: &str, processes: Processes) -> Box<dyn Program> {
    let found = profile().find(&Which::Release(release.to_owned()), processes);
    found.unwrap_or_else(|why| panic!("{why}; run scripts/install-devices")).program
}

/// A program of our own choice instead of virtiofsd.
fn other(program: &str, args: &[&str]) -> Box<dyn Program> {
    let manifest =
        Manifest { models: [(model(), migcert_core::program::Model::Params(Default::default()))].into() };
    Box::new(VhostUser::new(Config {
        program: PathBuf::from(program),
        args: args.iter().map(|arg| arg.parse().expect("a template")).collect(),
        manifest,
        guest: Opens::Any,
        limits: Limits::of(Duration::from_millis(300)),
        processes: Processes::Fresh,
        shared: vec![],
    }))
}

fn begin(program: &dyn Program, outside: &Outside) -> Result<Box<dyn Device>, Error> {
    let setup = match program.describe()?.models.get(&model()) {
        Some(model) => model.latest(),
        None => Setup::Params(BTreeMap::new()),
    };
    program.start(&model(), &setup, outside)
}

fn outside(program: &dyn Program) -> Outside {
    program.outside().expect("an outside")
}

fn start(program: &dyn Program, outside: &Outside) -> Box<dyn Device> {
    begin(program, outside).unwrap_or_else(|why| panic!("start: {why}"))
}

fn try_ask(device: &mut dyn Device, words: &str) -> Result<String, Error> {
    let Seen(seen) = device.guest(&Step::Request(words.to_owned()))?;
    let words = seen.iter().map(|sight| match sight {
        Sight::Words(words) => words.clone(),
        other => other.to_string(),
    });
    Ok(words.collect::<Vec<String>>().join(" | "))
}

#[track_caller]
fn ask(device: &mut dyn Device, words: &str) -> String {
    try_ask(device, words).unwrap_or_else(|why| panic!("{words}: {why}"))
}

#[track_caller]
fn does(device: &mut dyn Device, script: &[(&str, &str)]) {
    for (words, expected) in script {
        assert_eq!(ask(device, words), *expected, "{words}");
    }
}

fn save(device: &mut dyn Device) -> Result<Vec<u8>, Error> {
    device.set_state(State::StopCopy)?;
    let mut state = Vec::new();
    let mut piece = [0; 100];
    loop {
        match device.read_state(&mut piece)? {
            0 => return Ok(state),
            n => state.extend_from_slice(&piece[..n]),
        }
    }
}

fn load(device: &mut dyn Device, state: &[u8]) -> Result<(), Error> {
    device.set_state(State::Resuming)?;
    device.write_state(state)?;
    device.set_state(State::Stop)
}

#[track_caller]
fn migrate(mut source: Box<dyn Device>, mut destination: Box<dyn Device>) -> Box<dyn Device> {
    let state = save(&mut *source).unwrap_or_else(|why| panic!("save: {why}"));
    load(&mut *destination, &state).unwrap_or_else(|why| panic!("load: {why}"));
    let memory = source.guest_memory().expect("guest memory");
    destination.set_guest_memory(&memory).expect("takes guest memory");
    drop(source);
    destination.set_state(State::Running).expect("runs");
    destination
}

const BEFORE: &[(&str, &str)] = &[
    ("lookup root a", "#1 file 0644 size 6 links 1 owner 0:0"),
    ("open #1 rw", "%1"),
    ("read %1 0 64", "\"first\\x0a\""),
    ("write %1 6 \"second\"", "6 written"),
    ("lookup root b", "#2 file 0600 size 37 links 2 owner 0:0"),
    ("lookup root hard", "#2 file 0600 size 37 links 2 owner 0:0"),
    ("lookup root nothing", "ENOENT"),
    ("lookup root soft", "#3 symlink 0777 size 3 links 1 owner 0:0"),
    ("readlink #3", "\"d/c\""),
    ("create root new 0640 rw", "#4 file 0640 size 0 links 1 owner 0:0 %2"),
    ("write %2 0 300*\"x\"", "300 written"),
    ("lookup root d", "#5 directory 0755 owner 0:0"),
    ("opendir #5", "%3"),
    ("readdir %3 4000", "\".\" directory, \"..\" directory, \"c\" file, \"e\" directory"),
    ("getattr #9", ""),
];

const AFTER: &[(&str, &str)] = &[
    ("read %1 0 64", "\"first\\x0asecond\""),
    ("lookup root a", "#1 file 0644 size 12 links 1 owner 0:0"),
    ("getattr #4", "file 0640 size 300 links 1 owner 0:0"),
    ("write %2 300 \"y\"", "1 written"),
    ("fgetattr %2", "file 0640 size 301 links 1 owner 0:0"),
    ("readdir %3 4000", "end"),
    ("lookup #5 c", "#6 file 0644 size 5 links 1 owner 0:0"),
    ("rename root new #5 moved replace", "done"),
    ("lookup #5 moved", "#4 file 0640 size 301 links 1 owner 0:0"),
    ("release %1", "done"),
    ("read %1 0 64", ""),
    ("forget #2 1", ""),
    ("getattr #2", "file 0600 size 37 links 2 owner 0:0"),
    ("forget #2 9", ""),
    ("getattr #2", ""),
    ("statfs root", "blocks of 4096, names of 255"),
];

#[test]
fn a_guest_goes_on_after_a_migration() {
    for release in RELEASES {
        let program = program(release, Processes::Fresh);
        let ours = outside(&*program);
        let mut source = start(&*program, &ours);
        let destination = start(&*program, &ours);
        does(&mut *source, BEFORE);
        does(&mut *migrate(source, destination), AFTER);
    }
}

#[test]
fn a_guest_goes_on_after_pre_copy() {
    for release in RELEASES {
        let program = program(release, Processes::Fresh);
        let ours = outside(&*program);
        let mut source = start(&*program, &ours);
        let destination = start(&*program, &ours);
        does(&mut *source, &BEFORE[..8]);
        source.set_state(State::PreCopy).expect("announces");
        assert_eq!(source.read_state(&mut [0; 64]).expect("reads"), 0);
        does(&mut *source, &BEFORE[8..]);
        does(&mut *migrate(source, destination), AFTER);
    }
}

#[test]
fn the_other_pairs_load_or_are_refused_early() {
    let setup = |release: &str| program(release, Processes::Fresh).describe().expect("described");
    for (from, to, compatible) in [
        ("1.11.0", "1.14.0", false),
        ("1.14.0", "1.11.0", false),
        ("1.13.2", "1.14.0", true),
        ("1.14.0", "1.13.2", true),
    ] {
        let (here, there) = (setup(from), setup(to));
        let model_here = &here.models[&model()];
        let verdict = migcert_core::compat::check(&model(), model_here, &model_here.latest(), &there);
        assert_eq!(verdict.is_compatible(), compatible, "{from} to {to}");
        if compatible {
            let (old, new) = (program(from, Processes::Fresh), program(to, Processes::Fresh));
            let ours = outside(&*old);
            let mut source = start(&*old, &ours);
            does(&mut *source, BEFORE);
            does(&mut *migrate(source, start(&*new, &ours)), AFTER);
        }
    }
}

#[test]
fn what_is_in_flight_completes_once() {
    for release in RELEASES {
        let program = program(release, Processes::Reused);
        for in_flight in 0..12 {
            let ours = outside(&*program);
            let mut source = start(&*program, &ours);
            let destination = start(&*program, &ours);
            does(&mut *source, &BEFORE[..2]);
            for i in 0..in_flight {
                ask(&mut *source, &format!("post write %1 {} \"{}\"", i * 2, i % 10));
            }
            let mut moved = migrate(source, destination);
            let done = ask(&mut *moved, "collect");
            assert_eq!(done, vec!["1 written"; in_flight].join(" | "));
            assert_eq!(ask(&mut *moved, "collect"), "");
        }
    }
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
    .take(len)
    .collect()
}

fn script(seed: u64, opens: Opens) -> Vec<String> {
    let bytes = noise(seed, 1500);
    let (mut u, mut drawn) = (Unstructured::new(&bytes), Drawn::new(opens));
    let steps = (0..10 + seed % 25).map(|_| draw(&mut u, &mut drawn).expect("drawn").to_string());
    let words = steps.filter_map(|step| step.strip_prefix("request ").map(str::to_owned));
    // That this group is lost is a finding of its own, below.
    words.filter(|words| !words.contains("+2000")).collect()
}

#[test]
fn drawn_guests_see_what_their_twins_see() {
    let mut saw: BTreeMap<&str, u32> = BTreeMap::new();
    for release in RELEASES {
        let program = program(release, Processes::Reused);
        for seed in 0..60 {
            let (ours, twins) = (outside(&*program), outside(&*program));
            let (mut moved, mut twin) = (start(&*program, &ours), start(&*program, &twins));
            let Interface::Requests(guest) = moved.capabilities().interface else { panic!("no requests") };
            let script = script(seed, if guest == NAMED { Opens::Named } else { Opens::Any });
            for (i, words) in script.iter().enumerate() {
                if i == script.len() / 2 {
                    moved = migrate(moved, start(&*program, &ours));
                }
                let (observed, expected) = (ask(&mut *moved, words), ask(&mut *twin, words));
                assert_eq!(observed, expected, "{release}, seed {seed}, step {i}: {words}");
                let class = ["#", "%", "\"", "E", "done", "file", "directory", "end"].into_iter();
                *saw.entry(class.into_iter().find(|class| expected.starts_with(class)).unwrap_or("more"))
                    .or_default() += 1;
            }
        }
    }
    assert_eq!(saw.len(), 9, "some kinds of answers were never seen: {saw:?}");
}

#[test]
fn a_reset_device_is_as_a_fresh_one() {
    for release in RELEASES {
        let fresh = save(&mut *start(
            &*program(release, Processes::Fresh),
            &outside(&*program(release, Processes::Fresh)),
        ));
        let fresh = fresh.expect("saves");
        let program = program(release, Processes::Reused);
        let ours = outside(&*program);
        let mut device = start(&*program, &ours);
        for state in [State::Running, State::Stop, State::PreCopy, State::StopCopy, State::Resuming] {
            does(&mut *device, &BEFORE[..2]);
            device.set_state(state).expect("walks");
            device.reset().expect("resets");
            assert_eq!(device.state().expect("says"), State::Running);
            assert_eq!(save(&mut *device).expect("saves"), fresh, "{release}: reset from {state}");
            device.reset().expect("resets");
        }
        // The next one gets the same process.
        does(&mut *device, &BEFORE[..5]);
        drop(device);
        let mut next = start(&*program, &ours);
        assert_eq!(save(&mut *next).expect("saves"), fresh, "{release}: a reused process");
        // A session that was not negotiated is not there: the first request mounts.
        next.set_state(State::Running).expect("runs");
        assert_eq!(ask(&mut *next, "lookup root b"), "#1 file 0600 size 37 links 2 owner 0:0");
    }
}

#[test]
fn an_outside_is_as_at_first() {
    let program = program("1.14.0", Processes::Reused);
    for _ in 0..3 {
        let ours = outside(&*program);
        let mut device = start(&*program, &ours);
        does(
            &mut *device,
            &[
                ("getattr root", "directory 0755 owner 0:0"),
                ("lookup root a", "#1 file 0644 size 6 links 1 owner 0:0"),
                ("setattr root mode=0700 uid=5", "directory 0700 owner 5:0"),
                ("setattr #1 size=0", "file 0644 size 0 links 1 owner 0:0"),
                ("unlink root b", "done"),
                ("mkdir root n 0755", "#3 directory 0755 owner 0:0"),
            ],
        );
    }
}

#[test]
fn hostile_states_are_judged_and_survived() {
    for release in RELEASES {
        let program = program(release, Processes::Reused);
        let ours = outside(&*program);
        let mut source = start(&*program, &ours);
        does(&mut *source, &BEFORE[..9]);
        let state = save(&mut *source).expect("saves");
        let mut device = start(&*program, &ours);
        let judged = |device: &mut dyn Device, bytes: &[u8]| {
            let accepted = match load(device, bytes) {
                Ok(()) => true,
                Err(Error::BadState(BadState::ByProgram(failure)))
                    if failure.words.last_during().is_some() =>
                {
                    false
                }
                Err(why) => panic!("{release}: {bytes:02x?}: {why}"),
            };
            let after = device.state().expect("says");
            assert_eq!(after, if accepted { State::Stop } else { State::Error });
            device.reset().expect("resets");
            accepted
        };
        for len in 0..state.len() {
            assert!(!judged(&mut *device, &state[..len]), "{release}: cut to {len}");
        }
        for at in 0..state.len() * 8 {
            let mut flipped = state.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            judged(&mut *device, &flipped);
        }
        for seed in 0..200 {
            judged(&mut *device, &noise(seed, (seed as usize * 7) % 300));
        }
        assert!(judged(&mut *device, &state), "{release}: a correct state after all that");
    }
}

/// What migcert finds in these releases; each line is defended by a requirement in the report.
#[test]
fn known_findings_are_found() {
    let finds = |release: &str, script: &[&str], last: &str, twin: &str, moved: &str| {
        let program = program(release, Processes::Fresh);
        let (ours, twins) = (outside(&*program), outside(&*program));
        let (mut source, mut never) = (start(&*program, &ours), start(&*program, &twins));
        for words in script {
            assert_eq!(ask(&mut *source, words), ask(&mut *never, words), "{words}");
        }
        let mut device = migrate(source, start(&*program, &ours));
        assert_eq!(ask(&mut *never, last), twin, "{release}: never moved");
        assert_eq!(ask(&mut *device, last), moved, "{release}: moved");
    };
    for release in RELEASES {
        // The extension for supplementary groups is negotiated once, and not carried.
        finds(
            release,
            &["lookup root ours"],
            "mkdir #1 n 0755 as 1000:1000+2000",
            "#2 directory 2755 owner 1000:2000",
            "EACCES",
        );
    }
}

#[test]
fn a_program_that_dies_is_blamed() {
    // By a name that no other test has.
    let place = tempfile::tempdir().expect("a directory");
    let name = place.path().join("virtiofsd");
    let binary = profile()
        .find(&Which::Release("1.14.0".to_owned()), Processes::Fresh)
        .unwrap_or_else(|why| panic!("{why}"))
        .binary;
    std::os::unix::fs::symlink(std::fs::canonicalize(binary).expect("there"), &name).expect("linked");
    let found = profile().find(&Which::Binary(name.clone()), Processes::Fresh);
    let program = found.unwrap_or_else(|why| panic!("{why}")).program;
    let ours = outside(&*program);
    let mut device = start(&*program, &ours);
    does(&mut *device, &BEFORE[..2]);
    let child = process_called(&name);
    std::process::Command::new("kill").args(["-KILL", &child]).status().expect("kill");
    // It may answer once more before it is gone.
    let mut answers = (0..1000).map(|_| try_ask(&mut *device, "read %1 0 64"));
    match answers.find_map(Result::err) {
        Some(Error::Misbehaved(Misbehaved::Died { how, .. })) => {
            assert_eq!(how, "signal SIGKILL")
        }
        other => panic!("{other:?}"),
    }
}

/// The process that was started by this name.
fn process_called(name: &Path) -> String {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let is_it = |entry: &std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).next() == Some(name.as_os_str().as_encoded_bytes())
    };
    let found = entries.into_iter().find(is_it).expect("a process");
    found.file_name().into_string().expect("a number")
}

#[test]
fn a_program_that_does_not_start_says_why() {
    let fails = other("/bin/sh", &["-c", "echo no such parameter >&2; exit 1"]);
    match begin(&*fails, &outside(&*fails)).map(drop) {
        Err(Error::Refused(why @ Refusal::Ended { .. })) => {
            assert_eq!(why.to_string(), "the program ended with exit status 1: no such parameter");
        }
        other => panic!("{other:?}"),
    }
    let sleeps = other("/bin/sleep", &["1000"]);
    match begin(&*sleeps, &outside(&*sleeps)).map(drop) {
        Err(Error::Unavailable(why)) => assert_eq!(why.kind(), ErrorKind::TimedOut),
        other => panic!("{other:?}"),
    }
    let nothing = other("/nothing/here", &[]);
    match begin(&*nothing, &outside(&*nothing)).map(drop) {
        Err(Error::Unavailable(why)) => assert!(why.to_string().contains("/nothing/here"), "{why}"),
        other => panic!("{other:?}"),
    }
}
