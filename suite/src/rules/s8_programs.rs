//! Chapter R-8: device programs and their descriptions.

use crate::bench::{Bench, Recipe, needs};
use crate::case::Draws;
use crate::finding::{Judgement, Stop, Who, broken, not_started};
use crate::rule::{Level, On, Rule};
use migcert_core::program::{Model, Program};
use migcert_core::version::Setup;

pub(super) static DESCRIPTION_IS_STABLE: Rule = Rule {
    id: "description-is-stable",
    cites: "R-8.3",
    level: Level::Must,
    promise: "asked again on the same host, the description is the same",
    advice: "describe the program, not the moment: no probing, no counters, no load",
    draws: Draws::Nothing,
    on: On::One,
    sees: &[],
    builds_on: &[],
};

pub(super) fn description_is_stable(bench: &Bench<'_>) -> Judgement {
    for _ in 0..3 {
        let again = bench.named(Who::Program, bench.source).describe()?;
        if again != bench.source.manifest {
            return Err(broken(
                "the description changed",
                format!("{:?}", bench.source.manifest),
                format!("{again:?}"),
            ));
        }
    }
    Ok(())
}

pub(super) static ALLOWED_STARTS: Rule = Rule {
    id: "allowed-starts",
    cites: "R-8.3",
    level: Level::Must,
    promise: "every configuration that the description allows can be started",
    advice: "take out of the description what the program refuses, or put it under `requires`",
    draws: Draws::Setup,
    on: On::One,
    sees: &[],
    builds_on: &[],
};

pub(super) fn allowed_starts(bench: &Bench<'_>) -> Judgement {
    let outside = bench.outside()?;
    match bench.start(Who::Device, bench.source, &bench.case.setup, &outside) {
        Ok(_) => Ok(()),
        Err(why) => {
            let clause = format!("with `{}`, which the description allows", bench.case.setup);
            Err(not_started(why, clause))
        }
    }
}

pub(super) static INIT_IS_THE_DEFAULT: Rule = Rule {
    id: "init-is-the-default",
    cites: "R-8.2",
    level: Level::Must,
    promise: "an instance started without a parameter's option has its init value",
    advice: "keep one table of init values for the description and for the start",
    draws: Draws::Script,
    on: On::One,
    sees: &[],
    builds_on: &[],
};

pub(super) fn init_is_the_default(bench: &Bench<'_>) -> Judgement {
    let Model::Params(description) = bench.model()? else {
        return Err(Stop::NotApplicable("the model has no parameters".into()));
    };
    needs(!description.params.is_empty(), "the model has no parameters")?;
    let start = |setup: Setup| -> Result<_, Stop> {
        let mut run =
            bench.unmoved(Recipe { who: Who::Device, subject: bench.source, setup, earlier: None })?;
        let state = bench.usual().save(&mut *run.device, None)?;
        Ok((run, state))
    };
    let init = || Setup::Params(description.init());
    let (named, unnamed) = (start(init())?, start(Setup::Params([].into()))?);
    bench.same_as(&named.0.recipe, "started without options", 0, &named.0.seen, &unnamed.0.seen)?;
    if named.1 == unnamed.1 {
        return Ok(());
    }
    // Not every device saves the same bytes twice; if it doesn't, only what the guest saw is compared.
    match bench.noise(&named.0.recipe, &named.1)?.difference(&named.1, &unnamed.1) {
        None => Ok(()),
        Some(at) => Err(broken(
            "without options the state is another than with the init values",
            "the bytes that an instance with every init value saves",
            format!("other bytes, the first of them at byte {at}"),
        )),
    }
}
