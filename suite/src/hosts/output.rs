//! What a program prints: its beginning and its end, so that a flood costs nothing.

use std::collections::VecDeque;
use std::io::{self, PipeReader, Read};

/// Bytes that are kept of the beginning and of the end.
const HEAD: usize = 4 << 10;
const TAIL: usize = 16 << 10;

/// The two ends of what a program prints.
#[derive(Debug)]
pub(super) struct Output {
    from: PipeReader,
    head: Vec<u8>,
    pub(super) tail: VecDeque<u8>,
    /// Bytes that were printed.
    pub(super) total: u64,
    /// Whether nobody can print any more.
    pub(super) ended: bool,
}

impl Output {
    pub(super) fn new(from: PipeReader) -> Output {
        Output { from, head: Vec::new(), tail: VecDeque::new(), total: 0, ended: false }
    }

    /// What it is read from.
    pub(super) fn from(&self) -> &PipeReader {
        &self.from
    }

    /// Takes what there is now; who never stops printing must not keep us here.
    pub(super) fn drain(&mut self) {
        const MOST: u64 = 1 << 20;
        let mut bytes = [0; 64 << 10];
        let before = self.total;
        while !self.ended && self.total - before < MOST {
            match self.from.read(&mut bytes) {
                Ok(0) => self.ended = true,
                Ok(n) => self.keep(&bytes[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.ended = true,
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = HEAD.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..room]);
        self.tail.extend(&bytes[bytes.len().saturating_sub(TAIL)..]);
        let excess = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..excess);
    }

    /// All of it, or both ends.
    pub(super) fn text(&self) -> String {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        let both = match self.total.saturating_sub(tail.len() as u64) {
            0 => tail,
            gap if gap <= self.head.len() as u64 => {
                [self.head.get(..gap as usize).unwrap_or_default(), &tail].concat()
            }
            _ => [&self.head, b"\n...\n".as_slice(), &tail].concat(),
        };
        String::from_utf8_lossy(&both).into_owned()
    }
}
