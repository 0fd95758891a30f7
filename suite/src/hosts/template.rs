//! Command lines as templates: parsed once, and filled in once when a program starts. What is filled in
//! is never looked at again, so any value arrives as it is.

use migcert_core::model::ModelId;
use migcert_core::param::{Configuration, ParamName};
use migcert_core::version::Setup;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// The arguments for a setup; what belongs to a process is still open.
pub(super) fn filled(
    args: &[Template],
    model: &ModelId,
    setup: &Setup,
    configuration: &Configuration,
) -> Vec<Template> {
    let known = |blank: &Blank| match (blank, setup) {
        (Blank::Model, _) => Some(model.as_str().into()),
        (Blank::Version, Setup::Version(version)) => Some(version.as_str().into()),
        (Blank::Version, Setup::Params(_)) => Some(OsString::new()),
        (Blank::Param(name), _) => configuration.get(name).map(|value| value.to_string().into()),
        _ => None,
    };
    args.iter().map(|arg| arg.fill(known)).collect()
}

/// The arguments of a process with this socket, or with one as its standard input, and this directory.
pub(super) fn started(args: &[Template], socket: &Path, scratch: &Path) -> Vec<OsString> {
    let known = |blank: &Blank| match blank {
        Blank::Socket => Some(socket.into()),
        Blank::Fd => Some("0".into()),
        Blank::Scratch => Some(scratch.into()),
        _ => None,
    };
    args.iter().map(|arg| arg.fill(known).into_argument()).collect()
}

/// One argument of a command line.
///
/// `{socket}`, `{fd}`, `{scratch}`, `{shared}`, `{model}`, `{version}` and `{param:NAME}` stand for what
/// is known only at the start; `{{` stands for a brace.
///
/// ```
/// use migcert::hosts::template::{Blank, Template};
///
/// let argument: Template = "--set={{a}={socket}".parse()?;
/// assert_eq!(argument.blanks().collect::<Vec<_>>(), [&Blank::Socket]);
/// assert_eq!(argument.to_string(), "--set={{a}={socket}");
/// assert_eq!("{sokcet}".parse::<Template>().unwrap_err().place, "sokcet");
/// # Ok::<(), migcert::hosts::template::BadTemplate>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    Text(OsString),
    Blank(Blank),
}

/// What an argument can leave open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blank {
    /// The path of the socket that the program is to listen on.
    Socket,
    /// The number of the descriptor of its connected socket.
    Fd,
    /// A directory of its own, removed when it ends.
    Scratch,
    /// The directory that its guest mounts.
    Shared,
    /// The id of its model.
    Model,
    /// Its version string; empty where it has parameters.
    Version,
    /// The value of a parameter.
    Param(ParamName),
}

/// Why text is no [`Template`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{{{place}}}` stands for nothing; known are {}, and `{{{{` stands for a brace", Blank::KNOWN)]
pub struct BadTemplate {
    /// What stands in braces; all that follows an opening one that is not closed.
    pub place: String,
}

impl Blank {
    /// All of them, for people.
    const KNOWN: &str = "{socket}, {fd}, {scratch}, {shared}, {model}, {version} and {param:NAME}";

    fn parse(name: &str) -> Option<Blank> {
        Some(match name {
            "socket" => Blank::Socket,
            "fd" => Blank::Fd,
            "scratch" => Blank::Scratch,
            "shared" => Blank::Shared,
            "model" => Blank::Model,
            "version" => Blank::Version,
            _ => Blank::Param(name.strip_prefix("param:")?.parse().ok()?),
        })
    }
}

impl fmt::Display for Blank {
    /// As it stands in braces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Blank::Socket => f.write_str("socket"),
            Blank::Fd => f.write_str("fd"),
            Blank::Scratch => f.write_str("scratch"),
            Blank::Shared => f.write_str("shared"),
            Blank::Model => f.write_str("model"),
            Blank::Version => f.write_str("version"),
            Blank::Param(name) => write!(f, "param:{name}"),
        }
    }
}

impl FromStr for Template {
    type Err = BadTemplate;

