//! Interrupts, counted through eventfds.

use super::client::Client;
use super::wire::reply::{DeviceInfo, IrqInfo};
use migcert_core::device::Sight;
use migcert_core::error::Error;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// So many vectors are listened to.
const VECTORS: u32 = 64;
/// An interrupt that was raised more often in one step is shown so often.
const TIMES: u64 = 16;

/// The interrupts of one type; a VMM enables no more than one at a time.
pub(super) struct Irqs {
    index: u32,
    masks_itself: bool,
    events: Vec<OwnedFd>,
    all: OwnedFd,
}

impl Irqs {
    /// Sets up the best type that the device has: MSI-X, MSI, INTx for a PCI device.
    pub(super) fn new(client: &mut Client, info: &DeviceInfo) -> Result<Irqs, Error> {
        const PCI: [u32; 3] = [2, 1, 0];
        let types = if info.flags & DeviceInfo::PCI != 0 { PCI.to_vec() } else { (0..info.irqs).collect() };
        let mut irqs = Irqs {
            index: 0,
            masks_itself: false,
            events: vec![],
            all: epoll::create(CreateFlags::CLOEXEC).map_err(io::Error::from)?,
        };
        for index in types.into_iter().filter(|index| *index < info.irqs) {
            let found = client.irqs(index)?;
            if found.count == 0 || found.flags & IrqInfo::EVENTFD == 0 || client.most_fds == 0 {
                continue;
            }
            irqs.index = index;
            irqs.masks_itself = found.flags & IrqInfo::AUTOMASKED != 0;
            for vector in 0..found.count.min(VECTORS) {
                let event =
                    eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).map_err(io::Error::from)?;
                let added = epoll::add(&irqs.all, &event, EventData::new_u64(vector.into()), EventFlags::IN);
                added.map_err(io::Error::from)?;
                irqs.events.push(event);
            }
            irqs.enable(client)?;
            break;
        }
        Ok(irqs)
    }

    /// How many vectors are listened to.
    pub(super) fn vectors(&self) -> u32 {
        self.events.len() as u32
    }

    /// Has them signalled.
    pub(super) fn enable(&self, client: &mut Client) -> Result<(), Error> {
        let fds: Vec<BorrowedFd<'_>> = self.events.iter().map(AsFd::as_fd).collect();
        if fds.is_empty() { Ok(()) } else { client.signal(self.index, &fds) }
    }

    /// What was raised since this was asked last, by vector.
    pub(super) fn raised(&mut self, client: &mut Client) -> Result<Vec<Sight>, Error> {
        if self.events.is_empty() {
            return Ok(vec![]);
        }
        let mut ready = Vec::with_capacity(VECTORS as usize);
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(&self.all, rustix::buffer::spare_capacity(&mut ready), Some(&now))
            .map_err(io::Error::from)?;
        let mut vectors: Vec<u64> = ready.iter().map(|event| event.data.u64()).collect();
        vectors.sort_unstable();
        let mut sights = Vec::new();
        for vector in vectors {
            let Some(event) = self.events.get(vector as usize) else { continue };
            let mut count = [0; 8];
            match rustix::io::read(event, &mut count) {
                Ok(_) => {
                    let times = u64::from_ne_bytes(count).min(TIMES);
                    sights.extend((0..times).map(|_| Sight::Interrupt(vector as u32)));
                }
                Err(rustix::io::Errno::AGAIN) => {}
                Err(errno) => return Err(io::Error::from(errno).into()),
            }
            if self.masks_itself {
                client.unmask(self.index, vector as u32)?;
            }
        }
        Ok(sights)
    }
}
