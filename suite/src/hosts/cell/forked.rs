//! What runs in the processes that are forked: the first one, which makes cells, and the keeper of
//! each.
//!
//! They were copied from a process with threads, so nothing here allocates or takes a lock: what
//! is needed was there before, or is on the stack.

use super::raw::{self, Forked};
use super::wire::{ANSWER, LENGTH, MOST, answer, nursery};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::{Errno, IoSlice, IoSliceMut, Result};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid};
use std::ffi::{CStr, c_char};
use std::fmt::{self, Write};
use std::mem::MaybeUninit;

/// Room that was made before the fork.
pub(super) struct Room {
    pub(super) message: Vec<u8>,
    /// Where arguments and environment of a program stand in the message.
    pub(super) pointers: Vec<*const c_char>,
    /// For a child that is about to be a program.
    pub(super) stack: Vec<u8>,
}

impl Room {
    /// Pages that are not used cost nothing.
    pub(super) fn new() -> Room {
        const POINTERS: usize = 1 << 17;
        Room {
            message: vec![0; MOST],
            pointers: vec![std::ptr::null(); POINTERS],
            stack: vec![0; raw::STACK],
        }
    }
}

/// Ends the process on every way out.
struct Over;

impl Drop for Over {
    fn drop(&mut self) {
        raw::exit(1);
    }
}

/// The first process: makes a directory and cells in it as long as `control` is open, then ends all
/// cells there are, and removes the directory. Nobody else makes it, so it has one who removes it from
/// its first moment on, whenever the process that forked this one is killed.
pub(super) fn nursery(control: OwnedFd, mut room: Room, directory: &CStr) -> ! {
    let _over = Over;
    let _ = serve(control, &mut room, directory);
    raw::exit(0)
}

fn serve(control: OwnedFd, room: &mut Room, directory: &CStr) -> Result<()> {
    // Nothing of where we come from: no terminal, descriptors, name or arguments.
    let _ = rustix::process::setsid();
    let _ = rustix::process::chdir(c"/");
    raw::wipe_arguments();
    let _ = rustix::thread::set_name(c"init");
    let control = raw::keep_only(control)?;
    raw::heed_no_signal();
    rustix::process::set_child_subreaper(Some(getpid()))?;
    let ended = raw::ended_children()?;
    if let Err(errno) = rustix::fs::mkdir(directory, Mode::RWXU) {
        return reply(&control, answer::FAILED, errno.raw_os_error() as u32, None);
    }
    // Where nobody hears it any more, there is no message either.
    let _ = reply(&control, answer::DONE, 0, None);
    loop {
        if !wait(&control, &ended)? {
            reap(|_, _| ());
            continue;
        }
        let Ok(Some(Received { bytes, fds: [keeper, ..] })) = receive(&control, &mut room.message) else {
            end(directory, room);
            return Ok(());
        };
        match (room.message.first(), keeper) {
            (Some(&nursery::CELL), Some(keeper)) => {
                // SAFETY: this process has one thread.
                #[expect(unsafe_code, reason = "a fork")]
                let forked = unsafe { raw::fork() };
                match forked {
                    Ok(Forked::Parent(_)) => {}
                    Ok(Forked::Child) => super::keeper::keep(keeper, room, bytes),
                    Err(errno) => drop(reply(&keeper, answer::FAILED, errno.raw_os_error() as u32, None)),
                }
            }
            (Some(&nursery::END), _) => {
                end(directory, room);
                return reply(&control, answer::DONE, 0, None);
            }
            _ => {
                end(directory, room);
                return Err(Errno::BADMSG);
            }
        }
    }
}

/// Ends all that this process made, and removes their directory.
fn end(directory: &CStr, room: &mut Room) {
    kill_children();
    let argv = [c"rm".as_ptr(), c"-rf".as_ptr(), c"--".as_ptr(), directory.as_ptr(), std::ptr::null()];
    let environment = [std::ptr::null()];
    let stdio = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let removed = raw::spawn(c"/", c"/bin/rm", [&argv, &environment], stdio, &mut room.stack);
    if removed.is_ok() {
        while rustix::process::wait(WaitOptions::empty()).is_ok() {}
    }
}

/// Waits for a message; whether there is one. Otherwise a child has ended.
pub(super) fn wait(control: &OwnedFd, ended: &OwnedFd) -> Result<bool> {
    const SIGNALS: usize = 512;
    let mut polled = [PollFd::new(control, PollFlags::IN), PollFd::new(ended, PollFlags::IN)];
    loop {
        match poll(&mut polled, None) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    if !polled[1].revents().is_empty() {
        let mut signals = [0; SIGNALS];
        let _ = rustix::io::read(ended, &mut signals);
        return Ok(false);
    }
    Ok(true)
}

/// Takes notice of all children that have ended, so that none stays a zombie.
pub(super) fn reap(mut each: impl FnMut(Pid, WaitStatus)) {
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        each(pid, status);
    }
}

