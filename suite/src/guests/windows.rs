//! The guest of a device of which only regions are known: accesses of every size, to its regions
//! and to its own memory, of which it tells the device.
//!
//! Registers lie at the beginnings of regions, aligned and mostly of four bytes, and what belongs
//! together lies together; so most accesses go there, and near the last ones.

use super::Guest;
use arbitrary::{Result, Unstructured};
use migcert_core::device::{self, GUEST_MEMORY, Register, Seen, Step};
use region::{Place, Region, SIZES};
use std::sync::Arc;

mod directed;
mod look;
mod region;

/// See the module.
pub struct Windows {
    known: Arc<device::Windows>,
    /// All regions but configuration space.
    regions: Vec<Region>,
    config: Option<Region>,
    /// Words of configuration space that keep something of what is written.
    kept: Vec<Place>,
    /// Where this script was, the last place last.
    used: Vec<Place>,
    /// What comes next, the first of it last.
    planned: Vec<Step>,
}

/// So many places of each size are likely to be registers, the more so the nearer they are to the
/// beginning.
const LIKELY: [u64; 2] = [16, 64];
/// The last access may be so many places away.
const NEAR: u64 = 4;
/// Registers with values up to this show all of them alike.
const SMALL: u64 = 8;
/// A value up to this may be an index, which says what is seen at the next place.
const INDEX: u64 = 15;

impl Windows {
    /// The guest of these windows.
    pub fn new(known: Arc<device::Windows>) -> Windows {
        let of = |number: u32| {
            let windows = known.windows.iter().filter(|window| window.region == number);
            windows.cloned().collect::<Vec<Register>>()
        };
        let mut numbers: Vec<u32> = known.windows.iter().map(|window| window.region).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.retain(|number| known.config != Some(*number));
        let regions = numbers.into_iter().map(|number| Region::new(of(number))).collect();
        let (kept, rest): (Vec<_>, Vec<_>) =
            known.config.map(of).unwrap_or_default().into_iter().partition(|window| window.writable);
        let config = (!rest.is_empty()).then(|| Region::new(rest));
        let kept = kept.iter().map(Place::of).collect();
        Windows { known, regions, config, kept, used: Vec::new(), planned: Vec::new() }
    }

