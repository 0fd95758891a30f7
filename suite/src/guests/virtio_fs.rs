//! The driver of a virtio-fs guest: its words into FUSE requests, and the replies into words.
//!
//! Node ids and file handles mean nothing to a guest but themselves, so steps and replies name
//! them in the order in which they appeared: `#1`, `%1`. So do two devices that hand out other
//! numbers show the same. What a guest can't tell from correct is left out: times, block counts,
//! inode numbers (only that a node keeps its own is looked at), the size and order of
//! directories.
//!
//! The driver keeps names as a kernel does: it looks up what it is about to remove or replace,
//! and forgets by itself what has no name left and is not open. It has no wire and no clock; a
//! host carries its [`Call`]s.

mod draw;
mod driver;
mod notation;
mod tell;
mod wire;

pub use draw::{Drawn, draw};
pub use driver::{Call, Driver, MAX, Pending, Queue};
pub use notation::{Arg, BadLine, Gives, Line, OPS, Op, Posted, Request, Takes, Who};
pub use tell::{plausible, tell};

use super::Guest;
use arbitrary::Unstructured;
use migcert_core::device::{Seen, Step};
use serde::{Deserialize, Serialize};

/// The name by which [`Interface::Requests`](migcert_core::device::Interface) knows this guest.
pub const NAME: &str = "virtio-fs";

/// The name of a guest that keeps no file open that has no name left, for devices that say
/// that they can't migrate such files.
pub const NAMED: &str = "virtio-fs-named";

/// Which files a guest keeps open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opens {
    /// Also such without a name: unlinked, replaced or never named.
    #[default]
    Any,
    /// Only such that have a name.
    Named,
}

impl Opens {
    /// The guest of that name, if there is one.
    pub fn of(guest: &str) -> Option<Opens> {
        match guest {
            NAME => Some(Opens::Any),
            NAMED => Some(Opens::Named),
            _ => None,
        }
    }
}

/// The guest as rules and generators know it.
#[derive(Debug, Default)]
pub struct VirtioFs(Drawn);

impl VirtioFs {
    /// A guest that has done nothing yet.
    pub fn new(opens: Opens) -> VirtioFs {
        VirtioFs(Drawn::new(opens))
    }
}

impl Guest for VirtioFs {
    fn draw(&mut self, u: &mut Unstructured<'_>) -> arbitrary::Result<Step> {
        draw(u, &mut self.0)
    }

    fn look_around(&self) -> Vec<Step> {
        self.0.look_around()
    }

    fn leaves_in_flight(&self, steps: &[Step]) -> bool {
        let line = |step: &Step| match step {
            Step::Request(words) => words.parse().ok(),
            _ => None,
        };
        let lines: Vec<Line> = steps.iter().filter_map(line).collect();
        let collected = lines.iter().rposition(|line| *line == Line::Collect).map_or(0, |at| at + 1);
        lines[collected..].iter().any(|line| matches!(line, Line::Send(_, Posted::Yes)))
    }

    fn tell(&self, step: &Step) -> String {
        match step {
            Step::Request(words) => tell(words),
            other => other.to_string(),
        }
    }

    fn plausible(&self, step: &Step, seen: &Seen) -> Result<(), String> {
        plausible(step, seen)
    }
}

/// What kind of node a mode says.
fn kind(mode: u32) -> Option<&'static str> {
    const KINDS: &[(u32, &str)] = &[
        (0o010_000, "fifo"),
        (0o020_000, "character device"),
        (0o040_000, "directory"),
        (0o060_000, "block device"),
        (0o100_000, "file"),
        (0o120_000, "symlink"),
        (0o140_000, "socket"),
    ];
    KINDS.iter().find(|row| row.0 == mode & 0o170_000).map(|row| row.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_posted_is_in_flight_until_it_is_collected() {
        let leaves = |lines: &[&str]| {
            let steps: Vec<Step> = lines.iter().map(|line| Step::Request((*line).to_owned())).collect();
            VirtioFs::default().leaves_in_flight(&steps)
        };
        assert!(!leaves(&["lookup root a", "open #1 rw"]));
        assert!(leaves(&["open #1 rw", "post read %1 0 64", "lookup root b"]));
        assert!(!leaves(&["post read %1 0 64", "collect"]));
        assert!(leaves(&["post read %1 0 64", "collect", "post read %1 0 64"]));
    }
}
