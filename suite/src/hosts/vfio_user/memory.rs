//! The guest's memory, small and shared with the device, which may map it or ask for it.

use migcert_core::device::Sight;
use rustix::fs::{MemfdFlags, SealFlags};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

/// Bytes.
pub(super) const SIZE: usize = 16 << 10;
/// Where the device finds it; below 4 GiB, for devices that know no more.
pub(super) const ADDRESSES: Range<u64> = 0x10000..0x10000 + SIZE as u64;

/// See the module.
pub(super) struct Memory {
    file: File,
    /// As it was when last looked at.
    known: Vec<u8>,
    now: Vec<u8>,
}

impl Memory {
    /// Fresh memory. It has the same content every time, and no two words of it are the same.
    pub(super) fn new() -> io::Result<Memory> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = File::from(rustix::fs::memfd_create("memory-backend-memfd", flags)?);
        file.set_len(SIZE as u64)?;
        // A device must not take away what we look at.
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let mut memory = Memory { file, known: vec![0; SIZE], now: vec![0; SIZE] };
        memory.refresh()?;
        Ok(memory)
    }

    /// Back to the content of fresh memory.
    pub(super) fn refresh(&mut self) -> io::Result<()> {
        let words = (0..SIZE as u32 / 4).flat_map(|word| (0x4000_0000 + word).to_le_bytes());
        let fresh: Vec<u8> = words.collect();
        self.recall(&fresh)
    }

    /// What a device maps.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// All of it.
    pub(super) fn remember(&mut self) -> io::Result<Vec<u8>> {
        let mut all = vec![0; SIZE];
        self.file.read_exact_at(&mut all, 0)?;
        Ok(all)
    }

    /// Puts all of it in place.
    pub(super) fn recall(&mut self, all: &[u8]) -> io::Result<()> {
        self.file.write_all_at(all, 0)?;
        self.known.copy_from_slice(all.get(..SIZE).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    /// Reads at an address; `None` outside.
    pub(super) fn read(&self, address: u64, count: u64) -> io::Result<Option<Vec<u8>>> {
        let Some((offset, count)) = inside(address, count) else { return Ok(None) };
        let mut bytes = vec![0; count];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(Some(bytes))
    }

    /// Writes at an address, as the device does; `None` outside.
    pub(super) fn write(&self, address: u64, bytes: &[u8]) -> io::Result<Option<()>> {
        let Some((offset, _)) = inside(address, bytes.len() as u64) else { return Ok(None) };
        self.file.write_all_at(bytes, offset).map(Some)
    }

    /// Writes at an address, as the guest does: that is no change to be seen.
    pub(super) fn write_by_guest(&mut self, address: u64, bytes: &[u8]) -> io::Result<Option<()>> {
        if let Some((offset, count)) = inside(address, bytes.len() as u64) {
            let at = offset as usize;
            self.known[at..at + count].copy_from_slice(bytes);
        }
        self.write(address, bytes)
    }

    /// What the device wrote since this was asked last, and where.
    pub(super) fn changes(&mut self) -> io::Result<Vec<(Range<u64>, Sight)>> {
        self.file.read_exact_at(&mut self.now, 0)?;
        if self.now == self.known {
            return Ok(vec![]);
        }
        // Unchanged bytes between two that are not, but close, are shown with them.
        const CLOSE: usize = 8;
        let differ = (0..SIZE).filter(|at| self.now[*at] != self.known[*at]);
        let mut spans: Vec<Range<usize>> = vec![];
        for at in differ {
            match spans.last_mut() {
                Some(span) if at < span.end + CLOSE => span.end = at + 1,
                _ => spans.push(at..at + 1),
            }
        }
        let sight = |span: Range<usize>| {
            let address = |at: usize| ADDRESSES.start + at as u64;
            let bytes = self.now[span.clone()].to_vec();
            let sight = Sight::Memory { address: address(span.start), bytes };
            (address(span.start)..address(span.end), sight)
        };
        let sights = spans.into_iter().map(sight).collect();
        std::mem::swap(&mut self.now, &mut self.known);
        Ok(sights)
    }
}

/// Offset and count of what lies in the memory as a whole.
fn inside(address: u64, count: u64) -> Option<(u64, usize)> {
    let end = address.checked_add(count)?;
    let offset = address.checked_sub(ADDRESSES.start)?;
    (end <= ADDRESSES.end).then_some((offset, count as usize))
}
