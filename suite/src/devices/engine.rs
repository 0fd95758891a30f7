//! What reference devices have in common: the state machine, data sessions, and the envelope.
//!
//! A device tells how it saves, loads and steps ([`Reference`]); [`Engine`] makes a migratable
//! device of it, and of the faults those that are not in the hardware.

use super::fault::{Fault, Faults};
use super::memory::Memory;
use faults::*;
use load::{Loading, sum};
use migcert_core::device::{
    Capabilities, Device, Interface, Machine, NoWalk, Options, Seen, State, Step, walk,
};
use migcert_core::envelope::BadState;
use migcert_core::envelope::read::{Reader, Sections};
use migcert_core::envelope::write::{Outgoing, Writer};
use migcert_core::error::{Error, Refusal};
use migcert_core::model::ModelId;
use migcert_core::version::Setup;
use std::ops::Range;

pub mod faults;
mod load;
mod padded;
mod token;

/// A reference device: what the guest can do with it.
pub trait Reference: Stored + Send {
    /// The optional states.
    fn options(&self) -> Options;
    /// What the guest sees.
    fn interface(&self) -> Interface;
    /// Guest memory, if it has DMA.
    fn memory(&mut self) -> Option<&mut Memory>;
    /// One guest step.
    fn step(&mut self, step: &Step) -> Seen;
    /// Back to a fresh instance.
    fn reset(&mut self);
    /// The device stops, or goes on; it may be either already. What fails leaves it as it was.
    fn pause(&mut self, paused: bool) -> Result<(), Error>;
    /// Time passes while it is stopped: a good device does nothing.
    fn rest(&mut self, _units: u32) -> Seen {
        Seen::default()
    }
    /// With P2P, the device may not start an access to another, or may again.
    fn quiesce(&mut self, _quiet: bool) {}
}

/// What the engine saves and loads.
pub trait Stored {
    /// Model and migration parameter list.
    fn identity(&self) -> (&ModelId, &Setup);
    /// Writes what the state needs in this pass.
    fn save(&mut self, pass: Pass, writer: &mut Writer) -> Result<(), Error>;
    /// About how many bytes that takes, all passes together.
    fn estimate(&self) -> usize;
    /// Whether another pass in PRE_COPY would send anything.
    fn is_dirty(&self) -> bool;
    /// Decodes aside, and swaps in whole.
    fn load(&mut self, sections: Sections) -> Result<(), BadState>;
    /// Writes bytes to memory that nobody judged; only a faulty device gets any.
    fn load_tail(&mut self, tail: &[u8]);
    /// Loads a state without envelope; only a faulty device gets one, perhaps one that has
    /// [`FIELDS_UNCHECKED`].
    fn load_plain(&mut self, bytes: &[u8]) -> Result<(), BadState>;
    /// Saves one; likewise.
    fn save_plain(&mut self) -> Result<Vec<u8>, Error>;
}

/// Which part of the state is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The first: bulk memory, all of it.
    First,
    /// What of it changed since.
    Again,
    /// What changed since, and everything else: the device is stopped.
    Last,
}

/// A migratable device.
pub struct Engine<R> {
    device: R,
    state: State,
    session: Session,
    faults: Faults,
    /// What faults need to remember.
    scar: Scar,
}

enum Session {
    Closed,
    /// In PRE_COPY.
    Open(Box<Writer>),
    /// In STOP_COPY.
    Finished(Outgoing),
    Loading(Box<Loading>),
}

#[derive(Default)]
struct Scar {
    refused_once: bool,
    loaded_once: bool,
    unjudged: Option<BadState>,
    first_pass_done: bool,
    left_over: Option<Outgoing>,
    last: Outgoing,
    /// A state that was refused.
    refused: Vec<u8>,
    /// What the device was when PRE_COPY took all of it.
    consumed: Option<Vec<u8>>,
}

impl<R: Reference> Engine<R> {
    /// A fresh instance, RUNNING.
    pub fn new(device: R, faults: Faults) -> Engine<R> {
        let state = if faults.hits(&FRESH_STOPPED, true) { State::Stop } else { State::Running };
        Engine { device, state, session: Session::Closed, faults, scar: Scar::default() }
    }

