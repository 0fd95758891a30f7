//! One process that serves one vhost-user device, and what it is told.
//!
//! The order of messages is that of a VMM: features and memory when the driver comes up, then
//! number, address, base, kick, call and enable for each queue; a queue is disabled before it is
//! stopped. Messages that need no answer are not waited for.

use super::ring::{MEMORY, Ring};
use crate::deadline;
use crate::hosts::process::{Process, ready};
use crate::hosts::reach::{Pace, Reached, reach};
use migcert_core::envelope::BadState;
use migcert_core::error::{Error, Failure, Misbehaved, Refusal};
use rustix::event::PollFlags;
use rustix::fs::MemfdFlags;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};
use vhost::vhost_user::message::{
    VhostTransferStateDirection as Direction, VhostTransferStatePhase as Phase,
    VhostUserProtocolFeatures as Protocol, VhostUserVirtioFeatures as Virtio,
};
use vhost::vhost_user::{Error as Wire, Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserDirtyLogRegion, VhostUserMemoryRegionInfo};
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

const VERSION_1: u64 = 1 << 32;
const EVENT_IDX: u64 = 1 << 29;

/// A connected backend.
pub(super) struct Backend {
    frontend: Frontend,
    pub(super) process: Process,
    pub(super) memory: GuestMemoryMmap,
    log: File,
    pub(super) kick: [EventFd; 2],
    call: [EventFd; 2],
    features: u64,
    protocol: Protocol,
    /// Time for any answer.
    pub(super) limit: Duration,
    /// Whether it knows the guest's memory.
    set_up: bool,
    /// Which queues have not been kicked since they were started.
    unkicked: [bool; 2],
    /// Whether it once left us without an answer; what it does after that is worth nothing.
    pub(super) is_mute: bool,
}

/// Whether dirty pages are logged, which tells a backend that it will be saved soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Logging {
    Off,
    On,
}

impl Backend {
    /// Connects to a program that was just started, as soon as its socket is there.
    pub(super) fn connect(
        process: Process,
        socket: &Path,
        pace: &Pace,
        limit: Duration,
    ) -> Result<Backend, Error> {
        let (process, stream) = connected(process, socket, pace, limit)?;
        Backend::over(process, stream, limit)
    }

    /// Agrees on features with a program that is connected.
    pub(super) fn over(process: Process, stream: UnixStream, limit: Duration) -> Result<Backend, Error> {
        let memory = memfd("memory-backend-memfd", MEMORY)?;
        let ranges = [(GuestAddress(0), MEMORY, Some(FileOffset::new(memory, 0)))];
        let memory = GuestMemoryMmap::from_ranges_with_files(ranges).map_err(io::Error::other)?;
        let event = || EventFd::new(EFD_NONBLOCK);
        let mut backend = Backend {
            frontend: Frontend::from_stream(stream, 2),
            process,
            memory,
            log: memfd("vhost-log", 4096)?,
            kick: [event()?, event()?],
            call: [event()?, event()?],
            features: 0,
            protocol: Protocol::empty(),
            limit,
            set_up: false,
            unkicked: [true; 2],
            is_mute: false,
        };
        backend.negotiate()?;
        Ok(backend)
    }

    fn negotiate(&mut self) -> Result<(), Error> {
        let offered = self.ask("GET_FEATURES", |frontend| frontend.get_features())?;
        self.features = offered & (VERSION_1 | EVENT_IDX | Virtio::PROTOCOL_FEATURES.bits());
        self.ask("SET_OWNER", |frontend| frontend.set_owner())?;
        let offered = self.ask("GET_PROTOCOL_FEATURES", |frontend| frontend.get_protocol_features())?;
        let wanted = Protocol::MQ
            | Protocol::REPLY_ACK
            | Protocol::LOG_SHMFD
            | Protocol::DEVICE_STATE
            | Protocol::RESET_DEVICE;
        self.protocol = offered & wanted;
        let protocol = self.protocol;
        self.ask("SET_PROTOCOL_FEATURES", |frontend| frontend.set_protocol_features(protocol))?;
        if !protocol.contains(Protocol::DEVICE_STATE) {
            let why = "the program has no VHOST_USER_PROTOCOL_F_DEVICE_STATE";
            return Err(Refusal::NotMigratable(why.to_owned()).into());
        }
        Ok(())
    }

