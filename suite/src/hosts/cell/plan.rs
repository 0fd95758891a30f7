//! The steps of making a cell on this machine: what can be kept apart, and how.

use super::wire::{Space, Step};
use crate::hosts::isolation::{Channel, Isolation};
use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What a program is to see as it is, although its kind is kept apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Files and directories that exist, each with the reason.
    pub(crate) paths: BTreeMap<PathBuf, String>,
    /// Whether it gets the network of this machine, and why.
    pub(crate) network: Option<String>,
    /// Whether nothing can be kept apart for it, and why.
    pub(crate) everything: Option<String>,
}

/// What could not be kept apart on this machine, with the reason.
pub(super) type Denied = BTreeMap<Channel, String>;

/// Steps, each with what it is for; what is for nothing is for all.
pub(super) struct Plan {
    pub(super) steps: Vec<(Option<Channel>, Step<CString>)>,
    /// What is kept apart once the steps were taken.
    pub(super) isolation: Isolation,
}

/// Where the cell's own files are.
pub(super) struct Places<'a> {
    /// The directory of all cells of this process.
    pub(super) run: &'a Path,
    /// That of this one, in it.
    pub(super) cell: &'a Path,
    /// Other directories in it that the program is to see.
    pub(super) visible: &'a [PathBuf],
}

impl Plan {
    /// What `denied` leaves over.
    ///
    /// # Errors
    /// Those of looking at this machine.
    pub(super) fn of(places: &Places<'_>, shares: &Shares, denied: &Denied) -> io::Result<Plan> {
        let mut plan = Plan { steps: Vec::new(), isolation: Isolation::default() };
        let why = "no name space has its own";
        plan.isolation.share(Channel::Kernel, why);
        let user = rustix::process::geteuid();
        let spaces = [Channel::Ipc, Channel::Network, Channel::HostName, Channel::Processes];
        let everything = shares.everything.as_ref().or_else(|| denied.get(&every_file()));
        if let Some(why) = everything {
            let all = spaces.into_iter().chain([Channel::Keyring, every_file()]);
            all.for_each(|channel| plan.isolation.share(channel, why));
            return Ok(plan);
        }
        if !user.is_root() {
            let group = rustix::process::getegid();
            plan.add(Some(every_file()), Step::User(user.as_raw(), group.as_raw()));
        }
        plan.add(Some(every_file()), Step::Space(Space::Mounts));
        let denied = |channel: &Channel| match channel {
            Channel::Network if shares.network.is_some() => shares.network.clone(),
            channel => denied.get(channel).cloned(),
        };
        if plan.may(Channel::Keyring, &denied) {
            plan.add(Some(Channel::Keyring), Step::Keyring);
        }
        for (channel, space) in [
            (Channel::Ipc, Space::Ipc),
            (Channel::Network, Space::Network),
            (Channel::HostName, Space::HostName),
        ] {
            if plan.may(channel.clone(), &denied) {
                plan.add(Some(channel), Step::Space(space));
            }
        }
        if plan.may(Channel::Processes, &denied) {
            plan.add(Some(Channel::Processes), Step::Space(Space::Processes));
        }
        plan.files(places, shares, &denied)?;
        if plan.isolation.apart.contains(&Channel::Processes) {
            plan.add(Some(Channel::Processes), mount("proc", "", Path::new("/proc"))?);
        }
        Ok(plan)
    }

    fn add(&mut self, channel: Option<Channel>, step: Step<CString>) {
        self.steps.push((channel, step));
    }

    /// Whether a channel can be closed; keeps note of it.
    fn may(&mut self, channel: Channel, denied: &dyn Fn(&Channel) -> Option<String>) -> bool {
        match denied(&channel) {
            None => self.isolation.apart.insert(channel),
            Some(why) => {
                self.isolation.share(channel, &why);
                false
            }
        }
    }

