//! Findings that a project knows already: a folder with their cases. They are listed, and fail
//! nothing.

use crate::bucket::Bucket;
use crate::case::{self, Case};
use crate::impls;
use std::collections::BTreeMap;
use std::path::Path;

/// The files of a folder, by the ids of their buckets.
#[derive(Debug, Default)]
pub struct Known(BTreeMap<String, String>);

impl Known {
    /// Reads every case file of a folder.
    ///
    /// # Errors
    /// What is wrong with the folder, or the file and what is wrong with it.
    pub fn read(folder: &Path) -> Result<Known, String> {
        let of_folder = |why: std::io::Error| format!("{}: {why}", folder.display());
        let entries = folder.read_dir().map_err(of_folder)?;
        let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
        let mut paths = paths.map_err(of_folder)?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        paths.sort();
        let mut known = BTreeMap::new();
        for path in paths {
            let bad = |why: &dyn ToString| format!("{}: {}", path.display(), why.to_string());
            let bytes = impls::read(&path, case::MAX_FILE).map_err(|why| why.to_string())?;
            let text = str::from_utf8(&bytes).map_err(|why| bad(&why))?;
            let (_, found) = Case::from_toml(text).map_err(|why| bad(&why))?;
            let bucket = found.bucket.ok_or_else(|| bad(&NO_BUCKET))?;
            known.entry(bucket).or_insert_with(|| path.display().to_string());
        }
        Ok(Known(known))
    }

    /// The file of a finding of this bucket.
    pub fn file(&self, bucket: &Bucket) -> Option<String> {
        self.0.get(&bucket.id()).cloned()
    }

    /// The ids of the buckets, in order.
    pub fn buckets(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

const NO_BUCKET: &str = "it has no bucket; `migcert replay FILE --save DIR` writes the case with it";
