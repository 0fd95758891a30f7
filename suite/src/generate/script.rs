//! Cases: guest steps, the points where the device moves, and damage in transit.

use super::setup;
use crate::case::{Case, Draws};
use crate::damage::Damage;
use crate::draw::list;
use crate::finding::Class;
use crate::guests::{self, Guest};
use crate::rule::Rule;
use arbitrary::{Result, Unstructured};
use migcert_core::compat;
use migcert_core::device::{Interface, State, Step};
use migcert_core::model::ModelId;
use migcert_core::program::{Manifest, Model};
use migcert_core::version::Setup;

/// Maximum number of steps of a script, before the guest looks around.
const STEPS: usize = 40;
/// Maximum number of accidents to a state in transit.
const DAMAGES: usize = 4;
/// Maximum number of forgeries in a case.
const FORGERIES: usize = 24;
/// Maximum number of states in a walk.
const WALK: usize = 8;
/// Maximum number of piece sizes, used in turn.
const PIECES: usize = 4;
/// Maximum number of configurations drawn to find one that can migrate.
const TRIES: usize = 8;

/// The implementations that a case is drawn for.
pub struct Between<'a> {
    /// The source's name and description.
    pub source: (&'a str, &'a Manifest),
    /// The destination's name and description.
    pub destination: (&'a str, &'a Manifest),
    /// The guest interface of a setup of the source.
    pub interface: &'a dyn Fn(&ModelId, &Setup) -> Option<Interface>,
    /// The index of the case in its rule, if it has one: the first cases leave less to chance.
    pub number: Option<u32>,
}

/// Draws a case for a rule. `None` where the source describes no model.
pub fn case(u: &mut Unstructured<'_>, rule: &Rule, between: &Between<'_>) -> Result<Option<Case>> {
    let models = &between.source.1.models;
    let shared: Vec<_> =
        models.iter().filter(|(id, _)| between.destination.1.models.contains_key(*id)).collect();
    let (id, model) = match (shared.is_empty(), models.iter().next()) {
        (false, _) => *u.choose(&shared)?,
        (true, Some(first)) => first,
        (true, None) => return Ok(None),
    };
    let mut case = Case {
        rule: rule.id.to_owned(),
        destination: between.destination.0.to_owned(),
        ..Case::plain(between.source.0, id, model.latest())
    };
    if Draws::Setup <= rule.draws {
        case.setup = movable_setup(u, id, model, between.destination.1)?;
        case.other = Some(setup::setup(u, model)?);
    }
    if Draws::Script <= rule.draws {
        (case.script, case.at) = match (between.interface)(id, &case.setup) {
            Some(interface) => story(u, rule, &mut *guests::of(&interface), between.number)?,
            None => (Vec::new(), [moment(u, 0, 0)?, moment(u, 0, 0)?]),
        };
        case.pieces = pieces(u)?;
    }
    match rule.draws {
        Draws::Accident => case.damage = accidents(u)?,
        Draws::Damage | Draws::Walk => case.damage = damage(u)?,
        Draws::Nothing | Draws::Setup | Draws::Script => {}
    }
    if Draws::Walk <= rule.draws {
        case.walk = list(u, WALK, |u| u.choose(&State::ALL).copied())?;
    }
    Ok(Some(case))
}

/// Draws a setup, mostly one that the destination accepts, if one is found.
fn movable_setup(
    u: &mut Unstructured<'_>,
    id: &ModelId,
    model: &Model,
    destination: &Manifest,
) -> Result<Setup> {
    let mut drawn = setup::setup(u, model)?;
    for _ in 1..TRIES {
        if compat::check(id, model, &drawn, destination).is_compatible() || u.ratio(1, 4)? {
            break;
        }
        drawn = setup::setup(u, model)?;
    }
    Ok(drawn)
}

/// Draws the script, and the points where the device moves.
fn story(
    u: &mut Unstructured<'_>,
    rule: &Rule,
    guest: &mut dyn Guest,
    number: Option<u32>,
) -> Result<(Vec<Step>, [usize; 2])> {
    let mut steps = match number {
        Some(number) => guest.directed(number, u)?,
        None => Vec::new(),
    };
    let drawn = steps.len();
    if drawn != 0 {
        look(guest, &mut steps);
        // Steps while the device is read in PRE_COPY are easily lost, too.
        let is_read_meanwhile = rule.sees.contains(&Class::PreCopy);
        return Ok((steps, [if is_read_meanwhile { drawn / 2 } else { drawn }, drawn]));
    }
    let (steps, drawn) = drawn_script(u, guest)?;
    let mut moment = || {
        let is_late = guest.moves_late() && u.arbitrary()?;
        if is_late { Ok(drawn) } else { moment(u, drawn, steps.len()) }
    };
    let mut at = [moment()?, moment()?];
    at.sort_unstable();
    Ok((steps, at))
}

/// Draws the script of a guest, which mostly looks around at the end.
pub fn script(u: &mut Unstructured<'_>, guest: &mut dyn Guest) -> Result<Vec<Step>> {
    drawn_script(u, guest).map(|(steps, _)| steps)
}

/// The same, and the number of steps before the guest looks around.
fn drawn_script(u: &mut Unstructured<'_>, guest: &mut dyn Guest) -> Result<(Vec<Step>, usize)> {
    let mut steps = Vec::new();
    while steps.len() < STEPS && u.int_in_range(0..=15u8)? != 0 {
        steps.push(guest.draw(u)?);
    }
    let drawn = steps.len();
    if u.int_in_range(0..=3u8)? != 0 {
        look(guest, &mut steps);
    }
    Ok((steps, drawn))
}

fn look(guest: &dyn Guest, steps: &mut Vec<Step>) {
    steps.extend(guest.look_back(steps));
    steps.extend(guest.look_around());
}

/// Draws the point where the device moves: anywhere, or just before the guest looks around, so that it looks
/// at the device that moved.
fn moment(u: &mut Unstructured<'_>, drawn: usize, len: usize) -> Result<usize> {
    let last = if u.arbitrary()? { drawn } else { len };
    u.int_in_range(0..=last)
}

/// Draws accidents that follow each other; an accident is never sealed.
pub fn accidents(u: &mut Unstructured<'_>) -> Result<Vec<Damage>> {
    let mut accidents = vec![Damage::draw(u)?];
    accidents.extend(list(u, DAMAGES - 1, |u| Damage::draw(u))?);
    Ok(accidents)
}

/// Draws accidents, or forgeries to be tried one by one.
pub fn damage(u: &mut Unstructured<'_>) -> Result<Vec<Damage>> {
    if u.ratio(1, 2)? {
        let mut accidents = accidents(u)?;
        if u.ratio(1, 3)? {
            accidents.push(Damage::Reseal);
        }
        return Ok(accidents);
    }
    let mut forgeries = vec![Damage::forge(u)?];
    while forgeries.len() < FORGERIES && u.int_in_range(0..=31u8)? != 0 {
        forgeries.push(Damage::forge(u)?);
    }
    Ok(forgeries)
}

/// Draws the sizes of the pieces that the state is carried in.
pub fn pieces(u: &mut Unstructured<'_>) -> Result<Vec<u32>> {
    list(u, PIECES, |u| {
        Ok(match u.int_in_range(0..=3u8)? {
            0 => u.int_in_range(1..=8)?,
            1 => u.int_in_range(1..=300)?,
            2 => 4096,
            _ => u.int_in_range(1..=1 << 17)?,
        })
    })
}
