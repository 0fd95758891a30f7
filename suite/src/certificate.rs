//! The certificate: the typed result of trying rules on implementations. `certify`, `merge`, shards and
//! [`own`](crate::own) conclude it; every report is a writer of it.

mod asked;
mod blame;
mod causes;
mod cost;
mod enough;
mod exclusion;
mod learned;
mod pair;
mod part;
mod result;
mod rule;
mod self_test;
mod subject;
#[cfg(test)]
mod tests;
mod verdict;
mod waiver;

pub use asked::Asked;
pub use blame::{Piece, blame, not_taken};
pub use causes::{CauseReport, Consequence, Group, causes};
pub use cost::Cost;
pub use enough::{Caveat, Caveats, FLOOR, HANDFUL, SHARE, enough, lacks};
pub use exclusion::Exclusion;
pub use learned::LearnedReport;
pub use pair::{ModelReport, PairReport, ReasonReport, configuration, values};
pub use part::{Part, PartOf, Shard};
pub use result::{RuleResult, Short, with_idle};
pub use rule::{CaseFile, FindingReport, FlakyFile, FlakyReport, OutcomeName, RuleReport};
pub use self_test::{NullReport, PlantedReport, SelfTest};
pub use subject::{
    Inert, InfluenceReport, IsolationReport, Missing, Reused, SharedReport, SubjectInfo, SubjectReport,
};
pub use verdict::{Facts, Ruling, Verdict, decide};
pub use waiver::{Waiver, waivers};

use crate::document::{self, BadDocument};
use crate::rules;
use causes::Causes;
use serde::{Deserialize, Serialize};

/// The schema of a certificate, without its major number.
const SCHEMA: &str = "migcert/certify/";
/// The major number of the schema that this version reads and writes. It rises if a member changes its
/// meaning, not if one is added.
const MAJOR: u32 = 1;

/// Everything that a certificate is concluded from.
pub struct Evidence {
    /// The seed of case generation.
    pub seed: u64,
    /// What was asked for.
    pub asked: Asked,
    /// The implementations, as they were after the run.
    pub subjects: Vec<SubjectInfo>,
    /// The results, in the order of the work; several pieces of one rule and pair are joined.
    pub pieces: Vec<Piece>,
    /// The result of testing the rules themselves.
    pub self_test: SelfTest,
    /// What a case costs, where that was measured.
    pub cost: Option<Cost>,
    /// The part of a certification that this is the evidence of, if it is not the whole.
    pub part: Option<PartOf>,
}

/// The result of a certification: `migcert/certify/1`. Members of the JSON object are the fields.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Certificate {
    /// `migcert/certify/1`.
    #[cfg_attr(test, schemars(extend("const" = format!("{SCHEMA}{MAJOR}"))))]
    pub schema: String,
    /// The version of migcert.
    pub migcert: String,
    /// Whether the promises were kept.
    pub verdict: Verdict,
    /// The row of the verdict table that decided.
    #[serde(with = "verdict::by_id")]
    #[cfg_attr(test, schemars(with = "String", extend("enum" = verdict::ids())))]
    pub decided_by: &'static Ruling,
    /// That row in words.
    pub why: String,
    /// Whether rules were left out.
    pub partial: bool,
    /// Rules that were selected.
    pub selected: usize,
    /// Rules that this version has.
    pub rules_total: usize,
    /// Whether rules of the level should count.
    pub strict: bool,
    /// The seed of case generation.
    pub seed: u64,
    /// Cases that were judged.
    pub executed: u64,
    /// Cases that were begun.
    pub total: u64,
    /// The result of testing the rules themselves.
    pub self_test: SelfTest,
    /// The implementations.
    pub subjects: Vec<SubjectReport>,
    /// The rules that were tried.
    pub rules: Vec<RuleReport>,
    /// Each ordered pair of implementations.
    pub pairs: Vec<PairReport>,
    /// What was left out, and what that hid.
    pub excluded: Vec<Exclusion>,
    /// The waivers of all profiles.
    pub waivers: Vec<Waiver>,
    /// Findings by their cause.
    pub causes: Vec<CauseReport>,
    /// Places that differ without a migration.
    pub learned: Vec<LearnedReport>,
    /// What a case costs, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// Set if this is a part of a certification, with its evidence for the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<serde_json::Map<String, serde_json::Value>>"))]
    pub part: Option<Part>,
}

impl Certificate {
    /// Maximum size of a report that is read, in bytes.
    pub const MAX_FILE: u64 = 64 << 20;

