//! Drawn damage to states, on devices that keep every promise.

#![no_main]

use libfuzzer_sys::{fuzz_crossover, fuzz_mutator, fuzz_target};
use migcert_fuzz::{crossed, judged, mutated};

fuzz_target!(|input: &[u8]| judged(|| migcert::oracle::fuzz("damage", input)));
fuzz_mutator!(|data: &mut [u8], size: usize, max: usize, seed: u32| {
    mutated("damage", data, size, max, seed)
});
fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| {
    crossed("damage", one, other, out, seed)
});
