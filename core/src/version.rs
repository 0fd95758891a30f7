//! Chapter R-4: versions, and configurations asked for in text.

use crate::param::{BadName, Configuration, ParamName};
use crate::program::{Culprit, Description, Model, Unsupported};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A version: an alias of a full configuration, or all there is to say of one.
/// ASCII without newline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(String);

impl Version {
    /// The version string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Version {
    type Err = BadVersion;
    fn from_str(s: &str) -> Result<Version, BadVersion> {
        let ok = !s.is_empty() && s.is_ascii() && !s.contains(['\n', '\r']);
        if ok { Ok(Version(s.to_owned())) } else { Err(BadVersion(s.to_owned())) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Not a version string.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a version: versions are ASCII, not empty and without newline", .0.escape_debug())]
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
        match self {
            Setup::Version(version) => write!(f, "version={version}"),
            Setup::Params(configuration) => {
                for (i, (name, value)) in configuration.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    let value = value.to_string().replace('\\', "\\\\").replace(',', "\\,");
                    write!(f, "{comma}{name}={value}")?;
                }
                Ok(())
            }
        }
    }
}

/// A configuration as a user asks for it: `version=2,rx-filter-size=64`.
///
/// Commas separate; `\,` is a comma and `\\` a backslash inside a value. `version` may stand
/// anywhere. What is set twice is an error, not an override.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The version to start from; without one, every parameter starts at its init value.
    pub version: Option<Version>,
    /// What is set on top, as text: only a description knows the types.
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
                let twice = if name == "version" {
                    request.version.replace(value.parse()?).is_some()
                } else {
                    request.settings.insert(name.parse()?, value.to_owned()).is_some()
                };
                if twice {
                    return Err(BadRequest::Twice(name.to_owned()));
                }
            }
        }
        Ok(request)
    }

    /// The full configuration that this request means for a model.
    ///
    /// # Errors
    /// Every culprit: version, parameter, value or combination.
    pub fn expand(&self, model: &Model) -> Result<Setup, Unsupported> {
        match model {
            Model::Params(description) => self.expand_params(description).map(Setup::Params),
            Model::Versions(known) => {
                let unknown = self.settings.keys().cloned().map(Culprit::Parameter);
                let mut culprits: Vec<Culprit> = unknown.collect();
                let version = self.version.as_ref().unwrap_or(known.latest());
                if !known.contains(version) {
                    culprits.push(Culprit::Version(version.clone()));
                }
                if culprits.is_empty() {
                    Ok(Setup::Version(version.clone()))
                } else {
                    Err(Unsupported(culprits))
                }
            }
        }
    }

    fn expand_params(&self, model: &Description) -> Result<Configuration, Unsupported> {
        let mut culprits = Vec::new();
        let mut configuration = match &self.version {
            None => model.init(),
            Some(version) => model.versions.get(version).cloned().unwrap_or_else(|| {
                culprits.push(Culprit::Version(version.clone()));
                model.init()
            }),
        };
        for (name, text) in &self.settings {
            let Some(param) = model.params.get(name) else {
                culprits.push(Culprit::Parameter(name.clone()));
                continue;
            };
            match param.ty.parse(text) {
                Ok(value) => drop(configuration.insert(name.clone(), value)),
                Err(why) => culprits.push(Culprit::Type(name.clone(), why)),
            }
        }
        culprits.extend(model.faults(&configuration));
        if culprits.is_empty() { Ok(configuration) } else { Err(Unsupported(culprits)) }
    }
}

/// Splits at the commas that no backslash precedes.
fn settings(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let escaped = c == '\\' && matches!(chars.peek(), Some(',' | '\\'));
        match (c, all.last_mut()) {
            (',', _) => all.push(String::new()),
            (_, Some(last)) if escaped => last.extend(chars.next()),
            (_, Some(last)) => last.push(c),
            (_, None) => {}
        }
    }
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
        "`{0}` sets nothing: settings are written NAME=VALUE, separated by commas (`\\,` is a comma inside a value)"
    )]
    NoValue(String),
    /// One name, two settings.
    #[error("`{0}` is set twice")]
    Twice(String),
    /// Not a version.
    #[error(transparent)]
    Version(#[from] BadVersion),
}
