//! Judgements become outcomes; the instance at fault is looked up and named.

use super::Bench;
use super::trouble::Trouble;
use crate::finding::{Cause, Failing, Finding, Judgement, NotApplicable, Outcome, Stop, What, without_marks};
use crate::guests;
use migcert_core::device::{Device, Machine, Seen, Sight, Step};
use migcert_core::error::Error;

impl Bench<'_> {
    /// The outcome of a judgement, with the instance at fault. A rule is unsettled by a case whose guest
    /// interface is unknown.
    pub fn conclude(&self, judgement: Judgement) -> Outcome {
        match (&self.blind, self.outcome(judgement)) {
            (_, blamed @ Outcome::NotApplicable(NotApplicable::Blamed)) => blamed,
            (Some(why), Outcome::Held | Outcome::NotApplicable(_)) => {
                Outcome::Unsettled(format!("no instance could be asked what its guest can do: {why}"))
            }
            (_, outcome) => outcome,
        }
    }

    fn outcome(&self, judgement: Judgement) -> Outcome {
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

    /// The finding of a part of a rule. If it may be only late, the whole rule is judged again.
    ///
    /// # Errors
    /// [`Stop`] for any other reason.
    pub fn found(&self, judgement: Judgement) -> Result<Option<Finding>, Stop> {
        match self.outcome(judgement) {
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

/// The kinds of things observed and expected, without their values.
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

/// Stops a rule that is not about starting where an instance can't be started.
pub fn cannot_start(why: Error) -> Stop {
    match why {
        Error::Unavailable(why) => Stop::Unsettled(why.to_string()),
        why => Stop::NotApplicable(format!("the configuration can't be started: {why}").into()),
    }
}

/// Stops a rule that needs what the device does not have.
pub fn needs(has: bool, what: impl Into<NotApplicable>) -> Judgement {
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
