//! A serial line with receive and transmit FIFOs, as every machine has one, in four releases.
//!
//! | release | parameters | |
//! |---|---|---|
//! | 1 | `fifo-depth` 8, 16; `tick-rate` 1 to 4 | |
//! | 2 | `fifo-depth` 32 | interface and representation |
//! | 3 | `timers` 0 to 4, off 0 | interface and representation |
//! | 4 | `compact-trace`, off | representation alone |
//!
//! Characters wait in FIFOs. How fast they leave is told by the divisor and by an entry of the
//! option table, which a pair of registers, INDEX and OPTION, reaches. What was sent is also
//! written to a trace that the guest can read back. Interrupts have causes, of which CAUSE tells
//! and clears the most urgent. The first words identify the device; they say nothing of the host.

use super::engine::Engine;
use super::fault::Faults;
use super::release::{Kind, Start, description, int, on};
use faults::*;
use line::Serial;
use migcert_core::param::Value;
use migcert_core::program::Description;

pub mod faults;
mod hardware;
mod layout;
mod line;
mod registers;
mod state;

/// Releases are numbered from 1 to this.
pub const RELEASES: u32 = 4;

/// The line.
pub static KIND: Kind = Kind {
    model: "https://migcert.example/devices/serial",
    alias: None,
    describe,
    power_on: |start| {
        let faults = start.faults.clone();
        Ok(Box::new(Engine::new(Serial::new(start), faults)))
    },
};

/// What a release supports.
fn describe(release: u32, faults: &Faults) -> Description {
    let deepest = if release < 2 { 16 } else { 32 };
    let params = [
        (1, "fifo-depth", int(deepest, None, &[8..=8, 16..=16, deepest..=deepest], "characters in a FIFO")),
        (1, "tick-rate", int(2, None, &[1..=4], "ticks in a unit of time")),
        (3, "timers", int(2, Some(0), &[0..=4], "programmable timers")),
        (4, "compact-trace", on("the trace is saved as runs of equal characters")),
    ];
    let known = params.into_iter().filter(|(since, ..)| *since <= release);
    let versions = (1..=release).map(|version| {
        let shallow = version < 2 || version == 2 && 3 <= release && faults.hits(&COMPAT_ONE_OFF, true);
        let timers = 3 <= version || version == 2 && 3 <= release && faults.hits(&COMPAT_MISPLACED, true);
        vec![
            ("fifo-depth", Value::Int(if shallow { 16 } else { 32 })),
            ("tick-rate", Value::Int(2)),
            ("timers", Value::Int(if timers { 2 } else { 0 })),
            ("compact-trace", Value::Bool(4 <= version)),
        ]
    });
    description(known.map(|(_, name, param)| (name, param)), versions)
}

/// What the configuration makes of the line.
#[derive(Clone, Debug)]
struct Shape {
    depth: usize,
    rate: u32,
    timers: usize,
    compact: bool,
}

impl Shape {
    fn new(start: &Start) -> Shape {
        Shape {
            depth: start.number("fifo-depth"),
            rate: start.number("tick-rate") as u32,
            timers: start.number("timers"),
            compact: start.number("compact-trace") != 0,
        }
    }

    /// The release that its state is laid out by: the first that has all of it.
    fn level(&self) -> u8 {
        match self {
            Shape { compact: true, .. } => 4,
            Shape { timers: 1.., .. } => 3,
            Shape { depth: 17.., .. } => 2,
            _ => 1,
        }
    }
}
