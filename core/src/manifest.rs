//! Chapter R-8.1: migration info as JSON, in all forms that are in use.
//!
//! Reading is strict and bounded: whatever the bytes are, there is a manifest or an error that
//! names the place. Writing is canonical: equal manifests are equal text, and reading it back
//! gives the manifest again.
//!
//! ```json
//! {"models": {"qemu.org/devices/e1000e": {
//!   "params": {"rx-filter-size": {"type": "int", "init_value": 32, "off_value": 0, "allowed_values": ["0-64"]},
//!              "num-queues":     {"type": "int", "init_value": 4, "allowed_values": [1, 2, 4, 8]}},
//!   "versions": {"1": {"num-queues": 1}, "2": {"rx-filter-size": 32, "num-queues": 4}},
//!   "latest": "2",
//!   "requires": [{"if": {"rx-filter-size": ["33-64"]}, "then": {"num-queues": ["4-8"]}}]}}}
//! ```

use crate::json::{At, Json, Node};
use crate::lint::{Advice, Lint, Lints};
use crate::model::ModelId;
use crate::param::{Allowed, BadName, BadRange, Configuration, IntSet, Param, ParamName, Type, Value};
use crate::program::{Description, Manifest, Model, Requires, Versions};
use crate::text::Short;
use crate::version::{BadVersion, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

/// Bytes of a document.
pub const MAX_BYTES: usize = 16 << 20;
/// Lists and objects inside each other.
pub const MAX_DEPTH: usize = 16;
/// Values in a document, counting lists, objects and what is in them.
pub const MAX_VALUES: usize = 1 << 20;
/// Models in a document.
pub const MAX_MODELS: usize = 4096;
/// Parameters of a model.
pub const MAX_PARAMS: usize = 1024;
/// Values and ranges in one list of allowed values.
pub const MAX_ALLOWED: usize = 1 << 16;
/// Versions of a model.
pub const MAX_VERSIONS: usize = 4096;
/// Clauses in the `requires` of a model.
pub const MAX_REQUIRES: usize = 1024;
/// Values that the versions of a document are judged by: for each version, the parameters of its
/// model and those named in its `requires`. Versions multiply, so they have a bound of their own.
pub const MAX_JUDGED: usize = 1 << 18;
/// Bytes of a model id, parameter name, version or value.
pub const MAX_TEXT: usize = 1024;

impl Manifest {
    /// Reads migration info in the forms r1, r3 and r4 (R-8.1).
    ///
    /// # Errors
    /// [`BadManifest`] names the first culprit by its JSON path, or by line and column where the
    /// bytes are not JSON, and says what to do. No bytes make it panic, and what it reserves and
    /// how long it takes is bounded by the constants of this module.
    pub fn from_json(bytes: &[u8]) -> Result<Manifest, BadManifest> {
        Manifest::from_json_linted(bytes).map(|(manifest, _)| manifest)
    }

    /// [`Manifest::from_json`], with advice: [`Manifest::lints`] and the members that were ignored.
    ///
    /// # Errors
    /// As [`Manifest::from_json`].
    pub fn from_json_linted(bytes: &[u8]) -> Result<(Manifest, Vec<Lint>), BadManifest> {
        if bytes.len() > MAX_BYTES {
            return Err(BadManifest::TooLarge(bytes.len()));
        }
        let json = Json::parse(bytes).map_err(|why| BadManifest::Syntax(why.to_string()))?;
        let mut reader = Reader { judged: 0, ignored: Lints::default() };
        let manifest = reader.manifest(&Node { json: &json, at: At::Top })?;
        let mut lints = reader.ignored;
        manifest.lint(&mut lints);
        Ok((manifest, lints.0))
    }

    /// Writes it, r4 models as r4 and all others in our superset. [`Manifest::from_json`] reads the
    /// same manifest from it, if it gave this one and the text stays below [`MAX_BYTES`].
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("every name of a member is a string")
    }
}

/// Why bytes are not migration info.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadManifest {
    /// It is JSON, but something in it can't stand where it does.
    #[error("{at}: {flaw}")]
    Content {
        /// JSON path of the culprit.
        at: String,
        /// What is wrong there.
        flaw: Flaw,
    },
    /// It is not JSON, or passes [`MAX_DEPTH`] or [`MAX_VALUES`]; with line and column.
    #[error("not readable as JSON: {0}")]
    Syntax(String),
    /// It passes [`MAX_BYTES`].
    #[error("{0} bytes are more than the {MAX_BYTES} that migration info may have")]
    TooLarge(usize),
}

