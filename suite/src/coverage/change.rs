//! How the destination's description of a model differs from the source's.

use migcert_core::param::{Allowed, Param};
use migcert_core::program::{Description, Model};

macro_rules! changes {
    ($($name:ident $id:literal,)*) => {
        $(const $name: &str = $id;)*
        /// All differences.
        pub(super) const ALL: &[&str] = &[$($name),*];
    };
}

changes! {
    NONE "none",
    MODEL_GONE "model-gone",
    FORM_CHANGED "form-changed",
    STRING_ADDED "string-added",
    STRING_GONE "string-gone",
    ADDED "added",
    ADDED_MANDATORY "added-mandatory",
    RETIRED "retired",
    RETYPED "retyped",
    OPENED "opened",
    CLOSED "closed",
    WIDENED "widened",
    NARROWED "narrowed",
    OFF_CHANGED "off-changed",
    OFF_GIVEN "off-given",
    OFF_WITHDRAWN "off-withdrawn",
    REINIT "reinit",
    REQUIRES_ADDED "requires-added",
    REQUIRES_GONE "requires-gone",
    VERSION_PUBLISHED "version-published",
    VERSION_GONE "version-gone",
}

/// The differences; [`NONE`] if there are none.
pub(super) fn between(here: &Model, there: Option<&Model>) -> Vec<&'static str> {
    let mut found = match (here, there) {
        (_, None) => vec![MODEL_GONE],
        (Model::Params(here), Some(Model::Params(there))) => descriptions(here, there),
        (Model::Versions(here), Some(Model::Versions(there))) => {
            let (here, there) = (here.strings(), there.strings());
            let added = there.iter().any(|string| !here.contains(string));
            let gone = here.iter().any(|string| !there.contains(string));
            chosen(&[(added, STRING_ADDED), (gone, STRING_GONE)])
        }
        _ => vec![FORM_CHANGED],
    };
    if found.is_empty() {
        found.push(NONE);
    }
    found
}

fn descriptions(here: &Description, there: &Description) -> Vec<&'static str> {
    let added = there.params.iter().filter(|(name, _)| !here.params.contains_key(*name));
    let mandatory = added.clone().any(|(_, param)| param.off.is_none());
    let (mut added, gone) = (added, here.params.keys().any(|name| !there.params.contains_key(name)));
    let both = here.params.iter().filter_map(|(name, param)| Some((param, there.params.get(name)?)));
    let mut found: Vec<_> = both.flat_map(|(here, there)| params(here, there)).collect();
    found.extend(chosen(&[
        (added.any(|(_, param)| param.off.is_some()), ADDED),
        (mandatory, ADDED_MANDATORY),
        (gone, RETIRED),
        (there.requires.iter().any(|clause| !here.requires.contains(clause)), REQUIRES_ADDED),
        (here.requires.iter().any(|clause| !there.requires.contains(clause)), REQUIRES_GONE),
        (there.versions.keys().any(|version| !here.versions.contains_key(version)), VERSION_PUBLISHED),
        (here.versions.keys().any(|version| !there.versions.contains_key(version)), VERSION_GONE),
    ]));
    found
}

fn params(here: &Param, there: &Param) -> Vec<&'static str> {
    if here.ty != there.ty {
        return vec![RETYPED];
    }
    let (any, any_there) = (here.allowed.is_any(), there.allowed.is_any());
    chosen(&[
        (!any && any_there, OPENED),
        (any && !any_there, CLOSED),
        (exceeds(&there.allowed, &here.allowed), WIDENED),
        (exceeds(&here.allowed, &there.allowed), NARROWED),
        (here.off.is_some() && there.off.is_some() && here.off != there.off, OFF_CHANGED),
        (here.off.is_none() && there.off.is_some(), OFF_GIVEN),
        (here.off.is_some() && there.off.is_none(), OFF_WITHDRAWN),
        (here.init != there.init, REINIT),
    ])
}

/// Whether one lists a value that the other doesn't, where both list theirs.
fn exceeds(one: &Allowed, other: &Allowed) -> bool {
    match (one, other) {
        (Allowed::Bools(one), Allowed::Bools(other)) => one.iter().any(|value| !other.contains(value)),
        (Allowed::Strs(one), Allowed::Strs(other)) => one.iter().any(|value| !other.contains(value)),
        (Allowed::Ints(one), Allowed::Ints(other)) => one.ranges().iter().any(|range| {
            !other.ranges().iter().any(|wider| wider.contains(range.start()) && wider.contains(range.end()))
        }),
        _ => false,
    }
}

fn chosen(all: &[(bool, &'static str)]) -> Vec<&'static str> {
    all.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect()
}
