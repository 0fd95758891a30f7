//! Chapter R-7: the states of a migratable device, the arcs between them, and what a device does.
//!
//! Names and numbers are those of `linux/vfio.h` (migration v2). [`ARCS`] is the table, [`walk`]
//! only walks it.
//!
//! ```text
//!              ┌──────────► RESUMING
//!              ▼
//! RUNNING ◄─► STOP ◄─────► STOP_COPY        with P2P, RUNNING ◄─► RUNNING_P2P ◄─► STOP
//!    ▲                        ▲
//!    └─────► PRE_COPY ────────┘             with P2P, PRE_COPY ◄─► PRE_COPY_P2P ─► STOP_COPY
//! ```

use crate::error::Error;
use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

/// A device state of `linux/vfio.h`; the discriminants are the numbers on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum State {
    /// The device failed and is left only by a reset (R-7.3).
    Error = 0,
    /// Nothing changes: no interrupt, no DMA, no internal progress.
    Stop = 1,
    /// The guest uses the device (R-7.1).
    Running = 2,
    /// Stopped, and the state can be read to its end.
    StopCopy = 3,
    /// Stopped, and a state is being written.
    Resuming = 4,
    /// Running, but starts no access to other devices.
    RunningP2p = 5,
    /// Running, and a first pass of the state can be read.
    PreCopy = 6,
    /// `PreCopy` that starts no access to other devices.
    PreCopyP2p = 7,
}

use State::{Error as Failed, PreCopy, PreCopyP2p, Resuming, Running, RunningP2p, Stop, StopCopy};

impl State {
    /// Every state, in the order of their numbers.
    pub const ALL: [State; 8] = [Failed, Stop, Running, StopCopy, Resuming, RunningP2p, PreCopy, PreCopyP2p];

    /// The name as `linux/vfio.h` writes it, without the prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Failed => "ERROR",
            Stop => "STOP",
            Running => "RUNNING",
            StopCopy => "STOP_COPY",
            Resuming => "RESUMING",
            RunningP2p => "RUNNING_P2P",
            PreCopy => "PRE_COPY",
            PreCopyP2p => "PRE_COPY_P2P",
        }
    }

    /// Whether a saving session is open in this state (R-7.5).
    pub const fn saves(self) -> bool {
        matches!(self, PreCopy | PreCopyP2p | StopCopy)
    }

    /// Whether the guest may use the device in this state.
    pub const fn runs(self) -> bool {
        matches!(self, Running | RunningP2p | PreCopy | PreCopyP2p)
    }

    /// Whether a device with these options has the state (R-7.2).
    pub const fn is_in(self, options: Options) -> bool {
        match self {
            RunningP2p => options.p2p,
            PreCopy => options.pre_copy,
            PreCopyP2p => options.p2p && options.pre_copy,
            _ => true,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for State {
    type Err = UnknownState;
    fn from_str(name: &str) -> Result<State, UnknownState> {
        let known = State::ALL.into_iter().find(|state| state.name() == name);
        known.ok_or_else(|| UnknownState(name.to_owned()))
    }
}

/// A name that is none of the eight states.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a device state; the states are those of linux/vfio.h, such as `STOP_COPY`")]
pub struct UnknownState(String);

/// Which optional states a device has (R-7.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Options {
    /// `RUNNING_P2P`, and with `pre_copy` `PRE_COPY_P2P`.
    pub p2p: bool,
    /// `PRE_COPY`.
    pub pre_copy: bool,
}

impl Options {
    /// The four sets of options, the barest first.
    pub const ALL: [Options; 4] = [
        Options { p2p: false, pre_copy: false },
        Options { p2p: true, pre_copy: false },
        Options { p2p: false, pre_copy: true },
        Options { p2p: true, pre_copy: true },
    ];
}

/// Under which options an arc exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// On every device.
    Always,
    /// Only without P2P.
    WithoutP2p,
    /// Only with P2P.
    WithP2p,
    /// Only with PRE_COPY.
    WithPreCopy,
    /// Only with PRE_COPY and without P2P.
    WithPreCopyWithoutP2p,
    /// Only with both.
    WithBoth,
}

use When::{Always, WithBoth, WithP2p, WithPreCopy, WithPreCopyWithoutP2p, WithoutP2p};

impl When {
    const fn holds(self, options: Options) -> bool {
        match self {
            Always => true,
            WithoutP2p => !options.p2p,
            WithP2p => options.p2p,
            WithPreCopy => options.pre_copy,
            WithPreCopyWithoutP2p => options.pre_copy && !options.p2p,
            WithBoth => options.pre_copy && options.p2p,
        }
    }
}

