//! Oracles: what fuzz targets and properties ask of drawn cases. They return; callers decide.

use crate::bench::Subject;
use crate::case::Case;
use crate::certify::judge;
use crate::devices::release::{self, Kind};
use crate::devices::{self, Made, fault::Faults, synthetic};
use crate::entry;
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
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An oracle that a fuzzer drives.
pub struct Target {
    /// The name of the fuzz target, and of the folder of its seeds.
    pub name: &'static str,
    /// What must hold, in one sentence.
    pub what: &'static str,
    /// What its inputs mean.
    pub input: Input,
}

/// What the inputs of a target mean.
pub enum Input {
    /// Bytes as they come.
    Bytes(fn(&[u8]) -> Outcome),
    /// A case, as [`entry`] encodes it.
    Case(Cases),
}

/// Cases that a target judges.
pub struct Cases {
    fits: fn(&Rule) -> bool,
    open: fn(&str) -> Option<Arc<Subject>>,
    draw: Draw,
    judge: fn(&Drawn) -> Outcome,
}

type Draw = fn(&mut Unstructured<'_>) -> Result<Option<Drawn>>;

/// All of them; each is a file in `fuzz/fuzz_targets`.
pub static TARGETS: &[Target] = &[
    Target {
        name: "bytes",
        what: "bytes that nobody vouches for are understood or refused",
        input: Input::Bytes(bytes_are_understood_or_refused),
    },
    Target {
        name: "check",
        what: "the check says what a search finds, and what a device does that is as described",
        input: Input::Case(Cases { fits: is_check, open, draw: draw_check, judge: check }),
    },
    Target {
        name: "migrate",
        what: "devices that keep every promise pass every rule",
        input: Input::Case(Cases { fits: is_not_damage, open, draw: draw_migrate, judge: Drawn::judge }),
    },
    Target {
        name: "damage",
        what: "devices that keep every promise refuse damaged states, and are as good as new then",
        input: Input::Case(Cases { fits: is_damage, open, draw: draw_damage, judge: Drawn::judge }),
    },
    Target {
        name: "wire",
        what: "messages of vfio-user are understood or refused",
        input: Input::Bytes(messages_are_understood_or_refused),
    },
];

/// Cases of every rule on any reference device, also on one with planted faults: for what makes
/// cases smaller that break a rule. It draws none, and no fuzz target is made of it.
pub static PLANTED: Target = Target {
    name: "planted",
    what: "cases that break a rule are made smaller",
    input: Input::Case(Cases { fits: |_| true, open: open_planted, draw: |_| Ok(None), judge: Drawn::judge }),
};

/// A rule, and the case that it judges.
pub struct Drawn {
    /// The rule.
    pub rule: &'static Rule,
    /// Who saves.
    pub source: Arc<Subject>,
    /// Who loads.
    pub destination: Arc<Subject>,
    /// The case.
    pub case: Case,
}

impl Target {
    /// The target of this name.
    pub fn named(name: &str) -> Option<&'static Target> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// What becomes of an input.
    pub fn judge(&self, input: &[u8]) -> Outcome {
        match &self.input {
            Input::Bytes(judge) => judge(input),
            Input::Case(cases) => cases.read(input).map_or(NOTHING, |drawn| (cases.judge)(&drawn)),
        }
    }

    /// What becomes of a case.
    pub fn judge_case(&self, drawn: &Drawn) -> Outcome {
        match &self.input {
            Input::Bytes(_) => NOTHING,
            Input::Case(cases) => (cases.judge)(drawn),
        }
    }

    /// The case that an input means.
    pub fn read(&self, input: &[u8]) -> Option<Drawn> {
        self.cases()?.read(input)
    }

    /// Draws a case from bytes for the generators.
    pub fn draw(&self, dna: &[u8]) -> Option<Drawn> {
        (self.cases()?.draw)(&mut Unstructured::new(dna)).ok().flatten()
    }

    /// The rules whose cases it judges; none where its inputs are bytes.
    pub fn rules(&self) -> Vec<&'static Rule> {
        let fits = |cases: &Cases, rule: &Rule| (cases.fits)(rule);
        rules::ALL
            .iter()
            .copied()
            .filter(|rule| self.cases().is_some_and(|cases| fits(cases, rule)))
            .collect()
    }

    fn cases(&self) -> Option<&Cases> {
        match &self.input {
            Input::Bytes(_) => None,
            Input::Case(cases) => Some(cases),
        }
    }
}

