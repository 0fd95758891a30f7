//! PCI configuration space. What of it can be written is learned by observation, on an instance that
//! serves for nothing else; a machine carries that along when it moves, and puts it back when it was
//! reset, as VMMs and the kernel do.

use super::client::Client;
use super::interface::{CONFIG, Place};
use super::wire;
use migcert_core::device::Register;
use migcert_core::error::Error;
use std::io;

/// The standard space; what a device has beyond is read, not written.
const SIZE: u64 = 256;

/// Where the first capability is named, and whether there is one.
const POINTER: u64 = 0x34;
const STATUS: u64 = 0x06;
const HAS_CAPABILITIES: u32 = 1 << 4;
/// More capabilities than the space has room for.
const MOST_CAPABILITIES: usize = 48;
/// MSI and MSI-X, which are set up when all else is in place.
const MESSAGES: [u32; 2] = [0x05, 0x11];

/// Who brings configuration space along in a migration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConfigSpace {
    /// The machine, beside the device's state.
    #[default]
    Carrier,
    /// The device, in its state.
    Device,
}

/// What was learned of a configuration space.
#[derive(Default)]
pub(super) struct Learned {
    /// The words that do something when they are written, as registers.
    pub(super) registers: Vec<Register>,
    /// What of them keeps what is written, in the order in which it is put back.
    words: Vec<Word>,
    /// Whether the device shows all of it in one message.
    is_whole: bool,
}

/// Bits of a word that keep what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word {
    /// Where.
    offset: u64,
    /// Which; the others are left alone.
    kept: u32,
    /// What they are on a fresh device.
    fresh: u32,
}

/// A word in the bytes that a carrier takes along: its offset, and its bits.
const SAVED: usize = 1 + size_of::<u32>();

impl Learned {
    /// Writes to an instance and looks what comes of it.
    pub(super) fn of(client: &mut Client, size: u64, never: &[Place]) -> Learned {
        let mut learned = Learned::default();
        let is_never = |offset: u64, size: u64| never.iter().any(|place| place.touches(CONFIG, offset, size));
        let size = size.min(SIZE) & !3;
        let all = (!is_never(0, size)).then(|| whole(client, size)).flatten();
        for offset in (0..size).step_by(4) {
            if is_never(offset, 4) {
                continue;
            }
            let fresh = all.as_ref().map(|all| word(all, offset));
            let Ok(bits) = Bits::of(client, offset, fresh) else {
                // It broke: a guest that does the same will show it, where it can be told.
                learned.registers.push(register(offset, u32::MAX));
                break;
            };
            if bits.kept | bits.cleared != 0 {
                learned.registers.push(register(offset, bits.kept | bits.cleared));
            }
            if bits.kept != 0 {
                learned.words.push(Word { offset, kept: bits.kept, fresh: bits.fresh & bits.kept });
            }
        }
        learned.is_whole = all.is_some();
        let messages = messages(client, all.as_deref()).unwrap_or_default();
        learned.words.sort_by_key(|word| order(word.offset, &messages));
        learned
    }

    /// How many bytes a carrier takes along.
    pub(super) fn len(&self) -> usize {
        self.words.len() * SAVED
    }

    /// What a carrier takes along.
    ///
    /// # Errors
    /// A word that the device does not show; a device that breaks, or does not answer.
    pub(super) fn save(&self, client: &mut Client) -> Result<Vec<u8>, Error> {
        let end = self.words.iter().map(|word| word.offset + 4).max().unwrap_or_default();
        let all = self.is_whole.then(|| whole(client, end)).flatten();
        let mut bytes = Vec::with_capacity(self.len());
        for Word { offset, kept, .. } in &self.words {
            let now = match &all {
                Some(all) => word(all, *offset),
                None => wire::value(client.read(CONFIG, *offset, 4)?) as u32,
            };
            bytes.push(*offset as u8);
            bytes.extend((now & kept).to_le_bytes());
        }
        Ok(bytes)
    }

    /// Puts back what [`Learned::save`] gave, also that of a device that keeps other bits.
    ///
    /// # Errors
    /// Bytes that are none of it; a device that breaks, or does not answer.
    pub(super) fn restore(&self, client: &mut Client, saved: &[u8]) -> Result<(), Error> {
        let (saved, rest) = saved.as_chunks::<SAVED>();
        if !rest.is_empty() {
            let what = "not the configuration space of a guest of this host";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what).into());
        }
        for &[offset, a, b, c, d] in saved {
            let offset = u64::from(offset);
            let kept =
                self.words.iter().find(|word| word.offset == offset).map_or(u32::MAX, |word| word.kept);
            put(client, offset, kept, u32::from_le_bytes([a, b, c, d]))?;
        }
        Ok(())
    }

    /// Puts back what a fresh device has, as a machine does that resets it.
    ///
    /// # Errors
    /// A device that breaks, or does not answer.
    pub(super) fn refresh(&self, client: &mut Client) -> Result<(), Error> {
        self.words.iter().try_for_each(|word| put(client, word.offset, word.kept, word.fresh))
    }
}

