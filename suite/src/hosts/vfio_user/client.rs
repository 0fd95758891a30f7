//! One process that serves one device, and what it is asked.
//!
//! Every answer has a deadline, the end of the process ends every wait, and commands of the device
//! that come in between (it reads and writes guest memory) are answered.

use super::channel::{Broken, Channel, Until};
use super::memory::{self, Memory};
use super::wire::reply::{DeviceInfo, IrqInfo, RegionInfo, Reply};
use super::wire::request::{Act, Request, SetIrqs};
use super::wire::version::{Capabilities, Version};
use super::wire::{self, Access, Feature, Kind, MAX_DATA, Malformed, Migration};
use crate::deadline;
use crate::hosts::limits::{Limits, Transfer};
use crate::hosts::process::Process;
use crate::hosts::traffic::{self, Activity, timed};
use migcert_core::device::State;
use migcert_core::error::{Errno, Error, Failure, Misbehaved, Refusal};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

/// The newest protocol that is proposed.
const PROTOCOL: (u16, u16) = (0, 1);
/// No device has more regions, or more types of interrupts.
pub(super) const MOST: u32 = 256;

/// A connected device.
pub(super) struct Client {
    channel: Channel,
    pub(super) process: Process,
    pub(super) memory: Memory,
    limits: Limits,
    transfer: Transfer,
    id: u16,
    /// How much the program had printed when the step began that is under way.
    since: u64,
    outbox: Vec<u8>,
    /// What will be asked next, and is sent along with what is asked now.
    planned: Vec<Request<'static>>,
    /// What was sent before it was asked, and is not answered.
    ahead: VecDeque<Ahead>,
    /// Payloads of what was sent ahead.
    sent: Vec<u8>,
    /// Pieces of a state that are not sent, and their numbers.
    posted: (Vec<u8>, Vec<u16>),
    /// Bytes of data in a message.
    pub(super) most: u32,
    /// Descriptors in a message.
    pub(super) most_fds: u32,
    /// The number of the outside region, if there is one.
    pub(super) outside: Option<u32>,
    /// Whether all that a step does is shown there.
    pub(super) is_whole: bool,
    /// Whether requests are sent to a device without that region before it answered others.
    pub(super) plans: bool,
    /// Whether an instance of the program asked for guest memory in a message: it may take what comes meanwhile
    /// for the answer.
    pub(super) asks_for_memory: Arc<AtomicBool>,
}

/// A request that was sent ahead: its number, its command, and where its payload is.
struct Ahead {
    id: u16,
    command: u16,
    payload: Range<usize>,
}

/// What came of a request: where its answer lies, or the number of an error.
type Answer = Result<Range<usize>, u32>;

impl Client {
    /// Agrees on protocol and capabilities.
    ///
    /// # Errors
    /// Those of any request.
    pub(super) fn new(process: Process, socket: UnixStream, limits: Limits) -> Result<Client, Error> {
        let mut client = Client {
            channel: Channel::without_fds(socket),
            process,
            memory: Memory::new()?,
            limits,
            transfer: Transfer::new(limits),
            id: 0,
            since: 0,
            outbox: Vec::new(),
            planned: Vec::new(),
            ahead: VecDeque::new(),
            sent: Vec::new(),
            posted: (Vec::new(), Vec::new()),
            most: MAX_DATA,
            most_fds: 1,
            outside: None,
            is_whole: false,
            plans: false,
            asks_for_memory: Arc::default(),
        };
        client.negotiate()?;
        Ok(client)
    }

