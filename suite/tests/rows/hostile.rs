//! A program that hangs, lies, floods or dies cannot hang, crash, exhaust or fool migcert.
//!
//! A row each: what `examples/hostile` does, the exit status of a certification, and words that
//! its report must have. For every row: limits of time and memory hold, and nothing is left
//! behind, neither process nor file.

use crate::example::example;
use crate::watch::{still_running, watch};
use libtest_mimic::Trial;
use rustix::process::{Signal, kill_process};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What one answer may take, by the profile: less where that is what is waited for.
const ANSWER_MS: u32 = 120_000;
const SHORT_ANSWER_MS: u32 = 2000;
/// What a whole transfer may take, likewise.
const TRANSFER_MS: u32 = 120_000;
const SHORT_TRANSFER_MS: u32 = 1000;
/// What a row may take: far more than it does, far less than for ever.
const LIMIT: Duration = Duration::from_secs(900);
const MEMORY_KIB: u64 = 256 << 10;
const DESCRIPTORS: u32 = 256;

struct Row {
    wire: &'static str,
    name: &'static str,
    trick: &'static str,
    status: i32,
    words: &'static str,
}

macro_rules! rows {
    ($($wire:ident { $($name:ident $trick:literal $status:literal $words:literal,)* })*) => {
        const ROWS: &[Row] = &[$($(Row {
            wire: stringify!($wire),
            name: stringify!($name),
            trick: $trick,
            status: $status,
            words: $words,
        },)*)*];
    };
}

