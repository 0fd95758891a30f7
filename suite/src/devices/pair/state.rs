//! How the board is saved: sections of each function and of each of its queues.

use super::Shape;
use super::faults::*;
use super::function::{Function, Live, Log, MEMORY, NONE, PAGE, PAGES, PLACE, PLACES, Queue, REACH, RING};
use super::hardware::command::ENABLE;
use super::hardware::{FUNCTIONS, Pair, Side};
use crate::devices::engine::faults::FIELDS_UNCHECKED;
use crate::devices::engine::{Pass, Stored};
use crate::devices::fault::Fault;
use migcert_core::envelope::read::Sections;
use migcert_core::envelope::write::Writer;
use migcert_core::envelope::{BadState, Tag};
use migcert_core::error::{Error, Refusal};
use migcert_core::model::ModelId;
use migcert_core::structured;
use migcert_core::version::Setup;

/// A section of a function: `0mem` is the memory of the first.
fn tag(function: usize, name: &[u8; 3]) -> Tag {
    let [a, b, c] = *name;
    Tag::new(&[b"01"[function], a, b, c])
}

fn queue_tag(function: usize, queue: usize) -> Tag {
    let digit = |n: usize| b'0' + (n % 10) as u8;
    tag(function, &[b'q', digit(queue / 10), digit(queue)])
}

const REGISTERS: &[u8; 3] = b"reg";
const TABLE: &[u8; 3] = b"tab";
const LOG: &[u8; 3] = b"log";
const BYTES: &[u8; 3] = b"mem";

/// What must hold of a state, in words, and the fault that forgets it.
type Check = (Option<&'static Fault>, &'static str, bool);

impl Function {
    /// Whether a guest could have brought it there.
    fn checks(&self, shape: &Shape) -> [Check; 22] {
        let Function { registers, table, log, queues, memory } = self;
        let (known, causes) = (shape.queues as u8, shape.causes() as u8);
        let fits = |vector: &u8| *vector < causes || *vector == NONE;
        let span = registers.start.wrapping_add(registers.len);
        let end = usize::from(registers.start) + usize::from(registers.len);
        let pages = PAGES as u8;
        [
            (Some(&QUEUES_TRUSTED), "the number of queues", registers.queues == known),
            (Some(&ACTIVE_UNCHECKED), "the queues in use", registers.last < known),
            (Some(&COMMAND_UNCHECKED), "a command", registers.command & !registers.offered == 0),
            (None, "what is offered", registers.offered == shape.offered),
            (None, "the turn", registers.turn < known),
            (None, "the window", registers.bank < pages && registers.next_bank < pages),
            (None, "the span", registers.len != 0 && usize::from(span) <= MEMORY),
            (Some(&SPAN_WRAPS), "the end of the span", end <= MEMORY),
            (Some(&CURSOR_UNCHECKED), "the place in the span", registers.cursor < registers.len),
            (None, "the queue of what is held", registers.holder < known || registers.holder == NONE),
            (Some(&CAUSES_TRUSTED), "the causes of interrupts", table.causes == causes),
            (Some(&VECTORS_UNCHECKED), "the number of vectors", table.vectors == causes),
            (Some(&SIZES_DISAGREE), "the pending bits", table.pending_bits == causes),
            (Some(&ROUTE_UNCHECKED), "a vector", table.route.iter().take(causes.into()).all(fits)),
            (None, "a mask", (table.mask | table.pending) & !shape.vectors() == 0),
            (Some(&CAPACITY_TRUSTED), "the size of the log", usize::from(log.capacity) == shape.log),
            (None, "the length of the log", log.count as i8 <= log.capacity as i8),
            (Some(&COUNT_SIGNED), "the end of the log", log.count <= log.capacity),
            (Some(&RING_UNCHECKED), "a ring", queues.iter().all(|queue| usize::from(queue.count) <= RING)),
            (None, "a place", queues.iter().all(|queue| queue.ring < PLACES || queue.ring == NONE)),
            (Some(&IDS_TWICE), "an id", self.ids() == Some(registers.ids)),
            (None, "memory", memory.len() == MEMORY),
        ]
    }

