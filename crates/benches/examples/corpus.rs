//! Re-encodes inputs of fuzz targets in the version that is written now: `scripts/corpus upgrade`.
//!
//! `corpus [--check] TARGET FOLDER...`; with `--check` nothing is written, and what would be fails.

use migcert::entry;
use migcert::oracle::Target;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

fn main() -> ExitCode {
    let mut args: Vec<String> = env::args().skip(1).collect();
    let is_check = args.first().is_some_and(|arg| arg == "--check");
    args.drain(..usize::from(is_check));
    let Some(target) = args.first().and_then(|name| Target::named(name)).filter(|_| 1 < args.len()) else {
        eprintln!("usage: corpus [--check] TARGET FOLDER...");
        return ExitCode::from(2);
    };
    let mut counts = Counts::default();
    for folder in &args[1..] {
        if let Err(why) =
            each(Path::new(folder), &mut |file| counts.add(upgrade(target, file, is_check), file))
        {
            eprintln!("{folder}: {why}");
            return ExitCode::from(2);
        }
    }
    let Counts { kept, upgraded, bad } = counts;
    let would = if is_check { "to be re-encoded" } else { "re-encoded" };
    println!("{}: {kept} as they are, {upgraded} {would}, {bad} that are no case", target.name);
    if bad != 0 || is_check && upgraded != 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

#[derive(Default)]
struct Counts {
    kept: u32,
    upgraded: u32,
    bad: u32,
}

impl Counts {
    fn add(&mut self, is_new: Result<bool, String>, file: &Path) {
        match is_new {
            Ok(false) => self.kept += 1,
            Ok(true) => self.upgraded += 1,
            Err(why) => {
                self.bad += 1;
                eprintln!("{}: {why}", file.display());
            }
        }
    }
}

/// Re-encodes a file; whether that changes it.
fn upgrade(target: &Target, file: &Path, is_check: bool) -> Result<bool, String> {
    let old = fs::read(file).map_err(|why| why.to_string())?;
    // libFuzzer begins with an empty input, and may keep it.
    if old.is_empty() {
        return Ok(false);
    }
    let case = entry::decode(&old).map_err(|why| why.to_string())?;
    let new = entry::encode(&case).ok_or("it is too long now")?;
    target.read(&new).ok_or_else(|| format!("it is no case of `{}` any more", target.name))?;
    if new != old && !is_check {
        fs::write(file, &new).map_err(|why| why.to_string())?;
    }
    Ok(new != old)
}

fn each(folder: &Path, act: &mut dyn FnMut(&Path)) -> io::Result<()> {
    let entries = folder.read_dir()?.map(|entry| entry.map(|entry| entry.path()));
    let mut files = entries.collect::<io::Result<Vec<PathBuf>>>()?;
    files.sort();
    files.iter().for_each(|file| act(file));
    Ok(())
}
