//! A vhost-user backend behind [`Program`] and [`Device`]: its process, its queues, its state.
//!
//! The program knows no states of chapter R-7; this host walks the arcs for it
//! ([`Machine::Host`](migcert_core::device::Machine::Host)):
//!
//! | state or arc | what the program is told |
//! |---|---|
//! | RUNNING | nothing while no driver is up; then features, memory, queues, kicks |
//! | RUNNING → PRE_COPY | log base and `F_LOG_ALL`: a save is near |
//! | → STOP | `GET_VRING_BASE`: everything that it has taken must have been given back |
//! | → STOP_COPY | `SET_DEVICE_STATE_FD(SAVE)`; at the end of the stream `CHECK_DEVICE_STATE` |
//! | → RESUMING | `SET_DEVICE_STATE_FD(LOAD)` |
//! | RESUMING → STOP | the stream is closed, `CHECK_DEVICE_STATE` gives the verdict (R-7.4) |

mod backend;
mod device;
mod fit;
mod ring;
mod site;
#[cfg(test)]
mod tests;

use crate::guests::virtio_fs::Opens;
use crate::hosts::apart::{Filed, apart};
use crate::hosts::cell::Cell;
use crate::hosts::limits::{Limits, Transfer};
use crate::hosts::process::Process;
use crate::hosts::reach::Pace;
use crate::hosts::rooms::{Files, Rooms};
use crate::hosts::template::{Blank, Template, filled, started};
use crate::hosts::traffic::{Activity, timed};
use crate::isolation::{Known, ToShare};
use crate::scratch::socket_in;
use backend::Backend;
use device::Instance;
use migcert_core::device::{Device, Outside};
use migcert_core::error::{Error, Refusal};
use migcert_core::model::ModelId;
use migcert_core::program::{Apart, Manifest, Program, Share};
use migcert_core::version::Setup;
use site::{Lease, Pool};
use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use vhost::vhost_user::message::VhostTransferStateDirection as Direction;

/// How a program is started and what it supports.
#[derive(Clone, Debug)]
pub struct Config {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<Template>,
    /// What it supports.
    pub manifest: Manifest,
    /// What its guest does.
    pub guest: Opens,
    /// How long it may take.
    pub limits: Limits,
    /// Where instances run.
    pub processes: Processes,
    /// What they share beside what the arguments name.
    pub shared: Vec<ToShare>,
}

/// Whether processes serve more than one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processes {
    /// Every instance has a process that never served another.
    Fresh,
    /// A process that is well is reset and serves the next instance.
    Reused,
}

/// A program with a vhost-user backend in it.
pub struct VhostUser {
    config: Arc<Config>,
    pool: Arc<Pool>,
    /// The state of an instance that no driver has seen yet.
    pristine: Arc<OnceLock<Vec<u8>>>,
    rooms: Rooms,
    pace: Pace,
}

impl VhostUser {
    /// A program; nothing is started.
    pub fn new(config: Config) -> VhostUser {
        let rooms = Rooms::of(&config.args, &config.shared);
        let (pool, pristine, pace) = (Arc::default(), Arc::default(), Pace::default());
        VhostUser { config: Arc::new(config), pool, pristine, rooms, pace }
    }

    /// The same program in other processes: a finding counts once it was seen in fresh ones.
    pub fn with(&self, processes: Processes) -> VhostUser {
        VhostUser::new(Config { processes, ..Config::clone(&self.config) })
    }

    /// What is known of how its instances are kept apart.
    pub fn isolation(&self) -> Known {
        self.rooms.known()
    }

    /// What makes the program another device than the guest expects, as far as that can be told: what
    /// it says of itself, called with these words, or what it offers when it is started.
    pub fn is_another_device(&self, words: &[String]) -> Option<String> {
        let Config { program, limits, manifest, .. } = &*self.config;
        if let Some(says) = fit::says(program, words, limits.answer) {
            return (says != fit::FS).then(|| format!("it says that it is of the type `{says}`"));
        }
        let (model, setup) = manifest.models.iter().next().map(|(id, model)| (id, model.latest()))?;
        let lease = self.pool.lease().ok()?;
        let (command, _) = self.command(model, &setup, &lease).ok()?;
        let features = self.rooms.start(&[&lease.site.shared()], Files::Usual, |cell| {
            let (process, socket) = self.process(cell, &command)?;
            backend::features(process, &socket, &self.pace, limits.answer)
        });
        // Whether it starts is for the rules to judge.
        fit::is_another(features.ok()?)
    }

