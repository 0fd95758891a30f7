//! Reuse of instances: a dropped instance is reset and waits for the next start with the same command line.

use super::traffic::{Activity, timed};
use migcert_core::device::{Capabilities, Device, Seen, State, Step};
use migcert_core::error::Error;
use rustix::process::{Resource, getrlimit};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A device that can be reset for its next use.
pub(super) trait Renew: Device {
    /// Resets it to what it was when it had just started.
    ///
    /// # Errors
    /// Those of the device; it is not reused then.
    fn renew(&mut self) -> Result<(), Error>;

    /// What it takes while it waits.
    fn takes(&self) -> Footprint;
}

/// What an instance takes while it waits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Footprint {
    /// Descriptors of this process.
    pub(super) descriptors: usize,
    /// Bytes of its own process.
    pub(super) memory: u64,
}

impl Footprint {
    /// Whether this is more than all instances that wait may take: a quarter of the descriptors that this process may
    /// have, and 1 GiB of memory.
    fn is_too_much(self) -> bool {
        const MEMORY: u64 = 1 << 30;
        let most = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |most| most as usize / 4);
        most < self.descriptors || MEMORY < self.memory
    }
}

/// Maximum number of uses of an instance: from time to time a new one replaces it.
const USES: u32 = 100;
/// Maximum number of failed resets: each may take as long as a time limit.
const FAILURES: u32 = 3;
/// Maximum number of instances that wait.
const WAITING: usize = 64;

/// Instances that wait for their next use, by command line.
pub(super) struct IdleInstances<K, D> {
    waiting: Mutex<Vec<IdleInstance<K, D>>>,
    /// Number of failed resets.
    failed: AtomicU32,
}

struct IdleInstance<K, D> {
    key: K,
    device: D,
    uses: u32,
    takes: Footprint,
}

impl<K, D> Default for IdleInstances<K, D> {
    fn default() -> IdleInstances<K, D> {
        IdleInstances { waiting: Mutex::default(), failed: AtomicU32::new(0) }
    }
}

impl<K: Clone + PartialEq + Send + 'static, D: Renew + 'static> IdleInstances<K, D> {
    /// An instance of this kind: one that waits, or a new one.
    ///
    /// # Errors
    /// Those of `start`.
    pub(super) fn take(
        self: &Arc<Self>,
        key: K,
        start: impl FnOnce() -> Result<D, Error>,
    ) -> Result<Box<dyn Device>, Error> {
        let waiting = {
            let mut idle = self.waiting();
            // The one that was used longest ago: a source and its destination rarely follow each other in it.
            let at = idle.iter().position(|waiting| waiting.key == key);
            at.map(|at| idle.remove(at))
        };
        let (device, uses, takes) = match waiting {
            Some(IdleInstance { device, uses, takes, .. }) => (device, uses, Some(takes)),
            None => (start()?, 0, None),
        };
        Ok(Box::new(Borrowed {
            device: Some(device),
            key,
            uses: uses + 1,
            takes,
            is_well: true,
            idle: Arc::clone(self),
        }))
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<IdleInstance<K, D>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give(&self, instance: IdleInstance<K, D>) {
        let mut idle = self.waiting();
        idle.push(instance);
        let mut all = Footprint::default();
        for IdleInstance { takes, .. } in idle.iter() {
            all.descriptors += takes.descriptors;
            all.memory = all.memory.saturating_add(takes.memory);
        }
        let gone = (WAITING < idle.len() || all.is_too_much()).then(|| idle.remove(0));
        // Ending it takes its time.
        drop(idle);
        drop(gone);
    }
}

/// An instance that waits again once it is dropped.
struct Borrowed<K: Clone + PartialEq + Send + 'static, D: Renew + 'static> {
    /// Gone on drop.
    device: Option<D>,
    key: K,
    uses: u32,
    /// What it takes, once that is known.
    takes: Option<Footprint>,
    /// Whether it did all that was asked, or refused it, as a device does.
    is_well: bool,
    idle: Arc<IdleInstances<K, D>>,
}

impl<K: Clone + PartialEq + Send + 'static, D: Renew + 'static> Borrowed<K, D> {
    /// Does something with the device, and notes whether it is well.
    fn with<T>(&mut self, act: impl FnOnce(&mut D) -> Result<T, Error>) -> Result<T, Error> {
        let Some(device) = &mut self.device else { return Err(std::io::Error::other("it is gone").into()) };
        let how = act(device);
        self.is_well &= !matches!(how, Err(Error::Misbehaved(_) | Error::Unavailable(_)));
        how
    }
}

impl<K: Clone + PartialEq + Send + 'static, D: Renew + 'static> Device for Borrowed<K, D> {
    fn capabilities(&self) -> Capabilities {
        self.device.as_ref().expect("it is gone on drop only").capabilities()
    }

    fn state(&mut self) -> Result<State, Error> {
        self.with(D::state)
    }

    fn set_state(&mut self, to: State) -> Result<(), Error> {
        self.with(|device| device.set_state(to))
    }

    fn read_state(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        self.with(|device| device.read_state(into))
    }

    fn write_state(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.with(|device| device.write_state(bytes))
    }

