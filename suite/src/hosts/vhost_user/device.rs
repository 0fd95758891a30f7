//! One instance: the arcs of chapter R-7, and the guest that uses it.

use super::Config;
use super::Processes;
use super::backend::{Backend, Logging};
use super::ring::{MEMORY, Ring};
use super::site::Site;
use crate::guests::virtio_fs::{self, Call, Driver, Line, Opens, Pending, Posted, Queue};
use crate::hosts::limits::Transfer;
use crate::hosts::process::Memory;
use crate::hosts::template::Template;
use migcert_core::device::{
    Capabilities, Device, Interface, Machine, Options, Outside, Seen, Sight, State, Step, walk,
};
use migcert_core::error::{Error, Misbehaved, Refusal};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use vhost::vhost_user::message::VhostTransferStateDirection as Direction;

/// Where an instance came from, and where its process goes.
pub(super) struct Owner {
    pub(super) site: Arc<Site>,
    /// Keeps the directory as long as the instance lives.
    pub(super) _outside: Outside,
    pub(super) key: Vec<Template>,
    pub(super) uses: u32,
}

/// A device instance in a process of its own.
pub(super) struct Instance {
    /// Gone when it went back.
    backend: Option<Backend>,
    owner: Owner,
    config: Arc<Config>,
    pristine: Arc<OnceLock<Vec<u8>>>,
    state: State,
    options: Options,
    stream: Option<Stream>,
    /// Whether the queues are started in the backend.
    started: bool,
    /// Whether a driver has been up in this backend since it was last pristine.
    touched: bool,
    logging: Logging,
    /// The memory of the process before it was given a state.
    before: Option<Memory>,
    guest: Guest,
}

/// A state on its way.
struct Stream {
    file: File,
    transfer: Transfer,
    /// Nothing more comes, and it was checked.
    ended: bool,
    /// How much the program had printed when it began.
    printed: u64,
}

/// The guest: its driver and queues. What is in here moves with guest memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Guest {
    /// Whether the driver has found its device.
    up: bool,
    driver: Driver,
    rings: [Ring; 2],
    /// Where the device stood when it was stopped.
    bases: [u16; 2],
    /// What was posted and not collected, oldest first.
    posted: Vec<(Queue, u16, Pending)>,
}

impl Guest {
    fn new(opens: Opens) -> Guest {
        Guest { up: false, driver: Driver::new(opens), rings: Ring::both(), bases: [0; 2], posted: vec![] }
    }
}

impl Instance {
    pub(super) fn new(
        backend: Backend,
        owner: Owner,
        config: Arc<Config>,
        pristine: Arc<OnceLock<Vec<u8>>>,
    ) -> Result<Instance, Error> {
        let options = Options { p2p: false, pre_copy: backend.can_log() };
        Ok(Instance {
            backend: Some(backend),
            owner,
            guest: Guest::new(config.guest),
            config,
            pristine,
            state: State::Running,
            options,
            stream: None,
            started: false,
            touched: false,
            logging: Logging::Off,
            before: None,
        })
    }

    fn backend(&mut self) -> Result<&mut Backend, Error> {
        self.backend.as_mut().ok_or_else(|| io::Error::other("the process is gone").into())
    }

    fn arc(&mut self, to: State) -> Result<(), Error> {
        match (self.state, to) {
            (State::Running, State::PreCopy) => self.log(Logging::On),
            (State::PreCopy, State::Running) => self.log(Logging::Off),
            (State::Running, State::Stop) => self.stop(),
            (State::PreCopy, State::StopCopy) => {
                self.stop()?;
                self.open(Direction::SAVE)
            }
            (State::Stop, State::Running) => {
                self.logging = Logging::Off;
                if self.guest.up { self.start() } else { Ok(()) }
            }
            (State::Stop, State::StopCopy) => {
                // A VMM announces every save, if only just before it.
                if self.guest.up && self.options.pre_copy && self.logging == Logging::Off {
                    self.logging = Logging::On;
                    self.backend()?.log(Logging::On)?;
                }
                self.open(Direction::SAVE)
            }
            (State::Stop, State::Resuming) => {
                self.before = self.backend()?.process.begin_growth().ok();
                self.open(Direction::LOAD)
            }
            (State::Resuming, State::Stop) => self.close(),
            (State::StopCopy, State::Stop) => match self.close() {
                // Nobody wanted the rest: that the save broke off says nothing.
                Err(Error::BadState(_)) => Ok(()),
                closed => closed,
            },
            (from, to) => Err(io::Error::other(format!("no arc from {from} to {to}")).into()),
        }
    }

