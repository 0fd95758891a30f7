//! Self-test: the rules must catch devices that are known to be bad. Rules that can't find a planted fault,
//! or that pass a device which does nothing, are worth nothing on any other device either.

mod influence;

pub use influence::inert;

use crate::certificate::{Facts, NullReport, PlantedReport, SelfTest, Verdict, decide};
use crate::certify::{self, Budget, Job};
use crate::devices;
use crate::finding::Outcome;
use crate::impls;
use crate::known::Known;
use crate::parallel::Threads;
use crate::rule::Rule;
use crate::zoo::Hunt;

/// Faults that every certification looks for first: of different requirements and devices.
const PLANTED: &[&str] = &[
    "ch-logall-2nd",
    "other-setup-accepted",
    "pcihost-cfgaddr",
    "session-resumed",
    "tail-applied",
    "unknown-accepted",
];

/// Number of cases for each rule on the null device.
const CASES: u32 = 4;
/// Maximum number of cases in which a planted fault must be found.
const EXECUTIONS: u32 = 400;
/// The seed of the self-test: always the same, whatever the seed of the certification.
const SEED: u64 = 0;

/// Tries rules on the null device and on planted faults.
///
/// # Errors
/// Why one of them can't be opened.
pub fn self_test(rules: &[&'static Rule]) -> Result<SelfTest, String> {
    let reopen = |name: &str| impls::subject(name).map_err(|why| why.to_string());
    let null = [reopen(&devices::NULL.usage())?];
    let job = Job {
        subjects: &null,
        rules: rules.to_vec(),
        seed: SEED,
        cases: CASES,
        shrinks: 0,
        threads: Threads::exactly(1),
        fit: None,
        budget: Budget::unlimited(),
        known: &Known::default(),
        reuse: false,
        reopen: &reopen,
    };
    let results = certify::certify(&job, &|_| ());
    let facts = Facts {
        results: &results,
        strict: true,
        subjects: &[],
        waivers: &[],
        is_self_tested: true,
        is_part: false,
    };
    let null = NullReport {
        verdict: decide(&facts).verdict,
        broken: results.iter().filter(|result| matches!(result.outcome, Outcome::Broken(_))).count(),
        not_executed: results.iter().filter(|result| result.judged == 0).count(),
    };
    let hunt = Hunt { seed: SEED, cases: CASES, executions: EXECUTIONS };
    let faults = devices::faulty().filter(|faulty| PLANTED.contains(&faulty.fault.id));
    let planted = faults.map(|faulty| {
        let trial = hunt.trial_of(&faulty, rules)?;
        let (rule, cases) = trial.detected.map(|(cases, rule)| (rule.id.to_owned(), cases)).unzip();
        Ok(PlantedReport { name: trial.name, requirement: trial.fault.breaks.to_owned(), rule, cases })
    });
    let planted = planted.collect::<Result<Vec<_>, String>>()?;
    let is_found = |planted: &PlantedReport| planted.rule.is_some();
    let holds =
        null.verdict != Verdict::Pass && planted.len() == PLANTED.len() && planted.iter().all(is_found);
    Ok(SelfTest { holds, null, planted })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::Missing;
    use crate::rules;

    #[test]
    fn the_rules_pass_their_own_test() {
        let test = self_test(rules::ALL).expect("builtins");
        assert!(test.holds, "{test:?}");
    }

    #[test]
    fn rules_that_find_nothing_do_not() {
        for selector in ["R-1.4", "R-7.1", "R-4.3"] {
            let rules = rules::selected(&[selector.to_owned()]).expect("rules");
            let test = self_test(&rules).expect("builtins");
            assert!(!test.holds, "{selector}: {test:?}");
        }
    }

    #[test]
    fn only_a_device_that_does_nothing_is_inert() {
        let missing = |name: &str| {
            let inert = inert(&impls::subject(name).expect("a builtin"), None);
            inert.into_iter().map(|inert| inert.missing).collect::<Vec<_>>()
        };
        assert_eq!(missing("builtin:null"), [Missing::Everywhere]);
        for device in devices::ALL.iter().filter(|device| 1 < device.releases()) {
            assert_eq!(missing(&device.usage()), [], "{}", device.name);
        }
    }
}
