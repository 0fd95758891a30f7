//! Chapter R-7: what a device does, in which states, and what a guest sees of it.

mod states;
mod steps;

pub use states::*;
pub use steps::*;

use crate::error::Error;
use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// What a device can do and what of it can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The optional states.
    pub options: Options,
    /// Who walks the arcs.
    pub machine: Machine,
    /// Whether it can be reset; where it can't, another instance serves instead.
    pub can_reset: bool,
    /// What the guest can see and do.
    pub interface: Interface,
}

/// Who implements the state machine of chapter R-7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// The device itself, as a vfio device does: chapter R-7 is judged.
    Device,
    /// Our host on the device's behalf, as for vhost-user: judging it would judge ourselves.
    Host,
}

/// What the devices of one virtual machine reach on the host: a directory, a disk, a wire.
///
/// Source and destination share one; a twin has its own. What is inside is known to the
/// [`Program`](crate::program::Program) that made it. Dropping the last clone gives it back.
#[derive(Clone)]
pub struct Outside {
    inside: Arc<dyn Any + Send + Sync>,
    trouble: Option<Arc<dyn Trouble>>,
}

impl Outside {
    /// An outside with nothing in it.
    pub fn none() -> Outside {
        Outside::of(())
    }

    /// An outside with this in it.
    pub fn of<T: Any + Send + Sync>(inside: T) -> Outside {
        Outside { inside: Arc::new(inside), trouble: None }
    }

    /// An outside that can be made to fail.
    pub fn troubled<T: Trouble + Any>(inside: Arc<T>) -> Outside {
        Outside { inside: inside.clone(), trouble: Some(inside) }
    }

    /// What is in it, if it is of this type.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.inside.downcast_ref()
    }

    /// The same, shared.
    pub fn share<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.inside.clone().downcast().ok()
    }

    /// What makes it fail, if that can be done.
    pub fn trouble(&self) -> Option<&dyn Trouble> {
        self.trouble.as_deref()
    }
}

/// Makes a host fail on purpose: a backend that is gone, memory that can't be had, a full disk.
pub trait Trouble: Send + Sync {
    /// From here on, the operation on the host with this index fails, once; `None`: none does.
    fn arm(&self, index: Option<u32>);

    /// Whether one failed since then.
    fn struck(&self) -> bool;
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outside")
    }
}

/// A running device instance.
///
/// Nothing that is judged has a default body: a device that implements nothing must not look migratable.
/// Errors: [`Error::Refused`] when the device says no and goes on, [`Error::BadState`] when it
/// refuses a state, [`Error::Misbehaved`] when it broke (died, panicked, lied),
/// [`Error::Unavailable`] when it can't be reached, which says nothing about it.
pub trait Device: Send {
    /// Which states there are and what can be observed. The same for the life of the instance.
    fn capabilities(&self) -> Capabilities;

    /// The state it says it is in.
    fn state(&mut self) -> Result<State, Error>;

    /// Walks to a state; when this returns, the device is there or says why not.
    /// A refusal leaves the old state, or ERROR.
    fn set_state(&mut self, to: State) -> Result<(), Error>;

    /// Reads the next bytes of the state; 0 is the end of the stream, for now in
    /// PRE_COPY and for good in STOP_COPY.
    fn read_state(&mut self, into: &mut [u8]) -> Result<usize, Error>;

    /// Writes the next bytes of a state, in RESUMING. All of `bytes` is taken, or an error.
    fn write_state(&mut self, bytes: &[u8]) -> Result<(), Error>;

    /// How many bytes of state it says that stop-and-copy would take now; `None` from a
    /// device that never says.
    fn estimate(&mut self) -> Result<Option<u64>, Error>;

    /// Back to RUNNING with the state of a fresh instance.
    fn reset(&mut self) -> Result<(), Error>;

    /// Does one guest step and returns all that could be seen of it.
    fn guest(&mut self, step: &Step) -> Result<Seen, Error>;

    /// Announces the steps that the guest does next, in this order, whatever it sees: a host that sends requests
    /// to another process can send several at once. Does nothing by default.
    fn foresee(&mut self, _steps: &[Step]) {}

    /// What the carrier brings to the destination beside the device state: guest memory, and
    /// what the driver in it knows. Opaque; never judged.
    fn guest_memory(&mut self) -> Result<Vec<u8>, Error>;

    /// Puts guest memory in place, before the guest goes on.
    fn set_guest_memory(&mut self, memory: &[u8]) -> Result<(), Error>;

    /// Ranges of guest memory, in bytes from its start, that the device wrote since PRE_COPY was
    /// entered or since this was asked last; `None` for a device that keeps no such log.
    fn dirty_memory(&mut self) -> Result<Option<Vec<Range<usize>>>, Error>;

    /// Bytes by which the device's own process grew since it was about to be given a state, at its
    /// highest; `None` for a device in this process, where the bench counts allocations.
    fn footprint(&mut self) -> Result<Option<u64>, Error>;
}
