//! Oracles: what fuzz targets and properties demand of drawn cases. They return outcomes; callers decide.

use crate::bench::Bench;
use crate::case::{Case, Draws};
use crate::coverage;
use crate::devices::release::{self, Kind};
use crate::devices::{self, Made, fault::Faults, synthetic};
use crate::entry;
use crate::finding::{NotApplicable, Outcome};
use crate::generate::family::{self, History};
use crate::generate::script::{self, Between};
use crate::hostile::{bytes_are_understood_or_refused, messages_are_understood_or_refused};
use crate::implementation::Builtin;
use crate::rule::{On, Rule};
use crate::rules;
use crate::subject::Subject;
use arbitrary::{Arbitrary, Result, Unstructured};
use migcert_core::compat;
use migcert_core::program::{Manifest, Model};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

mod search;

/// An oracle that a fuzzer drives.
pub struct Target {
    /// The name of the fuzz target, and of the folder of its seeds.
    pub name: &'static str,
    /// What must hold, in one sentence.
    pub what: &'static str,
    /// How its inputs are decoded.
    pub input: Input,
}

/// How the inputs of a target are decoded.
pub enum Input {
    /// Bytes as they come.
    Bytes(fn(&[u8]) -> Outcome),
    /// A case, as [`entry`] encodes it.
    Case(Cases),
}

/// Cases that a target judges.
pub struct Cases {
    pub(crate) fits: fn(&Rule) -> bool,
    pub(crate) open: fn(&str) -> Option<Arc<Subject>>,
    pub(crate) draw: Draw,
    pub(crate) judge: fn(&Drawn) -> Outcome,
}

