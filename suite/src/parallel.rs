//! The same for each of many things, on several threads.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// So many threads as the machine can run at once.
pub fn jobs() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How many threads work on something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads {
    /// So many at first; at least one.
    pub first: usize,
    /// So many where the machine has cores that are idle, as it has while device programs sleep.
    pub most: usize,
}

impl Threads {
    /// As many as cores, and up to four for each as long as some are idle, within bounds.
    pub fn usual() -> Threads {
        // Each may have several device programs, and a large machine has cores enough.
        const MORE: usize = 16;
        let cores = jobs();
        Threads { first: cores, most: (4 * cores).min(cores + MORE) }
    }

    /// So many, whatever the machine does.
    pub fn exactly(threads: usize) -> Threads {
        Threads { first: threads, most: threads }
    }

    /// How many more there should be than `now`, where this part of the machine was idle: as many as
    /// fit, but not many at once, since what they need is seen only when they are there.
    pub(crate) fn more(self, now: usize, idle: f64) -> usize {
        const MUCH: f64 = 0.2;
        if idle < MUCH { 0 } else { (now / 2).max(1).min(self.most.saturating_sub(now)) }
    }
}

/// The part of this machine that was idle.
#[derive(Default)]
pub(crate) struct Idle {
    before: Option<(u64, u64)>,
}

impl Idle {
    /// Since it was asked last, from 0 to 1; 0 where nobody knows, and the first time.
    pub(crate) fn part(&mut self) -> f64 {
        let now = fs::read_to_string("/proc/stat").ok().and_then(|text| Idle::ticks(&text));
        let part = match (self.before, now) {
            (Some((idle, all)), Some((now_idle, now_all))) => {
                now_idle.saturating_sub(idle) as f64 / now_all.saturating_sub(all).max(1) as f64
            }
            _ => 0.0,
        };
        self.before = now;
        part
    }

    /// Ticks of all cores that were idle, and all ticks: `cpu USER NICE SYSTEM IDLE ...`.
    fn ticks(stat: &str) -> Option<(u64, u64)> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
        // The two that come after the first eight are part of the first two.
        Some((*ticks.get(3)?, ticks.iter().take(8).sum()))
    }
}

/// What comes of each item, in their order, whatever the number of threads is; at least one.
pub fn each<T: Sync, R: Send>(items: &[T], jobs: usize, act: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Relaxed);
                    let Some(item) = items.get(at) else { break };
                    let result = act(item);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_more_threads_while_cores_are_idle() {
        let threads = Threads { first: 2, most: 8 };
        let more = |now, idle| threads.more(now, idle);
        assert_eq!([more(2, 0.0), more(2, 0.1), more(2, 0.5), more(6, 0.9), more(7, 0.9)], [0, 0, 1, 2, 1]);
        assert_eq!([more(8, 1.0), Threads::exactly(3).more(3, 1.0)], [0, 0]);
    }

    #[test]
    fn what_was_idle_is_read() {
        let stat = "cpu  100 1 50 800 20 0 5 4 7 0\ncpu0 50 0 25 400 10 0 2 2 3 0\n";
        assert_eq!(Idle::ticks(stat), Some((800, 980)));
        assert_eq!([Idle::ticks(""), Idle::ticks("cpu 1 2"), Idle::ticks("x 1 2 3 4")], [None; 3]);
        let mut idle = Idle::default();
        assert_eq!(idle.part(), 0.0);
        assert!((0.0..=1.0).contains(&idle.part()));
    }
}