    /// The region of a number, where it is not configuration space.
    fn region(&self, number: u32) -> Option<&Region> {
        self.regions.iter().find(|region| region.number() == number)
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

    fn access(&mut self, u: &mut Unstructured<'_>) -> Result<Step> {
        if let Some(planned) = self.planned.pop() {
            return Ok(planned);
        }
        let reads = u.int_in_range(0..=7u8)? < 3;
        let Some(place) = self.place(u)? else { return Ok(Step::Pass(1)) };
        self.used.push(place);
        if u.int_in_range(0..=7u8)? == 7 {
            self.planned = self.indexed(place, u)?;
        }
        let Some(max) = place.max.filter(|_| !reads) else { return Ok(place.read()) };
        let value = match u.int_in_range(0..=4u8)? {
            0 | 1 => u.int_in_range(0..=max.min(SMALL))?,
            2 => max,
            3 => 1 << u.int_in_range(0..=max.max(1).ilog2())?,
            _ => u.int_in_range(0..=max)?,
        };
        Ok(place.write(value))
    }

    /// Draws a few indices, and what is written behind them.
    fn indexed(&self, index: Place, u: &mut Unstructured<'_>) -> Result<Vec<Step>> {
        let region = self.region(index.region);
        let behind = region.and_then(|region| region.at(index.size, index.offset + u64::from(index.size)));
        let Some(behind) = behind else { return Ok(Vec::new()) };
        let mut steps = Vec::new();
        for _ in 0..u.int_in_range(1..=3)? {
            steps.extend([behind.write(u.arbitrary()?), index.write(u.int_in_range(0..=INDEX)?)]);
        }
        Ok(steps)
    }

    /// Draws where the next access is: somewhere, near the last one, or where there was one before;
    /// seldom in configuration space.
    fn place(&self, u: &mut Unstructured<'_>) -> Result<Option<Place>> {
        let how = u.int_in_range(0..=15u8)?;
        if how == 15 || self.regions.is_empty() {
            return self.in_config(u);
        }
        let place = match (how, self.used.last()) {
            (6..=10, Some(last)) => self.near(*last, u)?,
            (11..=14, Some(_)) => Some(*u.choose(&self.used)?),
            _ => None,
        };
        place.map_or_else(|| self.anywhere(u), |place| Ok(Some(place)))
    }

    fn in_config(&self, u: &mut Unstructured<'_>) -> Result<Option<Place>> {
        let Some(config) = &self.config else { return Ok(self.kept.first().copied()) };
        if !self.kept.is_empty() && u.ratio(3, 4)? {
            return u.choose(&self.kept).map(|place| Some(*place));
        }
        let size = size(config, u)?;
        let count = config.count(size);
        Ok(config.nth(size, u.int_in_range(0..=count.saturating_sub(1))?))
    }

    fn near(&self, last: Place, u: &mut Unstructured<'_>) -> Result<Option<Place>> {
        let Some(region) = self.region(last.region) else { return Ok(None) };
        let size = if u.int_in_range(0..=3u8)? == 3 { size(region, u)? } else { last.size };
        let away = u.int_in_range(0..=NEAR)?.max(1) * u64::from(size);
        let here = last.offset & !(u64::from(size) - 1);
        let offset =
            if u.int_in_range(0..=2u8)? == 2 { here.checked_sub(away) } else { here.checked_add(away) };
        Ok(offset.and_then(|offset| region.at(size, offset)))
    }

    fn anywhere(&self, u: &mut Unstructured<'_>) -> Result<Option<Place>> {
        let region = u.choose(&self.regions)?;
        let size = size(region, u)?;
        let last = region.count(size).saturating_sub(1);
        let among = match u.int_in_range(0..=7u8)? {
            0..=3 => LIKELY[0],
            4 | 5 => LIKELY[1],
            6 => {
                let blocks: Vec<u64> = region.blocks().collect();
                let block = if blocks.is_empty() { 0 } else { *u.choose(&blocks)? };
                let into = u.int_in_range(0..=NEAR)? * u64::from(size);
                return Ok(region.at(size, block + into).or_else(|| region.nth(size, 0)));
            }
            _ => u64::MAX,
        };
        Ok(region.nth(size, u.int_in_range(0..=last.min(among - 1))?))
    }
}

/// Draws a size that the region has: four bytes more often than all others.
fn size(region: &Region, u: &mut Unstructured<'_>) -> Result<u8> {
    let size = match u.int_in_range(0..=9u8)? {
        0..=5 => SIZES[0],
        6 => SIZES[1],
        7 | 8 => SIZES[2],
        _ => SIZES[3],
    };
    Ok(if region.count(size) == 0 { region.usual() } else { size })
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
            _ => self.access(u)?,
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

    fn directed(&self, number: u32, u: &mut Unstructured<'_>) -> Result<Vec<Step>> {
        Ok(directed::script(self, number, u.arbitrary()?))
    }

    fn look_back(&self, after: &[Step]) -> Vec<Step> {
        look::back(self, after)
    }

    fn look_around(&self) -> Vec<Step> {
        look::around(self)
    }

    fn moves_late(&self) -> bool {
        true
    }

    fn leaves_in_flight(&self, _: &[Step]) -> bool {
        false
    }

    fn tell(&self, step: &Step) -> String {
        let place = |region: u32, offset: u64, size: u8| {
            let window = self.known.windows.iter().find(|window| window.region == region);
            let name = window.map_or_else(|| format!("REGION{region}"), |window| window.name.to_string());
            format!("{name}+{offset:#x}/{size}")
        };
        match step {
            Step::Write { region: GUEST_MEMORY, offset, value, .. } => {
                format!("the guest writes {value:#x} to its memory at {offset:#x}")
            }
            Step::Read { region: GUEST_MEMORY, offset, .. } => {
                format!("the guest reads its memory at {offset:#x}")
            }
            Step::Read { region, offset, size } => {
                format!("the guest reads {}", place(*region, *offset, *size))
            }
            Step::Write { region, offset, size, value } => {
                format!("the guest writes {value:#x} to {}", place(*region, *offset, *size))
            }
            Step::Request(script) => format!("the guest plays `{script}`"),
            Step::Pass(_) => "the guest waits until the device is quiet".to_owned(),
            Step::Receive(bytes) => format!("{} bytes arrive: {}", bytes.len(), hex::encode(bytes)),
        }
    }

    fn plausible(&self, _step: &Step, _seen: &Seen) -> std::result::Result<(), String> {
        Ok(())
    }
}
