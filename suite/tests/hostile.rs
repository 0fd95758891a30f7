//! A program that hangs, lies, floods or dies cannot hang, crash, exhaust or fool migcert.
//!
//! A row each: what `examples/hostile` does, the exit status of a certification, and words that
//! its report must have. For every row: limits of time and memory hold, and nothing is left
//! behind, neither process nor file.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What one answer may take, by the profile.
const ANSWER_MS: u32 = 600;
/// What a row may take: far more than it does, far less than for ever.
const LIMIT: Duration = Duration::from_secs(30);
const MEMORY_KIB: u64 = 256 << 10;
const DESCRIPTORS: u32 = 128;

macro_rules! rows {
    ($($wire:ident { $($name:ident $trick:literal $status:literal $words:literal,)* })*) => {
        $(mod $wire {
            $(#[test]
            fn $name() {
                super::row(stringify!($wire), $trick, $status, $words);
            })*
        })*
    };
}

rows! {
    vhost_user {
        honest "" 0 "pass",
        never_listens "never-listens" 4 "no socket within 600ms",
        listens_late "listens-late" 0 "pass",
        ends_at_once "exits-at-once" 100 "the program ended with exit status 1: hostile: there is no such thing",
        is_no_socket "not-a-socket" 4 "no socket within 600ms",
        never_accepts "never-accepts" 4 "no answer within 600ms to GET_FEATURES",
        silent_at_features "silent@get-features" 4 "no answer within 600ms to GET_FEATURES",
        silent_at_protocol_features "silent@get-protocol-features" 4 "no answer within 600ms to GET_PROTOCOL_FEATURES",
        silent_at_state_fd "silent@set-device-state-fd" 4 "no answer within 600ms to SET_DEVICE_STATE_FD",
        silent_at_check "silent@check-device-state" 4 "no answer within 600ms to CHECK_DEVICE_STATE",
        closes_at_features "closes@get-features" 100 "died during GET_FEATURES: exit status 0",
        closes_at_protocol_features "exits-3@get-protocol-features" 100 "died during GET_PROTOCOL_FEATURES: exit status 3",
        closes_at_state_fd "closes@set-device-state-fd" 100 "died during SET_DEVICE_STATE_FD: exit status 0",
        closes_at_check "closes@check-device-state" 100 "died during CHECK_DEVICE_STATE: exit status 0",
        hangs_up "hangs-up@check-device-state" 100 "died during CHECK_DEVICE_STATE: it closed the connection and still runs",
        dies_by_segv "dies-segv@get-features" 100 "died during GET_FEATURES: signal SIGSEGV",
        dies_by_abrt "dies-abrt@check-device-state" 100 "died during CHECK_DEVICE_STATE: signal SIGABRT",
        garbage "garbage@get-features" 100 "GET_FEATURES",
        short_message "short@get-features" 100 "GET_FEATURES",
        half_a_message "stalls@get-features" 4 "no answer within 600ms to GET_FEATURES",
        oversized_message "claims-4-gib@get-features" 100 "GET_FEATURES",
        split_message "split@get-features" 0 "pass",
        slow_message "slow@get-features" 4 "no answer within 600ms to GET_FEATURES",
        endless_message "endless@get-features" 100 "GET_FEATURES",
        another_command "another-command@get-features" 100 "GET_FEATURES",
        another_version "another-version@get-features" 100 "GET_FEATURES",
        no_state "no-state" 100 "VHOST_USER_PROTOCOL_F_DEVICE_STATE",
        state_that_never_ends "never-ends" 100 "did not end",
        state_that_is_kept_open "keeps-the-stream" 4 "no answer within 600ms to a save",
        state_that_drips "drips" 4 "no answer within 600ms to a save",
        fails_the_check "fails-check" 100 "CHECK_DEVICE_STATE says no",
        floods_a_gib "floods-1-gib" 0 "pass",
        floods_for_ever "floods-for-ever" 0 "pass",
        forks "forks" 0 "pass",
        forks_away "forks-away" 0 "pass",
        forks_and_hides "forks-and-hides" 0 "pass",
        fills_its_scratch_directory "fills-scratch" 0 "pass",
        ignores_sigterm "ignores-sigterm" 0 "pass",
    }
}

