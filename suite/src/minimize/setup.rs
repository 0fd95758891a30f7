//! Configurations nearer to what an instance has by itself.

use super::Bounds;
use crate::case::Case;
use migcert_core::param::{Allowed, Configuration, Param, Value};
use migcert_core::program::{Description, Model};
use migcert_core::version::Setup;

/// How many parameters don't have their init value, in both configurations.
pub(super) fn size(case: &Case, bounds: &Bounds<'_>) -> usize {
    let model = bounds.model(case);
    let of = |setup: &Setup| match (&model, setup) {
        (Some(Model::Params(model)), Setup::Params(full)) => {
            let init = model.init();
            full.iter().filter(|(name, value)| init.get(*name) != Some(*value)).count()
        }
        (Some(model), setup) => usize::from(*setup != model.latest()),
        (None, _) => 0,
    };
    of(&case.setup) + case.other.as_ref().map_or(0, of)
}

/// Without the other configuration, and each parameter of both at a value that comes before its own.
pub(super) fn plainer(case: &Case, bounds: &Bounds<'_>) -> Vec<Case> {
    let Some(model) = bounds.model(case) else { return Vec::new() };
    let mut all = Vec::new();
    if let Some(other) = &case.other {
        all.push(Case { other: None, ..case.clone() });
        all.extend(before(&model, other).map(|other| Case { other: Some(other), ..case.clone() }));
    }
    all.extend(before(&model, &case.setup).map(|setup| Case { setup, ..case.clone() }));
    all
}

/// Setups that the model allows and that come before this one.
fn before(model: &Model, setup: &Setup) -> impl Iterator<Item = Setup> {
    let all: Vec<Setup> = match (model, setup) {
        (Model::Params(model), Setup::Params(full)) => {
            let each = model.params.iter().flat_map(|(name, param)| {
                let now = full.get(name);
                let nearer = values(param).take_while(move |value| Some(value) != now);
                nearer.map(move |value| {
                    let mut full = full.clone();
                    full.insert(name.clone(), value);
                    full
                })
            });
            let whole = [model.init(), model.off()].into_iter();
            let whole = whole.filter(|whole| distance(model, whole) < distance(model, full));
            whole.chain(each).map(Setup::Params).collect()
        }
        (Model::Versions(known), Setup::Version(now)) => {
            let latest = std::iter::once(known.latest()).chain(known.strings());
            latest.take_while(|version| *version != now).cloned().map(Setup::Version).collect()
        }
        _ => Vec::new(),
    };
    all.into_iter().filter(|setup| model.faults(setup).is_empty())
}

/// How far all values are from the first that their parameters may have.
fn distance(model: &Description, full: &Configuration) -> usize {
    let of = |(name, param)| values(param).position(|value| full.get(name) == Some(&value)).unwrap_or(FAR);
    model.params.iter().map(of).sum()
}

/// Farther than any value that is looked at.
const FAR: usize = 1000;
/// So many ranges or texts of a parameter are looked at.
const LONG: usize = 8;

/// Values of a parameter, the plainest first: what an instance has by itself, off, and the ends of
/// what is allowed.
fn values(param: &Param) -> impl Iterator<Item = Value> {
    let ends = match &param.allowed {
        Allowed::Any => Vec::new(),
        Allowed::Bools(set) => set.iter().map(|b| Value::Bool(*b)).collect(),
        Allowed::Strs(set) => set.iter().take(LONG).cloned().map(Value::Str).collect(),
        Allowed::Ints(set) => {
            let ends = set.ranges().iter().take(LONG).flat_map(|range| [*range.start(), *range.end()]);
            ends.map(Value::Int).collect()
        }
    };
    std::iter::once(param.init.clone()).chain(param.off.clone()).chain(ends)
}
