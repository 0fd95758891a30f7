//! Watches migcert while it runs a row, and looks for what it leaves.

use rustix::process::Pid;
use std::fs;
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

/// Waits for the end of `migcert`, or kills it at the deadline. Returns the most memory that was in use, in KiB.
pub(crate) fn watch(migcert: &mut Child, deadline: Instant) -> u64 {
    let mut highest = 0;
    while migcert.try_wait().expect("waits").is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", migcert.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        highest = highest.max(now.unwrap_or(0));
        if deadline <= Instant::now() {
            migcert.kill().expect("killed");
        }
        thread::sleep(Duration::from_millis(10));
    }
    highest
}

/// What still runs when all that was killed has had its time to end, with command lines.
pub(crate) fn still_running(place: &Path) -> Vec<(Pid, String)> {
    const GRACE: Duration = Duration::from_secs(120);
    let deadline = Instant::now() + GRACE;
    loop {
        let processes = running(place);
        if processes.is_empty() || deadline <= Instant::now() {
            return processes;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// What runs from this directory, in it, or with it in the command line or the environment.
fn running(place: &Path) -> Vec<(Pid, String)> {
    let ours = place.to_string_lossy();
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let read = |pid: Pid, what| fs::read(format!("/proc/{}/{what}", pid.as_raw_pid())).unwrap_or_default();
    let is_ours = |pid: &Pid| {
        let words = [read(*pid, "environ"), read(*pid, "cmdline")].concat();
        let is_at = |what| {
            fs::read_link(format!("/proc/{}/{what}", pid.as_raw_pid())).is_ok_and(|at| at.starts_with(place))
        };
        String::from_utf8_lossy(&words).contains(&*ours) || is_at("cwd") || is_at("exe")
    };
    let line = |pid: Pid| String::from_utf8_lossy(&read(pid, "cmdline")).into_owned();
    pids.filter_map(Pid::from_raw).filter(is_ours).map(|pid| (pid, line(pid))).collect()
}
