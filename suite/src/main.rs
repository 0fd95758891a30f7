//! The command `migcert`.
//!
//! Results go to standard output, progress and errors to standard error. Exit status: 0 nothing
//! found, 100 found, 2 usage or input that can't be understood, 4 too little executed to judge,
//! 101 could not complete.

use anyhow::{Context, anyhow, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use migcert::bench::{Bench, Subject};
use migcert::case::{self, Case, Found};
use migcert::certify::{self, Job, Verdict};
use migcert::devices;
use migcert::impls::{self, CannotOpen};
use migcert::report::{self, Certificate};
use migcert::rules::{self, Finding, Outcome, Rule};
use migcert_core::compat::{self, REASONS};
use migcert_core::device::{Options, State, walk};
use migcert_core::model::ModelId;
use migcert_core::param::Param;
use migcert_core::program::{Manifest, Model};
use migcert_core::version::{Request, Setup};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Proves, or disproves, that device migrations fail early instead of leaving devices broken.
#[derive(Parser)]
#[command(version, after_help = EXIT_STATUS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_STATUS: &str = "\
Exit status:
  0    nothing found: compatible, passed, no longer reproduces
  100  found: incompatible, broken, reproduced
  2    usage, or input that can't be understood
  4    nothing was executed, or too little to judge
  101  could not complete";

#[derive(Subcommand)]
enum Command {
    /// Shows what an implementation supports: models, parameters, versions, lints
    Describe {
        /// builtin:NAME[@RELEASE][+FAULT], a .json of migration info, or a .toml profile
        #[arg(value_name = "IMPL")]
        name: String,
        #[command(flatten)]
        output: Output,
    },
    /// Would SRC, configured so, migrate to DST? Gives every reason if not
    Check(CheckArgs),
    /// Tests what an implementation promises, and each pair of several
    Certify(CertifyArgs),
    /// Plays a case again and tells it in words
    Replay {
        /// Case files
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        output: Output,
    },
    /// Shows what there is
    List {
        /// What to list
        what: What,
        /// For walks: the optional states of the device
        #[arg(long, value_delimiter = ',', value_name = "OPTIONS")]
        options: Vec<OptionalStates>,
        #[command(flatten)]
        output: Output,
    },
    /// Explains a rule, a reason or a requirement
    Explain {
        /// Such as chunking, cannot-be-off or
        id: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Args)]
struct Output {
    /// How results are printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    Rules,
    Reasons,
    Devices,
    Faults,
    Walks,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OptionalStates {
    P2p,
    PreCopy,
}

#[derive(Args)]
struct CheckArgs {
    /// The implementation that saves
    src: String,
    /// The one that is to load
    dst: String,
    /// The source's configuration, such as version=2,rx-filter-size=64; may be repeated
    #[arg(short, long = "config", value_name = "CONFIG")]
    config: Vec<String>,
    /// The model, where the source has several
    #[arg(long, value_name = "ID")]
    model: Option<String>,
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
struct CertifyArgs {
    /// The implementation
    #[arg(value_name = "IMPL")]
    name: String,
    /// Another one; every ordered pair is tested
    #[arg(long, value_name = "IMPL")]
    to: Vec<String>,
    /// Only these rules: ids, requirements or chapters (chunking, R-6.5, R-6)
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    only: Vec<String>,
    /// What cases are drawn from, decimal or 0x; drawn if it is not given
    #[arg(long, value_parser = seed)]
    seed: Option<u64>,
    /// Cases for each rule on each pair
    #[arg(long)]
    cases: Option<u32>,
    /// Begin no case after this time, such as 90s, 10m or 2h
    #[arg(long, value_parser = duration)]
    max_time: Option<Duration>,
    /// Threads
    #[arg(short, value_name = "N")]
    jobs: Option<usize>,
    /// Rules of the level should count too
    #[arg(long)]
    strict: bool,
    /// Where the report and the cases of findings go
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// What the process ends with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Exit {
    Nothing = 0,
    Usage = 2,
    TooLittle = 4,
    Found = 100,
    CouldNot = 101,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // A device that panics in process is a finding, told in the report.
    std::panic::set_hook(Box::new(|_| {}));
    let ended = match cli.command {
        Command::Describe { name, output } => describe(&name, &output),
        Command::Check(args) => check(&args),
        Command::Certify(args) => certify(&args),
        Command::Replay { files, output } => replay(&files, &output),
        Command::List { what, options, output } => list(what, &options, &output),
        Command::Explain { id, output } => explain(&id, &output),
    };
    let exit = ended.unwrap_or_else(|why| {
        anstream::eprintln!("error: {why:#}");
        let opened = why.chain().find_map(|why| why.downcast_ref::<CannotOpen>());
        let io = why.chain().any(|why| why.is::<std::io::Error>()) && opened.is_none();
        match opened {
            Some(why) if !why.is_usage() => Exit::CouldNot,
            _ if io => Exit::CouldNot,
            _ => Exit::Usage,
        }
    });
    ExitCode::from(exit as u8)
}

fn seed(text: &str) -> Result<u64, String> {
    let hex = text.strip_prefix("0x");
    let read = hex.map_or_else(|| text.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok());
    read.ok_or_else(|| "a seed is a number below 2^64, decimal or 0x".to_owned())
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
    number.checked_mul(factor).map(Duration::from_secs).ok_or_else(bad)
}

/// Prints a result; a reader that went away is no error of ours.
fn print(output: &Output, text: impl FnOnce() -> String, json: impl FnOnce() -> Json) -> anyhow::Result<()> {
    let words = match output.format {
        Format::Text => text(),
        Format::Json => format!("{:#}\n", json()),
    };
    match anstream::stdout().write_all(words.as_bytes()) {
        Err(why) if why.kind() != std::io::ErrorKind::BrokenPipe => Err(why).context("can't print"),
        _ => Ok(()),
    }
}

fn describe(name: &str, output: &Output) -> anyhow::Result<Exit> {
    let opened = impls::open(name)?;
    let manifest = opened.manifest();
    let lints: Vec<String> = opened.lints().iter().map(ToString::to_string).collect();
    let text = || {
        let mut out = String::new();
        for (id, model) in &manifest.models {
            out += &format!("model    {id}\n");
            out += &model_text(model);
            out += &format!("latest   {}\n", model.latest());
        }
        lints.iter().for_each(|lint| out += &format!("lint     {lint}\n"));
        out
    };
    let json = || {
        let latest =
            manifest.models.iter().map(|(id, model)| (id.to_string(), report::setup(&model.latest())));
        let info: Json = serde_json::from_str(&manifest.to_json()).unwrap_or_default();
        json!({
            "schema": "migcert/describe/1",
            "migration_info": info,
            "latest": latest.collect::<serde_json::Map<_, _>>(),
            "lints": lints,
        })
    };
    print(output, text, json)?;
    Ok(Exit::Nothing)
}

fn model_text(model: &Model) -> String {
    let description = match model {
        Model::Versions(versions) => {
            return versions.strings().iter().map(|version| format!("version  {version}\n")).collect();
        }
        Model::Params(description) => description,
    };
    let mut out = String::new();
    for (name, param) in &description.params {
        let off = param.off.as_ref().map_or_else(|| "can't be off".to_owned(), |off| format!("off {off}"));
        let what = param.description.as_ref().map_or_else(String::new, |what| format!("  {what}"));
        let Param { ty, init, allowed, .. } = param;
        out += &format!("param    {name} {ty}, init {init}, {off}, allowed {allowed}{what}\n");
    }
    for (version, full) in &description.versions {
        out += &format!("version  {version} is {}\n", Setup::Params(full.clone()));
    }
    for clause in &description.requires {
        out += &format!("requires {clause}\n");
    }
    out
}

fn check(args: &CheckArgs) -> anyhow::Result<Exit> {
    let source = impls::open(&args.src).context("SRC")?;
    let destination = impls::open(&args.dst).context("DST")?;
    let (id, model) = pick_model(source.manifest(), args.model.as_deref())?;
    let request = Request::parse(&args.config)?;
    let setup = request.expand(model).map_err(|why| anyhow!("SRC can't be configured so: {why}"))?;
    let verdict = compat::check(id, model, &setup, destination.manifest());
    let unproven = compat::unproven(id, model, &setup, destination.manifest());
    let list = match (model, &setup) {
        (Model::Params(description), Setup::Params(full)) => Setup::Params(description.parameter_list(full)),
        _ => setup.clone(),
    };
    let text = || {
        let head = if verdict.is_compatible() { "compatible" } else { "incompatible" };
        let mut out = format!("{head}: {} -> {}, model {id}\n", args.src, args.dst);
        out += &format!("configuration   {setup}\nparameter list  {list}\n");
        for reason in &verdict.0 {
            out += &format!("reason          {}: {reason} ({})\n", reason.requirement(), reason.info().id);
            out += &format!("                {}\n", reason.info().advice);
        }
        for name in &unproven {
            out += &format!(
                "unproven        `{name}` may still be refused at start: no allowed values are described (R-3.6)\n"
            );
        }
        out
    };
    let json = || {
        json!({
            "schema": "migcert/check/1",
            "compatible": verdict.is_compatible(),
            "model": id.as_str(),
            "configuration": report::setup(&setup),
            "parameter_list": report::setup(&list),
            "reasons": verdict.0.iter().map(report::reason).collect::<Vec<_>>(),
            "unproven": unproven.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    };
    print(&args.output, text, json)?;
    Ok(if verdict.is_compatible() { Exit::Nothing } else { Exit::Found })
}

fn pick_model<'a>(manifest: &'a Manifest, wanted: Option<&str>) -> anyhow::Result<(&'a ModelId, &'a Model)> {
    let ids = || manifest.models.keys().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
    match (wanted, manifest.models.len()) {
        (Some(wanted), _) => {
            let found = manifest.models.get_key_value(&ModelId::from(wanted));
            found.ok_or_else(|| anyhow!("SRC has no model `{wanted}`; it has {}", ids()))
        }
        (None, 1) => manifest.models.iter().next().ok_or_else(|| anyhow!("SRC has no model")),
        (None, 0) => bail!("SRC has no model"),
        (None, _) => bail!("SRC has several models; choose one with --model: {}", ids()),
    }
}

fn certify(args: &CertifyArgs) -> anyhow::Result<Exit> {
    let rules = rules::selected(&args.only).map_err(|why| anyhow!(why))?;
    let names = std::iter::once(&args.name).chain(&args.to);
    let subjects: Vec<Subject> = names.map(|name| impls::subject(name)).collect::<Result<_, _>>()?;
    let seed = args.seed.unwrap_or_else(drawn_seed);
    anstream::eprintln!("seed {seed:#x}");
    let jobs = args.jobs.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let reopen = |name: &str| impls::subject(name).map_err(|why| why.to_string());
    let job = Job {
        subjects: &subjects,
        rules,
        seed,
        cases: args.cases.unwrap_or(subjects.iter().map(|s| s.cases).min().unwrap_or(1)),
        shrinks: 2000,
        jobs,
        until: args.max_time.map(|time| Instant::now() + time),
        reopen: &reopen,
    };
    let bar = progress(job.work().len() as u64);
    let units = certify::certify(&job, &|unit| {
        bar.set_message(unit.rule.id);
        bar.inc(1);
    });
    bar.finish_and_clear();
    let verdict = certify::verdict(&units, args.strict);
    let mut certificate =
        Certificate { verdict, seed, subjects: &subjects, units: &units, files: BTreeMap::new() };
    write_cases(&mut certificate, args.report.as_deref())?;
    if let Some(dir) = &args.report {
        write(&dir.join("report.json"), &format!("{:#}\n", certificate.json()))?;
        write(&dir.join("report.txt"), &certificate.text(args.strict))?;
    }
    print(&args.output, || certificate.text(args.strict), || certificate.json())?;
    anstream::eprintln!("seed {seed:#x}");
    Ok(match verdict {
        Verdict::Pass => Exit::Nothing,
        Verdict::Fail => Exit::Found,
        Verdict::Incomplete => Exit::TooLittle,
    })
}

fn drawn_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(1, |now| now.as_nanos() as u64 & 0xffff_ffff)
}

fn progress(len: u64) -> ProgressBar {
    let quiet = !std::io::stderr().is_terminal() || std::env::var_os("CI").is_some();
    if quiet {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{elapsed} {bar:30} {pos}/{len} {msg}");
    ProgressBar::new(len).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Writes the case of each finding; without a place for the report, into `migcert-findings`.
fn write_cases(certificate: &mut Certificate<'_>, report: Option<&Path>) -> anyhow::Result<()> {
    let dir = report.map_or_else(|| PathBuf::from("migcert-findings"), |report| report.join("cases"));
    for (i, unit) in certificate.units.iter().enumerate() {
        let (Outcome::Broken(finding), Some(case)) = (&unit.outcome, &unit.case) else { continue };
        let pair = [unit.pair.0, unit.pair.1].map(|i| &certificate.subjects[i]);
        let hashes = pair.into_iter().filter_map(|s| Some((s.name.clone(), s.sha256.clone()?)));
        let found = Found { finding: Some(finding.clone()), sha256: hashes.collect() };
        let names = if unit.pair.0 == unit.pair.1 { &pair[..1] } else { &pair[..] };
        let names: Vec<String> = names.iter().map(|subject| file_name(&subject.name)).collect();
        let path = dir.join(format!("{}-{}.toml", unit.rule.id, names.join("-to-")));
        write(&path, &case.to_toml(&found))?;
        certificate.files.insert(i, path.display().to_string());
    }
    Ok(())
}

/// What of a name can stand in a file's name.
fn file_name(name: &str) -> String {
    let name = name.rsplit('/').next().unwrap_or(name).trim_start_matches("builtin:");
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".@+-".contains(c) { c } else { '_' };
    name.chars().take(60).map(plain).collect()
}

/// Writes a file whole or not at all.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let context = || format!("can't write {}", path.display());
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(context)?;
    }
    let half = path.with_extension("part");
    std::fs::write(&half, text).and_then(|()| std::fs::rename(&half, path)).with_context(context)
}

fn replay(files: &[PathBuf], output: &Output) -> anyhow::Result<Exit> {
    let mut exit = Exit::Nothing;
    for file in files {
        exit = match (replay_one(file, output)?, exit) {
            (Exit::Found, _) | (_, Exit::Found) => Exit::Found,
            (Exit::TooLittle, _) => Exit::TooLittle,
            (_, before) => before,
        };
    }
    Ok(exit)
}

fn replay_one(file: &Path, output: &Output) -> anyhow::Result<Exit> {
    let context = || file.display().to_string();
    let bytes = impls::read(file, case::MAX_FILE + 1)?;
    if case::MAX_FILE < bytes.len() as u64 {
        bail!("{}: more than {} bytes are no case", context(), case::MAX_FILE);
    }
    let text = String::from_utf8(bytes).with_context(context)?;
    let (case, found) = Case::from_toml(&text).with_context(context)?;
    let rule = rules::ALL.iter().find(|rule| rule.id == case.rule);
    let rule =
        rule.ok_or_else(|| anyhow!("{}: no rule `{}`; see `migcert list rules`", context(), case.rule))?;
    let source = impls::subject(&case.source).with_context(context)?;
    let destination = impls::subject(&case.destination).with_context(context)?;
    for subject in [&source, &destination] {
        let before = found.sha256.get(&subject.name);
        if let (Some(before), Some(now)) = (before, &subject.sha256)
            && before != now
        {
            anstream::eprintln!("note: `{}` is another binary than the one this was found in", subject.name);
        }
    }
    let bench = Bench::new(&case, &source, &destination).telling();
    let outcome = rule.judge(&bench);
    let steps = bench.told();
    let (reproduced, exit) = match &outcome {
        Outcome::Broken(_) => (true, Exit::Found),
        Outcome::Held => (false, Exit::Nothing),
        Outcome::NotApplicable(_) | Outcome::Unsettled(_) => (false, Exit::TooLittle),
    };
    let nothing = Finding { summary: String::new(), expected: String::new(), observed: String::new() };
    let finding = match &outcome {
        Outcome::Broken(finding) => finding,
        _ => &nothing,
    };
    let text = || {
        let mut out = format!("{}: {} ({}): {}\n", context(), rule.id, rule.cites, rule.promise);
        steps.iter().enumerate().for_each(|(i, step)| out += &format!("{:>4}. {step}\n", i + 1));
        out += &match &outcome {
            Outcome::Broken(Finding { summary, expected, observed }) => format!(
                "still broken: {summary}\n  expected  {expected}\n  observed  {observed}\n  advice    {}\n",
                rule.advice
            ),
            Outcome::Held => "no longer broken\n".to_owned(),
            Outcome::NotApplicable(why) => format!("can't tell: {why}\n"),
            Outcome::Unsettled(why) => format!("can't tell: {why}\n"),
        };
        out
    };
    let json = || {
        json!({
            "schema": "migcert/replay/1",
            "file": context(),
            "reproduced": reproduced,
            "outcome": outcome.name(),
            "rule": rule.id,
            "steps": steps,
            "summary": finding.summary,
            "expected": finding.expected,
            "observed": finding.observed,
        })
    };
    print(output, text, json)?;
    Ok(exit)
}

fn list(what: What, options: &[OptionalStates], output: &Output) -> anyhow::Result<Exit> {
    let rows: Vec<Json> = match what {
        What::Rules => rules::ALL.iter().map(|rule| rule_json(rule)).collect(),
        What::Reasons => REASONS.iter().map(|row| json!({ "id": row.id, "requirement": row.cites, "means": row.means })).collect(),
        What::Devices => devices::ALL
            .iter()
            .map(|device| json!({ "impl": format!("builtin:{}", device.name), "releases": device.releases(), "what": device.what }))
            .collect(),
        What::Faults => devices::faulty().map(|(name, row)| {
            json!({ "id": row.id, "requirement": row.breaks, "impl": name, "what": row.what })
        }).collect(),
        What::Walks => {
            let has = |option| options.contains(&option);
            return list_walks(Options { p2p: has(OptionalStates::P2p), pre_copy: has(OptionalStates::PreCopy) }, output);
        }
    };
    let text = || rows.iter().map(row_text).collect();
    print(output, text, || json!({ "schema": "migcert/list/1", "rows": rows }))?;
    Ok(Exit::Nothing)
}

fn rule_json(rule: &Rule) -> Json {
    json!({ "id": rule.id, "requirement": rule.cites, "level": rule.level.name(), "promise": rule.promise })
}

/// The members of a row, the last one being its sentence.
fn row_text(row: &Json) -> String {
    let word = |name: &str| row.get(name).map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
    let mut out = format!("{:<28}", word("id").or_else(|| word("impl")).unwrap_or_default());
    for name in ["requirement", "level", "releases"] {
        out += &word(name).map_or_else(String::new, |word| format!(" {word:<6}"));
    }
    let sentence = ["promise", "means", "what"].into_iter().find_map(word);
    format!("{out} {}\n", sentence.unwrap_or_default())
}

fn list_walks(options: Options, output: &Output) -> anyhow::Result<Exit> {
    let pairs: Vec<_> = State::ALL.iter().flat_map(|from| State::ALL.map(|to| (*from, to))).collect();
    let walk = |(from, to): &(State, State)| walk(*from, *to, options).ok();
    let text = || {
        let line = |pair: &(State, State)| {
            let states = walk(pair).map_or_else(
                || " refused".to_owned(),
                |walk| walk.iter().map(|state| format!(" {state}")).collect(),
            );
            format!("{} {}:{states}\n", pair.0, pair.1)
        };
        pairs.iter().map(line).collect()
    };
    let json = || {
        let row = |pair: &(State, State)| {
            let names = walk(pair).map(|walk| walk.iter().map(|state| state.name()).collect::<Vec<_>>());
            json!({ "from": pair.0.name(), "to": pair.1.name(), "enters": names })
        };
        json!({ "schema": "migcert/list/1", "rows": pairs.iter().map(row).collect::<Vec<_>>() })
    };
    print(output, text, json)?;
    Ok(Exit::Nothing)
}

fn explain(id: &str, output: &Output) -> anyhow::Result<Exit> {
    let requirement = |id: &str| {
        let begins = format!("- {id} ");
        let line = migcert_core::REQUIREMENTS.lines().find(|line| line.starts_with(&begins));
        line.map(|line| line.trim_start_matches("- ").to_owned())
    };
    let (json, text) = if let Some(rule) = rules::ALL.iter().find(|rule| rule.id == id) {
        let faults = devices::faulty().filter(|(_, row)| row.breaks == rule.cites);
        let faults: Vec<_> = faults.map(|(name, row)| (name, row.what)).collect();
        let mut text = format!("{} ({}): {}\n\n", rule.id, rule.level.name(), rule.promise);
        text += &requirement(rule.cites).map_or_else(String::new, |line| format!("{line}\n\n"));
        text += &format!("Where it is broken: {}.\n", rule.advice);
        if let Some((name, what)) = faults.first() {
            text += &format!("\nFor example, {what}:\n  migcert certify {name} --only {}\n", rule.id);
        }
        let example = faults.first().map(|(name, _)| name);
        let mut json = rule_json(rule);
        json["advice"] = json!(rule.advice);
        json["requirement_text"] = json!(requirement(rule.cites));
        json["example"] = json!(example);
        (json, text)
    } else if let Some(row) = REASONS.iter().find(|row| row.id == id) {
        let mut text = format!("{}: {}\n\n", row.id, row.means);
        text += &requirement(row.cites).map_or_else(String::new, |line| format!("{line}\n\n"));
        text += &format!("What to do: {}.\n", row.advice);
        let json = json!({ "id": row.id, "requirement": row.cites, "means": row.means, "advice": row.advice,
            "requirement_text": requirement(row.cites) });
        (json, text)
    } else if let Some(line) = requirement(id) {
        let rules: Vec<_> = rules::ALL.iter().filter(|rule| rule.cites == id).map(|rule| rule.id).collect();
        let mut text = format!("{line}\n");
        if !rules.is_empty() {
            text += &format!("\nTested by: {}\n", rules.join(", "));
        }
        (json!({ "id": id, "requirement_text": line, "rules": rules }), text)
    } else {
        bail!(
            "`{id}` is no rule, reason or requirement; `migcert list rules` and `migcert list reasons` show them"
        );
    };
    print(output, || text, || json)?;
    Ok(Exit::Nothing)
}
