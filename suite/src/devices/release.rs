//! The device program of one release of a reference device: starting, refusing, describing.

use super::fault::Faults;
use super::host::{Host, Site};
use super::kept::{Alone, Planted};
use faults::*;
use migcert_core::device::{Device, Outside};
use migcert_core::error::{Error, Refusal};
use migcert_core::model::ModelId;
use migcert_core::param::{Allowed, Configuration, Param, Type, Value};
use migcert_core::program::{Apart, Culprit, Description, Manifest, Model, Program, Share, Unsupported};
use migcert_core::version::Setup;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

pub mod faults;

/// What the releases of a reference device have in common.
pub struct Kind {
    /// The model id.
    pub model: &'static str,
    /// The id of a variant that is another model, and the same in all else.
    pub alias: Option<&'static str>,
    /// What a release supports, before any fault of the description.
    pub describe: fn(u32, &Faults) -> Description,
    /// Makes an instance.
    pub power_on: fn(Start) -> Result<Box<dyn Device>, Error>,
}

impl Kind {
    fn models(&self) -> impl Iterator<Item = &'static str> {
        [self.model].into_iter().chain(self.alias)
    }
}

/// An instance that is to be made.
pub struct Start {
    /// The model.
    pub model: ModelId,
    /// Its migration parameter list.
    pub list: Setup,
    /// Its full configuration.
    pub full: Configuration,
    /// The release.
    pub release: u32,
    /// What is wrong with it.
    pub faults: Faults,
    /// The host that it runs on.
    pub host: Host,
    /// Whether somebody who only asked has disturbed the running instances.
    pub disturbed: Arc<AtomicBool>,
}

impl Start {
    /// The value of a parameter as a number; 0 where the release doesn't have it.
    pub fn number(&self, name: &str) -> usize {
        match self.full.iter().find(|(known, _)| known.as_str() == name) {
            Some((_, Value::Int(n))) => usize::try_from(*n).unwrap_or(0),
            Some((_, Value::Bool(b))) => usize::from(*b),
            _ => 0,
        }
    }
}

/// The device program of a release.
pub fn program(kind: &'static Kind, release: u32, faults: Faults) -> Box<dyn Program> {
    let described = (kind.describe)(release, &faults);
    Box::new(Release { kind, release, faults, described, asked: 0.into(), disturbed: Arc::default() })
}

struct Release {
    kind: &'static Kind,
    release: u32,
    faults: Faults,
    described: Description,
    /// How often the description was asked for.
    asked: AtomicU32,
    disturbed: Arc<AtomicBool>,
}

impl Program for Release {
    fn describe(&self) -> Result<Manifest, Error> {
        let mut description = self.described.clone();
        let asked = self.asked.fetch_add(1, Relaxed);
        if asked != 0 && self.faults.hits(&DESCRIBE_DISTURBS, true) {
            self.disturbed.store(true, Relaxed);
        }
        let ranges = description.params.values_mut().filter_map(|param| match &mut param.allowed {
            Allowed::Ints(set) if 1 < set.ranges().len() => Some(set),
            _ => None,
        });
        for set in ranges.take(1) {
            if self.faults.hits(&DESCRIBES_TOO_LITTLE, true) {
                *set = set.ranges().iter().take(1).cloned().collect();
            }
        }
        for param in description.params.values_mut().take(1) {
            if self.faults.hits(&DESCRIPTION_UNSTABLE, true) {
                param.description = Some(format!("asked {asked} times in process {}", std::process::id()));
            }
        }
        let ids = self.kind.models().map(ModelId::from);
        Ok(Manifest { models: ids.map(|id| (id, Model::Params(description.clone()))).collect() })
    }

    fn outside(&self) -> Result<Outside, Error> {
        self.disturbed.store(false, Relaxed);
        Ok(Outside::troubled(Site::new()))
    }

    fn start(&self, model: &ModelId, setup: &Setup, outside: &Outside) -> Result<Box<dyn Device>, Error> {
        self.start_with(model, setup, outside, &self.faults)
    }

    fn apart(&self, _share: Share) -> Result<Box<dyn Apart + '_>, Cow<'static, str>> {
        Ok(Box::new(Alone::of(self)))
    }
}

impl Planted for Release {
    fn faults(&self) -> &Faults {
        &self.faults
    }

