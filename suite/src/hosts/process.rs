//! A device program that runs in a cell, and leaves nothing behind.
//!
//! What it prints is kept at both ends and dropped in the middle, so that a flood costs nothing. A
//! call into it may be given a time limit, at whose end all that runs in the cell is killed: whatever
//! the call was waiting for then fails.

use super::cell::{Cell, Outputs};
use super::watch::{Watched, watch};
use crate::isolation::Isolation;
use migcert_core::error::{Aside, Line};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io::{self, PipeWriter};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A running device program.
#[derive(Debug)]
pub struct Process {
    watched: Arc<Watched>,
    pidfd: OwnedFd,
    /// Its number as we know it; in its cell it may have another.
    pid: Option<u32>,
    how: Option<String>,
    cell: Cell,
    /// The other end of a standard input with nothing in it: a program that ends with its input is not
    /// to end before we say so.
    _input: Option<PipeWriter>,
}

impl Process {
    /// Starts a program in the scratch directory of a cell, with a standard input that stays open and in
    /// which nothing ever comes.
    ///
    /// # Errors
    /// Those of starting a process; they name the program.
    pub fn start<S: AsRef<OsStr>>(program: &Path, args: &[S], cell: Cell) -> io::Result<Process> {
        Process::start_with(program, args, cell, None)
    }

    /// The same, with a standard input: a socket, say, which it is told of as descriptor 0.
    ///
    /// # Errors
    /// Those of starting a process; they name the program.
    pub fn start_with<S: AsRef<OsStr>>(
        program: &Path,
        args: &[S],
        cell: Cell,
        stdin: Option<BorrowedFd<'_>>,
    ) -> io::Result<Process> {
        let (output, input) = io::pipe()?;
        let outputs = Outputs { output: input.as_fd(), error: input.as_fd() };
        let (silent, held) = if stdin.is_none() { Some(io::pipe()?) } else { None }.unzip();
        let stdin = stdin.or(silent.as_ref().map(AsFd::as_fd));
        let pidfd = cell
            .start(program, args, stdin, &outputs)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", program.display())))?;
        drop(input);
        rustix::io::ioctl_fionbio(&output, true)?;
        let watched = watch(output, cell.killer()?)?;
        let pid = number(&pidfd)?;
        Ok(Process { watched, pidfd, pid, how: None, cell, _input: held })
    }

    /// Readable once the program has ended.
    pub fn end(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Waits for the program to end and says how it did; `None` if it still runs after `limit`.
    ///
    /// # Errors
    /// Those of waiting.
    pub fn ended(&mut self, limit: Duration) -> io::Result<Option<String>> {
        if self.how.is_none() {
            let over = ready(&[(self.pidfd.as_fd(), PollFlags::IN)], Instant::now() + limit)?;
            if over.is_none() {
                return Ok(None);
            }
            self.how = Some(how(self.cell.status()?));
        }
        Ok(self.how.clone())
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.ended(Duration::ZERO), Ok(None))
    }

    /// Does something that waits for the program, and kills the program when it takes too long.
    pub fn within<T>(&self, limit: Duration, call: impl FnOnce() -> T) -> T {
        self.watched.begin(Instant::now() + limit);
        let result = call();
        self.watched.end();
        result
    }

    /// Whether a time limit has passed and the program was killed for it.
    pub fn was_too_slow(&self) -> bool {
        self.watched.was_too_slow()
    }

    /// How many bytes the program has printed so far.
    pub fn printed(&self) -> u64 {
        self.watched.output().total
    }

