//! Cases of the rules that one device can break, changed by the generators that draw them.

#![no_main]

use libfuzzer_sys::{fuzz_crossover, fuzz_mutator, fuzz_target};
use migcert::own;
use own_device::Timers;

fuzz_target!(|input: &[u8]| own::fuzz(Timers, input));
fuzz_mutator!(|data: &mut [u8], size: usize, max: usize, seed: u32| {
    own::mutate(Timers, data, size, max, seed)
});
fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| {
    own::cross(Timers, one, other, out, seed)
});
