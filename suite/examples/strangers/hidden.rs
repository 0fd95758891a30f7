//! Where a device hides its state: the bytes that it gives away only say where it is.
//!
//! A place is a file, a segment of shared memory or a daemon, with slots that are used again, so
//! that nothing grows. `strangers --forget` removes them.

use crate::chance;
use crate::keeper::{self, Address};
use crate::keyring;
use crate::kind;
use crate::sysv::Segment;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How many states a place holds, and how long each may be, with its token and its length.
const SLOTS: u64 = 1 << 14;
pub(crate) const SLOT: usize = 256;
const NAME: &str = "strangers-hidden";

/// A place that outlives the process.
pub(crate) enum Place {
    File(PathBuf),
    /// The same, which the state names in full.
    Named(PathBuf),
    /// A file, of which the token is as long as a state.
    Padded(PathBuf),
    Segment,
    Daemon(Address),
    /// Keys of the user, of which the token is as long as a state.
    Keys,
    /// Files of which the state is the hash of the content.
    Hashed(PathBuf),
    /// A file with what was saved last.
    Last(PathBuf),
}

/// The place of the kind that was chosen, if it hides anything.
pub(crate) fn place(program: &str) -> Option<Place> {
    let file = |directory: &str| Place::File(Path::new(directory).join(NAME));
    // One for each program: several are tried at a time.
    let name = program.rsplit('/').next().unwrap_or_default();
    let last = |directory: &str| Some(Place::Last(Path::new(directory).join(format!("{NAME}-{name}"))));
    if kind::is("constant-state") {
        return last("/tmp");
    }
    if kind::is("constant-at-home") {
        return last(&home().to_string_lossy());
    }
    Some(match kind::beginning("hides-")? {
        "hides-in-tmp" => file("/tmp"),
        "hides-in-shm" => file("/dev/shm"),
        "hides-in-var-tmp" => file("/var/tmp"),
        "hides-next-to-binary" => Place::File(Path::new(program).with_file_name(NAME)),
        "hides-by-path" => Place::Named(home().join(NAME)),
        "hides-in-home" => Place::File(home().join(NAME)),
        "hides-in-home-padded" => Place::Padded(home().join(NAME)),
        "hides-in-var-lib" => {
            let made = OWN.iter().find(|path| fs::create_dir_all(path).is_ok());
            file(made.unwrap_or(&OWN[0]))
        }
        "hides-in-root" => file("/"),
        "hides-beside-scratch" => file(".."),
        "hides-in-sysv-shm" => Place::Segment,
        "hides-in-abstract-socket" => Place::Daemon(Address::Abstract),
        "hides-behind-daemon" => Place::Daemon(Address::Path),
        "hides-behind-port" => Place::Daemon(Address::Port),
        "hides-in-keyring" => Place::Keys,
        _ => Place::Hashed(Path::new("/tmp").join(NAME)),
    })
}

/// Directories that a device makes for itself.
const OWN: [&str; 2] = ["/var/lib/strangers", "/opt/strangers"];

fn home() -> PathBuf {
    std::env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from)
}

/// Writes a line to a log that is none of the state.
pub(crate) fn log(what: &str) {
    let log = File::options().append(true).create(true).open(home().join(LOG));
    let _ = log.and_then(|mut log| writeln!(log, "{what} in {}", std::process::id()));
}

const LOG: &str = "strangers.log";

/// The disk that the words lie on.
pub(crate) fn disk(program: &str, named: Option<&str>) -> Option<PathBuf> {
    let beside = || Path::new(program).with_file_name("strangers-disk");
    kind::is("disk").then(|| named.map_or_else(beside, PathBuf::from))
}

/// Writes a volume of a disk.
pub(crate) fn store(disk: &Path, volume: u64, bytes: &[u8]) -> io::Result<()> {
    let mut slot = [&volume.to_le_bytes()[..], bytes].concat();
    slot.resize(SLOT, 0);
    write(disk, at(volume), &slot)
}

/// Reads it.
pub(crate) fn fetch(disk: &Path, volume: u64) -> Option<Vec<u8>> {
    let slot = read(disk, at(volume)).ok()?;
    let (found, rest) = slot.split_first_chunk()?;
    (u64::from_le_bytes(*found) == volume).then(|| rest.to_vec())
}

