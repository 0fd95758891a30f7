//! Chapter R-5: would a source, configured so, migrate to a destination?

use crate::fleet::Fleet;
use crate::lint::MAX_LINTS;
use crate::model::ModelId;
use crate::param::{Configuration, ParamName, Type, Value};
use crate::program::{Description, Manifest, Model, ParameterList, Requires};
use crate::version::{Setup, Version};
use std::fmt;

/// Every reason, not the first. No reason means compatible.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict(pub Vec<Reason>);

impl Verdict {
    /// Whether nothing speaks against the migration.
    pub fn is_compatible(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("compatible");
        }
        for (i, reason) in self.0.iter().enumerate() {
            write!(f, "{}{}: {reason}", if i == 0 { "" } else { "; " }, reason.requirement())?;
        }
        Ok(())
    }
}

/// One reason why a migration would fail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The list doesn't name it, and it can't be turned off.
    #[error("`{0}` is not named and has no off value")]
    CannotBeOff(ParamName),
    /// Values that the destination doesn't take together.
    #[error("{0}")]
    Combination(Requires),
    /// One side is described by parameters, the other by version strings.
    #[error("one side is described by parameters, the other by version strings")]
    FormDiffers,
    /// The destination doesn't support the model.
    #[error("model `{0}` is not supported")]
    ModelUnknown(ModelId),
    /// The list leaves it out, and the two sides mean different values by that.
    #[error(
        "`{name}` is left out: that is {} at the source and {} at the destination",
        beside(here, there),
        beside(there, here)
    )]
    OffValueDiffers {
        /// The parameter.
        name: ParamName,
        /// Its off value at the source.
        here: Value,
        /// Its off value at the destination.
        there: Value,
    },
    /// The destination doesn't know the parameter.
    #[error("`{0}` is not known")]
    ParameterUnknown(ParamName),
    /// The parameter has another type there.
    #[error("`{name}={value}` is not of type {there}")]
    TypeDiffers {
        /// The parameter.
        name: ParamName,
        /// Its value at the source.
        value: Value,
        /// Its type at the destination.
        there: Type,
    },
    /// The destination doesn't allow the value.
    #[error("`{0}={1}` is not allowed")]
    ValueNotAllowed(ParamName, Value),
    /// The destination doesn't have the version string.
    #[error("version `{0}` is not known")]
    VersionUnknown(Version),
}

/// A value as it is said beside another one: with its type where that is what differs.
fn beside(value: &Value, other: &Value) -> String {
    if value.ty() == other.ty() { format!("`{value}`") } else { format!("{} `{value}`", value.ty()) }
}

/// What a reason is called, which requirement it stands on, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonInfo {
    /// Stable name, for scripts.
    pub id: &'static str,
    /// The requirement it stands on.
    pub cites: &'static str,
    /// What it means.
    pub means: &'static str,
    /// What to do about it.
    pub advice: &'static str,
}

/// All reasons there are, by id.
#[rustfmt::skip]
pub const REASONS: &[ReasonInfo] = &[
    ReasonInfo { id: "cannot-be-off", cites: "R-5.2",
        means: "the destination has a parameter that the source's list does not name and that has no off value",
        advice: "give the parameter an off value with which interface and state are as before it existed" },
    ReasonInfo { id: "combination", cites: "R-3.7",
        means: "the destination allows each value but not all of them together",
        advice: "configure the source with values that both sides allow together" },
    ReasonInfo { id: "form-differs", cites: "R-4.6",
        means: "one side describes the model by parameters and the other by version strings, which say nothing of each other",
        advice: "describe both implementations in the same form" },
    ReasonInfo { id: "model-unknown", cites: "R-2.1",
        means: "the destination does not support the model; ids are compared byte for byte",
        advice: "compare both ids letter by letter: a trailing slash or `www.` makes another model" },
    ReasonInfo { id: "off-value-differs", cites: "R-5.2",
        means: "the source has the parameter off and leaves it out, and the destination's off value is another",
        advice: "an off value never changes, for absence means it: give it its first value again in the newer description" },
    ReasonInfo { id: "parameter-unknown", cites: "R-5.2",
        means: "the source uses a parameter that the destination does not know",
        advice: "set the parameter to its off value on the source, or use a newer destination" },
    ReasonInfo { id: "type-differs", cites: "R-5.2",
        means: "the destination knows the parameter with another type",
        advice: "a parameter's type may not change; give the new meaning a new name" },
    ReasonInfo { id: "value-not-allowed", cites: "R-5.2",
        means: "the destination knows the parameter and does not allow the source's value",
        advice: "configure the source with a value that both sides allow" },
    ReasonInfo { id: "version-unknown", cites: "R-4.6",
        means: "the destination does not have the source's version string",
        advice: "start the source with a version that both sides have" },
];

impl Reason {
    /// Its row in [`REASONS`].
    pub fn info(&self) -> ReasonInfo {
        let row = match self {
            Reason::CannotBeOff(_) => 0,
            Reason::Combination(_) => 1,
            Reason::FormDiffers => 2,
            Reason::ModelUnknown(_) => 3,
            Reason::OffValueDiffers { .. } => 4,
            Reason::ParameterUnknown(_) => 5,
            Reason::TypeDiffers { .. } => 6,
            Reason::ValueNotAllowed(..) => 7,
            Reason::VersionUnknown(_) => 8,
        };
        REASONS[row]
    }

