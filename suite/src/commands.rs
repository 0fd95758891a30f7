//! The commands, one file for each, and what they share.

use anyhow::Context;
use clap::{Args, ValueEnum};
use migcert::ending;
use migcert::files::CannotWrite;
use migcert::say;
use migcert::text::{self, Lines};
use serde_json::Value as Json;
use std::io::Write;

pub(crate) mod certify;
pub(crate) mod check;
pub(crate) mod coverage;
pub(crate) mod describe;
pub(crate) mod export;
mod input;
pub(crate) mod list;
pub(crate) mod merge;
pub(crate) mod minimize;
pub(crate) mod replay;
pub(crate) mod serve;
pub(crate) mod zoo;

#[derive(Args)]
pub(crate) struct Output {
    /// How results are printed
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

/// What the process ends with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Nothing = 0,
    /// Of a device program that refuses to start.
    Refused = 1,
    Usage = 2,
    TooLittle = 4,
    Found = 100,
    CouldNot = 101,
}

impl Exit {
    /// What two results come to: what was found counts, then what could not be told.
    fn and(self, other: Exit) -> Exit {
        if [self, other].contains(&Exit::Found) {
            return Exit::Found;
        }
        if self == Exit::Nothing { other } else { self }
    }
}

/// Prints a result; a reader that went away is no error of ours.
pub(crate) fn print(
    output: &Output,
    text: impl FnOnce() -> Lines,
    json: impl FnOnce() -> Json,
) -> anyhow::Result<()> {
    let words = match output.format {
        Format::Text => text().to_string(),
        Format::Json => text::json(&json()),
    };
    write_out(&words)
}

/// Writes what machines read, or [`Lines`]; a reader that went away is no error of ours.
pub(crate) fn write_out(words: &str) -> anyhow::Result<()> {
    drop(ending::hold_up());
    match std::io::stdout().write_all(words.as_bytes()) {
        Err(why) if why.kind() != std::io::ErrorKind::BrokenPipe => Err(why).context("can't print"),
        _ => Ok(()),
    }
}

/// What writing a file came to, where results are printed whether it worked or not: says what went
/// wrong, and gives the exit status of it.
pub(crate) fn said<T>(written: &Result<T, CannotWrite>) -> Exit {
    match written {
        Ok(_) => Exit::Nothing,
        Err(why) => {
            say!("error: {why}");
            Exit::CouldNot
        }
    }
}

/// What of a name can stand in the name of a file.
pub(crate) fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".@+-".contains(c) { c } else { '_' };
    name.chars().take(60).map(plain).collect()
}
