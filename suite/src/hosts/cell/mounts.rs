//! What is mounted on this machine, and how all of its files are covered by layers.

use super::plan::{MOST, Shown};
use rustix::fs::{Access, access};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// All files, by one layer over the root, and one over each mount that holds files; other mounts, and
/// files that are mounted, are shown as they are. A bound mount brings along what is mounted in it.
pub(super) fn all_by_root(mounts: &[Mount]) -> Vec<Shown> {
    // Which comes with the root.
    let proc = Path::new("/proc");
    let mut shown = vec![Shown::Root];
    let mut as_is = vec![proc];
    let is_other = |mount: &&Mount| mount.at != Path::new("/") && mount.at != proc && mount.is_reached();
    for mount in mounts.iter().filter(is_other) {
        if mount.is_layered() {
            shown.push(Shown::Layer(mount.at.clone()));
            continue;
        }
        let above = mounts.iter().filter(|other| other.at != mount.at && mount.at.starts_with(&other.at));
        let above = above.max_by_key(|other| other.at.components().count());
        // They are sorted: what is above it came first.
        if !above.is_some_and(|above| as_is.contains(&&*above.at)) {
            shown.push(Shown::AsIs(mount.at.clone()));
        }
        as_is.push(&mount.at);
    }
    shown
}

/// All files, by layers over directories in which nothing is mounted, each as high as can be: what has a
/// mount in it can't be layered in a user name space. Beside them, directories that have one in
/// them and can be written: what is made in them directly is not covered.
pub(super) fn all_by_directories(mounts: &[Mount]) -> (Vec<Shown>, Vec<PathBuf>) {
    let mut cover = Cover { mounts, layers: Vec::new(), left: Vec::new() };
    for mount in mounts.iter().filter(|mount| mount.is_reached() && mount.is_layered()) {
        cover.directory(&mount.at);
    }
    (cover.layers, cover.left)
}

struct Cover<'a> {
    mounts: &'a [Mount],
    layers: Vec<Shown>,
    left: Vec<PathBuf>,
}

impl Cover<'_> {
    fn directory(&mut self, at: &Path) {
        // Beyond that, it is of no use.
        if MOST < self.layers.len() || access(at, Access::EXEC_OK).is_err() {
            return;
        }
        if !self.mounts.iter().any(|mount| mount.at != at && mount.at.starts_with(at)) {
            return self.layers.push(Shown::Layer(at.to_path_buf()));
        }
        if access(at, Access::WRITE_OK).is_ok() {
            self.left.push(at.to_path_buf());
        }
        let entries = fs::read_dir(at).into_iter().flatten().flatten();
        let mut inner: Vec<PathBuf> = entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect();
        inner.retain(|path| !self.mounts.iter().any(|mount| mount.at == *path));
        inner.sort();
        inner.iter().for_each(|path| self.directory(path));
    }
}

/// Something that is mounted.
pub(super) struct Mount {
    pub(super) at: PathBuf,
    pub(super) kind: String,
}

impl Mount {
    pub(super) fn all() -> io::Result<Vec<Mount>> {
        let text = fs::read("/proc/self/mountinfo")?;
        let mut all: Vec<Mount> = text.split(|byte| *byte == b'\n').filter_map(Mount::parse).collect();
        all.sort_by(|one, other| one.at.cmp(&other.at));
        all.dedup_by(|one, other| one.at == other.at);
        Ok(all)
    }

    /// `ID PARENT DEVICE ROOT AT OPTIONS [TAG]... - KIND SOURCE OPTIONS`.
    fn parse(line: &[u8]) -> Option<Mount> {
        let mut fields = line.split(|byte| *byte == b' ');
        let at = fields.nth(4)?;
        fields.find(|field| *field == b"-")?;
        let kind = String::from_utf8(fields.next()?.to_vec()).ok()?;
        Some(Mount { at: PathBuf::from(OsString::from_vec(plain(at))), kind })
    }

    /// Whether a layer can be put over it.
    fn is_layered(&self) -> bool {
        self.holds_files() && self.at.is_dir()
    }

    /// Whether its place leads to something: what lies below another mount does not.
    fn is_reached(&self) -> bool {
        fs::symlink_metadata(&self.at).is_ok()
    }

    /// Whether it is a file system in which programs keep files.
    pub(super) fn holds_files(&self) -> bool {
        #[rustfmt::skip]
        const OTHERS: &[&str] = &[
            "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs",
            "efivarfs", "fusectl", "hugetlbfs", "mqueue", "nsfs", "proc", "pstore", "rpc_pipefs", "securityfs",
            "selinuxfs", "squashfs", "sysfs", "tracefs",
        ];
        !OTHERS.contains(&self.kind.as_str()) && !self.kind.starts_with("fuse")
    }
}

/// Blanks and the like stand as three octal digits.
fn plain(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits =
            after.get(..3).filter(|_| *first == b'\\').and_then(|digits| str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                plain.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mounts_is_read() {
        let line = br"36 35 98:0 /mnt1 /a\040b\134c rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        let mount = Mount::parse(line).expect("read");
        assert_eq!((mount.at.as_path(), mount.kind.as_str()), (Path::new(r"/a b\c"), "ext3"));
        assert!(Mount::parse(b"").is_none());
    }

    #[test]
    fn mounts_in_what_is_shown_as_it_is_come_with_it() {
        let mount = |at: &str, kind: &str| Mount { at: at.into(), kind: kind.to_owned() };
        let mounts = [
            mount("/", "ext4"),
            mount("/dev", "devtmpfs"),
            mount("/dev/shm", "tmpfs"),
            mount("/proc", "proc"),
            mount("/sys", "sysfs"),
        ];
        let inner = [mount("/proc/sys", "proc"), mount("/no-such-place", "ext4")];
        let mounts: Vec<Mount> = mounts.into_iter().chain(inner).collect();
        let as_is = |at: &str| Shown::AsIs(at.into());
        let expected = [Shown::Root, as_is("/dev"), Shown::Layer("/dev/shm".into()), as_is("/sys")];
        assert_eq!(all_by_root(&mounts), expected);
    }

    #[test]
    fn nothing_is_layered_that_has_a_mount_in_it() {
        let place = tempfile::tempdir().expect("a directory");
        let top = fs::canonicalize(place.path()).expect("a path");
        for inner in ["a/b", "a/c", "d"] {
            fs::create_dir_all(top.join(inner)).expect("made");
        }
        std::os::unix::fs::symlink("d", top.join("e")).expect("linked");
        let mount = |at: PathBuf, kind: &str| Mount { at, kind: kind.to_owned() };
        let mounts = [mount(top.clone(), "ext4"), mount(top.join("a/b"), "proc")];
        let layer = |at: &str| Shown::Layer(top.join(at));
        let left = vec![top.clone(), top.join("a")];
        assert_eq!(all_by_directories(&mounts), (vec![layer("a/c"), layer("d")], left));
    }
}