    fn estimate(&mut self) -> Result<Option<u64>, Error> {
        self.with(D::estimate)
    }

    fn reset(&mut self) -> Result<(), Error> {
        self.with(D::reset)
    }

    fn guest(&mut self, step: &Step) -> Result<Seen, Error> {
        self.with(|device| device.guest(step))
    }

    fn foresee(&mut self, steps: &[Step]) {
        self.device.iter_mut().for_each(|device| device.foresee(steps));
    }

    fn guest_memory(&mut self) -> Result<Vec<u8>, Error> {
        self.with(D::guest_memory)
    }

    fn set_guest_memory(&mut self, memory: &[u8]) -> Result<(), Error> {
        self.with(|device| device.set_guest_memory(memory))
    }

    fn dirty_memory(&mut self) -> Result<Option<Vec<Range<usize>>>, Error> {
        self.with(D::dirty_memory)
    }

    fn footprint(&mut self) -> Result<Option<u64>, Error> {
        self.with(D::footprint)
    }
}

impl<K: Clone + PartialEq + Send + 'static, D: Renew + 'static> Drop for Borrowed<K, D> {
    fn drop(&mut self) {
        let Some(mut device) = self.device.take() else { return };
        let failed = &self.idle.failed;
        if !self.is_well || USES <= self.uses || FAILURES <= failed.load(Relaxed) {
            return;
        }
        match timed(Activity::Renew, || device.renew()) {
            Ok(()) => {
                let takes = self.takes.unwrap_or_else(|| device.takes());
                self.idle.give(IdleInstance { key: self.key.clone(), device, uses: self.uses, takes });
            }
            Err(_) => drop(failed.fetch_add(1, Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::{self, NULL};
    use crate::implementation::Builtin;
    use migcert_core::device::Outside;
    use migcert_core::version::Setup;

    /// A device that can't be reset, and whether it says so.
    struct Stub(Box<dyn Device>, bool);

    impl Renew for Stub {
        fn takes(&self) -> Footprint {
            Footprint { descriptors: 1, memory: 0 }
        }
        fn renew(&mut self) -> Result<(), Error> {
            if self.1 { Ok(()) } else { Err(std::io::Error::other("it can't").into()) }
        }
    }

    impl Device for Stub {
        fn capabilities(&self) -> Capabilities {
            self.0.capabilities()
        }
        fn state(&mut self) -> Result<State, Error> {
            self.0.state()
        }
        fn set_state(&mut self, to: State) -> Result<(), Error> {
            self.0.set_state(to)
        }
        fn read_state(&mut self, into: &mut [u8]) -> Result<usize, Error> {
            self.0.read_state(into)
        }
        fn write_state(&mut self, bytes: &[u8]) -> Result<(), Error> {
            self.0.write_state(bytes)
        }
        fn estimate(&mut self) -> Result<Option<u64>, Error> {
            self.0.estimate()
        }
        fn reset(&mut self) -> Result<(), Error> {
            self.0.reset()
        }
        /// It is gone.
        fn guest(&mut self, _step: &Step) -> Result<Seen, Error> {
            Err(std::io::Error::other("it is gone").into())
        }
        fn guest_memory(&mut self) -> Result<Vec<u8>, Error> {
            self.0.guest_memory()
        }
        fn set_guest_memory(&mut self, memory: &[u8]) -> Result<(), Error> {
            self.0.set_guest_memory(memory)
        }
        fn dirty_memory(&mut self) -> Result<Option<Vec<Range<usize>>>, Error> {
            self.0.dirty_memory()
        }
        fn footprint(&mut self) -> Result<Option<u64>, Error> {
            self.0.footprint()
        }
    }

    /// How many of these uses, one after the other, are starts.
    fn starts(can_be_reset: bool, uses: &[Use]) -> u32 {
        let name = Builtin::of(&NULL.usage()).expect("a name");
        let (program, _) = devices::planted(&name).expect("a device");
        let model = program.describe().expect("described").models.into_keys().next().expect("a model");
        let idle = Arc::new(IdleInstances::default());
        let mut starts = 0;
        for each in uses {
            let device = idle.take("null", || {
                starts += 1;
                let device = program.start(&model, &Setup::Params([].into()), &Outside::none())?;
                Ok(Stub(device, can_be_reset))
            });
            let mut device = device.expect("started");
            assert!(*each == Use::Rests || device.guest(&Step::Pass(1)).is_err());
        }
        starts
    }

    /// What is done with an instance.
    #[derive(Clone, Copy, PartialEq)]
    enum Use {
        Rests,
        Breaks,
    }

    #[test]
    fn what_is_well_is_used_again_for_a_while() {
        assert_eq!(starts(true, &[Use::Rests; 10]), 1);
        assert_eq!(starts(true, &[Use::Rests, Use::Breaks, Use::Rests, Use::Rests]), 2);
        assert_eq!(starts(true, &[Use::Rests; 2 * USES as usize + 1]), 3);
    }

    #[test]
    fn what_can_not_be_made_as_new_is_not_used_again() {
        assert_eq!(starts(false, &[Use::Rests; 10]), 10);
    }
}
