//! What the program supports, and what it is asked for on the command line.
//!
//! Two forms: that of the mailing list,
//!
//! ```text
//! rtc --print-migration-info-json
//! rtc --socket-path PATH | --fd NUMBER [--m-NAME=VALUE | --m-NAME VALUE]... [--no-reset]
//! ```
//!
//! and one of its own, for a profile: `rtc -l PATH [-o NAME=VALUE]...`, as `rtc.toml` has it. The release, and a fault
//! to be found, are those of the name that it is called by: `rtc-1`, `rtc-2+alarm-forgotten`.

use crate::clock;
use crate::fault;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A parameter: its name, first value, off value, and allowed values.
struct Param {
    name: &'static str,
    init: Value,
    off: Value,
    allowed: Vec<Value>,
}

/// Release 2 has a periodic interrupt, a trim, and larger memory.
fn params(release: u32) -> Vec<Param> {
    let bools = || vec![json!(false), json!(true)];
    let sizes =
        if release == 1 { vec![json!(64), json!(128)] } else { vec![json!(64), json!(128), json!(256)] };
    let mut all = vec![
        Param { name: "log", init: json!(true), off: json!(false), allowed: bools() },
        Param { name: "nvram", init: json!(64), off: Value::Null, allowed: sizes },
    ];
    if release == 2 {
        let numbers = (0..8).map(Value::from).collect();
        all.push(Param { name: "periodic", init: json!(true), off: json!(false), allowed: bools() });
        all.push(Param { name: "trim", init: json!(0), off: json!(0), allowed: numbers });
    }
    all
}

/// `--print-migration-info-json`.
pub(crate) fn description(release: u32) -> Value {
    let mut described = serde_json::Map::new();
    for param in params(release) {
        let ty = if param.init.is_boolean() { "bool" } else { "int" };
        let mut entry = json!({"type": ty, "init_value": param.init, "allowed_values": param.allowed});
        if !param.off.is_null() {
            entry["off_value"] = param.off;
        }
        if param.name == "nvram" && fault::is("description-unstable") {
            entry["description"] = json!(format!("as seen by process {}", std::process::id()));
            entry["init_value"] = json!(if std::process::id().is_multiple_of(2) { 64 } else { 128 });
        }
        described.insert(param.name.to_owned(), entry);
    }
    let drift = release == 2 && fault::is("version-drift");
    let mut versions = json!({"1": {"nvram": 64, "log": drift}, "2": {"nvram": 64, "log": true}});
    let mut model = json!({"params": described, "latest": "2"});
    if release == 2 {
        versions["3"] = json!({"nvram": 128, "log": true, "periodic": true});
        model["latest"] = json!("3");
        // The trim is applied where seconds are counted.
        model["requires"] = json!([{"if": {"trim": ["1-7"]}, "then": {"periodic": [true]}}]);
    }
    model["versions"] = versions;
    json!({"models": {"example.org/rtc": model}})
}

/// Where the client is.
pub(crate) enum Listen {
    Path(String),
    Fd(i32),
}

/// What the command line asks for.
pub(crate) enum Asked {
    Version(u32),
    Description(u32),
    Instance { listen: Listen, setup: clock::Setup, resets: bool },
}

/// Reads the command line.
pub(crate) fn asked(mut args: impl Iterator<Item = String>) -> Result<Asked, String> {
    let release = called(&args.next().unwrap_or_default())?;
    let mut args = args.flat_map(|arg| match arg.split_once('=') {
        Some((option, value)) if option.starts_with("--") => vec![option.to_owned(), value.to_owned()],
        _ => vec![arg],
    });
    let (mut listen, mut describe, mut resets, mut named) = (None, false, true, Vec::new());
    while let Some(option) = args.next() {
        match option.as_str() {
            "--print-migration-info-json" => {
                describe = true;
                continue;
            }
            "--no-reset" => {
                resets = false;
                continue;
            }
            "--version" => return Ok(Asked::Version(release)),
            _ => {}
        }
        let value = args.next().ok_or(format!("`{option}` needs a value"))?;
        let bad = || format!("`{option} {value}` is not allowed");
        match (option.as_str(), option.strip_prefix("--m-")) {
            ("--socket-path" | "-l", _) => listen = Some(Listen::Path(value)),
            ("--fd", _) => listen = Some(Listen::Fd(value.parse().map_err(|_| bad())?)),
            ("-o", _) => {
                let (name, value) = value.split_once('=').ok_or_else(bad)?;
                named.push((name.to_owned(), value.to_owned()));
            }
            (_, Some(name)) => named.push((name.to_owned(), value)),
            _ => return Err(format!("option `{option}` is not known")),
        }
    }
    if describe {
        return Ok(Asked::Description(release));
    }
    let setup = setup(release, named)?;
    let listen = listen.ok_or("give --socket-path or --fd")?;
    Ok(Asked::Instance { listen, setup, resets })
}

/// The release that a name stands for, once its fault is planted.
fn called(path: &str) -> Result<u32, String> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let (name, fault) = name.split_once('+').map_or((name, None), |(name, fault)| (name, Some(fault)));
    if let Some(fault) = fault.filter(|fault| !fault::plant(fault)) {
        return Err(format!("fault `{fault}` is not known"));
    }
    Ok(if name.ends_with("-1") { 1 } else { 2 })
}

fn setup(release: u32, named: Vec<(String, String)>) -> Result<clock::Setup, String> {
    let params = params(release);
    let mut values: BTreeMap<_, _> = params.iter().map(|param| (param.name, param.init.clone())).collect();
    if fault::is("init-differs") {
        values.insert("nvram", json!(128));
    }
    for (name, text) in named {
        let found = params.iter().find(|param| param.name == name);
        let value = found.and_then(|param| param.allowed.iter().find(|value| shown(value) == text));
        match (found, value) {
            (Some(param), Some(value)) => drop(values.insert(param.name, value.clone())),
            _ if fault::is("unknown-accepted") => {}
            (None, _) => return Err(format!("parameter `{name}` is not known")),
            (Some(_), None) => return Err(format!("`{name}={text}` is not allowed")),
        }
    }
    let on = |name: &str| values.get(name).is_some_and(|value| value == true);
    let number = |name: &str| values.get(name).and_then(Value::as_u64).unwrap_or(0);
    if number("nvram") == 128 && fault::is("allowed-refused") {
        return Err("`nvram=128` is not allowed".to_owned());
    }
    if number("trim") != 0 && !on("periodic") && !fault::is("unknown-accepted") {
        return Err(format!("`trim={}` needs `periodic=on`", number("trim")));
    }
    Ok(clock::Setup {
        nvram: number("nvram") as usize,
        log: on("log"),
        periodic: on("periodic"),
        trim: number("trim") as u32,
        newest: release == 2,
    })
}

fn shown(value: &Value) -> String {
    match value {
        Value::Bool(true) => "on".to_owned(),
        Value::Bool(false) => "off".to_owned(),
        other => other.to_string(),
    }
}
