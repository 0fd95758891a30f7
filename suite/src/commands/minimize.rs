//! `migcert minimize`.

use super::input::{self, Input, Tried};
use super::replay::ending;
use super::{Exit, Output, print, said};
use anyhow::bail;
use clap::Args;
use migcert::bench::Bench;
use migcert::case::Case;
use migcert::files;
use migcert::finding::Outcome;
use migcert::impls;
use migcert::minimize::{Bounds, Names, Size, minimize as smaller};
use migcert::row;
use migcert::rule::Rule;
use migcert::rules::{self, Judge};
use migcert::subject::Subject;
use migcert::text::Lines;
use serde_json::{Map, Value as Json, json};
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct MinimizeArgs {
    /// A case, an input of a fuzz target, or a regression of a property
    file: PathBuf,
    /// File to write the smaller case to; printed if omitted
    #[arg(short, value_name = "OUT")]
    out: Option<PathBuf>,
    /// Maximum number of smaller cases to try; default: fewer where cases are slow
    #[arg(long, value_name = "N")]
    tries: Option<u32>,
    /// Fuzz target, for inputs whose path doesn't name it
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// Smaller cases to try for each case that a rule gets by default.
pub(super) const TRIES: u32 = 20;

pub(crate) fn minimize(args: &MinimizeArgs) -> anyhow::Result<Exit> {
    let name = args.file.display();
    let tried = match input::read(&args.file, args.target.as_deref())? {
        Input::Case(tried) => *tried,
        Input::Bytes(target, _) => {
            bail!(
                "{name}: its bytes do not decode to a case; shrink them with `cargo fuzz tmin {}`",
                target.name
            )
        }
    };
    let Tried { rule, source, destination, .. } = &tried;
    // As certify does, first ignore cases that also break a base rule; then judge the rule alone.
    let judges: [Judge; 2] = [Rule::judge, Rule::alone];
    let now = |judge: &Judge, case: &Case| {
        let outcome = on_bench(case, &tried, |bench| judge(rule, &bench.hasty()));
        outcome.unwrap_or(Outcome::NotApplicable("an implementation can't be opened".into()))
    };
    let is_broken = |outcome: &Outcome| matches!(outcome, Outcome::Broken(_));
    let Some(judge) = judges.iter().find(|judge| is_broken(&now(judge, &tried.case))) else {
        let outcome = now(&judges[1], &tried.case);
        let text = || {
            let mut out = Lines::default();
            row!(out, "minimize  {name}");
            ending(&mut out, &outcome);
            out
        };
        let json = || {
            json!({
                "schema": "migcert/minimize/1", "file": name.to_string(), "rule": rule.id,
                "reproduced": false, "outcome": outcome.name(),
            })
        };
        print(&args.output, text, json)?;
        return Ok(if outcome == Outcome::Held { Exit::Nothing } else { Exit::TooLittle });
    };
    let usual = source.cases.min(destination.cases);
    let bounds = Bounds {
        tries: args.tries.unwrap_or(usual.saturating_mul(TRIES)),
        subjects: [source, destination],
        names: Names::Free,
    };
    let small = smaller(tried.case.clone(), &bounds, &mut |case| is_broken(&now(judge, case)));
    let told = on_bench(&small.case, &tried, |bench| rules::judged(*judge, rule, &bench.telling()));
    let found = told.map(|(outcome, bucket)| tried.found(&outcome, bucket.as_ref()));
    let toml = small.case.to_toml(&found.unwrap_or_default());
    let written = args.out.as_ref().map(|out| files::write(out, &toml));
    let is_kept = written.as_ref().is_some_and(|written| said(written) == Exit::Nothing);
    let before = Size::of(&tried.case, &bounds);
    let after = Size::of(&small.case, &bounds);
    let text = || {
        let mut out = Lines::default();
        row!(out, "# {name}: {}, {} smaller cases tried", rule.id, small.tries);
        for ((level, before), (_, after)) in before.levels().into_iter().zip(after.levels()) {
            row!(out, "# {level:<8} {before:>5} -> {after}");
        }
        if !is_kept {
            out.block("", &toml);
        }
        out
    };
    let json = || {
        json!({
            "schema": "migcert/minimize/1", "file": name.to_string(), "rule": rule.id, "reproduced": true,
            "outcome": "broken", "tries": small.tries, "before": levels(&before), "after": levels(&after),
            "case": toml,
        })
    };
    print(&args.output, text, json)?;
    Ok(Exit::Found)
}

/// Judges a case on the implementations that it names; `None` if one can't be opened.
fn on_bench<T>(case: &Case, tried: &Tried, judge: impl FnOnce(Bench<'_>) -> T) -> Option<T> {
    let known = [&tried.source, &tried.destination];
    let opened: [Option<Subject>; 2] = [&case.source, &case.destination].map(|name| {
        let is_known = known.iter().any(|subject| subject.name == *name);
        if is_known { None } else { impls::subject(name).ok() }
    });
    let found = |name: &str| {
        let all = opened.iter().flatten().chain(known);
        all.into_iter().find(|subject| subject.name == name)
    };
    Some(judge(Bench::new(case, found(&case.source)?, found(&case.destination)?)))
}

fn levels(size: &Size) -> Json {
    Json::Object(
        size.levels().into_iter().map(|(level, n)| (level.to_owned(), json!(n))).collect::<Map<_, _>>(),
    )
}
