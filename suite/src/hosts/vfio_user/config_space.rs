//! PCI configuration space, learned by observation on an instance that serves for nothing else:
//! which bits follow what is written, and which are cleared by writing one.

use super::client::Client;
use super::interface::{CONFIG, Place};
use migcert_core::device::Register;
use migcert_core::error::Error;

/// The standard space; what a device has beyond is read, not written.
const SIZE: u64 = 256;

/// The words that do something when they are written, as registers.
pub(super) fn learn(client: &mut Client, size: u64, never: &[Place]) -> Vec<Register> {
    let mut learned = Vec::new();
    for offset in (0..size.min(SIZE) & !3).step_by(4) {
        if never.iter().any(|place| place.touches(CONFIG, offset, 4)) {
            continue;
        }
        let Ok(bits) = bits(client, offset) else {
            // It broke: a guest that does the same will show it, where it can be told.
            learned.push(register(offset, u32::MAX));
            break;
        };
        if bits != 0 {
            learned.push(register(offset, bits));
        }
    }
    learned
}

fn register(offset: u64, bits: u32) -> Register {
    Register {
        name: format!("CONFIG.{offset:#04x}").into(),
        region: CONFIG,
        offset,
        size: 4,
        count: 1,
        stride: 4,
        writable: true,
        max: bits.into(),
    }
}

/// The bits of a word that can be written or cleared.
fn bits(client: &mut Client, offset: u64) -> Result<u32, Error> {
    let before = read(client, offset)?;
    write(client, offset, u32::MAX)?;
    let ones = read(client, offset)?;
    write(client, offset, 0)?;
    let zeros = read(client, offset)?;
    write(client, offset, before)?;
    let follows = ones & !zeros;
    let cleared_by_one = before & !ones;
    Ok(follows | cleared_by_one)
}

/// What is refused reads as nothing.
fn read(client: &mut Client, offset: u64) -> Result<u32, Error> {
    match client.read(CONFIG, offset, 4) {
        Ok(data) => Ok(super::wire::value(data) as u32),
        Err(Error::Refused(_)) => Ok(0),
        Err(why) => Err(why),
    }
}

fn write(client: &mut Client, offset: u64, value: u32) -> Result<(), Error> {
    match client.write(CONFIG, offset, &value.to_le_bytes()) {
        Err(Error::Refused(_)) => Ok(()),
        written => written,
    }
}
