//! A case: everything needed to reproduce a finding, as one readable file.

use crate::damage::Damage;
use crate::finding::Finding;
use migcert_core::device::{State, Step};
use migcert_core::model::ModelId;
use migcert_core::version::Setup;
use std::collections::BTreeMap;

mod draws;
mod file;

pub use draws::Draws;
pub use file::{BadCase, FORMAT, MAX_FILE, MAX_LIST};

/// One case of one rule. Lists may be empty; a rule ignores what it doesn't need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The rule's id.
    pub rule: String,
    /// The implementation that saves, as IMPL.
    pub source: String,
    /// The implementation that loads, as IMPL.
    pub destination: String,
    /// The model.
    pub model: ModelId,
    /// The full configuration of the source.
    pub setup: Setup,
    /// Another configuration of the same model, for rules that compare two.
    pub other: Option<Setup>,
    /// The steps of the guest.
    pub script: Vec<Step>,
    /// Where in the script the device moves: indices, in order.
    pub at: [usize; 2],
    /// Sizes of the pieces that the state is carried in, in bytes; empty for the default.
    pub pieces: Vec<u32>,
    /// Damage to the state in transit, in order.
    pub damage: Vec<Damage>,
    /// States to ask for.
    pub walk: Vec<State>,
}

/// What a file holds beside the case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What was found when the file was written.
    pub finding: Option<Finding>,
    /// The id of its bucket.
    pub bucket: Option<String>,
    /// SHA-256 of the files behind the implementations, in hexadecimal digits, by IMPL.
    pub sha256: BTreeMap<String, String>,
}

impl Case {
    /// A case without a rule, in which nothing happens.
    pub fn plain(subject: &str, model: &ModelId, setup: Setup) -> Case {
        Case {
            rule: String::new(),
            source: subject.to_owned(),
            destination: subject.to_owned(),
            model: model.clone(),
            setup,
            other: None,
            script: Vec::new(),
            at: [0, 0],
            pieces: Vec::new(),
            damage: Vec::new(),
            walk: Vec::new(),
        }
    }
}
