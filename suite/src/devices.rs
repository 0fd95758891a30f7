//! Reference devices: small, clean, in several releases, each with faults that can be planted.
//!
//! They know neither rules nor generators.

use crate::implementation::Builtin;
use fault::{Fault, Faults};
use migcert_core::program::{Manifest, Program};
use std::collections::BTreeSet;

pub mod blk;
pub mod clock;
pub mod engine;
pub mod fault;
pub mod host;
pub mod kept;
pub mod memory;
pub mod nic;
pub mod null;
pub mod pair;
pub mod release;
pub mod serial;
pub mod synthetic;

/// A reference device.
pub struct Device {
    /// `builtin:NAME`.
    pub name: &'static str,
    /// What it is, in one line.
    pub what: &'static str,
    /// What its device programs are made from.
    pub made: Made,
    /// The faults that can be planted in it.
    pub faults: &'static [&'static [&'static Fault]],
}

/// What the device programs of a reference device are made from.
pub enum Made {
    /// Releases, numbered from 1 to this: `NAME@RELEASE`.
    Releases(u32, &'static release::Kind),
    /// Migration info: `NAME=JSON`.
    Info(fn(Manifest, Faults) -> Box<dyn Program>),
    /// Nothing: `NAME`.
    Nothing(fn() -> Box<dyn Program>),
}

impl Device {
    /// How it is named as IMPL.
    pub fn usage(&self) -> String {
        let info = if let Made::Info(_) = self.made { "=JSON" } else { "" };
        format!("builtin:{}{info}", self.name)
    }

    /// The faults that can be planted in it.
    pub fn faults(&self) -> impl Iterator<Item = &'static Fault> {
        self.faults.iter().flat_map(|table| table.iter().copied())
    }

    /// How many releases there are; migration info is one.
    pub fn releases(&self) -> u32 {
        if let Made::Releases(releases, _) = self.made { releases } else { 1 }
    }
}

/// All that keep what they promise.
pub static ALL: &[Device] = &[
    Device {
        name: "nic",
        what: "a network card with queues, a receive filter, packet memory, PRE_COPY and P2P",
        made: Made::Releases(nic::RELEASES, &nic::KIND),
        faults: &[nic::faults::ALL, engine::faults::ALL, release::faults::ALL],
    },
    Device {
        name: "blk",
        what: "a block device with queues, requests in flight, a cache, DMA, PRE_COPY and P2P",
        made: Made::Releases(blk::RELEASES, &blk::KIND),
        faults: &[blk::faults::ALL, engine::faults::ALL, release::faults::ALL],
    },
    Device {
        name: "serial",
        what: "a serial line with FIFOs, timers, an option table, a trace and PRE_COPY",
        made: Made::Releases(serial::RELEASES, &serial::KIND),
        faults: &[serial::faults::ALL, engine::faults::ALL, release::faults::ALL],
    },
    Device {
        name: "pair",
        what: "a board with two functions that write to each other and to guest memory, PRE_COPY and P2P",
        made: Made::Releases(pair::RELEASES, &pair::KIND),
        faults: &[pair::faults::ALL, engine::faults::ALL, release::faults::ALL],
    },
    Device {
        name: SYNTHETIC,
        what: "a device that behaves as the migration info behind `=` says",
        made: Made::Info(synthetic::program),
        faults: &[engine::faults::ALL],
    },
];

/// One that promises everything and does nothing; what certifies it is not worth much.
pub static NULL: Device = Device {
    name: "null",
    what: "no device: it accepts everything and does nothing, so it must fail",
    made: Made::Nothing(null::program),
    faults: &[],
};

/// Those that keep what they promise, and are not deterministic: nothing of that is a fault.
pub static CLOCKS: &[Device] = &[
    Device {
        name: "counter",
        what: "a counter that runs freely; no fault, and learned to be volatile",
        made: Made::Releases(1, &clock::COUNTER),
        faults: &[engine::faults::ALL],
    },
    Device {
        name: "serial-number",
        what: "a serial number that is drawn at the start; no fault, and learned to be of the instance",
        made: Made::Releases(1, &clock::SERIAL_NUMBER),
        faults: &[engine::faults::ALL, clock::drawn::ALL],
    },
    Device {
        name: "late",
        what: "interrupts that come some time later; no fault, and learned to be volatile",
        made: Made::Releases(1, &clock::LATE),
        faults: &[engine::faults::ALL, clock::late::ALL],
    },
];

/// All that can be named.
pub fn named() -> impl Iterator<Item = &'static Device> {
    ALL.iter().chain(CLOCKS).chain([&NULL])
}

