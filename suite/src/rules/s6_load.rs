//! Chapter R-6: loads of a state that was cut, extended, or is of another device.

use super::s5_check::CHECK_IS_SOUND;
use super::s6_damage::Changed;
use super::s6_move::{CHUNKING, TWIN_AFTER_LOAD};
use crate::bench::{Bench, Load, Stopped, needs};
use crate::case::Draws;
use crate::finding::{Class, Judgement, broken, refused};
use crate::rule::{Level, On, Rule};
use migcert_core::device::Device;

/// What a rule about loading builds on: a plain migration works, and so it does in pieces.
pub(super) const LOADS: &[&Rule] = &[&CHECK_IS_SOUND, &TWIN_AFTER_LOAD, &CHUNKING];

/// The loaded state in traces.
const CUT: &str = "a state that was cut short";
const EXTENDED: &str = "a state with bytes after its end";
const FOREIGN: &str = "what is not a state";

/// States up to this many bytes are cut at every byte.
const SMALL: usize = 48;

pub(super) static CUT_IS_REFUSED: Rule = Rule {
    id: "cut-is-refused",
    cites: "R-6.4",
    level: Level::Must,
    promise: "a state that was cut short is refused, or nothing that mattered was missing",
    advice: "end the state with a mark that carries its length, and wait for it",
    draws: Draws::Damage,
    on: On::One,
    sees: &[Class::Refusal],
    builds_on: LOADS,
};

pub(super) fn cut_is_refused(bench: &Bench<'_>) -> Judgement {
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
        if bench.load_other(&mut *device, CUT, &stopped.state[..keep])?.is_accepted() {
            let what = format!("a state cut to {keep} of {len} bytes was accepted");
            harmless(
                bench,
                &what,
                Changed { parcel: CUT, before: stopped.state.clone(), state: stopped.state[..keep].to_vec() },
            )?;
        }
        device = bench.renewed(device, &stopped)?;
    }
    Ok(())
}

/// A changed state was accepted: then it must have changed nothing that a guest can see, on a
/// machine of its own.
fn harmless(bench: &Bench<'_>, what: &str, changed: Changed) -> Judgement {
    let (load, mut device, stopped) = changed.again(bench)?;
    match load {
        Load::Accepted => continues(bench, &mut *device, &stopped, &format!("{what}, and the guest notices")),
        Load::Refused(why) => {
            Err(refused(why, format!("where before {what}"), "accepted or refused, each time"))
        }
    }
}

/// After a load the guest goes on as on the twin. Uses up the host side.
pub(super) fn continues(
    bench: &Bench<'_>,
    device: &mut dyn Device,
    stopped: &Stopped,
    what: &str,
) -> Judgement {
    let at = bench.at()[0];
    bench.go_on(device, &stopped.memory)?;
    let seen = bench.play(device, at..bench.case.script.len())?;
    let twin = bench.twin()?;
    bench.same(what, at, &twin[at..], &seen)
}

pub(super) static EXTENSION_IS_HARMLESS: Rule = Rule {
    id: "extension-is-harmless",
    cites: "R-6.4",
    level: Level::Must,
    promise: "bytes after the end of a state are refused, or change nothing",
    advice: "stop reading at the end mark and refuse what follows it",
    draws: Draws::Damage,
    on: On::One,
    sees: &[],
    builds_on: LOADS,
};

/// What is appended to a state: drawn bytes, or the state once more.
fn extensions(bench: &Bench<'_>, state: &[u8]) -> [Vec<u8>; 2] {
    let drawn = bench.case.pieces.iter().map(|piece| *piece as u8).chain([0]).collect();
    [drawn, state.to_vec()]
}

pub(super) fn extension_is_harmless(bench: &Bench<'_>) -> Judgement {
    let stopped = bench.stopped(bench.at()[0])?;
    let mut device = bench.prepared(&stopped)?;
    for more in extensions(bench, &stopped.state) {
        bench.tell(|| format!("{} bytes follow the end", more.len()));
        let long = [&stopped.state[..], &more].concat();
        if bench.load_other(&mut *device, EXTENDED, &long)?.is_accepted() {
            let what = format!("a state with {} bytes after its end was accepted", more.len());
            harmless(bench, &what, Changed { parcel: EXTENDED, before: stopped.state.clone(), state: long })?;
        }
        device = bench.renewed(device, &stopped)?;
    }
    Ok(())
}

pub(super) static EXTENSION_IS_REFUSED: Rule = Rule {
    id: "extension-is-refused",
    cites: "R-6.4",
    level: Level::Should,
    promise: "bytes after the end of a state are refused",
    advice: "stop reading at the end mark and refuse what follows it: it was meant for somebody",
    draws: Draws::Damage,
    on: On::One,
    sees: &[Class::Refusal],
    builds_on: LOADS,
};

pub(super) fn extension_is_refused(bench: &Bench<'_>) -> Judgement {
    let stopped = bench.stopped(bench.at()[0])?;
    let mut device = bench.prepared(&stopped)?;
    for more in extensions(bench, &stopped.state) {
        bench.tell(|| format!("{} bytes follow the end", more.len()));
        let long = [&stopped.state[..], &more].concat();
        if bench.load_other(&mut *device, EXTENDED, &long)?.is_accepted() {
            let what = format!("a state with {} bytes after its end was accepted", more.len());
            return Err(broken(what, "the load is refused", "the load was accepted"));
        }
        device = bench.renewed(device, &stopped)?;
    }
    Ok(())
}

pub(super) static FOREIGN_IS_REFUSED: Rule = Rule {
    id: "foreign-is-refused",
    cites: "R-6.4",
    level: Level::Must,
    promise: "bytes that are not a state of this model are refused, or the guest can't tell",
    advice: "begin the state with a magic, the model id and the format version, and compare them",
    draws: Draws::Damage,
    on: On::One,
    sees: &[Class::Refusal],
    builds_on: LOADS,
};

pub(super) fn foreign_is_refused(bench: &Bench<'_>) -> Judgement {
    let stopped = bench.stopped(bench.at()[0])?;
    let len = stopped.state.len();
    needs(len != 0, "the state is empty")?;
    let mut device = bench.prepared(&stopped)?;
    let noise = (0..len).map(|i| (i as u32).wrapping_mul(0x9e37_79b9).to_be_bytes()[0]).collect();
    for (what, foreign) in [("zeros", vec![0; len]), ("ones", vec![0xff; len]), ("noise", noise)] {
        bench.tell(|| format!("{len} bytes of {what} come instead"));
        if bench.load_other(&mut *device, FOREIGN, &foreign)?.is_accepted() {
            let what = format!("{len} bytes of {what} were accepted as a state");
            harmless(
                bench,
                &what,
                Changed { parcel: FOREIGN, before: stopped.state.clone(), state: foreign },
            )?;
        }
        device = bench.renewed(device, &stopped)?;
    }
    Ok(())
}
