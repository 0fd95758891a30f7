//! What the host adds to a request: guest steps through it, against a bare loop that sends the same
//! bytes over a socket of the same device program and looks at nothing.
//!
//! Both talk to `migcert serve builtin:nic`, in short turns one after the other: what else the
//! machine does slows down both of a pair, and what it does to one of them alone, the median of all
//! pairs leaves out. A step is two requests: the access, and the round trip after which the device
//! is quiet. The bare loop sends exactly these. What starting an instance takes is shown and not
//! judged.
//!
//! `cargo bench -p migcert-benches --bench vfio_user` fails when the median ratio misses its target; with
//! `-- --test` it takes a few turns and only prints.

use migcert::hosts::template::Template;
use migcert::hosts::vfio_user::wire::request::Request;
use migcert::hosts::vfio_user::wire::version::Version;
use migcert::hosts::vfio_user::wire::{Access, HEADER, Kind, message};
use migcert::hosts::vfio_user::{Config, Socket, VfioUser};
use migcert_core::device::{Device, Step};
use migcert_core::program::Program;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

/// The least that the rate through the host may be of the bare one.
const TARGET: f64 = 0.8;
const SERVE: [&str; 2] = ["serve", "builtin:nic"];
/// What a step reads; and the region whose number is that of the outside region.
const FEATURES: u64 = 0x18;
const OUTSIDE: u32 = 2;

fn main() -> ExitCode {
    let quick = std::env::args().any(|arg| arg == "--test");
    let (turns, steps) = if quick { (10, 500) } else { (400, 500) };
    let program = program();
    let mut bare = Bare::start();
    let manifest = program.describe().expect("described");
    let start = || {
        let (id, model) = manifest.models.first_key_value().expect("a model");
        program.start(id, &model.latest(), &program.outside().expect("an outside")).expect("started")
    };
    let mut device = start();
    let (mut through, mut without) = (Vec::new(), Vec::new());
    for at in 0..turns {
        let through_host = |device: &mut dyn Device| rate(2 * steps, || turn(device, steps));
        // Whoever is first in one pair is second in the next.
        if at % 2 == 0 {
            through.push(through_host(&mut *device));
        }
        without.push(rate(2 * steps, || bare.turn(steps)));
        if at % 2 != 0 {
            through.push(through_host(&mut *device));
        }
    }
    let starts = if quick { 20 } else { 200 };
    let started = rate(starts, || (0..starts).for_each(|_| drop(start())));
    let ratios = sorted(through.iter().zip(&without).map(|(through, without)| through / without).collect());
    println!("bare loop      {:>10.0} requests/s", median(&sorted(without)));
    println!("through host   {:>10.0} requests/s", median(&sorted(through)));
    println!("starts         {started:>10.0} instances/s");
    let (low, ratio, high) = (ratios[ratios.len() / 4], median(&ratios), ratios[ratios.len() * 3 / 4]);
    println!(
        "the host has {ratio:.2} of the bare rate (at least {TARGET}; half of all pairs {low:.2} to {high:.2})"
    );
    if ratio < TARGET && !quick { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn program() -> VfioUser {
    let args = SERVE.map(Template::exactly).to_vec();
    VfioUser::new(Config { args, socket: Socket::Descriptor, ..Config::standard(migcert()) })
}

fn turn(device: &mut dyn Device, steps: u32) {
    for _ in 0..steps {
        device.guest(&Step::Read { region: 0, offset: FEATURES, size: 4 }).expect("read");
    }
}

fn rate(requests: u32, run: impl FnOnce()) -> f64 {
    let began = Instant::now();
    run();
    f64::from(requests) / began.elapsed().as_secs_f64()
}

fn sorted(mut rates: Vec<f64>) -> Vec<f64> {
    rates.sort_by(f64::total_cmp);
    rates
}

fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

/// A socket, and nothing else.
struct Bare {
    socket: UnixStream,
    child: Child,
    messages: [Vec<u8>; 2],
    inbox: Vec<u8>,
}

impl Bare {
    fn start() -> Bare {
        let (socket, theirs) = UnixStream::pair().expect("a pair");
        let child = Command::new(migcert())
            .args(SERVE)
            .arg("--fd=0")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .expect("it starts");
        let read = |offset, region, count| {
            let mut bytes = Vec::new();
            let request = Request::RegionRead(Access { offset, region, count });
            message(&mut bytes, 1, request.command() as u16, Kind::Command, |into| request.put(into));
            bytes
        };
        let messages = [read(FEATURES, 0, 4), read(0, OUTSIDE, 256)];
        let mut bare = Bare { socket, child, messages, inbox: vec![0; 4096] };
        let request = Request::Version(Version { major: 0, minor: 1, capabilities: Default::default() });
        let mut bytes = Vec::new();
        message(&mut bytes, 1, request.command() as u16, Kind::Command, |into| request.put(into));
        bare.exchange(&bytes);
        bare
    }

    fn turn(&mut self, steps: u32) {
        let messages = self.messages.clone();
        for _ in 0..steps {
            messages.iter().for_each(|message| self.exchange(message));
        }
    }

    fn exchange(&mut self, message: &[u8]) {
        self.socket.write_all(message).expect("sent");
        let mut got = 0;
        let mut size = HEADER;
        while got < size {
            got += self.socket.read(&mut self.inbox[got..]).expect("received");
            size = u32::from_le_bytes([4, 5, 6, 7].map(|at| self.inbox[at])) as usize;
        }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command, from the folder in which this is built.
fn migcert() -> PathBuf {
    let bench = std::env::current_exe().expect("a path");
    let path = bench.ancestors().nth(2).expect("a folder").join("migcert");
    assert!(path.exists(), "{} is not there: run `cargo build --release` first", path.display());
    path
}
