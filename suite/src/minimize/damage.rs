//! Less damage to the state, and plainer.

use super::{Edit, edit, fewer_bytes, lower};
use crate::case::Case;
use crate::damage::Damage;

/// How much damage it is.
pub(super) fn size(damage: &[Damage]) -> usize {
    let bytes = |damage: &Damage| match damage {
        Damage::Extend(bytes) | Damage::Foreign(bytes) => bytes.len(),
        Damage::Set { bytes, .. } | Damage::Forge { bytes, .. } => bytes.len(),
        _ => 0,
    };
    damage.iter().map(|damage| 1 + bytes(damage)).sum()
}

/// None, half of them, or all but one.
pub(super) fn fewer<'e>(case: &Case) -> Vec<Edit<'e>> {
    let len = case.damage.len();
    if len == 0 {
        return Vec::new();
    }
    let mut edits = vec![edit(|case| case.damage.clear())];
    edits.push(edit(move |case| case.damage.truncate(len / 2)));
    edits.push(edit(move |case| drop(case.damage.drain(..len / 2))));
    edits.extend((0..len).rev().map(|i| edit(move |case| drop(case.damage.remove(i)))));
    edits
}

/// Each of them alone at a smaller place, with fewer bytes and lower ones.
pub(super) fn simpler<'e>(case: &Case) -> Vec<Edit<'e>> {
    let all = case.damage.iter().enumerate();
    let all = all.flat_map(|(i, damage)| plainer(damage).into_iter().map(move |damage| (i, damage)));
    all.map(|(i, damage)| edit(move |case| case.damage[i] = damage.clone())).collect()
}

fn plainer(damage: &Damage) -> Vec<Damage> {
    let places = |at: u32| lower(at.into()).map(|at| at as u32);
    let lengths = |len: u32| places(len).filter(|len| *len != 0);
    match damage {
        Damage::Cut(keep) => places(*keep).map(Damage::Cut).collect(),
        Damage::Splice(at) => places(*at).map(Damage::Splice).collect(),
        Damage::Extend(bytes) => fewer_bytes(bytes, 1).into_iter().map(Damage::Extend).collect(),
        Damage::Foreign(bytes) => fewer_bytes(bytes, 0).into_iter().map(Damage::Foreign).collect(),
        Damage::Flip { at, bit } => {
            let places = places(*at).map(|at| Damage::Flip { at, bit: *bit });
            let bits = lower((*bit).into()).map(|bit| Damage::Flip { at: *at, bit: bit as u8 });
            places.chain(bits).collect()
        }
        Damage::Set { at, bytes } => {
            let fewer = fewer_bytes(bytes, 1).into_iter();
            let fewer = fewer.map(|bytes| Damage::Set { at: *at, bytes });
            fewer.chain(places(*at).map(|at| Damage::Set { at, bytes: bytes.clone() })).collect()
        }
        Damage::Repeat { at, len } => {
            let shorter = lengths(*len).map(|len| Damage::Repeat { at: *at, len });
            shorter.chain(places(*at).map(|at| Damage::Repeat { at, len: *len })).collect()
        }
        Damage::Swap { at, len } => {
            let shorter = lengths(*len).map(|len| Damage::Swap { at: *at, len });
            shorter.chain(places(*at).map(|at| Damage::Swap { at, len: *len })).collect()
        }
        Damage::Forge { among, at, bytes } => {
            let forge = |at, bytes| Damage::Forge { among: *among, at, bytes };
            let fewer = fewer_bytes(bytes, 1).into_iter().map(|bytes| forge(*at, bytes));
            fewer.chain(places(*at).map(|at| forge(at, bytes.clone()))).collect()
        }
        Damage::Stretch { section, by } => {
            let nearer = [by.signum(), by / 2].into_iter().filter(|less| *less != 0 && less.abs() < by.abs());
            let nearer = nearer.map(|by| Damage::Stretch { section: *section, by });
            nearer.chain(places(*section).map(|section| Damage::Stretch { section, by: *by })).collect()
        }
        Damage::Reseal => Vec::new(),
    }
}
