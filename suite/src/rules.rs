//! The rules: what a device must keep, each a row and the function under it.
//!
//! Rules use programs and devices only through the traits of the core; they can't know which device it
//! is, or over which wire.

use crate::bench::Bench;
use crate::case::Case;
use crate::finding::{Bucket, Finding, Judgement, NotApplicable, Outcome, What};
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

/// Tests one case of a rule.
type Test = fn(&Bench<'_>) -> Judgement;

/// How a case is judged: [`Rule::judge`] or [`Rule::alone`].
pub type Judge = fn(&Rule, &Bench<'_>) -> Outcome;

impl Rule {
    /// Judges a case on a bench. Not applicable if the case also breaks a base rule.
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
                    return Outcome::NotApplicable(NotApplicable::Blamed);
                }
            }
        }
        outcome
    }

    /// Judges a case on a bench, ignoring base rules. A broken case is played again where something may just
    /// come late, and waits for it; and where the case itself taught what belongs to the instance, watched.
    pub fn alone(&self, bench: &Bench<'_>) -> Outcome {
        let row = TESTS.iter().find(|row| std::ptr::eq(row.0, self));
        let (_, test) = row.expect("every rule is a row of TESTS");
        loop {
            let outcome = bench.conclude(test(bench));
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

/// Every rule with its test, chapter by chapter.
static TESTS: &[(&Rule, Test)] = &[
    // Chapter 3: parameters.
    (&s3_params::INTERFACE_IS_KEPT, s3_params::interface_is_kept),
    (&s3_params::CONFIGURATION_KEPT, s3_params::configuration_kept),
    (&s3_params::OFF_IS_ABSENCE, s3_params::off_is_absence),
    (&s3_params::OFF_MEANS_THE_SAME, s3_params::off_means_the_same),
    // Chapter 4: versions.
    (&s4_versions::LATEST_STARTS, s4_versions::latest_starts),
    (&s4_versions::VERSIONS_START, s4_versions::versions_start),
    (&s4_versions::VERSION_MEANS_THE_SAME, s4_versions::version_means_the_same),
    (&s4_versions::UNSUPPORTED_IS_REFUSED, s4_versions::unsupported_is_refused),
    (&s4_versions::CULPRIT_IS_NAMED, s4_versions::culprit_is_named),
    (&s4_versions::OLD_LEVEL_IS_KEPT, s4_versions::old_level_is_kept),
    // Chapter 5: the check.
    (&s5_check::CHECK_IS_SOUND, s5_check::check_is_sound),
    (&s5_check::CHECK_IS_COMPLETE, s5_check::check_is_complete),
    (&s5_check::CHECK_DISTURBS_NOTHING, s5_check::check_disturbs_nothing),
    // Chapter 6: moving.
    (&s6_move::TWIN_AFTER_LOAD, s6_move::twin_after_load),
    (&s1_files::STATE_IS_NOT_IN_FILES, s1_files::state_is_not_in_files),
    (&s6_move::TWIN_AFTER_SECOND, s6_move::twin_after_second),
    (&s6_move::PING_PONG, s6_move::ping_pong),
    (&s6_move::SOURCE_GOES_ON, s6_move::source_goes_on),
    (&s6_move::SOURCE_LETS_GO, s6_move::source_lets_go),
    (&s6_move::SAVE_IS_REPEATABLE, s6_move::save_is_repeatable),
    (&s6_move::PRECOPY_IS_STOP_COPY, s6_move::precopy_is_stop_copy),
    (&s6_move::CANCELLED_PRECOPY, s6_move::cancelled_precopy),
    (&s6_move::CHUNKING, s6_move::chunking),
    (&s6_move::STOP_IS_STILL, s6_move::stop_is_still),
    (&s6_bytes::STATE_IS_IN_THE_BYTES, s6_bytes::state_is_in_the_bytes),
    (&s6_load::CUT_IS_REFUSED, s6_load::cut_is_refused),
    (&s6_load::EXTENSION_IS_HARMLESS, s6_load::extension_is_harmless),
    (&s6_load::EXTENSION_IS_REFUSED, s6_load::extension_is_refused),
    (&s6_load::FOREIGN_IS_REFUSED, s6_load::foreign_is_refused),
    (&s6_damage::DAMAGE_IS_CONSISTENT, s6_damage::damage_is_consistent),
    (&s6_damage::DAMAGE_IS_NOTICED, s6_damage::damage_is_noticed),
    (&s6_traces::REFUSAL_DOES_NOT_RUN, s6_traces::refusal_does_not_run),
    (&s6_traces::REFUSAL_LEAVES_NOTHING, s6_traces::refusal_leaves_nothing),
    (&s6_traces::REFUSAL_CAN_BE_RETRIED, s6_traces::refusal_can_be_retried),
    (&s6_traces::LOAD_REPLACES_ALL, s6_traces::load_replaces_all),
    (&s6_damage::LOAD_IS_BOUNDED, s6_damage::load_is_bounded),
    (&s6_host::TROUBLE_IS_TOLD, s6_host::trouble_is_told),
    (&s6_host::TROUBLE_IS_SURVIVED, s6_host::trouble_is_survived),
    (&s6_host::TROUBLE_CAN_BE_RETRIED, s6_host::trouble_can_be_retried),
    (&s6_host::DIRTY_LOG_IS_COMPLETE, s6_host::dirty_log_is_complete),
    // Chapter 7: states.
    (&s7_states::FRESH_RUNS, s7_states::fresh_runs),
    (&s7_states::WALKS_ARRIVE, s7_states::walks_arrive),
    (&s7_states::ILLEGAL_ARCS_ARE_HARMLESS, s7_states::illegal_arcs_are_harmless),
    (&s7_states::SAME_STATE_IS_NO_CHANGE, s7_states::same_state_is_no_change),
    (&s7_states::ERROR_IS_NOT_REQUESTED, s7_states::error_is_not_requested),
    (&s7_states::LOAD_IS_JUDGED_AT_STOP, s7_states::load_is_judged_at_stop),
    (&s7_states::SESSIONS_END, s7_states::sessions_end),
    (&s7_states::END_OF_STREAM_STAYS, s7_states::end_of_stream_stays),
    (&s7_states::RESET_IS_FRESH, s7_states::reset_is_fresh),
    (&s7_states::RESET_FORGETS_A_LOAD, s7_states::reset_forgets_a_load),
    (&s7_states::ESTIMATE_IS_SANE, s7_states::estimate_is_sane),
    // Chapter 8: device programs.
    (&s8_programs::DESCRIPTION_IS_STABLE, s8_programs::description_is_stable),
    (&s8_programs::ALLOWED_STARTS, s8_programs::allowed_starts),
    (&s8_programs::INIT_IS_THE_DEFAULT, s8_programs::init_is_the_default),
];

/// Every rule, chapter by chapter.
pub static ALL: &[&Rule] = &{
    let mut all = [TESTS[0].0; TESTS.len()];
    let mut at = 0;
    while at < TESTS.len() {
        all[at] = TESTS[at].0;
        at += 1;
    }
    all
};

/// The rule that weighs what arrives against what was carried, by its id.
pub const BYTES: &str = s6_bytes::STATE_IS_IN_THE_BYTES.id;

/// Operations, each with the rules that are about it, nearest first. Other rules only use it.
static ABOUT: &[(&str, &[&Rule])] = &[
    ("describe", &[&s8_programs::DESCRIPTION_IS_STABLE]),
    ("dirty_memory", &[&s6_host::DIRTY_LOG_IS_COMPLETE]),
    ("estimate", &[&s7_states::ESTIMATE_IS_SANE]),
    ("read_state", &[&s5_check::CHECK_IS_SOUND]),
    ("reset", &[&s7_states::RESET_IS_FRESH, &s7_states::FRESH_RUNS]),
    ("set_state", &[&s7_states::WALKS_ARRIVE, &s5_check::CHECK_IS_SOUND]),
    ("start", &[&s8_programs::ALLOWED_STARTS, &s4_versions::LATEST_STARTS]),
    ("state", &[&s7_states::FRESH_RUNS]),
    ("write_state", &[&s5_check::CHECK_IS_SOUND]),
];

/// The rules that are about an operation, nearest first.
pub fn about(operation: &str) -> &'static [&'static Rule] {
    let name = operation.split([':', '(', ' ']).next();
    ABOUT.iter().find(|row| Some(row.0) == name).map_or(&[], |row| row.1)
}

/// The outcome of a case on a bench that records its trace, and the bucket if it is broken.
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

/// A rule in files: its id.
pub(crate) mod by_id {
    use crate::rule::Rule;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(rule: &Rule, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(rule.id)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static Rule, D::Error> {
        let id = String::deserialize(deserializer)?;
        let unknown = || D::Error::custom("unknown rule: this migcert does not have it");
        super::named(&id).ok_or_else(unknown)
    }
}

/// The rules that a selector names: an id, a requirement such as `R-6.5`, or a chapter `R-6`.
pub fn selected(selectors: &[String]) -> Result<Vec<&'static Rule>, String> {
    let names = |rule: &Rule, s: &str| {
        rule.id == s || rule.cites == s || rule.cites.strip_prefix(s).is_some_and(|r| r.starts_with('.'))
    };
    if let Some(stray) = selectors.iter().find(|s| !ALL.iter().any(|rule| names(rule, s))) {
        return Err(format!(
            "`{stray}` does not select any rule; `migcert list rules` lists ids and requirements"
        ));
    }
    let wanted = |rule: &&&Rule| selectors.is_empty() || selectors.iter().any(|s| names(rule, s));
    Ok(ALL.iter().filter(wanted).copied().collect())
}
