//! Inputs of fuzz targets: cases in an encoding of their own, so that they outlive changes of the
//! generators.
//!
//! | bytes | |
//! |---|---|
//! | 4 | `MIGC` |
//! | 1 | [`VERSION`] of what follows |
//! | | the case, as [`structured`] writes it |
//! | 4 | CRC-32C of all that, little-endian: nothing but a generator makes a case |

use crate::case::Case;
use crate::damage::Damage;
use migcert_core::device::{State, Step};
use migcert_core::param::{Configuration, Value};
use migcert_core::structured;
use migcert_core::version::Setup;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The version that is written. Older ones are read as long as there are entries of them.
pub const VERSION: u8 = 1;

/// An entry has at most so many bytes.
pub const MAX: usize = 64 << 10;

const MAGIC: &[u8; 4] = b"MIGC";
const HEAD: usize = MAGIC.len() + 1;
const SUM: usize = 4;

/// The case with its texts as texts.
#[derive(Serialize, Deserialize)]
struct Packed<'a> {
    rule: Cow<'a, str>,
    source: Cow<'a, str>,
    destination: Cow<'a, str>,
    model: Cow<'a, str>,
    setup: PackedSetup,
    other: Option<PackedSetup>,
    script: Cow<'a, [Step]>,
    at: [u32; 2],
    pieces: Cow<'a, [u32]>,
    damage: Cow<'a, [Damage]>,
    walk: Cow<'a, [State]>,
}

#[derive(Serialize, Deserialize)]
enum PackedSetup {
    Version(String),
    Params(Vec<(String, PackedValue)>),
}

#[derive(Serialize, Deserialize)]
enum PackedValue {
    Bool(bool),
    Int(i64),
    Str(String),
}

/// Encodes a case; `None` where it has more than [`MAX`] bytes.
pub fn encode(case: &Case) -> Option<Vec<u8>> {
    let packed = Packed {
        rule: Cow::from(&case.rule),
        source: Cow::from(&case.source),
        destination: Cow::from(&case.destination),
        model: Cow::from(case.model.as_str()),
        setup: pack(&case.setup),
        other: case.other.as_ref().map(pack),
        script: Cow::from(&case.script),
        at: case.at.map(|at| at as u32),
        pieces: Cow::from(&case.pieces),
        damage: Cow::from(&case.damage),
        walk: Cow::from(&case.walk),
    };
    let mut bytes = [&MAGIC[..], &[VERSION], &structured::encode(&packed).ok()?].concat();
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    (bytes.len() <= MAX).then_some(bytes)
}

/// Decodes a case.
///
/// # Errors
/// [`BadEntry`], which says whether it is one at all.
pub fn decode(bytes: &[u8]) -> Result<Case, BadEntry> {
    if !is_entry(bytes) || MAX < bytes.len() {
        return Err(BadEntry::None);
    }
    let (content, sum) = bytes.split_at_checked(bytes.len() - SUM).ok_or(BadEntry::Damaged)?;
    if content.len() < HEAD || crc32c::crc32c(content).to_le_bytes() != sum {
        return Err(BadEntry::Damaged);
    }
    if content[HEAD - 1] != VERSION {
        return Err(BadEntry::Version(content[HEAD - 1]));
    }
    let packed: Packed<'_> = structured::decode(&content[HEAD..]).map_err(|_| BadEntry::Damaged)?;
    Ok(Case {
        rule: packed.rule.into_owned(),
        source: packed.source.into_owned(),
        destination: packed.destination.into_owned(),
        model: packed.model.as_ref().into(),
        setup: unpack(packed.setup)?,
        other: packed.other.map(unpack).transpose()?,
        script: packed.script.into_owned(),
        at: packed.at.map(|at| at as usize),
        pieces: packed.pieces.into_owned(),
        damage: packed.damage.into_owned(),
        walk: packed.walk.into_owned(),
    })
}

/// Sets the checksum right, of bytes that are long enough to have one.
pub fn seal(bytes: &mut [u8]) {
    if let Some(at) = bytes.len().checked_sub(SUM) {
        let sum = crc32c::crc32c(&bytes[..at]).to_le_bytes();
        bytes[at..].copy_from_slice(&sum);
    }
}

/// Whether bytes begin as an entry does.
pub fn is_entry(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

fn pack(setup: &Setup) -> PackedSetup {
    let value = |value: &Value| match value {
        Value::Bool(b) => PackedValue::Bool(*b),
        Value::Int(n) => PackedValue::Int(*n),
        Value::Str(s) => PackedValue::Str(s.clone()),
    };
    match setup {
        Setup::Version(version) => PackedSetup::Version(version.to_string()),
        Setup::Params(params) => {
            PackedSetup::Params(params.iter().map(|(name, v)| (name.to_string(), value(v))).collect())
        }
    }
}

fn unpack(packed: PackedSetup) -> Result<Setup, BadEntry> {
    let params = match packed {
        PackedSetup::Version(version) => {
            return version.parse().map(Setup::Version).map_err(|_| BadEntry::Damaged);
        }
        PackedSetup::Params(params) => params,
    };
    let mut configuration = Configuration::new();
    for (name, value) in params {
        let value = match value {
            PackedValue::Bool(b) => Value::Bool(b),
            PackedValue::Int(n) => Value::Int(n),
            PackedValue::Str(s) => Value::Str(s),
        };
        configuration.insert(name.parse().map_err(|_| BadEntry::Damaged)?, value);
    }
    Ok(Setup::Params(configuration))
}

/// Bytes that are no case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEntry {
    /// Something else.
    #[error("these bytes are no case: a case begins with `MIGC`")]
    None,
    /// A case that is not whole.
    #[error("the case is damaged: its checksum or its structure is wrong")]
    Damaged,
    /// A version that is not read.
    #[error("version {0} of the encoding is not known; this migcert reads version {VERSION}")]
    Version(u8),
}
