//! What a case costs: cases per second, CPU time of all processes, and what was started and sent.
//!
//! `scripts/cost` runs it. CPU time is that of this process, which certifies, and of all device programs; it is
//! counted in hundredths of a second.

use migcert::certify::{self, Budget, Job};
use migcert::hosts::traffic::Traffic;
use migcert::impls;
use migcert::known::Known;
use migcert::parallel::Threads;
use migcert::{hosts, rules};
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "usage: cost [--cases N] [--seed N] [-j N] [--fresh] IMPL...";

fn main() -> ExitCode {
    let (mut cases, mut seed, mut threads, mut reuse, mut names) = (40, 1, Threads::usual(), true, vec![]);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|number| number.parse::<u32>().ok());
        match (arg.as_str(), &mut number) {
            ("--fresh", _) => reuse = false,
            ("--cases", number) => cases = number().unwrap_or_default(),
            ("--seed", number) => seed = number().unwrap_or_default().into(),
            ("-j", number) => threads = Threads::exactly(number().unwrap_or(1) as usize),
            (name, _) if !name.starts_with('-') => names.push(name.to_owned()),
            _ => cases = 0,
        }
    }
    if cases == 0 || names.is_empty() {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    let subjects: Result<Vec<_>, _> = names.iter().map(|name| impls::subject(name)).collect();
    let subjects = match subjects {
        Ok(subjects) => subjects,
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::from(101);
        }
    };
    let reopen = |name: &str| impls::fresh(name).map_err(|why| why.to_string());
    let job = Job {
        subjects: &subjects,
        rules: rules::ALL.to_vec(),
        seed,
        cases,
        fit: None,
        shrinks: 0,
        threads,
        budget: Budget::unlimited(),
        known: &Known::default(),
        reuse,
        reopen: &reopen,
    };
    let began = Instant::now();
    let run = certify::run(&job, &|_| ());
    let took = began.elapsed().as_secs_f64();
    drop(subjects);
    hosts::finish();
    let begun: u32 = run.pieces.iter().map(|piece| piece.judged.begun).sum();
    let (cpu, traffic) = (cpu_seconds(), Traffic::so_far());
    let each = |sum: f64| sum / f64::from(begun.max(1));
    println!("{begun} cases in {took:.1} s: {:.0} a second", f64::from(begun) / took);
    println!("{:.2} ms of CPU time a case, of all processes", 1000.0 * each(cpu));
    println!("{:.0} messages a case\n", each(traffic.messages() as f64));
    print!("{traffic}");
    ExitCode::SUCCESS
}

/// CPU time of this process and of its children that have ended, in seconds.
fn cpu_seconds() -> f64 {
    /// `USER_HZ` of Linux.
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name stands in parentheses; utime, stime, cutime and cstime are the 12th to 15th words after it.
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 =
        after.split_whitespace().skip(11).take(4).filter_map(|word| word.parse::<u64>().ok()).sum();
    ticks as f64 / TICKS
}
