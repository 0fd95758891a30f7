//! Whether a program is the kind of device that a guest expects.
//!
//! Programs with a vhost-user backend print what they are when they are asked with
//! `--print-capabilities`: JSON, of which the member `type` is `"fs"`, `"net"`, `"block"`... One that
//! does not is known by the features of its device, which every kind numbers for itself.

use crate::hosts::ask::ask;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The type of a device of virtio-fs.
pub(super) const FS: &str = "fs";

/// What a program says it is; `None` where it does not.
pub(super) fn says(program: &Path, words: &[String], limit: Duration) -> Option<String> {
    /// What was said, by program and words.
    type Known = BTreeMap<(PathBuf, Vec<String>), Option<String>>;
    static KNOWN: Mutex<Known> = Mutex::new(BTreeMap::new());
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (program.to_path_buf(), words.to_vec());
    // A profile is opened again and again, and a program that hangs hangs again.
    if let Some(said) = known().get(&key) {
        return said.clone();
    }
    const PATIENCE: Duration = Duration::from_secs(2);
    let said = asked(program, words, limit.min(PATIENCE));
    known().insert(key, said.clone());
    said
}

fn asked(program: &Path, words: &[String], limit: Duration) -> Option<String> {
    const OPTION: &str = "--print-capabilities";
    const MOST: usize = 1 << 16;
    let args: Vec<String> = words.iter().cloned().chain([OPTION.to_owned()]).collect();
    let said = ask(program, &args, MOST, limit).ok().filter(|said| said.status.success())?;
    let json: Json = serde_json::from_slice(&said.output).ok()?;
    json.get("type")?.as_str().map(str::to_owned)
}

/// What makes these features those of another device than virtio-fs, if anything does.
pub(super) fn is_another(features: u64) -> Option<String> {
    /// Bits that each kind of device numbers for itself; the others are about queues and transport.
    const OF_DEVICE: u64 = 0xff_ffff;
    /// The one that virtio-fs has.
    const NOTIFICATION: u64 = 1;
    let foreign = features & OF_DEVICE & !NOTIFICATION;
    (foreign != 0).then(|| format!("it offers the features {foreign:#x} of another kind of device"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_what_the_program_prints() {
        /// Only what hangs takes that long.
        const LONG: Duration = Duration::from_secs(300);
        let within =
            |script: &str, limit| asked(Path::new("/bin/sh"), &["-c", script].map(str::to_owned), limit);
        let says = |script| within(script, LONG);
        assert_eq!(says(r#"echo '{"type": "net", "features": []}'"#).as_deref(), Some("net"));
        assert_eq!(says(r#"echo '{"type": "net"}'; exit 1"#), None);
        assert_eq!(says("echo net"), None);
        assert_eq!(within("sleep 1000", Duration::from_millis(1)), None);
    }

    #[test]
    fn features_tell_what_a_device_is_not() {
        const VERSION_1: u64 = 1 << 32;
        const PROTOCOL: u64 = 1 << 30;
        const MAC: u64 = 1 << 5;
        assert_eq!(is_another(VERSION_1 | PROTOCOL | 1), None);
        let other = "it offers the features 0x20 of another kind of device";
        assert_eq!(is_another(VERSION_1 | PROTOCOL | MAC).as_deref(), Some(other));
    }
}
