//! The rules: what a device must keep, each a row and the function under it.
//!
//! Rules see programs and devices through the traits of the core alone; which device it is, and
//! over which wire, they can't know.

use crate::bench::Bench;
use crate::case::Case;

mod class;
mod outcome;
mod s1_files;
mod s3_params;
mod s4_versions;
mod s5_check;
mod s6_bytes;
mod s6_damage;
mod s6_host;
mod s6_load;
mod s6_move;
mod s6_traces;
mod s7_states;
mod s8_programs;

pub use class::{Class, Classes};
pub use outcome::{Cause, Failing, Finding, Judgement, Outcome, Stop, What, broken, not_started, refused};

/// A promise and how it is tested. The row is the documentation, the report and the selector.
#[derive(Debug)]
pub struct Rule {
    /// Stable name, for `--only` and scripts.
    pub id: &'static str,
    /// The requirement that it tests.
    pub cites: &'static str,
    /// Whether breaking it fails a certification.
    pub level: Level,
    /// What the device promises, in one sentence.
    pub promise: &'static str,
    /// What to do where it is broken.
    pub advice: &'static str,
    /// What of a case it needs drawn.
    pub draws: Draws,
    /// Which pairs of implementations it looks at.
    pub on: On,
    /// What must have happened at least once in its cases, or nothing is said of it.
    pub sees: &'static [Class],
    /// Where one of these is broken by the same case, this one is not to blame.
    pub builds_on: &'static [&'static Rule],
    /// The test of one case.
    pub check: fn(&Bench<'_>) -> Judgement,
}

/// How a case is judged: [`Rule::judge`] or [`Rule::alone`].
pub type Judge = fn(&Rule, &Bench<'_>) -> Outcome;

impl Rule {
    /// Judges a case on a bench. What breaks a rule that this one builds on says nothing of this.
    pub fn judge(&self, bench: &Bench<'_>) -> Outcome {
        let outcome = self.alone(bench);
        if !matches!(outcome, Outcome::Broken(_)) {
            return outcome;
        }
        let [first, second] = bench.case.at;
        for base in self.builds_on {
            for at in [[first; 2], [second; 2]] {
                let case = Case { at, ..bench.case.clone() };
                let plain = Bench::new(&case, bench.source, bench.destination).hasty();
                if matches!(base.alone(&plain), Outcome::Broken(_)) {
                    return Outcome::NotApplicable(BLAMED.into());
                }
            }
        }
        outcome
    }

    /// Judges a case on a bench, whatever else it breaks. Where something is known to come late,
    /// nothing is broken that is not broken when it is waited for; and where the case itself taught
    /// what is of the instance, it is played again, watched.
    pub fn alone(&self, bench: &Bench<'_>) -> Outcome {
        loop {
            let outcome = bench.conclude((self.check)(bench));
            let is_broken = matches!(outcome, Outcome::Broken(_));
            if bench.begins_to_watch() {
                continue;
            }
            if !is_broken {
                bench.was_impatient();
            } else if bench.begins_to_wait() {
                continue;
            }
            return outcome;
        }
    }

    /// Whether it builds on another rule, or that on another.
    pub fn builds_on(&self, other: &Rule) -> bool {
        self.builds_on.iter().any(|base| base.id == other.id || base.builds_on(other))
    }
}

/// Why a rule says nothing of a case that breaks it.
pub const BLAMED: &str = "a rule that it builds on is broken already";

/// How much a broken rule weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The device may leave a guest broken.
    Must,
    /// Good devices do; counted with `--strict`.
    Should,
}

impl Level {
    /// As reports write it.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Must => "must",
            Level::Should => "should",
        }
    }
}

/// How much of a case is drawn for a rule: each level has all of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Draws {
    /// Nothing: one case says it all.
    Nothing,
    /// A model and a configuration.
    Setup,
    /// Guest steps, the points of migration, the pieces that bytes travel in.
    Script,
    /// Damage that nobody intended, to the state on its way.
    Accident,
    /// Any damage, also what is made to look whole.
    Damage,
    /// States to ask for.
    Walk,
}

impl Draws {
    /// Whether the damage is what the rule is about.
    pub fn is_damage(self) -> bool {
        matches!(self, Draws::Accident | Draws::Damage)
    }
}

/// Which ordered pairs (source, destination) a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum On {
    /// An implementation with itself.
    One,
    /// An implementation with itself and with each other one.
    Any,
    /// Different implementations only.
    Two,
}