    /// The last lines that the program has printed. Those after its first `since` bytes were
    /// printed during the step that began then.
    pub fn words(&self, since: u64) -> Aside {
        let output = self.watched.output();
        let fresh = usize::try_from(output.total.saturating_sub(since)).unwrap_or(usize::MAX);
        let tail: Vec<u8> = output.tail.iter().copied().collect();
        let (before, during) = tail.split_at(tail.len().saturating_sub(fresh));
        let lines = |bytes: &[u8], is_during| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            text.lines().map(|line| Line { text: line.to_owned(), is_during }).collect::<Vec<_>>()
        };
        Aside::of(lines(before, false).into_iter().chain(lines(during, true)))
    }

    /// All lines that the program has printed, as far as they are kept.
    pub fn all_words(&self) -> Aside {
        let lines = self.output();
        Aside::all(lines.lines().map(|line| Line { text: line.to_owned(), is_during: true }))
    }

    /// What the program has printed: the beginning, and the end if that is not all.
    pub fn output(&self) -> String {
        self.watched.output().text()
    }

    /// Where its socket and files are.
    pub fn scratch(&self) -> PathBuf {
        self.cell.scratch().to_path_buf()
    }

    /// What is kept apart for it.
    pub fn isolation(&self) -> Isolation {
        self.cell.isolation()
    }

    /// The memory that it has now, and had at most since [`Process::begin_growth`].
    ///
    /// # Errors
    /// Those of reading about a process that is gone.
    pub fn memory(&self) -> io::Result<Memory> {
        let status = std::fs::read_to_string(self.place("status")?)?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        };
        let bytes =
            |name| kib(name).map(|kib| kib << 10).ok_or_else(|| io::Error::other(format!("no {name}")));
        Ok(Memory { now: bytes("VmRSS:")?, highest: bytes("VmHWM:")?, reserved: bytes("VmPeak:")? })
    }

    /// The memory that it has now; from now on, the highest is what it has from now on.
    ///
    /// # Errors
    /// Those of looking at a process that is gone.
    pub fn begin_growth(&self) -> io::Result<Memory> {
        const PEAK: &str = "5";
        std::fs::write(self.place("clear_refs")?, PEAK)?;
        self.memory()
    }

    /// Its number, as this process sees it.
    #[cfg(test)]
    pub(super) fn number(&self) -> Option<u32> {
        self.pid
    }

    /// Where the kernel tells of it.
    fn place(&self, what: &str) -> io::Result<String> {
        let pid = self.pid.ok_or(io::ErrorKind::NotFound)?;
        Ok(format!("/proc/{pid}/{what}"))
    }
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Resident now.
    pub now: u64,
    /// Resident at most.
    pub highest: u64,
    /// Addresses at most since the start, used or not.
    pub reserved: u64,
}

impl Memory {
    /// What was used at most since an earlier look, or reserved beyond what threads need for
    /// their stacks and heaps.
    pub fn grown_since(&self, before: Memory) -> u64 {
        const THREADS: u64 = 256 << 20;
        let reserved = self.reserved.saturating_sub(before.reserved).saturating_sub(THREADS);
        self.highest.saturating_sub(before.now).max(reserved)
    }
}

/// The number of a process, as this process sees it; `None` once it has ended.
fn number(pidfd: &OwnedFd) -> io::Result<Option<u32>> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    Ok(info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok()))
}

/// Waits until one of some descriptors is ready, or hung up, and says which; `None` at the
/// deadline.
pub(crate) fn ready(fds: &[(BorrowedFd<'_>, PollFlags)], deadline: Instant) -> io::Result<Option<usize>> {
    let mut polled: Vec<PollFd<'_>> =
        fds.iter().map(|&(fd, what)| PollFd::from_borrowed_fd(fd, what)).collect();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut polled, Some(&left)) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(polled.iter().position(|fd| !fd.revents().is_empty())),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(number)) => match SIGNALS.iter().find(|signal| signal.0 == number) {
            Some((_, name)) => format!("signal {name}"),
            None => format!("signal {number}"),
        },
        (None, None) => status.to_string(),
    }
}

