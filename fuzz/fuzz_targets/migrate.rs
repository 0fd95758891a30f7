//! Drawn cases of the rules, on devices that keep every promise.

#![no_main]

use libfuzzer_sys::fuzz_target;
use migcert::oracle::{self, fuzz};

fuzz_target!(|bytes: &[u8]| fuzz(bytes, oracle::migrate));
