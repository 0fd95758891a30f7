//! Chapter R-3: parameters, their values, and what a value may be.

use crate::text::Short;
use serde::{Serialize, Serializer};
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A parameter's name: UTF-8 without `=`, `/` or white space, and not empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ParamName(String);

impl ParamName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ParamName {
    type Err = BadName;
    fn from_str(s: &str) -> Result<ParamName, BadName> {
        let ok = !s.is_empty() && !s.contains(|c: char| c == '=' || c == '/' || c.is_whitespace());
        if ok { Ok(ParamName(s.to_owned())) } else { Err(BadName(s.to_owned())) }
    }
}

impl Borrow<str> for ParamName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ParamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Not a parameter's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a parameter name: names are not empty and have no `=`, `/` or white space", Short(.0))]
pub struct BadName(String);

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// `on` or `off`; `true` or `false` in JSON.
    Bool,
    /// A signed 64-bit number.
    Int,
    /// Text without newline.
    Str,
}

impl Type {
    /// Every type.
    pub const ALL: [Type; 3] = [Type::Bool, Type::Int, Type::Str];

    /// As migration info writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Str => "str",
        }
    }

    /// Reads a value of this type as a command line gives it.
    ///
    /// # Errors
    /// [`BadValue`] if the text is no such value.
    pub fn parse(self, text: &str) -> Result<Value, BadValue> {
        let bad = || BadValue { text: text.to_owned(), ty: self };
        match self {
            Type::Bool => match text {
                "on" => Ok(Value::Bool(true)),
                "off" => Ok(Value::Bool(false)),
                _ => Err(bad()),
            },
            Type::Int => text.parse().map(Value::Int).map_err(|_| bad()),
            Type::Str if text.contains('\n') => Err(bad()),
            Type::Str => Ok(Value::Str(text.to_owned())),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Text that is no value of a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not {}", Short(text), match ty {
    Type::Bool => "`on` or `off`",
    Type::Int => "a signed 64-bit number",
    Type::Str => "text without newline",
})]
pub struct BadValue {
    text: String,
    ty: Type,
}

/// A parameter's value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// `on` or `off`.
    Bool(bool),
    /// A number.
    Int(i64),
    /// Text without newline.
    Str(String),
}

impl Value {
    /// Its type.
    pub const fn ty(&self) -> Type {
        match self {
            Value::Bool(_) => Type::Bool,
            Value::Int(_) => Type::Int,
            Value::Str(_) => Type::Str,
        }
    }
}

impl fmt::Display for Value {
    /// As a command line gives it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(true) => f.pad("on"),
            Value::Bool(false) => f.pad("off"),
            Value::Int(n) => n.fmt(f),
            Value::Str(s) => f.pad(s),
        }
    }
}

/// A set of numbers, kept as ranges that are sorted, apart and not adjacent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct IntSet(Vec<RangeInclusive<i64>>);

impl IntSet {
    /// Whether the number is in the set.
    pub fn contains(&self, n: i64) -> bool {
        let at = self.0.partition_point(|range| *range.end() < n);
        self.0.get(at).is_some_and(|range| range.contains(&n))
    }

    /// Whether both sets have a number in common.
    pub fn meets(&self, other: &IntSet) -> bool {
        let (few, many) = if self.0.len() < other.0.len() { (self, other) } else { (other, self) };
        few.0.iter().any(|range| {
            let at = many.0.partition_point(|other| other.end() < range.start());
            many.0.get(at).is_some_and(|other| other.start() <= range.end())
        })
    }

    /// The ranges, in order, apart and not adjacent.
    pub fn ranges(&self) -> &[RangeInclusive<i64>] {
        &self.0
    }

    /// Reads `min-max`; both ends belong to it and either may be negative: `-5--1`.
    ///
    /// # Errors
    /// [`BadRange`] if the text is no range or has its larger end first.
    pub fn range(text: &str) -> Result<RangeInclusive<i64>, BadRange> {
        let malformed = || BadRange::Malformed(text.to_owned());
        let number = |digits: &str| {
            let plain = digits.strip_prefix('-').unwrap_or(digits).bytes().all(|b| b.is_ascii_digit());
            digits.parse::<i64>().ok().filter(|_| plain).ok_or_else(malformed)
        };
        // The dash that separates is the first one that is not the sign of `min`.
        let dash = text.bytes().skip(1).position(|b| b == b'-').ok_or_else(malformed)? + 1;
        let (min, max) = (number(&text[..dash])?, number(&text[dash + 1..])?);
        if min <= max { Ok(min..=max) } else { Err(BadRange::Inverted { min, max }) }
    }
}

/// Text that is no range of numbers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRange {
    /// The larger end stands first.
    #[error("the range `{min}-{max}` is empty: write the smaller number first")]
    Inverted {
        /// What stands first.
        min: i64,
        /// What stands last.
        max: i64,
    },
    /// Not two numbers with a dash between them.
    #[error(
        "`{}` is not a range of 64-bit numbers: write \"min-max\", or a single number without quotes",
        Short(.0)
    )]
    Malformed(String),
}

impl FromIterator<RangeInclusive<i64>> for IntSet {
    /// The union; empty ranges add nothing.
    fn from_iter<T: IntoIterator<Item = RangeInclusive<i64>>>(ranges: T) -> IntSet {
        let mut sorted: Vec<_> = ranges.into_iter().filter(|r| !r.is_empty()).collect();
        sorted.sort_by_key(|r| *r.start());
        let mut merged: Vec<RangeInclusive<i64>> = Vec::new();
        for range in sorted {
            match merged.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => merged.push(range),
            }
        }
        IntSet(merged)
    }
}