    /// The requirement it stands on.
    pub fn requirement(&self) -> &'static str {
        self.info().cites
    }

    /// The parameter that is to blame, if one is.
    pub fn parameter(&self) -> Option<&ParamName> {
        match self {
            Reason::CannotBeOff(name)
            | Reason::OffValueDiffers { name, .. }
            | Reason::ParameterUnknown(name)
            | Reason::TypeDiffers { name, .. }
            | Reason::ValueNotAllowed(name, _) => Some(name),
            _ => None,
        }
    }

    /// The value that is to blame, if one is.
    pub fn value(&self) -> Option<&Value> {
        match self {
            Reason::OffValueDiffers { here: value, .. }
            | Reason::TypeDiffers { value, .. }
            | Reason::ValueNotAllowed(_, value) => Some(value),
            _ => None,
        }
    }
}

/// Checks a source's setup against what a destination supports. Needs no instance and
/// disturbs nothing.
///
/// `setup` is a full one, valid at the source; `source` is the source's description of `model`.
pub fn check(model: &ModelId, source: &Model, setup: &Setup, destination: &Manifest) -> Verdict {
    let Some(there) = destination.models.get(model) else {
        return Verdict(vec![Reason::ModelUnknown(model.clone())]);
    };
    Verdict(match (source, setup, there) {
        (Model::Params(source), Setup::Params(configuration), Model::Params(there)) => {
            check_list(&source.parameter_list(configuration), there)
        }
        (Model::Versions(_), Setup::Version(version), Model::Versions(there)) => {
            if there.contains(version) {
                vec![]
            } else {
                vec![Reason::VersionUnknown(version.clone())]
            }
        }
        _ => vec![Reason::FormDiffers],
    })
}

/// The parameters for which a positive answer is not certain: the source names them, and the
/// destination doesn't list their values and may still refuse one. Not reasons.
pub fn unproven(model: &ModelId, source: &Model, setup: &Setup, destination: &Manifest) -> Vec<ParamName> {
    let (Model::Params(source), Setup::Params(configuration), Some(Model::Params(there))) =
        (source, setup, destination.models.get(model))
    else {
        return vec![];
    };
    let list = source.parameter_list(configuration).named.into_iter();
    let unlisted = list.filter(|(name, value)| {
        there.params.get(name).is_some_and(|param| param.allowed.is_any() && param.ty == value.ty())
    });
    unlisted.map(|(name, _)| name).collect()
}

/// What two descriptions of a model say differently though both mean it to be the same, where that
/// decides nothing: the list does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Drift {
    /// What is asked for as the latest.
    #[error("the latest configuration is `{here}` at the source and `{there}` at the destination (R-4.4)")]
    Latest {
        /// At the source.
        here: Setup,
        /// At the destination.
        there: Setup,
    },
    /// The list names it, so its off value is not needed; where it is left out, it will be.
    #[error(
        "the off value of `{name}` is `{here}` at the source and `{there}` at the destination: \
         only a list that names it can migrate (R-3.4)"
    )]
    OffValue {
        /// The parameter.
        name: ParamName,
        /// Its off value at the source.
        here: Value,
        /// Its off value at the destination.
        there: Value,
    },
    /// An alias of two configurations.
    #[error(
        "version `{version}` is `{here}` at the source and `{there}` at the destination: \
         the parameters decide, not the version (R-4.2)"
    )]
    Version {
        /// The alias.
        version: Version,
        /// What it stands for at the source.
        here: Setup,
        /// What it stands for at the destination.
        there: Setup,
    },
}

/// Where two descriptions drifted apart beside what [`check`] says of a setup: off values of what its
/// list names, aliases and the latest configuration. At most [`MAX_LINTS`] of each; none where the
/// destination doesn't have the model or has it in the other form.
pub fn drift(model: &ModelId, source: &Model, setup: &Setup, destination: &Manifest) -> Vec<Drift> {
    let Some(there) = destination.models.get(model) else { return vec![] };
    let mut drift = Vec::new();
    let mut latest_differs = source.latest() != there.latest();
    match (source, setup, there) {
        (Model::Params(source), Setup::Params(configuration), Model::Params(there)) => {
            let named = source.parameter_list(configuration).named.into_keys();
            let off = |name: ParamName| {
                let [here, there] = [source, there].map(|side| side.params.get(&name)?.off.clone());
                let (here, there) = (here?, there?);
                let differ = here != there && here.ty() == there.ty();
                differ.then_some(Drift::OffValue { name, here, there })
            };
            drift.extend(named.filter_map(off).take(MAX_LINTS));
            let same = |here: &Configuration, other: &Configuration| {
                source.parameter_list(here).means_the_same(&there.parameter_list(other))
            };
            let alias = |(version, here): (&Version, &Configuration)| {
                let there = there.versions.get(version).filter(|there| !same(here, there))?;
                let [here, there] = [here, there].map(|full| Setup::Params(full.clone()));
                Some(Drift::Version { version: version.clone(), here, there })
            };
            drift.extend(source.versions.iter().filter_map(alias).take(MAX_LINTS));
            // Init values may differ between two releases; a name is a promise.
            latest_differs = (source.latest.is_some() || there.latest.is_some())
                && !same(&source.latest(), &there.latest());
        }
        (Model::Versions(_), Setup::Version(_), Model::Versions(_)) => {}
        _ => return vec![],
    }
    if latest_differs {
        drift.push(Drift::Latest { here: source.latest(), there: there.latest() });
    }
    drift
}

/// Checks a migration parameter list against a destination's description.
pub fn check_list(list: &ParameterList, there: &Description) -> Vec<Reason> {
    Fleet::new([there]).list(list).answers().flat_map(|answer| answer.reasons()).collect()
}

/// The configuration that the destination is prepared with: the list, and all else off.
pub fn destination(list: &ParameterList, there: &Description) -> Configuration {
    let off = there.params.iter().filter_map(|(name, param)| Some((name, param.off.as_ref()?)));
    let mut full: Configuration = off.map(|(name, off)| (name.clone(), off.clone())).collect();
    full.extend(list.named.iter().map(|(name, value)| (name.clone(), value.clone())));
    full
}
