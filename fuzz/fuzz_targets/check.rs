//! Two releases of a drawn history: the check against a search, and against what devices do.

#![no_main]

use libfuzzer_sys::{fuzz_crossover, fuzz_mutator, fuzz_target};
use migcert_fuzz::{crossed, judged, mutated};

fuzz_target!(|input: &[u8]| judged(|| migcert::oracle::fuzz("check", input)));
fuzz_mutator!(|data: &mut [u8], size: usize, max: usize, seed: u32| {
    mutated("check", data, size, max, seed)
});
fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| {
    crossed("check", one, other, out, seed)
});