/// What is wrong at one place of a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// A version whose values don't go together (R-3.7).
    #[error("is not a valid configuration: {0}; change a value or the clause in `requires`")]
    AliasBreaks(Requires),
    /// A version that says nothing of a parameter that can't be off (R-3.4).
    #[error("`{0}` is left out and has no off value: name it")]
    AliasIncomplete(ParamName),
    /// A second member of the same name.
    #[error("stands twice: remove one of them")]
    Duplicate,
    /// A set without values.
    #[error("is empty: name at least one")]
    EmptySet,
    /// Another kind of JSON value.
    #[error("{what} is expected here, not {found}")]
    Expected {
        /// What may stand here.
        what: &'static str,
        /// What does.
        found: &'static str,
    },
    /// The init values don't go together (R-3.7).
    #[error("the init values break this clause: {0}; change one of them or the clause")]
    InitBreaks(Requires),
    /// The latest version is none of the versions (R-4.4).
    #[error("`{0}` is none of the `versions`: name one of them")]
    LatestUnknown(Version),
    /// A member that has to be there.
    #[error("`{0}` is missing: add it")]
    Missing(&'static str),
    /// Not a parameter's name (R-3.5).
    #[error(transparent)]
    Name(#[from] BadName),
    /// Neither r1 and r3 nor r4 (R-8.1).
    #[error("neither `params` nor a list of `versions`: describe the model by one of them")]
    Neither,
    /// A value that spans lines (R-3.5).
    #[error("a value has no newline: remove it")]
    Newline,
    /// Values of `requires` that can never be (R-3.7).
    #[error("none of these values is allowed for `{0}`: name one that is, or remove the clause")]
    NoneAllowed(ParamName),
    /// A value outside its own allowed set.
    #[error("`{}` is not in `allowed_values`: add it there or choose another value", Short(&.0.to_string()))]
    NotAllowed(Value),
    /// An alias or a clause without parameters to speak of.
    #[error("needs `params`, which this model doesn't have: describe them or remove this")]
    NeedsParams,
    /// Not a range of numbers (R-3.5).
    #[error(transparent)]
    Range(#[from] BadRange),
    /// Version strings beside parameters (R-4.6).
    #[error(
        "a list of version strings and `params` exclude each other: write {{VERSION: {{NAME: VALUE}}}}, or leave `params` out"
    )]
    StringsBesideParams,
    /// Text that passes [`MAX_TEXT`].
    #[error("{0} bytes are more than the {MAX_TEXT} that a name or value may have: shorten it")]
    TooLong(usize),
    /// A count that passes its bound.
    #[error("more than {0}: split the description")]
    TooMany(usize),
    /// A member of our own that doesn't exist.
    #[error("is not a member here: remove it; known are {0}")]
    UnknownMember(&'static str),
    /// A parameter that is not described.
    #[error("`{0}` is not described under `params`: describe it or remove this")]
    UnknownParameter(ParamName),
    /// Not a type (R-3.5).
    #[error("`{}` is not a type: write `bool`, `int` or `str`", Short(.0))]
    UnknownType(String),
    /// Not a version string (R-4.6).
    #[error(transparent)]
    Version(#[from] BadVersion),
}

/// What is gathered on the way through a document.
struct Reader {
    judged: usize,
    ignored: Lints,
}

impl Reader {
    fn manifest(&mut self, top: &Node<'_>) -> Result<Manifest, BadManifest> {
        self.ignore_all_but(top, &["models"])?;
        let all = top.required("models")?;
        let mut models = BTreeMap::new();
        for (id, model) in all.names()? {
            bounded(models.len() + 1, MAX_MODELS, &all)?;
            short(id, &model.at)?;
            models.insert(ModelId::from(id), self.model(&model)?);
        }
        Ok(Manifest { models })
    }

    fn model(&mut self, model: &Node<'_>) -> Result<Model, BadManifest> {
        self.ignore_all_but(model, &["params", "versions", "latest", "requires"])?;
        match (model.member("params"), model.member("versions")) {
            (Some(params), _) => Ok(Model::Params(self.description(model, &params)?)),
            (None, Some(Node { json: Json::Object(_), at })) => Err(at.bad(Flaw::NeedsParams)),
            (None, Some(strings)) => Ok(Model::Versions(versions(model, &strings)?)),
            (None, None) => Err(model.at.bad(Flaw::Neither)),
        }
    }

    fn description(&mut self, model: &Node<'_>, all: &Node<'_>) -> Result<Description, BadManifest> {
        let mut d = Description::default();
        for (name, param) in all.names()? {
            bounded(d.params.len() + 1, MAX_PARAMS, all)?;
            d.params.insert(name_of(name, &param.at)?, self.param(&param)?);
        }
        if let Some(list) = model.member("requires") {
            let init = d.init();
            for clause in list.items()? {
                bounded(d.requires.len() + 1, MAX_REQUIRES, &list)?;
                let requires = requires(&clause, &d.params)?;
                if !requires.holds(&init) {
                    return Err(clause.at.bad(Flaw::InitBreaks(requires)));
                }
                d.requires.push(requires);
            }
        }
        if let Some(aliases) = model.member("versions") {
            if let Json::List(_) = aliases.json {
                return Err(aliases.at.bad(Flaw::StringsBesideParams));
            }
            let named = d.requires.iter().map(|clause| clause.when.len() + clause.then.len());
            let each = 1 + d.params.len() + named.sum::<usize>();
            for (text, alias) in aliases.names()? {
                bounded(d.versions.len() + 1, MAX_VERSIONS, &aliases)?;
                self.judged = self.judged.saturating_add(each);
                bounded(self.judged, MAX_JUDGED, &aliases)?;
                d.versions.insert(version_of(text, &alias.at)?, alias_of(&alias, &d)?);
            }
        }
        d.latest = latest(model, |version| d.versions.contains_key(version))?;
        Ok(d)
    }

    fn param(&mut self, param: &Node<'_>) -> Result<Param, BadManifest> {
        self.ignore_all_but(param, &["type", "init_value", "off_value", "allowed_values", "description"])?;
        let ty = type_of(&param.required("type")?)?;
        let allowed = match param.member("allowed_values") {
            Some(list) => allowed(&list, ty)?,
            None => Allowed::Any,
        };
        let within = |node: &Node<'_>| within(&allowed, value(node, ty)?, node);
        let init = within(&param.required("init_value")?)?;
        let off = param.member("off_value").as_ref().map(within).transpose()?;
        let text = param.member("description").map(|node| node.text()).transpose()?;
        Ok(Param { ty, init, off, allowed, description: text.map(str::to_owned) })
    }

    /// Members that others may have put there: ignored, with a lint.
    fn ignore_all_but(&mut self, node: &Node<'_>, known: &[&str]) -> Result<(), BadManifest> {
        for (name, member) in node.object()? {
            if !known.contains(&name) {
                member.distinct()?;
                self.ignored.push(&member.at, Advice::Ignored);
            }
        }
        Ok(())
    }
}

/// The strings of an r4 model (R-4.6).
fn versions(model: &Node<'_>, list: &Node<'_>) -> Result<Versions, BadManifest> {
    if let Some(clauses) = model.member("requires") {
        return Err(clauses.at.bad(Flaw::NeedsParams));
    }
    let mut strings = Vec::new();
    let mut seen = BTreeSet::new();
    for item in list.items()? {
        bounded(strings.len() + 1, MAX_VERSIONS, list)?;
        let version = version_of(item.text()?, &item.at)?;
        if !seen.insert(version.clone()) {
            return Err(item.at.bad(Flaw::Duplicate));
        }
        strings.push(version);
    }
    let latest = latest(model, |version| seen.contains(version))?;
    Versions::new(strings, latest).ok_or_else(|| list.at.bad(Flaw::EmptySet))
}

fn latest(model: &Node<'_>, known: impl Fn(&Version) -> bool) -> Result<Option<Version>, BadManifest> {
    let Some(node) = model.member("latest") else { return Ok(None) };
    let version = version_of(node.text()?, &node.at)?;
    if known(&version) { Ok(Some(version)) } else { Err(node.at.bad(Flaw::LatestUnknown(version))) }
}

/// The full configuration that a version stands for (R-4.1); what it leaves out is off (R-3.4).
fn alias_of(alias: &Node<'_>, d: &Description) -> Result<Configuration, BadManifest> {
    let mut configuration = Configuration::new();
    for (name, node) in alias.names()? {
        let (name, param) = described(name, &node.at, &d.params)?;
        configuration.insert(name, within(&param.allowed, value(&node, param.ty)?, &node)?);
    }
    for (name, param) in &d.params {
        if !configuration.contains_key(name) {
            let off = param.off.clone();
            let off = off.ok_or_else(|| alias.at.bad(Flaw::AliasIncomplete(name.clone())))?;
            configuration.insert(name.clone(), off);
        }
    }
    match d.requires.iter().find(|clause| !clause.holds(&configuration)) {
        None => Ok(configuration),
        Some(broken) => Err(alias.at.bad(Flaw::AliasBreaks(broken.clone()))),
    }
}

fn requires(clause: &Node<'_>, params: &BTreeMap<ParamName, Param>) -> Result<Requires, BadManifest> {
    for (name, member) in clause.object()? {
        if !["if", "then"].contains(&name) {
            return Err(member.at.bad(Flaw::UnknownMember("`if` and `then`")));
        }
    }
    let side = |side: Node<'_>| -> Result<BTreeMap<ParamName, Allowed>, BadManifest> {
        let mut sets = BTreeMap::new();
        for (name, node) in side.names()? {
            let (name, param) = described(name, &node.at, params)?;
            let set = allowed(&node, param.ty)?;
            if !set.meets(&param.allowed) {
                return Err(node.at.bad(Flaw::NoneAllowed(name)));
            }
            sets.insert(name, set);
        }
        Ok(sets)
    };
    Ok(Requires { when: side(clause.required("if")?)?, then: side(clause.required("then")?)? })
}

/// A parameter that is named somewhere else than under `params`.
fn described<'a>(
    name: &str,
    at: &At<'_>,
    params: &'a BTreeMap<ParamName, Param>,
) -> Result<(ParamName, &'a Param), BadManifest> {
    let name = name_of(name, at)?;
    match params.get(&name) {
        Some(param) => Ok((name, param)),
        None => Err(at.bad(Flaw::UnknownParameter(name))),
    }
}

