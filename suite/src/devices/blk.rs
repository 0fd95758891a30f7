//! A block device in the manner of virtio, in three releases.
//!
//! | release | parameters | |
//! |---|---|---|
//! | 1 | `num-queues` 1, 2, 4; `capacity` 8 or 16 sectors | |
//! | 2 | `discard`, off | interface and representation |
//! | 3 | `compact-requests`, off | representation alone |
//!
//! One write to a doorbell submits a request: its kind is that of the doorbell; tag, sector, sectors
//! and the place in guest memory are packed into the value. Requests wait, each kind for another
//! time, so they end out of order. One sector is transferred in a unit of time, then the
//! completion goes into the ring of the queue, in guest memory, and an interrupt follows. What is
//! written waits in a cache that is written back when the device stops. The last completions stand
//! in a log of events, which is sent in PRE_COPY.

use super::engine::Engine;
use super::fault::Faults;
use super::release::{Kind, Start, description, int, on};
use hardware::Blk;
use migcert_core::param::Value;
use migcert_core::program::Description;

pub mod faults;
mod hardware;
mod judge;
mod parts;
mod state;
mod work;

/// Releases are numbered from 1 to this.
pub const RELEASES: u32 = 3;

/// The block device.
pub static KIND: Kind = Kind {
    model: "https://migcert.example/devices/blk",
    alias: None,
    describe,
    power_on: |start| {
        let faults = start.faults.clone();
        Ok(Box::new(Engine::new(Blk::new(start)?, faults)))
    },
};

/// What a release supports.
fn describe(release: u32, _faults: &Faults) -> Description {
    let params = [
        (1, "num-queues", int(2, None, &[1..=2, 4..=4], "queues")),
        (1, "capacity", int(16, None, &[8..=8, 16..=16], "sectors of 64 bytes")),
        (2, "discard", on("sectors can be discarded")),
        (3, "compact-requests", on("requests are saved without empty slots")),
    ];
    let known = params.into_iter().filter(|(since, ..)| *since <= release);
    let versions = (1..=release).map(|version| {
        vec![
            ("num-queues", Value::Int(2)),
            ("capacity", Value::Int(16)),
            ("discard", Value::Bool(2 <= version)),
            ("compact-requests", Value::Bool(3 <= version)),
        ]
    });
    description(known.map(|(_, name, param)| (name, param)), versions)
}

/// What the configuration makes of the device.
#[derive(Clone, Debug)]
struct Shape {
    queues: usize,
    capacity: usize,
    discard: bool,
    compact: bool,
}

impl Shape {
    fn new(start: &Start) -> Shape {
        Shape {
            queues: start.number("num-queues"),
            capacity: start.number("capacity"),
            discard: start.number("discard") != 0,
            compact: start.number("compact-requests") != 0,
        }
    }
}
