//! Nothing is done with any bytes: what `scripts/throughput` compares the targets with.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|_bytes: &[u8]| ());
