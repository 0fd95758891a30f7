//! `migcert certify`.

use super::minimize::TRIES;
use super::{Exit, Output, file_name, print, said};
use anyhow::{anyhow, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use migcert::case::Found;
use migcert::certify::{self, Budget, Job, LONGEST, Run, Unit, Verdict};
use migcert::deadline;
use migcert::files::{self, Folder};
use migcert::finding::Bucket;
use migcert::finding::Outcome;
use migcert::honest::{self, SelfTest};
use migcert::implementation::{Impl, Which};
use migcert::impls;
use migcert::known::Known;
use migcert::parallel::Threads;
use migcert::report::{self, Asked, CaseFile, Certificate, Tested};
use migcert::rules;
use migcert::say;
use migcert::shard::{self, Shard};
use migcert::subject::Subject;
use migcert::text;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Args)]
pub(crate) struct CertifyArgs {
    /// The implementation
    #[arg(value_name = "IMPL")]
    name: String,
    /// Another binary for the profile IMPL
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Another one; every ordered pair is tested
    #[arg(long, value_name = "IMPL")]
    to: Vec<String>,
    /// Only these rules: ids, requirements or chapters (chunking, R-6.5, R-6)
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    only: Vec<String>,
    /// What cases are drawn from, decimal or 0x; drawn if it is not given
    #[arg(long, value_parser = seed)]
    seed: Option<u64>,
    /// Cases for each rule on each pair; fewer than 10 are too few to pass
    #[arg(long)]
    cases: Option<u32>,
    /// Time for all of it, such as 90s, 10m or 2h; 150s for device programs without --cases
    #[arg(long, value_parser = duration)]
    max_time: Option<Duration>,
    /// Threads; by default as many as cores, and more while device programs leave cores idle
    #[arg(short, value_name = "N")]
    jobs: Option<usize>,
    /// Rules of the level should count too
    #[arg(long)]
    strict: bool,
    /// Only this part of the work, such as 1/3; `migcert merge` puts the reports of all together
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Cases of findings that are known: they are listed, and fail nothing
    #[arg(long, value_name = "DIR")]
    known: Option<PathBuf>,
    /// Where the report and the cases of findings go
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// The time for a run on device programs, where neither that nor a number of cases is given.
const USUAL_TIME: Duration = Duration::from_secs(150);
/// Of a limited time, this part is for trying cases: two thirds. Cases cost more or less than the
/// first ones, and findings are made smaller and confirmed.
const FIT: (u32, u32) = (2, 3);
/// Of a limited time, at most one part in so many goes into finding out whether a device is inert.
const INFLUENCE: u32 = 8;

pub(crate) fn certify(args: &CertifyArgs) -> anyhow::Result<Exit> {
    let began = Budget::unlimited();
    let rules = rules::selected(&args.only).map_err(|why| anyhow!(why))?;
    let mut first = Impl::of(&args.name);
    match (&args.program, &mut first) {
        (None, _) => {}
        (Some(binary), Impl::Profile(profile)) if profile.program == Which::Named => {
            profile.program = Which::Binary(binary.clone());
        }
        (Some(_), Impl::Profile(_)) => {
            bail!("--program and `{first}` both say which binary of the profile is meant: leave one out")
        }
        (Some(_), _) => bail!("--program replaces the binary of a profile, and `{first}` is none"),
    }
    let names = std::iter::once(first.to_string()).chain(args.to.iter().cloned());
    let subjects: Vec<Subject> = names.map(|name| impls::subject(&name)).collect::<Result<_, _>>()?;
    let usual_cases = subjects.iter().map(|subject| subject.cases).min().unwrap_or(1);
    let is_program = subjects.iter().any(|subject| subject.file.is_some());
    let is_default = args.cases.is_none() && args.shard.is_none();
    let is_time_usual = is_program && is_default && args.max_time.is_none();
    let limit = args.max_time.or(is_time_usual.then_some(USUAL_TIME));
    let budget = limit.map_or(began, |limit| began.limited(limit));
    let asked = Asked {
        only: args.only.clone(),
        cases: args.cases,
        usual_cases,
        max_seconds: limit.map(|limit| limit.as_secs()),
        is_time_usual,
        strict: args.strict,
    };
    let self_test = deadline::until(budget.end(), || SelfTest::of(rules::ALL)).whole();
    let self_test = self_test.unwrap_or_else(|| Ok(SelfTest::cut())).map_err(|why| anyhow!(why))?;
    let influence_end = budget.part(INFLUENCE);
    let mut tested: Vec<Tested> = subjects.iter().map(|subject| Tested::of(subject, influence_end)).collect();
    let known = args.known.as_deref().map_or_else(|| Ok(Known::default()), Known::read);
    let known = known.map_err(|why| anyhow!(why))?;
    if let (Some(folder), Some(first)) = (&args.known, known.not_read.first()) {
        let count = known.not_read.len();
        say!(
            "note: {count} entries of {} are not cases (.toml) and were not read: {first}…",
            files::shown(folder)
        );
    }
    let seed = args.seed.unwrap_or_else(drawn_seed);
    say!("seed {seed:#x}");
    let threads = args.jobs.map_or_else(Threads::usual, Threads::exactly);
    let reopen = |name: &str| impls::fresh(name).map_err(|why| why.to_string());
    let job = Job {
        subjects: &subjects,
        rules,
        seed,
        cases: args.cases.unwrap_or(usual_cases),
        fit: limit.filter(|_| is_program && is_default).map(|limit| limit * FIT.0 / FIT.1),
        // Where cases take long, fewer of them make a finding small.
        shrinks: usual_cases.saturating_mul(TRIES).min(2000),
        threads,
        budget,
        known: &known,
        reopen: &reopen,
    };
    let bar =
        progress(args.shard.map_or_else(|| job.work().len(), |part| shard::share(&job, part).len()) as u64);
    let done = |unit: &Unit| {
        bar.set_message(unit.rule.id);
        bar.inc(1);
    };
    let mut part = None;
    let Run { units, cost } = match args.shard {
        Some(shard) => {
            let (own, units) = shard::run(&job, shard, &asked, &mut tested, &done);
            part = Some(own);
            Run { units, cost: None }
        }
        None => {
            let Run { units, cost } = certify::run(&job, &done);
            tested.iter_mut().zip(&subjects).for_each(|(tested, subject)| tested.after(subject));
            Run { units: certify::enough(units), cost }
        }
    };
    bar.finish_and_clear();
    let waivers = if part.is_some() { Vec::new() } else { report::waivers(&tested, &units) };
    let certificate = Certificate {
        verdict: honest::verdict(&units, args.strict, &tested, &waivers, &self_test),
        seed,
        self_test: &self_test,
        subjects: &tested,
        units: &units,
        files: BTreeMap::new(),
        part: part.as_ref(),
        asked: &asked,
        cost,
        waivers: &waivers,
    };
    conclude(certificate, args.strict, args.report.as_deref(), &args.output)
}

/// Writes and prints what a certification came to.
pub(super) fn conclude(
    mut certificate: Certificate<'_>,
    strict: bool,
    report: Option<&Path>,
    output: &Output,
) -> anyhow::Result<Exit> {
    // What passes in part may fail in another.
    if certificate.part.is_some() && certificate.verdict == Verdict::Pass {
        certificate.verdict = Verdict::Incomplete;
    }
    let mut failed = write_cases(&mut certificate, report);
    if let Some(dir) = report {
        let write = || {
            let folder = Folder::of_user(dir)?;
            folder.replace("report.json", &text::json(&certificate.json()))?;
            folder.replace("report.txt", certificate.text(strict).as_str())
        };
        failed = failed.and(said(&write()));
    }
    if let Err(why) = print(output, || certificate.text(strict), || certificate.json()) {
        say!("error: {why:#}");
        failed = Exit::CouldNot;
    }
    say!("seed {:#x}", certificate.seed);
    let verdict = match certificate.verdict {
        Verdict::Pass => Exit::Nothing,
        Verdict::Fail => Exit::Found,
        Verdict::Incomplete => Exit::TooLittle,
    };
    Ok(verdict.and(failed))
}

pub(super) fn drawn_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(1, |now| now.as_nanos() as u64 & 0xffff_ffff)
}

