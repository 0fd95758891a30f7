//! The notation of the virtio-fs guest: one request a line, in words.
//!
//! ```text
//! lookup root a                    nodes are numbered as they appear: #1, #2, ...
//! open #1 rw                       and so are open files: %1, %2, ...
//! write %1 10 "hello"              texts have \", \\ and \xNN; 300*"ab" repeats
//! setattr #1 size=5 mode=0600
//! create root new 0644 rw as 1000:1000+2000    user, group and one more group
//! post read %1 0 64                goes out, and its reply waits for a `collect`
//! collect
//! unmount                          the next request mounts again
//! ```
//!
//! [`OPS`] is the table of requests; everything else only walks it.

use std::fmt;
use std::str::FromStr;

/// One kind of request: its word, its number on the wire, what it takes and gives, and how it
/// is told to a maintainer; `{0}` is the first thing it takes.
#[derive(Debug, PartialEq, Eq)]
pub struct Op {
    /// The word in the notation.
    pub word: &'static str,
    /// `FUSE_*` opcode.
    pub code: u32,
    /// What follows the word.
    pub takes: &'static [Takes],
    /// What a reply without error carries.
    pub gives: Gives,
    /// The request in words.
    pub tells: &'static str,
}

/// What may follow the word of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// `root` or `#n`.
    Node,
    /// `%n`.
    Handle,
    /// A name in a directory.
    Name,
    /// `"..."` or `n*"..."`.
    Text,
    /// A decimal number.
    Number,
    /// Permissions, in octal.
    Mode,
    /// One of some words, with its value on the wire.
    OneOf(&'static [(&'static str, u32)]),
    /// Some of some words, joined by `+`.
    SomeOf(&'static [(&'static str, u32)]),
    /// `name=value`, at least one, to the end.
    Sets,
}

/// What a reply carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gives {
    /// A node and its attributes.
    Entry,
    /// A node and an open file.
    EntryOpen,
    /// Attributes.
    Attr,
    /// An open file.
    Open,
    /// Bytes.
    Data,
    /// Names, each ended by zero.
    Names,
    /// Directory entries.
    Dir,
    /// Directory entries, each with a node.
    DirPlus,
    /// How many bytes were taken.
    Written,
    /// A position.
    Offset,
    /// What the file system is like.
    Statfs,
    /// Nothing.
    Nothing,
    /// There is no reply.
    NoReply,
}

use Takes::{Handle as H, Mode, Name, Node, Number as Num, OneOf, Sets, SomeOf, Text};

const OPEN: &[(&str, u32)] = &[
    ("r", 0),
    ("w", 1),
    ("rw", 2),
    ("append", 0o2000),
    ("trunc", 0o1000),
    ("excl", 0o200),
    ("direct", 0o40000),
];
const KIND: &[(&str, u32)] = &[("file", 0o100_000), ("fifo", 0o010_000), ("socket", 0o140_000)];
const RENAME: &[(&str, u32)] = &[("replace", 0), ("noreplace", 1), ("exchange", 2)];
const WHENCE: &[(&str, u32)] = &[("data", 3), ("hole", 4)];
const ALLOC: &[(&str, u32)] = &[("grow", 0), ("keep", 1), ("punch", 3), ("zero", 16)];

