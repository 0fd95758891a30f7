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
        let mut whole = self.writer();
        self.device.save(Pass::First, &mut whole)?;
        self.device.save(Pass::Last, &mut whole)?;
        let state = whole.finish().into_bytes();
        let token = TABLE.lock().unwrap_or_else(PoisonError::into_inner).keep(state);
        let mut writer = match std::mem::replace(&mut self.session, Session::Closed) {
            Session::Open(writer) => *writer,
            _ => self.writer(),
        };
        writer.section(TOKEN, &token);
        self.session = Session::Finished(writer.finish());
        Ok(())
    }

    /// The state that a stream says where to find; one that says nothing of it is a state itself.
    pub(super) fn found(&self, mut carried: Sections) -> Result<Sections, BadState> {
        let Ok(token) = carried.take(TOKEN) else { return Ok(carried) };
        let lost = || BadState::ByDevice("no state is kept under this token".to_owned());
        let token = Token::try_from(token).map_err(|_| lost())?;
        let state = TABLE.lock().unwrap_or_else(PoisonError::into_inner).states.get(&token).cloned();
        let (model, list) = self.device.identity();
        let mut reader = Reader::new(model, list);
        reader.push(&state.ok_or_else(lost)?)?;
        reader.finish()
    }
}
