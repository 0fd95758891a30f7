//! Every request of a start, of a guest and of a migration, and the error where a device does not
//! answer it.
//!
//! Independent of load: all answers are in the socket before the client asks. It waits only for the
//! one that is missing, which never comes.

use super::*;
use crate::hosts::vfio_user::wire::Command;
use std::io::{self, Write};
use std::net::Shutdown;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const REGION: u32 = 0;
const STATE: [u8; 4] = [1, 2, 3, 4];
/// Size of the buffer that the state is read into.
const ROOM: usize = 16;

/// Each request, as errors name it, and its answer.
fn conversation() -> Vec<(&'static str, Reply<'static>)> {
    const RUNNING: [u8; 8] = [2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
    const STOP_COPY_AND_PRE_COPY: [u8; 8] = [5, 0, 0, 0, 0, 0, 0, 0];
    let version = Version { major: 0, minor: 1, capabilities: Capabilities::default() };
    let region =
        RegionInfo { flags: RegionInfo::READ | RegionInfo::WRITE, index: REGION, size: 16, offset: 0 };
    let read = Access { offset: 0, region: REGION, count: 4 };
    vec![
        ("VERSION", Reply::Version(version)),
        ("DEVICE_GET_INFO", Reply::DeviceInfo(DeviceInfo { flags: DeviceInfo::RESET, regions: 1, irqs: 1 })),
        ("DEVICE_GET_REGION_INFO 0", Reply::RegionInfo(region)),
        ("GET MIGRATION", Reply::Feature(0, &STOP_COPY_AND_PRE_COPY)),
        ("DMA_MAP", Reply::Done),
        ("DEVICE_GET_IRQ_INFO 0", Reply::IrqInfo(IrqInfo { flags: IrqInfo::EVENTFD, index: 0, count: 1 })),
        ("DEVICE_SET_IRQS", Reply::Done),
        ("GET MIG_DEVICE_STATE", Reply::Feature(0, &RUNNING)),
        // The guest.
        ("REGION_READ 0:0x0/4", Reply::RegionRead(read, &[0; 4])),
        ("GET MIG_DEVICE_STATE", Reply::Feature(0, &RUNNING)),
        ("REGION_WRITE 0:0x4/4", Reply::RegionWrite(Access { offset: 4, ..read })),
        ("GET MIG_DEVICE_STATE", Reply::Feature(0, &RUNNING)),
        // The source.
        ("PROBE MIG_DATA_SIZE", Reply::Done),
        ("GET MIG_DATA_SIZE", Reply::Feature(0, &[0; 8])),
        ("PROBE DMA_LOGGING_START", Reply::Done),
        ("PROBE DMA_LOGGING_REPORT", Reply::Done),
        ("SET DMA_LOGGING_START", Reply::Done),
        ("SET MIG_DEVICE_STATE PRE_COPY", Reply::Done),
        ("MIG_DATA_READ of 16 bytes", Reply::State(&[])),
        ("SET MIG_DEVICE_STATE STOP_COPY", Reply::Done),
        ("GET DMA_LOGGING_REPORT", Reply::Feature(0, &[0; 32])),
        ("SET DMA_LOGGING_STOP", Reply::Done),
        ("MIG_DATA_READ of 16 bytes", Reply::State(&STATE)),
        // The destination.
        ("DEVICE_RESET", Reply::Done),
        ("GET MIG_DEVICE_STATE", Reply::Feature(0, &RUNNING)),
        ("DMA_UNMAP", Reply::Done),
        ("DMA_MAP", Reply::Done),
        ("DEVICE_SET_IRQS", Reply::Done),
        ("SET MIG_DEVICE_STATE RESUMING", Reply::Done),
        ("MIG_DATA_WRITE of 4 bytes", Reply::Done),
        ("SET MIG_DEVICE_STATE RUNNING", Reply::Done),
    ]
}

/// What the client's side of that conversation does.
fn live(client: Client) -> Result<(), Error> {
    let no_pci = |_| Err(io::Error::other("not a PCI device").into());
    let mut device = Instance::new(client, &Guide::default(), Asks::InTurn, no_pci)?;
    device.guest(&Step::Read { region: REGION, offset: 0, size: 4 })?;
    device.guest(&write(REGION, 4, 7))?;
    device.estimate()?;
    device.set_state(State::PreCopy)?;
    device.read_state(&mut [0; ROOM])?;
    device.set_state(State::StopCopy)?;
    device.read_state(&mut [0; ROOM])?;
    device.reset()?;
    device.set_state(State::Resuming)?;
    device.write_state(&STATE)?;
    device.set_state(State::Running)
}

/// What a device does after its last answer.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// It runs and is silent.
    Waits,
    /// It has ended; its socket is still open.
    Ends,
    /// It has ended, and its socket is closed.
    Closes,
}

