//! The clock itself: what the guest driver sees, and what happens behind it.
//!
//! Time is what the guest makes it: a write to TICK lets so many ticks pass.
//!
//! | offset | register | |
//! |---|---|---|
//! | 0x00 | ID | read only |
//! | 0x04 | SECONDS | the time |
//! | 0x08 | TICK | read: ticks since the last second; write: that many ticks pass, 255 at most |
//! | 0x0c | ALARM | when SECONDS gets there, STATUS bit 0 |
//! | 0x10 | CONTROL | enables: bit 0 alarm interrupt, bit 1 second interrupt, bit 2 log |
//! | 0x14 | STATUS | write 1 to clear: bit 0 alarm, bit 1 second |
//! | 0x18 | PAGE | of battery-backed memory |
//! | 0x1c | LOG | address of eight log records of eight bytes |
//! | 0x20 | SIZE | of battery-backed memory, read only |
//! | 0x24 | TRIM | by how many ticks a second is longer than eight, read only |
//! | 0x40 | | that page, of 64 bytes |
//!
//! Words are written whole; other writes have no effect, and no read has one.

use crate::fault;

pub(crate) const BAR: u32 = 0;
pub(crate) const CONFIG_SPACE: u32 = 7;
pub(crate) const BAR_SIZE: u64 = 0x80;
pub(crate) const CONFIG_SIZE: u64 = 0x100;

/// Battery-backed memory is seen in pages, and sent in blocks.
pub(crate) const PAGE: usize = 64;
pub(crate) const BLOCK: usize = 16;

const TICKS: u32 = 8;
const ALARM: u32 = 1;
const SECOND: u32 = 2;
const LOG: u32 = 4;
const BUS_MASTER: u8 = 4;

/// The parameters of an instance; each is 0 when it is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) nvram: usize,
    pub(crate) log: bool,
    pub(crate) periodic: bool,
    pub(crate) trim: u32,
    /// Whether this is release 2; only a fault asks.
    pub(crate) newest: bool,
}

/// What the clock does to the world outside.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Interrupt(usize),
    Write { address: u64, bytes: [u8; 8] },
}

#[derive(Clone, Debug)]
pub(crate) struct Clock {
    pub(crate) setup: Setup,
    pub(crate) seconds: u32,
    pub(crate) fraction: u32,
    pub(crate) alarm: u32,
    pub(crate) control: u32,
    pub(crate) status: u32,
    pub(crate) page: u32,
    pub(crate) log: u32,
    /// Which log record is next; no register shows it.
    pub(crate) logged: u32,
    pub(crate) nvram: Vec<u8>,
    pub(crate) config: [u8; Clock::CONFIG],
    /// The interrupts that are enabled: derived from CONTROL when it is written.
    pub(crate) armed: u32,
    /// The blocks of memory that a save in progress has yet to send.
    pub(crate) dirty: Vec<bool>,
}

impl Clock {
    /// So much of configuration space is not zero.
    pub(crate) const CONFIG: usize = 0x4c;

    /// A fresh instance.
    pub(crate) fn new(setup: Setup) -> Clock {
        let mut config = [0; Clock::CONFIG];
        for &(at, value, _) in CONFIG {
            config[at] = value;
        }
        let (nvram, dirty) = (vec![0; setup.nvram], vec![true; setup.nvram / BLOCK]);
        Clock {
            setup,
            seconds: 0,
            fraction: 0,
            alarm: 0,
            control: 0,
            status: 0,
            page: 0,
            log: 0,
            logged: 0,
            nvram,
            config,
            armed: 0,
            dirty,
        }
    }

    /// The bits of CONTROL that this configuration has.
    pub(crate) fn controls(&self) -> u32 {
        let periodic = if self.setup.periodic { SECOND } else { 0 };
        ALARM | periodic | if self.setup.log { LOG } else { 0 }
    }

    /// How many pages memory has.
    pub(crate) fn pages(&self) -> u32 {
        (self.nvram.len() / PAGE) as u32
    }

    /// How many ticks a second has.
    pub(crate) fn ticks(&self) -> u32 {
        TICKS + self.setup.trim
    }

    pub(crate) fn arm(&mut self) {
        self.armed = self.control & (ALARM | SECOND);
    }

    /// What the guest reads; past the end there is nothing.
    pub(crate) fn read(&self, region: u32, offset: u64, count: usize) -> Option<Vec<u8>> {
        let bytes = match region {
            BAR => [&self.words().map(u32::to_le_bytes).concat(), self.shown()].concat(),
            CONFIG_SPACE => [&self.config[..], &[0; CONFIG_SIZE as usize - Clock::CONFIG]].concat(),
            _ => return None,
        };
        let from = usize::try_from(offset).ok()?;
        bytes.get(from..from.checked_add(count)?).map(<[u8]>::to_vec)
    }

