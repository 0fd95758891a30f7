//! FUSE as it stands in `linux/fuse.h` (7.38): requests into bytes, replies into what they say.
//!
//! Nothing here trusts a reply: what is not exactly as long and as sane as the protocol wants
//! is an error that says so.

use super::notation::{Gives, Op};

/// The node of the mounted directory.
pub(super) const ROOT: u64 = 1;
/// Before every request.
const IN_HEADER: usize = 40;
/// Before every reply.
pub(super) const OUT_HEADER: u32 = 16;

/// What this driver offers at `FUSE_INIT`, as a Linux guest does: only what it really handles.
#[rustfmt::skip]
const OFFERED: &[u64] = &[
    1 << 0,  // ASYNC_READ
    1 << 3,  // ATOMIC_O_TRUNC
    1 << 5,  // BIG_WRITES
    1 << 12, // AUTO_INVAL_DATA
    1 << 13, // DO_READDIRPLUS
    1 << 18, // PARALLEL_DIROPS
    1 << 20, // POSIX_ACL
    1 << 6,  // DONT_MASK
    1 << 22, // MAX_PAGES
    1 << 27, // SUBMOUNTS
    SETXATTR_EXT,
    1 << 30, // INIT_EXT
    CREATE_SUPP_GROUP,
];
pub(super) const SETXATTR_EXT: u64 = 1 << 29;
pub(super) const CREATE_SUPP_GROUP: u64 = 1 << 34;

/// A request that is being put together.
pub(super) struct Bytes(Vec<u8>);

impl Bytes {
    /// Begins a request; its length and extensions are filled in by [`Bytes::done`].
    pub(super) fn request(op: u32, unique: u64, node: u64, uid: u32, gid: u32) -> Bytes {
        let bytes = Bytes(Vec::with_capacity(256));
        bytes.u32(0).u32(op).u64(unique).u64(node).u32(uid).u32(gid).u32(1).u32(0)
    }

