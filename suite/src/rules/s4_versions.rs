//! Chapter R-4: versions, and refusing what is not supported.

use super::s6_move::MOVES;
use crate::bench::{Bench, needs};
use crate::case::Draws;
use crate::finding::{Class, Judgement, Stop, Who, broken, not_started};
use crate::generate::setup;
use crate::rule::{Level, On, Rule};
use crate::subject::Subject;
use arbitrary::Unstructured;
use migcert_core::device::Outside;
use migcert_core::error::{Error, Refusal};
use migcert_core::migrate::Plan;
use migcert_core::model::ModelId;
use migcert_core::program::{Model, Program};
use migcert_core::version::Setup;

pub(super) static LATEST_STARTS: Rule = Rule {
    id: "latest-starts",
    cites: "R-4.4",
    level: Level::Must,
    promise: "the latest configuration of every model can be instantiated",
    advice: "start the program with the configuration that its description calls latest",
    draws: Draws::Nothing,
    on: On::One,
    sees: &[],
    builds_on: &[],
};

pub(super) fn latest_starts(bench: &Bench<'_>) -> Judgement {
    for (id, model) in &bench.source.manifest.models {
        let outside = bench.outside()?;
        starts(bench, id, &model.latest(), &outside)?;
    }
    Ok(())
}

fn starts(bench: &Bench<'_>, id: &ModelId, setup: &Setup, outside: &Outside) -> Judgement {
    let started = bench.named(Who::Device, bench.source).start(id, setup, outside);
    let named = || format!("with `{setup}`, which is described");
    started.map(drop).map_err(|why| not_started(why, named()))
}

pub(super) static VERSIONS_START: Rule = Rule {
    id: "versions-start",
    cites: "R-4.1",
    level: Level::Must,
    promise: "every version that is described can be instantiated",
    advice: "start the program with each version of its description",
    draws: Draws::Nothing,
    on: On::One,
    sees: &[],
    builds_on: &[],
};

pub(super) fn versions_start(bench: &Bench<'_>) -> Judgement {
    let mut any = false;
    for (id, model) in &bench.source.manifest.models {
        let setups: Vec<Setup> = match model {
            Model::Versions(versions) => versions.strings().iter().cloned().map(Setup::Version).collect(),
            Model::Params(params) => params.versions.values().cloned().map(Setup::Params).collect(),
        };
        for setup in setups {
            any = true;
            let outside = bench.outside()?;
            starts(bench, id, &setup, &outside)?;
        }
    }
    needs(any, "no versions are described")
}

pub(super) static VERSION_MEANS_THE_SAME: Rule = Rule {
    id: "version-means-the-same",
    cites: "R-4.2",
    level: Level::Must,
    promise: "two implementations that know a version of a model expand it to the same configuration",
    advice: "never change what a published version means; publish a new one",
    draws: Draws::Nothing,
    on: On::Two,
    sees: &[],
    builds_on: &[],
};

pub(super) fn version_means_the_same(bench: &Bench<'_>) -> Judgement {
    let mut any = false;
    for (id, model) in &bench.source.manifest.models {
        let other = bench.destination.manifest.models.get(id);
        let (Model::Params(here), Some(Model::Params(there))) = (model, other) else { continue };
        for (version, full) in &here.versions {
            let Some(other) = there.versions.get(version) else { continue };
            any = true;
            if !here.parameter_list(full).means_the_same(&there.parameter_list(other)) {
                let [ours, theirs] = [full, other].map(|full| Setup::Params(full.clone()));
                return Err(broken(
                    format!("version `{version}` of `{id}` means two things"),
                    format!("`{ours}`, as {} has it", bench.source.name),
                    format!("`{theirs}` in {}", bench.destination.name),
                ));
            }
        }
    }
    needs(any, "no version is known to both")
}

pub(super) static UNSUPPORTED_IS_REFUSED: Rule = Rule {
    id: "unsupported-is-refused",
    cites: "R-4.3",
    level: Level::Must,
    promise: "an instance of an unknown version, parameter or value is not created",
    advice: "check every option at start and exit with an error before anything runs",
    draws: Draws::Script,
    on: On::One,
    sees: &[],
    builds_on: &[],
};

