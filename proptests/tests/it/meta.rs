//! What must hold among the files of this repository.

mod ratchet;
mod walls;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Requirements that no code cites, and why.
const NOT_CITED: &[(&str, &str)] = &[
    ("R-1.2", "the sum of R-4.5 and R-5.4, which are tested on every ordered pair"),
    ("R-2.3", "nothing here follows an id anywhere"),
    ("R-2.5", "its author's to keep; two representations under one id show as states that don't load"),
    ("R-3.2", "what no guest can see is in no interface that is driven here"),
    ("R-3.8", "its author's to claim; what was not safe to ignore shows where twins differ"),
    ("R-8.5", "kernel drivers are not driven yet"),
];

#[test]
fn every_citation_is_a_requirement() {
    let requirements = requirements();
    for (requirement, files) in citations() {
        assert!(requirements.contains(&requirement), "{requirement} is none, and cited in {files:?}");
    }
}

#[test]
fn every_requirement_is_cited() {
    let (requirements, citations) = (requirements(), citations());
    let excepted: BTreeSet<_> = NOT_CITED.iter().map(|row| row.0.to_owned()).collect();
    let cited = citations.into_keys().collect();
    let not_cited: BTreeSet<_> = requirements.difference(&cited).cloned().collect();
    assert_eq!(not_cited, excepted);
}

#[test]
fn every_fuzz_target_has_a_file_a_bin_and_seeds() {
    let bins: BTreeSet<String> = manifest("fuzz/Cargo.toml")["bin"]
        .as_array()
        .expect("[[bin]]s")
        .iter()
        .filter(|bin| bin["path"].as_str().is_some_and(|path| path.starts_with("fuzz_targets/")))
        .map(|bin| bin["name"].as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(bins, names_in("fuzz/fuzz_targets"));
    assert_eq!(bins, names_in("corpus/seeds"));
    assert!(names_in("fuzz/dictionaries").is_subset(&bins), "a dictionary for no target");
}

#[test]
fn fuzz_targets_are_glue() {
    for (path, code) in code_under("fuzz/fuzz_targets") {
        let lines = code.lines().filter(|line| !line.trim().is_empty()).count();
        assert!(lines <= 12, "{path:?} has {lines} lines of code");
    }
}

/// Nothing that only the long run tries is left out at night.
#[test]
fn every_long_step_is_in_the_nightly_workflow() {
    let steps = |args: &[&str]| -> BTreeSet<String> {
        let check = Command::new(root().join("scripts/check")).args(args).output().expect("it runs");
        String::from_utf8(check.stdout).expect("text").lines().map(str::to_owned).collect()
    };
    let workflow = fs::read_to_string(root().join(".github/workflows/nightly.yml")).expect("a workflow");
    let parts = workflow.lines().filter_map(|line| line.strip_prefix("          - "));
    let nightly: BTreeSet<String> = parts.flat_map(str::split_whitespace).map(str::to_owned).collect();
    let long = &steps(&["--long", "--list"]) - &steps(&["--list"]);
    assert!(!long.is_empty());
    assert_eq!(nightly, long);
}

/// A module of the program `long`, or a table of rows, that the long run doesn't name would never run.
#[test]
fn every_long_module_is_a_long_step() {
    let check = fs::read_to_string(root().join("scripts/check")).expect("a script");
    let words: BTreeSet<&str> = check.split(|c: char| c.is_whitespace() || c == ';').collect();
    let modules = |program: &str, helpers: &[&str]| -> Vec<String> {
        let main =
            fs::read_to_string(root().join("suite/tests").join(program).join("main.rs")).expect("code");
        let modules = main.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
        modules.filter(|module| !helpers.contains(module)).map(str::to_owned).collect()
    };
    let long = modules("long", &["example"]);
    let rows = modules("rows", &["example", "watch"]);
    assert!(!long.is_empty() && !rows.is_empty());
    for word in long.into_iter().chain(rows.into_iter().map(|table| format!("{table}::"))) {
        assert!(words.contains(word.as_str()), "scripts/check --long doesn't run {word}");
    }
}

/// The numbers of the lines that begin with `- R-`.
fn requirements() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("core/REQUIREMENTS.md")).expect("requirements");
    let numbers = text.lines().filter_map(|line| line.strip_prefix("- ")).flat_map(|line| cited(line).next());
    numbers.collect()
}

/// Every requirement that code or its comments name, and the files that do.
fn citations() -> BTreeMap<String, BTreeSet<PathBuf>> {
    let mut citations = BTreeMap::<_, BTreeSet<_>>::new();
    for path in ["core", "suite", "fuzz", "proptests", "crates"].iter().flat_map(|folder| rust_under(folder))
    {
        if path.ends_with(file!()) {
            continue;
        }
        for requirement in cited(&fs::read_to_string(root().join(&path)).expect("code")) {
            citations.entry(requirement).or_default().insert(path.clone());
        }
    }
    citations
}

/// Everything of the form `R-1.2`.
fn cited(text: &str) -> impl Iterator<Item = String> {
    text.split("R-").skip(1).filter_map(|rest| {
        let (chapter, rest) = rest.split_once('.')?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let is_number = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
        (is_number(chapter) && end > 0).then(|| format!("R-{chapter}.{}", &rest[..end]))
    })
}

/// Rust files, as `folder.rs` or under `folder/`, without their comments.
fn code_under(folder: &str) -> Vec<(PathBuf, String)> {
    let without_comments = |path: PathBuf| {
        let text = fs::read_to_string(root().join(&path)).expect("code");
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = code.collect::<Vec<_>>().join("\n");
        (path, code)
    };
    rust_under(folder).into_iter().map(without_comments).collect()
}

fn rust_under(folder: &str) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from(format!("{folder}.rs"))];
    found.retain(|file| root().join(file).is_file());
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for name in entries(&folder) {
            let path = folder.join(&name);
            if root().join(&path).is_dir() && name != "target" {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// Names of files and folders, without extension.
fn names_in(folder: &str) -> BTreeSet<String> {
    let stem = |name: String| name.split('.').next().unwrap_or_default().to_owned();
    entries(Path::new(folder)).into_iter().map(stem).collect()
}

fn entries(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root().join(folder)) else { return vec![] };
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

fn manifest(path: &str) -> toml::Table {
    fs::read_to_string(root().join(path)).expect("a manifest").parse().expect("TOML")
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
