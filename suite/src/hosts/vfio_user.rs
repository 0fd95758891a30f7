//! A device program that speaks vfio-user, behind [`Program`] and [`Device`].
//!
//! The device walks the arcs of chapter R-7 itself; this host asks:
//!
//! | call | messages |
//! |---|---|
//! | start | VERSION, what the device has, SET_IRQS with eventfds, DMA_MAP of a small memory |
//! | `set_state` | DEVICE_FEATURE SET MIG_DEVICE_STATE; where that fails GET, for the state it left |
//! | `read_state` | MIG_DATA_READ; 0 bytes are the end, for now or for good |
//! | `write_state` | MIG_DATA_WRITE |
//! | `estimate` | DEVICE_FEATURE PROBE MIG_DATA_SIZE; where it has that, GET |
//! | `reset` | DEVICE_RESET, where DEVICE_GET_INFO offers it; then configuration space as it was at first |
//! | `guest_memory` | the shared memory, and what can be written of PCI configuration space |
//! | `guest` | REGION_READ, REGION_WRITE; then a round trip, the eventfds and guest memory are looked at |
//!
//! Every instance has a process of its own: a reset is a promise under test. Only as
//! [`Program::reusing`] it is a tool, too.

mod channel;
mod client;
mod config_space;
mod device;
mod dma_log;
mod interface;
mod irqs;
mod memory;
mod outside;
pub mod server;
#[cfg(test)]
mod tests;
pub mod wire;

use super::apart::{Filed, apart};
use super::ask::{Mute, ask};
use super::cell::Cell;
use super::limits::Limits;
use super::process::Process;
use super::reach::{Pace, Reached, reach};
use super::reuse::{Footprint, IdleInstances, Renew};
use super::rooms::{Files, Rooms};
use super::template::{Blank, Template, filled, started};
use super::traffic::{Activity, timed};
use crate::isolation::{Known, ToShare};
use crate::scratch::socket_in;
use client::Client;
pub use config_space::ConfigSpace;
use config_space::Learned;
use device::{Asks, Instance};
pub use interface::{Guide, Place};
use migcert_core::device::{Device, Outside, State};
use migcert_core::error::{Error, Misbehaved, Refusal};
use migcert_core::manifest::MAX_BYTES;
use migcert_core::model::ModelId;
use migcert_core::program::{Apart, Manifest, Program, Share};
use migcert_core::version::Setup;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// How a program is started and driven.
#[derive(Clone, Debug)]
pub struct Config {
    /// The program; an absolute path, or a name to be looked up.
    pub program: PathBuf,
    /// What it is always given.
    pub args: Vec<Template>,
    /// How it is told the rest.
    pub told: Told,
    /// How it gets its socket.
    pub socket: Socket,
    /// What it supports; `None` where it says so itself.
    pub manifest: Option<Manifest>,
    /// How long it may take.
    pub limits: Limits,
    /// What its guest does and leaves alone.
    pub guide: Guide,
    /// What its instances share beside what its arguments name.
    pub shared: Vec<ToShare>,
    /// Whether an instance may serve again, once it is reset.
    pub reuse: bool,
}

impl Config {
    /// A program that follows.
    pub fn standard(program: PathBuf) -> Config {
        Config {
            program,
            args: vec![],
            told: Told::ByOptions,
            socket: Socket::Path,
            manifest: None,
            limits: Limits::default(),
            guide: Guide::default(),
            shared: vec![],
            reuse: true,
        }
    }
}

/// How a program is told of its socket and its setup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// By the options of, after the arguments; exit status 1 is a refusal, and no other is.
    ByOptions,
    /// By the arguments, in which `{socket}`, `{fd}`, `{scratch}`, `{model}`, `{version}` and
    /// `{param:NAME}` stand for what is only known at the start; any exit status is a refusal.
    ByPlaceholders,
}

/// How a program gets its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// It listens on a path.
    Path,
    /// It inherits a connected one.
    Descriptor,
}

/// A device program that speaks vfio-user.
pub struct VfioUser {
    host: Arc<Launcher>,
    reusing: Option<Reusing>,
}

/// The same with instances that may have served before.
struct Reusing {
    host: Arc<Launcher>,
    idle: Arc<IdleInstances<Vec<Template>, Instance>>,
}

