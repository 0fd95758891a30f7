//! The bytes of a state, loaded into the device with the fault that `MIGCERT_FAULT` names. A crash
//! is all that is noticed: what projects fuzz today, and what `scripts/detection` compares with.

#![no_main]

use libfuzzer_sys::fuzz_target;
use migcert::devices;
use migcert::zoo::baselines::Baseline;
use std::sync::LazyLock;

static DEVICE: LazyLock<Baseline> = LazyLock::new(|| {
    let id = std::env::var("MIGCERT_FAULT").expect("MIGCERT_FAULT names a fault");
    let faulty = devices::faulty().find(|faulty| faulty.fault.id == id).expect("a fault");
    Baseline::of(&faulty).expect("a device")
});

fuzz_target!(|bytes: &[u8]| drop(DEVICE.load_blindly(bytes)));
