//! Guest drivers: they turn drawn bytes into guest steps and tell them in words.
//!
//! Rules only compare what was seen; what a step means is known here and in the device.

use arbitrary::{Result, Unstructured};
use migcert_core::device::{Interface, Seen, Step};

pub mod registers;
pub mod virtio_fs;
pub mod windows;

/// The driver of one kind of hardware interface, and what it remembers while drawing.
pub trait Guest: Send {
    /// Draws the next step. A script stays valid when any of its steps is left out.
    fn draw(&mut self, u: &mut Unstructured<'_>) -> Result<Step>;

    /// A script that leaves nothing to chance but its values, for the case of this number; empty where
    /// there is none for it.
    ///
    /// # Errors
    /// None that a caller can do more about than pass on.
    fn directed(&self, _number: u32, _u: &mut Unstructured<'_>) -> Result<Vec<Step>> {
        Ok(Vec::new())
    }

    /// Steps that look at what these steps have left, before the guest looks around.
    fn look_back(&self, _after: &[Step]) -> Vec<Step> {
        Vec::new()
    }

    /// Whether a device moves when the guest has done everything, more often than not: what it did
    /// leaves traces that stay, and few of its steps make more than one.
    fn moves_late(&self) -> bool {
        false
    }

    /// Steps that look at all there is to see, for the end of a script.
    fn look_around(&self) -> Vec<Step>;

    /// Whether something that these steps have asked for may still be on its way after them.
    fn leaves_in_flight(&self, steps: &[Step]) -> bool;

    /// The step in the words of a maintainer.
    fn tell(&self, step: &Step) -> String;

    /// Whether any legitimate history could have shown this for the step.
    ///
    /// # Errors
    /// Why none could.
    fn plausible(&self, step: &Step, seen: &Seen) -> std::result::Result<(), String>;
}

/// The driver for an interface.
pub fn of(interface: &Interface) -> Box<dyn Guest> {
    match interface {
        Interface::Registers(registers) => Box::new(registers::Registers::new(registers.clone())),
        Interface::Windows(windows) => Box::new(windows::Windows::new(windows.clone())),
        Interface::Requests(name) => match virtio_fs::Opens::of(name) {
            Some(opens) => Box::new(virtio_fs::VirtioFs::new(opens)),
            None => Box::new(registers::Registers::new([].into())),
        },
    }
}
