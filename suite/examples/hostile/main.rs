//! A device program that misbehaves on purpose, in one way at a time: by the name that it is
//! called by, `hostile+TRICK` or `hostile+TRICK@COMMAND`. Without a trick it is honest.
//!
//! It speaks vfio-user (`--socket-path PATH`) and vhost-user (`--vhost PATH`). `tests/rows/hostile.rs`
//! has a row for each trick.

mod vfio_user;
mod vhost_user;

use rustix::process::{Signal, getpid, kill_process};
use std::fs;
use std::io::{self, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, exit};
use std::thread;
use std::time::Duration;

/// What is done instead of the honest thing, and at which command.
struct Trick {
    what: String,
    at: String,
}

impl Trick {
    fn is(&self, what: &str) -> bool {
        self.what == what
    }

    fn of(program: &str) -> Trick {
        let trick = program.rsplit('/').next().and_then(|name| name.split_once('+'));
        let trick = trick.map_or("", |(_, trick)| trick);
        let (what, at) = trick.split_once('@').unwrap_or((trick, ""));
        Trick { what: what.to_owned(), at: at.to_owned() }
    }

    /// Sends a reply, or does what was asked for instead, if it was for this command.
    fn send(&self, socket: &mut UnixStream, command: &str, reply: &[u8]) -> io::Result<()> {
        let what = if self.at == command { self.what.as_str() } else { "" };
        match what {
            "silent" => hang(),
            "closes" => exit(0),
            "exits-3" => exit(3),
            "hangs-up" => {
                socket.shutdown(std::net::Shutdown::Both)?;
                hang();
            }
            "short" => {
                socket.write_all(&reply[..reply.len() / 2])?;
                exit(0);
            }
            "stalls" => {
                socket.write_all(&reply[..reply.len() / 2])?;
                hang();
            }
            "slow" => one_by_one(socket, reply, Duration::from_secs(1)),
            "split" => one_by_one(socket, reply, Duration::ZERO),
            "garbage" => socket.write_all(&[0xa5; 4096]),
            "repeated" => socket.write_all(&[reply, reply].concat()),
            "endless" => loop {
                socket.write_all(&[0xff; 4096])?;
            },
            "dies-segv" => die(Signal::SEGV),
            "dies-stop" => die(Signal::STOP),
            _ => socket.write_all(reply),
        }
    }
}

fn main() -> ExitCode {
    let mut args = std::env::args();
    let trick = Trick::of(&args.next().unwrap_or_default());
    let args: Vec<String> =
        args.flat_map(|arg| arg.split('=').map(str::to_owned).collect::<Vec<_>>()).collect();
    match &args[..] {
        [option, ..] if option == "--print-migration-info-json" => describe(&trick),
        [option, path, ..] if option == "--socket-path" => {
            meanwhile(&trick);
            vfio_user::serve(listen(&trick, path), &trick)
        }
        [option, path, ..] if option == "--vhost" => {
            meanwhile(&trick);
            vhost_user::serve(listen(&trick, path), &trick)
        }
        _ => {
            eprintln!("hostile: give --socket-path or --vhost");
            return ExitCode::from(1);
        }
    }
    .map_or_else(
        |why| {
            eprintln!("hostile: {why}");
            ExitCode::from(1)
        },
        |()| ExitCode::SUCCESS,
    )
}

