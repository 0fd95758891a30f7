//! The command and the library, as users have them: deterministic tests, all in one program.
//!
//! What depends on time, chance or the machine is in the program `long`, or ignored, with the reason;
//! `scripts/check --long` runs it.

mod bounds;
mod cli;
#[path = "../common/example.rs"]
mod example;
mod foreign;
mod maintainer;
mod readme;
mod vfio_user;
