//! Chapter R-6: loads of bytes that are not what was saved, and what is left after them.

use super::s5_check::CHECK_IS_SOUND;
use super::s6_move::{CHUNKING, TWIN_AFTER_LOAD};
use super::{Draws, Judgement, Level, On, Rule, Stop, broken};
use crate::bench::{Bench, Load, Stopped, Subject, needs, needs_reset};
use crate::generate::damage::Damage;
use crate::generate::reseal::reseal;
use migcert_core::device::{Device, Outside, Seen, State};
use migcert_core::version::Setup;

/// What a rule about loading builds on: a plain migration works, and so it does in pieces.
const LOADS: &[&Rule] = &[&CHECK_IS_SOUND, &TWIN_AFTER_LOAD, &CHUNKING];

/// States up to this many bytes are cut at every byte.
const SMALL: usize = 48;

/// A load may use so many bytes, and so many times the bytes that arrived.
const MEMORY: (u64, u64) = (16 << 20, 16);

pub(super) const CUT_IS_REFUSED: Rule = Rule {
    id: "cut-is-refused",
    cites: "R-6.4",
    level: Level::Must,
    promise: "a state that was cut short is refused, or nothing that mattered was missing",
    advice: "end the state with a mark that carries its length, and wait for it",
    draws: Draws::Damage,
    on: On::One,
    builds_on: LOADS,
    check: cut_is_refused,
};

fn cut_is_refused(bench: &Bench<'_>) -> Judgement {
    let stopped = bench.stopped(bench.at()[0])?;
    let len = stopped.state.len();
    needs(len != 0, "the state is empty")?;
    let mut cuts: Vec<usize> = if len <= SMALL { (0..len).collect() } else { vec![0, 1, len / 2, len - 1] };
    let mut places = bench.case.pieces.iter().map(|piece| *piece as usize % len);
    cuts.extend(places.by_ref().take(2));
    cuts.sort_unstable();
    cuts.dedup();
    let mut device = bench.prepared(&stopped)?;
    for keep in cuts {
        bench.tell(|| format!("only {keep} of {len} bytes arrive"));
        if bench.load(&mut *device, &stopped.state[..keep])? == Load::Accepted {
            let what = format!("a state cut to {keep} of {len} bytes was accepted");
            harmless(bench, &what, |state| state.truncate(keep))?;
        }
        device = bench.renewed(device, &stopped)?;
    }
    Ok(())
}

/// A changed state was accepted: then it must have changed nothing that a guest can see, on a
/// machine of its own.
fn harmless(bench: &Bench<'_>, what: &str, change: impl FnOnce(&mut Vec<u8>)) -> Judgement {
    let at = bench.at()[0];
    let mut stopped = bench.stopped(at)?;
    let mut device = bench.prepared(&stopped)?;
    change(&mut stopped.state);
    match bench.load(&mut *device, &stopped.state)? {
        Load::Accepted => continues(bench, &mut *device, &stopped, &format!("{what}, and the guest notices")),
        Load::Refused(why) => Err(broken(format!("{what}, and refused the second time"), "one verdict", why)),
    }
}

/// After a load the guest goes on as on the twin. The host's side is used up by it.
fn continues(bench: &Bench<'_>, device: &mut dyn Device, stopped: &Stopped, what: &str) -> Judgement {
    let at = bench.at()[0];
    bench.go_on(device, &stopped.memory)?;
    let seen = bench.play(device, at..bench.case.script.len())?;
    let twin = bench.twin()?;
    bench.same(what, at, &twin[at..], &seen)
}

pub(super) const EXTENSION_IS_HARMLESS: Rule = Rule {
    id: "extension-is-harmless",
    cites: "R-6.4",
    level: Level::Must,
    promise: "bytes after the end of a state are refused, or change nothing",
    advice: "stop reading at the end mark and refuse what follows it",
    draws: Draws::Damage,
    on: On::One,
    builds_on: LOADS,
    check: extension_is_harmless,
};

/// What is appended to a state: drawn bytes, or the state once more.
fn extensions(bench: &Bench<'_>, state: &[u8]) -> [Vec<u8>; 2] {
    let drawn = bench.case.pieces.iter().map(|piece| *piece as u8).chain([0]).collect();
    [drawn, state.to_vec()]
}

