//! Other releases of reference devices.

use super::names::is_pair;
use crate::case::Case;
use crate::devices;
use crate::implementation::Builtin;
use crate::oracle;
use migcert_core::param::{Param, ParamName};
use migcert_core::program::Model;
use migcert_core::version::Setup;

/// The case between other releases, and with fewer faults.
pub(super) fn others(case: &Case) -> impl Iterator<Item = Case> {
    let (sources, destinations) = (siblings(&case.source), siblings(&case.destination));
    let mut pairs = Vec::new();
    if is_pair(case) {
        pairs.extend(sources.iter().map(|name| (name.clone(), case.destination.clone())));
        pairs.extend(destinations.iter().map(|name| (case.source.clone(), name.clone())));
        pairs.extend(
            sources.iter().flat_map(|one| destinations.iter().map(|other| (one.clone(), other.clone()))),
        );
    } else {
        pairs.extend(sources.into_iter().map(|name| (name.clone(), name)));
    }
    pairs.into_iter().filter_map(|(source, destination)| between(case, source, destination))
}

/// The other releases of a reference device, with all its faults and without each.
fn siblings(name: &str) -> Vec<String> {
    let Some(name) = Builtin::of(name).filter(|name| name.info.is_none()) else { return Vec::new() };
    let releases =
        devices::ALL.iter().find(|known| known.name == name.device).map_or(0, devices::Device::releases);
    let without = (0..name.faults.len()).map(|gone| {
        let left = name.faults.iter().enumerate().filter(|(at, _)| *at != gone);
        left.map(|(_, fault)| fault.clone()).collect()
    });
    let released = |faults: Vec<String>| {
        let numbered = (1..=releases).map(|release| Some(release.to_string()));
        let all = std::iter::once(None).chain(numbered);
        let device = name.device.clone();
        let named =
            move |release| Builtin { device: device.clone(), release, faults: faults.clone(), info: None };
        all.map(named).map(|name| name.to_string())
    };
    std::iter::once(name.faults.clone()).chain(without).flat_map(released).collect()
}

/// The case between two others, with the configurations that the new source has.
fn between(case: &Case, source: String, destination: String) -> Option<Case> {
    let opened = oracle::open_planted(&source)?;
    let model = opened.manifest.models.get(&case.model)?;
    let setup = fitting(&case.setup, model);
    let other = case.other.as_ref().map(|other| fitting(other, model));
    Some(Case { source, destination, setup, other, ..case.clone() })
}

/// The nearest configuration of a model.
fn fitting(setup: &Setup, model: &Model) -> Setup {
    let (Model::Params(description), Setup::Params(full)) = (model, setup) else { return model.latest() };
    let kept = |name: &ParamName, param: &Param| full.get(name).filter(|value| param.allows(value)).cloned();
    let value = |(name, param): (&ParamName, &Param)| {
        let value = kept(name, param).or(param.off.clone()).unwrap_or(param.init.clone());
        (name.clone(), value)
    };
    let near = Setup::Params(description.params.iter().map(value).collect());
    if model.faults(&near).is_empty() { near } else { Setup::Params(description.init()) }
}
