//! Chapter: the envelope of a device state.
//!
//! [`write::Writer`] makes a stream of it and [`read::Reader`] takes one apart. The bytes may be
//! hostile: whatever they are, reading them ends in a [`BadState`] or in exactly the sections that
//! were written, without a panic, in time and memory bounded by the bytes that came.
//!
//! # Format version 1
//!
//! A stream is a header, any number of sections, and an end mark. Numbers are little-endian and
//! unsigned unless the table says otherwise; a *text* is its length in bytes (8 bytes), then UTF-8.
//!
//! | header | bytes | |
//! |---|---|---|
//! | magic | 8 | `MIGSTATE` |
//! | format version | 4 | 1 |
//! | length of the body | 8 | |
//! | body: model id | text | R-2.2 |
//! | body: form | 1 | 0: a parameter list, 1: a version string (R-4.6) |
//! | body, form 1: version | text | |
//! | body, form 0: how many parameters | 8 | |
//! | body, form 0, each: name | text | in the order of their bytes |
//! | body, form 0, each: type | 1 | 0: bool, 1: int, 2: str |
//! | body, form 0, each: value | 1, 8 or text | bool: 0 or 1; int: signed, two's complement |
//! | stream CRC | 4 | |
//!
//! | section | bytes | |
//! |---|---|---|
//! | tag | 4 | printable ASCII |
//! | number | 4 | 0, 1, 2, … modulo 2³² |
//! | offset | 8 | where in the tag's content; all ones: the content is replaced as a whole |
//! | length | 8 | of the bytes below |
//! | head CRC | 4 | CRC-32C of the 24 bytes above |
//! | stream CRC | 4 | |
//! | bytes | length | |
//!
//! | end mark | bytes | |
//! |---|---|---|
//! | tag | 4 | all zero |
//! | number | 4 | counted on |
//! | total | 8 | length of the stream, this end mark included |
//! | length | 8 | 0 |
//! | head CRC | 4 | as in a section |
//! | stream CRC | 4 | |
//!
//! A *stream CRC* is the CRC-32C of everything from the first byte of the stream to the end of the
//! item it belongs to, fields that hold a CRC left out. So a section is valid in its place only:
//! one that is damaged, left out, repeated, moved or taken from another stream is noticed there.
//! The head has a CRC of its own so that no length is followed that was not written.
//!
//! # What the sections mean
//!
//! Every tag has a content, empty at first. Sections apply in order: one without offset replaces
//! the content, one with an offset overwrites from there and may extend the content, without
//! leaving a hole. Bulk memory is sent in PRE_COPY and its dirty pages again in STOP_COPY,
//! all in one stream; nothing in the stream says where PRE_COPY ended. The bytes of a section are
//! the device's own: bulk memory as it is, structured parts as [`structured`](crate::structured)
//! writes them.
//!
//! # Changing the format
//!
//! A reader refuses format versions that it doesn't know; version 1 is read for ever
//! (`corpus/states`). What a *device* adds to its state needs a parameter, not a format.

mod header;
pub mod read;
pub mod write;

use crate::error::Failure;
use crate::model::ModelId;
use crate::version::Setup;
use crc_fast::CrcAlgorithm::Crc32Iscsi;
use std::fmt;

/// The name of a section: four printable ASCII characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag([u8; 4]);

impl Tag {
    /// A tag, meant for a `const`: `const REGISTERS: Tag = Tag::new(b"regs");`.
    ///
    /// # Panics
    /// On characters that are not printable ASCII; in a `const`, the compiler says so.
    pub const fn new(name: &[u8; 4]) -> Tag {
        match Tag::read(*name) {
            Some(tag) => tag,
            None => panic!("a tag has four printable ASCII characters"),
        }
    }

    const fn read(name: [u8; 4]) -> Option<Tag> {
        let [a, b, c, d] = name;
        let ok = a.is_ascii_graphic() && b.is_ascii_graphic() && c.is_ascii_graphic() && d.is_ascii_graphic();
        if ok { Some(Tag(name)) } else { None }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({self})")
    }
}

