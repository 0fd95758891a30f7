//! Tables of device programs and inputs: how migcert is run on each, how it ends, and what it says.
//!
//! Rows that are ignored depend on time, chance or the machine, or take long; `scripts/check --long` runs
//! them, and `cargo test --examples --test rows -- --include-ignored --exact NAME` runs one.

#[path = "../common/example.rs"]
mod example;
mod hostile;
mod trust;
mod watch;

use libtest_mimic::Arguments;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    args.test_threads.get_or_insert(2);
    let conclusion = libtest_mimic::run(&args, hostile::trials().chain(trust::trials()).collect());
    // What devices hid outside of their directories, where they could.
    let forgot = Command::new(example::example("strangers")).arg("--forget").status();
    forgot.expect("the example runs");
    conclusion.exit_code()
}
