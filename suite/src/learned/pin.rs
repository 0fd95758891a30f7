//! Places as a profile pins them, in TOML: what a report prints, a profile takes as it is.
//!
//! ```toml
//! volatile = [
//!   { region = 0, offset = 0x10, size = 4, bits = 0xff },  # bits of a register; all of them without `bits`
//!   { memory = 0x1000, size = 8, bits = 0xffff },          # of guest memory that the device writes
//!   { interrupt = 1 },                                     # how often an interrupt comes
//!   { interrupt = 1, late = true },                        # only in which step
//!   { late = "memory" }, { late = "output" },              # in which step the device writes or sends
//!   { output = "pass", byte = 3 },                         # of what leaves the device in such a step
//!   { reply = "getattr", field = 5 },                      # a word of an answer, from 0; all of it without
//!   { reply = "ring", value = 0, bits = 0xff },            # bits of a value that a script gives
//!   { region = 0, offset = 0x18, size = 8, of = "instance" }, # each has its own, which moves with it; also of
//! ]                                                        # a `memory`, a `byte`, a `field` and a `value`
//! ```
//!
//! A number that TOML has no integer for is a string: `bits = "0xffffffffffffffff"`.

use super::{Nature, PLACES, Place, wide};
use crate::text;
use migcert_core::device::GUEST_MEMORY;
use migcert_core::text::Short;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest name of a step.
const STEP: usize = 4096;

/// An element of `volatile`, as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    region: Option<u32>,
    memory: Option<Number>,
    interrupt: Option<u32>,
    output: Option<String>,
    reply: Option<String>,
    late: Option<Late>,
    offset: Option<Number>,
    size: Option<Number>,
    bits: Option<Number>,
    byte: Option<u32>,
    field: Option<u32>,
    value: Option<u32>,
    of: Option<Of>,
}

/// Whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Of {
    Instance,
}

/// What an element of `volatile` means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pin {
    /// What shows at a place.
    Place(Place, Nature),
    /// Whatever an access gives that touches these bytes.
    Range(Range),
}

/// Bytes of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// Region number.
    pub region: u32,
    /// Bytes from the start of the region.
    pub offset: u64,
    /// How many bytes.
    pub size: u64,
}

/// A number of 64 bits: an integer, or a string where it is too large for TOML.
#[derive(Clone, Copy, Debug)]
struct Number(u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Number, D::Error> {
        struct Reads;
        impl Visitor<'_> for Reads {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of 64 bits, from 0, or a string such as \"0xffffffffffffffff\"")
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Number, E> {
                let unsigned = u64::try_from(value);
                unsigned.map(Number).map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Number, E> {
                Ok(Number(value))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                let digits = text.strip_prefix("0x").filter(|digits| !digits.starts_with('+'));
                let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
                number.map(Number).ok_or_else(|| E::invalid_value(de::Unexpected::Other("this text"), &self))
            }
        }
        deserializer.deserialize_any(Reads)
    }
}

/// What comes now in one step and now in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    /// `true` or `false`, beside an interrupt.
    Is(bool),
    Memory,
    Output,
}

impl<'de> Deserialize<'de> for Late {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Late, D::Error> {
        struct Reads;
        impl Visitor<'_> for Reads {
            type Value = Late;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`true` beside an interrupt, \"memory\" or \"output\"")
            }
            fn visit_bool<E: de::Error>(self, is_late: bool) -> Result<Late, E> {
                Ok(Late::Is(is_late))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Late, E> {
                match text {
                    "memory" => Ok(Late::Memory),
                    "output" => Ok(Late::Output),
                    _ => Err(E::invalid_value(de::Unexpected::Other("this text"), &self)),
                }
            }
        }
        deserializer.deserialize_any(Reads)
    }
}

/// An element of `volatile` that means nothing, or nothing that is not said already.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadPin {
    /// Nothing is hidden by it.
    #[error("it is empty: `{0}` is 0")]
    Empty(&'static str),
    /// It goes on behind the end.
    #[error("bits {bits:#x} are not all in {size} bytes")]
    Outside { bits: u64, size: u8 },
    /// Where nothing can be.
    #[error("offset {0:#x} and its size are together more than 64 bits")]
    End(u64),
    /// What does not belong together.
    #[error("`{0}` says nothing about {1}")]
    Foreign(&'static str, &'static str),
    /// Something is not said.
    #[error("it says what of {0} only with `{1}`")]
    Missing(&'static str, &'static str),
    /// It says nothing, or of too many things.
    #[error(
        "it is about one of `region`, `memory`, `interrupt`, `output`, `reply` and `late`, not {0} of them"
    )]
    Heads(usize),
    /// No access is as wide.
    #[error("size {0} is not 1, 2, 4 or 8, which accesses have")]
    Size(u64),
    /// No step is called so.
    #[error("`{}` is no name of a step: it has from 1 to {STEP} bytes", Short(.0))]
    Step(String),
}

