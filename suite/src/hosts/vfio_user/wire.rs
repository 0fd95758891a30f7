//! The messages of vfio-user, 0.0 and 0.1, with those of migration: all that goes over the socket,
//! in one place, for client and server alike.
//!
//! Little endian. A header of 16 bytes (id, command, size with the header, flags, error) precedes
//! every message; a reply has the id and the command of what it answers.
//!
//! Whatever bytes come in, reading them gives a message or says what is wrong: no panic, no claim
//! believed, nothing reserved. A field counts, not the length of what it came in: a server may
//! send more bytes than it says are data.

use migcert_core::device::State;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes of the header.
pub const HEADER: usize = 16;
/// So many bytes of data are the most in a message, unless less is negotiated.
pub const MAX_DATA: u32 = 1 << 20;
/// No message is longer: the data, the header, and what stands between them.
pub const MAX_MESSAGE: u32 = MAX_DATA + 4096;

macro_rules! numbered {
    ($(#[$meta:meta])* $name:ident: $repr:ident { $($variant:ident = $number:literal $words:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr($repr)]
        pub enum $name {
            $(#[doc = $words] $variant = $number,)*
        }

        impl $name {
            /// All of them, by number.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// The name in the specification, without its prefix.
            pub const fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $words,)*
                }
            }

            fn numbered(number: $repr) -> Option<$name> {
                $name::ALL.iter().copied().find(|known| *known as $repr == number)
            }
        }
    };
}

numbered! {
    /// The commands. 11 and 12 are asked of the client by the server.
    Command: u16 {
        Version = 1 "VERSION",
        DmaMap = 2 "DMA_MAP",
        DmaUnmap = 3 "DMA_UNMAP",
        DeviceInfo = 4 "DEVICE_GET_INFO",
        RegionInfo = 5 "DEVICE_GET_REGION_INFO",
        IrqInfo = 7 "DEVICE_GET_IRQ_INFO",
        SetIrqs = 8 "DEVICE_SET_IRQS",
        RegionRead = 9 "REGION_READ",
        RegionWrite = 10 "REGION_WRITE",
        DmaRead = 11 "DMA_READ",
        DmaWrite = 12 "DMA_WRITE",
        Reset = 13 "DEVICE_RESET",
        Feature = 16 "DEVICE_FEATURE",
        StateRead = 17 "MIG_DATA_READ",
        StateWrite = 18 "MIG_DATA_WRITE",
    }
}

numbered! {
    /// The features of [`Command::Feature`] that concern migration, as `linux/vfio.h` numbers them.
    Feature: u16 {
        Migration = 1 "MIGRATION",
        State = 2 "MIG_DEVICE_STATE",
        LogStart = 6 "DMA_LOGGING_START",
        LogStop = 7 "DMA_LOGGING_STOP",
        LogReport = 8 "DMA_LOGGING_REPORT",
        DataSize = 9 "MIG_DATA_SIZE",
    }
}

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A number that must be another.
    #[error("{what} {is} instead of {should}")]
    Other {
        /// Which number.
        what: &'static str,
        /// What it is.
        is: u64,
        /// What it must be.
        should: u64,
    },
    /// Fewer bytes than the fields, or than a field claims.
    #[error("{what} cut short: {got} of {wanted} bytes")]
    Short {
        /// What was cut.
        what: &'static str,
        /// Bytes it needs.
        wanted: u64,
        /// Bytes there are.
        got: usize,
    },
    /// More than anybody may send.
    #[error("{what} of {is}, where {most} is the most")]
    TooMuch {
        /// What is too much.
        what: &'static str,
        /// How much.
        is: u64,
        /// The most.
        most: u64,
    },
    /// A number that means nothing.
    #[error("{what} {is}, which means nothing")]
    Unknown {
        /// Which number.
        what: &'static str,
        /// What it is.
        is: u64,
    },
    /// The version's capabilities are not what they must be.
    #[error("capabilities that can't be read: {0}")]
    Capabilities(String),
}

