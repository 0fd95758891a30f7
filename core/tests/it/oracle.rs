//! The check against brute force: every configuration that a destination accepts is
//! enumerated, and one of them realises the source's list or none does. Nothing here calls the
//! engine but the check itself, and whoever fixes all that it names must be let through.

use migcert_core::compat::{REASONS, Reason, check, check_list, destination};
use migcert_core::fleet::Fleet;
use migcert_core::model::ModelId;
use migcert_core::param::{Allowed, Configuration, Param, ParamName, Type, Value};
use migcert_core::program::{Description, Manifest, Model, ParameterList, Requires, Versions};
use migcert_core::version::{Setup, Version};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

const CASES: u32 = 5_000;

#[test]
fn the_check_is_sound_and_complete() {
    let seen = RefCell::new(BTreeMap::<&str, u32>::new());
    let count = |class| *seen.borrow_mut().entry(class).or_default() += 1;
    let pairs = (list(), description());
    runner()
        .run(&pairs, |(list, there)| {
            let reasons = check_list(&list, &there);
            reasons.iter().for_each(|reason| count(reason.info().id));
            let realised = accepted(&there).into_iter().find(|full| realises(full, &list, &there));
            prop_assert_eq!(reasons.is_empty(), realised.is_some());
            if let Some(full) = realised {
                count("compatible");
                prop_assert_eq!(destination(&list, &there), full);
            }
            Ok(())
        })
        .unwrap_or_else(|why| panic!("{why}"));
    for class in [
        "compatible",
        "cannot-be-off",
        "combination",
        "off-value-differs",
        "parameter-unknown",
        "type-differs",
        "value-not-allowed",
    ] {
        assert!(seen.borrow().get(class) > Some(&50), "{class}: {seen:?}");
    }
}

/// Fixing all reasons makes a pair compatible, so all were given; fixing all but one doesn't, so
/// each is true.
#[test]
fn every_reason_is_given_and_each_is_true() {
    let pairs = (list(), description());
    runner()
        .run(&pairs, |(list, there)| {
            let reasons = check_list(&list, &there);
            let fixed = |skipped: Option<usize>| {
                let (mut list, mut there) = (list.clone(), there.clone());
                // Clauses first: without a parameter they read differently.
                let kept = reasons.iter().enumerate().rev().filter(|(i, _)| Some(*i) != skipped);
                kept.for_each(|(_, reason)| fix(reason, &mut list, &mut there));
                check_list(&list, &there).iter().map(named).collect::<Vec<_>>()
            };
            prop_assert_eq!(fixed(None), []);
            for (i, reason) in reasons.iter().enumerate() {
                prop_assert_eq!(fixed(Some(i)), [named(reason)]);
            }
            Ok(())
        })
        .unwrap_or_else(|why| panic!("{why}"));
}

/// What one member of a fleet says doesn't depend on the others.
#[test]
fn a_fleet_answers_as_each_of_its_members() {
    let fleets = (list(), vec(description(), 0..=4));
    runner()
        .run(&fleets, |(list, members)| {
            let fleet = Fleet::new(&members);
            let answers: Vec<_> = fleet.list(&list).answers().map(|answer| answer.reasons()).collect();
            let each: Vec<_> = members.iter().map(|there| check_list(&list, there)).collect();
            prop_assert_eq!(answers, each);
            Ok(())
        })
        .unwrap_or_else(|why| panic!("{why}"));
}

/// A list is movable exactly where each walk from member to member ends with the list it began with
///
#[test]
fn what_is_movable_survives_every_walk() {
    let seen = RefCell::new((0, 0));
    let fleets = (list(), vec(description(), 1..=3));
    runner()
        .run(&fleets, |(list, members)| {
            let movable = Fleet::new(&members).movable([&list]).next().is_some();
            // What a member with this list passes on.
            let step = |list: &ParameterList, there: &Description| -> Option<ParameterList> {
                let full = accepted(there).into_iter().find(|full| realises(full, list, there))?;
                let off = |(name, value): &(ParamName, Value)| there.params[name].off.as_ref() == Some(value);
                let (left_out, named) = full.into_iter().partition(off);
                Some(ParameterList { named, left_out })
            };
            // Where it names the same after each step, two steps tell of all walks.
            let survives = members.iter().all(|there| {
                step(&list, there).is_some_and(|next| {
                    next.named == list.named && members.iter().all(|there| step(&next, there).is_some())
                })
            });
            prop_assert_eq!(movable, survives);
            let (yes, no) = &mut *seen.borrow_mut();
            *if movable { yes } else { no } += 1;
            Ok(())
        })
        .unwrap_or_else(|why| panic!("{why}"));
    assert!(seen.borrow().0 > 50 && seen.borrow().1 > 50, "{seen:?}");
}