/// The arcs that a device implements (R-7.2). Everything else is a walk over them.
#[rustfmt::skip]
pub const ARCS: &[(State, State, When)] = &[
    (Stop,       StopCopy,   Always),
    (StopCopy,   Stop,       Always),
    (Stop,       Resuming,   Always),
    (Resuming,   Stop,       Always),                // The load is judged here (R-7.4).
    (Running,    Stop,       WithoutP2p),
    (Stop,       Running,    WithoutP2p),
    (Running,    RunningP2p, WithP2p),
    (RunningP2p, Running,    WithP2p),
    (RunningP2p, Stop,       WithP2p),
    (Stop,       RunningP2p, WithP2p),
    (Running,    PreCopy,    WithPreCopy),
    (PreCopy,    Running,    WithPreCopy),
    (PreCopy,    StopCopy,   WithPreCopyWithoutP2p),
    (PreCopy,    PreCopyP2p, WithBoth),
    (PreCopyP2p, PreCopy,    WithBoth),
    (RunningP2p, PreCopyP2p, WithBoth),
    (PreCopyP2p, RunningP2p, WithBoth),
    (PreCopyP2p, StopCopy,   WithBoth),
];

/// The arcs of a device with these options.
pub fn arcs(options: Options) -> impl Iterator<Item = (State, State)> {
    ARCS.iter().filter(move |arc| arc.2.holds(options)).map(|&(from, to, _)| (from, to))
}

/// The states entered on the way from one state to another, the last being `to` (R-7.2).
///
/// Empty when both are the same. The shortest walk whose middle has no saving state and no
/// `RESUMING`; between two saving states it stays among the saving states, as `PRE_COPY` to
/// `STOP_COPY` does with P2P, so that one data session spans it (R-7.5).
///
/// # Errors
/// [`NoWalk`] for ERROR at either end (R-7.3), for a state the device lacks, and for
/// `STOP_COPY` to a pre-copy state.
pub fn walk(from: State, to: State, options: Options) -> Result<Vec<State>, NoWalk> {
    let refused = NoWalk { from, to };
    let forbidden = from == Failed
        || to == Failed
        || !from.is_in(options)
        || !to.is_in(options)
        || (from == StopCopy && matches!(to, PreCopy | PreCopyP2p));
    if forbidden {
        return Err(refused);
    }
    let may_pass = |state: State| match state {
        Resuming => false,
        state if state.saves() => from.saves() && to.saves(),
        _ => true,
    };
    // Breadth first from the end, so that every state reached knows where a shortest way goes on.
    let mut onward = [None; State::ALL.len()];
    let mut reached = Vec::with_capacity(State::ALL.len());
    reached.push(to);
    let mut next = 0;
    while let Some(&at) = reached.get(next) {
        next += 1;
        if at != to && !may_pass(at) {
            continue;
        }
        for (before, _) in arcs(options).filter(|arc| arc.1 == at) {
            if before != to && onward[before as usize].is_none() {
                onward[before as usize] = Some(at);
                reached.push(before);
            }
        }
    }
    let mut walk = Vec::new();
    let mut at = from;
    while at != to {
        at = onward[at as usize].ok_or(refused)?;
        walk.push(at);
    }
    Ok(walk)
}

/// A change of state that no device makes (R-7.2, R-7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no way from {from} to {to}")]
pub struct NoWalk {
    /// Where the device is.
    pub from: State,
    /// What was asked for.
    pub to: State,
}

/// What a device can do and what of it can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The optional states.
    pub options: Options,
    /// Who walks the arcs.
    pub machine: Machine,
    /// Whether it can be reset; where it can't, another instance serves instead.
    pub can_reset: bool,
    /// What the guest can see and do.
    pub interface: Interface,
}

/// Who implements the state machine of chapter R-7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// The device itself, as a vfio device does: chapter R-7 is judged.
    Device,
    /// Our host on the device's behalf, as for vhost-user: judging it would judge ourselves.
    Host,
}

/// The hardware interface, as far as a guest driver needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interface {
    /// Registers, and things that happen outside; driven by [`Step::Read`] and its like.
    Registers(Arc<[Register]>),
    /// Requests of a protocol, driven by [`Step::Request`]; the guest driver of that name
    /// knows their words.
    Requests(&'static str),
    /// What a device shows that says nothing of its registers.
    Windows(Arc<Windows>),
}

impl Interface {
    /// Whether a guest reads and writes registers, named or not: what it does changes the device
    /// and nothing else.
    pub fn has_registers(&self) -> bool {
        matches!(self, Interface::Registers(_) | Interface::Windows(_))
    }
}

