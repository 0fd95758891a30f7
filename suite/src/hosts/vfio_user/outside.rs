//! The outside region: what happens to a device that no register of it does.
//!
//! A packet arrives, time passes, a packet leaves: steps of a script for which vfio-user has no
//! message. A server that answers VERSION with a capability of our own, `{"migcert": {"outside": N}}`,
//! has one more region, N; it is not asked for that. This is the layout of the region:
//!
//! | at | is | |
//! |---|---|---|
//! | 0 | written | a step in the notation of case files: `pass 3`, `receive 00ff` |
//! | 0 | read | takes what was to be seen outside since it was read last: its length in 4 bytes, then JSON |
//! | 4 | read | once more what was taken, from its beginning |
//! | 0x800_0000 | read | takes the same without the length, in an answer that is as long as that; with `whole` only |
//! | 0x1000_0000 | read | the registers of the device: the length in 4 bytes, then JSON |
//!
//! Bytes after the end of what is read are 0. What is seen is a list of `{"bytes": HEX}`,
//! `{"memory": {"address": N, "bytes": HEX}}` and `{"words": TEXT}`, and nothing at all where nothing
//! was seen; interrupts come as interrupts do. A server that also answers `"whole": true` shows
//! interrupts for which it was given no eventfd here, too, as `{"interrupt": VECTOR}`.
//! Steps are also taken while the device is stopped: then `pass` must do nothing. A
//! register is `{"name", "region", "offset", "size", "count", "stride", "writable", "max"}`.

use migcert_core::device::{Register, Sight};
use serde::{Deserialize, Serialize};

/// Where all that was seen is taken at once, by servers that can do that.
pub(super) const WHOLE: u64 = 0x800_0000;
/// Where the description is.
pub(super) const DESCRIPTION: u64 = 0x1000_0000;
/// Bytes of the region.
pub(super) const SIZE: u64 = 0x2000_0000;
/// Bytes of the length.
pub(super) const LENGTH: usize = 4;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Shown {
    Bytes(String),
    Memory { address: u64, bytes: String },
    Words(String),
    Interrupt(u32),
}

/// What is to be seen outside, as it is read; `None` for nothing. Values and errors go other ways.
pub(super) fn show(sights: &[Sight]) -> Option<Vec<u8>> {
    let shown = sights.iter().filter_map(|sight| match sight {
        Sight::Bytes(bytes) => Some(Shown::Bytes(hex::encode(bytes))),
        Sight::Memory { address, bytes } => {
            Some(Shown::Memory { address: *address, bytes: hex::encode(bytes) })
        }
        Sight::Words(words) => Some(Shown::Words(words.clone())),
        Sight::Interrupt(vector) => Some(Shown::Interrupt(*vector)),
        Sight::Value(_) | Sight::Refused { .. } | Sight::Volatile => None,
    });
    let shown: Vec<Shown> = shown.collect();
    if shown.is_empty() { None } else { serde_json::to_vec(&shown).ok() }
}

/// Reads what [`show`] wrote.
///
/// # Errors
/// What is wrong with it.
pub(super) fn see(json: &[u8]) -> Result<Vec<Sight>, String> {
    if json.is_empty() {
        return Ok(vec![]);
    }
    let shown: Vec<Shown> = serde_json::from_slice(json).map_err(|why| why.to_string())?;
    let bytes = |digits: String| hex::decode(digits).map_err(|why| why.to_string());
    let sight = |shown| {
        Ok(match shown {
            Shown::Bytes(digits) => Sight::Bytes(bytes(digits)?),
            Shown::Memory { address, bytes: digits } => Sight::Memory { address, bytes: bytes(digits)? },
            Shown::Words(words) => Sight::Words(words),
            Shown::Interrupt(vector) => Sight::Interrupt(vector),
        })
    };
    shown.into_iter().map(sight).collect()
}

#[derive(Serialize, Deserialize)]
struct Described {
    name: String,
    region: u32,
    offset: u64,
    size: u8,
    count: u32,
    stride: u32,
    writable: bool,
    max: u64,
}

/// The description of registers.
pub(super) fn describe(registers: &[Register]) -> Vec<u8> {
    let described = registers.iter().map(|register| Described {
        name: register.name.clone().into_owned(),
        region: register.region,
        offset: register.offset,
        size: register.size,
        count: register.count,
        stride: register.stride,
        writable: register.writable,
        max: register.max,
    });
    serde_json::to_vec(&described.collect::<Vec<_>>()).unwrap_or_default()
}

/// Reads what [`describe`] wrote.
///
/// # Errors
/// What is wrong with it.
pub(super) fn registers(json: &[u8]) -> Result<Vec<Register>, String> {
    let described: Vec<Described> = serde_json::from_slice(json).map_err(|why| why.to_string())?;
    let register = |Described { name, region, offset, size, count, stride, writable, max }| {
        let end = u64::from(count).checked_mul(stride.into()).and_then(|bytes| bytes.checked_add(offset));
        let is_sane = matches!(size, 1 | 2 | 4 | 8) && count != 0 && stride != 0 && end.is_some();
        match is_sane {
            true => Ok(Register { name: name.into(), region, offset, size, count, stride, writable, max }),
            false => Err(format!("the register `{name}` can't be")),
        }
    };
    described.into_iter().map(register).collect()
}

/// What is read at an offset of something with its length in front: zeros after its end.
pub(super) fn window(content: &[u8], offset: u64, count: u32) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes();
    let all = length.iter().chain(content).copied().chain(std::iter::repeat(0));
    all.skip(usize::try_from(offset).unwrap_or(usize::MAX)).take(count as usize).collect()
}
