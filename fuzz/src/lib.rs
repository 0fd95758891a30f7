//! What targets whose inputs are cases have in common.

use migcert::mutate::{cross, mutate};
use migcert::oracle::Target;

/// A change may come to nothing; then so many others are tried.
const TRIES: u32 = 8;

/// Changes the case at the beginning of `data`, and says how long it is now.
pub fn mutated(target: &str, data: &mut [u8], size: usize, max: usize, seed: u32) -> usize {
    let Some(target) = Target::named(target) else { return size };
    mutated_for(target, data, size, max, seed)
}

/// The same for any target, also one that is no fuzz target.
pub fn mutated_for(target: &Target, data: &mut [u8], size: usize, max: usize, seed: u32) -> usize {
    let tries = 0..TRIES;
    let new = tries.map(|i| mutate(target, &data[..size], max, seed.wrapping_add(i))).find_map(|new| new);
    new.map_or(size.min(max), |new| put(&new, data))
}

/// Writes a case made of two, and says how long it is: 0 where there is none.
pub fn crossed(target: &str, one: &[u8], other: &[u8], out: &mut [u8], seed: u32) -> usize {
    let new = Target::named(target).and_then(|target| cross(target, one, other, out.len(), seed));
    new.map_or(0, |new| put(&new, out))
}

fn put(new: &[u8], into: &mut [u8]) -> usize {
    into[..new.len()].copy_from_slice(new);
    new.len()
}
