//! Everything that is printed or written as text: whole lines that begin with words of ours.
//!
//! What a device, a description or a file says is shown on the line that it belongs to, with its
//! control characters escaped ([`migcert_core::text`]), so it can neither steer a terminal nor write
//! lines of its own into the log of a CI job. Commands print [`Lines`] and nothing else, and
//! standard error takes a line at a time, so nobody has to remember which texts are foreign:
//!
//! ```
//! use migcert::{row, text::Lines};
//! let (model, rule) = ("evil\n::error::owned\u{1b}[2J", "chunking");
//! let mut out = Lines::default();
//! row!(out, "model  {model}");                       // begins with words: checked at compile time
//! out.after(rule, format_args!(" of {model}"));       // begins with a word that the program has
//! row!(out);                                         // an empty line
//! assert_eq!(out.as_str().lines().count(), 3);
//! migcert::say!("note: {model} was skipped");         // the same on standard error
//! ```
//!
//! Machines read [`json`] and [`toml()`], in which such characters are escaped as these formats have
//! it, and the commands that we suggest have their arguments as [`Word`].

use migcert_core::text::{Line, is_plain};
use serde::Serialize;
use serde_json::Value as Json;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use toml_parser::Source;
use toml_parser::lexer::TokenKind;

/// Text in whole lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines(String);

impl Lines {
    /// Adds a line; for [`row!`], which checks how it begins.
    #[doc(hidden)]
    pub fn push(&mut self, line: fmt::Arguments<'_>) {
        // A string takes everything; a `Display` that fails ends its line early.
        let _ = Line::new(&mut self.0).write_fmt(line);
        self.0.push('\n');
    }

    /// Adds a line that begins with a text of the program's own.
    pub fn after(&mut self, head: &'static str, rest: fmt::Arguments<'_>) {
        self.push(format_args!("{head}{rest}"));
    }

    /// Adds a line that begins with its number.
    pub fn numbered(&mut self, number: usize, rest: fmt::Arguments<'_>) {
        self.push(format_args!("{number:>4}. {rest}"));
    }

    /// Adds a line that begins with a number of something.
    pub fn counted(&mut self, count: usize, rest: fmt::Arguments<'_>) {
        self.push(format_args!("{count}{rest}"));
    }

    /// Adds every line of a text after a prefix.
    pub fn block(&mut self, prefix: &'static str, text: &str) {
        text.lines().for_each(|line| self.after(prefix, format_args!("{line}")));
    }

    /// The text; it ends with a newline if it is not empty.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Adds a line to [`Lines`], as `writeln!` does. Its format begins with words of ours; without a
/// format the line is empty.
#[macro_export]
macro_rules! row {
    ($lines:expr) => {
        $lines.push(format_args!(""))
    };
    ($lines:expr, $format:literal $($args:tt)*) => {{
        const _: () = assert!($crate::text::begins_with_words($format), "a line begins with words of ours");
        $lines.push(format_args!($format $($args)*))
    }};
}

/// Writes a line to standard error, under the same rules as `row!`.
#[macro_export]
macro_rules! say {
    ($($line:tt)*) => {{
        let mut lines = $crate::text::Lines::default();
        $crate::row!(lines, $($line)*);
        $crate::text::say(&lines);
    }};
}

/// Writes lines to standard error; where nobody reads it, they are lost.
pub fn say(lines: &Lines) {
    let _ = std::io::stderr().write_all(lines.0.as_bytes());
}

/// Whether a format begins with a word, before anything is put in.
#[doc(hidden)]
pub const fn begins_with_words(format: &str) -> bool {
    let bytes = format.as_bytes();
    let mut at = 0;
    while at < bytes.len() && bytes[at] == b' ' {
        at += 1;
    }
    at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || bytes[at] == b'#' || bytes[at] == b'|')
}

/// JSON with two spaces of indent and a newline at the end.
pub fn json(json: &Json) -> String {
    escaped_json(&format!("{json:#}\n"))
}

/// Escapes what [`migcert_core::text`] escapes, in a text that is JSON already: there it stands in
/// strings alone.
pub fn escaped_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut last = ' ';
    for c in json.chars() {
        if (is_plain(c) || c == '\n') && !(c == '#' && last == '#') {
            out.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out += &format!("\\u{unit:04x}"));
        }
        last = c;
    }
    out
}

/// A document as TOML in which every string stands on one line, and in which what
/// [`migcert_core::text`] escapes is escaped.
///
/// # Errors
/// For a document that TOML can't hold.
pub fn toml(document: &impl Serialize) -> Result<String, toml::ser::Error> {
    let text = toml::to_string(document)?;
    let source = Source::new(&text);
    let mut out = String::with_capacity(text.len());
    for token in source.lex() {
        let Some(raw) = source.get(token) else { continue };
        let is_string = matches!(
            token.kind(),
            TokenKind::BasicString
                | TokenKind::LiteralString
                | TokenKind::MlBasicString
                | TokenKind::MlLiteralString
        );
        let mut string = String::new();
        if is_string {
            let _ = raw.decode_scalar(&mut string, &mut ());
        }
        if string.chars().all(is_plain) && !string.contains("##") {
            out += raw.as_str();
        } else {
            out += &basic_string(&string);
        }
    }
    Ok(out)
}