#[track_caller]
fn row(wire: &str, trick: &str, status: i32, words: &str) {
    let place = tempfile::tempdir().expect("a directory");
    let scratch = place.path().join("s");
    fs::create_dir(&scratch).expect("made");
    let program = if trick.is_empty() { "hostile".to_owned() } else { format!("hostile+{trick}") };
    symlink(example("hostile"), place.path().join(&program)).expect("linked");
    fs::write(place.path().join("p.toml"), profile(wire, &program)).expect("written");

    let told = place.path().join("told");
    let begun = Instant::now();
    let mut migcert = start(place.path(), &scratch, File::create(&told).expect("a file"));
    let memory = watch(&mut migcert, begun + LIMIT);
    let told = fs::read_to_string(&told).expect("text");
    let ended = migcert.wait().expect("it ended");
    assert!(begun.elapsed() < LIMIT, "{trick}: it took {:?}\n{told}", begun.elapsed());
    assert_eq!(ended.code(), Some(status), "{trick}: {ended}\n{told}");
    assert!(told.contains(words), "{trick}: no `{words}` in\n{told}");
    assert!(memory < MEMORY_KIB, "{trick}: {memory} KiB of memory were used");

    let processes = running(&scratch);
    for (pid, _) in &processes {
        let _ = kill_process(*pid, Signal::KILL);
    }
    assert!(processes.is_empty(), "{trick}: left behind: {processes:?}");
    let files: Vec<_> = fs::read_dir(&scratch).expect("readable").flatten().map(|file| file.path()).collect();
    assert!(files.is_empty(), "{trick}: left behind: {files:?}");
}

fn profile(wire: &str, program: &str) -> String {
    let (wire, option, guest) = match wire {
        "vhost_user" => ("vhost-user", "--vhost", "virtio-fs"),
        _ => ("vfio-user", "--socket-path", "registers"),
    };
    format!(
        r#"
        program = "./{program}"
        args = ["{option}={{socket}}"]
        wire = "{wire}"
        guest = "{guest}"
        limits.answer-ms = {ANSWER_MS}
        [info.models."example.org/hostile"]
        params = {{}}
        "#
    )
}

/// Starts a certification with few descriptors, and nothing that dies leaves a core.
fn start(place: &Path, scratch: &Path, told: File) -> Child {
    let run = format!(r#"ulimit -c 0 -n {DESCRIPTORS}; exec "$0" "$@""#);
    Command::new("sh")
        .args(["-c", &run, env!("CARGO_BIN_EXE_migcert"), "certify", "p.toml"])
        .args(["--only", "latest-starts", "--cases", "2", "--seed", "1", "-j", "2"])
        .current_dir(place)
        .env("MIGCERT_SCRATCH", scratch)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(told.try_clone().expect("a file"))
        .stderr(told)
        .spawn()
        .expect("migcert starts")
}

/// Waits for the end, or makes one; says how much memory was in use at most, in KiB.
fn watch(migcert: &mut Child, deadline: Instant) -> u64 {
    let mut highest = 0;
    while migcert.try_wait().expect("waits").is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", migcert.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        highest = highest.max(now.unwrap_or(0));
        if deadline <= Instant::now() {
            migcert.kill().expect("killed");
        }
        thread::sleep(Duration::from_millis(5));
    }
    highest
}

/// What still runs with our scratch directory in its environment, or as its place.
fn running(scratch: &Path) -> Vec<(Pid, String)> {
    let ours = scratch.to_string_lossy();
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_ours = |pid: &Pid| {
        let place = format!("/proc/{}", pid.as_raw_pid());
        let environment = fs::read(format!("{place}/environ")).unwrap_or_default();
        let at = fs::read_link(format!("{place}/cwd")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(&*ours) || at.starts_with(scratch)
    };
    let line =
        |pid: Pid| fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_pid())).unwrap_or_default();
    pids.filter_map(Pid::from_raw).filter(is_ours).map(|pid| (pid, line(pid))).collect()
}

/// A program from `examples`, which `cargo test` builds beside the tests.
fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("a path");
    let path = tests.ancestors().nth(2).expect("a folder").join("examples").join(name);
    assert!(path.exists(), "{} is not there: run `cargo build --examples`", path.display());
    path
}
