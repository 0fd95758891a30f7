//! The hardware interface: what a guest can do to a device, and what it sees.

use crate::error::{Aside, Errno};
use crate::text::Short;
use crc_fast::CrcAlgorithm;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

/// The hardware interface, as far as a guest driver needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interface {
    /// Registers, and things that happen outside; driven by [`Step::Read`] and its like.
    Registers(Arc<[Register]>),
    /// Requests of a protocol, driven by [`Step::Request`]; the guest driver of that name
    /// knows their words.
    Requests(&'static str),
    /// What a device shows that says nothing of its registers.
    Windows(Arc<Windows>),
}

impl Interface {
    /// Whether a guest reads and writes registers, named or not: what it does changes the device
    /// and nothing else.
    pub fn has_registers(&self) -> bool {
        matches!(self, Interface::Registers(_) | Interface::Windows(_))
    }

    /// Whether a step is about what the machine brings along beside the device's state.
    pub fn is_carried(&self, step: &Step) -> bool {
        let (Interface::Windows(windows), Step::Read { region, .. } | Step::Write { region, .. }) =
            (self, step)
        else {
            return false;
        };
        *region == GUEST_MEMORY || windows.carried == Some(*region)
    }
}

/// The hardware interface of a device of which only regions are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    /// Its regions, as windows of accesses of each size; they may overlap.
    pub windows: Arc<[Register]>,
    /// Addresses of guest memory that the device may be told of. [`GUEST_MEMORY`] is its region
    /// number, in which offsets are addresses.
    pub memory: Range<u64>,
    /// Names of scripts, each a [`Step::Request`].
    pub scripts: Vec<String>,
    /// How many interrupt vectors the device offers, of the type that its guest uses.
    pub interrupts: u32,
    /// The region of PCI configuration space, whoever brings it along.
    pub config: Option<u32>,
    /// The region that the machine brings along: PCI configuration space. What a guest does
    /// there, and finds again, says nothing of the device's state.
    pub carried: Option<u32>,
}

/// The region number under which a guest reads and writes its own memory. No device is asked.
pub const GUEST_MEMORY: u32 = u32::MAX;

/// One register, or one window of several, of the hardware interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// What the data sheet calls it.
    pub name: Cow<'static, str>,
    /// Region number.
    pub region: u32,
    /// Bytes from the start of the region.
    pub offset: u64,
    /// Bytes per access: 1, 2, 4 or 8.
    pub size: u8,
    /// How often the register repeats.
    pub count: u32,
    /// Bytes from one of them to the next.
    pub stride: u32,
    /// Whether the guest driver may write it.
    pub writable: bool,
    /// The largest value that a sane driver writes, and that any history can make it show.
    pub max: u64,
}

/// One thing that the guest, or the world outside the device, does.
///
/// Guest drivers make steps and tell them in words; rules only pass them on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Step {
    /// The guest reads a register.
    Read {
        /// Region number.
        region: u32,
        /// Bytes from the start of the region.
        offset: u64,
        /// 1, 2, 4 or 8 bytes.
        size: u8,
    },
    /// The guest writes a register.
    Write {
        /// Region number.
        region: u32,
        /// Bytes from the start of the region.
        offset: u64,
        /// 1, 2, 4 or 8 bytes.
        size: u8,
        /// What it writes.
        value: u64,
    },
    /// Something arrives from outside: a packet, a character.
    Receive(Vec<u8>),
    /// Time passes: the device may do so many units of its own work.
    Pass(u32),
    /// A request of a protocol, in the words of its guest driver.
    Request(String),
}

impl fmt::Display for Step {
    /// The notation of case files: `write 0:0x10/4=0x5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Read { region, offset, size } => write!(f, "read {region}:{offset:#x}/{size}"),
            Step::Write { region, offset, size, value } => {
                write!(f, "write {region}:{offset:#x}/{size}={value:#x}")
            }
            Step::Receive(bytes) => write!(f, "receive {}", hex::encode(bytes)),
            Step::Pass(units) => write!(f, "pass {units}"),
            Step::Request(words) => write!(f, "request {words}"),
        }
    }
}

