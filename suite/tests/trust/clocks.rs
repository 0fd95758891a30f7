//! Red that must not be.

use crate::{Row, Stranger, Tally, USUAL};

const PYTHON: &str = "certify ./tally --seed 1 --cases 10 -j 2 --only twin-after-second,ping-pong";

const fn row(point: &'static str, name: &'static str, kinds: &'static str, status: i32) -> Row {
    Row::new(point, name, Stranger(kinds), USUAL, status).never(&["broken  "])
}

const fn red(point: &'static str, name: &'static str, kinds: &'static str) -> Row {
    Row::new(point, name, Stranger(kinds), USUAL, 100).says(&["broken  "])
}

const WORDS: &str = "words that a guest can't see are not compared";
const CONTROL: &str = "what two runs without a migration show as well is no finding";
const CARRIER: &str = "configuration space belongs to the carrier";
const CAUSES: &str = "one cause is one accused rule";

pub(crate) const ROWS: &[Row] = &[
    row(WORDS, "a_process_and_a_message", "logs-pid", 0),
    row(CONTROL, "a_clock", "clock", 0),
    row(CONTROL, "a_clock_of_seconds", "slow-clock", 0),
    row(CONTROL, "a_clock_in_some_bits", "clock-bits", 0),
    row(CONTROL, "a_serial_number", "random-serial", 0),
    row(CONTROL, "a_register_that_flickers", "flickers", 0).by_chance(),
    row(CONTROL, "a_random_register", "random-register", 0).by_chance(),
    // A third of what it shows is a refusal with one of two numbers: too much to say that it passes.
    row(CONTROL, "a_random_errno", "random-errno", 4).says(&["volatile"]).by_chance(),
    row(CONTROL, "late_interrupts", "late-interrupts", 0).by_chance(),
    row(CONTROL, "a_late_status", "late-status", 0).by_chance(),
    // That no two saves of it are the same is said, and fails nothing.
    Row::new(CONTROL, "a_time_in_the_state", Stranger("time-in-state"), USUAL, 0),
    row(CONTROL, "a_time_in_memory", "dma-timestamp", 0),
    row(CONTROL, "everything_is_random", "all-random", 4).by_chance(),
    red(CONTROL, "a_clock_and_a_fault", "clock+loses-words"),
    red(CONTROL, "a_serial_number_and_a_fault", "random-serial+loses-words"),
    red(CONTROL, "late_interrupts_and_a_fault", "late-interrupts+loses-words").by_chance(),
    red(CONTROL, "a_time_in_memory_and_a_fault", "dma-timestamp+loses-words"),
    row(CARRIER, "it_is_not_in_the_state", "config-by-carrier", 0),
    red(CAUSES, "a_reset_that_is_refused", "refuses-reset"),
    red(CAUSES, "two_causes", "refuses-reset+loses-words"),
    red(CAUSES, "three_causes", "refuses-reset+loses-words+unchecked"),
    Row::new(CONTROL, "python_is_slow", Tally("tally"), PYTHON, 0).never(&["broken  "]),
];
