//! What the targets have in common.

use migcert::mutate;
use migcert::oracle::Target;
use std::sync::LazyLock;

/// Judges an input. Where `MIGCERT_IDLE` is set, nobody does: so `scripts/throughput` measures what
/// everything else takes.
pub fn judged(judge: impl FnOnce()) {
    static IS_IDLE: LazyLock<bool> = LazyLock::new(|| std::env::var_os("MIGCERT_IDLE").is_some());
    if !*IS_IDLE {
        judge();
    }
}

/// Changes the case at the beginning of `data`, and says how long it is now.
pub fn mutated(target: &str, data: &mut [u8], size: usize, max: usize, seed: u32) -> usize {
    Target::named(target).map_or(size, |target| mutate::in_place(target, data, size, max, seed))
}

/// Writes a case made of two, and says how long it is: 0 where there is none.
pub fn crossed(target: &str, one: &[u8], other: &[u8], out: &mut [u8], seed: u32) -> usize {
    Target::named(target).map_or(0, |target| mutate::crossed(target, one, other, out, seed))
}
