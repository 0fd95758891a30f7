//! How long the scripts of a profile are: they may request each other, but not without end.

use super::why::Why;
use migcert_core::device::Step;
use std::collections::BTreeMap;

/// What a driver does as one step, by name.
pub(super) type Scripts = BTreeMap<String, Vec<Step>>;

/// Accesses that a script has at most, with those of the scripts that it requests.
pub(super) const MAX_ACCESSES: usize = 4096;

/// Scripts that are nested in each other at most.
pub(super) const MAX_NESTED: usize = 8;

/// How long scripts are, and how deep.
pub(super) struct Lengths<'a> {
    pub(super) scripts: &'a Scripts,
    pub(super) known: BTreeMap<&'a str, (usize, usize)>,
}

impl<'a> Lengths<'a> {
    /// Accesses of steps at a place of the profile, with those of the scripts that they request, and
    /// how deep these are. `path` leads here: each script requests the next one.
    pub(super) fn of(
        &mut self,
        place: &str,
        steps: &'a [Step],
        path: &[&'a str],
    ) -> Result<(usize, usize), Why> {
        let (mut all, mut deepest) = (0, 0);
        for step in steps {
            let (accesses, depth) = match step {
                Step::Request(name) => self.script(place, name, path)?,
                _ => (0, 0),
            };
            (all, deepest) = (all + 1 + accesses, deepest.max(depth));
            if MAX_ACCESSES < all {
                return Err(Why::TooLong(place.to_owned()));
            }
        }
        Ok((all, deepest))
    }

    pub(super) fn script(
        &mut self,
        place: &str,
        name: &'a str,
        path: &[&'a str],
    ) -> Result<(usize, usize), Why> {
        if path.contains(&name) {
            return Err(Why::Recursive([path, &[name]].concat().join("` requests `")));
        }
        let nested = || Why::Nested(path.first().unwrap_or(&name).to_string());
        if path.len() == MAX_NESTED {
            return Err(nested());
        }
        if let Some((accesses, depth)) = self.known.get(name) {
            let fits = path.len() + depth <= MAX_NESTED;
            return if fits { Ok((*accesses, *depth)) } else { Err(nested()) };
        }
        let missing = || Why::NoScript { place: place.to_owned(), name: name.to_owned() };
        let steps = self.scripts.get(name).ok_or_else(missing)?;
        let (accesses, depth) = self.of(&format!("scripts.{name}"), steps, &[path, &[name]].concat())?;
        self.known.insert(name, (accesses, depth + 1));
        Ok((accesses, depth + 1))
    }
}
