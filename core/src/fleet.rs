//! Chapter: many implementations of one model, made ready to be checked against and chosen from.
//!
//! Names and texts become numbers and sets become ranges of numbers, once; a check is then one walk
//! over two short rows of numbers. This is the only check there is: [`check`](crate::compat::check)
//! is a fleet of one.

use crate::compat::Reason;
use crate::flat::{Flat, Kind, Set, Words};
use crate::param::{Configuration, Param, ParamName, Value};
use crate::program::{Description, ParameterList, Requires};
use std::collections::BTreeMap;
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
    pub fn list<'f>(&'f self, list: &'f ParameterList) -> List<'f> {
        let [named, left_out] = [&list.named, &list.left_out].map(|side| Listed::new(side, &self.words));
        List { members: &self.members, named, left_out }
    }

    /// Of some migration parameter lists, those that can move among all members and back: a choice
    /// for a new machine is the first of them.
    ///
    /// Every member takes such a list, and none has one of its values for its own off value: a
    /// source there would not name it any more, and a third member could miss it. What it leaves
    /// out is off by the same value wherever it is known.
    pub fn movable<'c>(
        &self,
        lists: impl IntoIterator<Item = &'c ParameterList>,
    ) -> impl Iterator<Item = &'c ParameterList> {
        let drifting = self.drifting();
        lists.into_iter().filter(move |list| {
            let list = self.list(list);
            let named = &list.named.entries;
            let takes = |answer: Answer<'_>| answer.is_compatible() && answer.there.names_all(named);
            let is_named = |name: &i64| named.binary_search_by_key(name, |(name, _)| *name).is_ok();
            list.answers().all(takes) && drifting.iter().all(is_named)
        })
    }

    /// The parameters that are off by one value at one member and by another at another.
    fn drifting(&self) -> Vec<i64> {
        let mut offs = BTreeMap::<i64, (Flat, bool)>::new();
        for slot in self.members.iter().flat_map(|member| &member.slots) {
            let (off, drifts) = offs.entry(slot.name).or_insert((slot.off, false));
            *drifts |= *off != slot.off;
        }
        offs.into_iter().filter(|(_, (_, drifts))| *drifts).map(|(name, _)| name).collect()
    }
}

/// A migration parameter list, ready to be checked against a fleet.
pub struct List<'f> {
    members: &'f [Member<'f>],
    named: Listed<'f>,
    left_out: Listed<'f>,
}

/// What a list names, or what it leaves out, in numbers: in the order of names, which is that of their numbers.
struct Listed<'f> {
    words: Vec<(&'f ParamName, &'f Value)>,
    entries: Vec<(i64, Flat)>,
}

impl<'f> Listed<'f> {
    fn new(side: &'f Configuration, words: &Words<'_>) -> Listed<'f> {
        let entry = |(name, value): (&ParamName, _)| (words.number(name.as_str()), words.flat(value));
        Listed { words: side.iter().collect(), entries: side.iter().map(entry).collect() }
    }
}

impl List<'_> {
    /// What each member has to say, in their order. Choosing a destination is to take a compatible
    /// one: effort grows with the number of members.
    pub fn answers(&self) -> impl Iterator<Item = Answer<'_>> {
        self.members.iter().map(|there| {
            let faults = there.check(&self.named.entries, &self.left_out.entries);
            Answer { list: self, there, faults }
        })
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
                Fault::Off(at, place) => {
                    let (name, here) = self.list.left_out.words[at];
                    let there = self.there.params[place].1.off.clone();
                    others.extend(there.map(|there| Reason::OffValueDiffers {
                        name: name.clone(),
                        here: here.clone(),
                        there,
                    }));
                }
                Fault::Type(at, place) => {
                    let (name, value) = self.list.named.words[at];
                    let there = self.there.params[place].1.ty;
                    named.push(Reason::TypeDiffers { name: name.clone(), value: value.clone(), there });
                }
                Fault::Unknown(at) => {
                    named.push(Reason::ParameterUnknown(self.list.named.words[at].0.clone()))
                }
                Fault::Value(at) => {
                    let (name, value) = self.list.named.words[at];
                    named.push(Reason::ValueNotAllowed(name.clone(), value.clone()));
                }
            }
        }
        named.append(&mut others);
        named
    }
}

/// A fault by places: `at` counts what the list names, or leaves out, `place` what the member describes.
enum Fault {
    CannotBeOff(usize),
    Combination(usize),
    Off(usize, usize),
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
    fn check(&self, list: &[(i64, Flat)], left_out: &[(i64, Flat)]) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut absent = 0;
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
                    // What the list leaves out is set to off, so it must have an off, and the source's.
                    _ => {
                        while left_out.get(absent).is_some_and(|(name, _)| *name < slot.name) {
                            absent += 1;
                        }
                        if slot.off.kind == Kind::NONE {
                            note(&mut faults, Fault::CannotBeOff(place));
                        } else if let Some((name, off)) = left_out.get(absent)
                            && *name == slot.name
                            && *off != slot.off
                        {
                            note(&mut faults, Fault::Off(absent, place));
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