fn extension_is_harmless(bench: &Bench<'_>) -> Judgement {
    let stopped = bench.stopped(bench.at()[0])?;
    let mut device = bench.prepared(&stopped)?;
    for more in extensions(bench, &stopped.state) {
        bench.tell(|| format!("{} bytes follow the end", more.len()));
        if bench.load(&mut *device, &[&stopped.state[..], &more].concat())? == Load::Accepted {
            let what = format!("a state with {} bytes after its end was accepted", more.len());
            harmless(bench, &what, |state| state.extend(&more))?;
        }
        device = bench.renewed(device, &stopped)?;
    }
    Ok(())
}

pub(super) const EXTENSION_IS_REFUSED: Rule = Rule {
    id: "extension-is-refused",
    cites: "R-6.4",
    level: Level::Should,
    promise: "bytes after the end of a state are refused",
    advice: "stop reading at the end mark and refuse what follows it: it was meant for somebody",
    draws: Draws::Damage,
    on: On::One,
    builds_on: LOADS,
    check: extension_is_refused,
};

fn extension_is_refused(bench: &Bench<'_>) -> Judgement {
    let stopped = bench.stopped(bench.at()[0])?;
    let mut device = bench.prepared(&stopped)?;
    for more in extensions(bench, &stopped.state) {
        bench.tell(|| format!("{} bytes follow the end", more.len()));
        if bench.load(&mut *device, &[&stopped.state[..], &more].concat())? == Load::Accepted {
            let what = format!("{} bytes after the end of a state", more.len());
            return Err(broken(what, "refused", "accepted"));
        }
        device = bench.renewed(device, &stopped)?;
    }
    Ok(())
}

pub(super) const FOREIGN_IS_REFUSED: Rule = Rule {
    id: "foreign-is-refused",
    cites: "R-6.4",
    level: Level::Must,
    promise: "bytes that are no state of this model are refused, or the guest can't tell",
    advice: "begin the state with a magic, the model id and the format version, and compare them",
    draws: Draws::Damage,
    on: On::One,
    builds_on: LOADS,
    check: foreign_is_refused,
};

fn foreign_is_refused(bench: &Bench<'_>) -> Judgement {
    let stopped = bench.stopped(bench.at()[0])?;
    let len = stopped.state.len();
    needs(len != 0, "the state is empty")?;
    let mut device = bench.prepared(&stopped)?;
    let noise = (0..len).map(|i| (i as u32).wrapping_mul(0x9e37_79b9).to_be_bytes()[0]).collect();
    for (what, foreign) in [("zeros", vec![0; len]), ("ones", vec![0xff; len]), ("noise", noise)] {
        bench.tell(|| format!("{len} bytes of {what} come instead"));
        if bench.load(&mut *device, &foreign)? == Load::Accepted {
            let what = format!("{len} bytes of {what} were loaded as a state");
            harmless(bench, &what, |state| *state = foreign)?;
        }
        device = bench.renewed(device, &stopped)?;
    }
    Ok(())
}

pub(super) const DAMAGE_IS_CONSISTENT: Rule = Rule {
    id: "damage-is-consistent",
    cites: "R-6.4",
    level: Level::Must,
    promise: "a damaged state is refused, or loads to a device that is whole: it runs, saves and moves on",
    advice: "check every field against every other at load, as strictly as the registers do at write",
    draws: Draws::Damage,
    on: On::One,
    builds_on: LOADS,
    check: damage_is_consistent,
};

fn damage_is_consistent(bench: &Bench<'_>) -> Judgement {
    each_accepted(bench, |damage| is_whole(bench, damage))
}

/// Judges what of the damage is accepted.
fn each_accepted(bench: &Bench<'_>, judge: impl Fn(&[Damage]) -> Judgement) -> Judgement {
    each_damaged(bench, |device, state, damage| match bench.load(device, state)? {
        Load::Accepted => judge(damage),
        Load::Refused(_) => Ok(()),
    })
}

