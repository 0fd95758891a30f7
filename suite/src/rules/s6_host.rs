//! Chapter R-6: moving while the host fails, and the memory that the device writes meanwhile.

use super::s6_move::{MOVES, PRECOPY_IS_STOP_COPY, SOURCE_GOES_ON};
use crate::bench::{Bench, Load, failed, needs};
use crate::case::Draws;
use crate::coverage::{Dimension, HOST, saw};
use crate::finding::{Class, Judgement, Stop, Who, broken, refused};
use crate::rule::{Level, On, Rule};
use migcert_core::device::{Device, GUEST_MEMORY, Outside, State, Step, Trouble};
use migcert_core::error::Error;
use migcert_core::migrate::{Failed, Round, Stayed};
use std::ops::Range;

/// Maximum number of operations of a migration on the host that are made to fail in turn.
const OPERATIONS: u32 = 24;

pub(super) static TROUBLE_IS_TOLD: Rule = Rule {
    id: "trouble-is-told",
    cites: "R-1.4",
    level: Level::Must,
    promise: "where the host fails during a migration, the migration fails or the guest goes on as if nothing had been",
    advice: "pass on every error of the host: look for results that are dropped, logged or overwritten",
    draws: Draws::Script,
    on: On::Any,
    sees: &[],
    builds_on: MOVES,
};

pub(super) fn trouble_is_told(bench: &Bench<'_>) -> Judgement {
    let twin = bench.twin()?;
    each_trouble(bench, |_, at, moved| {
        let Ok(mut device) = moved else { return Ok(()) };
        let seen = bench.play(&mut *device, at..twin.len())?;
        bench.same(
            "after a migration during which the host failed, and which succeeded",
            at,
            &twin[at..],
            &seen,
        )
    })
}

pub(super) static TROUBLE_IS_SURVIVED: Rule = Rule {
    id: "trouble-is-survived",
    cites: "R-6.2",
    level: Level::Must,
    promise: "where the host fails during a migration, the source goes on",
    advice: "undo in the way back what was done on the way: queues, locks, registrations",
    draws: Draws::Script,
    on: On::Any,
    sees: &[],
    builds_on: &[&SOURCE_GOES_ON, &TROUBLE_IS_TOLD],
};

pub(super) fn trouble_is_survived(bench: &Bench<'_>) -> Judgement {
    let twin = bench.twin()?;
    each_trouble(bench, |outside, at, moved| match moved {
        Ok(_) => Ok(()),
        Err(Failed::Stayed(Stayed { running: mut source, .. })) => {
            let seen = bench.play(&mut *source, at..twin.len())?;
            let what = "at the source, after a migration that failed because of the host";
            bench.same(what, at, &twin[at..], &seen)?;
            let again = bench.migrate(source, bench.plan()?, bench.destination, outside, None);
            again.map(drop).map_err(|stop| match stop {
                Stop::Failed(failing) => refused(
                    failing.why,
                    "in the migration after one that failed because of the host",
                    "with a host that works, the next migration completes",
                ),
                other => other,
            })
        }
        Err(stranded) => Err(failed(stranded)),
    })
}

/// Migrates once for each operation on the host, which fails, while the guest goes on where there
/// is PRE_COPY; judges the result, and how far the guest got.
fn each_trouble(
    bench: &Bench<'_>,
    judge: impl Fn(&Outside, usize, Result<Box<dyn Device>, Failed>) -> Judgement,
) -> Judgement {
    let [at, busy] = bench.at();
    bench.plan()?;
    for index in 0..OPERATIONS {
        let (mut source, outside) = bench.started()?;
        let trouble = trouble(&outside)?;
        bench.play(&mut *source, 0..at)?;
        trouble.arm(Some(index));
        let carrier = bench.usual();
        let mut played = at;
        let mut guest = |device: &mut dyn Device| {
            let Some(step) = bench.case.script[..busy].get(played) else {
                return bench.arrivals(device).map(|_| Round::Last);
            };
            played += 1;
            device.guest(step).map(|_| Round::Again)
        };
        let pre_copy = source.capabilities().options.pre_copy;
        let moved = bench
            .plan()?
            .prepare(source, &bench.named(Who::Destination, bench.destination), &outside)
            .and_then(|prepared| prepared.save(&carrier, pre_copy.then_some(&mut guest)))
            .and_then(|saved| saved.load(&carrier));
        let struck = struck(trouble);
        trouble.arm(None);
        if !struck {
            // No operation is left. If there was none at all, this device does nothing on its host.
            return needs(index != 0, "a migration does nothing on the host");
        }
        bench.tell(|| format!("operation {} on the host failed", index + 1));
        judge(&outside, played, moved.map(|moved| moved.running))?;
    }
    Ok(())
}

fn struck(trouble: &dyn Trouble) -> bool {
    let struck = trouble.struck();
    if struck {
        saw(Dimension::Fault, || HOST);
    }
    struck
}

