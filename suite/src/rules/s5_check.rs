//! Chapter R-5: the check is right, in both directions, and disturbs nothing.

use crate::bench::{Bench, Load, needs};
use crate::case::Draws;
use crate::finding::{Judgement, Stop, Who, broken, refused};
use crate::rule::{Level, On, Rule};
use migcert_core::compat::{self, Reason};
use migcert_core::error::Error;
use migcert_core::program::{Model, Program};
use migcert_core::version::Setup;

pub(super) static CHECK_IS_SOUND: Rule = Rule {
    id: "check-is-sound",
    cites: "R-5.4",
    level: Level::Must,
    promise: "where the check says compatible, the destination starts and loads",
    advice: "correct the description, or make the program do what it describes",
    draws: Draws::Script,
    on: On::Any,
    sees: &[],
    builds_on: &[],
};

pub(super) fn check_is_sound(bench: &Bench<'_>) -> Judgement {
    bench.at().into_iter().try_for_each(|at| loads_at(bench, at))
}

fn loads_at(bench: &Bench<'_>, at: usize) -> Judgement {
    let plan = bench.plan()?;
    let stopped = bench.stopped(at)?;
    let setup = plan.destination();
    let started = bench.start(Who::Destination, bench.destination, setup, &stopped.outside);
    let mut device =
        started.map_err(|why| refused(why, "though the check said yes", format!("`{setup}` starts")))?;
    match bench.load_by(&bench.usual(), &mut *device, &stopped.state)? {
        Load::Accepted => Ok(()),
        Load::Refused(why) => Err(refused(why, "though the check said yes", "the state is loaded")),
    }
}

pub(super) static CHECK_IS_COMPLETE: Rule = Rule {
    id: "check-is-complete",
    cites: "R-5.2",
    level: Level::Should,
    promise: "where the check says incompatible, the destination refuses, at start or at load",
    advice: "the description promises less than the program keeps, or the program loads what it must not",
    draws: Draws::Script,
    on: On::Two,
    sees: &[],
    builds_on: &[],
};

pub(super) fn check_is_complete(bench: &Bench<'_>) -> Judgement {
    let Err(verdict) = bench.verdict()? else {
        return Err(Stop::NotApplicable("the pair is compatible".into()));
    };
    if verdict.0.iter().all(|reason| matches!(reason, Reason::OffValueDiffers { .. })) {
        return Err(Stop::NotApplicable("no destination knows what a source leaves out".into()));
    }
    let stopped = bench.stopped(bench.at()[0])?;
    let setup = nearest(bench)?;
    let mut device = match bench.start(Who::Destination, bench.destination, &setup, &stopped.outside) {
        Ok(device) => device,
        Err(Error::Refused(_)) => return Ok(()),
        Err(why) => return Err(why.into()),
    };
    match bench.load(&mut *device, &stopped.state)? {
        Load::Refused(_) => Ok(()),
        Load::Accepted => Err(broken(
            "the check said no and the destination loaded the state",
            format!("a refusal, as {verdict}"),
            "it was accepted",
        )),
    }
}

/// The setup that the destination would start with if the check had accepted.
fn nearest(bench: &Bench<'_>) -> Result<Setup, Stop> {
    let there = bench.destination.manifest.models.get(&bench.case.model);
    Ok(match (bench.model()?, &bench.case.setup, there) {
        (Model::Params(here), Setup::Params(full), Some(Model::Params(there))) => {
            Setup::Params(compat::destination(&here.parameter_list(full), there))
        }
        (_, setup, _) => setup.clone(),
    })
}

pub(super) static CHECK_DISTURBS_NOTHING: Rule = Rule {
    id: "check-disturbs-nothing",
    cites: "R-5.3",
    level: Level::Must,
    promise: "asking for the description leaves running instances alone",
    advice: "describe without opening the device or its files",
    draws: Draws::Script,
    on: On::One,
    sees: &[],
    builds_on: &[],
};

pub(super) fn check_disturbs_nothing(bench: &Bench<'_>) -> Judgement {
    let twin = bench.twin()?;
    let at = bench.at()[0];
    let (mut device, _outside) = bench.started()?;
    bench.play(&mut *device, 0..at)?;
    bench.tell(|| "the description is asked for".to_owned());
    bench.named(Who::Program, bench.source).describe()?;
    let seen = bench.play(&mut *device, at..twin.len())?;
    bench.same("after the description was asked for", at, &twin[at..], &seen)?;
    needs(!twin.is_empty(), "the guest does nothing")
}
