//! `migcert zoo`.

use super::certify::{drawn_seed, progress, seed};
use super::{Exit, Output, print, said, write_out};
use anyhow::{anyhow, bail};
use clap::Args;
use migcert::case::Found;
use migcert::devices::{self, Faulty};
use migcert::files::Folder;
use migcert::parallel;
use migcert::text::Lines;
use migcert::zoo::{Hunt, Trial};
use migcert::{row, say};
use serde_json::{Value as Json, json};
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct ZooArgs {
    /// Only these faults; all of `migcert list faults` if none is named
    #[arg(value_name = "FAULT")]
    only: Vec<String>,
    /// What cases are drawn from, decimal or 0x; drawn if it is not given
    #[arg(long, value_parser = seed)]
    seed: Option<u64>,
    /// Cases for each rule on each pair, as certify has
    #[arg(long, default_value_t = 1000)]
    cases: u32,
    /// Threads
    #[arg(short, value_name = "N")]
    jobs: Option<usize>,
    /// Write for each fault the smallest case found that triggers it
    #[arg(long, value_name = "DIR")]
    witnesses: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn zoo(args: &ZooArgs) -> anyhow::Result<Exit> {
    let all: Vec<Faulty> = devices::faulty().collect();
    if let Some(stray) = args.only.iter().find(|id| !all.iter().any(|faulty| faulty.fault.id == **id)) {
        bail!("there is no fault `{stray}`; `migcert list faults` shows them");
    }
    let wanted = |faulty: &Faulty| args.only.is_empty() || args.only.iter().any(|id| id == faulty.fault.id);
    let faults: Vec<Faulty> = all.into_iter().filter(wanted).collect();
    let hunt = Hunt { seed: args.seed.unwrap_or_else(drawn_seed), cases: args.cases, executions: u32::MAX };
    say!("seed {:#x}", hunt.seed);
    if let Some(dir) = &args.witnesses {
        let mut exit = Exit::Nothing;
        for faulty in &faults {
            let case = hunt.witness(faulty).map_err(|why| anyhow!(why))?.to_toml(&Found::default());
            let file = format!("{}.toml", faulty.fault.id);
            let written = Folder::of_user(dir).and_then(|folder| folder.replace(&file, &case));
            if said(&written) != Exit::Nothing {
                exit = Exit::CouldNot;
                write_out(&format!("# {file}\n{case}\n"))?;
            }
        }
        return Ok(exit);
    }
    let trials = trials(&hunt, &faults, args.jobs)?;
    print(&args.output, || text(&trials), || json(&hunt, &trials))?;
    let all_detected = trials.iter().all(|trial| trial.detected.is_some());
    Ok(if all_detected { Exit::Nothing } else { Exit::Found })
}

/// One trial of each fault, in their order, whatever the number of threads is.
fn trials(hunt: &Hunt, faults: &[Faulty], jobs: Option<usize>) -> anyhow::Result<Vec<Trial>> {
    let bar = progress(faults.len() as u64);
    let trials = parallel::each(faults, jobs.unwrap_or_else(parallel::jobs), |faulty| {
        let trial = hunt.trial(faulty);
        bar.inc(1);
        trial
    });
    bar.finish_and_clear();
    trials.into_iter().map(|trial| trial.map_err(|why| anyhow!(why))).collect()
}

fn text(trials: &[Trial]) -> Lines {
    let mut out = Lines::default();
    row!(out, "family requirement fault                         reached triggered detected  by");
    for Trial { fault, reached, triggered, detected, executed, others, .. } in trials {
        let after = |count: &Option<u32>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
        let by = match detected {
            Some((_, rule)) => rule.id.to_owned(),
            None => {
                let others: Vec<_> = others.iter().map(|rule| rule.id).collect();
                format!(
                    "survived {executed} cases; seen by {}",
                    if others.is_empty() { "none".to_owned() } else { others.join(", ") }
                )
            }
        };
        let family = fault.family.name();
        out.after(
            family,
            format_args!(
                "{:wide$} {:<11} {:<29} {:>8} {:>9} {:>8}  {by}",
                "",
                fault.breaks,
                fault.id,
                after(reached),
                after(triggered),
                after(&detected.map(|(count, _)| count)),
                wide = 6 - family.len(),
            ),
        );
    }
    let count = |is: fn(&Trial) -> bool| trials.iter().filter(|trial| is(trial)).count();
    let mut cases: Vec<u32> = trials.iter().filter_map(|t| t.detected.map(|(count, _)| count)).collect();
    cases.sort_unstable();
    let median = cases.get(cases.len() / 2).map_or_else(|| "-".to_owned(), u32::to_string);
    let (reached, triggered) =
        (count(|trial| trial.reached.is_some()), count(|trial| trial.triggered.is_some()));
    let detected = cases.len();
    out.counted(
        trials.len(),
        format_args!(
            " faults: {reached} reached, {triggered} triggered, {detected} detected; median {median} cases"
        ),
    );
    out
}

fn json(hunt: &Hunt, trials: &[Trial]) -> Json {
    let row = |trial: &Trial| {
        let others: Vec<_> = trial.others.iter().map(|rule| rule.id).collect();
        json!({ "id": trial.fault.id, "family": trial.fault.family.to_string(), "requirement": trial.fault.breaks,
            "impl": trial.name, "executed": trial.executed, "reached": trial.reached, "triggered": trial.triggered,
            "detected": trial.detected.map(|(count, _)| count), "rule": trial.detected.map(|(_, rule)| rule.id),
            "others": others })
    };
    json!({ "schema": "migcert/zoo/1", "seed": hunt.seed, "cases": hunt.cases,
        "rows": trials.iter().map(row).collect::<Vec<_>>() })
}