    /// Whether it can be told that a save is near.
    pub(super) fn can_log(&self) -> bool {
        self.protocol.contains(Protocol::LOG_SHMFD)
    }

    /// Starts both queues where the driver has them.
    pub(super) fn start(&mut self, rings: &[Ring; 2], bases: [u16; 2]) -> Result<(), Error> {
        self.set_features(Logging::Off)?;
        if !self.set_up {
            let regions: Vec<VhostUserMemoryRegionInfo> = self
                .memory
                .iter()
                .map(VhostUserMemoryRegionInfo::from_guest_region)
                .collect::<Result<_, _>>()
                .map_err(io::Error::other)?;
            self.ask("SET_MEM_TABLE", |frontend| frontend.set_mem_table(&regions).map(drop))?;
            self.set_up = true;
        }
        for (i, (ring, base)) in rings.iter().zip(bases).enumerate() {
            let config = ring.config(&self.memory).ok_or_else(|| io::Error::other("no guest memory"))?;
            // An old kick stays: a backend that was about to read it must find it.
            let _ = self.call[i].read();
            let (kick, call) = (self.kick[i].try_clone()?, self.call[i].try_clone()?);
            self.ask("starting a queue", |frontend| {
                frontend.set_vring_num(i, ring.size())?;
                frontend.set_vring_base(i, base)?;
                frontend.set_vring_addr(i, &config)?;
                frontend.set_vring_kick(i, &kick)?;
                frontend.set_vring_call(i, &call)?;
                frontend.set_vring_enable(i, true)
            })?;
        }
        // A kick before a queue is enabled is lost on older backends, so an answer is awaited.
        self.ask("GET_FEATURES", |frontend| frontend.get_features())?;
        self.unkicked = [true; 2];
        for (i, (ring, base)) in rings.iter().zip(bases).enumerate() {
            if ring.available != base {
                // The device has missed the kick of what it has not taken yet.
                self.kick(i)?;
            }
        }
        Ok(())
    }

    /// Stops both queues and says where they stand.
    ///
    /// They are disabled first, and that is answered: a backend that was about to read a kick
    /// sees that there is nothing to do. One that finds its queue stopped instead may end the
    /// thread that serves it, or never come back from it.
    pub(super) fn stop(&mut self) -> Result<[u16; 2], Error> {
        for i in 0..self.kick.len() {
            self.ask("SET_VRING_ENABLE", |frontend| frontend.set_vring_enable(i, false))?;
        }
        self.ask("GET_FEATURES", |frontend| frontend.get_features())?;
        let mut bases = [0; 2];
        for (i, base) in bases.iter_mut().enumerate() {
            let says = self.ask("GET_VRING_BASE", |frontend| frontend.get_vring_base(i))?;
            *base = u16::try_from(says).map_err(|_| Misbehaved::Protocol {
                during: "GET_VRING_BASE".to_owned(),
                what: format!("{says}, which is no index of a queue"),
            })?;
        }
        Ok(bases)
    }

    /// Turns logging of dirty pages on or off, in a running backend.
    pub(super) fn log(&mut self, logging: Logging) -> Result<(), Error> {
        if logging == Logging::On {
            let region = VhostUserDirtyLogRegion {
                mmap_size: 4096,
                mmap_offset: 0,
                mmap_handle: self.log.as_raw_fd(),
            };
            self.ask("SET_LOG_BASE", |frontend| frontend.set_log_base(0, Some(region)))?;
        }
        self.set_features(logging)
    }

    fn set_features(&mut self, logging: Logging) -> Result<(), Error> {
        let log = if logging == Logging::On { Virtio::LOG_ALL.bits() } else { 0 };
        let features = self.features | log;
        self.ask("SET_FEATURES", |frontend| frontend.set_features(features))
    }

    /// Resets the device where the program offers that; says whether it does.
    pub(super) fn reset(&mut self) -> Result<bool, Error> {
        if !self.protocol.contains(Protocol::RESET_DEVICE) {
            return Ok(false);
        }
        self.ask("RESET_DEVICE", |frontend| frontend.reset_device())?;
        Ok(true)
    }

