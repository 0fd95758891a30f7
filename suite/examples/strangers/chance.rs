//! Chance, from the keys that the standard library draws for each new hasher.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

pub(crate) fn bytes() -> [u8; 8] {
    RandomState::new().build_hasher().finish().to_ne_bytes()
}

pub(crate) fn word() -> u32 {
    u64::from_ne_bytes(bytes()) as u32
}

pub(crate) fn below(most: u32) -> u32 {
    word() % most
}

/// 1 to 5 ms, and 30 ms one time of eight.
pub(crate) fn delay() -> Duration {
    Duration::from_millis(if below(8) == 0 { 30 } else { (1 + below(5)).into() })
}
