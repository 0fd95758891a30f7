//! Profiles: how to start a device program with a command line of its own (R-8.4), and what it
//! supports where it does not say so itself.
//!
//! ```toml
//! program = "../my-device-{release}"   # relative to the profile; a bare name is looked up
//! release = "2.0"                      # default release
//! args = ["--socket={socket}", "--dir={shared}", "--queues={param:num-queues}"]
//! wire = "vhost-user"
//! guest = "virtio-fs"
//!
//! [[releases]]                         # the first whose `says` begins the output of `PROGRAM --version`
//! says = ["my-device 2."]
//! [releases.info.models."example.org/my-device".params.num-queues]
//! type = "int"
//! init_value = 1
//!
//! [waive]
//! "R-6.5" = "no PRE_COPY"
//! ```
//!
//! Each instance has its own `/tmp`, `/var/tmp`, `/run` and `/dev/shm`, copies of what is there already, and
//! its own network, where the machine allows that. A file or directory in them that all instances are to
//! share, such as a disk, must be named by an argument or by the profile:
//!
//! ```toml
//! shared = ["/tmp/disk.img"]           # also "network", and "everything"
//! ```
//!
//! With `wire = "vfio-user"` there are more keys, which other wires refuse, and fewer are required:
//!
//! ```toml
//! program = "./my-device"                                   # words that follow it go before `args`
//! wire = "vfio-user"
//! args = ["-l", "{socket}", "-o", "queues={param:queues}"]  # or {fd}; without, as R-8.2 has it
//! initial = ["write 7:0x4/2=0x6"]                           # what a driver does first
//! never = [{ region = 0, offset = 0x80, size = 8 }]         # what no driver touches
//! volatile = [{ region = 0, offset = 0x10, size = 4 }]      # what is not compared: see `learned::pin`
//! config-space = "device"                                   # its state has it; default: "carrier", the
//!                                                           # machine brings it along, as a VMM does
//! limits.answer-ms = 2000                                   # default: 10000
//! limits.transfer-ms = 30000                                # a whole save or load; default: 6 * answer-ms
//!
//! [scripts]                                                 # what a driver does as one step
//! ring = ["write 0:0x10/4=1", "write 0:0x14/4=0x10000"]
//! ```
//!
//! Without `info`, the program is asked for it (R-8.1). In arguments, `{socket}`, `{fd}`, `{scratch}`,
//! `{shared}`, `{model}`, `{version}` and `{param:NAME}` stand for what is known at the start, and `{{` for a
//! brace: [`Template`].

mod scripts;
mod text;
mod volatile;
mod why;

pub use why::BadProfile;

use crate::document;
use crate::files;
use crate::guests::virtio_fs::Opens;
use crate::hosts::cell::Cell;
use crate::hosts::process::Process;
use crate::hosts::template::{Blank, Template};
use crate::hosts::vfio_user::{self, ConfigSpace, Guide, Place, Socket, Told, VfioUser};
use crate::hosts::vhost_user::{Config, Processes, VhostUser};
use crate::implementation::Which;
use crate::isolation::{Known, ToShare};
use crate::learned::Learned;
use crate::rules;
use crate::subject::Untouched;
use migcert_core::device::Step;
use migcert_core::param::ParamName;
use migcert_core::program::{Manifest, Model, Program};
use scripts::{Lengths, Scripts};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use text::{Carries, Range, Release, Text, Wire};
use volatile::Volatile;
use why::Why;

/// Maximum size of a profile, in bytes.
pub const MAX_FILE: u64 = 1 << 20;

/// A profile that was read.
#[derive(Clone, Debug)]
pub struct Profile {
    path: PathBuf,
    text: Text,
}

