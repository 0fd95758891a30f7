//! The board itself: registers, requests, the work of both functions.

use super::Shape;
use super::faults::*;
use super::function::{Function, Live, Registers, Request, Verb};
use super::function::{MEMORY, NONE, PAGE, PAGES, PLACE, PLACES, REACH, RING, WORD};
use crate::devices::engine::Reference;
use crate::devices::fault::Faults;
use crate::devices::host::Host;
use crate::devices::memory::Memory;
use crate::devices::release::Start;
use migcert_core::device::{GUEST_MEMORY, Interface, Options, Register, Seen, Sight, Step};
use migcert_core::error::Error;
use migcert_core::model::ModelId;
use migcert_core::version::Setup;

/// The functions of the board.
pub(super) const FUNCTIONS: usize = 2;

/// The bits of COMMAND.
pub(super) mod command {
    /// Places lie in the second address space.
    pub(crate) const SPACE: u8 = 1;
    /// Without it a function begins nothing of its own.
    pub(crate) const MASTER: u8 = 2;
    /// Without it there are no interrupts.
    pub(crate) const ENABLE: u8 = 4;
    /// Without it EVENT says which interrupts are worth it.
    pub(crate) const EACH: u8 = 8;
}

/// Registers by number; the functions and their items take turns in a window of 64 words.
mod reg {
    pub(super) const FEATURES: u64 = 0;
    pub(super) const COMMAND: u64 = 1;
    pub(super) const BANK: u64 = 2;
    pub(super) const SPAN: u64 = 3;
    pub(super) const STREAM: u64 = 4;
    pub(super) const MASK: u64 = 5;
    pub(super) const PENDING: u64 = 6;
    pub(super) const LAST: u64 = 7;
    pub(super) const LOG: u64 = 8;
    pub(super) const VECTOR: u64 = 9;
    pub(super) const DOORBELL: u64 = 10;
    pub(super) const EVENT: u64 = 11;
    pub(super) const RING: u64 = 12;
    pub(super) const USED: u64 = 13;
    pub(super) const WINDOW: u64 = 14;
}

/// A function with what is made from its state.
pub(super) struct Side {
    pub(super) state: Function,
    pub(super) live: Live,
    /// By queue: it has something to do.
    pub(super) busy: Vec<bool>,
    /// By page of memory: changed since it was sent.
    pub(super) dirty: [bool; PAGES],
}

impl Side {
    pub(super) fn new(state: Function) -> Side {
        let (live, busy) = (Live::of(&state), state.busy());
        Side { state, live, busy, dirty: [true; PAGES] }
    }

    fn command(&mut self, value: u8) {
        let before =
            std::mem::replace(&mut self.state.registers.command, value & self.state.registers.offered);
        let Function { registers, .. } = &self.state;
        if (registers.command ^ before) & command::MASTER != 0 {
            self.live.is_master ^= true;
        }
        if (registers.command ^ before) & command::SPACE != 0 {
            self.live.space = REACH - self.live.space;
            self.live.rings = Live::rings(&self.state, self.live.space);
        }
    }

    fn route(&mut self, cause: usize, vector: u32) {
        let Function { table, .. } = &mut self.state;
        table.route[cause] = if vector < table.vectors.into() { vector as u8 } else { NONE };
        self.live.route[cause] = table.route[cause];
        if let Some(routed) = self.live.routed.get_mut(usize::from(table.route[cause])) {
            *routed = true;
        }
    }

    fn place(&mut self, queue: usize, place: u32) {
        self.state.queues[queue].ring = if place < PLACES.into() { place as u8 } else { NONE };
        self.live.rings[queue] = self.state.queues[queue].at(self.live.space);
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.state.memory[at..at + bytes.len()].copy_from_slice(bytes);
        self.dirty[at / PAGE] = true;
    }

    /// What the window shows, from its beginning.
    fn window(&self, len: usize) -> Vec<u8> {
        self.state.memory[self.live.window..self.live.window + len].to_vec()
    }

    /// STREAM reads or writes a byte and goes on.
    fn stream(&mut self, write: Option<u8>) -> u8 {
        let registers = &mut self.state.registers;
        let at = usize::from(registers.start) + usize::from(registers.cursor);
        registers.cursor = registers.cursor.wrapping_add(1);
        if registers.cursor == registers.len {
            registers.cursor = 0;
        }
        if let Some(byte) = write {
            self.put(at, &[byte]);
        }
        self.state.memory[at]
    }