    fn start_with(
        &self,
        model: &ModelId,
        setup: &Setup,
        outside: &Outside,
        faults: &Faults,
    ) -> Result<Box<dyn Device>, Error> {
        let refuse = |culprit| Err(Refusal::from(Unsupported(vec![culprit])).into());
        if !self.kind.models().any(|known| known == model.as_str()) {
            return refuse(Culprit::Model(model.clone()));
        }
        let full = match setup {
            Setup::Params(some) => self.complete(some),
            Setup::Version(version) => return refuse(Culprit::Version(version.clone())),
        };
        let culprits = self.culprits(&full);
        if !culprits.is_empty() && self.faults.hits(&CULPRIT_UNNAMED, true) {
            return Err(Refusal::ByDevice("invalid configuration".to_owned()).into());
        }
        if !culprits.is_empty() {
            return Err(Refusal::from(Unsupported(culprits)).into());
        }
        (self.kind.power_on)(Start {
            model: model.clone(),
            list: Setup::Params(self.described.parameter_list(&full).named),
            full,
            release: self.release,
            faults: faults.clone(),
            host: Host::next(outside),
            disturbed: self.disturbed.clone(),
        })
    }
}

impl Release {
    /// What is not named has its init value.
    fn complete(&self, some: &Configuration) -> Configuration {
        let params = &self.described.params;
        let mut full = some.clone();
        let strays = |(name, value): (&_, &Value)| !params.get(name).is_some_and(|p| p.allows(value));
        if self.faults.hits(&UNKNOWN_ACCEPTED, full.iter().any(strays)) {
            full.retain(|name, value| !strays((name, value)));
        }
        for (name, param) in params.iter().filter(|(name, _)| !some.contains_key(*name)) {
            let other = match &param.off {
                Some(off) if self.faults.hits(&INIT_DIFFERS, *off != param.init) => off,
                _ => &param.init,
            };
            full.insert(name.clone(), other.clone());
        }
        full
    }

    fn culprits(&self, full: &Configuration) -> Vec<Culprit> {
        let description = &self.described;
        let mut culprits = description.faults(full);
        let latest = description.latest.as_ref().and_then(|latest| description.versions.get(latest));
        let oldest = description.versions.values().next();
        let refused = [
            (&LATEST_REFUSED, Some(full) == latest),
            (&VERSION_REFUSED, Some(full) == oldest),
            (&ALLOWED_REFUSED, full.values().any(|value| *value == Value::Int(4))),
        ];
        if refused.into_iter().any(|(fault, here)| here && self.faults.hits(fault, culprits.is_empty())) {
            let first = full.iter().next();
            culprits.extend(first.map(|(name, value)| Culprit::Value(name.clone(), value.clone())));
        }
        culprits
    }
}

/// A parameter of numbers.
pub fn int(init: i64, off: Option<i64>, allowed: &[RangeInclusive<i64>], what: &str) -> Param {
    Param {
        ty: Type::Int,
        init: Value::Int(init),
        off: off.map(Value::Int),
        allowed: Allowed::Ints(allowed.iter().cloned().collect()),
        description: Some(what.to_owned()),
    }
}

/// A parameter that is on, and can be off.
pub fn on(what: &str) -> Param {
    Param {
        ty: Type::Bool,
        init: Value::Bool(true),
        off: Some(Value::Bool(false)),
        allowed: Allowed::Bools([false, true].into()),
        description: Some(what.to_owned()),
    }
}

/// A description of parameters, and of what they are at each version from 1 on.
pub fn description(
    params: impl IntoIterator<Item = (&'static str, Param)>,
    versions: impl IntoIterator<Item = Vec<(&'static str, Value)>>,
) -> Description {
    let named = |(name, param): (&str, Param)| Some((name.parse().ok()?, param));
    let params: BTreeMap<_, _> = params.into_iter().filter_map(named).collect();
    let full = |values: Vec<(&str, Value)>| -> Configuration {
        let named = values.into_iter().filter_map(|(name, value)| Some((name.parse().ok()?, value)));
        named.filter(|(name, _)| params.contains_key(name)).collect()
    };
    let versions = (1..)
        .zip(versions)
        .filter_map(|(number, values): (u32, _)| Some((number.to_string().parse().ok()?, full(values))));
    let versions: BTreeMap<_, _> = versions.collect();
    Description { latest: versions.keys().next_back().cloned(), versions, params, ..Description::default() }
}
