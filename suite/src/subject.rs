//! A subject: an implementation under test, with what is known about it.

use crate::deadline;
use crate::isolation::Known;
use crate::learned::Learned;
use migcert_core::device::Interface;
use migcert_core::error::Error;
use migcert_core::model::ModelId;
use migcert_core::program::{Manifest, Program};
use migcert_core::version::Setup;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Default number of cases for a rule.
const CASES: u32 = 1000;

/// An implementation under test: a device program and what it says of itself.
pub struct Subject {
    /// Its name on the command line (IMPL).
    pub name: String,
    /// The program.
    pub program: Box<dyn Program>,
    /// Its description, asked for once.
    pub manifest: Manifest,
    /// SHA-256 of the file behind it, in hexadecimal digits, if there is one.
    pub sha256: Option<String>,
    /// That file.
    pub file: Option<PathBuf>,
    /// Places that its guest leaves alone.
    pub never: Vec<Untouched>,
    /// Rules and requirements that are not held against it, each with the reason.
    pub waive: BTreeMap<String, String>,
    /// Default number of cases for a rule: as many as take a few seconds.
    pub cases: u32,
    /// How instances are known to be kept apart; `None` where they run in this process.
    pub isolation: Option<Known>,
    /// Places known to be volatile, shared with those who open it again to confirm a finding.
    pub learned: Arc<Learned>,
    /// Whether it has time of its own.
    pub time: Time,
}

/// Bytes of a region that no guest touches, because a profile says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Untouched {
    /// Region number.
    pub region: u32,
    /// Bytes from the start of the region.
    pub offset: u64,
    /// How many bytes.
    pub size: u64,
}

/// Whether a device has time of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Time {
    /// It may have: it can read a clock, have threads, or be a process.
    #[default]
    Own,
    /// It has none but what [`Step::Pass`](migcert_core::device::Step::Pass) gives it, and control runs need no pauses.
    Given,
    /// It may have, but runs in this process, where few devices do: control runs pause once two of them
    /// differed.
    OnceSeen,
}

impl Subject {
    /// A subject with this description and the defaults.
    pub fn new(name: String, program: Box<dyn Program>, manifest: Manifest) -> Subject {
        Subject {
            name,
            program,
            manifest,
            sha256: None,
            file: None,
            never: vec![],
            waive: BTreeMap::new(),
            cases: CASES,
            isolation: None,
            learned: Arc::default(),
            time: Time::Own,
        }
    }

    /// The same, known to have no time but what steps give it.
    #[must_use]
    pub fn timeless(self) -> Subject {
        Subject { time: Time::Given, ..self }
    }

    /// The same, in this process: two runs show whether it has time of its own.
    #[must_use]
    pub fn in_process(self) -> Subject {
        Subject { time: Time::OnceSeen, ..self }
    }

    /// The same, sharing what is known to be volatile with another subject of the same implementation.
    #[must_use]
    pub fn sharing(self, other: &Subject) -> Subject {
        Subject { learned: Arc::clone(&other.learned), ..self }
    }

    /// What a guest can do with an instance of this setup.
    ///
    /// # Errors
    /// As [`migcert_core::program::Program::start`].
    pub fn interface(&self, model: &ModelId, setup: &Setup) -> Result<Interface, Error> {
        self.interface_by(&*self.program, model, setup)
    }

    /// The same, of an instance that this program starts: its own, or one that reuses instances.
    pub(crate) fn interface_by(
        &self,
        program: &dyn Program,
        model: &ModelId,
        setup: &Setup,
    ) -> Result<Interface, Error> {
        deadline::check()?;
        let outside = program.outside()?;
        let device = program.start(model, setup, &outside)?;
        Ok(device.capabilities().interface)
    }

    /// Whether its control runs are apart in time.
    pub(crate) fn pauses(&self) -> bool {
        match self.time {
            Time::Own => true,
            Time::Given => false,
            Time::OnceSeen => !self.learned.is_empty(),
        }
    }
}
