//! Chapter R-1: what a destination needs is in the bytes, not in files.

use super::s6_move::MOVES;
use crate::bench::Bench;
use crate::case::Draws;
use crate::finding::{Cause, Class, Finding, Judgement, NotApplicable, Stop, What, Who};
use crate::rule::{Level, On, Rule};
use crate::subject::Subject;
use migcert_core::device::Seen;
use migcert_core::program::{Apart, Program, Share};

pub(super) static STATE_IS_NOT_IN_FILES: Rule = Rule {
    id: "state-is-not-in-files",
    cites: "R-1.5",
    level: Level::Must,
    promise: "a destination that finds no file of its source needs none: the state is in the bytes",
    advice: "bring it in the bytes; files that hosts share, such as a disk, are named under `shared` in the \
             profile or by an argument",
    draws: Draws::Script,
    on: On::One,
    sees: &[Class::Migration],
    builds_on: MOVES,
};

pub(super) fn state_is_not_in_files(bench: &Bench<'_>) -> Judgement {
    bench.plan()?;
    drop(apart(bench.source)?);
    let twin = bench.twin()?;
    // The first start shows what a program does not need shared.
    let (source, destination) = (apart(bench.source)?, apart(bench.destination)?);
    let moved_apart = || {
        bench.tell(|| "source and destination share no files but those that are named".to_owned());
        bench.found(moved(bench, &*source, &*destination, &twin))
    };
    let Some(finding) = moved_apart()? else { return Ok(()) };
    bench.tell(|| "an instance that shares no files and never migrates".to_owned());
    if let Some(why) = bench.found(stays(bench, &*source, &twin))? {
        let why = why.summary;
        return Err(Stop::Unsettled(format!(
            "the program is another where it shares no files: {why}; name the files that hosts share under `shared` \
             in its profile"
        )));
    }
    let files = source.written();
    if !files.is_empty() {
        return Err(Stop::Broken(Box::new(in_files(finding, &files))));
    }
    // If the source wrote no file, the state is not known to be in files.
    bench.tell(|| "the same as programs are started otherwise".to_owned());
    let (first, second) = (&*bench.source.program, &*bench.destination.program);
    if bench.found(moved(bench, first, second, &twin))?.is_some() {
        return Err(Stop::NotApplicable(NotApplicable::Blamed));
    }
    match moved_apart()? {
        Some(finding) => Err(Stop::Unsettled(format!(
            "it can't be moved where instances share no files, though its source left none: {}",
            finding.summary
        ))),
        None => Ok(()),
    }
}

/// The subject's program, whose instances share no files.
fn apart(subject: &Subject) -> Result<Box<dyn Apart + '_>, Stop> {
    subject.program.apart(Share::Named).map_err(|why| Stop::NotApplicable(why.into()))
}

/// Moves an instance of one program to one of another; the guest must not notice.
fn moved(bench: &Bench<'_>, source: &dyn Program, destination: &dyn Program, twin: &[Seen]) -> Judgement {
    let at = bench.at()[0];
    let source = bench.standing(Who::Source, bench.source, source);
    let destination = bench.standing(Who::Destination, bench.destination, destination);
    let outside = source.outside()?;
    let mut device = source.start(&bench.case.model, &bench.case.setup, &outside)?;
    let seen = bench.play(&mut *device, 0..at)?;
    bench.same("before any migration", 0, twin, &seen)?;
    let mut device = bench.migrate_to(device, bench.plan()?, &destination, &outside, None)?;
    let seen = bench.play(&mut *device, at..twin.len())?;
    bench.same(&format!("moved after {at} steps, without the files of its source"), at, &twin[at..], &seen)
}

/// An instance that shares no files and never migrates shows what others do.
fn stays(bench: &Bench<'_>, program: &dyn Program, twin: &[Seen]) -> Judgement {
    let program = bench.standing(Who::Another, bench.source, program);
    let outside = program.outside()?;
    let mut device = program.start(&bench.case.model, &bench.case.setup, &outside)?;
    let seen = bench.play(&mut *device, 0..twin.len())?;
    bench.same("with files of its own, without a migration", 0, twin, &seen)
}

fn in_files(found: Finding, files: &[String]) -> Finding {
    let names: Vec<String> = files.iter().map(|name| format!("`{name}`")).collect();
    let Finding { summary, expected, observed, cause, words } = found;
    Finding {
        summary: format!("the state is in files that no carrier brings: {summary}"),
        expected,
        observed: format!("{observed}; the source wrote {}", names.join(", ")),
        cause: Cause { what: What::Other, ..cause },
        words,
    }
}
