//! Chapter R-6: the state is in the bytes that a carrier moves, and nowhere else.
//!
//! A guest writes random values, the device is saved, and an instance that shares nothing with the source
//! loads the bytes. Whatever of the values can be read there came in the bytes, however they were packed:
//! so the bytes must differ in at least as many bits as arrive, from one set of values to the next. And
//! where the bytes are the same, what a guest finds must be the same, too.
//!
//! A few sets of values are enough: the second is the opposite of the first, so that each bit which arrives
//! was different, and so was the byte that it is in. Encrypted and compressed states, padding, another order
//! each time and a clock only add bits that differ. A device of which nothing can be read back, or nothing
//! but what a fresh one shows as well, is not judged.
//!
//! If a profile or an argument shares something between hosts, such as a disk, a guest may find there what
//! it wrote. Then the rule is broken only by what arrives if that is not shared, either.

mod values;
mod weigh;

use super::s6_move::MOVES;
use crate::bench::{Bench, Standing, cannot_start, needs};
use crate::case::Draws;
use crate::finding::{Class, Judgement, Stop, Who, broken};
use crate::guests;
use crate::learned::Masks;
use crate::rule::{Level, On, Rule};
use migcert_core::device::{Device, Interface, Outside, Seen, Step};
use migcert_core::error::Error;
use migcert_core::migrate::Plan;
use migcert_core::program::{Program, Share};
use migcert_core::version::Setup;
use values::Acts;
use weigh::{Arrived, Carried};

/// Number of sets of values that must all arrive before a device is accused: a bit that is read by chance is
/// as written in all of them once in 256 times.
const VARIANTS: usize = 8;

/// Number of turns in which a difference between two guests with the same carried bytes must be seen.
const TURNS: usize = 8;

pub(super) static STATE_IS_IN_THE_BYTES: Rule = Rule {
    id: "state-is-in-the-bytes",
    cites: "R-1.5",
    level: Level::Must,
    promise: "what a guest changed, and finds again after a migration, was in the bytes that were carried",
    advice: "write the state itself into the stream, not a path, a key or a number under which this host keeps it",
    draws: Draws::Script,
    on: On::One,
    sees: &[Class::ReadBack],
    builds_on: MOVES,
};

pub(super) fn state_is_in_the_bytes(bench: &Bench<'_>) -> Judgement {
    let (source, destination) = (&*bench.source.program, &*bench.destination.program);
    let judged = weighed(bench, [source, destination]);
    let mut shared = [source.shares(), destination.shares()].concat();
    if !matches!(judged, Err(Stop::Broken(_))) || shared.is_empty() {
        return judged.map(drop);
    }
    bench.found(judged.map(drop))?;
    // The state may be in what hosts share.
    shared.sort();
    shared.dedup();
    let shared = shared.join(", ");
    bench.tell(|| format!("the same where instances don't share {shared}"));
    let (source, destination) = match (source.apart(Share::Nothing), destination.apart(Share::Nothing)) {
        (Ok(source), Ok(destination)) => (source, destination),
        (Err(why), _) | (_, Err(why)) => {
            let why = format!("what guests find again may lie in what hosts share, {shared}: {why}");
            return Err(Stop::NotApplicable(why.into()));
        }
    };
    match weighed(bench, [&*source, &*destination])? {
        Arrives::Something => Ok(()),
        Arrives::Nothing => Err(Stop::NotApplicable(
            format!("what guests find again lies in what hosts share: {shared}").into(),
        )),
    }
}

/// Whether guests certainly read back what they wrote.
enum Arrives {
    Something,
    Nothing,
}

/// Weighs what arrives at instances of the second program against what those of the first one saved.
fn weighed(bench: &Bench<'_>, programs: [&dyn Program; 2]) -> Result<Arrives, Stop> {
    let plan = bench.plan()?;
    let [first, second] = programs;
    let source = bench.standing(Who::Source, bench.source, first);
    let first = started(&source, bench, &bench.case.setup)?;
    let interface = first.0.capabilities().interface;
    needs(interface.has_registers(), "the guest has no registers to write")?;
    let acts = Acts::of(bench.case, &interface);
    needs(acts.writes(), "there is nothing that the guest can write")?;
    let destination = bench.standing(Who::Destination, bench.destination, second);
    let fresh = bench.standing(Who::Fresh, bench.destination, second);
    let trial = Trial { bench, plan, source, destination, fresh, acts, interface };
    let mut first = Some(first);
    let (mut carried, mut arrived) = (Carried::default(), Arrived::default());
    let reads = trial.acts.reads();
    let so_far = |arrived: &Arrived| if arrived.is_sure() { Arrives::Something } else { Arrives::Nothing };
    for variant in 0..VARIANTS {
        let started = first.take().map_or_else(|| trial.started(), Ok)?;
        let moved = trial.moved(started, &trial.acts.script(variant), reads)?;
        arrived.add(trial.acts.written(variant), reads, &moved.seen);
        carried.add(moved.parts, arrived.most());
        if variant == 0 {
            continue;
        }
        if variant == 1 && carried.is_always_the_same() {
            trial.shows_the_same()?;
        }
        if arrived.is_sure() {
            bench.saw(Class::ReadBack);
        }
        if arrived.bits() <= carried.bits() {
            return Ok(so_far(&arrived));
        }
    }
    // What a fresh device shows, too, is in something that it shares with all others.
    let (mut fresh, _outside) = trial.fresh()?;
    arrived.forget_shown(reads, &play(&mut *fresh, reads)?);
    let (came, fits) = (arrived.bits(), carried.bits());
    if came <= fits {
        return Ok(so_far(&arrived));
    }
    Err(broken(
        format!(
            "{came} bits that guests wrote arrived, and only {fits} bits of what was carried ever differ"
        ),
        format!("at most {fits} bits arrive at destinations that share nothing with their sources"),
        format!("{came} bits arrive, as written in each of {VARIANTS} migrations, at {}", arrived.places()),
    ))
}