/// Takes fields off the front of bytes.
struct Fields<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn of(what: &'static str, rest: &'a [u8]) -> Fields<'a> {
        Fields { what, rest }
    }

    fn take(&mut self, claimed: u64) -> Result<&'a [u8], Malformed> {
        let short = Malformed::Short { what: self.what, wanted: claimed, got: self.rest.len() };
        let Ok(count) = usize::try_from(claimed) else { return Err(short) };
        let Some((head, rest)) = self.rest.split_at_checked(count) else { return Err(short) };
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }
}

/// What precedes every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The sender's; a reply has that of its command.
    pub id: u16,
    /// The number of the command; it may be none of ours.
    pub command: u16,
    /// Bytes of the message, this header among them.
    pub size: u32,
    /// What it is.
    pub kind: Kind,
}

/// Whether something is asked or answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is asked, and an answer is awaited.
    Command,
    /// It is asked, and no answer wanted.
    CommandWithoutReply,
    /// It was done.
    Reply,
    /// It was not done, for this reason of `errno.h`, if there is one.
    Failed(u32),
}

const REPLY: u32 = 1;
const NO_REPLY: u32 = 1 << 4;
const ERROR: u32 = 1 << 5;

impl Header {
    /// Reads a header. The size is checked against [`MAX_MESSAGE`].
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Header, Malformed> {
        let mut fields = Fields::of("a header", bytes);
        let (id, command, size) = (fields.u16()?, fields.u16()?, fields.u32()?);
        let (flags, error) = (fields.u32()?, fields.u32()?);
        if (size as usize) < HEADER {
            return Err(Malformed::Short { what: "a message", wanted: HEADER as u64, got: size as usize });
        }
        if MAX_MESSAGE < size {
            return Err(Malformed::TooMuch { what: "a message", is: size.into(), most: MAX_MESSAGE.into() });
        }
        let kind = match (flags & 0xf, flags & NO_REPLY != 0, flags & ERROR != 0) {
            (0, false, _) => Kind::Command,
            (0, true, _) => Kind::CommandWithoutReply,
            (REPLY, _, false) => Kind::Reply,
            (REPLY, _, true) => Kind::Failed(error),
            (other, ..) => return Err(Malformed::Unknown { what: "message type", is: other.into() }),
        };
        Ok(Header { id, command, size, kind })
    }

    fn bytes(self) -> [u8; HEADER] {
        let (flags, error) = match self.kind {
            Kind::Command => (0, 0),
            Kind::CommandWithoutReply => (NO_REPLY, 0),
            Kind::Reply => (REPLY, 0),
            Kind::Failed(error) => (REPLY | ERROR, error),
        };
        let mut bytes = [0; HEADER];
        bytes[0..2].copy_from_slice(&self.id.to_le_bytes());
        bytes[2..4].copy_from_slice(&self.command.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.size.to_le_bytes());
        bytes[8..12].copy_from_slice(&flags.to_le_bytes());
        bytes[12..16].copy_from_slice(&error.to_le_bytes());
        bytes
    }
}

/// Puts a whole message into a buffer that is used again and again.
pub fn message(into: &mut Vec<u8>, id: u16, command: u16, kind: Kind, payload: impl FnOnce(&mut Vec<u8>)) {
    into.clear();
    into.resize(HEADER, 0);
    payload(into);
    let size = u32::try_from(into.len()).unwrap_or(u32::MAX);
    into[..HEADER].copy_from_slice(&Header { id, command, size, kind }.bytes());
}

/// Protocol version and capabilities: what a client proposes, and what a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Equal on both sides.
    pub major: u16,
    /// At most what was proposed.
    pub minor: u16,
    /// What the sender can take.
    pub capabilities: Capabilities,
}

/// What the sender can take. What is unknown is ignored, what is absent has its default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// File descriptors in one message.
    pub max_msg_fds: u32,
    /// Bytes of data in one message.
    pub max_data_xfer_size: u64,
    /// DMA maps at one time.
    pub max_dma_maps: u64,
    /// Page sizes of DMA maps, or-ed together.
    pub pgsizes: u64,
    /// Our own: what a region can't say. Proposed by the client; a server that knows it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migcert: Option<Extension>,
}

impl Default for Capabilities {
    /// The specification's.
    fn default() -> Capabilities {
        Capabilities {
            max_msg_fds: 1,
            max_data_xfer_size: MAX_DATA.into(),
            max_dma_maps: 65535,
            pgsizes: 4096,
            migcert: None,
        }
    }
}

