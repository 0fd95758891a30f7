//! What keeps the instances of a device program apart, so that a destination sees nothing of its
//! source but what the carrier brings.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// A way by which one process can leave something for another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// Files below a directory, or all of them where it has no name.
    Files(PathBuf),
    /// All other files.
    OtherFiles,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// The network, with abstract and local sockets.
    Network,
    /// Other processes: what they have open, their memory, signals.
    Processes,
    /// The name of the host.
    HostName,
    /// Keyrings of the kernel.
    Keyrings,
    /// Devices, settings of the kernel.
    Kernel,
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Channel::Files(path) if path.as_os_str().is_empty() => f.write_str("files"),
            Channel::Files(path) if path.is_dir() => write!(f, "files in {}", path.display()),
            Channel::Files(path) => write!(f, "the file {}", path.display()),
            Channel::OtherFiles => f.write_str("other files"),
            Channel::Ipc => f.write_str("System V IPC and POSIX message queues"),
            Channel::Network => f.write_str("network and abstract sockets"),
            Channel::Processes => f.write_str("processes"),
            Channel::HostName => f.write_str("host name"),
            Channel::Keyrings => f.write_str("keyrings"),
            Channel::Kernel => f.write_str("devices and kernel settings"),
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
    /// Which part of that would be kept apart on another machine, or without `MIGCERT_ISOLATE=no`.
    #[serde(default)]
    pub open: BTreeSet<Channel>,
    /// What the program does not start without, although no profile shares it.
    #[serde(default)]
    pub needed: Option<Needed>,
    /// What the rule about files does beside that.
    #[serde(default)]
    pub by_rule: ByRule,
}

/// What a program needs shared: it does not start if that is kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Needed {
    /// The network of this machine.
    Network,
    /// Everything.
    Everything,
}

impl Needed {
    /// Its name in `shared` of a profile.
    pub const fn name(self) -> &'static str {
        match self {
            Needed::Network => "network",
            Needed::Everything => "everything",
        }
    }
}

/// Whether the rule that keeps all files apart could do so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ByRule {
    /// It was not tried.
    #[default]
    NotTried,
    /// All files were kept apart, but for these.
    Apart(Vec<Shared>),
    /// They were not, for this reason.
    Shared(String),
}

/// The rule that keeps all files apart, by its id.
pub const RULE: &str = "state-is-not-in-files";

impl ByRule {
    /// What could be done for an instance that was to share no file.
    pub(crate) fn of(isolation: &Isolation) -> ByRule {
        let files = |shared: &&Shared| matches!(shared.what, Channel::Files(_));
        if isolation.apart.contains(&Channel::OtherFiles) {
            return ByRule::Apart(isolation.shared.iter().filter(files).cloned().collect());
        }
        let why = isolation.shared.iter().find(|shared| shared.what == Channel::OtherFiles);
        let why = why.or_else(|| isolation.shared.iter().find(files));
        ByRule::Shared(why.map_or_else(|| "for no known reason".to_owned(), |shared| shared.why.clone()))
    }

    /// What could be done both here and there.
    fn and(self, other: &ByRule) -> ByRule {
        match (self, other) {
            (ByRule::Shared(why), _) => ByRule::Shared(why),
            (one, ByRule::NotTried) => one,
            (ByRule::Apart(mut all), ByRule::Apart(more)) => {
                let are_new = more.iter().filter(|more| !all.iter().any(|shared| shared.what == more.what));
                let are_new: Vec<Shared> = are_new.cloned().collect();
                all.extend(are_new);
                ByRule::Apart(all)
            }
            (_, other) => other.clone(),
        }
    }
}

/// What all instances have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shared {
    /// What.
    pub what: Channel,
    /// Why it is not kept apart.
    pub why: String,
}

/// What the instances of a program are to share, as its profile or an argument says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToShare {
    /// Everything.
    Everything,
    /// The network of this machine.
    Network,
    /// A file or directory that exists.
    Path(PathBuf),
}

impl fmt::Display for ToShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ToShare::Everything => f.write_str("everything"),
            ToShare::Network => f.write_str("the network"),
            ToShare::Path(path) => write!(f, "`{}`", path.display()),
        }
    }
}

impl Isolation {
    /// Whether each instance writes to files of its own.
    pub fn keeps_files_apart(&self) -> bool {
        self.apart.iter().any(|channel| matches!(channel, Channel::Files(_) | Channel::OtherFiles))
    }

