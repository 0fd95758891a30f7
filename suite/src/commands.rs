//! The commands, one file each, and the output and exit status that they share.

use anyhow::Context;
use clap::{Args, ValueEnum};
use migcert::certificate::Ruling;
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
    /// Output format of results
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

/// The exit status of the process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Nothing = 0,
    /// A device program refuses to start.
    Refused = 1,
    Usage = 2,
    TooLittle = 4,
    Found = 100,
    CouldNot = 101,
}

impl Exit {
    /// The exit status of a row of the verdict table.
    fn of(ruling: &Ruling) -> Exit {
        match ruling.exit {
            0 => Exit::Nothing,
            100 => Exit::Found,
            _ => Exit::TooLittle,
        }
    }

    /// The exit status of two results together: `Found` wins, then the first that is not `Nothing`.
    fn and(self, other: Exit) -> Exit {
        if [self, other].contains(&Exit::Found) {
            return Exit::Found;
        }
        if self == Exit::Nothing { other } else { self }
    }
}

/// Prints a result. A closed pipe is not an error.
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

/// Writes machine-readable output, or [`Lines`]. A closed pipe is not an error.
pub(crate) fn write_out(words: &str) -> anyhow::Result<()> {
    drop(ending::hold_up());
    match std::io::stdout().write_all(words.as_bytes()) {
        Err(why) if why.kind() != std::io::ErrorKind::BrokenPipe => Err(why).context("can't print"),
        _ => Ok(()),
    }
}

/// Prints why a file could not be written and returns the exit status, for results that are printed in
/// any case.
pub(crate) fn said<T>(written: &Result<T, CannotWrite>) -> Exit {
    match written {
        Ok(_) => Exit::Nothing,
        Err(why) => {
            say!("error: {why}");
            Exit::CouldNot
        }
    }
}

/// A name as part of a file name: at most 60 characters, `_` for those that are not plain.
pub(crate) fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".@+-".contains(c) { c } else { '_' };
    name.chars().take(60).map(plain).collect()
}
