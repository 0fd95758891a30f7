//! The states of linux/vfio.h, and what a saved clock looks like.
//!
//! A state is a sequence of records: length of the payload (4 bytes), tag (1 byte), payload.
//!
//! | tag | payload |
//! |---|---|
//! | `H` | text: the model and every parameter that is not off; the first record |
//! | `M` | number of a block of battery-backed memory (1 byte), the block; the last one counts |
//! | `C` | configuration space |
//! | `R` | eight words: seconds, fraction, alarm, control, status, page, log, logged |
//! | `E` | CRC-32 of all bytes before this record; the last record |
//!
//! Memory is sent in PRE_COPY already, and each block again when it was written since. A load is
//! decoded to the side when RESUMING is left, and swapped in whole.

use crate::clock::{BLOCK, CONFIG, Clock, Setup};
use crate::fault;
use crate::wire::EINVAL;
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Error = 0,
    Stop = 1,
    Running = 2,
    StopCopy = 3,
    Resuming = 4,
    PreCopy = 6,
}

use State::{Error, PreCopy, Resuming, Running, Stop, StopCopy};

impl State {
    pub(crate) fn of(number: u32) -> Option<State> {
        [Error, Stop, Running, StopCopy, Resuming, PreCopy].into_iter().find(|s| *s as u32 == number)
    }

    pub(crate) fn runs(self) -> bool {
        matches!(self, Running | PreCopy)
    }
}

/// The next state on the way; `None` where there is no way.
fn toward(from: State, to: State) -> Option<State> {
    Some(match (from, to) {
        (Error, _) | (_, Error) | (StopCopy, PreCopy) => return None,
        (StopCopy, Running) if fault::is("arc-missing") => return None,
        (PreCopy, StopCopy) => StopCopy,
        (PreCopy, _) => Running,
        (Running, PreCopy) => PreCopy,
        (Running, _) => Stop,
        (Stop, PreCopy) => Running,
        (Stop, to) => to,
        (StopCopy | Resuming, _) => Stop,
    })
}

/// An instance: a clock, and a state of a migration.
pub(crate) struct Instance {
    pub(crate) clock: Clock,
    pub(crate) state: State,
    session: Session,
}

enum Session {
    None,
    /// What waits to be read, and the checksum of all that was ever put there.
    Saving(VecDeque<u8>, Crc),
    Loading(Vec<u8>),
}

/// A load of more bytes than this is none of ours.
const MOST: usize = 64 << 10;

impl Instance {
    pub(crate) fn new(setup: Setup) -> Instance {
        let state = if fault::is("fresh-stopped") { Stop } else { Running };
        Instance { clock: Clock::new(setup), state, session: Session::None }
    }

    pub(crate) fn reset(&mut self) {
        let mut clock = Clock::new(self.clock.setup.clone());
        if fault::is("applied-as-it-comes") && self.state == Error {
            clock.nvram.clone_from(&self.clock.nvram);
        }
        if fault::is("reset-keeps-alarm") {
            clock.alarm = self.clock.alarm;
        }
        *self = Instance { clock, state: Running, session: Session::None };
    }

    pub(crate) fn set_state(&mut self, to: State) -> Result<(), i32> {
        if to == Error {
            if !fault::is("error-requested") {
                return Err(EINVAL);
            }
            self.state = Error;
        }
        while self.state != to {
            let next = toward(self.state, to).ok_or(EINVAL)?;
            self.arc(next)?;
            self.state = next;
        }
        Ok(())
    }

    fn arc(&mut self, to: State) -> Result<(), i32> {
        match (self.state, to) {
            (Running, PreCopy) => self.begin(),
            (PreCopy, StopCopy) => self.finish(),
            (Stop, StopCopy) => {
                self.begin();
                self.finish();
            }
            (Stop, Resuming) => self.session = Session::Loading(Vec::new()),
            (Resuming, Stop) if fault::is("judged-late") => {}
            (Stop, Running) if fault::is("judged-late") => return self.judge(),
            (Resuming, Stop) => return self.judge(),
            _ if fault::is("session-resumed") => {}
            _ => self.session = Session::None,
        }
        Ok(())
    }

    fn begin(&mut self) {
        if matches!(&self.session, Session::Saving(rest, _) if !rest.is_empty()) {
            return; // Only where "session-resumed" is planted.
        }
        self.session = Session::Saving(VecDeque::new(), Crc::default());
        self.put(b'H', header(&self.clock.setup).as_bytes());
        if !fault::is("sent-is-clean") {
            self.clock.dirty.fill(true);
        }
    }

