//! Noise: bytes of a state in which two instances differ that did the same.

use super::Bench;
use super::control::Recipe;
use crate::deadline::sleep;
use crate::finding::Stop;
use std::collections::BTreeSet;
use std::time::Duration;

/// Number of states saved to find noise.
const SAVES: u32 = 3;
/// Pauses before saving them grow by this.
const PAUSE: Duration = Duration::from_millis(5);

/// The noise in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noise {
    /// Those at these places.
    At(BTreeSet<usize>),
    /// All: the states have different lengths.
    All,
}

impl Noise {
    /// The first byte in which two states differ that should not, counted from 0.
    pub fn difference(&self, one: &[u8], other: &[u8]) -> Option<usize> {
        let Noise::At(places) = self else { return None };
        let mut bytes = one.iter().zip(other).enumerate();
        let differ = bytes.find(|(at, (a, b))| a != b && !places.contains(at)).map(|(at, _)| at);
        differ.or((one.len() != other.len()).then(|| one.len().min(other.len())))
    }
}

impl<'a> Bench<'a> {
    /// What is noise in the states of instances that came about like this and played the whole
    /// script, as one that saved these bytes.
    ///
    /// # Errors
    /// As [`Bench::unmoved`].
    pub fn noise(&self, recipe: &Recipe<'a>, saved: &[u8]) -> Result<Noise, Stop> {
        let mut noise = BTreeSet::new();
        for save in 1..=SAVES {
            let mut run = self.unmoved(recipe.clone())?;
            if recipe.subject.pauses() {
                sleep(PAUSE * save);
            }
            let state = self.usual().save(&mut *run.device, None)?;
            if state.len() != saved.len() {
                return Ok(Noise::All);
            }
            noise.extend((0..saved.len()).filter(|at| saved[*at] != state[*at]));
        }
        Ok(Noise::At(noise))
    }
}
