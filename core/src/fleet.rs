//! Chapter: many implementations of one model, made ready to be checked against and chosen from.
//!
//! Names and texts become numbers and sets become ranges of numbers, once; a check is then one walk
//! over two short rows of numbers. This is the only check there is: [`check`](crate::compat::check)
//! is a fleet of one.

use crate::compat::Reason;
use crate::flat::{Flat, Kind, Set, Words};
use crate::param::{Configuration, Param, ParamName, Value};
use crate::program::{Description, Requires};
use std::iter;

/// Descriptions of one model, in the order they were given.
pub struct Fleet<'a> {
    words: Words<'a>,
    members: Vec<Member<'a>>,
}

impl<'a> Fleet<'a> {
    /// Prepares descriptions, each for all checks to come.
    pub fn new(descriptions: impl IntoIterator<Item = &'a Description>) -> Fleet<'a> {
        let descriptions: Vec<_> = descriptions.into_iter().collect();
        let words = Words::of(&descriptions);
        let members = descriptions.into_iter().map(|description| Member::new(description, &words)).collect();
        Fleet { words, members }
    }

    /// Prepares a migration parameter list, for the checks against all members.
    pub fn list<'f>(&'f self, list: &'f Configuration) -> List<'f> {
        let entry =
            |(name, value): (&ParamName, _)| (self.words.number(name.as_str()), self.words.flat(value));
        List {
            members: &self.members,
            named: list.iter().collect(),
            entries: list.iter().map(entry).collect(),
        }
    }

    /// Of some migration parameter lists, those that can move among all members and back: a choice
    /// for a new machine is the first of them.
    ///
    /// Every member takes such a list, and none has one of its values for its own off value: a
    /// source there would not name it any more, and a third member could miss it.
    pub fn movable<'c>(
        &self,
        lists: impl IntoIterator<Item = &'c Configuration>,
    ) -> impl Iterator<Item = &'c Configuration> {
        lists.into_iter().filter(|list| {
            let list = self.list(list);
            list.answers().all(|answer| answer.is_compatible() && answer.there.names_all(&list.entries))
        })
    }
}

/// A migration parameter list, ready to be checked against a fleet.
pub struct List<'f> {
    members: &'f [Member<'f>],
    /// In the order of names, which is that of their numbers.
    named: Vec<(&'f ParamName, &'f Value)>,
    entries: Vec<(i64, Flat)>,
}

impl List<'_> {
    /// What each member has to say, in their order. Choosing a destination is to take a compatible
    /// one: effort grows with the number of members.
    pub fn answers(&self) -> impl Iterator<Item = Answer<'_>> {
        self.members.iter().map(|there| Answer { list: self, there, faults: there.check(&self.entries) })
    }
}

/// All that a member has against a list, put into words on demand.
pub struct Answer<'l> {
    list: &'l List<'l>,
    there: &'l Member<'l>,
    faults: Vec<Fault>,
}

impl Answer<'_> {
    /// Whether nothing speaks against the migration.
    pub fn is_compatible(&self) -> bool {
        self.faults.is_empty()
    }

    /// Every reason: what the list names, in the order of names, then what it doesn't name, then
    /// what doesn't go together.
    pub fn reasons(&self) -> Vec<Reason> {
        let (mut named, mut others) = (Vec::new(), Vec::new());
        for fault in &self.faults {
            match *fault {
                Fault::CannotBeOff(place) => {
                    others.push(Reason::CannotBeOff(self.there.params[place].0.clone()));
                }
                Fault::Combination(i) => others.push(Reason::Combination(self.there.requires[i].clone())),
                Fault::Type(at, place) => {
                    let (name, value) = self.list.named[at];
                    let there = self.there.params[place].1.ty;
                    named.push(Reason::TypeDiffers { name: name.clone(), value: value.clone(), there });
                }
                Fault::Unknown(at) => named.push(Reason::ParameterUnknown(self.list.named[at].0.clone())),
                Fault::Value(at) => {
                    let (name, value) = self.list.named[at];
                    named.push(Reason::ValueNotAllowed(name.clone(), value.clone()));
                }
            }
        }
        named.append(&mut others);
        named
    }
}

/// A fault by places: `at` counts what the list names, `place` what the member describes.
enum Fault {
    CannotBeOff(usize),
    Combination(usize),
    Type(usize, usize),
    Unknown(usize),
    Value(usize),
}

/// A description in numbers.
struct Member<'a> {
    params: Vec<(&'a ParamName, &'a Param)>,
    requires: &'a [Requires],
    slots: Vec<Slot>,
}

/// A parameter, and every condition of `requires` that is on it.
struct Slot {
    name: i64,
    kind: Kind,
    off: Flat,
    allowed: Set,
    conditions: Vec<Condition>,
}

