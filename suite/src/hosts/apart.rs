//! A program whose instances have all files for themselves.

use super::cell::written::Written;
use super::rooms::{Files, Rooms};
use migcert_core::device::{Device, Outside};
use migcert_core::error::Error;
use migcert_core::model::ModelId;
use migcert_core::program::{Apart, Manifest, Program, Share};
use migcert_core::version::Setup;
use std::borrow::Cow;
use std::sync::Arc;

/// A program whose instances are given files when they start.
pub(super) trait Filed: Program {
    /// As [`Program::start`], with these files.
    fn start_with(
        &self,
        model: &ModelId,
        setup: &Setup,
        outside: &Outside,
        files: Files<'_>,
    ) -> Result<Box<dyn Device>, Error>;
}

/// The program with such instances: see [`Program::apart`].
pub(super) fn apart<'a>(
    program: &'a dyn Filed,
    rooms: &Rooms,
    share: Share,
) -> Result<Box<dyn Apart + 'a>, Cow<'static, str>> {
    rooms.can_be_apart(share)?;
    Ok(Box::new(Alone { program, share, written: Arc::default() }))
}

struct Alone<'a> {
    program: &'a dyn Filed,
    share: Share,
    written: Arc<Written>,
}

impl Program for Alone<'_> {
    fn describe(&self) -> Result<Manifest, Error> {
        self.program.describe()
    }

    fn outside(&self) -> Result<Outside, Error> {
        self.program.outside()
    }

    fn start(&self, model: &ModelId, setup: &Setup, outside: &Outside) -> Result<Box<dyn Device>, Error> {
        self.program.start_with(model, setup, outside, Files::Apart(self.share, &self.written))
    }
}

impl Apart for Alone<'_> {
    fn written(&self) -> Vec<String> {
        self.written.names()
    }
}