fn type_of(node: &Node<'_>) -> Result<Type, BadManifest> {
    let text = node.text()?;
    let known = Type::ALL.into_iter().find(|ty| ty.name() == text);
    known.ok_or_else(|| node.at.bad(Flaw::UnknownType(text.chars().take(MAX_TEXT).collect())))
}

fn allowed(list: &Node<'_>, ty: Type) -> Result<Allowed, BadManifest> {
    let (mut bools, mut ranges, mut strs) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
    for (i, item) in list.items()?.enumerate() {
        bounded(i + 1, MAX_ALLOWED, list)?;
        if let (Type::Int, Json::Str(text)) = (ty, item.json) {
            short(text, &item.at)?;
            ranges.push(IntSet::range(text).map_err(|why| item.at.bad(why.into()))?);
            continue;
        }
        match value(&item, ty)? {
            Value::Bool(b) => drop(bools.insert(b)),
            Value::Int(n) => ranges.push(n..=n),
            Value::Str(text) => drop(strs.insert(text)),
        }
    }
    if bools.is_empty() && ranges.is_empty() && strs.is_empty() {
        return Err(list.at.bad(Flaw::EmptySet));
    }
    Ok(match ty {
        Type::Bool => Allowed::Bools(bools),
        Type::Int => Allowed::Ints(ranges.into_iter().collect()),
        Type::Str => Allowed::Strs(strs),
    })
}

