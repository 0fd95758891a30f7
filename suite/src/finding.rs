//! Findings: the outcome of a case (held, broken or neither), and at which moment a rule broke.

use crate::damage::Grown;
use migcert_core::device::State;
use migcert_core::error::{Aside, Error, Refusal};
use serde::{Deserialize, Serialize};
use std::fmt;

mod bucket;
mod class;
mod marks;
mod moment;
mod not_applicable;

pub use bucket::Bucket;
pub(crate) use bucket::place as place_of;
pub use class::{Class, Classes};
pub(crate) use marks::without_marks;
pub(crate) use moment::place;
pub use moment::{Event, Moment, Operation, Past, Who};
pub use not_applicable::NotApplicable;

/// The judgement of one case: `Ok` if it held, or why it stopped.
pub type Judgement = Result<(), Stop>;

/// Why a case stopped before its end.
#[derive(Debug)]
pub enum Stop {
    /// The promise is broken.
    Broken(Box<Finding>),
    /// An operation failed that the promise relies on; the machine is not at fault.
    Failed(Box<Failing>),
    /// The promise does not apply to this case.
    NotApplicable(NotApplicable),
    /// Can't be judged: timed out, or the machine failed.
    Unsettled(String),
}

/// Something that must succeed, and failed.
#[derive(Debug)]
pub struct Failing {
    /// What the device, or its program, said.
    pub why: Error,
    /// In which circumstances it must succeed: `though the check allows it`.
    pub clause: Option<String>,
    /// What must be, where that is more than success.
    pub expected: Option<String>,
}

/// The difference between what must be and what is. Equality ignores `cause` and `words`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// In one line.
    pub summary: String,
    /// What must be.
    pub expected: String,
    /// What is.
    pub observed: String,
    /// What it shares with findings of the same bug.
    #[serde(default)]
    pub cause: Cause,
    /// The last lines that the program at fault printed, for people.
    #[serde(default, with = "words", skip_serializing_if = "Aside::is_empty")]
    pub words: Aside,
}

/// Lines that a program printed, as files and reports have them.
pub(crate) mod words {
    use migcert_core::error::Aside;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(words: &Aside, serializer: S) -> Result<S::Ok, S::Error> {
        words.marked().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Aside, D::Error> {
        Vec::<String>::deserialize(deserializer).map(Aside::from_marked)
    }
}

impl PartialEq for Finding {
    fn eq(&self, other: &Finding) -> bool {
        let Finding { summary, expected, observed, .. } = self;
        (summary, expected, observed) == (&other.summary, &other.expected, &other.observed)
    }
}

impl Eq for Finding {}

/// What findings of one bug share, whatever rule they break. It holds no words of a program, but for the
/// last ones of one that died, without what marks them: numbers, paths, times.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cause {
    /// What went wrong.
    pub what: What,
    /// The instance at fault, when it was asked for what went wrong.
    pub site: Option<Moment>,
    /// How many operations came before.
    pub steps: u32,
}

impl Cause {
    /// Whether it happened to an instance that was just started.
    pub fn is_new(&self) -> bool {
        let is_new = |site: Moment| site.past.is_empty() && site.at.is_none_or(|at| at == State::Running);
        self.site.is_some_and(is_new)
    }

    /// Whether what happened here explains what happened there, if both did at one implementation: the same
    /// went wrong, at an instance that was just started, or in the same state and with no other past. What
    /// only one rule knows of explains nothing.
    pub fn explains(&self, other: &Cause) -> bool {
        if self.what != other.what || self.what == What::Other {
            return false;
        }
        let (Some(here), Some(there)) = (self.site, other.site) else { return self.site == other.site };
        let is_less = match self.what {
            What::Difference { .. } => here.past == there.past,
            _ => here.past.is_within(there.past),
        };
        self.is_new() || here.at == there.at && is_less
    }
}

/// What went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum What {
    /// A guest saw something else than it must.
    Difference {
        /// Where it looked.
        place: String,
        /// What must be seen and what was, without values.
        kind: String,
    },
    /// An operation failed.
    Failure {
        /// Which.
        operation: String,
        /// How.
        how: String,
    },
    /// What only its rule knows of.
    #[default]
    Other,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  expected  {}\n  observed  {}", self.summary, self.expected, self.observed)
    }
}

/// The result of a rule, or of one case of it. Only [`Outcome::Held`] counts as passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It held.
    Held,
    /// It is broken.
    Broken(Finding),
    /// It does not apply.
    NotApplicable(NotApplicable),
    /// It could not be judged.
    Unsettled(String),
}

impl Outcome {
    /// Its name in reports.
    pub const fn name(&self) -> &'static str {
        match self {
            Outcome::Held => "held",
            Outcome::Broken(_) => "broken",
            Outcome::NotApplicable(_) => "not-applicable",
            Outcome::Unsettled(_) => "unsettled",
        }
    }
}

impl From<Error> for Stop {
    /// For what a rule takes for granted: a device that can't be reached settles nothing, and
    /// any other failure of a thing that must work breaks the promise.
    fn from(error: Error) -> Stop {
        match error {
            Error::Unavailable(why) => Stop::Unsettled(why.to_string()),
            why => Stop::Failed(Box::new(Failing { why, clause: None, expected: None })),
        }
    }
}

impl From<Grown> for Stop {
    fn from(why: Grown) -> Stop {
        Stop::Unsettled(why.to_string())
    }
}

/// A finding, for `return Err(broken(..))`.
pub fn broken(summary: impl ToString, expected: impl ToString, observed: impl ToString) -> Stop {
    Stop::Broken(Box::new(Finding {
        summary: summary.to_string(),
        expected: expected.to_string(),
        observed: observed.to_string(),
        ..Finding::default()
    }))
}

/// The finding that what is described can't be started. A device that runs and does not offer to be
/// migrated promises nothing.
pub fn not_started(why: Error, clause: impl ToString) -> Stop {
    match why {
        Error::Refused(why @ Refusal::NotMigratable(_)) => Stop::NotApplicable(why.to_string().into()),
        why => refused(why, clause, "an instance that is RUNNING"),
    }
}

/// The finding that something failed in circumstances in which it must not.
pub fn refused(why: Error, clause: impl ToString, expected: impl ToString) -> Stop {
    match Stop::from(why) {
        Stop::Failed(failing) => {
            let (clause, expected) = (Some(clause.to_string()), Some(expected.to_string()));
            Stop::Failed(Box::new(Failing { clause, expected, ..*failing }))
        }
        other => other,
    }
}
