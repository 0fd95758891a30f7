//! How a user names an implementation, wherever a command takes one; parsed here and nowhere else.
//!
//! | IMPL | is |
//! |---|---|
//! | `builtin:NAME[@RELEASE][+FAULT]...` | a reference device |
//! | `builtin:synthetic[+FAULT]...=JSON` | one that behaves as this migration info says |
//! | a `.json` file | migration info only: it can be described and checked, not run |
//! | a `.toml` file | a profile of a device program; `FILE.toml@RELEASE` takes another release, `FILE.toml=PROGRAM` another binary |
//! | any other path | a device program that follows R-8.1 and R-8.2, over vfio-user |

use migcert_core::program::Manifest;
use std::convert::Infallible;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

/// The name of an implementation.
///
/// Any text is one, whether there is such an implementation or not. Names that differ only in how a path
/// is written are the same name:
///
/// ```
/// use migcert::implementation::{Builtin, Impl};
///
/// let plain: Impl = "device.toml".parse()?;
/// assert_eq!(plain, "././device.toml".parse()?);
/// assert_eq!("./device.toml".parse::<Impl>()?.to_string(), "device.toml");
///
/// let Impl::Builtin(nic) = "builtin:nic@2+tail-applied".parse()? else { panic!() };
/// let other = Builtin { release: Some("3".into()), ..nic };
/// assert_eq!(Impl::Builtin(other).to_string(), "builtin:nic@3+tail-applied");
/// # Ok::<(), std::convert::Infallible>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Impl {
    /// A reference device.
    Builtin(Builtin),
    /// A file of migration info.
    Info(PathBuf),
    /// A profile of a device program.
    Profile(Profiled),
    /// A device program that needs no profile.
    Program(PathBuf),
}

/// The name of a reference device: `builtin:NAME[@RELEASE][+FAULT]...[=JSON]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Builtin {
    /// Which device.
    pub device: String,
    /// Which release of it; the latest if it is not said.
    pub release: Option<String>,
    /// The faults that are planted in it.
    pub faults: Vec<String>,
    /// What it is to behave as.
    pub info: Option<String>,
}

/// The name of a profile: `FILE.toml`, `FILE.toml@RELEASE` or `FILE.toml=PROGRAM`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Profiled {
    /// The profile.
    pub file: PathBuf,
    /// Which of its programs.
    pub program: Which,
}

/// Which program of a profile is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    /// The one that the profile names.
    Named,
    /// Another release of it.
    Release(String),
    /// Another binary.
    Binary(PathBuf),
}

const BUILTIN: &str = "builtin:";
const PROFILE: &str = ".toml";
const INFO: &str = "json";

impl FromStr for Impl {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Impl, Infallible> {
        Ok(Impl::of(name))
    }
}

impl Impl {
    /// The implementation of this name.
    pub fn of(name: &str) -> Impl {
        if let Some(device) = Builtin::of(name) {
            return Impl::Builtin(device);
        }
        if let Some(profile) = Profiled::of(name) {
            return Impl::Profile(profile);
        }
        let path = plain(name);
        if path.extension().is_some_and(|extension| extension == INFO) {
            Impl::Info(path)
        } else {
            Impl::Program(path)
        }
    }

    /// The last part of the name, which need not be the name of this one alone: `nic@2`, `device@1.0`.
    pub fn short(&self) -> String {
        let last = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match self {
            Impl::Builtin(device) => device.to_string().split_off(BUILTIN.len()),
            Impl::Info(path) | Impl::Program(path) => last(path),
            Impl::Profile(Profiled { file, program }) => {
                let file = file.file_stem().unwrap_or_default().to_string_lossy();
                match program {
                    Which::Named => file.into_owned(),
                    Which::Release(release) => format!("{file}@{release}"),
                    Which::Binary(binary) => last(binary),
                }
            }
        }
    }
}

