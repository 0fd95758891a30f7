//! Less damage to the state, and plainer.

use super::guest::without;
use super::{fewer_bytes, lower};
use crate::case::Case;
use crate::generate::damage::Damage;

/// How much damage it is.
pub(super) fn size(damage: &[Damage]) -> usize {
    let bytes = |damage: &Damage| match damage {
        Damage::Extend(bytes) | Damage::Foreign(bytes) => bytes.len(),
        Damage::Set { bytes, .. } | Damage::Forge { bytes, .. } => bytes.len(),
        _ => 0,
    };
    damage.iter().map(|damage| 1 + bytes(damage)).sum()
}

/// One of them, half of them, or all but one.
pub(super) fn fewer(case: &Case) -> Vec<Case> {
    let all = &case.damage;
    let (first, second) = all.split_at(all.len() / 2);
    let mut fewer = vec![Vec::new(), first.to_vec(), second.to_vec()];
    fewer.extend((0..all.len()).rev().map(|i| without(all, i)));
    fewer.retain(|fewer| fewer.len() < all.len());
    fewer.into_iter().map(|damage| Case { damage, ..case.clone() }).collect()
}

/// Each of them alone at a smaller place, with fewer bytes and lower ones.
pub(super) fn simpler(case: &Case) -> Vec<Case> {
    let of = |(i, damage): (usize, &Damage)| {
        let put = move |damage| {
            let mut case = case.clone();
            case.damage[i] = damage;
            case
        };
        plainer(damage).into_iter().map(put).collect::<Vec<_>>()
    };
    case.damage.iter().enumerate().flat_map(of).collect()
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
