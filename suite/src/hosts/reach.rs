//! Reaching a program that was just started, as soon as it listens.

use super::process::{Process, ready};
use rustix::event::PollFlags;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long a program takes to listen, as far as that is known.
#[derive(Debug, Default)]
pub(crate) struct Pace(AtomicU64);

impl Pace {
    /// Nobody listens before that.
    fn least(&self) -> Duration {
        Duration::from_micros(self.0.load(Relaxed))
    }

    /// It took so long: the next one is first looked for somewhat earlier.
    fn took(&self, time: Duration) {
        const MOST: u64 = 1_000_000;
        let before = self.0.load(Relaxed);
        let now = u64::try_from(time.as_micros()).unwrap_or(MOST).min(MOST) * 3 / 4;
        // Quick ones count at once: to wait for what is there already is a loss.
        self.0.store(if before == 0 { now } else { now.min(before + before / 16 + 1) }, Relaxed);
    }
}

/// What became of a program that was to listen.
pub(crate) enum Reached {
    /// It does.
    Connected(UnixStream),
    /// It ended, and says how.
    Ended(String),
}

/// Waits for the socket of a program, and connects.
///
/// It asks again and again: the kernel takes longer to give up watching a directory than most programs
/// take to start, and nothing tells when a bound socket begins to listen.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] after the limit, and those of the machine.
pub(crate) fn reach(
    process: &mut Process,
    socket: &Path,
    pace: &Pace,
    limit: Duration,
) -> io::Result<Reached> {
    const LEAST: Duration = Duration::from_micros(100);
    const MOST: Duration = Duration::from_millis(10);
    // What is waited for in vain is a small part of what was waited for already.
    const PART: u32 = 8;
    let began = Instant::now();
    let deadline = began + limit;
    let mut first = pace.least();
    loop {
        if !first.is_zero() {
            let until = deadline.min(began + std::mem::take(&mut first));
            if ready(&[(process.end(), PollFlags::IN)], until)?.is_some() {
                return Ok(Reached::Ended(process.ended(limit)?.unwrap_or_default()));
            }
        }
        match UnixStream::connect(socket) {
            Ok(stream) => {
                pace.took(began.elapsed());
                return Ok(Reached::Connected(stream));
            }
            Err(why) if is_too_early(&why) => {}
            Err(why) => return Err(why),
        }
        let patience = (began.elapsed() / PART).clamp(LEAST, MOST);
        let until = deadline.min(Instant::now() + patience);
        if ready(&[(process.end(), PollFlags::IN)], until)?.is_some() {
            return Ok(Reached::Ended(process.ended(limit)?.unwrap_or_default()));
        }
        if deadline <= Instant::now() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no socket within {limit:?}")));
        }
    }
}

fn is_too_early(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}
