//! Profiles: how to start a device program with a command line of its own (R-8.4), and what it
//! supports where it does not say so itself.
//!
//! ```toml
//! program = "../my-device-{release}"   # relative to the profile; a bare name is looked up
//! release = "2.0"                      # which one, unless another is asked for
//! args = ["--socket={socket}", "--dir={shared}", "--queues={param:num-queues}"]
//! wire = "vhost-user"
//! guest = "virtio-fs"
//!
//! [[releases]]                         # the first that says how `PROGRAM --version` begins
//! says = ["my-device 2."]
//! [releases.info.models."example.org/my-device".params.num-queues]
//! type = "int"
//! init_value = 1
//!
//! [waive]
//! "R-6.5" = "no PRE_COPY"
//! ```
//!
//! Each instance has its own `/tmp`, `/var/tmp`, `/run` and `/dev/shm`, which begin with what is there
//! already, and its own network, where the machine allows that. A file or directory in them that all
//! instances are to share, a disk say, is shared if an argument names it, or if the profile does:
//!
//! ```toml
//! shared = ["/tmp/disk.img"]           # also "network", and "everything"
//! ```
//!
//! With `wire = "vfio-user"` there is more to say, which is refused elsewhere, and less that must be
//! said:
//!
//! ```toml
//! program = "./my-device"                                   # words that follow it go before `args`
//! wire = "vfio-user"
//! args = ["-l", "{socket}", "-o", "queues={param:queues}"]  # or {fd}; without, as R-8.2 has it
//! initial = ["write 7:0x4/2=0x6"]                           # what a driver does first
//! never = [{ region = 0, offset = 0x80, size = 8 }]         # what no driver touches
//! volatile = [{ region = 0, offset = 0x10, size = 4 }]      # what is not compared
//! config-space = "device"                                   # its state has it; "carrier" if not said: the
//!                                                           # machine brings it along, as a VMM does
//! limits.answer-ms = 2000                                   # 10000 if not said
//! limits.transfer-ms = 30000                                # a whole save or load; 6 times an answer if not said
//!
//! [scripts]                                                 # what a driver does as one step
//! ring = ["write 0:0x10/4=1", "write 0:0x14/4=0x10000"]
//! ```
//!
//! Without `info`, the program is asked for it (R-8.1).

use crate::bench::Untouched;
use crate::document::{self, BadDocument};
use crate::files::{self, CannotRead};
use crate::guests::virtio_fs::Opens;
use crate::hosts::cell::Cell;
use crate::hosts::isolation::{Known, ToShare};
use crate::hosts::limits::Limits;
use crate::hosts::process::Process;
use crate::hosts::vfio_user::{self, ConfigSpace, Guide, Place, Socket, Told, VfioUser};
use crate::hosts::vhost_user::{Config, Processes, VhostUser};
use crate::report::is_waived;
use crate::rules;
use migcert_core::device::{BadStep, Step};
use migcert_core::manifest::BadManifest;
use migcert_core::program::{Manifest, Model, Program};
use migcert_core::text::Plain;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A profile is read from at most so many bytes.
pub const MAX_FILE: u64 = 1 << 20;

/// A profile that was read.
#[derive(Clone, Debug)]
pub struct Profile {
    path: PathBuf,
    text: Text,
}

/// The file, as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Text {
    program: String,
    release: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    wire: Wire,
    guest: Option<String>,
    #[serde(default)]
    limits: Times,
    #[serde(default)]
    never: Vec<Range>,
    #[serde(default)]
    volatile: Vec<Range>,
    config_space: Option<Carries>,
    #[serde(default)]
    initial: Vec<String>,
    #[serde(default)]
    scripts: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    waive: BTreeMap<String, String>,
    #[serde(default)]
    shared: Vec<String>,
    info: Option<toml::Table>,
    #[serde(default)]
    releases: Vec<Release>,
}

impl Text {
    /// An error for what would be said in vain.
    fn knows_no_registers(&self) -> Result<(), Why> {
        let in_vain = [
            ("config-space", self.config_space.is_some()),
            ("initial", !self.initial.is_empty()),
            ("never", !self.never.is_empty()),
            ("scripts", !self.scripts.is_empty()),
            ("volatile", !self.volatile.is_empty()),
        ];
        match in_vain.into_iter().find(|(_, is_said)| *is_said) {
            Some((setting, _)) => Err(Why::NoRegisters(setting)),
            None => Ok(()),
        }
    }
}

