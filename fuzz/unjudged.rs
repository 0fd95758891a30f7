//! The cases of the target that `MIGCERT_TARGET` names, made as it makes them and judged by nobody:
//! what `scripts/throughput` compares that target with.

#![no_main]

use libfuzzer_sys::{fuzz_crossover, fuzz_mutator, fuzz_target};
use migcert_fuzz::{crossed, mutated};
use std::sync::LazyLock;

static TARGET: LazyLock<String> =
    LazyLock::new(|| std::env::var("MIGCERT_TARGET").expect("MIGCERT_TARGET names a target"));

fuzz_target!(|_input: &[u8]| ());
fuzz_mutator!(|data: &mut [u8], size: usize, max: usize, seed: u32| {
    mutated(&TARGET, data, size, max, seed)
});
fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| {
    crossed(&TARGET, one, other, out, seed)
});
