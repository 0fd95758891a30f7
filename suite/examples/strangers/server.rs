//! The device behind vfio-user.

use crate::chance;
use crate::device::{BAR, CONFIG_SPACE, Effect, Setup};
use crate::hidden::Place;
use crate::kind;
use crate::knows;
use crate::migration::{Instance, State};
use crate::wire::{self, EINVAL, ENOTTY, Message, Wire};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) struct Server {
    socket: UnixStream,
    wire: Wire,
    instance: Instance,
    /// How many messages came.
    messages: u64,
    interrupt: Option<File>,
    memory: Vec<Mapping>,
}

/// Guest memory that the device may use.
struct Mapping {
    address: u64,
    size: u64,
    /// The file behind it, if it is shared, and where in the file it begins.
    file: Option<(File, u64)>,
}

impl Server {
    pub(crate) fn new(
        socket: UnixStream,
        setup: Setup,
        place: Option<Place>,
        disk: Option<PathBuf>,
    ) -> io::Result<Server> {
        let (wire, instance) = (Wire::new(socket.try_clone()?), Instance::new(setup, place, disk));
        Ok(Server { socket, wire, instance, messages: 0, interrupt: None, memory: Vec::new() })
    }

    pub(crate) fn serve(&mut self) -> io::Result<()> {
        loop {
            self.wait()?;
            let Some(mut message) = self.wire.command()? else { return Ok(()) };
            self.messages += 1;
            self.tick()?;
            let mut effects = Vec::new();
            let answer = self.answer(&mut message, &mut effects);
            effects.into_iter().try_for_each(|effect| self.act(effect))?;
            for ms in [200, 1000, 9000] {
                if kind::is(&format!("answers-in-{ms}-ms")) {
                    thread::sleep(Duration::from_millis(ms));
                }
            }
            if kind::is("answers-late") {
                thread::sleep(Duration::from_millis(3));
            }
            if kind::is("never-answers") && message.command == wire::REGION_READ {
                continue;
            }
            self.wire.reply(&message, answer)?;
        }
    }