    pub(super) fn u32(mut self, value: u32) -> Bytes {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn u64(mut self, value: u64) -> Bytes {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Bytes {
        self.0.extend(bytes);
        self
    }

    pub(super) fn zero(self, count: usize) -> Bytes {
        self.bytes(&[0; 64][..count])
    }

    /// A name or text with the zero that ends it.
    pub(super) fn name(self, name: &[u8]) -> Bytes {
        self.bytes(name).zero(1)
    }

    /// The extension that tells one supplementary group of who creates something.
    pub(super) fn group(mut self, group: u32) -> Bytes {
        const SUPP_GROUPS: u32 = 32;
        const WORDS: u8 = 2;
        self.0[36] += WORDS;
        self.u32(u32::from(WORDS) * 8).u32(SUPP_GROUPS).u32(1).u32(group)
    }

    pub(super) fn done(mut self) -> Vec<u8> {
        let len = self.0.len() as u32;
        self.0[..4].copy_from_slice(&len.to_le_bytes());
        self.0
    }
}

/// `FUSE_INIT`, and how much of a reply to it.
pub(super) fn init(unique: u64) -> (Vec<u8>, u32) {
    let offered = OFFERED.iter().fold(0, |all, flag| all | flag);
    let bytes = Bytes::request(26, unique, 0, 0, 0).u32(7).u32(38).u32(1 << 17);
    (bytes.u32(offered as u32).u32((offered >> 32) as u32).zero(44).done(), OUT_HEADER + 64)
}

/// `FUSE_DESTROY`, which has no reply.
pub(super) fn destroy(unique: u64) -> Vec<u8> {
    Bytes::request(38, unique, 0, 0, 0).done()
}

/// What the reply to `FUSE_INIT` negotiated.
pub(super) fn negotiated(reply: &[u8], unique: u64) -> Result<Result<u64, i32>, String> {
    let body = match body(reply, unique)? {
        Ok(body) => body,
        Err(errno) => return Ok(Err(errno)),
    };
    let mut from = Reader(body);
    let (major, minor) = (from.u32()?, from.u32()?);
    if major != 7 || minor < 27 {
        return Err(format!("version {major}.{minor}, which this driver did not offer"));
    }
    from.skip(4)?;
    let low = from.u32()?;
    from.skip(16)?;
    let flags = u64::from(low) | u64::from(from.u32()?) << 32;
    let more = flags & !OFFERED.iter().fold(0, |all, flag| all | flag);
    // The flags that only a server sets: DIRECT_IO_ALLOW_MMAP and READDIRPLUS_AUTO among them.
    const SERVERS: u64 = 1 << 36 | 1 << 14;
    if more & !SERVERS != 0 {
        return Err(format!("flags {more:#x}, which this driver did not offer"));
    }
    Ok(Ok(flags))
}

/// The body of a reply, or the error number in it.
fn body(reply: &[u8], unique: u64) -> Result<Result<&[u8], i32>, String> {
    let mut from = Reader(reply);
    let (len, error, answers) = (from.u32()?, from.u32()? as i32, from.u64()?);
    if len as usize != reply.len() {
        return Err(format!("{} bytes that call themselves {len}", reply.len()));
    }
    if answers != unique {
        return Err(format!("an answer to request {answers}, and this is {unique}"));
    }
    match error {
        0 => Ok(Ok(from.0)),
        -4095..0 if from.0.is_empty() => Ok(Err(-error)),
        -4095..0 => Err(format!("error {} and {} bytes more", -error, from.0.len())),
        _ => Err(format!("error number {error}, which is none")),
    }
}

/// What a reply says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Attr(Attr),
    Data(Vec<u8>),
    Dir(Vec<Dirent>),
    Entry(Entry),
    EntryOpen(Entry, u64),
    Error(i32),
    Names(Vec<Vec<u8>>),
    NoEntry,
    Nothing,
    Offset(u64),
    Open(u64),
    Statfs { bsize: u32, namelen: u32 },
    Written(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) node: u64,
    pub(super) attr: Attr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attr {
    pub(super) ino: u64,
    pub(super) size: u64,
    pub(super) mode: u32,
    pub(super) nlink: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dirent {
    pub(super) name: Vec<u8>,
    pub(super) cookie: u64,
    pub(super) kind: u32,
    /// With READDIRPLUS, unless it was not looked up.
    pub(super) entry: Option<Entry>,
}

/// How many bytes a reply may have beyond its header; `asked` is what the request said.
pub(super) fn room(gives: Gives, asked: u32) -> u32 {
    match gives {
        Gives::Attr => 104,
        Gives::Data | Gives::Names | Gives::Dir | Gives::DirPlus => asked,
        Gives::Entry => 128,
        Gives::EntryOpen => 144,
        Gives::NoReply | Gives::Nothing => 0,
        Gives::Offset | Gives::Written => 8,
        Gives::Open => 16,
        Gives::Statfs => 80,
    }
}

/// Reads the reply to a request that asked for at most `asked` bytes, or gave as many.
pub(super) fn reply(op: &Op, asked: u32, unique: u64, bytes: &[u8]) -> Result<Reply, String> {
    let body = match body(bytes, unique)? {
        Ok(body) => body,
        Err(errno) => return Ok(Reply::Error(errno)),
    };
    let mut from = Reader(body);
    let reply = match op.gives {
        Gives::Attr => {
            from.skip(16)?;
            Reply::Attr(from.attr()?)
        }
        Gives::Data => Reply::Data(from.rest(asked)?.to_vec()),
        Gives::Dir | Gives::DirPlus => {
            let mut from = Reader(from.rest(asked)?);
            let mut entries = Vec::new();
            while !from.0.is_empty() {
                entries.push(from.dirent(op.gives == Gives::DirPlus)?);
            }
            Reply::Dir(entries)
        }
        // Of a lookup, node 0 says that there is no such name, and that this may be kept.
        Gives::Entry if op.word == "lookup" && from.0.starts_with(&[0; 8]) => {
            from.skip(128)?;
            Reply::NoEntry
        }
        Gives::Entry => Reply::Entry(from.entry()?),
        Gives::EntryOpen => Reply::EntryOpen(from.entry()?, from.open()?),
        Gives::Names => {
            let names = from.rest(asked)?;
            match names.split_last() {
                None => Reply::Names(vec![]),
                Some((0, names)) => {
                    Reply::Names(names.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect())
                }
                Some(_) => return Err("a list of names that does not end".to_owned()),
            }
        }
        Gives::Nothing | Gives::NoReply => Reply::Nothing,
        Gives::Offset => Reply::Offset(from.u64()?),
        Gives::Open => Reply::Open(from.open()?),
        Gives::Statfs => {
            from.skip(40)?;
            let reply = Reply::Statfs { bsize: from.u32()?, namelen: from.u32()? };
            from.skip(32)?;
            reply
        }
        Gives::Written => {
            let written = from.u32()?;
            from.skip(4)?;
            if written > asked {
                return Err(format!("{written} bytes written of {asked}"));
            }
            Reply::Written(written)
        }
    };
    if from.0.is_empty() { Ok(reply) } else { Err(format!("{} bytes too many", from.0.len())) }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let short = || format!("a reply that ends {} bytes too early", count.saturating_sub(self.0.len()));
        let (head, rest) = self.0.split_at_checked(count).ok_or_else(short)?;
        self.0 = rest;
        Ok(head)
    }

    fn skip(&mut self, count: usize) -> Result<(), String> {
        self.take(count).map(drop)
    }

    fn u32(&mut self) -> Result<u32, String> {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.take(4)?);
        Ok(u32::from_le_bytes(bytes))
    }

    fn u64(&mut self) -> Result<u64, String> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.take(8)?);
        Ok(u64::from_le_bytes(bytes))
    }

    fn rest(&mut self, most: u32) -> Result<&'a [u8], String> {
        match self.0.len() {
            len if len <= most as usize => self.take(len),
            len => Err(format!("{len} bytes where {most} were asked for")),
        }
    }

    fn attr(&mut self) -> Result<Attr, String> {
        let (ino, size) = (self.u64()?, self.u64()?);
        self.skip(8 * 4 + 4 * 3)?;
        let attr =
            Attr { ino, size, mode: self.u32()?, nlink: self.u32()?, uid: self.u32()?, gid: self.u32()? };
        self.skip(12)?;
        if super::kind(attr.mode).is_none() {
            return Err(format!("a node of mode {:o}", attr.mode));
        }
        Ok(attr)
    }

    fn entry(&mut self) -> Result<Entry, String> {
        let node = self.u64()?;
        self.skip(32)?;
        let entry = Entry { node, attr: self.attr()? };
        if node == 0 { Err("node 0, which is none".to_owned()) } else { Ok(entry) }
    }

    fn open(&mut self) -> Result<u64, String> {
        let handle = self.u64()?;
        self.skip(8)?;
        Ok(handle)
    }

    fn dirent(&mut self, plus: bool) -> Result<Dirent, String> {
        let entry = match plus {
            true => {
                let mut looked_up = Reader(self.take(128)?);
                if looked_up.0.starts_with(&[0; 8]) { None } else { Some(looked_up.entry()?) }
            }
            false => None,
        };
        self.skip(8)?;
        let (cookie, len, kind) = (self.u64()?, self.u32()?, self.u32()?);
        if !(1..=255).contains(&len) {
            return Err(format!("a name of {len} bytes"));
        }
        let name = self.take(len as usize)?.to_vec();
        self.skip((8 - (24 + len as usize) % 8) % 8)?;
        Ok(Dirent { name, cookie, kind, entry })
    }
}

