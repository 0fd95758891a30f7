//! `migcert replay`.

use super::{Exit, Output, print, write};
use anyhow::{Context, anyhow, bail};
use clap::Args;
use migcert::bench::{Bench, Subject};
use migcert::case::{self, Case, Found};
use migcert::impls;
use migcert::oracle::{Drawn, TARGETS, Target};
use migcert::rules::{self, Finding, Outcome, Rule};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Args)]
pub(crate) struct ReplayArgs {
    /// Case files, or inputs of a fuzz target
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The fuzz target of inputs that don't lie in a folder of its name
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Writes what was replayed as a case into this folder
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn replay(args: &ReplayArgs) -> anyhow::Result<Exit> {
    let mut exit = Exit::Nothing;
    for file in &args.files {
        exit = match (replay_one(file, args).with_context(|| file.display().to_string())?, exit) {
            (Exit::Found, _) | (_, Exit::Found) => Exit::Found,
            (Exit::TooLittle, _) => Exit::TooLittle,
            (_, before) => before,
        };
    }
    Ok(exit)
}

/// What a file says to be tried.
struct Tried {
    rule: &'static Rule,
    case: Case,
    source: Arc<Subject>,
    destination: Arc<Subject>,
}

fn replay_one(file: &Path, args: &ReplayArgs) -> anyhow::Result<Exit> {
    let bytes = impls::read(file, case::MAX_FILE + 1)?;
    if case::MAX_FILE < bytes.len() as u64 {
        bail!("more than {} bytes are no case", case::MAX_FILE);
    }
    let is_case = file.extension().is_some_and(|extension| extension == "toml");
    let tried = match target(file, args)? {
        Some(target) if !is_case => match target.read(&bytes) {
            Some(Drawn { rule, case, source, destination }) => Tried { rule, case, source, destination },
            None => return plain(file, target, &bytes, &args.output),
        },
        _ if is_case => case(&bytes)?,
        _ => bail!("it is no `.toml`; name the fuzz target that it is an input of with --target"),
    };
    tell(file, &tried, args)
}

/// The fuzz target of an input: as it is named, or by the folder that it lies in.
fn target(file: &Path, args: &ReplayArgs) -> anyhow::Result<Option<&'static Target>> {
    let names = || TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join("`, `");
    if let Some(name) = &args.target {
        let found = TARGETS.iter().find(|target| target.name == name);
        return found.map(Some).ok_or_else(|| anyhow!("no fuzz target `{name}`; there are `{}`", names()));
    }
    let folder = file.parent().and_then(|folder| folder.file_name());
    Ok(TARGETS.iter().find(|target| folder.is_some_and(|folder| folder == target.name)))
}

/// An input that means no case, only bytes.
fn plain(file: &Path, target: &Target, bytes: &[u8], output: &Output) -> anyhow::Result<Exit> {
    let outcome = target.judge(bytes);
    let name = file.display().to_string();
    let finding = finding(&outcome);
    let text = || {
        format!("{name}: {} bytes for `{}`: {}\n{}", bytes.len(), target.name, target.what, ending(&outcome))
    };
    let json = || {
        json!({
            "schema": "migcert/replay/1", "file": name, "reproduced": matches!(outcome, Outcome::Broken(_)),
            "outcome": outcome.name(), "rule": target.name, "steps": [], "summary": finding.summary,
            "expected": finding.expected, "observed": finding.observed,
        })
    };
    print(output, text, json)?;
    Ok(exit(&outcome))
}

fn case(bytes: &[u8]) -> anyhow::Result<Tried> {
    let (case, found) = Case::from_toml(str::from_utf8(bytes)?)?;
    let rule = rules::ALL.iter().find(|rule| rule.id == case.rule);
    let rule = rule.ok_or_else(|| anyhow!("no rule `{}`; see `migcert list rules`", case.rule))?;
    let source = Arc::new(impls::fresh(&case.source)?);
    let destination = Arc::new(impls::fresh(&case.destination)?);
    for subject in [&source, &destination] {
        let before = found.sha256.get(&subject.name);
        if let (Some(before), Some(now)) = (before, &subject.sha256)
            && before != now
        {
            anstream::eprintln!("note: `{}` is another binary than the one this was found in", subject.name);
        }
    }
    Ok(Tried { rule, case, source, destination })
}

fn tell(file: &Path, tried: &Tried, args: &ReplayArgs) -> anyhow::Result<Exit> {
    let Tried { rule, case, source, destination } = tried;
    let bench = Bench::new(case, source, destination).telling();
    let outcome = rule.alone(&bench);
    let steps = bench.told();
    let name = file.display().to_string();
    let finding = finding(&outcome);
    if let Some(dir) = &args.save {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let found = matches!(outcome, Outcome::Broken(_)).then(|| finding.clone());
        let hashes =
            [source, destination].into_iter().filter_map(|s| Some((s.name.clone(), s.sha256.clone()?)));
        let found = Found { finding: found, sha256: hashes.collect() };
        write(&dir.join(format!("{}-{stem}.toml", rule.id)), &case.to_toml(&found))?;
    }
    let text = || {
        let mut out = format!("{name}: {} ({}): {}\n", rule.id, rule.cites, rule.promise);
        steps.iter().enumerate().for_each(|(i, step)| out += &format!("{:>4}. {step}\n", i + 1));
        out += &ending(&outcome);
        if matches!(outcome, Outcome::Broken(_)) {
            out += &format!("  advice    {}\n", rule.advice);
        }
        out
    };
    let json = || {
        json!({
            "schema": "migcert/replay/1", "file": name, "reproduced": matches!(outcome, Outcome::Broken(_)),
            "outcome": outcome.name(), "rule": rule.id, "steps": steps, "summary": finding.summary,
            "expected": finding.expected, "observed": finding.observed,
        })
    };
    print(&args.output, text, json)?;
    Ok(exit(&outcome))
}

fn exit(outcome: &Outcome) -> Exit {
    match outcome {
        Outcome::Broken(_) => Exit::Found,
        Outcome::Held => Exit::Nothing,
        Outcome::NotApplicable(_) | Outcome::Unsettled(_) => Exit::TooLittle,
    }
}

fn finding(outcome: &Outcome) -> Finding {
    match outcome {
        Outcome::Broken(finding) => finding.clone(),
        _ => Finding { summary: String::new(), expected: String::new(), observed: String::new() },
    }
}

fn ending(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Broken(Finding { summary, expected, observed }) => {
            format!("still broken: {summary}\n  expected  {expected}\n  observed  {observed}\n")
        }
        Outcome::Held => "no longer broken\n".to_owned(),
        Outcome::NotApplicable(why) => format!("can't tell: {why}\n"),
        Outcome::Unsettled(why) => format!("can't tell: {why}\n"),
    }
}
