//! Faults that can be planted, by the name of the program: a row each, and one place in the code.

use std::sync::OnceLock;

/// Name, the requirement that it breaks, and what is wrong.
#[rustfmt::skip]
pub(crate) const FAULTS: &[(&str, &str, &str)] = &[
    ("alarm-forgotten",       "R-1.4", "the alarm is not saved"),
    ("page-forgotten",        "R-1.4", "the number of the page of memory that is seen is not saved"),
    ("fraction-forgotten",    "R-1.4", "the ticks since the last second are not saved"),
    ("log-place-forgotten",   "R-1.4", "the place of the next log record, which no register shows, is not saved"),
    ("armed-not-derived",     "R-1.4", "after a load no interrupt is armed until CONTROL is written again"),
    ("config-forgotten",      "R-1.4", "configuration space is not saved"),
    ("sent-is-clean",         "R-1.1", "memory that was sent or loaded once is left out of the next save"),
    ("setup-ignored",         "R-3.3", "the configuration in the state is not compared"),
    ("off-is-written",        "R-3.4", "release 2 writes the parameter `trim` into the state though it is off"),
    ("version-drift",         "R-4.2", "release 2 gives version 1 another meaning"),
    ("unknown-accepted",      "R-4.3", "unknown parameters and values are ignored at start"),
    ("save-acknowledges",     "R-6.2", "saving clears STATUS in the source"),
    ("refusal-runs",          "R-6.3", "a device that refuses a state goes to RUNNING"),
    ("fields-unchecked",      "R-6.4", "the checksum is not compared, and fields are used as they come"),
    ("cut-accepted",          "R-6.4", "the end may be missing; memory that did not come is zero"),
    ("applied-as-it-comes",   "R-6.4", "records go straight into the device, and a reset leaves memory alone"),
    ("stale-precopy",         "R-6.5", "memory written during PRE_COPY is not sent again"),
    ("piece-lost",            "R-6.6", "a message that does not end at the end of a record loses its last one"),
    ("length-believed",       "R-6.7", "memory is reserved on the word of a length"),
    ("fresh-stopped",         "R-7.1", "a fresh device is in STOP"),
    ("arc-missing",           "R-7.2", "STOP_COPY to RUNNING is refused"),
    ("error-requested",       "R-7.3", "ERROR can be asked for"),
    ("judged-late",           "R-7.4", "a state is judged on the way to RUNNING, not at STOP"),
    ("session-resumed",       "R-7.5", "a second session goes on where the first was given up"),
    ("reset-keeps-alarm",     "R-7.6", "a reset leaves the alarm as it was"),
    ("init-differs",          "R-8.2", "without an option `nvram` is not at its init value"),
    ("allowed-refused",       "R-8.3", "a value of `nvram` is described and can't be started"),
    ("description-unstable",  "R-8.3", "the description differs from one time to the next"),
];

static PLANTED: OnceLock<String> = OnceLock::new();

/// Plants a fault; says whether there is one of that name.
pub(crate) fn plant(name: &str) -> bool {
    FAULTS.iter().any(|row| row.0 == name) && PLANTED.set(name.to_owned()).is_ok()
}

/// Whether a fault is planted.
pub(crate) fn is(name: &str) -> bool {
    debug_assert!(FAULTS.iter().any(|row| row.0 == name), "`{name}` is no fault");
    PLANTED.get().is_some_and(|planted| planted == name)
}