/// What a guest can ask for.
#[rustfmt::skip]
pub const OPS: &[Op] = &[
    Op { word: "lookup",      code: 1,  takes: &[Node, Name],             gives: Gives::Entry,     tells: "looks up {1} in {0}" },
    Op { word: "forget",      code: 2,  takes: &[Node, Num],              gives: Gives::NoReply,   tells: "forgets {0}, {1} times" },
    Op { word: "getattr",     code: 3,  takes: &[Node],                   gives: Gives::Attr,      tells: "asks for the attributes of {0}" },
    Op { word: "fgetattr",    code: 3,  takes: &[H],                      gives: Gives::Attr,      tells: "asks for the attributes of {0}" },
    Op { word: "setattr",     code: 4,  takes: &[Node, Sets],             gives: Gives::Attr,      tells: "sets {1} on {0}" },
    Op { word: "fsetattr",    code: 4,  takes: &[H, Sets],                gives: Gives::Attr,      tells: "sets {1} on {0}" },
    Op { word: "readlink",    code: 5,  takes: &[Node],                   gives: Gives::Data,      tells: "reads where {0} points" },
    Op { word: "symlink",     code: 6,  takes: &[Node, Name, Text],       gives: Gives::Entry,     tells: "makes the symbolic link {1} to {2} in {0}" },
    Op { word: "mknod",       code: 8,  takes: &[Node, Name, OneOf(KIND), Mode], gives: Gives::Entry, tells: "makes the {2} {1} in {0} with mode {3}" },
    Op { word: "mkdir",       code: 9,  takes: &[Node, Name, Mode],       gives: Gives::Entry,     tells: "makes the directory {1} in {0} with mode {2}" },
    Op { word: "unlink",      code: 10, takes: &[Node, Name],             gives: Gives::Nothing,   tells: "removes {1} from {0}" },
    Op { word: "rmdir",       code: 11, takes: &[Node, Name],             gives: Gives::Nothing,   tells: "removes the directory {1} from {0}" },
    Op { word: "rename",      code: 45, takes: &[Node, Name, Node, Name, OneOf(RENAME)], gives: Gives::Nothing, tells: "renames {1} in {0} to {3} in {2} ({4})" },
    Op { word: "link",        code: 13, takes: &[Node, Node, Name],       gives: Gives::Entry,     tells: "links {0} as {2} in {1}" },
    Op { word: "open",        code: 14, takes: &[Node, SomeOf(OPEN)],     gives: Gives::Open,      tells: "opens {0} ({1})" },
    Op { word: "create",      code: 35, takes: &[Node, Name, Mode, SomeOf(OPEN)], gives: Gives::EntryOpen, tells: "creates {1} in {0} with mode {2} and opens it ({3})" },
    Op { word: "tmpfile",     code: 51, takes: &[Node, Mode, SomeOf(OPEN)], gives: Gives::EntryOpen, tells: "makes a file without a name in {0} with mode {1} and opens it ({2})" },
    Op { word: "read",        code: 15, takes: &[H, Num, Num],            gives: Gives::Data,      tells: "reads {2} bytes at {1} from {0}" },
    Op { word: "write",       code: 16, takes: &[H, Num, Text],           gives: Gives::Written,   tells: "writes {2} at {1} to {0}" },
    Op { word: "flush",       code: 25, takes: &[H],                      gives: Gives::Nothing,   tells: "flushes {0}" },
    Op { word: "fsync",       code: 20, takes: &[H],                      gives: Gives::Nothing,   tells: "syncs {0}" },
    Op { word: "fallocate",   code: 43, takes: &[H, Num, Num, OneOf(ALLOC)], gives: Gives::Nothing, tells: "allocates {2} bytes at {1} in {0} ({3})" },
    Op { word: "lseek",       code: 46, takes: &[H, Num, OneOf(WHENCE)],  gives: Gives::Offset,    tells: "looks for the next {2} in {0} from {1}" },
    Op { word: "copy",        code: 47, takes: &[H, Num, H, Num, Num],    gives: Gives::Written,   tells: "copies {4} bytes at {1} of {0} to {3} of {2}" },
    Op { word: "release",     code: 18, takes: &[H],                      gives: Gives::Nothing,   tells: "closes {0}" },
    Op { word: "opendir",     code: 27, takes: &[Node],                   gives: Gives::Open,      tells: "opens the directory {0}" },
    Op { word: "readdir",     code: 28, takes: &[H, Num],                 gives: Gives::Dir,       tells: "lists on in {0}, {1} bytes at a time" },
    Op { word: "readdirplus", code: 44, takes: &[H, Num],                 gives: Gives::DirPlus,   tells: "lists on in {0} and looks up what it finds, {1} bytes at a time" },
    Op { word: "rewinddir",   code: 28, takes: &[H, Num],                 gives: Gives::Dir,       tells: "lists {0} from the start, {1} bytes at a time" },
    Op { word: "releasedir",  code: 29, takes: &[H],                      gives: Gives::Nothing,   tells: "closes the directory {0}" },
    Op { word: "fsyncdir",    code: 30, takes: &[H],                      gives: Gives::Nothing,   tells: "syncs the directory {0}" },
    Op { word: "access",      code: 34, takes: &[Node, Num],              gives: Gives::Nothing,   tells: "asks for access {1} to {0}" },
    Op { word: "statfs",      code: 17, takes: &[Node],                   gives: Gives::Statfs,    tells: "asks about the file system of {0}" },
    Op { word: "syncfs",      code: 50, takes: &[Node],                   gives: Gives::Nothing,   tells: "syncs the file system of {0}" },
    Op { word: "setxattr",    code: 21, takes: &[Node, Name, Text],       gives: Gives::Nothing,   tells: "sets the attribute {1} of {0} to {2}" },
    Op { word: "getxattr",    code: 22, takes: &[Node, Name],             gives: Gives::Data,      tells: "gets the attribute {1} of {0}" },
    Op { word: "listxattr",   code: 23, takes: &[Node],                   gives: Gives::Names,     tells: "lists the attributes of {0}" },
    Op { word: "removexattr", code: 24, takes: &[Node, Name],             gives: Gives::Nothing,   tells: "removes the attribute {1} of {0}" },
];

