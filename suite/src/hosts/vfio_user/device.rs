//! One instance: what the traits ask for, in messages.

use super::client::{self, Client};
use super::config_space::{ConfigSpace, Learned};
use super::dma_log::DmaLog;
use super::interface::{self, CONFIG, Guide};
use super::irqs::{self, Irqs};
use super::memory;
use super::outside;
use super::wire::reply::DeviceInfo;
use super::wire::request::Request;
use super::wire::{self, Access, Feature, Migration, value};
use crate::hosts::process::Memory;
use crate::hosts::reuse::Footprint;
use migcert_core::device::{
    Capabilities, Device, GUEST_MEMORY, Interface, Machine, Options, Register, Seen, Sight, State, Step, walk,
};
use migcert_core::envelope::BadState;
use migcert_core::error::{Errno, Error, Failure, Misbehaved, Refusal};
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// `ENOMSG`: nothing for now, in PRE_COPY.
const NO_MESSAGE: Option<Errno> = Some(Errno(42));

/// A device instance in a process of its own.
pub(super) struct Instance {
    /// Before the interrupts, so that it is gone first.
    client: Client,
    irqs: Irqs,
    log: DmaLog,
    guide: Guide,
    interface: Interface,
    /// What the machine carries of configuration space.
    carried: Option<Arc<Learned>>,
    /// What it carries, of a device that doesn't run: a machine has it from when the device ran last, or
    /// brought it. Devices may refuse accesses then.
    config: Option<Vec<u8>>,
    options: Options,
    can_reset: bool,
    /// The state that it said it is in when it was asked last.
    state: State,
    /// Whether its guest has done what guests do first. Moves with guest memory.
    is_up: bool,
    /// The memory of the process before it was given a state.
    before: Option<Memory>,
    /// Whether whole scripts and states are sent at once.
    sends_ahead: bool,
    /// Whether somebody asks for that: looking takes its time.
    is_measured: bool,
}

/// How an instance is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// One thing after the other.
    InTurn,
    /// Several at once, where the device can take that.
    Ahead,
}

impl Instance {
    /// An instance that was just started. `learn` gives what is known of a PCI configuration space of
    /// so many bytes.
    pub(super) fn new(
        mut client: Client,
        guide: &Guide,
        asks: Asks,
        learn: impl FnOnce(u64) -> Result<Arc<Learned>, Error>,
    ) -> Result<Instance, Error> {
        let sends_ahead = asks == Asks::Ahead && client.is_whole;
        let outside = client.outside;
        let regions = (0..outside.unwrap_or(0).min(client::MOST)).map(Request::RegionInfo);
        client.plan(regions.chain([Client::MIGRATION]));
        let info = client.info()?;
        let mut regions = Vec::new();
        for index in (0..info.regions).filter(|index| Some(*index) != outside) {
            regions.push(client.region(index)?);
        }
        regions.retain(|region| region.size != 0);
        let Migration(flags) = client.migration().map_err(not_migratable)?;
        if flags & Migration::STOP_COPY == 0 {
            let flags = format!("GET MIGRATION says {flags:#x}, without STOP_COPY");
            return Err(Refusal::NotMigratable(flags).into());
        }
        client.plan((info.irqs != 0 && !sends_ahead).then_some(Request::IrqInfo(0)));
        client.map()?;
        let irqs = if sends_ahead { Irqs::none() } else { Irqs::new(&mut client, &info)? };
        let mut carried = None;
        let interface = match outside {
            Some(region) => Interface::Registers(described(&mut client, region)?.into()),
            None => {
                let is_pci = info.flags & DeviceInfo::PCI != 0;
                let config = regions.iter().find(|region| is_pci && region.index == CONFIG);
                let learned = config.map(|region| learn(region.size)).transpose()?;
                let registers = learned.as_ref().map_or(&[][..], |learned| &learned.registers);
                let windows = interface::windows(&info, &regions, guide, registers, irqs.vectors());
                carried = learned.filter(|_| guide.config_space == ConfigSpace::Carrier);
                Interface::Windows(Arc::new(windows))
            }
        };
        let state = client.state()?;
        Ok(Instance {
            client,
            irqs: irqs.outlives_device(),
            log: DmaLog::default(),
            guide: guide.clone(),
            interface,
            carried,
            config: None,
            options: Options { p2p: flags & Migration::P2P != 0, pre_copy: flags & Migration::PRE_COPY != 0 },
            can_reset: info.flags & DeviceInfo::RESET != 0,
            state,
            is_up: false,
            before: None,
            sends_ahead,
            is_measured: asks == Asks::InTurn,
        })
    }

