//! The check of chapter R-5, pair by pair, in the notation of the thread.
//!
//! A list is written as on a command line. A description is a row of parameters, separated by `;`,
//! each `NAME TYPE [init=V] [off=V] [allowed=V|V]` (without `init`, off or the first of the values), and of clauses `requires NAME=V|V -> NAME=V|V`.

use migcert_core::compat::{check, check_list, drift, unproven};
use migcert_core::model::ModelId;
use migcert_core::param::{Configuration, ParamName, Type};
use migcert_core::program::{Description, Manifest, Model};
use migcert_core::version::Request;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What `list`, as a migration parameter list, is told by a destination.
#[track_caller]
fn says(list: &str, destination: &str, reasons: &[&str]) {
    let there = describe(destination);
    let told = check_list(&typed(list).into(), &there);
    let told: Vec<_> = told.iter().map(|reason| format!("{}: {reason}", reason.requirement())).collect();
    assert_eq!(told, reasons, "{list} to {destination}");
}

/// What `source`, configured by the request, is told by `destination`: all of.
#[track_caller]
fn moves(source: &str, request: &str, destination: &str, reasons: &[&str]) {
    let model = ModelId::from("m");
    let source = Model::Params(describe(source));
    let setup = Request::parse([request]).expect("a request").expand(&source).expect("a configuration");
    let destination = Manifest { models: [(model.clone(), Model::Params(describe(destination)))].into() };
    let verdict = check(&model, &source, &setup, &destination);
    let told: Vec<_> = verdict.0.iter().map(ToString::to_string).collect();
    assert_eq!(told, reasons);
    assert_eq!(verdict.is_compatible(), reasons.is_empty());
}

/// The values of a list, typed by their looks.
fn typed(list: &str) -> Configuration {
    let looks = |text: &str| match text {
        "on" | "off" => Type::Bool,
        number if number.parse::<i64>().is_ok() => Type::Int,
        _ => Type::Str,
    };
    let settings = Request::parse([list]).expect("a list").settings.into_iter();
    settings.map(|(name, text)| (name, looks(&text).parse(&text).expect("a value"))).collect()
}

fn describe(notation: &str) -> Description {
    let mut params = Map::new();
    let mut requires = Vec::new();
    for row in notation.split(';').map(str::trim).filter(|row| !row.is_empty()) {
        match row.strip_prefix("requires ") {
            None => drop(params.insert(row.split(' ').next().unwrap_or_default().to_owned(), param(row))),
            Some(clause) => {
                let (when, then) = clause.split_once(" -> ").expect("an arrow");
                requires.push(json!({"if": sets(when, &params), "then": sets(then, &params)}));
            }
        }
    }
    let json = json!({"models": {"m": {"params": params, "requires": requires}}});
    let manifest = Manifest::from_json(json.to_string().as_bytes()).unwrap_or_else(|why| panic!("{why}"));
    match manifest.models.into_values().next() {
        Some(Model::Params(description)) => description,
        other => panic!("{other:?}"),
    }
}

fn param(row: &str) -> Value {
    let ty = row.split(' ').nth(1).expect("a type");
    let mut words: BTreeMap<&str, &str> = row.split(' ').skip(2).filter_map(|w| w.split_once('=')).collect();
    let first = words.get("allowed").and_then(|set| set.split('|').next());
    let first = first.unwrap_or(if ty == "bool" { "on" } else { "0" });
    let init = words.remove("init").or(words.get("off").copied()).unwrap_or(first);
    let mut param = json!({"type": ty, "init_value": value(ty, init)});
    for (word, text) in words {
        match word {
            "off" => param["off_value"] = value(ty, text),
            "allowed" => param["allowed_values"] = set(ty, text),
            word => panic!("{word}"),
        }
    }
    param
}

fn sets(side: &str, params: &Map<String, Value>) -> Map<String, Value> {
    let entries = side.split(',').filter_map(|entry| entry.split_once('='));
    let ty = |name: &str| params.get(name).and_then(|param| param["type"].as_str()).unwrap_or("int");
    entries.map(|(name, values)| (name.to_owned(), set(ty(name), values))).collect()
}

fn set(ty: &str, values: &str) -> Value {
    values.split('|').map(|text| value(ty, text)).collect()
}

fn value(ty: &str, text: &str) -> Value {
    match (ty, text.parse::<i64>()) {
        ("int", Ok(number)) => json!(number),
        ("bool", _) => json!(text == "on"),
        _ => json!(text),
    }
}

