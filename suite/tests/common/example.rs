//! The device programs of our own that tests start.

use std::path::PathBuf;

/// A program from `examples`, which `cargo test` builds beside the tests.
pub(crate) fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("a path");
    let path = tests.ancestors().nth(2).expect("a folder").join("examples").join(name);
    assert!(path.exists(), "{} is not there: run `cargo build --examples`", path.display());
    path
}
