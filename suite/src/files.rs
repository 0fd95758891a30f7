//! Files: how they are read, and how they are written. Everything goes through here, whoever made the
//! file or the folder.
//!
//! Only regular files of a bounded size are read: a FIFO would block, a device node may act or never
//! end, and memory has an end too. A link to a regular file is as good as the file.
//!
//! A file is written whole or not at all: under an unpredictable name beside its place, and then
//! renamed. It replaces a regular file or nothing; where there is a link, a FIFO or a device node, that
//! is an error. So nothing is written through a link, and two runs may write into one folder.

use crate::ending;
use crate::scratch::Scratch;
use migcert_core::text::Plain;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::fmt;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Entries that a folder is read with at most.
pub const MAX_ENTRIES: usize = 1 << 20;

/// A file or folder that can't be read.
#[derive(Debug)]
pub struct CannotRead {
    path: PathBuf,
    why: Why,
}

/// Why something can't be read.
#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("{0}")]
    Io(io::Error),
    #[error("it is {0}; give a regular file")]
    Kind(&'static str),
    #[error("it has more than {0} bytes, and such a file has at most that many")]
    Large(u64),
    #[error("it has more than {MAX_ENTRIES} entries")]
    Many,
    #[error("line {0} is not UTF-8 text")]
    NotText(usize),
}

impl fmt::Display for CannotRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", shown(&self.path), self.why)
    }
}

impl std::error::Error for CannotRead {}

impl CannotRead {
    /// Why, for whoever named the file already.
    pub fn why(&self) -> impl fmt::Display {
        &self.why
    }

    /// Why reading a file failed that was opened.
    pub fn of(path: &Path, why: io::Error) -> CannotRead {
        CannotRead { path: path.to_owned(), why: Why::Io(why) }
    }
}

/// Opens a regular file of at most so many bytes for reading.
///
/// # Errors
/// [`CannotRead`], at once, for whatever else is there.
pub fn open(path: &Path, most: u64) -> Result<File, CannotRead> {
    let bad = |why| CannotRead { path: path.to_owned(), why };
    let io = |why| bad(Why::Io(why));
    // Asked before as well: to open a device node may do something.
    let kind = fs::metadata(path).map_err(io)?.file_type();
    if !kind.is_file() {
        return Err(bad(Why::Kind(named(rustix_type(kind)))));
    }
    let no_wait = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::options().read(true).custom_flags(no_wait.bits() as i32).open(path).map_err(io)?;
    let is = file.metadata().map_err(io)?;
    match is.file_type() {
        kind if !kind.is_file() => Err(bad(Why::Kind(named(rustix_type(kind))))),
        _ if most < is.len() => Err(bad(Why::Large(most))),
        _ => Ok(file),
    }
}

/// Reads a regular file of at most so many bytes.
///
/// # Errors
/// [`CannotRead`], before more than that is read.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, CannotRead> {
    let file = open(path, most)?;
    let bad = |why| CannotRead { path: path.to_owned(), why };
    let mut bytes = Vec::new();
    // It may grow meanwhile, and what the kernel makes up says that it is empty.
    file.take(most + 1).read_to_end(&mut bytes).map_err(|why| bad(Why::Io(why)))?;
    if most < bytes.len() as u64 { Err(bad(Why::Large(most))) } else { Ok(bytes) }
}

/// Reads a regular file of at most so many bytes of text.
///
/// # Errors
/// [`CannotRead`], also where it is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> Result<String, CannotRead> {
    String::from_utf8(read(path, most)?).map_err(|why| {
        let before = &why.as_bytes()[..why.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        CannotRead { path: path.to_owned(), why: Why::NotText(line) }
    })
}

/// What is in a folder, by name.
///
/// # Errors
/// [`CannotRead`], also for a folder of more than [`MAX_ENTRIES`].
pub fn entries(folder: &Path) -> Result<Vec<PathBuf>, CannotRead> {
    let bad = |why| CannotRead { path: folder.to_owned(), why };
    let mut paths = Vec::new();
    for entry in folder.read_dir().map_err(|why| bad(Why::Io(why)))? {
        if paths.len() == MAX_ENTRIES {
            return Err(bad(Why::Many));
        }
        paths.push(entry.map_err(|why| bad(Why::Io(why)))?.path());
    }
    paths.sort();
    Ok(paths)
}

