//! The README says what the commands in it print, and how they end.

use migcert::case::Case;
use migcert::entry;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Sections of which every command of ours is run, one after the other in one place.
const RUN: [&str; 2] = ["In CI", "From crash to fix"];
/// A section of which `scripts/check --long` runs every command. `scripts/try-own-device`, which it runs too, reads
/// those of "Bring your own device" out of the README.
const CHECKED: &str = "Fuzzing";

#[test]
fn commands_print_what_the_readme_says() {
    for section in RUN {
        let place = place();
        for Shown { command, prints } in commands(section) {
            // `# 100: still broken` says how it ends.
            let (_, comment) = command.rsplit_once("  # ").unwrap_or_default();
            let status = comment.split(':').next().and_then(|number| number.parse().ok()).unwrap_or(0);
            let path = Path::new(env!("CARGO_BIN_EXE_migcert")).parent().expect("a folder").to_owned();
            let path = format!("{}:{}", path.display(), std::env::var("PATH").unwrap_or_default());
            let mut run = Command::new("sh");
            run.args(["-c", &format!("exec 2>&1; {command}")]).env("PATH", path).current_dir(place.path());
            let run = run.output().expect("sh runs");
            let printed = String::from_utf8_lossy(&run.stdout);
            assert_eq!(run.status.code(), Some(status), "{command}: {printed}");
            assert!(
                is_like(&printed, &prints),
                "{command} prints\n{printed}\nand not\n{}",
                prints.join("\n")
            );
        }
    }
}

#[test]
fn other_commands_are_run_by_the_long_check() {
    let check = fs::read_to_string(root().join("scripts/check")).expect("a script").replace("\\\n", "");
    let check = check.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(check.contains("scripts/try-own-device"), "scripts/check does not try `Bring your own device`");
    for Shown { command, .. } in commands(CHECKED) {
        let command = command.split("  #").next().unwrap_or_default().trim();
        let words = match command.strip_prefix("migcert ") {
            Some(args) => args.to_owned(),
            None => command.split(' ').next().unwrap_or_default().to_owned(),
        };
        assert!(check.contains(&words), "scripts/check does not run `{command}`");
    }
}

struct Shown {
    command: String,
    prints: Vec<String>,
}

/// What stands behind `$ ` in a section, and the lines that follow it.
fn commands(section: &str) -> Vec<Shown> {
    let readme = fs::read_to_string(root().join("README.md")).expect("a README");
    let text = readme.split("\n## ").find_map(|text| text.strip_prefix(&format!("{section}\n")));
    let mut blocks = text.expect("the section").split("```console\n").skip(1);
    let mut all: Vec<Shown> = Vec::new();
    let lines = blocks.by_ref().filter_map(|block| block.split("```").next()).flat_map(str::lines);
    for line in lines {
        match line.strip_prefix("$ ") {
            Some(command) => all.push(Shown { command: command.to_owned(), prints: Vec::new() }),
            None => all.last_mut().expect("a command first").prints.push(line.to_owned()),
        }
    }
    assert!(!all.is_empty(), "no command in {section}");
    all
}

/// Whether a text has these lines; `…` stands for any, and where there are none, any will do.
fn is_like(text: &str, lines: &[String]) -> bool {
    let mut rest: Vec<&str> = text.lines().collect();
    let mut is_loose = lines.is_empty();
    for line in lines {
        if line == "…" {
            is_loose = true;
            continue;
        }
        let Some(at) =
            rest.iter().position(|other| other.trim_end() == line).filter(|at| is_loose || *at == 0)
        else {
            return false;
        };
        rest.drain(..=at);
        is_loose = false;
    }
    is_loose || rest.is_empty()
}

/// A folder with what the README speaks of: an artifact of a fuzzer, and findings.
fn place() -> TempDir {
    let place = tempfile::tempdir().expect("a folder");
    let at = |name: &str| place.path().join(name);
    for folder in ["known", "tests", "fuzz/artifacts/migrate", "migcert-findings"] {
        fs::create_dir_all(at(folder)).expect("a folder");
    }
    let large = root().join("corpus/artifacts/twin-after-load-nic-vga-chain4.toml");
    let large = fs::read_to_string(large).expect("a case");
    let (case, _) = Case::from_toml(&large).expect("a case");
    let entry = entry::encode(&case).expect("not too long");
    fs::write(at("fuzz/artifacts/migrate/crash-7d1c"), entry).expect("written");
    let fixed = large.replace(&case.source, "builtin:nic");
    fs::write(at("migcert-findings/fixed.toml"), fixed).expect("written");
    fs::write(at("migcert-findings/broken.toml"), large).expect("written");
    symlink(root().join("corpus"), at("corpus")).expect("linked");
    place
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