impl fmt::Display for Impl {
    /// As it is parsed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Impl::Builtin(device) => device.fmt(f),
            Impl::Info(path) | Impl::Program(path) => path.display().fmt(f),
            Impl::Profile(Profiled { file, program }) => {
                file.display().fmt(f)?;
                match program {
                    Which::Named => Ok(()),
                    Which::Release(release) => write!(f, "@{release}"),
                    Which::Binary(binary) => write!(f, "={}", binary.display()),
                }
            }
        }
    }
}

impl Builtin {
    /// The device of this name, if it is one.
    pub fn of(name: &str) -> Option<Builtin> {
        // Migration info may have any character in it, also those that separate.
        let (name, info) = parted(name.strip_prefix(BUILTIN)?, '=');
        let mut words = name.split('+');
        let (device, release) = parted(words.next().unwrap_or_default(), '@');
        Some(Builtin {
            device: device.to_owned(),
            release: release.map(str::to_owned),
            faults: words.map(str::to_owned).collect(),
            info: info.map(str::to_owned),
        })
    }
}

impl Builtin {
    /// The same, described so.
    #[must_use]
    pub fn described(self, manifest: &Manifest) -> Builtin {
        let info = serde_json::to_string(manifest).expect("every name of a member is a string");
        Builtin { info: Some(info), ..self }
    }
}

impl fmt::Display for Builtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{BUILTIN}{}", self.device)?;
        self.release.iter().try_for_each(|release| write!(f, "@{release}"))?;
        self.faults.iter().try_for_each(|fault| write!(f, "+{fault}"))?;
        self.info.iter().try_for_each(|info| write!(f, "={info}"))
    }
}

impl Profiled {
    fn of(name: &str) -> Option<Profiled> {
        let ends = name.match_indices(PROFILE).map(|(at, found)| at + found.len());
        let known = ends.map(|end| name.split_at(end)).find_map(|(file, rest)| {
            let program = match (rest, rest.strip_prefix('@'), rest.strip_prefix('=')) {
                ("", ..) => Which::Named,
                (_, Some(release), _) => Which::Release(release.to_owned()),
                (.., Some(binary)) => Which::Binary(plain(binary)),
                _ => return None,
            };
            Some((file, program))
        });
        known.map(|(file, program)| Profiled { file: plain(file), program })
    }
}

fn parted(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(text, rest)| (text, Some(rest)))
}

/// A path, without what changes nothing.
fn plain(path: &str) -> PathBuf {
    Path::new(path).components().filter(|part| *part != Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_they_were() {
        for name in [
            "builtin:nic",
            "builtin:nic@3",
            "builtin:nic@3+a+b@c",
            r#"builtin:synthetic+a={"models": {"a+b@c=d": 1}}"#,
            "a/../device.toml",
            "device.toml@1.2=3",
            "device.toml=/x/y.toml",
            "a.toml.d/device.toml@2",
            "/x/info.json",
            "device",
            "",
        ] {
            assert_eq!(Impl::of(name).to_string(), name);
        }
    }

    #[test]
    fn names_are_of_one_kind() {
        let file = |name| match Impl::of(name) {
            Impl::Profile(Profiled { file, program }) => (file.display().to_string(), program),
            other => panic!("{other:?}"),
        };
        assert_eq!(file("./a//p.toml"), ("a/p.toml".to_owned(), Which::Named));
        assert_eq!(file("p.toml@1"), ("p.toml".to_owned(), Which::Release("1".to_owned())));
        assert_eq!(file("p.toml=./x"), ("p.toml".to_owned(), Which::Binary("x".into())));
        assert_eq!(Impl::of("p.tomly"), Impl::Program("p.tomly".into()));
        assert_eq!(Impl::of("./p.json"), Impl::Info("p.json".into()));
    }

    #[test]
    fn short_names_are_the_last_part() {
        let names = ["builtin:nic@2+x", "a/p.toml@1.2", "a/p.toml=b/device", "./a/device", "a/p.toml"];
        let short = names.map(|name| Impl::of(name).short());
        assert_eq!(short, ["nic@2+x", "p@1.2", "device", "device", "p"]);
    }
}
