//! What is said to the processes that were forked, and what they answer.
//!
//! A message is its length in 4 bytes, then so many bytes; descriptors come with the first of them.
//! An answer is two numbers of 4 bytes. Writing is for us, where anything is allowed; reading is
//! for the forked process, which must not allocate: it looks at the bytes where they lie.

use rustix::io::{Errno, Result};
use rustix::thread::UnshareFlags;
use std::ffi::{CStr, CString};

/// Bytes of a message at most: as many as arguments and environment of a program may have.
pub(super) const MOST: usize = 6 << 20;
/// Bytes of the length.
pub(super) const LENGTH: usize = 4;
/// Bytes of an answer.
pub(super) const ANSWER: usize = 8;

/// What the first process is asked.
pub(super) mod nursery {
    /// A new cell; the steps follow, and the descriptor that its keeper listens at comes along.
    pub(in super::super) const CELL: u8 = b'c';
    /// To end everything, and to remove the directory that it was in.
    pub(in super::super) const END: u8 = b'e';
}

/// What a keeper is asked.
pub(super) mod keeper {
    /// To start a program: see [`Start`](super::Start).
    pub(in super::super) const START: u8 = b's';
    /// How the program ended, which it has.
    pub(in super::super) const STATUS: u8 = b'w';
    /// To kill all that runs; not answered.
    pub(in super::super) const KILL: u8 = b'k';
    /// To kill all that runs, wait for it, and say whether the cell is as it was at first.
    pub(in super::super) const CLEAR: u8 = b'c';
    /// For the directory that layers write to, which comes along: `upper` and the number of a slot is what
    /// was written to the layer over what that slot held.
    pub(in super::super) const WRITTEN: u8 = b'f';
}

/// The first number of an answer.
pub(super) mod answer {
    /// It was done; the second number is what was asked for, or 0.
    pub(in super::super) const DONE: u32 = 0;
    /// It failed; the second number is an `errno`.
    pub(in super::super) const FAILED: u32 = 1;
    /// It was done, and the cell is not as it was at first.
    pub(in super::super) const CHANGED: u32 = 2;
    /// A step of [`Step`](super::Step) failed: 16 and its number. The second number is an `errno`.
    pub(in super::super) const STEP: u32 = 16;
}

/// One step of making a cell. Directories and files that later steps need are opened into slots,
/// which are numbered from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step<S> {
    /// A user name space in which this user and group are themselves.
    User(u32, u32),
    /// A name space; that of processes is entered by the keeper, which is its first process.
    Space(Space),
    /// No keyrings.
    NoKeyrings,
    /// Opens a directory or file into the next slot.
    Open(S),
    /// Mounts a file system of this kind, with these options, at a place; what it has at its top
    /// must not change.
    Mount(S, S, S),
    /// Mounts a file system in memory with these options at a place, and layers that are mounted afterwards
    /// write there.
    Stage(S, S),
    /// Mounts a layer over what a slot holds, at a place.
    Layer(u32, S),
    /// Puts what a slot holds at a place.
    Bind(u32, S),
    /// Makes a directory.
    Directory(S),
    /// Puts what is at a place at another one, with all that is mounted in it.
    Show(S, S),
    /// Makes what is mounted at a place the root of everything.
    Enter(S),
}

/// A name space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    Mounts,
    Ipc,
    Network,
    HostName,
    Processes,
}

impl Space {
    const ALL: [Space; 5] = [Space::Mounts, Space::Ipc, Space::Network, Space::HostName, Space::Processes];

    pub(super) fn flag(self) -> UnshareFlags {
        match self {
            Space::Mounts => UnshareFlags::NEWNS,
            Space::Ipc => UnshareFlags::NEWIPC,
            Space::Network => UnshareFlags::NEWNET,
            Space::HostName => UnshareFlags::NEWUTS,
            Space::Processes => UnshareFlags::NEWPID,
        }
    }
}

impl Step<CString> {
    /// Appends it.
    pub(super) fn put(&self, into: &mut Vec<u8>) {
        let number = |into: &mut Vec<u8>, n: u32| into.extend(n.to_le_bytes());
        let text = |into: &mut Vec<u8>, text: &CString| into.extend(text.to_bytes_with_nul());
        match self {
            Step::User(uid, gid) => {
                into.push(b'u');
                number(into, *uid);
                number(into, *gid);
            }
            Step::Space(space) => into.extend([b's', *space as u8]),
            Step::NoKeyrings => into.push(b'k'),
            Step::Open(path) => {
                into.push(b'o');
                text(into, path);
            }
            Step::Mount(kind, options, at) => {
                into.push(b'm');
                [kind, options, at].into_iter().for_each(|each| text(into, each));
            }
            Step::Stage(options, at) => {
                into.push(b'g');
                [options, at].into_iter().for_each(|each| text(into, each));
            }
            Step::Layer(slot, at) => {
                into.push(b'l');
                number(into, *slot);
                text(into, at);
            }
            Step::Bind(slot, at) => {
                into.push(b'b');
                number(into, *slot);
                text(into, at);
            }
            Step::Directory(at) => {
                into.push(b'd');
                text(into, at);
            }
            Step::Show(what, at) => {
                into.push(b'w');
                [what, at].into_iter().for_each(|each| text(into, each));
            }
            Step::Enter(at) => {
                into.push(b'r');
                text(into, at);
            }
        }
    }
}

