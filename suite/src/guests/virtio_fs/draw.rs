//! Drawing the steps of a guest, from a small model of what exists.
//!
//! The model follows the requests as a file system would, so that scripts reach deep states:
//! open files that were renamed, unlinked and truncated. Where it is wrong, a step finds
//! nothing or gets an error, and the script is as valid as before.

use super::Opens;
use crate::draw::list;
use arbitrary::{Result, Unstructured};
use migcert_core::device::Step;
use std::collections::BTreeMap;

/// What exists, and what the guest knows of it.
#[derive(Clone, Debug)]
pub struct Drawn {
    inodes: Vec<Inode>,
    nodes: Vec<Node>,
    /// Inode, and whether it is open; there is no handle 0.
    handles: Vec<(usize, bool)>,
    posted: bool,
    opens: Opens,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    kind: Kind,
    entries: BTreeMap<String, usize>,
    listed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    File,
    Dir,
    Link,
}

#[derive(Clone, Debug)]
struct Node {
    inode: usize,
    lookups: u32,
}

/// What a fresh shared directory has in it: directory, name, inode, kind.
#[rustfmt::skip]
const FIRST: &[(usize, &str, usize, Kind)] = &[
    (0, "a", 1, Kind::File), (0, "b", 2, Kind::File), (0, "empty", 3, Kind::File), (0, "hard", 2, Kind::File),
    (0, "soft", 4, Kind::Link), (0, "d", 5, Kind::Dir), (5, "c", 6, Kind::File), (5, "e", 7, Kind::Dir),
    (7, "f", 8, Kind::File), (0, "ours", 9, Kind::Dir), (9, "g", 10, Kind::File), (0, "tmp", 11, Kind::Dir),
];

/// Names that a guest gives.
const NAMES: [&str; 4] = ["n0", "n1", "n2", "a-name-that-is-longer-than-the-others"];

impl Default for Drawn {
    fn default() -> Drawn {
        Drawn::new(Opens::Any)
    }
}

impl Drawn {
    /// A guest that knows only the root.
    pub fn new(opens: Opens) -> Drawn {
        let root = Inode { kind: Kind::Dir, ..Inode::default() };
        let mut drawn = Drawn {
            inodes: vec![root],
            nodes: vec![Node { inode: 0, lookups: 1 }],
            handles: vec![(0, false)],
            posted: false,
            opens,
        };
        for (dir, name, inode, kind) in FIRST {
            if drawn.inodes.len() <= *inode {
                drawn.inodes.push(Inode { kind: *kind, ..Inode::default() });
            }
            drawn.inodes[*dir].entries.insert((*name).to_owned(), *inode);
        }
        drawn
    }
}

/// Draws the next step of a guest. Zeros look up `a`.
pub fn draw(u: &mut Unstructured<'_>, drawn: &mut Drawn) -> Result<Step> {
    let line = drawn.line(u)?;
    drawn.forget_nameless();
    Ok(Step::Request(line))
}

