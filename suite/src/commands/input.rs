//! What a maintainer has of a finding: a case, an input of a fuzz target, a property's regression.

use anyhow::{Context, anyhow, bail};
use migcert::case::{self, Case, Found};
use migcert::entry;
use migcert::files;
use migcert::finding::{Bucket, Outcome};
use migcert::impls;
use migcert::oracle::{TARGETS, Target};
use migcert::rule::Rule;
use migcert::rules;
use migcert::subject::Subject;
use migcert_core::program::Unsupported;
use std::ffi::OsStr;
use std::panic::catch_unwind;
use std::path::Path;

/// A file that was understood.
pub(crate) enum Input {
    /// It means a case.
    Case(Box<Tried>),
    /// It means no case, only bytes.
    Bytes(&'static Target, Vec<u8>),
}

/// A case, opened.
pub(crate) struct Tried {
    pub(crate) rule: &'static Rule,
    pub(crate) case: Case,
    pub(crate) source: Subject,
    pub(crate) destination: Subject,
    pub(crate) found: Found,
}

/// Reads a file. Bytes are an input of the fuzz target that is named, or that its path names.
pub(crate) fn read(file: &Path, target: Option<&str>) -> anyhow::Result<Input> {
    understood(file, target).with_context(|| file.display().to_string())
}

/// The same; the error doesn't name the file.
pub(crate) fn understood(file: &Path, target: Option<&str>) -> anyhow::Result<Input> {
    let bytes = files::read(file, case::MAX_FILE).map_err(|why| anyhow!("{}", why.why()))?;
    if is_case(file) {
        let (case, found) = Case::from_toml(str::from_utf8(&bytes)?)?;
        return opened(case, found);
    }
    if entry::is_entry(&bytes) {
        return opened(entry::decode(&bytes)?, Found::default());
    }
    let dna = regression(&bytes)?;
    let Some(target) = named(file, target)?.or_else(|| broken_by(&bytes, TARGETS)) else {
        bail!("it is no case; name the fuzz target that it is an input of with --target");
    };
    match dna.as_ref().and_then(|dna| target.draw(dna)) {
        Some(drawn) => opened(drawn.case, Found::default()),
        None => Ok(Input::Bytes(target, dna.unwrap_or(bytes))),
    }
}

/// Whether a file is a finding, by its name: a case, or what a fuzzer names so.
pub(crate) fn is_finding(file: &Path, target: Option<&str>) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let is_artifact = ARTIFACTS.iter().any(|prefix| name.starts_with(prefix));
    is_case(file) || is_artifact && named(file, target).is_ok_and(|target| target.is_some())
}

/// How libFuzzer and those who run it name what they found.
const ARTIFACTS: &[&str] =
    &["crash-", "leak-", "oom-", "slow-unit-", "timeout-", "minimized-from-", "clusterfuzz-"];

fn is_case(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "toml")
}

fn opened(case: Case, found: Found) -> anyhow::Result<Input> {
    let rule = rules::named(&case.rule);
    let rule = rule.ok_or_else(|| anyhow!("no rule `{}`; see `migcert list rules`", case.rule))?;
    let source = impls::fresh(&case.source)?;
    let destination = impls::fresh(&case.destination)?;
    // What is learned of a program is learned once.
    let is_one = case.destination == case.source;
    let destination = if is_one { destination.sharing(&source) } else { destination };
    fits(&case, &source)?;
    Ok(Input::Case(Box::new(Tried { rule, case, source, destination, found })))
}

/// Whether the source supports the configurations of a case. Where it doesn't, the case was edited or
/// the description has changed, and what came of it would be held against the device.
fn fits(case: &Case, source: &Subject) -> anyhow::Result<()> {
    let Some(model) = source.manifest.models.get(&case.model) else { return Ok(()) };
    for (name, setup) in [("setup", Some(&case.setup)), ("other", case.other.as_ref())] {
        let culprits = setup.map(|setup| model.faults(setup)).unwrap_or_default();
        if !culprits.is_empty() {
            let Case { model, source, .. } = case;
            bail!(
                "`{name}` is no configuration of `{model}` as `{source}` describes it: {}; mend `{name}`, or replay the case on the program that it was found in",
                Unsupported(culprits)
            );
        }
    }
    Ok(())
}

/// The fuzz target of this name.
pub(crate) fn target(name: &str) -> anyhow::Result<&'static Target> {
    let names = || TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join("`, `");
    Target::named(name).ok_or_else(|| anyhow!("no fuzz target `{name}`; there are `{}`", names()))
}

