//! The steps of making a cell on this machine: what can be kept apart, and how.

use super::ISOLATE;
use super::mounts::{Mount, all_by_directories, all_by_root};
use super::wire::{Space, Step};
use crate::isolation::{Channel, Isolation, Needed};
use migcert_core::program::Share;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// What a program is to see as it is, although its kind is kept apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Files and directories that exist, each with the reason.
    pub(crate) paths: BTreeMap<PathBuf, String>,
    /// Whether it gets the network of this machine, and why.
    pub(crate) network: Option<Because>,
    /// Whether nothing can be kept apart for it, and why.
    pub(crate) everything: Option<Because>,
    /// Which files each instance has for itself.
    pub(crate) own: Own,
}

impl Shares {
    /// The same for an instance that has all files for itself, with or without those that are named.
    pub(crate) fn apart(self, share: Share) -> Shares {
        let paths = match share {
            Share::Named => self.paths,
            Share::Nothing => BTreeMap::new(),
        };
        Shares { paths, own: Own::All, ..self }
    }
}

/// Why something is not kept apart that could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Because {
    /// The profile names it.
    Said,
    /// The program does not start otherwise.
    Needed,
    /// Nothing is, by [`ISOLATE`].
    SwitchedOff,
}

impl Because {
    /// In words, of the network or of everything.
    pub(crate) fn why(self, needed: Needed) -> String {
        match (self, needed) {
            (Because::Said, _) => "the profile says so".to_owned(),
            (Because::Needed, Needed::Network) => {
                "the program does not start without the network of this machine".to_owned()
            }
            (Because::Needed, Needed::Everything) => {
                "the program does not start where it is kept apart".to_owned()
            }
            (Because::SwitchedOff, _) => format!("{ISOLATE} says so"),
        }
    }
}

/// Which files an instance has for itself: it finds what the machine has, and keeps what it writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Own {
    /// Those in directories for files that nobody keeps.
    #[default]
    Runtime,
    /// All of them.
    All,
}

/// What an instance sees at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// What the machine has there, and what is mounted in it.
    AsIs(PathBuf),
    /// A layer of its own.
    Layer(PathBuf),
    /// A layer of its own over everything, in which other places have to be shown again.
    Root,
}

impl Shown {
    fn path(&self) -> &Path {
        match self {
            Shown::AsIs(path) | Shown::Layer(path) => path,
            Shown::Root => Path::new("/"),
        }
    }

    /// What can't be had where it can't be shown.
    fn channel(&self) -> Option<Channel> {
        Some(Channel::Files(self.path().to_path_buf()))
    }
}

/// What could not be kept apart on this machine, with the reason.
pub(super) type Denied = BTreeMap<Channel, String>;

