//! Oracles: what fuzz targets and properties ask of drawn bytes. They return; callers decide.

use crate::bench::Subject;
use crate::case::Case;
use crate::certify::judge;
use crate::devices::release::{self, Kind};
use crate::devices::{self, Made, fault::Faults, synthetic};
use crate::generate::family::History;
use crate::generate::script::{self, Between};
use crate::hostile::{bytes_are_understood_or_refused, messages_are_understood_or_refused};
use crate::rules::{self, Draws, Finding, On, Outcome, Rule};
use arbitrary::{Arbitrary, Result, Unstructured};
use migcert_core::compat;
use migcert_core::param::{Allowed, Configuration, ParamName, Value};
use migcert_core::program::{Description, Manifest, Model};
use migcert_core::version::Setup;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// An oracle that a fuzzer drives.
pub struct Target {
    /// The fuzz target, and the folder of its seeds.
    pub name: &'static str,
    /// What must hold, in one sentence.
    pub what: &'static str,
    /// Judges what the bytes mean.
    pub oracle: fn(&[u8]) -> Outcome,
    /// The case that the bytes mean, where they mean one.
    pub drawn: fn(&[u8]) -> Option<Drawn>,
}

/// All of them; each is a file in `fuzz/fuzz_targets`.
pub static TARGETS: &[Target] = &[
    Target {
        name: "bytes",
        what: "bytes that nobody vouches for are understood or refused",
        oracle: bytes_are_understood_or_refused,
        drawn: |_| None,
    },
    Target {
        name: "check",
        what: "the check says what a search finds, and what a device does that is as described",
        oracle: check,
        drawn: |bytes| drawn(bytes, draw_check),
    },
    Target {
        name: "migrate",
        what: "devices that keep every promise pass every rule",
        oracle: migrate,
        drawn: |bytes| drawn(bytes, draw_migrate),
    },
    Target {
        name: "damage",
        what: "devices that keep every promise refuse damaged states, and are as good as new then",
        oracle: damage,
        drawn: |bytes| drawn(bytes, draw_damage),
    },
    Target {
        name: "wire",
        what: "messages of vfio-user are understood or refused",
        oracle: messages_are_understood_or_refused,
        drawn: |_| None,
    },
];

/// A rule, and the case that it judges.
pub struct Drawn {
    /// The rule.
    pub rule: &'static Rule,
    /// Who saves.
    pub source: Subject,
    /// Who loads.
    pub destination: Subject,
    /// The case.
    pub case: Case,
}

/// Runs an oracle in a fuzzer.
///
/// # Panics
/// With the finding.
pub fn fuzz(bytes: &[u8], oracle: fn(&[u8]) -> Outcome) {
    if let Outcome::Broken(finding) = oracle(bytes) {
        panic!("{finding}");
    }
}

/// over two releases of a drawn history and a configuration of one, the check
/// agrees with a search for a configuration that the other accepts, and with what happens:
/// compatible starts and loads, incompatible is refused at start or at load.
pub fn check(bytes: &[u8]) -> Outcome {
    let Some(drawn) = drawn(bytes, draw_check) else { return NOTHING };
    if let Err(finding) = agrees(&drawn) {
        return Outcome::Broken(finding);
    }
    drawn.judge()
}

/// reference devices and devices of drawn histories keep a drawn rule in a drawn case.
pub fn migrate(bytes: &[u8]) -> Outcome {
    drawn(bytes, draw_migrate).map_or(NOTHING, |drawn| drawn.judge())
}

/// the same with the rules about states that were damaged on their way.
pub fn damage(bytes: &[u8]) -> Outcome {
    drawn(bytes, draw_damage).map_or(NOTHING, |drawn| drawn.judge())
}

const NOTHING: Outcome = Outcome::NotApplicable(Cow::Borrowed("the bytes mean no case"));

impl Drawn {
    /// What becomes of the case.
    pub fn judge(&self) -> Outcome {
        judge(self.rule, &self.case, &self.source, &self.destination)
    }
}

