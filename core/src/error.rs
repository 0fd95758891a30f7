//! The families of failure; only one of them accuses.

use crate::compat::Verdict;
use crate::device::{NoWalk, State};
use crate::envelope::BadState;
use crate::program::Unsupported;
use std::io;

mod aside;
mod errno;

pub use aside::{Aside, Line};
pub use errno::Errno;

/// Why something did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not a state that this device may load: short, damaged or foreign.
    #[error("the state is refused: {0}")]
    BadState(#[from] BadState),
    /// A legitimate no of the check. Nothing was disturbed, nobody is to blame.
    #[error("incompatible: {0}")]
    Incompatible(Verdict),
    /// The device broke. This, and only this, accuses by itself.
    #[error("the device misbehaved: {0}")]
    Misbehaved(#[from] Misbehaved),
    /// A legitimate no of the device or its program.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The device could not be reached or the machine failed; says nothing about the device.
    #[error("unavailable: {0}")]
    Unavailable(#[from] io::Error),
}

/// How a device broke.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misbehaved {
    /// The process ended, or the connection closed, when nobody asked it to.
    #[error("it died during {during}: {how}{}", .words.last().map(|w| format!("; its last words: {w}")).unwrap_or_default())]
    Died {
        /// What was being done.
        during: String,
        /// Exit status or signal.
        how: String,
        /// What it printed.
        words: Aside,
    },
    /// It said that it is in a state that it can't be in.
    #[error("it says that it is in {says} and should be in {should}")]
    InWrongState {
        /// The reported state.
        says: State,
        /// The state that its arcs led to.
        should: State,
    },
    /// It panicked, in process.
    #[error("it panicked: {0}")]
    Panicked(String),
    /// What it answered breaks the protocol it speaks.
    #[error("it answered {during} with {what}")]
    Protocol {
        /// What was asked.
        during: String,
        /// What is wrong with the answer.
        what: String,
    },
    /// A state that does not end.
    #[error("its state did not end after {0} bytes")]
    StateWithoutEnd(u64),
    /// A state of its own that it can't write down.
    #[error("its state can't be written: {0}")]
    Unwritable(String),
}

/// A no that the device or its program gives and survives.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// In its own words, in this process.
    #[error("the device refused: {0}")]
    ByDevice(String),
    /// A program answered with an error.
    #[error(transparent)]
    ByProgram(#[from] Failure),
    /// A program ended instead of serving a device.
    #[error("the program ended with {how}{words}")]
    Ended {
        /// Exit status.
        how: String,
        /// All that it printed.
        words: Aside,
    },
    /// The device runs, and does not offer to be migrated.
    #[error("the device can't be migrated: {0}")]
    NotMigratable(String),
    /// The state doesn't allow it.
    #[error("can't {what} in {state}")]
    NotIn {
        /// What was asked.
        what: &'static str,
        /// The state that forbids it.
        state: State,
    },
    /// No such change of state.
    #[error(transparent)]
    NoWalk(#[from] NoWalk),
    /// Model, version, parameter, value or combination is not supported.
    #[error("{0}")]
    Unsupported(#[from] Unsupported),
    /// The same, and nobody asked the program: it can't be told of what its description lacks.
    #[error("{0}; there is no way to ask the program for it")]
    NotAsked(Unsupported),
}

/// An operation that a device program answered with an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{during} failed{}{words}", .errno.map(|errno| format!(": {errno}")).unwrap_or_default())]
pub struct Failure {
    /// The operation, in the words of the wire: `SET MIG_DEVICE_STATE RUNNING`.
    pub during: String,
    /// The error, where the wire has numbers for them.
    pub errno: Option<Errno>,
    /// What the program printed.
    pub words: Aside,
}