impl Drawn {
    #[rustfmt::skip]
    fn line(&mut self, u: &mut Unstructured<'_>) -> Result<String> {
        if self.posted && u.ratio(1, 3)? {
            self.posted = false;
            return Ok("collect".to_owned());
        }
        let file = self.handle(u, Kind::File)?;
        Ok(match u.int_in_range(0..=31u8)? {
            0..=3 => self.lookup(u)?,
            4..=6 => self.open(u)?,
            7 | 8 => self.create(u)?,
            9..=11 => match file {
                Some(h) => {
                    let line = format!("read %{h} {} {}", offset(u)?, u.choose(&[64, 1, 0, 4080])?);
                    self.post(u, line)?
                }
                None => self.open(u)?,
            },
            12..=14 => match file {
                Some(h) => {
                    let line = format!("write %{h} {} {}", offset(u)?, text(u)?);
                    self.post(u, line)?
                }
                None => self.create(u)?,
            },
            15 | 16 => {
                let node = self.any(u)?;
                format!("getattr {node}")
            }
            17 => self.rename(u)?,
            18 => self.unlink(u)?,
            19 => self.list(u)?,
            20 => self.mkdir(u)?,
            21 => self.link(u)?,
            22 => self.setattr(u, file)?,
            23 => self.release(u)?,
            24 => self.forget(u)?,
            25 => self.symlink(u)?,
            26 => match file {
                Some(h) => match u.int_in_range(0..=5u8)? {
                    0 => format!("flush %{h}"),
                    1 => format!("fsync %{h}"),
                    2 => format!("lseek %{h} {} {}", offset(u)?, u.choose(&["data", "hole"])?),
                    3 => format!("fallocate %{h} {} {} {}", offset(u)?, u.int_in_range(1..=8192)?,
                                 u.choose(&["grow", "keep", "punch", "zero"])?),
                    4 => format!("fgetattr %{h}"),
                    _ => {
                        let to = self.handle(u, Kind::File)?.unwrap_or(h);
                        format!("copy %{h} {} %{to} {} {}", offset(u)?, offset(u)?, u.int_in_range(1..=64)?)
                    }
                },
                None => self.lookup(u)?,
            },
            27 => {
                let links = self.known(|inode| inode.kind == Kind::Link);
                if links.is_empty() { self.symlink(u)? } else { format!("readlink {}", name(*u.choose(&links)?)) }
            }
            28 => format!("{} {}", u.choose(&["statfs", "syncfs"])?, self.any(u)?),
            29 => self.xattr(u)?,
            30 => self.mknod(u)?,
            _ if self.opens == Opens::Named => self.mkdir(u)?,
            _ => self.tmpfile(u)?,
        })
    }

    /// Looks at what is known, and at what is open.
    pub(super) fn look_around(&self) -> Vec<Step> {
        const LOOKS: usize = 12;
        let mut lines = vec!["collect".to_owned(), "lookup root a".to_owned()];
        let open = self.handles.iter().enumerate().filter(|(_, handle)| handle.1);
        lines.extend(open.take(LOOKS).map(|(h, (inode, _))| match self.inodes[*inode].kind {
            Kind::Dir => format!("rewinddir %{h} 4080"),
            _ => format!("read %{h} 0 4080"),
        }));
        lines.extend(
            self.known(|_| true).into_iter().take(LOOKS).map(|node| format!("getattr {}", name(node))),
        );
        lines.into_iter().map(Step::Request).collect()
    }

    /// Whether an inode is open and has one name: some guests don't take that away.
    fn must_stay(&self, inode: usize) -> bool {
        let names = self.inodes.iter().flat_map(|dir| dir.entries.values()).filter(|named| **named == inode);
        self.opens == Opens::Named && self.handles.contains(&(inode, true)) && names.count() <= 1
    }

    /// The driver forgets what has no name left and is not open.
    fn forget_nameless(&mut self) {
        for node in self.nodes.iter_mut().skip(1) {
            let named = self.inodes.iter().any(|dir| dir.entries.values().any(|inode| *inode == node.inode));
            let open = self.handles.contains(&(node.inode, true));
            if !named && !open {
                node.lookups = 0;
            }
        }
    }

    /// The driver looks up what it is about to remove or replace.
    fn look(&mut self, node: usize, entry: &str) {
        let dir = self.nodes[node].inode;
        if let Some(inode) = self.inodes[dir].entries.get(entry).copied()
            && !self.nodes.iter().any(|node| node.inode == inode && node.lookups > 0)
        {
            self.learn(inode);
        }
    }

    /// Sometimes leaves a request in flight.
    fn post(&mut self, u: &mut Unstructured<'_>, line: String) -> Result<String> {
        if u.ratio(5, 6)? {
            return Ok(line);
        }
        self.posted = true;
        Ok(format!("post {line}"))
    }

    fn known(&self, wanted: impl Fn(&Inode) -> bool) -> Vec<usize> {
        let there =
            |(n, node): (usize, &Node)| (node.lookups > 0 && wanted(&self.inodes[node.inode])).then_some(n);
        self.nodes.iter().enumerate().filter_map(there).collect()
    }

    fn any(&self, u: &mut Unstructured<'_>) -> Result<String> {
        Ok(name(*u.choose(&self.known(|_| true))?))
    }

    /// A known directory: its node, and its inode.
    fn dir(&self, u: &mut Unstructured<'_>) -> Result<(usize, usize)> {
        let node = *u.choose(&self.known(|inode| inode.kind == Kind::Dir))?;
        Ok((node, self.nodes[node].inode))
    }

