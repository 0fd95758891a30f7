//! `migcert list` and `migcert explain`.

use super::{Exit, Output, print};
use anyhow::bail;
use clap::ValueEnum;
use migcert::devices::{self, Device, Faulty};
use migcert::row;
use migcert::rule::Rule;
use migcert::rules;
use migcert::text::Lines;
use migcert_core::compat::{REASONS, ReasonInfo};
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
    let rows: Vec<Row> = match what {
        What::Rules => rules::ALL.iter().map(|rule| rule_row(rule)).collect(),
        What::Reasons => REASONS.iter().map(reason_row).collect(),
        What::Devices => devices::named().map(device_row).collect(),
        What::Faults => devices::faulty().map(|faulty| fault_row(&faulty)).collect(),
        What::Walks => {
            let has = |option| options.contains(&option);
            return list_walks(
                Options { p2p: has(OptionalStates::P2p), pre_copy: has(OptionalStates::PreCopy) },
                output,
            );
        }
    };
    let text = || {
        let mut out = Lines::default();
        for Row { name, rest, words, sentence, .. } in &rows {
            let words: String = words.iter().map(|word| format!(" {word:<6}")).collect();
            let wide = 28usize.saturating_sub(name.len());
            out.after(name, format_args!("{rest:<wide$}{words} {sentence}"));
        }
        out
    };
    let json = || json!({ "schema": "migcert/list/1", "rows": rows.iter().map(|row| &row.json).collect::<Vec<_>>() });
    print(output, text, json)?;
    Ok(Exit::Nothing)
}

/// A line of a list, and the same as JSON.
struct Row {
    name: &'static str,
    rest: String,
    words: Vec<String>,
    sentence: &'static str,
    json: Json,
}

fn rule_row(rule: &Rule) -> Row {
    let words = vec![rule.cites.to_owned(), rule.level.name().to_owned()];
    Row { name: rule.id, rest: String::new(), words, sentence: rule.promise, json: rule_json(rule) }
}

fn rule_json(rule: &Rule) -> Json {
    json!({ "id": rule.id, "requirement": rule.cites, "level": rule.level.name(), "promise": rule.promise })
}

fn reason_row(row: &'static ReasonInfo) -> Row {
    let json = json!({ "id": row.id, "requirement": row.cites, "means": row.means });
    let words = vec![row.cites.to_owned()];
    Row { name: row.id, rest: String::new(), words, sentence: row.means, json }
}

const BUILTIN: &str = "builtin:";

fn device_row(device: &'static Device) -> Row {
    let (usage, releases) = (device.usage(), device.releases());
    let json = json!({ "impl": usage, "releases": releases, "what": device.what });
    let rest = usage.trim_start_matches(BUILTIN).to_owned();
    Row { name: BUILTIN, rest, words: vec![releases.to_string()], sentence: device.what, json }
}

fn fault_row(faulty: &Faulty) -> Row {
    let Faulty { fault, name, .. } = faulty;
    let json = json!({ "id": fault.id, "requirement": fault.breaks, "family": fault.family.name(),
        "reference": fault.reference, "impl": name, "what": fault.what });
    let words = vec![fault.breaks.to_owned()];
    Row { name: fault.id, rest: String::new(), words, sentence: fault.what, json }
}

fn list_walks(options: Options, output: &Output) -> anyhow::Result<Exit> {
    let pairs: Vec<_> = State::ALL.iter().flat_map(|from| State::ALL.map(|to| (*from, to))).collect();
    let walk = |(from, to): &(State, State)| walk(*from, *to, options).ok();
    let text = || {
        let mut out = Lines::default();
        for pair in &pairs {
            let states = walk(pair).map_or_else(
                || " refused".to_owned(),
                |walk| walk.iter().map(|state| format!(" {state}")).collect(),
            );
            out.after(pair.0.name(), format_args!(" {}:{states}", pair.1));
        }
        out
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
        line.map(|line| line.trim_start_matches("- "))
    };
    let mut text = Lines::default();
    let paragraph = |text: &mut Lines, line: Option<&'static str>| {
        if let Some(line) = line {
            text.after(line, format_args!(""));
            row!(text);
        }
    };
    let json = if let Some(rule) = rules::named(id) {
        let faults = devices::faulty().filter(|faulty| faulty.fault.breaks == rule.cites);
        let faults: Vec<_> = faults.map(|faulty| (faulty.name, faulty.fault.what)).collect();
        text.after(rule.id, format_args!(" ({}): {}", rule.level.name(), rule.promise));
        row!(text);
        paragraph(&mut text, requirement(rule.cites));
        row!(text, "Where it is broken: {}.", rule.advice);
        if let Some((name, what)) = faults.first() {
            row!(text);
            row!(text, "For example, {what}:");
            row!(text, "  migcert certify {name} --only {}", rule.id);
        }
        let example = faults.first().map(|(name, _)| name);
        let mut json = rule_json(rule);
        json["advice"] = json!(rule.advice);
        json["requirement_text"] = json!(requirement(rule.cites));
        json["example"] = json!(example);
        json
    } else if let Some(row) = REASONS.iter().find(|row| row.id == id) {
        text.after(row.id, format_args!(": {}", row.means));
        row!(text);
        paragraph(&mut text, requirement(row.cites));
        row!(text, "What to do: {}.", row.advice);
        json!({ "id": row.id, "requirement": row.cites, "means": row.means, "advice": row.advice,
            "requirement_text": requirement(row.cites) })
    } else if let Some(Faulty { fault, name, .. }) = devices::faulty().find(|faulty| faulty.fault.id == id) {
        text.after(fault.id, format_args!(" (family {}): {}", fault.family, fault.what));
        if !fault.reference.is_empty() {
            row!(text, "Seen in: {}", fault.reference);
        }
        row!(text);
        paragraph(&mut text, requirement(fault.breaks));
        row!(text, "To see it found:");
        row!(text, "  migcert certify {name} --only {}", fault.breaks);
        json!({ "id": fault.id, "family": fault.family.to_string(), "requirement": fault.breaks,
            "reference": fault.reference, "what": fault.what, "impl": name,
            "requirement_text": requirement(fault.breaks) })
    } else if let Some(line) = requirement(id) {
        let rules: Vec<_> = rules::ALL.iter().filter(|rule| rule.cites == id).map(|rule| rule.id).collect();
        text.after(line, format_args!(""));
        if !rules.is_empty() {
            row!(text);
            row!(text, "Tested by: {}", rules.join(", "));
        }
        json!({ "id": id, "requirement_text": line, "rules": rules })
    } else {
        bail!(
            "`{id}` is no rule, reason, requirement or fault; `migcert list rules`, `reasons` or `faults` shows them"
        );
    };
    print(output, || text, || json)?;
    Ok(Exit::Nothing)
}
