//! Your own device under the same rules: anything that implements [`Program`] as a fuzz target, as
//! a property and as a certification. `suite/examples/own-device` shows all three.

use crate::bench::{Bench, Subject};
use crate::case::{Case, Found};
use crate::certify::{self, Job, Verdict};
use crate::coverage;
use crate::generate::script::{self, Between};
use crate::honest::{self, SelfTest};
use crate::known::Known;
use crate::report::{Certificate, Tested};
use crate::rules::{self, Level, On, Outcome, Rule};
use arbitrary::{Result as Drawn, Unstructured};
use migcert_core::error::Error;
use migcert_core::program::Program;
use std::collections::BTreeMap;

/// What is said of the device in reports.
const NAME: &str = "own";
/// What cases of a certification are drawn from: the same cases every time.
const SEED: u64 = 1;
/// Smaller cases tried for a finding.
const SHRINKS: u32 = 2000;

/// Certifies a device with so many cases for each rule; gives the report.
///
/// # Errors
/// The report, if it is not green.
pub fn certify(program: impl Program + Clone + 'static, cases: u32) -> Result<String, String> {
    let open = || subject(program.clone()).map_err(|why| why.to_string());
    let subjects = [open()?];
    let job = Job {
        subjects: &subjects,
        rules: rules::ALL.to_vec(),
        seed: SEED,
        cases,
        shrinks: SHRINKS,
        jobs: 1,
        until: None,
        known: &Known::default(),
        reopen: &|_| open(),
    };
    let units = certify::certify(&job, &|_| ());
    let (tested, self_test) = ([Tested::from(&subjects[0])], SelfTest::of(rules::ALL)?);
    let verdict = honest::verdict(&units, false, &tested, &self_test);
    let certificate = Certificate {
        verdict,
        seed: SEED,
        self_test: &self_test,
        subjects: &tested,
        units: &units,
        files: BTreeMap::new(),
        part: None,
    };
    let report = certificate.text(false);
    if verdict == Verdict::Pass { Ok(report) } else { Err(report) }
}

/// Judges the case of a rule that these bytes mean; whatever they are, they mean one or none.
///
/// # Errors
/// What is broken, the story of the case in words, and the case.
pub fn property(program: impl Program + 'static, bytes: &[u8]) -> Result<(), String> {
    let subject = subject(program).map_err(|why| why.to_string())?;
    let Ok(Some((rule, case))) = drawn(&mut Unstructured::new(bytes), &subject) else { return Ok(()) };
    coverage::saw_pair(&case, &subject.manifest, &subject.manifest);
    let bench = Bench::new(&case, &subject, &subject);
    if !matches!(rule.judge(&bench), Outcome::Broken(_)) {
        return Ok(());
    }
    let told = bench.telling();
    let Outcome::Broken(finding) = rule.judge(&told) else {
        return Err(format!("{} is broken, but not each time", rule.id));
    };
    let story = told.told().join("\n  ");
    let file = case.to_toml(&Found::default());
    Err(format!("{} ({}): {}\n  {story}\nbroken: {finding}\n\n{file}", rule.id, rule.cites, rule.promise))
}

/// The same in a fuzzer.
///
/// # Panics
/// With what [`property`] says.
pub fn fuzz(program: impl Program + 'static, bytes: &[u8]) {
    if let Err(why) = coverage::recorded(|| property(program, bytes)) {
        panic!("{why}");
    }
}

fn subject(program: impl Program + 'static) -> Result<Subject, Error> {
    let manifest = program.describe()?;
    Ok(Subject::new(NAME.to_owned(), Box::new(program), manifest))
}

/// A rule that one device can break, and a case for it.
fn drawn(u: &mut Unstructured<'_>, subject: &Subject) -> Drawn<Option<(&'static Rule, Case)>> {
    let fits = |rule: &&&Rule| rule.level == Level::Must && rule.on != On::Two;
    let rules: Vec<&Rule> = rules::ALL.iter().filter(fits).copied().collect();
    let rule = *u.choose(&rules)?;
    let side = (subject.name.as_str(), &subject.manifest);
    let interface = |model: &_, setup: &_| subject.interface(model, setup);
    let case = script::case(u, rule, &Between { source: side, destination: side, interface: &interface })?;
    Ok(case.map(|case| (rule, case)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices;
    use migcert_core::device::{Device, Outside};
    use migcert_core::model::ModelId;
    use migcert_core::program::Manifest;
    use migcert_core::version::Setup;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    /// A reference device, as if it were somebody's own.
    #[derive(Clone)]
    struct Builtin(&'static str);

    impl Builtin {
        fn open(&self) -> Box<dyn Program> {
            devices::parse(self.0).expect("a builtin")
        }
    }

    impl Program for Builtin {
        fn describe(&self) -> Result<Manifest, Error> {
            self.open().describe()
        }
        fn outside(&self) -> Result<Outside, Error> {
            self.open().outside()
        }
        fn start(&self, model: &ModelId, setup: &Setup, outside: &Outside) -> Result<Box<dyn Device>, Error> {
            self.open().start(model, setup, outside)
        }
    }

    #[test]
    fn only_good_devices_are_certified() {
        certify(Builtin("nic"), 20).expect("green");
        for (name, says) in [("nic+macio-regs", "broken  twin-after-load"), ("null", "shows)")] {
            let report = certify(Builtin(name), 60).expect_err("not green");
            assert!(report.contains(says), "{report}");
        }
    }

    #[test]
    fn drawn_bytes_find_what_is_broken() {
        let mut bytes = [0; 512];
        let mut broken = |name, seed| {
            ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
            property(Builtin(name), &bytes).err()
        };
        assert_eq!((0..300).find_map(|seed| broken("nic", seed)), None);
        let why = (0..5000).find_map(|seed| broken("nic+macio-regs", seed)).expect("a finding");
        assert!(why.contains("broken: ") && why.contains("format = 1"), "{why}");
    }
}
