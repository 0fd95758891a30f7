//! Loads of states that were damaged in transit.

use super::s6_load::{LOADS, continues};
use crate::bench::{Bench, Load, Stopped, needs};
use crate::case::Draws;
use crate::coverage::{Dimension, saw};
use crate::damage::reseal::reseal;
use crate::damage::{Damage, ROOM};
use crate::finding::{Class, Judgement, Stop, Who, broken, refused};
use crate::rule::{Level, On, Rule};
use migcert_core::device::{Device, Seen};

/// Memory that a load may use: at most this many bytes, plus this many for each byte that arrived.
const MEMORY: (u64, u64) = (16 << 20, 16);

pub(super) static DAMAGE_IS_CONSISTENT: Rule = Rule {
    id: "damage-is-consistent",
    cites: "R-6.4",
    level: Level::Must,
    promise: "a damaged state is refused, or loads to a device that is whole: it runs, saves and moves on",
    advice: "check every field against every other at load, as strictly as the registers do at write",
    draws: Draws::Damage,
    on: On::One,
    sees: &[Class::Refusal],
    builds_on: LOADS,
};

pub(super) fn damage_is_consistent(bench: &Bench<'_>) -> Judgement {
    each_accepted(bench, |changed| is_whole(bench, changed))
}

/// Judges each damaged state that is accepted.
fn each_accepted(bench: &Bench<'_>, judge: impl Fn(&Changed) -> Judgement) -> Judgement {
    each_damaged(bench, |device, changed, _| match changed.arrives(bench, device)? {
        Load::Accepted => judge(changed),
        Load::Refused(_) => Ok(()),
    })
}

/// Judges a device and the damaged state that it is to load. Forgeries are tried one by one, because one
/// would hide what another reaches.
fn each_damaged(
    bench: &Bench<'_>,
    judge: impl Fn(&mut dyn Device, &mut Changed, &[Damage]) -> Judgement,
) -> Judgement {
    let stopped = bench.stopped(bench.at()[0])?;
    let mut device = bench.prepared(&stopped)?;
    let damage = &bench.case.damage;
    let one_by_one = device.capabilities().can_reset && damage.iter().all(Damage::is_forged);
    let mut tried = false;
    for damage in damage.chunks(if one_by_one { 1 } else { damage.len().max(1) }) {
        let Some(state) = damaged(bench, &stopped.state, damage)? else { continue };
        tried = true;
        judge(&mut *device, &mut Changed { parcel: DAMAGED, before: stopped.state.clone(), state }, damage)?;
        if one_by_one {
            device.reset()?;
        }
    }
    needs(tried, WHOLE)
}

/// The damaged state in traces.
pub(super) const DAMAGED: &str = "a damaged state";

/// A state that was changed in transit.
pub(super) struct Changed {
    /// Its name in traces.
    pub(super) parcel: &'static str,
    /// As it was saved.
    pub(super) before: Vec<u8>,
    /// As it arrives.
    pub(super) state: Vec<u8>,
}

impl Changed {
    /// Loads it.
    pub(super) fn arrives(&self, bench: &Bench<'_>, device: &mut dyn Device) -> Result<Load, Stop> {
        bench.load_other(device, self.parcel, &self.state)
    }

    /// Loads it on a machine of its own, whose source did the same.
    ///
    /// # Errors
    /// [`Stop::NotApplicable`] if that source saves other bytes: these may name what the first one left on
    /// its host, and mean nothing there.
    pub(super) fn again(&self, bench: &Bench<'_>) -> Result<(Load, Box<dyn Device>, Stopped), Stop> {
        let stopped = bench.stopped(bench.at()[0])?;
        let is_anywhere = stopped.device.capabilities().interface.has_registers();
        needs(
            is_anywhere || stopped.state == self.before,
            "two sources that did the same save different bytes, and one means nothing on the host of the other",
        )?;
        let mut device = bench.prepared(&stopped)?;
        let load = self.arrives(bench, &mut *device)?;
        Ok((load, device, stopped))
    }
}

const WHOLE: &str = "the damage left a whole state";

