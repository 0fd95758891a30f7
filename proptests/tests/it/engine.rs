//! Properties over drawn histories, cases and damage; and that the draws reach what matters.

pub(crate) mod bytes;

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;
use migcert::bench::Bench;
use migcert::case::Found;
use migcert::damage::{Among, Damage};
use migcert::devices;
use migcert::finding::Outcome;
use migcert::generate::family::History;
use migcert::generate::script;
use migcert::guests::registers::Registers;
use migcert::oracle::{Drawn, Target};
use migcert::rules;
use migcert_core::compat::REASONS;
use migcert_core::device::{ARCS, Options, Register, State, Step, walk};
use migcert_core::param::{Allowed, Param, Value};
use migcert_core::program::{Description, Manifest, Model};
use proptest::strategy::Strategy;
use proptest::test_runner::{
    Config, FileFailurePersistence, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn the_check_is_right() {
    let seen = holds("check", 10_000, |drawn, saw| {
        let verdict = drawn.verdict();
        saw(if verdict.is_compatible() { "compatible" } else { "incompatible" });
        verdict.0.iter().for_each(|reason| saw(reason.info().id));
    });
    seen.demand(REASONS.iter().map(|row| row.id));
    seen.demand(["compatible", "incompatible", "check-is-sound held", "check-is-complete held"]);
}

#[test]
fn devices_without_faults_migrate() {
    let seen = holds("migrate", 10_000, |drawn, saw| {
        let (at, len) = (drawn.case.at[0], drawn.case.script.len());
        saw(match at {
            0 => "moved at first",
            at if at == len => "moved at last",
            _ => "moved in the middle",
        });
        let device = drawn.case.source.trim_start_matches("builtin:");
        saw(device.split(['@', '=']).next().unwrap_or_default());
    });
    let rules = rules::ALL.iter().filter(|rule| !rule.draws.is_damage());
    seen.demand(rules.map(|rule| format!("{} held", rule.id)));
    seen.demand(["moved at first", "moved at last", "moved in the middle"]);
    seen.demand(devices::ALL.iter().map(|device| device.name));
}

#[test]
fn devices_without_faults_withstand_damage() {
    let seen = holds("damage", 10_000, |drawn, saw| {
        for damage in &drawn.case.damage {
            saw(match damage {
                Damage::Cut(_) => "cut",
                Damage::Extend(_) => "extend",
                Damage::Flip { .. } => "flip",
                Damage::Set { .. } => "set",
                Damage::Splice(_) => "splice",
                Damage::Repeat { .. } => "repeat",
                Damage::Swap { .. } => "swap",
                Damage::Forge { among: Among::All, .. } => "forge all",
                Damage::Forge { among: Among::Used, .. } => "forge used",
                Damage::Forge { among: Among::Section(_), .. } => "forge section",
                Damage::Stretch { .. } => "stretch",
                Damage::Foreign(_) => "foreign",
                Damage::Reseal => "reseal",
            });
        }
    });
    let kinds = [
        "cut",
        "extend",
        "flip",
        "set",
        "splice",
        "repeat",
        "swap",
        "forge all",
        "forge used",
        "forge section",
        "stretch",
        "foreign",
        "reseal",
    ];
    seen.demand(kinds);
    let rules = rules::ALL.iter().filter(|rule| rule.draws.is_damage());
    seen.demand(rules.map(|rule| format!("{} held", rule.id)));
}

#[test]
fn every_arc_is_walked() {
    let target = target("migrate");
    let seen = RefCell::new(BTreeSet::new());
    let all: BTreeSet<_> = ARCS.iter().map(|&(from, to, _)| (from, to)).collect();
    for_each(20_000, |bytes| {
        if let Some(drawn) = target.draw(bytes) {
            seen.borrow_mut().extend(walked(&drawn));
        }
    });
    let missed: Vec<_> = all.difference(&seen.borrow()).copied().collect();
    assert_eq!(missed, []);
}

/// The arcs that devices went along in a case, as its story has it.
fn walked(drawn: &Drawn) -> Vec<(State, State)> {
    let outside = drawn.source.program.outside().expect("nothing outside");
    let started = drawn.source.program.start(&drawn.case.model, &drawn.case.setup, &outside);
    let Ok(device) = started else { return vec![] };
    let options = device.capabilities().options;
    let bench = Bench::new(&drawn.case, &drawn.source, &drawn.destination).telling();
    drawn.rule.judge(&bench);
    let mut arcs = Vec::new();
    let mut at = BTreeMap::new();
    for line in bench.told() {
        if let Some((who, to)) = line.split_once(" is asked to go to ") {
            let from = at.remove(who);
            if let (Some(from), Ok(to)) = (from, to.parse()) {
                let way = walk(from, to, options).expect("the device went there");
                arcs.extend([&[from], &way[..]].concat().windows(2).map(|arc| (arc[0], arc[1])));
                at.insert(who.to_owned(), to);
            }
        } else if let Some((who, _)) = line.split_once(" is started as ") {
            at.insert(who.to_owned(), State::Running);
        } else if let Some(who) = line.strip_suffix(" is reset") {
            at.insert(who.to_owned(), State::Running);
        }
    }
    arcs
}

#[test]
fn histories_reach_what_vendors_do() {
    let model = |manifest: &Manifest| manifest.models.values().next().cloned();
    let releases = |test: fn(&Description) -> bool| {
        move |history: &History| {
            history.0.iter().filter_map(model).any(|m| matches!(m, Model::Params(d) if test(&d)))
        }
    };
    let param = |test: fn(&Param) -> bool| move |history: &History| params(history).any(|p| test(&p));
    let value = |test: fn(&Value) -> bool| {
        move |history: &History| params(history).any(|p| test(&p.init) || p.off.as_ref().is_some_and(test))
    };
    let change = |test: fn(&Param, &Param) -> bool| {
        move |history: &History| {
            steps(history).any(|(before, after)| {
                before.params.iter().any(|(name, p)| after.params.get(name).is_some_and(|q| test(p, q)))
            })
        }
    };
    reaches("all releases", |history| history.0.len() == 4);
    reaches("a parameter is added", |history| {
        steps(history).any(|(b, a)| a.params.keys().any(|name| !b.params.contains_key(name)))
    });
    reaches("a parameter is retired", |history| {
        steps(history).any(|(b, a)| b.params.keys().any(|name| !a.params.contains_key(name)))
    });
    reaches("a set is widened", change(|p, q| p.ty == q.ty && contains_more(&q.allowed, &p.allowed)));
    reaches("a set is narrowed", change(|p, q| p.ty == q.ty && contains_more(&p.allowed, &q.allowed)));
    reaches("an off value is withdrawn", change(|p, q| p.ty == q.ty && p.off.is_some() && q.off.is_none()));
    reaches("a type is changed", change(|p, q| p.ty != q.ty));
    reaches("an init value is changed", change(|p, q| p.ty == q.ty && p.init != q.init));
    reaches("a version is published", releases(|d| 2 <= d.versions.len() && d.latest.is_some()));
    reaches(
        "values are tied",
        releases(|d| d.requires.iter().any(|c| !c.when.is_empty() && !c.then.is_empty())),
    );
    reaches("no off value", param(|p| p.off.is_none()));
    reaches("anything allowed", param(|p| p.allowed.is_any()));
    reaches("several ranges", param(|p| matches!(&p.allowed, Allowed::Ints(set) if 2 < set.ranges().len())));
    reaches("a negative number", value(|v| matches!(v, Value::Int(n) if *n < 0)));
    reaches("the largest number", value(|v| *v == Value::Int(i64::MAX)));
    reaches("the smallest number", value(|v| *v == Value::Int(i64::MIN)));
    reaches("a comma in a text", value(|v| matches!(v, Value::Str(s) if s.contains(','))));
    reaches("a backslash in a text", value(|v| matches!(v, Value::Str(s) if s.contains('\\'))));
    reaches("version strings", |history| {
        history.0.iter().filter_map(model).any(|m| matches!(m, Model::Versions(v) if 2 <= v.strings().len()))
    });
    reaches("another id", |history| {
        history.0.windows(2).any(|pair| pair[0].models.keys().ne(pair[1].models.keys()))
    });
    reaches("another form", |history| {
        let is_params = |m: &Manifest| matches!(model(m), Some(Model::Params(_)));
        history.0.windows(2).any(|pair| is_params(&pair[0]) && !is_params(&pair[1]))
    });
}

#[test]
fn scripts_reach_every_step() {
    let seen = RefCell::new(BTreeSet::new());
    for_each(200, |bytes| {
        let (_, script) = planted(bytes).expect("drawn");
        seen.borrow_mut().extend(script.iter().map(|step| match step {
            Step::Read { .. } => "read",
            Step::Write { value: 0xffff, .. } => "write the largest value",
            Step::Write { value: 0..=8, .. } => "write a small value",
            Step::Write { .. } => "write",
            Step::Receive(bytes) if bytes.len() == 1 => "receive a byte",
            Step::Receive(_) => "receive",
            Step::Pass(_) => "pass",
            Step::Request(_) => "request",
        }));
        if script.is_empty() {
            seen.borrow_mut().insert("nothing");
        }
    });
    let all = [
        "nothing",
        "pass",
        "read",
        "receive",
        "receive a byte",
        "write",
        "write a small value",
        "write the largest value",
    ];
    assert_eq!(*seen.borrow(), BTreeSet::from(all));
}

#[test]
fn devices_of_all_options_are_drawn() {
    let target = target("migrate");
    let seen = RefCell::new(BTreeSet::new());
    for_each(1_000, |bytes| {
        let Some(drawn) = target.draw(bytes) else { return };
        let outside = drawn.source.program.outside().expect("nothing outside");
        let device = drawn.source.program.start(&drawn.case.model, &drawn.case.setup, &outside);
        seen.borrow_mut().insert(device.expect("allowed").capabilities().options);
    });
    assert_eq!(*seen.borrow(), BTreeSet::from(Options::ALL));
}

/// The bug needs one parameter and one step. What is drawn depends on what was drawn before, so
/// there are dead ends, but none of them is far.
#[test]
fn two_elements_shrink_to_two() {
    let bug = |bytes: &[u8]| {
        let (history, script) = planted(bytes).ok()?;
        let wide = params(&history).any(|param| matches!(&param.allowed, Allowed::Ints(s) if s.contains(64)));
        let loud = script
            .iter()
            .any(|step| matches!(step, Step::Write { value, .. } if (1001..2000).contains(value)));
        (wide && loud).then(|| [history.0.len(), params(&history).count(), script.len()])
    };
    let mut runner = runner(100_000);
    let shrunk = [(); 5].map(|()| {
        let failed = runner.run(&Bytes(1024), |bytes| match bug(&bytes) {
            Some(_) => Err(TestCaseError::fail("planted")),
            None => Ok(()),
        });
        let Err(TestError::Fail(_, bytes)) = failed else { panic!("not found: {failed:?}") };
        bug(&bytes).expect("it fails still")
    });
    assert_eq!(shrunk.iter().min(), Some(&[1, 1, 1]), "{shrunk:?}");
    assert!(shrunk.iter().flatten().all(|size| *size <= 2), "{shrunk:?}");
}

/// A history, and a script for a device that is always the same.
fn planted(bytes: &[u8]) -> Result<(History, Vec<Step>)> {
    let register = |offset| Register {
        name: "WORD".into(),
        region: 0,
        offset,
        size: 4,
        count: 1,
        stride: 4,
        writable: true,
        max: 0xffff,
    };
    let mut u = Unstructured::new(bytes);
    let history = History::arbitrary(&mut u)?;
    let script = script::script(&mut u, &mut Registers::new([0, 4, 8].map(register).into()))?;
    Ok((history, script))
}

/// Every parameter in every release.
fn params(history: &History) -> impl Iterator<Item = Param> {
    let models = history.0.iter().flat_map(|manifest| manifest.models.values());
    models.filter_map(description).flat_map(|description| description.params.into_values())
}

/// Neighbouring releases of one model.
fn steps(history: &History) -> impl Iterator<Item = (Description, Description)> {
    history.0.windows(2).filter_map(|pair| {
        let [(one, before), (other, after)] =
            [&pair[0], &pair[1]].map(|m| m.models.iter().next().expect("one"));
        (one == other).then_some((description(before)?, description(after)?))
    })
}

fn description(model: &Model) -> Option<Description> {
    match model {
        Model::Params(description) => Some(description.clone()),
        Model::Versions(_) => None,
    }
}

/// Whether a set of small values has all of another, and more.
fn contains_more(more: &Allowed, less: &Allowed) -> bool {
    let members = |set: &Allowed| -> BTreeSet<Value> {
        let small = (-9..99).map(Value::Int).chain([false, true].map(Value::Bool));
        let texts = if let Allowed::Strs(set) = set { set.clone() } else { BTreeSet::new() };
        small.filter(|value| set.contains(value)).chain(texts.into_iter().map(Value::Str)).collect()
    };
    !more.is_any() && members(less).is_subset(&members(more)) && members(less) != members(more)
}

/// Some of many histories are so.
#[track_caller]
fn reaches(what: &str, is: impl Fn(&History) -> bool) {
    let count = RefCell::new(0);
    for_each(2_000, |bytes| {
        let history = History::arbitrary(&mut Unstructured::new(bytes)).expect("drawn");
        *count.borrow_mut() += u32::from(is(&history));
    });
    assert!(4 < *count.borrow(), "{what}: {} of 2000", count.borrow());
}

/// What a suite saw, and how often.
struct Classes(BTreeMap<String, u32>);

impl Classes {
    /// Success without having seen these is none.
    #[track_caller]
    fn demand<S: Into<String>>(&self, classes: impl IntoIterator<Item = S>) {
        let missed: Vec<String> =
            classes.into_iter().map(Into::into).filter(|class| !self.0.contains_key(class)).collect();
        assert!(missed.is_empty(), "never saw {missed:?}, but {:?}", self.0);
    }
}

/// The oracle of a target holds for drawn bytes; where it doesn't, the smallest case is shown.
#[track_caller]
fn holds(name: &str, cases: u32, classify: impl Fn(&Drawn, &mut dyn FnMut(&str))) -> Classes {
    let target = target(name);
    let seen = RefCell::new(BTreeMap::new());
    // What fails is kept, and tried first the next time; `migcert replay` tells it.
    let file = format!("{}/proptest-regressions/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let kept = FileFailurePersistence::Direct(file.leak());
    let config = Config { failure_persistence: Some(Box::new(kept)), ..config(cases) };
    let mut runner = TestRunner::new_with_rng(config, random());
    let held = runner.run(&Bytes(1024), |bytes| {
        let Some(drawn) = target.draw(&bytes) else { return Ok(()) };
        let outcome = target.judge_case(&drawn);
        if let Outcome::Broken(finding) = &outcome {
            return Err(TestCaseError::fail(finding.to_string()));
        }
        let mut saw = |class: &str| *seen.borrow_mut().entry(class.to_owned()).or_insert(0) += 1;
        saw(&format!("{} {}", drawn.rule.id, outcome.name()));
        classify(&drawn, &mut saw);
        Ok(())
    });
    if let Err(TestError::Fail(why, bytes)) = &held {
        let case = target.draw(bytes).map(|drawn| drawn.case.to_toml(&Found::default()));
        panic!("{why}\n{}", case.unwrap_or_default());
    }
    held.expect("nothing is rejected");
    Classes(seen.into_inner())
}

fn target(name: &str) -> &'static Target {
    Target::named(name).expect("a target")
}

fn for_each(cases: u32, act: impl Fn(&[u8])) {
    let mut runner = runner(cases);
    for _ in 0..cases {
        let bytes = Bytes(1024).new_tree(&mut runner).expect("bytes");
        act(&proptest::strategy::ValueTree::current(&bytes));
    }
}

/// The same bytes every time: what is new is found by fuzzing.
fn runner(cases: u32) -> TestRunner {
    TestRunner::new_with_rng(config(cases), random())
}

fn config(cases: u32) -> Config {
    Config { cases, max_shrink_iters: 1 << 18, failure_persistence: None, ..Config::default() }
}

fn random() -> TestRng {
    TestRng::deterministic_rng(RngAlgorithm::ChaCha)
}
