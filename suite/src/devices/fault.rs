//! Faults that can be planted in the reference devices: a row each, and one place in a device.
//!
//! Most of them were real: their ids are the short names under which we collect such bugs, and
//! their references say where to read more.

use super::kept::Kept;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};

/// A fault: what there is to say of it. Which device has it, is told by the table that it stands in.
#[derive(Debug)]
pub struct Fault {
    /// Stable name: `builtin:nic+NAME`.
    pub id: &'static str,
    /// What kind of fault it is.
    pub family: Family,
    /// Where it happened; empty where we thought of it ourselves.
    pub reference: &'static str,
    /// The requirement that it breaks.
    pub breaks: &'static str,
    /// What is wrong, in one sentence.
    pub what: &'static str,
}

/// Kinds of faults, by what goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Malformed or hostile state: bounds, panics, resources.
    A,
    /// Framing: cut, extended, sections mixed up.
    B,
    /// Completeness: what a state must have in it, and what a load must do.
    C,
    /// Order of a load, and what is left of one that failed.
    D,
    /// Compatibility of versions.
    E,
    /// Environment: the host, the configuration, identity.
    F,
    /// Protocol: the state machine, errors that nobody hears of, liveness, dirty memory.
    G,
}

impl Family {
    /// Its letter.
    pub const fn name(self) -> &'static str {
        match self {
            Family::A => "A",
            Family::B => "B",
            Family::C => "C",
            Family::D => "D",
            Family::E => "E",
            Family::F => "F",
            Family::G => "G",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A table of faults: `NAME "id" FAMILY "requirement" "reference" "sentence";`.
macro_rules! faults {
    ($($name:ident $id:literal $family:ident $breaks:literal $reference:literal $what:literal;)*) => {
        $(
            #[doc = $what]
            pub static $name: $crate::devices::fault::Fault = $crate::devices::fault::Fault {
                id: $id,
                family: $crate::devices::fault::Family::$family,
                reference: $reference,
                breaks: $breaks,
                what: $what,
            };
        )*

        /// All of this table.
        pub static ALL: &[&$crate::devices::fault::Fault] = &[$(&$name),*];
    };
}
pub(crate) use faults;

/// The faults planted in one device program, and what became of each.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    planted: Vec<Arc<Planted>>,
    /// Where faulty instances find what others left; `None` for what all of this process have.
    kept: Option<Arc<Kept>>,
}

#[derive(Debug)]
struct Planted {
    fault: &'static Fault,
    reached: AtomicBool,
    triggered: AtomicBool,
}

impl Faults {
    /// With one more.
    #[must_use]
    pub fn and(mut self, fault: &'static Fault) -> Faults {
        self.planted.push(Arc::new(Planted { fault, reached: false.into(), triggered: false.into() }));
        self
    }

    /// What instances with these faults have in common beside the bytes.
    pub fn kept(&self) -> &Kept {
        static OF_ALL: LazyLock<Kept> = LazyLock::new(Kept::default);
        self.kept.as_deref().unwrap_or(&OF_ALL)
    }

    /// The same faults, with nothing in common with others.
    pub fn alone(&self) -> (Faults, Arc<Kept>) {
        let kept = Arc::<Kept>::default();
        (Faults { planted: self.planted.clone(), kept: Some(Arc::clone(&kept)) }, kept)
    }

    /// Whether none is planted.
    pub fn is_empty(&self) -> bool {
        self.planted.is_empty()
    }

    /// Whether it is planted, where that alone says nothing of a difference.
    pub fn has(&self, fault: &'static Fault) -> bool {
        self.of(fault).is_some()
    }

    /// Whether to do it wrong. `differs` says whether that shows in what is done: the fault is
    /// then triggered, otherwise reached.
    pub fn hits(&self, fault: &'static Fault, differs: bool) -> bool {
        let Some(planted) = self.of(fault) else { return false };
        planted.reached.store(true, Relaxed);
        if differs {
            planted.triggered.store(true, Relaxed);
        }
        differs
    }

    /// Whether a check passes, or is forgiven by a fault that leaves it out.
    pub fn passes(&self, fault: &'static Fault, ok: bool) -> bool {
        self.hits(fault, !ok) || ok
    }

    /// Whether the code of a planted fault ran since this was asked last, and whether it made a
    /// difference.
    pub fn take_events(&self, fault: &'static Fault) -> Events {
        let take = |planted: &Planted| Events {
            reached: planted.reached.swap(false, Relaxed),
            triggered: planted.triggered.swap(false, Relaxed),
        };
        self.of(fault).map(take).unwrap_or_default()
    }

    fn of(&self, fault: &'static Fault) -> Option<&Planted> {
        self.planted.iter().find(|planted| std::ptr::eq(planted.fault, fault)).map(|planted| &**planted)
    }
}

/// What became of a planted fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Its code ran.
    pub reached: bool,
    /// What it did differs from what the right code would have done.
    pub triggered: bool,
}
