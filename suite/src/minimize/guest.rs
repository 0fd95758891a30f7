//! Fewer and simpler steps, earlier moves.

use super::{Edit, Search, edit, fewer_bytes, lower};
use crate::case::Case;
use migcert_core::device::Step;

/// Leaves out steps, many at a time and then one by one.
pub(super) fn fewer_steps(search: &mut Search<'_>) {
    let mut len = search.best.script.len();
    while len != 0 {
        let mut at = 0;
        while at < search.best.script.len() {
            let smaller = without_steps(&search.best, at, len);
            if !search.attempt(smaller) {
                at += len;
            }
        }
        len /= 2;
    }
}

/// Leaves out each step alone.
pub(super) fn one_step_fewer<'e>(case: &Case) -> Vec<Edit<'e>> {
    let all = 0..case.script.len();
    all.map(|at| Box::new(move |case: &Case| Some(without_steps(case, at, 1))) as Edit<'e>).collect()
}

fn without_steps(case: &Case, at: usize, len: usize) -> Case {
    let mut smaller = case.clone();
    let end = (at + len).min(smaller.script.len());
    smaller.script.drain(at..end);
    smaller.at =
        smaller.at.map(|moved| if moved <= at { moved } else { moved.saturating_sub(end - at).max(at) });
    smaller
}

/// Leaves out sizes of pieces and states to ask for.
pub(super) fn fewer_things<'e>(case: &Case) -> Vec<Edit<'e>> {
    let mut all = Vec::new();
    if !case.pieces.is_empty() {
        all.push(edit(|case| case.pieces.clear()));
    }
    all.extend((0..case.walk.len()).map(|i| edit(move |case| _ = case.walk.remove(i))));
    all.extend((0..case.pieces.len()).map(|i| edit(move |case| _ = case.pieces.remove(i))));
    all
}

/// Moves the device earlier, and the second time as soon as it can be.
pub(super) fn earlier<'e>(case: &Case) -> Vec<Edit<'e>> {
    let [first, second] = case.at.map(|at| at.min(case.script.len()));
    let moments = [
        [0, 0],
        [first, first],
        [0, second],
        [first / 2, second],
        [first.saturating_sub(1), second],
        [first, second.saturating_sub(1).max(first)],
    ];
    let earlier = moments.into_iter().filter(|at| at[0] + at[1] < case.at[0] + case.at[1]);
    earlier.map(|at| edit(move |case| case.at = at)).collect()
}

/// Simpler steps, each alone.
pub(super) fn simpler<'e>(case: &Case) -> Vec<Edit<'e>> {
    let steps = case.script.iter().enumerate();
    let all = steps.flat_map(|(at, step)| simpler_step(step).into_iter().map(move |step| (at, step)));
    all.map(|(at, step)| edit(move |case| case.script[at] = step.clone())).collect()
}

fn simpler_step(step: &Step) -> Vec<Step> {
    match step {
        Step::Write { region, offset, size, value } => {
            let (region, offset, size) = (*region, *offset, *size);
            lower(*value).map(|value| Step::Write { region, offset, size, value }).collect()
        }
        Step::Receive(bytes) => fewer_bytes(bytes, 1).into_iter().map(Step::Receive).collect(),
        Step::Pass(units) => lower((*units).into()).map(|units| Step::Pass(units as u32)).collect(),
        Step::Read { .. } | Step::Request(_) => Vec::new(),
    }
}
