//! Chapter R-7: the state machine of `linux/vfio.h`.

use super::s6_damage::DAMAGED;
use super::s6_move::{MOVES, SOURCE_GOES_ON};
use super::s6_traces::as_fresh;
use crate::bench::{Bench, Load, needs, needs_own_machine, needs_reset};
use crate::case::Draws;
use crate::coverage::{Dimension, saw};
use crate::damage::ROOM;
use crate::finding::{Class, Judgement, Stop, Who, broken, refused};
use crate::rule::{Level, On, Rule};
use migcert_core::device::{Device, State, walk};
use migcert_core::error::Error;

/// Number of bytes of a read that should give nothing.
const PEEK: usize = 64;

pub(super) static FRESH_RUNS: Rule = Rule {
    id: "fresh-runs",
    cites: "R-7.1",
    level: Level::Must,
    promise: "a fresh or reset device is RUNNING",
    advice: "report RUNNING from the start, before the first request for a state",
    draws: Draws::Setup,
    on: On::One,
    sees: &[],
    builds_on: &[],
};

pub(super) fn fresh_runs(bench: &Bench<'_>) -> Judgement {
    let (mut device, _outside) = bench.started()?;
    needs_own_machine(&*device)?;
    is_in(&mut *device, State::Running, "a fresh device")?;
    if !device.capabilities().can_reset {
        return Ok(());
    }
    device.reset()?;
    is_in(&mut *device, State::Running, "a reset device")
}

fn is_in(device: &mut dyn Device, should: State, what: &str) -> Judgement {
    match device.state()? {
        is if is == should => Ok(()),
        is => Err(broken(
            format!("{what} is in the wrong state"),
            format!("it is in {should}"),
            format!("it is in {is}"),
        )),
    }
}

pub(super) static WALKS_ARRIVE: Rule = Rule {
    id: "walks-arrive",
    cites: "R-7.2",
    level: Level::Must,
    promise: "every state that can be asked for is reached, and reported",
    advice: "walk the arcs of linux/vfio.h for pairs that are not arcs themselves",
    draws: Draws::Walk,
    on: On::One,
    sees: &[],
    builds_on: &[],
};

pub(super) fn walks_arrive(bench: &Bench<'_>) -> Judgement {
    let (mut device, _outside) = bench.started()?;
    needs_own_machine(&*device)?;
    let options = device.capabilities().options;
    let mut at = State::Running;
    bench.play(&mut *device, 0..bench.at()[0])?;
    for &to in &bench.case.walk {
        let Ok(path) = walk(at, to, options) else { continue };
        if path.contains(&State::Resuming) || (at == State::Resuming && to != at) {
            // Entered and left with a state, by other rules: RESUMING judges what was written.
            continue;
        }
        if let Err(why) = device.set_state(to) {
            return Err(refused(why, format!("from {at}"), format!("the device is in {to}")));
        }
        is_in(&mut *device, to, &format!("the device that went from {at} to {to}"))?;
        at = to;
    }
    device.set_state(State::Running)?;
    let twin = bench.twin()?;
    let from = bench.at()[0];
    let seen = bench.play(&mut *device, from..twin.len())?;
    bench.same("after a walk through the states", from, &twin[from..], &seen)
}

pub(super) static ILLEGAL_ARCS_ARE_HARMLESS: Rule = Rule {
    id: "illegal-arcs-are-harmless",
    cites: "R-7.2",
    level: Level::Must,
    promise: "a change of state that does not exist is refused and changes nothing",
    advice: "look the arc up before acting on it",
    draws: Draws::Walk,
    on: On::One,
    sees: &[],
    builds_on: &[&WALKS_ARRIVE, &SOURCE_GOES_ON],
};

