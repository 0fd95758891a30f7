//! The timer is certified: every rule on drawn cases, the same ones every time.

use own_device::Timers;

#[test]
fn the_timer_can_be_migrated() {
    let report = migcert::own::certify(Timers, 200).unwrap_or_else(|report| panic!("{report}"));
    println!("{report}");
}
