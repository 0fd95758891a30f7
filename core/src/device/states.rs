//! Chapter R-7: the states of a migratable device, and the arcs between them.
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

use crate::text::Short;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A device state of `linux/vfio.h`; the discriminants are the numbers on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
#[error("`{}` is not a device state; the states are those of linux/vfio.h, such as `STOP_COPY`", Short(.0))]
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