/// The values that a parameter may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Any of its type may be given; the implementation may still refuse it.
    Any,
    /// These of `on` and `off`.
    Bools(BTreeSet<bool>),
    /// These numbers.
    Ints(IntSet),
    /// These texts.
    Strs(BTreeSet<String>),
}

impl Allowed {
    /// Whether the value is one of them. Under [`Allowed::Any`], every value is.
    pub fn contains(&self, value: &Value) -> bool {
        match (self, value) {
            (Allowed::Any, _) => true,
            (Allowed::Bools(set), Value::Bool(b)) => set.contains(b),
            (Allowed::Ints(set), Value::Int(n)) => set.contains(*n),
            (Allowed::Strs(set), Value::Str(s)) => set.contains(s),
            _ => false,
        }
    }

    /// Whether both have a value in common; sets of different types have none.
    pub fn meets(&self, other: &Allowed) -> bool {
        match (self, other) {
            (Allowed::Any, _) | (_, Allowed::Any) => true,
            (Allowed::Bools(a), Allowed::Bools(b)) => !a.is_disjoint(b),
            (Allowed::Ints(a), Allowed::Ints(b)) => a.meets(b),
            (Allowed::Strs(a), Allowed::Strs(b)) => !a.is_disjoint(b),
            _ => false,
        }
    }

    /// Whether nothing is said of the values.
    pub const fn is_any(&self) -> bool {
        matches!(self, Allowed::Any)
    }
}

impl fmt::Display for Allowed {
    /// Values and ranges with a bar between them: `0|32`, `1-8`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<String> = match self {
            Allowed::Any => return f.write_str("anything"),
            Allowed::Bools(set) => set.iter().map(|b| Value::Bool(*b).to_string()).collect(),
            Allowed::Ints(set) => set.ranges().iter().map(written).collect(),
            Allowed::Strs(set) => set.iter().cloned().collect(),
        };
        f.write_str(&values.join("|"))
    }
}

impl Serialize for Allowed {
    /// A list of values, ranges as `"min-max"`; what is [`Allowed::Any`] is left out by
    /// whoever holds it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Allowed::Any => serializer.serialize_none(),
            Allowed::Bools(set) => serializer.collect_seq(set),
            Allowed::Ints(set) => serializer.collect_seq(set.ranges().iter().map(|range| {
                let single = range.start() == range.end();
                if single { Value::Int(*range.start()) } else { Value::Str(written(range)) }
            })),
            Allowed::Strs(set) => serializer.collect_seq(set),
        }
    }
}

/// `min-max`, or the number if there is only one.
fn written(range: &RangeInclusive<i64>) -> String {
    let (min, max) = (range.start(), range.end());
    if min == max { min.to_string() } else { format!("{min}-{max}") }
}

/// What a description says of one parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Param {
    /// The type of all its values.
    #[serde(rename = "type")]
    pub ty: Type,
    /// What a fresh instance gets.
    #[serde(rename = "init_value")]
    pub init: Value,
    /// The value with which it has no effect; `None` if it can't be turned off.
    #[serde(rename = "off_value", skip_serializing_if = "Option::is_none")]
    pub off: Option<Value>,
    /// The values that may be given.
    #[serde(rename = "allowed_values", skip_serializing_if = "Allowed::is_any")]
    pub allowed: Allowed,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl Param {
    /// Whether a value of the right type and an allowed one.
    pub fn allows(&self, value: &Value) -> bool {
        value.ty() == self.ty && self.allowed.contains(value)
    }
}

/// Values by parameter: a full configuration, or a part of one where the text says so.
pub type Configuration = BTreeMap<ParamName, Value>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_merged_and_searched() {
        let set: IntSet = [5..=7, 0..=1, 8..=8, 2..=2, i64::MAX..=i64::MAX].into_iter().collect();
        assert_eq!(set.ranges(), [0..=2, 5..=8, i64::MAX..=i64::MAX]);
        for n in -1..=9 {
            assert_eq!(set.contains(n), matches!(n, 0..=2 | 5..=8), "{n}");
        }
        assert!(set.contains(i64::MAX));
        assert!(!set.contains(i64::MIN));
    }

    #[test]
    fn ranges_are_read() {
        for (text, range) in [
            ("0-255", 0..=255),
            ("5-5", 5..=5),
            ("-5--1", -5..=-1),
            ("-10-5", -10..=5),
            ("-9223372036854775808-9223372036854775807", i64::MIN..=i64::MAX),
        ] {
            assert_eq!(IntSet::range(text), Ok(range));
        }
        assert_eq!(IntSet::range("7-5"), Err(BadRange::Inverted { min: 7, max: 5 }));
        for bad in
            ["", "-", "--", "5", "5-", "-5", "-5-", "1-2-3", " 1-2", "+1-2", "1-9223372036854775808", "ä-1"]
        {
            assert_eq!(IntSet::range(bad), Err(BadRange::Malformed(bad.to_owned())));
        }
    }

    #[test]
    fn sets_meet_where_they_share_a_number() {
        let set = |ranges: &[RangeInclusive<i64>]| ranges.iter().cloned().collect::<IntSet>();
        let few = set(&[3..=5]);
        for (many, meet) in [(set(&[0..=2, 6..=9]), false), (set(&[0..=3, 9..=9]), true), (set(&[]), false)] {
            assert_eq!((few.meets(&many), many.meets(&few)), (meet, meet));
        }
    }

    #[test]
    fn names_are_checked() {
        for good in ["rx-filter-size", "ä", "x.y", "1"] {
            assert!(good.parse::<ParamName>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a=b", "a/b", "a\n", "a\u{a0}b"] {
            assert!(bad.parse::<ParamName>().is_err(), "{bad:?}");
        }
    }
}