/// Whether a device has time of its own: the others have no more than the steps of a script give them.
pub fn has_own_time(name: &Builtin) -> bool {
    CLOCKS.iter().any(|device| device.name == name.device)
}

/// The device program of a reference device, and its faults, which tell what becomes of them; without a
/// release, the latest.
///
/// # Errors
/// What is wrong with its name, and what there is instead.
pub fn planted(name: &Builtin) -> Result<(Box<dyn Program>, Faults), String> {
    let Builtin { device: name, release, faults: ids, info } = name;
    let known = named().map(|device| device.name).collect::<Vec<_>>().join("`, `");
    let device = named().find(|device| device.name == *name);
    let device = device.ok_or_else(|| format!("no builtin device `{name}`; there are `{known}`"))?;
    let mut faults = Faults::default();
    for id in ids {
        let fault = device.faults().find(|fault| fault.id == *id);
        let none = || format!("`{name}` has no fault `{id}`; `migcert list faults` shows them");
        faults = faults.and(fault.ok_or_else(none)?);
    }
    let planted = faults.clone();
    let program = match (&device.made, release.as_ref().map(|release| release.parse()), info) {
        (Made::Releases(latest, kind), None, None) => release::program(kind, *latest, faults),
        (Made::Releases(latest, kind), Some(Ok(release)), None) if (1..=*latest).contains(&release) => {
            release::program(kind, release, faults)
        }
        (Made::Releases(latest, _), ..) => return Err(format!("`{name}` has releases 1 to {latest}")),
        (Made::Info(program), None, Some(info)) => {
            let manifest = Manifest::from_json(info.as_bytes()).map_err(|why| why.to_string())?;
            program(manifest, faults)
        }
        (Made::Nothing(program), None, None) => program(),
        (Made::Nothing(_), ..) => return Err(format!("`{name}` has neither releases nor migration info")),
        (Made::Info(_), ..) => {
            return Err(format!("`{name}` needs migration info and has no releases: `{name}=JSON`"));
        }
    };
    Ok((program, planted))
}

/// A fault in the first device that can have it.
#[derive(Clone, Debug)]
pub struct Faulty {
    /// The fault.
    pub fault: &'static Fault,
    /// The IMPL that has it: the latest release.
    pub name: String,
    /// The release before, which has not: some faults show between the two only.
    pub beside: String,
}

/// Every fault once.
pub fn faulty() -> impl Iterator<Item = Faulty> {
    let all = ALL.iter().flat_map(|device| device.faults().map(move |fault| (device, fault)));
    let mut known = BTreeSet::new();
    all.filter(move |(_, fault)| known.insert(fault.id)).map(|(device, fault)| {
        let plain = Builtin { device: device.name.to_owned(), ..Builtin::default() };
        let before = device.releases().saturating_sub(1).max(1);
        Faulty {
            fault,
            name: Builtin { faults: vec![fault.id.to_owned()], ..plain.clone() }.to_string(),
            beside: Builtin { release: Some(before.to_string()), ..plain }.to_string(),
        }
    })
}

/// Which device is what it is described as.
pub const SYNTHETIC: &str = "synthetic";

/// The IMPL of a synthetic device: its description is all there is to it.
pub fn synthetic_name(manifest: &Manifest) -> String {
    Builtin { device: SYNTHETIC.to_owned(), ..Builtin::default() }.described(manifest).to_string()
}
