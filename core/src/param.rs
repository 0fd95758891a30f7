//! Chapter R-3: parameters, their values, and what a value may be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A parameter's name: UTF-8 without `=`, `/` or white space, and not empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

impl fmt::Display for ParamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Not a parameter's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a parameter name: names are not empty and have no `=`, `/` or white space")]
pub struct BadName(String);

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type {
    /// `on` or `off`; `true` or `false` in JSON.
    Bool,
    /// A signed 64-bit number.
    Int,
    /// Text without newline.
    Str,
}

impl Type {
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
#[error("`{text}` is not {}", match ty {
    Type::Bool => "`on` or `off`",
    Type::Int => "a signed 64-bit number",
    Type::Str => "text without newline",
})]
pub struct BadValue {
    text: String,
    ty: Type,
}

/// A parameter's value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

    /// The ranges, in order, apart and not adjacent.
    pub fn ranges(&self) -> &[RangeInclusive<i64>] {
        &self.0
    }
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
}

/// What a description says of one parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// The type of all its values.
    pub ty: Type,
    /// What a fresh instance gets.
    pub init: Value,
    /// The value with which it has no effect; `None` if it can't be turned off.
    pub off: Option<Value>,
    /// The values that may be given.
    pub allowed: Allowed,
    /// For people.
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
    fn names_are_checked() {
        for good in ["rx-filter-size", "ä", "x.y", "1"] {
            assert!(good.parse::<ParamName>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a=b", "a/b", "a\n", "a\u{a0}b"] {
            assert!(bad.parse::<ParamName>().is_err(), "{bad:?}");
        }
    }
}
