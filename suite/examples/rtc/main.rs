//! A real-time clock as a vfio-user device program: what a vendor's own program looks like.
//!
//! It is built on nothing of migcert. It has an alarm, a periodic interrupt, battery-backed memory,
//! and a log that it writes into the guest's memory; it is migrated with PRE_COPY; it comes in two
//! releases, and with faults to be found.
//!
//! | file | what |
//! |---|---|
//! | `setup.rs` | parameters, versions, the command line |
//! | `clock.rs` | the device |
//! | `migration.rs` | its states, and its state as bytes |
//! | `wire.rs` | vfio-user messages |
//! | `fault.rs` | what can be planted |

mod clock;
mod fault;
mod migration;
mod setup;
mod wire;

use clock::{BAR, BAR_SIZE, CONFIG_SIZE, CONFIG_SPACE, Effect};
use migration::{Instance, State};
use rustix::net::sockopt::socket_acceptconn;
use setup::{Asked, Listen};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use wire::{EINVAL, ENOTTY, Message, Wire};

fn main() -> ExitCode {
    let done = setup::asked(std::env::args()).and_then(|asked| match asked {
        Asked::Version(release) => {
            println!("rtc {release}");
            Ok(())
        }
        Asked::Description(release) => {
            println!("{:#}", setup::description(release));
            Ok(())
        }
        Asked::Instance { listen, setup, resets } => {
            let served = connect(&listen).and_then(|socket| Server::new(socket, setup, resets).serve());
            served.map_err(|why| why.to_string())
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("rtc: {why}");
            ExitCode::from(1)
        }
    }
}

/// Waits for the one client.
fn connect(listen: &Listen) -> io::Result<UnixStream> {
    match listen {
        Listen::Path(path) => {
            let (socket, _) = UnixListener::bind(path)?.accept()?;
            std::fs::remove_file(path)?;
            Ok(socket)
        }
        Listen::Fd(number) => {
            // SAFETY: whoever started us passed this descriptor for us to own; nothing else uses it.
            let socket = unsafe { OwnedFd::from_raw_fd(*number) };
            match socket_acceptconn(&socket)? {
                true => Ok(UnixListener::from(socket).accept()?.0),
                false => Ok(UnixStream::from(socket)),
            }
        }
    }
}

struct Server {
    wire: Wire,
    instance: Instance,
    resets: bool,
    /// Where to signal each interrupt vector.
    interrupts: [Option<File>; 2],
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
    fn new(socket: UnixStream, setup: clock::Setup, resets: bool) -> Server {
        let (wire, instance) = (Wire::new(socket), Instance::new(setup));
        Server { wire, instance, resets, interrupts: [None, None], memory: Vec::new() }
    }

    fn serve(&mut self) -> io::Result<()> {
        while let Some(mut message) = self.wire.command()? {
            let answer = self.answer(&mut message)?;
            self.wire.reply(&message, answer)?;
        }
        Ok(())
    }

    /// What is answered: the payload of the reply, or an errno.
    fn answer(&mut self, message: &mut Message) -> io::Result<Result<Vec<u8>, i32>> {
        if message.command == wire::REGION_WRITE {
            return match self.region_write(message) {
                Ok(effects) => {
                    effects.into_iter().try_for_each(|effect| self.act(effect))?;
                    Ok(Ok(message.body[..16].to_vec()))
                }
                Err(error) => Ok(Err(error)),
            };
        }
        Ok(match message.command {
            wire::VERSION => version(message),
            wire::DEVICE_GET_INFO => {
                Ok(words(&[16, if self.resets { RESETS | IS_PCI } else { IS_PCI }, REGIONS, IRQS]))
            }
            wire::DEVICE_GET_REGION_INFO => region_info(message),
            wire::DEVICE_GET_IRQ_INFO => irq_info(message),
            wire::DEVICE_SET_IRQS => self.set_irqs(message),
            wire::DMA_MAP => self.map(message),
            wire::DMA_UNMAP => self.unmap(message),
            wire::REGION_READ => self.region_read(message),
            wire::DEVICE_RESET if self.resets => {
                self.instance.reset();
                Ok(vec![])
            }
            wire::DEVICE_FEATURE => self.feature(message),
            wire::MIG_DATA_READ => message.u32(4).and_then(|size| self.data_read(size)),
            wire::MIG_DATA_WRITE => self.data_write(message),
            _ => Err(ENOTTY),
        })
    }

    fn region_read(&mut self, message: &Message) -> Result<Vec<u8>, i32> {
        let (offset, region, count) = (message.u64(0)?, message.u32(8)?, message.u32(12)?);
        let bytes = self.instance.clock.read(region, offset, count as usize).ok_or(EINVAL)?;
        Ok([&message.body[..16], &bytes].concat())
    }

    fn region_write(&mut self, message: &Message) -> Result<Vec<Effect>, i32> {
        let (offset, region, count) = (message.u64(0)?, message.u32(8)?, message.u32(12)?);
        let bytes = &message.body[16..];
        if bytes.len() != count as usize {
            return Err(EINVAL);
        }
        if region == BAR && !self.instance.state.runs() {
            return Ok(vec![]); // Nothing changes while it is stopped.
        }
        self.instance.clock.write(region, offset, bytes).ok_or(EINVAL)
    }

    fn act(&mut self, effect: Effect) -> io::Result<()> {
        match effect {
            Effect::Interrupt(vector) => match &mut self.interrupts[vector] {
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

    fn set_irqs(&mut self, message: &mut Message) -> Result<Vec<u8>, i32> {
        const TRIGGER: u32 = 0x20;
        const WITH_EVENTFD: u32 = 4;
        let [flags, index, start, count] = [4, 8, 12, 16].map(|at| message.u32(at));
        let (flags, index, start, count) = (flags?, index?, start? as usize, count? as usize);
        if index != MSI || flags & TRIGGER == 0 || self.interrupts.len() < start.saturating_add(count) {
            return Err(EINVAL);
        }
        let vectors = if count == 0 { 0..self.interrupts.len() } else { start..start + count };
        let mut events = message.fds.drain(..);
        for vector in vectors {
            match flags & WITH_EVENTFD {
                0 if count != 0 => return Err(EINVAL),
                _ => self.interrupts[vector] = events.next().map(File::from),
            }
        }
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

    fn feature(&mut self, message: &Message) -> Result<Vec<u8>, i32> {
        const GET: u32 = 1 << 16;
        const SET: u32 = 1 << 17;
        const PROBE: u32 = 1 << 18;
        const MIGRATION: u32 = 1;
        const DEVICE_STATE: u32 = 2;
        const DATA_SIZE: u32 = 9;
        const STOP_COPY_AND_PRE_COPY: u64 = 1 | 4;
        let flags = message.u32(4)?;
        let (feature, action) = (flags & 0xffff, flags & (GET | SET | PROBE));
        let data = match (feature, action) {
            (MIGRATION | DATA_SIZE, action) if action & PROBE != 0 && action & SET == 0 => vec![],
            (DEVICE_STATE, action) if action & PROBE != 0 => vec![],
            (MIGRATION, GET) => STOP_COPY_AND_PRE_COPY.to_le_bytes().to_vec(),
            (DEVICE_STATE, GET) => words(&[self.instance.state as u32, u32::MAX]),
            (DEVICE_STATE, SET) => {
                let to = State::of(message.u32(8)?).ok_or(EINVAL)?;
                self.instance.set_state(to)?;
                return Ok(message.body.clone());
            }
            // What a save has at most: every record once.
            (DATA_SIZE, GET) => (256 + 2 * self.instance.clock.nvram.len() as u64).to_le_bytes().to_vec(),
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

fn version(message: &Message) -> Result<Vec<u8>, i32> {
    let proposed = message.u32(0)?;
    if proposed & 0xffff != 0 {
        return Err(EINVAL);
    }
    let minor = (proposed >> 16).min(1);
    let capabilities = serde_json::json!({"capabilities": {
        "max_msg_fds": 8, "max_data_xfer_size": wire::MAX_DATA, "migration": {"pgsize": 4096},
    }});
    Ok([&words(&[minor << 16])[..], capabilities.to_string().as_bytes(), &[0]].concat())
}

fn region_info(message: &Message) -> Result<Vec<u8>, i32> {
    const READ_AND_WRITE: u32 = 3;
    let index = message.u32(8)?;
    let size = match index {
        BAR => BAR_SIZE,
        CONFIG_SPACE => CONFIG_SIZE,
        index if index < REGIONS => 0,
        _ => return Err(EINVAL),
    };
    let flags = if size == 0 { 0 } else { READ_AND_WRITE };
    Ok(words(&[32, flags, index, 0, size as u32, (size >> 32) as u32, 0, 0]))
}

fn irq_info(message: &Message) -> Result<Vec<u8>, i32> {
    const EVENTFD_AS_A_SET: u32 = 1 | 8;
    match message.u32(8)? {
        MSI => Ok(words(&[16, EVENTFD_AS_A_SET, MSI, 2])),
        index if index < IRQS => Ok(words(&[16, 0, index, 0])),
        _ => Err(EINVAL),
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