    /// What it takes while it waits for its next use.
    pub(super) fn takes_from_us(&self) -> Footprint {
        // Its socket, its process, what it prints, its input, its memory, and the line to its cell.
        const DESCRIPTORS: usize = 6;
        let memory = self.client.process.memory().map_or(u64::MAX, |memory| memory.now);
        Footprint { descriptors: DESCRIPTORS + 1 + self.irqs.vectors() as usize, memory }
    }

    /// What a refused change of state is: a state that is refused, or a no.
    fn refused(&mut self, from: State, to: State, failure: Failure) -> Error {
        let leaves_resuming = from == State::Resuming
            && to != State::Resuming
            && walk(from, to, self.options).is_ok_and(|path| path.first() == Some(&State::Stop));
        match leaves_resuming {
            true => BadState::from(failure).into(),
            false => Refusal::from(failure).into(),
        }
    }

    /// What [`Instance::settle`] asks first.
    fn plan_to_settle(&mut self) {
        let settles = match self.client.outside {
            Some(region) => Request::RegionRead(self.shown(region)),
            None => Client::STATE,
        };
        self.client.plan([settles]);
    }

    /// Where it is shown what a step did outside.
    fn shown(&self, region: u32) -> Access {
        match self.sends_ahead {
            true => Access { offset: outside::WHOLE, region, count: self.client.most },
            false => Access { offset: 0, region, count: FIRST.min(self.client.most) },
        }
    }

    /// The requests that a step is, with what settles it; none where it is not one access.
    fn requests<'s>(&self, step: &'s Step, region: u32, told: &'s mut Vec<u8>) -> Option<[Request<'s>; 2]> {
        let bytes = told;
        let first = match step {
            Step::Read { region: GUEST_MEMORY, .. } | Step::Write { region: GUEST_MEMORY, .. } => {
                return None;
            }
            Step::Request(_) => return None,
            Step::Read { region, offset, size } => {
                Request::RegionRead(Access { offset: *offset, region: *region, count: (*size).into() })
            }
            Step::Write { region, offset, size, value } => {
                bytes.extend(value.to_le_bytes());
                bytes.truncate((*size).into());
                let access = Access { offset: *offset, region: *region, count: bytes.len() as u32 };
                Request::RegionWrite(access, bytes)
            }
            Step::Receive(_) | Step::Pass(_) => {
                bytes.extend(step.to_string().into_bytes());
                Request::RegionWrite(Access { offset: 0, region, count: bytes.len() as u32 }, bytes)
            }
        };
        Some([first, Request::RegionRead(self.shown(region))])
    }

    /// Waits until the device is done with a step, and shows what else can be seen of it.
    fn settle(&mut self, seen: &mut Vec<Sight>) -> Result<(), Error> {
        match self.client.outside {
            Some(region) if self.sends_ahead => {
                let shown = self.client.read_some(self.shown(region))?;
                let shown = outside::see(shown).map_err(outside_is_wrong)?;
                let (interrupts, others): (Vec<_>, Vec<_>) =
                    shown.into_iter().partition(|sight| matches!(sight, Sight::Interrupt(_)));
                seen.extend(others);
                seen.extend(irqs::in_order(interrupts));
            }
            Some(region) => seen.extend(happened(&mut self.client, region)?),
            None => drop(self.client.state()?),
        }
        if self.client.is_ahead() {
            return Ok(());
        }
        seen.extend(self.irqs.raised(&mut self.client)?);
        for (span, sight) in self.client.memory.changes()? {
            self.log.saw(span.start);
            self.log.saw(span.end - 1);
            seen.push(sight);
        }
        Ok(())
    }

    fn access(&mut self, step: &Step, seen: &mut Vec<Sight>) -> Result<(), Error> {
        match step {
            Step::Read { region: GUEST_MEMORY, offset, size } => {
                let bytes = self.client.memory.read(*offset, (*size).into())?;
                seen.extend(bytes.map(|bytes| Sight::Value(value(&bytes))));
                return Ok(());
            }
            Step::Write { region: GUEST_MEMORY, offset, size, value } => {
                let bytes = value.to_le_bytes();
                let bytes = bytes.get(..usize::from(*size)).unwrap_or(&bytes);
                if self.client.memory.write_by_guest(*offset, bytes)?.is_some() {
                    let at = (*offset - memory::ADDRESSES.start) as usize;
                    self.log.changed_by_guest(at..at + bytes.len());
                }
                return Ok(());
            }
            Step::Read { region, offset, size } => {
                self.plan_to_settle();
                let wide = u64::from(*size);
                let is_volatile = self.guide.volatile.iter().any(|at| at.touches(*region, *offset, wide));
                let read = self.client.read(*region, *offset, (*size).into()).map(value);
                seen.push(match answered(read)? {
                    Ok(_) if is_volatile => Sight::Volatile,
                    Ok(value) => Sight::Value(value),
                    Err(refused) => refused,
                });
            }
            Step::Write { region, offset, size, value } => {
                self.plan_to_settle();
                let bytes = value.to_le_bytes();
                let bytes = bytes.get(..usize::from(*size)).unwrap_or(&bytes);
                let written = self.client.write(*region, *offset, bytes);
                seen.extend(answered(written)?.err());
            }
            Step::Receive(_) | Step::Pass(_) => {
                if let Some(region) = self.client.outside {
                    self.plan_to_settle();
                    self.client.write(region, 0, step.to_string().as_bytes())?;
                }
            }
            Step::Request(name) => {
                for step in self.guide.scripts.get(name).cloned().unwrap_or_default() {
                    self.access(&step, seen)?;
                }
                return Ok(());
            }
        }
        self.settle(seen)
    }
}