/// A program that a profile describes, ready to be started.
pub struct Found {
    /// The program.
    pub program: Box<dyn Program>,
    /// The file behind it.
    pub binary: PathBuf,
    /// Rules and requirements that are not held against it, each with the reason.
    pub waive: BTreeMap<String, String>,
    /// Places that its guest leaves alone.
    pub never: Vec<Untouched>,
    /// Its volatile places, as far as the profile names them.
    pub learned: Learned,
    /// Whether each instance has a process of its own, which takes its time to start.
    pub is_slow: bool,
    /// How its instances are known to be kept apart.
    pub isolation: Known,
    /// What its guest expects, and how to ask the program whether it is that.
    guest: Option<Expected>,
}

/// What the guest of a profile expects of a program.
struct Expected {
    profile: PathBuf,
    guest: String,
    program: VhostUser,
    /// The arguments that the program is always called with.
    words: Vec<String>,
}

impl Found {
    /// Asks the program whether it is the device that the guest of its profile expects; starts it, if
    /// it does not say.
    ///
    /// # Errors
    /// [`BadProfile`] for a program that is another device.
    pub fn fits(&self) -> Result<(), BadProfile> {
        let Some(Expected { profile, guest, program, words }) = &self.guest else { return Ok(()) };
        match program.is_another_device(words) {
            None => Ok(()),
            Some(what) => {
                let why = Why::Misfit { guest: guest.clone(), program: self.binary.clone(), what };
                Err(BadProfile { path: profile.clone(), why: Box::new(why) })
            }
        }
    }
}

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    /// [`BadProfile`] names file and place.
    pub fn read(path: &Path) -> Result<Profile, BadProfile> {
        let at = |why| BadProfile { path: path.to_owned(), why: Box::new(why) };
        let text = files::read_text(path, MAX_FILE).map_err(|why| at(Why::Unread(why)))?;
        let text = document::toml(&text).map_err(|why| at(Why::Toml(why)))?;
        Ok(Profile { path: path.to_owned(), text })
    }

    /// Finds the program and the description of its release. A release or binary in `program` overrides that
    /// of the profile.
    ///
    /// # Errors
    /// [`BadProfile`] for a program that is not there, does not say its version, or has no
    /// description in the profile.
    pub fn find(&self, program: &Which, processes: Processes) -> Result<Found, BadProfile> {
        let found = self.found(program, processes);
        found.map_err(|why| BadProfile { path: self.path.clone(), why: Box::new(why) })
    }

    fn found(&self, program: &Which, processes: Processes) -> Result<Found, Why> {
        let text = &self.text;
        let (binary, words) = match program {
            Which::Named => self.command(None)?,
            Which::Release(release) => self.command(Some(release))?,
            Which::Binary(binary) => (std::path::absolute(binary).map_err(Why::File)?, vec![]),
        };
        let limits = text.limits.limits()?;
        let release = match text.releases.is_empty() {
            true => None,
            false => Some(self.release(&version(&binary, limits.answer)?)?),
        };
        let own =
            release.and_then(|(at, release)| Some((format!("releases[{at}].info"), release.info.as_ref()?)));
        let general = text.info.as_ref().map(|info| ("info".to_owned(), info));
        let manifest = own.or(general).map(|(place, info)| described(place, info)).transpose()?;

        let more = release.map(|(_, release)| release);
        let guest = more.and_then(|release| release.guest.as_ref()).or(text.guest.as_ref());
        let more_args = more.iter().flat_map(|release| &release.args);
        let args = words.iter().chain(&text.args).chain(more_args);
        let args =
            args.map(|arg| template(arg, text.wire, manifest.as_ref())).collect::<Result<Vec<_>, _>>()?;
        let mut waive = text.waive.clone();
        waive.extend(more.map(|release| release.waive.clone()).unwrap_or_default());
        if let Some((rule, _)) = waive.iter().find(|(_, reason)| reason.trim().is_empty()) {
            return Err(Why::NoReason(rule.clone()));
        }
        if let Some(stray) = waive.keys().find(|name| !rules::ALL.iter().any(|rule| rule.is_waived(name))) {
            return Err(Why::NoRule(stray.clone()));
        }
        let volatile = Volatile::of(&text.volatile)?;
        let shared = self.shared()?;
        let program = binary.clone();
        let mut expected = None;
        let (program, isolation): (Box<dyn Program>, Known) = match text.wire {
            Wire::VhostUser => {
                text.knows_no_registers()?;
                if volatile.is_about_registers() {
                    return Err(Why::NoRegisters("volatile"));
                }
                let manifest = manifest.ok_or(Why::NoInfo)?;
                let guest = guest.ok_or(Why::NoGuest)?;
                let opens = Opens::of(guest).ok_or_else(|| Why::Guest(guest.clone()))?;
                let processes = if text.reuse == Some(false) { Processes::Fresh } else { processes };
                let config = Config { program, args, manifest, guest: opens, limits, processes, shared };
                let (profile, guest) = (self.path.clone(), guest.clone());
                expected = Some(Expected { profile, guest, program: VhostUser::new(config.clone()), words });
                let host = VhostUser::new(config);
                let isolation = host.isolation();
                (Box::new(host), isolation)
            }
            Wire::VfioUser => {
                if let Some(guest) = guest.filter(|guest| *guest != "registers") {
                    return Err(Why::Guest(guest.clone()));
                }
                let (told, socket) = asked_by(&args);
                if told == Told::ByPlaceholders && manifest.is_none() {
                    return Err(Why::NoInfo);
                }
                let guide = self.guide(&volatile)?;
                let reuse = text.reuse.unwrap_or(true);
                let config =
                    vfio_user::Config { program, args, told, socket, manifest, limits, guide, shared, reuse };
                let host = VfioUser::new(config);
                let isolation = host.isolation();
                (Box::new(host), isolation)
            }
        };
        let never =
            text.never.iter().map(|&Range { region, offset, size }| Untouched { region, offset, size });
        let (never, is_slow) = (never.collect(), text.wire == Wire::VfioUser);
        let learned = volatile.learned();
        Ok(Found { program, binary, waive, never, learned, is_slow, isolation, guest: expected })
    }

    /// What instances share on purpose; paths are relative to the profile.
    fn shared(&self) -> Result<Vec<ToShare>, Why> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let each = |text: &String| match text.as_str() {
            "everything" => Ok(ToShare::Everything),
            "network" => Ok(ToShare::Network),
            path => match std::fs::canonicalize(folder.join(path)) {
                Ok(path) => Ok(ToShare::Path(path)),
                Err(why) => Err(Why::Shared { what: text.clone(), why }),
            },
        };
        self.text.shared.iter().map(each).collect()
    }

    fn guide(&self, volatile: &Volatile) -> Result<Guide, Why> {
        let place = |range: &Range| Place { region: range.region, offset: range.offset, size: range.size };
        let steps = |place: String, lines: &Vec<String>| {
            let read = |(at, line): (usize, &String)| {
                line.parse().map_err(|why| Why::Step { place: format!("{place}[{at}]"), why })
            };
            lines.iter().enumerate().map(read).collect::<Result<Vec<Step>, _>>()
        };
        let scripts = self.text.scripts.iter();
        let scripts =
            scripts.map(|(name, lines)| Ok((name.clone(), steps(format!("scripts.{name}"), lines)?)));
        let scripts: Scripts = scripts.collect::<Result<_, Why>>()?;
        let initial = steps("initial".to_owned(), &self.text.initial)?;
        let mut lengths = Lengths { scripts: &scripts, known: BTreeMap::new() };
        for name in scripts.keys() {
            lengths.script("scripts", name, &[])?;
        }
        lengths.of("initial", &initial, &[])?;
        Ok(Guide {
            never: self.text.never.iter().map(place).collect(),
            volatile: volatile.bytes(),
            config_space: match self.text.config_space {
                None | Some(Carries::Carrier) => ConfigSpace::Carrier,
                Some(Carries::Device) => ConfigSpace::Device,
            },
            initial,
            scripts,
        })
    }

    /// The program, and the words after it, unless there is a file of that whole name.
    fn command(&self, release: Option<&str>) -> Result<(PathBuf, Vec<String>), Why> {
        let mut program = self.text.program.clone();
        if program.contains("{release}") {
            let release = release.or(self.text.release.as_deref()).ok_or(Why::NoRelease)?;
            program = program.replace("{release}", release);
        } else if release.is_some() {
            return Err(Why::OneRelease);
        }
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut words = vec![];
        if !folder.join(&program).is_file() {
            words.extend(program.split_whitespace().skip(1).map(str::to_owned));
            program = program.split_whitespace().next().unwrap_or_default().to_owned();
        }
        if !program.contains('/') {
            return Ok((PathBuf::from(program), words));
        }
        let binary = std::path::absolute(folder.join(program)).map_err(Why::File)?;
        if binary.is_file() { Ok((binary, words)) } else { Err(Why::NoProgram(binary)) }
    }

    fn release(&self, says: &str) -> Result<(usize, &Release), Why> {
        let mut known = self.text.releases.iter().enumerate();
        known
            .find(|(_, release)| release.says.iter().any(|begins| says.starts_with(begins)))
            .ok_or_else(|| Why::Unknown(says.to_owned()))
    }
}