    fn negotiate(&mut self) -> Result<(), Error> {
        let capabilities = Capabilities { max_msg_fds: 8, ..Capabilities::default() };
        let (major, minor) = PROTOCOL;
        let request = Request::Version(Version { major, minor, capabilities });
        let Reply::Version(agreed) = self.want(&request, &[])? else { return Err(other_reply(&request)) };
        if agreed.major != major || minor < agreed.minor {
            let what =
                format!("protocol {}.{}, where {major}.{minor} was proposed", agreed.major, agreed.minor);
            return Err(protocol(&request, what));
        }
        let Capabilities { max_msg_fds, max_data_xfer_size, migcert, .. } = agreed.capabilities;
        self.most = u32::try_from(max_data_xfer_size).unwrap_or(MAX_DATA).min(MAX_DATA);
        self.most_fds = max_msg_fds.min(super::channel::MAX_FDS as u32);
        let ours = migcert.unwrap_or_default();
        (self.outside, self.is_whole) = (ours.outside, ours.whole && ours.outside.is_some());
        Ok(())
    }

    /// What the device has.
    pub(super) fn info(&mut self) -> Result<DeviceInfo, Error> {
        let Reply::DeviceInfo(info) = self.want(&Request::DeviceInfo, &[])? else {
            return Err(other_reply(&Request::DeviceInfo));
        };
        for (what, count) in [("regions", info.regions), ("types of interrupts", info.irqs)] {
            if MOST < count {
                return Err(protocol(&Request::DeviceInfo, format!("{count} {what}")));
            }
        }
        Ok(info)
    }

    /// What a region is.
    pub(super) fn region(&mut self, index: u32) -> Result<RegionInfo, Error> {
        let request = Request::RegionInfo(index);
        match self.want(&request, &[])? {
            Reply::RegionInfo(info) if info.index == index => Ok(info),
            Reply::RegionInfo(info) => Err(protocol(&request, format!("region {}", info.index))),
            _ => Err(other_reply(&request)),
        }
    }

    /// What a type of interrupts is.
    pub(super) fn irqs(&mut self, index: u32) -> Result<IrqInfo, Error> {
        let request = Request::IrqInfo(index);
        match self.want(&request, &[])? {
            Reply::IrqInfo(info) if info.index == index => Ok(info),
            Reply::IrqInfo(info) => Err(protocol(&request, format!("type {}", info.index))),
            _ => Err(other_reply(&request)),
        }
    }