const _: () = assert!(IN_HEADER == 40);

/// An error number's name.
pub(super) fn errno(number: i32) -> String {
    match ERRNO.iter().find(|row| row.0 == number) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("errno {number}"),
    }
}

#[rustfmt::skip]
const ERRNO: &[(i32, &str)] = &[
    (1, "EPERM"), (2, "ENOENT"), (4, "EINTR"), (5, "EIO"), (6, "ENXIO"), (7, "E2BIG"), (9, "EBADF"), (11, "EAGAIN"),
    (12, "ENOMEM"), (13, "EACCES"), (14, "EFAULT"), (16, "EBUSY"), (17, "EEXIST"), (18, "EXDEV"), (19, "ENODEV"),
    (20, "ENOTDIR"), (21, "EISDIR"), (22, "EINVAL"), (23, "ENFILE"), (24, "EMFILE"), (26, "ETXTBSY"), (27, "EFBIG"),
    (28, "ENOSPC"), (29, "ESPIPE"), (30, "EROFS"), (31, "EMLINK"), (34, "ERANGE"), (36, "ENAMETOOLONG"),
    (38, "ENOSYS"), (39, "ENOTEMPTY"), (40, "ELOOP"), (61, "ENODATA"), (71, "EPROTO"), (75, "EOVERFLOW"),
    (95, "EOPNOTSUPP"), (116, "ESTALE"), (117, "EUCLEAN"),
];
