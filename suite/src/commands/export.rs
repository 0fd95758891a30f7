//! `migcert export`: a case as a test to paste.

use super::input::{self, Input, Tried};
use super::{Exit, said, write_out};
use anyhow::bail;
use clap::Args;
use migcert::bench::Bench;
use migcert::files;
use migcert::rule::Rule;
use migcert::rules;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(crate) struct ExportArgs {
    /// A case, an input of a fuzz target, or a regression of a property
    file: PathBuf,
    #[command(flatten)]
    form: Form,
    /// File to write; printed if omitted
    #[arg(short, value_name = "OUT")]
    out: Option<PathBuf>,
    /// Fuzz target, for inputs whose path doesn't name it
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Form {
    /// A test for a crate that depends on `migcert`
    #[arg(long)]
    rust: bool,
    /// A case file
    #[arg(long)]
    toml: bool,
    /// A shell script that runs `migcert replay`
    #[arg(long)]
    sh: bool,
}

pub(crate) fn export(args: &ExportArgs) -> anyhow::Result<Exit> {
    let tried = match input::read(&args.file, args.target.as_deref())? {
        Input::Case(tried) => *tried,
        Input::Bytes(..) => bail!("{}: its bytes do not decode to a case", args.file.display()),
    };
    let bench = Bench::new(&tried.case, &tried.source, &tried.destination).telling();
    let (outcome, bucket) = rules::judged(Rule::alone, tried.rule, &bench);
    let toml = tried.case.to_toml(&tried.found(&outcome, bucket.as_ref()));
    let text = match &args.form {
        Form { rust: true, .. } => rust(&tried, &args.file, &toml),
        Form { sh: true, .. } => sh(&toml),
        _ => toml,
    };
    let exit = args.out.as_ref().map_or(Exit::Nothing, |out| said(&files::write(out, &text)));
    if args.out.is_none() || exit != Exit::Nothing {
        write_out(&text)?;
    }
    Ok(exit)
}

fn rust(tried: &Tried, file: &Path, toml: &str) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let name: String = format!("{} {stem}", tried.rule.id).chars().map(plain).collect();
    let fence = "#".repeat(longest_run(toml, '#') + 1);
    format!(
        r##"/// {cites}: {promise}.
#[test]
fn {name}() {{
    let (case, _) = migcert::case::Case::from_toml(CASE).expect("a case");
    let rule = migcert::rules::named(&case.rule).expect("a rule");
    let open = |name: &str| migcert::impls::fresh(name).expect("can be opened");
    let (source, destination) = (open(&case.source), open(&case.destination));
    let outcome = rule.alone(&migcert::bench::Bench::new(&case, &source, &destination));
    assert_eq!(outcome, migcert::finding::Outcome::Held);

    const CASE: &str = r{fence}"{toml}"{fence};
}}
"##,
        cites = tried.rule.cites,
        promise = tried.rule.promise,
    )
}

fn sh(toml: &str) -> String {
    let mut end = "CASE".to_owned();
    while toml.lines().any(|line| line == end) {
        end.push('_');
    }
    format!(
        "\
#!/bin/sh
# Exit status 0: fixed. 100: still broken. Others: see `migcert --help`.
set -eu
file=$(mktemp -d)/case.toml
trap 'rm -r \"${{file%/*}}\"' EXIT
cat >\"$file\" <<'{end}'
{toml}{end}
\"${{MIGCERT:-migcert}}\" replay \"$file\"
"
    )
}

fn longest_run(text: &str, of: char) -> usize {
    text.split(|c| c != of).map(str::len).max().unwrap_or(0)
}