rows! {
    description {
        honest "" 0 "pass",
        silent "describes-in-silence" 101 "did not end within 2s",
        dies "describes-and-dies" 101 "--print-migration-info-json with signal: 11",
        garbage "describes-garbage" 101 "--print-migration-info-json with",
        prints_a_gib "describes-1-gib" 101 "--print-migration-info-json with more than",
        forks "describes-and-forks" 0 "pass",
        changes "describes-another" 100 "the description changed",
    }
    vfio_user {
        honest "" 0 "none was ever raised",
        never_listens "never-listens" 4 "no socket within 2s",
        listens_late "listens-late" 0 "pass",
        ends_at_once "exits-at-once" 100 "the program ended with exit status 1",
        is_no_socket "not-a-socket" 4 "no socket within 2s",
        never_accepts "never-accepts" 4 "no answer to VERSION within 2s",
        // One of each; `src/hosts/vfio_user/tests/unanswered.rs` has every request.
        silent_at_data_read "silent@data-read" 4 "no answer to MIG_DATA_READ",
        closes_at_set_state "closes@set-state" 100 "died during SET MIG_DEVICE_STATE",
        exits_at_region_read "exits-3@region-read" 100 "exit status 3",
        hangs_up "hangs-up@data-read" 100 "it closed the connection and still runs",
        dies_by_segv "dies-segv@data-read" 100 "signal SIGSEGV",
        stopped_by_stop "dies-stop@data-read" 4 "no answer to MIG_DATA_READ",
        another_major "major-7@version" 100 "protocol 7.1, where 0.1 was proposed",
        another_minor "minor-9@version" 100 "protocol 0.9, where 0.1 was proposed",
        garbage_for_capabilities "versions-garbage@version" 100 "capabilities that can't be read",
        transfers_nothing "transfers-nothing@version" 100 "max_data_xfer_size 0",
        garbage "garbage@device-info" 100 "DEVICE_GET_INFO with",
        garbage_for_state "garbage@data-read" 100 "MIG_DATA_READ",
        cut_body "cuts-the-body@device-info" 100 "DEVICE_GET_INFO cut short: 0 of",
        cut_state "cuts-the-body@data-read" 100 "MIG_DATA_READ",
        oversized_message "claims-4-gib@region-info" 100 "a message of 4294967295",
        endless_message "endless@data-read" 100 "MIG_DATA_READ",
        split_messages "split@region-info" 0 "none was ever raised",
        split_state "split@data-read" 0 "none was ever raised",
        slow_message "slow@get-state" 4 "no answer to GET MIG_DEVICE_STATE within 2s",
        slow_state "slow@data-read" 4 "no answer to MIG_DATA_READ",
        repeated_reply "repeated@region-info" 100 "a reply to message",
        reply_to_nothing "stray-reply@get-state" 100 "a reply to message",
        no_reply_flag "not-a-reply@device-info" 100 "which is not the device's",
        echoes_commands "flags-a-command" 100 "which is not the device's",
        error_without_errno "errs-without-errno@set-state" 100 "SET MIG_DEVICE_STATE RESUMING failed: an error without a number",
        refuses_to_be_saved "refuses@data-read" 100 "EINVAL",
        refuses_its_own_state "refuses@data-write" 100 "EINVAL",
        no_stop_copy "no-stop-copy@get-migration" 4 "without STOP_COPY",
        success_without_effect "does-nothing@set-state" 100 "led to RUNNING",
        says_a_state_that_is_none "says-99@get-state" 100 "99, which means nothing",
        says_another_state "says-resuming@get-state" 100 "set_state(RUNNING) led to RESUMING",
        state_that_never_ends "never-ends@data-read" 100 "did not end after",
        state_that_grows "grows@data-read" 100 "did not end after",
        state_that_drips "drips@data-read" 4 "s while saving; the limit is 1s",
        state_that_is_sipped "sips@data-write" 4 "s while loading; the limit is 1s",
        more_state_than_asked "gives-more-than-asked@data-read" 100 "MIG_DATA_READ",
        claims_more_state "claims-more-than-sent@data-read" 100 "MIG_DATA_READ",
        state_of_no_bytes "gives-nothing@data-read" 100 "EINVAL",
        reads_less "reads-less@region-read" 100 "REGION_READ",
        regions_for_ever "regions-for-ever@device-info" 100 "regions",
        irqs_for_ever "irqs-for-ever@device-info" 100 "types of interrupts",
        huge_regions "huge-regions@region-info" 0 "none was ever raised",
        huge_irqs "huge-irqs@irq-info" 0 "none was ever raised",
        hundreds_of_descriptors "passes-descriptors@region-read" 0 "none was ever raised",
        descriptors_at_the_start "passes-descriptors@version" 0 "none was ever raised",
        dma_read_outside "dma-outside-read" 100 "outside of the memory that was mapped",
        dma_write_outside "dma-outside-write" 100 "outside of the memory that was mapped",
        dma_read_of_4_gib "dma-reads-4-gib" 100 "more than a message may have",
        dma_write_that_lies "dma-claims-more" 100 "DMA_WRITE",
        dma_for_ever "dma-for-ever" 4 "no answer to REGION_READ",
        floods_a_gib "floods-1-gib" 0 "pass",
        floods_for_ever "floods-for-ever" 0 "pass",
        forks "forks" 0 "pass",
        forks_away "forks-away" 0 "pass",
        forks_and_hides "forks-and-hides" 0 "pass",
        daemonises "daemonises" 0 "pass",
        fills_its_scratch_directory "fills-scratch" 0 "pass",
        ignores_sigterm "ignores-sigterm" 0 "pass",
    }
    vhost_user {
        honest "" 4 "latest-starts               must   held",
        never_listens "never-listens" 4 "no socket within 2s",
        listens_late "listens-late" 4 "latest-starts               must   held",
        ends_at_once "exits-at-once" 100 "the program ended with exit status 1",
        is_no_socket "not-a-socket" 4 "no socket within 2s",
        never_accepts "never-accepts" 4 "no answer within 2s to GET_FEATURES",
        // One of each; `src/hosts/vhost_user/tests/unanswered.rs` has every request that is answered.
        silent_at_protocol_features "silent@get-protocol-features" 4 "no answer within 2s to GET_PROTOCOL_FEATURES",
        exits_at_protocol_features "exits-3@get-protocol-features" 100 "died during GET_PROTOCOL_FEATURES: exit status 3",
        closes_at_state_fd "closes@set-device-state-fd" 100 "died during SET_DEVICE_STATE_FD: exit status 0",
        hangs_up "hangs-up@check-device-state" 100 "died during CHECK_DEVICE_STATE: it closed the connection and still runs",
        dies_by_segv "dies-segv@get-features" 100 "died during GET_FEATURES: signal SIGSEGV",
        garbage "garbage@get-features" 100 "GET_FEATURES",
        short_message "short@get-features" 100 "GET_FEATURES",
        half_a_message "stalls@get-features" 4 "no answer within 2s to GET_FEATURES",
        oversized_message "claims-4-gib@get-features" 100 "GET_FEATURES",
        split_message "split@get-features" 4 "latest-starts               must   held",
        slow_message "slow@get-features" 4 "no answer within 2s to GET_FEATURES",
        endless_message "endless@get-features" 100 "GET_FEATURES",
        another_command "another-command@get-features" 100 "GET_FEATURES",
        another_version "another-version@get-features" 100 "GET_FEATURES",
        no_state "no-state" 4 "VHOST_USER_PROTOCOL_F_DEVICE_STATE",
        state_that_never_ends "never-ends" 100 "did not end",
        state_that_is_kept_open "keeps-the-stream" 4 "no answer within 2s to a save",
        state_that_drips "drips" 4 "s while saving; the limit is 1s",
        state_that_drips_later "drips-later" 4 "s while saving; the limit is 1s",
        state_that_is_sipped "sips" 4 "s while loading; the limit is 1s",
        fails_the_check "fails-check" 100 "CHECK_DEVICE_STATE failed",
        floods_a_gib "floods-1-gib" 4 "latest-starts               must   held",
        floods_for_ever "floods-for-ever" 4 "latest-starts               must   held",
        forks "forks" 4 "latest-starts               must   held",
        forks_away "forks-away" 4 "latest-starts               must   held",
        forks_and_hides "forks-and-hides" 4 "latest-starts               must   held",
        daemonises "daemonises" 4 "latest-starts               must   held",
        fills_its_scratch_directory "fills-scratch" 4 "latest-starts               must   held",
        ignores_sigterm "ignores-sigterm" 4 "latest-starts               must   held",
    }
}

