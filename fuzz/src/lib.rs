//! What the targets have in common.

use migcert::mutate;
use migcert::oracle::Target;
use std::sync::LazyLock;

/// Judges an input: so often as `MIGCERT_TIMES` says, where it is set. So `scripts/throughput` finds
/// what judging takes, and what everything else does.
pub fn judged(judge: impl Fn()) {
    static TIMES: LazyLock<u32> = LazyLock::new(|| {
        let times = std::env::var("MIGCERT_TIMES").ok();
        times.map_or(1, |times| times.parse().expect("MIGCERT_TIMES is a number"))
    });
    (0..*TIMES).for_each(|_| judge());
}

/// Changes the case at the beginning of `data`, and says how long it is now.
pub fn mutated(target: &str, data: &mut [u8], size: usize, max: usize, seed: u32) -> usize {
    Target::named(target).map_or(size, |target| mutate::in_place(target, data, size, max, seed))
}

/// Writes a case made of two, and says how long it is: 0 where there is none.
pub fn crossed(target: &str, one: &[u8], other: &[u8], out: &mut [u8], seed: u32) -> usize {
    Target::named(target).map_or(0, |target| mutate::crossed(target, one, other, out, seed))
}
