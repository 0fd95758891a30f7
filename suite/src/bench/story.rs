//! The trace of a case: what failed, and on request everything that happened, in words.

use super::trouble::Trouble;
use crate::finding::{Moment, Operation, Past};
use migcert_core::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The failures of a case, and on request its trace.
#[derive(Clone, Default)]
pub(super) struct Story {
    told: Option<Arc<Mutex<Told>>>,
    kept: Arc<Mutex<Kept>>,
}

/// The lines of a trace, and the progress of the case.
#[derive(Clone, Default)]
pub(super) struct Told {
    pub(super) lines: Vec<String>,
    /// Number of operations so far.
    pub(super) steps: u32,
    /// The instance that did the last operation. References count if there is no other.
    pub(super) asked: Option<Moment>,
    /// The judged instance that a guest used last.
    pub(super) used: Option<Moment>,
}

/// What is kept of every case.
#[derive(Default)]
struct Kept {
    /// The last failures, the latest at the end.
    failures: Vec<Failed>,
    /// What is carried, if it is not a state as it was saved.
    parcel: Option<&'static str>,
    /// The past of the instance that was saved last.
    saved: Past,
}

/// An operation that failed.
#[derive(Clone)]
pub(super) struct Failed {
    pub(super) site: Moment,
    pub(super) operation: Operation,
    pub(super) trouble: Trouble,
    pub(super) steps: u32,
}

impl Story {
    pub(super) fn telling() -> Story {
        Story { told: Some(Arc::default()), kept: Arc::default() }
    }

    pub(super) fn is_told(&self) -> bool {
        self.told.is_some()
    }

    /// The trace so far.
    pub(super) fn so_far(&self) -> Told {
        self.told.as_ref().map_or_else(Told::default, |told| locked(told).clone())
    }

    pub(super) fn tell(&self, line: impl FnOnce() -> String) {
        self.change(|told| told.lines.push(line()));
    }

    /// Clears the trace.
    pub(super) fn forget(&self) {
        self.change(|told| *told = Told::default());
        *locked(&self.kept) = Kept::default();
    }

    /// The latest failure with this error.
    pub(super) fn failure(&self, trouble: &Trouble) -> Option<Failed> {
        locked(&self.kept).failures.iter().rfind(|failed| failed.trouble == *trouble).cloned()
    }

    /// Sets what is carried from here on; `None` for a state as it was saved.
    pub(super) fn send(&self, parcel: Option<&'static str>) {
        locked(&self.kept).parcel = parcel;
    }

    /// Notes that an instance with this past is saved.
    pub(super) fn saves(&self, past: Past) {
        locked(&self.kept).saved = past;
    }

    /// The past of the instance that was saved last.
    pub(super) fn saved(&self) -> Past {
        locked(&self.kept).saved
    }

    pub(super) fn parcel(&self) -> Option<&'static str> {
        locked(&self.kept).parcel
    }

    /// Counts an operation of an instance.
    pub(super) fn reach(&self, site: Moment) {
        self.change(|told| told.steps += 1);
        self.stands(site);
    }

    /// Notes the instance after an operation.
    pub(super) fn stands(&self, site: Moment) {
        self.change(|told| {
            if !site.who.is_reference() || told.asked.is_none_or(|asked| asked.who.is_reference()) {
                told.asked = Some(site);
            }
        });
    }

    pub(super) fn used(&self, site: Moment) {
        if !site.who.is_reference() {
            self.change(|told| told.used = Some(site));
        }
    }

    pub(super) fn failed(&self, site: Moment, operation: Operation, why: &Error) {
        const MOST: usize = 8;
        let steps = self.told.as_ref().map_or(0, |told| locked(told).steps);
        let failures = &mut locked(&self.kept).failures;
        failures.drain(..(failures.len() + 1).saturating_sub(MOST));
        failures.push(Failed { site, operation, trouble: Trouble::of(why), steps });
    }

    fn change(&self, change: impl FnOnce(&mut Told)) {
        if let Some(told) = &self.told {
            change(&mut locked(told));
        }
    }
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
