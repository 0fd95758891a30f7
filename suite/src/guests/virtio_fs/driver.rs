//! The state of the driver: what it knows of nodes, open files and names.

mod body;

use super::notation::{self, Arg, Gives, OPS, Op, Request, Who};
use super::wire::{self, Attr, Bytes, Entry, Reply};
use super::{Opens, kind};
use migcert_core::device::Sight;
use serde::{Deserialize, Serialize};

/// The largest request, header and all, and the largest reply.
pub const MAX: u32 = 4096;

/// What the driver knows; it lives in guest memory and moves with it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Driver {
    opens: Opens,
    unique: u64,
    /// What `FUSE_INIT` negotiated, while mounted.
    session: Option<u64>,
    nodes: Vec<Node>,
    handles: Vec<Handle>,
    names: Vec<Named>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Node {
    id: u64,
    ino: u64,
    /// How often it was looked up and not forgotten; at 0 its number is the device's again.
    lookups: u64,
    /// How many names it has, as far as is known.
    links: u32,
    directory: bool,
}

/// What is known under a name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Named {
    dir: usize,
    name: String,
    node: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Handle {
    id: u64,
    node: usize,
    flags: u32,
    open: bool,
    /// Where a listing goes on.
    cookie: u64,
}

/// A request for the device.
#[derive(Clone, Debug)]
pub struct Call {
    /// Where it goes.
    pub queue: Queue,
    /// The request.
    pub bytes: Vec<u8>,
    /// How many bytes the reply may have.
    pub room: u32,
    /// What will be needed to understand the reply.
    pub pending: Pending,
}

/// The queues of virtio-fs, in the order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Queue {
    /// Overtakes the other: forgets.
    Urgent,
    /// Everything else.
    Requests,
}

/// A request whose reply is still to come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pending {
    unique: u64,
    what: What,
    asked: u32,
    nodes: Vec<usize>,
    handles: Vec<usize>,
    names: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum What {
    Mount,
    Unmount,
    /// The request of that place in [`OPS`]; flags are those of an open.
    Op(usize, u32),
}

impl Driver {
    /// A driver that has not found its device yet.
    pub fn new(opens: Opens) -> Driver {
        Driver { opens, ..Driver::default() }
    }

    /// The request that mounts, unless something is mounted.
    pub fn mount(&mut self) -> Option<Call> {
        if self.session.is_some() {
            return None;
        }
        let unique = self.unique();
        let (bytes, room) = wire::init(unique);
        Some(self.call_of(What::Mount, unique, bytes, room))
    }

    /// The request that unmounts; none if nothing is mounted or files are open.
    pub fn unmount(&mut self) -> Option<Call> {
        self.session.filter(|_| self.handles.iter().all(|handle| !handle.open))?;
        Some(self.farewell())
    }

    /// The request that ends every session, whatever there is.
    pub fn farewell(&mut self) -> Call {
        let unique = self.unique();
        self.call_of(What::Unmount, unique, wire::destroy(unique), 0)
    }

    fn call_of(&self, what: What, unique: u64, bytes: Vec<u8>, room: u32) -> Call {
        let pending = Pending { unique, what, asked: 0, nodes: vec![], handles: vec![], names: vec![] };
        Call { queue: Queue::Requests, bytes, room, pending }
    }

    fn unique(&mut self) -> u64 {
        // A Linux guest counts in twos.
        self.unique += 2;
        self.unique
    }