    fn log(&mut self, logging: Logging) -> Result<(), Error> {
        self.logging = logging;
        // A VMM logs only for devices that run.
        if self.started { self.backend()?.log(logging) } else { Ok(()) }
    }

    fn start(&mut self) -> Result<(), Error> {
        let logging = self.logging;
        let (rings, bases) = (self.guest.rings.clone(), self.guest.bases);
        self.touched = true;
        let backend = self.backend()?;
        backend.start(&rings, bases)?;
        if logging == Logging::On {
            backend.log(logging)?;
        }
        self.started = true;
        Ok(())
    }

    /// Stops the queues. What the device has taken it must have given back by then: a stopped
    /// device does not write to guest memory.
    fn stop(&mut self) -> Result<(), Error> {
        if !std::mem::take(&mut self.started) {
            return Ok(());
        }
        let bases = self.backend()?.stop()?;
        self.guest.bases = bases;
        for (i, base) in bases.into_iter().enumerate() {
            let memory = &self.backend.as_ref().ok_or_else(|| io::Error::other("gone"))?.memory;
            let ring = &self.guest.rings[i];
            let used = ring.used_by_device(memory).map_err(io::Error::other)?;
            let wrong = |what| Err(Misbehaved::Protocol { during: "GET_VRING_BASE".to_owned(), what }.into());
            if ring.available.wrapping_sub(base) > ring.available.wrapping_sub(ring.used) {
                return wrong(format!(
                    "index {base} of queue {i}, where {} were made available",
                    ring.available
                ));
            }
            if used != base {
                return wrong(format!("index {base} of queue {i}, and has given back {used}"));
            }
        }
        Ok(())
    }

    fn open(&mut self, direction: Direction) -> Result<(), Error> {
        let backend = self.backend()?;
        let printed = backend.process.printed();
        let file = backend.transfer(direction)?;
        let transfer = Transfer::new(self.config.limits);
        self.stream = Some(Stream { file, transfer, ended: false, printed });
        Ok(())
    }

    /// Ends a transfer and asks for the verdict, if that is not known.
    fn close(&mut self) -> Result<(), Error> {
        match self.stream.take() {
            Some(Stream { file, ended: false, printed, .. }) => {
                drop(file);
                self.backend()?.check(printed)
            }
            _ => Ok(()),
        }
    }

    /// Makes the process what it was when it had just started.
    ///
    /// `RESET_DEVICE` forgets nodes, files and the session, but goes on counting; a program
    /// that lacks it forgets the same at `FUSE_DESTROY`. The rest is put back by loading the
    /// state of a fresh instance.
    fn renew(&mut self) -> Result<(), Error> {
        match self.close() {
            Ok(()) | Err(Error::BadState(_)) => {}
            Err(why) => return Err(why),
        }
        if self.started {
            self.started = false;
            self.backend()?.stop()?;
        }
        if self.logging == Logging::On {
            self.logging = Logging::Off;
            self.backend()?.log(Logging::Off)?;
        }
        self.guest = Guest::new(self.config.guest);
        if self.touched {
            self.backend()?.forget()?;
            if !self.backend()?.reset()? {
                self.start()?;
                let farewell = self.guest.driver.farewell();
                self.exchange(farewell)?;
                self.started = false;
                self.backend()?.stop()?;
                self.guest = Guest::new(self.config.guest);
                self.backend()?.forget()?;
            }
        }
        let pristine = Arc::clone(&self.pristine);
        let pristine = pristine.get().ok_or_else(|| io::Error::other("no first state"))?;
        self.open(Direction::LOAD)?;
        if let (Some(stream), Some(backend)) = (&mut self.stream, &mut self.backend) {
            backend.write(&mut stream.file, pristine)?;
        }
        self.close()?;
        self.touched = false;
        self.state = State::Running;
        Ok(())
    }

