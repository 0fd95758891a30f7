//! One certification in parts, each on a machine of its own, and what the parts come to together:
//! what one run of the same seed comes to.

use crate::bench::Counted;
use crate::case::{Case, Found};
use crate::certify::{Job, PIECE, Runner, Short, Task, Unit, Verdict, blame, tasks, with_idle};
use crate::finding::Bucket;
use crate::finding::{Cause, Finding, Outcome};
use crate::honest::Inert;
use crate::isolation::Known;
use crate::learned;
use crate::report::{Asked, Tested};
use crate::rules::selected;
use crate::subject::Untouched;
use migcert_core::error::Aside;
use migcert_core::program::Manifest;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The report of a part is read from at most so many bytes.
pub const MAX_FILE: u64 = 64 << 20;
/// Implementations that a certification in parts has at most.
const SUBJECTS: usize = 32;

/// Which part of how many: `1/3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    index: u32,
    of: u32,
}

impl Shard {
    /// What falls to it: every so-manieth piece.
    fn share<T>(self, all: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
        all.skip(self.index as usize - 1).step_by(self.of as usize)
    }
}

impl FromStr for Shard {
    type Err = String;
    fn from_str(text: &str) -> Result<Shard, String> {
        let numbers = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match numbers {
            Some((index, of)) if 1 <= index && index <= of => Ok(Shard { index, of }),
            _ => Err("a shard is its number, from 1, and how many there are, such as 1/3".to_owned()),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl TryFrom<String> for Shard {
    type Error = String;
    fn try_from(text: String) -> Result<Shard, String> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> String {
        shard.to_string()
    }
}

/// What the report of a part has beside what every report has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Which.
    pub shard: Shard,
    asked: Asked,
    cases: u32,
    known: Vec<String>,
    subjects: Vec<SubjectFile>,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectFile {
    name: String,
    sha256: Option<String>,
    manifest: Json,
    waive: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    never: Vec<Untouched>,
    #[serde(default)]
    reachable: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    inert: Vec<Inert>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changed: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    isolation: Option<Known>,
    #[serde(default, skip_serializing_if = "learned::Report::is_empty")]
    learned: learned::Report,
}

/// A piece of the work, and what comes of it whatever else its cases break, where that is not the
/// same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Piece {
    judged: UnitFile,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alone: Option<UnitFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UnitFile {
    outcome: OutcomeFile,
    judged: u32,
    begun: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    short: Option<Short>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    skipped: BTreeMap<String, u32>,
    counted: Counted,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    case: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bucket: Option<Bucket>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    known: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    waived: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum OutcomeFile {
    Held,
    Broken {
        summary: String,
        expected: String,
        observed: String,
        #[serde(default)]
        cause: Cause,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        words: Vec<String>,
    },
    NotApplicable(String),
    Unsettled(String),
}

/// The tasks of a job that fall to a part.
pub fn share(job: &Job<'_>, shard: Shard) -> Vec<Task> {
    shard.share(tasks(&job.rules, job.subjects.len(), job.cases, PIECE)).collect()
}

/// Runs a part of a job. `done` is called after each of its tasks.
pub fn run(
    job: &Job<'_>,
    shard: Shard,
    asked: &Asked,
    subjects: &mut [Tested],
    done: &(dyn Fn(&Unit) + Sync),
) -> (Part, Vec<Unit>) {
    let runner = Runner::of(job);
    let tasks = share(job, shard);
    let units = runner.run(&tasks, done).units;
    let piece = |(task, unit): (&Task, &Unit)| Piece {
        judged: UnitFile::from(unit),
        alone: unit.blamed.then(|| UnitFile::from(&runner.alone(task))),
    };
    subjects.iter_mut().zip(job.subjects).for_each(|(tested, subject)| tested.after(subject));
    let part = Part {
        shard,
        asked: asked.clone(),
        cases: job.cases,
        known: job.known.buckets(),
        subjects: subjects.iter().map(SubjectFile::from).collect(),
        pieces: tasks.iter().zip(&units).map(piece).collect(),
    };
    (part, joined(units))
}

/// Pieces of the same rule and pair, one after the other, as one.
fn joined(units: Vec<Unit>) -> Vec<Unit> {
    let mut joined: Vec<Unit> = Vec::new();
    for unit in units {
        match joined.pop_if(|last| last.rule.id == unit.rule.id && last.pair == unit.pair) {
            Some(last) => joined.push(last.then(unit)),
            None => joined.push(unit),
        }
    }
    joined
}

/// What is read of the report of a part.
#[derive(Clone, Debug, Deserialize)]
pub struct Report {
    migcert: String,
    verdict: String,
    partial: bool,
    selected: usize,
    seed: u64,
    self_test: Json,
    part: Option<Part>,
}

/// What all parts come to.
#[derive(Debug)]
pub struct Whole {
    /// What cases were drawn from.
    pub seed: u64,
    /// What was asked for.
    pub asked: Asked,
    /// The implementations.
    pub subjects: Vec<Tested>,
    /// What came of each rule on each pair.
    pub units: Vec<Unit>,
}

/// Puts the parts of one certification together, each with the name of its file. `self_test` is
/// what testing these rules comes to here.
///
/// # Errors
/// The file that doesn't belong to the others, and why.
pub fn merge(reports: Vec<(String, Report)>, self_test: &Json) -> Result<Whole, String> {
    let mut parts = BTreeMap::new();
    let mut differ = Vec::new();
    let mut first: Option<(String, Report)> = None;
    for (file, report) in reports {
        let bad = |why: &str| Err(format!("{file}: {why}"));
        if report.migcert != env!("CARGO_PKG_VERSION") {
            return bad(&format!(
                "made by migcert {}, and this is {}",
                report.migcert,
                env!("CARGO_PKG_VERSION")
            ));
        }
        if report.self_test != *self_test {
            return bad("its self-test says other things than that of this migcert");
        }
        let mut report = report;
        let Some(part) = &mut report.part else {
            return bad("it is no part of a certification: `migcert certify --shard` makes parts");
        };
        if report.verdict == Verdict::Pass.name() {
            return bad("it says that it passes, and no part does");
        }
        if (report.partial, report.selected) != (part.asked.is_partial(), part.asked.selected().0) {
            return bad("it contradicts itself about the rules that were selected");
        }
        let pieces = std::mem::take(&mut part.pieces);
        for (all, subject) in subjects_so_far(&mut differ, part) {
            all.add(subject);
        }
        let Shard { index, of } = part.shard;
        if let Some((other, shared)) = &first
            && let Some(what) = difference(shared, &report)
        {
            return bad(&format!("it has {what} than {other}"));
        }
        if let Some((_, Report { part: Some(first), .. })) = &first {
            let others = report.part.iter().flat_map(|part| &part.subjects);
            let pairs = first.subjects.iter().zip(others);
            pairs.for_each(|(first, other)| first.shares_what(other));
        }
        if parts.insert(index, pieces).is_some() {
            return bad(&format!("part {index}/{of} is there twice"));
        }
        first.get_or_insert((file, report));
    }
    let Some((file, Report { seed, part: Some(part), .. })) = first else {
        return Err("no part of a certification was given".to_owned());
    };
    let of = part.shard.of;
    if let Some(missing) = (1..=of).find(|index| !parts.contains_key(index)) {
        return Err(format!("part {missing}/{of} is missing"));
    }
    let bad = |why: String| format!("{file}: {why}");
    let rules = selected(&part.asked.only).map_err(bad)?;
    if SUBJECTS < part.subjects.len() {
        return Err(bad(format!("more than {SUBJECTS} implementations")));
    }
    let subjects = part.subjects.into_iter().zip(differ).map(|(subject, own)| subject.read(own).map_err(bad));
    let subjects = subjects.collect::<Result<Vec<_>, _>>()?;
    let mut shares: Vec<_> = parts.into_values().map(Vec::into_iter).collect();
    let (mut units, mut alone) = (Vec::new(), Vec::new());
    for (at, task) in tasks(&rules, subjects.len(), part.cases, PIECE).enumerate() {
        let index = at % shares.len();
        let short = || format!("part {}/{of} ends too early", index + 1);
        let piece = shares[index].next().ok_or_else(short)?;
        let known = Context { task: &task, known: &part.known, subjects: &subjects };
        let judged = piece.judged.read(&known, piece.alone.is_some())?;
        alone.push(piece.alone.map_or_else(|| Ok(judged.clone()), |alone| alone.read(&known, false))?);
        units.push(judged);
    }
    if let Some(long) = shares.iter().position(|share| share.len() != 0) {
        return Err(format!("part {}/{of} has pieces that are none", long + 1));
    }
    let (mut units, alone) = (joined(units), joined(alone));
    blame(&mut units, |unit| {
        let same = alone.iter().find(|other| other.rule.id == unit.rule.id && other.pair == unit.pair);
        same.unwrap_or(unit).clone()
    });
    Ok(Whole { seed, asked: part.asked, subjects, units: with_idle(&rules, units) })
}

/// What parts may say differently of one subject: all of it holds for the whole.
#[derive(Clone, Debug, Default)]
struct Own {
    inert: Vec<Inert>,
    changed: Option<String>,
    learned: learned::Report,
}

impl Own {
    fn add(&mut self, subject: &mut SubjectFile) {
        for inert in std::mem::take(&mut subject.inert) {
            if !self.inert.iter().any(|known| known.model == inert.model) {
                self.inert.push(inert);
            }
        }
        let changed = subject.changed.take();
        self.changed = self.changed.take().or(changed);
        self.learned.add(&std::mem::take(&mut subject.learned));
    }
}

/// The subjects of a part, each with what the parts before it say.
fn subjects_so_far<'a>(
    differ: &'a mut Vec<Own>,
    part: &'a mut Part,
) -> impl Iterator<Item = (&'a mut Own, &'a mut SubjectFile)> {
    differ.resize(part.subjects.len().max(differ.len()), Own::default());
    differ.iter_mut().zip(&mut part.subjects)
}

/// What keeps two reports from being parts of the same certification.
fn difference(one: &Report, other: &Report) -> Option<&'static str> {
    let (Some(first), Some(second)) = (&one.part, &other.part) else { return Some("other contents") };
    let same = [
        (one.seed == other.seed, "another seed"),
        (first.shard.of == second.shard.of, "another number of parts"),
        (first.subjects == second.subjects, "other implementations"),
        (first.asked.only == second.asked.only, "other rules"),
        (first.cases == second.cases, "another number of cases"),
        (first.asked.strict == second.asked.strict, "another strictness"),
        (first.asked == second.asked, "other options"),
        (first.known == second.known, "other known findings"),
    ];
    same.into_iter().find(|(same, _)| !same).map(|(_, what)| what)
}

impl From<&Tested> for SubjectFile {
    fn from(tested: &Tested) -> SubjectFile {
        let Tested { name, sha256, manifest, waive, never, reachable, inert, changed, isolation, learned } =
            tested.clone();
        // As it is read again; what `to_json` writes is JSON.
        let manifest = serde_json::from_str(&manifest.to_json()).unwrap_or_default();
        SubjectFile { name, sha256, manifest, waive, never, reachable, inert, changed, isolation, learned }
    }
}

impl SubjectFile {
    /// What another machine could not keep apart was not kept apart.
    fn shares_what(&self, other: &SubjectFile) {
        if let (Some(here), Some(there)) = (&self.isolation, other.isolation.as_ref().and_then(Known::so_far))
        {
            here.note(&there);
        }
    }

    fn read(self, Own { inert, changed, learned }: Own) -> Result<Tested, String> {
        let SubjectFile { name, sha256, manifest, waive, never, reachable, isolation, .. } = self;
        let manifest = Manifest::from_json(manifest.to_string().as_bytes());
        let manifest = manifest.map_err(|why| format!("the description of `{name}`: {why}"))?;
        Ok(Tested { name, sha256, manifest, waive, never, reachable, inert, changed, isolation, learned })
    }
}

impl From<&Unit> for UnitFile {
    fn from(unit: &Unit) -> UnitFile {
        UnitFile {
            outcome: match unit.outcome.clone() {
                Outcome::Held => OutcomeFile::Held,
                Outcome::Broken(Finding { summary, expected, observed, cause, words }) => {
                    OutcomeFile::Broken { summary, expected, observed, cause, words: words.marked() }
                }
                Outcome::NotApplicable(why) => OutcomeFile::NotApplicable(why.into_owned()),
                Outcome::Unsettled(why) => OutcomeFile::Unsettled(why),
            },
            judged: unit.judged,
            begun: unit.begun,
            short: unit.short,
            skipped: unit.skipped.clone(),
            counted: unit.counted.clone(),
            case: unit.case.as_ref().map(|case| case.to_toml(&Found::default())),
            bucket: unit.bucket.clone(),
            known: unit.known.clone(),
            waived: unit.waived.clone(),
        }
    }
}

/// What a unit of a part is read for.
struct Context<'a> {
    task: &'a Task,
    known: &'a [String],
    subjects: &'a [Tested],
}

impl UnitFile {
    fn read(self, context: &Context<'_>, blamed: bool) -> Result<Unit, String> {
        let Task { rule, pair, cases } = context.task;
        let planned = u32::try_from(cases.len()).unwrap_or(u32::MAX);
        if let Some(what) = self.contradiction(context, planned) {
            return Err(format!("{} on {pair:?}: {what}", rule.id));
        }
        let case = self.case.map(|text| Case::from_toml(&text)).transpose();
        let case = case.map_err(|why| format!("a case of {}: {why}", rule.id))?.map(|(case, _)| case);
        let outcome = match self.outcome {
            OutcomeFile::Held => Outcome::Held,
            OutcomeFile::Broken { summary, expected, observed, cause, words } => {
                let words = Aside::from_marked(words);
                Outcome::Broken(Finding { summary, expected, observed, cause, words })
            }
            OutcomeFile::NotApplicable(why) => Outcome::NotApplicable(why.into()),
            OutcomeFile::Unsettled(why) => Outcome::Unsettled(why),
        };
        let UnitFile { judged, begun, short, skipped, counted, bucket, known, waived, .. } = self;
        let unit = Unit { judged, begun, planned, short, skipped, counted, ..Unit::new(rule, *pair) };
        Ok(Unit { outcome, case, bucket, known, blamed, waived, ..unit })
    }