/// A message that came: how many bytes of the buffer it has, and its descriptors.
pub(super) struct Received {
    pub(super) bytes: usize,
    pub(super) fds: [Option<OwnedFd>; FDS],
}

/// Descriptors of a message at most.
const FDS: usize = 3;

/// Receives a message into a buffer; `None` where nobody sends any more.
pub(super) fn receive(from: &OwnedFd, into: &mut [u8]) -> Result<Option<Received>> {
    let mut length = [0; LENGTH];
    let mut fds = [const { None }; FDS];
    let mut got = 0;
    while got < LENGTH {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let room = length.get_mut(got..).unwrap_or_default();
        let mut room = [IoSliceMut::new(room)];
        let came = match rustix::net::recvmsg(from, &mut room, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(came) => came.bytes,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(came) = message {
                fds.iter_mut().filter(|fd| fd.is_none()).zip(came).for_each(|(to, fd)| *to = Some(fd));
            }
        }
        if came == 0 {
            return Ok(None);
        }
        got += came;
    }
    let bytes = u32::from_le_bytes(length) as usize;
    let mut rest = into.get_mut(..bytes).ok_or(Errno::TOOBIG)?;
    while !rest.is_empty() {
        match rustix::io::read(from, &mut *rest) {
            Ok(0) => return Ok(None),
            Ok(came) => rest = rest.get_mut(came..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(Some(Received { bytes, fds }))
}

/// Answers, with a descriptor if there is one.
pub(super) fn reply(to: &OwnedFd, what: u32, number: u32, fd: Option<BorrowedFd<'_>>) -> Result<()> {
    let mut answer = [0; ANSWER];
    answer[..4].copy_from_slice(&what.to_le_bytes());
    answer[4..].copy_from_slice(&number.to_le_bytes());
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = fd.map(|fd| [fd]);
    if let Some(fds) = &fds {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    loop {
        match rustix::net::sendmsg(to, &[IoSlice::new(&answer)], &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            sent => return sent.map(drop),
        }
    }
}

/// Kills all children, and again as long as there are any: theirs come to us.
pub(super) fn kill_children() {
    if getpid().is_init() {
        let _ = raw::kill_everybody();
        while !matches!(rustix::process::wait(WaitOptions::empty()), Err(errno) if errno != Errno::INTR) {}
        return;
    }
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => {
                let mut any = false;
                each_child(|child| {
                    any = true;
                    let _ = rustix::process::kill_process_group(child, Signal::KILL);
                    let _ = rustix::process::kill_process(child, Signal::KILL);
                });
                // One that is not found is one that can't be killed either.
                if !any || rustix::process::wait(WaitOptions::empty()).is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

/// Does something for each child.
fn each_child(mut act: impl FnMut(Pid)) {
    let me = getpid();
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(all) = rustix::fs::open(c"/proc", flags, Mode::empty()) else { return };
    let mut space = [const { MaybeUninit::uninit() }; 8 << 10];
    let mut entries = RawDir::new(&all, &mut space);
    while let Some(Ok(entry)) = entries.next() {
        let number = entry.file_name().to_str().ok().and_then(|name| name.parse().ok());
        if let Some(pid) = number.and_then(Pid::from_raw).filter(|pid| parent(*pid) == Some(me)) {
            act(pid);
        }
    }
}

fn parent(pid: Pid) -> Option<Pid> {
    let mut path = Line::<64>::new();
    write!(path, "/proc/{}/stat\0", pid.as_raw_pid()).ok()?;
    let file = rustix::fs::open(path.text().ok()?, OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut text = [0; 512];
    let count = rustix::io::read(&file, &mut text).ok()?;
    let text = text.get(..count)?;
    // The name stands in parentheses and may have any in it; state and parent follow.
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let parent = text.get(end + 2..)?.split(|byte| *byte == b' ').nth(1)?;
    Pid::from_raw(str::from_utf8(parent).ok()?.parse().ok()?)
}

/// A line of text on the stack.
pub(super) struct Line<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Line<N> {
    pub(super) const fn new() -> Line<N> {
        Line { bytes: [0; N], len: 0 }
    }

    /// What was written.
    pub(super) fn written(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// The same, which must end with a null.
    pub(super) fn text(&self) -> Result<&CStr> {
        CStr::from_bytes_with_nul(self.written()).map_err(|_| Errno::NAMETOOLONG)
    }
}

impl<const N: usize> Write for Line<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..).and_then(|rest| rest.get_mut(..text.len()));
        room.ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}
