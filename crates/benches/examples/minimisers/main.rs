//! `migcert minimize` beside the minimisers of libFuzzer and proptest, from the same artifacts.
//!
//! `scripts/shrinking` runs it. Exit status: 1 where another one makes an artifact smaller than ours
//! does, or where ours takes too long.

#[path = "../../../../proptests/tests/it/minimize/artifact.rs"]
mod artifact;
mod drawn;
mod others;
#[path = "../../../../proptests/tests/it/engine/tree.rs"]
mod tree;

use artifact::{Artifact, Measure, breaks, ours};
use drawn::Drawn;
use migcert::parallel;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{fmt, io};

/// Ours may take so long for a case on devices in process.
const LIMIT: Duration = Duration::from_secs(30);

fn main() -> io::Result<ExitCode> {
    migcert::bench::keep_device_panics_quiet();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let seconds = |text: &str| text.parse().map(Duration::from_secs).map_err(io::Error::other);
    match args[..] {
        ["draw", seed] => {
            let seed = seed.parse().map_err(io::Error::other)?;
            drawn::draw(seed).iter().try_for_each(Drawn::write).map(|()| ExitCode::SUCCESS)
        }
        ["compare", fuzzer, limit, ref only @ ..] => {
            Contest { fuzzer: std::fs::canonicalize(fuzzer)?, limit: seconds(limit)? }.run(only)
        }
        _ => {
            eprintln!("usage: minimisers draw SEED | compare FUZZER SECONDS [ARTIFACT]...");
            Ok(ExitCode::from(2))
        }
    }
}

/// What each minimiser is given.
struct Contest {
    /// The fuzz program of `fuzz/shrink.rs`.
    fuzzer: PathBuf,
    /// How long libFuzzer may take for an artifact.
    limit: Duration,
}

/// What became of one artifact.
struct Row {
    name: String,
    before: Measure,
    fuzzer: Option<Measure>,
    proptest: Option<Measure>,
    ours: Measure,
    tries: u32,
    took: Duration,
}

impl Contest {
    fn run(&self, only: &[&str]) -> io::Result<ExitCode> {
        let mut artifacts = Artifact::all()?;
        artifacts.retain(|artifact| only.is_empty() || only.contains(&artifact.name.as_str()));
        let mut rows = parallel::each(&artifacts, parallel::jobs(), |artifact| {
            let row = self.row(artifact);
            eprintln!("{row}");
            row
        });
        rows.sort_by(|one, other| one.name.cmp(&other.name));
        let table = Table(rows);
        print!("{table}");
        if table.0.iter().any(|row| row.proptest.is_none()) {
            eprintln!(
                "some bytes mean another case by now: scripts/shrinking --draw 1 draws the artifacts anew"
            );
        }
        // Otherwise it did not run.
        let has_tried = |row: &Row| row.fuzzer.is_some_and(|fuzzer| fuzzer.bytes < row.before.bytes);
        let won = table.0.iter().any(has_tried) && table.0.iter().all(Row::is_won);
        Ok(if won { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn row(&self, artifact: &Artifact) -> Row {
        let Artifact { name, case, .. } = artifact;
        let began = Instant::now();
        let small = ours(case);
        let took = began.elapsed();
        assert!(breaks(&small.case) && small.case.rule == case.rule, "{name}: ours breaks another rule");
        Row {
            name: name.clone(),
            before: Measure::of(case),
            fuzzer: others::libfuzzer(artifact, &self.fuzzer, self.limit).map(|case| Measure::of(&case)),
            proptest: others::proptest(artifact).map(|case| Measure::of(&case)),
            ours: Measure::of(&small.case),
            tries: small.tries,
            took,
        }
    }
}

impl Row {
    fn others(&self) -> impl Iterator<Item = &Measure> {
        self.fuzzer.iter().chain(&self.proptest)
    }

    fn is_won(&self) -> bool {
        let is_no_larger =
            |other: &Measure| self.ours.bytes <= other.bytes && self.ours.total() <= other.total();
        let is_compared = self.fuzzer.is_some() && self.proptest.is_some();
        is_compared && self.others().all(is_no_larger) && self.took <= LIMIT
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let other = |measure: &Option<Measure>| measure.map_or("-".to_owned(), |measure| measure.to_string());
        let Row { name, before, fuzzer, proptest, ours, tries, took } = self;
        write!(f, "| {name} | {before} | {} | {} ", other(fuzzer), other(proptest))?;
        let mark = if self.is_won() { "" } else { " **larger**" };
        write!(f, "| {ours}{mark} | {tries} | {:.3} |", took.as_secs_f64())
    }
}

struct Table(Vec<Row>);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Table(rows) = self;
        writeln!(f, "| artifact | before | libFuzzer | proptest | ours | tries | seconds |")?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|---:|")?;
        rows.iter().try_for_each(|row| writeln!(f, "{row}"))?;
        let won = rows.iter().filter(|row| row.is_won()).count();
        let slowest = rows.iter().map(|row| row.took).max().unwrap_or_default();
        writeln!(
            f,
            "\nOurs is no larger than the best of the others for {won} of {}, and takes {:.3} s at most.",
            rows.len(),
            slowest.as_secs_f64()
        )
    }
}
