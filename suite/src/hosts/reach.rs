//! Reaching a program that was just started, as soon as it listens.

use super::process::{Process, ready};
use rustix::event::PollFlags;
use rustix::fs::inotify;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// What became of a program that was to listen.
pub(super) enum Reached {
    /// It does.
    Connected(UnixStream),
    /// It ended, and says how.
    Ended(String),
}

/// Waits for the socket of a program, which must be in its scratch directory, and connects.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] after the limit, and those of the machine.
pub(super) fn reach(process: &mut Process, socket: &Path, limit: Duration) -> io::Result<Reached> {
    // Nothing tells when a bound socket begins to listen.
    const SOON: Duration = Duration::from_micros(200);
    let deadline = Instant::now() + limit;
    let notify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    let made = inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
    inotify::add_watch(&notify, process.scratch(), made)?;
    loop {
        let patience = match UnixStream::connect(socket) {
            Ok(stream) => return Ok(Reached::Connected(stream)),
            Err(why) if why.kind() == io::ErrorKind::NotFound => deadline,
            Err(why) if why.kind() == io::ErrorKind::ConnectionRefused => Instant::now() + SOON,
            Err(why) => return Err(why),
        };
        let events = [(process.end(), PollFlags::IN), (notify.as_fd(), PollFlags::IN)];
        match ready(&events, patience.min(deadline))? {
            Some(0) => return Ok(Reached::Ended(process.ended(limit)?.unwrap_or_default())),
            Some(_) => drop(rustix::io::read(&notify, &mut [0; 4096])),
            None if deadline <= Instant::now() => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no socket within {limit:?}")));
            }
            None => {}
        }
    }
}