type Draw = fn(&mut Unstructured<'_>) -> Result<Option<Drawn>>;

/// All targets; each is a file in `fuzz/fuzz_targets`.
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

/// Cases of every rule on any reference device, also with planted faults: for shrinking cases that break a
/// rule. It draws no cases, and has no fuzz target.
pub static PLANTED: Target = Target {
    name: "planted",
    what: "cases that break a rule are made smaller",
    input: Input::Case(Cases { fits: |_| true, open: open_planted, draw: |_| Ok(None), judge: Drawn::judge }),
};

/// A rule, and the case that it judges.
pub struct Drawn {
    /// The rule.
    pub rule: &'static Rule,
    /// The subject that saves.
    pub source: Arc<Subject>,
    /// The subject that loads.
    pub destination: Arc<Subject>,
    /// The case.
    pub case: Case,
}

impl Target {
    /// The target of this name.
    pub fn named(name: &str) -> Option<&'static Target> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// The outcome of an input.
    pub fn judge(&self, input: &[u8]) -> Outcome {
        match &self.input {
            Input::Bytes(judge) => judge(input),
            Input::Case(cases) => self.recall(input).map_or(NOTHING, |drawn| (cases.judge)(&drawn)),
        }
    }

    /// The outcome of a case.
    pub fn judge_case(&self, drawn: &Drawn) -> Outcome {
        match &self.input {
            Input::Bytes(_) => NOTHING,
            Input::Case(cases) => (cases.judge)(drawn),
        }
    }

    /// Decodes the case of an input.
    pub fn read(&self, input: &[u8]) -> Option<Drawn> {
        self.opened(entry::decode(input).ok()?)
    }

    /// The same, cached for the input that was made or read last: a fuzzer runs what it has just changed, and
    /// changes it again then.
    pub(crate) fn recall(&self, input: &[u8]) -> Option<Rc<Drawn>> {
        let known = LAST.with_borrow(|last| {
            last.as_ref().filter(|last| last.is(self, input)).map(|last| last.drawn.clone())
        });
        known.or_else(|| Some(self.remember(input.to_owned(), self.read(input)?)))
    }

    /// Caches the case of an input.
    pub(crate) fn remember(&self, input: Vec<u8>, drawn: Drawn) -> Rc<Drawn> {
        let drawn = Rc::new(drawn);
        LAST.set(Some(Last { target: self.name, input, drawn: drawn.clone() }));
        drawn
    }

    /// A case with its rule and devices, if this target judges such cases: a device with a planted fault
    /// would break its rule on purpose.
    pub(crate) fn opened(&self, case: Case) -> Option<Drawn> {
        let Cases { fits, open, .. } = self.cases()?;
        let rule = rules::named(&case.rule).filter(|rule| fits(rule))?;
        let pair = rule.on != On::One || case.source == case.destination;
        let [first, second] = case.at;
        let whole = first <= second && second <= case.script.len() && !case.pieces.contains(&0);
        let (source, destination) = (open(&case.source)?, open(&case.destination)?);
        let model = source.manifest.models.get(&case.model)?;
        let supported = [Some(&case.setup), case.other.as_ref()];
        let supported = supported.into_iter().flatten().all(|setup| model.faults(setup).is_empty());
        (pair && whole && supported).then_some(Drawn { rule, source, destination, case })
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

/// An input, and its case for a target.
struct Last {
    target: &'static str,
    input: Vec<u8>,
    drawn: Rc<Drawn>,
}

impl Last {
    fn is(&self, target: &Target, input: &[u8]) -> bool {
        self.target == target.name && self.input == input
    }
}

/// Maximum number of subjects kept open.
const OPEN: usize = 512;

thread_local! {
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
    /// Subjects by their names, and whether they have faults.
    static OPENED: RefCell<BTreeMap<String, (Arc<Subject>, bool)>> = const { RefCell::new(BTreeMap::new()) };
}

/// A device by its name, unless it has planted faults, with which it would break rules on purpose.
pub(crate) fn open(name: &str) -> Option<Arc<Subject>> {
    opened(name, |has_faults| !has_faults)
}

/// A device by its name, with or without planted faults.
pub(crate) fn open_planted(name: &str) -> Option<Arc<Subject>> {
    opened(name, |_| true)
}

/// A reference device by its name, if `is_welcome` accepts whether it has faults. Opening one again costs
/// nothing.
fn opened(name: &str, is_welcome: fn(bool) -> bool) -> Option<Arc<Subject>> {
    let known = OPENED.with_borrow(|opened| opened.get(name).cloned());
    if let Some((subject, has_faults)) = known {
        return is_welcome(has_faults).then_some(subject);
    }
    let (program, faults) = devices::planted(&Builtin::of(name)?).ok()?;
    let has_faults = !faults.is_empty();
    if !is_welcome(has_faults) {
        return None;
    }
    let manifest = program.describe().ok()?;
    let subject = Arc::new(Subject::new(name.to_owned(), program, manifest).timeless());
    keep(&subject, has_faults);
    Some(subject)
}

/// Keeps a subject without faults open under its name.
pub(crate) fn keep_open(subject: &Arc<Subject>) {
    keep(subject, false);
}

fn keep(subject: &Arc<Subject>, has_faults: bool) {
    OPENED.with_borrow_mut(|opened| {
        if OPEN <= opened.len() {
            opened.clear();
        }
        opened.insert(subject.name.clone(), (subject.clone(), has_faults));
    });
}

/// Runs a target in a fuzzer.
///
/// # Panics
/// With the finding.
pub fn fuzz(target: &str, input: &[u8]) {
    let target = Target::named(target).expect("a known target");
    held(&coverage::recorded(|| target.judge(input)));
}

/// Panics if an outcome of an oracle is broken, for a fuzzer that links only that oracle: the less code is
/// linked, the less it has to scan after each execution.
///
/// # Panics
/// With the finding.
pub fn held(outcome: &Outcome) {
    if let Outcome::Broken(finding) = outcome {
        panic!("{finding}");
    }
}

/// over two releases of a drawn history and a configuration of one, the check
/// agrees with a search for a configuration that the other accepts, and with what happens:
/// compatible starts and loads, incompatible is refused at start or at load.
fn check(drawn: &Drawn) -> Outcome {
    match search::agrees(drawn) {
        Ok(()) => drawn.judge(),
        Err(finding) => Outcome::Broken(*finding),
    }
}

const NOTHING: Outcome =
    Outcome::NotApplicable(NotApplicable::Lacks(Cow::Borrowed("the bytes mean no case")));

impl Drawn {
    /// The outcome of the case.
    pub fn judge(&self) -> Outcome {
        coverage::saw_pair(&self.case, &self.source.manifest, &self.destination.manifest);
        self.rule.judge(&Bench::new(&self.case, &self.source, &self.destination))
    }
}

fn draw_check(u: &mut Unstructured<'_>) -> Result<Option<Drawn>> {
    let both = (rules::named("check-is-sound"), rules::named("check-is-complete"));
    let (Some(sound), Some(complete)) = both else { return Ok(None) };
    let releases = History::arbitrary(u)?.0;
    let pair = [u.choose_index(releases.len())?, u.choose_index(releases.len())?];
    let [source, mut destination] = pair.map(|release| releases[release].clone());
    if u.int_in_range(0..=7u8)? == 7 {
        family::drift(u, &source, &mut destination)?;
    }
    let [source, destination] = [source, destination].map(|manifest| described(&manifest));
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
    rule.draws.is_damage()
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

/// Draws a rule that fits.
pub(crate) fn rule(u: &mut Unstructured<'_>, fits: fn(&Rule) -> bool) -> Result<&'static Rule> {
    let rules: Vec<&Rule> = rules::ALL.iter().copied().filter(|rule| fits(rule)).collect();
    u.choose(&rules).copied()
}

fn draw_for(u: &mut Unstructured<'_>, fits: fn(&Rule) -> bool) -> Result<Option<Drawn>> {
    let rule = rule(u, fits)?;
    if u.int_in_range(0..=3u8)? == 3 {
        let (name, releases, kind) = *u.choose(&released())?;
        let Some((from, to)) = pair(u, rule, releases as usize)? else { return Ok(None) };
        let [from, to] = [from, to].map(|index| release_of(name, kind, index as u32 + 1));
        return draw(u, rule, from, to);
    }
    let releases = History::arbitrary(u)?.0;
    let Some((from, to)) = pair(u, rule, releases.len())? else { return Ok(None) };
    let [source, mut destination] = [from, to].map(|release| releases[release].clone());
    if from != to && rule.draws != Draws::Nothing && u.int_in_range(0..=15u8)? == 15 {
        family::drift(u, &source, &mut destination)?;
    }
    draw(u, rule, described(&source), described(&destination))
}

/// Draws two of `releases` releases, as the rule needs them.
fn pair(u: &mut Unstructured<'_>, rule: &Rule, releases: usize) -> Result<Option<(usize, usize)>> {
    let from = u.choose_index(releases)?;
    Ok(match rule.on {
        On::One => Some((from, from)),
        On::Any => Some((from, u.choose_index(releases)?)),
        On::Two if releases == 1 => None,
        On::Two => Some((from, (from + 1 + u.choose_index(releases - 1)?) % releases)),
    })
}

/// Draws a case of a rule between two devices.
pub(crate) fn draw(
    u: &mut Unstructured<'_>,
    rule: &'static Rule,
    source: Arc<Subject>,
    destination: Arc<Subject>,
) -> Result<Option<Drawn>> {
    let between = Between {
        source: (&source.name, &source.manifest),
        destination: (&destination.name, &destination.manifest),
        interface: &|model, setup| source.interface(model, setup).ok(),
        number: None,
    };
    let case = script::case(u, rule, &between)?;
    Ok(case.map(|case| Drawn { rule, source, destination, case }))
}

fn described(manifest: &Manifest) -> Arc<Subject> {
    let program = synthetic::program(manifest.clone(), Faults::default());
    Arc::new(Subject::new(devices::synthetic_name(manifest), program, manifest.clone()).timeless())
}

/// The devices that have releases.
fn released() -> Vec<(&'static str, u32, &'static Kind)> {
    let released = |device: &devices::Device| match device.made {
        Made::Releases(releases, kind) => Some((device.name, releases, kind)),
        Made::Info(_) | Made::Nothing(_) => None,
    };
    devices::ALL.iter().filter_map(released).collect()
}

fn release_of(name: &str, kind: &'static Kind, release: u32) -> Arc<Subject> {
    let program = release::program(kind, release, Faults::default());
    let manifest = program.describe().unwrap_or_default();
    Arc::new(Subject::new(format!("builtin:{name}@{release}"), program, manifest).timeless())
}

impl Drawn {
    fn model(&self) -> &Model {
        &self.source.manifest.models[&self.case.model]
    }

    /// The verdict of the check.
    pub fn verdict(&self) -> compat::Verdict {
        compat::check(&self.case.model, self.model(), &self.case.setup, &self.destination.manifest)
    }
}
