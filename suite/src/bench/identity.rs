//! Identity: whether a guest still sees the same instance after a migration. What belongs to the instance
//! goes with its state, from the instance that saved bytes to the one that loads the same bytes.

use super::Bench;
use super::control::{Doubt, Recipe};
use crate::finding::{Cause, Finding, Judgement, Stop, What};
use crate::learned::{Learned, Lost, Masks, View};
use migcert_core::device::{Seen, Step};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the instances of a case showed of themselves.
pub(super) struct Watch {
    learned: [Arc<Learned>; 2],
    /// What the guest saw of the instance that saved these bytes, by their SHA-256.
    saved: BTreeMap<[u8; 32], View>,
    /// The first thing that was lost.
    lost: Option<Lost>,
}

/// The same, shared by the instances of a case.
#[derive(Clone)]
pub(super) struct Watching(Arc<Mutex<Watch>>);

impl Watching {
    pub(super) fn of(learned: [Arc<Learned>; 2]) -> Watching {
        Watching(Arc::new(Mutex::new(Watch { learned, saved: BTreeMap::new(), lost: None })))
    }

    /// Forgets everything that was seen.
    fn forget(&self) {
        let mut watch = self.locked();
        watch.saved.clear();
        watch.lost = None;
    }

    /// The first thing that a guest no longer found after a migration.
    pub(super) fn lost(&self) -> Option<Lost> {
        self.locked().lost.clone()
    }

    /// The identity of an instance that has just started.
    pub(super) fn instance(&self) -> Identity {
        Identity { watch: self.clone(), view: View::default(), stream: Sha256::new() }
    }

    fn locked(&self) -> MutexGuard<'_, Watch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the guest of one instance saw of it.
pub(super) struct Identity {
    watch: Watching,
    view: View,
    /// A hash of the bytes of this session of saving or loading.
    stream: Sha256,
}

impl Identity {
    pub(super) fn sees(&mut self, step: &Step, seen: &Seen) {
        let mut watch = self.watch.locked();
        let Watch { learned: [one, other], .. } = &*watch;
        let lost = self.view.sees(&Masks::of(one, other), step, seen);
        if watch.lost.is_none() {
            watch.lost = lost;
        }
    }

    /// Begins a session of saving or loading.
    pub(super) fn begins(&mut self) {
        self.stream = Sha256::new();
    }

    pub(super) fn streams(&mut self, bytes: &[u8]) {
        self.stream.update(bytes);
    }

    /// Notes that all bytes available for now were read.
    pub(super) fn is_saved(&mut self) {
        self.watch.locked().saved.insert(self.stream.clone().finalize().into(), self.view.clone());
    }

    /// Notes that a state was accepted. Bytes that no instance saved belong to no instance.
    pub(super) fn is_loaded(&mut self) {
        let hash: [u8; 32] = self.stream.clone().finalize().into();
        let view = self.watch.locked().saved.get(&hash).cloned();
        self.view = view.unwrap_or_default().inherited();
    }

    /// Notes that it is another instance now: nothing seen before has to be seen again.
    pub(super) fn is_new(&mut self) {
        self.view = View::default();
    }
}

impl<'a> Bench<'a> {
    /// Checks that a guest sees after a migration what it saw before, where instances differ that never
    /// migrated.
    ///
    /// # Errors
    /// [`Stop::Broken`] with the first thing that it does not, unless instances that never migrate lose it,
    /// too.
    pub(super) fn same_instance(&self, recipe: &Recipe<'a>, what: &str, observed: &[Seen]) -> Judgement {
        let Some(watching) = self.watching.get() else { return Ok(()) };
        let lost = || watching.lost().filter(|lost| lost.is_certain(&self.masks()));
        if lost().is_none() {
            return Ok(());
        }
        // This script may change what others left alone.
        self.learns(recipe, observed, Doubt::Loss)?;
        let Some(lost) = lost() else { return Ok(()) };
        let pin = lost.pin(&self.masks());
        let Lost { step, expected, observed, .. } = lost;
        let told = self.story.so_far();
        let place = crate::finding::place(&step);
        let kind = "another instance than before".to_owned();
        Err(Stop::Broken(Box::new(Finding {
            summary: format!("{what}: {}: another instance than before", self.words(&step)),
            expected: format!("{expected}, as the guest saw before the migration"),
            observed: format!(
                "{observed}; without a migration, no instance changes it; if it belongs to the host, pin it: volatile = [{pin}]"
            ),
            cause: Cause { what: What::Difference { place, kind }, site: told.used, steps: told.steps },
            ..Finding::default()
        })))
    }

    /// Forgets everything that instances showed.
    pub(super) fn forgets_instances(&self) {
        self.watching.get().into_iter().for_each(Watching::forget);
    }

    /// Begins to watch what belongs to the instance, if such places are known. Returns whether that makes a
    /// difference.
    pub(crate) fn begins_to_watch(&self) -> bool {
        let all = [&self.source.learned, &self.destination.learned];
        if !all.iter().any(|learned| learned.has_own()) || self.watching.get().is_some() {
            return false;
        }
        self.begins_anew();
        self.watching.set(Watching::of(all.map(Arc::clone))).is_ok()
    }
}
