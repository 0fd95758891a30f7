//! Shorter names: of releases, and of what synthetic devices are described as: models, parameters,
//! values, versions.

use super::{Edit, history, releases};
use crate::case::Case;
use crate::entry;
use crate::rule::On;
use crate::rules;
use migcert_core::model::ModelId;
use migcert_core::param::{Allowed, Configuration, ParamName, Type, Value};
use migcert_core::program::{Description, Manifest, Model, Versions};
use migcert_core::version::{Setup, Version};

/// Names of models, parameters and versions: synthetic devices differ by them.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Whatever makes the case shorter to write and leaves its implementations one or two, as they were.
pub(super) fn shorter<'e>(case: &Case) -> Vec<Edit<'e>> {
    let is_shorter =
        |smaller: &Case| length(smaller) < length(case) && is_pair(smaller) <= is_pair(case) && fits(smaller);
    let mut all: Vec<Case> = releases::others(case).chain(renamed(case)).filter(is_shorter).collect();
    all.sort_by_key(length);
    all.into_iter().map(|smaller| Box::new(move |_: &Case| Some(smaller.clone())) as Edit<'e>).collect()
}

/// An implementation that is both source and destination is written once.
pub(super) fn length(case: &Case) -> usize {
    let again = if is_pair(case) { 0 } else { case.destination.len() };
    entry::encode(case).map_or(usize::MAX, |entry| entry.len() - again)
}

pub(super) fn is_pair(case: &Case) -> bool {
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

/// The case with one thing of its synthetic devices under another name, on both sides.
fn renamed(case: &Case) -> impl Iterator<Item = Case> {
    renamings(case).into_iter().filter_map(|renaming| renaming.of_case(case)).chain(strings(case))
}

fn renamings(case: &Case) -> Vec<Renaming> {
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
    all
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
        *name = device.described(&manifest).to_string();
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
            *name = device.described(&manifest).to_string();
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
                    if known.contains(to) {
                        return None;
                    }
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
