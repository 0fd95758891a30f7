//! The other side: any device behind our trait, as a program that speaks vfio-user.
//!
//! Registers are read and written as regions, interrupts come as those of type 0, and what
//! happens outside goes through the outside region, which is the last one.

use super::channel::{Broken, Channel};
use super::outside;
use super::wire::reply::{DeviceInfo, IrqInfo, RegionInfo, Reply};
use super::wire::request::{Act, Request, SetIrqs};
use super::wire::version::{Capabilities, Extension, Version};
use super::wire::{self, Access, Feature, Kind, MAX_DATA, Migration};
use crate::say;
use migcert_core::device::{Device, GUEST_MEMORY, Interface, Register, Seen, Sight, State, Step};
use migcert_core::error::Error;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Interrupts are numbered from 0 to this.
const VECTORS: usize = 32;
const MINOR: u16 = 1;

/// Bytes of answers that wait for others at most.
const MOST_AT_ONCE: usize = 64 << 10;

const EIO: u32 = 5;
const EINVAL: u32 = 22;
const ENOTTY: u32 = 25;
const EBADMSG: u32 = 74;

/// The registers of a device that can be served.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] for a device without registers, or with DMA.
pub fn registers(device: &dyn Device) -> io::Result<Arc<[Register]>> {
    let refuse = |why| Err(io::Error::new(io::ErrorKind::Unsupported, why));
    match device.capabilities().interface {
        Interface::Registers(registers) if registers.iter().any(|each| each.region == GUEST_MEMORY) => {
            refuse("a device that uses guest memory can't be served over vfio-user yet")
        }
        Interface::Registers(registers) => Ok(registers),
        _ => refuse("a device without registers can't be served over vfio-user"),
    }
}