    /// Waits for a message, and does meanwhile what is due.
    fn wait(&mut self) -> io::Result<()> {
        while let Some(due) = self.instance.device.next() {
            let left = due.saturating_duration_since(Instant::now()).max(Duration::from_micros(1));
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            if poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&left))? != 0 {
                return Ok(());
            }
            self.tick()?;
        }
        Ok(())
    }

    fn tick(&mut self) -> io::Result<()> {
        let effects = self.instance.device.tick(false);
        effects.into_iter().try_for_each(|effect| self.act(effect))
    }

    /// The payload of the reply, or an errno.
    fn answer(&mut self, message: &mut Message, effects: &mut Vec<Effect>) -> Result<Vec<u8>, i32> {
        match message.command {
            wire::VERSION => version(message),
            wire::DEVICE_GET_INFO => Ok(words(&[16, RESETS | IS_PCI, REGIONS, IRQS])),
            wire::DEVICE_GET_REGION_INFO => self.region_info(message),
            wire::DEVICE_GET_IRQ_INFO => irq_info(message),
            wire::DEVICE_SET_IRQS => self.set_irqs(message),
            wire::DMA_MAP => self.map(message),
            wire::DMA_UNMAP => self.unmap(message),
            wire::REGION_READ | wire::REGION_WRITE => self.region(message, effects),
            wire::DEVICE_RESET if kind::is("refuses-reset") => Err(EINVAL),
            wire::DEVICE_RESET => {
                self.instance.reset();
                Ok(vec![])
            }
            wire::DEVICE_FEATURE => self.feature(message, effects),
            wire::MIG_DATA_READ => message.u32(4).and_then(|size| self.data_read(size)),
            wire::MIG_DATA_WRITE => self.data_write(message),
            _ => Err(ENOTTY),
        }
    }

    fn region(&mut self, message: &Message, effects: &mut Vec<Effect>) -> Result<Vec<u8>, i32> {
        let (offset, region, count) = (message.u64(0)?, message.u32(8)?, message.u32(12)? as usize);
        let is_word = region != BAR || offset.is_multiple_of(4) && count == 4;
        let is_saved = self.instance.state == State::StopCopy && kind::is("refuses-while-saved");
        if is_saved || kind::is("all-errors") {
            return Err(EINVAL);
        }
        if !is_word && kind::is("logs-pid") {
            let pid = std::process::id();
            eprintln!("strangers[{pid}]: message {}: no word at {offset:#x}: refused", self.messages);
            return Err(EINVAL);
        }
        if !is_word && kind::is("random-errno") {
            return Err(if chance::below(2) == 0 { EINVAL } else { EPERM });
        }
        let access = &message.body[..16];
        if message.command == wire::REGION_READ {
            let bytes = self.instance.device.read(region, offset, count).ok_or(EINVAL)?;
            return Ok([access, &bytes].concat());
        }
        let bytes = &message.body[16..];
        if bytes.len() != count {
            return Err(EINVAL);
        }
        // Nothing changes while it is stopped.
        if region != BAR || self.instance.state == State::Running {
            effects.extend(self.instance.device.write(region, offset, bytes).ok_or(EINVAL)?);
        }
        Ok(access.to_vec())
    }

    fn act(&mut self, effect: Effect) -> io::Result<()> {
        match effect {
            Effect::Interrupt if kind::is("never-interrupts") => Ok(()),
            Effect::Interrupt => match &mut self.interrupt {
                Some(event) => event.write_all(&1_u64.to_ne_bytes()),
                None => Ok(()),
            },
            Effect::Write { address, bytes } => {
                let end = address + bytes.len() as u64;
                let has =
                    |mapping: &&Mapping| mapping.address <= address && end <= mapping.address + mapping.size;
                match self.memory.iter().find(has) {
                    Some(Mapping { address: base, file: Some((file, offset)), .. }) => {
                        file.write_all_at(&bytes, offset + (address - base))
                    }
                    Some(_) => self.wire.dma_write(address, &bytes),
                    None => Ok(()),
                }
            }
        }
    }

    fn region_info(&self, message: &Message) -> Result<Vec<u8>, i32> {
        const READ_AND_WRITE: u32 = 3;
        let index = message.u32(8)?;
        if REGIONS <= index {
            return Err(EINVAL);
        }
        let size = self.instance.device.size(index);
        let flags = if size == 0 { 0 } else { READ_AND_WRITE };
        Ok(words(&[32, flags, index, 0, size as u32, (size >> 32) as u32, 0, 0]))
    }

    fn set_irqs(&mut self, message: &mut Message) -> Result<Vec<u8>, i32> {
        const TRIGGER: u32 = 0x20;
        const WITH_EVENTFD: u32 = 4;
        let [flags, index, start, count] = [4, 8, 12, 16].map(|at| message.u32(at));
        let (flags, index, start, count) = (flags?, index?, start?, count?);
        if index != MSI || flags & TRIGGER == 0 || 1 < start.saturating_add(count) {
            return Err(EINVAL);
        }
        if count != 0 && flags & WITH_EVENTFD == 0 {
            return Err(EINVAL);
        }
        self.interrupt = message.fds.pop().map(File::from);
        Ok(vec![])
    }

    fn map(&mut self, message: &mut Message) -> Result<Vec<u8>, i32> {
        let (offset, address, size) = (message.u64(8)?, message.u64(16)?, message.u64(24)?);
        let end = address.checked_add(size).ok_or(EINVAL)?;
        if self.memory.iter().any(|other| address < other.address + other.size && other.address < end) {
            return Err(EEXIST);
        }
        let file = message.fds.pop().map(|fd| (File::from(fd), offset));
        self.memory.push(Mapping { address, size, file });
        Ok(vec![])
    }

    fn unmap(&mut self, message: &Message) -> Result<Vec<u8>, i32> {
        let (address, size) = (message.u64(8)?, message.u64(16)?);
        let at = self.memory.iter().position(|mapping| (mapping.address, mapping.size) == (address, size));
        self.memory.swap_remove(at.ok_or(EINVAL)?);
        Ok(message.body.clone())
    }

    fn feature(&mut self, message: &Message, effects: &mut Vec<Effect>) -> Result<Vec<u8>, i32> {
        const GET: u32 = 1 << 16;
        const SET: u32 = 1 << 17;
        const PROBE: u32 = 1 << 18;
        const MIGRATION: u32 = 1;
        const DEVICE_STATE: u32 = 2;
        const STOP_COPY: u64 = 1;
        let flags = message.u32(4)?;
        let (feature, action) = (flags & 0xffff, flags & (GET | SET | PROBE));
        if kind::is("not-migratable") {
            return Err(ENOTTY);
        }
        let data = match (feature, action) {
            (MIGRATION, action) if action & PROBE != 0 && action & SET == 0 => vec![],
            (DEVICE_STATE, action) if action & PROBE != 0 => vec![],
            (MIGRATION, GET) => STOP_COPY.to_le_bytes().to_vec(),
            (DEVICE_STATE, GET) => words(&[self.instance.state as u32, u32::MAX]),
            (DEVICE_STATE, SET) => {
                let to = State::of(message.u32(8)?).ok_or(EINVAL)?;
                self.instance.set_state(to, effects)?;
                return Ok(message.body.clone());
            }
            _ => return Err(ENOTTY),
        };
        Ok([words(&[8 + data.len() as u32, flags]), data].concat())
    }

    fn data_read(&mut self, size: u32) -> Result<Vec<u8>, i32> {
        if wire::MAX_DATA < size {
            return Err(EINVAL);
        }
        let data = self.instance.read(size as usize)?;
        let len = data.len() as u32;
        Ok([words(&[8 + len, len]), data].concat())
    }

    fn data_write(&mut self, message: &Message) -> Result<Vec<u8>, i32> {
        let data = message.body.get(8..).ok_or(EINVAL)?;
        if message.u32(4)? as usize != data.len() {
            return Err(EINVAL);
        }
        self.instance.write(data).map(|()| vec![])
    }
}

/// `VFIO_DEVICE_FLAGS_*`, and the numbers of regions and kinds of interrupt of every PCI device.
const RESETS: u32 = 1;
const IS_PCI: u32 = 2;
const REGIONS: u32 = 9;
const IRQS: u32 = 5;
const MSI: u32 = 1;
const EEXIST: i32 = 17;
const EPERM: i32 = 1;

fn version(message: &Message) -> Result<Vec<u8>, i32> {
    let proposed = message.u32(0)?;
    if proposed & 0xffff != 0 {
        return Err(EINVAL);
    }
    knows::hear(message.body.get(4..).unwrap_or_default());
    let minor = (proposed >> 16).min(1);
    let capabilities = serde_json::json!({"capabilities": {
        "max_msg_fds": 8, "max_data_xfer_size": wire::MAX_DATA, "migration": {"pgsize": 4096},
    }});
    Ok([&words(&[minor << 16])[..], capabilities.to_string().as_bytes(), &[0]].concat())
}

fn irq_info(message: &Message) -> Result<Vec<u8>, i32> {
    const EVENTFD_AS_A_SET: u32 = 1 | 8;
    match message.u32(8)? {
        MSI => Ok(words(&[16, EVENTFD_AS_A_SET, MSI, 1])),
        index if index < IRQS => Ok(words(&[16, 0, index, 0])),
        _ => Err(EINVAL),
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

const _: () = assert!(CONFIG_SPACE < REGIONS);