/// Judges a device and what it is to load. Forgeries are many, and tried one by one: what one of
/// them reaches, another would hide.
fn each_damaged(
    bench: &Bench<'_>,
    judge: impl Fn(&mut dyn Device, &mut [u8], &[Damage]) -> Judgement,
) -> Judgement {
    let stopped = bench.stopped(bench.at()[0])?;
    let earlier = bench.stopped(0)?.state;
    let mut device = bench.prepared(&stopped)?;
    let damage = &bench.case.damage;
    let one_by_one = device.capabilities().can_reset && damage.iter().all(Damage::is_forged);
    let mut tried = false;
    for damage in damage.chunks(if one_by_one { 1 } else { damage.len().max(1) }) {
        let Some(mut state) = damaged(bench, &stopped.state, &earlier, damage) else { continue };
        tried = true;
        judge(&mut *device, &mut state, damage)?;
        if one_by_one {
            device.reset()?;
        }
    }
    needs(tried, WHOLE)
}

const WHOLE: &str = "the damage left a whole state";

/// A damaged state was accepted: then it means one thing.
fn is_whole(bench: &Bench<'_>, damage: &[Damage]) -> Judgement {
    let at = bench.at()[0];
    let accepted = || {
        accepted_damage(bench, damage)?
            .ok_or_else(|| broken("one damaged state, loaded twice", "one verdict", "accepted, then refused"))
    };
    let (mut device, stopped) = accepted()?;
    bench.go_on(&mut *device, &stopped.memory)?;
    let direct: Vec<Seen> = bench.play(&mut *device, at..bench.case.script.len())?;
    bench.plausible(&*device, at, &direct)?;

    // Once more, with a second migration before the guest goes on.
    let (mut device, stopped) = accepted()?;
    let again = bench.usual().save(&mut *device, None)?;
    let setup = bench.plan()?.destination().clone();
    let mut second = bench.instance("a second destination", bench.destination, &setup, &stopped.outside)?;
    if let Load::Refused(why) = bench.load(&mut *second, &again)? {
        return Err(broken(
            "a damaged state was accepted, and what it saves is refused",
            "refused at once",
            why,
        ));
    }
    bench.go_on(&mut *second, &stopped.memory)?;
    let seen = bench.play(&mut *second, at..bench.case.script.len())?;
    bench.plausible(&*second, at, &seen)?;
    bench.same("a damaged state means one thing now and another after one more migration", at, &direct, &seen)
}

/// A damaged state. What is whole can't be told from what was meant.
fn damaged(bench: &Bench<'_>, state: &[u8], earlier: &[u8], damage: &[Damage]) -> Option<Vec<u8>> {
    let mut damaged = state.to_vec();
    for damage in damage {
        bench.tell(|| format!("on its way: {damage} (of {} bytes)", damaged.len()));
        damage.apply(&mut damaged, earlier);
    }
    (damaged != state && damaged != earlier).then_some(damaged)
}

/// The state with all of the damage of the case.
fn damaged_by_all(bench: &Bench<'_>, stopped: &Stopped) -> Result<Vec<u8>, Stop> {
    let earlier = bench.stopped(0)?.state;
    damaged(bench, &stopped.state, &earlier, &bench.case.damage).ok_or(Stop::NotApplicable(WHOLE))
}

/// A destination that accepted a damaged state, and where that came from.
type Accepted = (Box<dyn Device>, Stopped);

/// What became of a damaged state; `None` if it was refused.
fn accepted_damage(bench: &Bench<'_>, damage: &[Damage]) -> Result<Option<Accepted>, Stop> {
    let stopped = bench.stopped(bench.at()[0])?;
    let earlier = bench.stopped(0)?.state;
    let Some(state) = damaged(bench, &stopped.state, &earlier, damage) else { return Ok(None) };
    let mut device = bench.prepared(&stopped)?;
    let accepted = bench.load(&mut *device, &state)? == Load::Accepted;
    Ok(accepted.then_some((device, stopped)))
}

pub(super) const DAMAGE_IS_NOTICED: Rule = Rule {
    id: "damage-is-noticed",
    cites: "R-6.4",
    level: Level::Should,
    promise: "a damaged state is refused, or the guest can't tell",
    advice: "give every section a checksum",
    draws: Draws::Damage,
    on: On::One,
    builds_on: LOADS,
    check: damage_is_noticed,
};