    /// Notes what is not kept apart.
    pub(crate) fn share(&mut self, what: Channel, why: &str) {
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
        self.open.extend(other.open.iter().cloned());
        self.needed = self.needed.max(other.needed);
        self.by_rule = self.by_rule.and(&other.by_rule);
        self
    }

    /// Notes what this machine does not keep apart.
    pub(crate) fn leave_open(&mut self, what: Channel, why: &str) {
        self.open.insert(what.clone());
        self.share(what, why);
    }

    /// Why it is unknown whether the state is in the bytes: what another machine would keep apart.
    pub fn left_open(&self) -> Option<String> {
        let all: Vec<String> = self.open.iter().map(ToString::to_string).collect();
        (!all.is_empty()).then(|| format!("it may lie in what is not kept apart here: {}", all.join(", ")))
    }

    /// What is not kept apart, and in which rule it is.
    pub(crate) fn not_apart(&self) -> Vec<Shared> {
        let mut all = self.shared.clone();
        for Shared { why, .. } in all.iter_mut().filter(|shared| shared.what == Channel::OtherFiles) {
            match &self.by_rule {
                ByRule::NotTried => {}
                ByRule::Apart(_) => *why = format!("{why}; kept apart in the rule {RULE}"),
                ByRule::Shared(other) => *why = format!("{why}; in the rule {RULE}, too: {other}"),
            }
        }
        if let ByRule::Apart(rest) = &self.by_rule {
            let is_new = |rest: &&Shared| !self.shared.iter().any(|shared| shared.what == rest.what);
            let rest = rest.iter().filter(is_new);
            all.extend(rest.map(|Shared { what, why }| Shared {
                what: what.clone(),
                why: format!("{why}; in the rule {RULE}, too"),
            }));
        }
        all
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

    /// An instance that was to share no file had this; nothing before another one was started.
    pub(crate) fn note_by_rule(&self, isolation: &Isolation) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_mut() {
            known.by_rule = std::mem::take(&mut known.by_rule).and(&ByRule::of(isolation));
        }
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

/// Always equal: it describes runs, not the program.
impl PartialEq for Known {
    fn eq(&self, _: &Known) -> bool {
        true
    }
}

impl Eq for Known {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::IsolationReport;

    fn isolation(apart: &[Channel], shared: &[(Channel, &str)]) -> Isolation {
        let mut all = Isolation { apart: apart.iter().cloned().collect(), ..Isolation::default() };
        shared.iter().for_each(|(what, why)| all.share(what.clone(), why));
        all
    }

    #[test]
    fn it_is_told_in_lines() {
        let tmp = || Channel::Files("/tmp".into());
        let all = isolation(
            &[tmp(), Channel::Ipc],
            &[(Channel::Kernel, "it is one"), (Channel::Network, "no"), (Channel::OtherFiles, "it is one")],
        );
        let line = "files in /tmp, System V IPC and POSIX message queues";
        let all = IsolationReport::from(all);
        assert_eq!(all.apart().as_deref(), Some(line));
        let line = "devices and kernel settings, other files (it is one); \
                    network and abstract sockets (no)";
        assert_eq!(all.in_common().as_deref(), Some(line));
        let none = IsolationReport::from(isolation(&[], &[(tmp(), "Operation not permitted")]));
        assert_eq!(none.apart(), None);
        assert_eq!(none.in_common().as_deref(), Some("files in /tmp (Operation not permitted)"));
        assert_eq!(IsolationReport::from(isolation(&[], &[])).in_common(), None);
    }

    #[test]
    fn what_a_rule_keeps_apart_is_told_with_it() {
        let known = Known::default();
        let usual = isolation(&[], &[(Channel::OtherFiles, "disks")]);
        let disk = || (Channel::Files("/no/disk".into()), "named");
        let all = isolation(&[Channel::OtherFiles], &[disk(), (Channel::Kernel, "it is one")]);
        let none = isolation(&[], &[(Channel::OtherFiles, "forbidden")]);
        let line = || known.so_far().and_then(|known| IsolationReport::from(known).in_common());
        known.note(&usual);
        assert_eq!(line().as_deref(), Some("other files (disks)"));
        known.note_by_rule(&all);
        known.note(&usual);
        let apart = "other files (disks; kept apart in the rule state-is-not-in-files); \
                     the file /no/disk (named; in the rule state-is-not-in-files, too)";
        assert_eq!(line().as_deref(), Some(apart));
        known.note_by_rule(&none);
        known.note_by_rule(&all);
        let not = "other files (disks; in the rule state-is-not-in-files, too: forbidden)";
        assert_eq!(line().as_deref(), Some(not));
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