/// One row of each class that needs no short limit: `scripts/check` runs these.
const GATE: &[&str] = &[
    "description::garbage",
    "vfio_user::honest",
    "vfio_user::ends_at_once",
    "vfio_user::closes_at_set_state",
    "vfio_user::exits_at_region_read",
    "vfio_user::dies_by_segv",
    "vfio_user::another_major",
    "vfio_user::garbage",
    "vfio_user::oversized_message",
    "vfio_user::split_state",
    "vfio_user::repeated_reply",
    "vfio_user::error_without_errno",
    "vfio_user::refuses_its_own_state",
    "vfio_user::state_that_never_ends",
    "vfio_user::regions_for_ever",
    "vfio_user::huge_regions",
    "vfio_user::hundreds_of_descriptors",
    "vfio_user::dma_write_outside",
    "vfio_user::floods_a_gib",
    "vfio_user::forks_and_hides",
    "vfio_user::ignores_sigterm",
    "vhost_user::closes_at_state_fd",
    "vhost_user::dies_by_segv",
    "vhost_user::oversized_message",
    "vhost_user::state_that_never_ends",
    "vhost_user::fails_the_check",
];

pub(super) fn trials() -> impl Iterator<Item = Trial> {
    let name = |row: &Row| format!("{}::{}", row.wire, row.name);
    let unknown = GATE.iter().find(|gate| !ROWS.iter().any(|row| name(row) == **gate));
    assert_eq!(unknown, None, "is not a row");
    ROWS.iter().map(move |row| {
        let is_gate = GATE.contains(&&*name(row));
        let trial = Trial::test(format!("hostile::{}", name(row)), || {
            try_out(row);
            Ok(())
        });
        trial.with_ignored_flag(!is_gate)
    })
}

