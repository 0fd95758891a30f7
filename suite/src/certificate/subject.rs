//! What a certificate says of an implementation.

use super::RuleResult;
use super::enough::Caveat;
use crate::bench::Guests;
use crate::isolation::{Isolation, Known, Needed, Shared};
use crate::learned;
use crate::subject::{Subject, Untouched};
use migcert_core::device::Interface;
use migcert_core::program::Manifest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// An implementation, as it was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectInfo {
    /// IMPL.
    pub name: String,
    /// SHA-256 of the file behind it.
    pub sha256: Option<String>,
    /// Its description.
    #[serde(with = "manifest")]
    pub manifest: Manifest,
    /// Rules and requirements that are not held against it, each with the reason.
    pub waive: BTreeMap<String, String>,
    /// Places that its guest leaves alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub never: Vec<Untouched>,
    /// Bytes of registers that its guest may touch; 0 where that was not asked.
    #[serde(default)]
    pub reachable: u64,
    /// Its models on which no guest has influence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inert: Vec<Inert>,
    /// What is behind it after the run, if that is another file: its SHA-256, or why it can't be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<String>,
    /// How instances are known to be kept apart; `None` where they run in this process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Known>,
    /// Its volatile places, as known after the rules were tried.
    #[serde(default, skip_serializing_if = "learned::Report::is_empty")]
    pub learned: learned::Report,
    /// How often its instances were reused; `None` if each case had new ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused: Option<Reused>,
}

/// How often instances of a subject were reused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Reused {
    /// Number of cases that were tried on instances that may have served before and were reset since.
    pub cases: u32,
    /// How many of these were judged on new instances as well: all that did not hold, and some that did.
    pub both: u32,
    /// The case whose result on new instances differed, which ended reuse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differs: Option<String>,
}

impl Reused {
    /// Adds the counts of another part of a certification.
    pub fn add(&mut self, other: Reused) {
        self.cases = self.cases.saturating_add(other.cases);
        self.both = self.both.saturating_add(other.both);
        self.differs = self.differs.take().or(other.differs);
    }
}

/// What is missing of the influence that a guest must have on a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inert {
    /// The model, at its latest configuration.
    pub model: String,
    /// What is missing.
    pub missing: Missing,
}

/// Which half of the experiment failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// Nothing that a guest does shows after a migration.
    AfterMigration,
    /// Nothing that a guest does shows at all.
    Everywhere,
    /// It could not be tried, for this reason.
    Untried(String),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::AfterMigration => f.write_str("nothing that a guest does shows after a migration"),
            Missing::Everywhere => f.write_str("nothing that a guest does shows"),
            Missing::Untried(why) => {
                write!(f, "whether anything that a guest does shows is not known: {why}")
            }
        }
    }
}

impl SubjectInfo {
    /// A subject before rules are tried on it, with its models on which no guest has influence.
    pub fn of(subject: &Subject, inert: Vec<Inert>) -> SubjectInfo {
        SubjectInfo {
            name: subject.name.clone(),
            sha256: subject.sha256.clone(),
            manifest: subject.manifest.clone(),
            waive: subject.waive.clone(),
            never: subject.never.clone(),
            reachable: if subject.never.is_empty() { 0 } else { reachable(subject) },
            inert,
            changed: None,
            isolation: subject.isolation.clone(),
            learned: subject.learned.report(),
            reused: None,
        }
    }

    /// Adds what is known of it after rules were tried; `changed` says what is behind it now, if that is
    /// another file.
    pub fn after(&mut self, subject: &Subject, changed: Option<String>, reused: Option<Reused>) {
        (self.changed, self.reused) = (changed, reused);
        self.learned = subject.learned.report();
    }

    /// What it does not start without, although its profile does not share it.
    pub fn needed(&self) -> Option<Needed> {
        self.isolation.as_ref()?.so_far()?.needed
    }

    /// Its caveat.
    pub fn caveat(&self) -> Caveat {
        let isolation = self.isolation.as_ref().and_then(Known::so_far);
        Caveat {
            left_open: isolation.and_then(|isolation| isolation.left_open()),
            too_much: self.learned.too_much(),
        }
    }

    /// What guests did at its instances in these results, where it is the one at this index.
    pub(super) fn guests(at: usize, results: &[RuleResult]) -> Guests {
        let mut all = Guests::default();
        for RuleResult { pair: (source, destination), counted, .. } in results {
            if *source == at {
                all.add(&counted.source);
            }
            if *destination == at {
                all.add(&counted.destination);
            }
        }
        all
    }

    pub(super) fn report(&self, at: usize, results: &[RuleResult]) -> SubjectReport {
        let Guests { steps, refused, .. } = SubjectInfo::guests(at, results);
        let is_tried = |inert: &Inert| !matches!(inert.missing, Missing::Untried(_));
        SubjectReport {
            name: self.name.clone(),
            steps,
            refused_steps: refused,
            sha256: self.sha256.clone(),
            changed: self.changed.clone(),
            inert: self.inert.iter().any(is_tried),
            isolation: self.isolation.as_ref().and_then(Known::so_far).map(IsolationReport::from),
            influence: self.inert.iter().map(InfluenceReport::from).collect(),
            too_much: self.learned.too_much(),
            // Only a device program has a profile.
            pins: if self.sha256.is_some() { self.learned.pins() } else { Vec::new() },
            reused: self.reused.clone(),
        }
    }
}

