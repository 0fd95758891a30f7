//! Nothing lost, nothing let in: by device programs.

use super::{Row, Stranger, USUAL};

const fn row(point: &'static str, name: &'static str, kinds: &'static str, status: i32) -> Row {
    Row::new(point, name, Stranger(kinds), USUAL, status)
}

const TEXT: &str = "foreign text stays on its line";
const CHILDREN: &str = "no child stays";

const FEW: &str = "certify device.toml --seed 1 --cases 10 -j 2 --only latest-starts,twin-after-load";
/// Killed while it runs; what it leaves has a moment to go.
const KILLED: &str = "sh $M certify device.toml --seed 1 --cases 1000 -j 2 & sleep 3; kill -9 $!; wait $!; sleep 1; rm -rf s/*";

pub(super) const ROWS: &[Row] = &[
    row(TEXT, "names_and_words", "escape-words", 100).says(&["not", "today"]),
    Row::new(TEXT, "names_described", Stranger("escape-words"), "describe ./device+escape-words", 0),
    Row::new(
        TEXT,
        "names_as_json",
        Stranger("escape-words"),
        "describe ./device+escape-words --format json",
        0,
    ),
    row(CHILDREN, "a_daemon", "daemonises", 0),
    Row::new(CHILDREN, "a_daemon_after_sigkill", Stranger("daemonises"), KILLED, 0),
    Row::new(CHILDREN, "a_device_after_sigkill", Stranger("plain"), KILLED, 0),
    row(CHILDREN, "orphans", "many-orphans", 0),
    Row::new(CHILDREN, "a_flood", Stranger("floods"), FEW, 0),
];
