//! What the device is made of: all that a migration carries, and what is made from it.

use super::Shape;
use super::work::Request;
use serde::{Deserialize, Serialize};

/// Bytes.
pub(super) const SECTOR: usize = 64;
/// So many places in guest memory can take data.
pub(super) const PLACES: u8 = 16;
/// A place has room for so many sectors.
pub(super) const SECTORS: u8 = 4;
/// So many requests are in flight at most, on all queues together.
pub(super) const SLOTS: usize = 8;
/// The longest ring, and the one of a fresh queue.
pub(super) const RING: u32 = 8;
/// Bytes of the log of events, four for each.
pub(super) const LOG: usize = 64;
/// What is sent again in PRE_COPY, is sent in pages.
pub(super) const PAGE: usize = 16;
/// Indices run freely, and begin where a driver that forgets their end is found out.
pub(super) const FIRST: u16 = 0xfffe;

/// Features that are agreed on.
pub(super) mod feature {
    pub(in super::super) const CACHE: u32 = 1;
    pub(in super::super) const DISCARD: u32 = 2;
    /// What only some hosts have.
    pub(in super::super) const OF_HOST: u32 = 8;
}

/// Everything that a migration has to carry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Hardware {
    pub(super) identity: Identity,
    pub(super) registers: Registers,
    /// What is written may wait in the cache.
    pub(super) cached: bool,
    pub(super) queues: Vec<Queue>,
    pub(super) requests: Vec<Request>,
    pub(super) discarded: u32,
    pub(super) log: Vec<u8>,
}

/// What there is, and on which disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) queues: u32,
    pub(super) capacity: u32,
    pub(super) serial: u32,
}

const SERIAL: u32 = 0x5a00_0000;

impl Identity {
    pub(super) fn of(shape: &Shape) -> Identity {
        let (queues, capacity) = (shape.queues as u32, shape.capacity as u32);
        Identity { queues, capacity, serial: SERIAL + capacity }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Registers {
    pub(super) acked: u32,
    /// By queue: its interrupt may be delivered.
    pub(super) mask: u32,
    /// The queue that is set up.
    pub(super) selected: u32,
    /// The next event in the log.
    pub(super) head: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Queue {
    pub(super) size: u32,
    /// Where in guest memory the ring is.
    pub(super) address: u32,
    /// The lower half of an address whose other half was not written yet.
    pub(super) low: u32,
    pub(super) enabled: bool,
    /// The interrupt of a completion was not delivered yet.
    pub(super) signal: bool,
    /// Requests that were submitted; the index runs freely.
    pub(super) submitted: u16,
    /// Tag, status and sectors of the latest completion.
    pub(super) latest: u16,
}

impl Hardware {
    pub(super) fn fresh(shape: &Shape) -> Hardware {
        let queue = |number: u32| Queue {
            size: RING,
            address: (12 + number) << 8,
            low: 0,
            enabled: true,
            signal: false,
            submitted: FIRST,
            latest: 0,
        };
        let mask = (1 << shape.queues) - 1;
        Hardware {
            identity: Identity::of(shape),
            registers: Registers { acked: feature::CACHE, mask, selected: 0, head: 0 },
            cached: true,
            queues: (0..shape.queues as u32).map(queue).collect(),
            requests: Vec::new(),
            discarded: 0,
            log: vec![0; LOG],
        }
    }
}

/// What is made from the state.
#[derive(Debug)]
pub(super) struct Live {
    /// By queue: requests that were completed; the index runs freely.
    pub(super) completed: Vec<u16>,
    /// How many queues use the interrupt line.
    pub(super) users: usize,
    /// Somebody rang, and there is something to do.
    pub(super) kicked: bool,
    /// The request that is being transferred.
    pub(super) current: Option<usize>,
}

impl Live {
    pub(super) fn of(state: &Hardware) -> Live {
        let completed = |(queue, number): (&Queue, u8)| queue.submitted.wrapping_sub(state.in_flight(number));
        Live {
            completed: state.queues.iter().zip(0..).map(completed).collect(),
            users: state.queues.iter().filter(|queue| queue.enabled).count(),
            kicked: !state.requests.is_empty(),
            current: state.requests.iter().position(|request| request.done != 0),
        }
    }
}

impl Hardware {
    /// How many requests of a queue are in flight.
    pub(super) fn in_flight(&self, queue: u8) -> u16 {
        self.requests.iter().filter(|request| request.queue == queue).count() as u16
    }
}
