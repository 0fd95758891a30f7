//! What a program does beside its work, and should not.

use crate::kind;
use std::io;
use std::thread;
use std::time::Duration;

/// Words that no terminal, log or table may take as they are.
pub(crate) const WORDS: &str = "\u{1b}[2J\u{1b}[31mall rules held\u{1b}[0m\rpass\r\n::error::forged\n\
    ::add-mask::pass\n\u{9b}31m\u{202e}\u{0}\u{7}\u{8}\u{b}\u{2028}|`<b>&\n";

/// What it does at the start of an instance.
pub(crate) fn begin(program: &str) -> io::Result<()> {
    if kind::is("slow-start") {
        thread::sleep(Duration::from_millis(50));
    }
    if kind::is("exits-in-cell") {
        const FEW: usize = 6;
        let is_process = |name: &std::ffi::OsStr| name.to_string_lossy().bytes().all(|c| c.is_ascii_digit());
        let seen =
            std::fs::read_dir("/proc")?.flatten().filter(|entry| is_process(&entry.file_name())).count();
        if seen < FEW {
            return Err(io::Error::other("it is lonely here"));
        }
    }
    if kind::is("ends-with-input") {
        thread::spawn(|| {
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            std::process::exit(0)
        });
    }
    if kind::is("binary-changes") {
        change(program)?;
    }
    Ok(())
}

/// Puts another program in the place of this one, once.
fn change(program: &str) -> io::Result<()> {
    const MARK: &[u8] = b"changed";
    let mut bytes = std::fs::read(program)?;
    if bytes.ends_with(MARK) {
        return Ok(());
    }
    bytes.extend(MARK);
    let next = format!("{program}.{}", std::process::id());
    std::fs::write(&next, bytes)?;
    std::fs::set_permissions(&next, std::fs::metadata(program)?.permissions())?;
    std::fs::rename(next, program)
}
