//! What reference devices have in common: the state machine, data sessions, and the envelope.
//!
//! A device tells how it saves, loads and steps ([`Reference`]); [`Engine`] makes a migratable
//! device of it, and of the faults those that are not in the hardware.

use super::fault::{Fault, Faults};
use migcert_core::device::{
    Capabilities, Device, Interface, Machine, NoWalk, Options, Seen, State, Step, walk,
};
use migcert_core::envelope::BadState;
use migcert_core::envelope::read::{Reader, Sections};
use migcert_core::envelope::write::{Outgoing, Writer};
use migcert_core::error::{Error, Refusal};
use migcert_core::model::ModelId;
use migcert_core::version::Setup;

/// The hardware of a reference device and its state.
pub trait Reference: Send {
    /// The optional states.
    fn options(&self) -> Options;
    /// What the guest sees.
    fn interface(&self) -> Interface;
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
    /// Loads bytes after the end mark; only a faulty device gets any.
    fn load_tail(&mut self, tail: &[u8]);
    /// Loads a state without envelope; only a faulty device gets one.
    fn load_plain(&mut self, bytes: &[u8]) -> Result<(), BadState>;
    /// Saves one; likewise.
    fn save_plain(&mut self) -> Result<Vec<u8>, Error>;
    /// Back to a fresh instance.
    fn reset(&mut self);
    /// The device stops, or goes on.
    fn pause(&mut self, paused: bool);
    /// One guest step.
    fn step(&mut self, step: &Step) -> Seen;
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

/// A state on its way in. Without planted faults only the reader is used.
struct Loading {
    reader: Reader,
    refused: Option<BadState>,
    /// All of it, for faults that look at it once more.
    bytes: Vec<u8>,
}

#[derive(Default)]
struct Scar {
    refused_once: bool,
    loaded_once: bool,
    unjudged: Option<BadState>,
    first_pass_done: bool,
    left_over: Option<Outgoing>,
    last: Outgoing,
}

impl<R: Reference> Engine<R> {
    /// A fresh instance, RUNNING.
    pub fn new(device: R, faults: Faults) -> Engine<R> {
        let state = if faults.has(Fault::FreshStopped) { State::Stop } else { State::Running };
        Engine { device, state, session: Session::Closed, faults, scar: Scar::default() }
    }

    fn has(&self, fault: Fault) -> bool {
        self.faults.has(fault)
    }

    fn is_plain(&self) -> bool {
        [Fault::PlainFormat, Fault::FieldsUnchecked, Fault::CutAccepted, Fault::ReservesClaims]
            .into_iter()
            .any(|fault| self.has(fault))
    }

