//! How a state is loaded, and what faulty devices make of it.

use super::faults::*;
use super::{Engine, Reference};
use migcert_core::envelope::BadState;
use migcert_core::envelope::read::Reader;

/// A state on its way in. Without planted faults only the reader is used.
pub(super) struct Loading {
    pub(super) reader: Reader,
    pub(super) refused: Option<BadState>,
    /// All of it, for faults that look at it once more.
    pub(super) bytes: Vec<u8>,
    /// The same, for a fault that queues what came.
    pub(super) packets: Vec<Vec<u8>>,
}

impl<R: Reference> Engine<R> {
    /// Judges what was written and swaps it in.
    pub(super) fn judge(&mut self, loading: Loading) -> Result<(), BadState> {
        if self.hits(&LOADED_ONCE, self.scar.loaded_once) {
            return Ok(());
        }
        if self.hits(&REFUSAL_STICKS, self.scar.refused_once) {
            return Err(BadState::ByDevice("the device is busy with a failed load".to_owned()));
        }
        if loading.bytes.is_empty() && self.hits(&EMPTY_ACCEPTED, true) {
            return Ok(());
        }
        let result = self.load(loading);
        if result.is_err() && self.hits(&ERROR_SWALLOWED, true) {
            return Ok(());
        }
        if let Err(why) = &result
            && self.hits(&JUDGED_LATE, true)
        {
            self.scar.unjudged = Some(why.clone());
            return Ok(());
        }
        result
    }

    fn load(&mut self, loading: Loading) -> Result<(), BadState> {
        if self.is_plain() {
            return self.load_plain(loading.bytes);
        }
        let mut reader = loading.reader;
        let mut tail = &[][..];
        if let Some(why) = loading.refused {
            reader = match why {
                BadState::OtherSetup { saved, .. } if self.hits(&OTHER_SETUP_ACCEPTED, true) => {
                    let mut reader = Reader::new(self.device.identity().0, &saved);
                    reader.push(&loading.bytes)?;
                    reader
                }
                BadState::AfterEnd if self.hits(&TAIL_IGNORED, true) || self.hits(&TAIL_APPLIED, true) => {
                    let (model, list) = self.device.identity();
                    let mut reader = Reader::new(model, list);
                    let bytes = loading.bytes.chunks(1);
                    let end = bytes.take_while(|byte| reader.push(byte).is_ok()).count();
                    tail = &loading.bytes[end..];
                    reader = Reader::new(model, list);
                    reader.push(&loading.bytes[..end])?;
                    reader
                }
                why => return Err(why),
            };
        }
        let sections = reader.finish()?;
        let sections = if self.faults.has(&TOKEN_FOR_STATE) { self.found(sections)? } else { sections };
        let sections = if self.faults.has(&TOKEN_PADDED) { self.behind_noise(sections)? } else { sections };
        self.device.load(sections)?;
        if self.faults.has(&TAIL_APPLIED) {
            self.device.load_tail(tail);
        }
        Ok(())
    }

    /// Loads a state that has nothing but a sum after it.
    fn load_plain(&mut self, mut bytes: Vec<u8>) -> Result<(), BadState> {
        if self.faults.has(&CUT_ACCEPTED) {
            let whole = self.device.save_plain().map_err(|why| BadState::ByDevice(why.to_string()))?;
            if self.hits(&CUT_ACCEPTED, 1024 < bytes.len() && bytes.len() < whole.len()) {
                bytes.resize(whole.len() + SUM, 0);
            }
        }
        let (state, theirs) = bytes.split_at_checked(bytes.len().wrapping_sub(SUM)).unwrap_or_default();
        if self.faults.has(&RESERVES_CLAIMS) {
            let words = state.chunks_exact(4);
            let claims = words.map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
            let claim = claims.filter(|claim| *claim < 1 << 31).max().unwrap_or(0) as usize;
            if self.hits(&RESERVES_CLAIMS, state.len() < claim) {
                drop(std::hint::black_box(Vec::<u8>::with_capacity(claim)));
            }
        }
        self.hits(&PLAIN_FORMAT, sum(state) != theirs);
        self.device.load_plain(state)
    }
}

const SUM: usize = 4;

/// The checksum of a state without envelope, at which nobody looks.
pub(super) fn sum(bytes: &[u8]) -> [u8; SUM] {
    bytes.iter().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into())).to_le_bytes()
}
