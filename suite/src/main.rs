//! The command `migcert`.
//!
//! Results go to standard output, progress and errors to standard error. Exit status: 0 nothing
//! found, 100 found, 2 usage or input that can't be understood, 4 too little executed to judge,
//! 101 could not complete. Killed by a signal, it re-raises that signal.

#![warn(clippy::print_stderr, clippy::print_stdout)]

use anyhow::Context;
use clap::{Parser, Subcommand};
use commands::certify::{CertifyArgs, certify};
use commands::check::{CheckArgs, check};
use commands::coverage::{CoverageArgs, coverage};
use commands::describe::describe;
use commands::export::{ExportArgs, export};
use commands::list::{OptionalStates, What, explain, list};
use commands::merge::{MergeArgs, merge};
use commands::minimize::{MinimizeArgs, minimize};
use commands::replay::{ReplayArgs, replay};
use commands::serve::{ServeArgs, serve};
use commands::zoo::{ZooArgs, zoo};
use commands::{Exit, Output};
use migcert::ending;
use migcert::hosts::{self, descriptors};
use migcert::impls::CannotOpen;
use migcert::say;
use migcert_core::text::{Plain, Short};
use std::process::ExitCode;

mod commands;

/// Proves, or disproves, that device migrations fail early instead of leaving devices broken.
#[derive(Parser)]
#[command(version, after_help = EXIT_STATUS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_STATUS: &str = "\
Exit status:
  0    nothing found: compatible, passed, no longer reproduces
  1    serve only: the setup is refused
  100  found: incompatible, broken, reproduced
  2    usage, or input that can't be understood
  4    nothing was executed, or too little to judge
  101  could not complete";

#[derive(Subcommand)]
enum Command {
    /// Shows what an implementation supports: models, parameters, versions, lints
    Describe {
        /// builtin:NAME[@RELEASE][+FAULT], a .json of migration info, a .toml profile, or a program
        #[arg(value_name = "IMPL")]
        name: String,
        #[command(flatten)]
        output: Output,
    },
    /// Checks whether SRC, configured so, can migrate to DST; gives every reason if not
    Check(CheckArgs),
    /// Tests the promises of an implementation, and every ordered pair of several
    Certify(CertifyArgs),
    /// Merges the reports of a sharded certification
    Merge(MergeArgs),
    /// Replays a case and narrates each step
    Replay(ReplayArgs),
    /// Shrinks a case while it still breaks its rule
    Minimize(MinimizeArgs),
    /// Turns a case into a test: Rust code, a case file or a shell script
    Export(ExportArgs),
    /// Executes cases of a fuzz target; reports what they covered and what they missed
    Coverage(CoverageArgs),
    /// Serves an implementation as a device program over vfio-user
    Serve(ServeArgs),
    /// Plants faults; reports which are reached, triggered and detected, and after how many cases
    Zoo(ZooArgs),
    /// Lists rules, reasons, devices, faults or walks
    List {
        /// What to list
        what: What,
        /// For walks: optional states of the device
        #[arg(long, value_delimiter = ',', value_name = "OPTIONS")]
        options: Vec<OptionalStates>,
        #[command(flatten)]
        output: Output,
    },
    /// Explains a rule, a reason, a requirement or a fault
    Explain {
        /// Such as chunking, cannot-be-off or
        id: String,
        #[command(flatten)]
        output: Output,
    },
}

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|why| say!("error: migcert {}", why.to_string().replace('\n', " "))));
    migcert::bench::keep_device_panics_quiet();
    let cli = Cli::try_parse().unwrap_or_else(|why| refuse(&why));
    descriptors::make_room();
    let ended = ending::by_signals(hosts::leave_nothing)
        .context("can't handle signals")
        .and_then(|()| run(cli.command));
    drop(ending::hold_up());
    let exit = ended.unwrap_or_else(|why| {
        say!("error: {}", in_one_line(&why));
        let opened = why.chain().find_map(|why| why.downcast_ref::<CannotOpen>());
        let io = why.chain().any(|why| why.is::<std::io::Error>()) && opened.is_none();
        match opened {
            Some(why) if !why.is_usage() => Exit::CouldNot,
            _ if io => Exit::CouldNot,
            _ => Exit::Usage,
        }
    });
    hosts::finish();
    ExitCode::from(exit as u8)
}

/// Exits with clap's help or error. Errors quote the arguments, so they are parsed again with control
/// characters replaced and long ones cut.
fn refuse(why: &clap::Error) -> ! {
    if !why.use_stderr() {
        why.exit();
    }
    let mut args = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned());
    let program = args.next().iter().map(|program| Plain(program).to_string()).collect::<Vec<_>>();
    let shown = program.into_iter().chain(args.map(|arg| Short(&arg).to_string()));
    if let Err(why) = Cli::try_parse_from(shown) {
        why.exit();
    }
    say!("error: {}", why.kind());
    std::process::exit(Exit::Usage as i32);
}

/// An error with its causes, on one line of at most `MOST` characters plus ` … ` for its cut middle.
fn in_one_line(why: &anyhow::Error) -> String {
    const MOST: usize = 1000;
    let words: Vec<char> = format!("{why:#}").chars().collect();
    if words.len() <= MOST {
        return words.into_iter().collect();
    }
    let (head, tail) = (&words[..MOST / 2], &words[words.len() - MOST / 2..]);
    head.iter().chain(&[' ', '…', ' ']).chain(tail).collect()
}

fn run(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Describe { name, output } => describe(&name, &output),
        Command::Check(args) => check(&args),
        Command::Certify(args) => certify(&args),
        Command::Merge(args) => merge(&args),
        Command::Replay(args) => replay(&args),
        Command::Minimize(args) => minimize(&args),
        Command::Export(args) => export(&args),
        Command::Coverage(args) => coverage(&args),
        Command::Serve(args) => serve(&args),
        Command::Zoo(args) => zoo(&args),
        Command::List { what, options, output } => list(what, &options, &output),
        Command::Explain { id, output } => explain(&id, &output),
    }
}
