//! What keeps the instances of a device program apart, so that a destination sees nothing of its
//! source but what the carrier brings.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// A way by which one process can leave something for another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// Files below a directory.
    Files(PathBuf),
    /// System V IPC and POSIX message queues.
    Ipc,
    /// The network, with abstract and local sockets.
    Network,
    /// Other processes: what they have open, their memory, signals.
    Processes,
    /// The name of the host.
    HostName,
    /// The keyring of the session.
    Keyring,
    /// Devices, settings of the kernel, keyrings of the user.
    Kernel,
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Channel::Files(path) => write!(f, "files in {}", path.display()),
            Channel::Ipc => f.write_str("System V IPC and POSIX message queues"),
            Channel::Network => f.write_str("network and abstract sockets"),
            Channel::Processes => f.write_str("processes"),
            Channel::HostName => f.write_str("host name"),
            Channel::Keyring => f.write_str("session keyring"),
            Channel::Kernel => f.write_str("devices, kernel settings and user keyrings"),
        }
    }
}

/// What is kept apart for each instance of a program, what is not, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// Each instance has its own.
    pub apart: BTreeSet<Channel>,
    /// All instances have the same, for this reason.
    pub shared: Vec<Shared>,
}

/// What all instances have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shared {
    /// What.
    pub what: Channel,
    /// Why it is not kept apart.
    pub why: String,
}

impl Isolation {
    /// Whether each instance writes to files of its own.
    pub fn keeps_files_apart(&self) -> bool {
        self.apart.iter().any(|channel| matches!(channel, Channel::Files(_)))
    }

    /// Notes what is not kept apart.
    pub(super) fn share(&mut self, what: Channel, why: &str) {
        self.apart.remove(&what);
        if !self.shared.iter().any(|shared| shared.what == what) {
            self.shared.push(Shared { what, why: why.to_owned() });
        }
    }

    /// What is kept apart both here and there.
    #[must_use]
    pub fn and(mut self, other: &Isolation) -> Isolation {
        self.apart.retain(|channel| other.apart.contains(channel));
        other.shared.iter().for_each(|Shared { what, why }| self.share(what.clone(), why));
        self
    }

    /// As JSON: `{"apart": [..], "shared": [{"what", "why"}]}`.
    pub fn json(&self) -> Json {
        let shared =
            self.shared.iter().map(|Shared { what, why }| json!({ "what": what.to_string(), "why": why }));
        json!({
            "apart": self.apart.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "shared": shared.collect::<Vec<_>>(),
        })
    }
}

/// One line: all files, where that is so, instead of a list of directories.
impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_file = |channel: &&Channel| matches!(channel, Channel::Files(_));
        let mut apart: Vec<String> =
            self.apart.iter().filter(|it| !is_file(it)).map(ToString::to_string).collect();
        if self.apart.iter().any(|it| is_file(&it)) {
            apart.insert(0, "files".to_owned());
        }
        match apart.is_empty() {
            true => f.write_str("nothing is kept apart for each instance")?,
            false => write!(f, "each instance has its own: {}", apart.join(", "))?,
        }
        if !self.shared.is_empty() {
            let shared = self.shared.iter().map(|Shared { what, why }| format!("{what} ({why})"));
            write!(f, "; shared: {}", shared.collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}

/// What is known of the isolation of a program: nothing before it was started, and what all of its
/// instances had since.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Option<Isolation>", into = "Option<Isolation>")]
pub struct Known(Arc<Mutex<Option<Isolation>>>);

impl From<Option<Isolation>> for Known {
    fn from(so_far: Option<Isolation>) -> Known {
        Known(Arc::new(Mutex::new(so_far)))
    }
}

impl From<Known> for Option<Isolation> {
    fn from(known: Known) -> Option<Isolation> {
        known.so_far()
    }
}

impl Known {
    /// So far.
    pub fn so_far(&self) -> Option<Isolation> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another instance had this.
    pub fn note(&self, isolation: &Isolation) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(match known.take() {
            Some(known) if known == *isolation => known,
            Some(known) => known.and(isolation),
            None => isolation.clone(),
        });
    }
}

/// It is about runs, not about what runs.
impl PartialEq for Known {
    fn eq(&self, _: &Known) -> bool {
        true
    }
}

impl Eq for Known {}

#[cfg(test)]
mod tests {
    use super::*;

    fn isolation(apart: &[Channel], shared: &[(Channel, &str)]) -> Isolation {
        let mut all = Isolation { apart: apart.iter().cloned().collect(), shared: vec![] };
        shared.iter().for_each(|(what, why)| all.share(what.clone(), why));
        all
    }

    #[test]
    fn it_is_told_in_a_line() {
        let tmp = || Channel::Files("/tmp".into());
        let all = isolation(
            &[tmp(), Channel::Files("/var".into()), Channel::Ipc],
            &[(Channel::Kernel, "it is one")],
        );
        let line = "each instance has its own: files, System V IPC and POSIX message queues; \
                    shared: devices, kernel settings and user keyrings (it is one)";
        assert_eq!(all.to_string(), line);
        let none = isolation(&[], &[(tmp(), "Operation not permitted")]);
        let line = "nothing is kept apart for each instance; shared: files in /tmp (Operation not permitted)";
        assert_eq!(none.to_string(), line);
    }

    #[test]
    fn what_is_known_is_what_all_had() {
        let known = Known::default();
        assert_eq!(known.so_far(), None);
        known.note(&isolation(&[Channel::Ipc, Channel::Network], &[]));
        known.note(&isolation(&[Channel::Ipc], &[(Channel::Network, "no")]));
        known.note(&isolation(&[Channel::Ipc, Channel::Network], &[]));
        assert_eq!(known.so_far(), Some(isolation(&[Channel::Ipc], &[(Channel::Network, "no")])));
    }
}