/// Clauses are judged by 64; the last one counts like the first.
#[test]
fn every_clause_is_judged_of_many() {
    let name = |text: &str| text.parse::<ParamName>().expect("a name");
    let ints = |range| Allowed::Ints([range].into_iter().collect());
    let param = || Param {
        ty: Type::Int,
        init: Value::Int(0),
        off: None,
        allowed: ints(0..=1000),
        description: None,
    };
    let clause =
        |i| Requires { when: [(name("a"), ints(i..=i))].into(), then: [(name("b"), ints(0..=0))].into() };
    let there = Description {
        params: [(name("a"), param()), (name("b"), param())].into(),
        requires: (0..200).map(clause).collect(),
        ..Description::default()
    };
    for i in 0..200 {
        let list = Configuration::from([(name("a"), Value::Int(i)), (name("b"), Value::Int(1))]).into();
        assert_eq!(check_list(&list, &there), [Reason::Combination(clause(i))]);
    }
}

fn named(reason: &Reason) -> (&'static str, Option<ParamName>) {
    (reason.info().id, reason.parameter().cloned())
}

/// A source is compatible exactly where the list of its configuration is, under its own id
/// and in its own form.
#[test]
fn whole_manifests_agree_with_their_lists() {
    let seen = RefCell::new(BTreeSet::new());
    runner()
        .run(&(side(), side()), |(here, there)| {
            let (source, setup) = here;
            let (destination, other) = there;
            for id in ["m", "M"] {
                let manifest = Manifest { models: [(ModelId::from(id), destination.clone())].into() };
                let verdict = check(&ModelId::from("m"), &source, &setup, &manifest);
                let expected = id == "m"
                    && match (&source, &setup, &destination) {
                        (Model::Params(source), Setup::Params(full), Model::Params(there)) => {
                            let named = |(name, value): &(ParamName, Value)| {
                                source.params[name].off.as_ref() != Some(value)
                            };
                            let (named, left_out) =
                                full.iter().map(|(n, v)| (n.clone(), v.clone())).partition(named);
                            let list = ParameterList { named, left_out };
                            accepted(there).iter().any(|full| realises(full, &list, there))
                        }
                        (Model::Versions(_), Setup::Version(version), Model::Versions(known)) => {
                            known.strings().contains(version)
                        }
                        _ => false,
                    };
                prop_assert_eq!(verdict.is_compatible(), expected, "{}; {}", verdict, other);
                seen.borrow_mut().extend(verdict.0.iter().map(|reason| reason.info().id));
            }
            Ok(())
        })
        .unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(seen.into_inner(), REASONS.iter().map(|reason| reason.id).collect());
}

/// Every full configuration that a description allows, found by trying all.
fn accepted(there: &Description) -> Vec<Configuration> {
    let mut all = vec![Configuration::new()];
    for (name, param) in &there.params {
        let values: Vec<_> = universe().into_iter().filter(|v| may(param, v)).collect();
        let with = |full: &Configuration, v: &Value| {
            full.clone().into_iter().chain([(name.clone(), v.clone())]).collect()
        };
        all = all.iter().flat_map(|full| values.iter().map(|v| with(full, v)).collect::<Vec<_>>()).collect();
    }
    all.retain(|full| {
        there.requires.iter().all(|clause| {
            let holds = |(name, set): (&ParamName, &Allowed)| has(set, &full[name]);
            !clause.when.iter().all(holds) || clause.then.iter().all(holds)
        })
    });
    all
}

/// the list as it is, and all else off, by the value that it has at the source if that knows it.
fn realises(full: &Configuration, list: &ParameterList, there: &Description) -> bool {
    list.named.keys().all(|name| full.contains_key(name))
        && full.iter().all(|(name, value)| match (list.named.get(name), list.left_out.get(name)) {
            (Some(named), _) => named == value,
            (None, left_out) => {
                there.params[name].off.as_ref() == Some(value) && left_out.is_none_or(|off| off == value)
            }
        })
}

fn may(param: &Param, value: &Value) -> bool {
    let ty = match value {
        Value::Bool(_) => Type::Bool,
        Value::Int(_) => Type::Int,
        Value::Str(_) => Type::Str,
    };
    ty == param.ty && has(&param.allowed, value)
}

fn has(set: &Allowed, value: &Value) -> bool {
    match (set, value) {
        (Allowed::Any, _) => true,
        (Allowed::Bools(set), Value::Bool(b)) => set.iter().any(|other| other == b),
        (Allowed::Ints(set), Value::Int(n)) => {
            set.ranges().iter().any(|range| range.start() <= n && n <= range.end())
        }
        (Allowed::Strs(set), Value::Str(text)) => set.iter().any(|other| other == text),
        _ => false,
    }
}

/// Does what a reason asks for, and nothing else.
fn fix(reason: &Reason, list: &mut ParameterList, there: &mut Description) {
    match reason {
        Reason::OffValueDiffers { name, .. } => drop(list.left_out.remove(name)),
        Reason::ParameterUnknown(name) => drop(list.named.remove(name)),
        Reason::TypeDiffers { name, value, .. } | Reason::ValueNotAllowed(name, value) => {
            if let Some(param) = there.params.get_mut(name) {
                (param.ty, param.allowed) = (value.ty(), Allowed::Any);
            }
        }
        Reason::CannotBeOff(name) => {
            there.params.remove(name);
            there.requires.retain(|clause| !clause.when.contains_key(name));
            there.requires.iter_mut().for_each(|clause| drop(clause.then.remove(name)));
        }
        Reason::Combination(broken) => there.requires.retain(|clause| clause != broken),
        other => panic!("{other}"),
    }
}

