//! The driver's side of a split virtqueue (virtio 1.2, 2.7), with event indices.
//!
//! Each request has a slot of its own: two descriptors, and a buffer for each. What stands in
//! the used ring is the device's word, and is believed only where it can be true.

use serde::{Deserialize, Serialize};
use std::sync::atomic::{Ordering, fence};
use vhost::VringConfigData;
use virtio_queue::desc::RawDescriptor;
use virtio_queue::desc::split::Descriptor;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

/// All of the guest's memory: small, so that carrying it is cheap.
pub(super) const MEMORY: usize = 256 << 10;
/// One buffer.
const BUFFER: u64 = 4 << 10;

/// A virtqueue, as the driver knows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Ring {
    /// Where descriptor table, available ring and used ring begin, and the buffers.
    at: u64,
    buffers: u64,
    size: u16,
    /// How often a request was made available.
    pub(super) available: u16,
    /// How often one was taken back.
    pub(super) used: u16,
    slots: Vec<Slot>,
}

/// What is in a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Slot {
    Free,
    /// A request; its reply may have so many bytes.
    InFlight(u32),
    /// A reply that nobody has wanted yet.
    Replied(Vec<u8>),
}

const AVAILABLE: u64 = 0x800;
const USED: u64 = 0x1000;

impl Ring {
    /// The two queues of a device, one behind the other.
    pub(super) fn both() -> [Ring; 2] {
        let ring = |at, buffers, slots: u16| Ring {
            at,
            buffers,
            size: slots * 2,
            available: 0,
            used: 0,
            slots: vec![Slot::Free; usize::from(slots)],
        };
        [ring(0, 0x8000, 4), ring(0x2000, 0x10000, 16)]
    }

    /// What the device is told of it.
    pub(super) fn config(&self, memory: &GuestMemoryMmap) -> Option<VringConfigData> {
        // The device translates addresses of the process that carries the memory.
        let base = memory.iter().next()?.as_ptr() as u64;
        Some(VringConfigData {
            queue_max_size: self.size,
            queue_size: self.size,
            flags: 0,
            desc_table_addr: base + self.at,
            used_ring_addr: base + self.at + USED,
            avail_ring_addr: base + self.at + AVAILABLE,
            log_addr: None,
        })
    }

    /// How many entries it has.
    pub(super) fn size(&self) -> u16 {
        self.size
    }

    /// Makes a request available; says its slot, or `None` if there is no room.
    pub(super) fn post(
        &mut self,
        memory: &GuestMemoryMmap,
        request: &[u8],
        room: u32,
    ) -> Result<Option<u16>, String> {
        const NEXT: u16 = 1;
        const WRITE: u16 = 2;
        let Some(slot) = self.slots.iter().position(|slot| *slot == Slot::Free) else { return Ok(None) };
        if request.len() as u64 > BUFFER || u64::from(room) > BUFFER {
            return Ok(None);
        }
        let head = slot as u16 * 2;
        let buffer = self.buffers + u64::from(head) * BUFFER;
        let chained = if room > 0 { NEXT } else { 0 };
        let request_at = Descriptor::new(buffer, request.len() as u32, chained, head + 1);
        let reply_at = Descriptor::new(buffer + BUFFER, room, WRITE, 0);
        let write = || -> Result<(), vm_memory::GuestMemoryError> {
            memory.write_slice(request, GuestAddress(buffer))?;
            memory.write_obj(RawDescriptor::from(request_at), self.place(head))?;
            memory.write_obj(RawDescriptor::from(reply_at), self.place(head + 1))?;
            let entry = AVAILABLE + 4 + u64::from(self.available % self.size) * 2;
            memory.write_obj(head, GuestAddress(self.at + entry))?;
            let index = self.available.wrapping_add(1);
            memory.store(index, GuestAddress(self.at + AVAILABLE + 2), Ordering::SeqCst)
        };
        write().map_err(|e| e.to_string())?;
        self.available = self.available.wrapping_add(1);
        self.slots[slot] = Slot::InFlight(room);
        Ok(Some(head))
    }

