//! A device program that runs as a child, and leaves nothing behind.
//!
//! The child has a process group of its own, which is killed on drop; its scratch directory goes
//! with it. Whatever it started elsewhere becomes a child of ours when its parent is gone, and is
//! found by a mark in its environment. What it prints is kept at both ends and dropped in the middle,
//! so that a flood costs nothing. A call into the child may be given a time limit, at whose end the
//! child is killed: whatever the call was waiting for then fails.

use super::scratch::Scratch;
use super::{ending, leftovers};
use migcert_core::error::{Aside, Line};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process_group, pidfd_open, waitpgid};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A running device program.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pidfd: OwnedFd,
    watched: Arc<Watched>,
    mark: String,
    scratch: Scratch,
}

/// What the watching thread shares with the owner.
#[derive(Debug)]
struct Watched {
    group: Pid,
    output: Mutex<Output>,
    limit: Mutex<Limit>,
}

#[derive(Debug, Default)]
struct Limit {
    end: Option<Instant>,
    passed: bool,
    gone: bool,
}

impl Process {
    /// Starts a program in its scratch directory, with nothing to read.
    ///
    /// # Errors
    /// Those of starting a process; they name the program.
    pub fn start<S: AsRef<OsStr>>(program: &Path, args: &[S], scratch: Scratch) -> io::Result<Process> {
        Process::start_with(program, args, scratch, Stdio::null())
    }

    /// The same, with a standard input: a socket, say, which it is told of as descriptor 0.
    ///
    /// # Errors
    /// Those of starting a process; they name the program.
    pub fn start_with<S: AsRef<OsStr>>(
        program: &Path,
        args: &[S],
        scratch: Scratch,
        stdin: Stdio,
    ) -> io::Result<Process> {
        let (output, input) = io::pipe()?;
        // The scratch directory is no place to look from for what was named elsewhere.
        let named = program.components().count() > 1;
        let program = if named { std::path::absolute(program)? } else { program.to_path_buf() };
        leftovers::adopt_orphans();
        let mark = leftovers::new_mark();
        let mut command = Command::new(&program);
        command.args(args).current_dir(scratch.path()).process_group(0).env(leftovers::MARK, &mark);
        command.stdin(stdin).stdout(input.try_clone()?).stderr(input);
        let child = ending::spawn(command)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", program.display())))?;
        rustix::io::ioctl_fionbio(&output, true)?;
        let group = Pid::from_child(&child);
        let watched = Arc::new(Watched {
            group,
            output: Mutex::new(Output::new(output.try_clone()?)),
            limit: Mutex::new(Limit::default()),
        });
        let shared = Arc::clone(&watched);
        thread::Builder::new().name(format!("watch {group}")).spawn(move || shared.watch(&output))?;
        let pidfd = pidfd_open(group, PidfdFlags::empty())?;
        Ok(Process { child, pidfd, watched, mark, scratch })
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
        let over = ready(&[(self.pidfd.as_fd(), PollFlags::IN)], Instant::now() + limit)?;
        if over.is_none() {
            return Ok(None);
        }
        Ok(Some(how(self.child.wait()?)))
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Does something that waits for the program, and kills the program when it takes too long.
    pub fn within<T>(&self, limit: Duration, call: impl FnOnce() -> T) -> T {
        self.watched.limit().end = Some(Instant::now() + limit);
        let result = call();
        self.watched.limit().end = None;
        result
    }

    /// Whether a time limit has passed and the program was killed for it.
    pub fn was_too_slow(&self) -> bool {
        self.watched.limit().passed
    }

    /// How many bytes the program has printed so far.
    pub fn printed(&self) -> u64 {
        self.watched.drain().total
    }

    /// The last lines that the program has printed. Those after its first `since` bytes were
    /// printed during the step that began then.
    pub fn words(&self, since: u64) -> Aside {
        let output = self.watched.drain();
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
        self.watched.drain().text()
    }

    /// Where its socket and files are.
    pub fn scratch(&self) -> PathBuf {
        self.scratch.path().to_path_buf()
    }

    /// The memory that it has now, and had at most since [`Process::forget_highest_memory`].
    ///
    /// # Errors
    /// Those of reading about a process that is gone.
    pub fn memory(&self) -> io::Result<Memory> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        };
        let bytes =
            |name| kib(name).map(|kib| kib << 10).ok_or_else(|| io::Error::other(format!("no {name}")));
        Ok(Memory { now: bytes("VmRSS:")?, highest: bytes("VmHWM:")?, reserved: bytes("VmPeak:")? })
    }

    /// From now on, the highest memory is that of now.
    ///
    /// # Errors
    /// Those of writing to a process that is gone.
    pub fn forget_highest_memory(&self) -> io::Result<()> {
        const PEAK: &str = "5";
        std::fs::write(format!("/proc/{}/clear_refs", self.id()), PEAK)
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
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

impl Drop for Process {
    fn drop(&mut self) {
        let group = self.watched.group;
        // The group outlives its leader as long as others are in it.
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
        while matches!(waitpgid(group, WaitOptions::empty()), Ok(_) | Err(Errno::INTR)) {}
        // Somebody who left the group holds the output.
        if !self.watched.drain().ended {
            leftovers::kill_marked(&self.mark);
        }
        self.watched.limit().gone = true;
    }
}

impl Watched {
    fn limit(&self) -> MutexGuard<'_, Limit> {
        self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drain(&self) -> MutexGuard<'_, Output> {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        output.drain();
        output
    }

    /// Drains the output and enforces the limit, until the last writer of
    /// the output is gone, or the owner.
    fn watch(&self, output: &PipeReader) {
        const TICK: Duration = Duration::from_millis(200);
        loop {
            // An idle program costs a look per tick.
            let printed = ready(&[(output.as_fd(), PollFlags::IN)], Instant::now() + TICK);
            if !matches!(printed, Ok(None)) && self.drain().ended {
                return;
            }
            let mut limit = self.limit();
            if limit.gone {
                return;
            }
            if limit.end.is_some_and(|end| end <= Instant::now()) {
                limit.end = None;
                limit.passed = true;
                let _ = kill_process_group(self.group, Signal::KILL);
            }
        }
    }
}

