//! The engine of migcert: descriptions of device models, the compatibility check, the state
//! machine of a migratable device, the envelope of its state, and the phases of a migration.
//!
//! One module for each chapter of `REQUIREMENTS.md`. What is not here: no clock, no thread, no
//! socket, no file, no randomness, no unsafe code.

#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used)]

pub mod compat;
pub mod device;
pub mod envelope;
pub mod error;
mod flat;
pub mod fleet;
mod json;
pub mod lint;
pub mod manifest;
pub mod migrate;
pub mod model;
pub mod param;
pub mod program;
pub mod structured;
pub mod text;
pub mod version;

/// The requirements that code, rules and reports cite, one to a line that begins with `- R-`.
pub const REQUIREMENTS: &str = include_str!("../REQUIREMENTS.md");
