//! Paths that are removed with their owner, or when a signal ends the process.

use crate::ending::{self, Held};
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

static OURS: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn ours() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory, file or socket that is removed when this is dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new directory for everything that this process makes: in `MIGCERT_SCRATCH`, else in `/dev/shm`, else
    /// in the directory for temporary files. Its name does not mention migcert. `make` makes it, and is
    /// called again with another name if that one is taken.
    ///
    /// # Errors
    /// Those of making a directory.
    pub(crate) fn run<M>(make: impl FnMut(&Path) -> io::Result<M>, _held: &Held) -> io::Result<(Scratch, M)> {
        const PLACE: &str = "MIGCERT_SCRATCH";
        let memory = Path::new("/dev/shm");
        let usual = || if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let place = std::env::var_os(PLACE).map_or_else(usual, PathBuf::from);
        let made = fs::canonicalize(&place)
            .and_then(|place| tempfile::Builder::new().prefix("vm-").make_in(place, make));
        let (maker, path) = made.and_then(|made| Ok(made.keep()?)).map_err(|why| {
            let what =
                format!("cannot make a directory in {}: {why}; set {PLACE} to another", place.display());
            io::Error::new(why.kind(), what)
        })?;
        Ok((Scratch::own(path), maker))
    }

    /// A new directory in another, with a name that begins with `beginning`.
    ///
    /// # Errors
    /// Those of making a directory.
    pub(crate) fn directory_in(place: &Path, beginning: &str) -> io::Result<Scratch> {
        let _held = ending::hold_up();
        let made = tempfile::Builder::new().prefix(beginning).tempdir_in(place)?;
        Ok(Scratch::own(made.keep()))
    }

    /// A new directory with this path.
    ///
    /// # Errors
    /// Those of making a directory.
    pub(crate) fn named(path: &Path) -> io::Result<Scratch> {
        let _held = ending::hold_up();
        fs::DirBuilder::new().mode(0o700).create(path)?;
        Ok(Scratch::own(path.to_path_buf()))
    }

    /// Whether it is an empty directory.
    pub(crate) fn is_empty(&self) -> bool {
        fs::read_dir(&self.0).is_ok_and(|mut entries| entries.next().is_none())
    }

    /// A new socket.
    ///
    /// # Errors
    /// Those of listening.
    pub fn socket(path: &Path) -> io::Result<(UnixListener, Scratch)> {
        let _held = ending::hold_up();
        Ok((UnixListener::bind(path)?, Scratch::own(path.to_owned())))
    }

    /// Takes over an existing path.
    pub(crate) fn own(path: PathBuf) -> Scratch {
        ours().insert(path.clone());
        Scratch(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What can't be removed here can't be removed at all.
        let _ = remove(&self.0);
        ours().remove(&self.0);
    }
}

/// Removes all of them, although their owners may still use them.
pub fn remove_all() {
    const ROUNDS: u32 = 100;
    for path in &*ours() {
        for _ in 0..ROUNDS {
            let _ = remove(path);
            if path.symlink_metadata().is_err() {
                break;
            }
        }
    }
}

/// The path of the socket of a program with this directory.
///
/// # Errors
/// For a path that no socket can have: a program that refuses it is not to blame.
pub(crate) fn socket_in(directory: &Path) -> io::Result<PathBuf> {
    /// Bytes of a path in `struct sockaddr_un`, with the null at its end.
    const ROOM: usize = 108;
    let socket = directory.join("socket");
    match socket.as_os_str().len() {
        length if length < ROOM => Ok(socket),
        length => Err(io::Error::new(
            io::ErrorKind::InvalidFilename,
            format!(
                "the socket path {} is {length} bytes; the maximum is {}: \
                 set MIGCERT_SCRATCH to a directory with a shorter path",
                socket.display(),
                ROOM - 1
            ),
        )),
    }
}

/// Removes a file, or a directory with all that is in it.
fn remove(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.is_dir() {
        return fs::remove_file(path);
    }
    empty(path)?;
    fs::remove_dir(path)
}

/// Removes all that is in a directory, however deep: neither depth nor the number of our
/// descriptors is a limit, because what lies deep is moved up.
fn empty(top: &Path) -> io::Result<()> {
    loop {
        let mut any = false;
        for entry in fs::read_dir(top)? {
            let entry = entry?;
            any = true;
            if !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
                continue;
            }
            fs::set_permissions(entry.path(), Permissions::from_mode(0o700))?;
            for inner in fs::read_dir(entry.path())? {
                let inner = inner?;
                if inner.file_type()?.is_dir() {
                    // Moved, its parent is written: a new name that nothing has.
                    fs::set_permissions(inner.path(), Permissions::from_mode(0o700))?;
                    fs::rename(inner.path(), top.join(unused_name()))?;
                } else {
                    fs::remove_file(inner.path())?;
                }
            }
            fs::remove_dir(entry.path())?;
        }
        if !any {
            return Ok(());
        }
    }
}

/// A name that no file has.
fn unused_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!(".{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_fits_or_says_what_to_do() {
        let with = |length: usize| socket_in(&Path::new("/").join("x".repeat(length)));
        // `/`, the name, `/socket`.
        assert!(with(107 - 8).is_ok());
        let why = with(108 - 8).expect_err("too long").to_string();
        assert!(why.contains("108 bytes") && why.contains("MIGCERT_SCRATCH"), "{why}");
    }

    #[test]
    fn nothing_is_too_deep() {
        let place = tempfile::tempdir().expect("a directory");
        let mut deep = place.path().to_path_buf();
        for _ in 0..200 {
            deep.push("deep");
        }
        fs::create_dir_all(&deep).expect("made");
        fs::write(deep.join("file"), "").expect("written");
        std::os::unix::fs::symlink("/", place.path().join("deep/link")).expect("linked");
        fs::set_permissions(place.path().join("deep/deep"), Permissions::from_mode(0o000)).expect("changed");
        empty(place.path()).expect("emptied");
        assert_eq!(fs::read_dir(place.path()).expect("readable").count(), 0);
    }
}