/// A damaged state was accepted: then it means one thing.
fn is_whole(bench: &Bench<'_>, changed: &Changed) -> Judgement {
    let at = bench.at()[0];
    let accepted = || {
        let (load, device, stopped) = changed.again(bench)?;
        let twice = || {
            broken(
                "one damaged state, loaded twice, was accepted and then refused",
                "accepted or refused, each time",
                "accepted the first time and refused the second time",
            )
        };
        load.is_accepted().then_some((device, stopped)).ok_or_else(twice)
    };
    let (mut device, stopped) = accepted()?;
    bench.go_on(&mut *device, &stopped.memory)?;
    let direct: Vec<Seen> = bench.play(&mut *device, at..bench.case.script.len())?;
    bench.plausible(&*device, at, &direct)?;

    // Once more, with a second migration before the guest goes on.
    let (mut device, stopped) = accepted()?;
    let again = bench.usual().save(&mut *device, None)?;
    let setup = bench.plan()?.destination().clone();
    let mut second = bench.instance(Who::Second, bench.destination, &setup, &stopped.outside)?;
    if let Load::Refused(why) = bench.load(&mut *second, &again)? {
        return Err(refused(
            why,
            "by what was saved by a device that had accepted a damaged state",
            "the damaged state is refused at once, or what is saved after it is loaded",
        ));
    }
    bench.go_on(&mut *second, &stopped.memory)?;
    let seen = bench.play(&mut *second, at..bench.case.script.len())?;
    bench.plausible(&*second, at, &seen)?;
    bench.same("a damaged state means one thing now and another after one more migration", at, &direct, &seen)
}

/// A damaged state; `None` if it is whole, and so can't be distinguished from an intended one.
fn damaged(bench: &Bench<'_>, state: &[u8], damage: &[Damage]) -> Result<Option<Vec<u8>>, Stop> {
    let earlier = bench.earlier()?;
    let (mut damaged, mut room) = (state.to_vec(), ROOM);
    for damage in damage {
        bench.tell(|| format!("on its way: {damage} (of {} bytes)", damaged.len()));
        saw(Dimension::Fault, || damage.kind());
        damage.apply(&mut damaged, earlier, &mut room)?;
    }
    Ok((damaged != state && damaged != earlier).then_some(damaged))
}

/// The state with all of the damage of the case.
pub(super) fn damaged_by_all(bench: &Bench<'_>, stopped: &Stopped) -> Result<Vec<u8>, Stop> {
    damaged(bench, &stopped.state, &bench.case.damage)?.ok_or(Stop::NotApplicable(WHOLE.into()))
}

pub(super) static DAMAGE_IS_NOTICED: Rule = Rule {
    id: "damage-is-noticed",
    cites: "R-6.4",
    level: Level::Should,
    promise: "a damaged state is refused, or the guest can't tell",
    advice: "give every section a checksum",
    draws: Draws::Accident,
    on: On::One,
    sees: &[Class::Refusal],
    builds_on: LOADS,
};

pub(super) fn damage_is_noticed(bench: &Bench<'_>) -> Judgement {
    if bench.case.damage.iter().any(Damage::is_sealed) {
        let mut state = bench.stopped(bench.at()[0])?.state;
        needs(!reseal(&mut state), "no checksum notices damage that is sealed again")?;
    }
    each_accepted(bench, |changed| match changed.again(bench)? {
        (Load::Accepted, mut device, stopped) => {
            continues(bench, &mut *device, &stopped, "a damaged state was accepted, and the guest notices")
        }
        (Load::Refused(_), ..) => Ok(()),
    })
}

pub(super) static LOAD_IS_BOUNDED: Rule = Rule {
    id: "load-is-bounded",
    cites: "R-6.7",
    level: Level::Must,
    promise: "a load uses memory for the bytes that arrived, whatever lengths they claim",
    advice: "reserve nothing on the word of a length; grow with what is there",
    draws: Draws::Damage,
    on: On::One,
    sees: &[],
    builds_on: &[],
};

pub(super) fn load_is_bounded(bench: &Bench<'_>) -> Judgement {
    each_damaged(bench, |device, changed, damage| {
        if !damage.iter().all(Damage::is_forged) {
            claim_too_much(bench, &mut changed.state);
        }
        is_bounded(bench, device, &changed.state)
    })
}

/// Overwrites a drawn place with an impossible length.
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
    bench.will_measure(device)?;
    let used = allocation_counter::measure(|| loaded = bench.load_other(device, DAMAGED, state));
    loaded?;
    let used = used.bytes_max.max(device.footprint()?.unwrap_or(0));
    if used <= limit {
        return Ok(());
    }
    Err(broken(
        format!("a load of {} bytes used {used} bytes of memory", state.len()),
        format!("at most {limit} bytes of memory"),
        format!("{used} bytes of memory"),
    ))
}