    /// Which vectors are pending, as far as the table goes.
    fn pending(&self) -> u16 {
        let known = &self.live.routed[..self.state.table.pending_bits.into()];
        (0..known.len()).map(|vector| self.state.table.pending & 1 << vector).sum()
    }

    /// The queue whose turn it is, of those with something to do now.
    fn next(&self, quiet: bool) -> Option<usize> {
        let Registers { last, turn, .. } = self.state.registers;
        let active = usize::from(last) + 1;
        let mut order = (0..active).map(|i| (usize::from(turn) + i) % active);
        let waits = |queue: usize| quiet && self.state.queues[queue].waiting[0].verb() == Verb::Peer;
        order.find(|queue| self.live.is_master && self.busy[*queue] && !waits(*queue))
    }

    /// Whether it is about to write to its peer.
    pub(super) fn peer_write(&self) -> Option<usize> {
        self.next(false).filter(|queue| self.state.queues[*queue].waiting[0].verb() == Verb::Peer)
    }
}

/// The board.
pub(super) struct Pair {
    pub(super) model: ModelId,
    pub(super) list: Setup,
    pub(super) shape: Shape,
    pub(super) faults: Faults,
    pub(super) host: Host,
    pub(super) memory: Memory,
    pub(super) sides: [Side; FUNCTIONS],
    /// In a P2P state: nothing is written to a peer.
    quiet: bool,
    pub(super) scar: Scar,
}

/// What faults need to remember.
#[derive(Default)]
pub(super) struct Scar {
    /// Functions that wait for somebody who doesn't come.
    pub(super) parked: [bool; FUNCTIONS],
    pub(super) was_loaded: bool,
    pub(super) was_saved: bool,
    pub(super) routes_left: bool,
}

impl Pair {
    /// A board that was just started.
    pub(super) fn new(start: Start) -> Pair {
        let shape = Shape::new(&start);
        let side = || Side::new(Function::fresh(&shape));
        Pair {
            model: start.model,
            list: start.list,
            faults: start.faults,
            host: start.host,
            memory: Memory::fresh(),
            sides: [side(), side()],
            shape,
            quiet: false,
            scar: Scar::default(),
        }
    }

    /// How many of a register each function has.
    fn items(&self, register: u64) -> usize {
        match register {
            reg::VECTOR => self.shape.causes(),
            reg::DOORBELL | reg::RING | reg::USED => self.shape.queues,
            reg::EVENT if self.shape.has_events() => self.shape.queues,
            reg::WINDOW => PAGE / 4,
            reg::LOG => usize::from(self.shape.log != 0),
            reg::EVENT => 0,
            _ => 1,
        }
    }

    /// Which register of which function is there, and which of its items.
    fn at(&self, offset: u64) -> Option<(u64, usize, usize)> {
        let (register, index) = (offset >> 8, (offset & 0xff) as usize / 4);
        let (function, item) = (index % FUNCTIONS, index / FUNCTIONS);
        (item < self.items(register) && register <= reg::WINDOW).then_some((register, function, item))
    }

    fn read(&mut self, offset: u64) -> u64 {
        let Some((register, function, item)) = self.at(offset) else { return 0 };
        let side = &mut self.sides[function];
        let Function { registers, table, log, queues, .. } = &mut side.state;
        u64::from(match register {
            reg::FEATURES => {
                let counts = u32::from(table.vectors) << 16 | u32::from(registers.queues) << 8;
                counts | u32::from(registers.offered)
            }
            reg::COMMAND => registers.command.into(),
            reg::BANK => registers.next_bank.into(),
            reg::SPAN => u32::from(registers.len - 1) << 8 | u32::from(registers.start),
            reg::STREAM => side.stream(None).into(),
            reg::MASK => table.mask.into(),
            reg::PENDING => side.pending().into(),
            reg::LAST => registers.last.into(),
            reg::LOG => {
                let room = u32::from(log.capacity.saturating_sub(log.count));
                room << 8 | u32::from(log.pop())
            }
            reg::VECTOR => table.route[item].wrapping_add(1).into(),
            reg::EVENT => queues[item].event.into(),
            reg::RING => u32::from(queues[item].ring.wrapping_add(1)),
            reg::USED => u32::from(queues[item].used) << 8 | u32::from(queues[item].count),
            reg::WINDOW => {
                let at = side.live.window + 4 * item;
                u32::from_le_bytes([0, 1, 2, 3].map(|i| side.state.memory[at + i]))
            }
            _ => 0,
        })
    }