const HEAD: usize = 4 << 10;
const TAIL: usize = 16 << 10;

/// The two ends of what a program prints.
#[derive(Debug)]
struct Output {
    from: PipeReader,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
    ended: bool,
}

impl Output {
    fn new(from: PipeReader) -> Output {
        Output { from, head: Vec::new(), tail: VecDeque::new(), total: 0, ended: false }
    }

    /// Takes what there is now; who never stops printing must not keep us here.
    fn drain(&mut self) {
        const MOST: u64 = 1 << 20;
        let mut bytes = [0; 64 << 10];
        let before = self.total;
        while !self.ended && self.total - before < MOST {
            match self.from.read(&mut bytes) {
                Ok(0) => self.ended = true,
                Ok(n) => self.keep(&bytes[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.ended = true,
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = HEAD.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..room]);
        self.tail.extend(&bytes[bytes.len().saturating_sub(TAIL)..]);
        let excess = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..excess);
    }

    fn text(&self) -> String {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        let both = match self.total.saturating_sub(tail.len() as u64) {
            0 => tail,
            gap if gap <= self.head.len() as u64 => {
                [self.head.get(..gap as usize).unwrap_or_default(), &tail].concat()
            }
            _ => [&self.head, b"\n...\n".as_slice(), &tail].concat(),
        };
        String::from_utf8_lossy(&both).into_owned()
    }
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

    const SOON: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Process {
        let scratch = Scratch::directory().expect("scratch");
        Process::start(Path::new("/bin/sh"), &["-c", script], scratch).expect("sh starts")
    }

    #[test]
    fn the_way_it_ended_is_told() {
        assert_eq!(shell("exit 3").ended(SOON).expect("waits").as_deref(), Some("exit status 3"));
        assert_eq!(shell("kill -ABRT $$").ended(SOON).expect("waits").as_deref(), Some("signal SIGABRT"));
        assert_eq!(shell("sleep 60").ended(Duration::from_millis(1)).expect("waits"), None);
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
        let mut parent = shell("sleep 1000 & echo $!; wait");
        let mut line = None;
        let deadline = Instant::now() + SOON;
        while line.is_none() && Instant::now() < deadline {
            let _ = parent.ended(Duration::from_millis(5));
            line = parent.words(0).last().map(str::to_owned);
        }
        let child: i32 = line.expect("it printed").parse().expect("a number");
        let (scratch, pid) = (parent.scratch(), parent.id());
        drop(parent);
        assert!(!scratch.exists());
        // A killed orphan takes its time, and stays until whoever inherits it has reaped it.
        let runs = |pid: i32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !status.is_empty() && !status.contains(") Z")
        };
        while runs(child) && Instant::now() < deadline {
            thread::yield_now();
        }
        assert!(!runs(child) && !runs(pid as i32));
    }

    #[test]
    fn an_endless_flood_keeps_nobody() {
        let flood = shell("yes");
        let ended = flood.within(Duration::from_millis(300), || {
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
