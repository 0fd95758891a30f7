//! Makes a case smaller while it still breaks its rule.
//!
//! On four levels: what the guest does, what happens to the state, the configuration, and the
//! releases that synthetic devices are made from.

use crate::bench::Subject;
use crate::case::Case;
use migcert_core::program::Model;

mod damage;
mod guest;
mod history;
mod setup;

/// What a search for a smaller case may do.
pub struct Bounds<'a> {
    /// Smaller cases tried at most.
    pub tries: u32,
    /// Who may be asked what it supports; a synthetic one says it in its name.
    pub subjects: [&'a Subject; 2],
    /// Whether the case may name other implementations.
    pub names: Names,
}

/// Whether a smaller case may name other implementations than the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// It is about these implementations.
    Kept,
    /// It may be about one instead of two, and about releases that describe less.
    Free,
}

impl Bounds<'_> {
    /// What the source of a case says of its model.
    fn model(&self, case: &Case) -> Option<Model> {
        let known = self.subjects.iter().find(|subject| subject.name == case.source);
        let manifest = history::described(&case.source).or_else(|| Some(known?.manifest.clone()));
        manifest?.models.remove(&case.model)
    }
}

/// The smallest case that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Small {
    /// It.
    pub case: Case,
    /// How many were tried for it.
    pub tries: u32,
}

/// Tries smaller cases and keeps those that `breaks` says still do.
///
/// Deterministic: the same case, the same smaller case.
pub fn minimize(case: Case, bounds: &Bounds<'_>, breaks: &mut dyn FnMut(&Case) -> bool) -> Small {
    let mut search = Search { best: case, left: bounds.tries, breaks };
    loop {
        let before = search.best.clone();
        guest::fewer_steps(&mut search);
        search.descend(guest::fewer_things);
        search.descend(damage::fewer);
        search.descend(guest::earlier);
        if bounds.names == Names::Free {
            search.descend(|case| history::fewer(case, bounds));
        }
        search.descend(|case| setup::plainer(case, bounds));
        search.descend(damage::simpler);
        search.descend(guest::simpler);
        if search.best == before || search.left == 0 {
            return Small { case: search.best, tries: bounds.tries - search.left };
        }
    }
}

/// The smallest case so far, and how to find a smaller one.
struct Search<'a> {
    best: Case,
    left: u32,
    breaks: &'a mut dyn FnMut(&Case) -> bool,
}

impl Search<'_> {
    fn attempt(&mut self, smaller: Case) -> bool {
        if self.left == 0 || smaller == self.best {
            return false;
        }
        self.left -= 1;
        let better = (self.breaks)(&smaller);
        if better {
            self.best = smaller;
        }
        better
    }

    /// Tries the edits of the best, in order; after a success, those of what came of it, from the same
    /// place on.
    fn descend<'e>(&mut self, edits: impl Fn(&Case) -> Vec<Edit<'e>>) {
        let mut all = edits(&self.best);
        let mut at = 0;
        while at < all.len() && self.left != 0 {
            let smaller = all[at](&self.best);
            if smaller.is_some_and(|smaller| self.attempt(smaller)) {
                all = edits(&self.best);
            } else {
                at += 1;
            }
        }
    }
}

/// Makes a smaller case, where it can. Cases may be large, and edits are many: each holds little.
type Edit<'a> = Box<dyn Fn(&Case) -> Option<Case> + 'a>;

/// An edit that can always be made.
fn edit<'a>(change: impl Fn(&mut Case) + 'a) -> Edit<'a> {
    Box::new(move |case| {
        let mut smaller = case.clone();
        change(&mut smaller);
        Some(smaller)
    })
}

/// How large a case is, level by level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Implementations, and what synthetic ones describe: parameters, values, versions, combinations.
    pub history: usize,
    /// Steps of the guest, states asked for, and sizes of pieces.
    pub guest: usize,
    /// Damages, and the bytes in them.
    pub damage: usize,
    /// Parameters that don't have their init value.
    pub setup: usize,
}

impl Size {
    /// The size of a case between subjects of which it names some.
    pub fn of(case: &Case, bounds: &Bounds<'_>) -> Size {
        Size {
            history: history::size(case),
            guest: case.script.len() + case.walk.len() + case.pieces.len(),
            damage: damage::size(&case.damage),
            setup: setup::size(case, bounds),
        }
    }

    /// Each level with its name.
    pub fn levels(&self) -> [(&'static str, usize); 4] {
        [("history", self.history), ("guest", self.guest), ("damage", self.damage), ("setup", self.setup)]
    }
}

/// Smaller numbers, the smallest first: also the half, and all bits but the first or the last.
fn lower(n: u64) -> impl Iterator<Item = u64> {
    let first = n.checked_ilog2().map_or(0, |bit| 1 << bit);
    let last = n & n.wrapping_neg();
    let mut smaller = vec![0, 1, n / 2, n ^ first, n ^ last];
    smaller.sort_unstable();
    smaller.dedup();
    smaller.into_iter().filter(move |smaller| *smaller < n)
}

/// Bytes of a list that is lowered byte by byte.
const SHORT: usize = 64;

/// Fewer bytes, then lower ones; at least `least` of them.
fn fewer_bytes(bytes: &[u8], least: usize) -> Vec<Vec<u8>> {
    let len = bytes.len();
    let ranges = [0..least, 0..len / 2, len / 2..len, 0..len.saturating_sub(1), len.min(1)..len];
    let fewer = ranges.into_iter().filter(|range| least <= range.len() && range.len() < len);
    let mut all: Vec<Vec<u8>> = fewer.map(|range| bytes[range].to_vec()).collect();
    all.push(vec![0; len]);
    for (i, byte) in bytes.iter().enumerate().filter(|_| len <= SHORT) {
        all.extend(lower((*byte).into()).map(|lower| {
            let mut bytes = bytes.to_vec();
            bytes[i] = lower as u8;
            bytes
        }));
    }
    all.retain(|smaller| smaller != bytes);
    all
}
