//! How many planted faults `migcert certify` finds within a time, through a device program that
//! takes its time to start.
//!
//! For each fault of a fixed list and each migcert that is named: the faulty device is served by that
//! migcert over its socket, 50 ms after its start, and certified with `--max-time`. A fault counts as
//! found where a rule of the requirement that it breaks is broken. `scripts/budget` runs it.

use migcert::devices::{self, Faulty};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Faults of all families, in devices that can be served, which one release alone shows, and
/// without a host that fails.
#[rustfmt::skip]
const FAULTS: &[&str] = &[
    "cadence-uart-div0", "fields-unchecked", "plain-format", "versionize-nolimit",
    "ch-2gib-short-read", "fc-memfile-eof", "piece-lost", "tail-applied",
    "clock-in-state", "crosvm-warm-msix", "fc-uart", "filter-lost-on-second", "in-flight-lost", "pcihost-cfgaddr", "uhci-irq",
    "e1000e-link-resume", "refusal-runs", "refusal-survives-reset", "vfio-realize-cleanup",
    "allowed-refused", "init-differs", "latest-refused",
    "other-setup-accepted", "tsc-freq", "unknown-accepted",
    "arc-missing", "judged-late", "pds-fds-reset", "session-resumed", "spdk-precopy-consumes",
];

const USAGE: &str = "usage: budget [--max-time D] [--delay SECONDS] [--seed N] PROGRAM... [-- FAULT...]";

struct Options {
    max_time: String,
    delay: String,
    seed: String,
    programs: Vec<PathBuf>,
    only: Vec<String>,
}

fn options() -> Option<Options> {
    let (max_time, delay, seed) = ("20s".to_owned(), "0.05".to_owned(), "1".to_owned());
    let mut options = Options { max_time, delay, seed, programs: vec![], only: vec![] };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--max-time" => options.max_time = args.next()?,
            "--delay" => options.delay = args.next()?,
            "--seed" => options.seed = args.next()?,
            "--" => options.only = args.by_ref().collect(),
            program => options.programs.push(fs::canonicalize(program).ok()?),
        }
    }
    let are_known = options.only.iter().all(|id| FAULTS.contains(&id.as_str()));
    (!options.programs.is_empty() && are_known).then_some(options)
}

fn main() {
    let Some(options) = options() else {
        eprintln!("{USAGE}");
        std::process::exit(2);
    };
    let faulty: Vec<Faulty> = devices::faulty().collect();
    let is_wanted = |id: &&&str| options.only.is_empty() || options.only.iter().any(|only| only == **id);
    let ids: Vec<&str> = FAULTS.iter().filter(is_wanted).copied().collect();
    let programs: Vec<_> = options.programs.iter().map(|path| path.display().to_string()).collect();
    println!("| fault | requirement | {} |", programs.join(" | "));
    println!("|---|---|{}", "---|".repeat(programs.len()));
    let mut found = vec![0; programs.len()];
    for id in &ids {
        let Some(faulty) = faulty.iter().find(|faulty| faulty.fault.id == *id) else {
            eprintln!("`{id}` is not a fault any more");
            std::process::exit(2);
        };
        let mut cells = Vec::new();
        for (program, found) in options.programs.iter().zip(&mut found) {
            let run = certified(program, faulty, &options);
            *found += usize::from(run.is_found);
            cells.push(run.cell);
        }
        println!("| {id} | {} | {} |", faulty.fault.breaks, cells.join(" | "));
    }
    let found: Vec<_> = found.iter().map(|found| format!("{found} of {}", ids.len())).collect();
    println!("\nfound within {}: {}", options.max_time, found.join(" | "));
}

struct Run {
    is_found: bool,
    cell: String,
}

fn certified(program: &Path, faulty: &Faulty, options: &Options) -> Run {
    let place = tempfile::tempdir().expect("a directory");
    let device = place.path().join("device");
    let served = format!(
        "#!/bin/sh\nsleep {}\nexec '{}' serve '{}' \"$@\"\n",
        options.delay,
        program.display(),
        faulty.name
    );
    fs::write(&device, served).expect("written");
    fs::set_permissions(&device, fs::Permissions::from_mode(0o755)).expect("changed");
    let mut command = Command::new(program);
    command.args(["certify", "./device", "--max-time", &options.max_time, "--seed", &options.seed]);
    command.args(["--report", "report"]).current_dir(place.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let began = Instant::now();
    command.status().expect("migcert runs");
    let took = began.elapsed();
    let report = fs::read(place.path().join("report/report.json")).unwrap_or_default();
    let report: Value = serde_json::from_slice(&report).unwrap_or_default();
    let rules = report["rules"].as_array().map_or(&[][..], Vec::as_slice);
    let broken = |rule: &&Value| rule["outcome"] == "broken";
    let of_it = |rule: &Value| rule["requirement"] == faulty.fault.breaks;
    let is_found = rules.iter().filter(broken).any(of_it);
    let others = rules.iter().filter(broken).filter(|rule| !of_it(rule)).count();
    let untried = rules.iter().filter(|rule| rule["planned"] != 0 && rule["begun"] == 0).count();
    let what = match (is_found, others) {
        (true, 0) => "found".to_owned(),
        (true, others) => format!("found, and {others} other rules"),
        (false, 0) => "-".to_owned(),
        (false, others) => format!("- ({others} other rules)"),
    };
    Run { is_found, cell: format!("{what}; {untried} rules not tried; {:.0} s", took.as_secs_f64()) }
}
