//! Cells: where device programs run, apart from each other and from us.
//!
//! ```text
//! migcert ──► nursery ──► keeper of a cell ──► device program ──► whatever it starts
//! ```
//!
//! The nursery is forked once. It forks a keeper for each cell, which enters name spaces of its own
//! as far as that is allowed: its own layer over all files that can be written, its own IPC,
//! network and processes. One program at a time runs in a cell. What it leaves, processes in any
//! session or files anywhere, stays in the cell: processes become children of the keeper, which
//! reaps them at once and kills them when the program is no longer needed; a cell in which anything
//! was changed is not used again. Where nothing is allowed, that is still so for processes.
//!
//! Keepers and nursery end when we do, however that happens, and take everything with them.

mod forked;
mod keeper;
mod mounts;
mod nursery;
pub(crate) mod plan;
mod raw;
#[cfg(test)]
mod tests;
mod wire;
pub(crate) mod written;

use super::environment;
use super::traffic::{Activity, timed};
use crate::ending;
use crate::isolation::Isolation;
use crate::scratch::{Scratch, socket_in};
use nursery::Line;
use plan::{Because, Denied, Places, Plan, Shares};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wire::{Start, answer};
use written::Written;

pub(super) use nursery::end_all;

/// A cell for one program, until it is dropped: then nothing of the program is left.
#[derive(Debug)]
pub struct Cell {
    /// Gone on drop.
    made: Option<Made>,
    /// Where the program starts, with its socket and files; gone first.
    scratch: Option<Scratch>,
    /// Where it is kept what files the program wrote, where somebody wants to know.
    written: Option<Arc<Written>>,
    /// Where it waits for another program.
    idle: &'static Idle,
}

/// Cells that wait for a program.
type Idle = Mutex<VecDeque<Made>>;

/// A cell that may be used more than once.
#[derive(Debug)]
struct Made {
    line: Arc<Line>,
    key: Key,
    directory: Scratch,
    /// Programs that ran here.
    uses: u64,
    isolation: Isolation,
    /// What its layers lie over, by their slots.
    layers: Vec<(u32, PathBuf)>,
}

/// What makes two cells alike.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    visible: Vec<PathBuf>,
    shares: Shares,
}

/// Where a program prints to.
pub(super) struct Outputs<'a> {
    pub(super) output: BorrowedFd<'a>,
    pub(super) error: BorrowedFd<'a>,
}

impl Cell {
    /// A cell, with nothing in it, for a program that shares only these things with others, and
    /// sees `visible` directories of ours.
    ///
    /// # Errors
    /// Those of starting processes and of making directories.
    pub(crate) fn open(visible: &[&Path], shares: &Shares) -> io::Result<Cell> {
        timed(Activity::Cell, || Cell::open_from(&WAITING, visible, shares))
    }

    /// The same, one of these or a new one.
    fn open_from(idle: &'static Idle, visible: &[&Path], shares: &Shares) -> io::Result<Cell> {
        let visible = visible.iter().map(|path| path.to_path_buf()).collect();
        let mut key = Key { visible, shares: shares.clone() };
        if is_off() {
            key.shares.everything = Some(Because::SwitchedOff);
        }
        // The one that was used longest ago: a source and its destination rarely follow each other
        // in it.
        let waiting = {
            let mut waiting = lock(idle);
            let at = waiting.iter().position(|made| made.key == key);
            at.and_then(|at| waiting.remove(at))
        };
        let mut made = waiting.map_or_else(|| Made::new(key), Ok)?;
        made.uses += 1;
        let scratch = Scratch::named(&made.directory.path().join(made.uses.to_string()))?;
        Ok(Cell { made: Some(made), scratch: Some(scratch), written: None, idle })
    }

    /// A cell for a program that shares nothing.
    ///
    /// # Errors
    /// As `Cell::open`.
    pub fn alone() -> io::Result<Cell> {
        Cell::open(&[], &Shares::default())
    }

    /// The same, which keeps the names of the files that the program wrote once it is gone.
    #[must_use]
    pub(super) fn keeping(mut self, written: &Arc<Written>) -> Cell {
        self.written = Some(Arc::clone(written));
        self
    }

