//! JSON as a bounded tree in which every value knows its place.

use crate::manifest::{BadManifest, Flaw, MAX_DEPTH, MAX_VALUES};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;

/// A value; the members of an object in the order of the document, the repeated ones too.
#[derive(Debug)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Int(i64),
    /// With fraction or exponent, or not of 64 bits signed: nothing that we have a use for.
    OtherNumber,
    Str(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a whole document of at most [`MAX_VALUES`] values, nested at most [`MAX_DEPTH`] deep.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Json, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let left = Cell::new(MAX_VALUES);
        let tree = Tree { depth: 0, left: &left }.deserialize(&mut reader)?;
        reader.end()?;
        Ok(tree)
    }

    /// What it is, in words.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "a bool",
            Json::Int(_) => "a number",
            Json::OtherNumber => "a number with fraction or exponent, or beyond 64 bits",
            Json::Str(_) => "a string",
            Json::List(_) => "a list",
            Json::Object(_) => "an object",
        }
    }
}

#[derive(Clone, Copy)]
struct Tree<'a> {
    depth: usize,
    left: &'a Cell<usize>,
}

impl Tree<'_> {
    fn inner<E: Error>(self) -> Result<Self, E> {
        if self.depth < MAX_DEPTH {
            Ok(Tree { depth: self.depth + 1, ..self })
        } else {
            Err(E::custom(format_args!("nested deeper than {MAX_DEPTH}")))
        }
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Json;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        let Some(left) = self.left.get().checked_sub(1) else {
            return Err(D::Error::custom(format_args!("more than {MAX_VALUES} values")));
        };
        self.left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Json;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Int(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or(Json::OtherNumber, Json::Int))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        // What JSON makes of `-0`: of no other number than zero.
        Ok(if value.to_bits() == (-0.0f64).to_bits() { Json::Int(0) } else { Json::OtherNumber })
    }
    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Str(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Str(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let inner = self.inner()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Json::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let inner = self.inner()?;
        let mut object = Vec::new();
        while let Some(name) = members.next_key()? {
            object.push((name, members.next_value_seed(inner)?));
        }
        Ok(Json::Object(object))
    }
}

/// A value and its place.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    pub(crate) json: &'a Json,
    pub(crate) at: At<'a>,
}

impl<'a> Node<'a> {
    /// The members of an object whose names the format fixes.
    pub(crate) fn object(&'a self) -> Result<impl Iterator<Item = (&'a str, Node<'a>)>, BadManifest> {
        self.members(At::Member)
    }

    /// The members of an object in which the names are the document's own.
    pub(crate) fn names(&'a self) -> Result<impl Iterator<Item = (&'a str, Node<'a>)>, BadManifest> {
        self.members(At::Name)
    }

    /// The members of an object, no two of the same name.
    fn members(
        &'a self,
        place: fn(&'a At<'a>, &'a str) -> At<'a>,
    ) -> Result<impl Iterator<Item = (&'a str, Node<'a>)>, BadManifest> {
        let Json::Object(members) = self.json else { return Err(self.expected("an object")) };
        let mut seen = BTreeSet::new();
        if let Some((name, _)) = members.iter().find(|(name, _)| !seen.insert(name)) {
            return Err(place(&self.at, name).bad(Flaw::Duplicate));
        }
        Ok(members.iter().map(move |(name, json)| (name.as_str(), Node { json, at: place(&self.at, name) })))
    }

    /// The member of that name, if this is an object that has it.
    pub(crate) fn member(&'a self, name: &'a str) -> Option<Node<'a>> {
        let Json::Object(members) = self.json else { return None };
        let (_, json) = members.iter().find(|(other, _)| other == name)?;
        Some(Node { json, at: At::Member(&self.at, name) })
    }

    /// The member of that name, which has to be there.
    pub(crate) fn required(&'a self, name: &'static str) -> Result<Node<'a>, BadManifest> {
        self.member(name).ok_or_else(|| self.at.bad(Flaw::Missing(name)))
    }

    /// The items of a list.
    pub(crate) fn items(&'a self) -> Result<impl Iterator<Item = Node<'a>>, BadManifest> {
        let Json::List(items) = self.json else { return Err(self.expected("a list")) };
        Ok(items.iter().enumerate().map(|(i, json)| Node { json, at: At::Item(&self.at, i) }))
    }

    /// A string.
    pub(crate) fn text(&self) -> Result<&'a str, BadManifest> {
        match self.json {
            Json::Str(text) => Ok(text),
            _ => Err(self.expected("a string")),
        }
    }

    /// Refuses repeated members anywhere below.
    pub(crate) fn distinct(&self) -> Result<(), BadManifest> {
        match self.json {
            Json::Object(_) => self.names()?.try_for_each(|(_, node)| node.distinct()),
            Json::List(_) => self.items()?.try_for_each(|node| node.distinct()),
            _ => Ok(()),
        }
    }

    /// This is something else than what has to stand here.
    pub(crate) fn expected(&self, what: &'static str) -> BadManifest {
        self.at.bad(Flaw::Expected { what, found: self.json.kind() })
    }
}

/// A place in a document, written `models["qemu.org/nic"].params["rx"].allowed_values[2]`.
#[derive(Clone, Copy)]
pub(crate) enum At<'a> {
    Top,
    /// A member whose name the format fixes.
    Member(&'a At<'a>, &'a str),
    /// A member whose name is the document's own.
    Name(&'a At<'a>, &'a str),
    Item(&'a At<'a>, usize),
}

impl At<'_> {
    pub(crate) fn bad(&self, flaw: Flaw) -> BadManifest {
        BadManifest::Content { at: self.to_string(), flaw }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Top => f.write_str("top level"),
            At::Member(At::Top, name) => f.write_str(name),
            At::Name(At::Top, name) => write!(f, "[{name:?}]"),
            At::Item(At::Top, i) => write!(f, "[{i}]"),
            At::Member(above, name) => write!(f, "{above}.{name}"),
            At::Name(above, name) => write!(f, "{above}[{name:?}]"),
            At::Item(above, i) => write!(f, "{above}[{i}]"),
        }
    }
}
