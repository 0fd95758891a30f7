//! Values and sets of them, as descriptions have them.

use crate::draw::list;
use arbitrary::{Result, Unstructured};
use migcert_core::param::{Allowed, IntSet, Type, Value};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// Values and ranges of one set.
const ALLOWED: usize = 4;
/// Characters of a text.
const TEXT: usize = 4;

/// Small numbers, and the ends of what a number can be.
fn int(u: &mut Unstructured<'_>) -> Result<i64> {
    Ok(match u.int_in_range(0..=7u8)? {
        0..=4 => u.int_in_range(0..=8)?,
        5 => u.int_in_range(-3..=-1)?,
        6 => u.int_in_range(31..=65)?,
        _ => *u.choose(&[i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1, 1 << 32])?,
    })
}

/// Text with what has a meaning elsewhere: in requests, in ranges, in JSON.
fn text(u: &mut Unstructured<'_>) -> Result<String> {
    let letters =
        list(u, TEXT, |u| u.choose(&['a', ',', '\\', '-', '=', ' ', '"', 'ü', '0', '+', '@']).copied())?;
    Ok(letters.into_iter().collect())
}

pub(super) fn value(u: &mut Unstructured<'_>, ty: Type) -> Result<Value> {
    Ok(match ty {
        Type::Bool => Value::Bool(u.int_in_range(0..=3u8)? == 3),
        Type::Int => Value::Int(int(u)?),
        Type::Str => Value::Str(text(u)?),
    })
}

/// A set of a type that is not empty.
pub(super) fn allowed(u: &mut Unstructured<'_>, ty: Type) -> Result<Allowed> {
    Ok(match ty {
        Type::Bool => Allowed::Bools([u.int_in_range(0..=3u8)? != 3].into()),
        Type::Str => {
            let mut set = BTreeSet::from([text(u)?]);
            set.extend(list(u, ALLOWED - 1, text)?);
            Allowed::Strs(set)
        }
        Type::Int => {
            let mut ranges = vec![range(u)?];
            ranges.extend(list(u, ALLOWED - 1, range)?);
            Allowed::Ints(ranges.into_iter().collect())
        }
    })
}

fn range(u: &mut Unstructured<'_>) -> Result<RangeInclusive<i64>> {
    let start = int(u)?;
    Ok(match u.int_in_range(0..=2u8)? {
        0 => start..=start,
        1 => start..=start.saturating_add(u.int_in_range(1..=4)?),
        _ => {
            let end = int(u)?;
            start.min(end)..=start.max(end)
        }
    })
}

/// Whether it is a set of values of this type; a clause names the values that it means.
pub(super) fn is_of(set: &Allowed, ty: Type) -> bool {
    match set {
        Allowed::Any => false,
        Allowed::Bools(_) => ty == Type::Bool,
        Allowed::Ints(_) => ty == Type::Int,
        Allowed::Strs(_) => ty == Type::Str,
    }
}

pub(super) fn only(value: &Value) -> Allowed {
    match value {
        Value::Bool(b) => Allowed::Bools([*b].into()),
        Value::Int(n) => Allowed::Ints([*n..=*n].into_iter().collect()),
        Value::Str(s) => Allowed::Strs([s.clone()].into()),
    }
}

pub(super) fn union(a: &Allowed, b: &Allowed) -> Allowed {
    match (a, b) {
        (Allowed::Bools(a), Allowed::Bools(b)) => Allowed::Bools(a | b),
        (Allowed::Strs(a), Allowed::Strs(b)) => Allowed::Strs(a | b),
        (Allowed::Ints(a), Allowed::Ints(b)) => {
            Allowed::Ints(a.ranges().iter().chain(b.ranges()).cloned().collect())
        }
        _ => Allowed::Any,
    }
}

/// Takes away a value or a range, or one end of it.
pub(super) fn narrow(u: &mut Unstructured<'_>, allowed: &mut Allowed) -> Result<()> {
    match allowed {
        Allowed::Any => {}
        Allowed::Bools(set) => {
            set.remove(&(u.int_in_range(0..=1u8)? == 0));
        }
        Allowed::Strs(set) => {
            let gone = u.choose_iter(set.iter())?.clone();
            set.remove(&gone);
        }
        Allowed::Ints(set) => {
            let mut ranges = set.ranges().to_vec();
            let which = u.choose_index(ranges.len())?;
            let (start, end) = ranges[which].clone().into_inner();
            match u.int_in_range(0..=2u8)? {
                0 => drop(ranges.remove(which)),
                1 => ranges[which] = start..=end.saturating_sub(1),
                _ => ranges[which] = start.saturating_add(1)..=end,
            }
            *set = ranges.into_iter().collect();
        }
    }
    Ok(())
}

pub(super) fn without(allowed: &mut Allowed, value: &Value) {
    match (allowed, value) {
        (Allowed::Bools(set), Value::Bool(b)) => drop(set.remove(b)),
        (Allowed::Strs(set), Value::Str(s)) => drop(set.remove(s)),
        (Allowed::Ints(set), Value::Int(n)) => {
            let apart = |range: &RangeInclusive<i64>| {
                let (start, end) = range.clone().into_inner();
                let below = n.checked_sub(1).map(|n| start..=end.min(n));
                let above = n.checked_add(1).map(|n| start.max(n)..=end);
                below.into_iter().chain(above).collect::<Vec<_>>()
            };
            *set = set.ranges().iter().flat_map(apart).collect::<IntSet>();
        }
        _ => {}
    }
}

pub(super) fn first(allowed: &Allowed) -> Option<Value> {
    match allowed {
        Allowed::Any => None,
        Allowed::Bools(set) => set.first().copied().map(Value::Bool),
        Allowed::Ints(set) => set.ranges().first().map(|range| Value::Int(*range.start())),
        Allowed::Strs(set) => set.first().cloned().map(Value::Str),
    }
}