fn trouble(outside: &Outside) -> Result<&dyn Trouble, Stop> {
    outside.trouble().ok_or(Stop::NotApplicable("the host can't be made to fail".into()))
}

pub(super) static TROUBLE_CAN_BE_RETRIED: Rule = Rule {
    id: "trouble-can-be-retried",
    cites: "R-6.3",
    level: Level::Must,
    promise: "a destination on which a load failed because of the host can be reset and takes the state then",
    advice: "release in the error path what the load took, and take it again the next time",
    draws: Draws::Script,
    on: On::Any,
    sees: &[Class::Migration, Class::Reset],
    builds_on: MOVES,
};

pub(super) fn trouble_can_be_retried(bench: &Bench<'_>) -> Judgement {
    let twin = bench.twin()?;
    let at = bench.at()[0];
    let stopped = bench.stopped(at)?;
    let trouble = trouble(&stopped.outside)?;
    let mut device = bench.prepared(&stopped)?;
    for index in 0..OPERATIONS {
        trouble.arm(Some(index));
        let load = bench.load_by(&bench.usual(), &mut *device, &stopped.state);
        let struck = struck(trouble);
        trouble.arm(None);
        if !struck {
            needs(index != 0, "a load does nothing on the host")?;
            break;
        }
        bench.tell(|| format!("operation {} on the host failed", index + 1));
        load?;
        device.reset()?;
    }
    device.reset()?;
    if let Load::Refused(why) = bench.load_by(&bench.usual(), &mut *device, &stopped.state)? {
        return Err(refused(
            why,
            "after a load that failed because of the host, and a reset",
            "with a host that works, the state is loaded",
        ));
    }
    bench.go_on(&mut *device, &stopped.memory)?;
    let seen = bench.play(&mut *device, at..twin.len())?;
    bench.same("loaded again after the host had failed", at, &twin[at..], &seen)
}

pub(super) static DIRTY_LOG_IS_COMPLETE: Rule = Rule {
    id: "dirty-log-is-complete",
    cites: "R-6.5",
    level: Level::Must,
    promise: "guest memory that the device writes while it is copied is in the log of dirty memory",
    advice: "log each write of the device, in every queue and until STOP_COPY is reached, with its real place and length",
    draws: Draws::Script,
    on: On::One,
    sees: &[],
    builds_on: &[&PRECOPY_IS_STOP_COPY],
};

/// Copies guest memory as a carrier does: all of it once, then what the log says.
pub(super) fn dirty_log_is_complete(bench: &Bench<'_>) -> Judgement {
    let (mut source, _outside) = bench.started()?;
    needs(source.capabilities().options.pre_copy, "no PRE_COPY")?;
    needs(source.dirty_memory()?.is_some(), "it keeps no log of dirty memory")?;
    let [first, second] = bench.at();
    bench.play(&mut *source, 0..first)?;
    source.set_state(State::PreCopy)?;
    let mut copy = source.guest_memory()?;
    for step in &bench.case.script[first..second] {
        let by_guest = matches!(step, Step::Write { region: GUEST_MEMORY, .. });
        let before = if by_guest { source.guest_memory()? } else { Vec::new() };
        source.guest(step)?;
        if by_guest {
            let changed = differences(&before, &source.guest_memory()?);
            copy_ranges(&mut *source, &mut copy, &changed)?;
        }
        // The carrier asks from time to time, and what was written before is clean for the device.
        if matches!(step, Step::Pass(1..=2)) {
            copy_dirty(&mut *source, &mut copy)?;
        }
    }
    source.set_state(State::StopCopy)?;
    bench.usual().read_on(&mut *source, &mut Vec::new())?;
    copy_dirty(&mut *source, &mut copy)?;
    let memory = source.guest_memory()?;
    match differences(&copy, &memory).first() {
        None => Ok(()),
        Some(Range { start, .. }) => Err(broken(
            format!("the device wrote guest memory at {start:#x}, and the log does not say so"),
            format!("{:#04x} at the destination, as at the source", memory[*start]),
            format!("{:#04x}", copy[*start]),
        )),
    }
}

fn copy_dirty(device: &mut dyn Device, copy: &mut [u8]) -> Result<(), Error> {
    let dirty = device.dirty_memory()?.unwrap_or_default();
    copy_ranges(device, copy, &dirty)
}

fn copy_ranges(device: &mut dyn Device, copy: &mut [u8], ranges: &[Range<usize>]) -> Result<(), Error> {
    if ranges.is_empty() {
        return Ok(());
    }
    let now = device.guest_memory()?;
    for range in ranges {
        // Ignore ranges outside this memory.
        if let (Some(to), Some(from)) = (copy.get_mut(range.clone()), now.get(range.clone())) {
            to.copy_from_slice(from);
        }
    }
    Ok(())
}

fn differences(before: &[u8], after: &[u8]) -> Vec<Range<usize>> {
    let differ = before.iter().zip(after).enumerate().filter(|(_, (before, after))| before != after);
    differ.map(|(at, _)| at..at + 1).collect()
}
