//! Bytes that nobody vouches for: migration info, requests for a configuration, states.

#![no_main]

use libfuzzer_sys::fuzz_target;
use migcert::{hostile, oracle};
use migcert_fuzz::judged;

fuzz_target!(|bytes: &[u8]| judged(|| oracle::held(&hostile::bytes_are_understood_or_refused(bytes))));
