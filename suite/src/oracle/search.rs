//! The check against an independent search, which implements only.

use super::Drawn;
use crate::finding::Finding;
use migcert_core::param::{Allowed, Configuration, ParamName, Value};
use migcert_core::program::{Description, Manifest, Model};
use migcert_core::version::Setup;
use std::collections::BTreeMap;

/// The check agrees with the search, and descriptions survive writing and reading.
pub(super) fn agrees(drawn: &Drawn) -> Result<(), Box<Finding>> {
    for manifest in [&drawn.source.manifest, &drawn.destination.manifest] {
        let again = Manifest::from_json(manifest.to_json().as_bytes());
        if again.as_ref() != Ok(manifest) {
            return Err(Box::new(Finding {
                summary: "a description changed when it was written and read again (R-8.1)".to_owned(),
                expected: format!("{manifest:?}"),
                observed: format!("{again:?}"),
                ..Finding::default()
            }));
        }
    }
    let there = drawn.destination.manifest.models.get(&drawn.case.model);
    let found = there.is_some_and(|there| accepts(drawn.model(), &drawn.case.setup, there));
    let verdict = drawn.verdict();
    if verdict.is_compatible() == found {
        return Ok(());
    }
    let words = |yes| if yes { "compatible" } else { "incompatible" };
    Err(Box::new(Finding {
        summary: format!("the check is wrong about `{}` (R-5.2)", drawn.case.setup),
        expected: format!("{}: that is what a search among all configurations finds", words(found)),
        observed: verdict.to_string(),
        ..Finding::default()
    }))
}

/// Looks among all that a destination accepts for what means the same as the source's setup: the
/// same parameters on, at the same values, and off by the same value where both know them. Implements
/// only.
fn accepts(here: &Model, setup: &Setup, there: &Model) -> bool {
    let (here, full, there) = match (here, setup, there) {
        (Model::Params(here), Setup::Params(full), Model::Params(there)) => (here, full, there),
        (Model::Versions(_), Setup::Version(version), Model::Versions(there)) => {
            return there.strings().iter().any(|known| known.as_str() == version.as_str());
        }
        _ => return false,
    };
    let on = |side: &Description, name: &ParamName, value: &Value| {
        side.params.get(name).is_some_and(|param| param.off.as_ref() != Some(value))
    };
    let mut chosen = Configuration::new();
    for (name, param) in &there.params {
        let ours = full.get(name).filter(|value| on(here, name, value));
        // No other value can mean the same.
        let mut values = param.off.iter().chain(ours);
        let same = values.find(|value| {
            let says = Some(*value).filter(|value| on(there, name, value));
            value.ty() == param.ty && is_in(value, &param.allowed) && says == ours
        });
        let off = full.get(name).filter(|_| ours.is_none());
        let Some(value) = same.filter(|value| off.is_none_or(|off| off == *value)) else { return false };
        chosen.insert(name.clone(), value.clone());
    }
    let all = |side: &BTreeMap<ParamName, Allowed>| {
        side.iter().all(|(name, set)| chosen.get(name).is_some_and(|value| is_in(value, set)))
    };
    full.iter().all(|(name, value)| !on(here, name, value) || chosen.contains_key(name))
        && there.requires.iter().all(|clause| !all(&clause.when) || all(&clause.then))
}

/// Membership, the slow and plain way.
fn is_in(value: &Value, set: &Allowed) -> bool {
    match (set, value) {
        (Allowed::Any, _) => true,
        (Allowed::Bools(set), Value::Bool(b)) => set.iter().any(|other| other == b),
        (Allowed::Ints(set), Value::Int(n)) => set.ranges().iter().any(|r| r.start() <= n && n <= r.end()),
        (Allowed::Strs(set), Value::Str(s)) => set.iter().any(|other| other == s),
        _ => false,
    }
}
