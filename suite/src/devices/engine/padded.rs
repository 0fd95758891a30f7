//! A state that stays where it is, behind a token of any size: what is carried is as long as a state, differs
//! each time, and is noise but for eight bytes.

use super::{Engine, Pass, Reference, Session};
use crate::devices::kept::padding;
use migcert_core::envelope::read::{Reader, Sections};
use migcert_core::envelope::{BadState, Tag};
use migcert_core::error::Error;

const TOKEN: Tag = Tag::new(b"padd");

impl<R: Reference> Engine<R> {
    /// Keeps the state beside, and ends the stream with noise that says where.
    pub(super) fn finish_with_noise(&mut self) -> Result<(), Error> {
        let mut whole = self.writer();
        self.device.save(Pass::First, &mut whole)?;
        self.device.save(Pass::Last, &mut whole)?;
        let state = whole.finish().into_bytes();
        let len = state.len();
        let token = self.faults.kept().keep(state);
        let noise: Vec<u8> = token.to_le_bytes().into_iter().chain(padding(token)).take(len).collect();
        let mut writer = match std::mem::replace(&mut self.session, Session::Closed) {
            Session::Open(writer) => *writer,
            _ => self.writer(),
        };
        writer.section(TOKEN, &noise);
        self.session = Session::Finished(writer.finish());
        Ok(())
    }

    /// The state that noise stands for; anything else is a state itself.
    pub(super) fn behind_noise(&self, mut carried: Sections) -> Result<Sections, BadState> {
        let Ok(noise) = carried.take(TOKEN) else { return Ok(carried) };
        let token = noise.first_chunk().map(|token| u64::from_le_bytes(*token));
        let state = token.and_then(|token| self.faults.kept().find(token));
        let state =
            state.ok_or_else(|| BadState::ByDevice("no state is kept under this token".to_owned()))?;
        let (model, list) = self.device.identity();
        let mut reader = Reader::new(model, list);
        reader.push(&state)?;
        reader.finish()
    }
}
