//! What a function is: everything that a migration has to carry, and what is made from it.

use super::Shape;
use super::hardware::command::{EACH, ENABLE, MASTER, SPACE};
use migcert_core::device::Sight;
use serde::{Deserialize, Serialize};

/// Bytes of memory that a function has.
pub(super) const MEMORY: usize = 64;
/// The window shows a page, and in PRE_COPY pages are sent again.
pub(super) const PAGE: usize = 16;
pub(super) const PAGES: usize = MEMORY / PAGE;
/// So many requests wait in a queue.
pub(super) const RING: usize = 2;
/// Places in guest memory that a request may name, and the bytes from one to the next.
pub(super) const PLACES: u8 = 8;
pub(super) const PLACE: usize = 32;
/// A second address space lies behind the first.
pub(super) const REACH: usize = PLACES as usize * PLACE;
/// The largest request.
pub(super) const WORD: u16 = 0x1ff;
/// No vector, no place, no queue.
pub(super) const NONE: u8 = 0xff;
/// Ids of requests under way.
const IDS: u32 = 16;
const MOST_CAUSES: usize = 13;
const MOST_ERRORS: usize = 2;

/// The state of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Function {
    pub(super) registers: Registers,
    pub(super) table: Table,
    pub(super) log: Log,
    pub(super) queues: Vec<Queue>,
    pub(super) memory: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Registers {
    pub(super) command: u8,
    pub(super) offered: u8,
    pub(super) queues: u8,
    /// Queues are served up to this one.
    pub(super) last: u8,
    /// The queue whose turn it is.
    pub(super) turn: u8,
    /// What the window shows.
    pub(super) bank: u8,
    /// What it shows from the next unit of time on.
    pub(super) next_bank: u8,
    /// The span of memory that STREAM goes through over and over, and how far it is.
    pub(super) start: u8,
    pub(super) len: u8,
    pub(super) cursor: u8,
    /// Ids that are taken.
    pub(super) ids: u16,
    /// The queue of the request that waits for a packet.
    pub(super) holder: u8,
    pub(super) held: Request,
}

/// Interrupts: which vector each cause has, which are let through, which are pending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Table {
    pub(super) causes: u8,
    pub(super) vectors: u8,
    pub(super) pending_bits: u8,
    pub(super) route: [u8; MOST_CAUSES],
    pub(super) mask: u16,
    pub(super) pending: u16,
}

/// Requests that were refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Log {
    pub(super) capacity: u8,
    pub(super) count: u8,
    pub(super) entries: [u8; MOST_ERRORS],
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Queue {
    /// Requests that were completed; free-running.
    pub(super) used: u8,
    /// The same, when it was last decided about an interrupt.
    pub(super) signalled: u8,
    /// The guest wants an interrupt when this one is completed.
    pub(super) event: u8,
    /// Where in guest memory it is counted.
    pub(super) ring: u8,
    pub(super) count: u8,
    pub(super) waiting: [Request; RING],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) word: u16,
    pub(super) id: u8,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// The next packet goes to guest memory.
    Hold,
    /// From guest memory to the window.
    Read,
    /// From the window to that of the peer.
    Peer,
    /// From the window to guest memory.
    Write,
}

impl Request {
    pub(super) fn verb(self) -> Verb {
        [Verb::Hold, Verb::Read, Verb::Peer, Verb::Write][usize::from(self.word & 3)]
    }

    pub(super) fn len(self) -> usize {
        1 + usize::from(self.word >> 2 & 0xf)
    }

    pub(super) fn place(self) -> usize {
        usize::from(self.word >> 6 & 7) * PLACE
    }
}

impl Registers {
    pub(super) fn take_id(&mut self) -> Option<u8> {
        let id = self.ids.trailing_ones();
        (id < IDS).then(|| {
            self.ids |= 1 << id;
            id as u8
        })
    }
}

impl Queue {
    pub(super) const FRESH: Queue = Queue {
        used: 0,
        signalled: 0,
        event: 0,
        ring: NONE,
        count: 0,
        waiting: [Request { word: 0, id: 0 }; RING],
    };

    pub(super) fn waiting(&self) -> impl Iterator<Item = &Request> {
        self.waiting.get(..self.count.into()).into_iter().flatten()
    }

    pub(super) fn push(&mut self, request: Request) {
        self.waiting[usize::from(self.count)] = request;
        self.count += 1;
    }

    fn pop(&mut self) -> Request {
        let request = self.waiting[0];
        self.waiting[..usize::from(self.count)].rotate_left(1);
        self.count -= 1;
        request
    }

    /// Where it counts what is done, in an address space that begins there.
    pub(super) fn at(&self, space: usize) -> Option<usize> {
        (self.ring != NONE).then(|| space + usize::from(self.ring) * PLACE)
    }

    /// Whether what was completed since it was last decided is worth an interrupt.
    fn is_due(&self) -> bool {
        self.used.wrapping_sub(self.event).wrapping_sub(1) < self.used.wrapping_sub(self.signalled)
    }
}

impl Log {
    pub(super) fn push(&mut self, error: u8) {
        if self.count < self.capacity {
            self.entries[usize::from(self.count)] = error;
            self.count += 1;
        }
    }

