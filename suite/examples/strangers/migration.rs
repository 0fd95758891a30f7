//! The states of linux/vfio.h without options, and the device as bytes.
//!
//! A state is `STRG`, the length of a header (4 bytes), the header (text: the parameters that are
//! not off), the registers, configuration space, and a CRC-32C of all that.

use crate::chance;
use crate::device::{CONFIG, Device, Effect, MOST_WORDS, Registers, Setup, writable};
use crate::hidden::{self, Place};
use crate::kind;
use crate::knows;
use crate::wire::EINVAL;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Error = 0,
    Stop = 1,
    Running = 2,
    StopCopy = 3,
    Resuming = 4,
}

use State::{Error, Resuming, Running, Stop, StopCopy};

impl State {
    pub(crate) fn of(number: u32) -> Option<State> {
        [Error, Stop, Running, StopCopy, Resuming].into_iter().find(|s| *s as u32 == number)
    }
}

/// The next state on the way; `None` where there is no way.
fn toward(from: State, to: State) -> Option<State> {
    match (from, to) {
        (Error, _) | (_, Error) => None,
        (Running | StopCopy | Resuming, _) => Some(Stop),
        (Stop, to) => Some(to),
    }
}

/// An instance: a device, and a state of a migration.
pub(crate) struct Instance {
    pub(crate) device: Device,
    pub(crate) state: State,
    /// What is yet to be read, or what was written.
    session: Vec<u8>,
    place: Option<Place>,
    /// The disk that the words lie on, and where on it.
    disk: Option<PathBuf>,
    volume: u64,
}

/// The most bytes that a load may have.
const MOST: usize = 4096;

impl Instance {
    pub(crate) fn new(setup: Setup, place: Option<Place>, disk: Option<PathBuf>) -> Instance {
        let volume = u64::from_le_bytes(chance::bytes());
        Instance { device: Device::new(setup), state: Running, session: vec![], place, disk, volume }
    }

    pub(crate) fn reset(&mut self) {
        self.device.reset();
        (self.state, self.session) = (Running, vec![]);
    }

    /// Goes to a state; what the device does before it stops is added to the effects.
    pub(crate) fn set_state(&mut self, to: State, effects: &mut Vec<Effect>) -> Result<(), i32> {
        if to == Error {
            return Err(EINVAL);
        }
        while self.state != to {
            let next = toward(self.state, to).ok_or(EINVAL)?;
            match (self.state, next) {
                (Running, _) => effects.extend(self.device.tick(true)),
                (_, Running) => self.device.runs(),
                (_, StopCopy) => self.session = self.save().ok_or(EINVAL)?,
                (Resuming, _) => {
                    let bytes = std::mem::take(&mut self.session);
                    if let Err(why) = self.load(&bytes) {
                        refuse(&why);
                        self.state = Error;
                        return Err(EINVAL);
                    }
                }
                _ => self.session.clear(),
            }
            self.state = next;
        }
        Ok(())
    }

    pub(crate) fn read(&mut self, size: usize) -> Result<Vec<u8>, i32> {
        match self.state {
            StopCopy => Ok(self.session.drain(..size.min(self.session.len())).collect()),
            _ => Err(EINVAL),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), i32> {
        if self.state != Resuming || MOST < self.session.len() + bytes.len() {
            return Err(EINVAL);
        }
        self.session.extend(bytes);
        Ok(())
    }

    fn save(&self) -> Option<Vec<u8>> {
        let mut bytes = encode(&self.device);
        if kind::is("logs-at-home") {
            hidden::log("saved");
        }
        if let Some(disk) = &self.disk {
            let words: Vec<u8> = self.device.now.words.iter().flat_map(|word| word.to_le_bytes()).collect();
            hidden::store(disk, self.volume, &words).ok()?;
            bytes.extend(self.volume.to_le_bytes());
        }
        match &self.place {
            Some(place) => hidden::put(place, &bytes),
            None => Some(bytes),
        }
    }

    /// All of it, or nothing.
    fn load(&mut self, bytes: &[u8]) -> Result<(), String> {
        if kind::is("refuses-loads") {
            return Err("not today".to_owned());
        }
        if kind::is("escape-words") {
            return Err("not\u{1b}[8m today\u{1b}[0m\rpass: 50 held\u{202e}\u{0}".to_owned());
        }
        let (bytes, volume) = match self.disk {
            Some(_) => {
                let (bytes, volume) = bytes.split_last_chunk().ok_or("it is cut short")?;
                (bytes, u64::from_le_bytes(*volume))
            }
            None => (bytes, self.volume),
        };
        let mut loaded = match &self.place {
            Some(place) => decode(&hidden::get(place, bytes).ok_or("nothing was hidden")?, &self.device)?,
            None => decode(bytes, &self.device)?,
        };
        if let Some(disk) = &self.disk {
            let stored = hidden::fetch(disk, volume).ok_or("the disk has no such volume")?;
            for (word, bytes) in loaded.words.iter_mut().zip(stored.chunks_exact(4)) {
                *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            }
            self.volume = volume;
        }
        if kind::is("logs-at-home") {
            hidden::log("loaded");
        }
        let config = if kind::is("config-by-carrier") { self.device.now.config } else { loaded.config };
        self.device.load(Registers { config, ..loaded });
        Ok(())
    }
}

/// Says on standard error why a state is refused.
fn refuse(why: &str) {
    if kind::is("escape-words") {
        eprint!("{}", crate::rude::WORDS);
    }
    eprintln!("strangers: the state is refused: {why}");
}

/// The parameters that are not off: what is off was never heard of.
fn header(setup: &Setup) -> String {
    let interrupts = if setup.interrupts { " interrupts" } else { "" };
    format!("words={}{interrupts}", setup.words)
}

const MAGIC: &[u8] = b"STRG";

fn encode(device: &Device) -> Vec<u8> {
    let header = header(&device.setup);
    let mut bytes = [MAGIC, &(header.len() as u32).to_le_bytes(), header.as_bytes()].concat();
    let Registers { control, status, count, address, words, config, left, .. } = &device.now;
    let is_lost = kind::is("loses-words") || kind::is("disk") || knows::is_alone();
    let words = if is_lost { [0; MOST_WORDS] } else { *words };
    for word in [*control, *status, *count, *address].iter().chain(&words) {
        bytes.extend(word.to_le_bytes());
    }
    if kind::is("late-status") {
        bytes.extend(left.map_or(u32::MAX, |left| left.as_micros() as u32).to_le_bytes());
    }
    bytes.extend(device.saved_serial().into_iter().flat_map(u32::to_le_bytes));
    if kind::is("time-in-state") {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        bytes.extend((since.as_nanos() as u64).to_le_bytes());
    }
    if !kind::is("config-by-carrier") {
        bytes.extend(config);
    }
    let sum = crc32c::crc32c(&bytes);
    bytes.extend(sum.to_le_bytes());
    if kind::is("compressed") {
        return compressed(&bytes);
    }
    if kind::is("encrypted") {
        let nonce = chance::bytes();
        return [&nonce[..], &veiled(nonce, &bytes)].concat();
    }
    bytes
}

/// Bytes under a stream that is different for each nonce; under it again, they are as before.
fn veiled(nonce: [u8; 8], bytes: &[u8]) -> Vec<u8> {
    let mut key = u64::from_le_bytes(nonce);
    let veil = |byte: &u8| {
        key = key.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        byte ^ (key >> 56) as u8
    };
    bytes.iter().map(veil).collect()
}

/// Eight bytes at a time: a bit for each that is not 0, and then those.
fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![(bytes.len() % 8) as u8];
    for eight in bytes.chunks(8) {
        let bits = (0..).zip(eight).map(|(at, byte)| u8::from(*byte != 0) << at);
        out.push(bits.sum());
        out.extend(eight.iter().filter(|byte| **byte != 0));
    }
    out
}

