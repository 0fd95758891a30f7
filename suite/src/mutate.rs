//! The next input of a fuzzer: a case with something changed in it, by the generators that cases are
//! drawn by. Everything that comes out is a case, so no execution is lost on bytes that mean nothing.

use crate::case::Case;
use crate::entry;
use crate::generate::{script, setup};
use crate::guests::{self, Guest};
use crate::implementation::Builtin;
use crate::oracle::{self, Drawn, Target};
use crate::subject::Subject;
use arbitrary::{Result, Unstructured};
use migcert_core::device::{State, Step};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::ops::Range;

/// Bytes that a case, or a change, is drawn from.
const DNA: usize = 1024;
/// One case of so many is drawn anew.
const ANEW: u32 = 16;
/// At most so many things are changed at once.
const AT_ONCE: usize = 4;
/// A script grows to so many steps. Small cases are tried sooner, and say more of what they reach.
const STEPS: usize = 128;
/// At most so many things happen to a state: what another would do, another case shows.
const DAMAGES: usize = 4;
/// A walk grows to so many states.
const WALK: usize = 12;

/// A change may come to nothing; then so many others are tried.
const TRIES: u32 = 8;

/// Changes the case at the beginning of `data`, for `fuzz_mutator!`; gives its length.
pub fn in_place(target: &Target, data: &mut [u8], size: usize, max: usize, seed: u32) -> usize {
    let new = (0..TRIES).find_map(|i| mutate(target, &data[..size], max, seed.wrapping_add(i)));
    new.map_or(size.min(max), |new| put(&new, data))
}

/// Makes one case of two, for `fuzz_crossover!`; gives its length, 0 where nothing comes of it.
pub fn crossed(target: &Target, one: &[u8], other: &[u8], out: &mut [u8], seed: u32) -> usize {
    cross(target, one, other, out.len(), seed).map_or(0, |new| put(&new, out))
}

fn put(new: &[u8], into: &mut [u8]) -> usize {
    into[..new.len()].copy_from_slice(new);
    new.len()
}

/// Changes an input, or draws one where it is no case of this target. Deterministic by the seed;
/// `None` where nothing came of it that has at most `max` bytes.
pub fn mutate(target: &Target, input: &[u8], max: usize, seed: u32) -> Option<Vec<u8>> {
    let mut dna = [0; 2 * DNA];
    ChaCha8Rng::seed_from_u64(seed.into()).fill_bytes(&mut dna);
    let (first, change) = dna.split_at(DNA);
    let mut u = Unstructured::new(change);
    let case = match target.recall(input) {
        Some(drawn) if !u.ratio(1, ANEW).ok()? => changed(target, &drawn, &mut u).ok()?,
        _ => anew(target, first)?,
    };
    made(target, case, max)
}

/// The input that means a case.
fn made(target: &Target, case: Case, max: usize) -> Option<Vec<u8>> {
    let drawn = target.opened(case)?;
    let entry = entry::encode(&drawn.case).filter(|entry| entry.len() <= max)?;
    target.remember(entry.clone(), drawn);
    Some(entry)
}

fn anew(target: &Target, dna: &[u8]) -> Option<Case> {
    let mut drawn = target.draw(dna)?;
    oracle::keep_open(&drawn.source);
    oracle::keep_open(&drawn.destination);
    settle(&mut drawn.case);
    Some(drawn.case)
}

/// Puts the start of one script before the end of another, where both are of the same devices.
pub fn cross(target: &Target, one: &[u8], other: &[u8], max: usize, seed: u32) -> Option<Vec<u8>> {
    let (one, other) = (target.recall(one)?, entry::decode(other).ok()?);
    if one.case.source != other.source {
        return None;
    }
    let seed = seed as usize;
    let (keep, skip) = (seed % (one.case.script.len() + 1), seed / 7 % (other.script.len() + 1));
    let mut case = one.case.clone();
    case.script.truncate(keep);
    case.script.extend_from_slice(&other.script[skip..]);
    settle(&mut case);
    made(target, case, max)
}

fn changed(target: &Target, drawn: &Drawn, u: &mut Unstructured<'_>) -> Result<Case> {
    let mut case = drawn.case.clone();
    for _ in 0..u.int_in_range(1..=AT_ONCE)? {
        match u.int_in_range(0..=15u8)? {
            0..=3 => insert(&mut case, drawn, u)?,
            4 => drop(case.script.drain(range(case.script.len(), u)?)),
            5 => repeat(&mut case, u)?,
            6 => swap(&mut case.script, u)?,
            7 | 8 => nudge(&mut case, u)?,
            9 => case.at = [u.int_in_range(0..=case.script.len())?, u.int_in_range(0..=case.script.len())?],
            10 => case.pieces = script::pieces(u)?,
            11 => damage(&mut case, u)?,
            12 => walk(&mut case, u)?,
            13 => configure(&mut case, &drawn.source, u)?,
            14 => u.choose(&target.rules())?.id.clone_into(&mut case.rule),
            _ => partner(&mut case, u)?,
        }
    }
    settle(&mut case);
    Ok(case)
}

