//! How many planted faults are found, by us and by what projects test today, in one run.
//!
//! For each fault and seed three searches with at most the same number of executions, until the
//! first finding: `ours`, rules in turns; `blind`, libFuzzer on the bytes of a state with a crash as
//! the oracle; `round trip`, proptest with `save(load(s)) == s`. `scripts/detection` runs it.
//!
//! Exit status: 1 where ours finds no more than the other two together.

use migcert::devices::{self, Faulty};
use migcert::parallel;
use migcert::zoo::Hunt;
use migcert::zoo::baselines::Baseline;
use proptest::prelude::{any, prop};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What came of one search.
#[derive(Clone, Copy)]
struct Search {
    /// Executions until the first finding.
    found: Option<u32>,
    time: Duration,
}

/// The searches for one fault, a seed each.
struct Row {
    faulty: Faulty,
    ours: Vec<Search>,
    blind: Vec<Search>,
    round_trip: Vec<Search>,
}

struct Options {
    /// The fuzz program of the target `blind`.
    blind: PathBuf,
    seeds: u64,
    executions: u32,
    only: Vec<String>,
}

fn options() -> Option<Options> {
    let mut args = std::env::args().skip(1);
    let blind = PathBuf::from(args.next()?);
    let (seeds, executions) = (args.next()?.parse().ok()?, args.next()?.parse().ok()?);
    Some(Options { blind, seeds, executions, only: args.collect() })
}

fn main() {
    let Some(options) = options() else {
        eprintln!("usage: detection BLIND SEEDS EXECUTIONS [FAULT]...");
        std::process::exit(2);
    };
    migcert::bench::keep_device_panics_quiet();
    std::panic::set_hook(Box::new(|_| ()));
    let wanted =
        |faulty: &Faulty| options.only.is_empty() || options.only.iter().any(|id| id == faulty.fault.id);
    let faults: Vec<Faulty> = devices::faulty().filter(wanted).collect();
    let mut rows = parallel::each(&faults, parallel::jobs(), |faulty| {
        let row = row(faulty.clone(), &options);
        eprintln!("{}", row.faulty.fault.id);
        row
    });
    rows.sort_by_key(|row| (row.faulty.fault.family, row.faulty.fault.id));
    let table = Table { rows: &rows, options: &options };
    print!("{table}");
    if table.found_by_ours() <= table.found_by_others() {
        std::process::exit(1);
    }
}

fn row(faulty: Faulty, options: &Options) -> Row {
    let seeds = || 1..=options.seeds;
    Row {
        ours: seeds().map(|seed| ours(&faulty, seed, options.executions)).collect(),
        blind: seeds().map(|seed| blind(&faulty, seed, options)).collect(),
        round_trip: seeds().map(|seed| round_trip(&faulty, seed, options.executions)).collect(),
        faulty,
    }
}

fn timed(search: impl FnOnce() -> Option<u32>) -> Search {
    let began = Instant::now();
    Search { found: search(), time: began.elapsed() }
}

fn ours(faulty: &Faulty, seed: u64, executions: u32) -> Search {
    let hunt = Hunt { seed, cases: u32::MAX, executions };
    timed(|| hunt.trial(faulty).ok()?.detected.map(|(count, _)| count))
}

