//! What values at one place say of it.

use super::sample::INSTANCES;
use super::{Nature, Pattern, Place, span, upwards, wide};
use std::collections::BTreeSet;

/// Values that fewer distinct ones were seen of say nothing of how they change.
const SEVERAL: usize = 3;
/// So many volatile bits of a value are no flags but a number, which has all bits between them.
const MANY: u32 = 6;

/// The values at one place: for each sample those of all steps that read it, in order.
#[derive(Default)]
pub(super) struct Column {
    /// Bits that differ between samples, and are not known.
    pub(super) bits: u64,
    /// Bits that differ between samples that played twice.
    pub(super) among: u64,
    /// Bits that differ in one sample.
    pub(super) within: u64,
    /// Bits that are known to be of the instance.
    pub(super) own: u64,
    /// How many samples played twice.
    pub(super) twice: usize,
    pub(super) series: Vec<Vec<u64>>,
}

impl Column {
    /// The place with all of its volatile bits, and how it changes.
    pub(super) fn place(&self, place: Place) -> (Place, Nature, Pattern) {
        let is_own = INSTANCES <= self.twice && self.among != 0 && self.within == 0;
        let distinct: BTreeSet<u64> = self.series.iter().flatten().copied().collect();
        let reads = self.series.iter().flat_map(|series| series.iter().zip(series.iter().skip(1)));
        let runs = self.series.iter().zip(self.series.iter().skip(1)).flat_map(|(a, b)| a.iter().zip(b));
        let pairs: Vec<_> = reads.chain(runs).collect();
        let pattern = match distinct.len() {
            ..SEVERAL => Pattern::Varies,
            _ if pairs.iter().all(|(a, b)| a <= b) => Pattern::CountsUp,
            _ if pairs.iter().all(|(a, b)| b <= a) => Pattern::CountsDown,
            _ => Pattern::Varies,
        };
        let is_number = SEVERAL <= distinct.len() && MANY <= self.bits.count_ones();
        let all = match pattern {
            _ if is_own => {
                if is_number {
                    span(self.bits)
                } else {
                    self.bits
                }
            }
            Pattern::CountsUp | Pattern::CountsDown => upwards(self.bits),
            Pattern::Varies if is_number => span(self.bits),
            Pattern::Varies | Pattern::Late => self.bits,
        };
        let nature = if is_own { Nature::Instance } else { Nature::Volatile };
        (with_bits(place, all), nature, pattern)
    }
}

/// The place with these of its bits.
pub(super) fn with_bits(place: Place, bits: u64) -> Place {
    match place {
        Place::Bits { region, offset, size, .. } => {
            Place::Bits { region, offset, size, bits: bits & wide(size) }
        }
        Place::Value { step, index, .. } => Place::Value { step, index, bits },
        other => other,
    }
}
