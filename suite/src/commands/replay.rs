//! `migcert replay`.

use super::{Exit, Output, print};
use anyhow::{Context, anyhow, bail};
use migcert::bench::Bench;
use migcert::case::{self, Case};
use migcert::impls;
use migcert::rules::{self, Finding, Outcome};
use serde_json::json;
use std::path::{Path, PathBuf};

pub(crate) fn replay(files: &[PathBuf], output: &Output) -> anyhow::Result<Exit> {
    let mut exit = Exit::Nothing;
    for file in files {
        exit = match (replay_one(file, output)?, exit) {
            (Exit::Found, _) | (_, Exit::Found) => Exit::Found,
            (Exit::TooLittle, _) => Exit::TooLittle,
            (_, before) => before,
        };
    }
    Ok(exit)
}

fn replay_one(file: &Path, output: &Output) -> anyhow::Result<Exit> {
    let context = || file.display().to_string();
    let bytes = impls::read(file, case::MAX_FILE + 1)?;
    if case::MAX_FILE < bytes.len() as u64 {
        bail!("{}: more than {} bytes are no case", context(), case::MAX_FILE);
    }
    let text = String::from_utf8(bytes).with_context(context)?;
    let (case, found) = Case::from_toml(&text).with_context(context)?;
    let rule = rules::ALL.iter().find(|rule| rule.id == case.rule);
    let rule =
        rule.ok_or_else(|| anyhow!("{}: no rule `{}`; see `migcert list rules`", context(), case.rule))?;
    let source = impls::subject(&case.source).with_context(context)?;
    let destination = impls::subject(&case.destination).with_context(context)?;
    for subject in [&source, &destination] {
        let before = found.sha256.get(&subject.name);
        if let (Some(before), Some(now)) = (before, &subject.sha256)
            && before != now
        {
            anstream::eprintln!("note: `{}` is another binary than the one this was found in", subject.name);
        }
    }
    let bench = Bench::new(&case, &source, &destination).telling();
    let outcome = rule.judge(&bench);
    let steps = bench.told();
    let (reproduced, exit) = match &outcome {
        Outcome::Broken(_) => (true, Exit::Found),
        Outcome::Held => (false, Exit::Nothing),
        Outcome::NotApplicable(_) | Outcome::Unsettled(_) => (false, Exit::TooLittle),
    };
    let nothing = Finding { summary: String::new(), expected: String::new(), observed: String::new() };
    let finding = match &outcome {
        Outcome::Broken(finding) => finding,
        _ => &nothing,
    };
    let text = || {
        let mut out = format!("{}: {} ({}): {}\n", context(), rule.id, rule.cites, rule.promise);
        steps.iter().enumerate().for_each(|(i, step)| out += &format!("{:>4}. {step}\n", i + 1));
        out += &match &outcome {
            Outcome::Broken(Finding { summary, expected, observed }) => format!(
                "still broken: {summary}\n  expected  {expected}\n  observed  {observed}\n  advice    {}\n",
                rule.advice
            ),
            Outcome::Held => "no longer broken\n".to_owned(),
            Outcome::NotApplicable(why) => format!("can't tell: {why}\n"),
            Outcome::Unsettled(why) => format!("can't tell: {why}\n"),
        };
        out
    };
    let json = || {
        json!({
            "schema": "migcert/replay/1",
            "file": context(),
            "reproduced": reproduced,
            "outcome": outcome.name(),
            "rule": rule.id,
            "steps": steps,
            "summary": finding.summary,
            "expected": finding.expected,
            "observed": finding.observed,
        })
    };
    print(output, text, json)?;
    Ok(exit)
}