    /// Has interrupts signalled, from the first vector on.
    pub(super) fn signal(&mut self, index: u32, fds: &[BorrowedFd<'_>]) -> Result<(), Error> {
        let mut start = 0;
        for fds in fds.chunks(self.most_fds.max(1) as usize) {
            let (flags, count) = (SetIrqs::TRIGGER_EVENTFD, fds.len() as u32);
            self.want(&Request::SetIrqs(SetIrqs { flags, index, start, count }), fds)?;
            start += count;
        }
        Ok(())
    }

    /// Unmasks a vector that masked itself.
    pub(super) fn unmask(&mut self, index: u32, start: u32) -> Result<(), Error> {
        let request = Request::SetIrqs(SetIrqs { flags: SetIrqs::UNMASK, index, start, count: 1 });
        self.want(&request, &[]).map(drop)
    }

    /// Gives the device the guest's memory.
    pub(super) fn map(&mut self) -> Result<(), Error> {
        let Range { start: address, end } = memory::ADDRESSES;
        let request = Request::DmaMap { offset: 0, address, size: end - address };
        let fd = rustix::io::fcntl_dupfd_cloexec(self.memory.fd(), 0).map_err(io::Error::from)?;
        let fds = [std::os::fd::AsFd::as_fd(&fd)];
        self.want(&request, if self.most_fds == 0 { &[] } else { &fds }).map(drop)
    }

    /// Takes the guest's memory away from the device and gives it back, as when a guest starts
    /// anew. A device that forgot it, or keeps it whatever it is told, is left alone.
    pub(super) fn map_anew(&mut self) -> Result<(), Error> {
        match self.ask(&Client::UNMAP, &[])? {
            Ok(_) => self.map(),
            Err(_) => match self.map() {
                Err(Error::Refused(_)) => Ok(()),
                mapped => mapped,
            },
        }
    }

    /// Reads a region.
    ///
    /// # Errors
    /// [`Refusal::ByProgram`] where it says no.
    pub(super) fn read(&mut self, region: u32, offset: u64, count: u32) -> Result<&[u8], Error> {
        let request = Request::RegionRead(Access { offset, region, count });
        match self.want(&request, &[])? {
            Reply::RegionRead(access, data) if access.count == count => Ok(data),
            Reply::RegionRead(access, _) => Err(protocol(&request, format!("{} bytes", access.count))),
            _ => Err(other_reply(&request)),
        }
    }

    /// Reads as much of a region as it shows at once.
    ///
    /// # Errors
    /// [`Refusal::ByProgram`] where it says no.
    pub(super) fn read_some(&mut self, access: Access) -> Result<&[u8], Error> {
        let request = Request::RegionRead(access);
        match self.want(&request, &[])? {
            Reply::RegionRead(Access { count, .. }, data) if count <= access.count => Ok(data),
            Reply::RegionRead(access, _) => Err(protocol(&request, format!("{} bytes", access.count))),
            _ => Err(other_reply(&request)),
        }
    }

    /// Writes a region.
    ///
    /// # Errors
    /// [`Refusal::ByProgram`] where it says no.
    pub(super) fn write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<(), Error> {
        let count = data.len() as u32;
        let request = Request::RegionWrite(Access { offset, region, count }, data);
        match self.want(&request, &[])? {
            Reply::RegionWrite(access) if access.count == count => Ok(()),
            Reply::RegionWrite(access) => Err(protocol(&request, format!("{} bytes", access.count))),
            _ => Err(other_reply(&request)),
        }
    }

    /// Back to a fresh device.
    pub(super) fn reset(&mut self) -> Result<(), Error> {
        self.want(&Request::Reset, &[]).map(drop)
    }

    /// Whether a feature can be had.
    pub(super) fn has(&mut self, feature: Feature) -> Result<bool, Error> {
        let request = Request::Feature { number: feature as u16, act: Act::Probe, data: &[] };
        Ok(self.ask(&request, &[])?.is_ok())
    }

    /// Sets the data of a feature; the failure where the device says no.
    pub(super) fn set(&mut self, feature: Feature, data: &[u8]) -> Result<Result<(), Failure>, Error> {
        let request = Request::Feature { number: feature as u16, act: Act::Set, data };
        Ok(self.ask(&request, &[])?.map(drop).map_err(|error| self.failure(&request, error)))
    }

    /// Gets the data of a feature.
    pub(super) fn get<T>(
        &mut self,
        feature: Feature,
        data: &[u8],
        read: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Result<T, Error> {
        let request = Request::Feature { number: feature as u16, act: Act::Get, data };
        match self.want(&request, &[])? {
            Reply::Feature(_, data) => read(data).map_err(|why| protocol(&request, why)),
            _ => Err(other_reply(&request)),
        }
    }

    /// How it can be migrated.
    pub(super) fn migration(&mut self) -> Result<Migration, Error> {
        self.get(Feature::Migration, &[], Migration::parse)
    }

    /// The request for how it can be migrated.
    pub(super) const MIGRATION: Request<'static> =
        Request::Feature { number: Feature::Migration as u16, act: Act::Get, data: &[] };

    /// The request that takes the guest's memory away.
    pub(super) const UNMAP: Request<'static> = Request::DmaUnmap {
        address: memory::ADDRESSES.start,
        size: memory::ADDRESSES.end - memory::ADDRESSES.start,
    };

    /// The request for the state that the device says it is in.
    pub(super) const STATE: Request<'static> =
        Request::Feature { number: Feature::State as u16, act: Act::Get, data: &[] };

    /// The state that the device says it is in.
    pub(super) fn state(&mut self) -> Result<State, Error> {
        self.get(Feature::State, &[], wire::state)
    }

    /// Asks the device to go to a state; the failure where it says no.
    pub(super) fn set_state(&mut self, to: State) -> Result<Result<(), Failure>, Error> {
        self.set(Feature::State, &wire::state_data(to))
    }

    /// From here on, what is read or written is another state.
    pub(super) fn begin_transfer(&mut self) {
        self.transfer = Transfer::new(self.limits);
    }

    /// Reads the next bytes of a state; none is the end, for now or for good.
    pub(super) fn read_state(&mut self, into: &mut [u8]) -> Result<Result<usize, Failure>, Error> {
        let most = u32::try_from(into.len()).unwrap_or(u32::MAX).min(self.most);
        let request = Request::StateRead(most);
        let since = Instant::now();
        let answer = match self.ask(&request, &[])? {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(self.failure(&request, error))),
        };
        match self.reply(&request, answer)? {
            Reply::State(data) => {
                let into = into.get_mut(..data.len()).filter(|_| data.len() <= most as usize);
                let into = into.ok_or_else(|| protocol(&request, format!("{} bytes", data.len())))?;
                into.copy_from_slice(data);
                let count = data.len();
                self.transfer.gave(count, since)?;
                Ok(Ok(count))
            }
            _ => Err(other_reply(&request)),
        }
    }

