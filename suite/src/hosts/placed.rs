//! Arguments in which something is put in place that is only known at the start. Paths are bytes: none
//! of them is changed on its way.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Arguments with `{NAME}` replaced, wherever it stands in them.
pub(super) fn placed<S: AsRef<OsStr>>(args: &[S], places: &[(&str, &OsStr)]) -> Vec<OsString> {
    args.iter().map(|arg| replaced(arg.as_ref().as_bytes(), places)).collect()
}

fn replaced(mut rest: &[u8], places: &[(&str, &OsStr)]) -> OsString {
    let mut whole = Vec::new();
    while let Some((first, after)) = rest.split_first() {
        let found = places.iter().find_map(|(name, what)| {
            let after = rest.strip_prefix(b"{")?.strip_prefix(name.as_bytes())?.strip_prefix(b"}")?;
            Some((after, what))
        });
        match found {
            Some((after, what)) => {
                whole.extend_from_slice(what.as_bytes());
                rest = after;
            }
            None => {
                whole.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(whole)
}

/// Where a program in this directory is to listen.
///
/// # Errors
/// For a path that no socket can have: a program that refuses it is not to blame.
pub(super) fn socket_in(directory: &Path) -> io::Result<PathBuf> {
    /// Bytes of a path in `struct sockaddr_un`, with the null at its end.
    const ROOM: usize = 108;
    let socket = directory.join("socket");
    match socket.as_os_str().len() {
        length if length < ROOM => Ok(socket),
        length => Err(io::Error::new(
            io::ErrorKind::InvalidFilename,
            format!(
                "sockets would lie at {}, which is {length} bytes, and a socket's path has {} at most: \
                 set MIGCERT_SCRATCH to a directory with a shorter path",
                socket.display(),
                ROOM - 1
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_replaced_byte_for_byte() {
        let path = OsStr::from_bytes(b"/s\xff{fd}");
        let args = ["--socket={socket}", "{other}", "{fd}{fd}", "{socket", "-"];
        let placed = placed(&args, &[("socket", path), ("fd", OsStr::new("0"))]);
        let expected = [b"--socket=/s\xff{fd}".as_slice(), b"{other}", b"00", b"{socket", b"-"];
        assert_eq!(placed, expected.map(OsStr::from_bytes));
    }

    #[test]
    fn a_socket_fits_or_says_what_to_do() {
        let with = |length: usize| socket_in(&Path::new("/").join("x".repeat(length)));
        // `/`, the name, `/socket`.
        assert!(with(107 - 8).is_ok());
        let why = with(108 - 8).expect_err("too long").to_string();
        assert!(why.contains("108 bytes") && why.contains("MIGCERT_SCRATCH"), "{why}");
    }
}