#[test]
fn equal_values_are_compatible() {
    says("", "", &[]);
    says("rx=32", "rx int off=0 allowed=0|32", &[]);
    says("rx=0", "rx int off=0 allowed=0|32", &[]);
    says("rx=32", "rx int allowed=32", &[]);
    says("rx=32,tx=1", "rx int off=0 allowed=0-64; tx int allowed=1", &[]);
    says("mode=fast", "mode str allowed=slow|fast", &[]);
    says("tso=on", "tso bool off=off allowed=off|on", &[]);
    says("tso=off", "tso bool allowed=off", &[]);
    says("a-name.with:signs=1", "a-name.with:signs int", &[]);
}

/// `rx-filter-size=0` is what an implementation without a filter means.
#[test]
fn the_filter_of_the_thread() {
    let without = "num-queues int init=4 allowed=1|2|4|8";
    let with = "num-queues int init=4 allowed=1|2|4|8; rx-filter-size int init=32 off=0 allowed=0|32";
    let larger = "num-queues int init=4 allowed=1|2|4|8; rx-filter-size int init=64 off=0 allowed=0|64";
    let both = "num-queues int init=4 allowed=1|2|4|8; rx-filter-size int init=64 off=0 allowed=0|32|64";
    moves(without, "", with, &[]);
    moves(with, "", with, &[]);
    moves(with, "rx-filter-size=0", without, &[]);
    moves(with, "rx-filter-size=32", without, &["`rx-filter-size` is not known"]);
    moves(with, "rx-filter-size=32", larger, &["`rx-filter-size=32` is not allowed"]);
    moves(larger, "", with, &["`rx-filter-size=64` is not allowed"]);
    moves(with, "rx-filter-size=0", larger, &[]);
    moves(with, "rx-filter-size=32", both, &[]);
    moves(both, "", with, &["`rx-filter-size=64` is not allowed"]);
    moves(both, "rx-filter-size=32,num-queues=8", with, &[]);
}

#[test]
fn a_capacity_is_equal_or_refused() {
    moves("q int init=4 allowed=1-8", "", "q int allowed=1|2|4", &[]);
    moves("q int init=4 allowed=1-8", "q=8", "q int allowed=1|2|4", &["`q=8` is not allowed"]);
    moves("q int init=4 allowed=1-8", "q=3", "q int allowed=1|2|4", &["`q=3` is not allowed"]);
    moves("q int init=4 allowed=1-8", "q=3", "q int init=4 allowed=1-4", &[]);
    moves("q int init=4 allowed=1-8", "", "", &["`q` is not known"]);
    moves("", "", "q int init=4 allowed=1-8", &["`q` is not named and has no off value"]);
}

#[test]
fn every_reason_is_given() {
    says("rx=64", "rx int off=0 allowed=0|32", &["R-5.2: `rx=64` is not allowed"]);
    says("tx=1", "mtu int", &["R-5.2: `tx` is not known", "R-5.2: `mtu` is not named and has no off value"]);
    says("a=1,b=2,c=3", "b int allowed=2", &["R-5.2: `a` is not known", "R-5.2: `c` is not known"]);
    says(
        "a=1,b=2,d=on,e=x",
        "a int allowed=0; b str; c int; d bool allowed=off; f bool; z int off=0",
        &[
            "R-5.2: `a=1` is not allowed",
            "R-5.2: `b=2` is not of type str",
            "R-5.2: `d=on` is not allowed",
            "R-5.2: `e` is not known",
            "R-5.2: `c` is not named and has no off value",
            "R-5.2: `f` is not named and has no off value",
        ],
    );
    says(
        "a=9,b=1,x=1",
        "a int off=0 allowed=0-9; b int off=0 allowed=0|1; c int; requires a=5-9 -> b=0",
        &[
            "R-5.2: `x` is not known",
            "R-5.2: `c` is not named and has no off value",
            "R-3.7: `a` in 5-9 needs `b` in 0",
        ],
    );
}

#[test]
fn types_are_compared() {
    says("p=1", "p str", &["R-5.2: `p=1` is not of type str"]);
    says("p=1", "p bool off=off allowed=off|on", &["R-5.2: `p=1` is not of type bool"]);
    says("p=on", "p int off=0", &["R-5.2: `p=on` is not of type int"]);
    says("p=on", "p str allowed=on", &["R-5.2: `p=on` is not of type str"]);
    says("p=fast", "p int", &["R-5.2: `p=fast` is not of type int"]);
}

