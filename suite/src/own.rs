//! Your own device under the same rules: anything that implements [`Program`] as a fuzz target, as
//! a property, as a certification, and as the test of a regression. `suite/examples/own-device`
//! shows all of them.

use crate::bench::Bench;
use crate::case::{Case, Found};
use crate::certificate::{Asked, Certificate, Evidence, RuleResult, SubjectInfo, Verdict};
use crate::certify::{self, Budget, Job};
use crate::coverage;
use crate::finding::{Bucket, Outcome};
use crate::known::Known;
use crate::learned::Learned;
use crate::minimize::{Bounds, Names, minimize};
use crate::mutate;
use crate::oracle::{self, Cases, Drawn, Input, Target};
use crate::parallel::Threads;
use crate::report;
use crate::row;
use crate::rule::{Level, On, Rule};
use crate::rules;
use crate::self_test::{self, self_test};
use crate::subject::Subject;
use crate::text::Lines;
use arbitrary::Unstructured;
use migcert_core::error::Error;
use migcert_core::program::Program;
use std::any::TypeId;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// The name of the device in reports and cases.
const NAME: &str = "own";
/// The seed of a certification: the same cases every time.
const SEED: u64 = 1;
/// Maximum number of smaller cases to try for a finding.
const SHRINKS: u32 = 2000;

/// Certifies a device with `cases` cases for each rule; returns the report. At least
/// [`FLOOR`](crate::certificate::FLOOR) are needed to pass.
///
/// # Errors
/// The report, if it is not green, and each case for [`replay`].
pub fn certify(program: impl Program + Clone + 'static, cases: u32) -> Result<String, String> {
    let open = || subject(program.clone()).map_err(|why| why.to_string());
    let subjects = [open()?];
    let job = Job {
        subjects: &subjects,
        rules: rules::ALL.to_vec(),
        seed: SEED,
        cases,
        shrinks: SHRINKS,
        threads: Threads::exactly(1),
        fit: None,
        budget: Budget::unlimited(),
        known: &Known::default(),
        reuse: false,
        reopen: &|_| open(),
    };
    let pieces = certify::run(&job, &|_| ()).pieces;
    let evidence = Evidence {
        seed: SEED,
        asked: Asked::all(cases),
        pieces,
        subjects: vec![SubjectInfo::of(&subjects[0], self_test::inert(&subjects[0], None))],
        self_test: self_test(rules::ALL)?,
        cost: None,
        part: None,
    };
    let mut cases = Vec::new();
    let mut keep = |result: &RuleResult, _: &[SubjectInfo]| {
        cases.extend(result.case.as_ref().map(|case| (result.rule.id, case.to_toml(&Found::default()))));
        None
    };
    let certificate = Certificate::conclude(evidence, &mut keep);
    let mut report = report::text(&certificate);
    if certificate.verdict == Verdict::Pass {
        return Ok(report.to_string());
    }
    for (rule, case) in cases {
        row!(report);
        row!(report, "# {rule} is broken by");
        report.block("", &case);
    }
    Err(report.to_string())
}

/// Judges the case that these bytes decode to. Any bytes are accepted; some decode to none.
///
/// # Errors
/// The broken rule, the trace of the case, and the case.
pub fn property(program: impl Program + 'static, bytes: &[u8]) -> Result<(), String> {
    let subject = Arc::new(subject(program).map_err(|why| why.to_string())?);
    let Ok(Some(drawn)) = draw_for(&mut Unstructured::new(bytes), subject) else { return Ok(()) };
    judged(&drawn, &drawn.case)
}

/// Judges a case that was found before.
///
/// # Errors
/// As [`property`]; also if the case can't be read.
pub fn replay(program: impl Program + 'static, case: &str) -> Result<(), String> {
    let subject = Arc::new(subject(program).map_err(|why| why.to_string())?);
    let (case, _) = Case::from_toml(case).map_err(|why| why.to_string())?;
    let rule = rules::named(&case.rule).ok_or_else(|| format!("no rule `{}`", case.rule))?;
    let drawn = Drawn { rule, source: subject.clone(), destination: subject, case };
    judged(&drawn, &drawn.case)
}

/// Judges an input of a fuzzer: a case that [`mutate()`] made, or bytes that one is drawn from.
///
/// A fuzzer has one device: that of the first call is used.
///
/// # Panics
/// With the error of [`property`], for the minimised case.
pub fn fuzz(program: impl Program + 'static, input: &[u8]) {
    open(program);
    let Some(drawn) = CASES.recall(input).or_else(|| CASES.draw(input).map(Rc::new)) else { return };
    let judge = || judged(&drawn, &drawn.case);
    let mut found = coverage::recorded(judge);
    while found.is_err() {
        let before = drawn.source.learned.generation();
        let subjects = [&*drawn.source, &*drawn.destination];
        let bounds = Bounds { tries: SHRINKS, subjects, names: Names::Kept };
        let small = minimize(drawn.case.clone(), &bounds, &mut |case| is_broken(&drawn, case)).case;
        if let Err(why) = judged(&drawn, &small) {
            panic!("{why}");
        }
        assert!(
            before != drawn.source.learned.generation(),
            "{} is broken, but not each time",
            drawn.rule.id
        );
        // The small case learned what is volatile, which may explain the finding.
        found = judge();
    }
}

