//! What a certificate says of places that differ without a migration.

use crate::learned::pin::Pin;
use crate::learned::{Entry, How, Nature, Pattern, Report};
use serde::{Deserialize, Serialize};

/// A place that differs without a migration: an element of `learned`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LearnedReport {
    /// IMPL.
    #[serde(rename = "impl")]
    pub subject: String,
    /// Where.
    pub place: String,
    /// Whether it is volatile, or belongs to the instance.
    pub nature: Nature,
    /// The element of `volatile` that pins it in a profile.
    pub pin: String,
    /// Whether a profile pins it.
    pub pinned: bool,
    /// Whether a profile pins it and no guest touched it.
    pub stale: bool,
    /// Values that it hid, in whole or in part.
    pub hid: u64,
    /// Values of the implementation that were compared.
    pub compared: u64,
    /// How far apart the instances were that differed, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apart_ms: Option<u64>,
    /// How the values changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Pattern>,
    /// Whether only its time differs: it is compared over all steps that follow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
}

/// All places of an implementation.
pub(super) fn reports(subject: &str, report: &Report) -> Vec<LearnedReport> {
    let one = |entry: &Entry| {
        let (apart_ms, pattern) = match &entry.how {
            How::Seen { apart, pattern } => (Some(*apart), Some(*pattern)),
            How::Pinned => (None, None),
        };
        LearnedReport {
            subject: subject.to_owned(),
            place: entry.place.to_string(),
            nature: entry.nature,
            pin: Pin::Place(entry.place.clone(), entry.nature).toml(),
            pinned: entry.how == How::Pinned,
            stale: entry.is_stale(),
            hid: entry.hid,
            compared: report.compared,
            apart_ms,
            pattern,
            late: entry.place.is_late(),
        }
    };
    report.entries.iter().map(one).collect()
}