    /// Makes a request available and tells the device if it wants that; says its slot, if there was room.
    fn post(&mut self, call: &Call) -> Result<Option<u16>, Error> {
        let queue = call.queue as usize;
        let backend = self.backend.as_mut().ok_or_else(|| io::Error::other("gone"))?;
        let posted = self.guest.rings[queue].post(&backend.memory, &call.bytes, call.room);
        let slot = posted.map_err(io::Error::other)?;
        if slot.is_some() {
            backend.notify(queue, &self.guest.rings[queue])?;
        }
        Ok(slot)
    }

    /// Sends a request and shows the reply.
    fn exchange(&mut self, call: Call) -> Result<Vec<Sight>, Error> {
        let Some(slot) = self.post(&call)? else { return Ok(vec![]) };
        self.reply(call.queue, slot, &call.pending)
    }

    fn reply(&mut self, queue: Queue, slot: u16, pending: &Pending) -> Result<Vec<Sight>, Error> {
        let wrong = |what| Misbehaved::Protocol { during: "a request".to_owned(), what };
        let deadline = Instant::now() + self.config.limits.answer;
        let backend = self.backend.as_mut().ok_or_else(|| io::Error::other("gone"))?;
        let number = queue as usize;
        let ring = &mut self.guest.rings[number];
        loop {
            ring.take(&backend.memory).map_err(wrong)?;
            if let Some(reply) = ring.reply(slot) {
                return self.guest.driver.reply(pending, &reply).map_err(|what| wrong(what).into());
            }
            ring.ask(&backend.memory).map_err(io::Error::other)?;
            if ring.used_by_device(&backend.memory).map_err(io::Error::other)? == ring.used {
                backend.wait(number, ring, deadline)?;
            }
        }
    }

    /// The driver finds its device and mounts, unless it has.
    fn bring_up(&mut self) -> Result<Vec<Sight>, Error> {
        if !self.guest.up {
            self.backend()?.forget()?;
            self.guest = Guest { up: true, ..Guest::new(self.config.guest) };
        }
        if !self.started {
            self.start()?;
        }
        match self.guest.driver.mount() {
            Some(call) => self.exchange(call),
            None => Ok(vec![]),
        }
    }

    fn step(&mut self, line: Line) -> Result<Vec<Sight>, Error> {
        const IN_FLIGHT: usize = 12;
        let pending: Vec<Pending> = self.guest.posted.iter().map(|posted| posted.2.clone()).collect();
        match line {
            Line::Collect => {
                let mut seen = Vec::new();
                for (queue, slot, pending) in std::mem::take(&mut self.guest.posted) {
                    seen.extend(self.reply(queue, slot, &pending)?);
                }
                Ok(seen)
            }
            Line::Send(request, posted) => {
                let mut seen = self.bring_up()?;
                // One slot stays free for what is waited for.
                if posted == Posted::Yes && IN_FLIGHT <= pending.len() {
                    return Ok(seen);
                }
                for before in self.guest.driver.before(&request) {
                    if let Some(call) = self.guest.driver.call(&before, &pending) {
                        self.exchange(call)?;
                    }
                }
                let Some(call) = self.guest.driver.call(&request, &pending) else { return Ok(seen) };
                match posted {
                    Posted::No => {
                        seen.extend(self.exchange(call)?);
                        while let Some(forget) = self.guest.driver.after(&pending) {
                            self.exchange(forget)?;
                        }
                    }
                    Posted::Yes => {
                        if let Some(slot) = self.post(&call)? {
                            self.guest.posted.push((call.queue, slot, call.pending));
                        }
                    }
                }
                Ok(seen)
            }
            Line::Unmount if pending.is_empty() => match self.guest.driver.unmount() {
                Some(call) => self.exchange(call),
                None => Ok(vec![]),
            },
            Line::Unmount => Ok(vec![]),
        }
    }
}

impl Device for Instance {
    fn capabilities(&self) -> Capabilities {
        let guest = match self.config.guest {
            Opens::Any => virtio_fs::NAME,
            Opens::Named => virtio_fs::NAMED,
        };
        let interface = Interface::Requests(guest);
        Capabilities { options: self.options, machine: Machine::Host, can_reset: true, interface }
    }

