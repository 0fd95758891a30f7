//! A region as a guest sees it: places that it may touch, of each size.

use migcert_core::device::{GUEST_MEMORY, Register, Step};

/// Sizes of accesses, by how usual they are.
pub(super) const SIZES: [u8; 4] = [4, 8, 2, 1];

/// Beyond its first bytes, a region has registers where blocks of 128, 256, ... bytes begin.
const BLOCK: u64 = 0x80;

/// Where a guest reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) region: u32,
    pub(super) offset: u64,
    pub(super) size: u8,
    /// The bits that may be written there; `None` where nothing may.
    pub(super) max: Option<u64>,
}

impl Place {
    pub(super) fn read(self) -> Step {
        Step::Read { region: self.region, offset: self.offset, size: self.size }
    }

    /// A write, of those bits of the value that may be written; a read where nothing may be written.
    pub(super) fn write(self, value: u64) -> Step {
        let Place { region, offset, size, max } = self;
        match max {
            Some(max) => Step::Write { region, offset, size, value: value & max },
            None => self.read(),
        }
    }

    /// Registers that are one each.
    pub(super) fn of(register: &Register) -> Place {
        place(register, 0)
    }
}

fn place(window: &Register, index: u32) -> Place {
    Place {
        region: window.region,
        offset: window.offset + u64::from(index) * u64::from(window.stride),
        size: window.size,
        max: window.writable.then_some(window.max),
    }
}

/// The windows of a region, by their offsets.
pub(super) struct Region {
    windows: Vec<Register>,
}

impl Region {
    pub(super) fn new(mut windows: Vec<Register>) -> Region {
        windows.sort_by_key(|window| window.offset);
        Region { windows }
    }

    /// Its number.
    pub(super) fn number(&self) -> u32 {
        self.windows.first().map_or(GUEST_MEMORY, |window| window.region)
    }

    pub(super) fn is_writable(&self) -> bool {
        self.windows.iter().any(|window| window.writable)
    }

    fn of_size(&self, size: u8) -> impl Iterator<Item = &Register> {
        self.windows.iter().filter(move |window| window.size == size)
    }

    /// The size of most accesses.
    pub(super) fn usual(&self) -> u8 {
        SIZES.into_iter().find(|size| self.count(*size) != 0).unwrap_or(1)
    }

    /// How many places of a size there are.
    pub(super) fn count(&self, size: u8) -> u64 {
        self.of_size(size).map(|window| u64::from(window.count)).sum()
    }

    /// One of them, counted from the beginning.
    pub(super) fn nth(&self, size: u8, mut index: u64) -> Option<Place> {
        for window in self.of_size(size) {
            match u32::try_from(index) {
                Ok(index) if index < window.count => return Some(place(window, index)),
                _ => index = index.checked_sub(window.count.into())?,
            }
        }
        None
    }

    /// The one at an offset.
    pub(super) fn at(&self, size: u8, offset: u64) -> Option<Place> {
        self.of_size(size).find_map(|window| {
            let into = offset.checked_sub(window.offset)?;
            let index = u32::try_from(into / u64::from(window.stride.max(1))).ok()?;
            let place = (index < window.count).then(|| place(window, index))?;
            (place.offset == offset).then_some(place)
        })
    }

    /// The first places of a size, at most so many.
    pub(super) fn first(&self, size: u8, most: u64) -> impl Iterator<Item = Place> {
        (0..most).map_while(move |index| self.nth(size, index))
    }

    /// The first offset after the region.
    pub(super) fn end(&self) -> u64 {
        let end = |window: &Register| window.offset + u64::from(window.count) * u64::from(window.stride);
        self.windows.iter().map(end).max().unwrap_or(0)
    }

    /// Where blocks begin, each twice as far as the one before.
    pub(super) fn blocks(&self) -> impl Iterator<Item = u64> {
        let end = self.end();
        std::iter::successors(Some(BLOCK), |at| at.checked_mul(2)).take_while(move |at| *at < end)
    }
}