/// Changes the case at the beginning of `data`, for `fuzz_mutator!`; returns its length.
pub fn mutate(program: impl Program + 'static, data: &mut [u8], size: usize, max: usize, seed: u32) -> usize {
    open(program);
    mutate::in_place(&CASES, data, size, max, seed)
}

/// Makes one case of two, for `fuzz_crossover!`; returns its length, 0 if they don't combine.
pub fn cross(program: impl Program + 'static, one: &[u8], other: &[u8], out: &mut [u8], seed: u32) -> usize {
    open(program);
    mutate::crossed(&CASES, one, other, out, seed)
}

/// Cases of the device that is open.
static CASES: Target = Target {
    name: NAME,
    what: "the device keeps every rule",
    input: Input::Case(Cases { fits, open: oracle::open, draw, judge: Drawn::judge }),
};

/// Rules that one device can break.
fn fits(rule: &Rule) -> bool {
    rule.level == Level::Must && rule.on != On::Two
}

fn open(program: impl Program + 'static) {
    if oracle::open(NAME).is_none() {
        let subject =
            subject(program).unwrap_or_else(|why| panic!("the device program is not described: {why}"));
        oracle::keep_open(&Arc::new(subject));
    }
}

fn draw(u: &mut Unstructured<'_>) -> arbitrary::Result<Option<Drawn>> {
    oracle::open(NAME).map_or(Ok(None), |subject| draw_for(u, subject))
}

fn draw_for(u: &mut Unstructured<'_>, subject: Arc<Subject>) -> arbitrary::Result<Option<Drawn>> {
    let rule = oracle::rule(u, fits)?;
    oracle::draw(u, rule, subject.clone(), subject)
}

fn subject<P: Program + 'static>(program: P) -> Result<Subject, Error> {
    let manifest = program.describe()?;
    let key = (TypeId::of::<P>(), manifest.to_json());
    let subject = Subject::new(NAME.to_owned(), Box::new(program), manifest).in_process();
    let learned = LEARNED.with_borrow_mut(|known| Arc::clone(known.entry(key).or_default()));
    Ok(Subject { learned, ..subject })
}

thread_local! {
    /// Volatile places of each device, shared by all calls on this thread.
    static LEARNED: RefCell<BTreeMap<(TypeId, String), Arc<Learned>>> = const { RefCell::new(BTreeMap::new()) };
}

fn is_broken(drawn: &Drawn, case: &Case) -> bool {
    let Drawn { rule, source, destination, .. } = drawn;
    matches!(rule.judge(&Bench::new(case, source, destination).hasty()), Outcome::Broken(_))
}

/// Judges a case. The error is the broken rule, the trace of the case, and the case.
fn judged(drawn: &Drawn, case: &Case) -> Result<(), String> {
    let Drawn { rule, source, destination, .. } = drawn;
    coverage::saw_pair(case, &source.manifest, &destination.manifest);
    if !is_broken(drawn, case) {
        return Ok(());
    }
    let before = source.learned.generation();
    let told = Bench::new(case, source, destination).telling();
    let (Outcome::Broken(finding), bucket) = rules::judged(Rule::judge, rule, &told) else {
        let is_explained = before != source.learned.generation();
        let why = || format!("{} is broken, but not each time", rule.id);
        return if is_explained { Ok(()) } else { Err(why()) };
    };
    let Rule { id, cites, promise, .. } = rule;
    let found =
        Found { finding: Some(finding.clone()), bucket: bucket.as_ref().map(Bucket::id), ..Found::default() };
    let mut story = Lines::default();
    story.after(id, format_args!(" ({cites}): {promise}"));
    told.told().iter().for_each(|line| story.after("  ", format_args!("{line}")));
    row!(story, "broken: {finding}");
    row!(story);
    story.block("", &case.to_toml(&found));
    Err(story.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices;
    use crate::implementation;
    use migcert_core::device::{Device, Outside};
    use migcert_core::model::ModelId;
    use migcert_core::program::Manifest;
    use migcert_core::version::Setup;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};
    use std::panic::catch_unwind;

    /// A reference device in the place of a user's own.
    #[derive(Clone)]
    struct Builtin(&'static str);

    impl Builtin {
        fn open(&self) -> Box<dyn Program> {
            {
                let name = implementation::Builtin::of(&format!("builtin:{}", self.0)).expect("a name");
                devices::planted(&name).expect("a builtin").0
            }
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
    #[ignore = "long: three runs with the self-test"]
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

    #[test]
    fn a_fuzzer_finds_what_is_broken_and_makes_it_small() {
        let mut input = vec![0; 1 << 16];
        let mut len = 0;
        let why = (0..5000).find_map(|seed| {
            len = super::mutate(Builtin("nic+macio-regs"), &mut input, len, 1 << 16, seed);
            let fuzzed = catch_unwind(|| fuzz(Builtin("nic+macio-regs"), &input[..len]));
            fuzzed.err().and_then(|why| why.downcast::<String>().ok())
        });
        let why = why.expect("a finding");
        let case = why.split_once("\n\n").expect("a case").1;
        assert!(case.matches("0:0x").count() < 5, "{case}");
        assert!(replay(Builtin("nic+macio-regs"), case).is_err());
        assert_eq!(replay(Builtin("nic"), case), Ok(()));
    }
}