pub(super) fn illegal_arcs_are_harmless(bench: &Bench<'_>) -> Judgement {
    let (mut device, _outside) = bench.started()?;
    needs_own_machine(&*device)?;
    let options = device.capabilities().options;
    let from = bench.at()[0];
    bench.play(&mut *device, 0..from)?;
    let here = bench.case.walk.iter().copied().find(|s| s.is_in(options) && *s != State::Resuming);
    let here = here.filter(|s| *s != State::Error).unwrap_or(State::Running);
    device.set_state(here)?;
    for to in State::ALL {
        if walk(here, to, options).is_ok() {
            continue;
        }
        match device.set_state(to) {
            Ok(()) => {
                return Err(broken(
                    format!("the device went from {here} to {to}"),
                    "the change of state is refused",
                    format!("the device is in {}", device.state()?),
                ));
            }
            Err(Error::Refused(_)) => is_in(&mut *device, here, &format!("asked to go to {to}, the device"))?,
            Err(why) => return Err(why.into()),
        }
    }
    device.set_state(State::Running)?;
    let twin = bench.twin()?;
    let seen = bench.play(&mut *device, from..twin.len())?;
    bench.same("after refused changes of state", from, &twin[from..], &seen)
}

pub(super) static SAME_STATE_IS_NO_CHANGE: Rule = Rule {
    id: "same-state-is-no-change",
    cites: "R-7.2",
    level: Level::Must,
    promise: "asked for the state that it is in, a device does nothing: what was read or written stays so",
    advice: "compare before acting: what is done on entry belongs to arcs",
    draws: Draws::Script,
    on: On::One,
    sees: &[Class::Migration],
    builds_on: MOVES,
};

pub(super) fn same_state_is_no_change(bench: &Bench<'_>) -> Judgement {
    let (mut source, outside) = bench.started()?;
    needs_own_machine(&*source)?;
    let twin = bench.twin()?;
    let from = bench.at()[0];
    bench.play(&mut *source, 0..from)?;
    source.set_state(State::StopCopy)?;
    let mut state = vec![0; PEEK];
    let read = source.read_state(&mut state)?;
    state.truncate(read);
    again(&mut *source, State::StopCopy)?;
    bench.usual().read_on(&mut *source, &mut state)?;

    let setup = bench.plan()?.destination().clone();
    let mut device = bench.instance(Who::Destination, bench.destination, &setup, &outside)?;
    device.set_state(State::Resuming)?;
    let (first, second) = state.split_at(state.len() / 2);
    bench.usual().write(&mut *device, first)?;
    again(&mut *device, State::Resuming)?;
    bench.usual().write(&mut *device, second)?;
    device.set_state(State::Stop)?;
    again(&mut *device, State::Stop)?;
    bench.go_on(&mut *device, &source.guest_memory()?)?;
    again(&mut *device, State::Running)?;
    let seen = bench.play(&mut *device, from..twin.len())?;
    bench.same("asked for the state that it was in", from, &twin[from..], &seen)
}

/// Requests the state that the device is in; it may refuse.
fn again(device: &mut dyn Device, state: State) -> Judgement {
    match device.set_state(state) {
        Ok(()) | Err(Error::Refused(_)) => {
            is_in(device, state, &format!("in {state} and asked for it, the device"))
        }
        Err(why) => Err(why.into()),
    }
}

pub(super) static ERROR_IS_NOT_REQUESTED: Rule = Rule {
    id: "error-is-not-requested",
    cites: "R-7.3",
    level: Level::Must,
    promise: "ERROR can't be asked for, and is left only by a reset",
    advice: "refuse ERROR as a request, and every request in ERROR",
    draws: Draws::Damage,
    on: On::One,
    sees: &[],
    builds_on: &[],
};

pub(super) fn error_is_not_requested(bench: &Bench<'_>) -> Judgement {
    let (mut device, _outside) = bench.started()?;
    needs_own_machine(&*device)?;
    if device.set_state(State::Error).is_ok() {
        let observed = format!("the device is in {}", device.state()?);
        return Err(broken("ERROR was asked for and entered", "the change of state is refused", observed));
    }
    is_in(&mut *device, State::Running, "asked to go to ERROR, the device")?;
    // A refused load may lead to ERROR; from there only a reset leads out.
    let _ = bench.load_other(&mut *device, "what is not a state", &[0xff; PEEK])?;
    if device.state()? == State::Error {
        for to in State::ALL {
            if device.set_state(to).is_ok() {
                return Err(broken(
                    format!("the device went from ERROR to {to}"),
                    "only a reset leads out of ERROR",
                    format!("the device is in {}", device.state()?),
                ));
            }
        }
    }
    if !device.capabilities().can_reset {
        return Ok(());
    }
    device.reset()?;
    as_fresh(bench, &mut *device, 0, "after ERROR and a reset")
}