    fn hits(&self, fault: &'static Fault, differs: bool) -> bool {
        self.faults.hits(fault, differs)
    }

    fn is_plain(&self) -> bool {
        [&PLAIN_FORMAT, &FIELDS_UNCHECKED, &CUT_ACCEPTED, &RESERVES_CLAIMS]
            .into_iter()
            .any(|fault| self.faults.has(fault))
    }

    /// One arc of the table. What fails leaves the state as it was, or in ERROR.
    fn enter(&mut self, to: State) -> Result<(), Error> {
        // What is saved is a device that stands still already.
        if !to.runs() {
            self.device.pause(true)?;
        }
        let crossed = self.cross(to);
        if crossed.is_ok() {
            self.state = to;
        }
        if let Some(memory) = self.device.memory()
            && memory.is_logged() != self.state.saves()
        {
            memory.keep_log(self.state.saves());
        }
        if self.state.runs() {
            self.device.pause(false)?;
        }
        self.device.quiesce(matches!(self.state, State::RunningP2p | State::PreCopyP2p));
        crossed
    }

    /// What an arc does to the session.
    fn cross(&mut self, to: State) -> Result<(), Error> {
        match (self.state, to) {
            (State::Resuming, State::Stop) => {
                let Session::Loading(loading) = std::mem::replace(&mut self.session, Session::Closed) else {
                    return Err(BadState::ByDevice("nothing was loaded".to_owned()).into());
                };
                let bytes = if self.faults.is_empty() { vec![] } else { loading.bytes.clone() };
                if let Err(why) = self.judge(*loading) {
                    self.scar.refused = bytes;
                    self.scar.refused_once = true;
                    let runs = self.hits(&REFUSAL_RUNS, true);
                    self.state = if runs { State::Running } else { State::Error };
                    return Err(why.into());
                }
                self.scar.loaded_once = true;
            }
            (_, State::Resuming) => {
                let (model, list) = self.device.identity();
                let reader = Reader::new(model, list);
                let loading = Loading { reader, refused: None, bytes: Vec::new(), packets: Vec::new() };
                self.session = Session::Loading(Box::new(loading));
            }
            (_, State::PreCopy | State::PreCopyP2p) if !self.state.saves() => {
                let mut writer = self.writer();
                if !self.hits(&CANCEL_KEEPS_SESSION, self.scar.first_pass_done) {
                    self.device.save(Pass::First, &mut writer)?;
                }
                self.scar.first_pass_done = true;
                if self.faults.has(&PRECOPY_CONSUMES) {
                    self.device.save(Pass::Last, &mut writer)?;
                    self.scar.consumed = Some(self.device.save_plain()?);
                }
                self.session = Session::Open(Box::new(writer));
            }
            (_, State::StopCopy) => self.finish()?,
            (from, _) if from.saves() && !to.saves() => self.close(),
            (State::Stop, State::Running | State::RunningP2p) => {
                if let Some(why) = self.scar.unjudged.take() {
                    return Err(why.into());
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The walk of a faulty device, which need not end where it was asked to go.
    fn astray(&self, to: State, exists: bool) -> Option<Vec<State>> {
        use State::{PreCopy, PreCopyP2p, Resuming, Running, Stop, StopCopy};
        let from = self.state;
        let in_session = from.saves() || from == Resuming;
        let detour = matches!(from, PreCopy | PreCopyP2p) && to == StopCopy;
        let walks = [
            (&ARC_MISSING, exists && (from, to) == (StopCopy, Running), vec![]),
            (&SAME_STATE_ENTERED, exists && from == to && in_session, vec![to]),
            (&DETOUR_TO_STOP_COPY, exists && detour, vec![Running, Stop, StopCopy]),
            (&ILLEGAL_ARC, !exists && (from, to) == (StopCopy, PreCopy), vec![PreCopy]),
            (&ERROR_REQUESTED, !exists && to == State::Error, vec![State::Error]),
            (&REFUSED_HALF_WAY, !exists && from.saves(), vec![Stop]),
        ];
        let wrong = walks.into_iter().find(|(fault, here, _)| *here && self.hits(fault, true));
        wrong.map(|(_, _, walk)| walk)
    }

    fn writer(&self) -> Writer {
        let (model, list) = self.device.identity();
        Writer::new(model, list)
    }

    fn finish(&mut self) -> Result<(), Error> {
        if self.is_plain() {
            let mut plain = self.device.save_plain()?;
            plain.extend(sum(&plain));
            self.session = Session::Finished(plain.into());
            return Ok(());
        }
        if self.hits(&TOKEN_FOR_STATE, true) {
            return self.finish_with_token();
        }
        if self.hits(&TOKEN_PADDED, true) {
            return self.finish_with_noise();
        }
        let mut writer = match std::mem::replace(&mut self.session, Session::Closed) {
            Session::Open(writer) => *writer,
            _ => {
                self.scar.consumed = None;
                let mut writer = self.writer();
                self.device.save(Pass::First, &mut writer)?;
                writer
            }
        };
        match self.scar.consumed.take() {
            Some(consumed) => {
                let now = self.device.save_plain()?;
                self.hits(&PRECOPY_CONSUMES, consumed != now);
            }
            None => self.device.save(Pass::Last, &mut writer)?,
        }
        let mut out = writer.finish();
        if let Some(left) = self.scar.left_over.take()
            && self.hits(&SESSION_RESUMED, true)
        {
            out = left;
        }
        if self.faults.has(&END_FORGOTTEN) || self.faults.has(&READABLE_OUTSIDE) {
            self.scar.last = out.clone();
        }
        self.session = Session::Finished(out);
        Ok(())
    }

    fn close(&mut self) {
        if let (Session::Finished(out), true) =
            (std::mem::replace(&mut self.session, Session::Closed), self.faults.has(&SESSION_RESUMED))
        {
            self.scar.left_over = (!out.is_empty()).then_some(out);
        }
    }
}

/// The largest packet that a transport of states has.
const PACKET: usize = 256 << 10;
/// So many of them are queued, where nobody counts; the machine that tests must live.
const PACKETS: usize = 256;

impl<R: Reference> Device for Engine<R> {
    fn capabilities(&self) -> Capabilities {
        let interface = self.device.interface();
        let options = self.device.options();
        Capabilities { options, machine: Machine::Device, can_reset: true, interface }
    }

    fn state(&mut self) -> Result<State, Error> {
        match self.state {
            State::PreCopy if self.hits(&STATE_UNREPORTED, true) => Ok(State::Running),
            state => Ok(state),
        }
    }

    fn set_state(&mut self, to: State) -> Result<(), Error> {
        let from = self.state;
        let right = walk(from, to, self.device.options());
        if let Some(wrong) = self.astray(to, right.is_ok()) {
            wrong.iter().try_for_each(|state| self.enter(*state))?;
            let arrived = wrong.last() == Some(&to);
            return if arrived { Ok(()) } else { Err(Refusal::from(NoWalk { from, to }).into()) };
        }
        right.map_err(Refusal::from)?.into_iter().try_for_each(|state| self.enter(state))
    }

    fn read_state(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        let pre_copy = matches!(self.state, State::PreCopy | State::PreCopyP2p);
        let out = match &mut self.session {
            Session::Open(writer) => {
                if writer.out.is_empty() && pre_copy && self.device.is_dirty() {
                    self.device.save(Pass::Again, writer)?;
                }
                &mut writer.out
            }
            Session::Finished(out) => out,
            _ if self.state == State::Running && self.faults.hits(&WRONG_GATE, true) => {
                let state = self.device.save_plain()?;
                return Ok(Outgoing::from(state).read(into));
            }
            _ if self.state == State::Stop
                && self.faults.hits(&READABLE_OUTSIDE, !self.scar.last.is_empty()) =>
            {
                return Ok(self.scar.last.read(into));
            }
            _ => return Err(Refusal::NotIn { what: "read state", state: self.state }.into()),
        };
        let read = out.read(into);
        if read == 0 && self.faults.hits(&END_FORGOTTEN, !self.scar.last.is_empty()) {
            *out = std::mem::take(&mut self.scar.last);
        }
        if read == into.len() && read < 1024 && self.faults.hits(&SHORT_READ_TRUNCATES, !out.is_empty()) {
            out.read(&mut [0]);
        }
        if read < 1024 && self.faults.hits(&PART_IS_FAILURE, !out.is_empty()) {
            return Err(Refusal::ByDevice("not all of the state was taken".to_owned()).into());
        }
        Ok(read)
    }

    fn write_state(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.len() < 4 && self.hits(&PIECE_LOST, !bytes.is_empty()) {
            return Ok(());
        }
        let faulty = !self.faults.is_empty();
        let Session::Loading(loading) = &mut self.session else {
            return Err(Refusal::NotIn { what: "write state", state: self.state }.into());
        };
        if faulty {
            loading.bytes.extend_from_slice(bytes);
        }
        if self.faults.hits(&PACKETS_UNBOUND, bytes.len() < PACKET && loading.packets.len() < PACKETS) {
            loading.packets.push(vec![0xff; PACKET]);
        }
        if let (Err(why), None) = (loading.reader.push(bytes), &loading.refused) {
            loading.refused = Some(why);
        }
        match &loading.refused {
            // Refused for good, and again at STOP, where the load is judged.
            Some(why) if !faulty => Err(why.clone().into()),
            _ => Ok(()),
        }
    }

    fn estimate(&mut self) -> Result<Option<u64>, Error> {
        let estimate = self.device.estimate() as u64;
        Ok(Some(if self.hits(&ESTIMATE_NOTHING, estimate != 0) { 0 } else { estimate }))
    }

    fn reset(&mut self) -> Result<(), Error> {
        if self.state == State::Resuming && self.hits(&RESET_KEEPS_STATE, true) {
            return Ok(());
        }
        assert!(
            !self.hits(&RELEASED_TWICE, self.scar.refused_once),
            "the session of a failed load is released twice"
        );
        let unnoticed = self.hits(&RESET_UNNOTICED, self.state.saves());
        self.session = Session::Closed;
        self.scar.unjudged = None;
        self.device.reset();
        if let Some(memory) = self.device.memory() {
            *memory = Memory::fresh();
        }
        if self.hits(&REFUSAL_SURVIVES_RESET, !self.scar.refused.is_empty()) {
            self.device.load_tail(&self.scar.refused);
        }
        self.device.pause(false)?;
        self.device.quiesce(false);
        if !unnoticed {
            self.state = State::Running;
        }
        Ok(())
    }

    fn guest(&mut self, step: &Step) -> Result<Seen, Error> {
        match step {
            Step::Pass(units) if !self.state.runs() => {
                let works = match self.state {
                    State::Stop => self.hits(&WORKS_IN_STOP, true),
                    State::StopCopy => self.hits(&CONTINUED_IN_STOP_COPY, true),
                    _ => false,
                };
                if !works {
                    return Ok(self.device.rest(*units));
                }
                self.device.pause(false)?;
                let seen = self.device.step(step);
                self.device.pause(true)?;
                Ok(seen)
            }
            _ if !self.state.runs() => {
                Err(Refusal::NotIn { what: "use the device", state: self.state }.into())
            }
            _ => Ok(self.device.step(step)),
        }
    }

    fn guest_memory(&mut self) -> Result<Vec<u8>, Error> {
        Ok(self.device.memory().map_or_else(Vec::new, |memory| memory.bytes().to_vec()))
    }

    fn set_guest_memory(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let Some(memory) = self.device.memory() {
            memory.put(bytes);
        }
        Ok(())
    }

    fn dirty_memory(&mut self) -> Result<Option<Vec<Range<usize>>>, Error> {
        Ok(self.device.memory().map(Memory::take_log))
    }

    fn footprint(&mut self) -> Result<Option<u64>, Error> {
        Ok(None)
    }
}