    /// Writes a piece of a state, in as many messages as it needs.
    pub(super) fn write_state(&mut self, bytes: &[u8]) -> Result<Result<(), Failure>, Error> {
        for piece in bytes.chunks(self.most as usize) {
            let since = Instant::now();
            let request = Request::StateWrite(piece);
            if let Err(error) = self.ask(&request, &[])? {
                return Ok(Err(self.failure(&request, error)));
            }
            self.transfer.took(piece.len(), since)?;
        }
        Ok(Ok(()))
    }

    /// Queues a piece of a state, to be sent with the next ones; [`Client::flush`] returns the first failure.
    pub(super) fn post_state(&mut self, bytes: &[u8]) -> Result<Result<(), Failure>, Error> {
        const MOST: usize = 32 << 10;
        for piece in bytes.chunks(self.most as usize) {
            let (outbox, ids) = &mut self.posted;
            ids.push(put(outbox, &mut self.id, &Request::StateWrite(piece)).id);
            if MOST <= outbox.len()
                && let Err(failure) = self.flush()?
            {
                return Ok(Err(failure));
            }
        }
        Ok(Ok(()))
    }

    /// Has what was posted written; the first failure of it.
    pub(super) fn flush(&mut self) -> Result<Result<(), Failure>, Error> {
        let (outbox, ids) = std::mem::take(&mut self.posted);
        let request = Request::StateWrite(&[]);
        if ids.is_empty() {
            return Ok(Ok(()));
        }
        self.drain()?;
        timed(Activity::Messages, || {
            self.send(&request, &outbox, &[])?;
            let mut first = Ok(());
            for id in ids {
                let answer = self.await_answer(id, &request)?;
                first = first.and(answer.map(drop).map_err(|error| self.failure(&request, error)));
            }
            Ok(first)
        })
    }

