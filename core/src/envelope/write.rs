//! Writing a device state.

use crate::envelope::{Crc, END, FORMAT, Head, MAGIC, Tag, WHOLE, header};
use crate::error::Misbehaved;
use crate::model::ModelId;
use crate::structured;
use crate::version::Setup;
use serde::Serialize;

/// Writes one device state, section after section.
///
/// What is written waits in `out` until the carrier drains it, in chunks of any size: in PRE_COPY
/// while sections are still to come, in STOP_COPY after [`finish`](Writer::finish). Whoever
/// drains before writing on keeps no more than a section in memory.
#[derive(Debug)]
pub struct Writer {
    /// What is to be sent.
    pub out: Outgoing,
    crc: Crc,
    number: u32,
    total: u64,
}

impl Writer {
    /// Begins a stream with its header.
    ///
    /// `list` is the migration parameter list: a parameter that is off has no place in it,
    /// so that a state is, to the byte, what it was before the parameter existed.
    pub fn new(model: &ModelId, list: &Setup) -> Writer {
        Writer::reusing(Vec::new(), model, list)
    }

    /// As [`new`](Writer::new), into memory that was used before and needn't be found again.
    pub fn reusing(mut buffer: Vec<u8>, model: &ModelId, list: &Setup) -> Writer {
        buffer.clear();
        let mut writer =
            Writer { out: Outgoing { bytes: buffer, sent: 0 }, crc: Crc::new(), number: 0, total: 0 };
        let body = header::body(model, list);
        writer.put(&MAGIC);
        writer.put(&FORMAT.to_le_bytes());
        writer.put(&(body.len() as u64).to_le_bytes());
        writer.put(&body);
        writer.put_unsummed(&writer.crc.value().to_le_bytes());
        writer
    }

    /// Writes the content of a section as a whole; what was sent of it before is replaced.
    pub fn section(&mut self, tag: Tag, bytes: &[u8]) {
        self.item(tag.0, WHOLE, bytes);
    }

    /// Writes a part of a section: bytes at an offset into its content, over what was sent of it
    /// before and beyond. Parts may come in any order that leaves no hole.
    pub fn part(&mut self, tag: Tag, offset: u64, bytes: &[u8]) {
        self.item(tag.0, offset, bytes);
    }

    /// Writes a structured value as a whole section.
    ///
    /// # Errors
    /// [`Misbehaved::Unwritable`], as [`structured::encode`].
    pub fn structured<T: Serialize>(&mut self, tag: Tag, value: &T) -> Result<(), Misbehaved> {
        self.section(tag, &structured::encode(value)?);
        Ok(())
    }

    /// Ends the stream; what was not drained yet is still to be.
    pub fn finish(mut self) -> Outgoing {
        let total = self.total + Head::SIZE as u64;
        self.item(END, total, &[]);
        self.out
    }

    fn item(&mut self, tag: [u8; 4], offset: u64, bytes: &[u8]) {
        self.out.forget_sent();
        let head = Head { tag, number: self.number, offset, length: bytes.len() as u64 }.plain();
        self.number = self.number.wrapping_add(1);
        self.put(&head);
        self.put_unsummed(&Crc::of(&head).to_le_bytes());
        let stream_crc = self.out.bytes.len();
        self.put_unsummed(&[0; 4]);
        self.put(bytes);
        self.out.bytes[stream_crc..stream_crc + 4].copy_from_slice(&self.crc.value().to_le_bytes());
    }

    fn put(&mut self, bytes: &[u8]) {
        let end = self.out.bytes.len();
        self.crc.copy(bytes, &mut self.out.bytes, end);
        self.total += bytes.len() as u64;
    }

    fn put_unsummed(&mut self, bytes: &[u8]) {
        self.out.bytes.extend_from_slice(bytes);
        self.total += bytes.len() as u64;
    }
}

/// Bytes on their way to the carrier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
}

impl From<Vec<u8>> for Outgoing {
    fn from(bytes: Vec<u8>) -> Outgoing {
        Outgoing { bytes, sent: 0 }
    }
}

impl Outgoing {
    /// Drains as much as fits and returns how much that was; 0 when nothing is there.
    pub fn read(&mut self, into: &mut [u8]) -> usize {
        let rest = &self.bytes[self.sent..];
        let n = rest.len().min(into.len());
        into[..n].copy_from_slice(&rest[..n]);
        self.sent += n;
        n
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Whether no byte waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All that waits.
    pub fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.drain(..self.sent);
        self.bytes
    }

    /// Moves at most as many bytes as were sent.
    fn forget_sent(&mut self) {
        if self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }
}
