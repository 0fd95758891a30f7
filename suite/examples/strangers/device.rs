//! The device: a bell, a counter, and a few words that keep what is written to them.
//!
//! | offset | register | |
//! |---|---|---|
//! | 0x00 | ID | read only |
//! | 0x04 | CONTROL | bit 0: interrupts, if the configuration has them; bit 1: DMA |
//! | 0x08 | STATUS | bit 0: the bell was rung; write 1 to clear |
//! | 0x0c | BELL | any write rings it; reads 0 |
//! | 0x10 | COUNT | how often it was rung, read only |
//! | 0x14 | ADDRESS | COUNT is written there in guest memory, as 8 bytes, at every ring |
//! | 0x18 | WORDS | how many words there are, read only |
//! | 0x1c | EXTRA | 0, or what is odd about this device, read only |
//! | 0x20 | | the words |
//!
//! The words take writes of every size; registers are written whole, and other writes of them have no
//! effect. No read has one.

use crate::chance;
use crate::kind;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(crate) const BAR: u32 = 0;
pub(crate) const CONFIG_SPACE: u32 = 7;
pub(crate) const CONFIG_SIZE: u64 = 0x100;

/// The most words that a device has.
pub(crate) const MOST_WORDS: usize = 8;
/// How much of configuration space is not zero.
pub(crate) const CONFIG: usize = 0x4c;

/// What has its serial number in the state.
const SERIAL_SAVED: &[&str] = &["random-serial", "boot-id", "dma-serial"];
/// What shows a serial number.
const SERIAL_SHOWN: &[&str] = &["random-serial", "serial-lost", "serial-given", "boot-id"];
/// A sensor measures something else after this.
const MEASURES: u128 = 700;

const RUNG: u32 = 1;
const INTERRUPTS: u32 = 1;
const DMA: u32 = 2;
const BUS_MASTER: u8 = 4;

/// The parameters of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) words: usize,
    pub(crate) interrupts: bool,
    /// The serial number that the command line gives.
    pub(crate) serial: Option<u32>,
}

/// What the device does to the world outside.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Interrupt,
    Write { address: u64, bytes: [u8; 8] },
}

/// What is saved and loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registers {
    pub(crate) control: u32,
    pub(crate) status: u32,
    pub(crate) count: u32,
    pub(crate) address: u32,
    pub(crate) words: [u32; MOST_WORDS],
    pub(crate) config: [u8; CONFIG],
    /// How long until the bell that was rung shows; only for `late-status`.
    pub(crate) left: Option<Duration>,
    /// The serial number, where it is saved.
    pub(crate) serial: Option<u32>,
}

impl Registers {
    fn fresh() -> Registers {
        let mut config = [0; CONFIG];
        for &(at, value, _) in WRITABLE {
            config[at] = value;
        }
        Registers {
            control: 0,
            status: 0,
            count: 0,
            address: 0,
            words: [0; MOST_WORDS],
            config,
            left: None,
            serial: None,
        }
    }
}

pub(crate) struct Device {
    pub(crate) setup: Setup,
    pub(crate) now: Registers,
    /// When interrupts that are late come.
    due: Vec<Instant>,
    serial: u32,
    began: Instant,
    bar: u64,
}

impl Device {
    pub(crate) fn new(setup: Setup) -> Device {
        let is_larger = kind::is("bar-size-random") && chance::below(2) == 1;
        let bar = if is_larger { 0x80 } else { 0x40 };
        let serial = setup.serial.unwrap_or_else(chance::word);
        Device { setup, now: Registers::fresh(), due: vec![], serial, began: Instant::now(), bar }
    }

    /// The serial number, if it is a part of the state.
    pub(crate) fn saved_serial(&self) -> Option<u32> {
        SERIAL_SAVED.iter().any(|kind| kind::is(kind)).then_some(self.serial)
    }

    /// What was saved is here now.
    pub(crate) fn load(&mut self, loaded: Registers) {
        self.reset();
        self.serial = loaded.serial.unwrap_or(self.serial);
        self.now = loaded;
    }

    pub(crate) fn reset(&mut self) {
        (self.now, self.due) = (Registers::fresh(), vec![]);
    }

