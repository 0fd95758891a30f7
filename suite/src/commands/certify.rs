//! `migcert certify`.

use super::minimize::TRIES;
use super::{Exit, Output, file_name, print, said};
use anyhow::{anyhow, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use migcert::case::Found;
use migcert::certificate::{
    Asked, CaseFile, Certificate, Evidence, PartOf, RuleResult, SelfTest, Shard, SubjectInfo,
};
use migcert::certify::{self, Budget, Job, LONGEST, Run};
use migcert::deadline;
use migcert::files::{self, Folder};
use migcert::finding::{Bucket, Outcome};
use migcert::implementation::{Impl, Which};
use migcert::impls;
use migcert::known::Known;
use migcert::parallel::Threads;
use migcert::report;
use migcert::rules;
use migcert::say;
use migcert::self_test::{self, self_test};
use migcert::subject::Subject;
use migcert::text;
use sha2::{Digest, Sha256};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Args)]
pub(crate) struct CertifyArgs {
    /// Implementation to test
    #[arg(value_name = "IMPL")]
    name: String,
    /// Binary to use in place of the one in the profile IMPL
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// A further implementation; tests every ordered pair
    #[arg(long, value_name = "IMPL")]
    to: Vec<String>,
    /// Test only these rules: ids, requirements or chapters (chunking, R-6.5, R-6)
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    only: Vec<String>,
    /// Seed for case generation (decimal or 0x); random if omitted
    #[arg(long, value_parser = seed)]
    seed: Option<u64>,
    /// Cases for each rule on each pair; at least 10 are needed to pass
    #[arg(long)]
    cases: Option<u32>,
    /// Time limit of the run, such as 90s, 10m or 2h; default: 150s for device programs without --cases
    #[arg(long, value_parser = duration)]
    max_time: Option<Duration>,
    /// Threads; default: as many as cores, and more while device programs leave cores idle
    #[arg(short, value_name = "N")]
    jobs: Option<usize>,
    /// Start a new process for each instance, even if a reset gives a fresh device
    #[arg(long)]
    fresh: bool,
    /// Also fail on `should` rules
    #[arg(long)]
    strict: bool,
    /// Run only this part of the work, such as 1/3; `migcert merge` merges the reports of all parts
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Directory with cases of known findings: listed, but not counted as failures
    #[arg(long, value_name = "DIR")]
    known: Option<PathBuf>,
    /// Directory for the report and the cases of findings
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// Default time limit for device programs, if neither `--max-time` nor `--cases` is given.
const USUAL_TIME: Duration = Duration::from_secs(150);
/// Fraction of a limited time for trying cases: two thirds. The rest is for cases that cost more than the
/// first ones, and for shrinking and confirming findings.
const FIT: (u32, u32) = (2, 3);
/// At most 1/`INFLUENCE` of a limited time is for finding out whether a device is inert.
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
            bail!("--program and `{first}` both name a binary: leave one out")
        }
        (Some(_), _) => bail!("--program replaces the binary of a profile, and `{first}` is not a profile"),
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
    let self_test = deadline::until(budget.end(), || self_test(rules::ALL)).whole();
    let self_test = self_test.unwrap_or_else(|| Ok(SelfTest::cut())).map_err(|why| anyhow!(why))?;
    let influence_end = budget.part(INFLUENCE);
    let info = |subject: &Subject| SubjectInfo::of(subject, self_test::inert(subject, influence_end));
    let mut infos: Vec<SubjectInfo> = subjects.iter().map(info).collect();
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
        // Fewer shrinking attempts where cases are slow.
        shrinks: usual_cases.saturating_mul(TRIES).min(2000),
        threads,
        budget,
        known: &known,
        reuse: !args.fresh,
        reopen: &reopen,
    };
    let work = args.shard.map_or_else(|| job.work().len(), |shard| job.share(shard).len());
    let bar = progress(work as u64);
    let done = |result: &RuleResult| {
        bar.set_message(result.rule.id);
        bar.inc(1);
    };
    let Run { pieces, cost, mut reused } = match args.shard {
        Some(shard) => certify::run_share(&job, shard, &done),
        None => certify::run(&job, &done),
    };
    bar.finish_and_clear();
    reused.resize(infos.len(), None);
    for ((info, subject), reused) in infos.iter_mut().zip(&subjects).zip(reused) {
        info.after(subject, impls::changed(subject), reused);
    }
    let part = args.shard.map(|shard| PartOf { shard, cases: job.cases, known: known.buckets() });
    let evidence = Evidence { seed, asked, subjects: infos, pieces, self_test, cost, part };
    conclude(evidence, args.report.as_deref(), &args.output)
}

