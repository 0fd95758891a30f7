//! The file of a case: one readable document of TOML.

use super::{Case, Found};
use crate::document::{self, BadDocument};
use crate::finding::{Cause, Finding, What};
use crate::text;
use migcert_core::error::Aside;
use migcert_core::param::{Configuration, Value};
use migcert_core::version::Setup;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::str::FromStr;

/// The format that this version reads and writes; others are refused.
pub const FORMAT: u32 = 1;

/// Maximum number of elements of a list in a case.
pub const MAX_LIST: usize = 1 << 16;

/// Maximum size of a case file, in bytes.
pub const MAX_FILE: u64 = 4 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    rule: String,
    source: String,
    destination: String,
    model: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    script: Vec<String>,
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "two")]
    at: [usize; 2],
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pieces: Vec<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    damage: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    walk: Vec<String>,
    setup: SetupFile,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    other: Option<SetupFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    found: Option<FindingFile>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    sha256: BTreeMap<String, String>,
}

fn is_zero(at: &[usize; 2]) -> bool {
    *at == [0, 0]
}

/// An array takes the first two of a longer list of TOML.
fn two<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[usize; 2], D::Error> {
    let points = Vec::<usize>::deserialize(deserializer)?;
    points
        .try_into()
        .map_err(|points: Vec<_>| D::Error::invalid_length(points.len(), &"two points of the script"))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetupFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    params: BTreeMap<String, ValueFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum ValueFile {
    Bool(bool),
    Int(i64),
    Str(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FindingFile {
    summary: String,
    expected: String,
    observed: String,
    /// What the program at fault printed last; `> ` stands before what it printed during the
    /// failing step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    words: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bucket: Option<String>,
    /// What findings of the same bug share, whatever rule they break.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<Cause>,
}

/// Serialized as the text of its file.
impl Serialize for Case {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_toml(&Found::default()))
    }
}

impl<'de> Deserialize<'de> for Case {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Case, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (case, _) = Case::from_toml(&text).map_err(|why| D::Error::custom(format!("a case: {why}")))?;
        Ok(case)
    }
}

impl Case {
    /// The case as a file, with what was found.
    pub fn to_toml(&self, found: &Found) -> String {
        let file = File {
            format: FORMAT,
            rule: self.rule.clone(),
            source: self.source.clone(),
            destination: self.destination.clone(),
            model: self.model.to_string(),
            script: self.script.iter().map(ToString::to_string).collect(),
            at: self.at,
            pieces: self.pieces.clone(),
            damage: self.damage.iter().map(ToString::to_string).collect(),
            walk: self.walk.iter().map(ToString::to_string).collect(),
            setup: SetupFile::from(&self.setup),
            other: self.other.as_ref().map(SetupFile::from),
            found: found.finding.clone().map(|Finding { summary, expected, observed, words, cause }| {
                FindingFile {
                    summary,
                    expected,
                    observed,
                    words: words.marked(),
                    bucket: found.bucket.clone(),
                    cause: (cause.what != What::Other).then_some(cause),
                }
            }),
            sha256: found.sha256.clone(),
        };
        // Strings, numbers and tables of them: nothing here that TOML can't hold.
        text::toml(&file).unwrap_or_else(|why| format!("# not a case: {why}\n"))
    }

    /// Reads a case file.
    ///
    /// # Errors
    /// [`BadCase`] with the place in the file and the cause.
    pub fn from_toml(text: &str) -> Result<(Case, Found), BadCase> {
        let file: File = document::toml(text)?;
        if file.format != FORMAT {
            return Err(BadCase::Format(file.format));
        }
        let lens = [
            ("script", file.script.len()),
            ("pieces", file.pieces.len()),
            ("damage", file.damage.len()),
            ("walk", file.walk.len()),
        ];
        if let Some((list, _)) = lens.into_iter().find(|(_, len)| MAX_LIST < *len) {
            return Err(BadCase::Long(list));
        }
        let case = Case {
            rule: file.rule,
            source: file.source,
            destination: file.destination,
            model: file.model.into(),
            setup: file.setup.read("setup")?,
            other: file.other.map(|setup| setup.read("other")).transpose()?,
            script: each("script", &file.script)?,
            at: file.at,
            pieces: file.pieces,
            damage: each("damage", &file.damage)?,
            walk: each("walk", &file.walk)?,
        };
        let mut found = Found { sha256: file.sha256, ..Found::default() };
        if let Some(FindingFile { summary, expected, observed, words, bucket, cause }) = file.found {
            let words = Aside::from_marked(words);
            let cause = cause.unwrap_or_default();
            found.finding = Some(Finding { summary, expected, observed, words, cause });
            found.bucket = bucket;
        }
        Ok((case, found))
    }
}