    fn write(&mut self, offset: u64, value: u32) {
        let Some((register, function, item)) = self.at(offset) else { return };
        let side = &mut self.sides[function];
        let Function { registers, table, log, queues, .. } = &mut side.state;
        match register {
            reg::COMMAND => side.command(value as u8),
            reg::BANK => registers.next_bank = value as u8 % PAGES as u8,
            reg::SPAN => {
                registers.start = value as u8 % MEMORY as u8;
                registers.len = (1 + (value >> 8) as u8 % MEMORY as u8).min(MEMORY as u8 - registers.start);
                registers.cursor = 0;
            }
            reg::STREAM => drop(side.stream(Some(value as u8))),
            reg::MASK => table.mask = value as u16 & self.shape.vectors(),
            reg::LAST => registers.last = value.min(self.shape.queues as u32 - 1) as u8,
            reg::VECTOR => side.route(item, value.wrapping_sub(1)),
            reg::EVENT => queues[item].event = value as u8,
            reg::WINDOW => side.put(side.live.window + 4 * item, &value.to_le_bytes()),
            reg::RING => {
                side.place(item, value.wrapping_sub(1));
                if self.faults.hits(&ACTIVATION_STALLS, self.memory.is_logged()) {
                    self.scar.parked[function] = true;
                }
            }
            reg::DOORBELL => {
                let ring = &mut queues[item];
                let has_room = item <= registers.last.into() && usize::from(ring.count) < RING;
                match has_room.then(|| registers.take_id()).flatten() {
                    Some(id) => {
                        ring.push(Request { word: value as u16 & WORD, id });
                        side.busy[item] = true;
                    }
                    None => log.push(item as u8),
                }
            }
            _ => {}
        }
    }

    /// A packet arrives at the function that waits for it.
    fn receive(&mut self, packet: &[u8], seen: &mut Vec<Sight>) {
        let Some(first) = packet.first() else { return };
        let function = usize::from(*first) % FUNCTIONS;
        let Side { state, live, .. } = &mut self.sides[function];
        let holder = state.registers.holder;
        if holder == NONE || !live.is_master {
            return;
        }
        let held = state.registers.held;
        state.registers.holder = NONE;
        let at = live.space + held.place();
        self.store(at, &packet[..packet.len().min(held.len())], seen);
        self.complete(function, holder.into(), held.id, seen);
    }

    /// DMA: the bus shows the place and the bytes.
    fn store(&mut self, at: usize, bytes: &[u8], seen: &mut Vec<Sight>) {
        self.memory.write(at, bytes);
        seen.push(on_bus(at, bytes));
    }

    fn complete(&mut self, function: usize, queue: usize, id: u8, seen: &mut Vec<Sight>) {
        let Side { state, live, .. } = &mut self.sides[function];
        state.complete(queue, id);
        let counted = [state.queues[queue].used, id];
        let Some(at) = live.rings[queue] else { return };
        if self.faults.hits(&COUNT_NOT_LOGGED, self.memory.is_logged()) {
            self.memory.write_unlogged(at, &counted);
        } else {
            self.memory.write(at, &counted);
        }
        seen.push(on_bus(at, &counted));
    }

    /// One unit of a function's own work.
    fn work(&mut self, function: usize, seen: &mut Vec<Sight>) {
        let Side { state, live, .. } = &mut self.sides[function];
        let Registers { bank, next_bank, .. } = &mut state.registers;
        if bank != next_bank {
            *bank = *next_bank;
            live.window = usize::from(*bank) * PAGE;
        }
        state.signal(live);
        if let Some(queue) = self.sides[function].next(self.quiet) {
            self.serve(function, queue, seen);
        }
        self.sides[function].state.deliver(16 * function as u32, seen);
    }

    fn serve(&mut self, function: usize, queue: usize, seen: &mut Vec<Sight>) {
        let side = &mut self.sides[function];
        let request = side.state.take(queue);
        side.busy[queue] = side.state.queues[queue].count != 0;
        let at = side.live.space + request.place();
        let bytes = side.window(request.len());
        match request.verb() {
            Verb::Write => self.store(at, &bytes, seen),
            Verb::Read => side.put(side.live.window, &self.memory.read(at, request.len())),
            Verb::Peer => self.write_to_peer(1 - function, &bytes),
            Verb::Hold if side.state.registers.holder == NONE => {
                side.state.registers.holder = queue as u8;
                side.state.registers.held = request;
                return;
            }
            Verb::Hold => side.state.log.push(queue as u8),
        }
        self.complete(function, queue, request.id, seen);
    }

