//! Moments of a case: which instance is asked for which operation, and what it went through before.

use migcert_core::device::{State, Step};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// The part that an instance plays in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// One more of the source's configuration.
    Another,
    /// It never migrates, and shows what differs without a migration.
    Control,
    /// The instance that loads.
    Destination,
    /// The only instance of a case.
    Device,
    /// It ran on the host before a fresh one.
    Earlier,
    /// What a reset device is compared with.
    Fresh,
    /// It has parameters that the source lacks.
    Newer,
    /// It has another configuration.
    Other,
    /// It and the source hand the device to and fro.
    OtherInstance,
    /// The program itself, before there is an instance.
    Program,
    /// It loads what a destination saved.
    Second,
    /// The instance that saves.
    Source,
    /// It never migrates.
    Twin,
}

impl Who {
    /// Whether it shows what must be seen, and is not judged itself.
    pub const fn is_reference(self) -> bool {
        matches!(self, Who::Control | Who::Earlier | Who::Fresh | Who::Twin)
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Who::Another => "another device",
            Who::Control => "a control",
            Who::Destination => "the destination",
            Who::Device => "the device",
            Who::Earlier => "an earlier device",
            Who::Fresh => "a fresh device",
            Who::Newer => "the newer device",
            Who::Other => "the other device",
            Who::OtherInstance => "the other instance",
            Who::Program => "the program",
            Who::Second => "a second destination",
            Who::Source => "the source",
            Who::Twin => "the twin",
        })
    }
}

/// What an instance, or its program, is asked for: a method of the traits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// [`Program::describe`](migcert_core::program::Program::describe)
    Describe,
    /// [`Device::dirty_memory`](migcert_core::device::Device::dirty_memory)
    DirtyMemory,
    /// [`Device::estimate`](migcert_core::device::Device::estimate)
    Estimate,
    /// [`Device::footprint`](migcert_core::device::Device::footprint)
    Footprint,
    /// [`Device::guest`](migcert_core::device::Device::guest)
    Guest(Step),
    /// [`Device::guest_memory`](migcert_core::device::Device::guest_memory)
    GuestMemory,
    /// [`Program::outside`](migcert_core::program::Program::outside)
    Outside,
    /// [`Device::read_state`](migcert_core::device::Device::read_state)
    ReadState,
    /// [`Device::reset`](migcert_core::device::Device::reset)
    Reset,
    /// [`Device::set_guest_memory`](migcert_core::device::Device::set_guest_memory)
    SetGuestMemory,
    /// [`Device::set_state`](migcert_core::device::Device::set_state)
    SetState(State),
    /// [`Program::start`](migcert_core::program::Program::start)
    Start,
    /// [`Device::state`](migcert_core::device::Device::state)
    State,
    /// [`Device::write_state`](migcert_core::device::Device::write_state)
    WriteState,
}

impl Operation {
    /// A key that is equal for the same operation at the same place, whatever its values.
    pub fn key(&self) -> String {
        match self {
            Operation::Guest(step) => format!("guest {}", place(step)),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Operation {
    /// In the words of the traits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::Describe => f.write_str("describe"),
            Operation::DirtyMemory => f.write_str("dirty_memory"),
            Operation::Estimate => f.write_str("estimate"),
            Operation::Footprint => f.write_str("footprint"),
            Operation::Guest(step) => write!(f, "guest({step})"),
            Operation::GuestMemory => f.write_str("guest_memory"),
            Operation::Outside => f.write_str("outside"),
            Operation::ReadState => f.write_str("read_state"),
            Operation::Reset => f.write_str("reset"),
            Operation::SetGuestMemory => f.write_str("set_guest_memory"),
            Operation::SetState(to) => write!(f, "set_state({to})"),
            Operation::Start => f.write_str("start"),
            Operation::State => f.write_str("state"),
            Operation::WriteState => f.write_str("write_state"),
        }
    }
}

/// Where a step touches a device: a register, or the kind of a request.
pub(crate) fn place(step: &Step) -> String {
    match step {
        Step::Read { region, offset, .. } => format!("read {region}:{offset:#x}"),
        Step::Write { region, offset, .. } => format!("write {region}:{offset:#x}"),
        Step::Receive(_) => "receive".to_owned(),
        Step::Pass(_) => "pass".to_owned(),
        Step::Request(words) => {
            format!("request {}", words.split_whitespace().next().unwrap_or_default())
        }
    }
}

/// An instance at a moment of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moment {
    /// Which.
    pub who: Who,
    /// Its state; none before it was started.
    pub at: Option<State>,
    /// What it went through.
    pub past: Past,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.who, self.at) {
            (Who::Program, _) => self.who.fmt(f),
            (who, None) => write!(f, "{who} starts"),
            (who, Some(at)) => write!(f, "{who} in {at}"),
        }
    }
}

/// What an instance went through since it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Event {
    /// It was stopped.
    Stopped = 1,
    /// It was saved.
    Saved = 2,
    /// It was in PRE_COPY.
    PreCopied = 4,
    /// It accepted a state as it was saved.
    Loaded = 8,
    /// It accepted bytes that were not as they were saved.
    LoadedOther = 16,
    /// It refused a state.
    Refused = 32,
    /// It was reset.
    Reset = 64,
    /// What it accepted was saved by an instance that had accepted a state itself.
    LoadedAgain = 128,
}

impl Event {
    const ALL: [Event; 8] = [
        Event::Stopped,
        Event::Saved,
        Event::PreCopied,
        Event::Loaded,
        Event::LoadedOther,
        Event::Refused,
        Event::Reset,
        Event::LoadedAgain,
    ];
}

/// A set of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "BTreeSet<Event>", into = "BTreeSet<Event>")]
pub struct Past(u8);

impl From<BTreeSet<Event>> for Past {
    fn from(events: BTreeSet<Event>) -> Past {
        events.into_iter().fold(Past::default(), Past::with)
    }
}

impl From<Past> for BTreeSet<Event> {
    fn from(past: Past) -> BTreeSet<Event> {
        Event::ALL.into_iter().filter(|event| past.has(*event)).collect()
    }
}

impl Past {
    /// The same, and this event.
    #[must_use]
    pub const fn with(self, event: Event) -> Past {
        Past(self.0 | event as u8)
    }

    /// How many events there are.
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether an event is among them.
    pub const fn has(self, event: Event) -> bool {
        self.0 & event as u8 != 0
    }

    /// Whether nothing happened yet.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of it is in another one.
    pub const fn is_within(self, other: Past) -> bool {
        self.0 & other.0 == self.0
    }
}