/// Why bytes are not a state that may be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadState {
    /// More bytes than the stream has.
    #[error("the stream goes on after its end mark")]
    AfterEnd,
    /// In the words of a device: it doesn't use this envelope, or what it read makes no sense.
    #[error("{0}")]
    ByDevice(String),
    /// A device program answered with an error when it was given the bytes, or judged them.
    #[error(transparent)]
    ByProgram(#[from] Failure),
    /// A section's bytes are not those that were written, or not at this place of this stream.
    #[error("section {number}, `{tag}`, is damaged or belongs to another stream")]
    Damaged {
        /// Which section.
        tag: Tag,
        /// Counted from 0.
        number: u32,
    },
    /// The end mark is not the one of the sections before it.
    #[error("the end mark is damaged or belongs to another stream")]
    DamagedEnd,
    /// The head of a section or the end mark is not as it was written.
    #[error("the head of section {number} is damaged")]
    DamagedHead {
        /// Counted from 0.
        number: u32,
    },
    /// The header is not as it was written.
    #[error("the header is damaged")]
    DamagedHeader,
    /// Another format of the envelope.
    #[error("the format version is {0}, and only 1 is known here")]
    Format(u32),
    /// A part that would leave a hole in its section.
    #[error("a part of section `{tag}` begins at {offset}, where only {len} bytes are there")]
    Hole {
        /// Which section.
        tag: Tag,
        /// Where the part would begin.
        offset: u64,
        /// How long the content is.
        len: usize,
    },
    /// The header is whole, and no writer writes it so.
    #[error("the header can't be understood")]
    Malformed,
    /// A section that the device needs.
    #[error("section `{0}` is missing")]
    Missing(Tag),
    /// The beginning of something else.
    #[error("these bytes are not a device state: they do not begin with `MIGSTATE`")]
    NoMagic,
    /// The end mark has bytes, as only sections do.
    #[error("the end mark can't be understood")]
    OddEnd,
    /// Sections were left out, repeated or moved.
    #[error("section {found} came in the place of section {wanted}")]
    Order {
        /// The number that was its turn.
        wanted: u32,
        /// The number that came.
        found: u32,
    },
    /// Saved from another model.
    #[error("it is a state of model `{saved}`, and this device is a `{here}`")]
    OtherModel {
        /// The model in the header.
        saved: ModelId,
        /// The model of the device.
        here: ModelId,
    },
    /// Saved under another configuration.
    #[error("it was saved with {}, and this device has {}", words(saved), words(here))]
    OtherSetup {
        /// The parameter list or version string in the header.
        saved: Setup,
        /// What the device is set up with.
        here: Setup,
    },
    /// The stream ended too early.
    #[error("{wanted} more bytes were announced and {left} came")]
    Short {
        /// What a length announced, or what always comes next.
        wanted: u64,
        /// What was there.
        left: usize,
    },
    /// The content of a section whose length the device knows has another one.
    #[error("section `{tag}` has {found} bytes, and {wanted} are needed")]
    Size {
        /// Which section.
        tag: Tag,
        /// What the device needs.
        wanted: usize,
        /// What the section has.
        found: usize,
    },
    /// A structured part that is not one of its type.
    #[error("a structured part can't be read: {0}")]
    Structure(String),
    /// The end mark tells another length than the stream has.
    #[error("the stream should have {wanted} bytes and has {found}")]
    Total {
        /// What the end mark tells.
        wanted: u64,
        /// What came.
        found: u64,
    },
    /// A section that this device doesn't have.
    #[error("section `{0}` is not known")]
    Unknown(Tag),
    /// Four bytes that are no tag.
    #[error("section {number} has no printable tag")]
    Untagged {
        /// Counted from 0.
        number: u32,
    },
}

fn words(setup: &Setup) -> String {
    match setup {
        Setup::Params(list) if list.is_empty() => "every parameter off".to_owned(),
        setup => format!("`{setup}`"),
    }
}

const MAGIC: [u8; 8] = *b"MIGSTATE";
const FORMAT: u32 = 1;
const END: [u8; 4] = [0; 4];
/// The offset of a section that replaces the content.
const WHOLE: u64 = u64::MAX;

/// The 28 bytes before a section's stream CRC.
#[derive(Clone, Copy)]
struct Head {
    tag: [u8; 4],
    number: u32,
    /// In an end mark, the total.
    offset: u64,
    length: u64,
}

impl Head {
    /// With the stream CRC.
    const SIZE: usize = 32;
    /// Without both CRCs.
    const PLAIN: usize = 24;

    fn plain(self) -> [u8; Head::PLAIN] {
        let mut plain = [0; Head::PLAIN];
        plain[..4].copy_from_slice(&self.tag);
        plain[4..8].copy_from_slice(&self.number.to_le_bytes());
        plain[8..16].copy_from_slice(&self.offset.to_le_bytes());
        plain[16..].copy_from_slice(&self.length.to_le_bytes());
        plain
    }

    fn read(head: &[u8; Head::SIZE]) -> Head {
        Head {
            tag: array(head, 0),
            number: u32::from_le_bytes(array(head, 4)),
            offset: u64::from_le_bytes(array(head, 8)),
            length: u64::from_le_bytes(array(head, 16)),
        }
    }
}

/// `N` bytes from `at`, which are there.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

/// A CRC-32C in the making.
#[derive(Clone, Copy, Debug)]
struct Crc(crc_fast::Digest);

impl Crc {
    /// What is read for the CRC is copied while it is still in the cache.
    const BLOCK: usize = 64 * 1024;

    fn new() -> Crc {
        Crc(crc_fast::Digest::new(Crc32Iscsi))
    }

    fn of(bytes: &[u8]) -> u32 {
        crc_fast::crc32_iscsi(bytes)
    }

    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Updates with `bytes` and puts them at `at` of `to`, over what is there and beyond.
    fn copy(&mut self, bytes: &[u8], to: &mut Vec<u8>, mut at: usize) {
        to.reserve((at + bytes.len()).saturating_sub(to.len()));
        for block in bytes.chunks(Crc::BLOCK) {
            self.update(block);
            let (over, beyond) = block.split_at(block.len().min(to.len() - at));
            to[at..at + over.len()].copy_from_slice(over);
            to.extend_from_slice(beyond);
            at += block.len();
        }
    }

    fn value(&self) -> u32 {
        self.0.finalize() as u32
    }
}
