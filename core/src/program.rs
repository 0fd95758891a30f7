//! Chapter R-8: what a device program says of itself, and starting instances of it.

use crate::device::{Device, Outside};
use crate::error::Error;
use crate::model::ModelId;
use crate::param::{Allowed, BadValue, Configuration, Param, ParamName, Type, Value};
use crate::version::{BadVersion, Setup, Version};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// Migration info: everything that a device program supports (R-8.1).
///
/// [`Manifest::from_json`] reads it, [`Manifest::to_json`] writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// The models, by id.
    pub models: BTreeMap<ModelId, Model>,
}

impl Manifest {
    /// Every parameter with its value, for whoever starts an instance of a model: what is not
    /// named has its init value (R-8.2). Empty where version strings say it all.
    ///
    /// # Errors
    /// Every culprit, where the model or the setup is not supported (R-4.3).
    pub fn complete(&self, model: &ModelId, setup: &Setup) -> Result<Configuration, Unsupported> {
        let Some(described) = self.models.get(model) else {
            return Err(Unsupported(vec![Culprit::Model(model.clone())]));
        };
        let setup = match (described, setup) {
            (Model::Params(description), Setup::Params(named)) => {
                let mut configuration = description.init();
                configuration.extend(named.clone());
                Setup::Params(configuration)
            }
            (_, setup) => setup.clone(),
        };
        match (described.faults(&setup), setup) {
            (culprits, _) if !culprits.is_empty() => Err(Unsupported(culprits)),
            (_, Setup::Params(configuration)) => Ok(configuration),
            (_, Setup::Version(_)) => Ok(Configuration::default()),
        }
    }
}

/// What is said of one model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Model {
    /// Parameters, with versions as their aliases (r1, r3).
    Params(Description),
    /// Version strings, which say all there is to say (r4, R-4.6).
    Versions(Versions),
}

impl Model {
    /// The latest configuration (R-4.4): the alias or string named as latest; without one, the
    /// init values of the parameters or the last version string.
    pub fn latest(&self) -> Setup {
        match self {
            Model::Versions(versions) => Setup::Version(versions.latest().clone()),
            Model::Params(params) => Setup::Params(params.latest()),
        }
    }

    /// What is wrong with a setup for this model; a full one, where it has parameters (R-4.3).
    pub fn faults(&self, setup: &Setup) -> Vec<Culprit> {
        match (self, setup) {
            (Model::Params(description), Setup::Params(configuration)) => description.faults(configuration),
            (Model::Versions(known), Setup::Version(version)) if known.contains(version) => vec![],
            (_, Setup::Version(version)) => vec![Culprit::Version(version.clone())],
            (Model::Versions(_), Setup::Params(configuration)) => {
                configuration.keys().cloned().map(Culprit::Parameter).collect()
            }
        }
    }
}

/// The version strings of an r4 model; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    strings: Vec<Version>,
    latest: Version,
}

impl Versions {
    /// Some strings, and which of them is the latest: the last one if it isn't said.
    ///
    /// `None` if there are none or the latest isn't among them.
    pub fn new(strings: Vec<Version>, latest: Option<Version>) -> Option<Versions> {
        let latest = latest.or_else(|| strings.last().cloned())?;
        strings.contains(&latest).then_some(Versions { strings, latest })
    }

    /// Whether this string is one of them.
    pub fn contains(&self, version: &Version) -> bool {
        self.strings.contains(version)
    }

    /// The latest (R-4.4).
    pub fn latest(&self) -> &Version {
        &self.latest
    }

    /// All of them, in the order they were given.
    pub fn strings(&self) -> &[Version] {
        &self.strings
    }
}

impl Serialize for Versions {
    /// As r4 has it; the latest is named only where it is not the last.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let last = self.strings.last() == Some(&self.latest);
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("versions", &self.strings)?;
        if !last {
            members.serialize_entry("latest", &self.latest)?;
        }
        members.end()
    }
}

/// The parameters of a model, what its versions mean and which values go together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Description {
    /// The parameters.
    pub params: BTreeMap<ParamName, Param>,
    /// Aliases of full configurations (R-4.1).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub versions: BTreeMap<Version, Configuration>,
    /// The alias of the latest configuration, if one is named (R-4.4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest: Option<Version>,
    /// Values that are only valid together (R-3.7).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Requires>,
}

impl Description {
    /// The configuration of a fresh instance.
    pub fn init(&self) -> Configuration {
        self.params.iter().map(|(name, param)| (name.clone(), param.init.clone())).collect()
    }

