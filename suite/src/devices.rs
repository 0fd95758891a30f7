//! Reference devices: small, clean, in several releases, each with faults that can be planted.
//!
//! They know neither rules nor generators.

use crate::devices::fault::{FAULTS, Faults, Row};
use migcert_core::program::{Manifest, Program};

pub mod engine;
pub mod fault;
pub mod nic;
pub mod synthetic;

/// A reference device.
pub struct Device {
    /// `builtin:NAME`.
    pub name: &'static str,
    /// What it is, in one line.
    pub what: &'static str,
    /// What its device programs are made from.
    pub made: Made,
}

/// What the device programs of a reference device are made from.
pub enum Made {
    /// Releases, numbered from 1 to this: `NAME@RELEASE`.
    Releases(u32, fn(u32, Faults) -> Box<dyn Program>),
    /// Migration info: `NAME=JSON`.
    Info(fn(Manifest, Faults) -> Box<dyn Program>),
}

impl Device {
    /// How it is named as IMPL.
    pub fn usage(&self) -> String {
        let info = if let Made::Info(_) = self.made { "=JSON" } else { "" };
        format!("builtin:{}{info}", self.name)
    }

    /// How many releases there are; migration info is one.
    pub fn releases(&self) -> u32 {
        if let Made::Releases(releases, _) = self.made { releases } else { 1 }
    }
}

/// All of them.
pub static ALL: &[Device] = &[
    Device {
        name: "nic",
        what: "a network card with queues, a receive filter, packet memory, PRE_COPY and P2P",
        made: Made::Releases(nic::RELEASES, nic::program),
    },
    Device {
        name: "synthetic",
        what: "a device that behaves as the migration info behind `=` says",
        made: Made::Info(synthetic::program),
    },
];

/// Reads `NAME[@RELEASE][+FAULT]...` or `NAME[+FAULT]...=JSON`; without a release, the latest.
///
/// # Errors
/// What is wrong, and what there is instead.
pub fn parse(text: &str) -> Result<Box<dyn Program>, String> {
    // Migration info may have any character in it, also those that separate.
    let (text, info) = match text.split_once('=') {
        Some((text, info)) => (text, Some(info)),
        None => (text, None),
    };
    let mut words = text.split('+');
    let device = words.next().unwrap_or_default();
    let (name, release) = match device.split_once('@') {
        Some((name, release)) => (name, Some(release)),
        None => (device, None),
    };
    let known = ALL.iter().map(|device| device.name).collect::<Vec<_>>().join("`, `");
    let device = ALL.iter().find(|device| device.name == name);
    let device = device.ok_or_else(|| format!("no builtin device `{name}`; there are `{known}`"))?;
    let faults = words.map(|id| {
        let row = FAULTS.iter().find(|row| row.id == id);
        row.ok_or_else(|| format!("no fault `{id}`; `migcert list faults` shows them"))
    });
    let rows = faults.collect::<Result<Vec<_>, _>>()?;
    let mut faults = Faults::default();
    rows.iter().for_each(|row| faults.plant(row.fault));
    match (&device.made, release.map(str::parse), info) {
        (Made::Releases(latest, program), None, None) => Ok(program(*latest, faults)),
        (Made::Releases(latest, program), Some(Ok(release)), None) if (1..=*latest).contains(&release) => {
            Ok(program(release, faults))
        }
        (Made::Releases(latest, _), ..) => Err(format!("`{name}` has releases 1 to {latest}")),
        (Made::Info(program), None, Some(info)) => {
            match rows.iter().find(|row| !synthetic::FAULTS.contains(&row.fault)) {
                Some(row) => Err(format!("`{name}` has nothing in which `{}` could be planted", row.id)),
                None => Ok(program(Manifest::from_json(info.as_bytes()).map_err(|e| e.to_string())?, faults)),
            }
        }
        (Made::Info(_), ..) => {
            Err(format!("`{name}` needs migration info and has no releases: `{name}=JSON`"))
        }
    }
}

/// Every fault, and the IMPL that has it.
pub fn faulty() -> impl Iterator<Item = (String, &'static Row)> {
    FAULTS.iter().map(|row| (format!("builtin:nic+{}", row.id), row))
}

/// The IMPL of a synthetic device: its description is all there is to it.
pub fn synthetic_name(manifest: &Manifest) -> String {
    let info = serde_json::to_string(manifest).expect("every name of a member is a string");
    format!("builtin:synthetic={info}")
}
