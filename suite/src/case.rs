//! A case: all that a finding needs to be seen again, as one readable file (`R-x.y` by its rule).

use crate::generate::damage::Damage;
use crate::rules::Finding;
use migcert_core::device::{State, Step};
use migcert_core::model::ModelId;
use migcert_core::param::{Configuration, Value};
use migcert_core::version::Setup;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::str::FromStr;

/// The format that this version writes; others are refused, never guessed.
pub const FORMAT: u32 = 1;

/// A case is read from at most so many bytes.
pub const MAX_FILE: u64 = 4 << 20;

/// One case of one rule. Lists may be empty; what a rule doesn't need, it doesn't look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The rule's id.
    pub rule: String,
    /// The implementation that saves, as IMPL.
    pub source: String,
    /// The one that loads.
    pub destination: String,
    /// The model.
    pub model: ModelId,
    /// The full configuration of the source.
    pub setup: Setup,
    /// Another configuration of the same model, for what must not be mixed up.
    pub other: Option<Setup>,
    /// What the guest does.
    pub script: Vec<Step>,
    /// Where in the script the device moves: indices, in order.
    pub at: [usize; 2],
    /// Sizes of the pieces that bytes travel in; none for the usual ones.
    pub pieces: Vec<u32>,
    /// What happens to the state on its way, in order.
    pub damage: Vec<Damage>,
    /// States to ask for.
    pub walk: Vec<State>,
}

/// What a file holds beside the case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What was found when the file was written.
    pub finding: Option<Finding>,
    /// The id of its bucket.
    pub bucket: Option<String>,
    /// SHA-256 of the files behind the implementations, in hexadecimal digits, by IMPL.
    pub sha256: BTreeMap<String, String>,
}

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
    #[serde(default, skip_serializing_if = "is_zero")]
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bucket: Option<String>,
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
            found: found.finding.clone().map(|Finding { summary, expected, observed }| FindingFile {
                summary,
                expected,
                observed,
                bucket: found.bucket.clone(),
            }),
            sha256: found.sha256.clone(),
        };
        // Strings, numbers and tables of them: nothing here that TOML can't hold.
        toml::to_string(&file).unwrap_or_else(|why| format!("# not a case: {why}\n"))
    }

    /// Reads a case file.
    ///
    /// # Errors
    /// [`BadCase`] with the place in the file and the cause.
    pub fn from_toml(text: &str) -> Result<(Case, Found), BadCase> {
        let file: File = toml::from_str(text)?;
        if file.format != FORMAT {
            return Err(BadCase::Format(file.format));
        }
        let case = Case {
            rule: file.rule,
            source: file.source,
            destination: file.destination,
            model: file.model.into(),
            setup: file.setup.read()?,
            other: file.other.map(SetupFile::read).transpose()?,
            script: each("script", &file.script)?,
            at: file.at,
            pieces: file.pieces,
            damage: each("damage", &file.damage)?,
            walk: each("walk", &file.walk)?,
        };
        let mut found = Found { sha256: file.sha256, ..Found::default() };
        if let Some(FindingFile { summary, expected, observed, bucket }) = file.found {
            found.finding = Some(Finding { summary, expected, observed });
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
    fn read(self) -> Result<Setup, BadCase> {
        let bad = |why: String| BadCase::Element { list: "setup", index: 0, why };
        if let Some(version) = self.version {
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

/// A file that is no case.
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
    /// Another format.
    #[error("format {0} is not known; this version reads format {FORMAT}")]
    Format(u32),
    /// Not TOML, or not of this shape.
    #[error(transparent)]
    Toml(#[from] toml::de::Error),
}
