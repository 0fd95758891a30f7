//! What is asked.

use super::version::Version;
use super::{
    Access, Command, Feature, Fields, Malformed, Transfer, access, put_access, put_transfer, state, transfer,
};
use std::fmt;

/// What is asked, of either side. The command stands in the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// A protocol version and capabilities.
    Version(Version),
    /// Memory that the device may use from now on; with a descriptor if it may map it.
    DmaMap {
        /// Where in the descriptor's file.
        offset: u64,
        /// Where the device finds it.
        address: u64,
        /// How much.
        size: u64,
    },
    /// Memory that it may not use any more.
    DmaUnmap {
        /// As it was mapped.
        address: u64,
        /// As it was mapped.
        size: u64,
    },
    /// How many regions and interrupts there are.
    DeviceInfo,
    /// What a region is.
    RegionInfo(u32),
    /// What a type of interrupts is.
    IrqInfo(u32),
    /// What interrupts do.
    SetIrqs(SetIrqs),
    /// Bytes of a region are read.
    RegionRead(Access),
    /// Bytes of a region are written.
    RegionWrite(Access, &'a [u8]),
    /// The device reads guest memory.
    DmaRead(Transfer),
    /// The device writes guest memory.
    DmaWrite(Transfer, &'a [u8]),
    /// Back to a fresh device.
    Reset,
    /// A feature is probed, got or set.
    Feature {
        /// Its number; it may be none of ours.
        number: u16,
        /// What is done with it.
        act: Act,
        /// For SET, and for GET of a report.
        data: &'a [u8],
    },
    /// At most so many bytes of state are asked for.
    StateRead(u32),
    /// Bytes of a state, in RESUMING.
    StateWrite(&'a [u8]),
}

/// What is done with a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Can it be got or set?
    Probe,
    /// Its data is asked for.
    Get,
    /// Its data is given.
    Set,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Act::Get => "GET",
            Act::Probe => "PROBE",
            Act::Set => "SET",
        })
    }
}

/// What interrupts of one type do from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetIrqs {
    /// What comes along and what it is for: `VFIO_IRQ_SET_*`.
    pub flags: u32,
    /// The type.
    pub index: u32,
    /// The first vector.
    pub start: u32,
    /// How many vectors.
    pub count: u32,
}

impl SetIrqs {
    /// Descriptors come along, to be signalled when the device raises the vector.
    pub const TRIGGER_EVENTFD: u32 = 1 << 2 | 1 << 5;
    /// Nothing comes along; the vectors are unmasked.
    pub const UNMASK: u32 = 1 << 0 | 1 << 4;
}

const READ_WRITE: u32 = 3;
const GET: u32 = 1 << 16;
const SET: u32 = 1 << 17;
const PROBE: u32 = 1 << 18;

impl<'a> Request<'a> {
    /// The command.
    pub fn command(&self) -> Command {
        match self {
            Request::Version(_) => Command::Version,
            Request::DmaMap { .. } => Command::DmaMap,
            Request::DmaUnmap { .. } => Command::DmaUnmap,
            Request::DeviceInfo => Command::DeviceInfo,
            Request::RegionInfo(_) => Command::RegionInfo,
            Request::IrqInfo(_) => Command::IrqInfo,
            Request::SetIrqs(_) => Command::SetIrqs,
            Request::RegionRead(_) => Command::RegionRead,
            Request::RegionWrite(..) => Command::RegionWrite,
            Request::DmaRead(_) => Command::DmaRead,
            Request::DmaWrite(..) => Command::DmaWrite,
            Request::Reset => Command::Reset,
            Request::Feature { .. } => Command::Feature,
            Request::StateRead(_) => Command::StateRead,
            Request::StateWrite(_) => Command::StateWrite,
        }
    }

