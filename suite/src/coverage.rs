//! Coverage of cases in terms of migration: arcs, faults, changes between two descriptions, reasons of
//! verdicts, outcomes, and pairs of them.
//!
//! Lines of code say little about this: a load that never fails reaches them all.

use crate::case::Case;
use crate::damage::Damage;
use crate::document;
use crate::files;
use crate::text::{self, Lines};
use crate::{row, say};
use migcert_core::compat::{self, REASONS};
use migcert_core::device::ARCS;
use migcert_core::program::Manifest;
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::sync::LazyLock;

mod change;

/// The schema of the report.
const SCHEMA: &str = "migcert/coverage/1";
/// Maximum size of a report that is read, in bytes.
pub const MAX_FILE: u64 = 4 << 20;

/// A dimension of coverage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dimension {
    /// An arc that a device took.
    Arc,
    /// Damage to a state in transit, or a failure of the host.
    Fault,
    /// How the destination's description differs from the source's.
    Change,
    /// Why the check refused.
    Reason,
    /// The end of an instance or of a migration.
    Outcome,
}

impl Dimension {
    /// All dimensions.
    pub const ALL: [Dimension; 5] =
        [Dimension::Arc, Dimension::Fault, Dimension::Change, Dimension::Reason, Dimension::Outcome];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Dimension::Arc => "arc",
            Dimension::Fault => "fault",
            Dimension::Change => "change",
            Dimension::Reason => "reason",
            Dimension::Outcome => "outcome",
        }
    }

    fn ids(self) -> Vec<String> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        match self {
            Dimension::Arc => ARCS.iter().map(|(from, to, _)| format!("{from} -> {to}")).collect(),
            Dimension::Fault => owned(&[Damage::KINDS, &[HOST]].concat()),
            Dimension::Change => owned(change::ALL),
            Dimension::Reason => REASONS.iter().map(|reason| reason.id.to_owned()).collect(),
            Dimension::Outcome => owned(&outcome::ALL),
        }
    }
}

/// The one fault that is not byte damage: a host failure.
pub const HOST: &str = "host";

/// Outcomes of instances and migrations.
pub mod outcome {
    /// The guest goes on at the destination.
    pub const MIGRATED: &str = "migrated";
    /// The check refused, and nothing was disturbed.
    pub const REFUSED_BY_CHECK: &str = "refused-by-check";
    /// The instance didn't start.
    pub const REFUSED_AT_START: &str = "refused-at-start";
    /// The state was refused.
    pub const REFUSED_AT_LOAD: &str = "refused-at-load";
    /// The state could not be saved.
    pub const SAVE_FAILED: &str = "save-failed";
    /// The guest goes on at the source that was being saved.
    pub const SOURCE_GOES_ON: &str = "source-goes-on";
    /// The device was reset.
    pub const RESET: &str = "reset";

    /// All dimensions.
    pub const ALL: [&str; 7] =
        [MIGRATED, REFUSED_BY_CHECK, REFUSED_AT_START, REFUSED_AT_LOAD, SAVE_FAILED, SOURCE_GOES_ON, RESET];
}

/// All items. Bits of [`Seen`] are its indices.
static ITEMS: LazyLock<Vec<(Dimension, String)>> = LazyLock::new(|| {
    let of = |dimension: Dimension| dimension.ids().into_iter().map(move |id| (dimension, id));
    let items: Vec<_> = Dimension::ALL.into_iter().flat_map(of).collect();
    assert!(items.len() <= u128::BITS as usize, "there is a bit for each");
    items
});

/// The items that one case touched.
pub type Seen = u128;

thread_local! {
    static SEEN: Cell<Option<Seen>> = const { Cell::new(None) };
}

/// Runs `act`; also returns the items that it touched.
pub fn seen<T>(act: impl FnOnce() -> T) -> (T, Seen) {
    SEEN.set(Some(0));
    let done = act();
    (done, SEEN.take().unwrap_or(0))
}

/// Whether coverage is recorded.
pub(crate) fn is_asked() -> bool {
    SEEN.get().is_some()
}

/// Records an item. Costs nothing if coverage is not recorded.
pub(crate) fn saw<I: AsRef<str>>(dimension: Dimension, id: impl FnOnce() -> I) {
    let Some(seen) = SEEN.get() else { return };
    let id = id();
    if let Some(index) = ITEMS.iter().position(|(of, known)| *of == dimension && known == id.as_ref()) {
        SEEN.set(Some(seen | 1 << index));
    }
}

/// Records the differences between the descriptions of a case's source and destination.
pub(crate) fn saw_pair(case: &Case, source: &Manifest, destination: &Manifest) {
    if !is_asked() {
        return;
    }
    let Some(here) = source.models.get(&case.model) else { return };
    let there = destination.models.get(&case.model);
    for change in change::between(here, there) {
        saw(Dimension::Change, || change);
    }
    for reason in compat::check(&case.model, here, &case.setup, destination).0 {
        saw(Dimension::Reason, || reason.info().id);
    }
}