fn runner() -> TestRunner {
    let rng = proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
    TestRunner::new_with_rng(Config { cases: CASES, failure_persistence: None, ..Config::default() }, rng)
}

/// All values there are in this small world.
fn universe() -> Vec<Value> {
    let ints = (-1..=2).map(Value::Int);
    let strs = ["x", "y"].map(|text| Value::Str(text.to_owned()));
    [Value::Bool(false), Value::Bool(true)].into_iter().chain(ints).chain(strs).collect()
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => any::<bool>().prop_map(Value::Bool),
        4 => (-1..=2i64).prop_map(Value::Int),
        1 => "[xy]".prop_map(Value::Str),
    ]
}

fn name() -> impl Strategy<Value = ParamName> {
    "[abc]".prop_map(|name| name.parse().expect("a name"))
}

/// What some configuration names, and what it leaves out.
fn list() -> impl Strategy<Value = ParameterList> {
    (btree_map(name(), value(), 0..=3), btree_map(name(), value(), 0..=2)).prop_map(
        |(named, mut left_out)| {
            left_out.retain(|name, _| !named.contains_key(name));
            ParameterList { named, left_out }
        },
    )
}

/// Some values of one type, the type with them.
fn set() -> impl Strategy<Value = (Type, Vec<Value>)> {
    let ints = btree_set(-1..=2i64, 1..=4).prop_map(|set| set.into_iter().map(Value::Int).collect());
    let bools = btree_set(any::<bool>(), 1..=2).prop_map(|set| set.into_iter().map(Value::Bool).collect());
    let strs = btree_set("[xy]", 1..=2).prop_map(|set| set.into_iter().map(Value::Str).collect());
    prop_oneof![
        4 => ints.prop_map(|set: Vec<_>| (Type::Int, set)),
        1 => bools.prop_map(|set: Vec<_>| (Type::Bool, set)),
        1 => strs.prop_map(|set: Vec<_>| (Type::Str, set)),
    ]
}

fn allowed(ty: Type, values: &[Value]) -> Allowed {
    let mut allowed = match ty {
        Type::Bool => Allowed::Bools(BTreeSet::new()),
        Type::Int => {
            let numbers =
                values.iter().filter_map(|v| if let Value::Int(n) = v { Some(*n..=*n) } else { None });
            return Allowed::Ints(numbers.collect());
        }
        Type::Str => Allowed::Strs(BTreeSet::new()),
    };
    for value in values {
        match (&mut allowed, value) {
            (Allowed::Bools(set), Value::Bool(b)) => drop(set.insert(*b)),
            (Allowed::Strs(set), Value::Str(text)) => drop(set.insert(text.clone())),
            _ => {}
        }
    }
    allowed
}

prop_compose! {
    fn param()((ty, values) in set(), init in any::<prop::sample::Index>(),
               off in option::of(any::<prop::sample::Index>()), open in prop::bool::weighted(0.1)) -> Param {
        let allowed = if open { Allowed::Any } else { allowed(ty, &values) };
        let pick = |index: prop::sample::Index| index.get(&values).clone();
        Param { ty, init: pick(init), off: off.map(pick), allowed, description: None }
    }
}

/// Parameters, and clauses over some of them; what the init values are doesn't matter here.
fn description() -> impl Strategy<Value = Description> {
    let clauses = vec((btree_map(name(), set(), 0..=2), btree_map(name(), set(), 1..=2)), 0..=2);
    (btree_map(name(), param(), 0..=3), clauses).prop_map(|(params, clauses)| {
        let side = |sets: BTreeMap<ParamName, (Type, Vec<Value>)>| -> BTreeMap<ParamName, Allowed> {
            let known = sets.into_iter().filter(|(name, _)| params.contains_key(name));
            known.map(|(name, (ty, values))| (name, allowed(ty, &values))).collect()
        };
        let mut requires = Vec::new();
        for (when, then) in clauses {
            let clause = Requires { when: side(when), then: side(then) };
            if !requires.contains(&clause) {
                requires.push(clause);
            }
        }
        Description { requires, params, ..Description::default() }
    })
}

/// A model and a setup that it has, of either form.
fn side() -> impl Strategy<Value = (Model, Setup)> {
    let params = (description(), any::<prop::sample::Index>()).prop_map(|(description, index)| {
        let all = accepted(&description);
        let full = if all.is_empty() { description.init() } else { index.get(&all).clone() };
        (Model::Params(description), Setup::Params(full))
    });
    let version = "v[123]".prop_map(|text| text.parse::<Version>().expect("a version"));
    let versions = btree_set(version, 1..=2).prop_map(|strings| {
        let versions = Versions::new(strings.into_iter().collect(), None).expect("a version");
        (Model::Versions(versions.clone()), Setup::Version(versions.latest().clone()))
    });
    prop_oneof![4 => params, 1 => versions]
}
