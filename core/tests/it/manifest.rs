//! Migration info: what is read, what is written, what is refused with which words, what is advised.

use migcert_core::manifest::{MAX_BYTES, MAX_DEPTH, MAX_VALUES};
use migcert_core::program::Manifest;
use proptest::prelude::*;

/// All that the superset of R-8.1 can say, as a vendor would write it.
const E1000E: &str = r#"{"models": {"https://qemu.org/devices/e1000e": {
    "params": {"rx-filter-size": {"type": "int", "init_value": 32, "off_value": 0, "allowed_values": ["0-64"]},
               "num-queues":     {"type": "int", "init_value": 4, "allowed_values": [1, 2, 4, 8]}},
    "versions": {"1": {"rx-filter-size": 0, "num-queues": 1}, "2": {"rx-filter-size": 32, "num-queues": 4}},
    "latest": "2",
    "requires": [{"if": {"rx-filter-size": ["33-64"]}, "then": {"num-queues": ["4-8"]}}]}}}"#;

#[track_caller]
fn read(json: &str) -> Manifest {
    Manifest::from_json(json.as_bytes()).unwrap_or_else(|why| panic!("{why}"))
}

#[track_caller]
fn writes(json: &str, canonical: &str) {
    let manifest = read(json);
    let compact = |json: &str| json.parse::<serde_json::Value>().expect("JSON").to_string();
    assert_eq!(compact(&manifest.to_json()), compact(canonical));
    assert_eq!(read(&manifest.to_json()), manifest);
}

#[test]
fn every_form_is_written_as_it_was_read() {
    writes(E1000E, &E1000E.replace("1, 2, 4, 8", r#""1-2", 4, 8"#));
    writes(r#"{"models": {}}"#, r#"{"models": {}}"#);
    writes(r#"{"models": {"a.b/c": {"params": {}}}}"#, r#"{"models": {"a.b/c": {"params": {}}}}"#);
    let r3 = r#"{"models": {"a.b/c": {"params": {
        "mtu": {"type": "int", "init_value": 1500, "description": "bytes"},
        "tso": {"type": "bool", "init_value": true, "off_value": false, "allowed_values": [false, true]},
        "mode": {"type": "str", "init_value": "fast", "allowed_values": ["fast", "slow"]}}}}}"#;
    writes(r3, r3);
    let r4 = r#"{"models": {"a.b/c": {"versions": ["q1-v2", "q64-v2", "v1"]}}}"#;
    writes(r4, r4);
    let r4_latest = r#"{"models": {"a.b/c": {"versions": ["q1-v2", "v1"], "latest": "q1-v2"}}}"#;
    writes(r4_latest, r4_latest);
}