fn damage_is_noticed(bench: &Bench<'_>) -> Judgement {
    if bench.case.damage.iter().any(Damage::is_sealed) {
        let mut state = bench.stopped(bench.at()[0])?.state;
        needs(!reseal(&mut state), "no checksum notices damage that is sealed again")?;
    }
    each_accepted(bench, |damage| match accepted_damage(bench, damage)? {
        Some((mut device, stopped)) => {
            continues(bench, &mut *device, &stopped, "a damaged state was accepted, and the guest notices")
        }
        None => Ok(()),
    })
}

pub(super) const REFUSAL_DOES_NOT_RUN: Rule = Rule {
    id: "refusal-does-not-run",
    cites: "R-6.3",
    level: Level::Must,
    promise: "a destination that refused a state is not running",
    advice: "stay in RESUMING or go to ERROR when a load fails",
    draws: Draws::Damage,
    on: On::One,
    builds_on: LOADS,
    check: refusal_does_not_run,
};

fn refusal_does_not_run(bench: &Bench<'_>) -> Judgement {
    let (device, _, _) = &mut refused(bench)?;
    let state = device.state()?;
    if state.runs() {
        return Err(broken("a destination runs after it refused a state", "RESUMING, STOP or ERROR", state));
    }
    Ok(())
}

/// A destination that refused a damaged state, the words, and what was saved.
fn refused(bench: &Bench<'_>) -> Result<(Box<dyn Device>, String, Stopped), Stop> {
    let stopped = bench.stopped(bench.at()[0])?;
    let state = damaged_by_all(bench, &stopped)?;
    let mut device = bench.prepared(&stopped)?;
    match bench.load(&mut *device, &state)? {
        Load::Refused(why) => Ok((device, why, stopped)),
        Load::Accepted => Err(Stop::NotApplicable("the damaged state was accepted")),
    }
}

pub(super) const REFUSAL_LEAVES_NOTHING: Rule = Rule {
    id: "refusal-leaves-nothing",
    cites: "R-6.4",
    level: Level::Must,
    promise: "a state that was refused is not half applied: after a reset the device is as fresh",
    advice: "decode to the side, and swap in whole what was judged whole",
    draws: Draws::Damage,
    on: On::One,
    builds_on: LOADS,
    check: refusal_leaves_nothing,
};

fn refusal_leaves_nothing(bench: &Bench<'_>) -> Judgement {
    let (mut device, _, _stopped) = refused(bench)?;
    needs_reset(&*device)?;
    device.reset()?;
    as_fresh(bench, &mut *device, bench.at()[0], "after a refused state and a reset")
}

/// A reset device shows what a fresh one does, on a host side with the same past: so many steps
/// of the script.
pub(super) fn as_fresh(bench: &Bench<'_>, device: &mut dyn Device, past: usize, what: &str) -> Judgement {
    // Whether a reset comes before or after something that is in flight is up to the device.
    needs(!bench.leaves_in_flight(device, past), "requests are in flight at the reset")?;
    let outside = bench.outside()?;
    let _before = stopped_after(bench, bench.source, &bench.case.setup, &outside, past)?;
    let mut fresh = bench.instance("a fresh device", bench.source, &bench.case.setup, &outside)?;
    let expected = bench.play(&mut *fresh, 0..bench.case.script.len())?;
    let seen = bench.play(device, 0..bench.case.script.len())?;
    bench.same(what, 0, &expected, &seen)
}

/// An instance that did so many steps of the script and was stopped: what it owes the host's side
/// is there.
fn stopped_after(
    bench: &Bench<'_>,
    subject: &Subject,
    setup: &Setup,
    outside: &Outside,
    past: usize,
) -> Result<Box<dyn Device>, Stop> {
    let mut device = bench.instance("an earlier device", subject, setup, outside)?;
    bench.play(&mut *device, 0..past)?;
    device.set_state(State::Stop)?;
    Ok(device)
}

pub(super) const REFUSAL_CAN_BE_RETRIED: Rule = Rule {
    id: "refusal-can-be-retried",
    cites: "R-6.3",
    level: Level::Must,
    promise: "after a refused state the instance can be reset and used for a correct one",
    advice: "let a reset end the failed session and everything that belongs to it",
    draws: Draws::Damage,
    on: On::One,
    builds_on: LOADS,
    check: refusal_can_be_retried,
};