/// Migrations of one plan, each to a destination that shares nothing with its source.
struct Trial<'b, 'a> {
    bench: &'b Bench<'a>,
    plan: Plan,
    source: Standing<'b>,
    destination: Standing<'b>,
    fresh: Standing<'b>,
    acts: Acts,
    interface: Interface,
}

/// The result of one of them.
struct Moved {
    /// What was carried: the state, and what else comes along.
    parts: [Vec<u8>; 2],
    /// What a guest saw at the destination.
    seen: Vec<Seen>,
}

impl Trial<'_, '_> {
    /// A fresh source.
    fn started(&self) -> Result<Running, Stop> {
        started(&self.source, self.bench, &self.bench.case.setup)
    }

    /// Has a guest do some steps, moves it, and lets it look. The source is kept until then.
    fn moved(&self, (mut source, _outside): Running, script: &[Step], look: &[Step]) -> Result<Moved, Stop> {
        play(&mut *source, script)?;
        let state = self.bench.usual().save(&mut *source, None)?;
        let parts = [state, source.guest_memory()?];
        let (mut device, _other) = self.loaded(&parts)?;
        let seen = play(&mut *device, look)?;
        Ok(Moved { parts, seen })
    }

    /// An instance that never loads anything.
    fn fresh(&self) -> Result<Running, Stop> {
        started(&self.fresh, self.bench, self.plan.destination())
    }

    /// A destination on another host side, which has what was carried and runs. Needing the
    /// source's side, such as a disk, is not a fault.
    fn loaded(&self, [state, memory]: &[Vec<u8>; 2]) -> Result<Running, Stop> {
        let Trial { bench, plan, .. } = self;
        let (mut device, outside) = started(&self.destination, bench, plan.destination())?;
        let loaded = bench.usual().load(&mut *device, state);
        let running = loaded.map_err(Stop::from).and_then(|()| bench.go_on(&mut *device, memory));
        match running {
            Ok(()) => Ok((device, outside)),
            Err(Stop::Failed(_)) => Err(Stop::NotApplicable(
                "a destination that shares nothing with the source does not take the state".into(),
            )),
            Err(stop) => Err(stop),
        }
    }

    /// Guests that did different things, but with the same bytes carried, must see the same: by looking, and
    /// by playing the script.
    fn shows_the_same(&self) -> Judgement {
        let Trial { bench, acts, interface, .. } = self;
        let around = guests::of(interface).look_around();
        let mut look = [acts.reads(), &bench.case.script].concat();
        if !bench.case.script.ends_with(&around) {
            look.extend(around);
        }
        look.retain(|step| !interface.is_carried(step));
        self.tells_nothing([&acts.script(0), &acts.script(1)], &look)?;
        self.tells_nothing([&acts.sweep(0), &[Step::Pass(1)]], &look)
    }

    /// Moves two guests in turns: a difference after the same bytes that shows each time is not by chance.
    fn tells_nothing(&self, scripts: [&[Step]; 2], look: &[Step]) -> Judgement {
        let mut same: Option<[Vec<u8>; 2]> = None;
        let mut rounds: Vec<[Vec<Seen>; 2]> = Vec::new();
        let mut place = 0;
        for _ in 0..TURNS {
            let mut round = [vec![], vec![]];
            for (script, seen) in scripts.iter().zip(&mut round) {
                let moved = self.moved(self.started()?, script, look)?;
                *seen = moved.seen;
                if same.get_or_insert_with(|| moved.parts.clone()) != &moved.parts {
                    return Ok(());
                }
            }
            rounds.push(round);
            let told = (place..look.len()).find(|at| self.is_told(&rounds, look, *at));
            match told {
                Some(at) => place = at,
                None => return Ok(()),
            }
        }
        let [[one, other], ..] = &rounds[..] else { return Ok(()) };
        let words = guests::of(&self.interface).tell(&look[place]);
        Err(broken(
            format!("the same bytes were carried, and tell what the guest did before: {words}"),
            format!("{}, as after another guest of which the same was carried", other[place]),
            &one[place],
        ))
    }

    /// Whether a step has shown, each time, which of two guests there was.
    fn is_told(&self, rounds: &[[Vec<Seen>; 2]], look: &[Step], at: usize) -> bool {
        let Some([first, second]) = rounds.first() else { return false };
        let masks = Masks::of(&self.bench.source.learned, &self.bench.destination.learned);
        masks.difference(&look[at..=at], &first[at..=at], &second[at..=at]).is_some()
            && rounds.iter().all(|[one, other]| one[at] == first[at] && other[at] == second[at])
    }
}

/// An instance, and the host's side that it has for itself.
type Running = (Box<dyn Device>, Outside);

fn started(program: &dyn Program, bench: &Bench<'_>, setup: &Setup) -> Result<Running, Stop> {
    let outside = program.outside()?;
    let device = program.start(&bench.case.model, setup, &outside).map_err(cannot_start)?;
    Ok((device, outside))
}

/// Executes steps; an error that a device answers counts as seen.
fn play(device: &mut dyn Device, steps: &[Step]) -> Result<Vec<Seen>, Error> {
    steps.iter().map(|step| device.guest(step)).collect()
}
