//! What a guest can do with a device of which only regions are known.

use super::config_space::ConfigSpace;
use super::memory;
use super::wire::reply::{DeviceInfo, RegionInfo};
use migcert_core::device::{Register, Step, Windows};
use std::collections::BTreeMap;
use std::ops::Range;

/// What the guest of a program does and leaves alone.
#[derive(Clone, Debug, Default)]
pub struct Guide {
    /// Never read, never written.
    pub never: Vec<Place>,
    /// Read, and not compared.
    pub volatile: Vec<Place>,
    /// Who brings PCI configuration space along.
    pub config_space: ConfigSpace,
    /// What a guest does first, once in its life.
    pub initial: Vec<Step>,
    /// What a guest does as one step, by name.
    pub scripts: BTreeMap<String, Vec<Step>>,
}

/// Bytes of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Region number.
    pub region: u32,
    /// From the start of the region.
    pub offset: u64,
    /// How many.
    pub size: u64,
}

impl Place {
    /// Whether an access touches it.
    pub(super) fn touches(&self, region: u32, offset: u64, size: u64) -> bool {
        self.region == region
            && self.offset < offset.saturating_add(size)
            && offset < self.offset.saturating_add(self.size)
    }
}

/// The region of PCI configuration space.
pub(super) const CONFIG: u32 = 7;

/// The windows of some regions: accesses of 4, 8, 2 and 1 bytes wherever a guest may touch, and
/// what was learned of configuration space.
pub(super) fn windows(
    info: &DeviceInfo,
    regions: &[RegionInfo],
    guide: &Guide,
    learned: &[Register],
    interrupts: u32,
) -> Windows {
    let is_pci = info.flags & DeviceInfo::PCI != 0;
    let readable = regions.iter().filter(|region| region.flags & RegionInfo::READ != 0);
    let mut all = learned.to_vec();
    for region in readable {
        for range in allowed(region, &guide.never) {
            all.extend([4, 8, 2, 1].iter().filter_map(|size| window(region, is_pci, &range, *size)));
        }
    }
    Windows {
        windows: all.into(),
        memory: memory::ADDRESSES,
        scripts: guide.scripts.keys().cloned().collect(),
        interrupts,
        config: is_pci.then_some(CONFIG),
        carried: (is_pci && guide.config_space == ConfigSpace::Carrier).then_some(CONFIG),
    }
}

fn window(region: &RegionInfo, is_pci: bool, range: &Range<u64>, size: u8) -> Option<Register> {
    let wide = u64::from(size);
    let offset = range.start.checked_next_multiple_of(wide)?;
    let count = range.end.checked_sub(offset)? / wide;
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    (count != 0).then(|| Register {
        name: name(region.index, is_pci).into(),
        region: region.index,
        offset,
        size,
        count,
        stride: size.into(),
        writable: region.flags & RegionInfo::WRITE != 0 && !(is_pci && region.index == CONFIG),
        max: u64::MAX >> (64 - 8 * u32::from(size)),
    })
}

fn name(region: u32, is_pci: bool) -> String {
    match (is_pci, region) {
        (true, bar @ 0..=5) => format!("BAR{bar}"),
        (true, 6) => "ROM".to_owned(),
        (true, CONFIG) => "CONFIG".to_owned(),
        (true, 8) => "VGA".to_owned(),
        (_, region) => format!("REGION{region}"),
    }
}

/// What is left of a region without the ranges that are never touched.
fn allowed(region: &RegionInfo, never: &[Place]) -> Vec<Range<u64>> {
    let mut holes: Vec<_> = never.iter().filter(|place| place.region == region.index).collect();
    holes.sort_by_key(|place| place.offset);
    let mut at = 0;
    let mut allowed = Vec::new();
    for hole in holes {
        allowed.push(at..hole.offset.min(region.size));
        at = at.max(hole.offset.saturating_add(hole.size));
    }
    allowed.push(at..region.size);
    allowed.retain(|range| range.start < range.end);
    allowed
}
