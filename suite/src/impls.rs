//! Opening implementations by their names.

use crate::devices;
use crate::files::{self, CannotRead};
use crate::hosts::cell;
use crate::hosts::vfio_user::{Config, VfioUser};
use crate::hosts::vhost_user::Processes;
use crate::implementation::{Impl, Profiled};
use crate::profile::{BadProfile, Found, Profile};
use crate::subject::Subject;
use migcert_core::error::Error;
use migcert_core::lint::Lint;
use migcert_core::manifest::BadManifest;
use migcert_core::program::{Manifest, Program};
use migcert_core::text::Short;
use sha2::{Digest, Sha256};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What may be asked of an implementation that was opened.
pub enum Opened {
    /// It can be started.
    Program(Subject),
    /// It is a description, no more.
    Description(Manifest, Vec<Lint>),
}

impl Opened {
    /// What it supports.
    pub fn manifest(&self) -> &Manifest {
        match self {
            Opened::Program(subject) => &subject.manifest,
            Opened::Description(manifest, _) => manifest,
        }
    }

    /// Advice on the description, which never refuses.
    pub fn lints(&self) -> Vec<Lint> {
        match self {
            Opened::Program(subject) => subject.manifest.lints(),
            Opened::Description(_, lints) => lints.clone(),
        }
    }
}

/// Opens an implementation and asks for its description.
///
/// # Errors
/// [`CannotOpen`], which says whether the user's input or the world is to blame.
pub fn open(name: &str) -> Result<Opened, CannotOpen> {
    open_in(&Impl::of(name), Processes::Reused, Purpose::Describe)
}

/// What an implementation is opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Describe,
    Start,
    /// It was opened before.
    StartAgain,
}

fn open_in(name: &Impl, processes: Processes, purpose: Purpose) -> Result<Opened, CannotOpen> {
    match name {
        Impl::Builtin(device) => {
            let (program, _) = devices::planted(device).map_err(CannotOpen::Name)?;
            let subject = described(name, program)?;
            let is_timeless = !devices::has_own_time(device);
            Ok(Opened::Program(if is_timeless { subject.timeless() } else { subject }))
        }
        Impl::Info(path) => {
            let bytes = files::read(path, migcert_core::manifest::MAX_BYTES as u64)?;
            let (manifest, lints) = Manifest::from_json_linted(&bytes)
                .map_err(|why| CannotOpen::Description { path: path.to_owned(), why: Box::new(why) })?;
            Ok(Opened::Description(manifest, lints))
        }
        Impl::Profile(profile) => profiled(name, profile, processes, purpose).map(Opened::Program),
        Impl::Program(path) => program(name, path).map(Opened::Program),
    }
}

fn profiled(
    name: &Impl,
    Profiled { file, program }: &Profiled,
    processes: Processes,
    purpose: Purpose,
) -> Result<Subject, CannotOpen> {
    let bad = |why| CannotOpen::Profile(Box::new(why));
    let profile = Profile::read(file).map_err(bad)?;
    cell::check().map_err(CannotOpen::Machine)?;
    let found = profile.find(program, processes).map_err(bad)?;
    if purpose == Purpose::Start {
        found.fits().map_err(bad)?;
    }
    let Found { program, binary, waive, never, learned, is_slow, isolation, .. } = found;
    let subject = described(name, program)?;
    let cases = if is_slow { PROGRAM_CASES } else { subject.cases };
    let (sha256, file, isolation) = (Some(sha256(&binary)?), Some(binary), Some(isolation));
    let learned = Arc::new(learned);
    Ok(Subject { sha256, file, never, waive, cases, isolation, learned, ..subject })
}

fn program(name: &Impl, path: &Path) -> Result<Subject, CannotOpen> {
    if path.as_os_str().is_empty() {
        return Err(CannotOpen::Name("an implementation's name is empty".to_owned()));
    }
    if !path.is_file() {
        let opened = path.exists().then(|| files::open(path, MAX_PROGRAM));
        return Err(opened.and_then(Result::err).map_or_else(|| unknown(name), CannotOpen::File));
    }
    files::open(path, MAX_PROGRAM)?;
    let absolute = std::path::absolute(path).map_err(|why| CannotOpen::Name(format!("{name}: {why}")))?;
    cell::check().map_err(CannotOpen::Machine)?;
    let program = VfioUser::new(Config::standard(absolute));
    let isolation = Some(program.isolation());
    let subject = described(name, Box::new(program))?;
    let (sha256, file) = (Some(sha256(path)?), Some(path.to_owned()));
    Ok(Subject { sha256, file, cases: PROGRAM_CASES, isolation, ..subject })
}

