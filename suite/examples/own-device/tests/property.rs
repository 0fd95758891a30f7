//! The timer keeps every rule, in other cases every time; what breaks it is made small.

use own_device::Timers;
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn the_timer_keeps_every_rule(bytes in vec(any::<u8>(), 0..1024)) {
        migcert::own::property(Timers, &bytes).map_err(TestCaseError::fail)?;
    }
}
