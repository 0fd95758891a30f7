//! Why a rule says nothing.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// Why a rule says nothing of a case, or of a pair of implementations.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotApplicable {
    /// The case breaks a rule that this one builds on.
    Blamed,
    /// The device, the pair or the case lacks what the rule is about: what is missing, in words.
    Lacks(Cow<'static, str>),
    /// It compares two implementations, and there is one.
    NeedsTwo,
    /// No case could be drawn.
    NotDrawn,
    /// No destination shows what a guest wrote.
    NothingRead,
}

impl NotApplicable {
    /// The reasons that are the same for every rule.
    const FIXED: [NotApplicable; 4] =
        [NotApplicable::Blamed, NotApplicable::NeedsTwo, NotApplicable::NotDrawn, NotApplicable::NothingRead];

    fn words(&self) -> &str {
        match self {
            NotApplicable::Blamed => "a rule that it builds on is broken already",
            NotApplicable::Lacks(words) => words,
            NotApplicable::NeedsTwo => "needs two implementations: add one with --to",
            NotApplicable::NotDrawn => "no case was drawn",
            NotApplicable::NothingRead => "nothing that a guest wrote could be read at a destination",
        }
    }
}

impl fmt::Display for NotApplicable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl<T: Into<Cow<'static, str>>> From<T> for NotApplicable {
    /// What is missing.
    fn from(words: T) -> NotApplicable {
        NotApplicable::Lacks(words.into())
    }
}

/// In words, as reports have it.
impl Serialize for NotApplicable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NotApplicable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NotApplicable, D::Error> {
        let words = String::deserialize(deserializer)?;
        let fixed = NotApplicable::FIXED.into_iter().find(|fixed| fixed.words() == words);
        Ok(fixed.unwrap_or_else(|| words.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_give_back_the_reason() {
        let all = NotApplicable::FIXED.into_iter().chain(["the device has no reset".into()]);
        for reason in all {
            let json = serde_json::to_string(&reason).expect("JSON");
            assert_eq!(serde_json::from_str::<NotApplicable>(&json).expect("a reason"), reason);
        }
    }
}