    pub(crate) fn size(&self, region: u32) -> u64 {
        match region {
            BAR => self.bar,
            CONFIG_SPACE => CONFIG_SIZE,
            _ => 0,
        }
    }

    /// What the guest reads; past the end there is nothing.
    pub(crate) fn read(&self, region: u32, offset: u64, count: usize) -> Option<Vec<u8>> {
        let size = self.size(region) as usize;
        let mut bytes = match region {
            BAR => self.bytes(),
            CONFIG_SPACE => self.now.config.to_vec(),
            _ => return None,
        };
        bytes.resize(size, 0);
        let is_dark = ["zeros", "only-interrupts", "only-dma"].into_iter().any(kind::is);
        if is_dark {
            bytes.fill(0);
        }
        if kind::is("constant-ff") {
            bytes.fill(0xff);
        }
        if kind::is("all-random") {
            bytes.fill_with(|| chance::word() as u8);
        }
        for (at, word) in (0_u32..).step_by(4).zip(bytes.chunks_exact_mut(4)) {
            if kind::is("constant-1") {
                word.copy_from_slice(&1_u32.to_le_bytes());
            }
            if kind::is("offset-reader") {
                word.copy_from_slice(&at.to_le_bytes());
            }
        }
        let from = usize::try_from(offset).ok()?;
        bytes.get(from..from.checked_add(count)?).map(<[u8]>::to_vec)
    }

    fn bytes(&self) -> Vec<u8> {
        const ID: u32 = 0x5354_5247;
        let Registers { control, status, count, address, words, .. } = &self.now;
        let known = [ID, *control, *status, 0, *count, *address, self.setup.words as u32, self.extra()];
        known.iter().chain(words).flat_map(|word| word.to_le_bytes()).collect()
    }

    fn extra(&self) -> u32 {
        let since = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if kind::is("clock") {
            since().as_nanos() as u32
        } else if kind::is("slow-clock") {
            since().as_secs() as u32
        } else if kind::is("clock-bits") {
            self.now.words[0] << 16 | since().as_micros() as u32 & 0xffff
        } else if SERIAL_SHOWN.iter().any(|kind| kind::is(kind)) {
            self.serial
        } else if kind::is("sensor") {
            let measured = (self.began.elapsed().as_millis() / MEASURES) as u32;
            self.serial.wrapping_add(measured).wrapping_mul(0x9e37_79b1) >> 24
        } else if kind::is("flickers") {
            u32::from(chance::below(50) == 0)
        } else if kind::is("random-register") {
            chance::word()
        } else {
            0
        }
    }

    /// What the guest writes.
    pub(crate) fn write(&mut self, region: u32, offset: u64, bytes: &[u8]) -> Option<Vec<Effect>> {
        let mut effects = Vec::new();
        let end = offset.checked_add(bytes.len() as u64)?;
        match region {
            BAR if end <= self.bar => {
                let is_words = offset.is_multiple_of(4) && bytes.len().is_multiple_of(4);
                let words = if is_words { bytes } else { &[] }.chunks_exact(4);
                for (at, word) in (offset..).step_by(4).zip(words) {
                    self.set(at, u32::from_le_bytes([word[0], word[1], word[2], word[3]]), &mut effects);
                }
                for (at, byte) in (offset..).zip(bytes) {
                    self.keep(at, *byte);
                }
            }
            CONFIG_SPACE if end <= CONFIG_SIZE => {
                for (at, byte) in (offset as usize..).zip(bytes) {
                    let mask = writable(at);
                    if mask != 0 {
                        self.now.config[at] = self.now.config[at] & !mask | byte & mask;
                    }
                }
            }
            _ => return None,
        }
        Some(effects)
    }

    fn set(&mut self, offset: u64, value: u32, effects: &mut Vec<Effect>) {
        match offset {
            0x04 => self.now.control = value & self.controls(),
            0x08 => self.now.status &= !value,
            0x0c => self.ring(effects),
            0x14 => self.now.address = value & !7,
            _ => {}
        }
    }