/// Our own capability.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// The number of the outside region, in an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outside: Option<u32>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct VersionData {
    capabilities: Capabilities,
}

impl Version {
    /// Reads version and capabilities, from either side.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(payload: &[u8]) -> Result<Version, Malformed> {
        let mut fields = Fields::of("VERSION", payload);
        let (major, minor) = (fields.u16()?, fields.u16()?);
        let json = fields.rest.split(|byte| *byte == 0).next().unwrap_or_default();
        let data = match json {
            [] => Ok(VersionData::default()),
            json => serde_json::from_slice(json),
        };
        let VersionData { capabilities } = data.map_err(|why| Malformed::Capabilities(why.to_string()))?;
        if capabilities.max_data_xfer_size == 0 {
            return Err(Malformed::Unknown { what: "max_data_xfer_size", is: 0 });
        }
        Ok(Version { major, minor, capabilities })
    }

    /// Appends it.
    pub fn put(&self, into: &mut Vec<u8>) {
        into.extend(self.major.to_le_bytes());
        into.extend(self.minor.to_le_bytes());
        let data = VersionData { capabilities: self.capabilities.clone() };
        into.extend(serde_json::to_vec(&data).unwrap_or_default());
        into.push(0);
    }
}

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

/// Bytes of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// From the start of the region.
    pub offset: u64,
    /// Region number.
    pub region: u32,
    /// How many.
    pub count: u32,
}

/// Bytes of guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// As the device sees it.
    pub address: u64,
    /// How many.
    pub count: u64,
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
                    Some(feature) => write!(f, "{act:?} {}", feature.name())?,
                    None => write!(f, "{act:?} feature {number}")?,
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

fn access(fields: &mut Fields<'_>) -> Result<Access, Malformed> {
    Ok(Access { offset: fields.u64()?, region: fields.u32()?, count: fields.u32()? })
}

fn put_access(into: &mut Vec<u8>, Access { offset, region, count }: Access) {
    into.extend(offset.to_le_bytes());
    into.extend(region.to_le_bytes());
    into.extend(count.to_le_bytes());
}

fn transfer(fields: &mut Fields<'_>) -> Result<Transfer, Malformed> {
    Ok(Transfer { address: fields.u64()?, count: fields.u64()? })
}

fn put_transfer(into: &mut Vec<u8>, Transfer { address, count }: Transfer) {
    into.extend(address.to_le_bytes());
    into.extend(count.to_le_bytes());
}

/// What is answered. Which of them it is, is known from what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// To all that has no other.
    Done,
    /// To [`Request::Version`].
    Version(Version),
    /// To [`Request::DeviceInfo`].
    DeviceInfo(DeviceInfo),
    /// To [`Request::RegionInfo`].
    RegionInfo(RegionInfo),
    /// To [`Request::IrqInfo`].
    IrqInfo(IrqInfo),
    /// To [`Request::RegionRead`].
    RegionRead(Access, &'a [u8]),
    /// To [`Request::RegionWrite`].
    RegionWrite(Access),
    /// To [`Request::DmaRead`].
    DmaRead(Transfer, &'a [u8]),
    /// To [`Request::DmaWrite`].
    DmaWrite(Transfer),
    /// To [`Request::Feature`]: number, flags as they were sent, data.
    Feature(u32, &'a [u8]),
    /// To [`Request::StateRead`]; nothing is the end.
    State(&'a [u8]),
}

/// What a device has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// `VFIO_DEVICE_FLAGS_*`.
    pub flags: u32,
    /// Regions are numbered from 0 to this.
    pub regions: u32,
    /// Types of interrupts are numbered from 0 to this.
    pub irqs: u32,
}

impl DeviceInfo {
    /// It can be reset.
    pub const RESET: u32 = 1;
    /// It is a PCI device: regions and interrupts have the numbers of `VFIO_PCI_*`.
    pub const PCI: u32 = 2;
}

/// What a region is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionInfo {
    /// `VFIO_REGION_INFO_FLAG_*`.
    pub flags: u32,
    /// Its number.
    pub index: u32,
    /// Bytes; a region of none is none.
    pub size: u64,
    /// Where it can be mapped, for those that can.
    pub offset: u64,
}

impl RegionInfo {
    /// It can be read.
    pub const READ: u32 = 1;
    /// It can be written.
    pub const WRITE: u32 = 2;
}

/// What a type of interrupts is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IrqInfo {
    /// `VFIO_IRQ_INFO_*`.
    pub flags: u32,
    /// Its number.
    pub index: u32,
    /// How many vectors.
    pub count: u32,
}

