//! The timer, in whatever happens to it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use own_device::Timers;

fuzz_target!(|bytes: &[u8]| migcert::own::fuzz(Timers, bytes));