/// The hardware interface of a device of which only regions are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    /// Its regions, as windows of accesses of each size; they may overlap.
    pub windows: Arc<[Register]>,
    /// Addresses of guest memory that the device may be told of. [`GUEST_MEMORY`] is its region
    /// number, in which offsets are addresses.
    pub memory: Range<u64>,
    /// Names of scripts, each a [`Step::Request`].
    pub scripts: Vec<String>,
}

/// The region number under which a guest reads and writes its own memory. No device is asked.
pub const GUEST_MEMORY: u32 = u32::MAX;

/// One register, or one window of several, of the hardware interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// What the data sheet calls it.
    pub name: Cow<'static, str>,
    /// Region number.
    pub region: u32,
    /// Bytes from the start of the region.
    pub offset: u64,
    /// Bytes per access: 1, 2, 4 or 8.
    pub size: u8,
    /// How often the register repeats.
    pub count: u32,
    /// Bytes from one of them to the next.
    pub stride: u32,
    /// Whether the guest driver may write it.
    pub writable: bool,
    /// The largest value that a sane driver writes, and that any history can make it show.
    pub max: u64,
}

/// One thing that the guest, or the world outside the device, does.
///
/// Guest drivers make steps and tell them in words; rules only pass them on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The guest reads a register.
    Read {
        /// Region number.
        region: u32,
        /// Bytes from the start of the region.
        offset: u64,
        /// 1, 2, 4 or 8 bytes.
        size: u8,
    },
    /// The guest writes a register.
    Write {
        /// Region number.
        region: u32,
        /// Bytes from the start of the region.
        offset: u64,
        /// 1, 2, 4 or 8 bytes.
        size: u8,
        /// What it writes.
        value: u64,
    },
    /// Something arrives from outside: a packet, a character.
    Receive(Vec<u8>),
    /// Time passes: the device may do so many units of its own work.
    Pass(u32),
    /// A request of a protocol, in the words of its guest driver.
    Request(String),
}

impl fmt::Display for Step {
    /// The notation of case files: `write 0:0x10/4=0x5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Read { region, offset, size } => write!(f, "read {region}:{offset:#x}/{size}"),
            Step::Write { region, offset, size, value } => {
                write!(f, "write {region}:{offset:#x}/{size}={value:#x}")
            }
            Step::Receive(bytes) => write!(f, "receive {}", hex::encode(bytes)),
            Step::Pass(units) => write!(f, "pass {units}"),
            Step::Request(words) => write!(f, "request {words}"),
        }
    }
}

impl FromStr for Step {
    type Err = BadStep;
    fn from_str(text: &str) -> Result<Step, BadStep> {
        let bad = || BadStep(text.to_owned());
        let number = |word: &str| {
            let digits = word.strip_prefix("0x");
            digits.map_or_else(|| word.parse(), |hex| u64::from_str_radix(hex, 16)).map_err(|_| bad())
        };
        let place = |words: &str| {
            let (region, rest) = words.split_once(':').ok_or_else(bad)?;
            let (offset, size) = rest.split_once('/').ok_or_else(bad)?;
            let size = size.parse().ok().filter(|size| matches!(size, 1 | 2 | 4 | 8)).ok_or_else(bad)?;
            Ok((region.parse().map_err(|_| bad())?, number(offset)?, size))
        };
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        Ok(match verb {
            "read" => {
                let (region, offset, size) = place(rest)?;
                Step::Read { region, offset, size }
            }
            "write" => {
                let (at, value) = rest.split_once('=').ok_or_else(bad)?;
                let (region, offset, size) = place(at)?;
                Step::Write { region, offset, size, value: number(value)? }
            }
            "receive" => Step::Receive(hex::decode(rest).map_err(|_| bad())?),
            "pass" => Step::Pass(rest.parse().map_err(|_| bad())?),
            "request" => Step::Request(rest.to_owned()),
            _ => return Err(bad()),
        })
    }
}

/// Text that is no step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no step; written are `read 0:0x10/4`, `write 0:0x10/4=0x5`, `receive 00ff`, `pass 3`, `request WORDS`"
)]
pub struct BadStep(String);

/// Everything that a step let the guest, or the world outside, see, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen(pub Vec<Sight>);