    /// What a guest can have brought about, and a strict device refuses.
    fn oddities(&self) -> [(&'static Fault, bool); 5] {
        let Function { registers, table, log, queues, .. } = self;
        let routed = || table.route.iter().filter(|vector| **vector != NONE);
        [
            (&SPAN_STRICT, usize::from(registers.start) + usize::from(registers.len) == MEMORY),
            (&USED_STRICT, queues.iter().any(|queue| RING <= usize::from(queue.used))),
            (&LOG_STRICT, log.count != 0 && log.count == log.capacity),
            (&SHARED_STRICT, routed().any(|vector| 1 < routed().filter(|other| *other == vector).count())),
            (&MASKED_STRICT, table.pending & !table.mask != 0),
        ]
    }
}

impl Pair {
    fn judge(&self, new: &Function) -> Result<(), BadState> {
        let holds = |(fault, _, ok): &Check| fault.map_or(*ok, |fault| self.faults.passes(fault, *ok));
        if let Some((_, what, _)) = new.checks(&self.shape).into_iter().find(|check| !holds(check)) {
            return Err(BadState::ByDevice(format!("{what} is out of range")));
        }
        match new.oddities().into_iter().find(|(fault, odd)| self.faults.hits(fault, *odd)) {
            Some(_) => Err(BadState::ByDevice("the state is odd".to_owned())),
            None => Ok(()),
        }
    }

    /// A function as it is saved.
    fn saved(&self, function: usize) -> Function {
        let side = &self.sides[function];
        let mut saved = side.state.clone();
        let apart = side.peer_write().filter(|_| function != 0);
        if let Some(queue) = apart
            && self.faults.hits(&STOPPED_APART, true)
        {
            let done = saved.take(queue);
            saved.complete(queue, done.id);
        }
        let registers = &mut saved.registers;
        if self.faults.hits(&MOVE_FORGOTTEN, registers.next_bank != registers.bank) {
            registers.next_bank = registers.bank;
        }
        let span = (0, MEMORY as u8, 0);
        if self.faults.hits(&SPAN_NOT_LISTED, (registers.start, registers.len, registers.cursor) != span) {
            (registers.start, registers.len, registers.cursor) = span;
        }
        if self.faults.hits(&STALE_COPY_SAVED, registers.command & ENABLE == 0) {
            registers.command |= ENABLE;
        }
        if self.faults.hits(&HELD_FORGOTTEN, registers.holder != NONE) {
            registers.ids &= !(1 << registers.held.id);
            registers.holder = NONE;
        }
        for queue in &mut saved.queues {
            if self.faults.hits(&NULL_PLACE, queue.ring == NONE) {
                queue.ring = 0;
            }
        }
        saved
    }

    /// Under which number a queue is saved.
    fn key(&self, queue: usize) -> usize {
        if self.faults.hits(&KEY_TRUNCATED, 7 < queue) { queue & 7 } else { queue }
    }

    /// Under which number a queue is looked for.
    fn found(&self, queue: usize) -> usize {
        let mut names: Vec<usize> = (1..=self.shape.queues).collect();
        names.sort_by_key(ToString::to_string);
        let lexical = names[queue] - 1;
        if self.faults.hits(&LEXICAL_ORDER, lexical != queue) { lexical } else { self.key(queue) }
    }

    fn save_function(&self, function: usize, writer: &mut Writer) -> Result<(), Error> {
        let saved = self.saved(function);
        writer.structured(tag(function, REGISTERS), &saved.registers)?;
        writer.structured(tag(function, TABLE), &saved.table)?;
        if self.shape.log != 0 {
            writer.structured(tag(function, LOG), &saved.log)?;
        }
        for (number, queue) in saved.queues.iter().enumerate() {
            if !self.shape.sparse || *queue != Queue::FRESH {
                writer.structured(queue_tag(function, self.key(number)), queue)?;
            }
        }
        Ok(())
    }