    /// The latest configuration (R-4.4): the alias that is named as latest, or the init values.
    pub fn latest(&self) -> Configuration {
        let alias = self.latest.as_ref().and_then(|latest| self.versions.get(latest));
        alias.cloned().unwrap_or_else(|| self.init())
    }

    /// The migration parameter list of a configuration: what is not off (R-5.1).
    pub fn parameter_list(&self, configuration: &Configuration) -> ParameterList {
        let is_off = |name: &ParamName, value: &Value| {
            self.params.get(name).is_some_and(|param| param.off.as_ref() == Some(value))
        };
        let (left_out, named) =
            configuration.clone().into_iter().partition(|(name, value)| is_off(name, value));
        ParameterList { named, left_out }
    }

    /// What an instance has when every parameter that can be off is, and the others their init
    /// value: what a state means that was saved before the parameters existed (R-3.4).
    pub fn off(&self) -> Configuration {
        let off = |param: &Param| param.off.as_ref().unwrap_or(&param.init).clone();
        self.params.iter().map(|(name, param)| (name.clone(), off(param))).collect()
    }

    /// The type of a parameter, if it is known.
    pub fn ty(&self, name: &ParamName) -> Option<Type> {
        self.params.get(name).map(|param| param.ty)
    }

    /// What is wrong with a full configuration (R-4.3).
    pub fn faults(&self, configuration: &Configuration) -> Vec<Culprit> {
        let mut culprits = Vec::new();
        for (name, value) in configuration {
            match self.params.get(name) {
                None => culprits.push(Culprit::Parameter(name.clone())),
                Some(param) if !param.allows(value) => {
                    culprits.push(Culprit::Value(name.clone(), value.clone()));
                }
                Some(_) => {}
            }
        }
        let absent = self.params.keys().filter(|name| !configuration.contains_key(*name));
        culprits.extend(absent.cloned().map(Culprit::Absent));
        let broken = self.requires.iter().filter(|clause| !clause.holds(configuration));
        culprits.extend(broken.cloned().map(Culprit::Combination));
        culprits
    }
}

/// A migration parameter list (R-5.1), and what it says by leaving it out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParameterList {
    /// The list: each parameter that is not off at the source, with its value.
    pub named: Configuration,
    /// What the list leaves out: each parameter that is off at the source, with its off value there.
    /// A destination that knows one of them has to mean the same by its absence (R-5.2).
    pub left_out: Configuration,
}

impl ParameterList {
    /// The value of a parameter, named or left out.
    pub fn value(&self, name: &ParamName) -> Option<&Value> {
        self.named.get(name).or_else(|| self.left_out.get(name))
    }

    /// Whether a list of another description means the same configuration (R-4.2): a parameter that
    /// both know has one value, and one that only one of them knows is off.
    pub fn means_the_same(&self, other: &ParameterList) -> bool {
        let is_named_in = |there: &ParameterList, (name, value)| there.value(name) == Some(value);
        self.named.iter().all(|entry| is_named_in(other, entry))
            && other.named.iter().all(|entry| is_named_in(self, entry))
            && self
                .left_out
                .iter()
                .all(|(name, off)| other.left_out.get(name).is_none_or(|there| there == off))
    }
}

impl From<Configuration> for ParameterList {
    /// A list whose source is not known: nobody can say what it left out.
    fn from(named: Configuration) -> ParameterList {
        ParameterList { named, left_out: Configuration::new() }
    }
}

/// Where every parameter under `when` has one of the values, every one under `then` must have
/// one of its values (R-3.7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Requires {
    /// `if`.
    #[serde(rename = "if")]
    pub when: BTreeMap<ParamName, Allowed>,
    /// `then`.
    pub then: BTreeMap<ParamName, Allowed>,
}

impl Requires {
    /// Whether a configuration satisfies it. A parameter without a value is not judged.
    pub fn holds(&self, configuration: &Configuration) -> bool {
        let is = |(name, set): (&ParamName, &Allowed)| configuration.get(name).map(|v| set.contains(v));
        self.when.iter().any(|entry| is(entry) != Some(true))
            || self.then.iter().all(|entry| is(entry) != Some(false))
    }
}

impl fmt::Display for Requires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |entries: &BTreeMap<ParamName, Allowed>, none: &str| {
            let all: Vec<_> = entries.iter().map(|(name, set)| format!("`{name}` in {set}")).collect();
            if all.is_empty() { none.to_owned() } else { all.join(" and ") }
        };
        write!(f, "{} needs {}", side(&self.when, "always"), side(&self.then, "nothing"))
    }
}

