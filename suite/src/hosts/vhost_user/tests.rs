//! What a backend is told, heard by a backend that only listens.

mod unanswered;

use super::backend::Backend;
use super::ring::Ring;
use crate::hosts::cell::Cell;
use crate::hosts::process::Process;
use crate::hosts::reach::Pace;
use migcert_core::error::Error;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use vm_memory::{Bytes, GuestAddress};

const GET_FEATURES: u32 = 1;
const GET_VRING_BASE: u32 = 11;
const GET_PROTOCOL_FEATURES: u32 = 15;
const SET_VRING_ENABLE: u32 = 18;

/// A message: its request, and the two numbers that it begins with, if it has them.
type Heard = (u32, [u32; 2]);

/// Answers what must be answered, and serves no queue, until the frontend is gone.
fn listen(mut stream: UnixStream) -> Vec<Heard> {
    let mut heard = Vec::new();
    let mut header = [0; 12];
    // Descriptors that nobody asks for are dropped.
    while stream.read_exact(&mut header).is_ok() {
        let [request, _, size] = numbers(&header);
        let mut payload = vec![0; size as usize];
        stream.read_exact(&mut payload).expect("a whole message");
        payload.resize(payload.len().max(8), 0);
        heard.push((request, numbers(&payload)));
        let reply = match request {
            // PROTOCOL_FEATURES, EVENT_IDX.
            GET_FEATURES => 1 << 30 | 1 << 29,
            // DEVICE_STATE.
            GET_PROTOCOL_FEATURES => 1u64 << 19,
            GET_VRING_BASE => u64::from(numbers::<1>(&payload)[0]),
            _ => continue,
        };
        stream.write_all(&self::reply(request, reply)).expect("heard");
    }
    heard
}

/// The answer to a request, as a message.
fn reply(request: u32, answer: u64) -> Vec<u8> {
    const VERSION_1_REPLY: u32 = 5;
    let header = [request, VERSION_1_REPLY, 8].map(u32::to_le_bytes).concat();
    [header, answer.to_le_bytes().to_vec()].concat()
}

fn numbers<const N: usize>(bytes: &[u8]) -> [u32; N] {
    std::array::from_fn(|i| u32::from_le_bytes(std::array::from_fn(|k| bytes[i * 4 + k])))
}

fn connected() -> (Backend, JoinHandle<Vec<Heard>>) {
    /// Only what hangs takes that long.
    const LIMIT: Duration = Duration::from_secs(300);
    let cell = Cell::alone().expect("a cell");
    let socket = cell.scratch().join("socket");
    let listener = UnixListener::bind(&socket).expect("bound");
    let listens = thread::spawn(move || listen(listener.accept().expect("connected").0));
    let process = Process::start(Path::new("/bin/sleep"), &["1000"], cell).expect("started");
    (
        Backend::connect(process, &socket, &Pace::default(), LIMIT).unwrap_or_else(|why| panic!("{why}")),
        listens,
    )
}

#[test]
fn a_queue_is_disabled_before_it_is_stopped() {
    let (mut backend, listens) = connected();
    backend.start(&Ring::both(), [0; 2]).expect("starts");
    backend.stop().expect("stops");
    drop(backend);
    let heard = listens.join().expect("listened");
    let expected: [Heard; 5] = [
        (SET_VRING_ENABLE, [0, 0]),
        (SET_VRING_ENABLE, [1, 0]),
        (GET_FEATURES, [0, 0]),
        (GET_VRING_BASE, [0, 0]),
        (GET_VRING_BASE, [1, 0]),
    ];
    assert_eq!(heard[heard.len() - expected.len()..], expected);
}

#[test]
fn what_gives_no_answer_is_told_as_it_was_seen() {
    let (mut backend, _listens) = connected();
    let [_, mut ring] = Ring::both();
    ring.post(&backend.memory, b"a request", 0).expect("posted");
    backend.notify(1, &ring).expect("kicked");
    assert!(!backend.is_mute);
    // Its queues are never served, so this is over however long it is.
    backend.limit = Duration::from_millis(50);
    match backend.wait(1, &ring, Instant::now() + backend.limit) {
        Err(Error::Unavailable(why)) => {
            assert_eq!(why.kind(), io::ErrorKind::TimedOut);
            let expected = "no answer within 50ms to a request; \
                            1 requests made available, 0 used, a kick wanted for 0, a kick unread";
            assert_eq!(why.to_string(), expected);
        }
        other => panic!("{other:?}"),
    }
    assert!(backend.is_mute);
}

#[test]
fn a_device_is_told_of_what_it_asked_for() {
    /// Where the device says of the second queue what it wants to be told of.
    const AVAIL_EVENT: GuestAddress = GuestAddress(0x3104);
    let (mut backend, _listens) = connected();
    let [_, mut ring] = Ring::both();
    let mut kicks = |asks_for: u16| {
        backend.memory.write_obj(asks_for, AVAIL_EVENT).expect("written");
        ring.post(&backend.memory, b"a request", 0).expect("posted");
        backend.notify(1, &ring).expect("notified");
        backend.kick[1].read().unwrap_or(0)
    };
    // The first after a start is always told.
    assert_eq!([7, 7, 2, 2, 4].map(&mut kicks), [1, 0, 1, 0, 1]);
}
