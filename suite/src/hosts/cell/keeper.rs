//! The keeper of a cell: makes the cell, starts one program after another in it, and clears it.
//!
//! It is forked, and must not allocate: see [`forked`](super::forked).

use super::forked::{Line, Received, Room, kill_children, reap, receive, reply, wait};
use super::raw::{self, Forked};
use super::wire::{Reader, Space, Step, answer, keeper};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::{Errno, Result};
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid};
use std::ffi::CStr;
use std::fmt::Write;

/// What is opened for later steps, and what is watched, at most.
const SLOTS: usize = 512;

/// Makes the cell of a message and keeps it until nobody listens.
pub(super) fn keep(control: OwnedFd, room: &mut Room, bytes: usize) -> ! {
    if let Ok(control) = raw::keep_only(control) {
        let _ = rustix::process::setsid();
        let mut cell = Cell::new();
        let plan = room.message.get(1..bytes).unwrap_or_default();
        match cell.make(&control, plan) {
            Ok(()) => drop(cell.serve(&control, room)),
            Err((step, errno)) => {
                let _ = reply(&control, answer::STEP + step, errno.raw_os_error() as u32, None);
            }
        }
        kill_children();
    }
    raw::exit(0)
}

/// What the keeper has.
struct Cell {
    slots: [Option<OwnedFd>; SLOTS],
    opened: usize,
    /// Directories whose tops must not change, and what they were like.
    watched: [Option<(OwnedFd, Stat)>; SLOTS],
    watching: usize,
    /// Where layers write.
    stage: Option<OwnedFd>,
    /// Tells of mounts that were made.
    mounts: Option<OwnedFd>,
    /// Where the number of the next process is set. Without, it would be the same in every cell, and
    /// what depends on it by mistake would not show.
    numbers: Option<OwnedFd>,
    /// Whether objects of System V IPC here are those of this cell alone.
    has_ipc: bool,
    program: Option<Pid>,
    /// How the program ended, once it has.
    status: Option<WaitStatus>,
}

impl Cell {
    fn new() -> Cell {
        Cell {
            slots: [const { None }; SLOTS],
            opened: 0,
            watched: [const { None }; SLOTS],
            watching: 0,
            stage: None,
            mounts: None,
            numbers: None,
            has_ipc: false,
            program: None,
            status: None,
        }
    }

