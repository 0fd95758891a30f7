//! Processes that a device program leaves behind, including daemons.

use super::cell;
use crate::scratch;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};
use std::fs;

/// Ends all device programs and whatever they started, and waits for that.
pub fn finish() {
    if cell::end_all() {
        // Orphans of the cell's keeper are our children now.
        kill_children();
    }
}

/// As [`finish`], and removes all files and directories that were made for device programs.
pub fn leave_nothing() {
    finish();
    scratch::remove_all();
}

/// Kills all our children; only at the end, when no program is in use.
fn kill_children() {
    let us = getpid();
    kill_all(|pid| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap_or_default();
        // The name stands in parentheses and may have any in it; state and parent follow.
        let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        rest.split(' ').nth(1).and_then(|parent| parent.parse().ok()) == Some(us.as_raw_pid())
    });
}

/// Kills all wanted processes, in at most `ROUNDS` rounds: their children become ours.
fn kill_all(is_wanted: impl Fn(Pid) -> bool) {
    const ROUNDS: u32 = 100;
    for _ in 0..ROUNDS {
        let Ok(entries) = fs::read_dir("/proc") else { return };
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let wanted: Vec<Pid> = pids.filter_map(Pid::from_raw).filter(|pid| is_wanted(*pid)).collect();
        if wanted.is_empty() {
            return;
        }
        for pid in wanted {
            let _ = kill_process(pid, Signal::KILL);
            // Where its parent still lives it is not ours yet; the next round sees.
            let _ = waitpid(Some(pid), WaitOptions::empty());
        }
    }
}

/// Programs that do nothing, each of which its test recognises among all others.
#[cfg(test)]
pub(super) mod sleeper {
    use std::fs;
    use std::time::{Duration, Instant};

    /// How long it sleeps, in seconds: this process alone has one with this fraction.
    pub(in crate::hosts) fn seconds(whole: u32) -> String {
        format!("{whole}.5{}", std::process::id())
    }

    pub(in crate::hosts) fn runs(seconds: &str) -> bool {
        let entries = fs::read_dir("/proc").expect("/proc").flatten();
        let command = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).unwrap_or_default();
        entries.map(command).any(|command| command == format!("sleep\0{seconds}\0").as_bytes())
    }

    /// Waits until it runs.
    #[track_caller]
    pub(in crate::hosts) fn until_it_runs(seconds: &str) {
        const PATIENCE: Duration = Duration::from_secs(300);
        let deadline = Instant::now() + PATIENCE;
        while !runs(seconds) {
            assert!(Instant::now() < deadline, "no sleeper");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::cell::Cell;
    use crate::hosts::process::Process;
    use std::path::Path;

    #[test]
    fn nobody_gets_away() {
        // An orphan, in a session of its own.
        let seconds = sleeper::seconds(1001);
        let args = ["-c", &format!("setsid sleep {seconds} & exit")];
        let parent = Process::start(Path::new("/bin/sh"), &args, Cell::alone().expect("a cell")).expect("sh");
        sleeper::until_it_runs(&seconds);
        drop(parent);
        assert!(!sleeper::runs(&seconds));
    }
}
