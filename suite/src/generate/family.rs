//! Histories: the releases of a device model, as vendors make them.
//!
//! Each release is a description of its own, made from the one before by changes: parameters are
//! added, widened, narrowed and retired, values are tied to each other, versions are published,
//! the init value moves. Mostly rightly; some changes make a pair incompatible, and a few are
//! what no vendor should do: a type changes, an id gets a trailing slash, parameters are given up
//! for version strings. Whatever was drawn, every release is valid migration info, no published
//! version changes its meaning, and an off value is never anything else. So a
//! device that behaves as its description says keeps every promise, and only the check may say no.

use super::setup;
use super::values::{allowed, first, is_of, narrow, only, union, value, without};
use crate::draw::{index, list};
use arbitrary::{Arbitrary, Result, Unstructured};
use migcert_core::model::ModelId;
use migcert_core::param::{Allowed, Configuration, Param, ParamName, Type, Value};
use migcert_core::program::{Description, Manifest, Model, Requires, Versions};
use migcert_core::version::Version;
use std::collections::{BTreeMap, BTreeSet};

/// Releases of a history.
const RELEASES: usize = 4;
/// Changes from one release to the next.
const CHANGES: usize = 6;
/// Clauses of `requires`.
const REQUIRES: usize = 3;
/// Parameters on one side of a clause.
const SIDE: usize = 2;
/// Versions, over all releases.
const VERSIONS: usize = 8;

/// The releases of one device model, the oldest first; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History(pub Vec<Manifest>);

impl<'a> Arbitrary<'a> for History {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<History> {
        let mut maker = Maker::first(u)?;
        let mut releases = Vec::new();
        loop {
            for change in list(u, CHANGES, Change::draw)? {
                let before = maker.clone();
                maker.make(u, change)?;
                if !maker.mend() {
                    maker = before;
                }
            }
            maker.promise();
            releases.push(maker.manifest());
            if u.int_in_range(0..=3u8)? == 0 || releases.len() == RELEASES {
                return Ok(History(releases));
            }
        }
    }
}

/// What a vendor does between two releases.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// A parameter that can be off.
    Add,
    /// One more value or range.
    Widen,
    /// What is published as a version: some configuration.
    Publish,
    /// Values that go together.
    Require,
    /// The init values are others.
    Reinit,
    /// One value or range less.
    Narrow,
    /// A parameter is gone.
    Retire,
    /// A parameter that can't be off.
    AddMandatory,
    /// A parameter can't be off any more.
    Withdraw,
    /// A clause is gone.
    Release,
    /// Anything may be given.
    Open,
    /// A parameter's type is another.
    Retype,
    /// The id is another one: two models.
    Rename,
    /// Versions as strings instead of parameters.
    Convert,
}

impl Change {
    /// Mostly what vendors mostly do.
    fn draw(u: &mut Unstructured<'_>) -> Result<Change> {
        use Change::*;
        #[rustfmt::skip]
        let changes = [
            Add, Add, Add, Add, Widen, Widen, Publish, Publish, Require, Require, Reinit, Reinit,
            Narrow, Narrow, Retire, AddMandatory, Withdraw, Release, Open, Retype, Rename, Convert,
        ];
        u.choose(&changes).copied()
    }
}

/// The names of parameters, in the order in which they are used. A retired one doesn't come back.
const NAMES: [&str; 6] = ["rx-filter-size", "num-queues", "größe", "a,b", "c\\d", "version"];

/// The ids, by flavour; each of them has other optional states in a synthetic device.
const IDS: [&str; 5] = [
    "vendor-a.com/nic",
    "https://qemu.org/devices/e1000e",
    "qemu.org/pci/10ec/8139",
    "vendor-b.com/crypto",
    "https://vendor-c.org/gpu/",
];

/// A release in the making, and what the releases before it fix.
#[derive(Clone, Debug)]
struct Maker {
    id: String,
    form: Form,
    model: Description,
    strings: Vec<Version>,
    /// How many names and versions were used.
    used: (usize, usize),
    /// Every off value that a parameter of a type was ever said to have, or not to have.
    offs: BTreeSet<(ParamName, Type, Option<Value>)>,
    /// The parameter list that every version was ever published for.
    published: BTreeMap<Version, Configuration>,
}

/// How the model is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// r1: versions are aliases.
    Aliases,
    /// r3: parameters alone.
    Params,
    /// r4: version strings alone.
    Strings,
}

impl Maker {
    fn first(u: &mut Unstructured<'_>) -> Result<Maker> {
        let form = match u.int_in_range(0..=7u8)? {
            0..=3 => Form::Params,
            4..=6 => Form::Aliases,
            _ => Form::Strings,
        };
        let id = (*u.choose(&IDS)?).to_owned();
        let mut maker = Maker {
            id,
            form,
            model: Description::default(),
            strings: Vec::new(),
            used: (0, 0),
            offs: BTreeSet::new(),
            published: BTreeMap::new(),
        };
        maker.string();
        Ok(maker)
    }