    /// One arc of the table. What fails leaves the state as it was, or in ERROR.
    fn enter(&mut self, to: State) -> Result<(), Error> {
        match (self.state, to) {
            (State::Resuming, State::Stop) => {
                let Session::Loading(loading) = std::mem::replace(&mut self.session, Session::Closed) else {
                    return Err(BadState::ByDevice("nothing was loaded".to_owned()).into());
                };
                let bytes =
                    if self.has(Fault::RefusalSurvivesReset) { loading.bytes.clone() } else { vec![] };
                if let Err(why) = self.judge(*loading) {
                    self.device.load_tail(&bytes);
                    self.scar.refused_once = true;
                    self.state = if self.has(Fault::RefusalRuns) { State::Running } else { State::Error };
                    return Err(why.into());
                }
                self.scar.loaded_once = true;
            }
            (_, State::Resuming) => {
                let (model, list) = self.device.identity();
                let reader = Reader::new(model, list);
                let loading = Loading { reader, refused: None, bytes: Vec::new() };
                self.session = Session::Loading(Box::new(loading));
            }
            (_, State::PreCopy | State::PreCopyP2p) if !self.state.saves() => {
                let mut writer = self.writer();
                let keeps = self.has(Fault::CancelKeepsSession);
                if !std::mem::replace(&mut self.scar.first_pass_done, keeps) {
                    self.device.save(Pass::First, &mut writer)?;
                }
                if self.has(Fault::PrecopyConsumes) {
                    self.device.save(Pass::Last, &mut writer)?;
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
        self.state = to;
        self.device.pause(!to.runs());
        Ok(())
    }

    fn writer(&self) -> Writer {
        let (model, list) = self.device.identity();
        Writer::new(model, list)
    }

    fn finish(&mut self) -> Result<(), Error> {
        if self.is_plain() {
            self.session = Session::Finished(self.device.save_plain()?.into());
            return Ok(());
        }
        let (mut writer, consumed) = match std::mem::replace(&mut self.session, Session::Closed) {
            Session::Open(writer) => (*writer, self.has(Fault::PrecopyConsumes)),
            _ => {
                let mut writer = self.writer();
                self.device.save(Pass::First, &mut writer)?;
                (writer, false)
            }
        };
        if !consumed {
            self.device.save(Pass::Last, &mut writer)?;
        }
        let mut out = writer.finish();
        if let (true, Some(left)) = (self.has(Fault::SessionResumed), self.scar.left_over.take()) {
            out = left;
        }
        if self.has(Fault::EndForgotten) || self.has(Fault::ReadableOutside) {
            self.scar.last = out.clone();
        }
        self.session = Session::Finished(out);
        Ok(())
    }

    fn close(&mut self) {
        if let (Session::Finished(out), true) =
            (std::mem::replace(&mut self.session, Session::Closed), self.has(Fault::SessionResumed))
        {
            self.scar.left_over = (!out.is_empty()).then_some(out);
        }
    }

    /// Judges what was written and swaps it in.
    fn judge(&mut self, loading: Loading) -> Result<(), BadState> {
        if self.has(Fault::LoadedOnce) && self.scar.loaded_once {
            return Ok(());
        }
        if self.has(Fault::RefusalSticks) && self.scar.refused_once {
            return Err(BadState::ByDevice("the device is busy with a failed load".to_owned()));
        }
        if self.has(Fault::EmptyAccepted) && loading.bytes.is_empty() {
            return Ok(());
        }
        let result = self.load(loading);
        match result {
            Err(_) if self.has(Fault::ErrorSwallowed) => Ok(()),
            Err(why) if self.has(Fault::JudgedLate) => {
                self.scar.unjudged = Some(why);
                Ok(())
            }
            result => result,
        }
    }

    fn load(&mut self, loading: Loading) -> Result<(), BadState> {
        if self.is_plain() {
            return self.device.load_plain(&loading.bytes);
        }
        let mut reader = loading.reader;
        let mut tail = &[][..];
        if let Some(why) = loading.refused {
            reader = match why {
                BadState::OtherSetup { saved, .. } if self.has(Fault::OtherSetupAccepted) => {
                    let mut reader = Reader::new(self.device.identity().0, &saved);
                    reader.push(&loading.bytes)?;
                    reader
                }
                BadState::AfterEnd if self.has(Fault::TailIgnored) || self.has(Fault::TailApplied) => {
                    let (model, list) = self.device.identity();
                    let mut reader = Reader::new(model, list);
                    let bytes = loading.bytes.chunks(1);
                    let end = bytes.take_while(|byte| reader.push(byte).is_ok()).count();
                    tail = &loading.bytes[end..];
                    reader = Reader::new(model, list);
                    reader.push(&loading.bytes[..end])?;
                    reader
                }
                why => return Err(why),
            };
        }
        self.device.load(reader.finish()?)?;
        if self.has(Fault::TailApplied) {
            self.device.load_tail(tail);
        }
        Ok(())
    }
}

impl<R: Reference> Device for Engine<R> {
    fn capabilities(&self) -> Capabilities {
        let interface = self.device.interface();
        let options = self.device.options();
        Capabilities { options, machine: Machine::Device, can_reset: true, interface }
    }

    fn state(&mut self) -> Result<State, Error> {
        match self.state {
            State::PreCopy if self.has(Fault::StateUnreported) => Ok(State::Running),
            state => Ok(state),
        }
    }

    fn set_state(&mut self, to: State) -> Result<(), Error> {
        let from = self.state;
        let path = match walk(from, to, self.device.options()) {
            Ok(_) if self.has(Fault::ArcMissing) && (from, to) == (State::StopCopy, State::Running) => {
                return Err(Refusal::from(NoWalk { from, to }).into());
            }
            Err(_) if self.has(Fault::IllegalArc) && (from, to) == (State::StopCopy, State::PreCopy) => {
                vec![State::PreCopy]
            }
            Err(_) if self.has(Fault::ErrorRequested) && to == State::Error => vec![State::Error],
            path => path.map_err(Refusal::from)?,
        };
        path.into_iter().try_for_each(|state| self.enter(state))
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
            _ if self.faults.has(Fault::ReadableOutside) && self.state == State::Stop => {
                return Ok(self.scar.last.read(into));
            }
            _ => return Err(Refusal::NotIn { what: "read state", state: self.state }.into()),
        };
        let read = out.read(into);
        if read == 0 && self.faults.has(Fault::EndForgotten) {
            *out = std::mem::take(&mut self.scar.last);
        }
        if read == into.len() && read < 1024 && self.faults.has(Fault::ShortReadTruncates) {
            out.read(&mut [0]);
        }
        Ok(read)
    }

    fn write_state(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.len() < 4 && self.has(Fault::PieceLost) {
            return Ok(());
        }
        let faulty = self.faults != Faults::default();
        let Session::Loading(loading) = &mut self.session else {
            return Err(Refusal::NotIn { what: "write state", state: self.state }.into());
        };
        if faulty {
            loading.bytes.extend_from_slice(bytes);
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
        let nothing = self.has(Fault::EstimateNothing);
        Ok(Some(if nothing { 0 } else { self.device.estimate() as u64 }))
    }

    fn reset(&mut self) -> Result<(), Error> {
        if self.state == State::Resuming && self.has(Fault::ResetKeepsState) {
            return Ok(());
        }
        self.session = Session::Closed;
        self.scar.unjudged = None;
        self.device.reset();
        self.device.pause(false);
        self.state = State::Running;
        Ok(())
    }

    fn guest(&mut self, step: &Step) -> Result<Seen, Error> {
        match step {
            Step::Pass(_) if !self.state.runs() => {
                let works = self.has(Fault::WorksInStop) && self.state == State::Stop;
                Ok(if works { self.device.step(step) } else { Seen::default() })
            }
            _ if !self.state.runs() => {
                Err(Refusal::NotIn { what: "use the device", state: self.state }.into())
            }
            _ => Ok(self.device.step(step)),
        }
    }

    fn guest_memory(&mut self) -> Result<Vec<u8>, Error> {
        Ok(Vec::new())
    }

    fn set_guest_memory(&mut self, _memory: &[u8]) -> Result<(), Error> {
        Ok(())
    }

    fn footprint(&mut self) -> Result<Option<u64>, Error> {
        Ok(None)
    }
}