/// One line of a guest's script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Waits for everything that was posted.
    Collect,
    /// Sends a request, and waits for its reply unless it is posted.
    Send(Request, Posted),
    /// Ends the session.
    Unmount,
}

/// Whether a request is left in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posted {
    /// Its reply is waited for.
    No,
    /// Its reply is left for a [`Line::Collect`].
    Yes,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub op: &'static Op,
    /// With what; one for each that the op takes.
    pub args: Vec<Arg>,
    /// By whom.
    pub who: Who,
}

/// Something that a request takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arg {
    /// The n-th node that appeared; 0 is the root.
    Node(usize),
    /// The n-th open file that appeared.
    Handle(usize),
    /// A name.
    Name(String),
    /// A text, repeated.
    Text(Vec<u8>, usize),
    /// A number.
    Number(u64),
    /// Permissions.
    Mode(u32),
    /// Words, and their values put together.
    Words(String, u32),
    /// Values by name, of what can be set.
    Sets(Vec<(&'static str, u64)>),
}

/// Attributes that can be set.
pub(super) const SETTABLE: &[&str] = &["mode", "uid", "gid", "size", "mtime"];

/// User, group and one more group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// A supplementary group.
    pub also: Option<u32>,
}

/// A line that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{line}` is not a step of a virtio-fs guest: {why}")]
pub struct BadLine {
    line: String,
    why: String,
}

impl FromStr for Line {
    type Err = BadLine;
    fn from_str(text: &str) -> Result<Line, BadLine> {
        parse(text).map_err(|why| BadLine { line: text.to_owned(), why })
    }
}

fn parse(text: &str) -> Result<Line, String> {
    let mut tokens = tokens(text)?;
    match tokens.as_slice() {
        [only] if only == "collect" => return Ok(Line::Collect),
        [only] if only == "unmount" => return Ok(Line::Unmount),
        _ => {}
    }
    let posted = if tokens.first().is_some_and(|first| first == "post") {
        tokens.remove(0);
        Posted::Yes
    } else {
        Posted::No
    };
    let who = match tokens.iter().rposition(|token| token == "as") {
        Some(at) if at + 2 == tokens.len() => {
            let who = tokens[at + 1].parse()?;
            tokens.truncate(at);
            who
        }
        _ => Who::default(),
    };
    let Some((word, rest)) = tokens.split_first() else { return Err("it is empty".to_owned()) };
    let op = OPS.iter().find(|op| op.word == word).ok_or_else(|| format!("no request is called `{word}`"))?;
    let mut args = Vec::new();
    let mut rest = rest.iter();
    for takes in op.takes {
        let token = rest.next().ok_or_else(|| format!("`{word}` takes more"))?;
        args.push(match takes {
            Sets => sets(std::iter::once(token).chain(&mut rest))?,
            takes => one(*takes, token)?,
        });
    }
    match rest.next() {
        Some(more) => Err(format!("`{more}` is too much")),
        None => Ok(Line::Send(Request { op, args, who }, posted)),
    }
}

