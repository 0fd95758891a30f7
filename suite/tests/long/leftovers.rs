//! Nothing is left behind: no process, no socket, no directory, neither at the end nor after a
//! signal. A test program of its own, whose children are those of one test at a time.

use crate::example::example;
use migcert::hosts::vhost_user::Processes;
use migcert::implementation::Which;
use migcert::profile::Profile;
use migcert_core::device::Step;
use migcert_core::model::ModelId;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Held by the test whose turn it is.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Device programs of this process, and the paths that their command lines name.
fn left() -> (Vec<String>, Vec<PathBuf>) {
    let programs: Vec<Vec<u8>> =
        below(std::process::id()).into_iter().map(|pid| read(pid, "cmdline")).collect();
    // Those that keep programs apart have no arguments.
    let programs = programs.into_iter().filter(|line| line.iter().any(|byte| *byte != 0));
    let lines: Vec<String> = programs.map(|line| String::from_utf8_lossy(&line).into_owned()).collect();
    let paths = lines.iter().flat_map(|line| {
        let paths = line.split('\0').filter_map(|arg| Some(PathBuf::from(arg.split_once('=')?.1)));
        paths.filter(|path| path.is_absolute()).collect::<Vec<_>>()
    });
    let paths = paths.collect();
    (lines, paths)
}

/// What the kernel says of a process; nothing of one that is gone.
fn read(pid: u32, what: &str) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default()
}

fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// State and parent of a process.
fn stat(pid: u32) -> Option<(String, u32)> {
    let stat = String::from_utf8_lossy(&read(pid, "stat")).into_owned();
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

/// All that descend from a process.
fn below(pid: u32) -> Vec<u32> {
    let all: Vec<(u32, u32)> = processes().into_iter().filter_map(|pid| Some((pid, stat(pid)?.1))).collect();
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(all.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.split_off(1)
}

#[test]
fn nothing_is_left_behind() {
    let _turn = turn();
    let profile = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/virtiofsd.toml");
    for processes in [Processes::Fresh, Processes::Reused] {
        let found = Profile::read(&profile).and_then(|profile| profile.find(&Which::Named, processes));
        let program = found.unwrap_or_else(|why| panic!("{why}; run scripts/install-devices")).program;
        let model = ModelId::from("gitlab.com/virtio-fs/virtiofsd");
        let setup = program.describe().expect("described").models[&model].latest();
        let outside = program.outside().expect("an outside");
        let mut devices: Vec<_> =
            (0..3).map(|_| program.start(&model, &setup, &outside).expect("it starts")).collect();
        for device in &mut devices {
            device.guest(&Step::Request("create root n 0644 rw".to_owned())).expect("it answers");
        }
        let (children, paths) = left();
        assert_eq!(children.len(), 3);
        assert_eq!(paths.iter().filter(|path| path.exists()).count(), 6, "{paths:?}");
        drop((devices, outside, program));
        assert_eq!(left().0, Vec::<String>::new());
        let there: Vec<_> = paths.iter().filter(|path| path.exists()).collect();
        assert!(there.is_empty(), "{there:?}");
    }
}

/// Programs that hang at some point, that run, and that hide what they start.
const PROGRAMS: &[&str] = &[
    "hostile+describes-in-silence",
    "hostile+never-listens",
    "hostile+silent@data-read",
    "hostile+forks-away",
    "hostile+forks-and-hides",
    "hostile+daemonises",
    "hostile+fills-scratch",
    "rtc-2",
];

#[test]
fn a_signal_leaves_nothing_behind() {
    const AFTER_MS: &[u64] = &[0, 7, 30, 110, 400];
    let _turn = turn();
    thread::scope(|scope| {
        for program in PROGRAMS {
            scope.spawn(|| {
                for (i, after) in AFTER_MS.iter().enumerate() {
                    let signal = [Signal::INT, Signal::TERM, Signal::HUP][i % 3];
                    let run = Run::start(program);
                    run.wait_until_busy();
                    thread::sleep(Duration::from_millis(*after));
                    run.ends_by(signal);
                }
            });
        }
    });
}

#[test]
fn a_signal_at_the_very_start_leaves_nothing_behind() {
    let _turn = turn();
    for after in 0..20 {
        let run = Run::start("rtc-2");
        thread::sleep(Duration::from_millis(after));
        run.ends_by(Signal::TERM);
    }
}

#[test]
fn a_hangup_that_is_ignored_ends_nothing() {
    let _turn = turn();
    let mut run = Run::start_by("trap '' HUP; ", "hostile+never-listens");
    run.wait_until_busy();
    run.send(Signal::HUP);
    assert_eq!(run.end().code(), Some(4), "{}", run.told());
    run.has_left_nothing();
}

/// In its own time: those that notice the end do what is to be done.
#[test]
fn a_kill_leaves_nothing_behind() {
    let _turn = turn();
    for isolate in ["yes", "no"] {
        for program in PROGRAMS {
            let mut run = Run::start_by(&format!("export MIGCERT_ISOLATE={isolate}; "), program);
            run.wait_until_busy();
            thread::sleep(Duration::from_millis(30));
            run.send(Signal::KILL);
            run.end();
            let deadline = Instant::now() + PATIENCE;
            let is_left = || !run.processes().is_empty() || !run.files().is_empty();
            while is_left() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(run.processes(), Vec::<String>::new(), "{program}");
            assert_eq!(run.files(), Vec::<PathBuf>::new(), "{program}");
        }
    }
}

/// Nothing of ours is in the environment of what is looked for here, where it may hide.
#[test]
fn a_signal_leaves_nothing_behind_where_nothing_is_kept_apart() {
    let _turn = turn();
    for program in PROGRAMS {
        let run = Run::start_by("export MIGCERT_ISOLATE=no; ", program);
        run.wait_until_busy();
        thread::sleep(Duration::from_millis(30));
        run.ends_by(Signal::TERM);
    }
}

/// While the run goes on: each instance leaves twenty orphans.
#[test]
fn orphans_do_not_stay_as_zombies() {
    const ORPHANS: usize = 20;
    /// What may run at a time.
    const INSTANCES: usize = 8;
    let _turn = turn();
    for isolate in ["yes", "no"] {
        let mut run = Run::start_by(&format!("export MIGCERT_ISOLATE={isolate}; "), "hostile+leaves-zombies");
        run.wait_until_busy();
        let migcert = run.migcert.id();
        let (mut most, mut looks) = (0, 0);
        let end = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end && run.migcert.try_wait().expect("waits").is_none() {
            let is_zombie = |pid: &u32| stat(*pid).is_some_and(|(state, _)| state == "Z");
            most = most.max(below(migcert).iter().filter(|pid| is_zombie(pid)).count());
            looks += 1;
            thread::sleep(Duration::from_millis(5));
        }
        assert!(3 < looks, "it was over too soon: {}", run.told());
        assert!(most <= INSTANCES * ORPHANS, "{most} zombies");
        run.ends_by(Signal::TERM);
    }
}

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(300);

/// A certification in a directory of its own.
struct Run {
    migcert: Child,
    place: TempDir,
}

impl Run {
    fn start(program: &str) -> Run {
        Run::start_by("", program)
    }

    /// Starts it by a shell that does something first.
    fn start_by(first: &str, program: &str) -> Run {
        let place = tempfile::tempdir().expect("a directory");
        fs::create_dir(place.path().join("scratch")).expect("made");
        let (name, _) = program.split_once(['+', '-']).expect("an example");
        symlink(example(name), place.path().join(program)).expect("linked");
        symlink("/bin/sleep", place.path().join("sleeper")).expect("linked");
        let profile = format!(
            "program = \"./{program}\"\nwire = \"vfio-user\"\nlimits.answer-ms = 2000\n\
             args = [\"--socket-path={{socket}}\"]\n[info.models.\"example.org/hostile\"]\nparams = {{}}\n"
        );
        fs::write(place.path().join("p.toml"), profile).expect("written");
        let asks = name != "hostile" || program.contains("describes");
        let subject = if asks { format!("./{program}") } else { "p.toml".to_owned() };
        let told = fs::File::create(place.path().join("told")).expect("a file");
        // Whatever those who run the tests ignore, migcert must not inherit.
        let migcert = Command::new("env")
            .args([
                "--default-signal=HUP,INT,TERM",
                "sh",
                "-c",
                &format!(r#"{first}exec "$0" "$@""#),
                env!("CARGO_BIN_EXE_migcert"),
                "certify",
            ])
            .args([&subject, "--report", "report", "--seed", "1", "-j", "2"])
            .current_dir(place.path())
            .env("MIGCERT_SCRATCH", place.path().join("scratch"))
            .stdin(Stdio::null())
            .stdout(told.try_clone().expect("a file"))
            .stderr(told)
            .spawn()
            .expect("migcert starts");
        Run { migcert, place }
    }

    fn told(&self) -> String {
        fs::read_to_string(self.place.path().join("told")).expect("text")
    }

    fn files(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.place.path().join("scratch")).expect("readable");
        files.flatten().map(|file| file.path()).collect()
    }

    /// What runs in its place, or was started from there.
    fn processes(&self) -> Vec<String> {
        let place = self.place.path().to_string_lossy();
        let is_ours = |pid: &u32| {
            let at = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            let words = [read(*pid, "environ"), read(*pid, "cmdline")].concat();
            *pid != self.migcert.id()
                && (at.starts_with(self.place.path()) || String::from_utf8_lossy(&words).contains(&*place))
        };
        let line = |pid: u32| String::from_utf8_lossy(&read(pid, "cmdline")).into_owned();
        processes().into_iter().filter(is_ours).map(line).collect()
    }

    fn wait_until_busy(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.files().is_empty() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.migcert), signal).expect("sent");
    }

    /// Waits for the end, or makes one.
    fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while self.migcert.try_wait().expect("waits").is_none() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        let _ = self.migcert.kill();
        self.migcert.wait().expect("it ended")
    }

    #[track_caller]
    fn ends_by(mut self, signal: Signal) {
        self.send(signal);
        assert_eq!(self.end().signal(), Some(signal.as_raw()), "{}", self.told());
        self.has_left_nothing();
    }

    #[track_caller]
    fn has_left_nothing(&self) {
        assert_eq!(self.processes(), Vec::<String>::new());
        assert_eq!(self.files(), Vec::<PathBuf>::new());
        let report = self.place.path().join("report");
        let halves = fs::read_dir(report).into_iter().flatten().flatten().map(|file| file.path());
        let halves = halves.filter(|file| file.extension().is_some_and(|extension| extension == "part"));
        assert_eq!(halves.collect::<Vec<_>>(), Vec::<PathBuf>::new());
    }
}
