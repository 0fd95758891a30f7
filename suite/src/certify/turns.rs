//! Work in turns, so that time is spent evenly on all items.

use crate::deadline;
use crate::parallel::{Idle, Threads};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Whether an item has work left after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Work is left, after this much time was spent on the item in all.
    More(Duration),
    /// No work is left.
    Over,
}

/// Interval of checking whether cores are idle.
const LOOK: Duration = Duration::from_millis(100);

/// Gives turns to items until all are over; the item with the least time spent comes next, at first
/// in their order. An item has one turn at a time, whatever the number of threads is. Returns the number of
/// threads in the end.
pub(super) fn take<T: Send>(
    items: &mut [T],
    threads: Threads,
    turn: impl Fn(&mut T) -> Turn + Sync,
) -> usize {
    let waiting = (0..items.len()).map(|at| Reverse((Duration::ZERO, at))).collect();
    let mut now = threads.first.clamp(1, items.len().max(1));
    let slots: Vec<Mutex<&mut T>> = items.iter_mut().map(Mutex::new).collect();
    let shared = Shared {
        state: Mutex::new(State { waiting, at_work: 0 }),
        changed: Condvar::new(),
        over: Condvar::new(),
    };
    let part = deadline::part();
    let work = || {
        let work = || {
            while let Some(at) = shared.next() {
                let _given_back = GivenBack(&shared);
                let left = turn(&mut slots[at].lock().unwrap_or_else(PoisonError::into_inner));
                if let Turn::More(spent) = left {
                    shared.locked().waiting.push(Reverse((spent, at)));
                }
            }
        };
        part.act(work)
    };
    std::thread::scope(|scope| {
        (0..now).for_each(|_| drop(scope.spawn(work)));
        let mut idle = Idle::default();
        let mut looked = Instant::now();
        idle.part();
        while now < threads.most && shared.has_more(looked + LOOK) {
            looked = Instant::now();
            let more = threads.more(now, idle.part());
            (0..more).for_each(|_| drop(scope.spawn(work)));
            now += more;
        }
    });
    now
}

struct State {
    /// Items that wait for a turn, by the time spent on them.
    waiting: BinaryHeap<Reverse<(Duration, usize)>>,
    /// Number of items that have a turn.
    at_work: usize,
}

impl State {
    fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.at_work == 0
    }
}

struct Shared {
    state: Mutex<State>,
    /// Signalled when an item waits again, or is over.
    changed: Condvar,
    /// Signalled when all items are over.
    over: Condvar,
}

impl Shared {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The item whose turn it is; `None` when all are over.
    fn next(&self) -> Option<usize> {
        let mut now = self.locked();
        loop {
            if let Some(Reverse((_, at))) = now.waiting.pop() {
                now.at_work += 1;
                return Some(at);
            }
            if now.is_over() {
                return None;
            }
            now = self.changed.wait(now).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until then; returns whether items wait for a turn without a thread to give them one.
    fn has_more(&self, until: Instant) -> bool {
        let mut now = self.locked();
        while !now.is_over() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() && !now.waiting.is_empty() {
                return true;
            }
            let wait = if left.is_zero() { LOOK } else { left };
            now = self.over.wait_timeout(now, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }
}

/// Ends a turn, also where it panics: nobody waits for it then.
struct GivenBack<'a>(&'a Shared);

impl Drop for GivenBack<'_> {
    fn drop(&mut self) {
        let mut now = self.0.locked();
        now.at_work -= 1;
        self.0.changed.notify_all();
        if now.is_over() {
            self.0.over.notify_all();
        }
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
        take(&mut items, Threads::exactly(jobs), |(at, left, cost, spent)| {
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
