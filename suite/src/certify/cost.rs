//! The cost of a case on these subjects, and the number of cases that fit into a time.

use crate::certificate::{Cost, FLOOR};
use std::time::Duration;

/// The cost of a case: the mean of the samples, rounded.
pub(super) fn of(samples: &[Duration]) -> Cost {
    let measured = u32::try_from(samples.len()).unwrap_or(u32::MAX);
    let mean = samples.iter().sum::<Duration>() / measured.max(1);
    let ms = u64::try_from(mean.as_millis()).unwrap_or(u64::MAX);
    // The next power of two, on the scale of logarithms: 5 is nearer to 4, 6 to 8.
    let below = 1 << ms.max(1).ilog2();
    Cost { case_ms: if ms * ms <= 2 * below * below { below } else { 2 * below }, measured }
}

/// How many cases fit into a time, where each sample is what one case of a rule on a pair costs:
/// `usual` or, as long as that is too much, half of it, but never less than [`FLOOR`]. Halves are
/// coarse, so that two runs on one machine agree.
pub(super) fn cases(usual: u32, samples: &[Duration], jobs: usize, time: Duration) -> u32 {
    let round = samples.iter().sum::<Duration>() / u32::try_from(jobs.max(1)).unwrap_or(u32::MAX);
    let mut cases = usual;
    while FLOOR <= cases / 2 && time < round.saturating_mul(cases) {
        cases /= 2;
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_cost_is_a_power_of_two() {
        let cost = |ms: &[u32]| of(&ms.iter().map(|ms| MS * *ms).collect::<Vec<_>>()).case_ms;
        assert_eq!([cost(&[]), cost(&[0]), cost(&[1]), cost(&[5]), cost(&[6])], [1, 1, 1, 4, 8]);
        assert_eq!([cost(&[100]), cost(&[60, 70]), cost(&[181]), cost(&[182])], [128, 64, 128, 256]);
    }

    #[test]
    fn what_does_not_fit_is_halved() {
        let time = MS * 100_000;
        let cases = |ms: u32| cases(40, &[MS * ms; 50], 2, time);
        assert_eq!([cases(1), cases(100), cases(101), cases(200), cases(201)], [40, 40, 20, 20, 10]);
        assert_eq!([cases(5000), cases(1_000_000)], [10, 10]);
    }
}