    /// Where the program starts, and its socket and files are.
    pub fn scratch(&self) -> &Path {
        self.scratch.as_ref().map_or(Path::new(""), Scratch::path)
    }

    /// What is kept apart in it.
    pub fn isolation(&self) -> Isolation {
        self.made.as_ref().map(|made| made.isolation.clone()).unwrap_or_default()
    }

    /// What kills all that runs in it.
    pub(super) fn killer(&self) -> io::Result<Killer> {
        Ok(Killer(Arc::clone(&self.made()?.line)))
    }

    fn made(&self) -> io::Result<&Made> {
        self.made.as_ref().ok_or_else(|| io::Error::other("the cell is gone"))
    }

    /// Starts a program, once; what is returned is a descriptor of its process.
    ///
    /// # Errors
    /// Those of starting a program.
    pub(super) fn start<S: AsRef<OsStr>>(
        &self,
        program: &Path,
        args: &[S],
        stdin: Option<BorrowedFd<'_>>,
        outputs: &Outputs<'_>,
    ) -> io::Result<OwnedFd> {
        let made = self.made()?;
        let file = if program.components().count() > 1 {
            std::path::absolute(program)?
        } else {
            environment::find(program).ok_or(io::ErrorKind::NotFound)?
        };
        let text = |text: &OsStr| CString::new(text.as_bytes());
        let name = if program.components().count() > 1 { file.as_os_str() } else { program.as_os_str() };
        let words = std::iter::once(name).chain(args.iter().map(AsRef::as_ref));
        let words: Vec<CString> = words.map(text).collect::<Result<_, _>>()?;
        let mut environment = environment::of(&file, self.scratch());
        if !made.isolation.keeps_files_apart() {
            environment.retain(|entry| !entry.to_bytes().starts_with(b"TMPDIR="));
            environment.push(CString::new([b"TMPDIR=", self.scratch().as_os_str().as_bytes()].concat())?);
        }
        let mut message = Vec::new();
        let start = Start {
            after: next_number(),
            directory: &text(self.scratch().as_os_str())?,
            program: &text(file.as_os_str())?,
            args: &words,
            environment: &environment,
        };
        start.put(&mut message);
        let _held = ending::hold_up();
        let fds: Vec<BorrowedFd<'_>> = stdin.into_iter().chain([outputs.output, outputs.error]).collect();
        let (what, errno, fd) = made.line.ask(&message, &fds)?;
        match (what, fd) {
            (answer::DONE, Some(process)) => Ok(process),
            _ => Err(Errno::from_raw_os_error(errno as i32).into()),
        }
    }

    /// How the program ended, which it has.
    ///
    /// # Errors
    /// Those of talking to the keeper.
    pub(super) fn status(&self) -> io::Result<ExitStatus> {
        match self.made()?.line.ask(&[wire::keeper::STATUS], &[])? {
            (answer::DONE, status, _) => Ok(ExitStatus::from_raw(status as i32)),
            (_, errno, _) => Err(Errno::from_raw_os_error(errno as i32).into()),
        }
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        let Some(made) = self.made.take() else { return };
        timed(Activity::End, || self.clear(made));
    }
}

impl Cell {
    fn clear(&mut self, made: Made) {
        let cleared = made.line.ask(&[wire::keeper::CLEAR], &[]);
        // Nobody writes there any more.
        drop(self.scratch.take());
        if let (Some(written), Ok((answer::CHANGED, ..))) = (&self.written, &cleared)
            && let Ok((answer::DONE, _, Some(stage))) = made.line.ask(&[wire::keeper::WRITTEN], &[])
        {
            written.note(&stage, &made.layers);
        }
        let is_as_new = matches!(cleared, Ok((answer::DONE, ..))) && made.directory.is_empty();
        if is_as_new && made.uses < USES {
            let mut idle = lock(self.idle);
            idle.push_back(made);
            if IDLE < idle.len() {
                let oldest = idle.pop_front();
                // Which takes its time.
                drop(idle);
                drop(oldest);
            }
        }
    }
}

