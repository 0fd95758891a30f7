//! TOML and JSON that others wrote: bounded, and with errors of one line that name the place.

use migcert_core::text::Short;
use serde::de::DeserializeOwned;
use toml_parser::Source;

/// Words, signs and gaps that a document has at most: what is made of them takes about 200 bytes each.
pub const MAX_TOKENS: usize = 1 << 18;

/// Values and names that a document of JSON has at most: what is made of one takes about 100 bytes.
pub const MAX_VALUES: usize = 1 << 21;

/// A document that can't be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDocument {
    /// It has more than [`MAX_TOKENS`].
    #[error("it has more than {MAX_TOKENS} words and signs; make it smaller")]
    TooMany,
    /// It has more than [`MAX_VALUES`].
    #[error("it has more than {MAX_VALUES} values and names; make it smaller, or its shards more")]
    TooManyValues,
    /// Not TOML or JSON, or not of the shape that is read.
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

/// Reads a document of JSON.
///
/// # Errors
/// [`BadDocument`], with the place.
pub fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BadDocument> {
    if MAX_VALUES < values(bytes) {
        return Err(BadDocument::TooManyValues);
    }
    serde_json::from_slice(bytes).map_err(|why| {
        let (line, column) = (why.line(), why.column());
        let message = why.to_string();
        let place = format!(" at line {line} column {column}");
        BadDocument::At {
            line,
            column,
            why: quoting_little(message.strip_suffix(&place).unwrap_or(&message)),
        }
    })
}

/// How many values and names there are at most, by the signs around them: each is next to one of its
/// own. In what is no JSON, it is any number.
fn values(bytes: &[u8]) -> usize {
    let (mut count, mut is_text, mut is_escaped) = (0, false, false);
    for byte in bytes {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b',' | b':' | b'[' | b'{' if !is_text => count += 1,
            _ => {}
        }
    }
    count
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
    fn json_is_bounded_and_errors_name_the_place() {
        let says = |text: &str| json::<Two>(text.as_bytes()).expect_err("bad").to_string();
        assert_eq!(says("{\n\"at\": [1,"), "line 2, column 9: EOF while parsing a value");
        assert_eq!(
            says("{\"at\": [1]}"),
            "line 1, column 10: invalid length 1, expected an array of length 2"
        );
        assert!(says(&format!("{{\"{}\": 1}}", "x".repeat(10_000))).len() < 300);
        let list = |n: usize| format!("[{}0]", "0,".repeat(n));
        assert_eq!(json::<Vec<u8>>(list(MAX_VALUES).as_bytes()), Err(BadDocument::TooManyValues));
        assert_eq!(json::<Vec<u8>>(list(MAX_VALUES - 1).as_bytes()).map(|list| list.len()), Ok(MAX_VALUES));
        let text = format!(r#"["{}\"{}"]"#, ",".repeat(MAX_VALUES), ":".repeat(MAX_VALUES));
        assert!(json::<Vec<String>>(text.as_bytes()).is_ok());
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = ["x = ".to_owned() + &"[".repeat(100_000), "a.".repeat(100_000) + "a = 1"];
        for text in deep {
            assert!(toml::<BTreeMap<String, toml::Value>>(&text).is_err());
        }
    }
}
