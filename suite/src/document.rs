//! TOML that others wrote: bounded, and with errors of one line that name the place.

use migcert_core::text::Short;
use serde::de::DeserializeOwned;
use toml_parser::Source;

/// Words, signs and gaps that a document has at most: what is made of them takes about 200 bytes each.
pub const MAX_TOKENS: usize = 1 << 18;

/// A document that can't be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDocument {
    /// It has more than [`MAX_TOKENS`].
    #[error("it has more than {MAX_TOKENS} words and signs; make it smaller")]
    TooMany,
    /// Not TOML, or not of the shape that is read.
    #[error("line {line}, column {column}: {why}")]
    At {
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
        /// What is wrong there; quotes little of the document.
        why: String,
    },
}

/// Reads a document of TOML.
///
/// # Errors
/// [`BadDocument`], with the place.
pub fn toml<T: DeserializeOwned>(text: &str) -> Result<T, BadDocument> {
    if Source::new(text).lex().nth(MAX_TOKENS).is_some() {
        return Err(BadDocument::TooMany);
    }
    toml::from_str(text).map_err(|why| {
        let before = text.get(..why.span().map_or(0, |span| span.start)).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        BadDocument::At {
            line: 1 + before.matches('\n').count(),
            column: 1 + line.chars().count(),
            why: quoting_little(why.message()),
        }
    })
}

/// A message of serde without most of what it quotes: that stands before the last comma, and what is
/// expected instead after it.
fn quoting_little(message: &str) -> String {
    match message.rsplit_once(", expected ") {
        Some((found, expected)) if expected.len() <= MOST => format!("{}, expected {expected}", Short(found)),
        _ => Short(message).to_string(),
    }
}

/// What is expected is ours, and may be a long list.
const MOST: usize = 600;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Two {
        #[expect(dead_code, reason = "only whether it can be read is asked")]
        at: [u32; 2],
    }

    #[track_caller]
    fn says(text: &str, expected: &str) {
        let why = toml::<Two>(text).expect_err("bad").to_string();
        assert!(why.starts_with(expected) && why.len() < 300, "{why}");
        assert_eq!(why.lines().count(), 1);
    }

    #[test]
    fn errors_name_the_place_and_quote_little() {
        says("\nat = [1, 2\n", "line 2, column 11: unclosed array");
        says("at = [1, 2]\nat = [1, 2]", "line 2, column 1: duplicate key");
        says("at = [1]", "line 1, column 6: invalid length 1, expected");
        let long = "ä".repeat(100_000);
        says(&format!("at = \"{long}\""), "line 1, column 6: invalid type: string");
        says(&format!("{long} = 1"), "line 1, column 1: ");
        says(&format!("\"{long}\" = 1"), "line 1, column 1: unknown field `ääää");
        says(&format!("at = [{}]", "1,".repeat(MAX_TOKENS)), "it has more than");
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = ["x = ".to_owned() + &"[".repeat(100_000), "a.".repeat(100_000) + "a = 1"];
        for text in deep {
            assert!(toml::<BTreeMap<String, toml::Value>>(&text).is_err());
        }
    }
}
