//! What guests write: the same steps with other values for each variant, drawn from the case.

use crate::case::Case;
use migcert_core::device::{GUEST_MEMORY, Interface, Register, Step};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Number of places written after the script: at random, the first ones of a window more often.
const PLACES: usize = 48;
/// Number of first places of a window.
const FIRST: u64 = 16;
/// One in N writes of the script keeps its value: an index, an address, a key.
const KEPT: u64 = 4;

/// A byte of a region.
pub(super) type Byte = (u32, u64);

/// The steps of all guests, with blanks for the values.
pub(super) struct Acts {
    steps: Vec<Act>,
    /// Index of the first write all over the device.
    begin: usize,
    reads: Vec<Step>,
    seed: [u8; 32],
}

enum Act {
    /// The same in all variants.
    Step(Step),
    /// A write of `bits` random bits.
    Write { region: u32, offset: u64, size: u8, bits: u32 },
}

impl Acts {
    /// Those of a case: its script, and then writes all over the device. What the machine brings along is
    /// written as the script has it, so that it is the same each time.
    pub(super) fn of(case: &Case, interface: &Interface) -> Acts {
        let registers: &[Register] = match interface {
            Interface::Registers(registers) => registers,
            Interface::Windows(windows) => &windows.windows,
            Interface::Requests(_) => &[],
        };
        let script = case.script.iter().map(Step::to_string).collect::<Vec<_>>().join("\n");
        let text = format!("{}\n{}\n{:?}\n{:?}\n{script}", case.model, case.setup, case.at, case.pieces);
        let seed = Sha256::digest(text).into();
        let mut random = ChaCha8Rng::from_seed(seed);
        let mut steps: Vec<Act> = case
            .script
            .iter()
            .map(|step| match step {
                Step::Write { region, offset, size, .. }
                    if !is_carried(interface, step) && below(&mut random, KEPT) != 0 =>
                {
                    let bits = bits_at(registers, *region, *offset, *size);
                    Act::Write { region: *region, offset: *offset, size: *size, bits }
                }
                step => Act::Step(step.clone()),
            })
            .collect();
        let write = |register: &Register, index: u64| Step::Write {
            region: register.region,
            offset: register.offset.saturating_add(index.saturating_mul(register.stride.into())),
            size: register.size,
            value: 0,
        };
        let writable: Vec<&Register> = registers
            .iter()
            .filter(|register| register.writable && !is_carried(interface, &write(register, 0)))
            .collect();
        for _ in 0..if writable.is_empty() { 0 } else { PLACES } {
            let register = writable[below(&mut random, writable.len() as u64) as usize];
            let count = u64::from(register.count.max(1));
            let among = if below(&mut random, 2) == 0 { count.min(FIRST) } else { count };
            let index = below(&mut random, among);
            if let Step::Write { region, offset, size, .. } = write(register, index) {
                steps.push(Act::Write { region, offset, size, bits: bits_of(register) });
            }
        }
        Acts { reads: reads(&steps), steps, begin: case.script.len(), seed }
    }

    /// Whether there is a value to be drawn.
    pub(super) fn writes(&self) -> bool {
        self.steps.iter().any(|act| matches!(act, Act::Write { bits: 1.., .. }))
    }

    /// The script of a variant: the second has all bits of the first the other way round.
    pub(super) fn script(&self, variant: usize) -> Vec<Step> {
        let mut random = ChaCha8Rng::from_seed(self.seed);
        random.set_stream(1 + if variant == 1 { 0 } else { variant as u64 });
        let step = |act: &Act| match act {
            Act::Step(step) => step.clone(),
            &Act::Write { region, offset, size, bits } => {
                let drawn = if variant == 1 { !random.next_u64() } else { random.next_u64() };
                Step::Write { region, offset, size, value: drawn & lowest(bits) }
            }
        };
        self.steps.iter().map(step).collect()
    }

    /// The same without the steps of the case.
    pub(super) fn sweep(&self, variant: usize) -> Vec<Step> {
        self.script(variant).split_off(self.begin)
    }

    /// What was written last to each byte, in a variant; the bits that were drawn, and their values.
    pub(super) fn written(&self, variant: usize) -> BTreeMap<Byte, (u8, u8)> {
        let mut written = BTreeMap::new();
        for (act, step) in self.steps.iter().zip(self.script(variant)) {
            let Step::Write { region, offset, size, value } = step else { continue };
            let drawn = if let Act::Write { bits, .. } = act { lowest(*bits) } else { 0 };
            let bytes = drawn.to_le_bytes().into_iter().zip(value.to_le_bytes()).take(size.into());
            written.extend((offset..).map(|at| (region, at)).zip(bytes));
        }
        written
    }

    /// Reads of all that was written and not written over.
    pub(super) fn reads(&self) -> &[Step] {
        &self.reads
    }
}

fn reads(steps: &[Act]) -> Vec<Step> {
    let mut known: BTreeSet<Byte> = BTreeSet::new();
    let mut reads = Vec::new();
    for act in steps.iter().rev() {
        let (region, offset, size, is_drawn) = match act {
            Act::Write { region, offset, size, .. } => (*region, *offset, *size, true),
            Act::Step(Step::Write { region, offset, size, .. }) => (*region, *offset, *size, false),
            Act::Step(_) => continue,
        };
        let bytes = (offset..offset.saturating_add(size.into())).map(|at| (region, at));
        let is_new = bytes.map(|byte| known.insert(byte)).fold(false, |any, new| any | new);
        if is_new && is_drawn {
            reads.push(Step::Read { region, offset, size });
        }
    }
    reads.reverse();
    reads
}

fn is_carried(interface: &Interface, step: &Step) -> bool {
    matches!(step, Step::Write { region: GUEST_MEMORY, .. }) || interface.is_carried(step)
}

fn below(random: &mut ChaCha8Rng, end: u64) -> u64 {
    random.next_u64() % end.max(1)
}

/// A mask of the lowest `bits` bits.
fn lowest(bits: u32) -> u64 {
    u64::MAX.checked_shr(64 - bits.min(64)).unwrap_or(0)
}

/// How many bits of a register all are free: those of the largest value below a power of two.
fn bits_of(register: &Register) -> u32 {
    let wide = 8 * u32::from(register.size);
    register.max.checked_add(1).map_or(wide, |values| values.ilog2().min(wide))
}

fn bits_at(registers: &[Register], region: u32, offset: u64, size: u8) -> u32 {
    let here = registers.iter().find(|register| {
        let into = offset.checked_sub(register.offset);
        (register.region, register.size) == (region, size)
            && into.is_some_and(|into| into < u64::from(register.count) * u64::from(register.stride))
    });
    here.map_or(8 * u32::from(size), bits_of)
}
