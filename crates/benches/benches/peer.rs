//! What both benches share: descriptions as vendors write them, the same constraints as a JSON
//! schema.

use migcert_core::param::{Allowed, Configuration, ParamName, Type};
use migcert_core::program::{Description, Manifest, Model};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

/// Migration info of a network card; each `variant` is an implementation of its own, and all of
/// them have much in common, as releases and vendors do.
pub(crate) fn nic(variant: usize) -> String {
    let pick =
        |salt: usize, choices: &[[&'static str; 2]]| choices[(variant / salt + variant) % choices.len()];
    let [speed, speeds] = pick(1, &[["10000", "[10, 100, 1000, 10000]"], ["1000", "[10, 100, 1000]"]]);
    let [queue, queues] = pick(2, &[["4", "[1, 2, 4, 8]"], ["4", "[4]"], ["16", "[\"1-16\"]"]]);
    let [ring, rings] = pick(3, &[["2000", "[\"64-255\", 256, 512, \"1024-2048\"]"], ["512", "[256, 512]"]]);
    let [filter, filters] = pick(5, &[["32", "[\"0-64\"]"], ["32", "[0, 32, 64]"], ["128", "[0, 64, 128]"]]);
    let [vlan, vlans] = pick(7, &[["128", "[0, 128, 4096]"], ["0", "[0, 128]"]]);
    format!(
        r#"{{"models": {{"https://qemu.org/devices/e1000e": {{
  "params": {{
    "link-speed":     {{"type": "int", "init_value": {speed}, "allowed_values": {speeds}, "description": "Mbit/s, as the guest reads it"}},
    "mtu":            {{"type": "int", "init_value": 1500, "off_value": 1500, "allowed_values": ["68-9000"]}},
    "num-queues":     {{"type": "int", "init_value": {queue}, "allowed_values": {queues}}},
    "offloads":       {{"type": "str", "init_value": "tso", "off_value": "none", "allowed_values": ["none", "csum", "tso"]}},
    "packed-ring":    {{"type": "bool", "init_value": true, "off_value": false, "allowed_values": [true, false]}},
    "ring-size":      {{"type": "int", "init_value": {ring}, "allowed_values": {rings}}},
    "rx-filter-size": {{"type": "int", "init_value": {filter}, "off_value": 0, "allowed_values": {filters}}},
    "vlan-table":     {{"type": "int", "init_value": {vlan}, "off_value": 0, "allowed_values": {vlans}}}}},
  "versions": {{"1": {{"link-speed": 1000, "num-queues": 4, "ring-size": 256}}}},
  "requires": [
    {{"if": {{"rx-filter-size": ["33-64"]}}, "then": {{"num-queues": ["4-8"]}}}},
    {{"if": {{"packed-ring": [true]}}, "then": {{"ring-size": [256, 512, "1024-2048"]}}}},
    {{"if": {{"vlan-table": [128], "offloads": ["tso"]}}, "then": {{"mtu": ["68-1500"]}}}}]}}}}}}"#
    )
}

/// The one model of a document.
pub(crate) fn description(json: &str) -> Description {
    let manifest = Manifest::from_json(json.as_bytes()).expect("migration info");
    match manifest.models.into_values().next() {
        Some(Model::Params(description)) => description,
        other => panic!("{other:?}"),
    }
}

/// A list as the peer reads it.
pub(crate) fn instance(list: &Configuration) -> Json {
    serde_json::to_value(list).expect("a list is JSON")
}

/// R-5.2 as a JSON schema of migration parameter lists.
pub(crate) fn schema(there: &Description) -> Json {
    let properties = |sets: &mut dyn Iterator<Item = (&ParamName, &Allowed)>| -> Map<String, Json> {
        sets.map(|(name, set)| (name.to_string(), values(there.params[name].ty, set))).collect()
    };
    // What is absent is off, which may be in the set or not.
    let side = |sets: &BTreeMap<ParamName, Allowed>| {
        let off = |name| there.params[name].off.as_ref();
        let needed = sets.iter().filter(|(name, set)| !off(*name).is_some_and(|off| set.contains(off)));
        let needed: Vec<_> = needed.map(|(name, _)| name).collect();
        json!({"properties": properties(&mut sets.iter()), "required": needed})
    };
    let clauses = there.requires.iter();
    let clauses: Vec<_> = clauses.map(|c| json!({"if": side(&c.when), "then": side(&c.then)})).collect();
    let needed: Vec<_> = there.params.iter().filter(|(_, p)| p.off.is_none()).map(|(name, _)| name).collect();
    json!({
        "type": "object",
        "properties": properties(&mut there.params.iter().map(|(name, param)| (name, &param.allowed))),
        "required": needed,
        "additionalProperties": false,
        "allOf": clauses,
    })
}

fn values(ty: Type, allowed: &Allowed) -> Json {
    let range = |min: &i64, max: &i64| match min == max {
        true => json!({"const": min}),
        false => json!({"minimum": min, "maximum": max}),
    };
    match allowed {
        Allowed::Any => {
            json!({"type": match ty { Type::Bool => "boolean", Type::Int => "integer", Type::Str => "string" }})
        }
        Allowed::Bools(set) => json!({"enum": set}),
        Allowed::Ints(set) => {
            let ranges: Vec<_> = set.ranges().iter().map(|r| range(r.start(), r.end())).collect();
            json!({"type": "integer", "anyOf": ranges})
        }
        Allowed::Strs(set) => json!({"enum": set}),
    }
}

/// Whether to try everything once and measure nothing: anything but `cargo bench`.
pub(crate) fn quick() -> bool {
    let has = |wanted: &str| std::env::args().any(|arg| arg == wanted);
    has("--test") || !has("--bench")
}
