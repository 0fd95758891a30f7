//! When the time for something is up: asked wherever a device is asked for anything.
//!
//! Whoever has a budget says [`until`] when a piece of work may go on. Everything below it that
//! talks to a device calls [`check`] first, so what is on its way then is the last thing that is
//! waited for: no piece of work outlives its time by more than the time limit of one answer.

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

thread_local! {
    static SCOPE: Cell<Scope> = const { Cell::new(Scope { end: None, is_cut: false, clock: Clock::Machine }) };
}

#[derive(Clone, Copy)]
struct Scope {
    end: Option<Instant>,
    /// Whether something was not done any more.
    is_cut: bool,
    clock: Clock,
}

/// What says what time it is.
#[derive(Clone, Copy)]
enum Clock {
    /// The clock of the machine.
    Machine,
    /// One that a test drives.
    #[cfg(test)]
    Driven(driven::Clock),
}

/// The result of a piece of work that had a time to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timed<T> {
    /// It came to its end.
    Whole(T),
    /// Something in it was not done any more because the time was up: its result says nothing.
    Cut,
}

impl<T> Timed<T> {
    /// The result, if the work came to its end.
    pub fn whole(self) -> Option<T> {
        match self {
            Timed::Whole(result) => Some(result),
            Timed::Cut => None,
        }
    }
}

/// Does something on this thread that is not to go on after `end`; `None` leaves the end that is
/// set already. A later end than that one changes nothing.
pub fn until<T>(end: Option<Instant>, act: impl FnOnce() -> T) -> Timed<T> {
    let outer = SCOPE.get();
    let end = match (outer.end, end) {
        (Some(outer), Some(end)) => Some(outer.min(end)),
        (outer, end) => outer.or(end),
    };
    SCOPE.set(Scope { end, is_cut: false, ..outer });
    let _restored = Restore(outer);
    let result = act();
    if SCOPE.get().is_cut { Timed::Cut } else { Timed::Whole(result) }
}

/// Puts the outer scope back, also when what is in the inner one panics. Where the outer one is
/// over as well, it was cut, too.
struct Restore(Scope);

impl Drop for Restore {
    fn drop(&mut self) {
        let Scope { is_cut, .. } = SCOPE.get();
        let outer = self.0;
        let is_over = outer.end.is_some_and(|end| end <= now());
        SCOPE.set(Scope { is_cut: outer.is_cut || is_cut && is_over, ..outer });
    }
}

/// What threads have in common with the one that they do a part of the work for.
#[derive(Clone, Copy)]
pub(crate) struct Part(Scope);

/// That of this thread.
pub(crate) fn part() -> Part {
    Part(SCOPE.get())
}

impl Part {
    /// Does something on another thread.
    pub(crate) fn act<T>(self, act: impl FnOnce() -> T) -> Timed<T> {
        let _restored = Restore(SCOPE.replace(Scope { end: None, ..self.0 }));
        until(self.0.end, act)
    }
}

/// What time it is.
pub(crate) fn now() -> Instant {
    match SCOPE.get().clock {
        Clock::Machine => Instant::now(),
        #[cfg(test)]
        Clock::Driven(clock) => clock.now(),
    }
}

/// Whether there is time left to ask a device for something.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] if the time is up.
pub fn check() -> io::Result<()> {
    let scope = SCOPE.get();
    match scope.end {
        Some(end) if end <= now() => {
            SCOPE.set(Scope { is_cut: true, ..scope });
            Err(io::Error::new(io::ErrorKind::TimedOut, UP))
        }
        _ => Ok(()),
    }
}

/// Sleeps, and no longer than there is time.
pub fn sleep(time: Duration) {
    let left = SCOPE.get().end.map(|end| end.saturating_duration_since(now()));
    let time = left.map_or(time, |left| left.min(time));
    match SCOPE.get().clock {
        Clock::Machine => std::thread::sleep(time),
        #[cfg(test)]
        Clock::Driven(clock) => clock.pass(time),
    }
}

/// What is said of what there was no time for.
pub const UP: &str = "the time was up";

/// A clock that tests drive: what they find out does not depend on how fast the machine is.
#[cfg(test)]
pub(crate) mod driven {
    use super::{Restore, SCOPE, Scope};
    use std::sync::Mutex;
    use std::time::{Duration, Instant};

    #[derive(Clone, Copy)]
    pub(crate) struct Clock(&'static Mutex<Instant>);

    impl Clock {
        pub(crate) fn new() -> Clock {
            Clock(Box::leak(Box::new(Mutex::new(Instant::now()))))
        }

        /// Does something by this clock.
        pub(crate) fn drives<T>(self, act: impl FnOnce() -> T) -> T {
            let here = SCOPE.get();
            let _restored = Restore(here);
            SCOPE.set(Scope { clock: super::Clock::Driven(self), ..here });
            act()
        }

        /// Whoever looks takes a moment, so that time never stands still.
        pub(super) fn now(self) -> Instant {
            const LOOK: Duration = Duration::from_micros(50);
            self.pass(LOOK);
            *self.0.lock().expect("whole")
        }

        pub(crate) fn pass(self, time: Duration) {
            *self.0.lock().expect("whole") += time;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past() -> Option<Instant> {
        Instant::now().checked_sub(Duration::from_millis(1)).or(Some(Instant::now()))
    }

    fn later() -> Option<Instant> {
        Some(Instant::now() + Duration::from_secs(3600))
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(until(None, || check().is_ok()), Timed::Whole(true));
        assert_eq!(until(later(), || check().is_ok()), Timed::Whole(true));
        assert_eq!(until(past(), || check().is_ok()), Timed::Cut);
        // Who doesn't ask a device any more is not cut.
        assert_eq!(until(past(), || 1), Timed::Whole(1));
        assert!(check().is_ok(), "the end is that of the piece of work");
    }

    #[test]
    fn an_inner_end_is_not_later_than_the_outer_one() {
        assert_eq!(until(past(), || until(later(), || check().is_ok())), Timed::Cut);
        assert_eq!(until(later(), || until(past(), || check().is_ok())), Timed::Whole(Timed::Cut));
    }
}
