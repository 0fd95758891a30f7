//! The ratchet: riddles in comments, docs and messages, and type names with several meanings, only get
//! fewer. `corpus/golden/ratchet.txt` has the count of each in each file.

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

/// Phrases, in any case and also across line ends, and what to write instead.
const RIDDLES: &[(&[&str], &str)] = &[
    (&["came of", "come of", "comes of", "became of", "become of", "becomes of"], "the result of …"),
    (&["fail nothing", "fails nothing"], "not counted"),
    (&["has the word"], "runs device code; waits for the device"),
    (&["is no", "are no", "is none", "are none"], "is not a …; or name what is missing"),
    (&["legitimate no"], "refused; nobody is at fault"),
    (&["nobody says", "if not said"], "by default; default: …"),
    (&["of ours", "of theirs"], "our …, their …; or name whose it is"),
    (&["see the module"], "what the thing is or does, its units, bounds and errors"),
    (&["so many", "so often"], "a number; N; for a constant: At most N …, Maximum …"),
    (&["so-manieth"], "every n-th"),
    (&["tells", "told"], "reports, shows, gives, is reported; and who does it"),
    (&["were to be tried"], "planned"),
    (&["what of"], "which of …, which part of …"),
    (&["what there is"], "the things by name: lists rules, faults or walks"),
];

/// Plain English that contains a riddle.
const PLAIN: &[&str] = &[
    "are no longer",
    "is no larger",
    "is no less",
    "is no longer",
    "is no more",
    "there are no",
    "there are none",
    "there is no",
    "there is none",
    "what there is no",
];

/// Files and folders to count in.
const COUNTED: &[&str] = &["README.md", "core/src", "docs", "fuzz/fuzz_targets", "fuzz/src", "suite/src"];

/// Members of the workspace that have nothing to count.
const NOT_COUNTED: &[&str] = &["crates/benches", "proptests"];

const LIST: &str = "corpus/golden/ratchet.txt";

/// Counts by file and phrase, or by file and `type Name`: `suite/src/bench.rs  told`.
type Counts = BTreeMap<String, usize>;