impl Written {
    /// What it means.
    pub(crate) fn pin(self) -> Result<Pin, BadPin> {
        let is_late = matches!(self.late, Some(Late::Memory | Late::Output));
        let heads = [
            self.region.is_some(),
            self.memory.is_some(),
            self.interrupt.is_some(),
            self.output.is_some(),
            self.reply.is_some(),
            is_late,
        ];
        match heads.iter().filter(|is_said| **is_said).count() {
            1 => {}
            many => return Err(BadPin::Heads(many)),
        }
        let Written { region, memory, interrupt, output, reply, .. } = self.clone();
        if let Some(region) = region {
            self.says_only("a region", &["offset", "size", "bits", "of"])?;
            let (Some(Number(offset)), Some(Number(size))) = (self.offset, self.size) else {
                return Err(BadPin::Missing("a region", if self.size.is_some() { "offset" } else { "size" }));
            };
            end(offset, size)?;
            if self.bits.is_some() || self.of.is_some() {
                return self.bits(region, offset);
            }
            return Ok(Pin::Range(Range { region, offset, size }));
        }
        if let Some(Number(offset)) = memory {
            self.says_only("guest memory", &["size", "bits", "of"])?;
            return self.bits(GUEST_MEMORY, offset);
        }
        if let Some(vector) = interrupt {
            self.says_only("an interrupt", &["late"])?;
            let late = self.late == Some(Late::Is(true));
            return Ok(volatile(Place::Interrupt { vector, late }));
        }
        if let Some(step) = output {
            let fields: &[_] = if self.byte.is_some() { &["byte", "of"] } else { &["byte"] };
            self.says_only("what leaves the device", fields)?;
            return Ok(Pin::Place(Place::Output { step: named(step)?, byte: self.byte }, self.nature()));
        }
        if let Some(step) = reply {
            let step = named(step)?;
            let place = match self.value {
                Some(index) => {
                    self.says_only("a value of an answer", &["value", "bits", "of"])?;
                    let bits = not_empty("bits", self.bits.map_or(u64::MAX, |bits| bits.0))?;
                    Place::Value { step, index, bits }
                }
                None if self.field.is_some() => {
                    self.says_only("a word of an answer", &["field", "of"])?;
                    Place::Reply { step, field: self.field }
                }
                None => {
                    self.says_only("an answer", &[])?;
                    Place::Reply { step, field: None }
                }
            };
            return Ok(Pin::Place(place, self.nature()));
        }
        self.says_only("what is late", &["late"])?;
        let is_memory = self.late == Some(Late::Memory);
        Ok(volatile(if is_memory { Place::LateMemory } else { Place::LateOutput }))
    }

    fn nature(&self) -> Nature {
        if self.of.is_some() { Nature::Instance } else { Nature::Volatile }
    }

    fn bits(&self, region: u32, offset: u64) -> Result<Pin, BadPin> {
        let what = if region == GUEST_MEMORY { "guest memory" } else { "a region" };
        let Number(size) = self.size.ok_or(BadPin::Missing(what, "size"))?;
        end(offset, size)?;
        let size = u8::try_from(size).ok().filter(|size| matches!(size, 1 | 2 | 4 | 8));
        let size = size.ok_or(BadPin::Size(self.size.map_or(0, |size| size.0)))?;
        let bits = not_empty("bits", self.bits.map_or(wide(size), |bits| bits.0))?;
        if bits & !wide(size) != 0 {
            return Err(BadPin::Outside { bits, size });
        }
        Ok(Pin::Place(Place::Bits { region, offset, size, bits }, self.nature()))
    }

    /// An error for what would be said in vain.
    fn says_only(&self, what: &'static str, fields: &[&'static str]) -> Result<(), BadPin> {
        let said = [
            ("late", self.late.is_some()),
            ("offset", self.offset.is_some()),
            ("size", self.size.is_some()),
            ("bits", self.bits.is_some()),
            ("byte", self.byte.is_some()),
            ("field", self.field.is_some()),
            ("value", self.value.is_some()),
            ("of", self.of.is_some()),
        ];
        match said.into_iter().find(|(field, is_said)| *is_said && !fields.contains(field)) {
            Some((field, _)) => Err(BadPin::Foreign(field, what)),
            None => Ok(()),
        }
    }
}

fn volatile(place: Place) -> Pin {
    Pin::Place(place, Nature::Volatile)
}

fn named(step: String) -> Result<String, BadPin> {
    if (1..=STEP).contains(&step.len()) { Ok(step) } else { Err(BadPin::Step(step)) }
}

fn not_empty(field: &'static str, value: u64) -> Result<u64, BadPin> {
    if value == 0 { Err(BadPin::Empty(field)) } else { Ok(value) }
}