/// How a program is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Wire {
    VfioUser,
    VhostUser,
}

/// Who brings configuration space along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Carries {
    Carrier,
    Device,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Times {
    /// Any answer, in milliseconds.
    answer_ms: Option<u64>,
    /// A whole save or load, in milliseconds.
    transfer_ms: Option<u64>,
}

impl Times {
    /// Longest time that something can be given: a day.
    const LONGEST: u64 = 24 * 60 * 60 * 1000;

    fn limits(self) -> Result<Limits, Why> {
        let time = |name, ms: Option<u64>| match ms {
            Some(ms) if !(1..=Times::LONGEST).contains(&ms) => Err(Why::Limit { name, ms }),
            ms => Ok(ms.map(Duration::from_millis)),
        };
        let usual = time("answer-ms", self.answer_ms)?.map_or_else(Limits::default, Limits::of);
        let transfer = time("transfer-ms", self.transfer_ms)?.unwrap_or(usual.transfer);
        Ok(Limits { transfer, ..usual })
    }
}

/// Bytes of a region.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    region: u32,
    offset: u64,
    size: u64,
}

/// What is different in some releases.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Release {
    /// What `--version` begins with.
    says: Vec<String>,
    #[serde(default)]
    args: Vec<String>,
    guest: Option<String>,
    #[serde(default)]
    waive: BTreeMap<String, String>,
    info: Option<toml::Table>,
}

/// A program that a profile describes, found and ready to be started.
pub struct Found {
    /// The program.
    pub program: Box<dyn Program>,
    /// The file behind it.
    pub binary: PathBuf,
    /// Rules and requirements that are not held against it, each with the reason.
    pub waive: BTreeMap<String, String>,
    /// Places that its guest leaves alone.
    pub never: Vec<Untouched>,
    /// Whether each instance has a process of its own, which takes its time to start.
    pub is_slow: bool,
    /// What is known of how its instances are kept apart.
    pub isolation: Known,
    /// What its guest expects, and the same program once more to be asked whether it is that.
    guest: Option<Expected>,
}

/// What the guest of a profile expects of a program.
struct Expected {
    profile: PathBuf,
    guest: String,
    program: VhostUser,
    /// What the program is always called with.
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

    /// Finds the program and what is said of its release. `release` and `binary` override what
    /// the profile says.
    ///
    /// # Errors
    /// [`BadProfile`] for a program that is not there, does not say its version, or has no
    /// description in the profile.
    pub fn find(
        &self,
        release: Option<&str>,
        binary: Option<&Path>,
        processes: Processes,
    ) -> Result<Found, BadProfile> {
        let found = self.found(release, binary, processes);
        found.map_err(|why| BadProfile { path: self.path.clone(), why: Box::new(why) })
    }

    fn found(
        &self,
        release: Option<&str>,
        binary: Option<&Path>,
        processes: Processes,
    ) -> Result<Found, Why> {
        let text = &self.text;
        let (binary, words) = match binary {
            Some(binary) => (binary.to_owned(), vec![]),
            None => self.command(release)?,
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
        let args: Vec<String> = words.iter().chain(&text.args).chain(more_args).cloned().collect();
        for arg in &args {
            places_are_known(arg, manifest.as_ref())?;
        }
        let mut waive = text.waive.clone();
        waive.extend(more.map(|release| release.waive.clone()).unwrap_or_default());
        if let Some((rule, _)) = waive.iter().find(|(_, reason)| reason.trim().is_empty()) {
            return Err(Why::NoReason(rule.clone()));
        }
        if let Some(stray) = waive.keys().find(|name| !rules::ALL.iter().any(|rule| is_waived(rule, name))) {
            return Err(Why::NoRule(stray.clone()));
        }
        let shared = self.shared()?;
        let program = binary.clone();
        let mut expected = None;
        let (program, isolation): (Box<dyn Program>, Known) = match text.wire {
            Wire::VhostUser => {
                text.knows_no_registers()?;
                let manifest = manifest.ok_or(Why::NoInfo)?;
                let guest = guest.ok_or(Why::NoGuest)?;
                let opens = Opens::of(guest).ok_or_else(|| Why::Guest(guest.clone()))?;
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
                let guide = self.guide()?;
                let config =
                    vfio_user::Config { program, args, told, socket, manifest, limits, guide, shared };
                let host = VfioUser::new(config);
                let isolation = host.isolation();
                (Box::new(host), isolation)
            }
        };
        let never =
            text.never.iter().map(|&Range { region, offset, size }| Untouched { region, offset, size });
        let (never, is_slow) = (never.collect(), text.wire == Wire::VfioUser);
        Ok(Found { program, binary, waive, never, is_slow, isolation, guest: expected })
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

    fn guide(&self) -> Result<Guide, Why> {
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
            volatile: self.text.volatile.iter().map(place).collect(),
            config_space: match self.text.config_space {
                None | Some(Carries::Carrier) => ConfigSpace::Carrier,
                Some(Carries::Device) => ConfigSpace::Device,
            },
            initial,
            scripts,
        })
    }

