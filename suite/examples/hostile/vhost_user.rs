//! An honest vhost-user backend that has a state and serves no requests, apart from the trick.

use crate::{Trick, flood, hang};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::fs::File;
use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

const GET_FEATURES: u32 = 1;
const GET_VRING_BASE: u32 = 11;
const GET_PROTOCOL_FEATURES: u32 = 15;
const SET_DEVICE_STATE_FD: u32 = 42;
const CHECK_DEVICE_STATE: u32 = 43;
const HEADER: usize = 12;
/// Less than an answer may take.
const A_WHILE: Duration = Duration::from_millis(300);

pub(crate) fn serve(listener: UnixListener, trick: &Trick) -> io::Result<()> {
    let (mut socket, _) = listener.accept()?;
    let mut stream: Option<File> = None;
    while let Some((header, body, file)) = message(&mut socket)? {
        let request = header[0];
        let name = name(request);
        let here = |what: &str| trick.is(what) && trick.at == name;
        let answer: u64 = match request {
            GET_FEATURES => 1 << 32 | 1 << 30,
            GET_PROTOCOL_FEATURES if trick.is("no-state") => 0,
            GET_PROTOCOL_FEATURES => 1 << 19,
            GET_VRING_BASE => 0,
            SET_DEVICE_STATE_FD => {
                let is_save = body.first() == Some(&0);
                match (file, is_save) {
                    (Some(file), true) => save(file, trick),
                    (Some(file), false) if trick.is("sips") => sip(file),
                    (file, _) => stream = file,
                }
                0x100
            }
            CHECK_DEVICE_STATE => {
                if let Some(mut file) = stream.take() {
                    file.read_to_end(&mut Vec::new())?;
                }
                u64::from(trick.is("fails-check"))
            }
            _ => continue,
        };
        let mut payload = answer.to_le_bytes().to_vec();
        if request == GET_VRING_BASE {
            payload = body;
        }
        let mut size = payload.len() as u32;
        if here("claims-4-gib") {
            size = u32::MAX;
        }
        let number = if here("another-command") { request ^ 0x55 } else { request };
        let flags = if here("another-version") { 2 | 4 } else { 1 | 4 };
        let header = [number, flags, size].map(u32::to_le_bytes).concat();
        trick.send(&mut socket, name, &[header, payload].concat())?;
    }
    Ok(())
}

/// What tricks call a request.
fn name(request: u32) -> &'static str {
    match request {
        GET_FEATURES => "get-features",
        GET_PROTOCOL_FEATURES => "get-protocol-features",
        SET_DEVICE_STATE_FD => "set-device-state-fd",
        CHECK_DEVICE_STATE => "check-device-state",
        _ => "other",
    }
}

/// Writes the state beside the protocol, as a backend may.
fn save(mut file: File, trick: &Trick) {
    let what = trick.what.clone();
    thread::spawn(move || match what.as_str() {
        "never-ends" => flood(file, usize::MAX),
        "keeps-the-stream" => file.write_all(b"state").map(|()| hang()),
        "drips" => drip(file),
        "drips-later" if !is_first_save() => drip(file),
        // More than a pipe holds.
        "sips" => file.write_all(&[b's'; 1 << 20]),
        _ => file.write_all(b"state"),
    });
}

/// Of all processes of this program.
fn is_first_save() -> bool {
    let program = std::env::args().next().unwrap_or_default();
    File::create_new(format!("{program}.saved")).is_ok()
}

fn drip(mut file: File) -> io::Result<()> {
    loop {
        file.write_all(b"s")?;
        thread::sleep(A_WHILE);
    }
}

/// Reads a state in small pieces, and takes its time.
fn sip(mut file: File) {
    thread::spawn(move || {
        while file.read(&mut [0; 1 << 14]).is_ok_and(|count| count != 0) {
            thread::sleep(A_WHILE);
        }
    });
}

/// A message and the descriptor that came with it; `None` when the frontend is gone.
type Message = ([u32; 3], Vec<u8>, Option<File>);

fn message(socket: &mut UnixStream) -> io::Result<Option<Message>> {
    let mut bytes = [0; HEADER];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(&*socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::WAITALL)?.bytes;
    if got != HEADER {
        return Ok(None);
    }
    let mut file = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            file = rights.map(File::from).next();
        }
    }
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let header = [word(0), word(4), word(8)];
    let mut body = vec![0; header[2] as usize];
    socket.read_exact(&mut body)?;
    Ok(Some((header, body, file)))
}