/// A set that a parameter has to be in, or the clause's bit is set.
struct Condition {
    word: usize,
    on: Missed,
    set: Set,
}

impl<'a> Member<'a> {
    fn new(description: &'a Description, words: &Words<'_>) -> Member<'a> {
        let params: Vec<_> = description.params.iter().collect();
        let slot = |&(name, param): &(&ParamName, &Param)| Slot {
            name: words.number(name.as_str()),
            kind: Kind::of(param.ty),
            off: param.off.as_ref().map_or(Flat::ABSENT, |off| words.flat(off)),
            allowed: words.set(&param.allowed),
            conditions: Vec::new(),
        };
        let mut slots: Vec<_> = params.iter().map(slot).collect();
        let place = |name: &ParamName| params.binary_search_by_key(&name, |param| param.0).ok();
        for (i, clause) in description.requires.iter().enumerate() {
            // An `if` on what isn't described is never met.
            if clause.when.keys().any(|name| place(name).is_none()) {
                continue;
            }
            let (word, bit) = (i / 64, 1 << (i % 64));
            let when = clause.when.iter().map(|entry| (entry, Missed { when: bit, then: 0 }));
            let then = clause.then.iter().map(|entry| (entry, Missed { when: 0, then: bit }));
            for ((name, set), on) in when.chain(then) {
                if let Some(place) = place(name) {
                    slots[place].conditions.push(Condition { word, on, set: words.set(set) });
                }
            }
        }
        Member { params, requires: &description.requires, slots }
    }

    /// Whether a source with these values names them all: none is off here.
    fn names_all(&self, list: &[(i64, Flat)]) -> bool {
        list.iter().all(|(name, value)| {
            let place = self.slots.binary_search_by_key(name, |slot| slot.name);
            place.is_ok_and(|place| self.slots[place].off != *value)
        })
    }

    /// to the end: neither the list nor the description is left before its last row.
    fn check(&self, list: &[(i64, Flat)]) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut clauses = Clauses::new(self.requires.len());
        let mut rest = list;
        for (place, slot) in self.slots.iter().enumerate() {
            let value = loop {
                let at = list.len() - rest.len();
                match rest {
                    [(name, value), others @ ..] if *name == slot.name => {
                        rest = others;
                        if value.kind != slot.kind {
                            note(&mut faults, Fault::Type(at, place));
                        } else if !slot.allowed.contains(*value) {
                            note(&mut faults, Fault::Value(at));
                        }
                        break *value;
                    }
                    [(name, _), others @ ..] if *name < slot.name => {
                        rest = others;
                        note(&mut faults, Fault::Unknown(at));
                    }
                    // What the list leaves out is set to off, so it must have an off.
                    _ => {
                        if slot.off.kind == Kind::NONE {
                            note(&mut faults, Fault::CannotBeOff(place));
                        }
                        break slot.off;
                    }
                }
            };
            slot.conditions.iter().for_each(|condition| clauses.judge(condition, value));
        }
        (list.len() - rest.len()..list.len()).for_each(|at| note(&mut faults, Fault::Unknown(at)));
        clauses.broken(|clause| note(&mut faults, Fault::Combination(clause)));
        faults
    }
}

/// Most checks have nothing to note.
#[cold]
#[inline(never)]
fn note(faults: &mut Vec<Fault>, fault: Fault) {
    faults.push(fault);
}

/// Whether a condition under `if` isn't met, and one under `then`: a bit for each clause.
#[derive(Clone, Copy, Default)]
struct Missed {
    when: u64,
    then: u64,
}

/// The clauses by 64: the first of them at hand, for there are seldom more.
struct Clauses {
    first: Missed,
    more: Vec<Missed>,
}

impl Clauses {
    fn new(count: usize) -> Clauses {
        let more = count.div_ceil(64).saturating_sub(1);
        Clauses { first: Missed::default(), more: vec![Missed::default(); more] }
    }

    #[inline]
    fn judge(&mut self, Condition { word, on, set }: &Condition, value: Flat) {
        let missed = if *word == 0 { &mut self.first } else { &mut self.more[word - 1] };
        if !set.contains(value) {
            missed.when |= on.when;
            // As `Requires::holds`: a parameter without a value is not judged.
            missed.then |= if value.kind == Kind::NONE { 0 } else { on.then };
        }
    }

    /// Tells each clause whose `if` is met and whose `then` isn't.
    #[inline]
    fn broken(&self, mut tell: impl FnMut(usize)) {
        for (word, missed) in iter::once(&self.first).chain(&self.more).enumerate() {
            let mut bits = missed.then & !missed.when;
            while bits != 0 {
                tell(word * 64 + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        }
    }
}