    fn words(&self) -> [u32; 0x40 / 4] {
        const ID: u32 = 0x0043_5452;
        let size = self.setup.nvram as u32;
        let known = [ID, self.seconds, self.fraction, self.alarm, self.control, self.status];
        let rest = [self.page, self.log, size, self.setup.trim];
        let mut words = [0; 0x40 / 4];
        words[..6].copy_from_slice(&known);
        words[6..10].copy_from_slice(&rest);
        words
    }

    /// The page that the guest sees.
    fn shown(&self) -> &[u8] {
        &self.nvram[self.page as usize * PAGE..][..PAGE]
    }

    /// What the guest writes.
    pub(crate) fn write(&mut self, region: u32, offset: u64, bytes: &[u8]) -> Option<Vec<Effect>> {
        let mut effects = Vec::new();
        let end = offset.checked_add(bytes.len() as u64)?;
        match region {
            BAR if end <= BAR_SIZE => {
                let words =
                    if offset.is_multiple_of(4) && bytes.len().is_multiple_of(4) { bytes } else { &[] };
                let words = words.chunks_exact(4).map(|word| [word[0], word[1], word[2], word[3]]);
                for (at, word) in (offset..).step_by(4).zip(words) {
                    self.set(at, u32::from_le_bytes(word), &mut effects);
                }
            }
            CONFIG_SPACE if end <= CONFIG_SIZE => {
                for (at, byte) in (offset as usize..).zip(bytes) {
                    let mask = CONFIG.iter().find(|row| row.0 == at).map_or(0, |row| row.2);
                    if mask != 0 {
                        self.config[at] = self.config[at] & !mask | byte & mask;
                    }
                }
            }
            _ => return None,
        }
        Some(effects)
    }

    fn set(&mut self, offset: u64, value: u32, effects: &mut Vec<Effect>) {
        match offset {
            0x04 => self.seconds = value,
            0x08 => (0..value & 0xff).for_each(|_| self.tick(effects)),
            0x0c => self.alarm = value,
            0x10 => {
                let before = self.status & self.armed;
                self.control = value & self.controls();
                self.arm();
                interrupts(self.status & self.armed & !before, effects);
            }
            0x14 => self.status &= !value,
            0x18 => self.page = value % self.pages(),
            0x1c if self.setup.log => self.log = value & !7,
            0x40.. => {
                let at = self.page as usize * PAGE + offset as usize - 0x40;
                self.nvram[at..at + 4].copy_from_slice(&value.to_le_bytes());
                self.dirty[at / BLOCK] |= !fault::is("stale-precopy");
            }
            _ => {}
        }
    }

    fn tick(&mut self, effects: &mut Vec<Effect>) {
        self.fraction += 1;
        if self.fraction < self.ticks() {
            return;
        }
        self.fraction = 0;
        self.seconds = self.seconds.wrapping_add(1);
        let alarm = if self.seconds == self.alarm { ALARM } else { 0 };
        let second = if self.setup.periodic { SECOND } else { 0 };
        let before = self.status;
        self.status |= alarm | second;
        interrupts(self.status & self.armed & !before, effects);
        if alarm != 0 && self.control & LOG != 0 {
            let place = self.logged % 8;
            self.logged = place + 1;
            if self.config[0x04] & BUS_MASTER != 0 {
                let record = u64::from(self.seconds) | u64::from(self.logged) << 32;
                let address = u64::from(self.log) + 8 * u64::from(place);
                effects.push(Effect::Write { address, bytes: record.to_le_bytes() });
            }
        }
    }
}

fn interrupts(bits: u32, effects: &mut Vec<Effect>) {
    let raised = [ALARM, SECOND].into_iter().enumerate().filter(|(_, bit)| bits & bit != 0);
    effects.extend(raised.map(|(vector, _)| Effect::Interrupt(vector)));
}

/// PCI configuration space where it is not zero: offset, first value, which bits can be written.
#[rustfmt::skip]
pub(crate) const CONFIG: &[(usize, u8, u8)] = &[
    (0x00, 0x34, 0), (0x01, 0x12, 0),                      // vendor
    (0x02, 0x54, 0), (0x03, 0x52, 0),                      // device
    (0x04, 0x06, 0x06), (0x05, 0, 0x04),                   // command: memory, bus master; no INTx
    (0x06, 0x10, 0),                                       // status: there are capabilities
    (0x0a, 0x03, 0), (0x0b, 0x08, 0),                      // a real-time clock
    (0x10, 0, 0x80), (0x11, 0, 0xff), (0x12, 0, 0xff), (0x13, 0, 0xff), // BAR 0: 128 bytes
    (0x34, 0x40, 0),                                       // capabilities
    (0x3c, 0, 0xff),                                       // interrupt line
    (0x40, 0x05, 0), (0x42, 0x02, 0x71),                   // MSI: two vectors
    (0x44, 0, 0xfc), (0x45, 0, 0xff), (0x46, 0, 0xff), (0x47, 0, 0xff),
    (0x48, 0, 0xff), (0x49, 0, 0xff),
];
