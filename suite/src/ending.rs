//! An end by a signal leaves nothing behind either.
//!
//! Whoever makes what could be left, a process or a file, holds the end up meanwhile. Once it has
//! begun they wait for good: nothing new is made, and nobody reports devices that died by our hand.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use std::io;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::thread;

static END: RwLock<()> = RwLock::new(());

/// While there is one, no signal ends us.
pub type Held = RwLockReadGuard<'static, ()>;

/// No signal ends us while this is held, which must not be long; never returns once one does.
///
/// Whoever holds something that the end needs, or holds the end up already, must not call this: the
/// end waits for one and keeps the other waiting.
pub fn hold_up() -> Held {
    END.read().unwrap_or_else(PoisonError::into_inner)
}

/// From now on SIGINT, SIGTERM and SIGHUP end us, after `leaves_nothing` has ended and removed all that is
/// ours; those that are ignored already (`nohup`, a job in the background) stay so.
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

/// Bit `n - 1` stands for signal `n`.
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
