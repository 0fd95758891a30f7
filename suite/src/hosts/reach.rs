//! Reaching a program that was just started, as soon as it listens.

use super::process::{Process, ready};
use rustix::event::PollFlags;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

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
pub(crate) fn reach(process: &mut Process, socket: &Path, limit: Duration) -> io::Result<Reached> {
    const LEAST: Duration = Duration::from_micros(100);
    const MOST: Duration = Duration::from_millis(10);
    // What is waited for in vain is a small part of what was waited for already.
    const PART: u32 = 8;
    let began = Instant::now();
    let deadline = began + limit;
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(Reached::Connected(stream)),
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
