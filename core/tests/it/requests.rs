//! Configurations asked for in text (R-4.1), and every culprit of those that can't be had (R-4.3).

use migcert_core::model::ModelId;
use migcert_core::program::{Manifest, Model};
use migcert_core::version::Request;

fn model(json: &str) -> Model {
    let manifest = Manifest::from_json(format!(r#"{{"models": {{"m": {json}}}}}"#).as_bytes());
    manifest.expect("a manifest").models.remove(&ModelId::from("m")).expect("the model")
}

/// The card of the thread, with a name as well.
fn nic() -> Model {
    model(
        r#"{"params": {
            "rx-filter-size": {"type": "int", "init_value": 32, "off_value": 0, "allowed_values": ["0-64"]},
            "num-queues": {"type": "int", "init_value": 4, "allowed_values": [1, 2, 4, 8]},
            "tso": {"type": "bool", "init_value": true, "off_value": false},
            "name": {"type": "str", "init_value": "eth", "off_value": ""}},
        "versions": {"1": {"num-queues": 1}, "2": {"num-queues": 4, "rx-filter-size": 32, "tso": true, "name": "eth"}},
        "latest": "2",
        "requires": [{"if": {"rx-filter-size": ["33-64"]}, "then": {"num-queues": [4, 8]}}]}"#,
    )
}

#[track_caller]
fn means(model: &Model, texts: &[&str], configuration: &str) {
    let setup = Request::parse(texts).expect("a request").expand(model).expect("a configuration");
    assert_eq!(setup.to_string(), configuration, "{texts:?}");
    let again = Request::parse([configuration]).expect("a request").expand(model);
    assert_eq!(again.expect("a configuration"), setup);
}

#[test]
fn settings_go_on_top_of_version_or_init_values() {
    let nic = &nic();
    means(nic, &[], "name=eth,num-queues=4,rx-filter-size=32,tso=on");
    means(nic, &[""], "name=eth,num-queues=4,rx-filter-size=32,tso=on");
    means(nic, &["version=1"], "name=,num-queues=1,rx-filter-size=0,tso=off");
    means(nic, &["version=2,rx-filter-size=64"], "name=eth,num-queues=4,rx-filter-size=64,tso=on");
    means(nic, &["rx-filter-size=16,version=1"], "name=,num-queues=1,rx-filter-size=16,tso=off");
    means(nic, &["tso=on,version=1", "num-queues=8"], "name=,num-queues=8,rx-filter-size=0,tso=on");
    means(nic, &["rx-filter-size=0"], "name=eth,num-queues=4,rx-filter-size=0,tso=on");
    means(nic, &["num-queues=8,rx-filter-size=64"], "name=eth,num-queues=8,rx-filter-size=64,tso=on");
}

