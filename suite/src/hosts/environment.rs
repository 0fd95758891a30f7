//! The environment of a device program: ours, without what says who starts it.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// What cargo sets for a program that it runs, by the beginning of the name.
const BY_CARGO: &[&str] =
    &["CARGO_BIN_", "CARGO_CRATE_", "CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_PRIMARY_", "CARGO_TARGET_TMPDIR"];

/// `NAME=VALUE` for each variable that a program gets. What a shell keeps up to date, the last
/// command and the working directory, says what it would say of this program.
pub(super) fn of(program: &Path, directory: &Path) -> Vec<CString> {
    let all = std::env::vars_os().filter(|(name, _)| !is_ours(name));
    let entry = |(name, value): (OsString, OsString)| {
        let value = match name.as_bytes() {
            b"_" => program.as_os_str().to_owned(),
            b"PWD" => directory.as_os_str().to_owned(),
            _ => value,
        };
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
    };
    all.filter_map(entry).collect()
}

fn is_ours(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let begins = |beginning: &&str| name.starts_with(beginning.as_bytes());
    name.starts_with(b"MIGCERT_") || matches!(name, b"CARGO" | b"OLDPWD") || BY_CARGO.iter().any(begins)
}

/// The file of a program that is called by a bare name, as a shell finds it.
pub(super) fn find(name: &Path) -> Option<std::path::PathBuf> {
    use rustix::fs::Access;
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let folders =
        path.as_bytes().split(|byte| *byte == b':').map(|folder| OsString::from_vec(folder.to_vec()));
    let mut files = folders.map(|folder| Path::new(&folder).join(name));
    files.find(|file| file.is_file() && rustix::fs::access(file, Access::EXEC_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours_is_known_by_its_name() {
        let ours = |name: &str| is_ours(OsStr::new(name));
        assert!(
            ["MIGCERT_SCRATCH", "CARGO", "CARGO_PKG_NAME", "CARGO_BIN_EXE_migcert", "OLDPWD"].map(ours)
                == [true; 5]
        );
        assert!(["PATH", "CARGO_HOME", "HOME", "XMIGCERT_A", "_"].map(ours) == [false; 5]);
    }

    #[test]
    fn a_bare_name_is_looked_up() {
        assert!(find(Path::new("sh")).is_some_and(|file| file.is_absolute()));
        assert_eq!(find(Path::new("no-such-program")), None);
    }
}
