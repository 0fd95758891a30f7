//! `migcert replay --all`: one line for each file, and the buckets of the findings.

use super::{Played, ReplayArgs, bucket_json};
use crate::commands::{Exit, input, print};
use migcert::files;
use migcert::finding::{Bucket, Outcome};
use migcert::text::Lines;
use migcert::{row, say};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The present state of a finding's file.
enum Now {
    Broken(Bucket, Option<String>),
    /// With the reason, if `--prune` could not remove it.
    Fixed(Option<String>),
    CantTell(String),
}

impl Now {
    fn name(&self) -> &'static str {
        match self {
            Now::Broken(..) => "still broken",
            Now::Fixed(_) => "fixed",
            Now::CantTell(_) => "can't tell",
        }
    }
}

pub(super) fn replay_all(dir: &Path, args: &ReplayArgs) -> anyhow::Result<Exit> {
    let mut files = Vec::new();
    collect(dir, &mut files)?;
    files.sort();
    let (mut lines, mut pruned) = (Vec::new(), Exit::Nothing);
    for file in files.iter().filter(|file| input::is_finding(file, args.target.as_deref())) {
        let mut now = judged(file, args);
        if let (true, Now::Fixed(left)) = (args.prune, &mut now)
            && let Err(why) = fs::remove_file(file)
        {
            say!("error: cannot remove {}: {why}", file.display());
            pruned = Exit::CouldNot;
            *left = Some(why.to_string());
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
    let exit = match (count("still broken"), count("fixed"), count("can't tell")) {
        (0, 1.., 0) => Exit::Nothing,
        (0, ..) => Exit::TooLittle,
        _ => Exit::Found,
    };
    Ok(exit.and(pruned))
}

/// Collects all files below a directory. Symbolic links to directories are skipped: they may form a loop.
fn collect(dir: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in files::entries(dir)? {
        if entry.symlink_metadata().is_ok_and(|of| of.is_dir()) {
            collect(&entry, found)?;
        } else if entry.is_file() {
            found.push(entry);
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
        (Outcome::Held, _) => Now::Fixed(None),
        (Outcome::NotApplicable(why), _) => Now::CantTell(why.to_string()),
        (Outcome::Unsettled(why), _) => Now::CantTell(why),
    }
}

/// The first and the last line of an error: where and why. Those between quote the file.
fn in_one_line(text: &str) -> String {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    lines.next_back().map_or_else(|| first.to_owned(), |last| format!("{first}: {last}"))
}

type Judged = [(String, Now)];
type Buckets<'a> = BTreeMap<&'a Bucket, Vec<&'a str>>;

fn text(lines: &Judged, buckets: &Buckets<'_>, prune: bool) -> Lines {
    let mut out = Lines::default();
    for (file, now) in lines {
        let more = match now {
            Now::Broken(bucket, rate) => {
                let rate = rate.as_ref().map_or_else(String::new, |rate| format!(", broken in {rate}"));
                format!(": {}, bucket {}{rate}", bucket.rule, bucket.id())
            }
            Now::Fixed(Some(why)) => format!(": not removed: {why}"),
            Now::Fixed(None) if prune => ": removed".to_owned(),
            Now::Fixed(None) => String::new(),
            Now::CantTell(why) => format!(": {why}"),
        };
        let name = now.name();
        out.after(name, format_args!("{:wide$} {file}{more}", "", wide = 13 - name.len()));
    }
    for (bucket, files) in buckets {
        row!(out);
        row!(out, "bucket {}", bucket.id());
        row!(out, "  rule   {}", bucket.rule);
        row!(out, "  phase  {}", bucket.phase);
        row!(out, "  place  {}", bucket.place);
        row!(out, "  files  {}", files.len());
    }
    let count = |name| lines.iter().filter(|(_, now)| now.name() == name).count();
    row!(out);
    row!(
        out,
        "still broken {}, buckets {}, fixed {}, can't tell {}",
        count("still broken"),
        buckets.len(),
        count("fixed"),
        count("can't tell"),
    );
    out
}

fn json(lines: &Judged, buckets: &Buckets<'_>, prune: bool) -> Json {
    let line = |(file, now): &(String, Now)| match now {
        Now::Broken(bucket, rate) => {
            let rate = rate.as_ref().map(|rate| format!("broken in {rate}"));
            json!({ "file": file, "now": "still-broken", "bucket": bucket.id(), "rate": rate })
        }
        Now::Fixed(left) => {
            json!({ "file": file, "now": "fixed", "removed": prune && left.is_none() })
        }
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
