//! Chapter R-4: versions, and configurations asked for in text.

use crate::param::{BadName, Configuration, ParamName};
use crate::program::{Culprit, Description, Model, Unsupported, Versions};
use crate::text::Short;
use serde::Serialize;
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// A version: an alias of a full configuration, or all there is to say of one.
/// ASCII without newline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Version(String);

impl Version {
    /// The version string.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The sequence that it belongs to, and its place in that: its numbers, each with its dots. `v2.10-3` is
    /// 2.10 and then 3 of `v#-#`. A number behind letters is part of a name, as in `q64-2.10`, unless there is
    /// no other; of those the last one counts.
    ///
    /// Two of one sequence are ordered by their numbers. Nothing but advice rests on it: a version
    /// is compared, not understood.
    pub(crate) fn numbers(&self) -> (String, Numbers<'_>) {
        let text = self.as_str();
        let counts = |c: char| c.is_ascii_digit() || c == '.';
        let mut runs = Vec::new();
        let mut from = 0;
        while let Some(start) = text[from..].find(|c: char| c.is_ascii_digit()).map(|at| from + at) {
            let end = text[start..].find(|c| !counts(c)).map_or(text.len(), |at| start + at);
            let run = start..start + text[start..end].trim_end_matches('.').len();
            from = run.end;
            runs.push(run);
        }
        let letters = |start: usize| {
            let before = &text[..start];
            &before[before.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len()..]
        };
        let is_free = |run: &Range<usize>| matches!(letters(run.start), "" | "v" | "V");
        match runs.iter().any(is_free) {
            true => runs.retain(is_free),
            false => drop(runs.drain(..runs.len().saturating_sub(1))),
        }
        let (mut sequence, mut end) = (String::new(), 0);
        for run in &runs {
            sequence.extend([&text[end..run.start], "#"]);
            end = run.end;
        }
        sequence.push_str(&text[end..]);
        let number = |run: Range<usize>| {
            let digits = text[run].split('.').map(|digits| digits.trim_start_matches('0'));
            digits.map(|digits| (digits.len(), digits)).collect()
        };
        (sequence, Numbers(runs.into_iter().map(number).collect()))
    }
}

/// Numbers, each with dots between its parts, which are of any length: the count of their digits and these.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Numbers<'a>(Vec<Vec<(usize, &'a str)>>);

impl FromStr for Version {
    type Err = BadVersion;
    fn from_str(s: &str) -> Result<Version, BadVersion> {
        let ok = !s.is_empty() && s.is_ascii() && !s.contains(['\n', '\r']);
        if ok { Ok(Version(s.to_owned())) } else { Err(BadVersion(s.to_owned())) }
    }
}

impl Borrow<str> for Version {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Not a version string.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a version: versions are ASCII, not empty and without newline", Short(.0))]
pub struct BadVersion(String);

/// What an instance is set up with: parameters, or an r4 version string.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setup {
    /// Values by parameter. Whoever starts an instance may leave some out: those get their
    /// init value.
    Params(Configuration),
    /// The version string of a model that has no parameters to tell.
    Version(Version),
}

impl fmt::Display for Setup {
    /// The notation that [`Request`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let setting = |setting: String| setting.replace('\\', "\\\\").replace(',', "\\,");
        match self {
            Setup::Version(version) => f.write_str(&setting(format!("version={version}"))),
            Setup::Params(configuration) => {
                for (i, (name, value)) in configuration.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    write!(f, "{comma}{}", setting(format!("{name}={value}")))?;
                }
                Ok(())
            }
        }
    }
}

/// A configuration as a user asks for it: `version=2,rx-filter-size=64`.
///
/// Commas separate; `\,` is a comma and `\\` a backslash inside a setting. `version` may stand
/// anywhere. What is set twice is an error, not an override.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// What is set, as text: only a model knows the types, and whether `version` names one of its
    /// versions or, in a model without versions, a parameter of that name.
    pub settings: BTreeMap<ParamName, String>,
}

