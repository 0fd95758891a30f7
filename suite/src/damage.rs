//! Damage to the bytes of a state in transit.

use migcert_core::text::Short;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

pub mod reseal;

use reseal::{contents, reseal, resize};

/// One change of the bytes. Places are taken modulo the length.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Damage {
    /// Only the first N bytes arrive.
    Cut(u32),
    /// Bytes follow the end.
    Extend(Vec<u8>),
    /// One bit of one byte is inverted.
    Flip {
        /// Which byte.
        at: u32,
        /// Which bit, 0 to 7.
        bit: u8,
    },
    /// Bytes are overwritten.
    Set {
        /// From which byte.
        at: u32,
        /// With what.
        bytes: Vec<u8>,
    },
    /// From here on it is the other state: one saved earlier from the same device.
    Splice(u32),
    /// A range arrives twice.
    Repeat {
        /// From which byte.
        at: u32,
        /// How many bytes.
        len: u32,
    },
    /// Two neighbouring ranges change places.
    Swap {
        /// Where the second range begins.
        at: u32,
        /// Bytes in each range.
        len: u32,
    },
    /// Other bytes come instead.
    Foreign(Vec<u8>),
    /// Bytes in the content of the sections are overwritten and everything is sealed again: a field
    /// that no guest could have made.
    Forge {
        /// Among which bytes of the contents.
        among: Among,
        /// From which of them.
        at: u32,
        /// With what.
        bytes: Vec<u8>,
    },
    /// A section gets longer, with zeros, or shorter, and everything is sealed again.
    Stretch {
        /// Which section, counted from the last.
        section: u32,
        /// Number of bytes added, or removed if negative.
        by: i8,
    },
    /// Checksums, numbers and totals of a state in our envelope are corrected, so that damage reaches what is
    /// behind it.
    Reseal,
}

/// Bytes of the contents of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Among {
    /// All.
    All,
    /// Those that differ from the state saved earlier: there the guest has left something.
    Used,
    /// Those of one section, counted from the last: bulk comes first, and small things after it.
    Section(u32),
}

impl Damage {
    /// The names of all kinds.
    pub const KINDS: &[&str] = &[
        "cut", "extend", "flip", "set", "splice", "repeat", "swap", "foreign", "forge", "stretch", "reseal",
    ];

    /// The name of its kind.
    pub const fn kind(&self) -> &'static str {
        Damage::KINDS[match self {
            Damage::Cut(_) => 0,
            Damage::Extend(_) => 1,
            Damage::Flip { .. } => 2,
            Damage::Set { .. } => 3,
            Damage::Splice(_) => 4,
            Damage::Repeat { .. } => 5,
            Damage::Swap { .. } => 6,
            Damage::Foreign(_) => 7,
            Damage::Forge { .. } => 8,
            Damage::Stretch { .. } => 9,
            Damage::Reseal => 10,
        }]
    }

    /// Whether checksums are right after it.
    pub fn is_sealed(&self) -> bool {
        self.is_forged() || *self == Damage::Reseal
    }

    /// Whether it is a forgery, which goes with no other damage.
    pub fn is_forged(&self) -> bool {
        matches!(self, Damage::Forge { .. } | Damage::Stretch { .. })
    }

    /// Applies it. `earlier` is another state of the same device, for [`Damage::Splice`]; `room` is how many
    /// bytes all damage together may still add, [`ROOM`] at first.
    ///
    /// # Errors
    /// [`Grown`], and the state is as it was.
    pub fn apply(&self, state: &mut Vec<u8>, earlier: &[u8], room: &mut usize) -> Result<(), Grown> {
        let within = |at: u32, len: usize| if len == 0 { 0 } else { at as usize % len };
        let len = state.len();
        let growth = match self {
            Damage::Extend(bytes) => bytes.len(),
            Damage::Repeat { at, len: n } => (*n as usize).min(len - within(*at, len)),
            _ => 0,
        };
        *room = room.checked_sub(growth).ok_or_else(|| Grown(self.clone()))?;
        match self {
            Damage::Cut(keep) => state.truncate(within(*keep, len)),
            Damage::Extend(bytes) => state.extend(bytes),
            Damage::Foreign(bytes) => state.clone_from(bytes),
            Damage::Reseal => drop(reseal(state)),
            Damage::Flip { at, bit } => {
                if let Some(byte) = state.get_mut(within(*at, len)) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            Damage::Set { at, bytes } => {
                for (old, new) in state[within(*at, len)..].iter_mut().zip(bytes) {
                    *old = *new;
                }
            }
            Damage::Forge { among, at, bytes } => {
                let contents = contents(state);
                let places: Vec<usize> = match among {
                    Among::All => contents.into_iter().flatten().collect(),
                    Among::Used => {
                        let differs = |place: &usize| earlier.get(*place) != state.get(*place);
                        contents.into_iter().flatten().filter(differs).collect()
                    }
                    Among::Section(index) => {
                        let index = within(*index, contents.len());
                        contents.into_iter().rev().nth(index).into_iter().flatten().collect()
                    }
                };
                let from = within(*at, places.len());
                places.iter().skip(from).zip(bytes).for_each(|(place, byte)| state[*place] = *byte);
                reseal(state);
            }
            Damage::Stretch { section, by } => {
                let contents = contents(state);
                let index = within(*section, contents.len());
                if let Some(content) = contents.into_iter().rev().nth(index) {
                    let len = content.len().saturating_add_signed((*by).into());
                    resize(state, content, len);
                    reseal(state);
                }
            }
            Damage::Splice(at) => {
                let at = within(*at, len);
                state.truncate(at);
                state.extend(earlier.get(at..).unwrap_or_default());
            }
            Damage::Repeat { at, len: n } => {
                let at = within(*at, len);
                let end = len.min(at.saturating_add(*n as usize));
                let again = state[at..end].to_vec();
                state.splice(end..end, again);
            }
            Damage::Swap { at, len: n } => {
                let at = within(*at, len);
                let n = (*n as usize).min(at).min(len - at);
                state[at - n..at + n].rotate_left(n);
            }
        }
        Ok(())
    }
}

