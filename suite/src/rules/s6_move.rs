//! Chapter R-6: moving, judged by the twin that never moved.

use super::s5_check::CHECK_IS_SOUND;
use crate::bench::{Bench, Load, failed, needs};
use crate::case::Draws;
use crate::finding::{Class, Judgement, Stop, Who, broken, refused};
use crate::rule::{Level, On, Rule};
use migcert_core::device::{Device, Seen, State, Step};
use migcert_core::error::Error;
use migcert_core::migrate::{Failed, Plan, Round};

/// What a rule about moving builds on: the check is right, and a plain migration works.
pub(super) const MOVES: &[&Rule] = &[&CHECK_IS_SOUND, &TWIN_AFTER_LOAD];

/// Scripts up to this length are tried with every point of migration.
const SHORT: usize = 5;

pub(super) static TWIN_AFTER_LOAD: Rule = Rule {
    id: "twin-after-load",
    cites: "R-1.4",
    level: Level::Must,
    promise: "after a migration the guest sees what it would have seen without one",
    advice: "look for state that is not saved, or not put back into every place that uses it",
    draws: Draws::Script,
    on: On::Any,
    sees: &[Class::Interrupt, Class::Migration],
    builds_on: &[&CHECK_IS_SOUND],
};

pub(super) fn twin_after_load(bench: &Bench<'_>) -> Judgement {
    bench.plan()?;
    let twin = bench.twin()?;
    let instants = if twin.len() <= SHORT { 0..=twin.len() } else { bench.at()[0]..=bench.at()[0] };
    for at in instants {
        let (mut source, outside) = bench.started()?;
        let seen = bench.play(&mut *source, 0..at)?;
        bench.same("before any migration, on a second run", 0, &twin, &seen)?;
        let mut device = bench.migrate(source, bench.plan()?, bench.destination, &outside, None)?;
        let seen = bench.play(&mut *device, at..twin.len())?;
        bench.same(&format!("moved after {at} steps"), at, &twin[at..], &seen)?;
    }
    Ok(())
}

pub(super) static TWIN_AFTER_SECOND: Rule = Rule {
    id: "twin-after-second",
    cites: "R-1.1",
    level: Level::Must,
    promise: "a device that migrated can migrate again",
    advice: "look for what a load sets up differently from a start, such as capabilities or counters",
    draws: Draws::Script,
    on: On::Any,
    sees: &[Class::Migration],
    builds_on: MOVES,
};

pub(super) fn twin_after_second(bench: &Bench<'_>) -> Judgement {
    let plan = bench.plan()?;
    let there = bench.destination.manifest.models.get(&bench.case.model);
    let there = there.ok_or(Stop::NotApplicable("the destination does not have the model".into()))?;
    let again = Plan::new(&bench.case.model, there, plan.destination(), &bench.destination.manifest);
    let again = again.map_err(|_| Stop::NotApplicable("the check refuses the second migration".into()))?;
    let twin = bench.twin()?;
    let [first, second] = bench.at();
    let (mut device, outside) = bench.started()?;
    bench.play(&mut *device, 0..first)?;
    let mut device = bench.migrate(device, plan, bench.destination, &outside, None)?;
    let seen = bench.play(&mut *device, first..second)?;
    bench.same("after the first migration", first, &twin[first..], &seen)?;
    let mut device = bench.migrate(device, again, bench.destination, &outside, None)?;
    let seen = bench.play(&mut *device, second..twin.len())?;
    bench.same("after the second migration", second, &twin[second..], &seen)
}

pub(super) static PING_PONG: Rule = Rule {
    id: "ping-pong",
    cites: "R-1.1",
    level: Level::Must,
    promise: "one instance can be saved and be loaded again, as often as it likes",
    advice: "clear what belongs to a session when the session ends",
    draws: Draws::Script,
    on: On::One,
    sees: &[Class::Migration],
    builds_on: MOVES,
};

/// Two instances hand the device to and fro: what one session leaves behind, the next one finds.
pub(super) fn ping_pong(bench: &Bench<'_>) -> Judgement {
    let plan = bench.plan()?;
    let twin = bench.twin()?;
    let [first, second] = bench.at();
    let (mut here, outside) = bench.started()?;
    let mut there = bench.instance(Who::OtherInstance, bench.destination, plan.destination(), &outside)?;
    bench.play(&mut *here, 0..first)?;
    // Four times: each of them loads twice.
    for (from, to) in [(first, first), (first, second), (second, second), (second, twin.len())] {
        hand_over(bench, &mut *here, &mut *there)?;
        std::mem::swap(&mut here, &mut there);
        let seen = bench.play(&mut *here, from..to)?;
        bench.same("handed to and fro", from, &twin[from..], &seen)?;
    }
    Ok(())
}

