//! A state that stays on the host: what is carried says where it lies.
//!
//! The table is of this process, so that any instance finds any state in it, as a program does that keeps
//! states in a directory of its own. It is the fault [`TOKEN_FOR_STATE`](super::faults::TOKEN_FOR_STATE).

use super::{Engine, Pass, Reference, Session};
use migcert_core::envelope::read::{Reader, Sections};
use migcert_core::envelope::{BadState, Tag};
use migcert_core::error::Error;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// So many states are kept; the oldest makes room.
const MOST: usize = 1024;

const TOKEN: Tag = Tag::new(b"tokn");

type Token = [u8; 8];

struct Table {
    states: BTreeMap<Token, Vec<u8>>,
    order: VecDeque<Token>,
}

static TABLE: Mutex<Table> = Mutex::new(Table { states: BTreeMap::new(), order: VecDeque::new() });

impl Table {
    fn keep(&mut self, state: Vec<u8>) -> Token {
        let digest: [u8; 32] = Sha256::digest(&state).into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        let token = [a, b, c, d, e, f, g, h];
        if self.states.insert(token, state).is_none() {
            self.order.push_back(token);
        }
        if MOST < self.order.len() {
            self.order.pop_front().map(|oldest| self.states.remove(&oldest));
        }
        token
    }
}

impl<R: Reference> Engine<R> {
    /// Keeps the state here, and ends the stream with where that is.
    pub(super) fn finish_with_token(&mut self) -> Result<(), Error> {
        let state = self.whole()?;
        let token = TABLE.lock().unwrap_or_else(PoisonError::into_inner).keep(state);
        self.finish_with(TOKEN, &token);
        Ok(())
    }

    /// The state that a stream says where to find; one that says nothing of it is a state itself.
    pub(super) fn found(&self, mut carried: Sections) -> Result<Sections, BadState> {
        let Ok(token) = carried.take(TOKEN) else { return Ok(carried) };
        let token = Token::try_from(token).ok();
        let table = || TABLE.lock().unwrap_or_else(PoisonError::into_inner);
        self.read_back(token.and_then(|token| table().states.get(&token).cloned()))
    }

    /// The whole state, as a stream that somebody who knows where it lies can load.
    pub(super) fn whole(&mut self) -> Result<Vec<u8>, Error> {
        let mut whole = self.writer();
        self.device.save(Pass::First, &mut whole)?;
        self.device.save(Pass::Last, &mut whole)?;
        Ok(whole.finish().into_bytes())
    }

    /// Ends the stream with this section, in place of a state.
    pub(super) fn finish_with(&mut self, tag: Tag, says: &[u8]) {
        let mut writer = match std::mem::replace(&mut self.session, Session::Closed) {
            Session::Open(writer) => *writer,
            _ => self.writer(),
        };
        writer.section(tag, says);
        self.session = Session::Finished(writer.finish());
    }

    /// What is in a state that was kept.
    pub(super) fn read_back(&self, state: Option<Vec<u8>>) -> Result<Sections, BadState> {
        let state =
            state.ok_or_else(|| BadState::ByDevice("no state is kept under this token".to_owned()))?;
        let (model, list) = self.device.identity();
        let mut reader = Reader::new(model, list);
        reader.push(&state)?;
        reader.finish()
    }
}
