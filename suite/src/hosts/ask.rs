//! Asking a program for something that it prints: within a time, and within so many bytes.

use super::cell::{Cell, Outputs};
use super::process::ready;
use rustix::event::PollFlags;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// What a program said before it ended.
pub(super) struct Said {
    /// How it ended.
    pub(super) status: ExitStatus,
    /// Its standard output.
    pub(super) output: Vec<u8>,
    /// The last line of its standard error, if there is one.
    pub(super) last_words: Option<String>,
}

/// Why a program said nothing of use.
pub(super) enum Mute {
    /// It can't be started, or did not end in time.
    Machine(io::Error),
    /// It printed more than it may.
    TooMuch,
}

impl From<io::Error> for Mute {
    fn from(why: io::Error) -> Mute {
        Mute::Machine(why)
    }
}

/// Runs a program to its end. Nothing of it is left afterwards.
///
/// # Errors
/// See [`Mute`]; a program that takes longer than the limit is [`io::ErrorKind::TimedOut`].
pub(super) fn ask<S: AsRef<OsStr>>(
    program: &Path,
    args: &[S],
    most: usize,
    limit: Duration,
) -> Result<Said, Mute> {
    let deadline = Instant::now() + limit;
    let cell = Cell::alone()?;
    let (mut out, output) = io::pipe()?;
    let (mut err, errors) = io::pipe()?;
    let named = |why: io::Error| io::Error::new(why.kind(), format!("{}: {why}", program.display()));
    let outputs = Outputs { output: output.as_fd(), error: errors.as_fd() };
    let end = cell.start(program, args, None, &outputs).map_err(named)?;
    drop((output, errors));
    rustix::io::ioctl_fionbio(&out, true).map_err(io::Error::from)?;
    rustix::io::ioctl_fionbio(&err, true).map_err(io::Error::from)?;
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let (mut out_ended, mut err_ended) = (false, false);
    loop {
        let never = PollFlags::empty();
        let events = [
            (out.as_fd(), if out_ended { never } else { PollFlags::IN }),
            (err.as_fd(), if err_ended { never } else { PollFlags::IN }),
            (end.as_fd(), PollFlags::IN),
        ];
        // Hang-ups are told of whether asked for or not.
        let open = events.iter().zip([!out_ended, !err_ended, true]).filter(|(_, open)| *open);
        let open: Vec<_> = open.map(|(event, _)| *event).collect();
        let is_over = match ready(&open, deadline)? {
            Some(at) => at + 1 == open.len(),
            None => {
                let what = format!("{} did not end within {limit:?}", program.display());
                return Err(io::Error::new(io::ErrorKind::TimedOut, what).into());
            }
        };
        out_ended = out_ended || drain(&mut out, &mut output, usize::MAX)?;
        err_ended = err_ended || drain(&mut err, &mut errors, LAST)?;
        if most < output.len() {
            return Err(Mute::TooMuch);
        }
        if is_over || (out_ended && err_ended && ready(&[(end.as_fd(), PollFlags::IN)], deadline)?.is_some())
        {
            let status = cell.status()?;
            drain(&mut out, &mut output, usize::MAX)?;
            let text = String::from_utf8_lossy(&errors).into_owned();
            let last_words =
                text.lines().rfind(|line| !line.trim().is_empty()).map(|line| line.trim().to_owned());
            return Ok(Said { status, output, last_words });
        }
    }
}

/// So much of standard error is kept.
const LAST: usize = 4 << 10;

/// Reads a part of what there is; whether nothing more will come.
fn drain(from: &mut impl Read, into: &mut Vec<u8>, keep: usize) -> io::Result<bool> {
    const PART: usize = 1 << 20;
    let mut piece = [0; 1 << 16];
    let mut taken = 0;
    while taken < PART {
        match from.read(&mut piece) {
            Ok(0) => return Ok(true),
            Ok(count) => {
                taken += count;
                into.extend_from_slice(&piece[..count]);
                into.drain(..into.len().saturating_sub(keep));
            }
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
    Ok(false)
}