/// How instances are started.
struct Launcher {
    config: Config,
    /// How many models the program said it has.
    models: AtomicUsize,
    /// What was learned of PCI configuration space, by command line.
    learned: Mutex<BTreeMap<Vec<Template>, Arc<Learned>>>,
    rooms: Rooms,
    pace: Pace,
    /// Whether an instance asked for guest memory in a message.
    asks_for_memory: Arc<AtomicBool>,
}

impl VfioUser {
    /// A program; nothing is started.
    pub fn new(config: Config) -> VfioUser {
        let models = config.manifest.as_ref().map_or(0, |known| known.models.len());
        let rooms = Rooms::of(&config.args, &config.shared);
        let (learned, pace) = (Mutex::default(), Pace::default());
        let is_reused = config.reuse;
        let host = Arc::new(Launcher {
            config,
            models: models.into(),
            learned,
            rooms,
            pace,
            asks_for_memory: Arc::default(),
        });
        let reusing = is_reused.then(|| Reusing { host: Arc::clone(&host), idle: Arc::default() });
        VfioUser { host, reusing }
    }

    /// What is known of how its instances are kept apart.
    pub fn isolation(&self) -> Known {
        self.host.rooms.known()
    }
}

impl Launcher {
    fn describe(&self) -> Result<Manifest, Error> {
        match &self.config.manifest {
            Some(known) => Ok(known.clone()),
            None => self.asked(),
        }
    }

    fn instance(&self, args: &[Template], files: Files<'_>, asks: Asks) -> Result<Instance, Error> {
        let mut client = self.launch(args, files)?;
        client.asks_for_memory = Arc::clone(&self.asks_for_memory);
        client.plans = asks == Asks::Ahead;
        timed(Activity::SetUp, || {
            Instance::new(client, &self.config.guide, asks, |size| self.learned(args, size))
        })
    }

    /// What the program prints of itself.
    fn asked(&self) -> Result<Manifest, Error> {
        const ASK: &str = "--print-migration-info-json";
        let wrong = |what: String| Error::from(Misbehaved::Protocol { during: ASK.to_owned(), what });
        let own = self.config.args.iter().cloned().map(Template::into_argument);
        let args: Vec<OsString> = own.chain([ASK.into()]).collect();
        let said = match ask(&self.config.program, &args, MAX_BYTES, self.config.limits.answer) {
            Ok(said) => said,
            Err(Mute::Machine(why)) => return Err(why.into()),
            Err(Mute::TooMuch) => return Err(wrong(format!("more than {MAX_BYTES} bytes"))),
        };
        if !said.status.success() {
            let words = said.last_words.unwrap_or_else(|| "without a word".to_owned());
            return Err(wrong(format!("{}: {words}", said.status)));
        }
        let manifest = Manifest::from_json(&said.output).map_err(|why| wrong(why.to_string()))?;
        self.models.store(manifest.models.len(), Relaxed);
        Ok(manifest)
    }

    /// The arguments for a setup; what belongs to a process is still open.
    fn args(&self, model: &ModelId, setup: &Setup) -> Result<Vec<Template>, Error> {
        let version = if let Setup::Version(version) = setup { version.as_str() } else { "" };
        match self.config.told {
            Told::ByOptions => {
                let mut args = self.config.args.clone();
                args.push(match self.config.socket {
                    Socket::Path => Template::option("--socket-path=", Blank::Socket),
                    Socket::Descriptor => Template::option("--fd=", Blank::Fd),
                });
                let mut more = Vec::new();
                let is_r4 = matches!(setup, Setup::Version(_));
                if is_r4 || 1 < self.models.load(Relaxed) {
                    more.extend(["--migration-model".to_owned(), model.to_string()]);
                }
                match setup {
                    Setup::Version(_) => {
                        more.extend(["--migration-version".to_owned(), version.to_owned()]);
                    }
                    Setup::Params(named) => {
                        more.extend(named.iter().map(|(name, value)| format!("--m-{name}={value}")));
                    }
                }
                args.extend(more.into_iter().map(Template::exactly));
                Ok(args)
            }
            Told::ByPlaceholders => {
                let known = match &self.config.manifest {
                    Some(known) => known,
                    None => return Err(io::Error::other("no description, and no options to ask by").into()),
                };
                let configuration = known.complete(model, setup).map_err(Refusal::NotAsked)?;
                Ok(filled(&self.config.args, model, setup, &configuration))
            }
        }
    }