pub(super) fn unsupported_is_refused(bench: &Bench<'_>) -> Judgement {
    refusal(bench).map(drop)
}

/// Starts with something that is not supported; returns the words of the refusal, and the culprit.
fn refusal(bench: &Bench<'_>) -> Result<(String, String), Stop> {
    let dna: Vec<u8> = bench.case.pieces.iter().flat_map(|piece| piece.to_le_bytes()).collect();
    let drawn = setup::unsupported(&mut Unstructured::new(&dna), bench.model()?);
    let Ok((setup, culprit)) = drawn else {
        return Err(Stop::NotApplicable("nothing is unsupported".into()));
    };
    let outside = bench.outside()?;
    match bench.start(Who::Device, bench.source, &setup, &outside) {
        Err(Error::Refused(Refusal::NotAsked(_))) => Err(Stop::NotApplicable(
            "the program can't be asked for what its profile does not describe".into(),
        )),
        Err(Error::Refused(why)) => Ok((in_words(&why), culprit)),
        Err(why) => Err(why.into()),
        Ok(_) => Err(broken(
            format!("`{culprit}` is not supported and was not refused"),
            format!("`{setup}` is refused at start"),
            "an instance that is RUNNING",
        )),
    }
}

/// A refusal with all that the program printed.
fn in_words(why: &Refusal) -> String {
    let printed = match why {
        Refusal::Ended { words, .. } => words.lines(),
        _ => &[],
    };
    let printed = printed.iter().map(|line| line.text.as_str());
    [why.to_string().as_str()].into_iter().chain(printed).collect::<Vec<_>>().join("\n")
}

pub(super) static CULPRIT_IS_NAMED: Rule = Rule {
    id: "culprit-is-named",
    cites: "R-4.3",
    level: Level::Should,
    promise: "the error of a refused start names the version, parameter or value that is to blame",
    advice: "write the name of the option that is refused into the message",
    draws: Draws::Script,
    on: On::One,
    sees: &[],
    builds_on: &[],
};

pub(super) fn culprit_is_named(bench: &Bench<'_>) -> Judgement {
    let (words, culprit) = match refusal(bench) {
        Err(Stop::Broken(_) | Stop::Failed(_)) => {
            return Err(Stop::NotApplicable("it was not refused".into()));
        }
        other => other?,
    };
    if words.contains(&culprit) {
        return Ok(());
    }
    Err(broken("a refusal does not say what is to blame", format!("an error that names `{culprit}`"), words))
}

pub(super) static OLD_LEVEL_IS_KEPT: Rule = Rule {
    id: "old-level-is-kept",
    cites: "R-4.5",
    level: Level::Must,
    promise: "an old state goes on in a new implementation at the old level, and can be rolled back",
    advice: "save at the level of the instance's configuration, not at that of the program",
    draws: Draws::Script,
    on: On::Two,
    sees: &[Class::Migration],
    builds_on: MOVES,
};

pub(super) fn old_level_is_kept(bench: &Bench<'_>) -> Judgement {
    let there = plan(bench, bench.source, &bench.case.setup, bench.destination)?;
    let back = plan(bench, bench.destination, there.destination(), bench.source)?;
    let twin = bench.twin()?;
    let [first, second] = bench.at();
    let (mut device, outside) = bench.started()?;
    bench.play(&mut *device, 0..first)?;
    let mut device = bench.migrate(device, there, bench.destination, &outside, None)?;
    let seen = bench.play(&mut *device, first..second)?;
    bench.same("after the upgrade", first, &twin[first..], &seen)?;
    let mut device = bench.migrate(device, back, bench.source, &outside, None)?;
    let seen = bench.play(&mut *device, second..twin.len())?;
    bench.same("after the roll-back", second, &twin[second..], &seen)
}

/// The migration from one to the other, if the check allows it.
fn plan(bench: &Bench<'_>, from: &Subject, setup: &Setup, to: &Subject) -> Result<Plan, Stop> {
    let refused = || Stop::NotApplicable("the check refuses this pair".into());
    let model = from.manifest.models.get(&bench.case.model).ok_or_else(refused)?;
    Plan::new(&bench.case.model, model, setup, &to.manifest).map_err(|_| refused())
}