    /// Concludes a certification. Blame is settled, too little evidence is named, and the verdict table
    /// decides; the results of a part stay as they are until all parts are there.
    ///
    /// `keep` is called in order for each finding that is not a consequence, and for each flaky one. It
    /// returns the file that has the case, if there is one.
    pub fn conclude(
        evidence: Evidence,
        keep: &mut dyn FnMut(&RuleResult, &[SubjectInfo]) -> Option<CaseFile>,
    ) -> Certificate {
        let Evidence { seed, asked, subjects, pieces, self_test, cost, part } = evidence;
        let caveats = Caveats::of(subjects.iter().map(SubjectInfo::caveat));
        let part = part.map(|PartOf { shard, cases, known }| Part {
            shard,
            asked: asked.clone(),
            cases,
            known,
            subjects: subjects.clone(),
            pieces: pieces.clone(),
        });
        let pieces = part::joined(pieces);
        let results = match part {
            Some(_) => enough::doubted(pieces.into_iter().map(|piece| piece.judged).collect(), &caveats),
            None => {
                let selected = rules::selected(&asked.only).unwrap_or_default();
                enough(with_idle(&selected, blame(pieces, &caveats)), &caveats)
            }
        };
        let waivers = if part.is_some() { Vec::new() } else { waivers(&subjects, &results) };
        let facts = Facts {
            results: &results,
            strict: asked.strict,
            subjects: &subjects,
            waivers: &waivers,
            is_self_tested: self_test.holds,
            is_part: part.is_some(),
        };
        let ruling = decide(&facts);
        let causes = Causes::of(&results);
        let rules = rule::reports(&results, &subjects, &causes, keep);
        let sum = |count: fn(&RuleResult) -> u32| results.iter().map(|result| u64::from(count(result))).sum();
        let (selected, rules_total) = asked.selected();
        Certificate {
            schema: format!("{SCHEMA}{MAJOR}"),
            migcert: env!("CARGO_PKG_VERSION").to_owned(),
            verdict: ruling.verdict,
            decided_by: ruling,
            why: ruling.why.to_owned(),
            partial: asked.is_partial(),
            selected,
            rules_total,
            strict: asked.strict,
            seed,
            executed: sum(|result| result.judged),
            total: sum(|result| result.begun),
            subjects: subjects.iter().enumerate().map(|(at, info)| info.report(at, &results)).collect(),
            pairs: pair::reports(&results, &subjects),
            excluded: exclusion::all(&asked, cost, &subjects, &results, &waivers),
            causes: causes.reports(),
            learned: subjects.iter().flat_map(|info| learned::reports(&info.name, &info.learned)).collect(),
            self_test,
            rules,
            waivers,
            cost,
            part,
        }
    }

    /// Reads a certificate.
    ///
    /// # Errors
    /// [`BadCertificate`], if it is not one, or has a newer major number of the schema.
    pub fn from_json(bytes: &[u8]) -> Result<Certificate, BadCertificate> {
        #[derive(Deserialize)]
        struct Stamp {
            schema: String,
            #[serde(default)]
            migcert: String,
        }
        let Stamp { schema, migcert } = document::json(bytes)?;
        let number = schema.strip_prefix(SCHEMA).and_then(|text| {
            let number: u32 = text.parse().ok()?;
            (number.to_string() == text).then_some(number)
        });
        match number {
            Some(MAJOR) => document::json(bytes).map_err(|why| match migcert == env!("CARGO_PKG_VERSION") {
                true => BadCertificate::Document(why),
                false => BadCertificate::Foreign { migcert, why },
            }),
            Some(newer) if MAJOR < newer => Err(BadCertificate::Newer { newer }),
            _ => Err(BadCertificate::Other(schema)),
        }
    }
}

/// Bytes that are not a certificate of this version.
#[derive(Debug, thiserror::Error)]
pub enum BadCertificate {
    /// Not JSON, or not of the shape.
    #[error(transparent)]
    Document(#[from] BadDocument),
    /// Not of the shape, and made by another version.
    #[error("made by migcert {}, and this is {}: {why}", migcert_core::text::Short(.migcert), env!("CARGO_PKG_VERSION"))]
    Foreign {
        /// That version.
        migcert: String,
        /// What can't be read.
        why: BadDocument,
    },
    /// A newer schema, in which members may mean something else.
    #[error("it is {SCHEMA}{newer}, and this migcert reads {SCHEMA}{MAJOR}: use the migcert that wrote it")]
    Newer {
        /// Its major number.
        newer: u32,
    },
    /// Another document.
    #[error("its schema is `{}`, not {SCHEMA}{MAJOR}", migcert_core::text::Short(.0))]
    Other(String),
}