fn try_out(row: &Row) {
    let Row { wire, trick, status, words, .. } = *row;
    let place = tempfile::tempdir().expect("a directory");
    let scratch = place.path().join("s");
    fs::create_dir(&scratch).expect("made");
    let program = if trick.is_empty() { "hostile".to_owned() } else { format!("hostile+{trick}") };
    symlink(example("hostile"), place.path().join(&program)).expect("linked");
    symlink("/bin/sleep", place.path().join("sleeper")).expect("linked");
    fs::write(place.path().join("p.toml"), profile(row, &program)).expect("written");

    let told = place.path().join("told");
    let begun = Instant::now();
    // The rule that comes by the trick, beside the one that an instance starts.
    let (rule, cases) = match (wire, trick.split_once('@')) {
        ("description", _) => ("description-is-stable", "3"),
        ("vfio_user", at) if at.is_some() || trick.is_empty() || trick.starts_with("dma-") => {
            ("twin-after-load", "10")
        }
        // The first case has no requests, which this backend does not serve.
        ("vhost_user", _) if ["drips-later", "sips"].contains(&trick) => ("twin-after-load", "1"),
        _ => ("latest-starts", "3"),
    };
    let mut migcert = start(place.path(), rule, cases, &scratch, File::create(&told).expect("a file"));
    let memory = watch(&mut migcert, begun + LIMIT);
    let told = fs::read_to_string(&told).expect("text");
    let ended = migcert.wait().expect("it ended");
    let processes = still_running(place.path());
    for (pid, _) in &processes {
        let _ = kill_process(*pid, Signal::KILL);
    }

    assert!(begun.elapsed() < LIMIT, "{trick}: it took {:?}\n{told}", begun.elapsed());
    assert_eq!(ended.code(), Some(status), "{trick}: {ended}\n{told}");
    assert!(told.contains(words), "{trick}: no `{words}` in\n{told}");
    assert!(memory < MEMORY_KIB, "{trick}: {memory} KiB of memory were used");
    assert!(processes.is_empty(), "{trick}: left behind: {processes:?}");
    let files: Vec<_> = fs::read_dir(&scratch).expect("readable").flatten().map(|file| file.path()).collect();
    assert!(files.is_empty(), "{trick}: left behind: {files:?}");
}

/// Words about a limit that was reached: where they are expected, the limit is short. That of vhost-user serves no
/// request of a guest, so whoever gets as far waits.
const REACHED: &[&str] =
    &["latest-starts ", "no answer", "no socket", "did not end within", "the limit is", "still runs"];

fn profile(row: &Row, program: &str) -> String {
    let waits = REACHED.iter().any(|words| row.words.contains(words));
    let [answer, transfer] =
        if waits { [SHORT_ANSWER_MS, SHORT_TRANSFER_MS] } else { [ANSWER_MS, TRANSFER_MS] };
    let limits = format!("limits = {{ answer-ms = {answer}, transfer-ms = {transfer} }}\n");
    // It keeps note beside itself of what its instances did.
    let shared = if row.trick == "drips-later" { "shared = [\".\"]\n" } else { "" };
    let start = format!("program = \"./{program}\"\n{shared}{limits}");
    let info = "[info.models.\"example.org/hostile\"]\nparams = {}\n";
    let rest = match row.wire {
        "vhost_user" => "wire = \"vhost-user\"\nguest = \"virtio-fs\"\nargs = [\"--vhost={socket}\"]\n",
        "vfio_user" => "wire = \"vfio-user\"\nargs = [\"--socket-path={socket}\"]\n",
        _ => return format!("{start}wire = \"vfio-user\"\n"),
    };
    format!("{start}{rest}{info}")
}

/// Starts a certification with few descriptors, and nothing that dies leaves a core.
fn start(place: &Path, rule: &str, cases: &str, scratch: &Path, told: File) -> Child {
    let run = format!(r#"ulimit -c 0; ulimit -n {DESCRIPTORS}; exec "$0" "$@""#);
    Command::new("sh")
        .args(["-c", &run, env!("CARGO_BIN_EXE_migcert"), "certify", "p.toml"])
        .args(["--only", &format!("latest-starts,{rule}"), "--cases", cases, "--seed", "1", "-j", "2"])
        .current_dir(place)
        .env("MIGCERT_SCRATCH", scratch)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(told.try_clone().expect("a file"))
        .stderr(told)
        .spawn()
        .expect("migcert starts")
}
