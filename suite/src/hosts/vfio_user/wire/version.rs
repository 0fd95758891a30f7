//! What both sides agree on first.

use super::{Fields, MAX_DATA, Malformed};
use serde::{Deserialize, Serialize};

/// Protocol version and capabilities: what a client proposes, and what a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Equal on both sides.
    pub major: u16,
    /// At most what was proposed.
    pub minor: u16,
    /// What the sender can take.
    pub capabilities: Capabilities,
}

/// What the sender can take. What is unknown is ignored, what is absent has its default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// File descriptors in one message.
    pub max_msg_fds: u32,
    /// Bytes of data in one message.
    pub max_data_xfer_size: u64,
    /// DMA maps at one time.
    pub max_dma_maps: u64,
    /// Page sizes of DMA maps, or-ed together.
    pub pgsizes: u64,
    /// Our own: what a region can't say. A server that has it says so without being asked, and a
    /// client never does: a program must not know that it is tested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migcert: Option<Extension>,
}

impl Default for Capabilities {
    /// The specification's.
    fn default() -> Capabilities {
        Capabilities {
            max_msg_fds: 1,
            max_data_xfer_size: MAX_DATA.into(),
            max_dma_maps: 65535,
            pgsizes: 4096,
            migcert: None,
        }
    }
}

/// Our own capability.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// The number of the outside region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outside: Option<u32>,
    /// Whether all that a step does is to be seen there, also interrupts that have no eventfd, and as much
    /// as there is at one read: then a whole script can be asked for at once.
    #[serde(default)]
    pub whole: bool,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct VersionData {
    capabilities: Capabilities,
}

impl Version {
    /// Reads version and capabilities, from either side.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(payload: &[u8]) -> Result<Version, Malformed> {
        let mut fields = Fields::of("VERSION", payload);
        let (major, minor) = (fields.u16()?, fields.u16()?);
        let json = fields.rest.split(|byte| *byte == 0).next().unwrap_or_default();
        let data = match json {
            [] => Ok(VersionData::default()),
            json => serde_json::from_slice(json),
        };
        let VersionData { capabilities } = data.map_err(|why| Malformed::Capabilities(why.to_string()))?;
        if capabilities.max_data_xfer_size == 0 {
            return Err(Malformed::Unknown { what: "max_data_xfer_size", is: 0 });
        }
        Ok(Version { major, minor, capabilities })
    }

    /// Appends it.
    pub fn put(&self, into: &mut Vec<u8>) {
        into.extend(self.major.to_le_bytes());
        into.extend(self.minor.to_le_bytes());
        let data = VersionData { capabilities: self.capabilities.clone() };
        into.extend(serde_json::to_vec(&data).unwrap_or_default());
        into.push(0);
    }
}
