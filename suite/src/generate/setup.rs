//! Configurations of a model.

use arbitrary::{Result, Unstructured};
use migcert_core::param::{Allowed, Configuration, Param, Type, Value};
use migcert_core::program::{Description, Model};
use migcert_core::version::Setup;

/// Draws a full configuration that the model allows. Zero bytes: the init values.
pub fn setup(u: &mut Unstructured<'_>, model: &Model) -> Result<Setup> {
    match model {
        Model::Versions(versions) => Ok(Setup::Version(u.choose(versions.strings())?.clone())),
        Model::Params(description) => Ok(Setup::Params(configuration(u, description)?)),
    }
}

/// Draws a full configuration that the description allows.
///
/// Starts at a version or at the init values and changes some parameters; a change that
/// `requires` forbids is taken back.
pub fn configuration(u: &mut Unstructured<'_>, model: &Description) -> Result<Configuration> {
    let mut configuration = model.init();
    let which = u.int_in_range(0..=model.versions.len())?;
    if let Some(version) = which.checked_sub(1) {
        configuration.extend(model.versions.values().nth(version).cloned().unwrap_or_default());
    }
    for (name, param) in &model.params {
        if u.int_in_range(0..=1u8)? != 0 {
            let before = configuration.insert(name.clone(), value(u, param)?);
            if let (Some(before), false) = (before, model.faults(&configuration).is_empty()) {
                configuration.insert(name.clone(), before);
            }
        }
    }
    Ok(configuration)
}

/// Draws an allowed value: the off value, an end of a range and any other are about as likely.
///
/// Where anything may be given, only what the description itself names is.
pub fn value(u: &mut Unstructured<'_>, param: &Param) -> Result<Value> {
    if let (Some(off), true) = (&param.off, u.ratio(1, 3)?) {
        return Ok(off.clone());
    }
    Ok(match &param.allowed {
        Allowed::Any => param.init.clone(),
        Allowed::Bools(set) => Value::Bool(*u.choose_iter(set.iter())?),
        Allowed::Strs(set) => Value::Str(u.choose_iter(set.iter())?.clone()),
        Allowed::Ints(set) => {
            let range = u.choose(set.ranges())?;
            Value::Int(match u.int_in_range(0..=2u8)? {
                0 => *range.start(),
                1 => *range.end(),
                _ => u.int_in_range(range.clone())?,
            })
        }
    })
}

/// Draws a setup that the model does *not* allow, and what is wrong with it in a word.
pub fn unsupported(u: &mut Unstructured<'_>, model: &Model) -> Result<(Setup, String)> {
    let description = match model {
        Model::Params(description) => description,
        Model::Versions(_) => {
            let stray = "no-such-version";
            let version = stray.parse().map_err(|_| arbitrary::Error::IncorrectFormat)?;
            return Ok((Setup::Version(version), stray.to_owned()));
        }
    };
    let mut full = configuration(u, description)?;
    let closed = description.params.iter().filter_map(|(name, param)| Some((name, outside(param)?)));
    let mut closed: Vec<_> = closed.map(|(name, value)| (name.clone(), value)).collect();
    let stray = "no-such-parameter".parse().map_err(|_| arbitrary::Error::IncorrectFormat)?;
    closed.insert(0, (stray, Value::Int(1)));
    let (name, value) = u.choose(&closed)?.clone();
    let culprit = name.to_string();
    full.insert(name, value);
    Ok((Setup::Params(full), culprit))
}

/// A value just outside the allowed ones, or of another type; `None` if anything goes.
fn outside(param: &Param) -> Option<Value> {
    match &param.allowed {
        Allowed::Any => None,
        Allowed::Ints(set) => {
            let last = *set.ranges().last()?.end();
            let first = *set.ranges().first()?.start();
            last.checked_add(1).or(first.checked_sub(1)).map(Value::Int)
        }
        Allowed::Bools(set) => [false, true].into_iter().find(|b| !set.contains(b)).map(Value::Bool),
        Allowed::Strs(set) => Some(Value::Str(format!("not-{}", set.first()?))),
    }
    .filter(|value| !param.allows(value))
    .filter(|_| matches!(param.ty, Type::Bool | Type::Int | Type::Str))
}
