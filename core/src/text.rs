//! Text that others wrote, as it may stand on a line of ours.
//!
//! Model ids, names, values and messages come from descriptions, devices and files. A terminal takes
//! some characters for orders, and the log of a CI job takes some lines for orders; so no such
//! character is printed as it is. [`Plain`] shows all of a text, [`Short`] as much of it as an error
//! quotes.

use std::fmt::{self, Write};

/// Shows all of a text on one line.
///
/// Shown as `\n`, `\u{1b}`: control characters, line and paragraph separators, what changes the
/// direction of writing, everything invisible, and each `#` after another one (`##[`, `##vso[`).
///
/// ```
/// use migcert_core::text::Plain;
/// assert_eq!(Plain("e1000e\n\u{1b}[2J").to_string(), r"e1000e\n\u{1b}[2J");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Plain<'a>(pub &'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Line::new(f).write_str(self.0)
    }
}

/// Characters that [`Short`] shows at most.
pub const SHORT: usize = 80;

/// Shows the beginning of a text as [`Plain`] does, and how long the text is if that is not all.
#[derive(Clone, Copy, Debug)]
pub struct Short<'a>(pub &'a str);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(SHORT) {
            None => Plain(self.0).fmt(f),
            Some((end, _)) => write!(f, "{}… ({} bytes)", Plain(&self.0[..end]), self.0.len()),
        }
    }
}

/// Writes texts one after the other on one line, whatever is in them.
#[derive(Debug)]
pub struct Line<W> {
    out: W,
    last: char,
    marks: u32,
}

impl<W: Write> Line<W> {
    /// Goes on at the end of what was written so far.
    pub fn new(out: W) -> Line<W> {
        Line { out, last: ' ', marks: 0 }
    }
}

impl<W: Write> Write for Line<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            self.write_char(c)?;
        }
        Ok(())
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        self.marks = if is_mark(c) { self.marks + 1 } else { 0 };
        let is_shown = is_plain(c) && !(c == '#' && self.last == '#') && self.marks <= MARKS;
        self.last = c;
        match c {
            _ if is_shown => self.out.write_char(c),
            '\0' | '\t' | '\n' | '\r' => write!(self.out, "{}", c.escape_debug()),
            _ => write!(self.out, "{}", c.escape_unicode()),
        }
    }
}

/// Marks that one letter may carry; more of them cover other lines.
const MARKS: u32 = 3;

/// A mark that is drawn on the letter before it.
fn is_mark(c: char) -> bool {
    !c.is_ascii() && is_plain(c) && c.escape_debug().len() != 1
}

/// Whether a character is drawn where it stands and changes nothing else.
pub fn is_plain(c: char) -> bool {
    match c {
        ' '..='~' => true,
        '\0'..='\u{9f}' => false,
        // The standard library's table; marks count as printable after a letter.
        _ => ['a', c].iter().collect::<String>().escape_debug().count() == 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_lines_of_text() {
        for (text, shown) in [
            ("größe, 大きさ, ขนาด, e\u{301}, ✓ \\ \" '", "größe, 大きさ, ขนาด, e\u{301}, ✓ \\ \" '"),
            ("\u{1b}]0;x\u{7}\u{8}\0\u{7f}", r"\u{1b}]0;x\u{7}\u{8}\0\u{7f}"),
            ("a\r\nb\tc\u{b}\u{c}", r"a\r\nb\tc\u{b}\u{c}"),
            ("\u{85}\u{9b}2J\u{2028}\u{2029}", r"\u{85}\u{9b}2J\u{2028}\u{2029}"),
            (
                "\u{202e}\u{2066}\u{200f}\u{61c}\u{200b}\u{feff}\u{e0041}",
                r"\u{202e}\u{2066}\u{200f}\u{61c}\u{200b}\u{feff}\u{e0041}",
            ),
            ("##[error]#x", r"#\u{23}[error]#x"),
            ("a\u{301}\u{301}\u{301}\u{301}b", "a\u{301}\u{301}\u{301}\\u{301}b"),
        ] {
            assert_eq!(Plain(text).to_string(), shown);
        }
        for c in ('\0'..=char::MAX).filter(|c| c.is_control() || c.is_whitespace() && *c != ' ') {
            assert!(!is_plain(c), "{c:?}");
        }
    }

    #[test]
    fn what_is_quoted_is_short() {
        assert_eq!(Short("x\n").to_string(), "x\\n");
        let long = "ä".repeat(100_000);
        assert_eq!(Short(&long).to_string(), format!("{}… (200000 bytes)", "ä".repeat(SHORT)));
        assert_eq!(Short(&"ä".repeat(SHORT)).to_string(), "ä".repeat(SHORT));
    }

    #[test]
    fn a_line_goes_on_over_texts() {
        let mut out = String::new();
        let mut line = Line::new(&mut out);
        for text in ["#", "#["] {
            write!(line, "{text}").expect("written");
        }
        assert_eq!(out, "#\\u{23}[");
    }
}
