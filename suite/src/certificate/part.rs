//! A part of a certification: its number, and the evidence that it adds to the whole.

use super::{Asked, Piece, SubjectInfo};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The number of a part and the number of parts: `1/3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    index: u32,
    of: u32,
}

impl Shard {
    /// Its number, from 1.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// How many there are.
    pub const fn of(self) -> u32 {
        self.of
    }

    /// Its share: every n-th element.
    pub fn share<T>(self, all: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
        all.skip(self.index as usize - 1).step_by(self.of as usize)
    }
}

impl FromStr for Shard {
    type Err = String;
    fn from_str(text: &str) -> Result<Shard, String> {
        let numbers = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match numbers {
            Some((index, of)) if 1 <= index && index <= of => Ok(Shard { index, of }),
            _ => Err("expected I/N with 1 <= I <= N, such as 1/3".to_owned()),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl TryFrom<String> for Shard {
    type Error = String;
    fn try_from(text: String) -> Result<Shard, String> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> String {
        shard.to_string()
    }
}

/// Which part of a certification, and what it was given.
#[derive(Clone, Debug)]
pub struct PartOf {
    /// Which.
    pub shard: Shard,
    /// Cases of each rule on each pair.
    pub cases: u32,
    /// The ids of known buckets.
    pub known: Vec<String>,
}

/// What the report of a part has beside what every report has.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Which.
    pub shard: Shard,
    /// What was asked for.
    pub asked: Asked,
    /// Cases of each rule on each pair.
    pub cases: u32,
    /// The ids of known buckets.
    pub known: Vec<String>,
    /// The implementations.
    pub subjects: Vec<SubjectInfo>,
    /// Its pieces of the work, in their order.
    pub pieces: Vec<Piece>,
}

/// Pieces of the same rule and pair, one after the other, as one.
pub(super) fn joined(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::new();
    for piece in pieces {
        let is_same = |last: &mut Piece| {
            last.judged.rule.id == piece.judged.rule.id && last.judged.pair == piece.judged.pair
        };
        match joined.pop_if(is_same) {
            Some(last) => joined.push(last.then(piece)),
            None => joined.push(piece),
        }
    }
    joined
}

impl Piece {
    /// This one, and then the cases that follow it.
    fn then(self, next: Piece) -> Piece {
        let is_other = self.alone.is_some() || next.alone.is_some();
        let alone = is_other.then(|| {
            let before = self.alone.unwrap_or_else(|| self.judged.clone());
            before.then(next.alone.unwrap_or_else(|| next.judged.clone()))
        });
        Piece { judged: self.judged.then(next.judged), alone }
    }
}