    /// Takes the steps of a plan. In a name space of processes of its own, it is a child that goes
    /// on, as the first process of it.
    fn make(&mut self, control: &OwnedFd, plan: &[u8]) -> std::result::Result<(), (u32, Errno)> {
        let mut reader = Reader(plan);
        let mut number = 0;
        while !reader.0.is_empty() {
            let step = reader.step().and_then(|step| {
                self.step(&step)?;
                Ok(step)
            });
            let step = step.map_err(|errno| (number, errno))?;
            if step == Step::Space(Space::Processes) {
                // SAFETY: this process has one thread.
                #[expect(unsafe_code, reason = "a fork")]
                let forked = unsafe { raw::fork() };
                match forked {
                    Ok(Forked::Parent(_)) => raw::exit(0),
                    Ok(Forked::Child) => drop(rustix::process::setsid()),
                    Err(errno) => return Err((number, errno)),
                }
            }
            number += 1;
        }
        self.slots.iter_mut().for_each(|slot| drop(slot.take()));
        let open = |path, flags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).ok();
        if getpid().is_init() {
            self.numbers = open(c"/proc/sys/kernel/ns_last_pid", OFlags::WRONLY);
        } else {
            rustix::process::set_child_subreaper(Some(getpid())).map_err(|errno| (number, errno))?;
        }
        self.mounts = open(c"/proc/self/mounts", OFlags::RDONLY);
        for (top, now) in self.watched.iter_mut().flatten() {
            *now = rustix::fs::fstat(top).map_err(|errno| (number, errno))?;
        }
        self.has_changed();
        raw::keep_to_itself();
        reply(control, answer::DONE, 0, None).map_err(|errno| (number, errno))
    }

    fn step(&mut self, step: &Step<&CStr>) -> Result<()> {
        match *step {
            Step::User(uid, gid) => {
                raw::unshare(rustix::thread::UnshareFlags::NEWUSER)?;
                put(c"/proc/self/setgroups", format_args!("deny"))?;
                put(c"/proc/self/uid_map", format_args!("{uid} {uid} 1"))?;
                put(c"/proc/self/gid_map", format_args!("{gid} {gid} 1"))
            }
            Step::Space(space) => {
                raw::unshare(space.flag())?;
                match space {
                    Space::Mounts => {
                        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
                        rustix::mount::mount_change(c"/", private)
                    }
                    Space::Network => raw::loopback_up(),
                    Space::Ipc => {
                        self.has_ipc = true;
                        Ok(())
                    }
                    Space::HostName | Space::Processes => Ok(()),
                }
            }
            Step::NoKeyrings => raw::no_keyrings(),
            Step::Open(path) => {
                let opened = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
                *self.slots.get_mut(self.opened).ok_or(Errno::MFILE)? = Some(opened);
                self.opened += 1;
                Ok(())
            }
            Step::Mount(kind, options, at) => {
                let flags = MountFlags::NOSUID | MountFlags::NODEV;
                rustix::mount::mount(kind, at, kind, flags, options)?;
                // What is in `proc` comes and goes.
                if kind == c"proc" { Ok(()) } else { self.watch(top(at)?) }
            }
            Step::Stage(options, at) => {
                let flags = MountFlags::NOSUID | MountFlags::NODEV;
                rustix::mount::mount(c"tmpfs", at, c"tmpfs", flags, options)?;
                self.stage = Some(top(at)?);
                Ok(())
            }
            Step::Layer(slot, at) => self.layer(slot, at),
            Step::Bind(slot, at) => {
                let source = name_of(self.slot(slot)?)?;
                rustix::mount::mount_bind_recursive(source.text()?, at)
            }
            Step::Directory(at) => rustix::fs::mkdir(at, Mode::from_raw_mode(0o755)),
            Step::Show(what, at) => rustix::mount::mount_bind_recursive(what, at),
            Step::Enter(at) => {
                rustix::process::chdir(at)?;
                rustix::mount::mount_move(c".", c"/")?;
                rustix::process::chroot(c".")?;
                rustix::process::chdir(c"/")
            }
        }
    }

    fn slot(&self, slot: u32) -> Result<BorrowedFd<'_>> {
        let slot = self.slots.get(slot as usize).and_then(Option::as_ref);
        slot.map(AsFd::as_fd).ok_or(Errno::BADF)
    }

    /// Mounts a layer: what is there already shows through, what is written is the cell's own.
    fn layer(&mut self, slot: u32, at: &CStr) -> Result<()> {
        let stage = self.stage.as_ref().ok_or(Errno::NOENT)?;
        let lower = self.slot(slot)?;
        let like = rustix::fs::fstat(lower)?;
        let mut names = [const { Line::<16>::new() }; 2];
        let mut fds = [const { None }; 2];
        for ((name, fd), kind) in names.iter_mut().zip(&mut fds).zip(["upper", "work"]) {
            write!(name, "{kind}{slot}\0").map_err(|_| Errno::NAMETOOLONG)?;
            rustix::fs::mkdirat(stage, name.text()?, Mode::from_raw_mode(0o755))?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            *fd = Some(rustix::fs::openat(stage, name.text()?, flags, Mode::empty())?);
        }
        let [Some(upper), Some(work)] = fds else { return Err(Errno::BADF) };
        // Where another user is not known here, the owner is this one.
        let (uid, gid) = (Uid::from_raw(like.st_uid), Gid::from_raw(like.st_gid));
        let _ = rustix::fs::chownat(stage, names[0].text()?, Some(uid), Some(gid), AtFlags::empty());
        rustix::fs::chmodat(
            stage,
            names[0].text()?,
            Mode::from_raw_mode(like.st_mode & 0o7777),
            AtFlags::empty(),
        )?;
        let mut options = Line::<256>::new();
        let [lower, upper_name, work] = [lower, upper.as_fd(), work.as_fd()].map(name_of);
        let written = write!(
            options,
            "lowerdir={},upperdir={},workdir={}\0",
            text(&lower?)?,
            text(&upper_name?)?,
            text(&work?)?
        );
        written.map_err(|_| Errno::NAMETOOLONG)?;
        rustix::mount::mount(c"overlay", at, c"overlay", MountFlags::empty(), options.text()?)?;
        self.watch(upper)
    }

    fn watch(&mut self, top: OwnedFd) -> Result<()> {
        let now = rustix::fs::fstat(&top)?;
        *self.watched.get_mut(self.watching).ok_or(Errno::MFILE)? = Some((top, now));
        self.watching += 1;
        Ok(())
    }

    fn serve(&mut self, control: &OwnedFd, room: &mut Room) -> Result<()> {
        let ended = raw::ended_children()?;
        loop {
            if !wait(control, &ended)? {
                self.reap();
                continue;
            }
            let Some(Received { bytes, fds }) = receive(control, &mut room.message)? else { return Ok(()) };
            match room.message.get(..bytes).and_then(<[u8]>::first) {
                Some(&keeper::START) => match self.start(bytes, room, &fds) {
                    Ok(pidfd) => reply(control, answer::DONE, 0, Some(pidfd.as_fd()))?,
                    Err(errno) => reply(control, answer::FAILED, errno.raw_os_error() as u32, None)?,
                },
                Some(&keeper::STATUS) => match self.ended() {
                    Ok(status) => reply(control, answer::DONE, status.as_raw() as u32, None)?,
                    Err(errno) => reply(control, answer::FAILED, errno.raw_os_error() as u32, None)?,
                },
                Some(&keeper::KILL) => self.kill(),
                Some(&keeper::CLEAR) => {
                    if !getpid().is_init() {
                        self.kill();
                    }
                    kill_children();
                    (self.program, self.status) = (None, None);
                    let is_changed = self.has_changed();
                    reply(control, if is_changed { answer::CHANGED } else { answer::DONE }, 0, None)?;
                }
                Some(&keeper::WRITTEN) => match &self.stage {
                    Some(stage) => reply(control, answer::DONE, 0, Some(stage.as_fd()))?,
                    None => reply(control, answer::FAILED, Errno::NOENT.raw_os_error() as u32, None)?,
                },
                _ => return Err(Errno::BADMSG),
            }
        }
    }

    fn start(&mut self, bytes: usize, room: &mut Room, fds: &[Option<OwnedFd>; 3]) -> Result<OwnedFd> {
        let Room { message, pointers, stack } = room;
        let stdio = match fds {
            [Some(input), Some(output), Some(error)] => [input.as_fd(), output.as_fd(), error.as_fd()],
            [Some(output), Some(error), None] => [rustix::stdio::stdin(), output.as_fd(), error.as_fd()],
            _ => return Err(Errno::BADF),
        };
        let mut reader = Reader(message.get(1..bytes).unwrap_or_default());
        let after = reader.number()?;
        let (directory, program) = (reader.text()?, reader.text()?);
        let mut lists = [0; 2];
        let mut at = 0;
        for len in &mut lists {
            let count = reader.number()?;
            for _ in 0..count {
                *pointers.get_mut(at).ok_or(Errno::TOOBIG)? = reader.text()?.as_ptr();
                at += 1;
            }
            *pointers.get_mut(at).ok_or(Errno::TOOBIG)? = std::ptr::null();
            at += 1;
            *len = count as usize + 1;
        }
        let (argv, envp) = pointers.get(..at).unwrap_or_default().split_at(lists[0]);
        if let Some(numbers) = &self.numbers {
            let mut line = Line::<16>::new();
            let _ = write!(line, "{after}");
            let _ = rustix::io::pwrite(numbers, line.written(), 0);
        }
        let pid = raw::spawn(directory, program, [argv, envp], stdio, stack)?;
        (self.program, self.status) = (Some(pid), None);
        rustix::process::pidfd_open(pid, PidfdFlags::empty())
    }

    fn reap(&mut self) {
        let program = self.program;
        let mut status = None;
        reap(|pid, how| status = if Some(pid) == program { Some(how) } else { status });
        self.status = self.status.or(status);
    }

    /// How the program ended, which it has.
    fn ended(&mut self) -> Result<WaitStatus> {
        if self.status.is_none() {
            let program = self.program.ok_or(Errno::SRCH)?;
            while self.status.is_none() {
                match rustix::process::waitpid(Some(program), WaitOptions::empty()) {
                    Ok(ended) => self.status = ended.map(|(_, status)| status),
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
        self.status.ok_or(Errno::CHILD)
    }

    /// Kills what runs, without waiting for it.
    fn kill(&mut self) {
        if getpid().is_init() {
            let _ = raw::kill_everybody();
        } else if let (Some(program), None) = (self.program, self.status) {
            let _ = rustix::process::kill_process_group(program, Signal::KILL);
            let _ = rustix::process::kill_process(program, Signal::KILL);
        }
    }

    /// Whether a program left traces in what is the cell's own, since this was asked last.
    fn has_changed(&mut self) -> bool {
        const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
        let is_other =
            |(top, before): &(OwnedFd, Stat)| !rustix::fs::fstat(top).is_ok_and(|now| same(&now, before));
        let files = self.watched.iter().flatten().any(is_other);
        let mounts = self.mounts.as_ref().is_some_and(|mounts| {
            let mut polled = [PollFd::new(mounts, PollFlags::PRI)];
            poll(&mut polled, Some(&AT_ONCE)).is_ok_and(|count| count != 0)
        });
        files || mounts || self.has_ipc && raw::ipc_objects() != 0
    }
}

/// The top of what is mounted at a place.
fn top(at: &CStr) -> Result<OwnedFd> {
    rustix::fs::openat(CWD, at, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Whether a directory is as it was: whatever is made in it or changed of it changes its times.
fn same(now: &Stat, before: &Stat) -> bool {
    let of = |stat: &Stat| {
        let times = (stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec);
        (times, stat.st_size, stat.st_nlink, stat.st_mode, stat.st_uid, stat.st_gid)
    };
    of(now) == of(before)
}

/// What leads to an open file.
fn name_of(fd: BorrowedFd<'_>) -> Result<Line<32>> {
    use rustix::fd::AsRawFd;
    let mut name = Line::new();
    write!(name, "/proc/self/fd/{}\0", fd.as_raw_fd()).map_err(|_| Errno::NAMETOOLONG)?;
    Ok(name)
}

fn text<const N: usize>(line: &Line<N>) -> Result<&str> {
    line.text()?.to_str().map_err(|_| Errno::ILSEQ)
}

fn put(path: &CStr, what: std::fmt::Arguments<'_>) -> Result<()> {
    let mut line = Line::<64>::new();
    line.write_fmt(what).map_err(|_| Errno::NAMETOOLONG)?;
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, line.written()).map(drop)
}
