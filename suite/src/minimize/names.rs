//! Shorter names: other releases of a reference device, and what synthetic devices are called, with
//! their parameters, values and versions.

use super::{Edit, history};
use crate::case::Case;
use crate::devices;
use crate::entry;
use crate::oracle;
use crate::rules::{self, On};
use migcert_core::model::ModelId;
use migcert_core::param::{Allowed, Configuration, Param, ParamName, Type, Value};
use migcert_core::program::{Description, Manifest, Model, Versions};
use migcert_core::version::{Setup, Version};

/// Names of models, parameters and versions: synthetic devices differ by them.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Whatever makes the case shorter to write and leaves its implementations one or two, as they were.
pub(super) fn shorter<'e>(case: &Case) -> Vec<Edit<'e>> {
    let mut all = releases(case);
    all.extend(renamed(case));
    all.retain(|smaller| {
        length(smaller) < length(case) && is_pair(smaller) <= is_pair(case) && fits(smaller)
    });
    all.sort_by_key(length);
    all.into_iter().map(|smaller| Box::new(move |_: &Case| Some(smaller.clone())) as Edit<'e>).collect()
}

/// An implementation that is both source and destination is written once.
pub(super) fn length(case: &Case) -> usize {
    let again = if is_pair(case) { 0 } else { case.destination.len() };
    entry::encode(case).map_or(usize::MAX, |entry| entry.len() - again)
}

fn is_pair(case: &Case) -> bool {
    case.source != case.destination
}

fn fits(case: &Case) -> bool {
    let on = rules::named(&case.rule).map_or(On::One, |rule| rule.on);
    match on {
        On::One => !is_pair(case),
        On::Any => true,
        On::Two => is_pair(case),
    }
}

/// The case between other releases, and with fewer faults.
fn releases(case: &Case) -> Vec<Case> {
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
    pairs.into_iter().filter_map(|(source, destination)| between(case, source, destination)).collect()
}

/// The other releases of a reference device, with all its faults and without each.
fn siblings(name: &str) -> Vec<String> {
    let Some(text) = name.strip_prefix("builtin:").filter(|text| !text.contains('=')) else {
        return Vec::new();
    };
    let mut words = text.split('+');
    let Some(device) = words.next().and_then(|device| device.split('@').next()) else { return Vec::new() };
    let faults: Vec<&str> = words.collect();
    let releases =
        devices::ALL.iter().find(|known| known.name == device).map_or(0, devices::Device::releases);
    let without = (0..faults.len()).map(|gone| {
        let left = faults.iter().enumerate().filter(|(at, _)| *at != gone);
        left.map(|(_, fault)| *fault).collect::<Vec<_>>()
    });
    let named = |faults: &[&str]| -> Vec<String> {
        let faults: String = faults.iter().map(|fault| format!("+{fault}")).collect();
        let numbered = (1..=releases).map(|release| format!("builtin:{device}@{release}{faults}"));
        std::iter::once(format!("builtin:{device}{faults}")).chain(numbered).collect()
    };
    std::iter::once(faults.clone()).chain(without).flat_map(|faults| named(&faults)).collect()
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

/// The case with one thing of its synthetic devices under another name, on both sides.
fn renamed(case: &Case) -> Vec<Case> {
    let described = [&case.source, &case.destination].map(|name| history::described(name));
    let Some(manifest) = described.iter().flatten().next() else { return Vec::new() };
    let mut all = Vec::new();
    all.extend(NAMES.map(|to| Renaming::Model(to.into())));
    match manifest.models.get(&case.model) {
        Some(Model::Params(description)) => {
            for (name, param) in &description.params {
                let names = NAMES.iter().filter_map(|to| to.parse().ok());
                all.extend(names.map(|to| Renaming::Param(name.clone(), to)));
                all.extend(
                    [Type::Bool, Type::Int].map(|to| Renaming::Values(name.clone(), to, param.init.clone())),
                );
                all.extend(param.off.is_some().then(|| Renaming::NoOff(name.clone())));
            }
            all.extend(description.versions.keys().flat_map(versions));
        }
        Some(Model::Versions(known)) => all.extend(known.strings().iter().flat_map(versions)),
        None => {}
    }
    all.iter().filter_map(|renaming| renaming.of_case(case)).chain(strings(case)).collect()
}

/// The case with version strings in place of the configurations.
fn strings(case: &Case) -> Option<Case> {
    let [one, two] = ["a", "b"].map(|string| string.parse::<Version>().ok());
    let (one, two) = (one?, two?);
    let is_one = case.other.as_ref().is_none_or(|other| *other == case.setup);
    let known = if is_one { vec![one.clone()] } else { vec![two.clone(), one.clone()] };
    let mut smaller = case.clone();
    for name in [&mut smaller.source, &mut smaller.destination] {
        let (device, mut manifest) = history::parsed(name)?;
        *manifest.models.get_mut(&case.model)? = Model::Versions(Versions::new(known.clone(), None)?);
        *name = format!("{device}={}", serde_json::to_string(&manifest).ok()?);
    }
    smaller.other =
        case.other.as_ref().map(|other| Setup::Version(if *other == case.setup { one.clone() } else { two }));
    smaller.setup = Setup::Version(one);
    Some(smaller)
}

fn versions(version: &Version) -> impl Iterator<Item = Renaming> {
    NAMES.iter().filter_map(|to| Some(Renaming::Version(version.clone(), to.parse().ok()?)))
}

/// What is called otherwise.
enum Renaming {
    Model(ModelId),
    Param(ParamName, ParamName),
    Version(Version, Version),
    /// The values of a parameter, as values of a type: this one is the first of them.
    Values(ParamName, Type, Value),
    /// No value means that the parameter is off.
    NoOff(ParamName),
}

impl Renaming {
    fn of_case(&self, case: &Case) -> Option<Case> {
        let mut smaller = case.clone();
        for name in [&mut smaller.source, &mut smaller.destination] {
            let (device, manifest) = history::parsed(name)?;
            let manifest = self.of_manifest(manifest, &case.model)?;
            *name = format!("{device}={}", serde_json::to_string(&manifest).ok()?);
        }
        if let Renaming::Model(to) = self {
            smaller.model.clone_from(to);
        }
        for setup in std::iter::once(&mut smaller.setup).chain(&mut smaller.other) {
            match (self, &mut *setup) {
                (_, Setup::Params(full)) => self.of_values(full),
                (Renaming::Version(from, to), Setup::Version(version)) if version == from => {
                    version.clone_from(to)
                }
                _ => {}
            }
        }
        Some(smaller)
    }

    fn of_manifest(&self, mut manifest: Manifest, model: &ModelId) -> Option<Manifest> {
        let mut described = manifest.models.remove(model)?;
        match &mut described {
            Model::Params(description) => self.of_description(description)?,
            Model::Versions(known) => {
                if let Renaming::Version(from, to) = self {
                    let named =
                        |version: &Version| if version == from { to.clone() } else { version.clone() };
                    let strings = known.strings().iter().map(named).collect();
                    *known = Versions::new(strings, Some(named(known.latest())))?;
                }
            }
        }
        let name = if let Renaming::Model(to) = self { to } else { model };
        manifest.models.insert(name.clone(), described).is_none().then_some(manifest)
    }

    fn of_description(&self, description: &mut Description) -> Option<()> {
        match self {
            Renaming::Param(from, to) => {
                if description.params.contains_key(to) {
                    return None;
                }
                if let Some(param) = description.params.remove(from) {
                    description.params.insert(to.clone(), param);
                }
                for clause in &mut description.requires {
                    for side in [&mut clause.when, &mut clause.then] {
                        if let Some(allowed) = side.remove(from) {
                            side.insert(to.clone(), allowed);
                        }
                    }
                }
            }
            Renaming::Version(from, to) => {
                if description.versions.contains_key(to) {
                    return None;
                }
                if let Some(full) = description.versions.remove(from) {
                    description.versions.insert(to.clone(), full);
                }
                if description.latest.as_ref() == Some(from) {
                    description.latest = Some(to.clone());
                }
            }
            Renaming::Values(name, ty, _) => {
                if description
                    .requires
                    .iter()
                    .any(|clause| clause.when.contains_key(name) || clause.then.contains_key(name))
                {
                    return None;
                }
                if let Some(param) = description.params.get_mut(name) {
                    (param.ty, param.allowed) = (*ty, Allowed::Any);
                    param.init = self.value(&param.init);
                    param.off = param.off.as_ref().map(|off| self.value(off));
                }
            }
            Renaming::NoOff(name) => {
                if let Some(param) = description.params.get_mut(name) {
                    param.off = None;
                }
            }
            Renaming::Model(_) => {}
        }
        description.versions.values_mut().for_each(|full| self.of_values(full));
        Some(())
    }

    fn of_values(&self, full: &mut Configuration) {
        match self {
            Renaming::Param(from, to) => {
                if let Some(value) = full.remove(from) {
                    full.insert(to.clone(), value);
                }
            }
            Renaming::Values(name, ..) => {
                if let Some(value) = full.get_mut(name) {
                    *value = self.value(value);
                }
            }
            _ => {}
        }
    }

    fn value(&self, value: &Value) -> Value {
        match self {
            Renaming::Values(_, Type::Bool, first) => Value::Bool(value != first),
            Renaming::Values(_, Type::Int, first) => Value::Int((value != first).into()),
            _ => value.clone(),
        }
    }
}
