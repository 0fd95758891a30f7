//! How the artifacts are drawn.

use crate::artifact::{Artifact, breaks, folder};
use arbitrary::{Arbitrary, Unstructured};
use migcert::case::{Case, Draws, Found};
use migcert::devices::fault::Fault;
use migcert::devices::{self, Device, Made, synthetic_name};
use migcert::entry;
use migcert::generate::family::History;
use migcert::generate::script::{self, Between};
use migcert::impls;
use migcert::rule::{On, Rule};
use migcert::rules;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::{fs, io};

/// So many artifacts.
const ARTIFACTS: usize = 30;
/// Bytes that a case is drawn from, at most.
const DNA: usize = 2048;
/// Cases of a rule that are drawn to see whether a fault breaks it.
const LOOKS: usize = 100;
/// Cases of which the largest that breaks the rule is taken.
const CANDIDATES: usize = 200;

/// A case that breaks its rule, and what it was drawn from.
pub(crate) struct Drawn {
    name: String,
    seed: u64,
    case: Case,
}

/// The seed stands in the first line of the file, behind this.
const SEED: &str = "# Drawn from seed ";

impl Drawn {
    /// Keeps it.
    pub(crate) fn write(&self) -> io::Result<()> {
        fs::create_dir_all(folder())?;
        let text = format!("{SEED}{}\n{}", self.seed, self.case.to_toml(&Found::default()));
        fs::write(folder().join(format!("{}.toml", self.name)), text)
    }
}

/// What an artifact was drawn for, and from which seed. Its bytes mean another case, or none, once
/// the generators have changed.
pub(crate) fn origin(artifact: &Artifact) -> Option<(Planted, u64)> {
    let text = fs::read_to_string(folder().join(format!("{}.toml", artifact.name))).ok()?;
    let seed = text.lines().next()?.strip_prefix(SEED)?.parse().ok()?;
    let names = [&artifact.case.source, &artifact.case.destination];
    let (device, rest) = names.iter().find_map(|name| name.strip_prefix("builtin:")?.split_once('+'))?;
    let (device, id) = (device.split('@').next()?, rest.split('=').next()?);
    let device = devices::ALL.iter().find(|known| known.name == device)?;
    let fault = device.faults().find(|fault| fault.id == id)?;
    Some((Planted { rule: rules::named(&artifact.case.rule)?, device, fault }, seed))
}

/// What cases are drawn for.
#[derive(Clone, Copy)]
pub(crate) struct Planted {
    rule: &'static Rule,
    device: &'static Device,
    fault: &'static Fault,
}

impl Planted {
    /// The case that bytes mean.
    pub(crate) fn case(&self, dna: &[u8]) -> Option<Case> {
        self.draw(&mut Unstructured::new(dna)).ok().flatten()
    }

    fn draw(&self, u: &mut Unstructured<'_>) -> arbitrary::Result<Option<Case>> {
        let plain = self.names(u)?;
        let [source, destination] = plain.map(|name| impls::subject(&name).expect("a reference device"));
        let between = Between {
            source: (&source.name, &source.manifest),
            destination: (&destination.name, &destination.manifest),
            interface: &|model, setup| source.interface(model, setup).ok(),
            number: None,
        };
        script::case(u, self.rule, &between)
    }

    /// Two implementations as the rule wants them, at least one of them with the fault; of several
    /// releases, any.
    fn names(&self, u: &mut Unstructured<'_>) -> arbitrary::Result<[String; 2]> {
        let Planted { rule, device, fault } = self;
        if let Made::Info(_) = device.made {
            let releases = History::arbitrary(u)?.0;
            let name = |release: usize| {
                synthetic_name(&releases[release]).replacen('=', &format!("+{}=", fault.id), 1)
            };
            let from = u.choose_index(releases.len())?;
            let to = if rule.on == On::One { from } else { u.choose_index(releases.len())? };
            return Ok([name(from), name(to)]);
        }
        let release = u.int_in_range(0..=device.releases())?;
        let release = if release == 0 { String::new() } else { format!("@{release}") };
        let faulty = format!("builtin:{}{release}+{}", device.name, fault.id);
        let other = format!("builtin:{}@{}", device.name, u.int_in_range(1..=device.releases())?);
        let is_two = rule.on == On::Two || rule.on == On::Any && u.arbitrary()?;
        Ok(match (is_two, u.arbitrary()?) {
            (false, _) => [faulty.clone(), faulty],
            (true, false) => [faulty, other],
            (true, true) => [other, faulty],
        })
    }
}

/// How proptest draws bytes, and makes them fewer and smaller.
pub(crate) fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=DNA)
}

/// A runner that draws the same for the same seed.
pub(crate) fn runner(seed: u64) -> TestRunner {
    let mut all = [0; 32];
    all[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &all))
}

/// The bytes of a seed.
pub(crate) fn dna(seed: u64) -> Vec<u8> {
    bytes().new_tree(&mut runner(seed)).expect("bytes").current()
}

/// Draws all: of each device in turn a fault, and for it the rule that the fewest others have.
pub(crate) fn draw(seed: u64) -> Vec<Drawn> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut faults: Vec<Vec<&'static Fault>> =
        devices::ALL.iter().map(|device| shuffled(device.faults[0], &mut random)).collect();
    let mut used = BTreeMap::<&str, usize>::new();
    let mut all = Vec::new();
    for turn in 0.. {
        let at = turn % devices::ALL.len();
        let Some(fault) = faults[at].pop() else {
            if faults.iter().all(Vec::is_empty) { break } else { continue }
        };
        let device = &devices::ALL[at];
        let mut broken = Vec::new();
        for rule in shuffled(rules::ALL, &mut random).into_iter().filter(|rule| Draws::Setup <= rule.draws) {
            let planted = Planted { rule, device, fault };
            if candidates(planted, LOOKS, &mut random).next().is_some() {
                broken.push(planted);
            }
        }
        let Some(planted) = broken.into_iter().min_by_key(|planted| used.get(planted.rule.id).copied())
        else {
            continue;
        };
        let largest = candidates(planted, CANDIDATES, &mut random)
            .max_by_key(|(_, case)| entry::encode(case).map_or(0, |entry| entry.len()));
        let Some((seed, case)) = largest else { continue };
        *used.entry(planted.rule.id).or_default() += 1;
        all.push(Drawn { name: format!("{}-{}-{}", planted.rule.id, device.name, fault.id), seed, case });
        if all.len() == ARTIFACTS {
            break;
        }
    }
    all
}

fn candidates(planted: Planted, count: usize, random: &mut ChaCha8Rng) -> impl Iterator<Item = (u64, Case)> {
    let drawn = move |seed| Some((seed, planted.case(&dna(seed))?));
    (0..count).map(|_| random.next_u64()).filter_map(drawn).filter(|(_, case)| breaks(case))
}

fn shuffled<T: Copy>(all: &[T], random: &mut ChaCha8Rng) -> Vec<T> {
    let mut all: Vec<_> = all.iter().map(|one| (random.next_u64(), *one)).collect();
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, one)| one).collect()
}