    fn handle(&self, u: &mut Unstructured<'_>, kind: Kind) -> Result<Option<usize>> {
        let open = |(n, (inode, open)): (usize, &(usize, bool))| {
            (*open && self.inodes[*inode].kind == kind).then_some(n)
        };
        let open: Vec<usize> = self.handles.iter().enumerate().filter_map(open).collect();
        if open.is_empty() { Ok(None) } else { u.choose(&open).map(|n| Some(*n)) }
    }

    /// A name that a directory has, or one that it may not have.
    fn entry(&self, u: &mut Unstructured<'_>, dir: usize) -> Result<String> {
        let names: Vec<&String> = self.inodes[dir].entries.keys().collect();
        if names.is_empty() || !u.ratio(7, 8)? {
            return Ok((*u.choose(&NAMES)?).to_owned());
        }
        Ok((*u.choose(&names)?).clone())
    }

    fn learn(&mut self, inode: usize) -> usize {
        let known = self.nodes.iter().position(|node| node.inode == inode && node.lookups > 0);
        let node = known.unwrap_or_else(|| {
            self.nodes.push(Node { inode, lookups: 0 });
            self.nodes.len() - 1
        });
        self.nodes[node].lookups += 1;
        node
    }

    fn make(&mut self, dir: usize, name: &str, kind: Kind) -> bool {
        if self.inodes[dir].entries.contains_key(name) {
            return false;
        }
        self.inodes.push(Inode { kind, ..Inode::default() });
        let inode = self.inodes.len() - 1;
        self.inodes[dir].entries.insert(name.to_owned(), inode);
        self.learn(inode);
        true
    }

    fn lookup(&mut self, u: &mut Unstructured<'_>) -> Result<String> {
        let (node, dir) = self.dir(u)?;
        let entry = self.entry(u, dir)?;
        if let Some(inode) = self.inodes[dir].entries.get(&entry) {
            self.learn(*inode);
        }
        Ok(format!("lookup {} {entry}", name(node)))
    }

    fn open(&mut self, u: &mut Unstructured<'_>) -> Result<String> {
        let files = self.known(|inode| inode.kind == Kind::File);
        if files.is_empty() {
            return self.lookup(u);
        }
        let node = *u.choose(&files)?;
        self.handles.push((self.nodes[node].inode, true));
        Ok(format!("open {} {}", name(node), u.choose(&["rw", "r", "w", "rw+append", "rw+trunc"])?))
    }

    fn create(&mut self, u: &mut Unstructured<'_>) -> Result<String> {
        let (node, dir) = self.dir(u)?;
        let entry = *u.choose(&NAMES)?;
        let who = who(u)?;
        if self.make(dir, entry, Kind::File) {
            self.handles.push((self.inodes.len() - 1, true));
        } else if let Some(inode) = self.inodes[dir].entries.get(entry).copied() {
            self.learn(inode);
            self.handles.push((inode, true));
        }
        Ok(format!("create {} {entry} {} {}{who}", name(node), mode(u)?, u.choose(&["rw", "w", "rw+excl"])?))
    }

    fn tmpfile(&mut self, u: &mut Unstructured<'_>) -> Result<String> {
        let (node, _) = self.dir(u)?;
        self.inodes.push(Inode::default());
        let inode = self.inodes.len() - 1;
        self.learn(inode);
        self.handles.push((inode, true));
        Ok(format!("tmpfile {} {} rw", name(node), mode(u)?))
    }

    fn rename(&mut self, u: &mut Unstructured<'_>) -> Result<String> {
        let ((from, a), (to, b)) = (self.dir(u)?, self.dir(u)?);
        let old = self.entry(u, a)?;
        let new = if u.ratio(1, 2)? { self.entry(u, b)? } else { (*u.choose(&NAMES)?).to_owned() };
        let how = *u.choose(&["replace", "replace", "noreplace", "exchange"])?;
        let line = format!("rename {} {old} {} {new} {how}", name(from), name(to));
        self.look(from, &old);
        self.look(to, &new);
        let there = self.inodes[b].entries.get(&new).copied();
        let Some(inode) = self.inodes[a].entries.get(&old).copied() else { return Ok(line) };
        match (how, there) {
            ("noreplace", Some(_)) | ("exchange", None) => {}
            ("replace", Some(lost)) if self.must_stay(lost) => {}
            ("exchange", Some(other)) => {
                self.inodes[a].entries.insert(old, other);
                self.inodes[b].entries.insert(new, inode);
            }
            _ => {
                self.inodes[a].entries.remove(&old);
                self.inodes[b].entries.insert(new, inode);
            }
        }
        Ok(line)
    }

