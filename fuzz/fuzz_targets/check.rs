//! Two releases of a drawn history: the check against a search, and against what devices do.

#![no_main]

use libfuzzer_sys::fuzz_target;
use migcert::oracle::{self, fuzz};

fuzz_target!(|bytes: &[u8]| fuzz(bytes, oracle::check));