/// Every rule, chapter by chapter.
pub static ALL: &[&Rule] = &[
    // Chapter 3: parameters.
    &s3_params::INTERFACE_IS_KEPT,
    &s3_params::CONFIGURATION_KEPT,
    &s3_params::OFF_IS_ABSENCE,
    &s3_params::OFF_MEANS_THE_SAME,
    // Chapter 4: versions.
    &s4_versions::LATEST_STARTS,
    &s4_versions::VERSIONS_START,
    &s4_versions::VERSION_MEANS_THE_SAME,
    &s4_versions::UNSUPPORTED_IS_REFUSED,
    &s4_versions::CULPRIT_IS_NAMED,
    &s4_versions::OLD_LEVEL_IS_KEPT,
    // Chapter 5: the check.
    &s5_check::CHECK_IS_SOUND,
    &s5_check::CHECK_IS_COMPLETE,
    &s5_check::CHECK_DISTURBS_NOTHING,
    // Chapter 6: moving.
    &s6_move::TWIN_AFTER_LOAD,
    &s1_files::STATE_IS_NOT_IN_FILES,
    &s6_move::TWIN_AFTER_SECOND,
    &s6_move::PING_PONG,
    &s6_move::SOURCE_GOES_ON,
    &s6_move::SOURCE_LETS_GO,
    &s6_move::SAVE_IS_REPEATABLE,
    &s6_move::PRECOPY_IS_STOP_COPY,
    &s6_move::CANCELLED_PRECOPY,
    &s6_move::CHUNKING,
    &s6_move::STOP_IS_STILL,
    &s6_bytes::STATE_IS_IN_THE_BYTES,
    &s6_load::CUT_IS_REFUSED,
    &s6_load::EXTENSION_IS_HARMLESS,
    &s6_load::EXTENSION_IS_REFUSED,
    &s6_load::FOREIGN_IS_REFUSED,
    &s6_damage::DAMAGE_IS_CONSISTENT,
    &s6_damage::DAMAGE_IS_NOTICED,
    &s6_traces::REFUSAL_DOES_NOT_RUN,
    &s6_traces::REFUSAL_LEAVES_NOTHING,
    &s6_traces::REFUSAL_CAN_BE_RETRIED,
    &s6_traces::LOAD_REPLACES_ALL,
    &s6_damage::LOAD_IS_BOUNDED,
    &s6_host::TROUBLE_IS_TOLD,
    &s6_host::TROUBLE_IS_SURVIVED,
    &s6_host::TROUBLE_CAN_BE_RETRIED,
    &s6_host::DIRTY_LOG_IS_COMPLETE,
    // Chapter 7: states.
    &s7_states::FRESH_RUNS,
    &s7_states::WALKS_ARRIVE,
    &s7_states::ILLEGAL_ARCS_ARE_HARMLESS,
    &s7_states::SAME_STATE_IS_NO_CHANGE,
    &s7_states::ERROR_IS_NOT_REQUESTED,
    &s7_states::LOAD_IS_JUDGED_AT_STOP,
    &s7_states::SESSIONS_END,
    &s7_states::END_OF_STREAM_STAYS,
    &s7_states::RESET_IS_FRESH,
    &s7_states::RESET_FORGETS_A_LOAD,
    &s7_states::ESTIMATE_IS_SANE,
    // Chapter 8: device programs.
    &s8_programs::DESCRIPTION_IS_STABLE,
    &s8_programs::ALLOWED_STARTS,
    &s8_programs::INIT_IS_THE_DEFAULT,
];

/// The rule that weighs what arrives against what was carried, by its id.
pub const BYTES: &str = s6_bytes::STATE_IS_IN_THE_BYTES.id;

/// The rules that are about an operation, nearest first. Other rules only use it.
pub fn about(operation: &str) -> &'static [&'static Rule] {
    match operation.split([':', '(', ' ']).next() {
        Some("describe") => &[&s8_programs::DESCRIPTION_IS_STABLE],
        Some("dirty_memory") => &[&s6_host::DIRTY_LOG_IS_COMPLETE],
        Some("estimate") => &[&s7_states::ESTIMATE_IS_SANE],
        Some("read_state" | "write_state") => &[&s5_check::CHECK_IS_SOUND],
        Some("reset") => &[&s7_states::RESET_IS_FRESH, &s7_states::FRESH_RUNS],
        Some("set_state") => &[&s7_states::WALKS_ARRIVE, &s5_check::CHECK_IS_SOUND],
        Some("start") => &[&s8_programs::ALLOWED_STARTS, &s4_versions::LATEST_STARTS],
        Some("state") => &[&s7_states::FRESH_RUNS],
        _ => &[],
    }
}

/// What to do about a finding: where an operation failed that other rules are about, their advice.
pub fn advice(rule: &'static Rule, finding: &Finding) -> &'static str {
    let What::Failure { operation, .. } = &finding.cause.what else { return rule.advice };
    let about = about(operation);
    match about.first() {
        Some(first) if about.iter().all(|other| other.id != rule.id) => first.advice,
        _ => rule.advice,
    }
}

/// The rule of this id.
pub fn named(id: &str) -> Option<&'static Rule> {
    ALL.iter().find(|rule| rule.id == id).copied()
}

/// The rules that a selector names: an id, a requirement such as `R-6.5`, or a chapter `R-6`.
pub fn selected(selectors: &[String]) -> Result<Vec<&'static Rule>, String> {
    let names = |rule: &Rule, s: &str| {
        rule.id == s || rule.cites == s || rule.cites.strip_prefix(s).is_some_and(|r| r.starts_with('.'))
    };
    if let Some(stray) = selectors.iter().find(|s| !ALL.iter().any(|rule| names(rule, s))) {
        return Err(format!("`{stray}` selects no rule; `migcert list rules` shows ids and requirements"));
    }
    let wanted = |rule: &&&Rule| selectors.is_empty() || selectors.iter().any(|s| names(rule, s));
    Ok(ALL.iter().filter(wanted).copied().collect())
}
