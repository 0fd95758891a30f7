//! vfio-user 0.1 on a UNIX stream socket: a header of 16 bytes, then what belongs to the command.

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::collections::VecDeque;
use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

/// Commands, by their number.
pub(crate) const VERSION: u16 = 1;
pub(crate) const DMA_MAP: u16 = 2;
pub(crate) const DMA_UNMAP: u16 = 3;
pub(crate) const DEVICE_GET_INFO: u16 = 4;
pub(crate) const DEVICE_GET_REGION_INFO: u16 = 5;
pub(crate) const DEVICE_GET_IRQ_INFO: u16 = 7;
pub(crate) const DEVICE_SET_IRQS: u16 = 8;
pub(crate) const REGION_READ: u16 = 9;
pub(crate) const REGION_WRITE: u16 = 10;
pub(crate) const DMA_WRITE: u16 = 12;
pub(crate) const DEVICE_RESET: u16 = 13;
pub(crate) const DEVICE_FEATURE: u16 = 16;
pub(crate) const MIG_DATA_READ: u16 = 17;
pub(crate) const MIG_DATA_WRITE: u16 = 18;

/// What a client may move in one message.
pub(crate) const MAX_DATA: u32 = 1 << 20;

const HEADER: usize = 16;
const IS_REPLY: u32 = 1;
const NO_REPLY: u32 = 0x10;
const IS_ERROR: u32 = 0x20;

/// A command of the client, or its reply to one of ours.
pub(crate) struct Message {
    pub(crate) id: u16,
    pub(crate) command: u16,
    pub(crate) flags: u32,
    pub(crate) body: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
}

impl Message {
    /// The little-endian number at a place of the body; EINVAL where there is none.
    pub(crate) fn u32(&self, at: usize) -> Result<u32, i32> {
        let bytes = self.body.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map(|bytes| u32::from_le_bytes(*bytes)).ok_or(EINVAL)
    }

    /// The same, of eight bytes.
    pub(crate) fn u64(&self, at: usize) -> Result<u64, i32> {
        Ok(u64::from(self.u32(at)?) | u64::from(self.u32(at + 4)?) << 32)
    }
}

/// What goes into the error field of a reply.
pub(crate) const EINVAL: i32 = 22;
pub(crate) const ENOTTY: i32 = 25;

/// The connection.
pub(crate) struct Wire {
    socket: UnixStream,
    /// Commands that came while a reply was waited for.
    waiting: VecDeque<Message>,
}

impl Wire {
    pub(crate) fn new(socket: UnixStream) -> Wire {
        Wire { socket, waiting: VecDeque::new() }
    }

    /// The next command; `None` when the client is gone.
    pub(crate) fn command(&mut self) -> io::Result<Option<Message>> {
        match self.waiting.pop_front() {
            Some(message) => Ok(Some(message)),
            None => self.message(),
        }
    }

    pub(crate) fn reply(&mut self, to: &Message, answer: Result<Vec<u8>, i32>) -> io::Result<()> {
        if to.flags & NO_REPLY != 0 {
            return Ok(());
        }
        match answer {
            Ok(body) => self.send(to.id, to.command, IS_REPLY, 0, &body),
            Err(error) => self.send(to.id, to.command, IS_REPLY | IS_ERROR, error, &[]),
        }
    }

    /// Writes into memory that the client did not share, and waits until that is done.
    pub(crate) fn dma_write(&mut self, address: u64, bytes: &[u8]) -> io::Result<()> {
        let mut body = address.to_le_bytes().to_vec();
        body.extend((bytes.len() as u64).to_le_bytes());
        body.extend(bytes);
        self.send(0, DMA_WRITE, 0, 0, &body)?;
        while let Some(message) = self.message()? {
            if message.flags & IS_REPLY != 0 {
                return Ok(());
            }
            self.waiting.push_back(message);
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    fn send(&mut self, id: u16, command: u16, flags: u32, error: i32, body: &[u8]) -> io::Result<()> {
        let mut message = Vec::with_capacity(HEADER + body.len());
        message.extend(id.to_le_bytes());
        message.extend(command.to_le_bytes());
        message.extend(((HEADER + body.len()) as u32).to_le_bytes());
        message.extend(flags.to_le_bytes());
        message.extend(error.to_le_bytes());
        message.extend(body);
        self.socket.write_all(&message)
    }

    fn message(&mut self) -> io::Result<Option<Message>> {
        let mut header = [0; HEADER];
        let mut fds = Vec::new();
        let mut have = 0;
        while have < HEADER {
            // Descriptors travel with the first bytes of their message.
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut into = [IoSliceMut::new(&mut header[have..])];
            let got = recvmsg(&self.socket, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
            if got == 0 {
                return if have == 0 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            have += got;
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = message {
                    fds.extend(rights);
                }
            }
        }
        let [i0, i1, c0, c1, s0, s1, s2, s3, f0, f1, f2, f3, ..] = header;
        let size = u32::from_le_bytes([s0, s1, s2, s3]) as usize;
        let body = size.checked_sub(HEADER).filter(|len| *len <= MAX_DATA as usize + 64);
        let mut body = vec![0; body.ok_or(io::ErrorKind::InvalidData)?];
        self.socket.read_exact(&mut body)?;
        let (id, command) = (u16::from_le_bytes([i0, i1]), u16::from_le_bytes([c0, c1]));
        Ok(Some(Message { id, command, flags: u32::from_le_bytes([f0, f1, f2, f3]), body, fds }))
    }
}
