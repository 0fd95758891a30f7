//! Reuse of devices that forget their past at a reset, and of devices that don't.

use super::super::{Budget, run};
use super::*;
use crate::certificate::RuleResult;
use crate::devices;
use crate::implementation::Builtin;
use crate::known::Known;
use crate::parallel::Threads;
use crate::subject::Subject;
use migcert_core::device::{Capabilities, Device, Outside, Seen, Sight, Step};
use migcert_core::error::{Error, Refusal};
use migcert_core::model::ModelId;
use migcert_core::program::{Manifest, Program};
use migcert_core::version::Setup;
use std::ops::Range;
use std::sync::Arc;

/// What a device keeps of its past.
#[derive(Clone, Copy, PartialEq)]
enum Keeps {
    Nothing,
    /// A reset leaves a mark of a certain value, if a guest wrote that.
    ARareValue,
    /// An instance that is used again was not even reset.
    Everything,
    /// An instance that is used again takes no state.
    ARefusal,
}

/// A reference device, and the same with instances that are used again.
struct Again {
    program: Box<dyn Program>,
    keeps: Keeps,
    idle: Waiting,
    reuses: bool,
}

/// What waits for its next use.
type Waiting = Arc<Mutex<Vec<(Setup, Marked)>>>;

/// A device, and whether it has the mark.
struct Marked {
    device: Box<dyn Device>,
    keeps: Keeps,
    saw_value: bool,
    is_marked: bool,
    was_used: bool,
}

struct Sticky {
    device: Option<Marked>,
    setup: Setup,
    idle: Waiting,
}

fn program(keeps: Keeps) -> Box<dyn Program> {
    let name = Builtin::of("builtin:nic").expect("a name");
    let again = |reuses, idle| {
        let (program, _) = devices::planted(&name).expect("a device");
        Again { program, keeps, idle, reuses }
    };
    let idle = Waiting::default();
    Box::new(Both { new: again(false, Arc::clone(&idle)), again: again(true, idle) })
}

struct Both {
    new: Again,
    again: Again,
}

impl Program for Both {
    fn describe(&self) -> Result<Manifest, Error> {
        self.new.describe()
    }
    fn outside(&self) -> Result<Outside, Error> {
        self.new.outside()
    }
    fn start(&self, model: &ModelId, setup: &Setup, outside: &Outside) -> Result<Box<dyn Device>, Error> {
        self.new.start(model, setup, outside)
    }
    fn reusing(&self) -> Option<&dyn Program> {
        Some(&self.again)
    }
}

impl Program for Again {
    fn describe(&self) -> Result<Manifest, Error> {
        self.program.describe()
    }
    fn outside(&self) -> Result<Outside, Error> {
        self.program.outside()
    }
    fn start(&self, model: &ModelId, setup: &Setup, outside: &Outside) -> Result<Box<dyn Device>, Error> {
        let keeps = self.keeps;
        let start = || {
            let device = self.program.start(model, setup, outside)?;
            Ok::<_, Error>(Marked { device, keeps, saw_value: false, is_marked: false, was_used: false })
        };
        if !self.reuses {
            return Ok(Box::new(start()?));
        }
        let waiting = {
            let mut idle = locked(&self.idle);
            idle.iter().position(|(other, _)| other == setup).map(|at| idle.remove(at).1)
        };
        let device = Some(waiting.map_or_else(start, Ok)?);
        Ok(Box::new(Sticky { device, setup: setup.clone(), idle: Arc::clone(&self.idle) }))
    }
}

impl Marked {
    fn sees(&mut self, step: &Step) {
        const RARE: u64 = 0x2a;
        self.saw_value |= matches!(step, Step::Write { value, .. } if value & 0x3f == RARE);
    }
}

macro_rules! passed_on {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $gives:ty;)*) => {
        $(fn $name(&mut self $(, $arg: $ty)*) -> Result<$gives, Error> { self.device.$name($($arg),*) })*
    };
}

impl Device for Marked {
    passed_on! {
        state() -> State;
        set_state(to: State) -> ();
        read_state(into: &mut [u8]) -> usize;
        estimate() -> Option<u64>;
        guest_memory() -> Vec<u8>;
        set_guest_memory(memory: &[u8]) -> ();
        dirty_memory() -> Option<Vec<Range<usize>>>;
        footprint() -> Option<u64>;
    }
    fn capabilities(&self) -> Capabilities {
        self.device.capabilities()
    }
    fn guest(&mut self, step: &Step) -> Result<Seen, Error> {
        self.sees(step);
        let mut seen = self.device.guest(step)?;
        if self.is_marked && matches!(step, Step::Read { .. }) {
            seen.0.push(Sight::Bytes(vec![1]));
        }
        Ok(seen)
    }
    fn write_state(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.keeps == Keeps::ARefusal && self.was_used {
            return Err(Refusal::ByDevice("it had one already".to_owned()).into());
        }
        self.device.write_state(bytes)
    }
    fn reset(&mut self) -> Result<(), Error> {
        self.is_marked |= self.keeps == Keeps::ARareValue && self.saw_value;
        self.device.reset()
    }
}

