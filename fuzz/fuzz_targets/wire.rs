//! Messages of vfio-user, of either side, from a peer that nobody vouches for.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| migcert::oracle::fuzz("wire", bytes));