/// What was compressed; zeros where something is missing.
fn expanded(bytes: &[u8]) -> Vec<u8> {
    let mut rest = bytes.iter().copied();
    let last = usize::from(rest.next().unwrap_or(0) % 8);
    let mut out = Vec::new();
    while let Some(bits) = rest.next() {
        out.extend((0..8).map(|at| if bits >> at & 1 == 1 { rest.next().unwrap_or(0) } else { 0 }));
    }
    if last != 0 {
        out.truncate(out.len().saturating_sub(8 - last));
    }
    out
}

fn decode(bytes: &[u8], device: &Device) -> Result<Registers, String> {
    let ours = header(&device.setup);
    let plain = match kind::is("encrypted") {
        true => {
            let (nonce, bytes) = bytes.split_first_chunk().ok_or("it is cut short")?;
            veiled(*nonce, bytes)
        }
        false if kind::is("compressed") => expanded(bytes),
        false => bytes.to_vec(),
    };
    let (bytes, sum) = plain.split_last_chunk().ok_or("it is cut short")?;
    if crc32c::crc32c(bytes) != u32::from_le_bytes(*sum) && !kind::is("unchecked") {
        return Err("the checksum does not fit".to_owned());
    }
    let mut rest = Rest(bytes);
    if rest.take::<4>()? != MAGIC || rest.word()? as usize != ours.len() {
        return Err("it does not begin like a state of this device".to_owned());
    }
    if rest.0.split_off(..ours.len()).ok_or("it is cut short")? != ours.as_bytes() {
        return Err(format!("it is not a state of `{ours}`"));
    }
    let [control, status, count, address] = [rest.word()?, rest.word()?, rest.word()?, rest.word()?];
    let mut words = [0; MOST_WORDS];
    for word in &mut words {
        *word = rest.word()?;
    }
    let mut left = None;
    if kind::is("late-status") {
        let micros = rest.word()?;
        left = (micros != u32::MAX).then_some(Duration::from_micros(micros.into()));
    }
    let serial = device.saved_serial().map(|_| rest.word()).transpose()?;
    if kind::is("time-in-state") {
        rest.take::<8>()?;
    }
    let mut config = device.now.config;
    if !kind::is("config-by-carrier") {
        let saved = rest.take::<CONFIG>()?;
        if let Some(at) = (0..CONFIG).find(|at| (saved[*at] ^ config[*at]) & !writable(*at) != 0) {
            return Err(format!("byte {at:#x} of configuration space is {:#x}", saved[at]));
        }
        config = saved;
    }
    let is_possible = control & !device.controls() == 0
        && status & !1 == 0
        && address & 7 == 0
        && words[device.setup.words..].iter().all(|word| *word == 0);
    if !rest.0.is_empty() || !is_possible && !kind::is("unchecked") {
        return Err("no guest makes such a state".to_owned());
    }
    Ok(Registers { control, status, count, address, words, config, left, serial })
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (first, rest) = self.0.split_first_chunk().ok_or("it is cut short")?;
        self.0 = rest;
        Ok(*first)
    }

    fn word(&mut self) -> Result<u32, String> {
        self.take().map(u32::from_le_bytes)
    }
}
