//! Our end of the lines to the nursery and to the keepers.

use super::forked::{self, Room};
use super::raw::{self, Forked};
use super::wire::{self, ANSWER, Step, nursery as asks};
use crate::ending::{self, Held};
use crate::scratch::Scratch;
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, socketpair,
};
use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};
use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A line to a forked process: questions and answers, one at a time.
#[derive(Debug)]
pub(super) struct Line(Mutex<OwnedFd>);

/// Two numbers and a descriptor; see [`wire::answer`].
type Answer = (u32, u32, Option<OwnedFd>);

impl Line {
    /// Both ends.
    fn new() -> io::Result<(Line, OwnedFd)> {
        // Far more than it takes to kill what runs.
        const PATIENCE: Duration = Duration::from_secs(60);
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        rustix::net::sockopt::set_socket_timeout(&ours, rustix::net::sockopt::Timeout::Recv, Some(PATIENCE))?;
        Ok((Line(Mutex::new(ours)), theirs))
    }

    fn lock(&self) -> MutexGuard<'_, OwnedFd> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says something that is not answered.
    pub(super) fn tell(&self, message: &[u8]) -> io::Result<()> {
        send(&self.lock(), message, &[])
    }

    /// Asks, and waits for the answer.
    pub(super) fn ask(&self, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<Answer> {
        let line = self.lock();
        send(&line, message, fds)?;
        answer(&line)
    }
}

fn send(line: &OwnedFd, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    const FDS: usize = 3;
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_le_bytes();
    if wire::MOST < message.len() {
        return Err(Errno::TOOBIG.into());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::INVAL.into());
    }
    let mut sent = loop {
        let parts = [IoSlice::new(&length), IoSlice::new(message)];
        match rustix::net::sendmsg(line, &parts, &mut control, SendFlags::NOSIGNAL) {
            Ok(sent) => break sent,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(gone(errno)),
        }
    };
    let whole = [&length, message].concat();
    while let Some(rest) = whole.get(sent..).filter(|rest| !rest.is_empty()) {
        match rustix::net::send(line, rest, SendFlags::NOSIGNAL) {
            Ok(more) => sent += more,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(gone(errno)),
        }
    }
    Ok(())
}

fn answer(line: &OwnedFd) -> io::Result<Answer> {
    let mut bytes = [0; ANSWER];
    let mut fd = None;
    let mut got = 0;
    while got < ANSWER {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut room = [IoSliceMut::new(bytes.get_mut(got..).unwrap_or_default())];
        let came = match rustix::net::recvmsg(line, &mut room, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(came) => came.bytes,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(gone(errno)),
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                fd = fds.last();
            }
        }
        if came == 0 {
            return Err(gone(Errno::PIPE));
        }
        got += came;
    }
    let number = |at| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    Ok((number(0), number(4), fd))
}

fn gone(errno: Errno) -> io::Error {
    let why = io::Error::from(errno);
    io::Error::new(why.kind(), format!("the process that keeps device programs apart is gone: {why}"))
}

/// The first process that is forked.
#[derive(Debug)]
pub(super) struct Nursery {
    line: Line,
    pid: Pid,
    directory: Scratch,
}

static NURSERY: Mutex<Option<Arc<Nursery>>> = Mutex::new(None);

fn known() -> MutexGuard<'static, Option<Arc<Nursery>>> {
    NURSERY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The nursery, which is forked when it is needed first, and again if somebody ended it.
pub(super) fn nursery() -> io::Result<Arc<Nursery>> {
    let held = ending::hold_up();
    let mut known = known();
    if let Some(nursery) = known.as_ref().filter(|nursery| nursery.runs()) {
        return Ok(Arc::clone(nursery));
    }
    let nursery = Arc::new(Nursery::new(&held)?);
    *known = Some(Arc::clone(&nursery));
    Ok(nursery)
}

/// Ends all cells with all that runs in them, and waits for that; whether there were any.
pub(in crate::hosts) fn end_all() -> bool {
    let nursery = known().take();
    let Some(nursery) = nursery else { return false };
    let _ = nursery.line.ask(&[asks::END], &[]);
    let _ = waitpid(Some(nursery.pid), WaitOptions::empty());
    true
}

impl Nursery {
    fn new(held: &Held) -> io::Result<Nursery> {
        // Should it be killed, what it had comes to us.
        let _ = set_child_subreaper(Some(getpid()));
        let (directory, (line, pid)) = Scratch::run(Nursery::fork, held)?;
        Ok(Nursery { line, pid, directory })
    }

    /// Forks a process that makes the directory of all cells first of all, see [`forked::nursery`].
    fn fork(directory: &Path) -> io::Result<(Line, Pid)> {
        let path = CString::new(directory.as_os_str().as_bytes())?;
        let (line, theirs) = Line::new()?;
        let room = Room::new();
        // SAFETY: what runs in the child makes system calls, allocates nothing and takes no lock.
        #[expect(unsafe_code, reason = "a fork")]
        let pid = match unsafe { raw::fork()? } {
            Forked::Child => forked::nursery(theirs, room, &path),
            Forked::Parent(pid) => pid,
        };
        drop(theirs);
        let answered = answer(&line.lock());
        match answered {
            Ok((wire::answer::DONE, ..)) => Ok((line, pid)),
            answered => {
                drop(line);
                let _ = waitpid(Some(pid), WaitOptions::empty());
                Err(answered
                    .map_or_else(|why| why, |(_, errno, _)| Errno::from_raw_os_error(errno as i32).into()))
            }
        }
    }

    fn runs(&self) -> bool {
        matches!(waitpid(Some(self.pid), WaitOptions::NOHANG), Ok(None))
    }

    /// The directory of all cells.
    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Has a cell made by these steps: the line to its keeper, and its first answer.
    pub(super) fn cell<'a>(
        &self,
        steps: impl Iterator<Item = &'a Step<CString>>,
    ) -> io::Result<(Line, (u32, u32))> {
        let (line, theirs) = Line::new()?;
        let mut message = vec![asks::CELL];
        steps.for_each(|step| step.put(&mut message));
        send(&self.line.lock(), &message, &[theirs.as_fd()])?;
        drop(theirs);
        let (what, number, _) = answer(&line.lock())?;
        Ok((line, (what, number)))
    }
}
