//! What a certificate is worth: nothing passes that must not, nothing is accused that must not, and
//! nothing is lost.
//!
//! A row each: a device program or an input, how migcert is run, its exit status, and words that it
//! must or must not print. For every row: it ends, its memory is bounded, what it prints has no
//! control characters and no line that a CI would obey, and it leaves neither process nor file.
//!
//! `TRUST_PROGRAM=PATH cargo test --test rows -- --include-ignored trust::` tries another migcert, which shows that a row can fail.

mod cheats;
mod clocks;
mod inputs;
mod rude;

use crate::example::example;
use crate::watch::{still_running, watch};
use libtest_mimic::{Failed, Trial};
use rustix::process::{Signal, kill_process};
use std::fs::{self, File};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a row may take: far more than it does, far less than for ever.
const LIMIT: Duration = Duration::from_secs(900);
const MEMORY_KIB: u64 = 256 << 10;

/// A row of the table.
struct Row {
    /// Which promise it is about.
    point: &'static str,
    name: &'static str,
    subject: Subject,
    /// The words of the command line.
    run: &'static str,
    status: i32,
    /// What is printed, in this order or another.
    says: &'static [&'static str],
    never: &'static [&'static str],
    /// In which time it ends: far more than it takes, far less than what was wrong takes.
    within: Duration,
    run_by: RunBy,
    /// Whether chance has a say: tried more than once.
    by_chance: bool,
    /// Where chance has a say: an exit status that is as good.
    or: Option<i32>,
    /// What is tried afterwards in the directory, with what was printed.
    then: fn(&Path, &str),
}

impl Row {
    const fn new(
        point: &'static str,
        name: &'static str,
        subject: Subject,
        run: &'static str,
        status: i32,
    ) -> Row {
        const NOTHING: fn(&Path, &str) = |_, _| ();
        Row {
            point,
            name,
            subject,
            run,
            status,
            says: &[],
            never: &["panicked"],
            within: LIMIT,
            run_by: RunBy::Long,
            by_chance: false,
            or: None,
            then: NOTHING,
        }
    }

    const fn says(self, says: &'static [&'static str]) -> Row {
        Row { says, ..self }
    }

    const fn runs(self, run: &'static str) -> Row {
        Row { run, ..self }
    }

    const fn never(self, never: &'static [&'static str]) -> Row {
        Row { never, ..self }
    }

    /// Part of the gate: what becomes of it follows from the cases drawn.
    const fn gate(self) -> Row {
        Row { run_by: RunBy::Gate, ..self }
    }

    const fn long(self) -> Row {
        Row { run_by: RunBy::Long, ..self }
    }

    const fn by_chance(self) -> Row {
        Row { by_chance: true, ..self }
    }

    const fn or(self, status: i32) -> Row {
        Row { or: Some(status), ..self }
    }

    const fn within(self, seconds: u64) -> Row {
        Row { within: Duration::from_secs(seconds), ..self }
    }

    const fn then(self, then: fn(&Path, &str)) -> Row {
        Row { then, ..self }
    }
}

/// The run that a row is part of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RunBy {
    /// `scripts/check`.
    Gate,
    /// `scripts/check --long` alone.
    Long,
}

