//! The guest of a device of which only regions are known: accesses of every size, to its regions
//! and to its own memory, of which it tells the device.

use super::Guest;
use super::registers::Registers;
use arbitrary::{Result, Unstructured};
use migcert_core::device::{self, GUEST_MEMORY, Seen, Step};
use std::sync::Arc;

/// See the module.
pub struct Windows {
    known: Arc<device::Windows>,
    registers: Registers,
}

impl Windows {
    /// The guest of these windows.
    pub fn new(known: Arc<device::Windows>) -> Windows {
        Windows { registers: Registers::new(known.windows.clone()), known }
    }

    /// An address in guest memory, aligned, and near the beginning by preference.
    fn address(&self, u: &mut Unstructured<'_>) -> Result<u64> {
        let size = self.known.memory.end.saturating_sub(self.known.memory.start);
        let into = match u.int_in_range(0..=3u8)? {
            0 => 0,
            1 => u.int_in_range(0..=size.min(256))?,
            _ => u.int_in_range(0..=size)?,
        };
        Ok(self.known.memory.start + (into.min(size.saturating_sub(8)) & !7))
    }
}

impl Guest for Windows {
    fn draw(&mut self, u: &mut Unstructured<'_>) -> Result<Step> {
        let step = match u.int_in_range(0..=9u8)? {
            9 if !self.known.scripts.is_empty() => Step::Request(u.choose(&self.known.scripts)?.clone()),
            8 if !self.known.memory.is_empty() => {
                let (offset, value) = (self.address(u)?, u64::from(u.arbitrary::<u32>()?));
                let value = if u.ratio(1, 2)? { value & 0xff } else { value };
                Step::Write { region: GUEST_MEMORY, offset, size: 4, value }
            }
            _ => self.registers.access(u)?,
        };
        Ok(match step {
            // A device that is told of an address may be told of one that is there.
            Step::Write { region, offset, size: size @ (4 | 8), .. }
                if region != GUEST_MEMORY && !self.known.memory.is_empty() && u.ratio(1, 6)? =>
            {
                Step::Write { region, offset, size, value: self.address(u)? }
            }
            step => step,
        })
    }

    fn look_around(&self) -> Vec<Step> {
        let mut steps = self.registers.look_around();
        steps.retain(|step| !matches!(step, Step::Receive(_)));
        steps
    }

    fn leaves_in_flight(&self, _: &[Step]) -> bool {
        false
    }

    fn tell(&self, step: &Step) -> String {
        match step {
            Step::Write { region: GUEST_MEMORY, offset, value, .. } => {
                format!("the guest writes {value:#x} to its memory at {offset:#x}")
            }
            Step::Read { region: GUEST_MEMORY, offset, .. } => {
                format!("the guest reads its memory at {offset:#x}")
            }
            Step::Request(script) => format!("the guest plays `{script}`"),
            Step::Pass(_) => "the guest waits until the device is quiet".to_owned(),
            step => self.registers.tell(step),
        }
    }

    fn plausible(&self, _step: &Step, _seen: &Seen) -> std::result::Result<(), String> {
        Ok(())
    }
}
