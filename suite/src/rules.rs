//! The rules: what a device must keep, each a row and the function under it.
//!
//! Rules see programs and devices through the traits of the core alone; which device it is, and
//! over which wire, they can't know.

use crate::bench::Bench;
use crate::case::Case;
use crate::finding::{Bucket, Finding, Judgement, Outcome, What};
use crate::rule::Rule;

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

/// A rule and the test of one case of it.
struct Test {
    rule: Rule,
    check: fn(&Bench<'_>) -> Judgement,
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
        let test = TESTS.iter().find(|row| std::ptr::eq(&row.rule, self));
        let check = test.expect("rules are rows of the table").check;
        loop {
            let outcome = bench.conclude(check(bench));
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
}

/// Why a rule says nothing of a case that breaks it.
pub const BLAMED: &str = "a rule that it builds on is broken already";

/// Every rule with its test, chapter by chapter.
static TESTS: &[&Test] = &[
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

/// Every rule, chapter by chapter.
pub static ALL: &[&Rule] = &{
    let mut all = [&TESTS[0].rule; TESTS.len()];
    let mut at = 0;
    while at < TESTS.len() {
        all[at] = &TESTS[at].rule;
        at += 1;
    }
    all
};

/// The rule that weighs what arrives against what was carried, by its id.
pub const BYTES: &str = s6_bytes::STATE_IS_IN_THE_BYTES.rule.id;

/// Operations, each with the rules that are about it, nearest first. Other rules only use it.
static ABOUT: &[(&str, &[&Rule])] = &[
    ("describe", &[&s8_programs::DESCRIPTION_IS_STABLE.rule]),
    ("dirty_memory", &[&s6_host::DIRTY_LOG_IS_COMPLETE.rule]),
    ("estimate", &[&s7_states::ESTIMATE_IS_SANE.rule]),
    ("read_state", &[&s5_check::CHECK_IS_SOUND.rule]),
    ("reset", &[&s7_states::RESET_IS_FRESH.rule, &s7_states::FRESH_RUNS.rule]),
    ("set_state", &[&s7_states::WALKS_ARRIVE.rule, &s5_check::CHECK_IS_SOUND.rule]),
    ("start", &[&s8_programs::ALLOWED_STARTS.rule, &s4_versions::LATEST_STARTS.rule]),
    ("state", &[&s7_states::FRESH_RUNS.rule]),
    ("write_state", &[&s5_check::CHECK_IS_SOUND.rule]),
];

/// The rules that are about an operation, nearest first.
pub fn about(operation: &str) -> &'static [&'static Rule] {
    let name = operation.split([':', '(', ' ']).next();
    ABOUT.iter().find(|row| Some(row.0) == name).map_or(&[], |row| row.1)
}

/// The outcome of a case on a bench that tells the story, and the bucket if it is broken.
pub fn judged(judge: Judge, rule: &Rule, bench: &Bench<'_>) -> (Outcome, Option<Bucket>) {
    let outcome = judge(rule, bench);
    let bucket = match &outcome {
        Outcome::Broken(finding) => Some(Bucket::of(&bench.case.rule, finding)),
        _ => None,
    };
    (outcome, bucket)
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
