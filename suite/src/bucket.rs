//! Buckets: findings that are probably one bug.

use crate::bench::Bench;
use crate::rules::{Finding, Judge, Outcome, Rule};
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
    /// Which instance did something last, and in which state.
    pub phase: String,
    /// What was found, without its numbers.
    pub place: String,
}

impl Bucket {
    /// Of a finding, from the bench that it was found on.
    fn of(bench: &Bench<'_>, finding: &Finding) -> Bucket {
        Bucket {
            rule: bench.case.rule.clone(),
            phase: bench.phase(),
            place: without_numbers(&finding.summary),
        }
    }

    /// The outcome of a case on a bench that tells, and the bucket if it is broken.
    pub fn judged(judge: Judge, rule: &Rule, bench: &Bench<'_>) -> (Outcome, Option<Bucket>) {
        let outcome = judge(rule, bench);
        let bucket = match &outcome {
            Outcome::Broken(finding) => Some(Bucket::of(bench, finding)),
            _ => None,
        };
        (outcome, bucket)
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

/// Numbers, decimal or hexadecimal, become `#`; digits inside of names stay.
fn without_numbers(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric();
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| is_word(c) != is_word(first)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        out.push_str(if first.is_ascii_digit() { "#" } else { word });
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_don_t_part_findings() {
        let place = without_numbers("moved after 12 steps: step 3: the guest reads WORD2 at 0x1f, `größe=7`");
        assert_eq!(place, "moved after # steps: step #: the guest reads WORD2 at #, `größe=#`");
    }
}