    /// Takes the oldest.
    pub(super) fn pop(&mut self) -> u8 {
        let known = &mut self.entries[..usize::from(self.count)];
        let Some(first) = known.first().copied() else { return 0 };
        known.rotate_left(1);
        self.count -= 1;
        first
    }
}

impl Function {
    pub(super) fn fresh(shape: &Shape) -> Function {
        let (queues, causes) = (shape.queues as u8, shape.causes() as u8);
        Function {
            registers: Registers {
                command: (MASTER | ENABLE | EACH) & shape.offered,
                offered: shape.offered,
                queues,
                last: queues - 1,
                turn: 0,
                bank: 0,
                next_bank: 0,
                start: 0,
                len: MEMORY as u8,
                cursor: 0,
                ids: 0,
                holder: NONE,
                held: Request::default(),
            },
            table: Table {
                causes,
                vectors: causes,
                pending_bits: causes,
                route: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12].map(|v| if v < causes { v } else { NONE }),
                mask: shape.vectors(),
                pending: 0,
            },
            log: Log { capacity: shape.log as u8, ..Log::default() },
            queues: vec![Queue::FRESH; shape.queues],
            memory: vec![0; MEMORY],
        }
    }

    /// The next request of a queue, whose turn is over.
    pub(super) fn take(&mut self, queue: usize) -> Request {
        self.registers.turn = ((queue + 1) % self.queues.len()) as u8;
        self.queues[queue].pop()
    }

    /// A request is done: its id is free, and counted in its queue.
    pub(super) fn complete(&mut self, queue: usize, id: u8) {
        let bit = 1u16.checked_shl(id.into()).unwrap_or(0);
        assert!(self.registers.ids & bit != 0, "id {id} is released twice");
        self.registers.ids &= !bit;
        self.queues[queue].used = self.queues[queue].used.wrapping_add(1);
    }

    /// The ids of requests under way, if each has its own.
    pub(super) fn ids(&self) -> Option<u16> {
        let held = Some(&self.registers.held).filter(|_| self.registers.holder != NONE);
        let under_way = self.queues.iter().flat_map(Queue::waiting).chain(held);
        under_way.into_iter().try_fold(0u16, |ids, request| {
            let bit = 1u16.checked_shl(request.id.into()).filter(|bit| ids & bit == 0)?;
            Some(ids | bit)
        })
    }

    /// Which queues have something to do.
    pub(super) fn busy(&self) -> Vec<bool> {
        self.queues.iter().map(|queue| queue.count != 0).collect()
    }

    pub(super) fn raise(&mut self, cause: usize, live: &Live) {
        let vector = live.route[cause];
        if vector != NONE && live.routed[usize::from(vector)] {
            self.table.pending |= 1 << vector;
        }
    }

    /// Interrupts for what was completed.
    pub(super) fn signal(&mut self, live: &Live) {
        for queue in 0..self.queues.len() {
            let ring = &mut self.queues[queue];
            let each = !self.registers.offered & EACH | self.registers.command & EACH;
            let is_due = ring.used != ring.signalled && (each != 0 || ring.is_due());
            ring.signalled = ring.used;
            if is_due {
                self.raise(queue, live);
            }
        }
    }

    /// Interrupts that are let through.
    pub(super) fn deliver(&mut self, first: u32, seen: &mut Vec<Sight>) {
        if self.registers.command & ENABLE != 0 {
            let signal = self.table.pending & self.table.mask;
            self.table.pending &= !signal;
            let vectors = (0..16).filter(|vector| signal & 1 << vector != 0);
            seen.extend(vectors.map(|vector| Sight::Interrupt(first + vector)));
        }
    }
}

/// Made from the state of a function, for whoever does the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Live {
    /// Whether it may begin anything of its own.
    pub(super) is_master: bool,
    /// Where in guest memory its places begin.
    pub(super) space: usize,
    /// Where in its memory the window is.
    pub(super) window: usize,
    /// The vector of each cause.
    pub(super) route: Vec<u8>,
    /// By vector: whether it leads anywhere.
    pub(super) routed: Vec<bool>,
    /// Where each queue counts what is done.
    pub(super) rings: Vec<Option<usize>>,
}

impl Live {
    pub(super) fn of(function: &Function) -> Live {
        let Function { registers, table, queues, .. } = function;
        let space = if registers.command & SPACE != 0 { REACH } else { 0 };
        let mut route = vec![NONE; queues.len() + 1];
        let causes = usize::from(table.causes);
        route[..causes].copy_from_slice(&table.route[..causes]);
        let mut routed = vec![false; route.len()];
        for vector in route.iter().filter(|vector| **vector != NONE) {
            routed[usize::from(*vector)] = true;
        }
        Live {
            is_master: registers.command & MASTER != 0,
            space,
            window: usize::from(registers.bank) * PAGE,
            route,
            routed,
            rings: Live::rings(function, space),
        }
    }

    pub(super) fn rings(function: &Function, space: usize) -> Vec<Option<usize>> {
        let queues = usize::from(function.registers.queues);
        (0..queues).map(|queue| function.queues[queue].at(space)).collect()
    }
}