    /// Layers over the places where programs leave what is to be found again soon, with the own
    /// directory on top. Everything else is as it is: disks lie there, which a source and its
    /// destination share.
    fn files(
        &mut self,
        places: &Places<'_>,
        shares: &Shares,
        denied: &dyn Fn(&Channel) -> Option<String>,
    ) -> io::Result<()> {
        let mut mounts = Mount::all()?;
        mounts.retain(|mount| !mount.at.starts_with(places.run));
        let tops = runtime_places();
        let below = |at: &Path| tops.iter().any(|top| at != top && at.starts_with(top));
        let mut layers: Vec<PathBuf> = tops.clone();
        let mut as_is = Vec::new();
        for mount in &mounts {
            match mount.at.is_dir() && mount.holds_files() {
                _ if !below(&mount.at) || layers.contains(&mount.at) => {}
                true => layers.push(mount.at.clone()),
                false => as_is.push(mount.at.clone()),
            }
        }
        let mut shown: Vec<(PathBuf, Option<PathBuf>)> = Vec::new();
        for layer in layers {
            if self.may(Channel::Files(layer.clone()), denied) {
                shown.push((layer.clone(), Some(layer)));
            }
        }
        self.isolation.share(Channel::OtherFiles, "disks that hosts share may lie there");
        let can = |path: &PathBuf| denied(&Channel::Files(path.clone())).is_none();
        shown.extend(as_is.into_iter().filter(can).map(|path| (path, None)));
        // What lies in another comes after it.
        shown.sort_by_key(|(path, _)| path.components().count());
        shown.truncate(MOST);

        let mut slots = 0;
        let mut open = |plan: &mut Plan, channel, path: &Path| -> io::Result<u32> {
            plan.add(channel, Step::Open(text(path)?));
            slots += 1;
            Ok(slots - 1)
        };
        let channel = |path: &Path| Some(Channel::Files(path.to_path_buf()));
        let mut opened = Vec::new();
        for (path, layer) in &shown {
            opened.push((open(self, channel(path), path)?, path, layer.is_some()));
        }
        let mut own = vec![(open(self, None, places.cell)?, places.cell.to_path_buf())];
        for path in places.visible {
            own.push((open(self, None, path)?, path.clone()));
        }
        let mut shared = Vec::new();
        let hidden = |path: &Path| opened.iter().any(|(_, layer, _)| path.starts_with(layer));
        let all = shares.paths.iter().filter(|(path, _)| can(path) && hidden(path));
        for (path, why) in all {
            shared.push((open(self, channel(path), path)?, path, why));
        }

        let stage = Path::new("/tmp");
        if opened.iter().any(|(_, _, is_layer)| *is_layer) {
            self.add(Some(every_file()), Step::Stage(text(stage)?));
        }
        for (slot, path, is_layer) in opened {
            let step = if is_layer { Step::Layer(slot, text(path)?) } else { Step::Bind(slot, text(path)?) };
            self.add(channel(path), step);
        }
        for (slot, path, why) in shared {
            self.add(channel(path), Step::Bind(slot, text(path)?));
            self.isolation.share(Channel::Files(path.clone()), why);
        }
        if self.isolation.apart.contains(&Channel::Ipc) {
            // One that is hidden at once, and tells of queues that are left.
            self.add(Some(Channel::Ipc), mount("mqueue", "", places.run)?);
            if mounts.iter().any(|mount| mount.kind == "mqueue" && mount.at == Path::new("/dev/mqueue")) {
                self.add(Some(Channel::Ipc), mount("mqueue", "", Path::new("/dev/mqueue"))?);
            }
        }
        self.add(Some(every_file()), mount("tmpfs", "mode=0755", places.run)?);
        for (slot, path) in own {
            self.add(None, if path.is_dir() { Step::Directory(text(&path)?) } else { continue });
            self.add(None, Step::Bind(slot, text(&path)?));
        }
        Ok(())
    }
}

/// Mounts of a cell at most, beside its own.
const MOST: usize = 200;

/// Stands for all of them: where mounts can't be made, nothing can be kept apart.
pub(super) fn every_file() -> Channel {
    Channel::Files(PathBuf::new())
}

fn mount(kind: &str, options: &str, at: &Path) -> io::Result<Step<CString>> {
    Ok(Step::Mount(CString::new(kind)?, CString::new(options)?, text(at)?))
}

fn text(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// Directories for files that nobody keeps: where programs put what another process, or they
/// themselves, are to find.
fn runtime_places() -> Vec<PathBuf> {
    const USUAL: [&str; 4] = ["/dev/shm", "/run", "/tmp", "/var/tmp"];
    let named = ["TMPDIR", "XDG_RUNTIME_DIR"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let all = USUAL.into_iter().map(PathBuf::from).chain(named);
    // One may be a link to another.
    let mut places: Vec<PathBuf> =
        all.filter_map(|place| fs::canonicalize(place).ok()).filter(|place| place.is_dir()).collect();
    places.retain(|place| place != Path::new("/"));
    places.sort();
    places.dedup();
    let inner = |place: &PathBuf| places.iter().any(|other| place != other && place.starts_with(other));
    places.iter().filter(|place| !inner(place)).cloned().collect()
}

/// Something that is mounted.
struct Mount {
    at: PathBuf,
    kind: String,
}

impl Mount {
    fn all() -> io::Result<Vec<Mount>> {
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

    /// Whether it is a file system in which programs keep files.
    fn holds_files(&self) -> bool {
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

/// Files and directories that arguments name: those are the same for all instances, as storage is
/// that several hosts share. Where everybody writes is none.
pub(crate) fn named<'a>(args: impl IntoIterator<Item = &'a String>) -> Vec<PathBuf> {
    #[rustfmt::skip]
    const EVERYBODY: &[&str] = &[
        "/", "/bin", "/dev/shm", "/etc", "/home", "/lib", "/lib64", "/opt", "/root", "/run", "/sbin", "/tmp",
        "/usr", "/usr/bin", "/usr/lib", "/usr/share", "/var", "/var/lib", "/var/tmp",
    ];
    let pieces = args.into_iter().flat_map(|arg| arg.split(['=', ',', ':']));
    let paths = pieces.filter(|piece| piece.starts_with('/')).filter_map(|path| fs::canonicalize(path).ok());
    let kernel = ["/dev", "/proc", "/sys"];
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| !EVERYBODY.iter().any(|other| path == Path::new(other)))
        .filter(|path| !kernel.iter().any(|kernel| path.starts_with(kernel)) || path.starts_with("/dev/shm"))
        .collect();
    paths.sort();
    paths.dedup();
    paths
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
    fn arguments_name_what_is_shared() {
        let args = |words: &[&str]| named(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        let here = fs::canonicalize(env!("CARGO_MANIFEST_DIR")).expect("a directory");
        let file = here.join("Cargo.toml");
        let text = format!("file,path={},server=on", file.display());
        assert_eq!(args(&["-x", &text, "/no/such/file", "/tmp", "--dir=/"]), [file]);
    }
}