    /// Asks, and takes an error for a no.
    fn want(&mut self, request: &Request<'_>, fds: &[BorrowedFd<'_>]) -> Result<Reply<'_>, Error> {
        match self.ask(request, fds)? {
            Ok(answer) => self.reply(request, answer),
            Err(error) => Err(Refusal::from(self.failure(request, error)).into()),
        }
    }

    /// A step begins: what the program prints from here on belongs to it.
    pub(super) fn begin_step(&mut self) {
        // Looking takes a system call; what is sent ahead belongs to no step for certain.
        if self.ahead.is_empty() {
            self.since = self.process.printed();
        }
    }

    /// A request that was answered with an error.
    fn failure(&self, request: &Request<'_>, error: u32) -> Failure {
        let words = self.process.words(self.since);
        Failure { during: request.to_string(), errno: Some(Errno(error)), words }
    }

    fn reply(&self, request: &Request<'_>, answer: Range<usize>) -> Result<Reply<'_>, Error> {
        let reply = Reply::parse(request.command(), self.channel.bytes(answer));
        reply.map_err(|why| protocol(request, why))
    }

    /// These requests will come after the next one, in this order: they are sent along with it, which
    /// saves a round trip for each. Only to devices that can take that.
    pub(super) fn plan(&mut self, requests: impl IntoIterator<Item = Request<'static>>) {
        let takes_it = self.outside.is_some() || self.plans && !self.asks_for_memory.load(Relaxed);
        if takes_it && self.ahead.is_empty() {
            self.planned.extend(requests);
        }
    }

    /// Sends requests that are asked next, in this order. If sending fails, the first of them fails.
    pub(super) fn send_ahead<'r>(&mut self, requests: impl IntoIterator<Item = Request<'r>>) {
        if !self.ahead.is_empty() || !self.posted.1.is_empty() {
            return;
        }
        self.sent.clear();
        for request in requests {
            self.ahead.push_back(put(&mut self.sent, &mut self.id, &request));
        }
        let until = Until { deadline: Instant::now() + self.limits.answer, end: self.process.end() };
        if !self.ahead.is_empty() {
            // Whoever is gone is gone when it is asked.
            let _ = timed(Activity::Messages, || self.channel.send(&self.sent, &[], Some(until)));
        }
    }

    /// Whether something was sent that is not asked yet.
    pub(super) fn is_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Sends a request and waits for its answer, where there is time left for one.
    fn ask(&mut self, request: &Request<'_>, fds: &[BorrowedFd<'_>]) -> Result<Answer, Error> {
        deadline::check()?;
        if !self.posted.1.is_empty() {
            drop(self.flush()?);
        }
        self.outbox.clear();
        if let Some(next) = self.ahead.front()
            && fds.is_empty()
            && next.command == request.command() as u16
        {
            request.put(&mut self.outbox);
            if self.sent.get(next.payload.clone()) == Some(&*self.outbox) {
                let id = next.id;
                self.ahead.pop_front();
                return self.await_answer(id, request);
            }
            self.outbox.clear();
        }
        self.drain()?;
        let id = put(&mut self.outbox, &mut self.id, request).id;
        let planned = std::mem::take(&mut self.planned);
        let ahead = planned.iter().map(|planned| put(&mut self.outbox, &mut self.id, planned));
        self.ahead.extend(ahead);
        if !self.ahead.is_empty() {
            self.sent.clone_from(&self.outbox);
        }
        let outbox = std::mem::take(&mut self.outbox);
        timed(Activity::Messages, || {
            self.send(request, &outbox, fds)?;
            self.outbox = outbox;
            self.await_answer(id, request)
        })
    }

    /// It went another way than planned: what was sent ahead is answered all the same.
    fn drain(&mut self) -> Result<(), Error> {
        while let Some(Ahead { id, command, payload }) = self.ahead.pop_front() {
            let payload = self.sent.get(payload).unwrap_or_default().to_vec();
            let request = Request::parse(command, &payload).map_err(io::Error::other)?;
            drop(self.await_answer(id, &request)?);
        }
        Ok(())
    }

    fn send(&mut self, request: &Request<'_>, message: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Error> {
        let until = Until { deadline: Instant::now() + self.limits.answer, end: self.process.end() };
        let sent = self.channel.send(message, fds, Some(until));
        sent.map_err(|broken| self.blame(request, broken))
    }

    fn await_answer(&mut self, id: u16, request: &Request<'_>) -> Result<Answer, Error> {
        let deadline = Instant::now() + self.limits.answer;
        let command = request.command() as u16;
        loop {
            let until = Until { deadline, end: self.process.end() };
            let (header, payload) = match self.channel.receive(Some(until)) {
                Ok(message) => message,
                Err(broken) => return Err(self.blame(request, broken)),
            };
            let is_ours = header.id == id && header.command == command;
            match header.kind {
                Kind::Reply if is_ours => return Ok(Ok(payload)),
                Kind::Failed(error) if is_ours => return Ok(Err(error)),
                Kind::Reply | Kind::Failed(_) => {
                    let what = format!("a reply to message {} of command {}", header.id, header.command);
                    let asked = format!("{what}, where {id} of {command} was asked");
                    return Err(protocol(request, asked));
                }
                Kind::Command | Kind::CommandWithoutReply => {
                    let wants_reply = header.kind == Kind::Command;
                    self.serve(request, (header.id, header.command), payload, wants_reply, deadline)?;
                }
            }
            if deadline <= Instant::now() {
                return Err(self.slow(request));
            }
        }
    }

    /// Does what the device asks for: it reads and writes guest memory.
    fn serve(
        &mut self,
        during: &Request<'_>,
        (id, command): (u16, u16),
        payload: Range<usize>,
        wants_reply: bool,
        deadline: Instant,
    ) -> Result<(), Error> {
        self.asks_for_memory.store(true, Relaxed);
        let asked =
            Request::parse(command, self.channel.bytes(payload)).map_err(|why| protocol(during, why))?;
        let outside = || protocol(during, format!("{asked}, outside of the memory that was mapped"));
        let kind = Kind::Reply;
        match &asked {
            Request::DmaRead(transfer) => {
                if u64::from(MAX_DATA) < transfer.count {
                    return Err(protocol(during, format!("{asked}, more than a message may have")));
                }
                let bytes = self.memory.read(transfer.address, transfer.count)?.ok_or_else(outside)?;
                let reply = Reply::DmaRead(*transfer, &bytes);
                wire::message(&mut self.outbox, id, command, kind, |into| reply.put(into));
            }
            Request::DmaWrite(transfer, bytes) => {
                self.memory.write(transfer.address, bytes)?.ok_or_else(outside)?;
                let reply = Reply::DmaWrite(*transfer);
                wire::message(&mut self.outbox, id, command, kind, |into| reply.put(into));
            }
            other => return Err(protocol(during, format!("the command {other}, which is not the device's"))),
        }
        if !wants_reply {
            return Ok(());
        }
        let until = Until { deadline, end: self.process.end() };
        let sent = self.channel.send(&self.outbox, &[], Some(until));
        sent.map_err(|broken| self.blame(during, broken))
    }

    fn blame(&mut self, during: &Request<'_>, broken: Broken) -> Error {
        match broken {
            Broken::Closed => self.died(during),
            Broken::Malformed(why) => protocol(during, why),
            Broken::Machine(why) => why.into(),
            Broken::Slow => self.slow(during),
        }
    }

    fn died(&mut self, during: &Request<'_>) -> Error {
        let how = match self.process.ended(self.limits.answer) {
            Ok(Some(how)) => how,
            Ok(None) => "it closed the connection and still runs".to_owned(),
            Err(why) => return why.into(),
        };
        let words = self.process.words(self.since);
        Misbehaved::Died { during: during.to_string(), how, words }.into()
    }

    fn slow(&self, during: &Request<'_>) -> Error {
        let what = format!("no answer to {during} within {:?}", self.limits.answer);
        io::Error::new(io::ErrorKind::TimedOut, what).into()
    }
}

/// Appends a request.
fn put(outbox: &mut Vec<u8>, id: &mut u16, request: &Request<'_>) -> Ahead {
    *id = id.wrapping_add(1);
    traffic::asks(request);
    let (start, command) = (outbox.len() + wire::HEADER, request.command() as u16);
    wire::append(outbox, *id, command, Kind::Command, |into| request.put(into));
    Ahead { id: *id, command, payload: start..outbox.len() }
}

fn protocol(during: &Request<'_>, what: impl ToString) -> Error {
    Misbehaved::Protocol { during: during.to_string(), what: what.to_string() }.into()
}

fn other_reply(during: &Request<'_>) -> Error {
    protocol(during, "an answer to something else")
}
