//! Merges the parts of one certification, run on several machines, into the result of a single run with the
//! same seed.

use crate::certificate::{
    Certificate, Evidence, Inert, Part, Piece, Reused, RuleResult, SelfTest, SubjectInfo, Verdict,
};
use crate::certify::{PIECE, Task, tasks};
use crate::finding::Outcome;
use crate::isolation::Known;
use crate::learned;
use crate::rules::selected;
use std::collections::BTreeMap;

/// Maximum number of implementations of a certification in parts.
const SUBJECTS: usize = 32;

/// Merges the parts of one certification, each with the name of its file. `self_test` is the result of
/// testing the rules of this migcert.
///
/// # Errors
/// The file that doesn't belong to the others, and why.
pub fn merge(reports: Vec<(String, Certificate)>, self_test: SelfTest) -> Result<Evidence, String> {
    let mut parts = BTreeMap::new();
    let mut differ = Vec::new();
    let mut first: Option<(String, u64, Part)> = None;
    for (file, report) in reports {
        let bad = |why: &str| Err(format!("{file}: {why}"));
        if report.migcert != env!("CARGO_PKG_VERSION") {
            return bad(&format!(
                "made by migcert {}, and this is {}",
                report.migcert,
                env!("CARGO_PKG_VERSION")
            ));
        }
        if report.self_test != self_test {
            return bad("its self-test differs from that of this migcert");
        }
        let Certificate { seed, verdict, partial, selected, part, .. } = report;
        let Some(mut part) = part else {
            return bad("not a part of a certification: use `migcert certify --shard` to make parts");
        };
        if verdict == Verdict::Pass {
            return bad("a part can't pass, but it claims to");
        }
        if (partial, selected) != (part.asked.is_partial(), part.asked.selected().0) {
            return bad("its numbers of selected rules contradict each other");
        }
        let pieces = std::mem::take(&mut part.pieces);
        differ.resize(part.subjects.len().max(differ.len()), Own::default());
        differ.iter_mut().zip(&mut part.subjects).for_each(|(all, subject)| all.add(subject));
        let (index, of) = (part.shard.index(), part.shard.of());
        if let Some((other, same_seed, shared)) = &first {
            if let Some(what) = difference((*same_seed, shared), (seed, &part)) {
                return bad(&format!("it has {what} than {other}"));
            }
            shared.subjects.iter().zip(&part.subjects).for_each(|(first, other)| share(first, other));
        }
        if parts.insert(index, (file.clone(), pieces)).is_some() {
            return bad(&format!("part {index}/{of} is given twice"));
        }
        first.get_or_insert((file, seed, part));
    }
    let Some((file, seed, part)) = first else {
        return Err("no parts given".to_owned());
    };
    let of = part.shard.of();
    if let Some(missing) = (1..=of).find(|index| !parts.contains_key(index)) {
        return Err(format!("part {missing}/{of} is missing"));
    }
    let bad = |why: String| format!("{file}: {why}");
    let rules = selected(&part.asked.only).map_err(bad)?;
    if SUBJECTS < part.subjects.len() {
        return Err(bad(format!("more than {SUBJECTS} implementations")));
    }
    let Part { asked, cases, known, subjects, .. } = part;
    let subjects: Vec<_> = subjects.into_iter().zip(differ).map(|(subject, own)| own.put(subject)).collect();
    let (files, mut shares): (Vec<_>, Vec<_>) =
        parts.into_values().map(|(file, pieces)| (file, pieces.into_iter())).unzip();
    let mut pieces = Vec::new();
    for (at, task) in tasks(&rules, subjects.len(), cases, PIECE).enumerate() {
        let index = at % shares.len();
        let short = || format!("part {}/{of} has fewer results than work", index + 1);
        let piece = shares[index].next().ok_or_else(short)?;
        if let Some(what) = contradiction(&piece, &task, &known, &subjects) {
            let (saves, loads) = (&subjects[task.pair.0].name, &subjects[task.pair.1].name);
            return Err(format!("{}: {}, {saves} -> {loads}: {what}", files[index], task.rule.id));
        }
        pieces.push(piece);
    }
    if let Some(long) = shares.iter().position(|share| share.len() != 0) {
        return Err(format!("part {}/{of} has more results than work", long + 1));
    }
    Ok(Evidence { seed, asked, subjects, pieces, self_test, cost: None, part: None })
}