impl FromStr for Step {
    type Err = BadStep;
    fn from_str(text: &str) -> Result<Step, BadStep> {
        let bad = || BadStep(text.to_owned());
        let number = |word: &str| {
            let (digits, radix) = word.strip_prefix("0x").map_or((word, 10), |hex| (hex, 16));
            let is_plain = digits.chars().all(|c| c.is_digit(radix));
            u64::from_str_radix(digits, radix).ok().filter(|_| is_plain).ok_or_else(bad)
        };
        let place = |words: &str| {
            let (region, rest) = words.split_once(':').ok_or_else(bad)?;
            let (offset, size) = rest.split_once('/').ok_or_else(bad)?;
            let size = size.parse().ok().filter(|size| matches!(size, 1 | 2 | 4 | 8)).ok_or_else(bad)?;
            Ok((region.parse().map_err(|_| bad())?, number(offset)?, size))
        };
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        Ok(match verb {
            "read" => {
                let (region, offset, size) = place(rest)?;
                Step::Read { region, offset, size }
            }
            "write" => {
                let (at, value) = rest.split_once('=').ok_or_else(bad)?;
                let (region, offset, size) = place(at)?;
                Step::Write { region, offset, size, value: number(value)? }
            }
            "receive" => Step::Receive(hex::decode(rest).map_err(|_| bad())?),
            "pass" => Step::Pass(rest.parse().map_err(|_| bad())?),
            "request" => Step::Request(rest.to_owned()),
            _ => return Err(bad()),
        })
    }
}

/// Text that is no step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is no step; written are `read 0:0x10/4`, `write 0:0x10/4=0x5`, `receive 00ff`, `pass 3`, `request WORDS`",
    Short(.0)
)]
pub struct BadStep(String);

/// Everything that a step let the guest, or the world outside, see, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen(pub Vec<Sight>);

impl Seen {
    /// What the device program printed when it answered with an error.
    pub fn words(&self) -> Aside {
        let lines = self.0.iter().filter_map(|sight| match sight {
            Sight::Refused { words, .. } => Some(words.lines()),
            _ => None,
        });
        Aside::of(lines.flatten().cloned())
    }
}

/// One thing seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// The value that a read gave.
    Value(u64),
    /// An interrupt on this vector.
    Interrupt(u32),
    /// Bytes that left the device, or that it wrote to memory.
    Bytes(Vec<u8>),
    /// The access was answered with an error.
    Refused {
        /// Which.
        errno: Errno,
        /// What the device program printed meanwhile. No guest sees it, and it is not compared.
        words: Aside,
    },
    /// A value that is read and not compared.
    Volatile,
    /// Bytes that the device wrote to guest memory, where the host shows which and where.
    Memory {
        /// Where, in the addresses of [`GUEST_MEMORY`].
        address: u64,
        /// What is there now.
        bytes: Vec<u8>,
    },
    /// A reply, in the words of the guest driver.
    Words(String),
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        for (i, sight) in self.0.iter().enumerate() {
            write!(f, "{}{sight}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sight::Value(value) => write!(f, "{value:#x}"),
            Sight::Interrupt(vector) => write!(f, "interrupt {vector}"),
            Sight::Bytes(bytes) => write!(f, "bytes {}", hex::encode(bytes)),
            Sight::Refused { errno, .. } => write!(f, "refused: {errno}"),
            Sight::Volatile => f.write_str("volatile"),
            Sight::Memory { address, bytes } => {
                const SHORT: usize = 64;
                let head = bytes.get(..SHORT).unwrap_or(bytes);
                write!(f, "memory {address:#x}: {}", hex::encode(head))?;
                if head.len() == bytes.len() {
                    return Ok(());
                }
                let sum = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes);
                write!(f, "... {} bytes, CRC-32C {sum:08x}", bytes.len())
            }
            Sight::Words(words) => f.write_str(words),
        }
    }
}