/// What is put back first: capabilities, then the header from its end, base addresses before the command
/// that enables them; messages at the very end.
fn order(offset: u64, messages: &[u64]) -> (u8, u64) {
    const HEADER: u64 = 0x40;
    // MSI with all its fields has 24 bytes, MSI-X 12; their words stand together.
    let is_message = messages.iter().any(|at| (*at..*at + 24).contains(&offset));
    match offset {
        _ if is_message => (2, SIZE - offset),
        HEADER.. => (0, offset),
        _ => (1, HEADER - offset),
    }
}

/// Where the capabilities for messages are. A list without an end is left at some place.
fn messages(client: &mut Client, all: Option<&[u8]>) -> Result<Vec<u64>, Error> {
    let mut found = Vec::new();
    let mut read = |offset: u64| match all {
        Some(all) if offset as usize + 4 <= all.len() => Ok(Some(word(all, offset))),
        _ => read(client, offset),
    };
    let status = read(STATUS & !3)?.unwrap_or_default() >> 16;
    if status & HAS_CAPABILITIES == 0 {
        return Ok(found);
    }
    let mut at = u64::from(read(POINTER)?.unwrap_or_default() & 0xfc);
    for _ in 0..MOST_CAPABILITIES {
        if at < POINTER {
            break;
        }
        let head = read(at)?.unwrap_or_default();
        if MESSAGES.contains(&(head & 0xff)) {
            found.push(at);
        }
        at = u64::from(head >> 8 & 0xfc);
    }
    Ok(found)
}

fn register(offset: u64, bits: u32) -> Register {
    Register {
        name: "CONFIG".into(),
        region: CONFIG,
        offset,
        size: 4,
        count: 1,
        stride: 4,
        writable: true,
        max: bits.into(),
    }
}

/// What becomes of the bits of a word when it is written.
struct Bits {
    fresh: u32,
    /// Bits that are what was written.
    kept: u32,
    /// Bits that a written one clears.
    cleared: u32,
}

impl Bits {
    /// In as few messages as tell it, from a word of this value, where that is known.
    fn of(client: &mut Client, offset: u64, fresh: Option<u32>) -> Result<Bits, Error> {
        let fresh = match fresh {
            Some(fresh) => fresh,
            None => read(client, offset)?.unwrap_or_default(),
        };
        write(client, offset, &u32::MAX.to_le_bytes())?;
        let ones = read(client, offset)?.unwrap_or_default();
        let cleared = fresh & !ones;
        if ones == 0 {
            // Nothing keeps a one; and where nothing was one, nothing has to be put back.
            if fresh != 0 {
                write(client, offset, &fresh.to_le_bytes())?;
            }
            return Ok(Bits { fresh, kept: 0, cleared });
        }
        write(client, offset, &0_u32.to_le_bytes())?;
        let zeros = read(client, offset)?.unwrap_or_default();
        if zeros != fresh {
            write(client, offset, &fresh.to_le_bytes())?;
        }
        Ok(Bits { fresh, kept: ones & !zeros, cleared })
    }
}

/// The first `size` bytes in one message, as VMMs read them; `None` where that is refused, or is
/// more than goes into a message.
fn whole(client: &mut Client, size: u64) -> Option<Vec<u8>> {
    let size = u32::try_from(size).ok().filter(|size| *size <= client.most)?;
    client.read(CONFIG, 0, size).ok().map(<[u8]>::to_vec)
}

/// The word at an offset; zeros beyond the end.
fn word(all: &[u8], offset: u64) -> u32 {
    let bytes = usize::try_from(offset).ok().and_then(|at| all.get(at..)?.first_chunk());
    bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// Reads a word; `None` where that is refused.
fn read(client: &mut Client, offset: u64) -> Result<Option<u32>, Error> {
    match client.read(CONFIG, offset, 4) {
        Ok(data) => Ok(Some(wire::value(data) as u32)),
        Err(Error::Refused(_)) => Ok(None),
        Err(why) => Err(why),
    }
}

/// Writes the half of a word, or the whole, in which there are bits that keep it. Bits that a one
/// clears stay as they are.
fn put(client: &mut Client, offset: u64, kept: u32, bits: u32) -> Result<(), Error> {
    let bytes = (bits & kept).to_le_bytes();
    match (kept >> 16, kept & 0xffff) {
        (0, _) => write(client, offset, &bytes[..2]),
        (_, 0) => write(client, offset + 2, &bytes[2..]),
        _ => write(client, offset, &bytes),
    }
}

fn write(client: &mut Client, offset: u64, bytes: &[u8]) -> Result<(), Error> {
    match client.write(CONFIG, offset, bytes) {
        Err(Error::Refused(_)) => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_comes_after_what_it_enables_and_messages_last() {
        let mut offsets = [0x04, 0x10, 0x24, 0x3c, 0x50, 0x54, 0x70, 0x80];
        offsets.sort_by_key(|offset| order(*offset, &[0x50]));
        assert_eq!(offsets, [0x70, 0x80, 0x3c, 0x24, 0x10, 0x04, 0x54, 0x50]);
    }
}
