//! Marks of a run in a text (numbers, addresses, paths), which must not separate findings of one bug.

use std::borrow::Cow;

/// A text without what differs from run to run: numbers, decimal or hexadecimal, and paths.
pub(crate) fn without_marks(text: &str) -> String {
    let is_end = |c: char| c.is_whitespace() || "'\"`()[]{}<>,;".contains(c);
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| is_end(c) != is_end(first)).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        match ["/", "./", "../", "~/"].iter().any(|start| part.starts_with(start)) {
            true => out.push_str("PATH"),
            false => out.push_str(&by_word(part, unmarked)),
        }
        rest = after;
    }
    out
}

/// Numbers, decimal or hexadecimal, become `#`; digits inside of names stay, and so do offsets, `BAR0+0x8`,
/// the only names of some registers.
pub(super) fn without_numbers(text: &str) -> String {
    let mut is_offset = false;
    text.split_inclusive('+')
        .map(|part| {
            let end = part.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(part.len());
            let (offset, rest) =
                if is_offset && part.starts_with("0x") { part.split_at(end) } else { ("", part) };
            is_offset = true;
            format!("{offset}{}", by_word(rest, numberless))
        })
        .collect()
}

/// A word, or what stands for a number.
fn numberless(word: &str) -> Cow<'_, str> {
    if word.starts_with(|c: char| c.is_ascii_digit()) { "#".into() } else { word.into() }
}

fn by_word<'t>(text: &'t str, change: impl Fn(&'t str) -> Cow<'t, str>) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric();
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| is_word(c) != is_word(first)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        out.push_str(&change(word));
        rest = after;
    }
    out
}

/// A word without its number: `17`, `0x1f`, `ffff8e12`, and that of `msg0x1f`.
fn unmarked(word: &str) -> Cow<'_, str> {
    match word.find("0x") {
        _ if word.starts_with(|c: char| c.is_ascii_digit()) || is_hex(word) => "#".into(),
        Some(at) => format!("{}#", &word[..at]).into(),
        None => word.into(),
    }
}

/// Whether a word is a hexadecimal number that begins with a letter: an address, a hash.
fn is_hex(word: &str) -> bool {
    const SHORT: usize = 6;
    SHORT <= word.len()
        && word.chars().all(|c| c.is_ascii_hexdigit())
        && word.chars().any(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_marks_a_run_does_not_part_findings() {
        let says = |pid: u32, path: &str, address: &str| {
            format!("rtc[{pid}] 12:0{pid}:01: {path}: msg0x{pid:x} at {address}: no RX2")
        };
        let (one, other) = (says(17, "/tmp/x1/socket", "ffff8e12"), says(4, "/dev/shm/y", "0x77a1"));
        assert_eq!(without_marks(&one), without_marks(&other));
        assert_eq!(without_marks(&one), "rtc[#] #:#:#: PATH msg# at #: no RX2");
    }

    #[test]
    fn numbers_don_t_part_findings() {
        let place = without_numbers("moved after 12 steps: step 3: the guest reads WORD2 at 0x1f, `größe=7`");
        assert_eq!(place, "moved after # steps: step #: the guest reads WORD2 at #, `größe=#`");
    }

    #[test]
    fn offsets_part_findings_where_registers_have_no_names() {
        let place = without_numbers("step 3: the guest reads BAR0+0x1f/4, and 0x20+12");
        assert_eq!(place, "step #: the guest reads BAR0+0x1f/#, and #+#");
    }
}
