//! An error of a device in parts: what failed and how, without what a program printed.

use crate::finding::{Operation, without_marks};
use migcert_core::envelope::BadState;
use migcert_core::error::{Aside, Error, Failure, Misbehaved, Refusal};

/// An error in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    kind: Kind,
    /// What failed, in the words of the wire, if there is one.
    during: Option<String>,
    how: String,
    words: Aside,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// What it answered breaks the protocol.
    Answered,
    Died,
    Failed,
    /// It arrived somewhere else.
    Led,
    Panicked,
}

impl Trouble {
    pub(super) fn of(error: &Error) -> Trouble {
        let says = |kind, during: Option<&String>, how: String, words: Option<&Aside>| Trouble {
            kind,
            during: during.cloned(),
            how,
            words: words.cloned().unwrap_or_default(),
        };
        let failed = |how: String| says(Kind::Failed, None, how, None);
        let answered_no = |Failure { during, errno, words }: &Failure| {
            let how = errno.map_or_else(|| "it is refused".to_owned(), |errno| errno.to_string());
            says(Kind::Failed, Some(during), how, Some(words))
        };
        match error {
            Error::BadState(BadState::ByProgram(failure)) => answered_no(failure),
            Error::BadState(why) => failed(format!("the state is refused: {why}")),
            Error::Misbehaved(why) => match why {
                Misbehaved::Died { during, how, words } => {
                    says(Kind::Died, Some(during), how.clone(), Some(words))
                }
                Misbehaved::InWrongState { says: is, .. } => says(Kind::Led, None, is.to_string(), None),
                Misbehaved::Panicked(message) => says(Kind::Panicked, None, message.clone(), None),
                Misbehaved::Protocol { during, what } => {
                    says(Kind::Answered, Some(during), what.clone(), None)
                }
                other => failed(other.to_string()),
            },
            Error::Refused(why) => match why {
                Refusal::ByDevice(words) => failed(words.clone()),
                Refusal::ByProgram(failure) => answered_no(failure),
                Refusal::Ended { how, words } => {
                    says(Kind::Failed, None, format!("the program ended with {how}"), Some(words))
                }
                other => failed(other.to_string()),
            },
            other => failed(other.to_string()),
        }
    }

    fn what(&self, operation: Option<&Operation>) -> String {
        let named = || operation.map_or_else(|| "an operation".to_owned(), Operation::to_string);
        self.during.clone().unwrap_or_else(named)
    }

    /// What happened, in one line.
    pub(super) fn headline(&self, operation: Option<&Operation>) -> String {
        let (what, how) = (self.what(operation), &self.how);
        match self.kind {
            Kind::Answered => format!("{what} was answered with {how}"),
            Kind::Died => format!("the program died during {what}: {how}"),
            Kind::Failed => format!("{what} failed: {how}"),
            Kind::Led => format!("{what} led to {how}"),
            Kind::Panicked => format!("the device panicked in {what}: {how}"),
        }
    }

    /// What must be.
    pub(super) fn expected(&self, operation: Option<&Operation>) -> String {
        format!("{} succeeds", self.what(operation))
    }

    /// What is.
    pub(super) fn observed(&self) -> String {
        let how = &self.how;
        match self.kind {
            Kind::Answered => format!("it was answered with {how}"),
            Kind::Died => format!("the program died: {how}"),
            Kind::Failed => format!("it failed: {how}"),
            Kind::Led => format!("the device is in {how}"),
            Kind::Panicked => format!("the device panicked: {how}"),
        }
    }

    /// What failed and how, equal if only numbers, paths and the like differ.
    pub(super) fn cause(&self, operation: Option<&Operation>) -> (String, String) {
        let key = operation.map(Operation::key);
        let what = match (&self.during, operation) {
            (Some(_), Some(Operation::Guest(_))) | (None, _) => key.unwrap_or_default(),
            (Some(during), _) => format!("{}: {}", key.unwrap_or_default(), without_marks(during)),
        };
        let last = if self.kind == Kind::Died { self.words.last() } else { None };
        let words = last.map(|words| format!(": {words}")).unwrap_or_default();
        (what, without_marks(&format!("{}{words}", self.observed())))
    }

    /// The last lines that the program printed.
    pub(super) fn words(&self) -> Aside {
        Aside::of(self.words.lines().iter().cloned())
    }
}
