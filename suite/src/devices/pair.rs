//! A board with two functions that write to each other, in three releases.
//!
//! | release | parameters | |
//! |---|---|---|
//! | 1 | `queues` of each function: 1, 2, 4 | |
//! | 2 | `error-log` 0 to 2, off 0; `event-idx`, off | interface and representation |
//! | 3 | `sparse-queues`, off; `queues` 12 | representation alone |
//!
//! The guest writes a request to a doorbell. It gets an id and waits in a ring until the function
//! has time for it: then it copies between the function's memory and guest memory, or into the
//! other function, or is held until a packet arrives. What is done is counted in guest memory and
//! causes an interrupt, by a table of vectors; EVENT puts it off until so much is done. BANK moves
//! the window through which the guest sees the function's memory, at the next unit of time.
//!
//! In PRE_COPY the functions' memory is sent while the guest goes on. In the P2P states a function
//! takes what its peer wrote and lets its own writes to the peer wait.

use super::engine::Engine;
use super::fault::Faults;
use super::release::{Kind, Start, description, int, on};
use faults::*;
use hardware::Pair;
use hardware::command::{EACH, ENABLE, MASTER, SPACE};
use migcert_core::param::Value;
use migcert_core::program::Description;

pub mod faults;
mod function;
mod hardware;
mod state;

/// Releases are numbered from 1 to this.
pub const RELEASES: u32 = 3;

/// The board.
pub static KIND: Kind = Kind {
    model: "https://migcert.example/devices/pair",
    alias: Some(ALIAS),
    describe,
    power_on: |start| {
        let faults = start.faults.clone();
        Ok(Box::new(Engine::new(Pair::new(start), faults)))
    },
};

/// The board with the connector of the years before.
const ALIAS: &str = "https://migcert.example/devices/pair-transitional";

/// What a release supports.
fn describe(release: u32, _faults: &Faults) -> Description {
    let most = if release < 3 { 4 } else { 12 };
    let queues = [1..=2, 4..=4, most..=most];
    let params = [
        (1, "queues", int(i64::from(release.min(2)), None, &queues, "queues of each function")),
        (2, "error-log", int(2, Some(0), &[0..=2], "requests that were refused are remembered")),
        (2, "event-idx", on("interrupts can be put off")),
        (3, "sparse-queues", on("queues that were never used are not saved")),
    ];
    let known = params.into_iter().filter(|(since, ..)| *since <= release);
    let versions = (1..=release).map(|version| {
        vec![
            ("queues", Value::Int(i64::from(version.min(2)))),
            ("error-log", Value::Int(if version < 2 { 0 } else { 2 })),
            ("event-idx", Value::Bool(2 <= version)),
            ("sparse-queues", Value::Bool(3 <= version)),
        ]
    });
    description(known.map(|(_, name, param)| (name, param)), versions)
}

/// What the configuration makes of the board.
#[derive(Clone, Debug)]
struct Shape {
    queues: usize,
    log: usize,
    sparse: bool,
    /// The bits that COMMAND has.
    offered: u8,
}

impl Shape {
    fn new(start: &Start) -> Shape {
        let faults = &start.faults;
        let mut event = start.number("event-idx") != 0;
        if start.release != 1 && start.model.as_str() == ALIAS {
            event |= faults.hits(&ALIAS_FORGOTTEN, !event);
        }
        let mut offered = MASTER | SPACE | ENABLE | if event { EACH } else { 0 };
        let probed = (start.host.features() as u8 & 8) << 1;
        if faults.hits(&FEATURES_PROBED, probed != 0) {
            offered |= probed;
        }
        Shape {
            queues: start.number("queues"),
            log: start.number("error-log"),
            sparse: start.number("sparse-queues") != 0,
            offered,
        }
    }

    fn has_events(&self) -> bool {
        self.offered & EACH != 0
    }

    /// Of interrupts: one for each queue, and one for what the peer writes.
    fn causes(&self) -> usize {
        self.queues + 1
    }

    /// A bit for each vector: as many as there are causes.
    fn vectors(&self) -> u16 {
        (1 << self.causes()) - 1
    }
}
