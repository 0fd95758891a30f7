//! Guest memory, as a device with DMA sees it, and the log of what it wrote there.

use std::ops::Range;

/// Bytes.
pub const SIZE: usize = 4 << 10;

/// See the module.
#[derive(Debug)]
pub struct Memory {
    bytes: Vec<u8>,
    /// What was written since it was asked last; `None` while no log is kept.
    log: Option<Vec<Range<usize>>>,
}

impl Memory {
    /// Fresh memory. It has the same content every time, and no two words of it are the same.
    pub fn fresh() -> Memory {
        let words = (0..SIZE as u32 / 4).flat_map(|word| (0x4000_0000 + word).to_le_bytes());
        Memory { bytes: words.collect(), log: None }
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Puts all of it in place; what is too long is left out.
    pub fn put(&mut self, bytes: &[u8]) {
        let n = bytes.len().min(SIZE);
        self.bytes[..n].copy_from_slice(&bytes[..n]);
    }

    /// Reads; addresses wrap around.
    pub fn read(&self, at: usize, len: usize) -> Vec<u8> {
        (at..at + len).map(|at| self.bytes[at % SIZE]).collect()
    }

    /// The guest reads a little-endian number of so many bytes, 8 at most.
    pub fn guest_read(&self, at: u64, size: u8) -> u64 {
        let bytes = self.read(at as usize, usize::from(size.min(8)));
        bytes.iter().rfold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    /// The guest writes one.
    pub fn guest_write(&mut self, at: u64, size: u8, value: u64) {
        self.write_unlogged(at as usize, &value.to_le_bytes()[..usize::from(size.min(8))]);
    }

    /// The device writes; addresses wrap around.
    pub fn write(&mut self, at: usize, bytes: &[u8]) {
        self.write_unlogged(at, bytes);
        self.mark(at, bytes.len());
    }

    /// The guest writes, or a device whose log is wrong.
    pub fn write_unlogged(&mut self, at: usize, bytes: &[u8]) {
        for (at, byte) in (at..).zip(bytes) {
            self.bytes[at % SIZE] = *byte;
        }
    }

    /// Notes in the log what was written.
    pub fn mark(&mut self, at: usize, len: usize) {
        if let Some(log) = &mut self.log {
            log.extend((at..at + len).map(|at| at % SIZE).map(|at| at..at + 1));
        }
    }

    /// Whether a log is kept.
    pub fn is_logged(&self) -> bool {
        self.log.is_some()
    }

    /// Begins a log, or ends it.
    pub fn keep_log(&mut self, on: bool) {
        self.log = on.then(Vec::new);
    }

    /// What the log says since this was asked last; nothing where none is kept.
    pub fn take_log(&mut self) -> Vec<Range<usize>> {
        self.log.as_mut().map(std::mem::take).unwrap_or_default()
    }
}
