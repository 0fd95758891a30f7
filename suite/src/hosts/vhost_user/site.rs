//! The host's side of one virtual machine: a shared directory, and the processes that run on it.
//!
//! A directory goes back to the pool when its machine is gone, with its first content restored;
//! processes that are still well stay with it for the next machine.

use super::backend::Backend;
use crate::hosts::cell;
use crate::hosts::template::Template;
use crate::scratch::Scratch;
use rustix::io::Errno;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Directories that no machine has.
#[derive(Default)]
pub(super) struct Pool {
    sites: Mutex<Vec<Arc<Site>>>,
}

/// A shared directory.
pub(super) struct Site {
    shared: Scratch,
    idle: Mutex<Vec<Idle>>,
}

/// A process that waits for its next device, in the state of a fresh one.
struct Idle {
    command: Vec<Template>,
    backend: Backend,
    uses: u32,
}

/// The right of one machine to a directory; this is what an `Outside` holds.
pub(super) struct Lease {
    pub(super) site: Arc<Site>,
    pool: Weak<Pool>,
}

impl Pool {
    /// A directory as at first.
    pub(super) fn lease(self: &Arc<Pool>) -> io::Result<Lease> {
        let idle = self.sites.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let site = match idle {
            Some(site) => site,
            None => {
                let shared = cell::directory()?;
                fs::set_permissions(shared.path(), Permissions::from_mode(0o755))?;
                restore(shared.path())?;
                Arc::new(Site { shared, idle: Mutex::default() })
            }
        };
        Ok(Lease { site, pool: Arc::downgrade(self) })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else { return };
        if restore(self.site.shared.path()).is_ok() {
            pool.sites.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&self.site));
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.idle.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        cell::forget(self.shared.path());
    }
}

impl Site {
    /// Where the directory is.
    pub(super) fn shared(&self) -> PathBuf {
        self.shared.path().to_path_buf()
    }

    /// A waiting process with this command line, and how often it was used.
    pub(super) fn take(&self, command: &[Template]) -> Option<(Backend, u32)> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let at = idle.iter().position(|idle| idle.command == command)?;
        let idle = idle.remove(at);
        Some((idle.backend, idle.uses))
    }

    /// Lets a process wait, unless it has served long or too many wait already.
    pub(super) fn give(&self, command: Vec<Template>, backend: Backend, uses: u32) {
        const USES: u32 = 2000;
        const WAITING: usize = 8;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if uses < USES {
            idle.push(Idle { command, backend, uses });
        }
        if idle.len() > WAITING {
            idle.remove(0);
        }
    }
}

/// Removes what the guest may have attached to what it mounts.
fn forget_attributes(shared: &Path) -> io::Result<()> {
    let mut names = [0; 4096];
    let len = match rustix::fs::listxattr(shared, &mut names) {
        Ok(len) => len,
        Err(Errno::NOTSUP) => return Ok(()),
        Err(why) => return Err(why.into()),
    };
    for name in names[..len].split(|byte| *byte == 0).filter(|name| name.starts_with(b"user.")) {
        rustix::fs::removexattr(shared, name)?;
    }
    Ok(())
}

/// What a fresh shared directory has in it.
#[rustfmt::skip]
const CONTENT: &[Made] = &[
    Made::File { path: "a", content: "first\n", mode: 0o644 },
    Made::File { path: "b", content: "0123456789abcdefghijklmnopqrstuvwxyz\n", mode: 0o600 },
    Made::File { path: "empty", content: "", mode: 0o666 },
    Made::Hard { path: "hard", to: "b" },
    Made::Soft { path: "soft", to: "d/c" },
    Made::Dir { path: "d", mode: 0o755, group: 0 },
    Made::File { path: "d/c", content: "deep\n", mode: 0o644 },
    Made::Dir { path: "d/e", mode: 0o700, group: 0 },
    Made::File { path: "d/e/f", content: "deeper\n", mode: 0o640 },
    Made::Dir { path: "ours", mode: 0o2775, group: 2000 },
    Made::File { path: "ours/g", content: "shared by a group\n", mode: 0o664 },
    Made::Dir { path: "tmp", mode: 0o1777, group: 0 },
];

enum Made {
    Dir { path: &'static str, mode: u32, group: u32 },
    File { path: &'static str, content: &'static str, mode: u32 },
    Hard { path: &'static str, to: &'static str },
    Soft { path: &'static str, to: &'static str },
}

/// Makes the content what it was at first. Making it anew takes a fifth of a millisecond in
/// memory, about as long as finding out whether it still is as it was.
fn restore(shared: &Path) -> io::Result<()> {
    for entry in fs::read_dir(shared)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    // The guest may have changed what it mounts.
    let _ = chown(shared, Some(rustix::process::getuid().as_raw()), Some(rustix::process::getgid().as_raw()));
    fs::set_permissions(shared, Permissions::from_mode(0o755))?;
    forget_attributes(shared)?;
    for made in CONTENT {
        match made {
            Made::Dir { path, mode, group } => {
                let path = shared.join(path);
                fs::create_dir(&path)?;
                // Only root may; others have no supplementary groups to test with.
                let _ = chown(&path, None, Some(*group));
                fs::set_permissions(path, Permissions::from_mode(*mode))?;
            }
            Made::File { path, content, mode } => {
                let path = shared.join(path);
                fs::write(&path, content)?;
                fs::set_permissions(path, Permissions::from_mode(*mode))?;
            }
            Made::Hard { path, to } => fs::hard_link(shared.join(to), shared.join(path))?,
            Made::Soft { path, to } => symlink(to, shared.join(path))?,
        }
    }
    Ok(())
}