impl IrqInfo {
    /// It can be signalled by an eventfd.
    pub const EVENTFD: u32 = 1;
    /// It masks itself when it is raised.
    pub const AUTOMASKED: u32 = 4;
}

impl<'a> Reply<'a> {
    /// Reads what follows the header of a reply to a command.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(command: Command, payload: &'a [u8]) -> Result<Reply<'a>, Malformed> {
        let mut fields = Fields::of(command.name(), payload);
        Ok(match command {
            Command::Version => Reply::Version(Version::parse(payload)?),
            Command::DeviceInfo => {
                let _argsz = fields.u32()?;
                let (flags, regions, irqs) = (fields.u32()?, fields.u32()?, fields.u32()?);
                Reply::DeviceInfo(DeviceInfo { flags, regions, irqs })
            }
            Command::RegionInfo => {
                let _argsz = fields.u32()?;
                let (flags, index, _capabilities) = (fields.u32()?, fields.u32()?, fields.u32()?);
                let (size, offset) = (fields.u64()?, fields.u64()?);
                Reply::RegionInfo(RegionInfo { flags, index, size, offset })
            }
            Command::IrqInfo => {
                let _argsz = fields.u32()?;
                Reply::IrqInfo(IrqInfo { flags: fields.u32()?, index: fields.u32()?, count: fields.u32()? })
            }
            Command::RegionRead => {
                let access = access(&mut fields)?;
                Reply::RegionRead(access, fields.take(access.count.into())?)
            }
            Command::RegionWrite => Reply::RegionWrite(access(&mut fields)?),
            Command::DmaRead => {
                let transfer = transfer(&mut fields)?;
                Reply::DmaRead(transfer, fields.take(transfer.count)?)
            }
            Command::DmaWrite => Reply::DmaWrite(transfer(&mut fields)?),
            Command::Feature => {
                let (_argsz, flags) = (fields.u32()?, fields.u32()?);
                Reply::Feature(flags, fields.rest)
            }
            Command::StateRead => {
                let _argsz = fields.u32()?;
                let count = fields.u32()?;
                Reply::State(fields.take(count.into())?)
            }
            Command::DmaMap | Command::DmaUnmap | Command::SetIrqs | Command::Reset | Command::StateWrite => {
                Reply::Done
            }
        })
    }

    /// Appends what follows the header.
    pub fn put(&self, into: &mut Vec<u8>) {
        let mut words = |words: &[u32]| words.iter().for_each(|word| into.extend(word.to_le_bytes()));
        match *self {
            Reply::Done => {}
            Reply::Version(ref version) => version.put(into),
            Reply::DeviceInfo(DeviceInfo { flags, regions, irqs }) => words(&[16, flags, regions, irqs]),
            Reply::RegionInfo(RegionInfo { flags, index, size, offset }) => {
                words(&[32, flags, index, 0]);
                [size, offset].iter().for_each(|n| into.extend(n.to_le_bytes()));
            }
            Reply::IrqInfo(IrqInfo { flags, index, count }) => words(&[16, flags, index, count]),
            Reply::RegionRead(access, data) => {
                put_access(into, access);
                into.extend_from_slice(data);
            }
            Reply::RegionWrite(access) => put_access(into, access),
            Reply::DmaRead(transfer, data) => {
                put_transfer(into, transfer);
                into.extend_from_slice(data);
            }
            Reply::DmaWrite(transfer) => put_transfer(into, transfer),
            Reply::Feature(flags, data) => {
                words(&[8 + data.len() as u32, flags]);
                into.extend_from_slice(data);
            }
            Reply::State(data) => {
                let count = u32::try_from(data.len()).unwrap_or(u32::MAX);
                words(&[count.saturating_add(8), count]);
                into.extend_from_slice(data);
            }
        }
    }
}

