//! Structured parts of a device state: whatever derives serde's traits, as bytes.
//!
//! Numbers have their width and are little-endian; lengths have 8 bytes and variants 4. The only
//! file that knows bincode.

use crate::envelope::BadState;
use crate::error::Misbehaved;
use bincode::config::{self, Configuration, Fixint, Limit, LittleEndian, NoLimit};
use bincode::error::DecodeError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest structured part, in bytes. What is larger is bulk memory.
pub const MAX: usize = 16 << 20;

/// Encodes a value: the same value, the same bytes.
///
/// Types that don't are not for states: hash maps, for one, have no order.
///
/// # Errors
/// [`Misbehaved::Unwritable`] for more than [`MAX`] bytes, and for types that serde can only write
/// for formats that name things, such as those with `#[serde(flatten)]`.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Misbehaved> {
    match bincode::serde::encode_to_vec(value, CONFIG) {
        Ok(bytes) if bytes.len() <= MAX => Ok(bytes),
        Ok(bytes) => {
            Err(Misbehaved::Unwritable(format!("{} bytes are too many for a structure", bytes.len())))
        }
        Err(why) => Err(Misbehaved::Unwritable(why.to_string())),
    }
}

/// Decodes a value that fills the bytes.
///
/// What is reserved on the word of a length is at most 16 times the bytes that are there, or
/// 4 KiB, for texts, and 1 MiB for each level of nesting of other sequences. Their
/// elements must not be of zero bytes: then a length would be all there is to them.
///
/// # Errors
/// [`BadState::Structure`] for anything but one value of this type.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BadState> {
    match bytes.len() {
        0..=0x1000 => within(bytes, CONFIG.with_limit::<0x1000>()),
        0x1001..=0x1_0000 => within(bytes, CONFIG.with_limit::<0x1_0000>()),
        0x1_0001..=0x10_0000 => within(bytes, CONFIG.with_limit::<0x10_0000>()),
        0x10_0001..=MAX => within(bytes, CONFIG.with_limit::<MAX>()),
        n => Err(BadState::Structure(format!("{n} bytes are too many"))),
    }
}

type Config<L> = Configuration<LittleEndian, Fixint, L>;

const CONFIG: Config<NoLimit> = config::standard().with_fixed_int_encoding();

fn within<T: DeserializeOwned, const N: usize>(
    bytes: &[u8],
    config: Config<Limit<N>>,
) -> Result<T, BadState> {
    match bincode::serde::decode_from_slice(bytes, config) {
        Ok((value, n)) if n == bytes.len() => Ok(value),
        Ok((_, n)) => Err(BadState::Structure(format!("{} bytes are too many", bytes.len() - n))),
        Err(why) => Err(BadState::Structure(words(&why))),
    }
}

fn words(why: &DecodeError) -> String {
    match why {
        DecodeError::UnexpectedEnd { .. } => "it ends too early".to_owned(),
        DecodeError::LimitExceeded => "a length is beyond its end".to_owned(),
        DecodeError::Utf8 { .. } => "a text is not UTF-8".to_owned(),
        DecodeError::InvalidBooleanValue(n) => format!("{n} is not a bool"),
        DecodeError::OtherString(why) => why.clone(),
        why => why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_and_nothing_else_is_read() {
        let bytes = encode(&(7u16, true, "ab")).expect("plain");
        assert_eq!(bytes, [7, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, b'a', b'b']);
        assert_eq!(decode(&bytes), Ok((7u16, true, "ab".to_owned())));
        let refused = |bytes: &[u8]| decode::<(u16, bool, String)>(bytes).expect_err("refused").to_string();
        assert_eq!(refused(&bytes[..12]), "a structured part can't be read: it ends too early");
        assert_eq!(
            refused(&[bytes.as_slice(), &[0]].concat()),
            "a structured part can't be read: 1 bytes are too many"
        );
        assert_eq!(refused(&[7, 0, 2]), "a structured part can't be read: 2 is not a bool");
    }

    #[test]
    fn a_length_reserves_nothing() {
        let huge = u64::MAX.to_le_bytes();
        assert!(decode::<String>(&huge).is_err());
        assert!(decode::<Vec<u64>>(&huge).is_err());
        assert!(decode::<Vec<Vec<u64>>>(&(1u64 << 40).to_le_bytes()).is_err());
    }

    #[test]
    fn limits_do_not_refuse_what_was_written() {
        for n in [0x1000, 0x1001, 0x1_0000, 0x10_0000, MAX] {
            let text = "x".repeat(n - 8);
            assert_eq!(decode(&encode(&text).expect("plain")), Ok(text));
        }
    }
}
