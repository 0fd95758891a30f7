//! `migcert replay`.

use super::input::{self, Input, Tried};
use super::{Exit, Output, file_name, print, said};
use clap::Args;
use migcert::bench::Bench;
use migcert::certificate::CaseFile;
use migcert::files::Folder;
use migcert::finding::{Bucket, Finding, Outcome};
use migcert::report::QUOTED;
use migcert::row;
use migcert::rule::Rule;
use migcert::rules;
use migcert::text::Lines;
use serde_json::{Value as Json, json};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

mod all;

#[derive(Args)]
pub(crate) struct ReplayArgs {
    /// Cases, inputs of a fuzz target, or regressions of a property
    #[arg(value_name = "FILE", required_unless_present = "all", conflicts_with = "all")]
    files: Vec<PathBuf>,
    /// Replay all findings in a directory, one line each: cases, and `crash-…` files of a fuzzer
    #[arg(long, value_name = "DIR", conflicts_with = "save")]
    all: Option<PathBuf>,
    /// Remove files of findings that are fixed
    #[arg(long, requires = "all")]
    prune: bool,
    /// Fuzz target, for inputs whose path doesn't name it
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Replay each N times; a finding that does not reproduce every time is flaky
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    times: u32,
    /// Directory to write what was replayed to, as a case
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn replay(args: &ReplayArgs) -> anyhow::Result<Exit> {
    if let Some(dir) = &args.all {
        return all::replay_all(dir, args);
    }
    let mut exit = Exit::Nothing;
    for file in &args.files {
        let input = input::read(file, args.target.as_deref())?;
        let played = Played::of(&input, args.times);
        let mut kept = Exit::Nothing;
        let saved = args.save.as_ref().zip(input.case()).map(|(dir, tried)| {
            let case = tried.case.to_toml(&tried.found(&played.outcome, played.bucket.as_ref()));
            let stem = file_name(&file.file_stem().unwrap_or_default().to_string_lossy());
            let stem = format!("{}-{stem}", tried.rule.id);
            let written = Folder::of_user(dir).and_then(|folder| folder.add(&stem, "toml", &case));
            kept = said(&written);
            CaseFile::of(written, case)
        });
        let text = || {
            let mut out = played.text(file, &input);
            match &saved {
                Some(CaseFile::Written { case: file }) => row!(out, "saved   {file}"),
                Some(CaseFile::Unwritten { case_text: case, .. }) => out.block(QUOTED, case),
                None => {}
            }
            out
        };
        let json = || {
            let mut json = played.json(file, &input);
            if let (Json::Object(json), Json::Object(saved)) = (&mut json, json!(saved)) {
                json.extend(saved);
            }
            json
        };
        print(&args.output, text, json)?;
        exit = exit.and(played.exit()).and(kept);
    }
    Ok(exit)
}

/// The result of replaying a file, once or several times.
struct Played {
    /// The worst outcome: broken, if it ever was.
    outcome: Outcome,
    /// The steps of the run with that outcome.
    steps: Vec<String>,
    bucket: Option<Bucket>,
    broken: u32,
    times: u32,
}

impl Played {
    fn of(input: &Input, times: u32) -> Played {
        let mut played = Played::once(input);
        for _ in 1..times {
            let again = Played::once(input);
            let (broken, times) = (played.broken + again.broken, played.times + 1);
            if rank(&again.outcome) < rank(&played.outcome) {
                played = again;
            }
            played = Played { broken, times, ..played };
        }
        played
    }

    fn once(input: &Input) -> Played {
        let (outcome, steps, bucket) = match input {
            Input::Case(tried) => {
                let Tried { rule, case, source, destination, .. } = &**tried;
                let bench = Bench::new(case, source, destination).telling().thorough();
                let (outcome, bucket) = rules::judged(Rule::alone, rule, &bench);
                (outcome, bench.told(), bucket)
            }
            Input::Bytes(target, bytes) => {
                let outcome = catch_unwind(|| target.judge(bytes)).unwrap_or_else(|panic| {
                    let words = panic.downcast_ref::<String>().map(String::as_str);
                    let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
                    Outcome::Broken(Finding {
                        summary: "it panicked".to_owned(),
                        expected: target.what.to_owned(),
                        observed: words.unwrap_or("no message").to_owned(),
                        ..Finding::default()
                    })
                });
                let bucket = finding(&outcome).map(|finding| Bucket {
                    rule: target.name.to_owned(),
                    phase: "reading".to_owned(),
                    place: finding.summary.clone(),
                });
                (outcome, Vec::new(), bucket)
            }
        };
        let broken = u32::from(matches!(outcome, Outcome::Broken(_)));
        Played { outcome, steps, bucket, broken, times: 1 }
    }

