//! Reference devices: small, clean, in several releases, each with faults that can be planted.
//!
//! They know neither rules nor generators.

use crate::devices::fault::{FAULTS, Faults, Row};
use migcert_core::program::Program;

pub mod engine;
pub mod fault;
pub mod nic;

/// A reference device.
pub struct Device {
    /// `builtin:NAME`.
    pub name: &'static str,
    /// Releases are numbered from 1 to this.
    pub releases: u32,
    /// What it is, in one line.
    pub what: &'static str,
    /// Makes the device program of one release.
    pub program: fn(u32, Faults) -> Box<dyn Program>,
}

/// All of them.
pub static ALL: &[Device] = &[Device {
    name: "nic",
    releases: nic::RELEASES,
    what: "a network card with queues, a receive filter, packet memory, PRE_COPY and P2P",
    program: nic::program,
}];

/// Reads `NAME[@RELEASE][+FAULT]...`; without a release, the latest.
///
/// # Errors
/// What is wrong, and what there is instead.
pub fn parse(text: &str) -> Result<Box<dyn Program>, String> {
    let mut words = text.split('+');
    let device = words.next().unwrap_or_default();
    let (name, release) = match device.split_once('@') {
        Some((name, release)) => (name, Some(release)),
        None => (device, None),
    };
    let known = ALL.iter().map(|device| device.name).collect::<Vec<_>>().join("`, `");
    let device = ALL.iter().find(|device| device.name == name);
    let device = device.ok_or_else(|| format!("no builtin device `{name}`; there are `{known}`"))?;
    let release = match release.map(str::parse) {
        None => device.releases,
        Some(Ok(release)) if 1 <= release && release <= device.releases => release,
        Some(_) => return Err(format!("`{name}` has releases 1 to {}", device.releases)),
    };
    let mut faults = Faults::default();
    for id in words {
        let row = FAULTS.iter().find(|row| row.id == id);
        let row = row.ok_or_else(|| format!("no fault `{id}`; `migcert list faults` shows them"))?;
        faults.plant(row.fault);
    }
    Ok((device.program)(release, faults))
}

/// Every fault, and the IMPL that has it.
pub fn faulty() -> impl Iterator<Item = (String, &'static Row)> {
    FAULTS.iter().map(|row| (format!("builtin:nic+{}", row.id), row))
}