#[test]
fn a_comma_can_be_part_of_a_value() {
    let nic = &nic();
    means(nic, &[r"name=a\,b"], r"name=a\,b,num-queues=4,rx-filter-size=32,tso=on");
    means(nic, &[r"name=a\\,tso=off"], r"name=a\\,num-queues=4,rx-filter-size=32,tso=off");
    means(nic, &[r"name=\n\"], r"name=\\n\\,num-queues=4,rx-filter-size=32,tso=on");
    means(nic, &["name=a=b c"], "name=a=b c,num-queues=4,rx-filter-size=32,tso=on");
    means(nic, &[r"name=\\\,"], r"name=\\\,,num-queues=4,rx-filter-size=32,tso=on");
    let comma = r#"{"params": {"a,b\\": {"type": "int", "init_value": 1}}}"#;
    means(&model(comma), &[r"a\,b\\=2"], r"a\,b\\=2");
}

#[test]
fn version_is_a_parameter_where_there_are_no_versions() {
    let without = r#"{"params": {"version": {"type": "str", "init_value": "ü"}}}"#;
    means(&model(without), &[], "version=ü");
    means(&model(without), &["version="], "version=");
    let with =
        r#"{"params": {"version": {"type": "int", "init_value": 3}}, "versions": {"1": {"version": 7}}}"#;
    let setup = Request::parse(["version=1"]).expect("a request").expand(&model(with));
    assert_eq!(setup.expect("a configuration").to_string(), "version=7");
}

#[test]
fn a_model_of_version_strings_has_only_those() {
    let r4 = &model(r#"{"versions": ["q1-v2", "q64-v2", "a,b"], "latest": "q64-v2"}"#);
    means(r4, &[], "version=q64-v2");
    means(r4, &["version=q1-v2"], "version=q1-v2");
    means(r4, &[r"version=a\,b"], r"version=a\,b");
    lacks(r4, "version=v9", "version `v9` is not known");
    lacks(
        r4,
        "tso=on,version=v9,x=1",
        "parameter `tso` is not known; version `v9` is not known; parameter `x` is not known",
    );
    lacks(r4, "version=", "`` is not a version: versions are ASCII, not empty and without newline");
}

#[track_caller]
fn malformed(texts: &[&str], message: &str) {
    assert_eq!(Request::parse(texts).expect_err("malformed").to_string(), message);
}

#[test]
fn what_sets_nothing_or_twice_is_refused() {
    let how = r"settings are written NAME=VALUE, separated by commas (`\,` is a comma inside a value)";
    malformed(&["tso"], &format!("`tso` sets nothing: {how}"));
    malformed(&["tso=on,"], &format!("`` sets nothing: {how}"));
    malformed(&["tso=on,,x=1"], &format!("`` sets nothing: {how}"));
    malformed(&["tso=on,tso=on"], "`tso` is set twice");
    malformed(&["tso=on", "x=1", "tso=off"], "`tso` is set twice");
    malformed(&["version=1", "version=1"], "`version` is set twice");
    let rule = "is not a parameter name: names are not empty and have no `=`, `/` or white space";
    malformed(&["=1"], &format!("`` {rule}"));
    malformed(&["a=1, b=2"], &format!("` b` {rule}"));
    malformed(&["a/b=2"], &format!("`a/b` {rule}"));
}

#[track_caller]
fn lacks(model: &Model, text: &str, culprits: &str) {
    let request = Request::parse([text]).expect("a request");
    assert_eq!(request.expand(model).expect_err("unsupported").to_string(), culprits);
}

#[test]
fn every_culprit_is_named() {
    let nic = &nic();
    lacks(nic, "version=3", "version `3` is not known");
    lacks(nic, "version=ü", "`ü` is not a version: versions are ASCII, not empty and without newline");
    lacks(nic, "mtu=1500", "parameter `mtu` is not known");
    lacks(nic, "rx-filter-size=65", "`rx-filter-size=65` is not allowed");
    lacks(nic, "num-queues=four", "parameter `num-queues`: `four` is not a signed 64-bit number");
    lacks(
        nic,
        "num-queues=9223372036854775808",
        "parameter `num-queues`: `9223372036854775808` is not a signed 64-bit number",
    );
    lacks(nic, "tso=true", "parameter `tso`: `true` is not `on` or `off`");
    lacks(nic, "name=a\nb", r"parameter `name`: `a\nb` is not text without newline");
    lacks(nic, "version=1,rx-filter-size=64", "`rx-filter-size` in 33-64 needs `num-queues` in 4|8");
    lacks(
        nic,
        "mtu=1,version=9,tso=1,num-queues=3,rx-filter-size=40",
        "version `9` is not known; parameter `mtu` is not known; parameter `tso`: `1` is not `on` or `off`; \
         `num-queues=3` is not allowed; `rx-filter-size` in 33-64 needs `num-queues` in 4|8",
    );
    // What has no value here breaks no clause: `num-queues` would have come from the version.
    lacks(nic, "version=9,rx-filter-size=40", "version `9` is not known");
}