/// Serves a device until its client goes away.
///
/// # Errors
/// Those of [`registers`] and of the socket.
pub fn serve(device: Box<dyn Device>, socket: UnixStream) -> io::Result<()> {
    let registers = registers(&*device)?;
    let mut server = Server {
        device,
        channel: Channel::with_fds(socket),
        outbox: Vec::new(),
        most: MAX_DATA,
        description: outside::describe(&registers),
        registers,
        seen: Vec::new(),
        taken: Vec::new(),
        events: (0..VECTORS).map(|_| None).collect(),
    };
    loop {
        match server.turn() {
            Ok(()) => {}
            Err(Broken::Closed) => return Ok(()),
            Err(Broken::Machine(why)) => return Err(why),
            Err(Broken::Malformed(why)) => return Err(io::Error::new(io::ErrorKind::InvalidData, why)),
            Err(Broken::Slow) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

struct Server {
    device: Box<dyn Device>,
    channel: Channel,
    outbox: Vec<u8>,
    /// Bytes of data in a message.
    most: u32,
    registers: Arc<[Register]>,
    description: Vec<u8>,
    /// What was to be seen outside and was not read.
    seen: Vec<Sight>,
    /// What was read of it last.
    taken: Vec<u8>,
    /// What is signalled when an interrupt is raised.
    events: Vec<Option<OwnedFd>>,
}

impl Server {
    /// One request and its answer.
    fn turn(&mut self) -> Result<(), Broken> {
        let (header, payload) = self.channel.receive(None)?;
        let fds = self.channel.take_fds();
        let payload = self.channel.bytes(payload).to_vec();
        let answer = match Request::parse(header.command, &payload) {
            Ok(request) => self.answer(&request, fds),
            Err(why) => {
                say!("refused: {why}");
                Err(EINVAL)
            }
        };
        let outbox = &mut self.outbox;
        match (header.kind, answer) {
            (Kind::Command, Ok(reply)) => {
                wire::append(outbox, header.id, header.command, Kind::Reply, |into| into.extend(reply));
            }
            (Kind::Command, Err(error)) => {
                wire::append(outbox, header.id, header.command, Kind::Failed(error), |_| {});
            }
            _ => {}
        }
        // Whoever asked for several things at once gets the answers at once.
        if self.outbox.is_empty() || self.channel.has_message() && self.outbox.len() < MOST_AT_ONCE {
            return Ok(());
        }
        let sent = self.channel.send(&self.outbox, &[], None);
        self.outbox.clear();
        sent
    }

    /// The payload of the reply, or the number of an error.
    fn answer(&mut self, request: &Request<'_>, fds: Vec<OwnedFd>) -> Result<Vec<u8>, u32> {
        let data;
        let reply = match *request {
            Request::Version(ref version) => Reply::Version(self.version(version)?),
            // These devices have no use for guest memory.
            Request::DmaMap { .. } | Request::DmaUnmap { .. } => Reply::Done,
            Request::DeviceInfo => {
                let regions = self.outside() + 1;
                Reply::DeviceInfo(DeviceInfo { flags: DeviceInfo::RESET, regions, irqs: 1 })
            }
            Request::RegionInfo(index) => Reply::RegionInfo(self.region(index)?),
            Request::IrqInfo(0) => {
                Reply::IrqInfo(IrqInfo { flags: IrqInfo::EVENTFD, index: 0, count: VECTORS as u32 })
            }
            Request::SetIrqs(irqs) => {
                self.set_irqs(irqs, fds)?;
                Reply::Done
            }
            Request::RegionRead(access @ Access { offset: outside::WHOLE, region, count })
                if region == self.outside() =>
            {
                data = outside::show(&std::mem::take(&mut self.seen)).unwrap_or_default();
                let all = u32::try_from(data.len()).ok().filter(|all| *all <= count.min(self.most));
                Reply::RegionRead(Access { count: all.ok_or(EINVAL)?, ..access }, &data)
            }
            Request::RegionRead(access) if access.count <= self.most => {
                data = self.read(access)?;
                Reply::RegionRead(access, &data)
            }
            Request::RegionWrite(access, bytes) => {
                self.write(access, bytes)?;
                Reply::RegionWrite(access)
            }
            Request::Reset => {
                told(self.device.reset())?;
                Reply::Done
            }
            Request::Feature { number, act, data: given } => {
                data = self.feature(number, act, given)?;
                let flags = u32::from(number) | if act == Act::Get { 1 << 16 } else { 1 << 17 };
                Reply::Feature(flags, &data)
            }
            Request::StateRead(count) if count <= self.most => {
                let mut state = vec![0; count as usize];
                let count = told(self.device.read_state(&mut state))?;
                state.truncate(count);
                data = state;
                Reply::State(&data)
            }
            Request::StateWrite(bytes) if bytes.len() <= self.most as usize => {
                told(self.device.write_state(bytes))?;
                Reply::Done
            }
            ref other => {
                say!("refused: {other} can't be answered");
                return Err(EINVAL);
            }
        };
        let mut payload = Vec::new();
        reply.put(&mut payload);
        Ok(payload)
    }

    fn version(&mut self, proposed: &Version) -> Result<Version, u32> {
        if proposed.major != 0 {
            say!("refused: protocol {}.{} is not spoken, 0.{MINOR} is", proposed.major, proposed.minor);
            return Err(EINVAL);
        }
        let theirs = proposed.capabilities.max_data_xfer_size;
        self.most = u32::try_from(theirs).unwrap_or(MAX_DATA).min(MAX_DATA);
        let outside = Some(self.outside());
        let capabilities = Capabilities {
            max_msg_fds: VECTORS as u32,
            migcert: Some(Extension { outside, whole: true }),
            ..Capabilities::default()
        };
        Ok(Version { major: 0, minor: proposed.minor.min(MINOR), capabilities })
    }

    /// The number of the outside region.
    fn outside(&self) -> u32 {
        self.registers.iter().map(|register| register.region.saturating_add(1)).max().unwrap_or(0)
    }

    fn region(&self, index: u32) -> Result<RegionInfo, u32> {
        let here = self.registers.iter().filter(|register| register.region == index);
        let end = |register: &Register| {
            let last = u64::from(register.count.saturating_sub(1)) * u64::from(register.stride);
            register.offset + last + u64::from(register.size)
        };
        let size = match self.outside() {
            outside if outside < index => return Err(EINVAL),
            outside if outside == index => outside::SIZE,
            _ => here.map(end).max().unwrap_or(0),
        };
        Ok(RegionInfo { flags: RegionInfo::READ | RegionInfo::WRITE, index, size, offset: 0 })
    }

    fn set_irqs(&mut self, irqs: SetIrqs, fds: Vec<OwnedFd>) -> Result<(), u32> {
        if irqs.flags & SetIrqs::TRIGGER_EVENTFD != SetIrqs::TRIGGER_EVENTFD {
            // Nothing is masked here, and interrupts are not raised from outside.
            return Ok(());
        }
        let (start, count) = (irqs.start as usize, irqs.count as usize);
        let events = self.events.get_mut(start..start.saturating_add(count)).ok_or(EINVAL)?;
        if irqs.index != 0 || !(fds.is_empty() || fds.len() == count) {
            return Err(EINVAL);
        }
        let mut fds = fds.into_iter();
        events.iter_mut().for_each(|event| *event = fds.next());
        Ok(())
    }

    fn read(&mut self, Access { offset, region, count }: Access) -> Result<Vec<u8>, u32> {
        if region == self.outside() {
            if let Some(into) = offset.checked_sub(outside::DESCRIPTION) {
                return Ok(outside::window(&self.description, into, count));
            }
            if offset == 0 {
                self.taken = outside::show(&std::mem::take(&mut self.seen)).unwrap_or_default();
            }
            return Ok(outside::window(&self.taken, offset, count));
        }
        let size = size(count)?;
        let seen = told(self.device.guest(&Step::Read { region, offset, size }))?;
        let value = seen.0.iter().find_map(|sight| match sight {
            Sight::Value(value) => Some(*value),
            _ => None,
        });
        self.show(seen)?;
        let bytes = value.unwrap_or(0).to_le_bytes();
        Ok(bytes.get(..usize::from(size)).unwrap_or(&bytes).to_vec())
    }

    fn write(&mut self, Access { offset, region, count }: Access, bytes: &[u8]) -> Result<(), u32> {
        let step = if region == self.outside() {
            let step = str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
            step.filter(|step| matches!(step, Step::Receive(_) | Step::Pass(_))).ok_or(EINVAL)?
        } else {
            Step::Write { region, offset, size: size(count)?, value: wire::value(bytes) }
        };
        let seen = told(self.device.guest(&step))?;
        self.show(seen)
    }

    /// Raises the interrupts among what was seen, and keeps the rest to be read: so also those that have no
    /// eventfd.
    fn show(&mut self, seen: Seen) -> Result<(), u32> {
        for sight in seen.0 {
            match sight {
                Sight::Value(_) => {}
                Sight::Refused { errno, .. } => return Err(errno.0),
                Sight::Interrupt(vector) => match self.events.get(vector as usize) {
                    Some(Some(event)) => {
                        rustix::io::write(event, &1u64.to_ne_bytes()).map_err(|_| EIO)?;
                    }
                    Some(None) => self.seen.push(Sight::Interrupt(vector)),
                    None => self.seen.push(Sight::Words(format!("interrupt {vector}"))),
                },
                other => self.seen.push(other),
            }
        }
        Ok(())
    }

    fn feature(&mut self, number: u16, act: Act, given: &[u8]) -> Result<Vec<u8>, u32> {
        const MIGRATION: u16 = Feature::Migration as u16;
        const STATE: u16 = Feature::State as u16;
        const DATA_SIZE: u16 = Feature::DataSize as u16;
        match (number, act) {
            (MIGRATION | STATE, Act::Probe) => Ok(given.to_vec()),
            (MIGRATION, Act::Get) => {
                let options = self.device.capabilities().options;
                let p2p = if options.p2p { Migration::P2P } else { 0 };
                let pre_copy = if options.pre_copy { Migration::PRE_COPY } else { 0 };
                Ok((Migration::STOP_COPY | p2p | pre_copy).to_le_bytes().to_vec())
            }
            (STATE, Act::Get) => Ok(wire::state_data(told(self.device.state())?).to_vec()),
            (STATE, Act::Set) => {
                let to: State = wire::state(given).map_err(|_| EINVAL)?;
                told(self.device.set_state(to))?;
                Ok(given.to_vec())
            }
            (DATA_SIZE, Act::Probe | Act::Get) => {
                let estimate = told(self.device.estimate())?.ok_or(ENOTTY)?;
                Ok(if act == Act::Get { estimate.to_le_bytes().to_vec() } else { given.to_vec() })
            }
            _ => Err(ENOTTY),
        }
    }
}

fn size(count: u32) -> Result<u8, u32> {
    match count {
        1 | 2 | 4 | 8 => Ok(count as u8),
        _ => Err(EINVAL),
    }
}

/// An error has a number on the wire, and words on standard error.
fn told<T>(result: Result<T, Error>) -> Result<T, u32> {
    result.map_err(|why| {
        say!("failed: {why}");
        match why {
            Error::BadState(_) => EBADMSG,
            Error::Misbehaved(_) | Error::Unavailable(_) => EIO,
            _ => EINVAL,
        }
    })
}
