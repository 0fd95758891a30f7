//! Telling.
use migcert_core::device::{Seen, Step};
/// Tells.
pub fn tell(line: &str) -> String { line.to_owned() }
/// Judges.
pub fn plausible(_: &Step, _: &Seen) -> Result<(), String> { Ok(()) }