/// A file that can't be written.
#[derive(Debug)]
pub struct CannotWrite {
    path: PathBuf,
    why: io::Error,
}

impl fmt::Display for CannotWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot write {}: {}", shown(&self.path), self.why)
    }
}

impl std::error::Error for CannotWrite {}

/// A path as messages name it.
pub fn shown(path: &Path) -> String {
    Plain(&path.to_string_lossy()).to_string()
}

/// Writes a file that the user named, whole or not at all; makes the folders that it lies in.
///
/// # Errors
/// [`CannotWrite`]; then what was there before is there still.
pub fn write(path: &Path, content: &str) -> Result<(), CannotWrite> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        let why = io::Error::other("the name of a file, in UTF-8, is needed here");
        return Err(CannotWrite { path: path.to_owned(), why });
    };
    Folder::of_user(path.parent().unwrap_or(Path::new("")))?.replace(name, content).map(drop)
}

/// A folder that files are written into, and that stays the same one whatever its path becomes.
#[derive(Debug)]
pub struct Folder {
    folder: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// A folder that the user named, links on the way to it or not; made if it is not there.
    ///
    /// # Errors
    /// [`CannotWrite`].
    pub fn of_user(path: &Path) -> Result<Folder, CannotWrite> {
        let here = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let opened = fs::create_dir_all(here).and_then(|()| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Ok(rustix::fs::open(here, flags, Mode::empty())?)
        });
        let named = |why| CannotWrite { path: path.to_owned(), why };
        Ok(Folder { folder: opened.map_err(named)?, path: path.to_owned() })
    }

    /// A folder of ours inside; made if it is not there.
    ///
    /// # Errors
    /// [`CannotWrite`], also where there is something else of that name, be it a link to a folder.
    pub fn inside(&self, name: &str) -> Result<Folder, CannotWrite> {
        let path = self.path.join(name);
        let opened = match rustix::fs::mkdirat(&self.folder, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::openat(&self.folder, name, flags, Mode::empty())
            }
            Err(why) => Err(why),
        };
        match opened {
            Ok(folder) => Ok(Folder { folder, path }),
            Err(why) => Err(CannotWrite { why: self.in_the_way(name).unwrap_or(why.into()), path }),
        }
    }

    /// Writes a file, in the place of an older one.
    ///
    /// # Errors
    /// [`CannotWrite`], also where there is something else than a file.
    pub fn replace(&self, name: &str, content: &str) -> Result<PathBuf, CannotWrite> {
        let path = self.path.join(name);
        let written = match self.in_the_way(name) {
            Some(why) => Err(why),
            None => {
                self.put(content, |part| Ok(rustix::fs::renameat(&self.folder, part, &self.folder, name)?))
            }
        };
        written.map_err(|why| CannotWrite { path: path.clone(), why })?;
        Ok(path)
    }

    /// Writes a file beside all that are there already: under another name, if this one is taken by
    /// something of other content. The same content has the same name, so nothing is there twice.
    ///
    /// # Errors
    /// [`CannotWrite`].
    pub fn add(&self, stem: &str, extension: &str, content: &str) -> Result<PathBuf, CannotWrite> {
        let hash = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(content));
        let names = [String::new(), format!("-{}", &hash[..8]), format!("-{hash}")];
        let names = names.map(|more| format!("{stem}{more}.{extension}"));
        let mut failed = None;
        for name in &names {
            if self.has(name, content) {
                return Ok(self.path.join(name));
            }
            match self.put(content, |part| self.claim(part, name)) {
                Ok(()) => return Ok(self.path.join(name)),
                // Two that write the same at the same time.
                Err(_) if self.has(name, content) => return Ok(self.path.join(name)),
                Err(why) => failed = Some(why),
            }
            if failed.as_ref().is_some_and(|why| why.kind() != io::ErrorKind::AlreadyExists) {
                break;
            }
        }
        let why = failed.unwrap_or_else(|| io::ErrorKind::AlreadyExists.into());
        Err(CannotWrite { path: self.path.join(&names[0]), why })
    }

    /// What keeps a name from being replaced.
    fn in_the_way(&self, name: &str) -> Option<io::Error> {
        let there = rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        match FileType::from_raw_mode(there.st_mode) {
            FileType::RegularFile => None,
            kind => Some(io::Error::other(format!(
                "there is {} of this name, which is not written to: remove it or name another place",
                named(kind)
            ))),
        }
    }

    /// Whether there is a file of this name and content.
    fn has(&self, name: &str, content: &str) -> bool {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let is_file = self.in_the_way(name).is_none();
        let opened = rustix::fs::openat(&self.folder, name, flags, Mode::empty());
        let Some(file) = opened.ok().filter(|_| is_file).map(File::from) else { return false };
        let is_as_long = file.metadata().is_ok_and(|of| of.is_file() && of.len() == content.len() as u64);
        let mut there = Vec::new();
        let read = || file.take(content.len() as u64 + 1).read_to_end(&mut there);
        is_as_long && { read }().is_ok() && there == content.as_bytes()
    }

    /// Gives a finished file its name, if nothing has it.
    fn claim(&self, part: &str, name: &str) -> io::Result<()> {
        let folder = &self.folder;
        match rustix::fs::renameat_with(folder, part, folder, name, RenameFlags::NOREPLACE) {
            // Not every file system can.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                rustix::fs::linkat(folder, part, folder, name, AtFlags::empty())?;
                Ok(rustix::fs::unlinkat(folder, part, AtFlags::empty())?)
            }
            claimed => Ok(claimed?),
        }
    }

    /// Writes a file under a name that nobody can foresee, and hands it on under that name.
    fn put(&self, content: &str, finish: impl FnOnce(&str) -> io::Result<()>) -> io::Result<()> {
        let part = format!(".migcert-{:016x}.part", RandomState::new().hash_one(content.len()));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (mut file, _gone_at_last) = {
            let _held = ending::hold_up();
            let file = rustix::fs::openat(&self.folder, &part, flags, Mode::from_raw_mode(0o666))?;
            (File::from(file), Scratch::own(self.path.join(&part)))
        };
        // No signal waits for this, which may take its time.
        file.write_all(content.as_bytes())?;
        let _held = ending::hold_up();
        finish(&part)
    }
}

