//! Scripts that are not left to chance: they write to all that is likely to be a register, so that a
//! device that loses one of them is found with its first cases.

use super::Windows;
use super::region::{Place, Region};
use migcert_core::device::Step;

/// So many words are written of each region, and fewer where there are many regions.
const WORDS: u64 = 32;
const FEWEST: u64 = 8;
const ALL_WORDS: u64 = 64;
/// So many bytes in places of other sizes.
const BYTES: u64 = 64;
const ALL_BYTES: u64 = 96;
/// So many words at each place where a block begins.
const OF_BLOCK: u64 = 2;
/// A register may be the index of what is behind the next one: sizes, so many of them in all regions,
/// and so many indices.
const PAIRS: [(u8, u64, u64); 3] = [(4, 12, 3), (2, 8, 2), (1, 8, 2)];

/// The script of a number; none for most numbers. Each has other values for another `salt`.
pub(super) fn script(guest: &Windows, number: u32, salt: u64) -> Vec<Step> {
    let regions = || guest.regions.iter().filter(|region| region.is_writable());
    let count = regions().count().max(1) as u64;
    let share = |all: u64, most: u64| (all / count).clamp(FEWEST, most);
    let steps = match number {
        1 => regions().flat_map(|region| words(region, share(ALL_WORDS, WORDS))).collect(),
        2 => regions().flat_map(|region| other_sizes(region, share(ALL_BYTES, BYTES))).collect(),
        3 => return regions().flat_map(|region| pairs(region, count, salt)).collect(),
        _ => Vec::new(),
    };
    steps.into_iter().enumerate().map(|(at, place)| place.write(mixed(salt, at as u64))).collect()
}

/// The first words, and some further away.
fn words(region: &Region, most: u64) -> Vec<Place> {
    let usual = region.usual();
    let mut places: Vec<Place> = region.first(usual, most).collect();
    let end = places.last().map_or(0, |place| place.offset);
    let blocks = region.blocks().filter(|at| end < *at);
    places.extend(blocks.flat_map(|at| {
        (0..OF_BLOCK).filter_map(move |index| region.at(usual, at + index * u64::from(usual)))
    }));
    places
}

/// The same from the end to the beginning, where what one write does another one before it can't undo;
/// and then in other sizes.
fn other_sizes(region: &Region, bytes: u64) -> Vec<Place> {
    let usual = region.usual();
    let mut places = words(region, bytes / u64::from(usual) / 2);
    places.reverse();
    for size in [8, 2, 1].into_iter().filter(|size| *size != usual) {
        places.extend(region.first(size, bytes / u64::from(size).min(2)));
        places.extend(region.blocks().filter_map(|at| region.at(size, at)));
    }
    places
}

/// Small values, each before a write to the next place.
fn pairs(region: &Region, regions: u64, salt: u64) -> Vec<Step> {
    let mut steps = Vec::new();
    for (size, all, indices) in PAIRS {
        let places: Vec<Place> = region.first(size, (all / regions).max(FEWEST / 2)).collect();
        for (pair, at) in places.windows(2).zip(1..) {
            for index in 0..indices {
                let random = mixed(salt, at * indices + index);
                // Which there are is not known: the low ones, and in another rule's case others.
                steps.extend([pair[0].write(random >> 60 & ((4 << index) - 1)), pair[1].write(random)]);
            }
        }
    }
    steps
}

/// Bits that have nothing to do with each other, in all bytes (splitmix64).
fn mixed(salt: u64, at: u64) -> u64 {
    let mut bits = salt.wrapping_add((at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}