    /// A request in bytes; `None` where it names something that is not there, is too large, or
    /// is nothing that a kernel would ask for while `posted` is in flight.
    pub fn call(&mut self, request: &Request, posted: &[Pending]) -> Option<Call> {
        let session = self.session?;
        let nodes: Vec<usize> = request.args.iter().filter_map(Arg::node).collect();
        let handles: Vec<usize> = request.args.iter().filter_map(Arg::handle).collect();
        let there = nodes.iter().all(|&n| self.nodes.get(n).is_some_and(|node| node.lookups > 0))
            && handles.iter().all(|&n| self.handles.get(n).is_some_and(|handle| handle.open));
        if !there || self.is_unfit(request, posted, &nodes, &handles) {
            return None;
        }
        let unique = self.unique();
        let node = match (request.op.word, nodes.as_slice(), handles.first()) {
            // The new parent, as the kernel has it.
            ("link", [_, parent], _) => *parent,
            (_, [node, ..], _) => *node,
            (_, _, Some(handle)) => self.handles[*handle].node,
            _ => return None,
        };
        let begun =
            Bytes::request(request.op.code, unique, self.nodes[node].id, request.who.uid, request.who.gid);
        let (body, asked) = self.body(request, session, begun)?;
        let extended = match request.who.also {
            Some(group) if session & wire::CREATE_SUPP_GROUP != 0 && CREATING.contains(&request.op.word) => {
                body.group(group)
            }
            _ => body,
        };
        let bytes = extended.done();
        let header = if request.op.gives == Gives::NoReply { 0 } else { wire::OUT_HEADER };
        let room = header + wire::room(request.op.gives, asked);
        if bytes.len() > MAX as usize || room > MAX {
            return None;
        }
        let flags = request.args.iter().find_map(Arg::words).unwrap_or(0);
        let what = What::Op(OPS.iter().position(|op| op == request.op)?, flags);
        let queue = if request.op.word == "forget" { Queue::Urgent } else { Queue::Requests };
        let names = request.args.iter().filter_map(Arg::name).collect();
        Some(Call { queue, bytes, room, pending: Pending { unique, what, asked, nodes, handles, names } })
    }

    /// What a kernel looks up before it sends a request: the names that it will remove or
    /// replace, unless it knows them.
    pub fn before(&self, request: &Request) -> Vec<Request> {
        let Some(lookup) = OPS.iter().find(|op| op.word == "lookup") else { return vec![] };
        if !matches!(request.op.word, "unlink" | "rmdir" | "rename") {
            return vec![];
        }
        let names = request.args.windows(2).filter_map(|pair| match pair {
            [Arg::Node(dir), Arg::Name(name)] if self.named(*dir, name).is_none() => {
                Some(Request { op: lookup, args: pair.to_vec(), who: Who::default() })
            }
            _ => None,
        });
        names.collect()
    }

    /// The next request that forgets what has no name left and is not in use.
    pub fn after(&mut self, posted: &[Pending]) -> Option<Call> {
        let forget = OPS.iter().find(|op| op.word == "forget")?;
        let gone: Vec<usize> = (1..self.nodes.len())
            .filter(|n| self.nodes[*n].lookups > 0 && self.nodes[*n].links == 0)
            .collect();
        gone.into_iter().find_map(|n| {
            let args = vec![Arg::Node(n), Arg::Number(self.nodes[n].lookups)];
            self.call(&Request { op: forget, args, who: Who::default() }, posted)
        })
    }

    fn named(&self, dir: usize, name: &str) -> Option<usize> {
        let known = self.names.iter().find(|known| known.dir == dir && known.name == name)?;
        (self.nodes.get(known.node)?.lookups > 0).then_some(known.node)
    }

    fn name(&mut self, dir: usize, name: &str, node: Option<usize>) {
        self.names.retain(|known| known.dir != dir || known.name != name);
        self.names.extend(node.map(|node| Named { dir, name: name.to_owned(), node }));
    }

    /// A name is gone, and its node has one less.
    fn unname(&mut self, dir: usize, name: &str) {
        let Some(node) = self.named(dir, name) else { return };
        self.name(dir, name, None);
        let node = &mut self.nodes[node];
        node.links = if node.directory { 0 } else { node.links.saturating_sub(1) };
    }

    /// What became of names by a request that was done.
    fn rename(&mut self, op: &Op, how: u32, pending: &Pending) {
        const EXCHANGE: u32 = 2;
        match (op.word, pending.nodes.as_slice(), pending.names.as_slice()) {
            ("unlink" | "rmdir", [dir], [name]) => self.unname(*dir, name),
            ("rename", [from, to], [old, new]) => {
                let (moved, there) = (self.named(*from, old), self.named(*to, new));
                // Two names of one file: nothing happens.
                if moved == there {
                    return;
                }
                if how == EXCHANGE {
                    self.name(*from, old, there);
                } else {
                    self.unname(*to, new);
                    self.name(*from, old, None);
                }
                self.name(*to, new, moved);
            }
            _ => {}
        }
    }