/// A panic is a finding here too, as in any property test.
fn round_trip(faulty: &Faulty, seed: u64, executions: u32) -> Search {
    timed(|| {
        let baseline = Baseline::of(faulty).ok()?;
        let config =
            Config { cases: executions, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let executed = Cell::new(0);
        let held =
            TestRunner::new_with_rng(config, rng).run(&prop::collection::vec(any::<u8>(), 0..512), |drawn| {
                executed.set(executed.get() + 1);
                let trip = catch_unwind(AssertUnwindSafe(|| baseline.round_trips(&drawn)));
                if trip.unwrap_or(false) { Ok(()) } else { Err(TestCaseError::fail("it differs")) }
            });
        held.is_err().then(|| executed.get())
    })
}

fn blind(faulty: &Faulty, seed: u64, options: &Options) -> Search {
    let corpus = tempfile::tempdir().expect("a place for the corpus");
    let seeds = Baseline::of(faulty).and_then(|baseline| baseline.seeds().map_err(|why| why.to_string()));
    for (i, state) in seeds.unwrap_or_default().iter().enumerate() {
        std::fs::write(corpus.path().join(i.to_string()), state).expect("a seed is written");
    }
    timed(|| fuzzed(&options.blind, faulty.fault.id, seed, options.executions, corpus.path()))
}

/// Runs libFuzzer; the number of executions at a crash is in the name of the last status line.
fn fuzzed(program: &Path, id: &str, seed: u64, executions: u32, corpus: &Path) -> Option<u32> {
    let mut command = Command::new(program);
    command.env("MIGCERT_FAULT", id).current_dir(corpus).stdin(Stdio::null());
    command.args([format!("-runs={executions}"), format!("-seed={seed}"), "-max_len=16384".to_owned()]);
    command.args(["-rss_limit_mb=2048", "-timeout=20", "-print_final_stats=1", "."]);
    let output = command.output().expect("the fuzz program runs");
    let log = String::from_utf8_lossy(&output.stderr);
    let executed = log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units: "));
    let executed = executed.and_then(|count| count.trim().parse().ok()).unwrap_or(executions);
    (!output.status.success()).then_some(executed)
}

struct Table<'a> {
    rows: &'a [Row],
    options: &'a Options,
}

impl Table<'_> {
    fn count(&self, is: impl Fn(&Row) -> bool) -> usize {
        self.rows.iter().filter(|row| is(row)).count()
    }

    fn found_by_ours(&self) -> usize {
        self.count(|row| is_found(&row.ours))
    }

    fn found_by_others(&self) -> usize {
        self.count(|row| is_found(&row.blind) || is_found(&row.round_trip))
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { seeds, executions, .. } = self.options;
        writeln!(
            f,
            "Median executions to the first finding of {seeds} seeds, at most {executions} each; in brackets how many seeds found it, if not all.\n"
        )?;
        writeln!(f, "| family | fault | requirement | ours | time | blind | round trip |")?;
        writeln!(f, "|---|---|---|---:|---:|---:|---:|")?;
        for Row { faulty, ours, blind, round_trip } in self.rows {
            let fault = faulty.fault;
            let time = median(ours.iter().map(|search| search.time));
            let (ours, blind, round_trip) = (cell(ours), cell(blind), cell(round_trip));
            let time = time.map_or_else(String::new, |time| format!("{:.0} ms", time.as_secs_f64() * 1e3));
            writeln!(
                f,
                "| {} | {} | {} | {ours} | {time} | {blind} | {round_trip} |",
                fault.family, fault.id, fault.breaks
            )?;
        }
        let total = self.rows.len();
        let share = |count: usize| {
            format!("{count} of {total} ({:.1} %)", 100.0 * count as f64 / total.max(1) as f64)
        };
        let ours = || self.rows.iter().flat_map(|row| &row.ours).filter(|search| search.found.is_some());
        let cases = median(ours().filter_map(|search| search.found)).unwrap_or(0);
        let time = median(ours().map(|search| search.time)).unwrap_or_default().as_secs_f64() * 1e3;
        writeln!(f, "\nFound by at least half of the seeds:\n")?;
        writeln!(f, "- ours: {}; median {cases} executions, {time:.0} ms", share(self.found_by_ours()))?;
        writeln!(f, "- blind: {}", share(self.count(|row| is_found(&row.blind))))?;
        writeln!(f, "- round trip: {}", share(self.count(|row| is_found(&row.round_trip))))?;
        writeln!(f, "- blind and round trip together: {}", share(self.found_by_others()))
    }
}

fn is_found(searches: &[Search]) -> bool {
    searches.len() <= 2 * searches.iter().filter(|search| search.found.is_some()).count()
}

fn cell(searches: &[Search]) -> String {
    let found = searches.iter().filter(|search| search.found.is_some()).count();
    let count = median(searches.iter().map(|search| search.found.unwrap_or(u32::MAX)));
    match count.filter(|count| *count != u32::MAX) {
        Some(count) if found == searches.len() => count.to_string(),
        Some(count) => format!("{count} [{found}]"),
        None if found == 0 => "-".to_owned(),
        None => format!("- [{found}]"),
    }
}

fn median<T: Ord>(values: impl Iterator<Item = T>) -> Option<T> {
    let mut all: Vec<T> = values.collect();
    all.sort();
    let middle = all.len() / 2;
    all.into_iter().nth(middle)
}
