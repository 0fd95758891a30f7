//! Draws damage.

use crate::damage::{Among, Damage};
use crate::draw::list;
use arbitrary::Unstructured;

impl Damage {
    /// Draws accidental damage.
    pub fn draw(u: &mut Unstructured<'_>) -> arbitrary::Result<Damage> {
        let at = place(u)?;
        Ok(match u.int_in_range(0..=7u8)? {
            0 => Damage::Cut(at),
            1 => Damage::Extend(some_bytes(u)?),
            2 => Damage::Flip { at, bit: u.int_in_range(0..=7)? },
            3 => Damage::Set { at, bytes: some_bytes(u)? },
            4 => Damage::Splice(at),
            5 => Damage::Repeat { at, len: u.int_in_range(1..=64)? },
            6 => Damage::Swap { at, len: u.int_in_range(1..=64)? },
            _ => Damage::Foreign(some_bytes(u)?),
        })
    }

    /// Draws a forgery: mostly a small number, or all ones.
    pub fn forge(u: &mut Unstructured<'_>) -> arbitrary::Result<Damage> {
        if u.ratio(1, 16)? {
            let by = *u.choose(&[-1, 1, 8, -8, 64, -64])?;
            return Ok(Damage::Stretch { section: u.int_in_range(0..=15)?, by });
        }
        let width = *u.choose(&[1, 1, 2, 4])?;
        let number = match u.int_in_range(0..=3u8)? {
            0 => u.int_in_range(0..=32)?,
            1 => u32::MAX,
            2 => 1 << u.int_in_range(0..=31)?,
            _ => u.arbitrary()?,
        };
        let bytes = number.to_le_bytes()[..width].to_vec();
        let among = match u.int_in_range(0..=3u8)? {
            0 => Among::All,
            1..3 => Among::Used,
            _ => Among::Section(u.int_in_range(0..=15)?),
        };
        let at = if u.ratio(1, 2)? { u.int_in_range(0..=15)? } else { u.int_in_range(0..=1023)? };
        Ok(Damage::Forge { among, at, bytes })
    }
}

/// Mostly near the beginning: there are headers, lengths and registers.
fn place(u: &mut Unstructured<'_>) -> arbitrary::Result<u32> {
    Ok(match u.int_in_range(0..=3u8)? {
        0 => u.int_in_range(0..=63)?,
        1 => u.int_in_range(0..=255)?,
        2 => u.int_in_range(0..=1023)?,
        _ => u.arbitrary()?,
    })
}

/// Bytes that lengths and counts are made of: small numbers, and all ones.
fn some_bytes(u: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
    let mut bytes = vec![u.arbitrary()?];
    bytes.extend(list(u, 31, |u| {
        Ok(match u.int_in_range(0..=3u8)? {
            0 => 0,
            1 => 0xff,
            _ => u.arbitrary()?,
        })
    })?);
    Ok(bytes)
}
