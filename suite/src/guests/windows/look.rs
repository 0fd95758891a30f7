//! How a guest looks at all there is to see: what was done in the script first, then the beginnings of
//! all regions, word by word, and some places far behind them. Then it uses what it has seen.

use super::region::{Place, Region};
use super::{INDEX, Windows};
use migcert_core::device::{GUEST_MEMORY, Step};
use std::collections::HashSet;

/// So many words are read of each region, and fewer where there are many regions.
const WORDS: u64 = 32;
const FEWEST: u64 = 8;
const ALL_WORDS: u64 = 96;
/// Of other sizes, so many places.
const NARROW: [(u8, u64); 3] = [(8, 4), (2, 8), (1, 8)];
/// So many words are read where a block begins, and so many places anywhere.
const OF_BLOCK: u64 = 2;
const ANYWHERE: u64 = 4;
/// Words of configuration space that are read: those of its header.
const HEADER: u64 = 16;
/// So many places are used once more.
const USED: [(u8, u64); 4] = [(4, 8), (8, 2), (2, 4), (1, 4)];

/// Beside: not further away than this.
const BESIDE: u64 = 16;

/// Reads of all that the script has written, in the widths in which it was written. Where a small value
/// was written before another place beside it was used, that is done again: it may say which of many
/// is seen there.
pub(super) fn back(guest: &Windows, after: &[Step]) -> Vec<Step> {
    let mut known = HashSet::new();
    let mut steps = Vec::new();
    for step in after {
        let Step::Write { region, offset, size, .. } = *step else { continue };
        if region != GUEST_MEMORY && known.insert((region, offset, size)) {
            steps.push(Step::Read { region, offset, size });
        }
    }
    for pair in after.windows(2) {
        let (
            Step::Write { region, offset, value: ..=INDEX, .. },
            &(Step::Read { region: beside, offset: at, size }
            | Step::Write { region: beside, offset: at, size, .. }),
        ) = (&pair[0], &pair[1])
        else {
            continue;
        };
        let is_beside = beside == *region && at != *offset && at.abs_diff(*offset) <= BESIDE;
        if is_beside && guest.region(*region).is_some() {
            steps.extend([pair[0].clone(), Step::Read { region: beside, offset: at, size }]);
        }
    }
    steps
}

/// Looks around.
pub(super) fn around(guest: &Windows) -> Vec<Step> {
    let mut steps = vec![Step::Pass(2)];
    let words = (ALL_WORDS / guest.regions.len().max(1) as u64).clamp(FEWEST, WORDS);
    for region in &guest.regions {
        steps.extend(sights(region, words).into_iter().map(Place::read));
    }
    if let Some(config) = &guest.config {
        steps.extend(config.first(4, HEADER).map(Place::read));
    }
    steps.extend(guest.kept.iter().filter(|place| HEADER * 4 <= place.offset).map(|place| place.read()));
    steps.push(Step::Pass(8));
    // The largest values, and each another.
    let largest = |(index, place): (usize, Place)| place.write(u64::MAX - index as u64);
    steps.extend(guest.kept.iter().map(|place| place.write(u64::MAX)));
    let used = |region: &Region| -> Vec<Place> {
        let used = USED.iter().flat_map(|(size, most)| region.first(*size, *most));
        used.filter(|place| place.max.is_some()).collect()
    };
    steps.extend(guest.regions.iter().flat_map(|region| used(region).into_iter().enumerate().map(largest)));
    steps.push(Step::Pass(8));
    let again = guest.regions.iter().flat_map(|region| region.first(region.usual(), USED[0].1));
    steps.extend(again.chain(guest.kept.iter().copied()).map(Place::read));
    steps
}

/// What is looked at of a region: each place once.
fn sights(region: &Region, words: u64) -> Vec<Place> {
    let usual = region.usual();
    let mut sights: Vec<Place> = region.first(usual, words).collect();
    for at in region.blocks() {
        sights.extend((0..OF_BLOCK).filter_map(|index| region.at(usual, at + index * u64::from(usual))));
    }
    let count = region.count(usual);
    sights.extend(
        (1..=ANYWHERE).filter_map(|part| region.nth(usual, (count * part / ANYWHERE).checked_sub(1)?)),
    );
    for (size, most) in NARROW.into_iter().filter(|(size, _)| *size != usual) {
        sights.extend(region.first(size, most));
    }
    let mut known = HashSet::new();
    sights.retain(|place| known.insert(*place));
    sights
}