    /// Whether the device has asked to be told of what was made available last.
    pub(super) fn is_awaited(&self, memory: &GuestMemoryMmap) -> Result<bool, String> {
        fence(Ordering::SeqCst);
        Ok(self.awaited_by_device(memory)? == self.available.wrapping_sub(1))
    }

    /// The request that the device asks to be told of.
    fn awaited_by_device(&self, memory: &GuestMemoryMmap) -> Result<u16, String> {
        let at = GuestAddress(self.at + USED + 4 + u64::from(self.size) * 8);
        memory.load(at, Ordering::SeqCst).map_err(|e| e.to_string())
    }

    /// Where driver and device stand, in words.
    pub(super) fn tell(&self, memory: &GuestMemoryMmap) -> Result<String, String> {
        let (used, awaited) = (self.used_by_device(memory)?, self.awaited_by_device(memory)?);
        Ok(format!("{} requests made available, {used} used, a kick wanted for {awaited}", self.available))
    }

    /// Asks for a notification when the device has used one more than were taken back.
    pub(super) fn ask(&self, memory: &GuestMemoryMmap) -> Result<(), String> {
        let at = GuestAddress(self.at + AVAILABLE + 4 + u64::from(self.size) * 2);
        memory.store(self.used, at, Ordering::SeqCst).map_err(|e| e.to_string())?;
        fence(Ordering::SeqCst);
        Ok(())
    }

    /// How many requests the device says that it has used, ever.
    pub(super) fn used_by_device(&self, memory: &GuestMemoryMmap) -> Result<u16, String> {
        memory.load(GuestAddress(self.at + USED + 2), Ordering::SeqCst).map_err(|e| e.to_string())
    }

    /// Takes back what the device has used.
    ///
    /// An error says what of the used ring can't be true.
    pub(super) fn take(&mut self, memory: &GuestMemoryMmap) -> Result<(), String> {
        let fresh = self.used_by_device(memory)?.wrapping_sub(self.used);
        let in_flight = self.slots.iter().filter(|slot| matches!(slot, Slot::InFlight(_))).count();
        if usize::from(fresh) > in_flight {
            return Err(format!(
                "a used index that is {fresh} ahead, and {in_flight} requests are in flight"
            ));
        }
        for _ in 0..fresh {
            let entry = GuestAddress(self.at + USED + 4 + u64::from(self.used % self.size) * 8);
            let [id, len]: [u32; 2] = memory.read_obj(entry).map_err(|e| e.to_string())?;
            let slot = self.slots.get_mut(id as usize / 2).filter(|_| id % 2 == 0);
            let Some((slot, room)) = slot.and_then(|slot| match *slot {
                Slot::InFlight(room) => Some((slot, room)),
                _ => None,
            }) else {
                return Err(format!("a used element {id}, which is not in flight"));
            };
            if len > room {
                return Err(format!("{len} bytes used where {room} were given"));
            }
            let mut reply = vec![0; len as usize];
            let buffer = self.buffers + u64::from(id) * BUFFER + BUFFER;
            memory.read_slice(&mut reply, GuestAddress(buffer)).map_err(|e| e.to_string())?;
            *slot = Slot::Replied(reply);
            self.used = self.used.wrapping_add(1);
        }
        Ok(())
    }

    /// The reply to what was posted as `head`, if it is there; its slot is free then.
    pub(super) fn reply(&mut self, head: u16) -> Option<Vec<u8>> {
        let slot =
            self.slots.get_mut(usize::from(head / 2)).filter(|slot| matches!(slot, Slot::Replied(_)))?;
        match std::mem::replace(slot, Slot::Free) {
            Slot::Replied(reply) => Some(reply),
            _ => None,
        }
    }

    fn place(&self, descriptor: u16) -> GuestAddress {
        GuestAddress(self.at + u64::from(descriptor) * 16)
    }
}