    fn manifest(&self) -> Manifest {
        let model = match self.form {
            Form::Strings => Versions::new(self.strings.clone(), None).map(Model::Versions),
            Form::Params => {
                let bare = Description { versions: BTreeMap::new(), latest: None, ..self.model.clone() };
                Some(Model::Params(bare))
            }
            Form::Aliases => Some(Model::Params(self.model.clone())),
        };
        let model = model.unwrap_or_else(|| Model::Params(self.model.clone()));
        Manifest { models: [(ModelId::from(self.id.as_str()), model)].into() }
    }

    fn make(&mut self, u: &mut Unstructured<'_>, change: Change) -> Result<()> {
        match (self.form, change) {
            (_, Change::Rename) => self.id.push('/'),
            (_, Change::Convert) => self.form = Form::Strings,
            (Form::Strings, Change::Publish) => self.string(),
            (Form::Strings, Change::Narrow | Change::Retire) => {
                let gone = index(u, self.strings.len())?;
                self.strings.remove(gone);
            }
            (Form::Strings, _) => {}
            (_, change) => self.make_params(u, change)?,
        }
        Ok(())
    }

    fn make_params(&mut self, u: &mut Unstructured<'_>, change: Change) -> Result<()> {
        match change {
            Change::Add => self.add(u, true)?,
            Change::AddMandatory => self.add(u, false)?,
            Change::Widen => {
                if let Some(param) = self.one(u)? {
                    let more = allowed(u, param.ty)?;
                    param.allowed = union(&param.allowed, &more);
                }
            }
            Change::Narrow => {
                if let Some(param) = self.one(u)? {
                    narrow(u, &mut param.allowed)?;
                }
            }
            Change::Publish => {
                let full = setup::configuration(u, &self.model)?;
                if let Some(version) = self.version() {
                    self.model.versions.insert(version, full);
                }
            }
            Change::Require => {
                if self.model.requires.len() < REQUIRES {
                    let clause = Requires { when: self.side(u)?, then: self.side(u)? };
                    self.model.requires.push(clause);
                }
            }
            Change::Release => drop(self.model.requires.pop()),
            Change::Reinit => {
                let full = setup::configuration(u, &self.model)?;
                for (name, value) in full {
                    self.model.params.entry(name).and_modify(|param| param.init = value);
                }
            }
            Change::Retire => {
                if !self.model.params.is_empty() {
                    let gone = index(u, self.model.params.len())?;
                    let gone = self.model.params.keys().nth(gone).cloned();
                    gone.iter().for_each(|gone| self.retire(gone));
                }
            }
            Change::Withdraw => {
                if let Some(param) = self.one(u)?
                    && let Some(off) = param.off.take()
                {
                    without(&mut param.allowed, &off);
                    param.init = first(&param.allowed).unwrap_or(off);
                }
            }
            Change::Open => {
                if let Some(param) = self.one(u)? {
                    param.allowed = Allowed::Any;
                }
            }
            Change::Retype => {
                let ty = *u.choose(&Type::ALL)?;
                let fresh = param(u, ty)?;
                if let Some(param) = self.one(u)? {
                    *param = fresh;
                }
            }
            Change::Convert | Change::Rename => {}
        }
        Ok(())
    }

    fn add(&mut self, u: &mut Unstructured<'_>, can_be_off: bool) -> Result<()> {
        let ty = *u.choose(&[Type::Int, Type::Bool, Type::Str])?;
        let mut param = param(u, ty)?;
        let name = NAMES.get(self.used.0).and_then(|name| name.parse::<ParamName>().ok());
        let Some(name) = name else { return Ok(()) };
        self.used.0 += 1;
        if !can_be_off {
            param.off = None;
        }
        // What was published before means the parameter off.
        let before = param.off.as_ref().unwrap_or(&param.init);
        for full in self.model.versions.values_mut() {
            full.insert(name.clone(), before.clone());
        }
        self.model.params.insert(name, param);
        Ok(())
    }

    fn retire(&mut self, gone: &ParamName) {
        self.model.params.remove(gone);
        self.model.versions.values_mut().for_each(|full| drop(full.remove(gone)));
        self.model
            .requires
            .retain(|clause| !clause.when.contains_key(gone) && !clause.then.contains_key(gone));
    }

    fn one(&mut self, u: &mut Unstructured<'_>) -> Result<Option<&mut Param>> {
        if self.model.params.is_empty() {
            return Ok(None);
        }
        let which = index(u, self.model.params.len())?;
        Ok(self.model.params.values_mut().nth(which))
    }

    fn side(&mut self, u: &mut Unstructured<'_>) -> Result<BTreeMap<ParamName, Allowed>> {
        let params: Vec<_> = self.model.params.iter().collect();
        if params.is_empty() {
            return Ok(BTreeMap::new());
        }
        let entries = list(u, SIDE, |u| {
            let (name, param) = params[index(u, params.len())?];
            let set = match u.int_in_range(0..=3u8)? {
                0 => allowed(u, param.ty)?,
                _ => only(&setup::value(u, param)?),
            };
            Ok((name.clone(), set))
        })?;
        Ok(entries.into_iter().collect())
    }

