//! Cases of a target, one from the other: what touches something new is kept, and changed further.
//! A fuzzer without counters in the code, for any toolchain.

use crate::coverage::{self, Coverage};
use crate::entry;
use crate::finding::Outcome;
use crate::mutate::{cross, mutate};
use crate::oracle::Target;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// One input of so many is made of two.
const CROSSED: u32 = 8;
/// So many inputs are kept. Then one makes room for another.
const KEPT: usize = 4096;
/// A change that comes to nothing is tried again so often.
const TRIES: u32 = 64;

/// Where it is.
pub struct Explorer {
    target: &'static Target,
    rng: ChaCha8Rng,
    kept: Vec<Vec<u8>>,
    /// What was touched so far.
    pub coverage: Coverage,
}

impl Explorer {
    /// Before the first input. The same inputs and the same seed lead to the same cases.
    pub fn new(target: &'static Target, seed: u64) -> Explorer {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Explorer { target, rng, kept: Vec::new(), coverage: Coverage::default() }
    }

    /// Executes an input; `None` where it is no case of this target.
    pub fn execute(&mut self, input: &[u8]) -> Option<Outcome> {
        let drawn = self.target.recall(input)?;
        let (outcome, seen) = coverage::seen(|| self.target.judge_case(&drawn));
        if self.coverage.add(seen) {
            self.keep(input.to_owned());
        }
        Some(outcome)
    }

    /// Another input: one that was kept, changed, or two of them crossed. `None` where nothing comes
    /// of it.
    pub fn draw(&mut self) -> Option<Vec<u8>> {
        (0..TRIES).find_map(|_| {
            let [seed, one, other] = [(); 3].map(|()| self.rng.next_u32());
            let kept =
                |n: u32| self.kept.get(n as usize % self.kept.len().max(1)).map_or(&[][..], Vec::as_slice);
            let crossed = seed.is_multiple_of(CROSSED);
            let crossed = crossed.then(|| cross(self.target, kept(one), kept(other), entry::MAX, seed));
            crossed.flatten().or_else(|| mutate(self.target, kept(one), entry::MAX, seed))
        })
    }

    fn keep(&mut self, input: Vec<u8>) {
        if self.kept.len() < KEPT {
            self.kept.push(input);
        } else {
            let at = self.rng.next_u32() as usize % KEPT;
            self.kept[at] = input;
        }
    }
}
