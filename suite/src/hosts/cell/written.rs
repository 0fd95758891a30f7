//! What instances wrote to layers of their own, by name.

use super::plan::runtime_places;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Dir, FileType, Mode, OFlags, openat};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Files that instances wrote, made, changed or removed; a directory only where nothing is in it.
///
/// Those in directories for files that nobody keeps are left out, and so is the instance's own
/// directory: they are never shared.
#[derive(Debug, Default)]
pub(crate) struct Written(Mutex<BTreeSet<PathBuf>>);

/// Names that are kept at most.
const MOST: usize = 8;
/// Characters of a name at most.
const LONGEST: usize = 200;
/// Entries that are looked at for one instance at most.
const LOOKS: usize = 20_000;
/// How deep they lie at most.
const DEPTH: usize = 32;

impl Written {
    /// All names that are kept: the first ones, where there are many. Each is cut where it is long.
    pub(crate) fn names(&self) -> Vec<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().map(|path| path.to_string_lossy().chars().take(LONGEST).collect()).collect()
    }

    /// Looks through the layers that lie over these places, by their slots.
    pub(super) fn note(&self, stage: &OwnedFd, layers: &[(u32, PathBuf)]) {
        let mut walk = Walk { left_out: runtime_places(), found: Vec::new(), looks: LOOKS };
        for (slot, place) in layers {
            if let Some(upper) = directory(stage, format!("upper{slot}").as_ref()) {
                walk.directory(&upper, place, 0);
            }
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(walk.found);
        while MOST < kept.len() {
            kept.pop_last();
        }
    }
}

struct Walk {
    left_out: Vec<PathBuf>,
    found: Vec<PathBuf>,
    looks: usize,
}

impl Walk {
    /// Whether anything was found in a directory, or it could not be looked at to its end.
    fn directory(&mut self, upper: &OwnedFd, place: &Path, depth: usize) -> bool {
        if self.left_out.iter().any(|top| place.starts_with(top)) {
            return true;
        }
        let Ok(entries) = Dir::read_from(upper) else { return false };
        let mut names: Vec<(OsString, FileType)> = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if self.looks == 0 {
                return true;
            }
            self.looks -= 1;
            names.push((OsString::from_vec(name.to_vec()), entry.file_type()));
        }
        names.sort_by(|one, other| one.0.cmp(&other.0));
        let is_any = !names.is_empty();
        for (name, kind) in names {
            if MOST <= self.found.len() {
                break;
            }
            let path = place.join(&name);
            let inner =
                (kind == FileType::Directory && depth < DEPTH).then(|| directory(upper, &name)).flatten();
            if !inner.is_some_and(|inner| self.directory(&inner, &path, depth + 1)) {
                self.found.push(path);
            }
        }
        is_any
    }
}

/// A directory in another one, and nothing that a link leads to.
fn directory(at: &impl AsFd, name: &OsStr) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name.as_bytes(), flags, Mode::empty()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_was_written_is_named_within_bounds() {
        let place = tempfile::tempdir().expect("a directory");
        let upper = place.path().join("upper3");
        fs::create_dir_all(upper.join("home/of")).expect("made");
        fs::create_dir_all(upper.join("tmp")).expect("made");
        fs::write(upper.join("tmp/x"), "").expect("written");
        symlink("/etc", upper.join("home/link")).expect("linked");
        fs::create_dir(upper.join("home/empty")).expect("made");
        fs::write(upper.join("home/of/a\nb"), "").expect("written");
        let stage = directory(&rustix::fs::CWD, place.path().as_os_str()).expect("opened");
        let layers = [(3, PathBuf::from("/")), (4, PathBuf::from("/no"))];
        let written = Written::default();
        written.note(&stage, &layers);
        let expected = ["/home/empty", "/home/link", "/home/of/a\nb"].map(PathBuf::from);
        assert_eq!(written.names(), expected);
        (0..100).for_each(|n| fs::write(upper.join(format!("home/of/{n}")), "").expect("written"));
        written.note(&stage, &layers);
        assert_eq!(written.names().len(), MOST);
    }
}
