//! `migcert merge`.

use super::certify::conclude;
use super::{Exit, Output};
use anyhow::{Context, anyhow};
use clap::Args;
use migcert::certificate::Certificate;
use migcert::self_test::self_test;
use migcert::{files, rules};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(crate) struct MergeArgs {
    /// JSON reports of all parts, as `certify --shard I/N` writes them
    #[arg(value_name = "REPORT", required = true)]
    files: Vec<PathBuf>,
    /// Directory for the report and the cases of findings
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn merge(args: &MergeArgs) -> anyhow::Result<Exit> {
    let self_test = self_test(rules::ALL).map_err(|why| anyhow!(why))?;
    let named = |file: &PathBuf| {
        let name = file.display().to_string();
        Ok((name.clone(), read(file).with_context(|| name)?))
    };
    let reports = args.files.iter().map(named).collect::<anyhow::Result<_>>()?;
    let evidence = migcert::merge::merge(reports, self_test).map_err(|why| anyhow!(why))?;
    conclude(evidence, args.report.as_deref(), &args.output)
}

fn read(file: &Path) -> anyhow::Result<Certificate> {
    let bytes = files::read(file, Certificate::MAX_FILE).map_err(|why| anyhow!("{}", why.why()))?;
    Certificate::from_json(&bytes).context("not a certification report")
}
