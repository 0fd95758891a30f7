//! Buckets: findings that are probably one bug.

use super::marks::without_numbers;
use super::{Finding, What};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// What findings of one bug share: the rule that is broken, the phase in which it shows, and the place.
///
/// A stack says where a program noticed; several bugs are noticed at one place, and one bug at several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// The rule's id.
    pub rule: String,
    /// Which instance is at fault, and in which state it was.
    pub phase: String,
    /// What failed and how, or what else was found, without numbers, and without words of a program. Where
    /// registers have no names, with where it was found.
    pub place: String,
}

impl Bucket {
    /// The bucket of a finding of a rule.
    pub(crate) fn of(rule: &str, finding: &Finding) -> Bucket {
        let phase = finding.cause.site.map_or_else(String::new, |site| site.to_string());
        Bucket { rule: rule.to_owned(), phase, place: place(finding) }
    }

    /// Eight hexadecimal digits: the same for the same bucket, whatever the version.
    pub fn id(&self) -> String {
        let hash = Sha256::digest([&*self.rule, &*self.phase, &*self.place].join("\n"));
        hex::encode(&hash[..4])
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}; {}; {}", self.id(), self.rule, self.phase, self.place)
    }
}

/// What failed and how, or what else was found.
pub(crate) fn place(finding: &Finding) -> String {
    match &finding.cause.what {
        What::Failure { operation, how } => format!("{operation}: {how}"),
        What::Difference { .. } | What::Other => without_numbers(&finding.summary),
    }
}