    /// The program, and the words after it where no file is called by all of them.
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

/// What a driver does as one step, by name.
type Scripts = BTreeMap<String, Vec<Step>>;

/// Accesses that a script has at most, with those of the scripts that it requests.
const MAX_ACCESSES: usize = 4096;

/// Scripts that are nested in each other at most.
const MAX_NESTED: usize = 8;

/// How long scripts are, and how deep.
struct Lengths<'a> {
    scripts: &'a Scripts,
    known: BTreeMap<&'a str, (usize, usize)>,
}

impl<'a> Lengths<'a> {
    /// Accesses of steps at a place of the profile, with those of the scripts that they request, and
    /// how deep these are. `path` leads here: each script requests the next one.
    fn of(&mut self, place: &str, steps: &'a [Step], path: &[&'a str]) -> Result<(usize, usize), Why> {
        let (mut all, mut deepest) = (0, 0);
        for step in steps {
            let (accesses, depth) = match step {
                Step::Request(name) => self.script(place, name, path)?,
                _ => (0, 0),
            };
            (all, deepest) = (all + 1 + accesses, deepest.max(depth));
            if MAX_ACCESSES < all {
                return Err(Why::TooLong(place.to_owned()));
            }
        }
        Ok((all, deepest))
    }

    fn script(&mut self, place: &str, name: &'a str, path: &[&'a str]) -> Result<(usize, usize), Why> {
        if path.contains(&name) {
            return Err(Why::Recursive([path, &[name]].concat().join("` requests `")));
        }
        let nested = || Why::Nested(path.first().unwrap_or(&name).to_string());
        if path.len() == MAX_NESTED {
            return Err(nested());
        }
        if let Some((accesses, depth)) = self.known.get(name) {
            let fits = path.len() + depth <= MAX_NESTED;
            return if fits { Ok((*accesses, *depth)) } else { Err(nested()) };
        }
        let missing = || Why::NoScript { place: place.to_owned(), name: name.to_owned() };
        let steps = self.scripts.get(name).ok_or_else(missing)?;
        let (accesses, depth) = self.of(&format!("scripts.{name}"), steps, &[path, &[name]].concat())?;
        self.known.insert(name, (accesses, depth + 1));
        Ok((accesses, depth + 1))
    }
}

fn described(place: String, info: &toml::Table) -> Result<Manifest, Why> {
    let json = serde_json::to_vec(info).map_err(io::Error::other).map_err(Why::File)?;
    Manifest::from_json(&json).map_err(|why| Why::Info { place, why })
}

/// How arguments tell a vfio-user program of its socket: by themselves, or not at all.
fn asked_by(args: &[String]) -> (Told, Socket) {
    let names = |place: &str| args.iter().any(|arg| arg.contains(place));
    match (names("{fd}"), names("{socket}")) {
        (true, _) => (Told::ByPlaceholders, Socket::Descriptor),
        (_, true) => (Told::ByPlaceholders, Socket::Path),
        _ => (Told::ByOptions, Socket::Path),
    }
}

/// What a program prints when it is asked for its version.
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

