//! Releases that describe less: synthetic devices are what their description says.
//!
//! What is left out leaves a history that a vendor could have made: off values stay what they are,
//! and no version comes to mean something else.

use super::{Bounds, Edit, edit};
use crate::case::Case;
use crate::devices::SYNTHETIC;
use crate::implementation::Builtin;
use crate::rule::On;
use crate::rules;
use migcert_core::model::ModelId;
use migcert_core::param::{Allowed, Configuration, IntSet, Param, ParamName, Type};
use migcert_core::program::{Description, Manifest, Model, Versions};
use migcert_core::version::{Setup, Version};
use std::collections::BTreeSet;

/// The name of a synthetic device, and its description.
pub(super) fn parsed(name: &str) -> Option<(Builtin, Manifest)> {
    let name = Builtin::of(name).filter(|name| name.device == SYNTHETIC && name.release.is_none())?;
    let manifest = Manifest::from_json(name.info.as_ref()?.as_bytes()).ok()?;
    Some((name, manifest))
}

/// What a synthetic device is described as in its name.
pub(super) fn described(name: &str) -> Option<Manifest> {
    parsed(name).map(|(_, manifest)| manifest)
}

/// The implementations, and what their descriptions hold.
pub(super) fn size(case: &Case) -> usize {
    let names = BTreeSet::from([&case.source, &case.destination]);
    let params = |model: &Description| {
        let values = model.params.values().map(values_of).sum::<usize>();
        values + model.versions.len() + model.requires.len()
    };
    let model = |model: &Model| match model {
        Model::Params(description) => 1 + params(description),
        Model::Versions(versions) => 1 + versions.strings().len(),
    };
    let of = |name: &&String| described(name).map_or(0, |manifest| manifest.models.values().map(model).sum());
    names.iter().map(|name| 1 + of(name)).sum()
}

/// At least one: what a parameter has by itself.
fn values_of(param: &Param) -> usize {
    match (&param.allowed, param.ty) {
        (Allowed::Any, Type::Bool) => 2,
        _ => values(param).max(1),
    }
}

/// Values and ranges that are listed.
fn values(param: &Param) -> usize {
    match &param.allowed {
        Allowed::Any => 0,
        Allowed::Bools(set) => set.len(),
        Allowed::Ints(set) => set.ranges().len(),
        Allowed::Strs(set) => set.len(),
    }
}

/// One implementation instead of two, and less in the descriptions: on both sides, then on one.
pub(super) fn fewer<'e>(case: &Case, bounds: &'e Bounds<'e>) -> Vec<Edit<'e>> {
    let mut all: Vec<Edit<'e>> = Vec::new();
    let on = rules::named(&case.rule).map_or(On::One, |rule| rule.on);
    let is_pair = case.source != case.destination;
    if on == On::Any && is_pair {
        all.push(edit(|case| case.destination.clone_from(&case.source)));
        all.push(edit(|case| case.source.clone_from(&case.destination)));
    }
    let mut cuts = BTreeSet::new();
    for manifest in [described(&case.source), described(&case.destination)].iter().flatten() {
        cuts.extend(cuts_of(manifest, &case.model));
    }
    let sides: &[[bool; 2]] = if on != On::One && is_pair {
        &[[true, true], [true, false], [false, true]]
    } else {
        &[[true, true]]
    };
    for (cut, sides) in cuts.into_iter().flat_map(|cut| sides.iter().map(move |sides| (cut.clone(), *sides)))
    {
        all.push(Box::new(move |case| Some(cut.of_case(case, sides))));
    }
    let fits = move |smaller: &Case, case: &Case| {
        (on != On::Two || smaller.source != smaller.destination)
            && (is_of_its_source(smaller, bounds) || !is_of_its_source(case, bounds))
    };
    let if_it_fits = |edit: Edit<'e>| -> Edit<'e> {
        Box::new(move |case| edit(case).filter(|smaller| smaller != case && fits(smaller, case)))
    };
    all.into_iter().map(if_it_fits).collect()
}

/// Whether the source has the configurations of the case.
fn is_of_its_source(case: &Case, bounds: &Bounds<'_>) -> bool {
    let setups = std::iter::once(&case.setup).chain(&case.other);
    let model = bounds.model(case);
    model.is_some_and(|model| setups.into_iter().all(|setup| model.faults(setup).is_empty()))
}

/// What can be left out of a description.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cut {
    /// All that is said of the model.
    All,
    /// A whole model.
    Model(ModelId),
    /// A parameter, wherever it is named.
    Param(ParamName),
    /// A version, as an alias or a string.
    Version(Version),
    /// A combination, by its index.
    Combination(usize),
    /// A range or a text among the allowed values, by its index.
    Allowed(ParamName, usize),
    /// All of a range but one end.
    End(ParamName, i64),
    /// The init value is the off value.
    Init(ParamName),
}

fn cuts_of(manifest: &Manifest, model: &ModelId) -> Vec<Cut> {
    let others = manifest.models.keys().filter(|id| *id != model).cloned().map(Cut::Model);
    let inside = match manifest.models.get(model) {
        Some(Model::Params(description)) => {
            let params = description.params.keys().cloned().map(Cut::Param);
            let versions = description.versions.keys().cloned().map(Cut::Version);
            let combinations = (0..description.requires.len()).rev().map(Cut::Combination);
            let each = description.params.iter().flat_map(|(name, param)| cuts_of_param(name, param));
            params.chain(versions).chain(combinations).chain(each).collect()
        }
        Some(Model::Versions(known)) => known.strings().iter().cloned().map(Cut::Version).collect(),
        None => Vec::new(),
    };
    others.chain([Cut::All]).chain(inside).collect()
}

