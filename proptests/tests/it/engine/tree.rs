//! How bytes shrink.

use proptest::strategy::ValueTree;

/// Cuts chunks of bytes by halves, then zeroes them by halves, then lowers single bytes, and all
/// of that again as long as something becomes smaller.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The smallest that fails.
    best: Vec<u8>,
    tried: Option<Vec<u8>>,
    /// Index into [`PASSES`], with the chunk of its next attempt.
    pass: usize,
    at: usize,
    len: usize,
    /// Whether this round made anything smaller.
    better: bool,
}

/// Chunks of up to so many bytes, about an element, are cut in every length and at every place.
const SMALL: usize = 24;

/// Makes something smaller of what is before a chunk, the chunk, and what is after it.
type Pass = fn(&[u8], &[u8], &[u8]) -> Vec<u8>;

/// In this order.
const PASSES: &[Pass] = &[
    |before, _, after| [before, after].concat(),
    |before, chunk, after| [before, &vec![0; chunk.len()], after].concat(),
    |before, chunk, after| [before, &each(chunk, |byte| byte / 2), after].concat(),
    |before, chunk, after| [before, &each(chunk, |byte| byte.saturating_sub(1)), after].concat(),
];

fn each(chunk: &[u8], change: fn(u8) -> u8) -> Vec<u8> {
    chunk.iter().copied().map(change).collect()
}

impl ValueTree for Tree {
    type Value = Vec<u8>;

    fn current(&self) -> Vec<u8> {
        self.tried.as_ref().unwrap_or(&self.best).clone()
    }

    /// What was tried fails too: it is the best now.
    fn simplify(&mut self) -> bool {
        if let Some(smaller) = self.tried.take() {
            (self.best, self.better) = (smaller, true);
        }
        self.attempt()
    }

    /// What was tried doesn't fail.
    fn complicate(&mut self) -> bool {
        self.tried = None;
        self.at += self.stride();
        self.attempt()
    }
}

impl Tree {
    /// Of bytes that fail.
    pub(crate) fn of(best: Vec<u8>) -> Tree {
        Tree { len: best.len(), best, tried: None, pass: 0, at: 0, better: false }
    }

    /// Elements that can be cut begin anywhere and have any length.
    fn is_fine(&self) -> bool {
        self.pass == 0 && self.len <= SMALL
    }

    fn stride(&self) -> usize {
        if self.is_fine() { 1 } else { self.len }
    }

    fn attempt(&mut self) -> bool {
        while !self.best.is_empty() {
            if self.best.len() <= self.at {
                (self.at, self.len) = (0, if self.is_fine() { self.len - 1 } else { self.len / 2 });
            }
            if self.len == 0 {
                (self.pass, self.len) = (self.pass + 1, self.best.len());
            }
            if self.pass == PASSES.len() {
                if !self.better {
                    return false;
                }
                (self.pass, self.better) = (0, false);
            }
            let (before, rest) = self.best.split_at(self.at);
            let (chunk, after) = rest.split_at(self.len.min(rest.len()));
            let smaller = PASSES[self.pass](before, chunk, after);
            if smaller != self.best {
                self.tried = Some(smaller);
                return true;
            }
            self.at += self.stride();
        }
        false
    }
}
