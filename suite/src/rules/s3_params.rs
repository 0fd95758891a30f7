//! Chapter R-3: what a parameter changes, and what it leaves as it was.

use crate::bench::{Bench, Load, needs};
use crate::case::Draws;
use crate::finding::{Class, Judgement, Stop, Who, broken};
use crate::rule::{Level, On, Rule};
use migcert_core::device::{Device, Interface, Register};
use migcert_core::program::Model;
use migcert_core::version::Setup;

pub(super) static INTERFACE_IS_KEPT: Rule = Rule {
    id: "interface-is-kept",
    cites: "R-3.1",
    level: Level::Must,
    promise: "instances of one configuration offer the guest the same hardware interface, wherever they run",
    advice: "make a parameter of what decides it: sizes of regions, numbers of queues and of interrupts",
    draws: Draws::Setup,
    on: On::Any,
    sees: &[],
    builds_on: &[],
};

pub(super) fn interface_is_kept(bench: &Bench<'_>) -> Judgement {
    let plan = bench.plan()?;
    let is_alike = bench.source.never == bench.destination.never;
    needs(is_alike, "the profiles have the guest leave different places alone")?;
    let (source, outside) = bench.started()?;
    let there = bench.instance(Who::Destination, bench.destination, plan.destination(), &outside)?;
    same_interface("source and destination of one configuration", &*source, &*there)?;
    let (again, _outside) = bench.started()?;
    same_interface("two instances of one configuration", &*source, &*again)?;
    let (one, other) = (source.capabilities().options, again.capabilities().options);
    if one == other {
        return Ok(());
    }
    let what = "two instances of one configuration have other optional states";
    Err(broken(what, format!("{one:?}"), format!("{other:?}")))
}

fn same_interface(what: &str, one: &dyn Device, other: &dyn Device) -> Judgement {
    let (one, other) = (one.capabilities().interface, other.capabilities().interface);
    let differs = |what: &str, expected: String, observed: String| Err(broken(what, expected, observed));
    let (here, there) = match (&one, &other) {
        (Interface::Registers(here), Interface::Registers(there)) => (here, there),
        (Interface::Windows(here), Interface::Windows(there)) => {
            if here.interrupts != there.interrupts {
                let vectors = |count: u32| format!("{count} interrupt vectors");
                let what = format!("{what} have other interrupts");
                return differs(&what, vectors(here.interrupts), vectors(there.interrupts));
            }
            (&here.windows, &there.windows)
        }
        (Interface::Requests(_), Interface::Requests(_)) => return Ok(()),
        _ => return Err(Stop::NotApplicable("the interfaces are described in different ways".into())),
    };
    // Names of registers, and what a driver may write to them, are not part of the interface.
    let shape = |register: &Register| {
        let Register { region, offset, size, count, stride, writable, .. } = register;
        (*region, *offset, *size, *count, *stride, *writable)
    };
    let longest = here.len().max(there.len());
    let at = (0..longest).find(|at| here.get(*at).map(shape) != there.get(*at).map(shape));
    let Some(at) = at else { return Ok(()) };
    let words = |registers: &[Register]| match registers.get(at) {
        None => "no further register".to_owned(),
        Some(Register { name, region, offset, size, count, writable, .. }) => {
            let access = if *writable { "" } else { ", read-only" };
            format!("{count} of {size} bytes from {region}:{offset:#x} ({name}{access})")
        }
    };
    differs(&format!("{what} have other registers"), words(here), words(there))
}

pub(super) static CONFIGURATION_KEPT: Rule = Rule {
    id: "configuration-kept",
    cites: "R-3.3",
    level: Level::Must,
    promise: "a state is not loaded under another configuration than it was saved under",
    advice: "put the parameter list into the state and compare it before anything is loaded",
    draws: Draws::Script,
    on: On::One,
    sees: &[Class::Refusal],
    builds_on: &[],
};

