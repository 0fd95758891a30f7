//! Trials of planted faults: whether each is reached, triggered and detected, by which rule, after how many
//! cases.

pub mod baselines;

use crate::bench::Bench;
use crate::case::Case;
use crate::certify::{Budget, Job, in_turns};
use crate::devices::fault::{Events, Fault, Faults};
use crate::devices::{self, Faulty};
use crate::finding::Outcome;
use crate::implementation::Builtin;
use crate::impls;
use crate::known::Known;
use crate::minimize::{Bounds, Names, minimize};
use crate::parallel::Threads;
use crate::rule::Rule;
use crate::rules;
use crate::subject::Subject;
use migcert_core::program::Program;
use std::ops::ControlFlow;

/// The result of looking for one fault.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The fault.
    pub fault: &'static Fault,
    /// The IMPL that has it.
    pub name: String,
    /// Number of cases run.
    pub executed: u32,
    /// Number of cases until its code ran.
    pub reached: Option<u32>,
    /// Number of cases until it made a difference.
    pub triggered: Option<u32>,
    /// Number of cases until a rule of its requirement was broken, and that rule.
    pub detected: Option<(u32, &'static Rule)>,
    /// Rules of other requirements that were broken before.
    pub others: Vec<&'static Rule>,
}

/// Which cases are run to find a fault, and how many.
#[derive(Clone, Copy, Debug)]
pub struct Hunt {
    /// The seed of case generation.
    pub seed: u64,
    /// Maximum number of cases drawn for each rule on each pair.
    pub cases: u32,
    /// Maximum number of cases run for a fault.
    pub executions: u32,
}

/// Opens a faulty device and the release beside it, which is without fault.
///
/// # Errors
/// Why one of them can't be opened.
pub fn open(faulty: &Faulty) -> Result<(Vec<Subject>, Faults), String> {
    let (program, faults) = planted(&faulty.name)?;
    let manifest = program.describe().map_err(|why| why.to_string())?;
    let subject = Subject::new(faulty.name.clone(), program, manifest).timeless();
    let beside = impls::subject(&faulty.beside).map_err(|why| why.to_string())?;
    Ok((vec![subject, beside], faults))
}

impl Hunt {
    /// Looks for a fault until a rule of its requirement is broken.
    ///
    /// # Errors
    /// Why the device can't be opened.
    pub fn trial(&self, faulty: &Faulty) -> Result<Trial, String> {
        self.trial_of(faulty, rules::ALL)
    }

    /// The same with these rules only.
    ///
    /// # Errors
    /// As [`Hunt::trial`].
    pub fn trial_of(&self, faulty: &Faulty, rules: &[&'static Rule]) -> Result<Trial, String> {
        let (subjects, faults) = open(faulty)?;
        let Faulty { fault, name, .. } = faulty;
        let mut trial = Trial {
            fault,
            name: name.clone(),
            executed: 0,
            reached: None,
            triggered: None,
            detected: None,
            others: Vec::new(),
        };
        self.run(&subjects, rules, &mut |rule, _, outcome| {
            if self.executions <= trial.executed {
                return ControlFlow::Break(());
            }
            trial.executed += 1;
            let Events { reached, triggered } = faults.take_events(fault);
            trial.reached = trial.reached.or(reached.then_some(trial.executed));
            trial.triggered = trial.triggered.or(triggered.then_some(trial.executed));
            if !matches!(outcome, Outcome::Broken(_)) {
                return ControlFlow::Continue(());
            }
            if rule.cites == fault.breaks {
                trial.detected = Some((trial.executed, rule));
                return ControlFlow::Break(());
            }
            if !trial.others.iter().any(|other| other.id == rule.id) {
                trial.others.push(rule);
            }
            ControlFlow::Continue(())
        });
        Ok(trial)
    }

    /// The smallest case found in which a fault makes a difference.
    ///
    /// # Errors
    /// Why the device can't be opened, or that no case was found.
    pub fn witness(&self, faulty: &Faulty) -> Result<Case, String> {
        let (subjects, faults) = open(faulty)?;
        let mut triggers = |case: &Case| triggers(faulty.fault, case).is_ok_and(|events| events.triggered);
        let mut found = None;
        self.run(&subjects, rules::ALL, &mut |_, case, _| {
            // Drawing a case starts an instance too.
            if faults.take_events(faulty.fault).triggered && triggers(case) {
                found = Some(case.clone());
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        let case = found.ok_or_else(|| format!("no case triggers `{}`", faulty.fault.id))?;
        let bounds = Bounds { tries: SHRINKS, subjects: [&subjects[0], &subjects[1]], names: Names::Kept };
        Ok(minimize(case, &bounds, &mut triggers).case)
    }

    fn run(
        &self,
        subjects: &[Subject],
        rules: &[&'static Rule],
        each: &mut dyn FnMut(&'static Rule, &Case, Outcome) -> ControlFlow<()>,
    ) {
        let job = Job {
            subjects,
            rules: rules.to_vec(),
            seed: self.seed,
            cases: self.cases,
            shrinks: 0,
            threads: Threads::exactly(1),
            fit: None,
            budget: Budget::unlimited(),
            known: &Known::default(),
            reuse: false,
            reopen: &|_| Err("nothing is confirmed here".to_owned()),
        };
        in_turns(&job, each);
    }
}

/// A reference device by its name.
fn planted(name: &str) -> Result<(Box<dyn Program>, Faults), String> {
    devices::planted(&Builtin::of(name).ok_or_else(|| format!("`{name}` is not a reference device"))?)
}

/// Maximum number of smaller cases to try for a witness.
const SHRINKS: u32 = 2000;

/// Whether a case reaches and triggers a fault that is planted in one of its subjects.
///
/// # Errors
/// Why a subject can't be opened.
pub fn triggers(fault: &'static Fault, case: &Case) -> Result<Events, String> {
    let rule = rules::named(&case.rule).ok_or_else(|| format!("there is no rule `{}`", case.rule))?;
    let open = |name: &str| -> Result<(Subject, Faults), String> {
        let (program, faults) = planted(name)?;
        let manifest = program.describe().map_err(|why| why.to_string())?;
        Ok((Subject::new(name.to_owned(), program, manifest).timeless(), faults))
    };
    let ((source, here), (destination, there)) = (open(&case.source)?, open(&case.destination)?);
    rule.judge(&Bench::new(case, &source, &destination));
    let (here, there) = (here.take_events(fault), there.take_events(fault));
    Ok(Events { reached: here.reached || there.reached, triggered: here.triggered || there.triggered })
}
