//! Cases that break rules on devices with planted faults, as large as they were drawn.

use migcert::case::Case;
use migcert::entry;
use migcert::finding::Outcome;
use migcert::impls;
use migcert::minimize::{Bounds, Names, Size, Small, minimize};
use migcert::oracle::PLANTED;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

/// Smaller cases that are tried at most: so many does the command try in process.
pub(crate) const TRIES: u32 = 20_000;

/// A case that breaks its rule.
pub(crate) struct Artifact {
    pub(crate) name: String,
    pub(crate) case: Case,
}

/// Where all of them are kept.
pub(crate) fn folder() -> PathBuf {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|at| at.join("corpus/artifacts"));
    folders.find(|folder| folder.is_dir()).expect("in a checkout")
}

impl Artifact {
    /// All that are kept, by name.
    pub(crate) fn all() -> io::Result<Vec<Artifact>> {
        let mut all = Vec::new();
        for file in fs::read_dir(folder())? {
            let path = file?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let (case, _) = Case::from_toml(&fs::read_to_string(&path)?).map_err(io::Error::other)?;
            all.push(Artifact { name, case });
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }
}

/// Whether a case breaks its rule.
pub(crate) fn breaks(case: &Case) -> bool {
    let drawn = entry::encode(case).and_then(|entry| PLANTED.read(&entry));
    drawn.is_some_and(|drawn| matches!(drawn.judge(), Outcome::Broken(_)))
}

/// What ours makes of a case.
pub(crate) fn ours(case: &Case) -> Small {
    let [source, destination] =
        [&case.source, &case.destination].map(|name| impls::subject(name).expect("a reference device"));
    let bounds = Bounds { tries: TRIES, subjects: [&source, &destination], names: Names::Free };
    minimize(case.clone(), &bounds, &mut breaks)
}

/// How large a case is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Measure {
    /// Bytes of its entry; an implementation that is both source and destination counts once.
    pub(crate) bytes: usize,
    size: Size,
}

impl Measure {
    pub(crate) fn of(case: &Case) -> Measure {
        let [source, destination] =
            [&case.source, &case.destination].map(|name| impls::subject(name).expect("a reference device"));
        let bounds = Bounds { tries: 0, subjects: [&source, &destination], names: Names::Kept };
        let twice = if case.source == case.destination { case.source.len() } else { 0 };
        Measure {
            bytes: entry::encode(case).map_or(usize::MAX, |entry| entry.len() - twice),
            size: Size::of(case, &bounds),
        }
    }

    /// All levels together.
    pub(crate) fn total(&self) -> usize {
        self.size.levels().iter().map(|(_, size)| size).sum()
    }
}

impl fmt::Display for Measure {
    /// The bytes, and the levels: history, guest, damage, setup.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let levels = self.size.levels().map(|(_, size)| size.to_string()).join("+");
        write!(f, "{} ({levels})", self.bytes)
    }
}
