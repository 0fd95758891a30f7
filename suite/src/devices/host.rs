//! The host side of the reference devices: what they reach, what differs between hosts, and what
//! can be made to fail there.

use migcert_core::device::{Outside, Trouble};
use migcert_core::error::{Error, Refusal};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of the disk that the instances of one virtual machine share.
pub const DISK: usize = 4 << 10;

/// What the instances of one virtual machine share. Each of them runs on the next host.
#[derive(Debug)]
pub struct Site {
    started: AtomicU32,
    disk: Mutex<Vec<u8>>,
    fuse: Mutex<Fuse>,
}

#[derive(Debug, Default)]
struct Fuse {
    /// Operations until the one that fails.
    left: Option<u32>,
    struck: bool,
}

impl Site {
    /// A site where nothing was started yet.
    pub fn new() -> Arc<Site> {
        Arc::new(Site { started: 0.into(), disk: vec![0; DISK].into(), fuse: Mutex::default() })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Trouble for Site {
    fn arm(&self, index: Option<u32>) {
        *lock(&self.fuse) = Fuse { left: index, struck: false };
    }

    fn struck(&self) -> bool {
        lock(&self.fuse).struck
    }
}

/// The host that one instance runs on.
///
/// A device may use all of it; what the guest sees must not depend on what differs.
#[derive(Clone, Debug)]
pub struct Host {
    number: u32,
    site: Arc<Site>,
}

impl Host {
    /// The next host of a site; where the outside is none of ours, the first of a new one.
    pub fn next(outside: &Outside) -> Host {
        let site = outside.share().unwrap_or_else(Site::new);
        Host { number: site.started.fetch_add(1, Relaxed), site }
    }

    /// Whether it is the one that the virtual machine was started on.
    pub fn is_first(&self) -> bool {
        self.number == 0
    }

    /// What its processor and its kernel offer; every other host has one thing more.
    pub fn features(&self) -> u32 {
        0b0111 | (self.number % 2) << 3
    }

    /// Ticks of its own clock in a unit of time.
    pub fn clock_rate(&self) -> u32 {
        2 + self.number % 2
    }

    /// Bytes of the firmware that is installed on it.
    pub fn firmware_size(&self) -> u32 {
        64 + 16 * (self.number % 2)
    }

    /// Something that is done on the host and may fail: a call of the kernel, a message to a
    /// backend, memory that is asked for.
    ///
    /// # Errors
    /// A refusal that names it, when it is its turn to fail.
    pub fn act(&self, what: &'static str) -> Result<(), Error> {
        let mut fuse = lock(&self.site.fuse);
        match fuse.left {
            Some(0) => {
                *fuse = Fuse { left: None, struck: true };
                Err(Refusal::ByDevice(format!("the host failed to {what}")).into())
            }
            left => {
                fuse.left = left.map(|left| left - 1);
                Ok(())
            }
        }
    }

    /// The disk.
    pub fn disk(&self) -> MutexGuard<'_, Vec<u8>> {
        lock(&self.site.disk)
    }
}