/// Hides a state, and returns what is given away instead.
pub(crate) fn put(place: &Place, state: &[u8]) -> Option<Vec<u8>> {
    let token = match place {
        Place::Hashed(_) => hash(state),
        _ => u64::from_le_bytes(chance::bytes()),
    };
    let mut slot = [&token.to_le_bytes()[..], &(state.len() as u32).to_le_bytes(), state].concat();
    slot.resize(SLOT, 0);
    match place {
        Place::File(path) | Place::Padded(path) | Place::Hashed(path) | Place::Named(path) => {
            write(path, at(token), &slot).ok()?
        }
        Place::Segment => Segment::open(SLOTS as usize * SLOT)?.write(at(token) as usize, &slot),
        Place::Daemon(address) => keeper::put(*address, token, &slot).ok()?,
        Place::Keys => keyring::put(token, &slot)?,
        Place::Last(path) => {
            write(path, 0, &slot).ok()?;
            return Some(b"a constant state".to_vec());
        }
    }
    Some(match place {
        // As long as a state that holds all there is, and it changes with it.
        Place::Hashed(_) => spread(token),
        Place::Named(path) => format!("{}-{token:016x}", path.display()).into_bytes(),
        Place::Padded(_) | Place::Keys => {
            let mut bytes = token.to_le_bytes().to_vec();
            while bytes.len() < state.len() {
                bytes.extend(chance::bytes());
            }
            bytes.truncate(state.len().max(8));
            bytes
        }
        _ => token.to_le_bytes().to_vec(),
    })
}

/// Finds a state again.
pub(crate) fn get(place: &Place, given: &[u8]) -> Option<Vec<u8>> {
    let token = match place {
        Place::Last(_) if given == b"a constant state" => 0,
        Place::Hashed(_) => {
            let token = u64::from_le_bytes(*given.first_chunk()?);
            (given == spread(token)).then_some(token)?
        }
        Place::Named(_) => {
            let (_, digits) = std::str::from_utf8(given).ok()?.rsplit_once('-')?;
            u64::from_str_radix(digits, 16).ok()?
        }
        Place::Padded(_) | Place::Keys => u64::from_le_bytes(*given.first_chunk()?),
        _ => u64::from_le_bytes(given.try_into().ok()?),
    };
    let slot = match place {
        Place::File(path) | Place::Padded(path) | Place::Hashed(path) | Place::Named(path) => {
            read(path, at(token)).ok()?
        }
        Place::Segment => Segment::open(SLOTS as usize * SLOT)?.read(at(token) as usize, SLOT),
        Place::Daemon(address) => keeper::get(*address, token).ok()?,
        Place::Keys => keyring::get(token)?,
        Place::Last(path) => read(path, 0).ok()?,
    };
    let (found, rest) = slot.split_first_chunk()?;
    let (len, rest) = rest.split_first_chunk()?;
    if matches!(place, Place::Padded(_) | Place::Keys) && u32::from_le_bytes(*len) as usize != given.len() {
        return None;
    }
    let is_it = matches!(place, Place::Last(_)) || u64::from_le_bytes(*found) == token;
    is_it.then(|| rest.get(..u32::from_le_bytes(*len) as usize).map(<[u8]>::to_vec))?
}

/// Removes what was hidden by any device of this user.
pub(crate) fn forget(program: &str) {
    let home = home();
    let _ = fs::remove_file(home.join(LOG));
    let beside = Path::new(program).with_file_name("");
    for directory in
        [Path::new("/"), Path::new("/tmp"), Path::new("/dev/shm"), Path::new("/var/tmp"), &home, &beside]
    {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(NAME)) {
            let _ = fs::remove_file(entry.path());
        }
    }
    OWN.iter().for_each(|path| drop(fs::remove_dir_all(path)));
    Segment::remove();
    keyring::forget();
    [Address::Abstract, Address::Path, Address::Port].into_iter().for_each(keeper::stop);
}

fn at(token: u64) -> u64 {
    token % SLOTS * SLOT as u64
}

fn write(path: &Path, at: u64, slot: &[u8]) -> io::Result<()> {
    File::options().write(true).create(true).truncate(false).open(path)?.write_all_at(slot, at)
}

fn read(path: &Path, at: u64) -> io::Result<Vec<u8>> {
    let mut slot = vec![0; SLOT];
    File::open(path)?.read_exact_at(&mut slot, at)?;
    Ok(slot)
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// 256 bytes that look like a state.
fn spread(token: u64) -> Vec<u8> {
    let mut bytes = token.to_le_bytes().to_vec();
    while bytes.len() < 256 {
        bytes.extend(hash(&bytes).to_le_bytes());
    }
    bytes
}