fn each<T: FromStr<Err: ToString>>(list: &'static str, texts: &[String]) -> Result<Vec<T>, BadCase> {
    let read = |(index, text): (usize, &String)| {
        text.parse().map_err(|why: T::Err| BadCase::Element { list, index, why: why.to_string() })
    };
    texts.iter().enumerate().map(read).collect()
}

impl From<&Setup> for SetupFile {
    fn from(setup: &Setup) -> SetupFile {
        let value = |value: &Value| match value {
            Value::Bool(b) => ValueFile::Bool(*b),
            Value::Int(n) => ValueFile::Int(*n),
            Value::Str(s) => ValueFile::Str(s.clone()),
        };
        match setup {
            Setup::Version(version) => {
                SetupFile { version: Some(version.to_string()), params: BTreeMap::new() }
            }
            Setup::Params(params) => SetupFile {
                version: None,
                params: params.iter().map(|(name, v)| (name.to_string(), value(v))).collect(),
            },
        }
    }
}

impl SetupFile {
    fn read(self, table: &'static str) -> Result<Setup, BadCase> {
        let bad = |why: String| BadCase::Setup { table, why };
        if let Some(version) = self.version {
            if !self.params.is_empty() {
                return Err(bad("it has `version` and `params`, which exclude each other".to_owned()));
            }
            return Ok(Setup::Version(version.parse().map_err(|e| bad(format!("{e}")))?));
        }
        let mut configuration = Configuration::new();
        for (name, value) in self.params {
            let value = match value {
                ValueFile::Bool(b) => Value::Bool(b),
                ValueFile::Int(n) => Value::Int(n),
                ValueFile::Str(s) => Value::Str(s),
            };
            configuration.insert(name.parse().map_err(|e| bad(format!("{e}")))?, value);
        }
        Ok(Setup::Params(configuration))
    }
}

/// A file that is not a case.
#[derive(Debug, thiserror::Error)]
pub enum BadCase {
    /// One element of a list can't be read.
    #[error("`{list}[{index}]`: {why}")]
    Element {
        /// Which list.
        list: &'static str,
        /// Which element, from 0.
        index: usize,
        /// What is wrong with it.
        why: String,
    },
    /// A configuration can't be read.
    #[error("`[{table}]`: {why}")]
    Setup {
        /// Which of them.
        table: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A list passes [`MAX_LIST`].
    #[error("`{0}` has more than {MAX_LIST} elements")]
    Long(&'static str),
    /// Another format.
    #[error("format {0} is not known; this version reads format {FORMAT}")]
    Format(u32),
    /// Not TOML, or not of this shape.
    #[error(transparent)]
    Toml(#[from] BadDocument),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn says(text: &str, expected: &str) {
        let why = Case::from_toml(&format!(
            "format = 1\nrule = 'r'\nsource = 's'\ndestination = 'd'\nmodel = 'm'\n{text}"
        ));
        let why = why.err().map_or_else(|| "fine".to_owned(), |why| why.to_string());
        assert!(why.contains(expected) && why.len() < 400, "{why}");
        assert_eq!(why.lines().count(), 1);
    }

    #[test]
    fn errors_name_the_place() {
        says("setup = {}", "fine");
        says(
            "at = [1, 2, 3]\nsetup = {}",
            "line 6, column 6: invalid length 3, expected two points of the script",
        );
        says("at = [1]\nsetup = {}", "invalid length 1");
        says("setup = { version = '1', params = { a = 1 } }", "`[setup]`: it has `version` and `params`");
        says("setup = {}\nother = { version = '1', params = { a = 1 } }", "`[other]`: it has `version`");
        says("setup = { params = { 'a b' = 1 } }", "`[setup]`: `a b` is not a parameter name");
        says("setup = { params = { a = 1.5 } }", "line 6");
        says("setup = { params = { a = -0 } }", "fine");
        says("script = ['read 0:0/1', 'touch']\nsetup = {}", "`script[1]`: `touch` is no step");
        says("damage = ['cut']\nsetup = {}", "`damage[0]`: `cut` is not a damage");
        says("walk = ['STOP', 'GO']\nsetup = {}", "`walk[1]`: ");
        says("what = 1\nsetup = {}", "line 6, column 1: unknown field `what`");
        says("", "missing field `setup`");
    }

    #[test]
    fn errors_quote_little() {
        let long = "x".repeat(1 << 20);
        for text in [
            "script = ['X']\nsetup = {}",
            "damage = ['cut X']\nsetup = {}",
            "walk = ['X']\nsetup = {}",
            "setup = { params = { 'a=X' = 1 } }",
            "setup = { version = 'äX' }",
            "X = 1",
        ] {
            says(&text.replace('X', &long), "");
        }
    }
}
