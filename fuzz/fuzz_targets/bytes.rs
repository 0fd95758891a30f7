//! Bytes that nobody vouches for: migration info, requests for a configuration, states.

#![no_main]

use libfuzzer_sys::fuzz_target;
use migcert::{hostile, rules::Outcome};

fuzz_target!(|bytes: &[u8]| {
    if let Outcome::Broken(finding) = hostile::bytes_are_understood_or_refused(bytes) {
        panic!("{finding:#?}");
    }
});