    fn unlink(&mut self, u: &mut Unstructured<'_>) -> Result<String> {
        let (node, dir) = self.dir(u)?;
        let entry = self.entry(u, dir)?;
        let is_dir =
            self.inodes[dir].entries.get(&entry).is_some_and(|inode| self.inodes[*inode].kind == Kind::Dir);
        self.look(node, &entry);
        let inode = self.inodes[dir].entries.get(&entry).copied();
        if inode.is_none_or(|inode| self.inodes[inode].entries.is_empty() && !self.must_stay(inode)) {
            self.inodes[dir].entries.remove(&entry);
        }
        Ok(format!("{} {} {entry}", if is_dir { "rmdir" } else { "unlink" }, name(node)))
    }

    fn list(&mut self, u: &mut Unstructured<'_>) -> Result<String> {
        let Some(h) = self.handle(u, Kind::Dir)? else {
            let (node, inode) = self.dir(u)?;
            self.handles.push((inode, true));
            return Ok(format!("opendir {}", name(node)));
        };
        let size = u.choose(&[4080, 400, 200])?;
        let dir = self.handles[h].0;
        Ok(match u.int_in_range(0..=3u8)? {
            0 | 1 => format!("readdir %{h} {size}"),
            2 => format!("rewinddir %{h} {size}"),
            _ => {
                // The model learns all of them, in the order of their names, once.
                if !std::mem::replace(&mut self.inodes[dir].listed, true) {
                    let inodes: Vec<usize> = self.inodes[dir].entries.values().copied().collect();
                    for inode in inodes {
                        self.learn(inode);
                    }
                }
                format!("readdirplus %{h} 4080")
            }
        })
    }

    fn mkdir(&mut self, u: &mut Unstructured<'_>) -> Result<String> {
        let (node, dir) = self.dir(u)?;
        let entry = *u.choose(&NAMES)?;
        self.make(dir, entry, Kind::Dir);
        Ok(format!("mkdir {} {entry} {}{}", name(node), mode(u)?, who(u)?))
    }

    fn mknod(&mut self, u: &mut Unstructured<'_>) -> Result<String> {
        let (node, dir) = self.dir(u)?;
        let entry = *u.choose(&NAMES)?;
        let kind = *u.choose(&["file", "fifo", "socket"])?;
        self.make(dir, entry, if kind == "file" { Kind::File } else { Kind::Link });
        Ok(format!("mknod {} {entry} {kind} {}{}", name(node), mode(u)?, who(u)?))
    }

    fn link(&mut self, u: &mut Unstructured<'_>) -> Result<String> {
        let old = self.known(|inode| inode.kind != Kind::Dir);
        if old.is_empty() {
            return self.lookup(u);
        }
        let old = *u.choose(&old)?;
        let (node, dir) = self.dir(u)?;
        let entry = *u.choose(&NAMES)?;
        let inode = self.nodes[old].inode;
        if !self.inodes[dir].entries.contains_key(entry) {
            self.inodes[dir].entries.insert(entry.to_owned(), inode);
            self.learn(inode);
        }
        Ok(format!("link {} {} {entry}", name(old), name(node)))
    }

    fn symlink(&mut self, u: &mut Unstructured<'_>) -> Result<String> {
        let (node, dir) = self.dir(u)?;
        let entry = *u.choose(&NAMES)?;
        self.make(dir, entry, Kind::Link);
        Ok(format!("symlink {} {entry} {}{}", name(node), text(u)?, who(u)?))
    }

