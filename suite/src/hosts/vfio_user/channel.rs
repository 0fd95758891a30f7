//! Whole messages over a stream socket: split and merged ones, and descriptors that come along.

use super::wire::{HEADER, Header, Malformed};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// Descriptors that the kernel takes along with one message.
pub(super) const MAX_FDS: usize = 253;

/// One end of a socket.
pub(super) struct Channel {
    socket: UnixStream,
    /// What came in; the message that was received last, and what came after it.
    inbox: Vec<u8>,
    unread: Range<usize>,
    /// Descriptors that came and were not taken; none unless the owner takes them.
    fds: Vec<OwnedFd>,
    takes_fds: bool,
}

/// Why no message came, or went.
#[derive(Debug)]
pub(super) enum Broken {
    /// The other side is gone.
    Closed,
    /// It sends what is no message.
    Malformed(Malformed),
    /// The machine failed.
    Machine(io::Error),
    /// The deadline has passed.
    Slow,
}

impl From<Errno> for Broken {
    fn from(errno: Errno) -> Broken {
        match errno {
            Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN => Broken::Closed,
            errno => Broken::Machine(errno.into()),
        }
    }
}

/// What else ends a wait.
#[derive(Clone, Copy)]
pub(super) struct Until<'a> {
    /// Nothing is waited for after this.
    pub(super) deadline: Instant,
    /// Readable when the other side has ended.
    pub(super) end: BorrowedFd<'a>,
}

impl Channel {
    /// An end whose owner has no use for descriptors: the kernel drops them.
    pub(super) fn without_fds(socket: UnixStream) -> Channel {
        Channel { socket, inbox: vec![0; 8 << 10], unread: 0..0, fds: vec![], takes_fds: false }
    }

    /// An end that waits as long as it takes, and keeps the descriptors that come.
    pub(super) fn with_fds(socket: UnixStream) -> Channel {
        Channel { socket, inbox: vec![0; 8 << 10], unread: 0..0, fds: vec![], takes_fds: true }
    }

    /// Sends a message.
    pub(super) fn send(
        &mut self,
        message: &[u8],
        fds: &[BorrowedFd<'_>],
        until: Option<Until<'_>>,
    ) -> Result<(), Broken> {
        let wait = if until.is_some() { SendFlags::DONTWAIT } else { SendFlags::empty() };
        let flags = SendFlags::NOSIGNAL | wait;
        let mut rest = message;
        while !rest.is_empty() {
            let goes_along = rest.len() == message.len() && !fds.is_empty();
            let sent = if goes_along {
                send_with(&self.socket, rest, fds, flags)
            } else {
                rustix::net::send(&self.socket, rest, flags)
            };
            match sent {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, until)?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Receives a message: its header, and where its payload is.
    pub(super) fn receive(&mut self, until: Option<Until<'_>>) -> Result<(Header, Range<usize>), Broken> {
        if self.unread.is_empty() {
            self.unread = 0..0;
        }
        loop {
            let unread = &self.inbox[self.unread.clone()];
            let mut wanted = HEADER;
            if let Some(header) = unread.get(..HEADER) {
                let header = Header::parse(header).map_err(Broken::Malformed)?;
                wanted = header.size as usize;
                if wanted <= unread.len() {
                    let start = self.unread.start;
                    self.unread.start = start + wanted;
                    return Ok((header, start + HEADER..start + wanted));
                }
            }
            // Who sends byte by byte never makes anybody wait.
            if !unread.is_empty() && until.is_some_and(|until| until.deadline <= Instant::now()) {
                return Err(Broken::Slow);
            }
            self.make_room(wanted);
            // Whoever waits in `recv` is also woken when the other side has read what was sent; whoever
            // polls is not.
            self.wait(PollFlags::IN, until)?;
            match self.fill() {
                Ok(0) => return Err(Broken::Closed),
                Ok(count) => self.unread.end += count,
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Whether another whole message came already.
    pub(super) fn has_message(&self) -> bool {
        let unread = self.inbox.get(self.unread.clone()).unwrap_or_default();
        let header = unread.get(..HEADER).map(Header::parse);
        matches!(header, Some(Ok(header)) if header.size as usize <= unread.len())
    }

    /// Bytes of the message that was received last.
    pub(super) fn bytes(&self, payload: Range<usize>) -> &[u8] {
        self.inbox.get(payload).unwrap_or_default()
    }

    /// The descriptors that came so far.
    pub(super) fn take_fds(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.fds)
    }

    /// The buffer grows by what came, not by what was claimed.
    fn make_room(&mut self, wanted: usize) {
        if self.unread.start != 0 && self.inbox.len() < self.unread.start + wanted {
            self.inbox.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        if self.unread.end == self.inbox.len() {
            self.inbox.resize(2 * self.inbox.len(), 0);
        }
    }

    fn fill(&mut self) -> Result<usize, Errno> {
        let room = &mut self.inbox[self.unread.end..];
        if !self.takes_fds {
            return Ok(rustix::net::recv(&self.socket, room, RecvFlags::DONTWAIT)?.0);
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let got = rustix::net::recvmsg(&self.socket, &mut [IoSliceMut::new(room)], &mut control, flags)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        if got.flags.contains(ReturnFlags::CTRUNC) {
            return Err(Errno::TOOBIG);
        }
        Ok(got.bytes)
    }

    fn wait(&self, what: PollFlags, until: Option<Until<'_>>) -> Result<(), Broken> {
        let socket = PollFd::new(&self.socket, what);
        let Some(Until { deadline, end }) = until else {
            return match poll(&mut [socket], None) {
                Ok(_) | Err(Errno::INTR) => Ok(()),
                Err(errno) => Err(errno.into()),
            };
        };
        let mut polled = [socket, PollFd::from_borrowed_fd(end, PollFlags::IN)];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).map_err(|why| Broken::Machine(io::Error::other(why)))?;
            match poll(&mut polled, Some(&left)) {
                Ok(0) => return Err(Broken::Slow),
                Ok(_) if polled[0].revents().is_empty() => return Err(Broken::Closed),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

fn send_with(
    socket: &UnixStream,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::TOOBIG);
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)
}