    fn load_function(&self, function: usize, sections: &mut Sections) -> Result<Function, BadState> {
        let registers = sections.take_structured(tag(function, REGISTERS))?;
        let table = sections.take_structured(tag(function, TABLE))?;
        let log = match self.shape.log {
            0 => Log::default(),
            _ => sections.take_structured(tag(function, LOG))?,
        };
        let kept =
            (0..self.shape.queues).map(|queue| match sections.take_structured(queue_tag(function, queue)) {
                Err(BadState::Missing(_)) if self.shape.sparse => Ok(Queue::FRESH),
                queue => queue,
            });
        let kept: Vec<Result<Queue, BadState>> = kept.collect();
        let queues = (0..kept.len()).map(|queue| kept[self.found(queue)].clone());
        let queues = queues.collect::<Result<_, _>>()?;
        let mut memory = sections.take(tag(function, BYTES))?;
        if self.faults.hits(&MEMORY_UNWRAPPED, memory.len() != MEMORY) {
            memory = <[u8; MEMORY]>::try_from(memory).expect("all of the memory").to_vec();
        }
        Ok(Function { registers, table, log, queues, memory })
    }

    /// All that came, if it is a state of this board.
    fn decode(&self, mut sections: Sections) -> Result<[Function; FUNCTIONS], BadState> {
        let new = [self.load_function(0, &mut sections)?, self.load_function(1, &mut sections)?];
        sections.end()?;
        for function in &new {
            for place in function.queues.iter().map(|queue| queue.ring).filter(|place| *place != NONE) {
                if self.faults.hits(&TOUCHED_UNCHECKED, PLACES <= place) {
                    let _ = self.memory.bytes()[..REACH][usize::from(place) * PLACE];
                }
            }
            self.judge(function)?;
        }
        Ok(new)
    }

    /// The host routes the interrupts of both functions, or of none.
    fn route(&mut self) -> Result<[bool; FUNCTIONS], BadState> {
        if self.scar.routes_left {
            return Err(BadState::ByDevice("interrupts are routed already".to_owned()));
        }
        let mut routed = [true; FUNCTIONS];
        for (function, routed) in routed.iter_mut().enumerate() {
            let Err(why) = self.host.act("route the interrupts of a function") else { continue };
            if !self.faults.hits(&ROUTE_ERROR_DROPPED, true) {
                self.scar.routes_left = self.faults.hits(&ROUTES_LEFT, function != 0);
                return Err(BadState::ByDevice(why.to_string()));
            }
            *routed = false;
        }
        Ok(routed)
    }

    /// Swaps in a state that was judged.
    fn swap_in(&mut self, new: [Function; FUNCTIONS], routed: [bool; FUNCTIONS]) {
        for (function, new) in new.into_iter().enumerate() {
            self.sides[function] = self.side(&self.sides[function], new);
            if !routed[function] {
                self.sides[function].live.routed.fill(false);
            }
        }
        self.scar.was_loaded = true;
    }

