//! Messages of vfio-user, of either side, from a peer that nobody vouches for.

#![no_main]

use libfuzzer_sys::fuzz_target;
use migcert::{hostile, oracle};
use migcert_fuzz::judged;

fuzz_target!(|bytes: &[u8]| judged(|| oracle::held(&hostile::messages_are_understood_or_refused(bytes))));
