//! Why a profile can't be used.

use super::scripts::{MAX_ACCESSES, MAX_NESTED};
use super::text::Times;
use crate::document::BadDocument;
use crate::files::CannotRead;
use crate::hosts::template::{BadTemplate, Blank};
use crate::learned::{BadPin, Pin};
use migcert_core::device::BadStep;
use migcert_core::manifest::BadManifest;
use migcert_core::text::Plain;
use std::io;
use std::path::PathBuf;

/// A profile that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", Plain(&path.to_string_lossy()))]
pub struct BadProfile {
    pub(super) path: PathBuf,
    pub(super) why: Box<Why>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Why {
    #[error(transparent)]
    File(io::Error),
    #[error(
        "guest: `{0}` is no guest; there are `virtio-fs` and `virtio-fs-named`, and `registers` over vfio-user"
    )]
    Guest(String),
    #[error("limits.{name}: {ms} is not from 1 to {}, which is a day", Times::LONGEST)]
    Limit { name: &'static str, ms: u64 },
    #[error("{place}: {why}")]
    Info { place: String, why: BadManifest },
    #[error(
        "guest: `{guest}` is for another device than {}: {what}; name a guest that fits it, or a program that is such a device",
        program.display()
    )]
    Misfit { guest: String, program: PathBuf, what: String },
    #[error(
        "shared: `{what}`: {why}; it takes `network`, `everything`, and files and directories that exist"
    )]
    Shared { what: String, why: io::Error },
    #[error("guest: it needs one; there are `virtio-fs` and `virtio-fs-named`")]
    NoGuest,
    #[error("there is no migration info: give `info`, or `info` in each of `releases`")]
    NoInfo,
    #[error("program: {} is not there; scripts/install-devices builds the programs of our own profiles", .0.display())]
    NoProgram(PathBuf),
    #[error("{0}: it is about registers, and a guest over vhost-user has none; use it over vfio-user")]
    NoRegisters(&'static str),
    #[error("waive: `{0}` is waived without a reason")]
    NoReason(String),
    #[error("{place}: `request {name}`: there is no such script")]
    NoScript { place: String, name: String },
    #[error("scripts.{0}: what it requests is nested deeper than {MAX_NESTED}")]
    Nested(String),
    #[error("scripts: `{0}`: it has no end")]
    Recursive(String),
    #[error("waive: `{0}` is not a rule or a requirement that rules test; `migcert list rules` shows both")]
    NoRule(String),
    #[error("program: no `release` is named to put into it")]
    NoRelease,
    #[error("program: it has no `{{release}}` that could be another one")]
    OneRelease,
    #[error("args: `{arg}`: {why}")]
    Template { arg: String, why: BadTemplate },
    #[error("args: `{arg}`: `{{{blank}}}` stands for nothing: {why}")]
    Blank { arg: String, blank: Blank, why: &'static str },
    #[error("{place}: {why}")]
    Step { place: String, why: BadStep },
    #[error("{0}: more than {MAX_ACCESSES} accesses, with those of the scripts that it requests")]
    TooLong(String),
    #[error("{0}")]
    Toml(BadDocument),
    #[error("{}", .0.why())]
    Unread(CannotRead),
    #[error("volatile: {0} elements are too many: at most {most}", most = Pin::MOST)]
    TooVolatile(usize),
    #[error("volatile[{at}]: it hides what volatile[{other}] hides; say it once")]
    Overlap { at: usize, other: usize },
    #[error("volatile[{at}]: {why}")]
    Volatile { at: usize, why: BadPin },
    #[error("releases: none says what the program says: `{0}`")]
    Unknown(String),
}
