//! Interrupts, counted through eventfds.

use super::client::Client;
use super::wire::reply::{DeviceInfo, IrqInfo};
use migcert_core::device::Sight;
use migcert_core::error::Error;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many vectors are listened to.
const VECTORS: u32 = 64;
/// An interrupt that was raised more often in one step is shown so often.
const TIMES: u64 = 16;

/// The interrupts of one type; a VMM enables no more than one at a time.
pub(super) struct Irqs {
    index: u32,
    masks_itself: bool,
    /// `None` for a device without interrupts.
    events: Option<Events>,
    /// Whether this is gone after whoever could signal them.
    outlives_device: bool,
}

impl Irqs {
    /// Sets up the best type that the device has: MSI-X, MSI, INTx for a PCI device.
    pub(super) fn new(client: &mut Client, info: &DeviceInfo) -> Result<Irqs, Error> {
        const PCI: [u32; 3] = [2, 1, 0];
        let types = if info.flags & DeviceInfo::PCI != 0 { PCI.to_vec() } else { (0..info.irqs).collect() };
        let mut irqs = Irqs::none();
        for index in types.into_iter().filter(|index| *index < info.irqs) {
            let found = client.irqs(index)?;
            if found.count == 0 || found.flags & IrqInfo::EVENTFD == 0 || client.most_fds == 0 {
                continue;
            }
            irqs.index = index;
            irqs.masks_itself = found.flags & IrqInfo::AUTOMASKED != 0;
            irqs.events = Some(Events::of(found.count.min(VECTORS))?);
            irqs.enable(client)?;
            break;
        }
        Ok(irqs)
    }

    /// None: they come another way.
    pub(super) fn none() -> Irqs {
        Irqs { index: 0, masks_itself: false, events: None, outlives_device: false }
    }

    /// It is gone after whoever could signal them: the events may serve another device.
    pub(super) fn outlives_device(mut self) -> Irqs {
        self.outlives_device = true;
        self
    }

    /// How many vectors are listened to.
    pub(super) fn vectors(&self) -> u32 {
        self.events.as_ref().map_or(0, |events| events.vectors.len() as u32)
    }

    /// Has them signalled.
    pub(super) fn enable(&self, client: &mut Client) -> Result<(), Error> {
        let Some(events) = &self.events else { return Ok(()) };
        let fds: Vec<BorrowedFd<'_>> = events.vectors.iter().map(AsFd::as_fd).collect();
        client.signal(self.index, &fds)
    }

    /// What was raised since this was asked last, by vector.
    pub(super) fn raised(&mut self, client: &mut Client) -> Result<Vec<Sight>, Error> {
        let Some(events) = &self.events else { return Ok(vec![]) };
        let mut sights = Vec::new();
        for vector in events.ready()? {
            let times = events.take(vector)?.min(TIMES);
            sights.extend((0..times).map(|_| Sight::Interrupt(vector)));
            if self.masks_itself {
                client.unmask(self.index, vector)?;
            }
        }
        Ok(sights)
    }
}

/// Interrupts that were raised one by one, as they are counted: by vector, and not more often than that.
pub(super) fn in_order(raised: Vec<Sight>) -> Vec<Sight> {
    let mut times = BTreeMap::<u32, u64>::new();
    for sight in raised {
        if let Sight::Interrupt(vector) = sight {
            *times.entry(vector).or_default() += 1;
        }
    }
    let each = |(vector, times): (u32, u64)| (0..times.min(TIMES)).map(move |_| Sight::Interrupt(vector));
    times.into_iter().flat_map(each).collect()
}

impl Drop for Irqs {
    fn drop(&mut self) {
        if let Some(events) = self.events.take()
            && self.outlives_device
        {
            events.give_back();
        }
    }
}

/// Eventfds of the vectors from 0 on, and one that is ready when one of them is.
struct Events {
    vectors: Vec<OwnedFd>,
    all: OwnedFd,
}

/// Eventfds of devices that are gone: making them takes as long as many steps.
static IDLE: Mutex<Vec<Events>> = Mutex::new(Vec::new());

fn idle() -> MutexGuard<'static, Vec<Events>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Events {
    /// So many, of which none is signalled.
    fn of(count: u32) -> io::Result<Events> {
        let known = {
            let mut idle = idle();
            let at = idle.iter().position(|events| events.vectors.len() == count as usize);
            at.map(|at| idle.swap_remove(at))
        };
        known.map_or_else(|| Events::new(count), Ok)
    }

    fn new(count: u32) -> io::Result<Events> {
        let all = epoll::create(CreateFlags::CLOEXEC)?;
        let mut vectors = Vec::new();
        for vector in 0..count {
            let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
            epoll::add(&all, &event, EventData::new_u64(vector.into()), EventFlags::IN)?;
            vectors.push(event);
        }
        Ok(Events { vectors, all })
    }

    /// Lets another device have them.
    fn give_back(self) {
        const MOST: usize = 16;
        let taken =
            self.ready().and_then(|ready| ready.into_iter().try_for_each(|at| self.take(at).map(drop)));
        let mut idle = idle();
        if taken.is_ok() && idle.len() < MOST {
            idle.push(self);
        }
    }

    /// The vectors that were signalled.
    fn ready(&self) -> io::Result<Vec<u32>> {
        let mut ready = Vec::with_capacity(VECTORS as usize);
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(&self.all, rustix::buffer::spare_capacity(&mut ready), Some(&now))?;
        let mut vectors: Vec<u32> = ready.iter().map(|event| event.data.u64() as u32).collect();
        vectors.sort_unstable();
        Ok(vectors)
    }

    /// How often one was signalled since this was asked last.
    fn take(&self, vector: u32) -> io::Result<u64> {
        let Some(event) = self.vectors.get(vector as usize) else { return Ok(0) };
        let mut count = [0; 8];
        match rustix::io::read(event, &mut count) {
            Ok(_) => Ok(u64::from_ne_bytes(count)),
            Err(rustix::io::Errno::AGAIN) => Ok(0),
            Err(errno) => Err(errno.into()),
        }
    }
}