fn hand_over(bench: &Bench<'_>, from: &mut dyn Device, to: &mut dyn Device) -> Judgement {
    let state = bench.usual().save(from, None)?;
    if to.capabilities().can_reset {
        to.reset()?;
    }
    match bench.load_by(&bench.usual(), to, &state)? {
        Load::Accepted => bench.go_on(to, &from.guest_memory()?),
        Load::Refused(why) => Err(refused(why, "by an instance that was used before", "the state is loaded")),
    }
}

pub(super) static SOURCE_GOES_ON: Rule = Rule {
    id: "source-goes-on",
    cites: "R-6.2",
    level: Level::Must,
    promise: "a source that was saved and not moved goes on as if nothing had been asked",
    advice: "save without changing anything, and start again what stopping stopped",
    draws: Draws::Script,
    on: On::One,
    sees: &[],
    builds_on: &[],
};

pub(super) fn source_goes_on(bench: &Bench<'_>) -> Judgement {
    let twin = bench.twin()?;
    let at = bench.at()[0];
    let (mut source, outside) = bench.started()?;
    bench.play(&mut *source, 0..at)?;
    let saved = bench.save_for(source, bench.plan()?, &outside)?;
    let mut source = saved.abandon().map_err(|stranded| failed(Failed::Stranded(stranded)))?;
    let seen = bench.play(&mut *source, at..twin.len())?;
    bench.same("after a migration that was given up", at, &twin[at..], &seen)
}

pub(super) static SOURCE_LETS_GO: Rule = Rule {
    id: "source-lets-go",
    cites: "R-6.2",
    level: Level::Must,
    promise: "a source that moved touches nothing any more that the destination uses",
    advice: "give locks, connections and timers up before the state ends, for good once it was loaded",
    draws: Draws::Script,
    on: On::One,
    sees: &[Class::Migration],
    builds_on: MOVES,
};

pub(super) fn source_lets_go(bench: &Bench<'_>) -> Judgement {
    let twin = bench.twin()?;
    let [first, second] = bench.at();
    let stopped = bench.stopped(first)?;
    let mut device = bench.prepared(&stopped)?;
    if let Load::Refused(why) = bench.load_by(&bench.usual(), &mut *device, &stopped.state)? {
        return Err(refused(why, "though the check allows it", "the state is loaded"));
    }
    bench.go_on(&mut *device, &stopped.memory)?;
    let seen = bench.play(&mut *device, first..second)?;
    bench.same("while the source is still there", first, &twin[first..], &seen)?;
    let mut source = stopped.device;
    if source.capabilities().interface.has_registers() {
        source.guest(&Step::Pass(8))?;
    }
    drop(source);
    let seen = bench.play(&mut *device, second..twin.len())?;
    bench.same("after the source went away", second, &twin[second..], &seen)
}

pub(super) static SAVE_IS_REPEATABLE: Rule = Rule {
    id: "save-is-repeatable",
    cites: "R-1.1",
    level: Level::Should,
    promise: "saved twice at one point in time, the state is the same to the byte",
    advice: "write in a fixed order, and nothing that is not state: no addresses, no clock, no padding",
    draws: Draws::Script,
    on: On::One,
    sees: &[],
    builds_on: &[],
};

pub(super) fn save_is_repeatable(bench: &Bench<'_>) -> Judgement {
    let mut stopped = bench.stopped(bench.at()[0])?;
    stopped.device.set_state(State::Stop)?;
    let again = bench.usual().save(&mut *stopped.device, None)?;
    if again == stopped.state {
        return Ok(());
    }
    let differ = again.iter().zip(&stopped.state).position(|(a, b)| a != b);
    let differ = differ.unwrap_or(again.len().min(stopped.state.len()));
    Err(broken(
        "two saves of one stopped device differ",
        format!("{} bytes, all the same", stopped.state.len()),
        format!("{} bytes, the first difference at byte {differ}", again.len()),
    ))
}

pub(super) static PRECOPY_IS_STOP_COPY: Rule = Rule {
    id: "precopy-is-stop-copy",
    cites: "R-6.5",
    level: Level::Must,
    promise: "what changes after it was first read is sent again",
    advice: "mark every write as dirty, the device's own ones too, until STOP_COPY has read it",
    draws: Draws::Script,
    on: On::Any,
    sees: &[Class::Migration, Class::PreCopy],
    builds_on: MOVES,
};