fn refusal_can_be_retried(bench: &Bench<'_>) -> Judgement {
    let (mut device, _, stopped) = refused(bench)?;
    needs_reset(&*device)?;
    device.reset()?;
    match bench.load(&mut *device, &stopped.state)? {
        Load::Accepted => {
            continues(bench, &mut *device, &stopped, "loaded after a refused state and a reset")
        }
        Load::Refused(why) => {
            Err(broken("a correct state was refused after a damaged one and a reset", "accepted", why))
        }
    }
}

pub(super) const LOAD_REPLACES_ALL: Rule = Rule {
    id: "load-replaces-all",
    cites: "R-6.4",
    level: Level::Must,
    promise: "a load replaces everything: an instance that was used before keeps nothing of it",
    advice: "build the new state from nothing instead of merging it into the old one",
    draws: Draws::Script,
    on: On::One,
    builds_on: LOADS,
    check: load_replaces_all,
};

fn load_replaces_all(bench: &Bench<'_>) -> Judgement {
    let at = bench.at()[0];
    let len = bench.case.script.len();
    let setup = bench.plan()?.destination().clone();
    // Its earlier use is the past of the host's side, for the twin as well.
    let used = |outside: &Outside| stopped_after(bench, bench.destination, &setup, outside, len);
    let outside = bench.outside()?;
    let mut device = used(&outside)?;
    needs(device.capabilities().interface.has_registers(), "an earlier use would change the host's side")?;
    let mut source = bench.instance("the source", bench.source, &bench.case.setup, &outside)?;
    bench.play(&mut *source, 0..at)?;
    let state = bench.usual().save(&mut *source, None)?;
    if let Load::Refused(why) = bench.load(&mut *device, &state)? {
        let what = "a correct state was refused by an instance that was used before";
        return Err(broken(what, "accepted", why));
    }
    bench.go_on(&mut *device, &source.guest_memory()?)?;
    let seen = bench.play(&mut *device, at..len)?;
    let outside = bench.outside()?;
    let _before = used(&outside)?;
    let mut twin = bench.instance("the twin", bench.source, &bench.case.setup, &outside)?;
    let expected = bench.play(&mut *twin, 0..len)?;
    bench.same("loaded into an instance that was used before", at, &expected[at..], &seen)
}

pub(super) const LOAD_IS_BOUNDED: Rule = Rule {
    id: "load-is-bounded",
    cites: "R-6.7",
    level: Level::Must,
    promise: "a load uses memory for the bytes that arrived, whatever lengths they claim",
    advice: "reserve nothing on the word of a length; grow with what is there",
    draws: Draws::Damage,
    on: On::One,
    builds_on: &[],
    check: load_is_bounded,
};

fn load_is_bounded(bench: &Bench<'_>) -> Judgement {
    each_damaged(bench, |device, state, damage| {
        if !damage.iter().all(Damage::is_forged) {
            claim_too_much(bench, state);
        }
        is_bounded(bench, device, state)
    })
}

/// Overwrites a drawn place with a length that can't be true.
fn claim_too_much(bench: &Bench<'_>, state: &mut [u8]) {
    let at = bench.case.pieces.first().map_or(0, |piece| *piece as usize % state.len().max(1));
    state.iter_mut().skip(at).take(4).for_each(|byte| *byte = 0x7f);
    if bench.case.damage.iter().any(Damage::is_sealed) {
        reseal(state);
    }
}

fn is_bounded(bench: &Bench<'_>, device: &mut dyn Device, state: &[u8]) -> Judgement {
    let limit = MEMORY.0 + MEMORY.1 * state.len() as u64;
    let mut loaded = Ok(Load::Accepted);
    let used = allocation_counter::measure(|| loaded = bench.load(device, state));
    loaded?;
    let used = used.bytes_max.max(device.footprint()?.unwrap_or(0));
    if used <= limit {
        return Ok(());
    }
    Err(broken(
        format!("a load of {} bytes used {used} bytes of memory", state.len()),
        format!("at most {limit} bytes"),
        used,
    ))
}
