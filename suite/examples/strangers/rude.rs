//! What a program does beside its work, and should not.

use crate::keeper;
use crate::kind;
use std::io::{self, Write};
use std::process::{Command, Stdio};
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
    if kind::is("daemonises") {
        keeper::start(&["--linger"])?;
    }
    if kind::is("many-orphans") {
        const SCRIPT: &str = "for i in 1 2 3 4 5 6 7 8 9 10; do setsid sleep 0.05 & done";
        let mut shell = Command::new("sh");
        shell
            .args(["-c", SCRIPT])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
    }
    if kind::is("floods") {
        thread::spawn(|| -> io::Result<()> {
            let line = [b"x".repeat(1 << 12), b"\n".to_vec()].concat();
            loop {
                io::stderr().write_all(&line)?;
            }
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

/// Stays for a while.
pub(crate) fn linger() {
    thread::sleep(Duration::from_secs(600));
}