/// Splits at blanks that are not inside quotes; quotes stay.
fn tokens(text: &str) -> Result<Vec<String>, String> {
    let mut tokens = vec![];
    let mut token = String::new();
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        match c {
            ' ' if !quoted => tokens.extend(Some(std::mem::take(&mut token)).filter(|t| !t.is_empty())),
            '"' if !escaped => {
                quoted = !quoted;
                token.push(c);
            }
            c => token.push(c),
        }
        escaped = c == '\\' && !escaped;
    }
    tokens.extend(Some(token).filter(|t| !t.is_empty()));
    if quoted { Err("a quote is not closed".to_owned()) } else { Ok(tokens) }
}

fn one(takes: Takes, token: &str) -> Result<Arg, String> {
    let bad = || format!("`{token}` is not {takes:?}");
    let number = |text: &str| text.parse().map_err(|_| bad());
    Ok(match takes {
        Node if token == "root" => Arg::Node(0),
        Node => Arg::Node(number(token.strip_prefix('#').ok_or_else(bad)?)? as usize),
        H => Arg::Handle(number(token.strip_prefix('%').ok_or_else(bad)?)? as usize),
        Name if named(token) => Arg::Name(token.to_owned()),
        Text => {
            let (times, quoted) = match token.strip_prefix('"') {
                Some(quoted) => ("1", quoted),
                None => token.split_once("*\"").ok_or_else(bad)?,
            };
            let quoted = quoted.strip_suffix('"').ok_or_else(bad)?;
            Arg::Text(unescape(quoted).ok_or_else(bad)?, times.parse().map_err(|_| bad())?)
        }
        Num => Arg::Number(number(token)?),
        Mode => Arg::Mode(u32::from_str_radix(token, 8).ok().filter(|mode| *mode <= 0o7777).ok_or_else(bad)?),
        OneOf(words) => {
            let (word, value) = words.iter().find(|(word, _)| *word == token).ok_or_else(bad)?;
            Arg::Words((*word).to_owned(), *value)
        }
        SomeOf(words) => {
            let value = |part| words.iter().find(|(word, _)| *word == part).map(|(_, value)| *value);
            let values: Option<Vec<u32>> = token.split('+').map(value).collect();
            Arg::Words(
                token.to_owned(),
                values.ok_or_else(bad)?.into_iter().fold(0, |all, value| all | value),
            )
        }
        Name | Sets => return Err(bad()),
    })
}

/// A name that a guest would ask for: the kernel in it resolves `.` and `..` itself.
fn named(token: &str) -> bool {
    token.len() <= 255 && !token.contains(['/', '"']) && !matches!(token, "." | "..")
}

fn sets<'a>(tokens: impl Iterator<Item = &'a String>) -> Result<Arg, String> {
    let mut sets = Vec::new();
    for token in tokens {
        let bad = || format!("`{token}` sets nothing; what can be set is {}", SETTABLE.join(", "));
        let (name, value) = token.split_once('=').ok_or_else(bad)?;
        let name = SETTABLE.iter().find(|known| **known == name).ok_or_else(bad)?;
        let radix = if *name == "mode" { 8 } else { 10 };
        sets.push((*name, u64::from_str_radix(value, radix).map_err(|_| bad())?));
    }
    Ok(Arg::Sets(sets))
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next()? {
                'x' => {
                    let digits: String = chars.by_ref().take(2).collect();
                    bytes.push(u8::from_str_radix(&digits, 16).ok()?);
                }
                c @ ('"' | '\\') => bytes.push(c as u8),
                _ => return None,
            },
            c => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    Some(bytes)
}