    /// Reads what follows the header of a command.
    ///
    /// # Errors
    /// [`Malformed`], also for a command that is none of ours.
    pub fn parse(command: u16, payload: &'a [u8]) -> Result<Request<'a>, Malformed> {
        let unknown = Malformed::Unknown { what: "command", is: command.into() };
        let command = Command::numbered(command).ok_or(unknown)?;
        let mut fields = Fields::of(command.name(), payload);
        Ok(match command {
            Command::Version => Request::Version(Version::parse(payload)?),
            Command::DmaMap => {
                let (_argsz, _flags) = (fields.u32()?, fields.u32()?);
                Request::DmaMap { offset: fields.u64()?, address: fields.u64()?, size: fields.u64()? }
            }
            Command::DmaUnmap => {
                let (_argsz, _flags) = (fields.u32()?, fields.u32()?);
                Request::DmaUnmap { address: fields.u64()?, size: fields.u64()? }
            }
            Command::DeviceInfo => Request::DeviceInfo,
            Command::RegionInfo | Command::IrqInfo => {
                let (_argsz, _flags, index) = (fields.u32()?, fields.u32()?, fields.u32()?);
                let is_region = command == Command::RegionInfo;
                if is_region { Request::RegionInfo(index) } else { Request::IrqInfo(index) }
            }
            Command::SetIrqs => {
                let (_argsz, flags, index) = (fields.u32()?, fields.u32()?, fields.u32()?);
                Request::SetIrqs(SetIrqs { flags, index, start: fields.u32()?, count: fields.u32()? })
            }
            Command::RegionRead => Request::RegionRead(access(&mut fields)?),
            Command::RegionWrite => {
                let access = access(&mut fields)?;
                Request::RegionWrite(access, fields.take(access.count.into())?)
            }
            Command::DmaRead => Request::DmaRead(transfer(&mut fields)?),
            Command::DmaWrite => {
                let transfer = transfer(&mut fields)?;
                Request::DmaWrite(transfer, fields.take(transfer.count)?)
            }
            Command::Reset => Request::Reset,
            Command::Feature => {
                let (_argsz, flags) = (fields.u32()?, fields.u32()?);
                let act = match flags & (GET | SET | PROBE) {
                    GET => Act::Get,
                    SET => Act::Set,
                    probe if probe & PROBE != 0 => Act::Probe,
                    other => return Err(Malformed::Unknown { what: "feature flags", is: other.into() }),
                };
                Request::Feature { number: flags as u16, act, data: fields.rest }
            }
            Command::StateRead => {
                let _argsz = fields.u32()?;
                Request::StateRead(fields.u32()?)
            }
            Command::StateWrite => {
                let _argsz = fields.u32()?;
                let count = fields.u32()?;
                Request::StateWrite(fields.take(count.into())?)
            }
        })
    }

    /// Appends what follows the header.
    pub fn put(&self, into: &mut Vec<u8>) {
        let mut words = |words: &[u32]| words.iter().for_each(|word| into.extend(word.to_le_bytes()));
        match *self {
            Request::Version(ref version) => version.put(into),
            Request::DmaMap { offset, address, size } => {
                words(&[32, READ_WRITE]);
                [offset, address, size].iter().for_each(|n| into.extend(n.to_le_bytes()));
            }
            Request::DmaUnmap { address, size } => {
                words(&[24, 0]);
                [address, size].iter().for_each(|n| into.extend(n.to_le_bytes()));
            }
            Request::DeviceInfo => words(&[16, 0, 0, 0]),
            // The largest reply: capabilities may follow.
            Request::RegionInfo(index) => words(&[4096, 0, index, 0, 0, 0, 0, 0]),
            Request::IrqInfo(index) => words(&[16, 0, index, 0]),
            Request::SetIrqs(SetIrqs { flags, index, start, count }) => {
                words(&[20, flags, index, start, count])
            }
            Request::RegionRead(access) => put_access(into, access),
            Request::RegionWrite(access, data) => {
                put_access(into, access);
                into.extend_from_slice(data);
            }
            Request::DmaRead(transfer) => put_transfer(into, transfer),
            Request::DmaWrite(transfer, data) => {
                put_transfer(into, transfer);
                into.extend_from_slice(data);
            }
            Request::Reset => {}
            Request::Feature { number, act, data } => {
                let act = match act {
                    Act::Probe => PROBE,
                    Act::Get => GET,
                    Act::Set => SET,
                };
                let most = if act == GET { 8 + data.len() + 64 } else { 8 + data.len() };
                words(&[most as u32, act | u32::from(number)]);
                into.extend_from_slice(data);
            }
            Request::StateRead(count) => words(&[count.saturating_add(8), count]),
            Request::StateWrite(data) => {
                let count = u32::try_from(data.len()).unwrap_or(u32::MAX);
                words(&[count.saturating_add(8), count]);
                into.extend_from_slice(data);
            }
        }
    }
}

impl fmt::Display for Request<'_> {
    /// As it is told in findings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.command().name();
        match self {
            Request::RegionRead(at) | Request::RegionWrite(at, _) => {
                write!(f, "{name} {}:{:#x}/{}", at.region, at.offset, at.count)
            }
            Request::DmaRead(at) | Request::DmaWrite(at, _) => {
                write!(f, "{name} of {} bytes at {:#x}", at.count, at.address)
            }
            Request::RegionInfo(index) | Request::IrqInfo(index) => write!(f, "{name} {index}"),
            Request::Feature { number, act, data } => {
                match Feature::numbered(*number) {
                    Some(feature) => write!(f, "{act} {}", feature.name())?,
                    None => write!(f, "{act} feature {number}")?,
                }
                match state(data) {
                    Ok(state) if (*number, *act) == (Feature::State as u16, Act::Set) => {
                        write!(f, " {state}")
                    }
                    _ => Ok(()),
                }
            }
            Request::StateRead(count) => write!(f, "{name} of {count} bytes"),
            Request::StateWrite(data) => write!(f, "{name} of {} bytes", data.len()),
            _ => f.write_str(name),
        }
    }
}