    fn finish(&mut self) {
        self.put_dirty();
        let fresh = Clock::new(self.clock.setup.clone());
        let config = if fault::is("config-forgotten") { fresh.config } else { self.clock.config };
        self.put(b'C', &config);
        let clock = &self.clock;
        let unless = |name: &str, word: u32| if fault::is(name) { 0 } else { word };
        let words = [
            clock.seconds,
            unless("fraction-forgotten", clock.fraction),
            unless("alarm-forgotten", clock.alarm),
            clock.control,
            clock.status,
            unless("page-forgotten", clock.page),
            clock.log,
            unless("log-place-forgotten", clock.logged),
        ];
        self.put(b'R', &words.map(u32::to_le_bytes).concat());
        if let Session::Saving(_, crc) = &self.session {
            let sum = crc.sum();
            self.put(b'E', &sum.to_le_bytes());
        }
        if fault::is("save-acknowledges") {
            self.clock.status = 0;
        }
    }

    /// The blocks of memory that were written since they were put.
    fn put_dirty(&mut self) {
        for block in 0..self.clock.dirty.len() {
            if std::mem::take(&mut self.clock.dirty[block]) {
                let bytes = &self.clock.nvram[block * BLOCK..][..BLOCK];
                let payload = [&[block as u8], bytes].concat();
                self.put(b'M', &payload);
            }
        }
    }

    fn put(&mut self, tag: u8, payload: &[u8]) {
        if let Session::Saving(out, crc) = &mut self.session {
            let record = [&(payload.len() as u32).to_le_bytes()[..], &[tag], payload].concat();
            crc.add(&record);
            out.extend(record);
        }
    }

    /// The next bytes of the state; none at its end, which in PRE_COPY is one for now.
    pub(crate) fn read(&mut self, size: usize) -> Result<Vec<u8>, i32> {
        match self.state {
            PreCopy => self.put_dirty(),
            StopCopy => {}
            _ => return Err(EINVAL),
        }
        let Session::Saving(out, _) = &mut self.session else { return Err(EINVAL) };
        Ok(out.drain(..size.min(out.len())).collect())
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), i32> {
        let Session::Loading(state) = &mut self.session else { return Err(EINVAL) };
        if self.state != Resuming || MOST < state.len() + bytes.len() {
            return Err(EINVAL);
        }
        state.extend(bytes);
        if fault::is("piece-lost") {
            let rest = records(state).last().map_or(state.len(), |record| record.rest);
            state.truncate(state.len() - rest);
        }
        if fault::is("applied-as-it-comes") {
            for record in records(state).filter(|record| record.tag == b'M') {
                let _ = memory(&mut self.clock, record.payload);
            }
        }
        Ok(())
    }

    /// The end of a load: all of it, or nothing and ERROR.
    fn judge(&mut self) -> Result<(), i32> {
        let Session::Loading(state) = std::mem::replace(&mut self.session, Session::None) else {
            return Ok(());
        };
        match decode(&state, &self.clock.setup) {
            Ok(clock) => {
                self.clock = clock;
                Ok(())
            }
            Err(why) => {
                eprintln!("rtc: the state is refused: {why}");
                self.state = if fault::is("refusal-runs") { Running } else { Error };
                Err(EINVAL)
            }
        }
    }
}

/// The model, and every parameter that is not off: what is off was never heard of.
fn header(setup: &Setup) -> String {
    let mut text = format!("rtc nvram={}", setup.nvram);
    if setup.log {
        text += " log";
    }
    if setup.periodic {
        text += " periodic";
    }
    if setup.trim != 0 || fault::is("off-is-written") && setup.newest {
        text += &format!(" trim={}", setup.trim);
    }
    text
}

struct Record<'a> {
    tag: u8,
    payload: &'a [u8],
    /// How many bytes come before it, and after it.
    before: usize,
    rest: usize,
}

/// The records that are whole.
fn records(bytes: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let before = bytes.len() - rest.len();
        let (len, after) = rest.split_first_chunk()?;
        let len = u32::from_le_bytes(*len) as usize;
        if fault::is("length-believed") {
            drop(vec![1_u8; len.min(128 << 20)]);
        }
        let (tag, after) = after.split_first()?;
        let (payload, after) = after.split_at_checked(len)?;
        rest = after;
        Some(Record { tag: *tag, payload, before, rest: after.len() })
    })
}

