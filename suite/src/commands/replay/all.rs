//! `migcert replay --all`: a line for each file, and buckets.

use super::{Played, ReplayArgs, bucket_json};
use crate::commands::{Exit, input, print};
use anyhow::Context;
use migcert::bucket::Bucket;
use migcert::impls::CannotOpen;
use migcert::rules::Outcome;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What became of a file.
enum Now {
    Broken(Bucket, Option<String>),
    Fixed,
    CantTell(String),
}

impl Now {
    fn name(&self) -> &'static str {
        match self {
            Now::Broken(..) => "still broken",
            Now::Fixed => "fixed",
            Now::CantTell(_) => "can't tell",
        }
    }
}

pub(super) fn replay_all(dir: &Path, args: &ReplayArgs) -> anyhow::Result<Exit> {
    let mut files = Vec::new();
    collect(dir, &mut files)?;
    files.sort();
    let mut lines = Vec::new();
    for file in files.iter().filter(|file| input::is_finding(file, args.target.as_deref())) {
        let now = judged(file, args);
        if args.prune && matches!(now, Now::Fixed) {
            fs::remove_file(file).with_context(|| format!("can't remove {}", file.display()))?;
        }
        lines.push((file.display().to_string(), now));
    }
    let mut buckets: BTreeMap<&Bucket, Vec<&str>> = BTreeMap::new();
    for (file, now) in &lines {
        if let Now::Broken(bucket, _) = now {
            buckets.entry(bucket).or_default().push(file);
        }
    }
    print(&args.output, || text(&lines, &buckets, args.prune), || json(&lines, &buckets, args.prune))?;
    let count = |name| lines.iter().filter(|(_, now)| now.name() == name).count();
    Ok(match (count("still broken"), count("fixed"), count("can't tell")) {
        (0, 1.., 0) => Exit::Nothing,
        (0, ..) => Exit::TooLittle,
        _ => Exit::Found,
    })
}

/// Folders that are links are not entered: they may lead back.
fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let unreadable = |why| CannotOpen::File { path: dir.to_owned(), why };
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.file_type().map_err(unreadable)?.is_dir() {
            collect(&entry.path(), files)?;
        } else if entry.path().is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn judged(file: &Path, args: &ReplayArgs) -> Now {
    let input = match input::understood(file, args.target.as_deref()) {
        Ok(input) => input,
        Err(why) => return Now::CantTell(in_one_line(&format!("{why:#}"))),
    };
    let played = Played::of(&input, args.times);
    let rate = played.rate();
    match (played.outcome, played.bucket) {
        (Outcome::Broken(_), Some(bucket)) => Now::Broken(bucket, rate),
        (Outcome::Broken(finding), None) => Now::CantTell(finding.summary),
        (Outcome::Held, _) => Now::Fixed,
        (Outcome::NotApplicable(why), _) => Now::CantTell(why.into_owned()),
        (Outcome::Unsettled(why), _) => Now::CantTell(why),
    }
}

/// Where, and why: what lies between shows the text.
fn in_one_line(text: &str) -> String {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    lines.next_back().map_or_else(|| first.to_owned(), |last| format!("{first}: {last}"))
}

type Lines = [(String, Now)];
type Buckets<'a> = BTreeMap<&'a Bucket, Vec<&'a str>>;

fn text(lines: &Lines, buckets: &Buckets<'_>, prune: bool) -> String {
    let mut out = String::new();
    for (file, now) in lines {
        let more = match now {
            Now::Broken(bucket, rate) => {
                let rate = rate.as_ref().map_or_else(String::new, |rate| format!(", {rate}"));
                format!(": {}, bucket {}{rate}", bucket.rule, bucket.id())
            }
            Now::Fixed if prune => ": removed".to_owned(),
            Now::Fixed => String::new(),
            Now::CantTell(why) => format!(": {why}"),
        };
        out += &format!("{:<13} {file}{more}\n", now.name());
    }
    for (bucket, files) in buckets {
        out += &format!("\nbucket {}\n", bucket.id());
        out += &format!("  rule   {}\n  phase  {}\n  place  {}\n", bucket.rule, bucket.phase, bucket.place);
        out += &format!("  files  {}\n", files.len());
    }
    let count = |name| lines.iter().filter(|(_, now)| now.name() == name).count();
    out += &format!(
        "\nstill broken {}, buckets {}, fixed {}, can't tell {}\n",
        count("still broken"),
        buckets.len(),
        count("fixed"),
        count("can't tell"),
    );
    out
}

fn json(lines: &Lines, buckets: &Buckets<'_>, prune: bool) -> Json {
    let line = |(file, now): &(String, Now)| match now {
        Now::Broken(bucket, rate) => {
            json!({ "file": file, "now": "still-broken", "bucket": bucket.id(), "rate": rate })
        }
        Now::Fixed => json!({ "file": file, "now": "fixed", "removed": prune }),
        Now::CantTell(why) => json!({ "file": file, "now": "can't-tell", "why": why }),
    };
    let bucket = |(bucket, files): (&&Bucket, &Vec<&str>)| {
        let mut json = bucket_json(bucket);
        json["files"] = json!(files);
        json
    };
    json!({
        "schema": "migcert/replay-all/1",
        "files": lines.iter().map(line).collect::<Vec<_>>(),
        "buckets": buckets.iter().map(bucket).collect::<Vec<_>>(),
    })
}