    /// What no kernel asks for: it forgets nothing that is in use, and closes nothing twice.
    fn is_unfit(&self, request: &Request, posted: &[Pending], nodes: &[usize], handles: &[usize]) -> bool {
        match (request.op.word, nodes, handles) {
            ("forget", [node], _) => {
                *node == 0
                    || self.handles.iter().any(|handle| handle.open && handle.node == *node)
                    || posted.iter().any(|pending| pending.nodes.contains(node))
            }
            ("tmpfile", ..) => self.opens == Opens::Named,
            ("unlink" | "rmdir" | "rename", ..) => {
                self.opens == Opens::Named && self.unnames_an_open_file(request)
            }
            ("release" | "releasedir", _, [handle]) => {
                posted.iter().any(|pending| pending.handles.contains(handle))
            }
            _ => false,
        }
    }

    /// Whether a file that is open loses the last name that is known of it.
    fn unnames_an_open_file(&self, request: &Request) -> bool {
        const EXCHANGE: u32 = 2;
        let lost = match request.args.as_slice() {
            [.., Arg::Words(_, EXCHANGE)] => None,
            [Arg::Node(dir), Arg::Name(name)] => self.named(*dir, name),
            [_, _, Arg::Node(dir), Arg::Name(name), _] => self.named(*dir, name),
            _ => None,
        };
        let Some(lost) = lost else { return false };
        let node = &self.nodes[lost];
        (node.directory || node.links <= 1)
            && self.handles.iter().any(|handle| handle.open && handle.node == lost)
    }

    /// What a reply shows.
    ///
    /// # Errors
    /// What of it breaks the protocol.
    pub fn reply(&mut self, pending: &Pending, bytes: &[u8]) -> Result<Vec<Sight>, String> {
        let (op, flags) = match pending.what {
            What::Op(op, flags) => (&OPS[op], flags),
            What::Mount => return self.mounted(wire::negotiated(bytes, pending.unique)?),
            What::Unmount => {
                *self = Driver { unique: self.unique, ..Driver::new(self.opens) };
                return Ok(vec![]);
            }
        };
        if op.gives == Gives::NoReply {
            return if bytes.is_empty() { Ok(vec![]) } else { Err("a reply, and there is none".to_owned()) };
        }
        let reply = wire::reply(op, pending.asked, pending.unique, bytes)?;
        let words = self.words(op, flags, pending, reply)?;
        Ok(vec![Sight::Words(words)])
    }

    fn mounted(&mut self, negotiated: Result<u64, i32>) -> Result<Vec<Sight>, String> {
        match negotiated {
            Ok(flags) => {
                self.session = Some(flags);
                self.nodes = vec![Node { id: wire::ROOT, ino: 0, lookups: 1, links: 2, directory: true }];
                self.handles = vec![];
                self.names = vec![];
                Ok(vec![])
            }
            Err(errno) => Ok(vec![Sight::Words(format!("mounting gives {}", wire::errno(errno)))]),
        }
    }

    fn words(&mut self, op: &Op, flags: u32, pending: &Pending, reply: Reply) -> Result<String, String> {
        Ok(match reply {
            Reply::Attr(attr) => {
                let handle = pending.handles.first().map(|&handle| self.handles[handle].node);
                let node = pending.nodes.first().copied().or(handle).ok_or("no node")?;
                self.attr(node, attr)
            }
            Reply::Data(bytes) => data(&bytes),
            Reply::Dir(entries) => self.listing(pending, op, entries)?,
            Reply::Entry(entry) => {
                let (node, shown) = self.entry(entry);
                if let (Some(dir), Some(name)) = (pending.nodes.last(), pending.names.first()) {
                    self.name(*dir, name, Some(node));
                }
                shown
            }
            Reply::EntryOpen(entry, handle) => {
                let (node, shown) = self.entry(entry);
                if let (Some(dir), Some(name)) = (pending.nodes.last(), pending.names.first()) {
                    self.name(*dir, name, Some(node));
                }
                format!("{shown} {}", self.opened(handle, node, flags))
            }
            Reply::Error(errno) => {
                if let ("lookup", [dir], [name]) =
                    (op.word, pending.nodes.as_slice(), pending.names.as_slice())
                {
                    self.name(*dir, name, None);
                }
                wire::errno(errno)
            }
            Reply::Names(names) => {
                let mut names: Vec<String> = names.iter().map(|name| notation::quoted(name)).collect();
                names.sort();
                format!("names {}", names.join(" "))
            }
            Reply::NoEntry => "no entry".to_owned(),
            Reply::Nothing => {
                if let ("release" | "releasedir", [handle]) = (op.word, pending.handles.as_slice()) {
                    self.handles[*handle].open = false;
                }
                self.rename(op, flags, pending);
                "done".to_owned()
            }
            Reply::Offset(at) => format!("at {at}"),
            Reply::Open(handle) => self.opened(handle, *pending.nodes.first().ok_or("no node")?, flags),
            Reply::Statfs { bsize, namelen } => format!("blocks of {bsize}, names of {namelen}"),
            Reply::Written(count) => format!("{count} written"),
        })
    }