/// A progress bar on standard error, on a terminal only.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// What is being done: words of the program's own, because a terminal takes others for orders.
    fn set_message(&self, words: &'static str) {
        self.0.set_message(words);
    }

    pub(super) fn inc(&self, by: u64) {
        self.0.inc(by);
    }

    pub(super) fn finish_and_clear(&self) {
        self.0.finish_and_clear();
    }
}

pub(super) fn progress(len: u64) -> Progress {
    let quiet = !std::io::stderr().is_terminal() || std::env::var_os("CI").is_some();
    if quiet {
        return Progress(ProgressBar::hidden());
    }
    let style = ProgressStyle::with_template("{elapsed} {bar:30} {pos}/{len} {msg}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    Progress(ProgressBar::new(len).with_style(style))
}

/// Writes the case of each finding but consequences; without a place for the report, into `migcert-findings`.
/// What can't be written is in the report itself.
fn write_cases(certificate: &mut Certificate<'_>, report: Option<&Path>) -> Exit {
    let names = file_names(certificate.subjects);
    let (here, folder) = report.map_or((Path::new(""), "migcert-findings"), |report| (report, "cases"));
    let mut exit = Exit::Nothing;
    let causes = certify::causes(certificate.units);
    for (i, unit) in certificate.units.iter().enumerate() {
        if causes.iter().any(|group| group.consequences.contains(&i)) {
            continue;
        }
        if let Some(file) = &unit.known {
            certificate.files.insert(i, CaseFile::Written(file.clone()));
            continue;
        }
        let Some(case) = &unit.case else { continue };
        let finding = if let Outcome::Broken(finding) = &unit.outcome { Some(finding.clone()) } else { None };
        let pair = [unit.pair.0, unit.pair.1].map(|i| &certificate.subjects[i]);
        let hashes = pair.into_iter().filter_map(|s| Some((s.name.clone(), s.sha256.clone()?)));
        let bucket = unit.bucket.as_ref().map(Bucket::id);
        let case = case.to_toml(&Found { finding, bucket, sha256: hashes.collect() });
        let (from, to) = (&names[unit.pair.0], &names[unit.pair.1]);
        let to = if unit.pair.0 == unit.pair.1 { String::new() } else { format!("-to-{to}") };
        let stem = format!("{}-{from}{to}", unit.rule.id);
        let written = Folder::of_user(here)
            .and_then(|here| here.inside(folder))
            .and_then(|folder| folder.add(&stem, "toml", &case));
        exit = exit.and(said(&written));
        certificate.files.insert(i, CaseFile::of(written, case));
    }
    exit
}

/// What implementations are called in names of files: as the last part of the name, and by a hash of
/// the whole name where that part is not the name of one alone, or is cut or changed.
fn file_names(subjects: &[Tested]) -> Vec<String> {
    let names: Vec<_> = subjects.iter().map(|subject| Impl::of(&subject.name).short()).collect();
    // Not every file system tells `a` from `A`.
    let is_alone = |name: &str| names.iter().filter(|other| name.eq_ignore_ascii_case(other)).count() == 1;
    let named = |(subject, name): (&Tested, &String)| {
        let plain = file_name(name);
        if plain == *name && is_alone(name) {
            return plain;
        }
        let hash = hex::encode(Sha256::digest(&subject.name));
        format!("{plain}-{}", &hash[..8])
    };
    subjects.iter().zip(&names).map(named).collect()
}

pub(super) fn seed(text: &str) -> Result<u64, String> {
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |hex| (hex, 16));
    let is_plain = digits.chars().all(|c| c.is_digit(radix));
    u64::from_str_radix(digits, radix)
        .ok()
        .filter(|_| is_plain)
        .ok_or_else(|| "a seed is a number below 2^64, decimal or 0x".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let bad = || "a time is a number and s, m or h, such as 90s".to_owned();
    let unit = text.chars().last().ok_or_else(bad)?;
    let (number, factor) = match unit {
        's' => (&text[..text.len() - 1], 1),
        'm' => (&text[..text.len() - 1], 60),
        'h' => (&text[..text.len() - 1], 3600),
        _ => (text, 1),
    };
    let number: u64 = number.parse().map_err(|_| bad())?;
    let time = number.checked_mul(factor).map(Duration::from_secs).ok_or_else(bad)?;
    let longest = LONGEST.as_secs() / 3600;
    let fits = Duration::from_secs(1) <= time && time <= LONGEST;
    fits.then_some(time).ok_or_else(|| format!("a time is from 1s to {longest}h"))
}
