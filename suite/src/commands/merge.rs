//! `migcert merge`.

use super::certify::conclude;
use super::{Exit, Output};
use anyhow::{Context, anyhow};
use clap::Args;
use migcert::certify::enough;
use migcert::honest::{self, SelfTest};
use migcert::report::{self, Certificate};
use migcert::shard::{self, MAX_FILE, Report, Whole};
use migcert::{document, files, rules};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(crate) struct MergeArgs {
    /// The JSON reports of all parts, as `certify --shard I/N` makes them
    #[arg(value_name = "REPORT", required = true)]
    files: Vec<PathBuf>,
    /// Where the report and the cases of findings go
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn merge(args: &MergeArgs) -> anyhow::Result<Exit> {
    let self_test = SelfTest::of(rules::ALL).map_err(|why| anyhow!(why))?;
    let named = |file: &PathBuf| {
        let name = file.display().to_string();
        Ok((name.clone(), read(file).with_context(|| name)?))
    };
    let reports = args.files.iter().map(named).collect::<anyhow::Result<_>>()?;
    let whole = shard::merge(reports, &self_test.json()).map_err(|why| anyhow!(why))?;
    let Whole { seed, asked, subjects, units } = whole;
    let units = enough(units);
    let waivers = report::waivers(&subjects, &units);
    let certificate = Certificate {
        verdict: honest::verdict(&units, asked.strict, &subjects, &waivers, &self_test),
        seed,
        self_test: &self_test,
        subjects: &subjects,
        units: &units,
        files: BTreeMap::new(),
        part: None,
        asked: &asked,
        cost: None,
        waivers: &waivers,
    };
    conclude(certificate, asked.strict, args.report.as_deref(), &args.output)
}

fn read(file: &Path) -> anyhow::Result<Report> {
    let bytes = files::read(file, MAX_FILE).map_err(|why| anyhow!("{}", why.why()))?;
    document::json(&bytes).context("no report of a certification")
}
