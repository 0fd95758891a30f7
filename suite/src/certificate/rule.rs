//! What a certificate says of a rule: its outcome on all pairs together, and its findings.

use super::causes::Causes;
use super::{RuleResult, SubjectInfo};
use crate::files::CannotWrite;
use crate::finding::{Bucket, Outcome, words};
use crate::rule::{Level, Rule};
use crate::rules::{self, by_id};
use migcert_core::error::Aside;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A rule, on all pairs together: an element of `rules`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RuleReport {
    /// The rule; its id in JSON.
    #[serde(rename = "id", with = "by_id")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub rule: &'static Rule,
    /// The requirement that it tests.
    pub requirement: String,
    /// Whether breaking it fails a certification.
    pub level: Level,
    /// The outcome that weighs most: broken, unsettled, held, not applicable.
    pub outcome: OutcomeName,
    /// Why it is unsettled or not applicable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Cases that were judged.
    pub cases: u64,
    /// Cases that were begun.
    pub begun: u64,
    /// Cases that were planned.
    pub planned: u64,
    /// Its findings, but for consequences of others.
    pub findings: Vec<FindingReport>,
    /// The ids of causes that its other findings are consequences of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consequence_of: Vec<String>,
    /// The cases of findings that do not reproduce every time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flaky: Vec<FlakyFile>,
    /// What these cases show.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flaky_findings: Vec<FlakyReport>,
}

/// The name of an [`Outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeName {
    /// A case breaks it.
    Broken,
    /// It could not be judged.
    Unsettled,
    /// It held.
    Held,
    /// It does not apply to these implementations.
    NotApplicable,
}

impl OutcomeName {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            OutcomeName::Broken => "broken",
            OutcomeName::Unsettled => "unsettled",
            OutcomeName::Held => "held",
            OutcomeName::NotApplicable => "not-applicable",
        }
    }
}

impl From<&Outcome> for OutcomeName {
    fn from(outcome: &Outcome) -> OutcomeName {
        match outcome {
            Outcome::Broken(_) => OutcomeName::Broken,
            Outcome::Unsettled(_) => OutcomeName::Unsettled,
            Outcome::Held => OutcomeName::Held,
            Outcome::NotApplicable(_) => OutcomeName::NotApplicable,
        }
    }
}

/// A finding, on one pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FindingReport {
    /// In one line.
    pub summary: String,
    /// What must be.
    pub expected: String,
    /// What is.
    pub observed: String,
    /// The IMPL that saves.
    pub source: String,
    /// The IMPL that loads.
    pub destination: String,
    /// What to do about it.
    pub advice: String,
    /// Where its case is.
    #[serde(flatten)]
    pub file: Option<CaseFile>,
    /// The id of its bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// The id of its cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The last lines that the program at fault printed.
    #[serde(default, with = "words", skip_serializing_if = "Aside::is_empty")]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub words: Aside,
    /// Whether it is known already, and does not count.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub known: bool,
    /// Why a profile waives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waived: Option<String>,
}

/// A finding that does not reproduce every time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FlakyReport {
    /// What it shows, and how often.
    pub found: String,
    /// Where it is.
    #[serde(flatten)]
    pub file: Option<CaseFile>,
}

/// Where a case is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum CaseFile {
    /// In a file.
    Written {
        /// The file.
        case: String,
    },
    /// In no file: the report has it in full.
    Unwritten {
        /// The case.
        case_text: String,
        /// Why it has no file.
        case_error: String,
    },
}

impl CaseFile {
    /// The result of writing a case.
    pub fn of(written: Result<PathBuf, CannotWrite>, case: String) -> CaseFile {
        match written {
            Ok(path) => CaseFile::Written { case: path.display().to_string() },
            Err(why) => CaseFile::Unwritten { case_text: case, case_error: why.to_string() },
        }
    }
}

/// Where the case of a flaky finding is: the name of the file alone, or the case itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum FlakyFile {
    /// In the file of this name.
    Written(String),
    /// In no file.
    Unwritten {
        /// The case.
        case_text: String,
        /// Why it has no file.
        case_error: String,
    },
}

impl From<CaseFile> for FlakyFile {
    fn from(file: CaseFile) -> FlakyFile {
        match file {
            CaseFile::Written { case } => FlakyFile::Written(case),
            CaseFile::Unwritten { case_text, case_error } => FlakyFile::Unwritten { case_text, case_error },
        }
    }
}

/// The rules that were tried, in their order.
pub(super) fn reports(
    results: &[RuleResult],
    subjects: &[SubjectInfo],
    causes: &Causes<'_>,
    keep: &mut dyn FnMut(&RuleResult, &[SubjectInfo]) -> Option<CaseFile>,
) -> Vec<RuleReport> {
    let mut first = 0;
    let mut report = |results: &[RuleResult]| {
        let at: Vec<usize> = (first..first + results.len()).collect();
        first += results.len();
        let rule = results[0].rule;
        let sum = |count: fn(&RuleResult) -> u32| results.iter().map(|result| u64::from(count(result))).sum();
        let (mut findings, mut flaky_findings) = (Vec::new(), Vec::new());
        for (at, result) in at.iter().zip(results).filter(|(at, _)| !causes.is_consequence(**at)) {
            match &result.outcome {
                Outcome::Broken(finding) => {
                    let file = keep(result, subjects);
                    let (saves, loads) = (&subjects[result.pair.0], &subjects[result.pair.1]);
                    findings.push(FindingReport {
                        summary: finding.summary.clone(),
                        expected: finding.expected.clone(),
                        observed: finding.observed.clone(),
                        source: saves.name.clone(),
                        destination: loads.name.clone(),
                        advice: rules::advice(rule, finding).to_owned(),
                        file,
                        bucket: result.bucket.as_ref().map(Bucket::id),
                        cause: causes.id(*at),
                        words: finding.words.clone(),
                        known: result.known.is_some(),
                        waived: result.waived.clone(),
                    });
                }
                Outcome::Unsettled(why) if result.is_flaky() => {
                    flaky_findings.push(FlakyReport { found: why.clone(), file: keep(result, subjects) });
                }
                _ => {}
            }
        }
        let outcomes = results.iter().map(|result| &result.outcome);
        let worst = outcomes.min_by_key(|outcome| OutcomeName::from(*outcome)).unwrap_or(&Outcome::Held);
        RuleReport {
            rule,
            requirement: rule.cites.to_owned(),
            level: rule.level,
            outcome: worst.into(),
            why: match worst {
                Outcome::NotApplicable(why) => Some(why.to_string()),
                Outcome::Unsettled(why) => Some(why.clone()),
                Outcome::Broken(_) | Outcome::Held => None,
            },
            cases: sum(|result| result.judged),
            begun: sum(|result| result.begun),
            planned: sum(|result| result.planned),
            findings,
            consequence_of: causes.behind(&at),
            flaky: flaky_findings
                .iter()
                .filter_map(|flaky| flaky.file.clone())
                .map(FlakyFile::from)
                .collect(),
            flaky_findings,
        }
    };
    results.chunk_by(|one, next| one.rule.id == next.rule.id).map(&mut report).collect()
}
