//! Termination by a signal, which leaves nothing behind.
//!
//! Anything that creates a process or file delays termination while it does. Once termination has begun
//! they wait forever: nothing new is made, and devices that we killed are not reported.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use std::io;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::thread;

static END: RwLock<()> = RwLock::new(());

/// While one exists, no signal ends the process.
pub type Held = RwLockReadGuard<'static, ()>;

/// Delays termination by a signal while the result is held, which must be short. Never returns once
/// termination has begun.
///
/// Deadlocks if the caller holds something that termination needs, or delays it already.
pub fn hold_up() -> Held {
    END.read().unwrap_or_else(PoisonError::into_inner)
}

/// Makes SIGINT, SIGTERM and SIGHUP end the process after `leaves_nothing` has cleaned up. Signals that are
/// ignored already (`nohup`, a job in the background) stay ignored.
///
/// # Errors
/// Those of handling signals and of starting a thread.
pub fn by_signals(leaves_nothing: fn()) -> io::Result<()> {
    let ignored = ignored()?;
    let heeded = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let mut signals = Signals::new(heeded)?;
    let wait = move || signals.forever().take(1).for_each(|signal| end(signal, leaves_nothing));
    thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
    Ok(())
}

/// The ignored signals: bit `n - 1` stands for signal `n`.
fn ignored() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    Ok(mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0))
}

fn end(signal: i32, leaves_nothing: fn()) {
    let _end = END.write().unwrap_or_else(PoisonError::into_inner);
    leaves_nothing();
    let _ = emulate_default_handler(signal);
}