#[test]
fn numbers_of_all_sizes_are_compared() {
    says("p=-5", "p int init=-5 allowed=-5--1", &[]);
    says("p=-1", "p int init=-5 allowed=-5--1", &[]);
    says("p=-6", "p int init=-5 allowed=-5--1", &["R-5.2: `p=-6` is not allowed"]);
    says("p=0", "p int init=-5 allowed=-5--1", &["R-5.2: `p=0` is not allowed"]);
    says("p=0", "p int init=-10 allowed=-10-5", &[]);
    says("p=9223372036854775807", "p int init=0 allowed=0-9223372036854775807", &[]);
    says(
        "p=-9223372036854775808",
        "p int init=0 allowed=-9223372036854775807-9223372036854775807",
        &["R-5.2: `p=-9223372036854775808` is not allowed"],
    );
    says("p=300", "p int init=0 allowed=0-255|512|1024-2048", &["R-5.2: `p=300` is not allowed"]);
    says("p=512", "p int init=0 allowed=0-255|512|1024-2048", &[]);
    says("p=1024", "p int init=0 allowed=0-255|512|1024-2048", &[]);
    says("p=2049", "p int init=0 allowed=0-255|512|1024-2048", &["R-5.2: `p=2049` is not allowed"]);
}

#[test]
fn strings_are_compared_by_bytes() {
    says("m=Fast", "m str allowed=fast", &["R-5.2: `m=Fast` is not allowed"]);
    says("m=fast ", "m str allowed=fast", &["R-5.2: `m=fast ` is not allowed"]);
    says("m=", "m str allowed=|fast", &[]);
    says("m=é", "m str allowed=e\u{301}", &["R-5.2: `m=é` is not allowed"]);
    says("RX=32", "rx int off=0 allowed=0|32", &["R-5.2: `RX` is not known"]);
}

#[test]
fn off_is_absence() {
    let source = "a int init=1 off=0 allowed=0|1; b bool init=on off=off allowed=off|on; c str init=x off=- allowed=-|x";
    moves(source, "a=0,b=off,c=-", "", &[]);
    moves(source, "a=0,b=off", "c str off=- allowed=-|x", &[]);
    moves(source, "b=off,c=-", "", &["`a` is not known"]);
    moves(source, "a=0,c=-", "", &["`b` is not known"]);
    // What is off is not named, so a destination that can't be off never hears of it.
    moves(source, "a=0,b=off,c=-", "a int allowed=0", &["`a` is not named and has no off value"]);
    // Without an off value at the source it is named, whatever the destination takes for off.
    moves("a int allowed=0", "", "a int off=0 allowed=0|1", &[]);
    moves("a int allowed=0", "", "", &["`a` is not known"]);
    // The init value of the destination says nothing: what is not named is off.
    moves("", "", "a int init=1 off=0 allowed=0|1", &[]);
    moves(source, "a=0,b=off,c=-", "a int init=1 off=0 allowed=0|1", &[]);
}

/// Absence means one thing, whichever release changed it.
#[test]
fn off_values_are_compared() {
    let old = "uso bool init=off off=off; q int init=2 allowed=1-8";
    let new = "uso bool init=on off=on; q int init=2 allowed=1-8";
    let differs = |here, there| {
        format!("`uso` is left out: that is `{here}` at the source and `{there}` at the destination")
    };
    moves(old, "", new, &[&differs("off", "on")]);
    moves(new, "", old, &[&differs("on", "off")]);
    // What is named is what it is.
    moves(old, "uso=on", new, &[]);
    moves(new, "uso=off", old, &[]);
    // Of another type, by a text that nobody else has, and beside other reasons.
    moves(
        "p int off=0",
        "",
        "p bool off=off",
        &["`p` is left out: that is int `0` at the source and bool `off` at the destination"],
    );
    moves(
        "p str off=x",
        "",
        "p str off=y",
        &["`p` is left out: that is `x` at the source and `y` at the destination"],
    );
    moves(
        "a int init=1; p int off=0; z int off=0",
        "",
        "p int off=1; r int; z int off=2",
        &[
            "`a` is not known",
            "`p` is left out: that is `0` at the source and `1` at the destination",
            "`r` is not named and has no off value",
            "`z` is left out: that is `0` at the source and `2` at the destination",
        ],
    );
    // Who can't be off says just that; who doesn't know it has nothing to mean.
    moves("p int off=0", "", "p int", &["`p` is not named and has no off value"]);
    moves("p int off=0", "", "", &[]);
}