    /// Tells the device of what was made available last, if it has asked for that. What it asked
    /// before a queue was started does not count.
    ///
    /// A kick that nobody asked for may still be unread when its queue is stopped.
    pub(super) fn notify(&mut self, queue: usize, ring: &Ring) -> Result<(), Error> {
        let asks = self.features & EVENT_IDX != 0;
        if asks && !self.unkicked[queue] && !ring.is_awaited(&self.memory).map_err(io::Error::other)? {
            return Ok(());
        }
        self.kick(queue)
    }

    fn kick(&mut self, queue: usize) -> Result<(), Error> {
        self.unkicked[queue] = false;
        self.kick[queue].write(1).map_err(Error::Unavailable)
    }

    /// Waits until the device says that it used something.
    pub(super) fn wait(&mut self, queue: usize, ring: &Ring, deadline: Instant) -> Result<(), Error> {
        let since = self.process.printed();
        let call = &self.call[queue];
        match ready(&[(borrow(call), PollFlags::IN), (self.process.end(), PollFlags::IN)], deadline)? {
            Some(0) => drop(call.read()),
            Some(_) => return Err(self.died("a request", since)),
            None => {
                let kick = [(borrow(&self.kick[queue]), PollFlags::IN)];
                let unread = if ready(&kick, Instant::now())?.is_some() { "a" } else { "no" };
                let stand = ring.tell(&self.memory).map_err(io::Error::other)?;
                return Err(self.slow(&format!("a request; {stand}, {unread} kick unread"), since));
            }
        }
        Ok(())
    }

    /// Opens a stream for the state: the end to read from, or to write to.
    pub(super) fn transfer(&mut self, direction: Direction) -> Result<File, Error> {
        let (reader, writer) = io::pipe()?;
        let (ours, theirs) = match direction {
            Direction::SAVE => (OwnedFd::from(reader), OwnedFd::from(writer)),
            Direction::LOAD => (OwnedFd::from(writer), OwnedFd::from(reader)),
        };
        let other = self.ask("SET_DEVICE_STATE_FD", |frontend| {
            frontend.set_device_state_fd(direction, Phase::STOPPED, theirs)
        })?;
        let stream = other.unwrap_or_else(|| File::from(ours));
        rustix::io::ioctl_fionbio(&stream, true).map_err(io::Error::from)?;
        Ok(stream)
    }

