//! Advice on migration info: useful to whoever wrote it, never a reason to refuse.

use crate::json::At;
use crate::model::IdLint;
use crate::param::Allowed;
use crate::program::{Description, Manifest, Model, Requires, Versions};
use crate::version::{Numbers, Version};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

/// One piece of advice, and where it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lint {
    /// JSON path of what it is about.
    pub at: String,
    /// The advice.
    pub advice: Advice,
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.advice)
    }
}

/// What could be better in a description.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Advice {
    /// The values are not listed.
    #[error("without `allowed_values` a check can't prove that a value will be taken; list them (R-3.6)")]
    AnyValue,
    /// A clause that never binds.
    #[error("names no parameter, so the clause holds always; name one or remove the clause")]
    EmptyThen,
    /// A clause that always binds.
    #[error("names no parameter, so the clause binds always; narrow `allowed_values` instead")]
    EmptyWhen,
    /// The form of a model id.
    #[error(transparent)]
    Id(#[from] IdLint),
    /// A member that nobody here knows.
    #[error("not a member that is known here; it is ignored")]
    Ignored,
    /// Nothing says which version is the latest.
    #[error("without `latest` the init values count as the latest configuration; name the version (R-4.4)")]
    NoLatest,
    /// A program that supports nothing.
    #[error("no model is described, so nothing can migrate")]
    NoModel,
    /// It can't be turned off.
    #[error(
        "without `off_value` no state can come from, or go to, an implementation that doesn't know the parameter (R-3.4)"
    )]
    NoOffValue,
    /// An old state has no valid meaning here.
    #[error("broken where everything is off that can be, so older states may find no place here: {0}")]
    OffBroken(Requires),
    /// A text sorts its numbers otherwise than they count.
    #[error("is called latest, and `{0}` has the greater number (R-4.4)")]
    NotTheGreatest(Version),
    /// The strings are in no order of their numbers, and the last one counts as the latest.
    #[error("stands after `{0}`, which has the greater number; order versions by their numbers (R-4.4)")]
    Order(Version),
    /// `version=` means the alias.
    #[error(
        "text that sets `version` means one of `versions`, so this parameter can't be set there; rename it"
    )]
    Shadowed,
}

impl Manifest {
    /// Advice on what it says, in the order of the document; the first [`MAX_LINTS`] of it.
    pub fn lints(&self) -> Vec<Lint> {
        let mut lints = Lints::default();
        self.lint(&mut lints);
        lints.0
    }

    pub(crate) fn lint(&self, lints: &mut Lints) {
        let models = At::Member(&At::Top, "models");
        if self.models.is_empty() {
            lints.push(&models, Advice::NoModel);
        }
        for (id, model) in &self.models {
            let at = At::Name(&models, id.as_str());
            for lint in id.lints() {
                lints.push(&at, lint.into());
            }
            match model {
                Model::Params(description) => description.lint(&at, lints),
                Model::Versions(versions) => versions.lint(&at, lints),
            }
        }
    }
}

impl Versions {
    fn lint(&self, model: &At<'_>, lints: &mut Lints) {
        let at = At::Member(model, "versions");
        let mut greatest = BTreeMap::<_, (Numbers<'_>, &Version)>::new();
        for (i, version) in self.strings().iter().enumerate() {
            let (sequence, numbers) = version.numbers();
            match greatest.entry(sequence) {
                Entry::Vacant(first) => drop(first.insert((numbers, version))),
                Entry::Occupied(mut last) if last.get().0 <= numbers => {
                    last.insert((numbers, version));
                }
                Entry::Occupied(last) => lints.push(&At::Item(&at, i), Advice::Order(last.get().1.clone())),
            }
        }
        let said = self.strings().last() != Some(self.latest());
        latest(said.then_some(self.latest()), self.strings(), model, lints);
    }
}

/// A latest version that is said to be, and is not the greatest of its sequence.
fn latest<'a>(
    latest: Option<&Version>,
    versions: impl IntoIterator<Item = &'a Version>,
    model: &At<'_>,
    lints: &mut Lints,
) {
    let Some((sequence, numbers)) = latest.map(Version::numbers) else { return };
    let same = versions.into_iter().map(|version| (version.numbers(), version));
    let same = same.filter(|((other, _), _)| *other == sequence);
    if let Some(((_, greatest), version)) = same.max_by(|(one, _), (other, _)| one.1.cmp(&other.1))
        && greatest > numbers
    {
        lints.push(&At::Member(model, "latest"), Advice::NotTheGreatest(version.clone()));
    }
}

impl Description {
    fn lint(&self, model: &At<'_>, lints: &mut Lints) {
        let params = At::Member(model, "params");
        for (name, param) in &self.params {
            let at = At::Name(&params, name.as_str());
            if param.allowed == Allowed::Any {
                lints.push(&at, Advice::AnyValue);
            }
            if param.off.is_none() {
                lints.push(&at, Advice::NoOffValue);
            }
            if name.as_str() == "version" && !self.versions.is_empty() {
                lints.push(&at, Advice::Shadowed);
            }
        }
        if !self.versions.is_empty() && self.latest.is_none() {
            lints.push(model, Advice::NoLatest);
        }
        latest(self.latest.as_ref(), self.versions.keys(), model, lints);
        let off = self.off();
        let requires = At::Member(model, "requires");
        for (i, clause) in self.requires.iter().enumerate() {
            let at = At::Item(&requires, i);
            if clause.when.is_empty() {
                lints.push(&At::Member(&at, "if"), Advice::EmptyWhen);
            }
            if clause.then.is_empty() {
                lints.push(&At::Member(&at, "then"), Advice::EmptyThen);
            }
            if !clause.holds(&off) {
                lints.push(&at, Advice::OffBroken(clause.clone()));
            }
        }
    }
}

/// No more lints than these are gathered: a long list helps nobody.
pub const MAX_LINTS: usize = 1000;

#[derive(Default)]
pub(crate) struct Lints(pub(crate) Vec<Lint>);

impl Lints {
    pub(crate) fn push(&mut self, at: &At<'_>, advice: Advice) {
        if self.0.len() < MAX_LINTS {
            self.0.push(Lint { at: at.to_string(), advice });
        }
    }
}