    fn is_flaky(&self) -> bool {
        0 < self.broken && self.broken < self.times
    }

    fn exit(&self) -> Exit {
        match self.outcome {
            Outcome::Broken(_) => Exit::Found,
            Outcome::Held => Exit::Nothing,
            Outcome::NotApplicable(_) | Outcome::Unsettled(_) => Exit::TooLittle,
        }
    }

    /// How many runs were broken, if there were several.
    fn rate(&self) -> Option<String> {
        let flaky = if self.is_flaky() { ": flaky" } else { "" };
        (1 < self.times).then(|| format!("{} of {}{flaky}", self.broken, self.times))
    }

    fn text(&self, file: &Path, input: &Input) -> Lines {
        let mut out = Lines::default();
        row!(out, "replay  {}", file.display());
        match input {
            Input::Case(tried) => {
                let rule = tried.rule;
                row!(out, "rule    {} ({}): {}", rule.id, rule.cites, rule.promise);
                tried.notes().iter().for_each(|note| row!(out, "note: {note}"));
            }
            Input::Bytes(target, bytes) => {
                row!(out, "input   {} bytes for `{}`: {}", bytes.len(), target.name, target.what);
            }
        }
        self.steps.iter().enumerate().for_each(|(i, step)| out.numbered(i + 1, format_args!("{step}")));
        ending(&mut out, &self.outcome);
        if let (Outcome::Broken(finding), Input::Case(tried)) = (&self.outcome, input) {
            row!(out, "  advice    {}", rules::advice(tried.rule, finding));
        }
        if let Some(bucket) = &self.bucket {
            row!(out, "  bucket    {bucket}");
        }
        self.rate().iter().for_each(|rate| row!(out, "broken in {rate}"));
        out
    }

    fn json(&self, file: &Path, input: &Input) -> Json {
        let (rule, notes) = match input {
            Input::Case(tried) => (tried.rule.id, tried.notes()),
            Input::Bytes(target, _) => (target.name, Vec::new()),
        };
        let part = |part: fn(&Finding) -> &str| finding(&self.outcome).map_or("", part);
        json!({
            "schema": "migcert/replay/1", "file": file.display().to_string(),
            "reproduced": matches!(self.outcome, Outcome::Broken(_)),
            "outcome": self.outcome.name(), "rule": rule, "notes": notes, "steps": self.steps,
            "summary": part(|f| &f.summary), "expected": part(|f| &f.expected),
            "observed": part(|f| &f.observed), "bucket": self.bucket.as_ref().map(bucket_json),
            "broken": self.broken, "times": self.times, "flaky": self.is_flaky(),
        })
    }
}

fn bucket_json(bucket: &Bucket) -> Json {
    json!({ "id": bucket.id(), "rule": bucket.rule, "phase": bucket.phase, "place": bucket.place })
}

/// Of several runs, the outcome with the lowest rank is reported.
fn rank(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Broken(_) => 0,
        Outcome::Unsettled(_) => 1,
        Outcome::NotApplicable(_) => 2,
        Outcome::Held => 3,
    }
}

fn finding(outcome: &Outcome) -> Option<&Finding> {
    if let Outcome::Broken(finding) = outcome { Some(finding) } else { None }
}

pub(super) fn ending(out: &mut Lines, outcome: &Outcome) {
    match outcome {
        Outcome::Broken(Finding { summary, expected, observed, .. }) => {
            row!(out, "still broken: {summary}");
            row!(out, "  expected  {expected}");
            row!(out, "  observed  {observed}");
        }
        Outcome::Held => row!(out, "no longer broken"),
        Outcome::NotApplicable(why) => row!(out, "can't tell: {why}"),
        Outcome::Unsettled(why) => row!(out, "can't tell: {why}"),
    }
}
