//! Steps that follow the registers that they are about, where another configuration or release has
//! them elsewhere, or has fewer of them.

use super::{Edit, edit};
use crate::case::Case;
use crate::guests;
use crate::oracle;
use migcert_core::device::{Interface, Register, Step};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

/// The same change, and then what the guest does in the registers that are there now.
pub(super) fn followed(change: Edit<'_>) -> [Edit<'_>; 2] {
    let change = Rc::new(change);
    let both = change.clone();
    let followed = move |case: &Case| {
        let smaller = both(case)?;
        let script = follow(case, &smaller)?;
        (script != smaller.script).then_some(Case { script, ..smaller })
    };
    [Box::new(move |case| change(case)), Box::new(followed)]
}

fn follow(case: &Case, smaller: &Case) -> Option<Vec<Step>> {
    let [before, after] = [registers(case)?, registers(smaller)?];
    let step = |step: &Step| {
        let mut step = step.clone();
        if let Some((register, index)) = of(&before, &step) {
            let namesakes = || after.iter().filter(|other| other.name == register.name);
            let same = namesakes().find(|other| other.region == register.region);
            if let Some(there) = same.or_else(|| namesakes().next_back()) {
                put(&mut step, there, index.min(there.count.saturating_sub(1)));
            }
        }
        step
    };
    Some(smaller.script.iter().map(step).collect())
}

/// All steps at the first of registers that repeat, and each alone.
pub(super) fn first<'e>(case: &Case) -> Vec<Edit<'e>> {
    let Some(registers) = registers(case) else { return Vec::new() };
    let first = |step: &Step| {
        let (register, index) = of(&registers, step).filter(|(_, index)| *index != 0)?;
        let mut step = step.clone();
        put(&mut step, register, 0);
        (index != 0).then_some(step)
    };
    let moved: Vec<(usize, Step)> =
        case.script.iter().enumerate().filter_map(|(at, step)| Some((at, first(step)?))).collect();
    let alone = moved.clone().into_iter().map(|(at, step)| edit(move |case| case.script[at] = step.clone()));
    let all = edit(move |case| moved.iter().for_each(|(at, step)| case.script[*at].clone_from(step)));
    std::iter::once(all).chain(alone).collect()
}

/// Each step is another: one of those by which a guest looks around.
pub(super) fn others<'e>(case: &Case) -> Vec<Edit<'e>> {
    let Some(interface) = interface(case) else { return Vec::new() };
    let mut steps = guests::of(&interface).look_around();
    let mut known = HashSet::new();
    steps.retain(|step| known.insert(step.clone()));
    let all = (0..case.script.len()).flat_map(|at| steps.iter().map(move |step| (at, step.clone())));
    all.map(|(at, step)| edit(move |case| case.script[at].clone_from(&step))).collect()
}

/// Scripts of one and of two steps: such as a guest looks around by, at the first of registers that
/// repeat.
pub(super) fn short(case: &Case) -> Vec<Vec<Step>> {
    let Some((interface, registers)) = interface(case).zip(registers(case)) else { return Vec::new() };
    let is_first = |step: &Step| of(&registers, step).is_none_or(|(_, index)| index == 0);
    let mut known = HashSet::new();
    let mut steps = guests::of(&interface).look_around();
    steps.retain(|step| is_first(step) && known.insert(step.clone()));
    let two = steps.iter().flat_map(|one| steps.iter().map(move |other| vec![one.clone(), other.clone()]));
    steps.iter().map(|step| vec![step.clone()]).chain(two).collect()
}

fn registers(case: &Case) -> Option<Arc<[Register]>> {
    match interface(case)? {
        Interface::Registers(all) => Some(all),
        Interface::Requests(_) | Interface::Windows(_) => None,
    }
}

/// What a guest finds in a reference device; another one is not started for this.
fn interface(case: &Case) -> Option<Interface> {
    oracle::open_planted(&case.source)?.interface(&case.model, &case.setup).ok()
}

/// The register that a step is about, and which of them it is if it repeats.
fn of<'a>(all: &'a [Register], step: &Step) -> Option<(&'a Register, u32)> {
    let (Step::Read { region, offset, .. } | Step::Write { region, offset, .. }) = step else { return None };
    all.iter().filter(|register| register.region == *region).find_map(|register| {
        let into = offset.checked_sub(register.offset)?;
        let stride = u64::from(register.stride.max(1));
        let index = u32::try_from(into / stride).ok()?;
        (into % stride == 0 && index < register.count).then_some((register, index))
    })
}

fn put(step: &mut Step, register: &Register, index: u32) {
    if let Step::Read { region, offset, .. } | Step::Write { region, offset, .. } = step {
        *region = register.region;
        *offset = register.offset + u64::from(index) * u64::from(register.stride);
    }
}