fn described(place: String, info: &toml::Table) -> Result<Manifest, Why> {
    let json = serde_json::to_vec(info).map_err(io::Error::other).map_err(Why::File)?;
    Manifest::from_json(&json).map_err(|why| Why::Info { place, why })
}

/// How a vfio-user program gets its socket: in the profile's arguments, or as R-8.2 has it.
fn asked_by(args: &[Template]) -> (Told, Socket) {
    let names = |blank: Blank| args.iter().flat_map(Template::blanks).any(|named| *named == blank);
    match (names(Blank::Fd), names(Blank::Socket)) {
        (true, _) => (Told::ByPlaceholders, Socket::Descriptor),
        (_, true) => (Told::ByPlaceholders, Socket::Path),
        _ => (Told::ByOptions, Socket::Path),
    }
}

/// The output of `PROGRAM --version`.
fn version(program: &Path, limit: Duration) -> Result<String, Why> {
    let asked = || -> io::Result<String> {
        let mut process = Process::start(program, &["--version"], Cell::alone()?)?;
        let ended = process.ended(limit)?;
        let silent = || io::Error::other(format!("`{} --version` does not end", program.display()));
        ended.ok_or_else(silent)?;
        Ok(process.output().trim().to_owned())
    };
    asked().map_err(Why::File)
}

/// Parses an argument, whose blanks in braces must be known on this wire.
fn template(arg: &str, wire: Wire, manifest: Option<&Manifest>) -> Result<Template, Why> {
    let why = |why| Why::Template { arg: arg.to_owned(), why };
    let template: Template = arg.parse().map_err(why)?;
    let is_param = |name: &ParamName| {
        manifest.is_some_and(|manifest| {
            manifest.models.values().all(|model| match model {
                Model::Params(description) => description.params.contains_key(name),
                Model::Versions(_) => false,
            })
        })
    };
    let unknown = |blank: &Blank| match blank {
        Blank::Param(name) if !is_param(name) => Some("no `info` that describes it, or not for every model"),
        Blank::Fd if wire == Wire::VhostUser => Some("over vhost-user, a program listens on {socket}"),
        Blank::Shared if wire == Wire::VfioUser => Some("over vfio-user, guests mount no directory"),
        _ => None,
    };
    let unknown = template.blanks().find_map(|blank| Some((blank.clone(), unknown(blank)?)));
    match unknown {
        Some((blank, why)) => Err(Why::Blank { arg: arg.to_owned(), blank, why }),
        None => Ok(template),
    }
}

#[cfg(test)]
mod tests;
