//! Counters of what was started and requested of device programs since this process began, and of the time
//! that took.
//!
//! Times are summed over the threads that waited. An activity within another counts in both.

use super::vfio_user::wire::Command;
use super::vfio_user::wire::request::Request;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// An activity that takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Making or finding the cell in which a process runs.
    Cell,
    /// From there until the process is connected.
    Start,
    /// From there until the device can be used.
    SetUp,
    /// From a request until its answer.
    Messages,
    /// Resetting an instance for its next use.
    Renew,
    /// Ending a process and clearing its cell.
    End,
}

const ACTIVITIES: [(Activity, &str); 6] = [
    (Activity::Cell, "cells"),
    (Activity::Start, "starts"),
    (Activity::SetUp, "set-up"),
    (Activity::Messages, "messages"),
    (Activity::Renew, "renewing"),
    (Activity::End, "ending"),
];
const COMMANDS: usize = 32;

static TIMES: [AtomicU64; ACTIVITIES.len()] = [const { AtomicU64::new(0) }; ACTIVITIES.len()];
static COUNTS: [AtomicU64; ACTIVITIES.len()] = [const { AtomicU64::new(0) }; ACTIVITIES.len()];
static ASKED: [AtomicU64; COMMANDS] = [const { AtomicU64::new(0) }; COMMANDS];

/// Runs `act` and counts it and its duration.
pub(super) fn timed<T>(activity: Activity, act: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = act();
    COUNTS[activity as usize].fetch_add(1, Relaxed);
    TIMES[activity as usize]
        .fetch_add(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX), Relaxed);
    done
}

/// Counts a request.
pub(super) fn asks(request: &Request<'_>) {
    if let Some(count) = ASKED.get(request.command() as usize) {
        count.fetch_add(1, Relaxed);
    }
}

/// A snapshot of the counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Each activity by name: how often it happened, and how long it took in all.
    pub activities: Vec<(&'static str, u64, Duration)>,
    /// Requests over vfio-user by command; one message can have several.
    pub requests: Vec<(&'static str, u64)>,
}

impl Traffic {
    /// The counters now.
    pub fn so_far() -> Traffic {
        let activity = |(activity, name): &(Activity, &'static str)| {
            let at = *activity as usize;
            (*name, COUNTS[at].load(Relaxed), Duration::from_nanos(TIMES[at].load(Relaxed)))
        };
        let request = |command: &Command| (command.name(), ASKED[*command as usize].load(Relaxed));
        let requests = Command::ALL.iter().map(request).filter(|(_, count)| *count != 0);
        Traffic { activities: ACTIVITIES.iter().map(activity).collect(), requests: requests.collect() }
    }

    /// Number of messages sent; answers are not counted.
    pub fn messages(&self) -> u64 {
        self.activities[Activity::Messages as usize].1
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count, time) in &self.activities {
            writeln!(f, "{name:<24}{count:>9}  {:>8.2} s", time.as_secs_f64())?;
        }
        self.requests.iter().try_for_each(|(name, count)| writeln!(f, "{name:<24}{count:>9}"))
    }
}