    fn setattr(&mut self, u: &mut Unstructured<'_>, file: Option<usize>) -> Result<String> {
        let set = match u.int_in_range(0..=3u8)? {
            0 => format!("size={}", offset(u)?),
            1 => format!("mode={}", mode(u)?),
            2 => format!("uid={} gid={}", u.choose(&[0, 1000])?, u.choose(&[0, 1000, 2000])?),
            _ => format!("size={} mtime={}", offset(u)?, u.int_in_range(0..=1_000_000u32)?),
        };
        match file {
            Some(h) if !u.ratio(1, 2)? => Ok(format!("fsetattr %{h} {set}")),
            _ => Ok(format!("setattr {} {set}", self.any(u)?)),
        }
    }

    fn xattr(&mut self, u: &mut Unstructured<'_>) -> Result<String> {
        let node = self.any(u)?;
        let attr = *u.choose(&["user.one", "user.two"])?;
        Ok(match u.int_in_range(0..=4u8)? {
            0 | 1 => format!("setxattr {node} {attr} {}", text(u)?),
            2 => format!("getxattr {node} {attr}"),
            3 => format!("listxattr {node}"),
            _ => format!("removexattr {node} {attr}"),
        })
    }

    fn release(&mut self, u: &mut Unstructured<'_>) -> Result<String> {
        let kind = *u.choose(&[Kind::File, Kind::Dir])?;
        let Some(h) = self.handle(u, kind)? else { return self.lookup(u) };
        self.handles[h].1 = false;
        Ok(format!("{} %{h}", if kind == Kind::Dir { "releasedir" } else { "release" }))
    }

    fn forget(&mut self, u: &mut Unstructured<'_>) -> Result<String> {
        let used = |inode: usize| self.handles.iter().any(|handle| handle.1 && handle.0 == inode);
        let free: Vec<usize> =
            self.known(|_| true).into_iter().filter(|n| *n != 0 && !used(self.nodes[*n].inode)).collect();
        if free.is_empty() {
            return self.lookup(u);
        }
        let node = *u.choose(&free)?;
        let count = if u.ratio(1, 2)? { self.nodes[node].lookups } else { 1 };
        self.nodes[node].lookups -= count;
        Ok(format!("forget {} {count}", name(node)))
    }
}

fn name(node: usize) -> String {
    if node == 0 { "root".to_owned() } else { format!("#{node}") }
}

fn offset(u: &mut Unstructured<'_>) -> Result<u64> {
    Ok(match u.int_in_range(0..=4u8)? {
        0 | 1 => 0,
        2 => u.int_in_range(0..=40)?,
        3 => u.int_in_range(0..=10_000)?,
        _ => 1 << u.int_in_range(0..=40u8)?,
    })
}

fn mode(u: &mut Unstructured<'_>) -> Result<&'static str> {
    u.choose(&["0644", "0755", "0600", "0000", "2775", "1777"]).copied()
}

fn who(u: &mut Unstructured<'_>) -> Result<&'static str> {
    u.choose(&["", "", "", " as 1000:1000", " as 1000:1000+2000"]).copied()
}

fn text(u: &mut Unstructured<'_>) -> Result<String> {
    let times = *u.choose(&["", "", "100*", "1000*"])?;
    let letters = list(u, 3, |u| u.int_in_range(b'b'..=b'z'))?;
    Ok(format!("{times}\"a{}\"", letters.into_iter().map(char::from).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::super::Line;
    use super::*;

    #[test]
    fn every_step_that_is_drawn_can_be_read() {
        let mut seed = 1u64;
        for _ in 0..200 {
            let bytes: Vec<u8> = std::iter::repeat_with(|| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 56) as u8
            })
            .take(600)
            .collect();
            let (mut u, mut drawn) = (Unstructured::new(&bytes), Drawn::default());
            for _ in 0..40 {
                let Ok(Step::Request(words)) = draw(&mut u, &mut drawn) else { panic!("no request") };
                let read = words.parse::<Line>().map(|line| line.to_string());
                assert_eq!(read.as_deref(), Ok(words.as_str()));
            }
        }
    }

    #[test]
    fn zeros_are_the_smallest_step() {
        let step = draw(&mut Unstructured::new(&[]), &mut Drawn::default());
        assert_eq!(step.ok(), Some(Step::Request("lookup root a".to_owned())));
    }
}
