//! What is answered.

use super::version::Version;
use super::{Access, Command, Fields, Malformed, Transfer, access, put_access, put_transfer, transfer};

/// What is answered. Which of them it is, is known from what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// To all that has no other.
    Done,
    /// To [`Command::Version`].
    Version(Version),
    /// To [`Command::DeviceInfo`].
    DeviceInfo(DeviceInfo),
    /// To [`Command::RegionInfo`].
    RegionInfo(RegionInfo),
    /// To [`Command::IrqInfo`].
    IrqInfo(IrqInfo),
    /// To [`Command::RegionRead`].
    RegionRead(Access, &'a [u8]),
    /// To [`Command::RegionWrite`].
    RegionWrite(Access),
    /// To [`Command::DmaRead`].
    DmaRead(Transfer, &'a [u8]),
    /// To [`Command::DmaWrite`].
    DmaWrite(Transfer),
    /// To [`Command::Feature`]: number, flags as they were sent, data.
    Feature(u32, &'a [u8]),
    /// To [`Command::StateRead`]; nothing is the end.
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