/// A guest sees that its access was refused, and goes on; `Err` with what it sees.
fn answered<T>(answer: Result<T, Error>) -> Result<Result<T, Sight>, Error> {
    match answer {
        Ok(value) => Ok(Ok(value)),
        Err(Error::Refused(Refusal::ByProgram(Failure { errno: Some(errno), words, .. }))) => {
            Ok(Err(Sight::Refused { errno, words }))
        }
        Err(why) => Err(why),
    }
}

/// A device that does not know what is asked of it runs all the same.
fn not_migratable(why: Error) -> Error {
    match why {
        Error::Refused(why) => Refusal::NotMigratable(why.to_string()).into(),
        other => other,
    }
}

/// Bytes of the outside region that are read first.
const FIRST: u32 = 256;

/// Reads something with its length in front from the outside region.
fn content(client: &mut Client, region: u32, at: u64) -> Result<Vec<u8>, Error> {
    let most = client.most;
    let first = client.read(region, at, FIRST.min(most))?;
    let wrong = |what: String| Misbehaved::Protocol { during: "reading the outside region".to_owned(), what };
    let (length, head) = first.split_first_chunk().ok_or_else(|| wrong("no length".to_owned()))?;
    let length = u32::from_le_bytes(*length);
    let mut content = head.get(..length as usize).unwrap_or(head).to_vec();
    if most < length {
        return Err(wrong(format!("{length} bytes")).into());
    }
    if content.len() < length as usize {
        let rest = length - content.len() as u32;
        let from = at + outside::LENGTH as u64 + content.len() as u64;
        content.extend_from_slice(client.read(region, from, rest)?);
    }
    Ok(content)
}

fn happened(client: &mut Client, region: u32) -> Result<Vec<Sight>, Error> {
    let content = content(client, region, 0)?;
    Ok(outside::see(&content).map_err(outside_is_wrong)?)
}

fn outside_is_wrong(what: String) -> Misbehaved {
    Misbehaved::Protocol { during: "what was seen outside".to_owned(), what }
}

fn described(client: &mut Client, region: u32) -> Result<Vec<Register>, Error> {
    let content = content(client, region, outside::DESCRIPTION)?;
    let wrong = |what| Misbehaved::Protocol { during: "the description of registers".to_owned(), what };
    Ok(outside::registers(&content).map_err(wrong)?)
}

