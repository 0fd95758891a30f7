//! What a device program printed: for people, and nothing else.

use std::fmt;
use std::hash::{Hash, Hasher};

/// The last lines that a device program printed before something failed.
///
/// No guest sees them, and they hold process ids, times and paths. So any two are equal and hash
/// alike: what is compared, grouped or counted never depends on them.
#[derive(Clone, Default)]
pub struct Aside(Vec<Line>);

/// One line that a program printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The line, without its end; at most [`Aside::WIDTH`] bytes of it.
    pub text: String,
    /// Whether it was printed while the step was under way that failed.
    pub is_during: bool,
}

impl Aside {
    /// Maximum number of lines of [`Aside::of`].
    pub const LINES: usize = 8;
    /// Maximum number of lines of [`Aside::all`].
    pub const MOST: usize = 512;
    /// Maximum number of bytes of a line.
    pub const WIDTH: usize = 400;

    /// The last of these lines, oldest first. Blank ones are left out.
    pub fn of(lines: impl IntoIterator<Item = Line>) -> Aside {
        Aside::last_of(lines, Aside::LINES)
    }

    fn last_of(lines: impl IntoIterator<Item = Line>, most: usize) -> Aside {
        let mut kept: Vec<Line> =
            lines.into_iter().filter(|line| !line.text.trim().is_empty()).map(Line::clipped).collect();
        kept.drain(..kept.len().saturating_sub(most));
        Aside(kept)
    }

    /// All of these lines, up to [`Aside::MOST`] from the end: what a program prints when it refuses to start.
    pub fn all(lines: impl IntoIterator<Item = Line>) -> Aside {
        Aside::last_of(lines, Aside::MOST)
    }

    /// The lines, oldest first.
    pub fn lines(&self) -> &[Line] {
        &self.0
    }

    /// The lines as files and reports write them: `> ` stands before those that were printed
    /// during the failing step, and two spaces before the others.
    pub fn marked(&self) -> Vec<String> {
        let mark = |line: &Line| if line.is_during { DURING } else { BEFORE };
        self.0.iter().map(|line| format!("{}{}", mark(line), line.text)).collect()
    }

    /// Reads what [`Aside::marked`] wrote. A line without a mark was printed before.
    pub fn from_marked<S: AsRef<str>>(lines: impl IntoIterator<Item = S>) -> Aside {
        let read = |line: S| {
            let line = line.as_ref();
            match line.strip_prefix(DURING) {
                Some(text) => Line { text: text.to_owned(), is_during: true },
                None => {
                    let text = line.strip_prefix(BEFORE).unwrap_or(line).to_owned();
                    Line { text, is_during: false }
                }
            }
        };
        Aside::of(lines.into_iter().map(read))
    }

    /// Whether nothing was printed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The last line of all, without the time stamp in brackets that loggers put in front.
    pub fn last(&self) -> Option<&str> {
        self.0.last().map(Line::message)
    }

    /// The last line that was printed during the failing step, without a time stamp.
    pub fn last_during(&self) -> Option<&str> {
        self.0.iter().rfind(|line| line.is_during).map(Line::message)
    }
}

const DURING: &str = "> ";
const BEFORE: &str = "  ";

impl Line {
    fn message(&self) -> &str {
        let text = self.text.trim();
        let stamped = text.strip_prefix('[').and_then(|rest| rest.split_once("] "));
        stamped.map_or(text, |(_, message)| message.trim())
    }

    fn clipped(mut self) -> Line {
        if Aside::WIDTH < self.text.len() {
            let end = (0..=Aside::WIDTH).rev().find(|end| self.text.is_char_boundary(*end));
            self.text.truncate(end.unwrap_or(0));
            self.text.push('…');
        }
        self
    }
}

impl PartialEq for Aside {
    fn eq(&self, _: &Aside) -> bool {
        true
    }
}

impl Eq for Aside {}

impl Hash for Aside {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl fmt::Debug for Aside {
    /// Nothing of what was printed: a debug text is compared, too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aside(..)")
    }
}

impl fmt::Display for Aside {
    /// `: ` and the last line that was printed during the step; nothing where there is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.last_during().map_or(Ok(()), |words| write!(f, ": {words}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, is_during: bool) -> Line {
        Line { text: text.to_owned(), is_during }
    }

    #[test]
    fn what_was_printed_is_not_compared() {
        let (one, other) = (Aside::of([line("pid 17", true)]), Aside::of([line("pid 18", false)]));
        assert_eq!(one, other);
        assert_eq!(format!("{one:?}"), format!("{other:?}"));
    }

    #[test]
    fn the_last_lines_are_kept() {
        let many = Aside::of((0..20).map(|i| line(&format!("line {i}"), 18 <= i)).chain([line("\t ", true)]));
        assert_eq!(many.lines().len(), Aside::LINES);
        assert_eq!(many.lines()[0], line("line 12", false));
        assert_eq!(many.last(), Some("line 19"));
        let before = Aside::of([line("before", false)]);
        assert_eq!((before.last(), before.last_during()), (Some("before"), None));
        let long = Aside::of([line(&"ä".repeat(1000), true)]);
        assert!(long.lines()[0].text.len() <= Aside::WIDTH + '…'.len_utf8());
    }

    #[test]
    fn lines_are_marked_and_read_again() {
        let lines = [line("  starting", false), line("> no", true)];
        let marked = Aside::of(lines.clone()).marked();
        assert_eq!(marked, ["    starting", "> > no"]);
        assert_eq!(Aside::from_marked(marked).lines(), lines);
        assert_eq!(Aside::from_marked(["plain"]).lines(), [line("plain", false)]);
    }

    #[test]
    fn time_stamps_are_left_out_of_a_message() {
        assert_eq!(Aside::of([line("[2020 ERROR x] no such inode ", true)]).to_string(), ": no such inode");
        assert_eq!(Aside::default().to_string(), "");
    }
}