/// Why an instance can't be created: every culprit (R-4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported(pub Vec<Culprit>);

impl std::error::Error for Unsupported {}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, culprit) in self.0.iter().enumerate() {
            write!(f, "{}{culprit}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// What of a configuration is not supported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Culprit {
    /// A parameter that has no value.
    #[error("`{0}` has no value")]
    Absent(ParamName),
    /// Values that don't go together.
    #[error("{0}")]
    Combination(Requires),
    /// No such model.
    #[error("model `{0}` is not supported")]
    Model(ModelId),
    /// Text that can't be a version (R-4.6).
    #[error(transparent)]
    NotAVersion(BadVersion),
    /// No such parameter.
    #[error("parameter `{0}` is not known")]
    Parameter(ParamName),
    /// Text that is no value of the parameter's type.
    #[error("parameter `{0}`: {1}")]
    Type(ParamName, BadValue),
    /// A value that is not allowed, or of another type.
    #[error("`{0}={1}` is not allowed")]
    Value(ParamName, Value),
    /// No such version.
    #[error("version `{0}` is not known")]
    Version(Version),
}

/// A device program: describes itself and starts instances (R-8).
pub trait Program: Send + Sync {
    /// What it supports. Asked again, it says the same (R-8.3).
    ///
    /// # Errors
    /// [`Error::Misbehaved`] for a description that can't be understood, [`Error::Unavailable`]
    /// for a program that can't be asked.
    fn describe(&self) -> Result<Manifest, Error>;

    /// A host's side for one virtual machine, as at first: a fresh directory, disk or wire.
    fn outside(&self) -> Result<Outside, Error>;

    /// Starts an instance, RUNNING (R-7.1). Parameters that are not named get their init value.
    ///
    /// # Errors
    /// [`Error::Refused`] with the culprit for a setup that is not supported (R-4.3).
    fn start(&self, model: &ModelId, setup: &Setup, outside: &Outside) -> Result<Box<dyn Device>, Error>;

    /// The same program with reuse: an instance that was dropped is reset (R-7.6) and serves again, which saves a
    /// start. A rule that such an instance breaks is judged again on a new one. `None` if each instance is new.
    fn reusing(&self) -> Option<&dyn Program> {
        None
    }

    /// What all instances share because somebody named it, such as the file of a disk or the network, in
    /// words: what a guest finds there need not be in the state.
    fn shares(&self) -> Vec<String> {
        Vec::new()
    }

    /// The same program, whose instances share no file, or none but those that [`Program::shares`]
    /// names: what else one of them writes, no other finds. What a destination needs then has to come
    /// in the bytes, which is all that a carrier brings (R-1.5).
    ///
    /// A host that starts a process for each instance can do that; a program in this process can't,
    /// unless it knows what its instances have in common beside the bytes.
    ///
    /// # Errors
    /// Why not, as a clause: `this machine keeps no files apart: Operation not permitted`.
    fn apart(&self, _share: Share) -> Result<Box<dyn Apart + '_>, Cow<'static, str>> {
        Err("its instances run in this process, which has one set of files".into())
    }
}

/// What instances share that have their files for themselves otherwise: see [`Program::apart`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// What [`Program::shares`] names.
    Named,
    /// Nothing: each finds what is named as it was at first, and keeps what it writes there.
    Nothing,
}

/// A program whose instances have their files for themselves: see [`Program::apart`].
///
/// ```
/// use migcert_core::device::{Device, Outside};
/// use migcert_core::error::Error;
/// use migcert_core::model::ModelId;
/// use migcert_core::program::{Program, Share};
/// use migcert_core::version::Setup;
///
/// /// What an instance left in files that no other finds, once it is gone.
/// fn left_by(program: &dyn Program, model: &ModelId, setup: &Setup) -> Result<Vec<String>, Error> {
///     let Ok(apart) = program.apart(Share::Named) else { return Ok(vec![]) };
///     let device: Box<dyn Device> = apart.start(model, setup, &Outside::none())?;
///     drop(device);
///     Ok(apart.written())
/// }
/// ```
pub trait Apart: Program {
    /// Names of the files that instances of it wrote, made, changed or removed, of those that are gone
    /// already. There are at most eight, the first ones; the text is the program's, and may be anything.
    fn written(&self) -> Vec<String>;
}