pub(super) fn precopy_is_stop_copy(bench: &Bench<'_>) -> Judgement {
    let plan = bench.plan()?;
    let (mut source, outside) = bench.started()?;
    needs(source.capabilities().options.pre_copy, "no PRE_COPY")?;
    let twin = bench.twin()?;
    let [first, second] = bench.at();
    bench.play(&mut *source, 0..first)?;
    let mut next = first;
    let mut seen: Vec<Seen> = Vec::new();
    let mut guest = |device: &mut dyn Device| -> Result<Round, Error> {
        let Some(step) = bench.case.script[..second].get(next) else {
            if let Some(last) = seen.last_mut() {
                last.0.extend(bench.arrivals(device)?.0);
            }
            return Ok(Round::Last);
        };
        next += 1;
        seen.push(device.guest(step)?);
        Ok(Round::Again)
    };
    let mut device = bench.migrate(source, plan, bench.destination, &outside, Some(&mut guest))?;
    bench.same("while the state was read in PRE_COPY", first, &twin[first..], &seen)?;
    let seen = bench.play(&mut *device, second..twin.len())?;
    bench.same("after an iterative migration", second, &twin[second..], &seen)
}

pub(super) static CANCELLED_PRECOPY: Rule = Rule {
    id: "cancelled-precopy",
    cites: "R-6.2",
    level: Level::Must,
    promise: "a pre-copy that was given up leaves nothing behind: the next migration is like the first",
    advice: "end the session when PRE_COPY is left towards RUNNING",
    draws: Draws::Script,
    on: On::One,
    sees: &[Class::Migration, Class::PreCopy],
    builds_on: MOVES,
};

pub(super) fn cancelled_precopy(bench: &Bench<'_>) -> Judgement {
    let plan = bench.plan()?;
    let (mut source, outside) = bench.started()?;
    needs(source.capabilities().options.pre_copy, "no PRE_COPY")?;
    let twin = bench.twin()?;
    let [first, second] = bench.at();
    bench.play(&mut *source, 0..first)?;
    source.set_state(State::PreCopy)?;
    bench.usual().read_on(&mut *source, &mut Vec::new())?;
    source.set_state(State::Running)?;
    let seen = bench.play(&mut *source, first..second)?;
    bench.same("after a pre-copy that was given up", first, &twin[first..], &seen)?;
    let mut rounds = [Round::Again, Round::Last].into_iter();
    let mut guest = |_: &mut dyn Device| Ok(rounds.next().unwrap_or(Round::Last));
    let mut device = bench.migrate(source, plan, bench.destination, &outside, Some(&mut guest))?;
    let seen = bench.play(&mut *device, second..twin.len())?;
    bench.same("after the next migration", second, &twin[second..], &seen)
}

pub(super) static CHUNKING: Rule = Rule {
    id: "chunking",
    cites: "R-6.6",
    level: Level::Must,
    promise: "how the bytes were chunked on their way does not matter",
    advice: "buffer what arrives until a whole section is there, and give what is left of one next time",
    draws: Draws::Script,
    on: On::One,
    sees: &[Class::Migration],
    builds_on: MOVES,
};

pub(super) fn chunking(bench: &Bench<'_>) -> Judgement {
    needs(!bench.case.pieces.is_empty(), "the pieces are the usual ones")?;
    let twin = bench.twin()?;
    let at = bench.at()[0];
    // Read in pieces and written whole, read whole and written in pieces.
    for (reader, writer) in [(bench.carrier(), bench.usual()), (bench.usual(), bench.carrier())] {
        let (mut source, outside) = bench.started()?;
        bench.play(&mut *source, 0..at)?;
        let state = reader.save(&mut *source, None)?;
        let setup = bench.plan()?.destination().clone();
        let mut device = bench.instance(Who::Destination, bench.destination, &setup, &outside)?;
        let loaded = writer.load(&mut *device, &state);
        loaded.map_err(|why| {
            let expected = "the state is loaded, as it is in pieces of other sizes";
            refused(why, "for a state that came in other pieces", expected)
        })?;
        bench.go_on(&mut *device, &source.guest_memory()?)?;
        let seen = bench.play(&mut *device, at..twin.len())?;
        bench.same("carried in other pieces", at, &twin[at..], &seen)?;
    }
    Ok(())
}

pub(super) static STOP_IS_STILL: Rule = Rule {
    id: "stop-is-still",
    cites: "R-6.1",
    level: Level::Must,
    promise: "a stopped device does nothing: no interrupt, no output, no progress of its own",
    advice: "stop timers, workers and polling before STOP is reported",
    draws: Draws::Script,
    on: On::One,
    sees: &[],
    builds_on: &[&SOURCE_GOES_ON],
};

pub(super) fn stop_is_still(bench: &Bench<'_>) -> Judgement {
    let (mut device, _outside) = bench.started()?;
    needs(device.capabilities().interface.has_registers(), "time can't be let pass for this device")?;
    let twin = bench.twin()?;
    let at = bench.at()[0];
    bench.play(&mut *device, 0..at)?;
    for state in [State::Stop, State::StopCopy, State::Stop] {
        device.set_state(state)?;
        bench.still(&mut *device, || format!("the device does something in {state}"))?;
    }
    device.set_state(State::Running)?;
    let seen = bench.play(&mut *device, at..twin.len())?;
    bench.same("after time passed while it was stopped", at, &twin[at..], &seen)
}
