//! Tests by experiment whether anything that a guest does shows, before and after a migration.
//!
//! A device that answers every read with the same value, with the place that was read or with an
//! error passes every comparison with a twin. So something must differ: an instance whose guest did
//! something, and one whose guest did nothing, must show something else later. What also differs
//! between two instances whose guests did the same is noise and does not count.

use crate::bench::Bench;
use crate::case::Case;
use crate::certificate::{Inert, Missing};
use crate::deadline::{self, Timed};
use crate::finding::Who;
use crate::generate::script;
use crate::guests;
use crate::subject::Subject;
use arbitrary::Unstructured;
use migcert_core::device::{Device, Interface, Outside, Seen, State, Step};
use migcert_core::error::Error;
use migcert_core::migrate::Carrier;
use migcert_core::model::ModelId;
use migcert_core::program::Model;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

/// Maximum number of scripts tried for each half.
const SCRIPTS: u64 = 24;
/// Stop after this many scripts that ended with an error: each may take its whole time limit, and rules
/// judge what is broken.
const PATIENCE: usize = 3;
/// Number of bytes that a script is drawn from: scripts are long, so that some step of them shows.
const DNA: usize = 2048;

/// The models of a subject on which no guest has influence. Models that can't be started are left to
/// the rules about starting. Stops at `until`.
pub fn inert(subject: &Subject, until: Option<Instant>) -> Vec<Inert> {
    let missing = |(id, model): (&ModelId, &Model)| {
        let case = Case::plain(&subject.name, id, model.latest());
        let bench = Bench::new(&case, subject, subject);
        let probe = Probe { bench: &bench, pause: Cell::new(Duration::ZERO) };
        let missing = match deadline::until(until, || probe.missing()) {
            Timed::Whole(Ok(missing)) => missing?,
            Timed::Whole(Err(Error::Refused(_))) => return None,
            Timed::Whole(Err(why)) => Missing::Untried(why.to_string()),
            Timed::Cut => Missing::Untried(deadline::UP.to_owned()),
        };
        Some(Inert { model: id.to_string(), missing })
    };
    subject.manifest.models.iter().filter_map(missing).collect()
}

/// Experiments with one model.
struct Probe<'a> {
    bench: &'a Bench<'a>,
    /// Duration of the guest that does something: the one that does nothing waits as long, so that a clock
    /// shows both the same.
    pause: Cell<Duration>,
}

/// Whether the device moves between what a guest does and what it sees.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moves {
    No,
    Yes,
}

/// A guest's script, and the steps by which it looks around later.
struct Acts {
    script: Vec<Step>,
    look: Vec<Step>,
}

impl Acts {
    /// The first guest only looks around, which uses everything, too.
    fn of(interface: &Interface, index: u64) -> Acts {
        let mut guest = guests::of(interface);
        let mut dna = [0; DNA];
        ChaCha8Rng::seed_from_u64(index).fill_bytes(&mut dna);
        let drawn = script::script(&mut Unstructured::new(&dna), &mut *guest).unwrap_or_default();
        let mut look = guest.look_around();
        look.retain(|step| !interface.is_carried(step));
        Acts { script: if index == 0 { look.clone() } else { drawn }, look }
    }
}

impl Probe<'_> {
    /// Which influence is missing.
    ///
    /// # Errors
    /// Why an instance can't be started.
    fn missing(&self) -> Result<Option<Missing>, Error> {
        let interface = self.start(Who::Device, &self.outside()?)?.capabilities().interface;
        let mut first = 0;
        for (moves, missing) in [(Moves::No, Missing::Everywhere), (Moves::Yes, Missing::AfterMigration)] {
            // What showed before a migration is likely to show after it.
            let order = std::iter::once(first).chain((0..SCRIPTS).filter(|index| *index != first));
            match self.first_that_shows(&interface, order, moves) {
                Ok(Some(index)) => first = index,
                Ok(None) => return Ok(Some(missing)),
                Err(why) => return Ok(Some(Missing::Untried(why.to_string()))),
            }
        }
        Ok(None)
    }

    /// The first of some scripts that shows.
    ///
    /// # Errors
    /// The last error, if none shows.
    fn first_that_shows(
        &self,
        interface: &Interface,
        order: impl Iterator<Item = u64>,
        moves: Moves,
    ) -> Result<Option<u64>, Error> {
        let mut failed = Vec::new();
        for index in order {
            match self.shows(&Acts::of(interface, index), moves) {
                Ok(true) => return Ok(Some(index)),
                Ok(false) => {}
                Err(why) => failed.push(why),
            }
            if failed.len() == PATIENCE {
                break;
            }
        }
        failed.pop().map_or(Ok(None), Err)
    }

    /// Whether what a guest sees shows what it did before.
    fn shows(&self, acts: &Acts, moves: Moves) -> Result<bool, Error> {
        let acted = || self.seen(&acts.script, &acts.look, moves);
        let idle = || self.seen(&[], &acts.look, moves);
        let (with, without) = (acted()?, idle()?);
        if with == without {
            return Ok(false);
        }
        let (with_again, without_again) = (acted()?, idle()?);
        let mut places = with.iter().zip(&with_again).zip(without.iter().zip(&without_again));
        Ok(places.any(|((with, with_again), (without, without_again))| {
            with == with_again && without == without_again && with != without
        }))
    }

    /// What a guest sees that looks around after a script.
    fn seen(&self, script: &[Step], look: &[Step], moves: Moves) -> Result<Vec<Seen>, Error> {
        let outside = self.outside()?;
        let mut device = self.start(Who::Source, &outside)?;
        let began = Instant::now();
        if script.is_empty() {
            thread::sleep(self.pause.get());
        } else {
            play(&mut *device, script)?;
            self.pause.set(began.elapsed());
        }
        if moves == Moves::No {
            return play(&mut *device, look);
        }
        let carrier = Carrier::default();
        let state = carrier.save(&mut *device, None)?;
        let memory = device.guest_memory()?;
        let mut there = self.start(Who::Destination, &outside)?;
        carrier.load(&mut *there, &state)?;
        there.set_guest_memory(&memory)?;
        there.set_state(State::Running)?;
        play(&mut *there, look)
    }

    fn outside(&self) -> Result<Outside, Error> {
        self.bench.source.program.outside()
    }

    fn start(&self, who: Who, outside: &Outside) -> Result<Box<dyn Device>, Error> {
        self.bench.start(who, self.bench.source, &self.bench.case.setup, outside)
    }
}

/// Executes steps; a step that the device refuses shows nothing.
fn play(device: &mut dyn Device, steps: &[Step]) -> Result<Vec<Seen>, Error> {
    let step = |step| match device.guest(step) {
        Err(Error::Refused(_)) => Ok(Seen::default()),
        seen => seen,
    };
    steps.iter().map(step).collect()
}
