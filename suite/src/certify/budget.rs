//! How long a certification may take.

use crate::deadline::now;
use std::time::{Duration, Instant};

/// Maximum time limit: 1000 hours.
pub const LONGEST: Duration = Duration::from_secs(1000 * 3600);

/// At most 1/`RESERVE` of a limited time is kept for confirming findings.
const RESERVE: u32 = 4;

/// The time that a certification has, from the moment it was made; everything it does counts.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    began: Instant,
    limit: Option<Duration>,
}

impl Budget {
    /// No limit.
    pub fn unlimited() -> Budget {
        Budget { began: now(), limit: None }
    }

    /// From now on, at most this long; [`LONGEST`] at most.
    pub fn of(limit: Duration) -> Budget {
        Budget { began: now(), limit: Some(limit.min(LONGEST)) }
    }

    /// The same, from the same moment on, with a limit.
    #[must_use]
    pub fn limited(self, limit: Duration) -> Budget {
        Budget { limit: Some(limit.min(LONGEST)), ..self }
    }

    /// The time that it has in all.
    pub fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// The end of the limited time: no device is used after it.
    pub fn end(&self) -> Option<Instant> {
        self.limit.map(|limit| self.began + limit)
    }

    /// The end of trying cases, so that there is time left to confirm findings, if that takes this long.
    pub(super) fn search_end(&self, confirming: Duration) -> Option<Instant> {
        self.limit.map(|limit| self.began + (limit - confirming.min(limit / RESERVE)))
    }

    /// The end of 1/`one_in` of the whole budget, counted from now.
    pub fn part(&self, one_in: u32) -> Option<Instant> {
        self.limit.map(|limit| now() + limit / one_in)
    }
}