#[test]
fn writing_is_canonical() {
    writes(
        r#"{"models": {"m": {"params": {"p": {"allowed_values": [3, "-5--1", 2, "5-5", "-10-0", 9223372036854775807],
            "off_value": -10, "init_value": 5, "type": "int"}}}}}"#,
        r#"{"models": {"m": {"params": {"p": {"type": "int", "init_value": 5, "off_value": -10,
            "allowed_values": ["-10-0", "2-3", 5, 9223372036854775807]}}}}}"#,
    );
    writes(
        r#"{"models": {"m": {"params": {"b": {"type": "bool", "init_value": "on", "off_value": "off",
            "allowed_values": [true, "off", "on"]}}}}}"#,
        r#"{"models": {"m": {"params": {"b": {"type": "bool", "init_value": true, "off_value": false,
            "allowed_values": [false, true]}}}}}"#,
    );
    writes(
        r#"{"models": {"m": {"versions": ["1", "2"], "latest": "2"}}}"#,
        r#"{"models": {"m": {"versions": ["1", "2"]}}}"#,
    );
    let text = read(E1000E).to_json();
    assert_eq!(read(&text).to_json(), text);
    let members = ["\"type\"", "\"init_value\"", "\"off_value\"", "\"allowed_values\""];
    let places: Vec<_> = members.iter().map(|name| text.rfind(name)).collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn what_a_version_leaves_out_is_off() {
    let short = E1000E.replace(r#"{"rx-filter-size": 0, "num-queues": 1}"#, r#"{"num-queues": 1}"#);
    assert_ne!(short, E1000E);
    assert_eq!(read(&short), read(E1000E));
}

#[track_caller]
fn refuses(json: &str, message: &str) {
    match Manifest::from_json(json.as_bytes()) {
        Ok(_) => panic!("not refused: {json}"),
        Err(why) => assert_eq!(why.to_string(), message),
    }
}

/// `members` stand in a model `m`.
#[track_caller]
fn refuses_model(members: &str, message: &str) {
    refuses(&format!(r#"{{"models": {{"m": {{{members}}}}}}}"#), message);
}

/// `members` stand beside the parameters `n`, an int from 0, which is off, to 9, and `b`, a bool that is on.
#[track_caller]
fn refuses_beside(members: &str, message: &str) {
    let n = r#""n": {"type": "int", "init_value": 5, "off_value": 0, "allowed_values": ["0-9"]}"#;
    let b = r#""b": {"type": "bool", "init_value": true, "allowed_values": [true]}"#;
    refuses_model(&format!(r#""params": {{{n}, {b}}}, {members}"#), message);
}

/// `members` stand in a parameter `p`.
#[track_caller]
fn refuses_param(members: &str, message: &str) {
    refuses_model(&format!(r#""params": {{"p": {{{members}}}}}"#), message);
}

#[test]
fn what_is_not_json_is_refused_by_line_and_column() {
    refuses("", "not readable as JSON: EOF while parsing a value at line 1 column 0");
    refuses("{\"models\":\n {]}", "not readable as JSON: key must be a string at line 2 column 3");
    refuses("{\"models\": {}} x", "not readable as JSON: trailing characters at line 1 column 16");
    refuses("{\"models\": {},}", "not readable as JSON: trailing comma at line 1 column 15");
    refuses("\u{feff}{}", "not readable as JSON: expected value at line 1 column 1");
    refuses("{\"\\ud800\": 1}", "not readable as JSON: unexpected end of hex escape at line 1 column 9");
    refuses("{\"models\": 01}", "not readable as JSON: invalid number at line 1 column 13");
    let why = Manifest::from_json(b"{\"\xff\": 1}").expect_err("not UTF-8");
    assert_eq!(why.to_string(), "not readable as JSON: invalid unicode code point at line 1 column 3");
}

#[test]
fn what_is_not_migration_info_is_refused() {
    refuses("[]", "top level: an object is expected here, not a list");
    refuses("{}", "top level: `models` is missing: add it");
    refuses(r#"{"models": []}"#, "models: an object is expected here, not a list");
    refuses(r#"{"models": {"m": null}}"#, r#"models["m"]: an object is expected here, not null"#);
    refuses(r#"{"models": {}, "models": {}}"#, "models: stands twice: remove one of them");
    refuses(
        r#"{"models": {"m": {"versions": ["1"]}, "m": {"versions": ["1"]}}}"#,
        r#"models["m"]: stands twice: remove one of them"#,
    );
    refuses(
        r#"{"models": {}, "generator": {"by": [{"x": 1, "x": 1}]}}"#,
        r#"generator["by"][0]["x"]: stands twice: remove one of them"#,
    );
    let long = "m".repeat(1025);
    refuses(
        &format!(r#"{{"models": {{"{long}": {{"versions": ["1"]}}}}}}"#),
        &format!(
            r#"models["{long}"]: 1025 bytes are more than the 1024 that a name or value may have: shorten it"#
        ),
    );
}

#[test]
fn a_bad_model_is_refused() {
    let neither =
        r#"models["m"]: neither `params` nor a list of `versions`: describe the model by one of them"#;
    refuses_model("", neither);
    refuses_model(r#""latest": "1""#, neither);
    refuses_model(
        r#""params": {}, "versions": ["1"]"#,
        r#"models["m"].versions: a list of version strings and `params` exclude each other: write {VERSION: {NAME: VALUE}}, or leave `params` out"#,
    );
    let needs = "needs `params`, which this model doesn't have: describe them or remove this";
    refuses_model(r#""versions": {"1": {}}"#, &format!(r#"models["m"].versions: {needs}"#));
    refuses_model(r#""versions": ["1"], "requires": []"#, &format!(r#"models["m"].requires: {needs}"#));
    refuses_model(r#""versions": []"#, r#"models["m"].versions: is empty: name at least one"#);
    refuses_model(r#""versions": "1""#, r#"models["m"].versions: a list is expected here, not a string"#);
    refuses_model(
        r#""versions": [1]"#,
        r#"models["m"].versions[0]: a string is expected here, not a number"#,
    );
    refuses_model(
        r#""versions": ["1", "1"]"#,
        r#"models["m"].versions[1]: stands twice: remove one of them"#,
    );
    refuses_model(
        r#""versions": ["1", "zwölf"]"#,
        r#"models["m"].versions[1]: `zwölf` is not a version: versions are ASCII, not empty and without newline"#,
    );
    refuses_model(
        r#""versions": ["1"], "latest": "2""#,
        r#"models["m"].latest: `2` is none of the `versions`: name one of them"#,
    );
    refuses_model(
        r#""versions": ["1"], "versions": ["1"]"#,
        r#"models["m"].versions: stands twice: remove one of them"#,
    );
    refuses_model(r#""params": [1]"#, r#"models["m"].params: an object is expected here, not a list"#);
}

#[test]
fn minus_zero_is_zero() {
    let json =
        r#"{"models": {"m": {"params": {"p": {"type": "int", "init_value": -0, "allowed_values": [0]}}}}}"#;
    let manifest = Manifest::from_json(json.as_bytes()).expect("migration info");
    assert!(manifest.to_json().contains("\"init_value\": 0"));
}

#[test]
fn a_bad_parameter_is_refused() {
    refuses_param(r#""init_value": 1"#, r#"models["m"].params["p"]: `type` is missing: add it"#);
    refuses_param(r#""type": "int""#, r#"models["m"].params["p"]: `init_value` is missing: add it"#);
    refuses_param(
        r#""type": "float", "init_value": 1"#,
        r#"models["m"].params["p"].type: `float` is not a type: write `bool`, `int` or `str`"#,
    );
    refuses_param(
        r#""type": "int", "init_value": 1, "type": "int""#,
        r#"models["m"].params["p"].type: stands twice: remove one of them"#,
    );
    for (init, found) in [
        ("0.0", "a number with fraction or exponent, or beyond 64 bits"),
        ("1.0", "a number with fraction or exponent, or beyond 64 bits"),
        ("1e3", "a number with fraction or exponent, or beyond 64 bits"),
        ("9223372036854775808", "a number with fraction or exponent, or beyond 64 bits"),
        ("-9223372036854775809", "a number with fraction or exponent, or beyond 64 bits"),
        ("\"5\"", "a string"),
        ("true", "a bool"),
        ("null", "null"),
    ] {
        refuses_param(
            &format!(r#""type": "int", "init_value": {init}"#),
            &format!(
                r#"models["m"].params["p"].init_value: a whole number of 64 bits is expected here, not {found}"#
            ),
        );
    }
    refuses_param(
        r#""type": "bool", "init_value": "yes""#,
        r#"models["m"].params["p"].init_value: `true` or `false` is expected here, not a string"#,
    );
    refuses_param(
        r#""type": "str", "init_value": "a\nb""#,
        r#"models["m"].params["p"].init_value: a value has no newline: remove it"#,
    );
    refuses_param(
        r#""type": "str", "init_value": "a", "off_value": 0"#,
        r#"models["m"].params["p"].off_value: a string is expected here, not a number"#,
    );
    let outside = "is not in `allowed_values`: add it there or choose another value";
    refuses_param(
        r#""type": "int", "init_value": 3, "allowed_values": [1, 2]"#,
        &format!(r#"models["m"].params["p"].init_value: `3` {outside}"#),
    );
    refuses_param(
        r#""type": "bool", "init_value": true, "off_value": false, "allowed_values": [true]"#,
        &format!(r#"models["m"].params["p"].off_value: `off` {outside}"#),
    );
    for name in ["", "a b", "a=b", "a/b"] {
        refuses_model(
            &format!(r#""params": {{"{name}": {{}}}}"#),
            &format!(
                r#"models["m"].params["{name}"]: `{name}` is not a parameter name: names are not empty and have no `=`, `/` or white space"#
            ),
        );
    }
}

#[track_caller]
fn refuses_allowed(ty: &str, list: &str, message: &str) {
    refuses_param(
        &format!(r#""type": "{ty}", "init_value": 1, "allowed_values": {list}"#),
        &format!(r#"models["m"].params["p"].allowed_values{message}"#),
    );
}

#[test]
fn a_bad_set_of_values_is_refused() {
    refuses_allowed("int", "[]", ": is empty: name at least one");
    refuses_allowed("int", "\"0-9\"", ": a list is expected here, not a string");
    refuses_allowed("int", "[1, 2, true]", "[2]: a whole number of 64 bits is expected here, not a bool");
    refuses_allowed("int", r#"["7-5"]"#, "[0]: the range `7-5` is empty: write the smaller number first");
    refuses_allowed("int", r#"["-1--5"]"#, "[0]: the range `-1--5` is empty: write the smaller number first");
    for bad in ["", "5", "5-", "-5", "1-2-3", "1 - 2", "0-9223372036854775808", "0x1-0x2"] {
        refuses_allowed(
            "int",
            &format!(r#"[1, "{bad}"]"#),
            &format!(
                r#"[1]: `{bad}` is not a range of 64-bit numbers: write "min-max", or a single number without quotes"#
            ),
        );
    }
    refuses_allowed("bool", "[true, 1]", "[1]: `true` or `false` is expected here, not a number");
    refuses_allowed("str", r#"["a", 1]"#, "[1]: a string is expected here, not a number");
}

#[test]
fn a_bad_version_is_refused() {
    let at = r#"models["m"].versions["1"]"#;
    refuses_beside(
        r#""versions": {"1": {"n": 1}}"#,
        &format!("{at}: `b` is left out and has no off value: name it"),
    );
    refuses_beside(
        r#""versions": {"1": {"n": 10, "b": true}}"#,
        &format!(r#"{at}["n"]: `10` is not in `allowed_values`: add it there or choose another value"#),
    );
    refuses_beside(
        r#""versions": {"1": {"n": "1", "b": true}}"#,
        &format!(r#"{at}["n"]: a whole number of 64 bits is expected here, not a string"#),
    );
    refuses_beside(
        r#""versions": {"1": {"x": 1, "b": true}}"#,
        &format!(r#"{at}["x"]: `x` is not described under `params`: describe it or remove this"#),
    );
    refuses_beside(
        r#""versions": {"1": {"b": true, "b": true}}"#,
        &format!(r#"{at}["b"]: stands twice: remove one of them"#),
    );
    refuses_beside(r#""versions": {"1": []}"#, &format!("{at}: an object is expected here, not a list"));
    refuses_beside(
        r#""versions": {"": {"b": true}}"#,
        r#"models["m"].versions[""]: `` is not a version: versions are ASCII, not empty and without newline"#,
    );
    refuses_beside(
        r#""latest": "1""#,
        r#"models["m"].latest: `1` is none of the `versions`: name one of them"#,
    );
    refuses_beside(
        r#""versions": {"1": {"b": true}}, "latest": 1"#,
        r#"models["m"].latest: a string is expected here, not a number"#,
    );
    refuses_beside(
        r#""versions": {"1": {"b": true, "n": 7}}, "requires": [{"if": {"n": ["7-9"]}, "then": {"n": [9]}}]"#,
        &format!(
            "{at}: is not a valid configuration: `n` in 7-9 needs `n` in 9; change a value or the clause in `requires`"
        ),
    );
}

#[track_caller]
fn refuses_clause(clause: &str, message: &str) {
    refuses_beside(&format!(r#""requires": [{clause}]"#), &format!(r#"models["m"].requires[0]{message}"#));
}

#[test]
fn a_bad_clause_is_refused() {
    refuses_clause("1", ": an object is expected here, not a number");
    refuses_clause(r#"{"if": {}}"#, ": `then` is missing: add it");
    refuses_clause(r#"{"then": {}}"#, ": `if` is missing: add it");
    refuses_clause(
        r#"{"if": {}, "then": {}, "else": {}}"#,
        ".else: is not a member here: remove it; known are `if` and `then`",
    );
    refuses_clause(
        r#"{"if": {"x": [1]}, "then": {}}"#,
        r#".if["x"]: `x` is not described under `params`: describe it or remove this"#,
    );
    refuses_clause(
        r#"{"if": {"n": [true]}, "then": {}}"#,
        r#".if["n"][0]: a whole number of 64 bits is expected here, not a bool"#,
    );
    let never = "none of these values is allowed for";
    refuses_clause(
        r#"{"if": {"n": ["10-20"]}, "then": {}}"#,
        &format!(r#".if["n"]: {never} `n`: name one that is, or remove the clause"#),
    );
    refuses_clause(
        r#"{"if": {"b": [true]}, "then": {"b": ["off"]}}"#,
        &format!(r#".then["b"]: {never} `b`: name one that is, or remove the clause"#),
    );
    refuses_clause(r#"{"if": {"n": []}, "then": {}}"#, r#".if["n"]: is empty: name at least one"#);
    refuses_clause(
        r#"{"if": {"n": ["5-9"]}, "then": {"n": ["6-9"]}}"#,
        ": the init values break this clause: `n` in 5-9 needs `n` in 6-9; change one of them or the clause",
    );
    refuses_beside(r#""requires": {}"#, r#"models["m"].requires: a list is expected here, not an object"#);
}

#[test]
fn hostile_sizes_are_refused() {
    refuses(
        &" ".repeat(MAX_BYTES + 1),
        "16777217 bytes are more than the 16777216 that migration info may have",
    );
    let nested = |depth| format!(r#"{{"x": {}{}, "models": {{}}}}"#, "[".repeat(depth), "]".repeat(depth));
    read(&nested(MAX_DEPTH - 1));
    refuses(&nested(MAX_DEPTH), "not readable as JSON: nested deeper than 16 at line 1 column 23");
    refuses(&"[".repeat(MAX_BYTES), "not readable as JSON: nested deeper than 16 at line 1 column 17");
    let zeros = |n| format!("[{}0]", "0,".repeat(n - 1));
    refuses(&zeros(MAX_VALUES - 1), "top level: an object is expected here, not a list");
    refuses(&zeros(MAX_VALUES), "not readable as JSON: more than 1048576 values at line 1 column 2097151");
}

/// What multiplies has a bound of its own: every version is judged by every clause.
#[test]
fn versions_times_parameters_are_bounded() {
    let list = |n: usize, item: &dyn Fn(usize) -> String| (0..n).map(item).collect::<Vec<_>>().join(",");
    let document = |params: usize, versions: usize| {
        let params =
            list(params, &|i| format!(r#""p{i}": {{"type": "int", "init_value": 0, "off_value": 0}}"#));
        let versions = list(versions, &|i| format!(r#""{i}": {{}}"#));
        format!(r#"{{"models": {{"m": {{"params": {{{params}}}, "versions": {{{versions}}}}}}}}}"#)
    };
    read(&document(1024, 100));
    refuses(&document(1025, 0), r#"models["m"].params: more than 1024: split the description"#);
    refuses(&document(1024, 1024), r#"models["m"].versions: more than 262144: split the description"#);
    refuses(&document(0, 4097), r#"models["m"].versions: more than 4096: split the description"#);
}

#[track_caller]
fn advises(json: &str, expected: &[&str]) {
    let (manifest, lints) = Manifest::from_json_linted(json.as_bytes()).expect("a manifest");
    let advice: Vec<_> = lints.iter().map(ToString::to_string).collect();
    assert_eq!(advice, expected);
    assert!(lints.ends_with(&manifest.lints()));
}

/// Numbers count as numbers, each sequence for itself.
#[test]
fn versions_are_ordered_by_their_numbers() {
    let orders = |members: &str, expected: &[(&str, &str)]| {
        let json = format!(r#"{{"models": {{"a.b/c": {{{members}}}}}}}"#);
        let (_, lints) = Manifest::from_json_linted(json.as_bytes()).expect("a manifest");
        let advice: Vec<_> = lints.iter().map(ToString::to_string).collect();
        let expected = expected.iter().map(|(at, what)| format!(r#"models["a.b/c"].{at}: {what} (R-4.4)"#));
        assert_eq!(advice, expected.collect::<Vec<_>>(), "{members}");
    };
    let stands = |greater: &str| {
        format!("stands after `{greater}`, which has the greater number; order versions by their numbers")
    };
    let called = |greater: &str| format!("is called latest, and `{greater}` has the greater number");
    for ordered in [
        r#""2.1", "2.8", "2.9", "2.10", "2.11""#,
        r#""q1-v1", "q64-v1", "q1-v2", "q64-v2""#,
        r#""q64-v1", "q1-v1", "q1-v2", "q64-v2""#,
        r#""pc-q35-2.12", "pc-q35-3.0", "virt-2.12", "virt-3.0""#,
        r#""1", "01", "1.0", "1.0.1", "99999999999999999999999", "100000000000000000000000""#,
        r#""zebra", "ant", "..", "v.1", "v.2.", ".3""#,
        r#""2.0-rc1", "2.0-rc2", "2.0""#,
        r#""8.3-rhel9", "8.10-rhel9", "8.2-rhel10", "9.0-rhel10""#,
        r#""2024-02-01", "2024-12-01", "2025-01-01", "v2.9.0-10", "v2.10.0-2""#,
    ] {
        orders(&format!(r#""versions": [{ordered}]"#), &[]);
    }
    for [greater, after] in [
        ["v2.11.0-3", "v2.9.0-10"],
        ["2025-01-01", "2024-02-01"],
        ["8.10-rhel9", "8.3-rhel9"],
        ["10-1", "9-1"],
    ] {
        orders(
            &format!(r#""versions": ["{greater}", "{after}"], "latest": "{greater}""#),
            &[("versions[1]", &stands(greater))],
        );
    }
    let (at_3, at_4) = ("versions[3]", "versions[4]");
    let eleven = stands("2.11");
    orders(r#""versions": ["2.1", "2.10", "2.11", "2.8", "2.9"]"#, &[(at_3, &eleven), (at_4, &eleven)]);
    orders(r#""versions": ["q1-v10", "q2-v8", "q2-v9", "q1-v9"]"#, &[(at_3, &stands("q1-v10"))]);
    orders(
        r#""versions": ["99999999999999999999", "100000000000000000000", "x", "9"]"#,
        &[(at_3, &stands("100000000000000000000"))],
    );
    let latest = r#""versions": ["2.9", "2.11"], "latest": "2.9""#;
    orders(latest, &[("latest", &called("2.11"))]);
    orders(r#""versions": ["2.9", "2.11", "beta"], "latest": "2.11""#, &[]);
    let params = r#""params": {}, "versions": {"9": {}, "10": {}, "stable": {}}"#;
    orders(&format!(r#"{params}, "latest": "9""#), &[("latest", &called("10"))]);
    orders(&format!(r#"{params}, "latest": "10""#), &[]);
    orders(&format!(r#"{params}, "latest": "stable""#), &[]);
}

#[test]
fn advice_is_given() {
    advises(
        E1000E,
        &[
            r#"models["https://qemu.org/devices/e1000e"].params["num-queues"]: without `off_value` no state can come from, or go to, an implementation that doesn't know the parameter (R-3.4)"#,
        ],
    );
    advises(r#"{"models": {}}"#, &["models: no model is described, so nothing can migrate"]);
    advises(r#"{"models": {"a.b/c": {"versions": ["1"]}}}"#, &[]);
    advises(
        r#"{"models": {"e1000e": {"versions": ["1"], "since": 2}}, "x": null}"#,
        &[
            "x: not a member that is known here; it is ignored",
            r#"models["e1000e"].since: not a member that is known here; it is ignored"#,
            r#"models["e1000e"]: the id does not begin with a domain or URI of its author's; others may choose the same"#,
        ],
    );
    advises(
        r#"{"models": {"a.b/c": {
            "params": {"n": {"type": "int", "init_value": 1, "off_value": 0, "unit": "bytes"},
                       "version": {"type": "int", "init_value": 1, "off_value": 0, "allowed_values": [0, 1]}},
            "versions": {"1": {"n": 1, "version": 1}},
            "requires": [{"if": {}, "then": {"version": [1]}}, {"if": {"n": [1]}, "then": {}}]}}}"#,
        &[
            r#"models["a.b/c"].params["n"].unit: not a member that is known here; it is ignored"#,
            r#"models["a.b/c"].params["n"]: without `allowed_values` a check can't prove that a value will be taken; list them (R-3.6)"#,
            r#"models["a.b/c"].params["version"]: text that sets `version` means one of `versions`, so this parameter can't be set there; rename it"#,
            r#"models["a.b/c"]: without `latest` the init values count as the latest configuration; name the version (R-4.4)"#,
            r#"models["a.b/c"].requires[0].if: names no parameter, so the clause binds always; narrow `allowed_values` instead"#,
            r#"models["a.b/c"].requires[0]: broken where everything is off that can be, so older states may find no place here: always needs `version` in 1"#,
            r#"models["a.b/c"].requires[1].then: names no parameter, so the clause holds always; name one or remove the clause"#,
        ],
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Manifest::from_json(&bytes);
    }

    /// A damaged document is refused, or it is a manifest like any other.
    #[test]
    fn damage_is_refused_or_means_something(
        at in 0..E1000E.len(),
        cut in 0..4usize,
        put in "[0-9a-z{}\\[\\]:,\" -]{0,3}",
    ) {
        let mut text = E1000E.to_owned();
        text.replace_range(at..(at + cut).min(E1000E.len()), &put);
        if let Ok(manifest) = Manifest::from_json(text.as_bytes()) {
            prop_assert_eq!(Manifest::from_json(manifest.to_json().as_bytes()), Ok(manifest));
        }
    }
}
