//! Known findings of a project: a directory with their cases. They are listed, but not counted as failures.

use crate::case::{self, Case};
use crate::files;
use crate::finding::{Bucket, Cause, Finding, What};
use std::collections::BTreeMap;
use std::path::Path;

/// The case files of a directory, by the ids of their buckets.
#[derive(Debug, Default)]
pub struct Known {
    files: BTreeMap<String, String>,
    /// What their findings share with others of the same bug.
    causes: Vec<(Cause, String)>,
    /// Other entries of the directory, which were not read.
    pub not_read: Vec<String>,
}

impl Known {
    /// Reads every case file of a directory.
    ///
    /// # Errors
    /// What is wrong with the directory or with one of the files, which is named.
    pub fn read(folder: &Path) -> Result<Known, String> {
        let mut known = Known::default();
        for path in files::entries(folder).map_err(|why| why.to_string())? {
            let name = path.display().to_string();
            if path.extension().is_none_or(|extension| extension != "toml") {
                known.not_read.push(name);
                continue;
            }
            let bad = |why: &dyn ToString| format!("{name}: {}", why.to_string());
            let text = files::read_text(&path, case::MAX_FILE).map_err(|why| why.to_string())?;
            let (_, found) = Case::from_toml(&text).map_err(|why| bad(&why))?;
            let bucket = found.bucket.ok_or_else(|| bad(&NO_BUCKET))?;
            let cause = found.finding.map(|finding| finding.cause);
            known.causes.extend(cause.map(|cause| (cause, name.clone())));
            known.files.entry(bucket).or_insert(name);
        }
        Ok(known)
    }

    /// The file of a finding of this bucket.
    pub fn file(&self, bucket: &Bucket) -> Option<String> {
        self.files.get(&bucket.id()).cloned()
    }

    /// The file of a known finding that explains this one: the same operation fails in the same way. A
    /// difference explains nothing, because two bugs may show at one register.
    pub fn behind(&self, finding: &Finding) -> Option<String> {
        let explains = |(cause, _): &&(Cause, String)| {
            matches!(cause.what, What::Failure { .. }) && cause.explains(&finding.cause)
        };
        self.causes.iter().find(explains).map(|(_, file)| file.clone())
    }

    /// The ids of the buckets, in order.
    pub fn buckets(&self) -> Vec<String> {
        self.files.keys().cloned().collect()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

const NO_BUCKET: &str = "no bucket; `migcert replay FILE --save DIR` writes the case with its bucket";