fn describe(trick: &Trick) -> io::Result<()> {
    const GIB: usize = 1 << 30;
    let init = match trick.what.as_str() {
        "describes-in-silence" => hang(),
        "describes-and-dies" => die(Signal::SEGV),
        "describes-garbage" => {
            println!("{{\"models\": [");
            return Ok(());
        }
        "describes-1-gib" => {
            print!("{{\"models\": {{\"");
            flood(io::stdout(), GIB)?;
            return Ok(());
        }
        "describes-and-forks" => {
            meanwhile(&Trick { what: "forks-away".to_owned(), at: String::new() });
            1
        }
        "describes-another" => std::process::id() % 1000,
        _ => 1,
    };
    let param = format!(r#"{{"type": "int", "init_value": {init}, "allowed_values": ["0-1000"]}}"#);
    println!(r#"{{"models": {{"example.org/hostile": {{"params": {{"p": {param}}}}}}}}}"#);
    Ok(())
}

/// What happens beside the protocol.
fn meanwhile(trick: &Trick) {
    match trick.what.as_str() {
        "ignores-sigterm" => ignore_sigterm(),
        "floods-1-gib" => {
            thread::spawn(|| flood(io::stdout(), 1 << 29).and_then(|()| flood(io::stderr(), 1 << 29)));
        }
        "floods-for-ever" => {
            thread::spawn(|| flood(io::stderr(), usize::MAX));
        }
        "forks" => {
            for _ in 0..5 {
                let _ = Command::new(sleeper()).arg("1007").spawn();
            }
        }
        "forks-away" => {
            // Another process group, and an orphan at that.
            let away = r#""$0" 1007 & exit"#;
            let _ = Command::new("sh").args(["-c", away]).arg(sleeper()).process_group(0).status();
        }
        "forks-and-hides" => {
            // It forgets where it comes from, and holds nothing of ours.
            let hide = r#"cd /; "$0" 1007 </dev/null >/dev/null 2>&1 & exit"#;
            let mut command = Command::new("env");
            command.args(["-i", "/bin/sh", "-c", hide]).arg(sleeper());
            let _ = command.process_group(0).status();
        }
        "daemonises" => {
            // As daemons do: a session of its own, and a child of that.
            let hide = r#"cd /; ("$0" 1007 </dev/null >/dev/null 2>&1 &); exit"#;
            let mut command = Command::new("env");
            command.args(["-i", "setsid", "/bin/sh", "-c", hide]).arg(sleeper());
            let _ = command.status();
        }
        "leaves-zombies" => {
            // Each is an orphan when it ends, which is soon.
            for _ in 0..20 {
                let _ = Command::new("sh").args(["-c", "sleep 0.01 & exit"]).status();
            }
        }
        "fills-scratch" => {
            let mut deep = PathBuf::from("deep");
            for _ in 0..300 {
                deep.push("deeper");
            }
            let _ = fs::create_dir_all(deep);
            for i in 0..500 {
                let _ = fs::write(format!("{i}"), vec![1; 1 << 16]);
            }
        }
        _ => {}
    }
}

/// What sleeps: beside the program, if it is there, so that a test knows it again.
fn sleeper() -> PathBuf {
    let program = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let beside = program.with_file_name("sleeper");
    if beside.exists() { beside } else { PathBuf::from("sleep") }
}

fn ignore_sigterm() {
    // A shell in between is the simplest way to ignore a signal without unsafe code.
    let mut args = std::env::args_os();
    if std::env::var_os("IGNORES").is_none() {
        let program = std::env::current_exe().unwrap_or_default();
        let script = r#"trap '' TERM; name=$1; shift; exec "$name" "$@""#;
        let name = args.next().unwrap_or_default();
        let why =
            Command::new("sh").args(["-c", script, "sh"]).arg(program).args(args).env("IGNORES", "1").exec();
        eprintln!("{}: {why}", name.display());
    }
}

fn listen(trick: &Trick, path: &str) -> UnixListener {
    match trick.what.as_str() {
        "never-listens" => hang(),
        "listens-late" => thread::sleep(Duration::from_millis(200)),
        "not-a-socket" => {
            let _ = fs::write(path, "");
            hang();
        }
        "exits-at-once" => {
            eprintln!("hostile: there is no such thing");
            exit(1);
        }
        _ => {}
    }
    let listener = UnixListener::bind(Path::new(path)).unwrap_or_else(|why| {
        eprintln!("hostile: {path}: {why}");
        exit(1)
    });
    if trick.is("never-accepts") {
        hang();
    }
    listener
}

fn one_by_one(socket: &mut UnixStream, reply: &[u8], pause: Duration) -> io::Result<()> {
    reply.iter().try_for_each(|byte| {
        thread::sleep(pause);
        socket.write_all(&[*byte])
    })
}

fn flood(mut into: impl Write, mut bytes: usize) -> io::Result<()> {
    let piece = [b'x'; 1 << 16];
    while bytes != 0 {
        into.write_all(&piece[..bytes.min(piece.len())])?;
        bytes -= bytes.min(piece.len());
    }
    Ok(())
}

fn die(signal: Signal) -> ! {
    // The first may find a handler of the runtime, which takes itself away.
    let _ = kill_process(getpid(), signal).and_then(|()| kill_process(getpid(), signal));
    hang()
}

fn hang() -> ! {
    loop {
        thread::sleep(Duration::from_secs(1000));
    }
}