    /// The next version, which no release used before.
    fn version(&mut self) -> Option<Version> {
        self.used.1 += 1;
        let text = if self.form == Form::Strings {
            format!("q{}-v{}", 1 << (6 * (self.used.1 % 2)), self.used.1)
        } else {
            self.used.1.to_string()
        };
        text.parse().ok().filter(|_| self.used.1 <= VERSIONS)
    }

    fn string(&mut self) {
        if self.form == Form::Strings {
            let version = self.version();
            self.strings.extend(version);
        }
    }

    /// Makes a valid description of it, or says that there is none: what was published and is not
    /// allowed any more is not published any more, and clauses that can't be are dropped.
    fn mend(&mut self) -> bool {
        if self.form == Form::Strings {
            if self.strings.is_empty() {
                self.string();
            }
            return !self.strings.is_empty();
        }
        prune(&mut self.model);
        let keeps = |(name, param): (&ParamName, &Param)| {
            let said = self.offs.iter().filter(|(other, ty, _)| name == other && param.ty == *ty);
            let mut said = said.map(|(_, _, off)| off);
            param.off.as_ref().is_none_or(|off| param.allows(off))
                && said.all(|off| match off {
                    // Where it can't be off any more, nobody may say that it is.
                    Some(off) if param.off.is_none() => !param.allows(off),
                    off => *off == param.off,
                })
        };
        self.model.params.iter().all(keeps) && self.model.faults(&self.model.init()).is_empty()
    }

    /// From its release on, what is off is fixed, and what a version means: one that
    /// would mean something else is not published any more.
    fn promise(&mut self) {
        let new = self.model.params.iter().map(|(name, param)| (name.clone(), param.ty, param.off.clone()));
        self.offs.extend(new);
        let mut versions = std::mem::take(&mut self.model.versions);
        versions.retain(|version, full| {
            let list = self.model.parameter_list(full).named;
            *self.published.entry(version.clone()).or_insert_with(|| list.clone()) == list
        });
        self.model.latest = versions.keys().next_back().cloned();
        self.model.versions = versions;
    }
}

/// Drops clauses that can't be and versions that are not allowed.
fn prune(model: &mut Description) {
    let known = model.params.clone();
    let can_be = |side: &BTreeMap<ParamName, Allowed>| {
        side.iter().all(|(name, set)| {
            known.get(name).is_some_and(|param| is_of(set, param.ty) && set.meets(&param.allowed))
        })
    };
    model.requires.retain(|clause| can_be(&clause.when) && can_be(&clause.then));
    let mut versions = std::mem::take(&mut model.versions);
    versions.retain(|_, full| model.faults(full).is_empty());
    model.versions = versions;
}

/// What a release must not do, and did elsewhere: a parameter of it is off by another value than in the
/// release before. Neither allows the other's, so that what is named at one end is not off at the
/// other. Leaves it as it is where that can't be.
pub(crate) fn drift(u: &mut Unstructured<'_>, before: &Manifest, release: &mut Manifest) -> Result<()> {
    for (id, model) in &mut release.models {
        let (Model::Params(model), Some(Model::Params(before))) = (model, before.models.get(id)) else {
            continue;
        };
        let alike = |(name, param): (&ParamName, &Param)| {
            let off = param.off.clone().filter(|_| !param.allowed.is_any())?;
            (before.params.get(name)?.off.as_ref() == Some(&off)).then(|| (name.clone(), off))
        };
        let alike: Vec<_> = model.params.iter().filter_map(alike).collect();
        if alike.is_empty() {
            continue;
        }
        let (name, old) = &alike[index(u, alike.len())?];
        let new = value(u, old.ty())?;
        let mut drifted = model.clone();
        let Some(param) = drifted.params.get_mut(name).filter(|_| !before.params[name].allows(&new)) else {
            continue;
        };
        without(&mut param.allowed, old);
        param.allowed = union(&param.allowed, &only(&new));
        param.init = if param.init == *old { new.clone() } else { param.init.clone() };
        param.off = Some(new);
        prune(&mut drifted);
        drifted.latest = drifted.versions.keys().next_back().cloned();
        if drifted.faults(&drifted.init()).is_empty() {
            *model = drifted;
        }
    }
    Ok(())
}

/// A parameter that can be off; its init value is another value where there is one.
fn param(u: &mut Unstructured<'_>, ty: Type) -> Result<Param> {
    let off = value(u, ty)?;
    let allowed = union(&only(&off), &allowed(u, ty)?);
    let mut param = Param { ty, init: off.clone(), off: Some(off), allowed, description: None };
    if u.int_in_range(0..=3u8)? != 0 {
        param.init = setup::value(u, &param)?;
    }
    if u.int_in_range(0..=7u8)? == 7 {
        param.allowed = Allowed::Any;
    }
    Ok(param)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_bytes_are_one_release_of_nothing() {
        let history = History::arbitrary(&mut Unstructured::new(&[])).expect("drawn");
        let [Manifest { models }] = &history.0[..] else { panic!("{history:?}") };
        assert_eq!(models.values().next(), Some(&Model::Params(Description::default())));
    }
}
