//! An honest vfio-user device with four registers, apart from the trick.

use crate::Trick;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

const STOP: u32 = 1;
const RUNNING: u32 = 2;
const STOP_COPY: u32 = 3;
const RESUMING: u32 = 4;
const PRE_COPY: u32 = 6;
const EINVAL: u32 = 22;
/// Less than an answer may take.
const A_WHILE: Duration = Duration::from_millis(300);

struct Device {
    registers: [u8; 16],
    state: u32,
    /// What is being saved or loaded.
    stream: Vec<u8>,
}

pub(crate) fn serve(listener: UnixListener, trick: &Trick) -> io::Result<()> {
    let (mut socket, _) = listener.accept()?;
    let mut device = Device { registers: [0; 16], state: RUNNING, stream: Vec::new() };
    let (mut reads, mut mapped) = (0, 0);
    loop {
        let mut header = [0; 16];
        match socket.read_exact(&mut header) {
            Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        let word =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (command, len) = (word(0) >> 16, word(4) as usize - header.len());
        let mut body = vec![0; len];
        socket.read_exact(&mut body)?;
        if trick.is("flags-a-command") && command != 1 {
            // A command of the client, sent back to it.
            socket.write_all(&[&header[..], &body].concat())?;
        }
        let name = name(command, &body);
        let here = |what: &str| trick.is(what) && trick.at == name;
        if command == 2 {
            mapped =
                body.get(16..).and_then(|rest| rest.first_chunk()).map_or(0, |at| u64::from_le_bytes(*at));
        }
        if trick.what.starts_with("dma-") && command == 9 {
            dma(&mut socket, trick, mapped)?;
        }
        let mut answer = match () {
            () if here("refuses") || here("errs-without-errno") => Err(0),
            () if here("does-nothing") => Ok(body.clone()),
            () => device.answer(name, &body),
        };
        if let Ok(answer) = &mut answer {
            reads += u32::from(name == "data-read");
            lie(trick, name, reads, answer, &body);
        }
        let (flags, error, body) = match answer {
            Ok(body) => (1, 0, body),
            Err(error) => (0x21, if here("refuses") { EINVAL } else { error }, vec![]),
        };
        let mut reply = header;
        reply[4..8].copy_from_slice(&(16 + body.len() as u32).to_le_bytes());
        reply[8..12].copy_from_slice(&u32::to_le_bytes(flags));
        reply[12..16].copy_from_slice(&error.to_le_bytes());
        let mut reply = [&reply[..], &body].concat();
        match trick.what.as_str() {
            _ if trick.at != name => {}
            "not-a-reply" => reply[8] = 0,
            "stray-reply" => {
                let mut stray = reply.clone();
                stray[0] ^= 0x55;
                reply = [stray, reply].concat();
            }
            "claims-4-gib" => reply[4..8].copy_from_slice(&[0xff; 4]),
            "cuts-the-body" => {
                reply.truncate(reply.len().min(20));
                let len = reply.len() as u32;
                reply[4..8].copy_from_slice(&len.to_le_bytes());
            }
            "passes-descriptors" => {
                descriptors(&socket, &reply)?;
                continue;
            }
            _ => {}
        }
        trick.send(&mut socket, name, &reply)?;
    }
}

/// What tricks call a command.
fn name(command: u32, body: &[u8]) -> &'static str {
    let feature = body.get(4..8).map_or([0; 4], |flags| [flags[0], flags[1], flags[2], flags[3]]);
    match (command, u32::from_le_bytes(feature)) {
        (1, _) => "version",
        (2, _) => "dma-map",
        (3, _) => "dma-unmap",
        (4, _) => "device-info",
        (5, _) => "region-info",
        (7, _) => "irq-info",
        (8, _) => "set-irqs",
        (9, _) => "region-read",
        (10, _) => "region-write",
        (13, _) => "reset",
        (16, flags) if flags & 1 << 18 != 0 => "probe",
        (16, 0x1_0001) => "get-migration",
        (16, 0x1_0002) => "get-state",
        (16, 0x2_0002) => "set-state",
        (17, _) => "data-read",
        (18, _) => "data-write",
        _ => "unknown",
    }
}

