//! What a device may take: time for an answer, and time and bytes for a whole state.

use migcert_core::error::{Error, Misbehaved};
use std::io;
use std::time::{Duration, Instant};

/// Time limits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For any answer.
    pub answer: Duration,
    /// For a whole state that is saved, or loaded.
    pub transfer: Duration,
}

impl Limits {
    /// With so much for an answer, and six times that for a transfer.
    pub const fn of(answer: Duration) -> Limits {
        Limits { answer, transfer: answer.saturating_mul(6) }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::of(Duration::from_secs(10))
    }
}

/// A state on its way. Of its time, only that counts in which the device has the word.
pub(super) struct Transfer {
    limit: Duration,
    spent: Duration,
    bytes: u64,
}

impl Transfer {
    pub(super) fn new(limits: Limits) -> Transfer {
        Transfer { limit: limits.transfer, spent: Duration::ZERO, bytes: 0 }
    }

    /// Counts a piece that the device was asked for then.
    pub(super) fn gave(&mut self, bytes: usize, since: Instant) -> Result<(), Error> {
        const MOST: u64 = 64 << 20;
        self.count(bytes, since, "gave", "saving")?;
        if self.bytes <= MOST { Ok(()) } else { Err(Misbehaved::StateWithoutEnd(self.bytes).into()) }
    }

    /// Counts a piece that the device was given then.
    pub(super) fn took(&mut self, bytes: usize, since: Instant) -> Result<(), Error> {
        self.count(bytes, since, "took", "loading")
    }

    fn count(&mut self, bytes: usize, since: Instant, did: &str, during: &str) -> Result<(), Error> {
        self.bytes += bytes as u64;
        self.spent += since.elapsed();
        let Transfer { limit, spent, bytes } = self;
        if spent <= limit {
            return Ok(());
        }
        let what = format!("it {did} {bytes} bytes in {spent:.1?} while {during}; the limit is {limit:?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, what).into())
    }
}