/// The fuzz target of an input: as it is named, or the last of its path that names one:
/// `artifacts/migrate/crash-…`, `proptest-regressions/check.txt`, `clusterfuzz-testcase-damage-…`.
fn named(file: &Path, target: Option<&str>) -> anyhow::Result<Option<&'static Target>> {
    if let Some(name) = target {
        return self::target(name).map(Some);
    }
    let known = |name: &OsStr| TARGETS.iter().find(|target| name == target.name);
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let by_name = stem.split(['-', '_']).rev().find_map(|word| known(word.as_ref()));
    Ok(by_name.or_else(|| file.ancestors().skip(1).take(2).filter_map(Path::file_name).find_map(known)))
}

/// The target that these bytes break, where neither a name nor a path says which they are for.
fn broken_by<'t>(bytes: &[u8], targets: &'t [Target]) -> Option<&'t Target> {
    let is_broken = |target: &&Target| {
        let outcome = catch_unwind(|| target.judge(bytes));
        outcome.map_or(true, |outcome| matches!(outcome, Outcome::Broken(_)))
    };
    targets.iter().filter(|target| target.rules().is_empty()).find(is_broken)
}

/// The bytes in a regression file of proptest: its last line `cc SEED # shrinks to [1, 2, 3]`, or
/// `… to NAME = [1, 2, 3]`. `None` if it is no such file.
///
/// The seed alone means nothing without the generator that drew from it.
fn regression(bytes: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
    let mut lines = str::from_utf8(bytes).unwrap_or_default().lines();
    let Some(line) = lines.rfind(|line| line.starts_with("cc ")) else { return Ok(None) };
    let shrunk = line.split_once("# shrinks to ").map(|(_, shrunk)| shrunk.trim());
    let list = shrunk.and_then(|shrunk| shrunk.rsplit_once(" = ").map(|(_, list)| list).or(Some(shrunk)));
    let list = list.and_then(|list| list.strip_prefix('[')?.strip_suffix(']'));
    let words = list.map(|list| list.split(',').map(str::trim).filter(|word| !word.is_empty()));
    let bytes: Option<Vec<u8>> = words.and_then(|mut words| words.try_fold(Vec::new(), push));
    bytes.map(Some).ok_or_else(|| {
        anyhow!("its last `cc` line doesn't end with bytes (`# shrinks to [1, 2]`), and its seed means something to its own property only: run that")
    })
}

fn push(mut bytes: Vec<u8>, word: &str) -> Option<Vec<u8>> {
    bytes.push(word.parse().ok()?);
    Some(bytes)
}

impl Input {
    /// The case that it means.
    pub(crate) fn case(&self) -> Option<&Tried> {
        if let Input::Case(tried) = self { Some(tried) } else { None }
    }
}

impl Tried {
    /// What there is to be said of the implementations: that they are other binaries than before.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut names = vec![&self.source];
        if self.destination.name != self.source.name {
            names.push(&self.destination);
        }
        let other = |subject: &&Subject| {
            let (before, now) = (self.found.sha256.get(&subject.name)?, subject.sha256.as_ref()?);
            (before != now).then(|| {
                let (before, now) = (short(before), short(now));
                format!("`{}` is another binary: found in sha256 {before}, this is {now}", subject.name)
            })
        };
        names.iter().filter_map(other).collect()
    }

    /// What is written beside the case: what was found, and the binaries.
    pub(crate) fn found(&self, outcome: &Outcome, bucket: Option<&Bucket>) -> Found {
        let finding = if let Outcome::Broken(finding) = outcome { Some(finding.clone()) } else { None };
        let subjects = [&self.source, &self.destination].into_iter();
        let hashes = subjects.filter_map(|s| Some((s.name.clone(), s.sha256.clone()?)));
        Found { finding, bucket: bucket.map(Bucket::id), sha256: hashes.collect() }
    }
}

fn short(hash: &str) -> &str {
    hash.get(..16).unwrap_or(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use migcert::oracle;

    #[test]
    fn bytes_that_break_a_target_are_for_it() {
        let target = |name, judge| Target { name, what: "", input: oracle::Input::Bytes(judge) };
        let targets = [
            target("sound", |_| Outcome::Held),
            target("odd", |bytes| if bytes == b"odd" { panic!("odd") } else { Outcome::Held }),
        ];
        assert_eq!(broken_by(b"odd", &targets).map(|target| target.name), Some("odd"));
        assert!(broken_by(b"even", &targets).is_none());
    }
}
