//! The guest of a register interface: reads and writes what the device lists, lets packets
//! arrive and time pass.

use super::Guest;
use crate::draw::list;
use arbitrary::{Result, Unstructured};
use migcert_core::device::{Register, Seen, Sight, Step};
use std::sync::Arc;

/// A packet has at most so many bytes.
const PACKET: usize = 24;

/// Windows are looked at in so many places, spread evenly.
const LOOK: u32 = 16;

/// So many places of a window are written at the end of a script.
const USE: u32 = 8;

/// So many packets arrive at the end of a script.
const ARRIVALS: u8 = 4;

/// Registers with values up to this show all of them alike.
const SMALL: u64 = 8;

/// A script that dwells on few registers has at most so many.
const FEW: usize = 6;

/// See the module.
pub struct Registers {
    all: Arc<[Register]>,
    /// The register that the last step used: what belongs together lies together.
    last: usize,
    /// The registers that this script is about; drawn with its first step.
    used: Vec<usize>,
}

impl Registers {
    /// The guest of these registers.
    pub fn new(all: Arc<[Register]>) -> Registers {
        Registers { all, last: 0, used: Vec::new() }
    }

    /// The register at an offset, and which of them it is if it repeats.
    fn at(&self, region: u32, offset: u64) -> Option<(&Register, u64)> {
        self.all.iter().find_map(|register| {
            let into = offset.checked_sub(register.offset)?;
            let (index, rest) = (into / u64::from(register.stride), into % u64::from(register.stride));
            let here = register.region == region && index < u64::from(register.count) && rest == 0;
            here.then_some((register, index))
        })
    }

    fn name(&self, region: u32, offset: u64) -> String {
        match self.at(region, offset) {
            Some((register, index)) => {
                let index = if register.count == 1 { String::new() } else { format!("[{index}]") };
                let alike = self.all.iter().filter(|other| other.name == register.name).count();
                let place = if alike == 1 { String::new() } else { format!(" of region {region}") };
                format!("{}{index}{place}", register.name)
            }
            None => format!("{offset:#x} of region {region}"),
        }
    }

    /// Draws a read or a write of some register.
    fn access(&mut self, reads: bool, u: &mut Unstructured<'_>) -> Result<Step> {
        if self.used.is_empty() {
            self.used = self.dwell(u)?;
        }
        self.last = match u.int_in_range(0..=3u8)? {
            0 => (self.last + 1) % self.all.len(),
            _ => *u.choose(&self.used)?,
        };
        let register = &self.all[self.last];
        let index = match u.int_in_range(0..=1u8)? {
            0 => u.int_in_range(0..=register.count.min(4) - 1)?,
            _ => u.int_in_range(0..=register.count - 1)?,
        };
        if reads || !register.writable {
            return Ok(read(register, index));
        }
        let value = match u.int_in_range(0..=3u8)? {
            0 => u.int_in_range(0..=register.max.min(SMALL))?,
            1 if SMALL < register.max => register.max,
            2 if SMALL < register.max => 1 << u.int_in_range(0..=register.max.max(1).ilog2())?,
            _ => u.int_in_range(0..=register.max)?,
        };
        Ok(write(register, index, value))
    }
}

impl Registers {
    /// Draws what a script is about: everything, or a few registers, which then get into states
    /// that take several steps.
    fn dwell(&self, u: &mut Unstructured<'_>) -> Result<Vec<usize>> {
        let all = self.all.len();
        if all <= FEW || u.ratio(1, 3)? {
            return Ok((0..all).collect());
        }
        let mut few = vec![u.choose_index(all)?];
        few.extend(list(u, FEW - 1, |u| u.choose_index(all))?);
        Ok(few)
    }
}

impl Guest for Registers {
    fn draw(&mut self, u: &mut Unstructured<'_>) -> Result<Step> {
        let verb = u.int_in_range(0..=9u8)?;
        if self.all.is_empty() || verb == 9 {
            return Ok(Step::Pass(u.int_in_range(1..=4)?));
        }
        if verb == 8 {
            let mut packet = vec![u.int_in_range(0..=7)?];
            packet.extend(list(u, PACKET - 1, |u| u.arbitrary::<u8>())?);
            return Ok(Step::Receive(packet));
        }
        self.access(verb < 2, u)
    }

    /// Looks, and uses everything once more: what a device does then tells more than its registers.
    fn look_around(&self) -> Vec<Step> {
        let mut steps = vec![Step::Pass(2)];
        for register in self.all.iter() {
            let apart = register.count.div_ceil(LOOK).max(1);
            steps.extend((0..register.count).step_by(apart as usize).map(|index| read(register, index)));
        }
        steps.push(Step::Pass(8));
        steps.extend((1..=ARRIVALS).map(|first| Step::Receive(vec![first])));
        steps.push(Step::Pass(2));
        for register in self.all.iter().filter(|register| register.writable) {
            // The largest values, and each another.
            let value = |index: u32| register.max.saturating_sub(index.into());
            steps.extend((0..register.count.min(USE)).map(|index| write(register, index, value(index))));
        }
        steps.push(Step::Pass(8));
        steps.extend(self.all.iter().map(|register| read(register, 0)));
        steps
    }

    fn leaves_in_flight(&self, _: &[Step]) -> bool {
        false
    }

    fn tell(&self, step: &Step) -> String {
        match step {
            Step::Read { region, offset, .. } => {
                format!("the guest reads {}", self.name(*region, *offset))
            }
            Step::Write { region, offset, value, .. } => {
                format!("the guest writes {value:#x} to {}", self.name(*region, *offset))
            }
            Step::Receive(bytes) => {
                format!("a packet of {} bytes arrives: {}", bytes.len(), hex::encode(bytes))
            }
            Step::Pass(units) => format!("the device gets time for {units} units of its own work"),
            Step::Request(words) => format!("the guest asks: {words}"),
        }
    }

    fn plausible(&self, step: &Step, seen: &Seen) -> std::result::Result<(), String> {
        let Step::Read { region, offset, .. } = step else { return Ok(()) };
        let Some((register, _)) = self.at(*region, *offset) else { return Ok(()) };
        match seen.0.iter().find(|sight| matches!(sight, Sight::Value(v) if register.max < *v)) {
            Some(sight) => {
                Err(format!("{} is never more than {:#x} and reads {sight}", register.name, register.max))
            }
            None => Ok(()),
        }
    }
}

fn read(register: &Register, index: u32) -> Step {
    Step::Read { region: register.region, offset: offset(register, index), size: register.size }
}

fn write(register: &Register, index: u32, value: u64) -> Step {
    Step::Write { region: register.region, offset: offset(register, index), size: register.size, value }
}

fn offset(register: &Register, index: u32) -> u64 {
    register.offset + u64::from(index) * u64::from(register.stride)
}