    /// A node as the guest names it: an old one if it has the id of one that it still knows.
    fn entry(&mut self, entry: Entry) -> (usize, String) {
        let known = self.nodes.iter().position(|node| node.lookups > 0 && node.id == entry.node);
        let number = known.unwrap_or_else(|| {
            let directory = kind(entry.attr.mode) == Some("directory");
            self.nodes.push(Node { id: entry.node, ino: entry.attr.ino, lookups: 0, links: 1, directory });
            self.nodes.len() - 1
        });
        self.nodes[number].lookups += 1;
        (number, format!("{} {}", Arg::Node(number), self.attr(number, entry.attr)))
    }

    fn attr(&mut self, node: usize, attr: Attr) -> String {
        let node = &mut self.nodes[node];
        if node.ino == 0 {
            node.ino = attr.ino;
        }
        node.links = attr.nlink;
        let kind = kind(attr.mode).unwrap_or("thing");
        // A directory's size and links are the host file system's business.
        let rest = match kind {
            "directory" => String::new(),
            _ => format!(" size {} links {}", attr.size, attr.nlink),
        };
        let moved = if node.ino == attr.ino { "" } else { " with another inode number than before" };
        format!("{kind} {:04o}{rest} owner {}:{}{moved}", attr.mode & 0o7777, attr.uid, attr.gid)
    }

    fn opened(&mut self, id: u64, node: usize, flags: u32) -> String {
        // There is no handle 0 to a guest: numbers begin at 1, as nodes do.
        if self.handles.is_empty() {
            self.handles.push(Handle { id: 0, node: 0, flags: 0, open: false, cookie: 0 });
        }
        self.handles.push(Handle { id, node, flags, open: true, cookie: 0 });
        Arg::Handle(self.handles.len() - 1).to_string()
    }

    /// Entries by name; the host's order is its own business.
    fn listing(
        &mut self,
        pending: &Pending,
        op: &Op,
        mut entries: Vec<wire::Dirent>,
    ) -> Result<String, String> {
        let handle = *pending.handles.first().ok_or("no handle")?;
        match entries.last() {
            Some(last) => self.handles[handle].cookie = last.cookie,
            None if op.word == "rewinddir" => self.handles[handle].cookie = 0,
            None => {}
        }
        if entries.is_empty() {
            return Ok("end".to_owned());
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let mut words = Vec::new();
        for entry in entries {
            let name = notation::quoted(&entry.name);
            words.push(match entry.entry {
                Some(looked_up) => {
                    let (node, shown) = self.entry(looked_up);
                    let dir = self.handles[handle].node;
                    if let Ok(name) = String::from_utf8(entry.name) {
                        self.name(dir, &name, Some(node));
                    }
                    format!("{name} {shown}")
                }
                None => format!("{name} {}", kind(entry.kind << 12).unwrap_or("thing")),
            });
        }
        Ok(words.join(", "))
    }
}

const CREATING: &[&str] = &["create", "mkdir", "mknod", "symlink", "tmpfile"];

impl Arg {
    fn node(&self) -> Option<usize> {
        if let Arg::Node(n) = self { Some(*n) } else { None }
    }

    fn handle(&self) -> Option<usize> {
        if let Arg::Handle(n) = self { Some(*n) } else { None }
    }

    fn name(&self) -> Option<String> {
        if let Arg::Name(name) = self { Some(name.clone()) } else { None }
    }

    fn words(&self) -> Option<u32> {
        if let Arg::Words(_, value) = self { Some(*value) } else { None }
    }
}

/// Bytes in words; long ones by their beginning, length and hash.
fn data(bytes: &[u8]) -> String {
    const SHOWN: usize = 48;
    match bytes.get(..SHOWN) {
        None => notation::quoted(bytes),
        Some(head) => {
            // FNV-1a.
            let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
            format!("{}... {} bytes, hash {hash:016x}", notation::quoted(head), bytes.len())
        }
    }
}