impl Sticky {
    fn marked(&mut self) -> &mut Marked {
        self.device.as_mut().expect("it is gone on drop only")
    }
}

macro_rules! lent {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $gives:ty;)*) => {
        $(fn $name(&mut self $(, $arg: $ty)*) -> Result<$gives, Error> { self.marked().$name($($arg),*) })*
    };
}

impl Device for Sticky {
    lent! {
        state() -> State;
        set_state(to: State) -> ();
        read_state(into: &mut [u8]) -> usize;
        write_state(bytes: &[u8]) -> ();
        estimate() -> Option<u64>;
        reset() -> ();
        guest(step: &Step) -> Seen;
        guest_memory() -> Vec<u8>;
        set_guest_memory(memory: &[u8]) -> ();
        dirty_memory() -> Option<Vec<Range<usize>>>;
        footprint() -> Option<u64>;
    }
    fn capabilities(&self) -> Capabilities {
        self.device.as_ref().expect("it is gone on drop only").capabilities()
    }
}

impl Drop for Sticky {
    fn drop(&mut self) {
        let Some(mut device) = self.device.take() else { return };
        let back = match device.keeps {
            Keeps::Everything => device.set_state(State::Running),
            _ => device.reset(),
        };
        device.was_used = true;
        if back.is_ok() {
            locked(&self.idle).push((self.setup.clone(), device));
        }
    }
}

fn subject(keeps: Keeps) -> Subject {
    let program = program(keeps);
    let manifest = program.describe().expect("described");
    Subject::new("nic".to_owned(), program, manifest).timeless()
}

/// The results of some rules, and how often instances were used again.
fn results(keeps: Keeps, reuse: bool) -> (Vec<RuleResult>, Option<Reused>) {
    let ids = ["walks-arrive", "twin-after-load", "source-goes-on", "chunking", "reset-is-fresh"];
    results_of(&ids, keeps, reuse)
}

fn results_of(ids: &[&str], keeps: Keeps, reuse: bool) -> (Vec<RuleResult>, Option<Reused>) {
    let subjects = [subject(keeps)];
    let known = Known::default();
    let reopen = |_: &str| Ok(subject(keeps));
    let job = Job {
        subjects: &subjects,
        rules: ids.iter().filter_map(|id| rules::named(id)).collect(),
        seed: 1,
        cases: 200 / ids.len() as u32,
        fit: None,
        shrinks: 0,
        threads: Threads::exactly(1),
        budget: Budget::unlimited(),
        known: &known,
        reuse,
        reopen: &reopen,
    };
    let ran = run(&job, &|_| ());
    let results = ran.pieces.into_iter().map(|piece| piece.judged).collect();
    (results, ran.reused.into_iter().next().flatten())
}

fn broken(results: &[RuleResult]) -> Vec<&str> {
    let broken = results.iter().filter(|result| matches!(result.outcome, Outcome::Broken(_)));
    broken.map(|result| result.rule.id).collect()
}

#[test]
fn instances_are_used_again_where_a_reset_gives_a_fresh_one() {
    let (new, none) = results(Keeps::Nothing, false);
    let (again, reused) = results(Keeps::Nothing, true);
    assert_eq!(none, None);
    let reused = reused.expect("they are used again");
    assert_eq!((reused.cases, reused.both, reused.differs), (200, 5, None));
    let outcomes = |results: &[RuleResult]| -> Vec<_> {
        results.iter().map(|result| (result.outcome.clone(), result.judged, result.counted.clone())).collect()
    };
    assert_eq!(outcomes(&new), outcomes(&again));
}

/// Nothing that was seen on instances with a past is taken for what the device does.
#[test]
fn instances_that_differ_are_not_used_again_and_all_is_judged_once_more() {
    let (new, _) = results(Keeps::Everything, false);
    let (again, reused) = results(Keeps::Everything, true);
    let differs = reused.and_then(|reused| reused.differs).expect("they differ");
    assert!(differs.ends_with("broken on reused instances, held on new ones"), "{differs}");
    assert_eq!(broken(&new), [""; 0]);
    assert_eq!(broken(&again), [""; 0]);
    let judged = |results: &[RuleResult]| results.iter().map(|result| result.judged).collect::<Vec<_>>();
    assert_eq!(judged(&new), judged(&again));
}

/// What a reset left of one case is found by another, and becomes a finding of a rule about resets.
#[test]
fn what_a_reset_leaves_becomes_a_finding() {
    let (again, reused) = results(Keeps::ARareValue, true);
    assert!(reused.and_then(|reused| reused.differs).is_some());
    assert_eq!(broken(&again), ["reset-is-fresh"]);
}

/// A rule that does not apply to instances with a past is judged on new ones.
#[test]
fn what_does_not_apply_to_reused_instances_only_is_a_difference() {
    let (again, reused) = results_of(&["reset-forgets-a-load"], Keeps::ARefusal, true);
    let differs = reused.and_then(|reused| reused.differs).expect("they differ");
    assert!(differs.ends_with("not-applicable on reused instances, held on new ones"), "{differs}");
    assert_eq!((again[0].outcome.clone(), again[0].judged), (Outcome::Held, 200));
}