impl Cases {
    fn read(&self, input: &[u8]) -> Option<Drawn> {
        self.opened(entry::decode(input).ok()?)
    }

    /// A case with its rule and its devices, where it is one for this target.
    fn opened(&self, case: Case) -> Option<Drawn> {
        let rule = *rules::ALL.iter().find(|rule| rule.id == case.rule && (self.fits)(rule))?;
        let pair = rule.on != On::One || case.source == case.destination;
        let [first, second] = case.at;
        let whole = first <= second && second <= case.script.len() && !case.pieces.contains(&0);
        let (source, destination) = ((self.open)(&case.source)?, (self.open)(&case.destination)?);
        let model = source.manifest.models.get(&case.model)?;
        let supported = [Some(&case.setup), case.other.as_ref()];
        let supported = supported.into_iter().flatten().all(|setup| model.faults(setup).is_empty());
        (pair && whole && supported).then_some(Drawn { rule, source, destination, case })
    }
}

/// So many subjects are kept open.
const OPEN: usize = 64;

/// A device without faults, by its name: one of a fault would break what it is meant to.
pub(crate) fn open(name: &str) -> Option<Arc<Subject>> {
    opened(name, Faults::is_empty)
}

/// A device with whatever faults its name has.
pub(crate) fn open_planted(name: &str) -> Option<Arc<Subject>> {
    opened(name, |_| true)
}

/// A reference device by its name, where its faults are welcome. Opening one again costs nothing.
fn opened(name: &str, welcome: fn(&Faults) -> bool) -> Option<Arc<Subject>> {
    thread_local! {
        static OPENED: RefCell<BTreeMap<String, (Arc<Subject>, Faults)>> = const { RefCell::new(BTreeMap::new()) };
    }
    OPENED.with_borrow_mut(|opened| {
        if let Some((subject, faults)) = opened.get(name) {
            return welcome(faults).then(|| subject.clone());
        }
        let (program, faults) = devices::planted(name.strip_prefix("builtin:")?).ok()?;
        if !welcome(&faults) {
            return None;
        }
        let manifest = program.describe().ok()?;
        if OPEN <= opened.len() {
            opened.clear();
        }
        let subject = Arc::new(Subject::new(name.to_owned(), program, manifest));
        opened.insert(name.to_owned(), (subject.clone(), faults));
        Some(subject)
    })
}

/// Runs a target in a fuzzer.
///
/// # Panics
/// With the finding.
pub fn fuzz(target: &str, input: &[u8]) {
    let target = Target::named(target).expect("a target of ours");
    if let Outcome::Broken(finding) = target.judge(input) {
        panic!("{finding}");
    }
}

/// over two releases of a drawn history and a configuration of one, the check
/// agrees with a search for a configuration that the other accepts, and with what happens:
/// compatible starts and loads, incompatible is refused at start or at load.
fn check(drawn: &Drawn) -> Outcome {
    match agrees(drawn) {
        Ok(()) => drawn.judge(),
        Err(finding) => Outcome::Broken(finding),
    }
}

const NOTHING: Outcome = Outcome::NotApplicable(Cow::Borrowed("the bytes mean no case"));

impl Drawn {
    /// What becomes of the case.
    pub fn judge(&self) -> Outcome {
        judge(self.rule, &self.case, &self.source, &self.destination)
    }
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

fn is_check(rule: &Rule) -> bool {
    matches!(rule.id, "check-is-sound" | "check-is-complete")
}

fn is_damage(rule: &Rule) -> bool {
    rule.draws == Draws::Damage
}

fn is_not_damage(rule: &Rule) -> bool {
    !is_damage(rule)
}

fn draw_migrate(u: &mut Unstructured<'_>) -> Result<Option<Drawn>> {
    draw_for(u, is_not_damage)
}

fn draw_damage(u: &mut Unstructured<'_>) -> Result<Option<Drawn>> {
    draw_for(u, is_damage)
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
    let (source, destination) = (Arc::new(source), Arc::new(destination));
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