    /// Reads what there is of a state; 0 is its end.
    pub(super) fn read(&mut self, stream: &mut File, into: &mut [u8]) -> Result<usize, Error> {
        deadline::check()?;
        let deadline = Instant::now() + self.limit;
        loop {
            match stream.read(into) {
                Ok(n) => return Ok(n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.until(stream, PollFlags::IN, deadline, "a save")?;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Writes a piece of a state. A device that won't read on says why when it is asked.
    pub(super) fn write(&mut self, stream: &mut File, mut bytes: &[u8]) -> Result<(), Error> {
        deadline::check()?;
        let deadline = Instant::now() + self.limit;
        while !bytes.is_empty() {
            match stream.write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.until(stream, PollFlags::OUT, deadline, "a load")?;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn until(
        &mut self,
        stream: &File,
        what: PollFlags,
        deadline: Instant,
        during: &str,
    ) -> Result<(), Error> {
        // The end of the process closes its end of the stream, so that need not be watched.
        let since = self.process.printed();
        match ready(&[(stream.as_fd(), what)], deadline)? {
            Some(_) => Ok(()),
            None => Err(self.slow(during, since)),
        }
    }

    /// Asks how a transfer went; a refusal is in the program's own words where it has any.
    pub(super) fn check(&mut self, since: u64) -> Result<(), Error> {
        deadline::check()?;
        match self.process.within(self.limit, || self.frontend.check_device_state()) {
            Ok(()) => Ok(()),
            Err(vhost::Error::VhostUserProtocol(Wire::BackendInternalError)) => {
                Err(BadState::from(self.failure("CHECK_DEVICE_STATE", since)).into())
            }
            Err(why) => Err(self.blame("CHECK_DEVICE_STATE", why, since)),
        }
    }

    fn ask<T>(
        &mut self,
        what: &str,
        call: impl FnOnce(&mut Frontend) -> Result<T, vhost::Error>,
    ) -> Result<T, Error> {
        deadline::check()?;
        let since = self.process.printed();
        let frontend = &mut self.frontend;
        self.process.within(self.limit, || call(frontend)).map_err(|why| self.blame(what, why, since))
    }

    fn blame(&mut self, during: &str, why: vhost::Error, since: u64) -> Error {
        if self.process.was_too_slow() {
            return self.slow(during, since);
        }
        match why {
            vhost::Error::VhostUserProtocol(why) => match why {
                Wire::Disconnected | Wire::PartialMessage | Wire::SocketBroken(_) | Wire::SocketError(_) => {
                    self.died(during, since)
                }
                Wire::BackendInternalError => Refusal::from(self.failure(during, since)).into(),
                why => Misbehaved::Protocol { during: during.to_owned(), what: why.to_string() }.into(),
            },
            why => io::Error::other(format!("{during}: {why}")).into(),
        }
    }

    /// An answer that is an error; the wire has no numbers for them.
    fn failure(&self, during: &str, since: u64) -> Failure {
        Failure { during: during.to_owned(), errno: None, words: self.process.words(since) }
    }

    fn died(&mut self, during: &str, since: u64) -> Error {
        let how = match self.process.ended(self.limit) {
            Ok(Some(how)) => how,
            Ok(None) => "it closed the connection and still runs".to_owned(),
            Err(e) => return e.into(),
        };
        let words = self.process.words(since);
        Misbehaved::Died { during: during.to_owned(), how, words }.into()
    }

    fn slow(&mut self, during: &str, since: u64) -> Error {
        self.is_mute = true;
        let what = format!("no answer within {:?} to {during}", self.limit);
        let what = match self.process.words(since).last_during() {
            Some(words) => format!("{what}; its last words: {words}"),
            None => what,
        };
        io::Error::new(io::ErrorKind::TimedOut, what).into()
    }

    /// All of guest memory.
    pub(super) fn remember(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; MEMORY];
        self.memory.read_slice(&mut bytes, GuestAddress(0)).map_err(io::Error::other)?;
        Ok(bytes)
    }

    /// Puts guest memory in place.
    pub(super) fn recall(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.memory.write_slice(bytes, GuestAddress(0)).map_err(io::Error::other)?;
        Ok(())
    }

    /// Makes the queues empty.
    pub(super) fn forget(&mut self) -> Result<(), Error> {
        const RINGS: usize = 0x4000;
        self.recall(&[0; RINGS])
    }
}

/// The features that a program offers, which was started for nothing else.
pub(super) fn features(process: Process, socket: &Path, pace: &Pace, limit: Duration) -> Result<u64, Error> {
    let (process, stream) = connected(process, socket, pace, limit)?;
    let frontend = Frontend::from_stream(stream, 2);
    let asked = process.within(limit, || frontend.get_features());
    asked.map_err(|why| io::Error::other(format!("GET_FEATURES: {why}")).into())
}

/// Connects to a program; one that ends first has refused, or broke.
fn connected(
    mut process: Process,
    socket: &Path,
    pace: &Pace,
    limit: Duration,
) -> Result<(Process, UnixStream), Error> {
    match reach(&mut process, socket, pace, limit)? {
        Reached::Connected(stream) => Ok((process, stream)),
        Reached::Ended(how) => {
            let words = process.all_words();
            match how.starts_with("exit status") && how != "exit status 0" {
                true => Err(Refusal::Ended { how, words }.into()),
                false => Err(Misbehaved::Died { during: "the start".to_owned(), how, words }.into()),
            }
        }
    }
}

fn borrow(event: &EventFd) -> BorrowedFd<'_> {
    // SAFETY: `event` owns the descriptor, and is borrowed for as long.
    unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) }
}

fn memfd(name: &str, size: usize) -> io::Result<File> {
    let file = File::from(rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?);
    file.set_len(size as u64)?;
    Ok(file)
}