fn unknown(name: &Impl) -> CannotOpen {
    CannotOpen::Name(format!(
        "cannot open `{}`: expected `builtin:NAME`, a `.json` of migration info, a `.toml` profile or the path of a device program",
        Short(&name.to_string())
    ))
}

/// What a device program is given in a few seconds, each instance in a process of its own.
const PROGRAM_CASES: u32 = 40;

/// Opens an implementation that can be started.
///
/// # Errors
/// Also for one that is only a description.
pub fn subject(name: &str) -> Result<Subject, CannotOpen> {
    startable(&Impl::of(name), Processes::Reused, Purpose::Start)
}

/// The same, every instance in a process that never served another: what is found there is the
/// device's.
///
/// # Errors
/// As [`subject`].
pub fn fresh(name: &str) -> Result<Subject, CannotOpen> {
    startable(&Impl::of(name), Processes::Fresh, Purpose::StartAgain)
}

fn startable(name: &Impl, processes: Processes, purpose: Purpose) -> Result<Subject, CannotOpen> {
    match open_in(name, processes, purpose)? {
        Opened::Program(subject) => Ok(subject),
        Opened::Description(..) => Err(CannotOpen::Name(format!(
            "`{}` is migration info and can't be run; `migcert check` and `migcert describe` take it",
            Short(&name.to_string())
        ))),
    }
}

fn described(name: &Impl, program: Box<dyn Program>) -> Result<Subject, CannotOpen> {
    let described = program.describe();
    let manifest =
        described.map_err(|why| CannotOpen::Silent { name: name.to_string(), why: Box::new(why) })?;
    Ok(Subject::new(name.to_string(), program, manifest))
}

/// SHA-256 of a file, in hexadecimal digits.
///
/// # Errors
/// [`CannotOpen::File`].
pub fn sha256(path: &Path) -> Result<String, CannotOpen> {
    let mut file = files::open(path, MAX_PROGRAM)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        match file.read(&mut piece).map_err(|why| CannotRead::of(path, why))? {
            0 => return Ok(hex::encode(hash.finalize())),
            n => hash.update(&piece[..n]),
        }
    }
}

/// A program has at most so many bytes.
const MAX_PROGRAM: u64 = 4 << 30;
/// What is behind a subject now, if that is not the file that it was opened with: its SHA-256, or why it
/// can't be read any more.
pub fn changed(subject: &Subject) -> Option<String> {
    match sha256(subject.file.as_ref()?) {
        Ok(now) if Some(&now) == subject.sha256.as_ref() => None,
        Ok(now) => Some(now),
        Err(why) => Some(why.to_string()),
    }
}

/// Why an implementation can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum CannotOpen {
    /// Its migration info can't be understood.
    #[error("{}: {why}", path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// Where in it, and why.
        why: Box<BadManifest>,
    },
    /// A file can't be read.
    #[error("{0}")]
    File(CannotRead),
    /// No program can be started here.
    #[error("device programs can't be started: {0}")]
    Machine(io::Error),
    /// No such implementation.
    #[error("{0}")]
    Name(String),
    /// Its profile can't be used.
    #[error(transparent)]
    Profile(Box<BadProfile>),
    /// It doesn't say what it supports.
    #[error("`{}` can't be asked what it supports: {why}", Short(name))]
    Silent {
        /// The implementation.
        name: String,
        /// Why.
        why: Box<Error>,
    },
}

impl From<CannotRead> for CannotOpen {
    fn from(why: CannotRead) -> CannotOpen {
        CannotOpen::File(why)
    }
}

impl CannotOpen {
    /// Whether the user can mend it by asking for something else: exit status 2, not 101.
    pub fn is_usage(&self) -> bool {
        !matches!(self, CannotOpen::Silent { .. } | CannotOpen::Machine(_))
    }
}