/// The coverage of many cases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Cases that were executed.
    pub executed: u64,
    /// By item, the number of cases that touched it.
    cases: Vec<u64>,
    /// By item, the others that the same case touched.
    together: Vec<Seen>,
}

impl Default for Coverage {
    fn default() -> Coverage {
        Coverage { executed: 0, cases: vec![0; ITEMS.len()], together: vec![0; ITEMS.len()] }
    }
}

/// The report, as written and read.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: String,
    migcert: String,
    executed: u64,
    dimensions: Vec<DimensionFile>,
    pairs: Vec<PairFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DimensionFile {
    dimension: Dimension,
    seen: usize,
    total: usize,
    items: Vec<ItemFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ItemFile {
    id: String,
    cases: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PairFile {
    of: [Dimension; 2],
    seen: usize,
    total: usize,
    never: Vec<[String; 2]>,
}

/// Items of a dimension, with their indices.
fn items(dimension: Dimension) -> impl Iterator<Item = (usize, &'static str)> {
    let items = ITEMS.iter().enumerate();
    items.filter(move |(_, (of, _))| *of == dimension).map(|(index, (_, id))| (index, id.as_str()))
}

/// All pairs of different dimensions.
fn pairs() -> impl Iterator<Item = [Dimension; 2]> {
    const ALL: [Dimension; 5] = Dimension::ALL;
    ALL.into_iter().enumerate().flat_map(|(i, one)| ALL[i + 1..].iter().map(move |other| [one, *other]))
}

impl Coverage {
    /// Adds what a case touched; returns whether any item, or any pair of them, is new.
    pub fn add(&mut self, seen: Seen) -> bool {
        self.executed += 1;
        let mut is_new = false;
        for (index, (cases, together)) in self.cases.iter_mut().zip(&mut self.together).enumerate() {
            if seen & 1 << index != 0 {
                *cases += 1;
                is_new |= seen & !*together != 0;
                *together |= seen;
            }
        }
        is_new
    }

    /// Adds what other cases touched.
    pub fn merge(&mut self, other: &Coverage) {
        self.executed += other.executed;
        self.cases.iter_mut().zip(&other.cases).for_each(|(here, there)| *here += there);
        self.together.iter_mut().zip(&other.together).for_each(|(here, there)| *here |= there);
    }

    /// Of a dimension: the number of items seen, the number of items, and those never seen.
    pub fn of(&self, dimension: Dimension) -> (usize, usize, Vec<&'static str>) {
        let never = items(dimension).filter(|(index, _)| self.cases[*index] == 0).map(|(_, id)| id);
        let never: Vec<&str> = never.collect();
        let total = items(dimension).count();
        (total - never.len(), total, never)
    }

    fn pair(&self, [one, other]: [Dimension; 2]) -> PairFile {
        let (ours, theirs) = (items(one), items(other).collect::<Vec<_>>());
        let cells = ours.flat_map(|one| theirs.iter().map(move |other| (one, *other)));
        let never = cells.filter(|((i, _), (j, _))| self.together[*i] & 1 << j == 0);
        let never: Vec<_> = never.map(|((_, a), (_, b))| [a.to_owned(), b.to_owned()]).collect();
        let total = items(one).count() * theirs.len();
        PairFile { of: [one, other], seen: total - never.len(), total, never }
    }

    /// As JSON: `migcert/coverage/1`.
    pub fn json(&self) -> serde_json::Value {
        let dimension = |dimension: Dimension| {
            let (seen, total, _) = self.of(dimension);
            let item = |(index, id): (usize, &str)| ItemFile { id: id.to_owned(), cases: self.cases[index] };
            DimensionFile { dimension, seen, total, items: items(dimension).map(item).collect() }
        };
        serde_json::json!(File {
            schema: SCHEMA.to_owned(),
            migcert: env!("CARGO_PKG_VERSION").to_owned(),
            executed: self.executed,
            dimensions: Dimension::ALL.into_iter().map(dimension).collect(),
            pairs: pairs().map(|pair| self.pair(pair)).collect(),
        })
    }

    /// Reads a report.
    ///
    /// # Errors
    /// Why it is not a report of this version.
    pub fn from_json(bytes: &[u8]) -> Result<Coverage, String> {
        let file: File = document::json(bytes).map_err(|why| why.to_string())?;
        if file.schema != SCHEMA || file.migcert != env!("CARGO_PKG_VERSION") {
            let (schema, made, this) = (&file.schema, &file.migcert, env!("CARGO_PKG_VERSION"));
            return Err(format!(
                "a report `{schema}` of migcert {made}; this is {this}, which reads `{SCHEMA}`"
            ));
        }
        let mut coverage = Coverage { executed: file.executed, ..Coverage::default() };
        let index = |dimension: Dimension, id: &str| {
            let found = items(dimension).find(|(_, known)| *known == id).map(|(index, _)| index);
            found.ok_or_else(|| format!("no {} `{id}`", dimension.name()))
        };
        for DimensionFile { dimension, items, .. } in &file.dimensions {
            for ItemFile { id, cases } in items {
                coverage.cases[index(*dimension, id)?] = *cases;
            }
        }
        let is_seen = |index: &usize| coverage.cases[*index] != 0;
        let all: Seen = (0..ITEMS.len()).filter(is_seen).map(|index| 1 << index).sum();
        let set = |index: usize| if is_seen(&index) { all } else { 0 };
        coverage.together = (0..ITEMS.len()).map(set).collect();
        for PairFile { of: [one, other], never, .. } in &file.pairs {
            for [a, b] in never {
                let (i, j) = (index(*one, a)?, index(*other, b)?);
                coverage.together[i] &= !(1 << j);
                coverage.together[j] &= !(1 << i);
            }
        }
        Ok(coverage)
    }

    /// As text, for people.
    pub fn text(&self) -> Lines {
        let mut out = Lines::default();
        row!(out, "executed {} cases", self.executed);
        row!(out);
        row!(out, "            seen  never seen");
        for dimension in Dimension::ALL {
            let (seen, total, never) = self.of(dimension);
            let never = if never.is_empty() { "-".to_owned() } else { never.join(", ") };
            let count = format!("{seen}/{total}");
            out.after(
                dimension.name(),
                format_args!("{count:>wide$}  {never}", wide = 16 - dimension.name().len()),
            );
        }
        row!(out);
        row!(out, "together in one case");
        for pair in pairs() {
            let PairFile { of: [one, other], seen, total, .. } = self.pair(pair);
            let (count, name) = (format!("{seen}/{total}"), other.name());
            let wide = 24 - one.name().len() - name.len();
            out.after(one.name(), format_args!(" x {name}{count:>wide$}"));
        }
        out
    }
}

/// The environment variable with the name of the file in which a fuzzer keeps its coverage.
pub const FILE: &str = "MIGCERT_COVERAGE";
/// The file is written every N executions, and whenever something new was touched.
const EVERY: u64 = 1000;

/// Runs `act` for one input of a fuzzer. If [`FILE`] names a file, its coverage is kept there at once,
/// because fuzzers end without notice.
pub fn recorded<T>(act: impl FnOnce() -> T) -> T {
    thread_local! {
        static RECORD: RefCell<Option<(PathBuf, Coverage)>> =
            RefCell::new(std::env::var_os(FILE).map(|file| (file.into(), Coverage::default())));
    }
    RECORD.with_borrow_mut(|record| {
        let Some((file, coverage)) = record else { return act() };
        let (done, seen) = seen(act);
        let is_due = coverage.add(seen) || coverage.executed.is_multiple_of(EVERY);
        let written = if is_due { files::write(file, &text::json(&coverage.json())) } else { Ok(()) };
        if let Err(why) = written {
            say!("note: what is touched is not kept: {why}");
            *record = None;
        }
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_touched_is_seen() {
        let case = || {
            saw(Dimension::Reason, || "combination");
            saw(Dimension::Outcome, || outcome::RESET);
            saw(Dimension::Outcome, || "no outcome");
        };
        case();
        let ((), seen) = seen(case);
        let mut coverage = Coverage::default();
        assert!(coverage.add(seen));
        assert!(!coverage.add(seen));
        assert_eq!(coverage.of(Dimension::Reason).0, 1);
        assert_eq!(coverage.of(Dimension::Outcome).0, 1);
        assert_eq!(coverage.pair([Dimension::Reason, Dimension::Outcome]).seen, 1);
        assert_eq!(coverage.pair([Dimension::Arc, Dimension::Outcome]).seen, 0);
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let mut coverage = Coverage::default();
        for seen in [0, 0b11, 1 << 40 | 1, 1 << 50 | 1 << 20 | 1 << 30] {
            coverage.add(seen);
        }
        let json = coverage.json().to_string();
        let read = Coverage::from_json(json.as_bytes()).expect("a report");
        // A report has no pairs within one dimension.
        assert_eq!(read.json(), coverage.json());
        let mut twice = read.clone();
        twice.merge(&coverage);
        assert_eq!((twice.executed, twice.of(Dimension::Arc)), (8, coverage.of(Dimension::Arc)));
        assert!(Coverage::from_json(json.replace("PRE_COPY", "PRECOPY").as_bytes()).is_err());
        assert!(Coverage::from_json(json.replace("coverage/1", "coverage/2").as_bytes()).is_err());
    }
}