    fn from_str(mut rest: &str) -> Result<Template, BadTemplate> {
        let (mut pieces, mut text) = (Vec::new(), String::new());
        while let Some((before, after)) = rest.split_once('{') {
            text.push_str(before);
            if let Some(after) = after.strip_prefix('{') {
                text.push('{');
                rest = after;
                continue;
            }
            let closed = after.split_once('}').and_then(|(place, after)| Some((Blank::parse(place)?, after)));
            let Some((blank, after)) = closed else {
                let place = after.split_once('}').map_or(after, |(place, _)| place);
                return Err(BadTemplate { place: place.to_owned() });
            };
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text).into()));
            }
            pieces.push(Piece::Blank(blank));
            rest = after;
        }
        text.push_str(rest);
        if !text.is_empty() {
            pieces.push(Piece::Text(text.into()));
        }
        Ok(Template(pieces))
    }
}

impl Template {
    /// An argument that leaves nothing open: these bytes, braces or not.
    pub fn exactly(text: impl Into<OsString>) -> Template {
        Template(vec![Piece::Text(text.into())])
    }

    /// An option that is followed by what is left open.
    pub(super) fn option(name: &str, blank: Blank) -> Template {
        Template(vec![Piece::Text(name.into()), Piece::Blank(blank)])
    }

    /// What it leaves open.
    pub fn blanks(&self) -> impl Iterator<Item = &Blank> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Blank(blank) => Some(blank),
            Piece::Text(_) => None,
        })
    }

    /// The same with what is known by now.
    #[must_use]
    pub(super) fn fill(&self, known: impl Fn(&Blank) -> Option<OsString>) -> Template {
        let piece = |piece: &Piece| match piece {
            Piece::Blank(blank) => known(blank).map_or_else(|| piece.clone(), Piece::Text),
            Piece::Text(_) => piece.clone(),
        };
        Template(self.0.iter().map(piece).collect())
    }

    /// The argument; what is still open stands in braces.
    pub(super) fn into_argument(self) -> OsString {
        let mut whole = OsString::new();
        for piece in self.0 {
            match piece {
                Piece::Text(text) => whole.push(text),
                Piece::Blank(blank) => whole.push(format!("{{{blank}}}")),
            }
        }
        whole
    }
}

impl fmt::Display for Template {
    /// As it is parsed; bytes that are not UTF-8 are replaced.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(&OsStr::to_string_lossy(text).replace('{', "{{")),
            Piece::Blank(blank) => write!(f, "{{{blank}}}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    fn parsed(text: &str) -> Template {
        text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn what_is_filled_in_is_never_looked_at_again() {
        for value in ["{scratch}", "{socket}", "{fd}", "a{b", "{{", "", "}"] {
            let known = |blank: &Blank| matches!(blank, Blank::Param(_)).then(|| value.into());
            let argument = parsed("--x={param:x},{socket}").fill(known);
            let path = OsStr::from_bytes(b"/s\xff");
            let argument = argument.fill(|blank| (*blank == Blank::Socket).then(|| path.into()));
            let expected = [b"--x=", value.as_bytes(), b",/s\xff"].concat();
            assert_eq!(argument.into_argument(), OsStr::from_bytes(&expected));
            assert_eq!(Template::exactly(value).into_argument(), value);
        }
    }

    #[test]
    fn braces_are_written_twice() {
        for (text, argument) in [("{{socket}", "{socket}"), ("{{{{}}", "{{}}"), ("a}b", "a}b"), ("", "")] {
            assert_eq!(parsed(text).into_argument(), argument, "{text}");
            assert_eq!(parsed(&parsed(text).to_string()), parsed(text));
        }
    }

    #[test]
    fn what_stands_for_nothing_is_named() {
        for (text, place) in
            [("-{sokcet}", "sokcet"), ("{", ""), ("a{b", "b"), ("{fd", "fd"), ("{param:}", "param:")]
        {
            assert_eq!(text.parse::<Template>().expect_err(text).place, place);
        }
    }
}