/// What is there when migcert starts.
#[derive(Clone, Copy)]
enum Subject {
    /// `./device`, the example `strangers` of these kinds, and `device.toml` that drives it.
    Stranger(&'static str),
    /// Whatever this makes in the directory.
    Files(fn(&Path)),
}

use Subject::{Files, Stranger};

/// Of a rule, so many cases are enough here.
const USUAL: &str = "certify device.toml --seed 1 --cases 10 -j 1";

/// A row of chance is tried so often, and must come out right so often.
const TRIES: u32 = 20;
const RIGHT: u32 = 18;

pub(super) fn trials() -> impl Iterator<Item = Trial> {
    let rows = [cheats::ROWS, clocks::ROWS, inputs::ROWS, rude::ROWS].into_iter().flatten();
    rows.map(|row| {
        let name = format!("trust::{}::{}", row.point.replace(' ', "_"), row.name);
        let trial = Trial::test(name, || {
            if row.by_chance {
                return try_often(row);
            }
            try_out(row);
            Ok(())
        });
        trial.with_ignored_flag(row.run_by == RunBy::Long)
    })
}

fn try_often(row: &Row) -> Result<(), Failed> {
    let outcomes = (0..TRIES).map(|_| catch_unwind(|| try_out(row)));
    let right = outcomes.filter(Result::is_ok).count();
    if right < RIGHT as usize { Err(format!("right in {right} of {TRIES}").into()) } else { Ok(()) }
}

fn try_out(row: &Row) {
    let place = tempfile::Builder::new().prefix("trust-").tempdir().expect("a directory");
    let place = place.path();
    let scratch = place.join("s");
    fs::create_dir(&scratch).expect("made");
    match row.subject {
        Stranger(kinds) => stranger(place, kinds),
        Files(make) => make(place),
    }

    let begun = Instant::now();
    let output = place.join("output");
    let mut migcert = start(place, row.run, &scratch, File::create(&output).expect("a file"));
    let memory = watch(&mut migcert, begun + row.within);
    let took = begun.elapsed();
    let said = String::from_utf8_lossy(&fs::read(&output).expect("readable")).into_owned();
    let ended = migcert.wait().expect("it ended");
    let processes = still_running(place);
    for (pid, _) in &processes {
        let _ = kill_process(*pid, Signal::KILL);
    }

    assert!(took < row.within, "it took {took:?}\n{said}");
    // Where the machine lets nobody keep files apart, the report says so instead.
    let is_apart = !said.lines().any(|line| line.starts_with("not isolated") && line.contains("files in "));
    if is_apart || row.point != cheats::IN_THE_BYTES {
        let status = ended.code();
        // Where something can't be kept apart, no device is said to pass.
        let is_incomplete = !is_apart && (status, row.status) == (Some(4), 0);
        let is_right = status == Some(row.status) || status.is_some() && status == row.or || is_incomplete;
        assert!(is_right, "{ended}, not {}\n{said}", row.status);
    }
    for words in row.says {
        assert!(said.contains(words), "no `{words}` in\n{said}");
    }
    for words in row.never {
        assert!(!said.contains(words), "`{words}` in\n{said}");
    }
    let control = said.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(control, None, "a control character in\n{}", said.escape_debug());
    let obeyed = said.lines().find(|line| line.starts_with("::"));
    assert_eq!(obeyed, None, "a workflow command in\n{said}");
    assert!(memory < MEMORY_KIB, "{memory} KiB of memory were used");
    assert!(processes.is_empty(), "left behind: {processes:?}");
    let files: Vec<_> = fs::read_dir(&scratch).expect("readable").flatten().map(|file| file.path()).collect();
    assert!(files.is_empty(), "left behind: {files:?}");
    (row.then)(place, &said);
}

/// Limits that only a hang reaches, for a profile.
const LIMITS: &str = "limits.answer-ms = 120000\n";

/// A copy of the program, and a profile with what its driver does.
fn stranger(place: &Path, kinds: &str) {
    const PROFILE: &str = r#"
wire = "vfio-user"
limits.answer-ms = 120000

[scripts]
ring = ["write 0:0x4/4=1", "write 0:0xc/4=1"]
record = ["write 0:0x14/4=0x10000", "write 0:0x4/4=2", "write 0:0xc/4=1"]
"#;
    let name = format!("device+{kinds}");
    let program = place.join(&name);
    let linked = fs::hard_link(example("strangers"), &program);
    if linked.is_err() {
        // On another file system. A file that this process writes can't be started while it forks.
        let copied = Command::new("cp").arg(example("strangers")).arg(&program).status();
        assert!(copied.expect("cp runs").success());
    }
    fs::write(place.join("device.toml"), format!("program = \"./{name}\"{PROFILE}")).expect("written");
}

/// Starts migcert as a user does: nothing in the environment is of this test.
fn start(place: &Path, run: &str, scratch: &Path, output: File) -> Child {
    let program = std::env::var_os("TRUST_PROGRAM");
    let program = program.map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_migcert")), PathBuf::from);
    let mut command = match run.strip_prefix("sh ") {
        // A script that runs migcert itself, as `$M`.
        Some(script) => {
            let mut command = Command::new("sh");
            command.args(["-c", script]).env_clear().env("M", program);
            command
        }
        None => {
            let mut command = Command::new(program);
            command.args(run.split(' ')).env_clear();
            command
        }
    };
    command
        .current_dir(place)
        .envs(
            ["PATH", "HOME", "MIGCERT_ISOLATE"]
                .into_iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        .env("MIGCERT_SCRATCH", scratch)
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("a file"))
        .stderr(output)
        .spawn()
        .expect("migcert starts")
}
