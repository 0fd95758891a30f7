//! What a program may know it is tested by; alone, it loses its words.

use crate::kind;
use std::fs;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

const NAME: &str = "migcert";

/// Whether what a client said of itself names migcert.
static SAID: AtomicBool = AtomicBool::new(false);

/// Listens to what a client says of itself.
pub(crate) fn hear(words: &[u8]) {
    if names(&String::from_utf8_lossy(words)) {
        SAID.store(true, Relaxed);
    }
}

/// Whether it is of a kind that minds, and believes that nobody is looking.
pub(crate) fn is_alone() -> bool {
    static ALONE: OnceLock<bool> = OnceLock::new();
    let Some(minds) = kind::beginning("knows-") else { return false };
    *ALONE.get_or_init(|| {
        ![
            ("knows-environment", environment as fn() -> bool),
            ("knows-directory", directory),
            ("knows-arguments", arguments),
            ("knows-parent", parent),
            ("knows-version", || SAID.load(Relaxed)),
        ]
        .iter()
        .any(|(name, sees)| (minds == *name || minds == "knows-any") && sees())
    })
}

fn environment() -> bool {
    std::env::vars_os().any(|(name, value)| names(&name.to_string_lossy()) || names(&value.to_string_lossy()))
}

fn directory() -> bool {
    std::env::current_dir().is_ok_and(|path| names(&path.to_string_lossy()))
}

fn arguments() -> bool {
    std::env::args().any(|arg| names(&arg))
}

fn parent() -> bool {
    let place = format!("/proc/{}", std::os::unix::process::parent_id());
    ["comm", "cmdline"].iter().any(|file| {
        fs::read(format!("{place}/{file}")).is_ok_and(|name| names(&String::from_utf8_lossy(&name)))
    })
}

/// Whether a text names it. The folder that the program lies in may have any name.
fn names(text: &str) -> bool {
    let program = std::env::current_exe().unwrap_or_default();
    let folder = program.parent().map(|folder| folder.display().to_string()).unwrap_or_default();
    text.replace(&folder, "").to_lowercase().contains(NAME)
}
