//! What a load leaves behind, refused or not.

use super::s6_damage::{DAMAGED, damaged_by_all};
use super::s6_load::{LOADS, continues};
use crate::bench::{Bench, Earlier, Load, Recipe, Stopped, needs, needs_reset};
use crate::case::Draws;
use crate::finding::{Class, Judgement, Stop, Who, broken, refused};
use crate::rule::{Level, On, Rule};
use migcert_core::device::Device;

pub(super) static REFUSAL_DOES_NOT_RUN: Rule = Rule {
    id: "refusal-does-not-run",
    cites: "R-6.3",
    level: Level::Must,
    promise: "a destination that refused a state is not running",
    advice: "stay in RESUMING or go to ERROR when a load fails",
    draws: Draws::Damage,
    on: On::One,
    sees: &[Class::Refusal],
    builds_on: LOADS,
};

pub(super) fn refusal_does_not_run(bench: &Bench<'_>) -> Judgement {
    let (device, _) = &mut after_refusal(bench)?;
    let state = device.state()?;
    if state.runs() {
        return Err(broken("a destination runs after it refused a state", "RESUMING, STOP or ERROR", state));
    }
    Ok(())
}

/// A destination that refused a damaged state, and what was saved.
fn after_refusal(bench: &Bench<'_>) -> Result<(Box<dyn Device>, Stopped), Stop> {
    let stopped = bench.stopped(bench.at()[0])?;
    let state = damaged_by_all(bench, &stopped)?;
    let mut device = bench.prepared(&stopped)?;
    match bench.load_other(&mut *device, DAMAGED, &state)? {
        Load::Refused(_) => Ok((device, stopped)),
        Load::Accepted => Err(Stop::NotApplicable("the damaged state was accepted".into())),
    }
}

pub(super) static REFUSAL_LEAVES_NOTHING: Rule = Rule {
    id: "refusal-leaves-nothing",
    cites: "R-6.4",
    level: Level::Must,
    promise: "a state that was refused is not half applied: after a reset the device is as fresh",
    advice: "decode to the side, and swap in whole what was judged whole",
    draws: Draws::Damage,
    on: On::One,
    sees: &[Class::Refusal, Class::Reset],
    builds_on: LOADS,
};

pub(super) fn refusal_leaves_nothing(bench: &Bench<'_>) -> Judgement {
    let (mut device, _stopped) = after_refusal(bench)?;
    needs_reset(&*device)?;
    device.reset()?;
    as_fresh(bench, &mut *device, bench.at()[0], "after a refused state and a reset")
}

/// A reset device shows what a fresh one does, on a host side with the same past: the first `past`
/// steps of the script.
pub(super) fn as_fresh(bench: &Bench<'_>, device: &mut dyn Device, past: usize, what: &str) -> Judgement {
    // Whether a reset comes before or after something that is in flight is up to the device.
    needs(!bench.leaves_in_flight(device, past), "requests are in flight at the reset")?;
    let (subject, setup) = (bench.source, bench.case.setup.clone());
    let earlier = Earlier { subject, setup: setup.clone(), steps: past };
    let fresh = bench.unmoved(Recipe { who: Who::Fresh, subject, setup, earlier: Some(earlier) })?;
    let seen = bench.play(device, 0..bench.case.script.len())?;
    bench.same_as(&fresh.recipe, what, 0, &fresh.seen, &seen)
}

pub(super) static REFUSAL_CAN_BE_RETRIED: Rule = Rule {
    id: "refusal-can-be-retried",
    cites: "R-6.3",
    level: Level::Must,
    promise: "after a refused state the instance can be reset and used for a correct one",
    advice: "let a reset end the failed session and everything that belongs to it",
    draws: Draws::Damage,
    on: On::One,
    sees: &[Class::Migration, Class::Refusal, Class::Reset],
    builds_on: LOADS,
};

pub(super) fn refusal_can_be_retried(bench: &Bench<'_>) -> Judgement {
    let (mut device, stopped) = after_refusal(bench)?;
    needs_reset(&*device)?;
    device.reset()?;
    match bench.load(&mut *device, &stopped.state)? {
        Load::Accepted => {
            continues(bench, &mut *device, &stopped, "loaded after a refused state and a reset")
        }
        Load::Refused(why) => {
            Err(refused(why, "for a correct state after a damaged one and a reset", "the state is loaded"))
        }
    }
}

pub(super) static LOAD_REPLACES_ALL: Rule = Rule {
    id: "load-replaces-all",
    cites: "R-6.4",
    level: Level::Must,
    promise: "a load replaces everything: an instance that was used before keeps nothing of it",
    advice: "build the new state from nothing instead of merging it into the old one",
    draws: Draws::Script,
    on: On::One,
    sees: &[Class::Migration],
    builds_on: LOADS,
};

pub(super) fn load_replaces_all(bench: &Bench<'_>) -> Judgement {
    let at = bench.at()[0];
    let len = bench.case.script.len();
    let setup = bench.plan()?.destination().clone();
    // Its earlier use is the past of the host side, also for the twin.
    let earlier = Earlier { subject: bench.destination, setup, steps: len };
    let outside = bench.outside()?;
    let mut device = bench.earlier_device(&earlier, &outside)?;
    needs(device.capabilities().interface.has_registers(), "an earlier use would change the host's side")?;
    let mut source = bench.instance(Who::Source, bench.source, &bench.case.setup, &outside)?;
    bench.play(&mut *source, 0..at)?;
    let state = bench.usual().save(&mut *source, None)?;
    if let Load::Refused(why) = bench.load(&mut *device, &state)? {
        return Err(refused(why, "by an instance that was used before", "the state is loaded"));
    }
    bench.go_on(&mut *device, &source.guest_memory()?)?;
    let seen = bench.play(&mut *device, at..len)?;
    let setup = bench.case.setup.clone();
    let twin =
        bench.unmoved(Recipe { who: Who::Twin, subject: bench.source, setup, earlier: Some(earlier) })?;
    let what = "loaded into an instance that was used before";
    bench.same_as(&twin.recipe, what, at, &twin.seen[at..], &seen)
}