/// Bytes between quotes, in ASCII.
pub(super) fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => text.extend(['\\', byte as char]),
            0x20..0x7f => text.push(byte as char),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text + "\""
}

impl FromStr for Who {
    type Err = String;
    fn from_str(text: &str) -> Result<Who, String> {
        let bad = || format!("`{text}` is not user:group or user:group+group");
        let number = |text: &str| text.parse::<u32>().map_err(|_| bad());
        let (uid, gid) = text.split_once(':').ok_or_else(bad)?;
        let (gid, also) = match gid.split_once('+') {
            Some((gid, also)) => (gid, Some(number(also)?)),
            None => (gid, None),
        };
        Ok(Who { uid: number(uid)?, gid: number(gid)?, also })
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)?;
        self.also.map_or(Ok(()), |also| write!(f, "+{also}"))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::Collect => f.write_str("collect"),
            Line::Unmount => f.write_str("unmount"),
            Line::Send(request, Posted::No) => request.fmt(f),
            Line::Send(request, Posted::Yes) => write!(f, "post {request}"),
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.op.word)?;
        for arg in &self.args {
            write!(f, " {arg}")?;
        }
        if self.who == Who::default() { Ok(()) } else { write!(f, " as {}", self.who) }
    }
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Arg::Node(0) => f.write_str("root"),
            Arg::Node(n) => write!(f, "#{n}"),
            Arg::Handle(n) => write!(f, "%{n}"),
            Arg::Name(name) => f.write_str(name),
            Arg::Text(text, 1) => f.write_str(&quoted(text)),
            Arg::Text(text, times) => write!(f, "{times}*{}", quoted(text)),
            Arg::Number(n) => n.fmt(f),
            Arg::Mode(mode) => write!(f, "{mode:04o}"),
            Arg::Words(words, _) => f.write_str(words),
            Arg::Sets(sets) => {
                for (i, (name, value)) in sets.iter().enumerate() {
                    let blank = if i == 0 { "" } else { " " };
                    match *name {
                        "mode" => write!(f, "{blank}{name}={value:04o}")?,
                        name => write!(f, "{blank}{name}={value}")?,
                    }
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(line: &str) {
        assert_eq!(line.parse::<Line>().map(|line| line.to_string()).as_deref(), Ok(line));
    }

    #[track_caller]
    fn refuses(line: &str, why: &str) {
        assert_eq!(line.parse::<Line>().map_err(|bad| bad.why), Err(why.to_owned()));
    }

    #[test]
    fn what_is_written_is_what_was_read() {
        reads("lookup root a");
        reads("post write %12 4096 \"he said \\\"\\\\\\x00\\\"\"");
        reads("write %1 0 300*\"ab\"");
        reads("open #3 rw+append+trunc");
        reads("setattr #2 mode=0600 size=5");
        reads("rename root a #1 b exchange as 1000:1000+2000");
        reads("collect");
        reads("unmount");
    }

    #[test]
    fn the_notation_is_strict() {
        refuses("", "it is empty");
        refuses("look root a", "no request is called `look`");
        refuses("lookup root", "`lookup` takes more");
        refuses("lookup root a b", "`b` is too much");
        refuses("lookup root a/b", "`a/b` is not Name");
        refuses("open #x rw", "`#x` is not Node");
        refuses("write %1 0 \"a", "a quote is not closed");
        refuses(
            "setattr #1 ctime=4",
            "`ctime=4` sets nothing; what can be set is mode, uid, gid, size, mtime",
        );
        refuses("getattr root as me", "`me` is not user:group or user:group+group");
    }

    #[test]
    fn every_request_is_told_with_all_it_takes() {
        for op in OPS {
            for (i, _) in op.takes.iter().enumerate() {
                assert!(op.tells.contains(&format!("{{{i}}}")), "{}: {i}", op.word);
            }
        }
    }
}
