//! The state of a timer as bytes.

use super::{INTERRUPTS, PERIODIC, Timer};
use migcert_core::envelope::BadState;

/// No state is longer.
pub(crate) const MOST: usize = 64;

fn head(periodic: bool) -> &'static [u8] {
    if periodic { b"timer/1 periodic=true\n" } else { b"timer/1\n" }
}

pub(crate) fn save(periodic: bool, timer: Timer) -> Vec<u8> {
    let Timer { load, count, control, status } = timer;
    let mut bytes = head(periodic).to_vec();
    bytes.extend([load, count, control, status].into_iter().flat_map(u32::to_le_bytes));
    let sum = sum(&bytes);
    bytes.extend(sum);
    bytes
}

pub(crate) fn load(periodic: bool, bytes: &[u8]) -> Result<Timer, BadState> {
    let refused = |why: &str| BadState::ByDevice(why.to_owned());
    let words = bytes.strip_prefix(head(periodic)).ok_or_else(|| refused("it is of another setup"))?;
    let (words, end) = words.as_chunks::<4>();
    let &[load, count, control, status, its_sum] = words else {
        return Err(refused("it has another length"));
    };
    if !end.is_empty() || its_sum != sum(&bytes[..bytes.len() - 4]) {
        return Err(refused("it is damaged"));
    }
    let [load, count, control, status] = [load, count, control, status].map(u32::from_le_bytes);
    let allowed = if periodic { INTERRUPTS | PERIODIC } else { INTERRUPTS };
    if load < count || control & !allowed != 0 || 1 < status {
        return Err(refused("no timer can be in this state"));
    }
    Ok(Timer { load, count, control, status })
}

/// CRC-32: every change of up to four bytes in a row is noticed.
fn sum(bytes: &[u8]) -> [u8; 4] {
    let bit = |crc: u32| if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0xedb8_8320 };
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| bit(crc));
    (!bytes.iter().fold(!0, byte)).to_le_bytes()
}