fn rustix_type(kind: fs::FileType) -> FileType {
    match kind {
        kind if kind.is_dir() => FileType::Directory,
        kind if kind.is_fifo() => FileType::Fifo,
        kind if kind.is_socket() => FileType::Socket,
        kind if kind.is_char_device() => FileType::CharacterDevice,
        kind if kind.is_block_device() => FileType::BlockDevice,
        kind if kind.is_symlink() => FileType::Symlink,
        kind if kind.is_file() => FileType::RegularFile,
        _ => FileType::Unknown,
    }
}

/// What something is that is not a regular file.
fn named(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a directory",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device node",
        FileType::Symlink => "a symbolic link",
        FileType::RegularFile | FileType::Unknown => "something of another kind",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::thread;

    fn fifo(path: &Path) {
        rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            .expect("made");
    }

    #[test]
    fn only_files_of_a_bounded_size_are_read() {
        let place = tempfile::tempdir().expect("a folder");
        let at = |name: &str| place.path().join(name);
        fs::write(at("file"), "12345").expect("written");
        symlink(at("file"), at("link")).expect("linked");
        fifo(&at("fifo"));
        File::create(at("sparse")).and_then(|file| file.set_len(1 << 40)).expect("made");
        fs::write(at("bytes"), b"1\n2\xff").expect("written");
        let says =
            |path: &Path| read_text(path, 5).err().map(|why| why.why().to_string()).unwrap_or_default();
        assert_eq!(read(&at("link"), 5).expect("read"), b"12345");
        for (path, why) in [
            (at("file"), ""),
            (at("fifo"), "it is a FIFO"),
            (at("sparse"), "it has more than 5 bytes"),
            (at("bytes"), "line 2 is not UTF-8 text"),
            (place.path().to_owned(), "it is a directory"),
            ("/dev/zero".into(), "it is a device node"),
            // It says that it is empty.
            ("/proc/self/status".into(), "it has more than 5 bytes"),
            (at("nothing"), "No such file"),
        ] {
            assert!(says(&path).starts_with(why) && says(&path).is_empty() == why.is_empty(), "{path:?}");
        }
        assert!(entries(&at("fifo")).is_err());
    }

    #[test]
    fn nothing_is_written_through_what_is_there() {
        let place = tempfile::tempdir().expect("a folder");
        let at = |name: &str| place.path().join(name);
        fs::write(at("victim"), "untouched").expect("written");
        fs::create_dir(at("elsewhere")).expect("made");
        symlink(at("victim"), at("link")).expect("linked");
        symlink(at("nothing"), at("dangling")).expect("linked");
        symlink(at("elsewhere"), at("cases")).expect("linked");
        fifo(&at("fifo"));
        for name in ["link", "dangling", "fifo", "elsewhere"] {
            let why = write(&at(name), "x").expect_err("refused").to_string();
            assert!(why.contains("which is not written to"), "{why}");
        }
        let folder = Folder::of_user(place.path()).expect("a folder");
        let why = folder.inside("cases").expect_err("a link").to_string();
        assert!(why.contains("symbolic link"), "{why}");
        assert!(write(Path::new("/dev/null"), "x").is_err());
        // What stands in the way of a name leaves room for another.
        let path = folder.add("link", "toml", "x").expect("written");
        symlink(at("victim"), at("other.toml")).expect("linked");
        let other = folder.add("other", "toml", "x").expect("written");
        assert_eq!((path, fs::read_to_string(&other).expect("text")), (at("link.toml"), "x".to_owned()));
        assert_ne!(other, at("other.toml"));
        assert_eq!(fs::read_to_string(at("victim")).expect("text"), "untouched");
        assert_eq!(fs::read_dir(at("elsewhere")).expect("a folder").count(), 0);
        let left = entries(place.path()).expect("a folder");
        assert!(left.iter().all(|path| !path.display().to_string().contains(".part")), "{left:?}");
    }

    #[test]
    fn the_same_content_has_the_same_name() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = Folder::of_user(&place.path().join("a/b")).expect("made");
        let add = |content| folder.add("case", "toml", content).expect("written");
        let (one, two) = (add("one"), add("two"));
        assert_eq!((add("one"), add("two")), (one.clone(), two.clone()));
        assert_ne!(one, two);
        assert_eq!(fs::read_to_string(&one).expect("text"), "one");
        assert_eq!(folder.replace("case.toml", "new").expect("written"), one);
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        let usual = place.path().join("usual");
        fs::write(&usual, "").expect("written");
        assert_eq!((mode(&one), mode(&two)), (mode(&usual), mode(&usual)));
    }

    #[test]
    fn many_write_at_once() {
        let place = tempfile::tempdir().expect("a folder");
        let contents: Vec<String> = (0..8).map(|i| i.to_string().repeat(100_000)).collect();
        thread::scope(|scope| {
            for content in contents.iter().chain(&contents) {
                scope.spawn(|| {
                    let folder = Folder::of_user(place.path()).expect("a folder");
                    for _ in 0..10 {
                        folder.replace("report", content).expect("written");
                        folder.add("case", "toml", content).expect("written");
                        let report = fs::read_to_string(place.path().join("report")).expect("whole");
                        assert!(contents.contains(&report));
                    }
                });
            }
        });
        let mut found: Vec<String> = entries(place.path())
            .expect("a folder")
            .into_iter()
            .filter(|path| path.extension().is_some())
            .map(|path| fs::read_to_string(path).expect("text"))
            .collect();
        found.sort();
        assert_eq!(found, contents);
    }

    #[test]
    fn what_can_t_be_written_is_an_error() {
        for path in ["/proc/nothing/x", "/dev/full/x", "", "..", "/"] {
            assert!(write(Path::new(path), "x").is_err(), "{path}");
        }
    }
}