/// The data of [`Feature::Migration`]: `VFIO_MIGRATION_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration(pub u64);

impl Migration {
    /// It can be saved; a device that can't, can't be migrated.
    pub const STOP_COPY: u64 = 1;
    /// It has the P2P states.
    pub const P2P: u64 = 2;
    /// It has the pre-copy states.
    pub const PRE_COPY: u64 = 4;

    /// Reads it.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(data: &[u8]) -> Result<Migration, Malformed> {
        Ok(Migration(Fields::of(Feature::Migration.name(), data).u64()?))
    }
}

/// Reads the data of [`Feature::State`]; the descriptor in it has no use here.
///
/// # Errors
/// [`Malformed`], also for a number that is no state.
pub fn state(data: &[u8]) -> Result<State, Malformed> {
    let number = Fields::of(Feature::State.name(), data).u32()?;
    let known = State::ALL.into_iter().find(|state| *state as u32 == number);
    known.ok_or(Malformed::Unknown { what: "device state", is: number.into() })
}

/// The data of [`Feature::State`] for a state.
pub fn state_data(state: State) -> [u8; 8] {
    const NO_FD: u32 = u32::MAX;
    let mut data = [0; 8];
    data[..4].copy_from_slice(&(state as u32).to_le_bytes());
    data[4..].copy_from_slice(&NO_FD.to_le_bytes());
    data
}

/// The names of the errors that servers answer with; any other is a number.
pub fn errno(error: u32) -> String {
    const NAMES: &[(u32, &str)] = &[
        (1, "EPERM"),
        (2, "ENOENT"),
        (5, "EIO"),
        (9, "EBADF"),
        (11, "EAGAIN"),
        (12, "ENOMEM"),
        (14, "EFAULT"),
        (16, "EBUSY"),
        (17, "EEXIST"),
        (19, "ENODEV"),
        (22, "EINVAL"),
        (25, "ENOTTY"),
        (28, "ENOSPC"),
        (34, "ERANGE"),
        (38, "ENOSYS"),
        (42, "ENOMSG"),
        (71, "EPROTO"),
        (74, "EBADMSG"),
        (75, "EOVERFLOW"),
        (95, "ENOTSUP"),
        (110, "ETIMEDOUT"),
    ];
    match (error, NAMES.iter().find(|row| row.0 == error)) {
        (0, _) => "an error without a number".to_owned(),
        (_, Some((_, name))) => (*name).to_owned(),
        (_, None) => format!("error {error}"),
    }
}

/// Reads any bytes as messages of either side, writes what was understood and reads it again:
/// that must give the same.
///
/// # Errors
/// What was first, and what came of it.
pub fn any_bytes(bytes: &[u8]) -> Result<(), Box<(String, String)>> {
    let differs = |first: String, second: String| Err(Box::new((first, second)));
    if let Ok(header) = Header::parse(bytes) {
        let again = Header::parse(&header.bytes());
        if again.as_ref() != Ok(&header) {
            return differs(format!("{header:?}"), format!("{again:?}"));
        }
    }
    let payload = bytes.get(HEADER..).unwrap_or(bytes);
    let mut written = Vec::new();
    for command in Command::ALL {
        if let Ok(request) = Request::parse(*command as u16, payload) {
            written.clear();
            request.put(&mut written);
            let again = Request::parse(*command as u16, &written);
            if again.as_ref() != Ok(&request) {
                return differs(format!("{request:?}"), format!("{again:?}"));
            }
        }
        if let Ok(reply) = Reply::parse(*command, payload) {
            written.clear();
            reply.put(&mut written);
            let again = Reply::parse(*command, &written);
            if again.as_ref() != Ok(&reply) {
                return differs(format!("{reply:?}"), format!("{again:?}"));
            }
        }
    }
    if let Ok(state) = state(payload) {
        let again = self::state(&state_data(state));
        if again != Ok(state) {
            return differs(format!("{state:?}"), format!("{again:?}"));
        }
    }
    Ok(())
}

/// The first eight bytes of a register's value, as the guest sees it.
pub fn value(data: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let count = data.len().min(8);
    bytes[..count].copy_from_slice(&data[..count]);
    u64::from_le_bytes(bytes)
}