/// Maximum number of bytes that the damage of a case may add to a state.
pub const ROOM: usize = 4 << 20;

/// Damage that would add more than [`ROOM`] to a state: the case is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the damage of this case adds more than {ROOM} bytes to the state, from `{}` on", Short(&.0.to_string()))]
pub struct Grown(Damage);

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Cut(keep) => write!(f, "cut {keep}"),
            Damage::Extend(bytes) => write!(f, "extend {}", hex::encode(bytes)),
            Damage::Flip { at, bit } => write!(f, "flip {at} {bit}"),
            Damage::Set { at, bytes } => write!(f, "set {at} {}", hex::encode(bytes)),
            Damage::Splice(at) => write!(f, "splice {at}"),
            Damage::Repeat { at, len } => write!(f, "repeat {at} {len}"),
            Damage::Swap { at, len } => write!(f, "swap {at} {len}"),
            Damage::Foreign(bytes) => write!(f, "foreign {}", hex::encode(bytes)),
            Damage::Forge { among, at, bytes } => {
                let among = match among {
                    Among::All => "all".to_owned(),
                    Among::Used => "used".to_owned(),
                    Among::Section(index) => index.to_string(),
                };
                write!(f, "forge {among} {at} {}", hex::encode(bytes))
            }
            Damage::Stretch { section, by } => write!(f, "stretch {section} {by}"),
            Damage::Reseal => f.write_str("reseal"),
        }
    }
}

impl FromStr for Damage {
    type Err = BadDamage;
    fn from_str(text: &str) -> Result<Damage, BadDamage> {
        let bad = || BadDamage(text.to_owned());
        let words: Vec<&str> = text.split(' ').collect();
        let number = |word: &str| word.parse().map_err(|_| bad());
        let bytes = |word: &str| hex::decode(word).map_err(|_| bad());
        Ok(match words[..] {
            ["cut", keep] => Damage::Cut(number(keep)?),
            ["extend", hex] => Damage::Extend(bytes(hex)?),
            ["flip", at, bit] => Damage::Flip { at: number(at)?, bit: bit.parse().map_err(|_| bad())? },
            ["set", at, hex] => Damage::Set { at: number(at)?, bytes: bytes(hex)? },
            ["splice", at] => Damage::Splice(number(at)?),
            ["repeat", at, len] => Damage::Repeat { at: number(at)?, len: number(len)? },
            ["swap", at, len] => Damage::Swap { at: number(at)?, len: number(len)? },
            ["forge", among, at, hex] => {
                let among = match among {
                    "all" => Among::All,
                    "used" => Among::Used,
                    index => Among::Section(number(index)?),
                };
                Damage::Forge { among, at: number(at)?, bytes: bytes(hex)? }
            }
            ["stretch", section, by] => {
                Damage::Stretch { section: number(section)?, by: by.parse().map_err(|_| bad())? }
            }
            ["foreign", hex] => Damage::Foreign(bytes(hex)?),
            ["reseal"] => Damage::Reseal,
            _ => return Err(bad()),
        })
    }
}

/// Text that is not a valid damage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is not a damage; write `cut 17`, `extend 00ff`, `flip 12 3`, `set 8 ffff`, `splice 40`, `repeat 8 16`, `swap 8 4`, `foreign 00aa`, `forge used 12 ff` or `forge all 12 ff`, `forge 2 0 ff`, `stretch 2 -8` or `reseal`",
    Short(.0)
)]
pub struct BadDamage(String);
