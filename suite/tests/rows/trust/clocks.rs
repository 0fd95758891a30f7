//! Red that must not be.

use super::{Files, Row, Stranger, USUAL, stranger};
use std::fs;
use std::path::Path;

const fn row(point: &'static str, name: &'static str, kinds: &'static str, status: i32) -> Row {
    Row::new(point, name, Stranger(kinds), USUAL, status).never(&["broken  "])
}

const fn red(point: &'static str, name: &'static str, kinds: &'static str) -> Row {
    Row::new(point, name, Stranger(kinds), SIDE_BY_SIDE, 100).says(&["broken  "])
}

/// The usual: whoever confirms findings in a device with a clock waits most of the time.
const SIDE_BY_SIDE: &str = "certify device.toml --seed 1 --cases 10 -j 4";

/// The rule that compares a device that moved with one that did not, for what is tried twenty times.
const QUICK: &str = "certify device.toml --seed 1 --cases 10 -j 4 --only twin-after-load";

/// A profile says that what shows there is the host's.
const OF_THE_HOST: &str = "sh echo 'volatile = [{ region = 0, offset = 0x1c, size = 4, bits = 0xffffffff }]' | cat - device.toml > d.toml; exec $M certify d.toml --seed 1 --cases 10 -j 1";
const ONE_HOST: &str = "certify one.toml --seed 1 --cases 10 -j 1 --only R-1";
const TWO_HOSTS: &str = "certify one.toml --to two.toml --seed 1 --cases 10 -j 1 --only twin-after-load";
const PINNED: &str = "volatile = [{ region = 0, offset = 0x1c, size = 4, bits = 0xffffffff }]";

const WORDS: &str = "words that a guest can't see are not compared";
const CONTROL: &str = "what two runs without a migration show as well is no finding";
const CARRIER: &str = "configuration space belongs to the carrier";
const CAUSES: &str = "one cause is one finding";

const SILENT: &str = "an interrupt that never comes is no reason to doubt";
const INPUT: &str = "standard input stays open";

pub(super) const ROWS: &[Row] = &[
    row(SILENT, "it_is_offered", "never-interrupts", 0).says(&["none was ever raised"]),
    row(INPUT, "it_ends_with_its_input", "ends-with-input", 0),
    row(WORDS, "a_process_and_a_message", "logs-pid", 0),
    row(CONTROL, "a_clock", "clock", 0),
    row(CONTROL, "a_clock_of_seconds", "slow-clock", 0),
    row(CONTROL, "a_clock_in_some_bits", "clock-bits", 0),
    row(CONTROL, "a_serial_number", "random-serial", 0).says(&["of the instance", "and not in one"]),
    Row::new(CONTROL, "a_serial_number_that_is_given", Files(|place| of_hosts(place, "")), ONE_HOST, 0)
        .never(&["broken  ", "learned"]),
    Row::new(CONTROL, "serial_numbers_of_two_hosts", Files(|place| of_hosts(place, PINNED)), TWO_HOSTS, 0),
    Row::new(
        CONTROL,
        "serial_numbers_of_two_hosts_unpinned",
        Files(|place| of_hosts(place, "")),
        TWO_HOSTS,
        100,
    )
    .says(&["broken  "]),
    row(CONTROL, "a_serial_number_of_the_host", "serial-lost", 0).runs(OF_THE_HOST).says(&["pinned"]),
    row(CONTROL, "an_id_that_bells_change", "boot-id", 0).says(&["volatile"]),
    row(CONTROL, "a_sensor_of_the_host", "sensor", 0).says(&["volatile"]),
    // A rule whose cases are the first to show that a place is volatile is unsettled; none is broken.
    row(CONTROL, "a_register_that_flickers", "flickers", 0).or(4).by_chance(),
    row(CONTROL, "a_random_register", "random-register", 0).or(4).by_chance(),
    // A third of what it shows is a refusal with one of two numbers: too much to say that it passes.
    row(CONTROL, "a_random_errno", "random-errno", 4).says(&["volatile"]).by_chance(),
    row(CONTROL, "late_interrupts", "late-interrupts", 0).or(4).by_chance(),
    row(CONTROL, "a_late_status", "late-status", 0).or(4).by_chance(),
    // That no two saves of it are the same is said, and fails nothing.
    Row::new(CONTROL, "a_time_in_the_state", Stranger("time-in-state"), USUAL, 0),
    row(CONTROL, "a_time_in_memory", "dma-timestamp", 0),
    row(CONTROL, "everything_is_random", "all-random", 4).runs(QUICK).by_chance(),
    red(CONTROL, "a_clock_and_a_fault", "clock+loses-words"),
    red(CONTROL, "a_serial_number_that_is_lost", "serial-lost").says(&[
        "broken  ",
        "another instance than before",
        "of = ",
    ]),
    row(CONTROL, "a_serial_number_in_memory", "dma-serial", 0).says(&["of the instance", "guest memory at"]),
    red(CONTROL, "a_serial_number_in_memory_that_is_lost", "dma-serial-lost")
        .says(&["another instance than before"]),
    red(CONTROL, "a_serial_number_and_a_fault", "random-serial+loses-words"),
    red(CONTROL, "late_interrupts_and_a_fault", "late-interrupts+loses-words").runs(QUICK).by_chance(),
    red(CONTROL, "a_time_in_memory_and_a_fault", "dma-timestamp+loses-words"),
    row(CARRIER, "it_is_not_in_the_state", "config-by-carrier", 0),
    row(CARRIER, "it_is_not_shown_in_stop_copy", "refuses-while-saved", 0),
    row(CARRIER, "it_is_neither_shown_nor_in_the_state", "refuses-while-saved+config-by-carrier", 0),
    red(CAUSES, "a_reset_that_is_refused", "refuses-reset").says(&["(1 cause)"]).then(one_finding_each),
    red(CAUSES, "two_causes", "refuses-reset+loses-words").says(&["(2 causes)"]).then(one_finding_each),
    red(CAUSES, "faults_behind_one_another", "refuses-reset+loses-words+unchecked").then(one_finding_each),
];

/// Of each cause, one finding is told at length and has a case.
fn one_finding_each(place: &Path, printed: &str) {
    let count = |word: &str| printed.lines().filter(|line| line.starts_with(word)).count();
    let (causes, findings) = (count("cause   "), count("broken  "));
    assert_eq!(causes, findings, "causes and findings");
    assert_ne!(count("  consequence  "), 0, "what follows from them is listed");
    let cases = fs::read_dir(place.join("migcert-findings")).expect("cases").count();
    // What was not the same each time has a case, too.
    assert_eq!(cases, findings + count("flaky   "), "cases");
}

/// Profiles of two hosts: each gives its device a serial number of its own.
fn of_hosts(place: &Path, more: &str) {
    stranger(place, "serial-given");
    for (host, serial) in [("one", 7), ("two", 8)] {
        let text = format!(
            r#"
program = "./device+serial-given"
wire = "vfio-user"
args = ["--socket-path={{socket}}", "--m-words={{param:words}}", "--serial={serial}"]
{more}
[info.models."example.org/stranger".params.words]
type = "int"
init_value = 4
allowed_values = [4, 8]
"#
        );
        fs::write(place.join(format!("{host}.toml")), text).expect("written");
    }
}
