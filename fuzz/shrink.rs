//! What libFuzzer's `-minimize_crash=1` makes of a case that breaks the rule that `MIGCERT_RULE`
//! names, or any rule: `scripts/shrinking` compares with it. Every other change is one of ours, every
//! other one of libFuzzer's own, to the bytes before the checksum.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use migcert::bench::keep_device_panics_quiet;
use migcert::finding::Outcome;
use migcert::oracle::PLANTED;
use migcert::{entry, mutate};
use std::sync::LazyLock;

static RULE: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("MIGCERT_RULE").ok());

fuzz_target!(init: keep_device_panics_quiet(), |input: &[u8]| {
    let Some(drawn) = PLANTED.read(input) else { return };
    let is_asked = RULE.as_ref().is_none_or(|rule| *rule == drawn.rule.id);
    if let (true, Outcome::Broken(finding)) = (is_asked, drawn.judge()) {
        panic!("{finding}");
    }
});
fuzz_mutator!(|data: &mut [u8], size: usize, max: usize, seed: u32| {
    if seed.is_multiple_of(2) {
        return mutate::in_place(&PLANTED, data, size, max, seed);
    }
    let size = fuzzer_mutate(data, size, max);
    entry::seal(&mut data[..size]);
    size
});