/// What differs between the list and the files, by row.
#[derive(Debug, PartialEq)]
enum Change<'a> {
    /// The list must shrink, or follow code that moved.
    Falls(Vec<&'a str>),
    None,
    /// More in the file, and more in all files together.
    Rises(Vec<&'a str>),
}

#[test]
fn riddles_and_ambiguous_names_only_get_fewer() {
    let places = places();
    let now: Counts = places.iter().map(|(row, places)| (row.clone(), places.len())).collect();
    let update = env::var_os("UPDATE_GOLDEN").is_some();
    let is_first = update && !root().join(LIST).exists();
    let list = if is_first { Counts::new() } else { parse(&read(LIST)) };
    let was_and_is = |row: &str| {
        format!("{row}: {} in the list, {} now\n", list.get(row).unwrap_or(&0), now.get(row).unwrap_or(&0))
    };
    match compare(&list, &now) {
        Change::Rises(rows) if !is_first => {
            let show = |row: &&str| {
                format!("{}{}  {}\n", was_and_is(row), places[*row][..3.min(now[*row])].concat(), hint(row))
            };
            panic!("counts in {LIST} only fall:\n{}", rows.iter().map(show).collect::<String>());
        }
        Change::Falls(rows) if !update => {
            let rows: String = rows.into_iter().map(was_and_is).collect();
            panic!(
                "{LIST} must shrink or follow a move: UPDATE_GOLDEN=1 cargo test -p proptests ratchet\n{rows}"
            );
        }
        Change::None => {}
        Change::Falls(_) | Change::Rises(_) => {
            let text: String = now.iter().map(|(row, count)| format!("{row} {count}\n")).collect();
            fs::write(root().join(LIST), text).expect("written");
        }
    }
}

#[test]
fn every_member_is_counted_or_excepted() {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    for member in manifest["workspace"]["members"].as_array().expect("members") {
        let folder = format!("{}/", member.as_str().expect("a folder"));
        let is_counted = COUNTED.iter().any(|place| place.starts_with(&folder));
        let is_excepted = NOT_COUNTED.iter().any(|member| folder.strip_suffix('/') == Some(member));
        assert!(is_counted != is_excepted, "{member}: add its sources to COUNTED, or it to NOT_COUNTED");
    }
}

#[test]
fn a_rise_fails_a_fall_and_a_move_demand_an_update() {
    let (told, both) = (parse("a.rs  told 2"), parse("a.rs  told 1\nb.rs  told 1"));
    assert_eq!(compare(&told, &told), Change::None);
    assert_eq!(compare(&told, &parse("a.rs  told 3")), Change::Rises(vec!["a.rs  told"]));
    assert_eq!(compare(&told, &parse("b.rs  told 3")), Change::Rises(vec!["b.rs  told"]));
    assert_eq!(compare(&told, &parse("a.rs  so many 1")), Change::Rises(vec!["a.rs  so many"]));
    assert_eq!(
        compare(&told, &parse("a.rs  told 1\na.rs  type Site 1")),
        Change::Rises(vec!["a.rs  type Site"])
    );
    assert_eq!(compare(&parse(""), &both), Change::Rises(vec!["a.rs  told", "b.rs  told"]));
    assert_eq!(compare(&told, &parse("a.rs  told 1")), Change::Falls(vec!["a.rs  told"]));
    assert_eq!(compare(&told, &parse("")), Change::Falls(vec!["a.rs  told"]));
    assert_eq!(compare(&told, &parse("b.rs  told 2")), Change::Falls(vec!["a.rs  told", "b.rs  told"]));
    assert_eq!(compare(&told, &both), Change::Falls(vec!["a.rs  told", "b.rs  told"]));
}

#[test]
fn comments_and_messages_count_and_code_does_not() {
    let found = |code: &str| riddles(&split(code).1);
    assert_eq!(found("/// At most so\n    /// many.\nstruct A;"), [(1, "so many")]);
    assert_eq!(found("fn told() { tells(\"\\\"is {told} \\\n TOLD\\n\") }"), [(2, "told")]);
    assert_eq!(
        found("x('\"'); // It tells.\ny(r#\"\"told\"\"#, tells); // so\nz; // many"),
        [(1, "tells"), (2, "told")]
    );
    assert_eq!(found("// Is it so? Many a `told`, bench/told.rs, is-told: there is no told_by, retold."), []);
    assert_eq!(found("// If there is none, it is\n// none."), [(1, "is none")]);
}

#[test]
fn a_type_is_counted_where_it_is_defined() {
    let code =
        "pub(super) struct A<'a>(&'a str);\n    enum B {}\n// struct C\nx(\"struct D\");\ntype E = u8;";
    let found = |code| {
        types(&split(code).0).into_iter().map(|(line, name)| format!("{name} {line}")).collect::<Vec<_>>()
    };
    assert_eq!(found(code), ["A 1", "B 2", "E 5"]);
    assert!(found("impl F for A {\n    type G = u8;\n}").is_empty());
}

/// A row rises if the sum of its phrase or name over all files rises with it; else something moved.
fn compare<'a>(list: &'a Counts, now: &'a Counts) -> Change<'a> {
    let sum = |counts: &Counts, row: &str| -> usize {
        counts.iter().filter(|(other, _)| what(other) == what(row)).map(|(_, count)| count).sum()
    };
    let rows = BTreeMap::from_iter(list.iter().chain(now)).into_keys().map(String::as_str);
    let rows: Vec<_> = rows.filter(|row| list.get(*row) != now.get(*row)).collect();
    let rises = |row: &&str| list.get(*row) < now.get(*row) && sum(list, row) < sum(now, row);
    let risen: Vec<_> = rows.iter().copied().filter(rises).collect();
    match (risen.is_empty(), rows.is_empty()) {
        (false, _) => Change::Rises(risen),
        (true, false) => Change::Falls(rows),
        (true, true) => Change::None,
    }
}

fn parse(list: &str) -> Counts {
    let row = |line: &str| {
        line.rsplit_once(' ').and_then(|(row, count)| Some((row.to_owned(), count.parse().ok()?)))
    };
    list.lines().map(|line| row(line).unwrap_or_else(|| panic!("{LIST}: `{line}`: no count"))).collect()
}

/// The phrase or `type Name` of a row.
fn what(row: &str) -> &str {
    row.split_once("  ").map_or(row, |(_, what)| what)
}

fn hint(row: &str) -> String {
    let riddle = RIDDLES.iter().find(|(phrases, _)| phrases.contains(&what(row)));
    riddle.map_or("use that type, or a name that no other type has".to_owned(), |(_, hint)| {
        format!("write instead: {hint}")
    })
}

/// Places of everything that is counted, by row, as lines of text.
fn places() -> BTreeMap<String, Vec<String>> {
    let mut places = BTreeMap::<_, Vec<_>>::new();
    let mut defined = BTreeMap::<_, Vec<_>>::new();
    for path in COUNTED.iter().flat_map(|place| files(place)) {
        let text = read(&path);
        let (code, prose) = if path.ends_with(".rs") { split(&text) } else { (String::new(), text.clone()) };
        let place = |line: usize| {
            format!("  {path}:{line}: {}\n", text.lines().nth(line - 1).unwrap_or_default().trim())
        };
        for (line, riddle) in riddles(&prose) {
            places.entry(format!("{path}  {riddle}")).or_default().push(place(line));
        }
        for (line, name) in types(&code) {
            defined.entry(name).or_default().push((path.clone(), place(line)));
        }
    }
    for (name, definitions) in defined.into_iter().filter(|(_, definitions)| definitions.len() > 1) {
        for (path, place) in definitions {
            places.entry(format!("{path}  type {name}")).or_default().push(place);
        }
    }
    places
}

/// Code, and what people read: comments and strings. Both keep all lines; `|` stands for the other.
fn split(source: &str) -> (String, String) {
    let (mut code, mut prose, mut rest) = (String::new(), String::new(), source);
    while let Some(next) = rest.chars().next() {
        let (len, is_prose) = token(rest, next);
        let (text, lines) = (&rest[..len], "\n".repeat(rest[..len].matches('\n').count()));
        if is_prose {
            code = code + "|" + &lines;
            prose += &text.trim_start_matches(['/', '!']).replace("\\\n", "\n").replace("\\n", " | ");
        } else {
            code += text;
            prose += if next.is_whitespace() { text } else { "|" };
        }
        rest = &rest[len..];
    }
    (code, prose)
}

/// The length of a comment or a string, or else of one character; whether people read it.
fn token(rest: &str, next: char) -> (usize, bool) {
    let end = |at: usize, sign: &str| rest[at..].find(sign).map_or(rest.len(), |end| at + end + sign.len());
    let raw = rest.strip_prefix('r').unwrap_or_default();
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    if rest.starts_with("//") {
        (rest.find('\n').unwrap_or(rest.len()), true)
    } else if raw[hashes..].starts_with('"') {
        (end(hashes + 2, &raw[..=hashes].chars().rev().collect::<String>()), true)
    } else if next == '"' {
        let mut is_escaped = true;
        let end = rest.find(|c| {
            let is_end = c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            is_end
        });
        (end.map_or(rest.len(), |end| end + 1), true)
    } else {
        let quote = ["'\"'", "'\\\"'"].into_iter().find(|quote| rest.starts_with(quote));
        (quote.map_or(next.len_utf8(), str::len), false)
    }
}

/// Riddles and the lines on which they begin. Code is not read: a_b, a/b, a::b, {a}, `a`.
fn riddles(prose: &str) -> Vec<(usize, &'static str)> {
    let is_word = |c: char| c.is_alphanumeric() || "-_'".contains(c);
    let is_code = |chunk: &str| {
        chunk.matches('`').count() == 2 || ["::", "/", "{"].iter().any(|sign| chunk.contains(sign))
    };
    let mut words = Vec::new();
    for (line, text) in (1..).zip(prose.lines()) {
        for chunk in text.split_whitespace() {
            let chunk = if is_code(chunk) { "|" } else { chunk };
            let spaced = chunk.to_lowercase().replace(|c| !is_word(c), " | ");
            words.extend(spaced.split_whitespace().map(|word| (line, word.to_owned())));
        }
    }
    let mut found = Vec::new();
    let mut plain_to = 0;
    for at in 0..words.len() {
        let is_at = |phrase: &&str| {
            let mut next = words[at..].iter().map(|word| word.1.as_str());
            phrase.split(' ').all(|word| next.next() == Some(word))
        };
        if let Some(plain) = PLAIN.iter().find(|plain| is_at(plain)) {
            plain_to = at + plain.split(' ').count();
        }
        if plain_to <= at {
            let phrases = RIDDLES.iter().flat_map(|riddle| riddle.0);
            found.extend(phrases.filter(|phrase| is_at(phrase)).map(|phrase| (words[at].0, *phrase)));
        }
    }
    found
}

/// Names of types and the lines on which they are defined. An indented `type` belongs to a trait.
fn types(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, text) in (1..).zip(code.lines()) {
        let words: Vec<_> = text.split_whitespace().collect();
        for pair in words.windows(2) {
            let defines = match pair[0] {
                "enum" | "struct" | "trait" | "union" => true,
                "type" => !text.starts_with(' '),
                _ => false,
            };
            let name: String = pair[1].chars().take_while(|c| c.is_alphanumeric()).collect();
            if defines && name.starts_with(char::is_uppercase) {
                found.push((line, name));
            }
        }
    }
    found
}

/// Rust and Markdown under a path, or the file itself.
fn files(path: &str) -> Vec<String> {
    if root().join(path).is_file() {
        return vec![path.to_owned()];
    }
    let entries =
        fs::read_dir(root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}: correct COUNTED"));
    let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort();
    let paths = names.iter().map(|name| format!("{path}/{}", name.to_str().expect("UTF-8")));
    let is_counted =
        |path: &String| root().join(path).is_dir() || path.ends_with(".rs") || path.ends_with(".md");
    paths.filter(is_counted).flat_map(|path| files(&path)).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