fn cuts_of_param(name: &ParamName, param: &Param) -> Vec<Cut> {
    let mut cuts = Vec::new();
    if param.off.as_ref().is_some_and(|off| *off != param.init) {
        cuts.push(Cut::Init(name.clone()));
    }
    cuts.extend((0..values(param)).rev().map(|i| Cut::Allowed(name.clone(), i)));
    if let Allowed::Ints(set) = &param.allowed {
        let wide = set.ranges().iter().filter(|range| range.start() < range.end());
        let ends = wide.flat_map(|range| [*range.start(), *range.end()]);
        cuts.extend(ends.map(|end| Cut::End(name.clone(), end)));
    }
    cuts
}

impl Cut {
    /// Leaves it out of the synthetic ones among the chosen sides.
    fn of_case(&self, case: &Case, sides: [bool; 2]) -> Case {
        let mut smaller = case.clone();
        let names = [&mut smaller.source, &mut smaller.destination];
        for (name, _) in names.into_iter().zip(sides).filter(|(_, chosen)| *chosen) {
            if let Some((device, mut manifest)) = parsed(name) {
                self.of_manifest(&mut manifest, &case.model);
                *name = device.described(&manifest).to_string();
            }
        }
        for setup in std::iter::once(&mut smaller.setup).chain(&mut smaller.other).filter(|_| sides[0]) {
            match (self, &mut *setup) {
                (Cut::All, _) => *setup = Setup::Params(Configuration::new()),
                (Cut::Param(gone), Setup::Params(full)) => drop(full.remove(gone)),
                _ => {}
            }
        }
        smaller
    }

    fn of_manifest(&self, manifest: &mut Manifest, model: &ModelId) {
        if let Cut::Model(gone) = self {
            manifest.models.remove(gone);
            return;
        }
        match (manifest.models.get_mut(model), self) {
            (Some(described), Cut::All) => *described = Model::Params(Description::default()),
            (Some(Model::Params(description)), _) => self.of_description(description),
            (Some(Model::Versions(known)), Cut::Version(gone)) => {
                let left = known.strings().iter().filter(|version| *version != gone).cloned().collect();
                let latest = Some(known.latest()).filter(|latest| *latest != gone).cloned();
                *known = Versions::new(left, latest).unwrap_or_else(|| known.clone());
            }
            _ => {}
        }
    }

    fn of_description(&self, description: &mut Description) {
        match self {
            Cut::All | Cut::Model(_) => {}
            Cut::Param(gone) => {
                description.params.remove(gone);
                description.versions.values_mut().for_each(|full| drop(full.remove(gone)));
                description
                    .requires
                    .retain(|clause| !clause.when.contains_key(gone) && !clause.then.contains_key(gone));
            }
            Cut::Version(gone) => {
                description.versions.remove(gone);
                description.latest.take_if(|latest| latest == gone);
            }
            Cut::Combination(at) => {
                if *at < description.requires.len() {
                    description.requires.remove(*at);
                }
            }
            Cut::Allowed(name, at) => {
                description.params.entry(name.clone()).and_modify(|param| narrow(param, |i| i != *at));
            }
            Cut::End(name, end) => {
                description.params.entry(name.clone()).and_modify(|param| shorten(param, *end));
            }
            Cut::Init(name) => {
                description.params.entry(name.clone()).and_modify(|param| {
                    param.init = param.off.clone().unwrap_or(param.init.clone());
                });
            }
        }
    }
}

/// Keeps some of the values of a parameter, and always what it has by itself and what is off.
fn narrow(param: &mut Param, keep: impl Fn(usize) -> bool) {
    let allowed = match &param.allowed {
        Allowed::Any => return,
        Allowed::Bools(set) => {
            let kept = set.iter().enumerate().filter(|(i, _)| keep(*i));
            Allowed::Bools(kept.map(|(_, b)| *b).collect())
        }
        Allowed::Strs(set) => {
            let kept = set.iter().enumerate().filter(|(i, _)| keep(*i));
            Allowed::Strs(kept.map(|(_, s)| s.clone()).collect())
        }
        Allowed::Ints(set) => {
            let kept = set.ranges().iter().enumerate().filter(|(i, _)| keep(*i));
            Allowed::Ints(kept.map(|(_, range)| range.clone()).collect())
        }
    };
    allow(param, allowed);
}

/// Makes one number of the range that begins or ends with it.
fn shorten(param: &mut Param, end: i64) {
    let Allowed::Ints(set) = &param.allowed else { return };
    let of = |range: &std::ops::RangeInclusive<i64>| match (*range.start(), *range.end()) {
        (start, last) if start == end || last == end => end..=end,
        _ => range.clone(),
    };
    let allowed: IntSet = set.ranges().iter().map(of).collect();
    allow(param, Allowed::Ints(allowed));
}

fn allow(param: &mut Param, allowed: Allowed) {
    let needed = std::iter::once(&param.init).chain(&param.off);
    if needed.into_iter().all(|value| allowed.contains(value)) {
        param.allowed = allowed;
    }
}