    /// Keeps a byte of a word.
    fn keep(&mut self, offset: u64, byte: u8) {
        let Some(at) = offset.checked_sub(0x20).map(|at| at as usize) else { return };
        if at / 4 < self.setup.words {
            let shift = 8 * (at % 4);
            let word = &mut self.now.words[at / 4];
            *word = *word & !(0xff << shift) | u32::from(byte) << shift;
        }
    }

    /// The bits of CONTROL that this configuration has.
    pub(crate) fn controls(&self) -> u32 {
        if self.setup.interrupts { INTERRUPTS | DMA } else { DMA }
    }

    fn ring(&mut self, effects: &mut Vec<Effect>) {
        self.now.count = self.now.count.wrapping_add(1);
        if kind::is("boot-id") {
            self.serial = chance::word();
        }
        if ["zeros", "constant-1", "constant-ff", "offset-reader"].into_iter().any(kind::is) {
            return;
        }
        let is_late = kind::is("late-status");
        if is_late {
            self.now.left = self.now.left.or(Some(chance::delay()));
            self.due.push(Instant::now() + self.now.left.unwrap_or_default());
        } else {
            self.now.status |= RUNG;
        }
        if self.now.control & INTERRUPTS != 0 {
            match kind::is("late-interrupts") {
                true => self.due.push(Instant::now() + chance::delay()),
                false if is_late => {}
                false => effects.push(Effect::Interrupt),
            }
        }
        if self.now.control & DMA != 0 && self.now.config[4] & BUS_MASTER != 0 {
            let mut record = u64::from(self.now.count);
            if kind::is("dma-timestamp") {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                record |= (since.as_micros() as u64) << 32;
            }
            if kind::is("dma-serial") || kind::is("dma-serial-lost") {
                record |= u64::from(self.serial) << 32;
            }
            effects.push(Effect::Write { address: self.now.address.into(), bytes: record.to_le_bytes() });
        }
    }

    /// When something happens next by itself.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.iter().min().copied()
    }

    /// What has become due; all of it where the device is about to stop, except what its state holds.
    pub(crate) fn tick(&mut self, stops: bool) -> Vec<Effect> {
        let now = Instant::now();
        if stops && kind::is("late-status") {
            // What is left goes on after the stop, here or elsewhere.
            self.now.left = self.next().map(|due| due.saturating_duration_since(now));
            self.due.clear();
            return vec![];
        }
        let before = self.due.len();
        self.due.retain(|due| !stops && now < *due);
        let over = before - self.due.len();
        if over != 0 && kind::is("late-status") {
            self.now.status |= RUNG;
            self.now.left = None;
            self.due.clear();
        }
        let is_on = self.now.control & INTERRUPTS != 0;
        (0..over).filter(|_| is_on).map(|_| Effect::Interrupt).collect()
    }

    /// It runs again.
    pub(crate) fn runs(&mut self) {
        self.due.extend(self.now.left.map(|left| Instant::now() + left));
    }
}

/// Which bits of a byte of configuration space can be written.
pub(crate) fn writable(at: usize) -> u8 {
    WRITABLE.iter().find(|row| row.0 == at).map_or(0, |row| row.2)
}

/// PCI configuration space where it is not zero: offset, first value, which bits can be written.
#[rustfmt::skip]
const WRITABLE: &[(usize, u8, u8)] = &[
    (0x00, 0x34, 0), (0x01, 0x12, 0),                      // vendor
    (0x02, 0x72, 0), (0x03, 0x53, 0),                      // device
    (0x04, 0x06, 0x06), (0x05, 0, 0x04),                   // command: memory, bus master; no INTx
    (0x06, 0x10, 0),                                       // status: there are capabilities
    (0x0b, 0xff, 0),                                       // fits no class
    (0x10, 0, 0x80), (0x11, 0, 0xff), (0x12, 0, 0xff), (0x13, 0, 0xff), // BAR 0
    (0x34, 0x40, 0),                                       // capabilities
    (0x3c, 0, 0xff),                                       // interrupt line
    (0x40, 0x05, 0), (0x42, 0, 0x01),                      // MSI: one vector
    (0x44, 0, 0xfc), (0x45, 0, 0xff), (0x46, 0, 0xff), (0x47, 0, 0xff),
    (0x48, 0, 0xff), (0x49, 0, 0xff),
];
