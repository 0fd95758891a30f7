//! Bytes that nobody vouches for: migration info, requests for a configuration, states.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| migcert::oracle::fuzz("bytes", bytes));