/// One thing seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// The value that a read gave.
    Value(u64),
    /// An interrupt on this vector.
    Interrupt(u32),
    /// Bytes that left the device, or that it wrote to memory.
    Bytes(Vec<u8>),
    /// A reply, in the words of the guest driver.
    Words(String),
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        for (i, sight) in self.0.iter().enumerate() {
            write!(f, "{}{sight}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sight::Value(value) => write!(f, "{value:#x}"),
            Sight::Interrupt(vector) => write!(f, "interrupt {vector}"),
            Sight::Bytes(bytes) => write!(f, "bytes {}", hex::encode(bytes)),
            Sight::Words(words) => f.write_str(words),
        }
    }
}

/// What the devices of one virtual machine reach on the host: a directory, a disk, a wire.
///
/// Source and destination share one; a twin has its own. What is inside is known to the
/// [`Program`](crate::program::Program) that made it. Dropping the last clone gives it back.
#[derive(Clone)]
pub struct Outside {
    inside: Arc<dyn Any + Send + Sync>,
    trouble: Option<Arc<dyn Trouble>>,
}

impl Outside {
    /// An outside with nothing in it.
    pub fn none() -> Outside {
        Outside::of(())
    }

    /// An outside with this in it.
    pub fn of<T: Any + Send + Sync>(inside: T) -> Outside {
        Outside { inside: Arc::new(inside), trouble: None }
    }

    /// An outside that can be made to fail.
    pub fn troubled<T: Trouble + Any>(inside: Arc<T>) -> Outside {
        Outside { inside: inside.clone(), trouble: Some(inside) }
    }

    /// What is in it, if it is of this type.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.inside.downcast_ref()
    }

    /// The same, shared.
    pub fn share<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.inside.clone().downcast().ok()
    }

    /// What makes it fail, if that can be done.
    pub fn trouble(&self) -> Option<&dyn Trouble> {
        self.trouble.as_deref()
    }
}

/// Makes a host fail on purpose: a backend that is gone, memory that can't be had, a full disk.
pub trait Trouble: Send + Sync {
    /// From here on, the operation on the host with this index fails, once; `None`: none does.
    fn arm(&self, index: Option<u32>);

    /// Whether one failed since then.
    fn struck(&self) -> bool;
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outside")
    }
}

/// A running device instance.
///
/// There are no default bodies: a device that implements nothing must not look migratable.
/// Errors: [`Error::Refused`] when the device says no and goes on, [`Error::BadState`] when it
/// refuses a state, [`Error::Misbehaved`] when it broke (died, panicked, lied),
/// [`Error::Unavailable`] when it can't be reached, which says nothing about it.
pub trait Device: Send {
    /// Which states there are and what can be observed. The same for the life of the instance.
    fn capabilities(&self) -> Capabilities;

    /// The state it says it is in.
    fn state(&mut self) -> Result<State, Error>;

    /// Walks to a state (R-7.2); when this returns, the device is there or says why not.
    /// A refusal leaves the old state, or ERROR (R-7.3).
    fn set_state(&mut self, to: State) -> Result<(), Error>;

    /// Reads the next bytes of the state; 0 is the end of the stream (R-7.5), for now in
    /// PRE_COPY and for good in STOP_COPY.
    fn read_state(&mut self, into: &mut [u8]) -> Result<usize, Error>;

    /// Writes the next bytes of a state, in RESUMING. All of `bytes` is taken, or an error.
    fn write_state(&mut self, bytes: &[u8]) -> Result<(), Error>;

    /// How many bytes of state it says that stop-and-copy would take now (R-7.7); `None` from a
    /// device that never says.
    fn estimate(&mut self) -> Result<Option<u64>, Error>;

    /// Back to RUNNING with the state of a fresh instance (R-7.6).
    fn reset(&mut self) -> Result<(), Error>;

    /// Does one guest step and returns all that could be seen of it.
    fn guest(&mut self, step: &Step) -> Result<Seen, Error>;

    /// What the carrier brings to the destination beside the device state: guest memory, and
    /// what the driver in it knows. Opaque; never judged.
    fn guest_memory(&mut self) -> Result<Vec<u8>, Error>;

    /// Puts guest memory in place, before the guest goes on.
    fn set_guest_memory(&mut self, memory: &[u8]) -> Result<(), Error>;

    /// Ranges of guest memory, in bytes from its start, that the device wrote since PRE_COPY was
    /// entered or since this was asked last (R-6.5); `None` for a device that keeps no such log.
    fn dirty_memory(&mut self) -> Result<Option<Vec<Range<usize>>>, Error>;

    /// Bytes by which the device's own process grew since it was started, at its highest
    /// (R-6.7); `None` for a device in this process, where the bench counts allocations.
    fn footprint(&mut self) -> Result<Option<u64>, Error>;
}
