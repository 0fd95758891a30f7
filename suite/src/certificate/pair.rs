//! What a certificate says of each ordered pair of implementations.

use super::{RuleResult, SubjectInfo};
use migcert_core::compat::{self, Reason};
use migcert_core::param::{Configuration, Value};
use migcert_core::version::Setup;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

/// An ordered pair of implementations: an element of `pairs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PairReport {
    /// The IMPL that saves.
    pub source: String,
    /// The IMPL that loads.
    pub destination: String,
    /// What the check says of the latest configuration of each model of the source.
    pub latest: Vec<ModelReport>,
    /// The number of rules by their outcome.
    pub rules: BTreeMap<String, u32>,
}

/// What the check says of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ModelReport {
    /// The model.
    pub model: String,
    /// Values by name, or the version string under `version`.
    pub configuration: Json,
    /// Whether it migrates.
    pub compatible: bool,
    /// Why not.
    pub reasons: Vec<ReasonReport>,
}

/// A reason against a migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReasonReport {
    /// Its stable name.
    pub id: String,
    /// The requirement.
    pub requirement: String,
    /// The parameter at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Json>,
    /// The value at the other side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub there: Option<Json>,
    /// In words.
    pub message: String,
}

impl From<&Reason> for ReasonReport {
    fn from(reason: &Reason) -> ReasonReport {
        let there =
            if let Reason::OffValueDiffers { there, .. } = reason { Some(value(there)) } else { None };
        ReasonReport {
            id: reason.info().id.to_owned(),
            requirement: reason.requirement().to_owned(),
            parameter: reason.parameter().map(|name| name.as_str().to_owned()),
            value: reason.value().map(value),
            there,
            message: reason.to_string(),
        }
    }
}

/// A configuration as JSON: values by name, or the version string.
pub fn configuration(setup: &Setup) -> Json {
    match setup {
        Setup::Params(configuration) => values(configuration),
        Setup::Version(version) => json!({ "version": version.as_str() }),
    }
}

/// Values by name.
pub fn values(configuration: &Configuration) -> Json {
    let each = configuration.iter().map(|(name, v)| (name.to_string(), value(v)));
    Json::Object(each.collect())
}

fn value(value: &Value) -> Json {
    match value {
        Value::Bool(b) => json!(b),
        Value::Int(n) => json!(n),
        Value::Str(s) => json!(s),
    }
}

/// All pairs on which rules were tried.
pub(super) fn reports(results: &[RuleResult], subjects: &[SubjectInfo]) -> Vec<PairReport> {
    let pairs: BTreeSet<_> = results.iter().map(|result| result.pair).collect();
    let report = |(from, to): (usize, usize)| {
        let (source, destination) = (&subjects[from], &subjects[to]);
        let latest = source.manifest.models.iter().map(|(id, model)| {
            let latest = model.latest();
            let verdict = compat::check(id, model, &latest, &destination.manifest);
            ModelReport {
                model: id.as_str().to_owned(),
                configuration: configuration(&latest),
                compatible: verdict.is_compatible(),
                reasons: verdict.0.iter().map(ReasonReport::from).collect(),
            }
        });
        let mut rules = BTreeMap::new();
        for result in results.iter().filter(|result| result.pair == (from, to)) {
            *rules.entry(result.outcome.name().to_owned()).or_insert(0) += 1;
        }
        PairReport {
            source: source.name.clone(),
            destination: destination.name.clone(),
            latest: latest.collect(),
            rules,
        }
    };
    pairs.into_iter().map(report).collect()
}