/// A basic string of TOML.
fn basic_string(text: &str) -> String {
    let (mut out, mut last) = ("\"".to_owned(), ' ');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out += "\\n",
            '#' if last == '#' => out += "\\u0023",
            _ if is_plain(c) => out.push(c),
            _ => out += &format!("\\U{:08X}", u32::from(c)),
        }
        last = c;
    }
    out + "\""
}

/// A basic string of TOML, in ASCII.
pub(crate) fn ascii_toml_string(text: &str) -> String {
    let mut out = String::new();
    for c in basic_string(text).chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            out += &format!("\\U{:08X}", u32::from(c));
        }
    }
    out
}

/// A word of a command for a shell, quoted where that is needed.
#[derive(Clone, Copy, Debug)]
pub struct Word<'a>(pub &'a str);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_bare = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
        if !self.0.is_empty() && self.0.chars().all(is_bare) {
            f.write_str(self.0)
        } else if self.0.chars().all(is_plain) && !self.0.contains("##") {
            write!(f, "'{}'", self.0.replace('\'', r"'\''"))
        } else {
            f.write_str("$'")?;
            for byte in self.0.bytes() {
                match byte {
                    b'\'' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                    b' '..=b'~' if byte != b'#' => f.write_char(byte.into())?,
                    _ => write!(f, "\\{byte:03o}")?,
                }
            }
            f.write_str("'")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// All that could do harm, and that has to be read again as it was.
    const HOSTILE: &str =
        "x\n::error::a\r\n##[group]\u{1b}]0;t\u{7}\u{9b}2J\u{202e}\u{2028}\0'\"\\$(id)`id`'''\"\"\"\u{e0041}";

    fn is_harmless(text: &str) -> bool {
        let lines = text.lines().all(|line| !line.trim_start().starts_with("::"));
        lines && text.chars().all(|c| c == '\n' || is_plain(c)) && !text.contains("##")
    }

    #[test]
    fn foreign_text_stays_on_its_line() {
        let mut out = Lines::default();
        row!(out, "model  {HOSTILE}{}", HOSTILE);
        out.after("rule", format_args!("  {HOSTILE}"));
        out.numbered(1, format_args!("{HOSTILE}"));
        row!(out);
        out.block("  | ", HOSTILE);
        assert!(is_harmless(out.as_str()), "{out}");
        assert_eq!(out.as_str().lines().count(), 4 + HOSTILE.lines().count());
    }

    #[test]
    fn machines_read_what_was_meant() {
        let json = json(&serde_json::json!({ HOSTILE: [HOSTILE] }));
        assert!(is_harmless(&json), "{json}");
        assert_eq!(
            serde_json::from_str::<Json>(&json).expect("JSON"),
            serde_json::json!({ HOSTILE: [HOSTILE] })
        );
        let document = BTreeMap::from([
            ("a", BTreeMap::from([(HOSTILE, HOSTILE)])),
            ("b", BTreeMap::from([("literal", "a\"b"), ("two lines", "a\nb"), ("plain", "größe")])),
        ]);
        let toml = toml(&document).expect("TOML");
        assert!(is_harmless(&toml), "{toml}");
        assert!(
            toml.contains("literal = 'a\"b'\n") && toml.contains("\"two lines\" = \"a\\nb\"\n"),
            "{toml}"
        );
        let read: BTreeMap<String, BTreeMap<String, String>> = toml::from_str(&toml).expect("TOML");
        assert_eq!(read["a"][HOSTILE], HOSTILE);
        assert_eq!(read["b"]["two lines"], "a\nb");
    }

    #[test]
    fn a_word_is_one_word_of_a_shell() {
        for word in ["a/b-c.toml", "", "a b", "it's", "$(id) `id` \"", "a##b", &HOSTILE.replace('\0', "")] {
            let shown = Word(word).to_string();
            assert!(is_harmless(&shown), "{shown}");
            let run = std::process::Command::new("bash").args(["-c", &format!("printf %s {shown}")]).output();
            assert_eq!(String::from_utf8_lossy(&run.expect("bash runs").stdout), word);
        }
        assert_eq!(Word("a/b-c.toml").to_string(), "a/b-c.toml");
    }

    #[test]
    fn a_line_begins_with_words() {
        for (format, is_ours) in [("note: {x}", true), ("  found  {x}", true), ("# {x}", true)] {
            assert_eq!(begins_with_words(format), is_ours, "{format}");
        }
        for format in ["", "  ", "{x}", "  {x}", "::error", "\n{x}"] {
            assert!(!begins_with_words(format), "{format}");
        }
    }
}
