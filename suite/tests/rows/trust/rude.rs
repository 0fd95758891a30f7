//! Nothing lost, nothing let in: by device programs.

use super::{Row, Stranger, USUAL};

const fn row(point: &'static str, name: &'static str, kinds: &'static str, status: i32) -> Row {
    Row::new(point, name, Stranger(kinds), USUAL, status)
}

const TEXT: &str = "foreign text stays on its line";

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
];
