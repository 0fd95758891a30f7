//! The file, as it is written.

use super::why::Why;
use crate::hosts::limits::Limits;
use crate::learned::Written;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The file, as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Text {
    pub(super) program: String,
    pub(super) release: Option<String>,
    #[serde(default)]
    pub(super) args: Vec<String>,
    pub(super) wire: Wire,
    pub(super) guest: Option<String>,
    #[serde(default)]
    pub(super) limits: Times,
    #[serde(default)]
    pub(super) never: Vec<Range>,
    #[serde(default)]
    pub(super) volatile: Vec<Written>,
    pub(super) config_space: Option<Carries>,
    #[serde(default)]
    pub(super) initial: Vec<String>,
    #[serde(default)]
    pub(super) scripts: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(super) waive: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) shared: Vec<String>,
    pub(super) reuse: Option<bool>,
    pub(super) info: Option<toml::Table>,
    #[serde(default)]
    pub(super) releases: Vec<Release>,
}

impl Text {
    /// An error for what would be said in vain.
    pub(super) fn knows_no_registers(&self) -> Result<(), Why> {
        let in_vain = [
            ("config-space", self.config_space.is_some()),
            ("initial", !self.initial.is_empty()),
            ("never", !self.never.is_empty()),
            ("scripts", !self.scripts.is_empty()),
        ];
        match in_vain.into_iter().find(|(_, is_said)| *is_said) {
            Some((setting, _)) => Err(Why::NoRegisters(setting)),
            None => Ok(()),
        }
    }
}

/// How a program is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Wire {
    VfioUser,
    VhostUser,
}

/// Who brings configuration space along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Carries {
    Carrier,
    Device,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Times {
    /// Any answer, in milliseconds.
    pub(super) answer_ms: Option<u64>,
    /// A whole save or load, in milliseconds.
    pub(super) transfer_ms: Option<u64>,
}

impl Times {
    /// Longest time that something can be given: a day.
    pub(super) const LONGEST: u64 = 24 * 60 * 60 * 1000;

    pub(super) fn limits(self) -> Result<Limits, Why> {
        let time = |name, ms: Option<u64>| match ms {
            Some(ms) if !(1..=Times::LONGEST).contains(&ms) => Err(Why::Limit { name, ms }),
            ms => Ok(ms.map(Duration::from_millis)),
        };
        let usual = time("answer-ms", self.answer_ms)?.map_or_else(Limits::default, Limits::of);
        let transfer = time("transfer-ms", self.transfer_ms)?.unwrap_or(usual.transfer);
        Ok(Limits { transfer, ..usual })
    }
}

/// Bytes of a region.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Range {
    pub(super) region: u32,
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// What is different in some releases.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Release {
    /// What `--version` begins with.
    pub(super) says: Vec<String>,
    #[serde(default)]
    pub(super) args: Vec<String>,
    pub(super) guest: Option<String>,
    #[serde(default)]
    pub(super) waive: BTreeMap<String, String>,
    pub(super) info: Option<toml::Table>,
}