/// Everything in braces stands for something.
fn places_are_known(arg: &str, manifest: Option<&Manifest>) -> Result<(), Why> {
    let params = |name: &str| {
        manifest.is_some_and(|manifest| {
            manifest.models.values().all(|model| match model {
                Model::Params(description) => description.params.keys().any(|known| known.as_str() == name),
                Model::Versions(_) => false,
            })
        })
    };
    for part in arg.split('{').skip(1) {
        let place = part.split_once('}').map(|(place, _)| place);
        let known = match place {
            Some("socket" | "fd" | "scratch" | "shared" | "model" | "version") => true,
            Some(place) => place.strip_prefix("param:").is_some_and(params),
            None => false,
        };
        if !known {
            return Err(Why::Place { arg: arg.to_owned(), place: place.unwrap_or(part).to_owned() });
        }
    }
    Ok(())
}

/// A profile that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", Plain(&path.to_string_lossy()))]
pub struct BadProfile {
    path: PathBuf,
    why: Box<Why>,
}

#[derive(Debug, thiserror::Error)]
enum Why {
    #[error(transparent)]
    File(io::Error),
    #[error(
        "guest: `{0}` is no guest; there are `virtio-fs` and `virtio-fs-named`, and `registers` over vfio-user"
    )]
    Guest(String),
    #[error("limits.{name}: {ms} is not from 1 to {}, which is a day", Times::LONGEST)]
    Limit { name: &'static str, ms: u64 },
    #[error("{place}: {why}")]
    Info { place: String, why: BadManifest },
    #[error(
        "guest: `{guest}` is for another device than {}: {what}; name a guest that fits it, or a program that is such a device",
        program.display()
    )]
    Misfit { guest: String, program: PathBuf, what: String },
    #[error(
        "shared: `{what}`: {why}; it takes `network`, `everything`, and files and directories that exist"
    )]
    Shared { what: String, why: io::Error },
    #[error("guest: it needs one; there are `virtio-fs` and `virtio-fs-named`")]
    NoGuest,
    #[error("there is no migration info: give `info`, or `info` in each of `releases`")]
    NoInfo,
    #[error("program: {} is not there; scripts/install-devices builds the programs of our own profiles", .0.display())]
    NoProgram(PathBuf),
    #[error("{0}: it is about registers, and a guest over vhost-user has none; use it over vfio-user")]
    NoRegisters(&'static str),
    #[error("waive: `{0}` is waived without a reason")]
    NoReason(String),
    #[error("{place}: `request {name}`: there is no such script")]
    NoScript { place: String, name: String },
    #[error("scripts.{0}: what it requests is nested deeper than {MAX_NESTED}")]
    Nested(String),
    #[error("scripts: `{0}`: it has no end")]
    Recursive(String),
    #[error("waive: `{0}` is not a rule or a requirement that rules test; `migcert list rules` shows both")]
    NoRule(String),
    #[error("program: no `release` is named to put into it")]
    NoRelease,
    #[error("program: it has no `{{release}}` that could be another one")]
    OneRelease,
    #[error(
        "args: `{arg}`: `{{{place}}}` stands for nothing; known are {{socket}}, {{fd}}, {{scratch}}, {{shared}}, {{model}}, {{version}} and {{param:NAME}}"
    )]
    Place { arg: String, place: String },
    #[error("{place}: {why}")]
    Step { place: String, why: BadStep },
    #[error("{0}: more than {MAX_ACCESSES} accesses, with those of the scripts that it requests")]
    TooLong(String),
    #[error("{0}")]
    Toml(BadDocument),
    #[error("{}", .0.why())]
    Unread(CannotRead),
    #[error("releases: none says what the program says: `{0}`")]
    Unknown(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// What is said of a profile whose program is a shell that knows no version.
    #[track_caller]
    fn says(text: &str, expected: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("p.toml");
        fs::write(&path, text).expect("written");
        let found = Profile::read(&path).and_then(|profile| profile.find(None, None, Processes::Fresh));
        let said = found.err().map_or_else(|| "fine".to_owned(), |why| why.why.to_string());
        assert!(said.contains(expected), "{said}");
    }

    const GOOD: &str = r#"
        program = "/bin/sh"
        args = ["--socket={socket}", "--q={param:q}"]
        wire = "vhost-user"
        guest = "virtio-fs"
        [info.models."example.org/x".params.q]
        type = "int"
        init_value = 1
    "#;

    #[test]
    fn errors_name_the_place() {
        says(GOOD, "fine");
        says(
            &GOOD.replace("{param:q}", "{param:r}"),
            "args: `--q={param:r}`: `{param:r}` stands for nothing",
        );
        says(&GOOD.replace("wire", "wires"), "unknown field `wires`");
        says(&GOOD.replace("\"virtio-fs\"", "\"virtio-net\""), "guest: `virtio-net` is no guest");
        says(&GOOD.replace("/bin/sh", "./nothing"), "scripts/install-devices");
        says(&GOOD.replace("/bin/sh", "/bin/sh -e"), "fine");
        says(&GOOD.replace("/bin/sh", "/bin/sh -e {what}"), "`{what}` stands for nothing");
        says(&GOOD.replace("/bin/sh", "./nothing -e"), "/nothing is not there");
        says(&GOOD.replace("/bin/sh", "./x-{release}"), "no `release` is named");
        says(&GOOD.replace("init_value = 1", "init_value = \"x\""), "info: ");
        let vfio = GOOD.replace("vhost-user", "vfio-user").replace("virtio-fs", "registers");
        says(&vfio, "fine");
        let volatile = "volatile = [{ region = 0, offset = 0, size = 4 }]\nargs";
        says(&vfio.replace("args", volatile), "fine");
        for ms in ["0", "86400001"] {
            let limits = format!("limits.transfer-ms = {ms}\nargs");
            says(
                &vfio.replace("args", &limits),
                &format!("limits.transfer-ms: {ms} is not from 1 to 86400000"),
            );
        }
        let config = "config-space = 'device'\nargs";
        says(&vfio.replace("args", config), "fine");
        says(&GOOD.replace("args", config), "config-space: it is about registers");
        says(
            &vfio.replace("args", &config.replace("device", "nobody")),
            "line 3, column 24: unknown variant",
        );
        says(&GOOD.replace("args", volatile), "volatile: it is about registers");
        says(&format!("{GOOD}\n[scripts]\nring = []"), "scripts: it is about registers");
        says(&vfio.replace("args", "initial = [\"touch 0\"]\nargs"), "initial[0]: `touch 0` is no step");
        let scripts = |scripts: &str| format!("{vfio}\n[scripts]\n{scripts}");
        says(&scripts("a = ['read 0:0/1', 'request b']\nb = ['request c', 'request c']\nc = []"), "fine");
        says(&scripts("a = ['request a']"), "scripts: `a` requests `a`: it has no end");
        says(
            &scripts("a = ['request b']\nb = ['request a']"),
            "`a` requests `b` requests `a`: it has no end",
        );
        says(&scripts("a = ['request b']"), "scripts.a: `request b`: there is no such script");
        let doubling = |n: u32| (0..n).map(|i| format!("s{i} = ['request s{}', 'request s{0}']\n", i + 1));
        let doubling = |n| doubling(n).collect::<String>() + &format!("s{n} = ['read 0:0/1']");
        says(&scripts(&doubling(7)), "fine");
        says(&scripts(&doubling(40)), "nested deeper than 8");
        let wide = format!("a = [{}]\nb = [{}]", "'request b',".repeat(64), "'read 0:0/1',".repeat(65));
        says(&scripts(&wide), "scripts.a: more than 4096 accesses");
        says(
            &vfio.replace("args", "initial = ['request a']\nargs"),
            "initial: `request a`: there is no such",
        );
        says(&format!("{GOOD}\n[waive]\n\"R-6.5\" = \" \""), "`R-6.5` is waived without a reason");
        says(&format!("{GOOD}\n[waive]\n\"chunkin\" = \"why\""), "waive: `chunkin` is not a rule");
        says(&format!("{GOOD}\n[waive]\n\"no-such-rule\" = \"why\""), "waive: `no-such-rule` is not a rule");
        says(&format!("{GOOD}\n[waive]\n\"R-6.5\" = \"why\""), "fine");
        says(&format!("{GOOD}\n[[releases]]\nsays = [\"sh 9\"]"), "none says what the program says");
    }
}
