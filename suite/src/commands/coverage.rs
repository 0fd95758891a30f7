//! `migcert coverage`.

use super::certify::{drawn_seed, progress, seed};
use super::input::{self, Input};
use super::{Exit, Output, print, said};
use anyhow::{Context, anyhow, bail};
use clap::Args;
use migcert::case::Found;
use migcert::coverage::{Coverage, Dimension, MAX_FILE};
use migcert::explore::Explorer;
use migcert::files::Folder;
use migcert::finding::Outcome;
use migcert::oracle::Target;
use migcert::report::QUOTED;
use migcert::text::{self, Lines, Word};
use migcert::{entry, files};
use migcert::{row, say};
use std::path::{Path, PathBuf};
use std::str::FromStr;

#[derive(Args)]
pub(crate) struct CoverageArgs {
    /// The fuzz target: one of those whose inputs are cases
    target: String,
    /// Inputs of it, cases, folders of them, and reports of this command or of a fuzzer to go on from
    #[arg(value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Then executes so many cases that come of changing them
    #[arg(long, value_name = "N", default_value_t = 0)]
    runs: u64,
    /// What the changes are drawn from, decimal or 0x; drawn if it is not given
    #[arg(long, value_parser = seed)]
    seed: Option<u64>,
    /// Fails where less was seen: 90 of everything, or arc=100 of one dimension
    #[arg(long, value_name = "[DIMENSION=]PERCENT", value_delimiter = ',')]
    min_coverage: Vec<Least>,
    #[command(flatten)]
    output: Output,
}

/// How much must have been seen, in percent.
#[derive(Clone, Copy)]
struct Least {
    of: Option<Dimension>,
    percent: usize,
}

impl FromStr for Least {
    type Err = String;
    fn from_str(text: &str) -> Result<Least, String> {
        let (of, percent) = match text.split_once('=') {
            Some((name, percent)) => {
                let of = Dimension::ALL.into_iter().find(|dimension| dimension.name() == name);
                let names = Dimension::ALL.map(Dimension::name).join(", ");
                (Some(of.ok_or_else(|| format!("no dimension `{name}`; there are {names}"))?), percent)
            }
            None => (None, text),
        };
        match percent.parse() {
            Ok(percent @ 0..=100) => Ok(Least { of, percent }),
            _ => Err("a share is a number from 0 to 100".to_owned()),
        }
    }
}

impl Least {
    /// What is missing.
    fn missing(self, coverage: &Coverage) -> Option<String> {
        let dimensions = self.of.map_or_else(|| Dimension::ALL.to_vec(), |of| vec![of]);
        let all = dimensions.into_iter().map(|dimension| coverage.of(dimension));
        let (seen, total) = all.fold((0, 0), |(seen, total), of| (seen + of.0, total + of.1));
        let of = self.of.map_or("everything", Dimension::name);
        let percent = self.percent;
        (seen * 100 < percent * total).then(|| format!("{of}: {seen} of {total}, and {percent} % are wanted"))
    }
}

pub(crate) fn coverage(args: &CoverageArgs) -> anyhow::Result<Exit> {
    let target = input::target(&args.target)?;
    if target.rules().is_empty() {
        bail!("inputs of `{}` are bytes and no cases: they touch nothing that is counted here", target.name);
    }
    if args.inputs.is_empty() && args.runs == 0 {
        bail!("nothing to execute: name inputs, or how many --runs");
    }
    let seed = args.seed.unwrap_or_else(drawn_seed);
    let mut explorer = Explorer::new(target, seed);
    let (mut exit, mut strange) = (Exit::Nothing, 0);
    for file in args.inputs.iter().map(|input| inputs(input)).collect::<anyhow::Result<Vec<_>>>()?.concat() {
        match read(target, &file).with_context(|| file.display().to_string())? {
            Read::Report(report) => explorer.coverage.merge(&report),
            Read::Input(input) => exit = exit.and(executed(&mut explorer, &input)?),
            Read::Nothing => strange += 1,
        }
    }
    if strange != 0 {
        say!("note: {strange} inputs are no case of `{}`", target.name);
    }
    if args.runs != 0 {
        say!("seed {seed:#x}");
    }
    let bar = progress(args.runs);
    for _ in 0..args.runs {
        let input = explorer.draw().ok_or_else(|| anyhow!("nothing comes of changing these inputs"))?;
        exit = exit.and(executed(&mut explorer, &input)?);
        bar.inc(1);
        if exit == Exit::Found {
            break;
        }
    }
    bar.finish_and_clear();
    let coverage = &explorer.coverage;
    print(&args.output, || coverage.text(), || coverage.json())?;
    if coverage.executed == 0 {
        say!("no case was executed");
        return Ok(Exit::TooLittle);
    }
    let missing: Vec<String> = args.min_coverage.iter().filter_map(|least| least.missing(coverage)).collect();
    missing.iter().for_each(|missing| say!("coverage of {missing}"));
    Ok(if missing.is_empty() { exit } else { exit.and(Exit::TooLittle) })
}

/// Executes an input, and writes its case if it breaks something.
fn executed(explorer: &mut Explorer, input: &[u8]) -> anyhow::Result<Exit> {
    let Some(Outcome::Broken(finding)) = explorer.execute(input) else { return Ok(Exit::Nothing) };
    let case = entry::decode(input)?;
    let stem = format!("{}-{}", case.rule, explorer.coverage.executed);
    say!("broken: {finding}");
    let case = case.to_toml(&Found { finding: Some(finding), ..Found::default() });
    let folder = Folder::of_user(Path::new("")).and_then(|here| here.inside("migcert-findings"));
    let written = folder.and_then(|folder| folder.add(&stem, "toml", &case));
    said(&written);
    let mut out = Lines::default();
    match written {
        Ok(path) => row!(out, "  reproduce  migcert replay {}", Word(&path.display().to_string())),
        Err(_) => out.block(QUOTED, &case),
    }
    text::say(&out);
    Ok(Exit::Found)
}

enum Read {
    Report(Coverage),
    Input(Vec<u8>),
    Nothing,
}

fn read(target: &'static Target, file: &Path) -> anyhow::Result<Read> {
    if file.extension().is_some_and(|extension| extension == "json") {
        let bytes = files::read(file, MAX_FILE).map_err(|why| anyhow!("{}", why.why()))?;
        return Ok(Read::Report(Coverage::from_json(&bytes).map_err(|why| anyhow!(why))?));
    }
    let Input::Case(tried) = input::understood(file, Some(target.name))? else { return Ok(Read::Nothing) };
    let input = entry::encode(&tried.case).filter(|input| target.read(input).is_some());
    Ok(input.map_or(Read::Nothing, Read::Input))
}

/// The files of a folder, by name; or the one file.
fn inputs(input: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !input.is_dir() {
        return Ok(vec![input.to_owned()]);
    }
    Ok(files::entries(input)?)
}