    /// What a function writes to its peer comes with an interrupt there.
    fn write_to_peer(&mut self, peer: usize, bytes: &[u8]) {
        let side = &mut self.sides[peer];
        side.state.raise(self.shape.queues, &side.live);
        let (at, before) = (side.live.window, side.dirty);
        side.put(at, bytes);
        if self.faults.hits(&PEER_WRITE_CLEAN, side.dirty != before && self.memory.is_logged()) {
            side.dirty = before;
        }
    }
}

fn on_bus(at: usize, bytes: &[u8]) -> Sight {
    Sight::Bytes([&(at as u16).to_be_bytes()[..], bytes].concat())
}

impl Reference for Pair {
    fn options(&self) -> Options {
        Options { p2p: true, pre_copy: true }
    }

    fn interface(&self) -> Interface {
        let (queues, vectors) = (self.shape.queues as u64, u64::from(self.shape.vectors()));
        let causes = self.shape.causes() as u64;
        let features = causes << 16 | queues << 8 | u64::from(self.shape.offered);
        let word = u64::from(u32::MAX);
        let all = [
            ("FEATURES", reg::FEATURES, false, features),
            ("COMMAND", reg::COMMAND, true, self.shape.offered.into()),
            ("BANK", reg::BANK, true, PAGES as u64 - 1),
            ("SPAN", reg::SPAN, true, 0x3f3f),
            ("STREAM", reg::STREAM, true, 0xff),
            ("MASK", reg::MASK, true, vectors),
            ("PENDING", reg::PENDING, false, vectors),
            ("LAST", reg::LAST, true, queues - 1),
            ("LOG", reg::LOG, false, (self.shape.log as u64) << 8 | 0xff),
            ("VECTOR", reg::VECTOR, true, causes),
            ("DOORBELL", reg::DOORBELL, true, WORD.into()),
            ("EVENT", reg::EVENT, true, 0xff),
            ("RING", reg::RING, true, PLACES.into()),
            ("USED", reg::USED, false, 0xff << 8 | RING as u64),
            ("WINDOW", reg::WINDOW, true, word),
        ];
        let register = |(name, number, writable, max): (&'static str, u64, bool, u64)| Register {
            name: name.into(),
            region: 0,
            offset: number << 8,
            size: 4,
            count: (FUNCTIONS * self.items(number)) as u32,
            stride: 4,
            writable,
            max,
        };
        let mut all: Vec<_> = all.into_iter().map(register).filter(|register| register.count != 0).collect();
        all.push(Register {
            name: "GUEST_MEMORY".into(),
            region: GUEST_MEMORY,
            offset: 0,
            size: 8,
            count: (2 * REACH / PLACE) as u32,
            stride: PLACE as u32,
            writable: true,
            max: u64::MAX,
        });
        Interface::Registers(all.into())
    }

    fn memory(&mut self) -> Option<&mut Memory> {
        Some(&mut self.memory)
    }

    fn step(&mut self, step: &Step) -> Seen {
        let mut seen = Vec::new();
        match step {
            Step::Read { region: GUEST_MEMORY, offset, size } => {
                seen.push(Sight::Value(self.memory.guest_read(*offset, *size)));
            }
            Step::Write { region: GUEST_MEMORY, offset, size, value } => {
                self.memory.guest_write(*offset, *size, *value);
            }
            Step::Read { region: 0, offset, .. } => seen.push(Sight::Value(self.read(*offset))),
            Step::Write { region: 0, offset, value, .. } => self.write(*offset, *value as u32),
            Step::Receive(packet) => self.receive(packet, &mut seen),
            Step::Pass(units) => {
                for _ in 0..(*units).min(64) {
                    for function in 0..FUNCTIONS {
                        if !self.scar.parked[function] {
                            self.work(function, &mut seen);
                        }
                    }
                }
            }
            _ => {}
        }
        Seen(seen)
    }

    fn reset(&mut self) {
        self.sides = [(); FUNCTIONS].map(|()| Side::new(Function::fresh(&self.shape)));
        self.scar.was_loaded = false;
        self.scar.was_saved = false;
    }

    fn pause(&mut self, paused: bool) -> Result<(), Error> {
        if paused || !std::mem::take(&mut self.scar.was_saved) {
            return Ok(());
        }
        for side in &mut self.sides {
            if self.faults.hits(&MASTER_FORCED, !side.live.is_master) {
                side.state.registers.command |= command::MASTER;
                side.live.is_master = true;
            }
        }
        Ok(())
    }

    fn quiesce(&mut self, quiet: bool) {
        self.quiet = quiet;
    }
}
