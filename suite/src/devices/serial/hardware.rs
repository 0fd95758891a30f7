//! What the line is made of: everything that a migration has to carry.

use super::Shape;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Bits of CONTROL.
pub(super) mod control {
    /// The transmitter works.
    pub(crate) const RUN: u8 = 1;
    /// The divisor can't be written.
    pub(crate) const LOCK: u8 = 2;
    /// The upper byte of a word of DATA comes first.
    pub(crate) const BIG: u8 = 4;
    /// What is sent leaves; without it, it is received.
    pub(crate) const WIRE: u8 = 8;
    pub(crate) const ALL: u8 = 15;
}

/// Causes of interrupts, the most urgent first.
pub(super) mod cause {
    pub(crate) const LINE: u8 = 1;
    pub(crate) const RECEIVED: u8 = 2;
    pub(crate) const SENT: u8 = 4;
    pub(crate) const MODEM: u8 = 8;
    pub(crate) const TIMER: u8 = 16;
}

/// Errors of the line.
pub(super) mod error {
    pub(crate) const OVERRUN: u8 = 1;
    pub(crate) const BREAK: u8 = 2;
}

pub(super) const VENDOR: u32 = 0x5345_5249;
/// What of a host's features the guest is told of: all hosts have it.
pub(super) const FEATURES: u32 = 0b0111;
/// Bytes of firmware and of the page that identifies the device.
pub(super) const FIRMWARE: u32 = 64;
pub(super) const PAGE_SIZE: u32 = 16;

/// The option table: speed, trigger level, units of silence before waiting characters are told of.
pub(super) const OPTIONS: usize = 3;
pub(super) const SPEED: usize = 0;
pub(super) const TRIGGER: usize = 1;
pub(super) const SILENCE: usize = 2;

/// By speed: so many characters leave in as many units of time as the divisor says.
pub(super) const PACES: [u8; 4] = [1, 2, 4, 8];
pub(super) const MAX_DIVISOR: u8 = 8;
pub(super) const MAX_SILENCE: u8 = 7;
/// A word of the receive FIFO whose predecessor was lost.
pub(super) const LOST: u16 = 0x100;

pub(super) const TIMERS: usize = 4;
pub(super) const MAX_TIMER: u8 = 15;

/// Bytes of the trace, and of the pages that are sent again in PRE_COPY.
pub(super) const TRACE: usize = 512;
pub(super) const PAGE: usize = 64;

/// Everything that a migration has to carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hardware {
    pub(super) core: Core,
    pub(super) received: VecDeque<u16>,
    pub(super) to_send: VecDeque<u16>,
    pub(super) options: [u8; OPTIONS],
    pub(super) line: Line,
    pub(super) modem: Modem,
    pub(super) ticks: u32,
    pub(super) timers: Timers,
    pub(super) trace: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Core {
    pub(super) vendor: u32,
    pub(super) features: u32,
    pub(super) enable: u8,
    /// Told by CAUSE, one by one.
    pub(super) cause: u8,
    /// Causes whose interrupt was not delivered yet.
    pub(super) pending: u8,
    pub(super) control: u8,
    pub(super) scratch: u8,
    pub(super) divisor: u8,
    /// What of a unit is left over for the next character.
    pub(super) phase: u8,
    /// Units of silence since the last character came.
    pub(super) silent: u8,
    pub(super) index: u8,
    /// Where in the trace the next character goes.
    pub(super) traced: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    /// Read and cleared by the guest.
    pub(super) errors: u8,
    /// The next character that fits is marked.
    pub(super) lost: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Modem {
    pub(super) lines: u8,
    /// Which of them changed; read and cleared by the guest.
    pub(super) changed: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Timers {
    pub(super) used: u8,
    pub(super) all: [Timer; TIMERS],
}

/// Runs down once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Timer {
    pub(super) begin: u8,
    pub(super) left: u8,
}

impl Hardware {
    pub(super) fn fresh(shape: &Shape) -> Hardware {
        Hardware {
            core: Core {
                vendor: VENDOR,
                features: FEATURES,
                enable: 0,
                cause: 0,
                pending: 0,
                control: control::RUN | control::WIRE,
                scratch: 0,
                divisor: 4,
                phase: 0,
                silent: 0,
                index: 0,
                traced: 0,
            },
            received: VecDeque::new(),
            to_send: VecDeque::new(),
            options: [2, 1, 0],
            line: Line::default(),
            modem: Modem::default(),
            ticks: 0,
            timers: Timers { used: shape.timers as u8, all: Default::default() },
            trace: vec![0; TRACE],
        }
    }

    /// Interrupts that this device has.
    pub(super) fn causes(shape: &Shape) -> u8 {
        if shape.timers == 0 { 0x0f } else { 0x1f }
    }

    pub(super) fn raise(&mut self, cause: u8) {
        self.core.cause |= cause;
        self.core.pending |= cause;
    }
}

/// A word in the order of bytes that the guest chose.
pub(super) fn ordered(word: u16, control: u8) -> u16 {
    if control & control::BIG == 0 { word } else { word.swap_bytes() }
}