pub(super) static LOAD_IS_JUDGED_AT_STOP: Rule = Rule {
    id: "load-is-judged-at-stop",
    cites: "R-7.4",
    level: Level::Must,
    promise: "RESUMING to STOP is where a load fails at the latest",
    advice: "finish decoding and checking before the change to STOP returns",
    draws: Draws::Damage,
    on: On::One,
    sees: &[],
    builds_on: MOVES,
};

pub(super) fn load_is_judged_at_stop(bench: &Bench<'_>) -> Judgement {
    let stopped = bench.stopped(bench.at()[0])?;
    let mut device = bench.prepared(&stopped)?;
    let nothing = "a state of which nothing came";
    if !stopped.state.is_empty() && bench.load_other(&mut *device, nothing, &[])?.is_accepted() {
        let expected = "the change from RESUMING to STOP is refused";
        return Err(broken("a load of no bytes at all was accepted", expected, "the device is in STOP"));
    }
    device = bench.renewed(device, &stopped)?;
    let (mut state, mut room) = (stopped.state.clone(), ROOM);
    for damage in &bench.case.damage {
        saw(Dimension::Fault, || damage.kind());
        damage.apply(&mut state, &stopped.state, &mut room)?;
    }
    let loaded = match state == stopped.state {
        true => bench.load(&mut *device, &state)?,
        false => bench.load_other(&mut *device, DAMAGED, &state)?,
    };
    if loaded.is_accepted() {
        device.set_guest_memory(&stopped.memory)?;
        if let Err(why) = device.set_state(State::Running) {
            let expected = "a load is refused at the change from RESUMING to STOP, or not at all";
            return Err(refused(why, "after the load was accepted at STOP", expected));
        }
    }
    Ok(())
}

pub(super) static SESSIONS_END: Rule = Rule {
    id: "sessions-end",
    cites: "R-7.5",
    level: Level::Must,
    promise: "a data session ends when its states are left: no bytes outside, and the next one begins anew",
    advice: "drop the session's buffers and positions on every arc that leaves it, and on reset",
    draws: Draws::Script,
    on: On::One,
    sees: &[],
    builds_on: MOVES,
};

pub(super) fn sessions_end(bench: &Bench<'_>) -> Judgement {
    let (mut device, _outside) = bench.started()?;
    needs_own_machine(&*device)?;
    bench.play(&mut *device, 0..bench.at()[0])?;
    gives_nothing(&mut *device)?;
    device.set_state(State::StopCopy)?;
    let part = device.read_state(&mut [0; PEEK])?;
    device.set_state(State::Stop)?;
    gives_nothing(&mut *device)?;
    // The next session begins at the beginning, though the one before was not read to its end.
    let whole = bench.carrier().save(&mut *device, None)?;
    device.set_state(State::Stop)?;
    let mut other = bench.instance(Who::Another, bench.source, &bench.case.setup, &bench.outside()?)?;
    match bench.load(&mut *other, &whole)? {
        Load::Accepted => Ok(()),
        Load::Refused(why) => Err(refused(
            why,
            format!("for a state that was saved after a session given up at {part} bytes"),
            "the state is loaded",
        )),
    }
}

fn gives_nothing(device: &mut dyn Device) -> Judgement {
    let state = device.state()?;
    match device.read_state(&mut [0; PEEK]) {
        Ok(0) | Err(Error::Refused(_)) => Ok(()),
        Ok(read) => {
            let observed = format!("{read} bytes were read");
            Err(broken(format!("state can be read in {state}"), "no bytes, or a refusal", observed))
        }
        Err(why) => Err(why.into()),
    }
}

pub(super) static END_OF_STREAM_STAYS: Rule = Rule {
    id: "end-of-stream-stays",
    cites: "R-7.5",
    level: Level::Must,
    promise: "in STOP_COPY the end of the stream is the end, however often it is asked for",
    advice: "keep answering end-of-stream after it was answered once",
    draws: Draws::Script,
    on: On::One,
    sees: &[],
    builds_on: &[],
};