fn end(offset: u64, size: u64) -> Result<(), BadPin> {
    let size = not_empty("size", size)?;
    offset.checked_add(size).map(drop).ok_or(BadPin::End(offset))
}

impl Pin {
    /// The most of them in a profile.
    pub(crate) const MOST: usize = PLACES;

    /// Whether two of them hide the same in part.
    pub(crate) fn overlaps(&self, other: &Pin) -> bool {
        match (self, other) {
            (Pin::Range(one), Pin::Range(other)) => {
                let ends = |range: &Range| range.offset.saturating_add(range.size);
                one.region == other.region && one.offset < ends(other) && other.offset < ends(one)
            }
            (pin, Pin::Place(Place::Bits { region, offset, size, bits }, _))
            | (Pin::Place(Place::Bits { region, offset, size, bits }, _), pin) => {
                pin.hides(*region, *offset, *size) & bits != 0
            }
            (Pin::Place(one, _), Pin::Place(other, _)) => one.covers(other) || other.covers(one),
            _ => false,
        }
    }

    /// The bits of an access that it hides.
    pub(super) fn hides(&self, region: u32, offset: u64, size: u8) -> u64 {
        let byte = |at: u64| match *self {
            Pin::Range(Range { region: of, offset: from, size }) => {
                let is_in = of == region && at.checked_sub(from).is_some_and(|at| at < size);
                if is_in { u8::MAX } else { 0 }
            }
            Pin::Place(Place::Bits { region: of, offset: from, bits, .. }, _) if of == region => {
                let at = at.checked_sub(from).and_then(|at| usize::try_from(at).ok());
                at.and_then(|at| bits.to_le_bytes().get(at).copied()).unwrap_or(0)
            }
            Pin::Place(..) => 0,
        };
        (0..u64::from(size.min(8)))
            .rev()
            .fold(0, |mask, i| mask << 8 | u64::from(byte(offset.saturating_add(i))))
    }

    /// As an element of `volatile`.
    pub(crate) fn toml(&self) -> String {
        match self {
            Pin::Place(place, Nature::Volatile) => place.toml(),
            Pin::Place(place, Nature::Instance) => {
                let element = place.toml();
                format!("{}, of = \"instance\" }}", element.trim_end_matches(" }"))
            }
            Pin::Range(Range { region, offset, size }) => {
                let (offset, size) = (integer(*offset, true), integer(*size, false));
                format!("{{ region = {region}, offset = {offset}, size = {size} }}")
            }
        }
    }
}

impl Place {
    /// Whether everything that another place hides is hidden here; of bits, whether both are of the
    /// same access.
    pub(super) fn covers(&self, other: &Place) -> bool {
        match (self, other) {
            (
                Place::Reply { step, field: None },
                Place::Reply { step: of, .. } | Place::Value { step: of, .. },
            )
            | (Place::Output { step, byte: None }, Place::Output { step: of, .. }) => step == of,
            _ => self.key() == other.key(),
        }
    }

    /// As a profile pins it: an element of `volatile`, on one line and without a character that would
    /// have to be escaped there.
    pub fn toml(&self) -> String {
        match self {
            Place::Bits { region, offset, size, bits } => {
                let (offset, bits) = (integer(*offset, true), integer(*bits, true));
                match *region {
                    GUEST_MEMORY => format!("{{ memory = {offset}, size = {size}, bits = {bits} }}"),
                    region => {
                        format!("{{ region = {region}, offset = {offset}, size = {size}, bits = {bits} }}")
                    }
                }
            }
            Place::Interrupt { vector, late: true } => format!("{{ interrupt = {vector}, late = true }}"),
            Place::Interrupt { vector, late: false } => format!("{{ interrupt = {vector} }}"),
            Place::LateMemory => "{ late = \"memory\" }".to_owned(),
            Place::LateOutput => "{ late = \"output\" }".to_owned(),
            Place::Output { step, byte } => numbered("output", step, "byte", *byte),
            Place::Reply { step, field } => numbered("reply", step, "field", *field),
            Place::Value { step, index, bits } => {
                let (step, bits) = (text::ascii_toml_string(step), integer(*bits, true));
                format!("{{ reply = {step}, value = {index}, bits = {bits} }}")
            }
        }
    }
}

fn numbered(what: &str, step: &str, of: &str, number: Option<u32>) -> String {
    let number = number.map_or_else(String::new, |number| format!(", {of} = {number}"));
    format!("{{ {what} = {}{number} }}", text::ascii_toml_string(step))
}

/// An integer of TOML, or a string where it has none that is so large.
fn integer(number: u64, in_hex: bool) -> String {
    match i64::try_from(number) {
        Err(_) => format!("\"{number:#x}\""),
        Ok(number) if in_hex => format!("{number:#x}"),
        Ok(number) => number.to_string(),
    }
}

#[cfg(test)]
mod tests;
