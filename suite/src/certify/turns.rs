//! Work in turns: everything gets on evenly, so that any time is spent evenly.

use crate::deadline;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What is left after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Something, after this much time was spent on the item in all.
    More(Duration),
    /// Nothing.
    Over,
}

/// Gives turns to items until all are over; the item with the least time spent comes next, at first
/// in their order. An item has one turn at a time, whatever the number of threads is; at least one.
pub(super) fn take<T: Send>(items: &mut [T], jobs: usize, turn: impl Fn(&mut T) -> Turn + Sync) {
    let jobs = jobs.clamp(1, items.len().max(1));
    let waiting = (0..items.len()).map(|at| Reverse((Duration::ZERO, at))).collect();
    let slots: Vec<Mutex<&mut T>> = items.iter_mut().map(Mutex::new).collect();
    let state = Mutex::new(State { waiting, at_work: 0 });
    let changed = Condvar::new();
    let end = deadline::end();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                let work = || {
                    while let Some(at) = next(&state, &changed) {
                        let _given_back = GivenBack { state: &state, changed: &changed };
                        let left = turn(&mut slots[at].lock().unwrap_or_else(PoisonError::into_inner));
                        if let Turn::More(spent) = left {
                            locked(&state).waiting.push(Reverse((spent, at)));
                        }
                    }
                };
                deadline::until(end, work)
            });
        }
    });
}

struct State {
    /// Items that wait for a turn, by the time spent on them.
    waiting: BinaryHeap<Reverse<(Duration, usize)>>,
    /// Items that have one.
    at_work: usize,
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The item whose turn it is; `None` when all are over.
fn next(state: &Mutex<State>, changed: &Condvar) -> Option<usize> {
    let mut now = locked(state);
    loop {
        if let Some(Reverse((_, at))) = now.waiting.pop() {
            now.at_work += 1;
            return Some(at);
        }
        if now.at_work == 0 {
            return None;
        }
        now = changed.wait(now).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Ends a turn, also where it panics: nobody waits for it then.
struct GivenBack<'a> {
    state: &'a Mutex<State>,
    changed: &'a Condvar,
}

impl Drop for GivenBack<'_> {
    fn drop(&mut self) {
        locked(self.state).at_work -= 1;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Items that are to have some turns, each of some cost; what order they had them in.
    fn order(items: &[(u32, u64)], jobs: usize) -> Vec<usize> {
        let log = Mutex::new(Vec::new());
        let mut items: Vec<_> =
            items.iter().enumerate().map(|(at, (turns, cost))| (at, *turns, *cost, 0)).collect();
        take(&mut items, jobs, |(at, left, cost, spent)| {
            log.lock().expect("whole").push(*at);
            (*left, *spent) = (*left - 1, *spent + *cost);
            if *left == 0 { Turn::Over } else { Turn::More(Duration::from_millis(*spent)) }
        });
        log.into_inner().expect("whole")
    }

    #[test]
    fn the_first_turns_are_in_order_and_then_who_had_the_least() {
        assert_eq!(order(&[(2, 1), (2, 1), (2, 1)], 1), [0, 1, 2, 0, 1, 2]);
        assert_eq!(order(&[(2, 10), (5, 1)], 1), [0, 1, 1, 1, 1, 1, 0]);
        assert_eq!(order(&[], 4), [0; 0]);
    }

    #[test]
    fn everything_has_its_turns_whatever_the_number_of_threads_is() {
        let mut had = order(&[(7, 3), (1, 1), (20, 0), (4, 9)], 3);
        had.sort_unstable();
        let counts = [7, 1, 20, 4].map(|n: usize| n);
        let expected: Vec<_> = counts.iter().enumerate().flat_map(|(at, n)| vec![at; *n]).collect();
        assert_eq!(had, expected);
    }
}