/// Takes parts off the front of a message.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn byte(&mut self) -> Result<u8> {
        let (byte, rest) = self.0.split_first().ok_or(Errno::BADMSG)?;
        self.0 = rest;
        Ok(*byte)
    }

    pub(super) fn number(&mut self) -> Result<u32> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Errno::BADMSG)?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*bytes))
    }

    pub(super) fn text(&mut self) -> Result<&'a CStr> {
        let text = CStr::from_bytes_until_nul(self.0).map_err(|_| Errno::BADMSG)?;
        self.0 = self.0.get(text.to_bytes_with_nul().len()..).unwrap_or_default();
        Ok(text)
    }

    pub(super) fn step(&mut self) -> Result<Step<&'a CStr>> {
        Ok(match self.byte()? {
            b'u' => Step::User(self.number()?, self.number()?),
            b's' => {
                let space = self.byte()?;
                let known = Space::ALL.into_iter().find(|known| *known as u8 == space);
                Step::Space(known.ok_or(Errno::BADMSG)?)
            }
            b'k' => Step::NoKeyrings,
            b'o' => Step::Open(self.text()?),
            b'm' => Step::Mount(self.text()?, self.text()?, self.text()?),
            b'g' => Step::Stage(self.text()?, self.text()?),
            b'l' => Step::Layer(self.number()?, self.text()?),
            b'b' => Step::Bind(self.number()?, self.text()?),
            b'd' => Step::Directory(self.text()?),
            b'w' => Step::Show(self.text()?, self.text()?),
            b'r' => Step::Enter(self.text()?),
            _ => return Err(Errno::BADMSG),
        })
    }
}

/// A program to be started. Three descriptors come along, or two where nothing is to be read:
/// standard input, output and error.
pub(super) struct Start<'a> {
    /// Its number comes after this one, where numbers are the cell's own.
    pub(super) after: u32,
    /// Where it starts.
    pub(super) directory: &'a CStr,
    /// Its file.
    pub(super) program: &'a CStr,
    /// Its arguments, the name among them.
    pub(super) args: &'a [CString],
    /// Its environment.
    pub(super) environment: &'a [CString],
}

impl Start<'_> {
    /// Appends it.
    pub(super) fn put(&self, into: &mut Vec<u8>) {
        into.push(keeper::START);
        into.extend(self.after.to_le_bytes());
        into.extend(self.directory.to_bytes_with_nul());
        into.extend(self.program.to_bytes_with_nul());
        for list in [self.args, self.environment] {
            into.extend(u32::try_from(list.len()).unwrap_or(u32::MAX).to_le_bytes());
            list.iter().for_each(|each| into.extend(each.to_bytes_with_nul()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_read_as_it_was_written() {
        let text = |text: &str| CString::new(text).expect("no null");
        let steps = [
            Step::User(1, 1 << 20),
            Step::Space(Space::Processes),
            Step::NoKeyrings,
            Step::Open(text("/tmp")),
            Step::Mount(text("tmpfs"), text("mode=0755"), text("/x")),
            Step::Stage(text("mode=0755"), text("/tmp")),
            Step::Layer(7, text("/tmp")),
            Step::Bind(8, text("")),
            Step::Directory(text("/x/y")),
            Step::Show(text("/proc"), text("/x/y")),
            Step::Enter(text("/x")),
        ];
        let mut bytes = Vec::new();
        steps.iter().for_each(|step| step.put(&mut bytes));
        let mut reader = Reader(&bytes);
        for step in &steps {
            let again = reader.step().expect("read");
            let mut one = Vec::new();
            let mut other = Vec::new();
            step.put(&mut one);
            owned(&again).put(&mut other);
            assert_eq!(one, other, "{again:?}");
        }
        assert!(reader.0.is_empty());
        assert!(Reader(b"o/tmp").step().is_err());
    }

    fn owned(step: &Step<&CStr>) -> Step<CString> {
        match *step {
            Step::User(uid, gid) => Step::User(uid, gid),
            Step::Space(space) => Step::Space(space),
            Step::NoKeyrings => Step::NoKeyrings,
            Step::Open(path) => Step::Open(path.to_owned()),
            Step::Mount(kind, options, at) => Step::Mount(kind.to_owned(), options.to_owned(), at.to_owned()),
            Step::Stage(options, at) => Step::Stage(options.to_owned(), at.to_owned()),
            Step::Layer(slot, at) => Step::Layer(slot, at.to_owned()),
            Step::Bind(slot, at) => Step::Bind(slot, at.to_owned()),
            Step::Directory(at) => Step::Directory(at.to_owned()),
            Step::Show(what, at) => Step::Show(what.to_owned(), at.to_owned()),
            Step::Enter(at) => Step::Enter(at.to_owned()),
        }
    }
}
