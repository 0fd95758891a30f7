//! Values and sets as numbers, so that comparing them is comparing numbers.

use crate::param::{Allowed, Type, Value};
use crate::program::Description;

/// Every name and text of some descriptions, in order.
pub(crate) struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    pub(crate) fn of(descriptions: &[&'a Description]) -> Words<'a> {
        let mut words = Vec::new();
        for description in descriptions {
            for (name, param) in &description.params {
                words.push(name.as_str());
                words.extend(param.off.iter().filter_map(text));
                words.extend(texts(&param.allowed));
            }
            let sides = description.requires.iter().flat_map(|clause| [&clause.when, &clause.then]);
            words.extend(sides.flat_map(|side| side.values()).flat_map(texts));
        }
        words.sort_unstable();
        words.dedup();
        Words(words)
    }

    /// An odd number for a word that is there, the even one between its neighbours for any other:
    /// words are in the order of their numbers, and no other word is taken for one that is there.
    pub(crate) fn number(&self, word: &str) -> i64 {
        let (at, odd) = self.0.binary_search(&word).map_or_else(|at| (at, 0), |at| (at, 1));
        i64::try_from(2 * at + odd).unwrap_or(i64::MAX)
    }

    pub(crate) fn flat(&self, value: &Value) -> Flat {
        let number = match value {
            Value::Bool(b) => i64::from(*b),
            Value::Int(n) => *n,
            Value::Str(text) => self.number(text),
        };
        Flat { kind: Kind::of(value.ty()), number }
    }

    pub(crate) fn set(&self, allowed: &Allowed) -> Set {
        let single = |number: i64| (number, number);
        match allowed {
            Allowed::Any => Set::new(Kind::ANY, [(i64::MIN, i64::MAX)]),
            Allowed::Bools(set) if set.len() == 2 => Set::new(Kind::of(Type::Bool), [(0, 1)]),
            Allowed::Bools(set) => Set::new(Kind::of(Type::Bool), set.iter().map(|b| single(i64::from(*b)))),
            Allowed::Ints(set) => {
                Set::new(Kind::of(Type::Int), set.ranges().iter().map(|range| (*range.start(), *range.end())))
            }
            Allowed::Strs(set) => {
                Set::new(Kind::of(Type::Str), set.iter().map(|text| single(self.number(text))))
            }
        }
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Str(text) => Some(text),
        _ => None,
    }
}

fn texts(allowed: &Allowed) -> impl Iterator<Item = &str> {
    let set = match allowed {
        Allowed::Strs(set) => Some(set),
        _ => None,
    };
    set.into_iter().flatten().map(String::as_str)
}

/// A value, or the absence of one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flat {
    pub(crate) kind: Kind,
    number: i64,
}

impl Flat {
    pub(crate) const ABSENT: Flat = Flat { kind: Kind::NONE, number: 0 };
}

/// A set of types.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind(u64);

impl Kind {
    pub(crate) const NONE: Kind = Kind(0);
    const ANY: Kind = Kind(u64::MAX);

    pub(crate) const fn of(ty: Type) -> Kind {
        Kind(1 << ty as u8)
    }
}

/// The values of some type in some ranges: the first, and there is often only one, at hand.
pub(crate) struct Set {
    kind: Kind,
    first: (i64, i64),
    more: Box<[(i64, i64)]>,
}

impl Set {
    fn new(kind: Kind, ranges: impl IntoIterator<Item = (i64, i64)>) -> Set {
        let mut ranges = ranges.into_iter();
        let first = ranges.next().unwrap_or((0, -1));
        Set { kind, first, more: ranges.collect() }
    }

    /// Whether the value is in it; an absent one never is.
    #[inline]
    pub(crate) fn contains(&self, Flat { kind, number }: Flat) -> bool {
        let within = |&(min, max): &(i64, i64)| min <= number && number <= max;
        self.kind.0 & kind.0 != 0 && (within(&self.first) || self.more.iter().any(within))
    }
}
