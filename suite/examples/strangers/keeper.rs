//! A daemon that keeps states for devices that come and go.
//!
//! It is started by the first device that needs it, and then belongs to nobody: a session of its
//! own, no environment, no descriptors of ours. It ends when nobody has asked for a while.

use crate::hidden::SLOT;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::setsid;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

const NAME: &str = "strangers-keeper";
const PATH: &str = "/tmp/strangers-keeper";
const PORT: u16 = 47_113;

/// Where it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Abstract,
    Path,
    Port,
}

impl Address {
    fn name(self) -> &'static str {
        match self {
            Address::Abstract => "abstract",
            Address::Path => "path",
            Address::Port => "port",
        }
    }

    fn connect(self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Address::Abstract => {
                let socket = socket()?;
                rustix::net::connect(&socket, &SocketAddrUnix::new_abstract_name(NAME.as_bytes())?)?;
                Box::new(UnixStream::from(socket))
            }
            Address::Path => Box::new(UnixStream::connect(PATH)?),
            Address::Port => Box::new(TcpStream::connect((Ipv4Addr::LOCALHOST, PORT))?),
        })
    }
}

fn socket() -> io::Result<std::os::fd::OwnedFd> {
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?)
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

const PUT: u8 = b'p';
const GET: u8 = b'g';
const STOP: u8 = b's';

pub(crate) fn put(address: Address, token: u64, slot: &[u8]) -> io::Result<()> {
    let mut stream = reach(address)?;
    stream.write_all(&[&[PUT][..], &token.to_le_bytes(), slot].concat())?;
    stream.read_exact(&mut [0])
}

pub(crate) fn get(address: Address, token: u64) -> io::Result<Vec<u8>> {
    let mut stream = reach(address)?;
    stream.write_all(&[&[GET][..], &token.to_le_bytes()].concat())?;
    let mut slot = vec![0; SLOT];
    stream.read_exact(&mut slot)?;
    Ok(slot)
}

pub(crate) fn stop(address: Address) {
    if let Ok(mut stream) = address.connect() {
        let _ = stream.write_all(&[&[STOP][..], &[0; 8]].concat()).and_then(|()| stream.read_exact(&mut [0]));
    }
}

/// Connects, and starts the daemon where there is none.
fn reach(address: Address) -> io::Result<Box<dyn Stream>> {
    const TRIES: u32 = 200;
    if let Ok(stream) = address.connect() {
        return Ok(stream);
    }
    start(&["--keeper", address.name()])?;
    for _ in 0..TRIES {
        if let Ok(stream) = address.connect() {
            return Ok(stream);
        }
        thread::sleep(Duration::from_millis(5));
    }
    address.connect()
}

/// Starts this program as a process of nobody.
fn start(args: &[&str]) -> io::Result<()> {
    let mut command = Command::new("/proc/self/exe");
    command.arg("--orphan").args(args).env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().map(drop)
}

/// What such a process does first: it ends, and one of its own goes on.
pub(crate) fn orphan(args: &[String]) -> io::Result<()> {
    setsid()?;
    Command::new("/proc/self/exe").args(args).spawn().map(drop)
}

/// Keeps what it is given, until nobody has asked for a while.
pub(crate) fn keep(address: &str) -> io::Result<()> {
    let mut kept = HashMap::new();
    match address {
        "abstract" => {
            let socket = socket()?;
            rustix::net::bind(&socket, &SocketAddrUnix::new_abstract_name(NAME.as_bytes())?)?;
            rustix::net::listen(&socket, 64)?;
            let listener = UnixListener::from(socket);
            while is_asked(&listener)? && serve(listener.accept()?.0, &mut kept) {}
        }
        "path" => {
            let _ = std::fs::remove_file(PATH);
            let listener = UnixListener::bind(PATH)?;
            while is_asked(&listener)? && serve(listener.accept()?.0, &mut kept) {}
            let _ = std::fs::remove_file(PATH);
        }
        _ => {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?;
            while is_asked(&listener)? && serve(listener.accept()?.0, &mut kept) {}
        }
    }
    Ok(())
}

fn is_asked(listener: &impl AsFd) -> io::Result<bool> {
    const IDLE: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };
    let mut polled = [PollFd::new(listener, PollFlags::IN)];
    Ok(poll(&mut polled, Some(&IDLE))? != 0)
}

/// Answers one question; whether there may be more.
fn serve(mut stream: impl Stream, kept: &mut HashMap<u64, Vec<u8>>) -> bool {
    let mut question = [0; 9];
    if stream.read_exact(&mut question).is_err() {
        return true;
    }
    let [what, token @ ..] = question;
    let token = u64::from_le_bytes(token);
    // Who asked and is gone has no use for the answer.
    let _ = match what {
        PUT => {
            let mut slot = vec![0; SLOT];
            let came = stream.read_exact(&mut slot);
            kept.insert(token, slot);
            came.and_then(|()| stream.write_all(&[0]))
        }
        GET => stream.write_all(kept.get(&token).map_or(&[], Vec::as_slice)),
        _ => stream.write_all(&[0]),
    };
    what != STOP
}