fn drawn(bytes: &[u8], draw: fn(&mut Unstructured<'_>) -> Result<Option<Drawn>>) -> Option<Drawn> {
    draw(&mut Unstructured::new(bytes)).ok().flatten()
}

fn draw_check(u: &mut Unstructured<'_>) -> Result<Option<Drawn>> {
    let rule = |id: &str| rules::ALL.iter().find(|rule| rule.id == id).copied();
    let (Some(sound), Some(complete)) = (rule("check-is-sound"), rule("check-is-complete")) else {
        return Ok(None);
    };
    let releases = History::arbitrary(u)?.0;
    let pair = [u.choose_index(releases.len())?, u.choose_index(releases.len())?];
    let [source, destination] = pair.map(|release| described(&releases[release]));
    let Some(mut drawn) = draw(u, sound, source, destination)? else { return Ok(None) };
    if !drawn.verdict().is_compatible() {
        drawn.rule = complete;
        drawn.case.rule = complete.id.to_owned();
    }
    Ok(Some(drawn))
}

fn draw_migrate(u: &mut Unstructured<'_>) -> Result<Option<Drawn>> {
    draw_for(u, |rule| rule.draws != Draws::Damage)
}

fn draw_damage(u: &mut Unstructured<'_>) -> Result<Option<Drawn>> {
    draw_for(u, |rule| rule.draws == Draws::Damage)
}

fn draw_for(u: &mut Unstructured<'_>, fits: fn(&Rule) -> bool) -> Result<Option<Drawn>> {
    let rules: Vec<&Rule> = rules::ALL.iter().copied().filter(|rule| fits(rule)).collect();
    let rule = *u.choose(&rules)?;
    if u.int_in_range(0..=3u8)? == 3 {
        let (name, releases, kind) = *u.choose(&released())?;
        let Some((from, to)) = pair(u, rule, releases as usize)? else { return Ok(None) };
        let [from, to] = [from, to].map(|index| release_of(name, kind, index as u32 + 1));
        return draw(u, rule, from, to);
    }
    let releases = History::arbitrary(u)?.0;
    let Some((from, to)) = pair(u, rule, releases.len())? else { return Ok(None) };
    draw(u, rule, described(&releases[from]), described(&releases[to]))
}

/// Two of so many releases, as the rule wants them.
fn pair(u: &mut Unstructured<'_>, rule: &Rule, releases: usize) -> Result<Option<(usize, usize)>> {
    let from = u.choose_index(releases)?;
    Ok(match rule.on {
        On::One => Some((from, from)),
        On::Any => Some((from, u.choose_index(releases)?)),
        On::Two if releases == 1 => None,
        On::Two => Some((from, (from + 1 + u.choose_index(releases - 1)?) % releases)),
    })
}

fn draw(
    u: &mut Unstructured<'_>,
    rule: &'static Rule,
    source: Subject,
    destination: Subject,
) -> Result<Option<Drawn>> {
    let between = Between {
        source: (&source.name, &source.manifest),
        destination: (&destination.name, &destination.manifest),
        interface: &|model, setup| source.interface(model, setup),
    };
    let case = script::case(u, rule, &between)?;
    Ok(case.map(|case| Drawn { rule, source, destination, case }))
}

fn described(manifest: &Manifest) -> Subject {
    let program = synthetic::program(manifest.clone(), Faults::default());
    Subject::new(devices::synthetic_name(manifest), program, manifest.clone())
}

/// The devices that have releases.
fn released() -> Vec<(&'static str, u32, &'static Kind)> {
    let released = |device: &devices::Device| match device.made {
        Made::Releases(releases, kind) => Some((device.name, releases, kind)),
        Made::Info(_) | Made::Nothing(_) => None,
    };
    devices::ALL.iter().filter_map(released).collect()
}

fn release_of(name: &str, kind: &'static Kind, release: u32) -> Subject {
    let program = release::program(kind, release, Faults::default());
    let manifest = program.describe().unwrap_or_default();
    Subject::new(format!("builtin:{name}@{release}"), program, manifest)
}

impl Drawn {
    fn model(&self) -> &Model {
        &self.source.manifest.models[&self.case.model]
    }

    /// What the check says.
    pub fn verdict(&self) -> compat::Verdict {
        compat::check(&self.case.model, self.model(), &self.case.setup, &self.destination.manifest)
    }
}

/// The check against a search, and descriptions against what is read of what is written of them.
fn agrees(drawn: &Drawn) -> std::result::Result<(), Finding> {
    for manifest in [&drawn.source.manifest, &drawn.destination.manifest] {
        let again = Manifest::from_json(manifest.to_json().as_bytes());
        if again.as_ref() != Ok(manifest) {
            return Err(Finding {
                summary: "a description changed when it was written and read again (R-8.1)".to_owned(),
                expected: format!("{manifest:?}"),
                observed: format!("{again:?}"),
            });
        }
    }
    let there = drawn.destination.manifest.models.get(&drawn.case.model);
    let found = there.is_some_and(|there| accepts(drawn.model(), &drawn.case.setup, there));
    let verdict = drawn.verdict();
    if verdict.is_compatible() == found {
        return Ok(());
    }
    let words = |yes| if yes { "compatible" } else { "incompatible" };
    Err(Finding {
        summary: format!("the check is wrong about `{}` (R-5.2)", drawn.case.setup),
        expected: format!("{}: that is what a search among all configurations finds", words(found)),
        observed: verdict.to_string(),
    })
}

/// Looks among all that a destination accepts for what means the same as the source's setup: the
/// same parameters on, at the same values. Knows of the check no more than.
fn accepts(here: &Model, setup: &Setup, there: &Model) -> bool {
    let (here, full, there) = match (here, setup, there) {
        (Model::Params(here), Setup::Params(full), Model::Params(there)) => (here, full, there),
        (Model::Versions(_), Setup::Version(version), Model::Versions(there)) => {
            return there.strings().iter().any(|known| known.as_str() == version.as_str());
        }
        _ => return false,
    };
    let on = |side: &Description, name: &ParamName, value: &Value| {
        side.params.get(name).is_some_and(|param| param.off.as_ref() != Some(value))
    };
    let mut chosen = Configuration::new();
    for (name, param) in &there.params {
        let ours = full.get(name).filter(|value| on(here, name, value));
        // Of all its values, no other can say the same.
        let mut values = param.off.iter().chain(ours);
        let same = values.find(|value| {
            let says = Some(*value).filter(|value| on(there, name, value));
            value.ty() == param.ty && is_in(value, &param.allowed) && says == ours
        });
        let Some(value) = same else { return false };
        chosen.insert(name.clone(), value.clone());
    }
    let all = |side: &BTreeMap<ParamName, Allowed>| {
        side.iter().all(|(name, set)| chosen.get(name).is_some_and(|value| is_in(value, set)))
    };
    full.iter().all(|(name, value)| !on(here, name, value) || chosen.contains_key(name))
        && there.requires.iter().all(|clause| !all(&clause.when) || all(&clause.then))
}

/// Membership, the slow and plain way.
fn is_in(value: &Value, set: &Allowed) -> bool {
    match (set, value) {
        (Allowed::Any, _) => true,
        (Allowed::Bools(set), Value::Bool(b)) => set.iter().any(|other| other == b),
        (Allowed::Ints(set), Value::Int(n)) => set.ranges().iter().any(|r| r.start() <= n && n <= r.end()),
        (Allowed::Strs(set), Value::Str(s)) => set.iter().any(|other| other == s),
        _ => false,
    }
}
