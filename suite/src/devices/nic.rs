//! A network card, as the thread that began it all imagines one, in three releases.
//!
//! | release | parameters | |
//! |---|---|---|
//! | 1 | `num-queues` 1, 2, 4 | |
//! | 2 | `rx-filter-size` 0 to 64, off 0; above 32 it needs two queues | interface and representation |
//! | 3 | `compact-rings`, off; `num-queues` 8 | representation alone |
//!
//! The guest fills slots of packet memory and rings a doorbell; packets wait in rings whose
//! indices no register shows until the device gets time to send them. Packets that arrive go
//! through the filter into packet memory. A pair of registers, INDEX and DATA, reaches a table
//! with the address, the interrupt delay and the filter.

use super::engine::Engine;
use super::fault::Faults;
use super::release::{Kind, Start, description, int, on};
use faults::*;
use hardware::{Nic, QUEUE_MEMORY};
use migcert_core::param::{Allowed, Value};
use migcert_core::program::{Description, Requires};

pub mod faults;
mod hardware;
mod state;

/// Releases are numbered from 1 to this.
pub const RELEASES: u32 = 3;

/// The card.
pub static KIND: Kind = Kind {
    model: "https://migcert.example/devices/nic",
    alias: None,
    describe,
    power_on: |start| {
        let faults = start.faults.clone();
        Ok(Box::new(Engine::new(Nic::new(start), faults)))
    },
};

/// What a release supports.
fn describe(release: u32, faults: &Faults) -> Description {
    let widest = if release < 3 { 4 } else { 8 };
    let queues = [1..=2, 4..=4, widest..=widest];
    let off = if release == 3 && faults.hits(&OFF_DRIFT, true) { 16 } else { 0 };
    let params = [
        (1, "num-queues", int(i64::from(release.min(2)), None, &queues, "pairs of queues")),
        (2, "rx-filter-size", int(16, Some(off), &[0..=64], "entries of the receive filter")),
        (3, "compact-rings", on("rings are saved without their empty slots")),
    ];
    let known = params.into_iter().filter(|(since, ..)| *since <= release);
    let versions = (1..=release).map(|version| {
        let drifts = (release, version) == (3, 2) && faults.hits(&VERSION_DRIFT, true);
        let filter = if version < 2 { 0 } else { 16 + i64::from(drifts) };
        vec![
            ("num-queues", Value::Int(i64::from(version.min(2)))),
            ("rx-filter-size", Value::Int(filter)),
            ("compact-rings", Value::Bool(3 <= version)),
        ]
    });
    let mut description = description(known.map(|(_, name, param)| (name, param)), versions);
    if 2 <= release {
        let set =
            |name: &str, range| Some((name.parse().ok()?, Allowed::Ints([range].into_iter().collect())));
        description.requires.push(Requires {
            when: set("rx-filter-size", 33..=64).into_iter().collect(),
            then: set("num-queues", 2..=8).into_iter().collect(),
        });
    }
    description
}

/// What the configuration makes of the card.
#[derive(Clone, Debug)]
struct Shape {
    release: u32,
    queues: usize,
    filter: usize,
    compact: bool,
}

impl Shape {
    fn new(start: &Start) -> Shape {
        Shape {
            release: start.release,
            queues: start.number("num-queues"),
            filter: start.number("rx-filter-size"),
            compact: start.number("compact-rings") != 0,
        }
    }

    /// Bytes of packet memory.
    fn memory(&self) -> usize {
        self.queues * QUEUE_MEMORY
    }

    fn causes(&self) -> u32 {
        let each = (1 << self.queues) - 1;
        each | each << 8
    }
}