    fn state(&mut self) -> Result<State, Error> {
        Ok(self.state)
    }

    fn set_state(&mut self, to: State) -> Result<(), Error> {
        for to in walk(self.state, to, self.options).map_err(Refusal::from)? {
            if let Err(why) = self.arc(to) {
                self.state = State::Error;
                return Err(why);
            }
            self.state = to;
        }
        Ok(())
    }

    fn read_state(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        if self.state == State::PreCopy {
            // All of the state comes at the end.
            return Ok(0);
        }
        let (State::StopCopy, Some(stream), Some(backend)) =
            (self.state, &mut self.stream, &mut self.backend)
        else {
            return Err(Refusal::NotIn { what: "read a state", state: self.state }.into());
        };
        if stream.ended || into.is_empty() {
            return Ok(0);
        }
        let since = Instant::now();
        let count = backend.read(&mut stream.file, into)?;
        stream.transfer.gave(count, since)?;
        if count == 0 {
            stream.ended = true;
            backend.check(stream.printed)?;
        }
        Ok(count)
    }

    fn write_state(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match (self.state, &mut self.stream, &mut self.backend) {
            (State::Resuming, Some(stream), Some(backend)) => {
                let since = Instant::now();
                backend.write(&mut stream.file, bytes)?;
                stream.transfer.took(bytes.len(), since)
            }
            _ => Err(Refusal::NotIn { what: "write a state", state: self.state }.into()),
        }
    }

    fn estimate(&mut self) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    fn reset(&mut self) -> Result<(), Error> {
        self.renew().inspect_err(|_| self.state = State::Error)
    }

    fn guest(&mut self, step: &Step) -> Result<Seen, Error> {
        if !self.state.runs() {
            return Err(Refusal::NotIn { what: "serve a guest", state: self.state }.into());
        }
        let Step::Request(words) = step else { return Ok(Seen::default()) };
        let line: Line = words.parse().map_err(|bad| io::Error::new(io::ErrorKind::InvalidInput, bad))?;
        Ok(Seen(self.step(line)?))
    }

    fn guest_memory(&mut self) -> Result<Vec<u8>, Error> {
        let mut bytes = serde_json::to_vec(&self.guest).map_err(io::Error::other)?;
        let len = (bytes.len() as u64).to_le_bytes();
        bytes.extend(len);
        if self.guest.up {
            bytes.extend(self.backend()?.remember()?);
        }
        Ok(bytes)
    }

    fn set_guest_memory(&mut self, memory: &[u8]) -> Result<(), Error> {
        if self.started {
            return Err(Refusal::NotIn { what: "put guest memory in place", state: self.state }.into());
        }
        let foreign = || io::Error::new(io::ErrorKind::InvalidData, "not the memory of a guest of this host");
        let (rest, memory) = match memory.len() {
            len if len > MEMORY => memory.split_at(len - MEMORY),
            _ => (memory, [].as_slice()),
        };
        let (guest, _) = rest.split_last_chunk::<8>().ok_or_else(foreign)?;
        let guest: Guest = serde_json::from_slice(guest).map_err(|_| foreign())?;
        if guest.up {
            self.backend()?.recall(memory)?;
        }
        self.guest = guest;
        Ok(())
    }

    fn dirty_memory(&mut self) -> Result<Option<Vec<Range<usize>>>, Error> {
        Ok(None)
    }

    fn footprint(&mut self) -> Result<Option<u64>, Error> {
        let now = self.backend()?.process.memory()?;
        let before = *self.before.get_or_insert(now);
        Ok(Some(now.highest.saturating_sub(before.now)))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let is_mute = self.backend.as_ref().is_none_or(|backend| backend.is_mute);
        if self.config.processes == Processes::Fresh || is_mute || self.renew().is_err() {
            return;
        }
        if let Some(mut backend) = self.backend.take()
            && backend.process.runs()
        {
            let key = std::mem::take(&mut self.owner.key);
            self.owner.site.give(key, backend, self.owner.uses);
        }
    }
}
