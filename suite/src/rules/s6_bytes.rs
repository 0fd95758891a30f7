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

mod values;
mod weigh;

use super::s6_move::MOVES;
use super::{Class, Draws, Judgement, Level, On, Rule, Stop, broken};
use crate::bench::{Bench, Who, needs};
use crate::guests;
use crate::learned::Masks;
use migcert_core::device::{Device, Interface, Outside, Seen, Step};
use migcert_core::error::Error;
use migcert_core::migrate::Plan;
use values::Acts;
use weigh::{Arrived, Carried};

/// Sets of values that must all arrive before a device is accused: a bit that is read by chance is as
/// written in all of them once in 256 times.
const VARIANTS: usize = 8;

/// A difference between two guests of which the same was carried must be seen so often in turns.
const TURNS: usize = 8;

pub(super) const STATE_IS_IN_THE_BYTES: Rule = Rule {
    id: "state-is-in-the-bytes",
    cites: "R-1.5",
    level: Level::Must,
    promise: "what a guest changed, and finds again after a migration, was in the bytes that were carried",
    advice: "write the state itself into the stream, not a path, a key or a number under which this host keeps it",
    draws: Draws::Script,
    on: On::One,
    sees: &[Class::ReadBack],
    builds_on: MOVES,
    check: state_is_in_the_bytes,
};

fn state_is_in_the_bytes(bench: &Bench<'_>) -> Judgement {
    let plan = bench.plan()?;
    let first = bench.started()?;
    let interface = first.0.capabilities().interface;
    needs(interface.has_registers(), "the guest has no registers to write")?;
    let acts = Acts::of(bench.case, &interface);
    needs(acts.writes(), "there is nothing that the guest can write")?;
    let trial = Trial { bench, plan, acts, interface };
    let (mut carried, mut arrived) = (Carried::default(), Arrived::default());
    let mut first = Some(first);
    for variant in 0..VARIANTS {
        let started = first.take().map_or_else(|| bench.started(), Ok)?;
        let moved = trial.moved(started, &trial.acts.script(variant), trial.acts.reads())?;
        arrived.add(trial.acts.written(variant), trial.acts.reads(), &moved.seen);
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
            return Ok(());
        }
    }
    // What a fresh device shows as well lies in something that it shares with all others.
    let outside = bench.outside()?;
    let mut fresh = bench.instance(Who::Fresh, bench.destination, trial.plan.destination(), &outside)?;
    arrived.forget_shown(trial.acts.reads(), &play(&mut *fresh, trial.acts.reads())?);
    let (came, fits) = (arrived.bits(), carried.bits());
    if came <= fits {
        return Ok(());
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
    acts: Acts,
    interface: Interface,
}

/// What came of one of them.
struct Moved {
    /// What was carried: the state, and what else comes along.
    parts: [Vec<u8>; 2],
    /// What a guest saw at the destination.
    seen: Vec<Seen>,
}

impl Trial<'_, '_> {
    /// Has a guest do some steps, moves it, and lets it look. The source stays until then.
    fn moved(
        &self,
        (mut source, _outside): (Box<dyn Device>, Outside),
        script: &[Step],
        look: &[Step],
    ) -> Result<Moved, Stop> {
        play(&mut *source, script)?;
        let state = self.bench.usual().save(&mut *source, None)?;
        let parts = [state, source.guest_memory()?];
        let mut device = self.loaded(&parts, &self.bench.outside()?)?;
        let seen = play(&mut *device, look)?;
        Ok(Moved { parts, seen })
    }

    /// A destination on another host side, which has what was carried and runs. That it needs the
    /// source's side, such as a disk, is no fault.
    fn loaded(&self, [state, memory]: &[Vec<u8>; 2], outside: &Outside) -> Result<Box<dyn Device>, Stop> {
        let Trial { bench, plan, .. } = self;
        let mut device = bench.instance(Who::Destination, bench.destination, plan.destination(), outside)?;
        let loaded = bench.usual().load(&mut *device, state);
        let running = loaded.map_err(Stop::from).and_then(|()| bench.go_on(&mut *device, memory));
        match running {
            Ok(()) => Ok(device),
            Err(Stop::Failed(_)) => Err(Stop::NotApplicable(
                "a destination that shares nothing with the source does not take the state".into(),
            )),
            Err(stop) => Err(stop),
        }
    }

    /// Where the same bytes were carried for guests that did different things, they find the same: by
    /// looking, and by doing what the script does.
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

    /// Two guests in turns: a difference after the same bytes that is there each time is no chance.
    fn tells_nothing(&self, scripts: [&[Step]; 2], look: &[Step]) -> Judgement {
        let Trial { bench, .. } = self;
        let mut same: Option<[Vec<u8>; 2]> = None;
        let mut rounds: Vec<[Vec<Seen>; 2]> = Vec::new();
        let mut place = 0;
        for _ in 0..TURNS {
            let mut round = [vec![], vec![]];
            for (script, seen) in scripts.iter().zip(&mut round) {
                let moved = self.moved(bench.started()?, script, look)?;
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

/// Does steps; what a device answers with an error was seen as such.
fn play(device: &mut dyn Device, steps: &[Step]) -> Result<Vec<Seen>, Error> {
    steps.iter().map(|step| device.guest(step)).collect()
}
