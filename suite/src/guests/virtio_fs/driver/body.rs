//! The bodies of requests, laid out as in `linux/fuse.h`.

use super::super::notation::{Arg, Request};
use super::super::wire::{self, Bytes};
use super::{Driver, MAX};

impl Driver {
    /// The body of a request, and how many bytes it asks for or gives.
    #[rustfmt::skip]
    pub(super) fn body(&mut self, request: &Request, session: u64, to: Bytes) -> Option<(Bytes, u32)> {
        use Arg::{Handle as H, Mode, Name, Node as N, Number as Num, Sets, Text, Words};
        const FILE: u32 = 0o100_000;
        const LARGEST: u64 = 1 << 20;
        let most = MAX - wire::OUT_HEADER;
        let node = |n: &usize| self.nodes[*n].id;
        let fh = |n: &usize| self.handles[*n].id;
        let flags = |n: &usize| self.handles[*n].flags;
        let name = |name: &String| name.as_bytes().to_vec();
        Some(match (request.op.word, request.args.as_slice()) {
            ("lookup" | "unlink" | "rmdir" | "removexattr", [N(_), Name(a)]) => (to.name(&name(a)), 0),
            ("forget", [N(n), Num(count)]) => {
                let count = (*count).min(self.nodes[*n].lookups);
                self.nodes[*n].lookups -= count;
                (to.u64(count), 0)
            }
            ("getattr", [N(_)]) => (to.zero(16), 0),
            ("fgetattr", [H(h)]) => (to.u32(1).u32(0).u64(fh(h)), 0),
            ("setattr", [N(_), Sets(sets)]) => (setattr(to, sets, None), 0),
            ("fsetattr", [H(h), Sets(sets)]) => (setattr(to, sets, Some(fh(h))), 0),
            ("readlink" | "listxattr", [N(_)]) if request.op.word == "readlink" => (to, most),
            ("listxattr", [N(_)]) => (to.u32(most).u32(0), most),
            ("symlink", [N(_), Name(a), Text(target, times)]) => (to.name(&name(a)).name(&repeat(target, *times)?), 0),
            ("mknod", [N(_), Name(a), Words(_, kind), Mode(mode)]) => (to.u32(kind | mode).zero(12).name(&name(a)), 0),
            ("mkdir", [N(_), Name(a), Mode(mode)]) => (to.u32(*mode).u32(0).name(&name(a)), 0),
            ("rename", [N(_), Name(a), N(dir), Name(b), Words(_, how)]) =>
                (to.u64(node(dir)).u32(*how).u32(0).name(&name(a)).name(&name(b)), 0),
            ("link", [N(old), N(_), Name(a)]) => (to.u64(node(old)).name(&name(a)), 0),
            ("open" | "opendir", [N(_), how @ ..]) => (to.u32(how.iter().find_map(Arg::words).unwrap_or(0)).u32(0), 0),
            ("create", [N(_), Name(a), Mode(mode), Words(_, how)]) =>
                (to.u32(how | 0o100).u32(FILE | mode).u32(0).u32(0).name(&name(a)), 0),
            ("tmpfile", [N(_), Mode(mode), Words(_, how)]) =>
                (to.u32(how | 0o20_200_000).u32(FILE | mode).u32(0).u32(0).name(b"/"), 0),
            ("read", [H(h), Num(at), Num(count)]) => {
                let count = u32::try_from(*count).ok()?.min(most);
                (to.u64(fh(h)).u64(*at).u32(count).u32(0).u64(0).u32(flags(h)).u32(0), count)
            }
            ("write", [H(h), Num(at), Text(text, times)]) => {
                let text = repeat(text, *times)?;
                let count = text.len() as u32;
                (to.u64(fh(h)).u64(*at).u32(count).u32(0).u64(0).u32(flags(h)).u32(0).bytes(&text), count)
            }
            ("flush", [H(h)]) => (to.u64(fh(h)).zero(16), 0),
            ("fsync" | "fsyncdir", [H(h)]) => (to.u64(fh(h)).zero(8), 0),
            ("fallocate", [H(h), Num(at), Num(count), Words(_, how)]) if *at <= LARGEST && *count <= LARGEST =>
                (to.u64(fh(h)).u64(*at).u64(*count).u32(*how).u32(0), 0),
            ("lseek", [H(h), Num(at), Words(_, whence)]) => (to.u64(fh(h)).u64(*at).u32(*whence).u32(0), 0),
            ("copy", [H(from), Num(at), H(into), Num(to_at), Num(count)]) => {
                let target = self.nodes[self.handles[*into].node].id;
                let asked = (*count).min(LARGEST);
                (to.u64(fh(from)).u64(*at).u64(target).u64(fh(into)).u64(*to_at).u64(asked).u64(0), asked as u32)
            }
            ("release" | "releasedir", [H(h)]) => (to.u64(fh(h)).u32(flags(h)).u32(0).u64(0), 0),
            ("readdir" | "readdirplus", [H(h), Num(count)]) => {
                let count = u32::try_from(*count).ok()?.min(most);
                (to.u64(fh(h)).u64(self.handles[*h].cookie).u32(count).zero(20), count)
            }
            ("rewinddir", [H(h), Num(count)]) => {
                let count = u32::try_from(*count).ok()?.min(most);
                (to.u64(fh(h)).u64(0).u32(count).zero(20), count)
            }
            ("access", [N(_), Num(mask)]) => (to.u32((mask & 7) as u32).u32(0), 0),
            ("statfs", [N(_)]) => (to, 0),
            ("syncfs", [N(_)]) => (to.u64(0), 0),
            ("setxattr", [N(_), Name(a), Text(value, times)]) => {
                let value = repeat(value, *times)?;
                let to = to.u32(value.len() as u32).u32(0);
                let to = if session & wire::SETXATTR_EXT != 0 { to.u64(0) } else { to };
                (to.name(&name(a)).bytes(&value), 0)
            }
            ("getxattr", [N(_), Name(a)]) => (to.u32(most).u32(0).name(&name(a)), most),
            _ => return None,
        })
    }
}

/// A text as often as it is said, if it fits into a request.
fn repeat(text: &[u8], times: usize) -> Option<Vec<u8>> {
    let total = text.len().checked_mul(times)?;
    if total <= MAX as usize { Some(text.repeat(times)) } else { None }
}

fn setattr(to: Bytes, sets: &[(&'static str, u64)], handle: Option<u64>) -> Bytes {
    const MTIME: u32 = 32;
    const FH: u32 = 64;
    let value = |name: &str| sets.iter().rfind(|set| set.0 == name).map(|set| set.1);
    let valid = |name: &str, bit: u32| if value(name).is_some() { bit } else { 0 };
    let bits =
        valid("mode", 1) | valid("uid", 2) | valid("gid", 4) | valid("size", 8) | valid("mtime", MTIME);
    let get = |name: &str| value(name).unwrap_or(0);
    to.u32(bits | if handle.is_some() { FH } else { 0 })
        .u32(0)
        .u64(handle.unwrap_or(0))
        .u64(get("size"))
        .zero(16)
        .u64(get("mtime"))
        .zero(20)
        .u32(get("mode") as u32)
        .u32(0)
        .u32(get("uid") as u32)
        .u32(get("gid") as u32)
        .u32(0)
}
