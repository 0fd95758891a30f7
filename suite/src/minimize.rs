//! Makes a case smaller while it still breaks its rule.
//!
//! On four levels: what the guest does, what happens to the state, the configuration, and the
//! releases: which they are, and what synthetic devices are described as.

use crate::case::Case;
use crate::entry;
use crate::oracle;
use crate::subject::Subject;
use migcert_core::program::Model;
use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

mod damage;
mod guest;
mod history;
mod names;
mod registers;
mod releases;
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
    /// It may be about one instead of two, about other releases, and about such as describe less.
    Free,
}

impl Bounds<'_> {
    /// What the source of a case says of its model.
    fn model(&self, case: &Case) -> Option<Model> {
        let known = self.subjects.iter().find(|subject| subject.name == case.source);
        if let Some(known) = known {
            return known.manifest.models.get(&case.model).cloned();
        }
        oracle::open_planted(&case.source)?.manifest.models.get(&case.model).cloned()
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
/// Deterministic: the same case, the same smaller case. What it ends with depends on what it begins
/// with, so with [`Names::Free`] every order is tried on devices in process, and then two changes at
/// once and the shortest scripts there are; where each try takes processes, one order must do.
pub fn minimize(case: Case, bounds: &Bounds<'_>, breaks: &mut dyn FnMut(&Case) -> bool) -> Small {
    let is_thorough = bounds.names == Names::Free && oracle::open_planted(&case.source).is_some();
    let orders = if is_thorough { ORDERS } else { &ORDERS[..1] };
    let mut search = Search { best: case.clone(), left: bounds.tries, bounds, breaks };
    let ends = orders.iter().map(|order| {
        search.best.clone_from(&case);
        search.settle(order);
        search.best.clone()
    });
    let smallest = ends.min_by_key(|case| cost(case, bounds));
    search.best = smallest.unwrap_or(case);
    while is_thorough && (search.short_script() || search.two_at_once()) {
        search.settle(&PASSES);
    }
    Small { case: search.best, tries: bounds.tries - search.left }
}

/// What is made smaller at a time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Damage,
    History,
    Moments,
    PlainDamage,
    PlainSteps,
    Setup,
    Steps,
    Things,
}

use Pass::{Damage, History, Moments, PlainDamage, PlainSteps, Setup, Steps, Things};

const PASSES: [Pass; 8] = [Steps, Things, Damage, Moments, History, Setup, PlainDamage, PlainSteps];

/// Each begins on another level; the first soon makes cases fast.
const ORDERS: &[[Pass; 8]] = &[
    PASSES,
    [Setup, History, Damage, PlainDamage, Things, Moments, Steps, PlainSteps],
    [History, Damage, Steps, Moments, Things, Setup, PlainDamage, PlainSteps],
    [Moments, Setup, Things, Steps, History, Damage, PlainDamage, PlainSteps],
];

/// What it takes to write a case down, and what there is of it.
fn cost(case: &Case, bounds: &Bounds<'_>) -> (usize, usize) {
    let things = Size::of(case, bounds).levels().iter().map(|(_, size)| size).sum();
    (names::length(case), things)
}

/// So many pairs of changes are looked at.
const LOOKS: u32 = 50_000;

/// The smallest case so far, and how to find a smaller one.
struct Search<'a> {
    best: Case,
    left: u32,
    bounds: &'a Bounds<'a>,
    breaks: &'a mut dyn FnMut(&Case) -> bool,
}

impl Search<'_> {
    /// Makes the best smaller on every level until none can be.
    fn settle(&mut self, order: &[Pass]) {
        loop {
            let before = self.best.clone();
            for pass in order {
                if *pass == Steps {
                    guest::fewer_steps(self);
                } else {
                    let bounds = self.bounds;
                    self.descend(|case| edits(*pass, case, bounds));
                }
            }
            if self.best == before || self.left == 0 {
                return;
            }
        }
    }

    /// Tries two changes of the best at once, where what comes of them costs less.
    fn two_at_once(&mut self) -> bool {
        let (before, bounds) = (self.best.clone(), self.bounds);
        let least = cost(&before, bounds);
        let all =
            |case: &Case| PASSES.into_iter().flat_map(|pass| edits(pass, case, bounds)).collect::<Vec<_>>();
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let mut known = HashSet::new();
        let mut looks = LOOKS;
        for one in all(&before).iter().filter_map(|edit| edit(&before)) {
            for both in all(&one).iter().chain(&registers::others(&one)).filter_map(|edit| edit(&one)) {
                looks -= 1;
                let mut is_new = || known.insert(hasher.hash_one(entry::encode(&both)));
                if cost(&both, bounds) < least && is_new() && self.attempt(both) {
                    return true;
                }
                if self.left == 0 || looks == 0 {
                    return false;
                }
            }
        }
        false
    }

    /// Tries the shortest scripts there are.
    fn short_script(&mut self) -> bool {
        let len = self.best.script.len();
        for script in registers::short(&self.best).into_iter().filter(|script| script.len() < len) {
            for at in 0..=script.len() {
                if self.attempt(Case { script: script.clone(), at: [at; 2], ..self.best.clone() }) {
                    return true;
                }
            }
        }
        false
    }

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

/// The changes of a pass, each by itself.
fn edits<'e>(pass: Pass, case: &Case, bounds: &'e Bounds<'e>) -> Vec<Edit<'e>> {
    let is_free = bounds.names == Names::Free;
    let followed = |edits: Vec<Edit<'e>>| edits.into_iter().flat_map(registers::followed).collect();
    match pass {
        Damage => damage::fewer(case),
        History if is_free => {
            followed(history::fewer(case, bounds).into_iter().chain(names::shorter(case)).collect())
        }
        History => Vec::new(),
        Moments => guest::earlier(case),
        PlainDamage => damage::simpler(case),
        PlainSteps if is_free => registers::first(case).into_iter().chain(guest::simpler(case)).collect(),
        PlainSteps => guest::simpler(case),
        Setup if is_free => followed(setup::plainer(case, bounds)),
        Setup => setup::plainer(case, bounds),
        Steps => guest::one_step_fewer(case),
        Things => guest::fewer_things(case),
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