/// Steps, each with what it is for; what is for nothing is for all.
pub(super) struct Plan {
    pub(super) steps: Vec<(Option<Channel>, Step<CString>)>,
    /// What is kept apart once the steps were taken.
    pub(super) isolation: Isolation,
    /// What layers lie over, by their slots.
    pub(super) layers: Vec<(u32, PathBuf)>,
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
        let mut plan = Plan { steps: Vec::new(), isolation: Isolation::default(), layers: Vec::new() };
        let why = "no name space has its own";
        plan.isolation.share(Channel::Kernel, why);
        let user = rustix::process::geteuid();
        let spaces = [Channel::Ipc, Channel::Network, Channel::HostName, Channel::Processes];
        let all = || spaces.iter().cloned().chain([Channel::Keyrings, every_file()]);
        if let Some(because) = shares.everything {
            let why = because.why(Needed::Everything);
            match because {
                Because::SwitchedOff => all().for_each(|channel| plan.isolation.leave_open(channel, &why)),
                Because::Said => all().for_each(|channel| plan.isolation.share(channel, &why)),
                Because::Needed => {
                    all().for_each(|channel| plan.isolation.share(channel, &why));
                    plan.isolation.needed = Some(Needed::Everything);
                }
            }
            return Ok(plan);
        }
        if let Some(why) = denied.get(&every_file()) {
            all().for_each(|channel| plan.isolation.leave_open(channel, why));
            return Ok(plan);
        }
        if !user.is_root() {
            let group = rustix::process::getegid();
            plan.add(Some(every_file()), Step::User(user.as_raw(), group.as_raw()));
        }
        plan.add(Some(every_file()), Step::Space(Space::Mounts));
        let denied = |channel: &Channel| denied.get(channel).cloned();
        if plan.may(Channel::Keyrings, &denied) {
            plan.add(Some(Channel::Keyrings), Step::NoKeyrings);
        }
        for (channel, space) in [
            (Channel::Ipc, Space::Ipc),
            (Channel::Network, Space::Network),
            (Channel::HostName, Space::HostName),
        ] {
            match shares.network.filter(|_| channel == Channel::Network) {
                Some(because) => {
                    plan.isolation.share(channel, &because.why(Needed::Network));
                    plan.isolation.needed = (because == Because::Needed).then_some(Needed::Network);
                }
                None if plan.may(channel.clone(), &denied) => plan.add(Some(channel), Step::Space(space)),
                None => {}
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
                self.isolation.leave_open(channel, &why);
                false
            }
        }
    }

    /// Layers over files, with the own directory on top.
    fn files(
        &mut self,
        places: &Places<'_>,
        shares: &Shares,
        denied: &dyn Fn(&Channel) -> Option<String>,
    ) -> io::Result<()> {
        let mut mounts = Mount::all()?;
        mounts.retain(|mount| !mount.at.starts_with(places.run));
        let mut shown = match shares.own {
            Own::Runtime => self.runtime_files(&mounts, denied),
            Own::All => self.all_files(&mounts, denied),
        };
        let can = |channel: &Channel| denied(channel).is_none();
        shown.retain(|shown| shown.channel().is_none_or(|channel| can(&channel)));
        // What lies in another comes after it.
        shown.sort_by_key(|shown| shown.path().components().count());

        let mut slots = 0;
        let mut open = |plan: &mut Plan, channel, path: &Path| -> io::Result<u32> {
            plan.add(channel, Step::Open(text(path)?));
            slots += 1;
            Ok(slots - 1)
        };
        let mut opened = Vec::new();
        for each in &shown {
            opened.push((open(self, each.channel(), each.path())?, each));
        }
        let mut own = vec![(open(self, None, places.cell)?, places.cell.to_path_buf())];
        for path in places.visible {
            own.push((open(self, None, path)?, path.clone()));
        }
        let mut shared = Vec::new();
        let hidden =
            |path: &Path| !is_kernels(path) && shown.iter().any(|shown| path.starts_with(shown.path()));
        let channel = |path: &Path| Channel::Files(path.to_path_buf());
        for (path, why) in shares.paths.iter().filter(|(path, _)| can(&channel(path)) && hidden(path)) {
            shared.push((open(self, Some(channel(path)), path)?, path, why));
        }

        let (stage, options) = match shares.own {
            Own::Runtime => (Path::new("/tmp"), "mode=0755"),
            // A place that is covered in the end, whatever has a layer; and who opens a large file to write
            // there has a copy of it, which must not take all memory.
            Own::All => (places.run, "mode=0755,size=1g"),
        };
        let is_layer = |shown: &Shown| matches!(shown, Shown::Layer(_) | Shown::Root);
        if shown.iter().any(is_layer) {
            self.add(Some(every_file()), Step::Stage(CString::new(options)?, text(stage)?));
        }
        for (slot, shown) in &opened {
            self.show(*slot, shown, stage)?;
        }
        for (slot, path, why) in shared {
            self.add(Some(channel(path)), Step::Bind(slot, text(path)?));
            self.isolation.share(channel(path), why);
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

    /// The steps that show something, which was opened.
    fn show(&mut self, slot: u32, shown: &Shown, stage: &Path) -> io::Result<()> {
        let (channel, at) = (shown.channel(), text(shown.path())?);
        match shown {
            Shown::AsIs(_) => self.add(channel, Step::Bind(slot, at)),
            Shown::Layer(path) => {
                self.layers.push((slot, path.clone()));
                self.add(channel, Step::Layer(slot, at));
            }
            Shown::Root => {
                // Slots are named by what is in `/proc`.
                let (root, proc) = (stage.join("root"), stage.join("root/proc"));
                self.layers.push((slot, PathBuf::from("/")));
                self.add(channel.clone(), Step::Directory(text(&root)?));
                self.add(channel.clone(), Step::Layer(slot, text(&root)?));
                self.add(channel.clone(), Step::Show(text(Path::new("/proc"))?, text(&proc)?));
                self.add(channel, Step::Enter(text(&root)?));
            }
        }
        Ok(())
    }

    /// Layers over the places where programs leave what is to be found again soon. Everything else is
    /// as it is: disks lie there, which a source and its destination share.
    fn runtime_files(&mut self, mounts: &[Mount], denied: &dyn Fn(&Channel) -> Option<String>) -> Vec<Shown> {
        let tops = runtime_places();
        let below = |at: &Path| tops.iter().any(|top| at != top && at.starts_with(top));
        let mut shown: Vec<Shown> = tops.iter().cloned().map(Shown::Layer).collect();
        for mount in mounts.iter().filter(|mount| below(&mount.at)) {
            shown.push(match mount.at.is_dir() && mount.holds_files() {
                true => Shown::Layer(mount.at.clone()),
                false => Shown::AsIs(mount.at.clone()),
            });
        }
        for layer in &shown {
            if let (Shown::Layer(_), Some(channel)) = (layer, layer.channel()) {
                self.may(channel, denied);
            }
        }
        self.isolation.share(Channel::OtherFiles, "disks that hosts share may lie there");
        shown.truncate(MOST);
        shown
    }

    /// Layers over all files of this machine.
    fn all_files(&mut self, mounts: &[Mount], denied: &dyn Fn(&Channel) -> Option<String>) -> Vec<Shown> {
        let root = Channel::Files(PathBuf::from("/"));
        let (shown, left) = match denied(&root) {
            None => (all_by_root(mounts), vec![]),
            Some(_) => all_by_directories(mounts),
        };
        if MOST < shown.len() {
            let why = format!("more than {MOST} mounts would be needed");
            self.isolation.share(Channel::OtherFiles, &why);
            return self.runtime_files(mounts, denied);
        }
        for path in left {
            self.isolation.share(Channel::Files(path), "something is mounted in it");
        }
        let mut why = None;
        for each in &shown {
            let Some(channel) = each.channel() else { continue };
            match each {
                // A file that is mounted, or a file system that is none of a disk.
                Shown::AsIs(path) if is_kernels(path) => {}
                Shown::AsIs(_) => self.isolation.share(channel, "no layer can be put over it"),
                Shown::Layer(_) | Shown::Root => {
                    why = why.or_else(|| denied(&channel));
                    if self.may(channel, denied) {
                        self.isolation.apart.insert(Channel::OtherFiles);
                    }
                }
            }
        }
        if !self.isolation.apart.contains(&Channel::OtherFiles) {
            self.isolation
                .share(Channel::OtherFiles, &why.unwrap_or_else(|| "nothing can be layered".to_owned()));
        }
        shown
    }
}

/// Whether a place shows what the kernel has, not files.
pub(crate) fn is_kernels(path: &Path) -> bool {
    ["/dev", "/proc", "/sys"].iter().any(|kernel| path.starts_with(kernel)) && !path.starts_with("/dev/shm")
}

/// Mounts of a cell at most, beside its own.
pub(super) const MOST: usize = 200;

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
pub(super) fn runtime_places() -> Vec<PathBuf> {
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

/// Files and directories that arguments name: those are the same for all instances, as storage is
/// that several hosts share. Where everybody writes is none.
pub(crate) fn named(args: impl IntoIterator<Item = String>) -> Vec<PathBuf> {
    #[rustfmt::skip]
    const EVERYBODY: &[&str] = &[
        "/", "/bin", "/dev/shm", "/etc", "/home", "/lib", "/lib64", "/opt", "/root", "/run", "/sbin", "/tmp",
        "/usr", "/usr/bin", "/usr/lib", "/usr/share", "/var", "/var/lib", "/var/tmp",
    ];
    let args: Vec<String> = args.into_iter().collect();
    let pieces = args.iter().flat_map(|arg| arg.split(['=', ',', ':']));
    let paths = pieces.filter(|piece| piece.starts_with('/')).filter_map(|path| fs::canonicalize(path).ok());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| !EVERYBODY.iter().any(|other| path == Path::new(other)))
        .filter(|path| !is_kernels(path) || is_disk(path))
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

/// Whether it is a block device.
fn is_disk(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.file_type().is_block_device())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_name_what_is_shared() {
        let args = |words: &[&str]| named(words.iter().map(|word| (*word).to_owned()));
        let here = fs::canonicalize(env!("CARGO_MANIFEST_DIR")).expect("a directory");
        let file = here.join("Cargo.toml");
        let text = format!("file,path={},server=on", file.display());
        assert_eq!(args(&["-x", &text, "/no/such/file", "/tmp", "--dir=/"]), [file]);
    }
}