    /// What in it can't be true.
    fn contradiction(&self, context: &Context<'_>, planned: u32) -> Option<&'static str> {
        let Task { rule, pair, .. } = context.task;
        let UnitFile { outcome, judged, begun, .. } = self;
        let waive = [pair.0, pair.1].map(|at| context.subjects.get(at).map(|subject| &subject.waive));
        let waived = waive.into_iter().flatten().find_map(|waive| rule.waiver(waive));
        let skipped = self.skipped.values().fold(0u32, |sum, cases| sum.saturating_add(*cases));
        let is_broken = matches!(outcome, OutcomeFile::Broken { .. });
        let guests = [&self.counted.source, &self.counted.destination];
        let checks = [
            (*begun <= planned, "more cases were begun than there are"),
            (judged <= begun, "more cases were judged than begun"),
            (skipped <= begun.saturating_sub(*judged), "more cases were skipped than begun and not judged"),
            (*outcome != OutcomeFile::Held || *judged != 0, "it held, and no case was judged"),
            (
                *outcome != OutcomeFile::Held || *begun == planned || self.short.is_some(),
                "it held, and cases are missing without a reason",
            ),
            (!is_broken || *judged != 0 && self.case.is_some(), "it is broken, and by no case"),
            (
                !matches!(outcome, OutcomeFile::NotApplicable(_)) || *judged == 0,
                "it is not applicable, and cases were judged",
            ),
            (
                self.known.is_none() || is_broken && !context.known.is_empty(),
                "its finding is known, and none of the known findings is it",
            ),
            (
                self.waived.as_deref() == waived.map(|(_, why)| why),
                "its waiver is not that of the implementations",
            ),
            (guests.iter().all(|guests| guests.refused <= guests.steps), "more steps were refused than done"),
        ];
        checks.into_iter().find(|(is_so, _)| !is_so).map(|(_, what)| what)
    }
}
