//! The client against a PCI device of a hundred lines that lives in a thread.

mod unanswered;

use super::channel::Channel;
use super::client::Client;
use super::config_space::{ConfigSpace, Learned};
use super::device::{Asks, Instance};
use super::interface::{CONFIG, Guide, Place};
use super::memory;
use super::wire::reply::{DeviceInfo, IrqInfo, RegionInfo, Reply};
use super::wire::request::{Act, Request};
use super::wire::version::{Capabilities, Version};
use super::wire::{self, Access, Feature, HEADER, Kind, Migration, Transfer};
use crate::hosts::cell::Cell;
use crate::hosts::limits::Limits;
use crate::hosts::process::Process;
use migcert_core::device::{Device, GUEST_MEMORY, Interface, Register, Seen, State, Step};
use migcert_core::error::Error;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// A word that is written to BAR0 is an address, to which the device writes that word.
const DOORBELL: Step = write(0, 0, memory::ADDRESSES.start + 8);
const COMMAND: u32 = 0x0406;
const STATUS: u32 = 0x8000_0000;

const fn write(region: u32, offset: u64, value: u64) -> Step {
    Step::Write { region, offset, size: 4, value }
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Logs {
    #[default]
    Everything,
    Nothing,
    /// It has no log at all.
    None,
}

struct Pci {
    channel: Channel,
    outbox: Vec<u8>,
    events: Vec<OwnedFd>,
    command: u32,
    status: u32,
    state: State,
    dirty: u64,
    logs: Logs,
}

impl Pci {
    fn run(mut self) {
        while let Ok((header, payload)) = self.channel.receive(None) {
            let payload = self.channel.bytes(payload).to_vec();
            let request = Request::parse(header.command, &payload).expect("a request");
            let fds = self.channel.take_fds();
            if matches!(request, Request::SetIrqs(_)) {
                self.events.extend(fds);
            }
            let mut reply = Vec::new();
            let kind = match self.answer(&request, &mut reply) {
                true => Kind::Reply,
                false => Kind::Failed(22),
            };
            // Servers send more than they say are data, and that is fine.
            reply.extend([0xee; 3]);
            let payload = |into: &mut Vec<u8>| {
                if kind == Kind::Reply {
                    into.extend(reply);
                }
            };
            wire::message(&mut self.outbox, header.id, header.command, kind, payload);
            if self.channel.send(&self.outbox, &[], None).is_err() {
                break;
            }
        }
    }

    fn answer(&mut self, request: &Request<'_>, into: &mut Vec<u8>) -> bool {
        let mut data = [0; 8];
        let reply = match *request {
            Request::Version(_) => Reply::Version(Version {
                major: 0,
                minor: 0,
                capabilities: Capabilities {
                    max_msg_fds: 1,
                    max_data_xfer_size: 64,
                    ..Capabilities::default()
                },
            }),
            Request::DeviceInfo => {
                let flags = DeviceInfo::PCI | DeviceInfo::RESET;
                Reply::DeviceInfo(DeviceInfo { flags, regions: 9, irqs: 5 })
            }
            Request::RegionInfo(index) => {
                let size = if index == 0 || index == CONFIG { 16 } else { 0 };
                let flags = RegionInfo::READ | RegionInfo::WRITE;
                Reply::RegionInfo(RegionInfo { flags, index, size, offset: 0 })
            }
            Request::IrqInfo(index) => {
                let count = if index == 1 { 2 } else { 0 };
                Reply::IrqInfo(IrqInfo { flags: IrqInfo::EVENTFD, index, count })
            }
            Request::RegionRead(access @ Access { region, offset, count }) => {
                let word = (self.command | self.status).to_le_bytes();
                let shown = |at: u64| match at {
                    4..8 if region == CONFIG => word[at as usize - 4],
                    _ => 0,
                };
                let bytes: Vec<u8> = (offset..offset + u64::from(count)).map(shown).collect();
                Reply::RegionRead(access, &bytes).put(into);
                return true;
            }
            Request::RegionWrite(access, bytes) => {
                self.write(access, wire::value(bytes) as u32);
                Reply::RegionWrite(access)
            }
            Request::Feature { number, act, data: given } => {
                let known = Feature::ALL.iter().find(|known| **known as u16 == number);
                match (known, act) {
                    (Some(Feature::Migration), Act::Get) => {
                        data = (Migration::STOP_COPY | Migration::PRE_COPY).to_le_bytes();
                    }
                    (Some(Feature::State), Act::Get) => data = wire::state_data(self.state),
                    (Some(Feature::State), Act::Set) => self.state = wire::state(given).expect("a state"),
                    (Some(Feature::LogReport), Act::Get) => {
                        let dirty = if self.logs == Logs::Everything { self.dirty } else { 0 };
                        let all = [given, &dirty.to_le_bytes()].concat();
                        Reply::Feature(0, &all).put(into);
                        return true;
                    }
                    (Some(Feature::DataSize) | None, _) => return false,
                    (Some(Feature::LogStart), _) if self.logs == Logs::None => return false,
                    _ => {}
                }
                Reply::Feature(0, &data)
            }
            _ => Reply::Done,
        };
        reply.put(into);
        true
    }

    fn write(&mut self, Access { region, offset, .. }: Access, value: u32) {
        if (region, offset) == (CONFIG, 4) {
            self.command = value & COMMAND;
            self.status &= !value;
        }
        if (region, offset) == (0, 0) {
            let transfer = Transfer { address: value.into(), count: 4 };
            let bytes = value.to_le_bytes();
            let request = Request::DmaWrite(transfer, &bytes);
            wire::message(&mut self.outbox, 77, request.command() as u16, Kind::Command, |into| {
                request.put(into)
            });
            self.channel.send(&self.outbox, &[], None).expect("sent");
            let Ok((header, _)) = self.channel.receive(None) else { return };
            assert_eq!((header.id, header.kind), (77, Kind::Reply));
            assert_eq!(header.size as usize, HEADER + 16);
            self.dirty |= 1 << ((u64::from(value) - memory::ADDRESSES.start) / 4096);
            rustix::io::write(&self.events[1], &1u64.to_ne_bytes()).expect("signalled");
        }
    }
}

fn client(logs: Logs) -> Client {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let pci = Pci {
        channel: Channel::with_fds(theirs),
        outbox: vec![],
        events: vec![],
        command: 0,
        status: STATUS,
        state: State::Running,
        dirty: 0,
        logs,
    };
    thread::spawn(|| pci.run());
    let program = Path::new("/bin/sleep");
    let process = Process::start(program, &["1000"], Cell::alone().expect("a cell")).expect("it starts");
    /// Only what hangs takes that long.
    const LIMIT: Duration = Duration::from_secs(300);
    Client::new(process, ours, Limits::of(LIMIT)).expect("they agree")
}

fn device(logs: Logs, guide: &Guide) -> Instance {
    let learn = |size| Ok(Learned::of(&mut client(Logs::default()), size, &guide.never).into());
    Instance::new(client(logs), guide, Asks::InTurn, learn).expect("a device")
}

#[track_caller]
fn sees(device: &mut Instance, step: &Step, expected: &str) {
    let seen = device.guest(step).map_or_else(|why| why.to_string(), |seen: Seen| seen.to_string());
    assert_eq!(seen, expected);
}

#[test]
fn what_a_device_writes_and_raises_is_seen() {
    let mut device = device(Logs::Everything, &Guide::default());
    sees(&mut device, &DOORBELL, "interrupt 1, memory 0x10008: 08000100");
    sees(&mut device, &Step::Pass(1), "nothing");
    sees(&mut device, &Step::Read { region: GUEST_MEMORY, offset: 0x10008, size: 4 }, "0x10008");
    sees(&mut device, &write(GUEST_MEMORY, 0x10008, 5), "nothing");
    sees(&mut device, &Step::Read { region: CONFIG, offset: 4, size: 4 }, "0x80000000");
}

#[test]
fn memory_outside_of_the_map_is_not_the_devices() {
    let mut device = device(Logs::Everything, &Guide::default());
    sees(
        &mut device,
        &write(0, 0, 0xfffe),
        "the device misbehaved: it answered REGION_WRITE 0:0x0/4 with DMA_WRITE of 4 bytes at 0xfffe, \
         outside of the memory that was mapped",
    );
}

#[test]
fn every_page_that_changed_must_be_in_the_log() {
    for (logs, expected) in
        [(Logs::Everything, None), (Logs::Nothing, Some("0x0, without the page at 0x10000"))]
    {
        let mut device = device(logs, &Guide::default());
        device.set_state(State::PreCopy).expect("saves");
        device.guest(&DOORBELL).expect("writes");
        match (device.set_state(State::StopCopy), expected) {
            (Ok(()), None) => {}
            (Err(Error::Misbehaved(why)), Some(words)) => assert!(why.to_string().contains(words), "{why}"),
            (other, _) => panic!("{other:?}"),
        }
    }
}

#[test]
fn dirty_memory_is_what_the_log_says_and_what_the_guest_did() {
    let mut pages = device(Logs::Everything, &Guide { initial: vec![DOORBELL], ..Guide::default() });
    // Configuration space comes along again whenever somebody asks: a word behind its offset.
    let config = memory::SIZE + 1..memory::SIZE + 6;
    assert_eq!(pages.dirty_memory().expect("asked"), Some(vec![config.clone()]));
    pages.set_state(State::PreCopy).expect("saves");
    pages.guest(&write(GUEST_MEMORY, 0x12000, 5)).expect("writes");
    // Whether the driver is up, what it wrote, and what the device wrote.
    let page = 0..0x1000;
    let expected = vec![memory::SIZE..memory::SIZE + 1, 0x2000..0x2004, page.clone(), config.clone()];
    assert_eq!(pages.dirty_memory().expect("asked"), Some(expected));
    pages.set_state(State::StopCopy).expect("saves");
    assert_eq!(pages.dirty_memory().expect("asked"), Some(vec![page, config.clone()]));
    assert_eq!(pages.dirty_memory().expect("asked"), Some(vec![config]));
    let mut none = device(Logs::None, &Guide::default());
    assert_eq!(none.dirty_memory().expect("asked"), None);
}

#[test]
fn configuration_space_is_learned_and_places_are_left_alone() {
    let places = |registers: &[Register]| -> Vec<String> {
        let place = |r: &Register| format!("{} {:#x} {}x{} {:#x}", r.name, r.offset, r.count, r.size, r.max);
        registers.iter().filter(|r| r.size == 4).map(place).collect()
    };
    let windows = |guide: &Guide| match device(Logs::Everything, guide).capabilities().interface {
        Interface::Windows(windows) => places(&windows.windows),
        other => panic!("{other:?}"),
    };
    let learned = format!("CONFIG 0x4 1x4 {:#x}", COMMAND | STATUS);
    let free = [&learned, "BAR0 0x0 4x4 0xffffffff", "CONFIG 0x0 4x4 0xffffffff"];
    assert_eq!(windows(&Guide::default()), free);
    let never = vec![Place { region: 0, offset: 5, size: 2 }, Place { region: CONFIG, offset: 4, size: 1 }];
    let narrow = [
        "BAR0 0x0 1x4 0xffffffff",
        "BAR0 0x8 2x4 0xffffffff",
        "CONFIG 0x0 1x4 0xffffffff",
        "CONFIG 0x8 2x4 0xffffffff",
    ];
    assert_eq!(windows(&Guide { never, ..Guide::default() }), narrow);
}

#[test]
fn configuration_space_moves_with_the_machine() {
    const READ: Step = Step::Read { region: CONFIG, offset: 4, size: 4 };
    let moved = |config_space| {
        let guide = Guide { config_space, ..Guide::default() };
        let (mut first, mut second) = (device(Logs::Everything, &guide), device(Logs::Everything, &guide));
        sees(&mut first, &write(CONFIG, 4, 0x6), "nothing");
        second.set_guest_memory(&first.guest_memory().expect("memory")).expect("put in place");
        second
    };
    // Its status bit, which a one clears, stays as it is.
    let mut second = moved(ConfigSpace::Carrier);
    sees(&mut second, &READ, "0x80000006");
    second.reset().expect("reset");
    sees(&mut second, &READ, "0x80000000");
    sees(&mut moved(ConfigSpace::Device), &READ, "0x80000000");
    let cut = second.guest_memory().expect("memory");
    assert!(second.set_guest_memory(&cut[..cut.len() - 1]).is_err());
}

#[test]
fn a_guide_says_what_a_guest_does() {
    let guide = Guide {
        volatile: vec![Place { region: CONFIG, offset: 6, size: 2 }],
        initial: vec![DOORBELL],
        scripts: [("ring".to_owned(), vec![write(GUEST_MEMORY, 0x10008, 7), DOORBELL])].into(),
        ..Guide::default()
    };
    let mut first = device(Logs::Everything, &guide);
    let status = Step::Read { region: CONFIG, offset: 4, size: 4 };
    let rung = "interrupt 1, memory 0x10008: 0800";
    sees(&mut first, &status, &format!("{rung}0100, volatile"));
    sees(&mut first, &Step::Request("ring".to_owned()), &format!("{rung}01"));
    // What a guest has done moves with its memory, and is forgotten by a reset.
    let mut second = device(Logs::Everything, &guide);
    second.set_guest_memory(&first.guest_memory().expect("memory")).expect("put in place");
    sees(&mut second, &status, "volatile");
    second.reset().expect("reset");
    sees(&mut second, &status, &format!("{rung}0100, volatile"));
}

#[test]
fn a_stopped_device_is_not_touched() {
    let mut device = device(Logs::Everything, &Guide::default());
    device.set_state(State::Stop).expect("stops");
    sees(&mut device, &DOORBELL, "can't use the device in STOP");
    sees(&mut device, &Step::Pass(8), "nothing");
}