pub(super) fn end_of_stream_stays(bench: &Bench<'_>) -> Judgement {
    let mut stopped = bench.stopped(bench.at()[0])?;
    for _ in 0..3 {
        let read = stopped.device.read_state(&mut [0; PEEK])?;
        if read != 0 {
            return Err(broken(
                "bytes came after the end of the stream",
                "after the end of the stream, a read gives no bytes",
                format!("a read gave {read} bytes"),
            ));
        }
    }
    Ok(())
}

pub(super) static RESET_IS_FRESH: Rule = Rule {
    id: "reset-is-fresh",
    cites: "R-7.6",
    level: Level::Must,
    promise: "a reset from any state leads to RUNNING with the state of a fresh instance",
    advice: "build the reset state where the start builds it, and end every session",
    draws: Draws::Walk,
    on: On::One,
    sees: &[Class::Reset],
    builds_on: &[],
};

pub(super) fn reset_is_fresh(bench: &Bench<'_>) -> Judgement {
    let (mut device, _outside) = bench.started()?;
    needs_reset(&*device)?;
    let options = device.capabilities().options;
    bench.play(&mut *device, 0..bench.at()[0])?;
    let to = bench.case.walk.iter().copied().find(|s| *s != State::Error && s.is_in(options));
    let to = to.unwrap_or(State::Running);
    device.set_state(to)?;
    device.reset()?;
    is_in(&mut *device, State::Running, &format!("reset in {to}, the device"))?;
    as_fresh(bench, &mut *device, bench.at()[0], &format!("after a reset in {to}"))
}

pub(super) static ESTIMATE_IS_SANE: Rule = Rule {
    id: "estimate-is-sane",
    cites: "R-7.7",
    level: Level::Should,
    promise: "an estimate of the state is given in every state, and is neither nothing nor out of all proportion",
    advice: "answer with what STOP_COPY would give now; a carrier decides by it when to stop the guest",
    draws: Draws::Script,
    on: On::One,
    sees: &[],
    builds_on: MOVES,
};

/// Maximum of a rough estimate: this many bytes, or this many times the size of the state, if that is more.
const ROUGH: (u64, u64) = (64 << 20, 1000);

pub(super) fn estimate_is_sane(bench: &Bench<'_>) -> Judgement {
    let (mut device, _outside) = bench.started()?;
    needs_own_machine(&*device)?;
    bench.play(&mut *device, 0..bench.at()[0])?;
    let first = device.estimate()?.ok_or(Stop::NotApplicable("the device gives no estimate".into()))?;
    device.set_state(State::Stop)?;
    let stopped = estimated(&mut *device)?;
    let state = bench.usual().save(&mut *device, None)?;
    // After the read, either the rest or the whole is a fine estimate.
    estimated(&mut *device)?;
    let len = state.len() as u64;
    let most = ROUGH.0.max(ROUGH.1 * len);
    for (estimate, at) in [(first, State::Running), (stopped, State::Stop)] {
        if (estimate == 0 && len != 0) || most < estimate {
            let what = format!("the estimate in {at} is of no use");
            let expected = format!("an estimate of about {len} bytes");
            return Err(broken(what, expected, format!("an estimate of {estimate} bytes")));
        }
    }
    Ok(())
}

fn estimated(device: &mut dyn Device) -> Result<u64, Stop> {
    let at = device.state()?;
    device.estimate()?.ok_or_else(|| {
        let expected = "an estimate of the state, as in RUNNING";
        broken(format!("there is no estimate in {at}"), expected, "the device gives none")
    })
}

pub(super) static RESET_FORGETS_A_LOAD: Rule = Rule {
    id: "reset-forgets-a-load",
    cites: "R-7.6",
    level: Level::Must,
    promise: "a device that was loaded and reset is as fresh as one that never was",
    advice: "let a load leave alone what a reset goes back to",
    draws: Draws::Script,
    on: On::One,
    sees: &[Class::Reset],
    builds_on: MOVES,
};

pub(super) fn reset_forgets_a_load(bench: &Bench<'_>) -> Judgement {
    let at = bench.at()[0];
    let stopped = bench.stopped(at)?;
    let mut device = bench.prepared(&stopped)?;
    needs_reset(&*device)?;
    needs(bench.load(&mut *device, &stopped.state)?.is_accepted(), "a correct state was refused")?;
    device.reset()?;
    as_fresh(bench, &mut *device, at, "after a load and a reset")
}
