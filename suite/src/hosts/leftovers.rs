//! What a device program leaves behind, wherever it hid: processes and files.

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Kills all our children: at the end, when no program is in use any more.
pub(super) fn kill_children() {
    let us = getpid();
    kill_all(|pid| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap_or_default();
        // The name stands in parentheses and may have any in it; state and parent follow.
        let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        rest.split(' ').nth(1).and_then(|parent| parent.parse().ok()) == Some(us.as_raw_pid())
    });
}

/// Kills all that are wanted, and again, as long as there are any: their children come to us.
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

/// Removes a file, or a directory with all that is in it.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.is_dir() {
        return fs::remove_file(path);
    }
    empty(path)?;
    fs::remove_dir(path)
}

/// Removes all that is in a directory, however deep: neither depth nor the number of our
/// descriptors is a limit, because what lies deep is moved up.
fn empty(top: &Path) -> io::Result<()> {
    loop {
        let mut any = false;
        for entry in fs::read_dir(top)? {
            let entry = entry?;
            any = true;
            if !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
                continue;
            }
            fs::set_permissions(entry.path(), Permissions::from_mode(0o700))?;
            for inner in fs::read_dir(entry.path())? {
                let inner = inner?;
                if inner.file_type()?.is_dir() {
                    // Moved, its parent is written: a new name that nothing has.
                    fs::set_permissions(inner.path(), Permissions::from_mode(0o700))?;
                    fs::rename(inner.path(), top.join(unused_name()))?;
                } else {
                    fs::remove_file(inner.path())?;
                }
            }
            fs::remove_dir(entry.path())?;
        }
        if !any {
            return Ok(());
        }
    }
}

/// A name that no file has.
fn unused_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!(".{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed))
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

    #[test]
    fn nothing_is_too_deep() {
        let place = tempfile::tempdir().expect("a directory");
        let mut deep = place.path().to_path_buf();
        for _ in 0..200 {
            deep.push("deep");
        }
        fs::create_dir_all(&deep).expect("made");
        fs::write(deep.join("file"), "").expect("written");
        std::os::unix::fs::symlink("/", place.path().join("deep/link")).expect("linked");
        fs::set_permissions(place.path().join("deep/deep"), Permissions::from_mode(0o000)).expect("changed");
        empty(place.path()).expect("emptied");
        assert_eq!(fs::read_dir(place.path()).expect("readable").count(), 0);
    }
}
