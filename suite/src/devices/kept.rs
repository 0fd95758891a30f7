//! What the instances of a program in this process have in common beside the bytes, as processes have files:
//! only a faulty device keeps a state there. And programs whose instances have none of it in common.

use super::fault::Faults;
use migcert_core::device::{Device, Outside};
use migcert_core::error::Error;
use migcert_core::model::ModelId;
use migcert_core::program::{Apart, Manifest, Program};
use migcert_core::version::Setup;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// States, by tokens that each are given once.
#[derive(Debug, Default)]
pub struct Kept(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    given: u64,
    /// By how many were given before.
    states: BTreeMap<u64, (u64, Vec<u8>)>,
}

impl Kept {
    /// Keeps a state; the token by which it is found again.
    pub fn keep(&self, state: Vec<u8>) -> u64 {
        /// States at most; the oldest make room.
        const MOST: u64 = 1024;
        let mut table = self.table();
        let number = table.given;
        table.given += 1;
        let token = next(number);
        table.states.insert(number, (token, state));
        table.states.retain(|kept, _| number - kept < MOST);
        token
    }

    /// The state of a token.
    pub fn find(&self, token: u64) -> Option<Vec<u8>> {
        let table = self.table();
        let mut states = table.states.values();
        states.find(|(kept, _)| *kept == token).map(|(_, state)| state.clone())
    }

    fn is_empty(&self) -> bool {
        self.table().states.is_empty()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that look like any, and follow from a token.
pub fn padding(token: u64) -> impl Iterator<Item = u8> {
    let words = std::iter::successors(Some(next(token)), |word| Some(next(*word)));
    words.flat_map(u64::to_le_bytes)
}

/// The step of splitmix64.
fn next(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

/// A program whose instances have what [`Faults`] say.
pub(super) trait Planted: Program {
    /// The faults of its instances.
    fn faults(&self) -> &Faults;

    /// As [`Program::start`], with these faults instead.
    fn start_with(
        &self,
        model: &ModelId,
        setup: &Setup,
        outside: &Outside,
        faults: &Faults,
    ) -> Result<Box<dyn Device>, Error>;
}

/// A program with instances that have nothing in common but their host's side.
pub(super) struct Alone<'a, P> {
    program: &'a P,
    kept: Mutex<Vec<Arc<Kept>>>,
}

impl<'a, P: Planted> Alone<'a, P> {
    /// Of this program.
    pub(super) fn of(program: &'a P) -> Alone<'a, P> {
        Alone { program, kept: Mutex::default() }
    }
}

impl<P: Planted> Program for Alone<'_, P> {
    fn describe(&self) -> Result<Manifest, Error> {
        self.program.describe()
    }

    fn outside(&self) -> Result<Outside, Error> {
        self.program.outside()
    }

    fn start(&self, model: &ModelId, setup: &Setup, outside: &Outside) -> Result<Box<dyn Device>, Error> {
        let (faults, kept) = self.program.faults().alone();
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
        self.program.start_with(model, setup, outside, &faults)
    }
}

impl<P: Planted> Apart for Alone<'_, P> {
    fn written(&self) -> Vec<String> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let any = kept.iter().any(|kept| !kept.is_empty());
        any.then(|| "a table of its process".to_owned()).into_iter().collect()
    }
}
