//! The real virtiofsd behind the two traits, with real FUSE traffic.

use migcert::guests::virtio_fs::Opens;
use migcert::hosts::vhost_user::{Config, Processes, VhostUser};
use migcert_core::device::{Device, Outside, Seen, Sight, State, Step};
use migcert_core::error::Error;
use migcert_core::model::ModelId;
use migcert_core::param::Configuration;
use migcert_core::program::{Manifest, Model, Program};
use migcert_core::version::Setup;
use std::path::PathBuf;
use std::time::Duration;

const RELEASES: [&str; 3] = ["1.11.0", "1.13.2", "1.14.0"];

fn model() -> ModelId {
    ModelId::from("virtio-fs.gitlab.io/virtiofsd")
}

fn binary(release: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../target/devices/virtiofsd-{release}/bin/virtiofsd"));
    assert!(path.exists(), "{} is not there: run scripts/install-devices", path.display());
    path
}

fn program(release: &str, processes: Processes, more: &[&str]) -> VhostUser {
    let args = ["--socket-path={socket}", "--shared-dir={shared}", "--sandbox=none"];
    let models = [(model(), Model::Params(Default::default()))].into();
    VhostUser::new(Config {
        program: binary(release),
        args: args.iter().chain(more).map(|arg| (*arg).to_owned()).collect(),
        manifest: Manifest { models },
        guest: Opens::Any,
        limit: Duration::from_secs(10),
        processes,
    })
}

fn start(program: &VhostUser, outside: &Outside) -> Box<dyn Device> {
    program.start(&model(), &Setup::Params(Configuration::default()), outside).expect("it starts")
}

fn ask(device: &mut dyn Device, words: &str) -> String {
    let seen = device.guest(&Step::Request(words.to_owned())).unwrap_or_else(|e| panic!("{words}: {e}"));
    shown(&seen)
}

fn shown(seen: &Seen) -> String {
    let words = seen.0.iter().map(|sight| match sight {
        Sight::Words(words) => words.clone(),
        other => format!("{other:?}"),
    });
    words.collect::<Vec<String>>().join(" | ")
}

fn save(device: &mut dyn Device) -> Result<Vec<u8>, Error> {
    device.set_state(State::StopCopy)?;
    let mut state = Vec::new();
    let mut piece = [0; 4096];
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

fn migrate(mut source: Box<dyn Device>, mut destination: Box<dyn Device>) -> Box<dyn Device> {
    let state = save(&mut *source).expect("saves");
    load(&mut *destination, &state).expect("loads");
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

#[track_caller]
fn does(device: &mut dyn Device, script: &[(&str, &str)]) {
    for (words, expected) in script {
        eprintln!("{words}");
        assert_eq!(ask(device, words), *expected, "{words}");
    }
}

#[test]
fn a_migrated_device_equals_its_twin() {
    for release in RELEASES {
        eprintln!("release {release}");
        let program = program(release, Processes::Fresh, &[]);
        let (ours, twins) = (program.outside().expect("outside"), program.outside().expect("outside"));
        let mut source = start(&program, &ours);
        let destination = start(&program, &ours);
        let mut twin = start(&program, &twins);
        does(&mut *source, BEFORE);
        does(&mut *twin, BEFORE);
        let mut moved = migrate(source, destination);
        does(&mut *moved, AFTER);
        does(&mut *twin, AFTER);
    }
}