impl Caveat {
    /// The caveat about a subject.
    pub fn of(subject: &Subject) -> Caveat {
        let isolation = subject.isolation.as_ref().and_then(Known::so_far);
        Caveat {
            left_open: isolation.and_then(|isolation| isolation.left_open()),
            too_much: subject.learned.report().too_much(),
        }
    }
}

/// Bytes of registers that a guest of the first model may touch.
fn reachable(subject: &Subject) -> u64 {
    let interface = subject.manifest.models.iter().next();
    let interface = interface.and_then(|(id, model)| subject.interface(id, &model.latest()).ok());
    match interface {
        Some(Interface::Windows(windows)) => windows
            .windows
            .iter()
            .filter(|window| window.size == 1)
            .map(|window| u64::from(window.count))
            .sum(),
        Some(Interface::Registers(registers)) => {
            registers.iter().map(|register| u64::from(register.size) * u64::from(register.count)).sum()
        }
        Some(Interface::Requests(_)) | None => 0,
    }
}

/// A description, as a JSON object of migration info.
mod manifest {
    use migcert_core::program::Manifest;
    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::Value as Json;

    pub(super) fn serialize<S: Serializer>(manifest: &Manifest, serializer: S) -> Result<S::Ok, S::Error> {
        let json: Json = serde_json::from_str(&manifest.to_json()).map_err(S::Error::custom)?;
        json.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Manifest, D::Error> {
        let json = Json::deserialize(deserializer)?;
        let manifest = Manifest::from_json(json.to_string().as_bytes());
        manifest.map_err(|why| D::Error::custom(format!("the description: {why}")))
    }
}

/// What a certificate says of an implementation: an element of `subjects`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SubjectReport {
    /// IMPL.
    #[serde(rename = "impl")]
    pub name: String,
    /// Steps that guests did at its instances.
    pub steps: u64,
    /// Steps that were answered with an error.
    pub refused_steps: u64,
    /// SHA-256 of the file behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// What was behind it after the run, if that was another file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<String>,
    /// Whether no guest has influence on one of its models.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inert: bool,
    /// How its instances were kept apart; absent where they run in this process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<IsolationReport>,
    /// What is missing of the influence that guests must have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub influence: Vec<InfluenceReport>,
    /// Why what is left to be compared says too little, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub too_much: Option<String>,
    /// What to write into `volatile` of its profile, where that does not have all of it yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<String>,
    /// How often its instances were reused; absent if each case had new ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused: Option<Reused>,
}

/// How the instances of a program were kept apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct IsolationReport {
    /// What each instance had for itself.
    pub isolated: Vec<String>,
    /// What all instances had in common.
    pub not_isolated: Vec<SharedReport>,
    /// What the program does not start without, although no profile shares it.
    pub needed: Option<Needed>,
}

impl From<Isolation> for IsolationReport {
    fn from(isolation: Isolation) -> IsolationReport {
        let shared = |Shared { what, why }: Shared| SharedReport { what: what.to_string(), why };
        IsolationReport {
            isolated: isolation.apart.iter().map(ToString::to_string).collect(),
            not_isolated: isolation.not_apart().into_iter().map(shared).collect(),
            needed: isolation.needed,
        }
    }
}

impl IsolationReport {
    /// What each instance had for itself, on a line; `None` for nothing.
    pub fn apart(&self) -> Option<String> {
        (!self.isolated.is_empty()).then(|| self.isolated.join(", "))
    }

    /// What all had in common, with the reasons, on a line; `None` for nothing.
    pub fn in_common(&self) -> Option<String> {
        let mut by_reason: Vec<(&str, Vec<&str>)> = Vec::new();
        for SharedReport { what, why } in &self.not_isolated {
            match by_reason.iter_mut().find(|(reason, _)| reason == why) {
                Some((_, all)) => all.push(what),
                None => by_reason.push((why, vec![what])),
            }
        }
        let groups = by_reason.iter().map(|(why, all)| format!("{} ({why})", all.join(", ")));
        let groups: Vec<String> = groups.collect();
        (!groups.is_empty()).then(|| groups.join("; "))
    }
}

/// What all instances had in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SharedReport {
    /// What.
    pub what: String,
    /// Why it was not kept apart.
    pub why: String,
}

/// The influence of guests on a model, where something is missing of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct InfluenceReport {
    /// The model.
    pub model: String,
    /// Whether what a guest does shows without a migration; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<bool>,
    /// Whether it shows after one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<bool>,
    /// What is missing, in words.
    pub why: String,
}

impl From<&Inert> for InfluenceReport {
    fn from(Inert { model, missing }: &Inert) -> InfluenceReport {
        let (before, after) = match missing {
            Missing::AfterMigration => (Some(true), Some(false)),
            Missing::Everywhere => (Some(false), None),
            Missing::Untried(_) => (None, None),
        };
        InfluenceReport { model: model.clone(), before, after, why: missing.to_string() }
    }
}