fn value(node: &Node<'_>, ty: Type) -> Result<Value, BadManifest> {
    match (ty, node.json) {
        (Type::Bool, Json::Bool(b)) => Ok(Value::Bool(*b)),
        // r3 says on and off.
        (Type::Bool, Json::Str(text)) if text == "on" || text == "off" => Ok(Value::Bool(text == "on")),
        (Type::Bool, _) => Err(node.expected("`true` or `false`")),
        (Type::Int, Json::Int(n)) => Ok(Value::Int(*n)),
        (Type::Int, _) => Err(node.expected("a whole number of 64 bits")),
        (Type::Str, Json::Str(text)) if text.contains('\n') => Err(node.at.bad(Flaw::Newline)),
        (Type::Str, Json::Str(text)) => {
            short(text, &node.at)?;
            Ok(Value::Str(text.clone()))
        }
        (Type::Str, _) => Err(node.expected("a string")),
    }
}

fn within(allowed: &Allowed, value: Value, node: &Node<'_>) -> Result<Value, BadManifest> {
    if allowed.contains(&value) { Ok(value) } else { Err(node.at.bad(Flaw::NotAllowed(value))) }
}

fn name_of(text: &str, at: &At<'_>) -> Result<ParamName, BadManifest> {
    short(text, at)?;
    ParamName::from_str(text).map_err(|why| at.bad(why.into()))
}

fn version_of(text: &str, at: &At<'_>) -> Result<Version, BadManifest> {
    short(text, at)?;
    Version::from_str(text).map_err(|why| at.bad(why.into()))
}

fn short(text: &str, at: &At<'_>) -> Result<(), BadManifest> {
    if text.len() <= MAX_TEXT { Ok(()) } else { Err(at.bad(Flaw::TooLong(text.len()))) }
}

fn bounded(count: usize, max: usize, node: &Node<'_>) -> Result<(), BadManifest> {
    if count <= max { Ok(()) } else { Err(node.at.bad(Flaw::TooMany(max))) }
}