impl Device {
    fn answer(&mut self, name: &str, body: &[u8]) -> Result<Vec<u8>, u32> {
        let word = |at: usize| -> Result<u32, u32> {
            let bytes = body.get(at..at + 4).ok_or(EINVAL)?;
            Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        Ok(match name {
            "version" => {
                [&[0, 0, 1, 0][..], br#"{"capabilities":{"max_data_xfer_size":65536}}"#, &[0]].concat()
            }
            "dma-map" | "set-irqs" => vec![],
            "dma-unmap" => body.to_vec(),
            "device-info" => words(&[16, 3, 9, 5]),
            "region-info" => match word(8)? {
                0 => words(&[32, 3, 0, 0, 16, 0, 0, 0]),
                7 => words(&[32, 3, 7, 0, 256, 0, 0, 0]),
                index => words(&[32, 0, index, 0, 0, 0, 0, 0]),
            },
            "irq-info" => match word(8)? {
                1 => words(&[16, 9, 1, 1]),
                index => words(&[16, 0, index, 0]),
            },
            "region-read" => {
                let (offset, region, count) = (word(0)? as usize, word(8)?, word(12)? as usize);
                let space = if region == 0 { &self.registers[..] } else { &[0; 256] };
                let bytes = space.get(offset..offset.saturating_add(count)).ok_or(EINVAL)?;
                [&body[..16], bytes].concat()
            }
            "region-write" => {
                let (offset, region, count) = (word(0)? as usize, word(8)?, word(12)? as usize);
                if region == 0 {
                    let place = self.registers.get_mut(offset..offset.saturating_add(count)).ok_or(EINVAL)?;
                    place.copy_from_slice(body.get(16..16 + count).ok_or(EINVAL)?);
                }
                body[..16].to_vec()
            }
            "reset" => {
                (self.registers, self.state) = ([0; 16], RUNNING);
                vec![]
            }
            "probe" if matches!(word(4)? & 0xffff, 1 | 2) => vec![],
            "get-migration" => [&words(&[16])[..], &body[4..8], &words(&[5, 0])].concat(),
            "get-state" => [&words(&[16])[..], &body[4..8], &words(&[self.state, u32::MAX])].concat(),
            "set-state" => {
                self.set_state(word(8)?)?;
                body.to_vec()
            }
            "data-read" => {
                if self.state != STOP_COPY && self.state != PRE_COPY {
                    return Err(EINVAL);
                }
                let piece: Vec<u8> = self.stream.drain(..self.stream.len().min(word(4)? as usize)).collect();
                [words(&[8 + piece.len() as u32, piece.len() as u32]), piece].concat()
            }
            "data-write" => {
                if self.state != RESUMING {
                    return Err(EINVAL);
                }
                self.stream.extend(body.get(8..).ok_or(EINVAL)?);
                vec![]
            }
            _ => return Err(25),
        })
    }

    /// The arcs of linux/vfio.h, without P2P.
    fn set_state(&mut self, to: u32) -> Result<(), u32> {
        while self.state != to {
            let next = match (self.state, to) {
                (_, 0 | 5 | 7..) | (0, _) | (STOP_COPY, PRE_COPY) => return Err(EINVAL),
                (PRE_COPY, STOP_COPY) | (RUNNING, PRE_COPY) => to,
                (PRE_COPY, _) => RUNNING,
                (RUNNING, _) => STOP,
                (STOP, PRE_COPY) => RUNNING,
                (STOP, to) => to,
                _ => STOP,
            };
            match (self.state, next) {
                (RESUMING, STOP) => match <[u8; 16]>::try_from(&self.stream[..]) {
                    Ok(registers) => self.registers = registers,
                    Err(_) => {
                        self.state = 0;
                        return Err(EINVAL);
                    }
                },
                (_, STOP_COPY) => self.stream = self.registers.to_vec(),
                _ => self.stream.clear(),
            }
            self.state = next;
        }
        Ok(())
    }
}

/// Changes an honest answer.
fn lie(trick: &Trick, name: &str, reads: u32, answer: &mut Vec<u8>, asked: &[u8]) {
    let mut set = |at: usize, bytes: &[u8]| {
        if let Some(place) = answer.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    match (trick.what.as_str(), name) {
        ("major-7", "version") => set(0, &[7, 0]),
        ("minor-9", "version") => set(2, &[9, 0]),
        ("versions-garbage", "version") => set(4, b"{\"capabilities\": ["),
        ("drips", "data-read") => {
            thread::sleep(A_WHILE);
            *answer = [words(&[9, 1]), vec![7]].concat();
        }
        ("sips", "version") => {
            *answer = [&[0, 0, 1, 0][..], br#"{"capabilities":{"max_data_xfer_size":2}}"#, &[0]].concat();
        }
        ("sips", "data-write") => thread::sleep(A_WHILE),
        ("transfers-nothing", "version") => {
            *answer = [&[0, 0, 1, 0][..], br#"{"capabilities":{"max_data_xfer_size":0}}"#, &[0]].concat();
        }
        ("regions-for-ever", "device-info") => set(8, &[0xff; 4]),
        ("irqs-for-ever", "device-info") => set(12, &[0xff; 4]),
        ("huge-regions", "region-info") => {
            set(4, &[3]);
            set(16, &[0xff; 8]);
        }
        ("huge-irqs", "irq-info") => set(12, &[0xff; 4]),
        ("reads-less", "region-read") => answer.truncate(17),
        ("no-stop-copy", "get-migration") => set(8, &[0]),
        ("says-99", "get-state") => set(8, &[99]),
        ("says-resuming", "get-state") => set(8, &[RESUMING as u8]),
        ("never-ends", "data-read") => {
            let size = asked[4..8].first_chunk().map_or(0, |size| u32::from_le_bytes(*size)).min(1 << 16);
            *answer = [words(&[8 + size, size]), vec![7; size as usize]].concat();
        }
        ("grows", "data-read") => *answer = [words(&[8 + reads, reads]), vec![7; reads as usize]].concat(),
        ("gives-more-than-asked", "data-read") => {
            *answer = [words(&[8 + (1 << 20), 1 << 20]), vec![7; 1 << 20]].concat();
        }
        ("claims-more-than-sent", "data-read") => set(4, &[0xff, 0xff, 0, 0]),
        ("gives-nothing", "data-read") => *answer = words(&[8, 0]),
        _ => {}
    }
}

/// Asks for memory that nobody mapped, or for too much, or without end.
fn dma(socket: &mut UnixStream, trick: &Trick, mapped: u64) -> io::Result<()> {
    const READ: u16 = 11;
    const WRITE: u16 = 12;
    let ask = |socket: &mut UnixStream, command: u16, address: u64, count: u64, data: &[u8]| {
        let len = 16 + 16 + data.len() as u32;
        let header = words(&[9 | u32::from(command) << 16, len, 0, 0]);
        socket.write_all(&[&header[..], &address.to_le_bytes(), &count.to_le_bytes(), data].concat())?;
        answer(socket)
    };
    match trick.what.as_str() {
        "dma-outside-read" => ask(socket, READ, u64::MAX - 15, 8, &[]),
        "dma-outside-write" => ask(socket, WRITE, 1 << 60, 8, &[1; 8]),
        "dma-reads-4-gib" => ask(socket, READ, mapped, u64::from(u32::MAX), &[]),
        "dma-claims-more" => ask(socket, WRITE, mapped, 1 << 30, &[1; 8]),
        "dma-for-ever" => loop {
            ask(socket, WRITE, mapped, 8, &[1; 8])?;
        },
        _ => Ok(()),
    }
}

/// Takes the answer to a request of ours, whatever it is.
fn answer(socket: &mut UnixStream) -> io::Result<()> {
    let mut header = [0; 16];
    socket.read_exact(&mut header)?;
    let len = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    io::copy(&mut socket.take(u64::from(len) - 16), &mut io::sink())?;
    Ok(())
}

/// Sends a reply with as many descriptors as fit.
fn descriptors(socket: &UnixStream, reply: &[u8]) -> io::Result<()> {
    const MOST: usize = 250;
    let fds = [socket.as_fd(); MOST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(socket, &[IoSlice::new(reply)], &mut control, SendFlags::empty())?;
    Ok(())
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
