//! Configurations nearer to what an instance has by itself.

use super::{Bounds, Edit, edit};
use crate::case::Case;
use migcert_core::param::{Allowed, Configuration, Param, ParamName, Value};
use migcert_core::program::{Description, Model};
use migcert_core::version::{Setup, Version};
use std::rc::Rc;

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
pub(super) fn plainer<'e>(case: &Case, bounds: &Bounds<'_>) -> Vec<Edit<'e>> {
    let Some(model) = bounds.model(case).map(Rc::new) else { return Vec::new() };
    let mut all = Vec::new();
    if let Some(other) = &case.other {
        all.push(edit(|case| case.other = None));
        all.extend(changes(&model, other).into_iter().map(|change| {
            let other = move |case: &Case| Some(Some(change(case.other.as_ref()?)?));
            Box::new(move |case: &Case| Some(Case { other: other(case)?, ..case.clone() })) as Edit<'e>
        }));
    }
    all.extend(changes(&model, &case.setup).into_iter().map(|change| {
        Box::new(move |case: &Case| Some(Case { setup: change(&case.setup)?, ..case.clone() })) as Edit<'e>
    }));
    all
}

/// Makes a setup plainer, where the model allows it.
type Change<'a> = Box<dyn Fn(&Setup) -> Option<Setup> + 'a>;

fn changes<'e>(model: &Rc<Model>, setup: &Setup) -> Vec<Change<'e>> {
    let if_allowed = |change: Change<'e>| -> Change<'e> {
        let model = Rc::clone(model);
        Box::new(move |setup| change(setup).filter(|setup| model.faults(setup).is_empty()))
    };
    let all: Vec<Change<'e>> = match (&**model, setup) {
        (Model::Params(model), Setup::Params(full)) => {
            let whole = [model.init(), model.off()].into_iter();
            let whole = whole.filter(|whole| distance(model, whole) < distance(model, full));
            let whole = whole
                .map(|whole| Box::new(move |_: &Setup| Some(Setup::Params(whole.clone()))) as Change<'e>);
            let each = model.params.iter().flat_map(|(name, param)| {
                let now = full.get(name);
                let nearer = values(param).take_while(move |value| Some(value) != now);
                nearer.map(|value| put(name.clone(), value))
            });
            whole.chain(each).collect()
        }
        (Model::Versions(known), Setup::Version(now)) => {
            let latest = std::iter::once(known.latest()).chain(known.strings());
            let before = latest.take_while(|version| *version != now).cloned();
            let to =
                |version| -> Change<'e> { Box::new(move |_| Some(Setup::Version(Version::clone(&version)))) };
            before.map(to).collect()
        }
        _ => Vec::new(),
    };
    all.into_iter().map(if_allowed).collect()
}

fn put<'e>(name: ParamName, value: Value) -> Change<'e> {
    Box::new(move |setup| {
        let Setup::Params(full) = setup else { return None };
        let mut full = full.clone();
        full.insert(name.clone(), value.clone());
        Some(Setup::Params(full))
    })
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