/// What drifted apart and decides nothing is said.
#[test]
fn drift_is_said() {
    let side = |json: Value| -> Manifest {
        let text = json!({"models": {"m": json}}).to_string();
        Manifest::from_json(text.as_bytes()).unwrap_or_else(|why| panic!("{why}"))
    };
    let says = |here: &Manifest, request: &str, there: &Manifest, drifts: &[&str]| {
        let model = ModelId::from("m");
        let source = &here.models[&model];
        let setup = Request::parse([request]).expect("a request").expand(source).expect("a configuration");
        let told: Vec<_> = drift(&model, source, &setup, there).iter().map(ToString::to_string).collect();
        assert_eq!(told, drifts);
    };
    let params = |off: bool, versions: Value, latest: Value| {
        let mut json = json!({"params": {
            "pcie": {"type": "bool", "init_value": true, "off_value": off},
            "slots": {"type": "int", "init_value": 8, "allowed_values": [4, 8, 16]}}, "versions": versions});
        if !latest.is_null() {
            json["latest"] = latest;
        }
        side(json)
    };
    let six = json!({"pcie": true, "slots": 8});
    let seven = json!({"pcie": true, "slots": 16});
    let stable = json!({"pcie": false, "slots": 8});
    let a = params(false, json!({"stable": stable, "6": six}), json!("6"));
    let b = params(false, json!({"stable": seven, "6": six, "7": seven}), json!("7"));
    let alias = "version `stable` is `pcie=off,slots=8` at the source and `pcie=on,slots=16` at the destination: \
                 the parameters decide, not the version (R-4.2)";
    let latest = "the latest configuration is `pcie=on,slots=8` at the source and `pcie=on,slots=16` at the destination \
                  (R-4.4)";
    says(&a, "version=stable", &b, &[alias, latest]);
    says(&a, "", &a, &[]);
    let repaired = params(false, json!({"stable": stable, "6": six, "7": seven}), json!("6"));
    says(&a, "version=stable", &repaired, &[]);
    // Nobody calls anything latest.
    says(&params(false, json!({}), json!(null)), "", &params(false, json!({}), json!(null)), &[]);
    // Off values, where the list names the parameter; where it doesn't, the check refuses.
    let off = "the off value of `pcie` is `off` at the source and `on` at the destination: \
               only a list that names it can migrate (R-3.4)";
    let drifted = params(true, json!({}), json!(null));
    says(&params(false, json!({}), json!(null)), "", &drifted, &[off]);
    says(&params(false, json!({}), json!(null)), "pcie=off", &drifted, &[]);
    // An alias that leaves out what is off by two values means two configurations.
    let one = params(false, json!({"1": {"pcie": false, "slots": 8}}), json!(null));
    let two = params(true, json!({"1": {"pcie": true, "slots": 8}}), json!(null));
    says(
        &one,
        "pcie=off",
        &two,
        &["version `1` is `pcie=off,slots=8` at the source and `pcie=on,slots=8` at the destination: \
           the parameters decide, not the version (R-4.2)"],
    );
    let r4 = |versions: &[&str]| side(json!({"versions": versions}));
    says(
        &r4(&["2.9", "2.11"]),
        "",
        &r4(&["2.11", "2.9"]),
        &[
            "the latest configuration is `version=2.11` at the source and `version=2.9` at the destination (R-4.4)",
        ],
    );
    says(&r4(&["2.9"]), "", &a, &[]);
}

#[test]
fn combinations_are_judged_with_what_is_off() {
    let nic =
        "queues int init=4 allowed=1|2|4|8; new bool off=off allowed=off|on; requires new=on -> queues=4|8";
    says("queues=2", nic, &[]);
    says("queues=4,new=on", nic, &[]);
    says("queues=2,new=on", nic, &["R-3.7: `new` in on needs `queues` in 4|8"]);
    says("new=on", nic, &["R-5.2: `queues` is not named and has no off value"]);
    says(
        "queues=3,new=on",
        nic,
        &["R-5.2: `queues=3` is not allowed", "R-3.7: `new` in on needs `queues` in 4|8"],
    );
    // Off is a value: a clause may forbid it.
    let needs_b = "a int init=0 off=0 allowed=0|1; b int init=1 off=0 allowed=0|1; requires a=1 -> b=1";
    says("a=1", needs_b, &["R-3.7: `a` in 1 needs `b` in 1"]);
    says("a=1,b=1", needs_b, &[]);
    says("", needs_b, &[]);
    let never_both = "a int init=0 off=0 allowed=0|1; b int init=0 off=0 allowed=0|1; requires a=0 -> b=0";
    says("b=1", never_both, &["R-3.7: `a` in 0 needs `b` in 0"]);
}