pub(super) fn configuration_kept(bench: &Bench<'_>) -> Judgement {
    let other = bench.case.other.as_ref();
    let other = other.filter(|other| **other != bench.case.setup);
    let Some(other) = other else { return Err(Stop::NotApplicable("no other configuration".into())) };
    let stopped = bench.stopped(bench.at()[0])?;
    let mut device = bench.instance(Who::Other, bench.destination, other, &stopped.outside)?;
    match bench.load(&mut *device, &stopped.state)? {
        Load::Refused(_) => Ok(()),
        Load::Accepted => Err(broken(
            "a state was loaded under another configuration",
            format!("a state saved with `{}` is refused with `{other}`", bench.case.setup),
            "it was accepted",
        )),
    }
}

pub(super) static OFF_IS_ABSENCE: Rule = Rule {
    id: "off-is-absence",
    cites: "R-3.4",
    level: Level::Must,
    promise: "with a parameter off, interface and state are to the byte those from before it existed",
    advice: "leave out of the state everything that belongs to a parameter that is off",
    draws: Draws::Script,
    on: On::Two,
    sees: &[],
    builds_on: &[],
};

pub(super) fn off_is_absence(bench: &Bench<'_>) -> Judgement {
    let plan = bench.plan()?;
    let (Model::Params(here), Some(Model::Params(there)), Setup::Params(full)) =
        (bench.model()?, bench.destination.manifest.models.get(&bench.case.model), plan.destination())
    else {
        return Err(Stop::NotApplicable("the model has no parameters".into()));
    };
    let newer = there.params.keys().any(|name| !here.params.contains_key(name));
    needs(newer, "the destination has no parameter that the source lacks")?;
    let added = full.keys().filter(|name| !here.params.contains_key(*name)).map(ToString::to_string);
    let added = added.collect::<Vec<_>>().join("`, `");

    let mut before = bench.unmoved(bench.plain())?;
    let saved = bench.usual().save(&mut *before.device, None)?;
    let outside = bench.outside()?;
    let mut after = bench.instance(Who::Newer, bench.destination, plan.destination(), &outside)?;
    let seen = bench.play(&mut *after, 0..bench.case.script.len())?;
    bench.same(&format!("with `{added}` off"), 0, &before.seen, &seen)?;
    let state = bench.usual().save(&mut *after, None)?;
    if state == saved {
        return Ok(());
    }
    match bench.noise(&before.recipe, &saved)?.difference(&saved, &state) {
        None => Ok(()),
        Some(differ) => Err(broken(
            format!("with `{added}` off the state is not that of the release before"),
            format!("{} bytes, all the same", saved.len()),
            format!("{} bytes, the first difference at byte {differ}", state.len()),
        )),
    }
}

pub(super) static OFF_MEANS_THE_SAME: Rule = Rule {
    id: "off-means-the-same",
    cites: "R-3.4",
    level: Level::Must,
    promise: "a parameter that two implementations know is off by the same value in both",
    advice: "give the parameter its first off value again: it is what a list means that leaves the parameter out",
    draws: Draws::Nothing,
    on: On::Two,
    sees: &[],
    builds_on: &[],
};

pub(super) fn off_means_the_same(bench: &Bench<'_>) -> Judgement {
    let mut any = false;
    for (id, model) in &bench.source.manifest.models {
        let other = bench.destination.manifest.models.get(id);
        let (Model::Params(here), Some(Model::Params(there))) = (model, other) else { continue };
        for (name, param) in &here.params {
            let both = [Some(param), there.params.get(name)].map(|param| param?.off.as_ref());
            let [Some(ours), Some(theirs)] = both else { continue };
            any = true;
            if ours != theirs {
                return Err(broken(
                    format!("to leave `{name}` of `{id}` out means two things"),
                    format!("`{name}={ours}`, as {} describes it", bench.source.name),
                    format!("`{name}={theirs}` in {}", bench.destination.name),
                ));
            }
        }
    }
    needs(any, "no parameter that both know can be off in both")
}