    /// The arguments for a setup, in which what belongs to an instance has its place, and what
    /// processes that can stand for each other have in common.
    fn command(
        &self,
        model: &ModelId,
        setup: &Setup,
        lease: &Lease,
    ) -> Result<(Vec<Template>, Vec<Template>), Error> {
        let configuration = self.config.manifest.complete(model, setup).map_err(Refusal::NotAsked)?;
        let shared = lease.site.shared();
        let args = filled(&self.config.args, model, setup, &configuration);
        let with_shared =
            |arg: &Template| arg.fill(|blank| (*blank == Blank::Shared).then(|| shared.clone().into()));
        let command: Vec<Template> = args.iter().map(with_shared).collect();
        // Another release on the same directory is another command.
        let program = Template::exactly(self.config.program.clone());
        let key = std::iter::once(program).chain(command.iter().cloned()).collect();
        Ok((command, key))
    }

    fn launch(&self, command: &[Template], shared: &Path, files: Files<'_>) -> Result<Backend, Error> {
        self.rooms.start(&[shared], files, |cell| timed(Activity::Start, || self.launch_in(cell, command)))
    }

    fn launch_in(&self, cell: Cell, command: &[Template]) -> Result<Backend, Error> {
        let (process, socket) = self.process(cell, command)?;
        let mut backend = Backend::connect(process, &socket, &self.pace, self.config.limits.answer)?;
        if self.pristine.get().is_none() {
            let _ = self.pristine.set(first_state(&mut backend, self.config.limits)?);
        }
        Ok(backend)
    }

    /// A process in a cell, and where it will listen.
    fn process(&self, cell: Cell, command: &[Template]) -> Result<(Process, PathBuf), Error> {
        let scratch = cell.scratch().to_path_buf();
        let socket = socket_in(&scratch)?;
        let args = started(command, &socket, &scratch);
        Ok((Process::start(&self.config.program, &args, cell)?, socket))
    }
}

/// The state of a backend that nobody has used.
fn first_state(backend: &mut Backend, limits: Limits) -> Result<Vec<u8>, Error> {
    let mut stream = backend.transfer(Direction::SAVE)?;
    let mut state = Vec::new();
    let mut piece = [0; 4096];
    let mut transfer = Transfer::new(limits);
    loop {
        let since = Instant::now();
        let count = backend.read(&mut stream, &mut piece)?;
        if count == 0 {
            break;
        }
        state.extend_from_slice(&piece[..count]);
        transfer.gave(count, since)?;
    }
    backend.check(0)?;
    Ok(state)
}

impl Program for VhostUser {
    fn describe(&self) -> Result<Manifest, Error> {
        Ok(self.config.manifest.clone())
    }

    fn outside(&self) -> Result<Outside, Error> {
        Ok(Outside::of(self.pool.lease()?))
    }

    fn start(&self, model: &ModelId, setup: &Setup, outside: &Outside) -> Result<Box<dyn Device>, Error> {
        self.start_with(model, setup, outside, Files::Usual)
    }

    fn shares(&self) -> Vec<String> {
        self.rooms.shares()
    }

    fn apart(&self, share: Share) -> Result<Box<dyn Apart + '_>, Cow<'static, str>> {
        apart(self, &self.rooms, share)
    }
}

impl Filed for VhostUser {
    /// With all files for themselves, instances share the directory that their guest mounts.
    fn start_with(
        &self,
        model: &ModelId,
        setup: &Setup,
        outside: &Outside,
        files: Files<'_>,
    ) -> Result<Box<dyn Device>, Error> {
        let Some(lease) = outside.get::<Lease>() else {
            return Err(io::Error::other("the outside was made by a program of another kind").into());
        };
        let (command, key) = self.command(model, setup, lease)?;
        let config = match files {
            Files::Usual => Arc::clone(&self.config),
            // What has files of its own serves no other instance.
            Files::Apart(..) => {
                Arc::new(Config { processes: Processes::Fresh, ..Config::clone(&self.config) })
            }
        };
        let idle = match config.processes {
            Processes::Fresh => None,
            Processes::Reused => lease.site.take(&key),
        };
        let (backend, uses) = match idle {
            Some((backend, uses)) => (backend, uses + 1),
            None => (self.launch(&command, &lease.site.shared(), files)?, 0),
        };
        let pristine = Arc::clone(&self.pristine);
        let owner = device::Owner { site: Arc::clone(&lease.site), _outside: outside.clone(), key, uses };
        Ok(Box::new(Instance::new(backend, owner, config, pristine)?))
    }
}
