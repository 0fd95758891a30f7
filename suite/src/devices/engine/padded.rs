//! A state that stays where it is, behind a token of any size: what is carried is as long as a state, differs
//! each time, and is noise but for eight bytes.

use super::{Engine, Reference};
use crate::devices::kept::padding;
use migcert_core::envelope::read::Sections;
use migcert_core::envelope::{BadState, Tag};
use migcert_core::error::Error;

const TOKEN: Tag = Tag::new(b"padd");

impl<R: Reference> Engine<R> {
    /// Keeps the state beside, and ends the stream with noise that says where.
    pub(super) fn finish_with_noise(&mut self) -> Result<(), Error> {
        let state = self.whole()?;
        let len = state.len();
        let token = self.faults.kept().keep(state);
        let noise: Vec<u8> = token.to_le_bytes().into_iter().chain(padding(token)).take(len).collect();
        self.finish_with(TOKEN, &noise);
        Ok(())
    }

    /// The state that noise stands for; anything else is a state itself.
    pub(super) fn behind_noise(&self, mut carried: Sections) -> Result<Sections, BadState> {
        let Ok(noise) = carried.take(TOKEN) else { return Ok(carried) };
        let token = noise.first_chunk().map(|token| u64::from_le_bytes(*token));
        self.read_back(token.and_then(|token| self.faults.kept().find(token)))
    }
}