#[test]
fn each_clause_is_a_reason() {
    let two = "a int init=0 off=0 allowed=0-9; b int init=0 off=0 allowed=0-9; c int init=0 off=0 allowed=0-9; \
               requires a=5-9 -> b=1; requires a=9 -> c=2-3,b=0-1; requires a=1,b=1 -> c=1";
    says(
        "a=9",
        two,
        &["R-3.7: `a` in 5-9 needs `b` in 1", "R-3.7: `a` in 9 needs `b` in 0-1 and `c` in 2-3"],
    );
    says("a=9,b=1,c=3", two, &[]);
    says("a=1", two, &[]);
    says("a=1,b=1", two, &["R-3.7: `a` in 1 and `b` in 1 needs `c` in 1"]);
    let always = "a int init=1 off=0 allowed=0|1; requires  -> a=1";
    says("a=1", always, &[]);
    says("", always, &["R-3.7: always needs `a` in 1"]);
}

#[test]
fn a_value_without_list_is_not_proven() {
    let unproven = |list: &str, there: &str| -> Vec<String> {
        let model = ModelId::from("m");
        let destination = Manifest { models: [(model.clone(), Model::Params(describe(there)))].into() };
        let source = Model::Params(describe("a int init=1 off=0; b str init=x; c bool init=on off=off"));
        let setup = Request::parse([list]).expect("a request").expand(&source).expect("a configuration");
        let names = unproven(&model, &source, &setup, &destination).into_iter();
        names.map(|name: ParamName| name.to_string()).collect()
    };
    assert_eq!(unproven("", "a int; b str; c bool"), ["a", "b", "c"]);
    assert_eq!(unproven("a=0,c=off", "a int off=0; b str; c bool off=off"), ["b"]);
    assert_eq!(unproven("", "a int; b str allowed=x; c str"), ["a"]);
    assert_eq!(unproven("", ""), Vec::<String>::new());
    says("p=5", "p int", &[]);
}

/// Ids as the thread compares them.
#[test]
fn models_are_compared_by_bytes() {
    const E1000E: &str = "https://qemu.org/devices/e1000e";
    let nic = || Model::Params(describe("q int init=4"));
    let setup = Request::default().expand(&nic()).expect("a configuration");
    for (other, reasons) in [
        (E1000E, &[][..]),
        ("https://www.qemu.org/devices/e1000e", &["model-unknown"]),
        ("https://qemu.org/devices/e1000e/", &["model-unknown"]),
        ("https://qemu.org:443/devices/e1000e", &["model-unknown"]),
        ("http://qemu.org/devices/e1000e", &["model-unknown"]),
        ("https://QEMU.org/devices/e1000e", &["model-unknown"]),
        ("https://qemu.org/devices/e1000%65", &["model-unknown"]),
        ("https://qemu.org/devices/e1000", &["model-unknown"]),
        ("", &["model-unknown"]),
    ] {
        let destination = Manifest { models: [(ModelId::from(other), nic())].into() };
        let verdict = check(&ModelId::from(E1000E), &nic(), &setup, &destination);
        let told: Vec<_> = verdict.0.iter().map(|reason| reason.info().id).collect();
        assert_eq!(told, reasons, "{other}");
    }
}

/// Version strings are compared, not understood.
#[test]
fn version_strings_are_compared_by_bytes() {
    let model = ModelId::from("m");
    let r4 = |versions: &str| -> Model {
        let versions: Vec<_> = versions.split(' ').collect();
        let json = json!({"models": {"m": {"versions": versions}}}).to_string();
        let mut manifest = Manifest::from_json(json.as_bytes()).expect("a manifest");
        manifest.models.remove(&model).expect("the model")
    };
    let says = |source: &Model, request: &str, destination: Model, reasons: &[&str]| {
        let setup = Request::parse([request]).expect("a request").expand(source).expect("a version");
        let verdict =
            check(&model, source, &setup, &Manifest { models: [(model.clone(), destination)].into() });
        assert_eq!(verdict.0.iter().map(ToString::to_string).collect::<Vec<_>>(), reasons);
    };
    let params = || Model::Params(describe("q int init=4; r int off=0"));
    let forms = "one side is described by parameters, the other by version strings";
    says(&r4("v1 v2"), "", r4("v1 v2"), &[]);
    says(&r4("v1 v2"), "", r4("v1"), &["version `v2` is not known"]);
    says(&r4("v1 v2"), "version=v1", r4("v1"), &[]);
    says(&r4("q1-v2 q64-v2"), "version=q1-v2", r4("q64-v2"), &["version `q1-v2` is not known"]);
    says(&r4("v1"), "", r4("V1 v1.0 v1-"), &["version `v1` is not known"]);
    says(&r4("v1"), "", params(), &[forms]);
    says(&params(), "", r4("v1"), &[forms]);
}