const SIGNALS: &[(i32, &str)] = &[
    (1, "SIGHUP"),
    (2, "SIGINT"),
    (3, "SIGQUIT"),
    (4, "SIGILL"),
    (5, "SIGTRAP"),
    (6, "SIGABRT"),
    (7, "SIGBUS"),
    (8, "SIGFPE"),
    (9, "SIGKILL"),
    (11, "SIGSEGV"),
    (13, "SIGPIPE"),
    (14, "SIGALRM"),
    (15, "SIGTERM"),
    (24, "SIGXCPU"),
    (25, "SIGXFSZ"),
    (31, "SIGSYS"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::leftovers::sleeper;

    /// Only what hangs takes that long.
    const SOON: Duration = Duration::from_secs(300);

    fn shell(script: &str) -> Process {
        let scratch = Cell::alone().expect("a cell");
        Process::start(Path::new("/bin/sh"), &["-c", script], scratch).expect("sh starts")
    }

    #[test]
    fn the_way_it_ended_is_told() {
        assert_eq!(shell("exit 3").ended(SOON).expect("waits").as_deref(), Some("exit status 3"));
        assert_eq!(shell("kill -ABRT $$").ended(SOON).expect("waits").as_deref(), Some("signal SIGABRT"));
        assert_eq!(shell("sleep 1000").ended(Duration::from_millis(1)).expect("waits"), None);
    }

    #[test]
    fn each_wait_status_has_its_words() {
        // As `wait` gives it: bits 0 to 6 are the signal, bit 7 a core dump, the rest the exit status.
        const CORE: i32 = 1 << 7;
        let table = [
            (0, "exit status 0"),
            (3 << 8, "exit status 3"),
            (255 << 8, "exit status 255"),
            (libc::SIGHUP, "signal SIGHUP"),
            (libc::SIGINT, "signal SIGINT"),
            (libc::SIGQUIT | CORE, "signal SIGQUIT"),
            (libc::SIGILL | CORE, "signal SIGILL"),
            (libc::SIGTRAP | CORE, "signal SIGTRAP"),
            (libc::SIGABRT, "signal SIGABRT"),
            (libc::SIGABRT | CORE, "signal SIGABRT"),
            (libc::SIGBUS | CORE, "signal SIGBUS"),
            (libc::SIGFPE | CORE, "signal SIGFPE"),
            (libc::SIGKILL, "signal SIGKILL"),
            (libc::SIGSEGV | CORE, "signal SIGSEGV"),
            (libc::SIGPIPE, "signal SIGPIPE"),
            (libc::SIGALRM, "signal SIGALRM"),
            (libc::SIGTERM, "signal SIGTERM"),
            (libc::SIGXCPU | CORE, "signal SIGXCPU"),
            (libc::SIGXFSZ | CORE, "signal SIGXFSZ"),
            (libc::SIGSYS | CORE, "signal SIGSYS"),
            (libc::SIGSTKFLT, "signal 16"),
        ];
        for (status, words) in table {
            assert_eq!(how(ExitStatus::from_raw(status)), words);
        }
    }

    /// A program that ends at the end of its input runs until it is killed.
    #[test]
    fn the_input_stays_open_and_says_nothing() {
        let mut reader = shell("echo ready; cat; echo over");
        while reader.printed() == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(reader.ended(Duration::from_millis(100)).expect("waits"), None, "{}", reader.output());
        assert_eq!(reader.output(), "ready\n");
    }

    #[test]
    fn a_flood_is_kept_at_both_ends() {
        let mut flood =
            shell("echo first; yes | head -c 3000000; echo '[2020 ERROR x] last words'; exec >&- 2>&-");
        flood.ended(SOON).expect("waits");
        assert!(flood.output().starts_with("first\ny\n"), "{}", flood.output());
        assert!(flood.output().len() < 30_000);
        assert_eq!(flood.words(0).last(), Some("last words"));
        assert_eq!(flood.words(flood.printed()).last_during(), None);
    }

    #[test]
    fn nothing_is_left_behind() {
        let seconds = sleeper::seconds(1003);
        let parent = shell(&format!("sleep {seconds} & echo started; wait"));
        sleeper::until_it_runs(&seconds);
        let scratch = parent.scratch();
        drop(parent);
        assert!(!scratch.exists());
        assert!(!sleeper::runs(&seconds));
    }

    #[test]
    fn an_endless_flood_keeps_nobody() {
        let flood = shell("yes");
        while flood.printed() == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let ended = flood.within(Duration::from_millis(1), || {
            ready(&[(flood.end(), PollFlags::IN)], Instant::now() + SOON)
        });
        assert!(ended.expect("polls").is_some());
        assert_eq!(flood.words(0).last(), Some("y"));
    }

    #[test]
    fn a_call_that_takes_too_long_ends_with_the_program() {
        let slow = shell("sleep 1000");
        let ended = slow.within(Duration::from_millis(1), || {
            ready(&[(slow.end(), PollFlags::IN)], Instant::now() + SOON)
        });
        assert!(ended.expect("polls").is_some());
        assert!(slow.was_too_slow());
    }
}