/// Keeps a case small, and brings its instants into its script and in order.
fn settle(case: &mut Case) {
    case.script.truncate(STEPS);
    case.damage.truncate(DAMAGES);
    case.at = case.at.map(|at| at.min(case.script.len()));
    case.at.sort_unstable();
}

fn guest(drawn: &Drawn, case: &Case) -> Option<Box<dyn Guest>> {
    drawn.source.interface(&case.model, &case.setup).ok().map(|interface| guests::of(&interface))
}

fn insert(case: &mut Case, drawn: &Drawn, u: &mut Unstructured<'_>) -> Result<()> {
    let Some(mut guest) = guest(drawn, case) else { return Ok(()) };
    if u.ratio(1, 8)? {
        case.script.extend(guest.look_around());
    }
    let at = u.int_in_range(0..=case.script.len())?;
    for i in 0..u.int_in_range(1..=4usize)? {
        case.script.insert(at + i, guest.draw(u)?);
    }
    Ok(())
}

fn range(len: usize, u: &mut Unstructured<'_>) -> Result<Range<usize>> {
    let start = u.int_in_range(0..=len)?;
    Ok(start..len.min(start + u.int_in_range(0..=8usize)?))
}

fn repeat(case: &mut Case, u: &mut Unstructured<'_>) -> Result<()> {
    let again = case.script[range(case.script.len(), u)?].to_vec();
    let at = u.int_in_range(0..=case.script.len())?;
    case.script.splice(at..at, again);
    Ok(())
}

fn swap(script: &mut [Step], u: &mut Unstructured<'_>) -> Result<()> {
    if !script.is_empty() {
        script.swap(u.choose_index(script.len())?, u.choose_index(script.len())?);
    }
    Ok(())
}

/// Changes a number in a step a little.
fn nudge(case: &mut Case, u: &mut Unstructured<'_>) -> Result<()> {
    if case.script.is_empty() {
        return Ok(());
    }
    let at = u.choose_index(case.script.len())?;
    match &mut case.script[at] {
        Step::Write { value, size, .. } => {
            let bits = 8 * u32::from((*size).min(8));
            *value = match u.int_in_range(0..=2u8)? {
                0 => *value ^ 1 << u.int_in_range(0..=bits.max(1) - 1)?,
                1 => value.wrapping_add(1),
                _ => value.wrapping_sub(1),
            } & u64::MAX >> (64 - bits.clamp(1, 64));
        }
        Step::Pass(units) => *units = u.int_in_range(1..=8)?,
        Step::Receive(bytes) => {
            bytes.truncate(u.int_in_range(0..=bytes.len())?);
            bytes.push(u.arbitrary()?);
        }
        Step::Read { .. } | Step::Request(_) => {}
    }
    Ok(())
}

fn damage(case: &mut Case, u: &mut Unstructured<'_>) -> Result<()> {
    if u.ratio(1, 2)? || case.damage.is_empty() {
        case.damage = script::damage(u)?;
    } else {
        case.damage.remove(u.choose_index(case.damage.len())?);
    }
    Ok(())
}

fn walk(case: &mut Case, u: &mut Unstructured<'_>) -> Result<()> {
    if u.ratio(1, 3)? && !case.walk.is_empty() {
        case.walk.remove(u.choose_index(case.walk.len())?);
    } else if case.walk.len() < WALK {
        let at = u.int_in_range(0..=case.walk.len())?;
        case.walk.insert(at, *u.choose(&State::ALL)?);
    }
    Ok(())
}

fn configure(case: &mut Case, source: &Subject, u: &mut Unstructured<'_>) -> Result<()> {
    if let Some(model) = source.manifest.models.get(&case.model) {
        case.setup = setup::setup(u, model)?;
        case.other = Some(setup::setup(u, model)?);
    }
    Ok(())
}

/// Another release at the destination, or on both sides; what is none, nobody opens.
fn partner(case: &mut Case, u: &mut Unstructured<'_>) -> Result<()> {
    let Some(device) = Builtin::of(&case.source).filter(|name| name.release.is_some()) else { return Ok(()) };
    let release = Some(u.int_in_range(1..=4u8)?.to_string());
    let name = Builtin { release, faults: vec![], info: None, ..device }.to_string();
    if u.arbitrary()? {
        case.destination = name;
    } else {
        if let Some(source) = oracle::open(&name) {
            configure(case, &source, u)?;
        }
        case.source.clone_from(&name);
        case.destination = name;
    }
    Ok(())
}