impl Request {
    /// Reads one request out of several texts, as `-c` may be repeated.
    ///
    /// # Errors
    /// [`BadRequest`] names the setting that is malformed or stands twice.
    pub fn parse<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Result<Request, BadRequest> {
        let mut request = Request::default();
        for text in texts {
            if text.as_ref().is_empty() {
                continue;
            }
            for setting in settings(text.as_ref()) {
                let Some((name, value)) = setting.split_once('=') else {
                    return Err(BadRequest::NoValue(setting));
                };
                if request.settings.insert(name.parse()?, value.to_owned()).is_some() {
                    return Err(BadRequest::Twice(name.to_owned()));
                }
            }
        }
        Ok(request)
    }

    /// The full configuration that this request means for a model: that of the version,
    /// or the init values without one, and the settings on top. An r4 model without a version is
    /// its latest.
    ///
    /// # Errors
    /// Every culprit: version, parameter, value or combination.
    pub fn expand(&self, model: &Model) -> Result<Setup, Unsupported> {
        match model {
            Model::Params(description) => self.params(description).map(Setup::Params),
            Model::Versions(known) => self.version(known).map(Setup::Version),
        }
    }

    fn params(&self, model: &Description) -> Result<Configuration, Unsupported> {
        let mut culprits = Vec::new();
        let is_param = model.versions.is_empty() && model.params.contains_key(VERSION);
        let mut configuration = match self.settings.get(VERSION).filter(|_| !is_param) {
            None => model.init(),
            Some(text) => model.versions.get(text.as_str()).cloned().unwrap_or_else(|| {
                culprits.push(unknown_version(text));
                Configuration::new()
            }),
        };
        for (name, text) in &self.settings {
            match model.params.get(name).map(|param| param.ty.parse(text)) {
                _ if name.as_str() == VERSION && !is_param => {}
                None => culprits.push(Culprit::Parameter(name.clone())),
                Some(Ok(value)) => drop(configuration.insert(name.clone(), value)),
                Some(Err(why)) => {
                    configuration.remove(name);
                    culprits.push(Culprit::Type(name.clone(), why));
                }
            }
        }
        // A parameter is absent only where a culprit already tells why.
        let faults = model.faults(&configuration).into_iter();
        culprits.extend(faults.filter(|fault| !matches!(fault, Culprit::Absent(_))));
        if culprits.is_empty() { Ok(configuration) } else { Err(Unsupported(culprits)) }
    }

    fn version(&self, known: &Versions) -> Result<Version, Unsupported> {
        let mut culprits = Vec::new();
        let mut version = known.latest();
        for (name, text) in &self.settings {
            match known.strings().iter().find(|known| known.as_str() == text) {
                _ if name.as_str() != VERSION => culprits.push(Culprit::Parameter(name.clone())),
                Some(known) => version = known,
                None => culprits.push(unknown_version(text)),
            }
        }
        if culprits.is_empty() { Ok(version.clone()) } else { Err(Unsupported(culprits)) }
    }
}

/// The setting that names a version.
const VERSION: &str = "version";

fn unknown_version(text: &str) -> Culprit {
    text.parse().map_or_else(Culprit::NotAVersion, Culprit::Version)
}

/// Splits at the commas that no backslash precedes.
fn settings(text: &str) -> Vec<String> {
    let (mut all, mut last) = (Vec::new(), String::new());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if matches!(chars.peek(), Some(',' | '\\')) => last.extend(chars.next()),
            ',' => all.push(std::mem::take(&mut last)),
            _ => last.push(c),
        }
    }
    all.push(last);
    all
}

/// Text that is no request for a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Not a parameter's name.
    #[error(transparent)]
    Name(#[from] BadName),
    /// A setting without `=`.
    #[error(
        "`{}` sets nothing: settings are written NAME=VALUE, separated by commas (`\\,` is a comma inside a value)",
        Short(.0)
    )]
    NoValue(String),
    /// One name, two settings.
    #[error("`{}` is set twice", Short(.0))]
    Twice(String),
}
