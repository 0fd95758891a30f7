//! What keeps a green report honest: rules that can't find a planted fault, or that pass a device
//! which does nothing, are worth nothing on any other device either.

mod influence;

pub use influence::{Inert, Missing, inert};

use crate::certify::{self, Budget, Job, Unit, Verdict};
use crate::deadline;
use crate::devices;
use crate::finding::Outcome;
use crate::impls;
use crate::known::Known;
use crate::parallel::Threads;
use crate::report::{Tested, Waiver};
use crate::rule::Rule;
use crate::zoo::Hunt;
use serde_json::{Value as Json, json};

/// Faults that every certification looks for first: of different requirements and devices.
const PLANTED: &[&str] = &[
    "ch-logall-2nd",
    "other-setup-accepted",
    "pcihost-cfgaddr",
    "session-resumed",
    "tail-applied",
    "unknown-accepted",
];

/// Cases for each rule on the null device.
const CASES: u32 = 4;
/// Cases that a planted fault is looked for in.
const EXECUTIONS: u32 = 400;
/// The same every time, whatever the cases of the subject are drawn from.
const SEED: u64 = 0;

/// What came of testing the rules themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfTest {
    null: Verdict,
    /// Rules that the null device breaks.
    broken: usize,
    /// Rules that could not be executed on it.
    not_executed: usize,
    planted: Vec<Planted>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Planted {
    name: String,
    breaks: &'static str,
    /// The rule that found it, and after how many cases.
    found: Option<(&'static str, u32)>,
}

impl SelfTest {
    /// Tries rules on the null device and on planted faults.
    ///
    /// # Errors
    /// What keeps one of them from being opened.
    pub fn of(rules: &[&'static Rule]) -> Result<SelfTest, String> {
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
            reopen: &reopen,
        };
        let units = certify::certify(&job, &|_| ());
        let broken = units.iter().filter(|unit| matches!(unit.outcome, Outcome::Broken(_))).count();
        let not_executed = units.iter().filter(|unit| unit.judged == 0).count();
        let hunt = Hunt { seed: SEED, cases: CASES, executions: EXECUTIONS };
        let faults = devices::faulty().filter(|faulty| PLANTED.contains(&faulty.fault.id));
        let planted = faults.map(|faulty| {
            let trial = hunt.trial_of(&faulty, rules)?;
            let found = trial.detected.map(|(count, rule)| (rule.id, count));
            Ok(Planted { name: trial.name, breaks: trial.fault.breaks, found })
        });
        let planted = planted.collect::<Result<_, String>>()?;
        Ok(SelfTest { null: certify::verdict(&units, true), broken, not_executed, planted })
    }

    /// One that there was no time for.
    pub const fn cut() -> SelfTest {
        SelfTest { null: Verdict::Incomplete, broken: 0, not_executed: 0, planted: Vec::new() }
    }

    /// Whether the null device is not green, and every planted fault is found by a rule of its
    /// requirement.
    pub fn holds(&self) -> bool {
        self.null != Verdict::Pass && self.found() == PLANTED.len()
    }

    fn found(&self) -> usize {
        self.planted.iter().filter(|planted| planted.found.is_some()).count()
    }

    /// As one line of a report.
    pub fn text(&self) -> String {
        if self.planted.is_empty() {
            return format!("not done: {}", deadline::UP);
        }
        let green = if self.null == Verdict::Pass { "GREEN" } else { "not green" };
        format!(
            "null device: {green} ({} rules broken, {} not executed); {} of {} planted faults found",
            self.broken,
            self.not_executed,
            self.found(),
            PLANTED.len(),
        )
    }

    /// As a member of a report.
    pub fn json(&self) -> Json {
        let planted = |Planted { name, breaks, found }: &Planted| {
            json!({ "impl": name, "requirement": breaks, "rule": found.map(|(rule, _)| rule),
                "cases": found.map(|(_, cases)| cases) })
        };
        json!({
            "holds": self.holds(),
            "null": { "verdict": self.null.name(), "broken": self.broken, "not_executed": self.not_executed },
            "planted": self.planted.iter().map(planted).collect::<Vec<_>>(),
        })
    }
}

/// What a certification comes to. It passes only by rules that can find something, on devices that
/// show something, and whose instances are kept apart from each other but for what somebody named; and it
/// is over for good, also with findings, where the rules fail their own test or
/// another program was tried at the end than at the beginning. A waiver that nothing needs is a finding.
pub fn verdict(
    units: &[Unit],
    strict: bool,
    subjects: &[Tested],
    waivers: &[Waiver],
    self_test: &SelfTest,
) -> Verdict {
    let is_stale = waivers.iter().any(|waiver| waiver.is_stale);
    match certify::verdict(units, strict) {
        _ if !self_test.holds() || subjects.iter().any(|subject| subject.changed.is_some()) => {
            Verdict::Incomplete
        }
        Verdict::Pass | Verdict::Incomplete if is_stale => Verdict::Fail,
        Verdict::Pass if subjects.iter().any(|subject| !subject.inert.is_empty()) => Verdict::Incomplete,
        Verdict::Pass if subjects.iter().any(|subject| subject.needed().is_some()) => Verdict::Incomplete,
        Verdict::Pass if subjects.iter().any(|subject| subject.learned.too_much().is_some()) => {
            Verdict::Incomplete
        }
        verdict => verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules;

    #[test]
    fn the_rules_pass_their_own_test() {
        let test = SelfTest::of(rules::ALL).expect("builtins");
        assert!(test.holds(), "{}", test.text());
    }

    #[test]
    fn rules_that_find_nothing_do_not() {
        for selector in ["R-1.4", "R-7.1", "R-4.3"] {
            let rules = rules::selected(&[selector.to_owned()]).expect("rules");
            let test = SelfTest::of(&rules).expect("builtins");
            assert!(!test.holds(), "{selector}: {}", test.text());
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