/// Concludes a certification, and writes and prints the certificate.
pub(super) fn conclude(evidence: Evidence, report: Option<&Path>, output: &Output) -> anyhow::Result<Exit> {
    let mut cases = CaseWriter::beside(&evidence.subjects, report);
    let certificate = Certificate::conclude(evidence, &mut |result, subjects| cases.keep(result, subjects));
    let mut failed = cases.exit;
    if let Some(dir) = report {
        let write = || {
            let folder = Folder::of_user(dir)?;
            folder.replace("report.json", &text::json(&report::json(&certificate)))?;
            folder.replace("report.txt", report::text(&certificate).as_str())
        };
        failed = failed.and(said(&write()));
    }
    if let Err(why) = print(output, || report::text(&certificate), || report::json(&certificate)) {
        say!("error: {why:#}");
        failed = Exit::CouldNot;
    }
    say!("seed {:#x}", certificate.seed);
    Ok(Exit::of(certificate.decided_by).and(failed))
}

pub(super) fn drawn_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(1, |now| now.as_nanos() as u64 & 0xffff_ffff)
}

/// A progress bar on standard error, on a terminal only.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Shows what is being done. Only `'static` words: others could contain terminal escape sequences.
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

/// Writes the case of each finding beside the report, by default into `migcert-findings`. A case that can't
/// be written is in the report itself.
struct CaseWriter<'a> {
    /// Names of implementations in file names.
    names: Vec<String>,
    here: &'a Path,
    folder: &'static str,
    exit: Exit,
}

impl<'a> CaseWriter<'a> {
    fn beside(subjects: &[SubjectInfo], report: Option<&'a Path>) -> CaseWriter<'a> {
        let (here, folder) = report.map_or((Path::new(""), "migcert-findings"), |report| (report, "cases"));
        CaseWriter { names: file_names(subjects), here, folder, exit: Exit::Nothing }
    }

    fn keep(&mut self, result: &RuleResult, subjects: &[SubjectInfo]) -> Option<CaseFile> {
        if let Some(file) = &result.known {
            return Some(CaseFile::Written { case: file.clone() });
        }
        let case = result.case.as_ref()?;
        let (saves, loads) = result.pair;
        let finding =
            if let Outcome::Broken(finding) = &result.outcome { Some(finding.clone()) } else { None };
        let pair = [saves, loads].map(|at| &subjects[at]);
        let hashes = pair.into_iter().filter_map(|info| Some((info.name.clone(), info.sha256.clone()?)));
        let bucket = result.bucket.as_ref().map(Bucket::id);
        let case = case.to_toml(&Found { finding, bucket, sha256: hashes.collect() });
        let to = if saves == loads { String::new() } else { format!("-to-{}", self.names[loads]) };
        let stem = format!("{}-{}{to}", result.rule.id, self.names[saves]);
        let written = Folder::of_user(self.here)
            .and_then(|here| here.inside(self.folder))
            .and_then(|folder| folder.add(&stem, "toml", &case));
        self.exit = self.exit.and(said(&written));
        Some(CaseFile::of(written, case))
    }
}

/// Names of implementations in file names: the last part of the name, and a hash of the whole name where
/// that part is ambiguous, cut or changed.
fn file_names(subjects: &[SubjectInfo]) -> Vec<String> {
    let names: Vec<_> = subjects.iter().map(|subject| Impl::of(&subject.name).short()).collect();
    // Some file systems ignore case.
    let is_alone = |name: &str| names.iter().filter(|other| name.eq_ignore_ascii_case(other)).count() == 1;
    let named = |(subject, name): (&SubjectInfo, &String)| {
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
        .ok_or_else(|| "expected a number below 2^64, decimal or 0x".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let bad = || "expected a number with s, m or h, such as 90s".to_owned();
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
    fits.then_some(time).ok_or_else(|| format!("expected a time from 1s to {longest}h"))
}
