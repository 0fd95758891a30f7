//! Device programs that cheat, lie, or have a clock: what a certificate must not be fooled by, and
//! what it must not accuse.
//!
//! One small vfio-user device, built on nothing of migcert, which is odd in one way at a time: by
//! the name that it is called by (`clock`, `strangers+clock`), or by `--kind=clock`. Kinds can be
//! combined (`strangers+clock+loses-words`). `tests/rows/trust` has a row for each.
//!
//! ```text
//! strangers --print-migration-info-json
//! strangers --socket-path PATH | --fd NUMBER [--m-NAME=VALUE]... [--kind=KIND] [--delay-ms=N] [--disk=PATH]
//! strangers --kinds | --forget
//! ```
//!
//! | file | what |
//! |---|---|
//! | `kind.rs` | what there is |
//! | `device.rs` | the device |
//! | `migration.rs` | its states, and its state as bytes |
//! | `server.rs` | vfio-user |
//! | `hidden.rs` | where a state is hidden, with `keeper.rs`, `sysv.rs` and `keyring.rs` |
//! | `knows.rs` | how it knows that it is tested |
//! | `rude.rs` | what it does beside |
//! | `chance.rs` | what is random |

mod chance;
mod device;
mod hidden;
mod keeper;
mod keyring;
mod kind;
mod knows;
mod migration;
mod rude;
mod server;
mod sysv;
#[path = "../rtc/wire.rs"]
mod wire;

use device::{MOST_WORDS, Setup};
use rustix::net::sockopt::socket_acceptconn;
use serde_json::json;
use server::Server;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

fn main() -> ExitCode {
    let mut args = std::env::args();
    let program = args.next().unwrap_or_default();
    let args: Vec<String> = args.collect();
    match run(&program, &args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("strangers: {why}");
            ExitCode::from(1)
        }
    }
}

fn run(program: &str, args: &[String]) -> Result<(), String> {
    let done = match args {
        [option, rest @ ..] if option == "--orphan" => keeper::orphan(rest),
        [option, address] if option == "--keeper" => keeper::keep(address),
        [option] if option == "--forget" => {
            hidden::forget(program);
            Ok(())
        }
        [option] if option == "--kinds" => {
            kind::KINDS.iter().for_each(|(name, group, what)| println!("{name:24} {group:7} {what}"));
            Ok(())
        }
        _ => return device_program(program, args),
    };
    done.map_err(|why| why.to_string())
}

fn device_program(program: &str, args: &[String]) -> Result<(), String> {
    let mut kinds = called(program);
    let mut setup = Setup { words: MOST_WORDS, interrupts: true, serial: None };
    let (mut listen, mut describes, mut delay, mut disk) = (None, false, 0, None);
    let mut args = args.iter().flat_map(|arg| arg.splitn(2, '='));
    while let Some(option) = args.next() {
        if option == "--print-migration-info-json" {
            describes = true;
            continue;
        }
        let value = args.next().ok_or(format!("`{option}` needs a value"))?;
        let bad = || format!("`{option}={value}` is not allowed");
        match option {
            "--socket-path" => listen = Some(Listen::Path(value)),
            "--fd" => listen = Some(Listen::Fd(value.parse().map_err(|_| bad())?)),
            "--kind" => kinds = value.split('+').map(str::to_owned).collect(),
            "--delay-ms" => delay = value.parse().map_err(|_| bad())?,
            "--disk" => disk = Some(value),
            "--serial" => setup.serial = Some(value.parse().map_err(|_| bad())?),
            "--m-words" | "--m-wo\u{1b}[31mrds" if ["4", "8"].contains(&value) => {
                setup.words = value.parse().map_err(|_| bad())?;
            }
            "--m-interrupts" if ["on", "off"].contains(&value) => setup.interrupts = value == "on",
            _ if option.starts_with("--m-") => return Err(bad()),
            _ => return Err(format!("option `{option}` is not known")),
        }
    }
    kind::choose(kinds)?;
    if describes {
        println!("{:#}", description());
        return Ok(());
    }
    let listen = listen.ok_or("give --socket-path or --fd")?;
    thread::sleep(Duration::from_millis(delay));
    let (place, disk) = (hidden::place(program), hidden::disk(program, disk));
    let served = rude::begin(program).and_then(|()| listen.connect());
    served.and_then(|socket| Server::new(socket, setup, place, disk)?.serve()).map_err(|why| why.to_string())
}

/// The kinds that a name stands for.
fn called(program: &str) -> Vec<String> {
    let name = program.rsplit('/').next().unwrap_or(program);
    let kinds = match name.split_once('+') {
        Some((_, kinds)) => kinds,
        None if kind::KINDS.iter().any(|row| row.0 == name) => name,
        None => "plain",
    };
    kinds.split('+').map(str::to_owned).collect()
}

fn description() -> serde_json::Value {
    let (model, words) = match kind::is("escape-words") {
        true => (format!("example.org/{}", rude::WORDS), "wo\u{1b}[31mrds"),
        false => ("example.org/stranger".to_owned(), "words"),
    };
    json!({"models": {model: {"params": {
        words: {"type": "int", "init_value": MOST_WORDS, "allowed_values": [4, 8]},
        "interrupts": {"type": "bool", "init_value": true, "off_value": false, "allowed_values": [false, true]},
    }}}})
}

/// Where the client is.
enum Listen<'a> {
    Path(&'a str),
    Fd(i32),
}

impl Listen<'_> {
    /// Waits for the one client.
    fn connect(&self) -> io::Result<UnixStream> {
        match self {
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
}
