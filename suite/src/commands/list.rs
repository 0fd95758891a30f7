//! `migcert list` and `migcert explain`.

use super::{Exit, Output, print};
use anyhow::bail;
use clap::ValueEnum;
use migcert::devices::{self, Faulty};
use migcert::rules::{self, Rule};
use migcert_core::compat::REASONS;
use migcert_core::device::{Options, State, walk};
use serde_json::{Value as Json, json};

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum What {
    Rules,
    Reasons,
    Devices,
    Faults,
    Walks,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OptionalStates {
    P2p,
    PreCopy,
}

pub(crate) fn list(what: What, options: &[OptionalStates], output: &Output) -> anyhow::Result<Exit> {
    let rows: Vec<Json> = match what {
        What::Rules => rules::ALL.iter().map(|rule| rule_json(rule)).collect(),
        What::Reasons => REASONS.iter().map(|row| json!({ "id": row.id, "requirement": row.cites, "means": row.means })).collect(),
        What::Devices => devices::named()
            .map(|device| json!({ "impl": device.usage(), "releases": device.releases(), "what": device.what }))
            .collect(),
        What::Faults => devices::faulty().map(|Faulty { fault, name, .. }| {
            json!({ "id": fault.id, "requirement": fault.breaks, "family": fault.family.to_string(), "reference": fault.reference, "impl": name, "what": fault.what })
        }).collect(),
        What::Walks => {
            let has = |option| options.contains(&option);
            return list_walks(Options { p2p: has(OptionalStates::P2p), pre_copy: has(OptionalStates::PreCopy) }, output);
        }
    };
    let text = || rows.iter().map(row_text).collect();
    print(output, text, || json!({ "schema": "migcert/list/1", "rows": rows }))?;
    Ok(Exit::Nothing)
}

fn rule_json(rule: &Rule) -> Json {
    json!({ "id": rule.id, "requirement": rule.cites, "level": rule.level.name(), "promise": rule.promise })
}

/// The members of a row, the last one being its sentence.
fn row_text(row: &Json) -> String {
    let word = |name: &str| row.get(name).map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
    let mut out = format!("{:<28}", word("id").or_else(|| word("impl")).unwrap_or_default());
    for name in ["requirement", "level", "releases"] {
        out += &word(name).map_or_else(String::new, |word| format!(" {word:<6}"));
    }
    let sentence = ["promise", "means", "what"].into_iter().find_map(word);
    format!("{out} {}\n", sentence.unwrap_or_default())
}

fn list_walks(options: Options, output: &Output) -> anyhow::Result<Exit> {
    let pairs: Vec<_> = State::ALL.iter().flat_map(|from| State::ALL.map(|to| (*from, to))).collect();
    let walk = |(from, to): &(State, State)| walk(*from, *to, options).ok();
    let text = || {
        let line = |pair: &(State, State)| {
            let states = walk(pair).map_or_else(
                || " refused".to_owned(),
                |walk| walk.iter().map(|state| format!(" {state}")).collect(),
            );
            format!("{} {}:{states}\n", pair.0, pair.1)
        };
        pairs.iter().map(line).collect()
    };
    let json = || {
        let row = |pair: &(State, State)| {
            let names = walk(pair).map(|walk| walk.iter().map(|state| state.name()).collect::<Vec<_>>());
            json!({ "from": pair.0.name(), "to": pair.1.name(), "enters": names })
        };
        json!({ "schema": "migcert/list/1", "rows": pairs.iter().map(row).collect::<Vec<_>>() })
    };
    print(output, text, json)?;
    Ok(Exit::Nothing)
}

pub(crate) fn explain(id: &str, output: &Output) -> anyhow::Result<Exit> {
    let requirement = |id: &str| {
        let begins = format!("- {id} ");
        let line = migcert_core::REQUIREMENTS.lines().find(|line| line.starts_with(&begins));
        line.map(|line| line.trim_start_matches("- ").to_owned())
    };
    let (json, text) = if let Some(rule) = rules::named(id) {
        let faults = devices::faulty().filter(|faulty| faulty.fault.breaks == rule.cites);
        let faults: Vec<_> = faults.map(|faulty| (faulty.name, faulty.fault.what)).collect();
        let mut text = format!("{} ({}): {}\n\n", rule.id, rule.level.name(), rule.promise);
        text += &requirement(rule.cites).map_or_else(String::new, |line| format!("{line}\n\n"));
        text += &format!("Where it is broken: {}.\n", rule.advice);
        if let Some((name, what)) = faults.first() {
            text += &format!("\nFor example, {what}:\n  migcert certify {name} --only {}\n", rule.id);
        }
        let example = faults.first().map(|(name, _)| name);
        let mut json = rule_json(rule);
        json["advice"] = json!(rule.advice);
        json["requirement_text"] = json!(requirement(rule.cites));
        json["example"] = json!(example);
        (json, text)
    } else if let Some(row) = REASONS.iter().find(|row| row.id == id) {
        let mut text = format!("{}: {}\n\n", row.id, row.means);
        text += &requirement(row.cites).map_or_else(String::new, |line| format!("{line}\n\n"));
        text += &format!("What to do: {}.\n", row.advice);
        let json = json!({ "id": row.id, "requirement": row.cites, "means": row.means, "advice": row.advice,
            "requirement_text": requirement(row.cites) });
        (json, text)
    } else if let Some(Faulty { fault, name, .. }) = devices::faulty().find(|faulty| faulty.fault.id == id) {
        let mut text = format!("{} (family {}): {}\n", fault.id, fault.family, fault.what);
        if !fault.reference.is_empty() {
            text += &format!("Seen in: {}\n", fault.reference);
        }
        text += &requirement(fault.breaks).map_or_else(String::new, |line| format!("\n{line}\n"));
        text += &format!("\nTo see it found:\n  migcert certify {name} --only {}\n", fault.breaks);
        let json = json!({ "id": fault.id, "family": fault.family.to_string(), "requirement": fault.breaks,
            "reference": fault.reference, "what": fault.what, "impl": name,
            "requirement_text": requirement(fault.breaks) });
        (json, text)
    } else if let Some(line) = requirement(id) {
        let rules: Vec<_> = rules::ALL.iter().filter(|rule| rule.cites == id).map(|rule| rule.id).collect();
        let mut text = format!("{line}\n");
        if !rules.is_empty() {
            text += &format!("\nTested by: {}\n", rules.join(", "));
        }
        (json!({ "id": id, "requirement_text": line, "rules": rules }), text)
    } else {
        bail!(
            "`{id}` is no rule, reason, requirement or fault; `migcert list rules`, `reasons` or `faults` shows them"
        );
    };
    print(output, || text, || json)?;
    Ok(Exit::Nothing)
}