impl Device for Instance {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            options: self.options,
            machine: Machine::Device,
            can_reset: self.can_reset,
            interface: self.interface.clone(),
        }
    }

    fn state(&mut self) -> Result<State, Error> {
        self.state = self.client.state()?;
        Ok(self.state)
    }

    fn set_state(&mut self, to: State) -> Result<(), Error> {
        self.client.begin_step();
        let from = self.state;
        if let Err(failure) = self.client.flush()? {
            self.state = self.client.state()?;
            return Err(BadState::from(failure).into());
        }
        if !(from.saves() && to.saves()) {
            self.client.begin_transfer();
        }
        if from.runs() && !to.runs() {
            self.config = self.carried.as_ref().map(|carried| carried.save(&mut self.client)).transpose()?;
        }
        if to.saves() && to.runs() && !from.saves() {
            self.log.start(&mut self.client)?;
        }
        if to == State::Resuming && self.is_measured {
            // Of one that is gone, the answer tells.
            self.before = self.client.process.begin_growth().ok();
        }
        self.client.plan([Client::STATE]);
        let answer = self.client.set_state(to)?;
        self.state = if answer.is_ok() { to } else { self.client.state()? };
        if self.state.runs() {
            self.config = None;
        }
        if !(self.state.saves() && self.state.runs()) {
            self.log.end(&mut self.client)?;
        }
        answer.map_err(|failure| self.refused(from, to, failure))
    }

    fn read_state(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        self.client.begin_step();
        match self.client.read_state(into)? {
            Ok(count) => Ok(count),
            Err(Failure { errno: NO_MESSAGE, .. }) if self.state.saves() && self.state.runs() => Ok(0),
            Err(failure) => Err(Refusal::from(failure).into()),
        }
    }

    fn write_state(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.client.begin_step();
        let written = match self.sends_ahead && self.state == State::Resuming {
            true => self.client.post_state(bytes)?,
            false => self.client.write_state(bytes)?,
        };
        match written {
            Ok(()) => Ok(()),
            Err(failure) if self.state == State::Resuming => Err(BadState::from(failure).into()),
            Err(failure) => Err(Refusal::from(failure).into()),
        }
    }

    fn estimate(&mut self) -> Result<Option<u64>, Error> {
        self.client.begin_step();
        if !self.client.has(Feature::DataSize)? {
            return Ok(None);
        }
        let zeros = [0; size_of::<u64>()];
        self.client.get(Feature::DataSize, &zeros, wire::data_size).map(Some)
    }

    fn reset(&mut self) -> Result<(), Error> {
        if !self.can_reset {
            return Err(Refusal::ByDevice("it does not offer a reset".to_owned()).into());
        }
        self.client.begin_step();
        if !self.is_measured {
            self.client.plan([Client::STATE, Client::UNMAP]);
        }
        self.client.reset()?;
        self.state()?;
        self.client.begin_transfer();
        self.is_up = false;
        self.config = None;
        self.log.forget();
        // Whose driver starts anew sets up its interrupts anew; none that came before is its own.
        self.client.map_anew()?;
        self.irqs.enable(&mut self.client)?;
        self.irqs.raised(&mut self.client)?;
        if let Some(carried) = &self.carried {
            carried.refresh(&mut self.client)?;
        }
        Ok(self.client.memory.refresh()?)
    }

    fn guest(&mut self, step: &Step) -> Result<Seen, Error> {
        self.client.begin_step();
        let mut seen = Vec::new();
        if !self.state.runs() {
            if !matches!(step, Step::Pass(_)) {
                return Err(Refusal::NotIn { what: "use the device", state: self.state }.into());
            }
        } else if !self.is_up {
            self.is_up = true;
            // It comes after the memory.
            self.log.changed_by_guest(memory::SIZE..memory::SIZE + 1);
            for first in self.guide.initial.clone() {
                self.access(&first, &mut seen)?;
            }
        }
        self.access(step, &mut seen)?;
        Ok(Seen(seen))
    }

    fn foresee(&mut self, steps: &[Step]) {
        let Some(region) = self.client.outside.filter(|_| self.sends_ahead && self.state.runs()) else {
            return;
        };
        if !self.is_up && !self.guide.initial.is_empty() {
            return;
        }
        let mut bytes = vec![vec![]; steps.len()];
        let steps = steps.iter().zip(&mut bytes);
        let requests = steps.map_while(|(step, bytes)| self.requests(step, region, bytes));
        let requests: Vec<_> = requests.flatten().collect();
        self.client.send_ahead(requests);
    }

    fn guest_memory(&mut self) -> Result<Vec<u8>, Error> {
        let mut bytes = self.client.memory.remember()?;
        bytes.push(self.is_up.into());
        match (&self.config, &self.carried) {
            (Some(config), _) => bytes.extend(config),
            (None, Some(carried)) => {
                self.client.begin_step();
                bytes.extend(carried.save(&mut self.client)?);
            }
            (None, None) => {}
        }
        Ok(bytes)
    }

    fn set_guest_memory(&mut self, memory: &[u8]) -> Result<(), Error> {
        let foreign = || io::Error::new(io::ErrorKind::InvalidData, "not the memory of a guest of this host");
        let (memory, rest) = memory.split_at_checked(memory::SIZE).ok_or_else(foreign)?;
        let (is_up, config) = rest.split_first().ok_or_else(foreign)?;
        self.client.memory.recall(memory)?;
        self.is_up = *is_up != 0;
        if let Some(carried) = &self.carried {
            self.client.begin_step();
            carried.restore(&mut self.client, config)?;
            self.config = (!self.state.runs()).then(|| config.to_vec());
        }
        Ok(())
    }

    fn dirty_memory(&mut self) -> Result<Option<Vec<Range<usize>>>, Error> {
        self.client.begin_step();
        if !self.log.is_kept(&mut self.client)? {
            return Ok(None);
        }
        let mut dirty = self.log.take(&mut self.client)?;
        // The machine brings it along again at the end, whoever changed it.
        let config = memory::SIZE + 1;
        dirty.extend(self.carried.as_ref().map(|carried| config..config + carried.len()));
        Ok(Some(dirty))
    }

    fn footprint(&mut self) -> Result<Option<u64>, Error> {
        self.is_measured = true;
        let now = self.client.process.memory()?;
        Ok(Some(now.grown_since(*self.before.get_or_insert(now))))
    }
}