fn decode(bytes: &[u8], setup: &Setup) -> Result<Clock, String> {
    let mut clock = Clock::new(setup.clone());
    let mut missing = vec![true; clock.dirty.len()];
    let (mut header_seen, mut config_seen, mut registers_seen, mut end_seen) = (false, false, false, false);
    let mut rest = bytes.len();
    for record in records(bytes) {
        rest = record.rest;
        if end_seen {
            return Err("a record after the end".to_owned());
        }
        if header_seen == (record.tag == b'H') {
            return Err("it does not begin with one header".to_owned());
        }
        match record.tag {
            b'H' => {
                let (theirs, ours) = (String::from_utf8_lossy(record.payload), header(setup));
                if theirs != ours && !(fault::is("setup-ignored") && theirs.starts_with("rtc ")) {
                    return Err(format!("it is one of `{}`, not of `{ours}`", theirs.escape_debug()));
                }
                header_seen = true;
            }
            b'M' => missing[memory(&mut clock, record.payload)?] = false,
            b'C' if !config_seen => {
                config(&mut clock, record.payload)?;
                config_seen = true;
            }
            b'R' if !registers_seen => {
                registers(&mut clock, record.payload)?;
                registers_seen = true;
            }
            b'E' => {
                let mut crc = Crc::default();
                crc.add(&bytes[..record.before]);
                if record.payload != crc.sum().to_le_bytes() && !fault::is("fields-unchecked") {
                    return Err("the checksum does not fit".to_owned());
                }
                end_seen = true;
            }
            tag => return Err(format!("a record `{}` is not expected", tag.escape_ascii())),
        }
    }
    let whole = rest == 0 && config_seen && registers_seen && end_seen && !missing.contains(&true);
    if !header_seen || !(whole || fault::is("cut-accepted") || fault::is("setup-ignored")) {
        return Err("it is not whole".to_owned());
    }
    clock.dirty.fill(false);
    if !fault::is("armed-not-derived") {
        clock.arm();
    }
    Ok(clock)
}

/// Puts a block of memory where it belongs, and says which it was.
fn memory(clock: &mut Clock, payload: &[u8]) -> Result<usize, String> {
    let (block, bytes) = payload.split_first().ok_or("a block without a number")?;
    let block = usize::from(*block);
    if fault::is("fields-unchecked") {
        clock.nvram[block * BLOCK..][..BLOCK].copy_from_slice(bytes);
        return Ok(block);
    }
    let place = clock.nvram.chunks_exact_mut(BLOCK).nth(block).filter(|place| place.len() == bytes.len());
    place.ok_or(format!("there is no block {block}, or not of this size"))?.copy_from_slice(bytes);
    Ok(block)
}

fn config(clock: &mut Clock, payload: &[u8]) -> Result<(), String> {
    let bytes: [u8; Clock::CONFIG] = payload.try_into().map_err(|_| "configuration space of another size")?;
    for (at, (byte, ours)) in bytes.iter().zip(clock.config).enumerate() {
        let mask = CONFIG.iter().find(|row| row.0 == at).map_or(0, |row| row.2);
        if (byte ^ ours) & !mask != 0 && !fault::is("fields-unchecked") {
            return Err(format!("byte {at:#x} of configuration space is {byte:#x}"));
        }
    }
    clock.config = bytes;
    Ok(())
}

fn registers(clock: &mut Clock, payload: &[u8]) -> Result<(), String> {
    const WORDS: usize = 8;
    let mut words = [0; WORDS];
    if payload.len() != 4 * WORDS {
        return Err("registers of another size".to_owned());
    }
    for (word, bytes) in words.iter_mut().zip(payload.chunks_exact(4)) {
        *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    let [seconds, fraction, alarm, control, status, page, log, logged] = words;
    let possible = fraction < clock.ticks()
        && control & !clock.controls() == 0
        && status & !3 == 0
        && page < clock.pages()
        && log.is_multiple_of(8)
        && logged <= 8;
    if !possible && !fault::is("fields-unchecked") && !fault::is("setup-ignored") {
        return Err("registers that no guest can make".to_owned());
    }
    (clock.seconds, clock.fraction, clock.alarm, clock.control) = (seconds, fraction, alarm, control);
    (clock.status, clock.page, clock.log, clock.logged) = (status, page, log, logged);
    Ok(())
}

/// CRC-32 as of IEEE 802.3, bit by bit.
#[derive(Default)]
struct Crc(u32);

impl Crc {
    fn add(&mut self, bytes: &[u8]) {
        let mut sum = !self.0;
        for byte in bytes {
            sum ^= u32::from(*byte);
            for _ in 0..8 {
                sum = sum >> 1 ^ if sum & 1 != 0 { 0xedb8_8320 } else { 0 };
            }
        }
        self.0 = !sum;
    }

    fn sum(&self) -> u32 {
        self.0
    }
}
