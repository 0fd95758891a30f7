//! The commands, one file for each, and what they share.

use anyhow::Context;
use clap::{Args, ValueEnum};
use migcert::hosts::ending;
use serde_json::Value as Json;
use std::io::Write;
use std::path::Path;

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
    text: impl FnOnce() -> String,
    json: impl FnOnce() -> Json,
) -> anyhow::Result<()> {
    let words = match output.format {
        Format::Text => text(),
        Format::Json => format!("{:#}\n", json()),
    };
    drop(ending::hold_up());
    match anstream::stdout().write_all(words.as_bytes()) {
        Err(why) if why.kind() != std::io::ErrorKind::BrokenPipe => Err(why).context("can't print"),
        _ => Ok(()),
    }
}

/// Writes a file whole or not at all.
pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let context = || format!("can't write {}", path.display());
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(context)?;
    }
    let _held = ending::hold_up();
    let half = path.with_extension("part");
    std::fs::write(&half, text).and_then(|()| std::fs::rename(&half, path)).with_context(context)
}