impl Then {
    /// The error for a request that was not answered.
    fn error(self, request: &str) -> String {
        match self {
            Then::Waits => format!("unavailable: no answer to {request} within 1ms"),
            Then::Ends | Then::Closes => {
                format!("the device misbehaved: it died during {request}: exit status 3")
            }
        }
    }
}

/// The result of the conversation with a device that sends only these bytes.
fn result(bytes: &[u8], then: Then) -> String {
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    theirs.write_all(bytes).expect("they fit");
    let (script, answer) = match then {
        Then::Waits => ("exec sleep 1000", Duration::from_millis(1)),
        Then::Ends | Then::Closes => ("exit 3", MINUTE),
    };
    let cell = Cell::alone().expect("a cell");
    let mut process = Process::start(Path::new("/bin/sh"), &["-c", script], cell).expect("it starts");
    if then != Then::Waits {
        process.ended(MINUTE).expect("waits").expect("it ended");
    }
    if then == Then::Closes {
        theirs.shutdown(Shutdown::Write).expect("shut");
    }
    let client = Client::new(process, ours, Limits { answer, transfer: MINUTE });
    client.and_then(live).map_or_else(|why| why.to_string(), |()| "success".to_owned())
}

/// The answers, each a message.
fn answers() -> Vec<Vec<u8>> {
    let message = |(number, (request, reply)): (usize, (&str, Reply<'_>))| {
        let (mut message, id) = (Vec::new(), number as u16 + 1);
        wire::message(&mut message, id, command(request) as u16, Kind::Reply, |into| reply.put(into));
        message
    };
    conversation().into_iter().enumerate().map(message).collect()
}

fn command(request: &str) -> Command {
    let is_named = |command: &&Command| request.split(' ').next() == Some(command.name());
    *Command::ALL.iter().find(is_named).unwrap_or(&Command::Feature)
}

#[test]
fn the_conversation_is_complete() {
    assert_eq!(result(&answers().concat(), Then::Waits), "success");
}

#[test]
fn an_unanswered_request_is_named() {
    let answers = answers();
    for then in [Then::Waits, Then::Ends, Then::Closes] {
        for (number, (request, _)) in conversation().iter().enumerate() {
            assert_eq!(result(&answers[..number].concat(), then), then.error(request));
        }
    }
}

#[test]
fn half_an_answer_is_no_answer() {
    let answers = answers();
    for then in [Then::Waits, Then::Closes] {
        for (number, (request, _)) in conversation().iter().enumerate() {
            let half = &answers[number][..answers[number].len() / 2];
            assert_eq!(result(&[&answers[..number].concat(), half].concat(), then), then.error(request));
        }
    }
}

#[test]
fn a_wrong_header_is_reported_with_the_request() {
    for (number, (request, _)) in conversation().iter().enumerate() {
        let (id, command) = (number as u8 + 1, command(request) as u8);
        let (other_id, other_command) = (id ^ 0x55, command ^ 0x55);
        let asked = format!("where {id} of {command} was asked");
        // Offset in the header, what is written there, and the error.
        let cases = [
            (0, vec![other_id], format!("a reply to message {other_id} of command {command}, {asked}")),
            (2, vec![other_command], format!("a reply to message {id} of command {other_command}, {asked}")),
            (4, vec![8, 0], "a message cut short: 8 of 16 bytes".to_owned()),
            (4, vec![0xff; 4], "a message of 4294967295, where 1052672 is the most".to_owned()),
        ];
        for (at, bytes, error) in cases {
            let mut answers = answers();
            answers[number][at..at + bytes.len()].copy_from_slice(&bytes);
            let result = result(&answers[..=number].concat(), Then::Waits);
            assert_eq!(result, format!("the device misbehaved: it answered {request} with {error}"));
        }
    }
}
