//! Judgements: what a rule found becomes an outcome, with the instance at fault looked up and named.

use super::Bench;
use super::trouble::Trouble;
use crate::finding::{Cause, Failing, Finding, Judgement, Outcome, Stop, What, without_marks};
use crate::guests;
use migcert_core::device::{Device, Machine, Seen, Sight, Step};
use migcert_core::error::Error;
use std::borrow::Cow;

impl Bench<'_> {
    /// What comes of a judgement: the instance at fault is looked up, and named.
    pub fn conclude(&self, judgement: Judgement) -> Outcome {
        match judgement {
            Ok(()) => Outcome::Held,
            Err(Stop::Broken(mut finding)) => {
                let told = self.story.so_far();
                finding.cause.site = finding.cause.site.or(told.asked);
                finding.cause.steps = finding.cause.steps.max(told.steps);
                Outcome::Broken(*finding)
            }
            Err(Stop::Failed(failing)) => Outcome::Broken(self.finding(*failing)),
            Err(Stop::NotApplicable(why)) => Outcome::NotApplicable(why),
            Err(Stop::Unsettled(why)) => Outcome::Unsettled(why),
        }
    }

    /// What a part of a rule finds. The rule as a whole is judged again where that may be only late.
    ///
    /// # Errors
    /// What else stops the rule.
    pub fn found(&self, judgement: Judgement) -> Result<Option<Finding>, Stop> {
        match self.conclude(judgement) {
            Outcome::Held => Ok(None),
            Outcome::Broken(finding) if self.may_wait() => Err(Stop::Broken(Box::new(finding))),
            Outcome::Broken(finding) => Ok(Some(finding)),
            Outcome::NotApplicable(why) => Err(Stop::NotApplicable(why)),
            Outcome::Unsettled(why) => Err(Stop::Unsettled(why)),
        }
    }

    fn finding(&self, Failing { why, clause, expected }: Failing) -> Finding {
        let trouble = Trouble::of(&why);
        let failed = self.story.failure(&trouble);
        let operation = failed.as_ref().map(|failed| &failed.operation);
        let at = failed.as_ref().map_or_else(String::new, |failed| format!("at {}, ", failed.site.who));
        let clause = clause.map_or_else(String::new, |clause| format!(" ({clause})"));
        let (what, how) = trouble.cause(operation);
        Finding {
            summary: format!("{at}{}{clause}", trouble.headline(operation)),
            expected: expected.unwrap_or_else(|| trouble.expected(operation)),
            observed: trouble.observed(),
            cause: Cause {
                what: What::Failure { operation: what, how },
                site: failed.as_ref().map(|failed| failed.site),
                steps: failed.as_ref().map_or(0, |failed| failed.steps),
            },
            words: trouble.words(),
        }
    }

    pub(super) fn words(&self, step: &Step) -> String {
        let interface = self.source.interface(&self.case.model, &self.case.setup);
        interface.map_or_else(|_| step.to_string(), |interface| guests::of(&interface).tell(step))
    }
}

/// What kinds of things must be seen and were, without their values.
pub(super) fn kind_of(expected: &Seen, observed: &Seen) -> String {
    let kinds = |seen: &Seen| {
        let kinds: Vec<String> = seen.0.iter().map(kind).collect();
        if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(", ") }
    };
    format!("{} instead of {}", kinds(observed), kinds(expected))
}

fn kind(sight: &Sight) -> String {
    match sight {
        Sight::Value(_) => "a value".to_owned(),
        Sight::Interrupt(vector) => format!("interrupt {vector}"),
        Sight::Bytes(_) => "bytes".to_owned(),
        Sight::Refused { errno, .. } => errno.to_string(),
        Sight::Memory { .. } => "memory".to_owned(),
        Sight::Volatile => "what is volatile".to_owned(),
        Sight::Words(words) => without_marks(words),
    }
}

/// What comes of an instance that can't be started, where that is not what is judged.
pub fn cannot_start(why: Error) -> Stop {
    match why {
        Error::Unavailable(why) => Stop::Unsettled(why.to_string()),
        why => Stop::NotApplicable(format!("the configuration can't be started: {why}").into()),
    }
}

/// Stops where a device doesn't have what a rule is about.
pub fn needs(has: bool, what: impl Into<Cow<'static, str>>) -> Judgement {
    if has { Ok(()) } else { Err(Stop::NotApplicable(what.into())) }
}

/// Stops where the state machine is not the device's own.
pub fn needs_own_machine(device: &dyn Device) -> Judgement {
    needs(
        device.capabilities().machine == Machine::Device,
        "the state machine is our host's, not the device's",
    )
}

/// Stops where a device can't be reset.
pub fn needs_reset(device: &dyn Device) -> Judgement {
    needs(device.capabilities().can_reset, "the device does not offer a reset")
}