/// What may differ between parts of one subject; all of it holds for the whole.
#[derive(Clone, Debug, Default)]
struct Own {
    inert: Vec<Inert>,
    changed: Option<String>,
    learned: learned::Report,
    reused: Option<Reused>,
}

impl Own {
    /// Takes it from the subject of a part.
    fn add(&mut self, subject: &mut SubjectInfo) {
        for inert in std::mem::take(&mut subject.inert) {
            if !self.inert.iter().any(|known| known.model == inert.model) {
                self.inert.push(inert);
            }
        }
        let changed = subject.changed.take();
        self.changed = self.changed.take().or(changed);
        self.learned.add(&std::mem::take(&mut subject.learned));
        if let Some(reused) = subject.reused.take() {
            self.reused.get_or_insert_default().add(reused);
        }
    }

    /// The subject with what all parts had.
    fn put(self, subject: SubjectInfo) -> SubjectInfo {
        let Own { inert, changed, learned, reused } = self;
        SubjectInfo { inert, changed, learned, reused, ..subject }
    }
}

/// Combines isolation: only what all machines kept apart was kept apart.
fn share(here: &SubjectInfo, there: &SubjectInfo) {
    if let (Some(here), Some(there)) = (&here.isolation, there.isolation.as_ref().and_then(Known::so_far)) {
        here.note(&there);
    }
}

/// Why two reports, each with its seed, are not parts of the same certification.
fn difference((seed, first): (u64, &Part), (other, second): (u64, &Part)) -> Option<&'static str> {
    let same = [
        (seed == other, "another seed"),
        (first.shard.of() == second.shard.of(), "another number of parts"),
        (first.subjects == second.subjects, "other implementations"),
        (first.asked.only == second.asked.only, "other rules"),
        (first.cases == second.cases, "another number of cases"),
        (first.asked.strict == second.asked.strict, "another strictness"),
        (first.asked == second.asked, "other options"),
        (first.known == second.known, "other known findings"),
    ];
    same.into_iter().find(|(same, _)| !same).map(|(_, what)| what)
}

/// Why a piece can't be the result of this task.
fn contradiction(
    Piece { judged, alone }: &Piece,
    task: &Task,
    known: &[String],
    subjects: &[SubjectInfo],
) -> Option<&'static str> {
    if judged.blamed != alone.is_some() {
        return Some("it blames base rules, but has no result that ignores them, or the reverse");
    }
    let mut results = std::iter::once(judged).chain(alone);
    results.find_map(|result| impossible(result, task, known, subjects))
}

fn impossible(
    result: &RuleResult,
    Task { rule, pair, cases }: &Task,
    known: &[String],
    subjects: &[SubjectInfo],
) -> Option<&'static str> {
    let &RuleResult { judged, begun, planned, .. } = result;
    let waive = [pair.0, pair.1].map(|at| subjects.get(at).map(|subject| &subject.waive));
    let waived = waive.into_iter().flatten().find_map(|waive| rule.waiver(waive));
    let skipped = result.skipped.values().fold(0u32, |sum, cases| sum.saturating_add(*cases));
    let is_broken = matches!(result.outcome, Outcome::Broken(_));
    let is_held = result.outcome == Outcome::Held;
    let guests = [&result.counted.source, &result.counted.destination];
    let checks = [
        (result.rule.id == rule.id && result.pair == *pair, "it belongs to other work"),
        (usize::try_from(planned) == Ok(cases.len()), "other cases were planned"),
        (begun <= planned, "more cases were begun than planned"),
        (judged <= begun, "more cases were judged than begun"),
        (skipped <= begun.saturating_sub(judged), "more cases were skipped than begun and not judged"),
        (!is_held || judged != 0, "it held, but no case was judged"),
        (
            !is_held || begun == planned || result.short.is_some(),
            "it held, but cases are missing without a reason",
        ),
        (!is_broken || judged != 0 && result.case.is_some(), "it is broken, but has no case"),
        (
            !matches!(result.outcome, Outcome::NotApplicable(_)) || judged == 0,
            "it is not applicable, but cases were judged",
        ),
        (
            result.known.is_none() || is_broken && !known.is_empty(),
            "its finding is known, but not among the known findings",
        ),
        (
            result.waived.as_deref() == waived.map(|(_, why)| why),
            "its waiver is not one of the implementations",
        ),
        (guests.iter().all(|guests| guests.refused <= guests.steps), "more steps were refused than executed"),
    ];
    checks.into_iter().find(|(is_so, _)| !is_so).map(|(_, what)| what)
}