    /// A function with what is made from its state, in the place of an old one.
    fn side(&self, old: &Side, mut new: Function) -> Side {
        let faults = &self.faults;
        if faults.hits(&PENDING_BEFORE_MASK, new.table.pending != 0) {
            new.table.pending = 0;
        }
        let dropped = old.state.registers.ids & new.registers.ids;
        if faults.hits(&DROPPED_LATE, dropped != 0) {
            new.registers.ids &= !dropped;
        }
        for queue in &mut new.queues {
            if faults.hits(&SIGNALLED_JUMPS, queue.signalled != queue.used) {
                queue.signalled = queue.used;
            }
        }
        let mut side = Side::new(new);
        let Side { state, live, busy, .. } = &mut side;
        if faults.hits(&MASTER_IN_SHADOW, live.is_master != old.live.is_master) {
            live.is_master = old.live.is_master;
        }
        if faults.hits(&WINDOW_NOT_MAPPED, live.window != old.live.window) {
            live.window = old.live.window;
        }
        if faults.hits(&SPACE_NOT_SWITCHED, live.space != old.live.space) {
            live.space = old.live.space;
        }
        if faults.hits(&OLD_ROUTES_HELD, live.route != old.live.route) {
            live.route.clone_from(&old.live.route);
        }
        let early = Live::rings(state, old.live.space);
        if faults.hits(&RINGS_TOO_EARLY, live.rings != early) {
            live.rings = early;
        }
        if faults.hits(&UNUSED_PANICS, live.rings.contains(&None)) {
            live.rings.iter().for_each(|place| assert!(place.is_some(), "a queue has a place"));
        }
        if faults.hits(&SENTINEL_INDEXES, live.route.contains(&NONE)) {
            live.routed[usize::from(NONE)] = false;
        }
        if faults.hits(&KICK_NOT_REPEATED, busy.contains(&true)) {
            busy.fill(false);
        }
        let late = busy.iter_mut().skip(COMMON_QUEUES);
        for is_busy in late {
            *is_busy &= !faults.hits(&LATE_QUEUES_MISSED, *is_busy);
        }
        side
    }
}

/// So many queues every board has.
const COMMON_QUEUES: usize = 1;

/// What a state without envelope begins with.
const PLAIN: u32 = 0x5041_4952;

impl Stored for Pair {
    fn identity(&self) -> (&ModelId, &Setup) {
        (&self.model, &self.list)
    }

    fn save(&mut self, pass: Pass, writer: &mut Writer) -> Result<(), Error> {
        if self.faults.hits(&LOG_NOT_KEPT, self.scar.was_loaded) {
            return Err(Refusal::ByDevice("there is no log of dirty memory".to_owned()).into());
        }
        for (function, side) in self.sides.iter_mut().enumerate() {
            let tag = tag(function, BYTES);
            if pass == Pass::First {
                writer.section(tag, &side.state.memory);
                side.dirty.fill(false);
            }
            for (page, dirty) in side.dirty.iter_mut().enumerate() {
                if std::mem::take(dirty) {
                    let at = page * PAGE;
                    writer.part(tag, at as u64, &side.state.memory[at..at + PAGE]);
                }
            }
        }
        if pass != Pass::Last {
            return Ok(());
        }
        for function in 0..FUNCTIONS {
            if let Err(why) = self.host.act("stop the worker of a function") {
                self.scar.parked[0] |= self.faults.hits(&FIRST_STAYS_STOPPED, function != 0);
                return Err(why);
            }
        }
        self.scar.was_saved = true;
        (0..FUNCTIONS).try_for_each(|function| self.save_function(function, writer))
    }

    fn estimate(&self) -> usize {
        FUNCTIONS * MEMORY
    }

    fn is_dirty(&self) -> bool {
        self.sides.iter().any(|side| side.dirty.contains(&true))
    }

    fn load(&mut self, sections: Sections) -> Result<(), BadState> {
        let decoded = self.decode(sections);
        if self.faults.hits(&WORKERS_PARKED, decoded.is_err()) {
            self.scar.parked.fill(true);
        }
        let new = decoded?;
        let routed = self.route()?;
        self.swap_in(new, routed);
        Ok(())
    }

    fn load_tail(&mut self, tail: &[u8]) {
        let n = tail.len().min(MEMORY);
        self.sides[0].state.memory[..n].copy_from_slice(&tail[..n]);
    }

    fn save_plain(&mut self) -> Result<Vec<u8>, Error> {
        Ok(structured::encode(&(PLAIN, self.saved(0), self.saved(1)))?)
    }

    fn load_plain(&mut self, bytes: &[u8]) -> Result<(), BadState> {
        let (magic, first, second): (u32, Function, Function) = structured::decode(bytes)?;
        if magic != PLAIN {
            return Err(BadState::NoMagic);
        }
        let judged = self.judge(&first).and_then(|()| self.judge(&second));
        if !self.faults.hits(&FIELDS_UNCHECKED, judged.is_err()) {
            judged?;
        }
        self.swap_in([first, second], [true; FUNCTIONS]);
        Ok(())
    }
}
