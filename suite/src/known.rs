//! Findings that a project knows already: a folder with their cases. They are listed, and fail
//! nothing.

use crate::case::{self, Case};
use crate::certify::Unit;
use crate::impls;
use crate::rules::Outcome;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The files of a folder, by the rule that is broken and the place where it shows.
#[derive(Debug, Default)]
pub struct Known(BTreeMap<(String, String), PathBuf>);

impl Known {
    /// Reads every case file of a folder that says what was found.
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
            let text = String::from_utf8(bytes).map_err(|why| bad(&why))?;
            let (case, found) = Case::from_toml(&text).map_err(|why| bad(&why))?;
            let finding = found.finding.ok_or_else(|| bad(&"it doesn't say what was found"))?;
            known.entry((case.rule, place(&finding.summary))).or_insert(path);
        }
        Ok(Known(known))
    }

    /// Findings that are known are not held against anybody.
    pub fn excuse(&self, units: &mut [Unit]) {
        for unit in units {
            let Outcome::Broken(finding) = &unit.outcome else { continue };
            let file = self.0.get(&(unit.rule.id.to_owned(), place(&finding.summary)));
            if let Some(file) = file {
                unit.waived.get_or_insert_with(|| format!("known: {}", file.display()));
            }
        }
    }
}

/// What of a summary stays the same when the case is another: all but its numbers.
fn place(summary: &str) -> String {
    let is_number = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
    let mut out = String::new();
    for word in summary.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let (text, end) = word.split_at(word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).len());
        out += if is_number(text) { "#" } else { text };
        out += end;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn numbers_make_no_other_place() {
        let text = "moved after 12 steps: step 3: the guest reads WORD2 at 0x1f";
        assert_eq!(place(text), "moved after # steps: step #: the guest reads WORD2 at #");
        assert_ne!(place(text), place("moved after 12 steps: step 3: the guest reads WORD3 at 0x1f"));
    }
}