    fn launch(&self, args: &[Template], files: Files<'_>) -> Result<Client, Error> {
        self.rooms.start(&[], files, |cell| timed(Activity::Start, || self.launch_in(cell, args)))
    }

    fn launch_in(&self, cell: Cell, args: &[Template]) -> Result<Client, Error> {
        let scratch = cell.scratch().to_path_buf();
        let socket = match self.config.socket {
            Socket::Path => socket_in(&scratch)?,
            Socket::Descriptor => PathBuf::new(),
        };
        let args = started(args, &socket, &scratch);
        let program = &self.config.program;
        match self.config.socket {
            Socket::Descriptor => {
                let (ours, theirs) = UnixStream::pair()?;
                let process = Process::start_with(program, &args, cell, Some(theirs.as_fd()))?;
                drop(theirs);
                Client::new(process, ours, self.config.limits)
            }
            Socket::Path => {
                let mut process = Process::start(program, &args, cell)?;
                match reach(&mut process, &socket, &self.pace, self.config.limits.answer)? {
                    Reached::Connected(stream) => Client::new(process, stream, self.config.limits),
                    Reached::Ended(how) => Err(self.ended(&process, &how)),
                }
            }
        }
    }

    /// What is known of a PCI configuration space, learned once in a process of its own.
    fn learned(&self, args: &[Template], size: u64) -> Result<Arc<Learned>, Error> {
        let known = || self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(learned) = known().get(args) {
            return Ok(Arc::clone(learned));
        }
        let learned = Learned::of(&mut self.launch(args, Files::Usual)?, size, &self.config.guide.never);
        let learned = Arc::new(learned);
        known().insert(args.to_vec(), Arc::clone(&learned));
        Ok(learned)
    }

    /// A program that ended instead of listening: it refused, or broke.
    fn ended(&self, process: &Process, how: &str) -> Error {
        let (how, words) = (how.to_owned(), process.all_words());
        let is_refusal = match self.config.told {
            Told::ByOptions => how == "exit status 1" && !words.is_empty(),
            Told::ByPlaceholders => how.starts_with("exit status") && how != "exit status 0",
        };
        match is_refusal {
            true => Refusal::Ended { how, words }.into(),
            false => Misbehaved::Died { during: "the start".to_owned(), how, words }.into(),
        }
    }
}

impl Program for VfioUser {
    fn describe(&self) -> Result<Manifest, Error> {
        self.host.describe()
    }

    fn outside(&self) -> Result<Outside, Error> {
        Ok(Outside::none())
    }

    fn start(&self, model: &ModelId, setup: &Setup, outside: &Outside) -> Result<Box<dyn Device>, Error> {
        self.start_with(model, setup, outside, Files::Usual)
    }

    fn reusing(&self) -> Option<&dyn Program> {
        self.reusing.as_ref().map(|reusing| reusing as &dyn Program)
    }

    fn shares(&self) -> Vec<String> {
        self.host.rooms.shares()
    }

    fn apart(&self, share: Share) -> Result<Box<dyn Apart + '_>, Cow<'static, str>> {
        apart(self, &self.host.rooms, share)
    }
}

impl Filed for VfioUser {
    fn start_with(
        &self,
        model: &ModelId,
        setup: &Setup,
        _outside: &Outside,
        files: Files<'_>,
    ) -> Result<Box<dyn Device>, Error> {
        let args = self.host.args(model, setup)?;
        Ok(Box::new(self.host.instance(&args, files, Asks::InTurn)?))
    }
}

impl Program for Reusing {
    fn describe(&self) -> Result<Manifest, Error> {
        self.host.describe()
    }

    fn outside(&self) -> Result<Outside, Error> {
        Ok(Outside::none())
    }

    fn start(&self, model: &ModelId, setup: &Setup, _outside: &Outside) -> Result<Box<dyn Device>, Error> {
        let args = self.host.args(model, setup)?;
        self.idle.take(args.clone(), || self.host.instance(&args, Files::Usual, Asks::Ahead))
    }
}

impl Renew for Instance {
    fn takes(&self) -> Footprint {
        self.takes_from_us()
    }

    fn renew(&mut self) -> Result<(), Error> {
        self.reset()?;
        match self.state()? {
            State::Running => Ok(()),
            says => Err(Misbehaved::InWrongState { says, should: State::Running }.into()),
        }
    }
}