/// With the value `no`, nothing is kept apart.
const ISOLATE: &str = "MIGCERT_ISOLATE";
/// Cells that wait for a program at most.
const IDLE: usize = 16;
/// Programs that run in a cell at most.
const USES: u64 = 10_000;

/// Whether nothing is to be kept apart.
pub(super) fn is_off() -> bool {
    std::env::var_os(ISOLATE).is_some_and(|value| value == "no")
}

static WAITING: Idle = Mutex::new(VecDeque::new());

fn lock(idle: &Idle) -> MutexGuard<'_, VecDeque<Made>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets go of cells that see a directory of ours which is about to be removed.
pub(super) fn forget(visible: &Path) {
    let mut gone = Vec::new();
    let mut idle = lock(&WAITING);
    while let Some(at) = idle.iter().position(|made| made.key.visible.iter().any(|path| path == visible)) {
        gone.extend(idle.remove(at));
    }
    drop(idle);
}

/// Whether programs can be started here at all, as far as that is up to us.
///
/// # Errors
/// What is in the way, and what to do.
pub fn check() -> io::Result<()> {
    // As long as the names of cells and of their uses get.
    const LONGEST: &str = "cXXXXXX/10000";
    socket_in(&nursery::nursery()?.directory().join(LONGEST)).map(drop)
}

/// A new directory of ours, which cells see where they are to.
pub(super) fn directory() -> io::Result<Scratch> {
    Scratch::directory_in(nursery::nursery()?.directory(), "s")
}

/// Kills all that runs in a cell.
#[derive(Clone, Debug)]
pub(super) struct Killer(Arc<Line>);

impl Killer {
    /// Without waiting until it has ended.
    pub(super) fn kill(&self) {
        let _ = self.0.tell(&[wire::keeper::KILL]);
    }
}

impl Made {
    fn new(key: Key) -> io::Result<Made> {
        const ATTEMPTS: u32 = 5;
        const PAUSE: Duration = Duration::from_millis(20);
        let nursery = nursery::nursery()?;
        let directory = Scratch::directory_in(nursery.directory(), "c")?;
        let mut attempts = 0;
        loop {
            let places = Places { run: nursery.directory(), cell: directory.path(), visible: &key.visible };
            let plan = Plan::of(&places, &key.shares, &denied())?;
            let (line, answered) = nursery.cell(plan.steps.iter().map(|(_, step)| step))?;
            match answered {
                (answer::DONE, _) => {
                    let Plan { isolation, layers, .. } = plan;
                    return Ok(Made { line: Arc::new(line), key, directory, uses: 0, isolation, layers });
                }
                (step, errno) => {
                    let why = Errno::from_raw_os_error(errno as i32);
                    // A machine that is busy for now does not say what it allows.
                    if matches!(why, Errno::AGAIN | Errno::NOMEM) && attempts < ATTEMPTS {
                        attempts += 1;
                        std::thread::sleep(PAUSE * attempts);
                        continue;
                    }
                    let step = step.checked_sub(answer::STEP).and_then(|step| plan.steps.get(step as usize));
                    let known = denied().len();
                    match step {
                        Some((Some(channel), _)) => drop(denied().insert(channel.clone(), words(why))),
                        _ => return Err(why.into()),
                    }
                    // What is denied already can't be what failed.
                    if denied().len() == known {
                        return Err(why.into());
                    }
                }
            }
        }
    }
}

/// A number for a process, as they follow each other on a machine.
fn next_number() -> u32 {
    const FIRST: u32 = 300;
    const NUMBERS: u32 = 32_000;
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Relaxed).wrapping_mul(7);
    FIRST + std::process::id().wrapping_add(count) % NUMBERS
}

fn words(errno: Errno) -> String {
    let text = io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// What can't be kept apart on this machine.
fn denied() -> MutexGuard<'static, Denied> {
    static DENIED: Mutex<Denied> = Mutex::new(Denied::new());
    DENIED.lock().unwrap_or_else(PoisonError::into_inner)
}
