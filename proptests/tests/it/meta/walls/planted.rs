//! A planted crate: each way to import upward, each circle and each change of folders is found.

use super::{Layers, Walls};

/// Layers of the planted crate.
const PLANTED: Layers = &[
    ("low", &["devices", "generate", "text"]),
    ("middle", &["bench", "rules", "story"]),
    ("high", &["commands", "main", "report"]),
];

const FILES: &[(&str, &str)] = &[
    ("src/lib.rs", "pub mod bench; pub mod rules; pub use report::Report; pub const MOST: u8 = 1;"),
    ("src/main.rs", "use planted::{MOST, report}; use clap::Parser; mod commands; struct Exit;"),
    ("src/commands.rs", "use planted::{MOST, bench};"),
    ("src/bench.rs", "use crate::{rules, text}; fn f() { crate::row!() }"),
    ("src/bench/deep.rs", ""),
    ("src/devices.rs", ""),
    ("src/generate.rs", "#[cfg(test)] mod tests;"),
    ("src/generate/tests.rs", "use crate::report;"),
    ("src/report.rs", "use crate::text; pub struct Report; #[macro_export] macro_rules! say { () => {} }"),
    ("src/rules.rs", "use crate::{MOST, row};"),
    ("src/story.rs", "use crate::bench;"),
    ("src/text.rs", "#[macro_export] macro_rules! row { () => { $crate::text::f() } } pub fn f() {}"),
];

/// The problems of the planted crate with one file instead, each in one line.
fn planted(path: &str, source: &str, left: &[(&str, &[&str])]) -> Vec<String> {
    let files = FILES.iter().copied().filter(|file| file.0 != path).chain([(path, source)]);
    let files: Vec<_> = files.map(|(path, source)| (path.to_owned(), source.to_owned())).collect();
    let problems = Walls::read("planted", &["src"], &files).problems("suite", PLANTED, left);
    problems.iter().map(|problem| problem.replace("\n    ", " | ")).collect()
}

#[track_caller]
fn finds(path: &str, source: &str, expected: &[&str]) {
    let found = planted(path, source, &[]);
    assert_eq!(found.len(), expected.len(), "{source}: {found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{source}: {found}\n  does not contain\n{expected}");
    }
}

#[test]
fn every_way_to_import_is_seen() {
    let up = |path: &str, source: &str, line: &str| {
        let up = "bench (layer middle) imports report (layer high): move what they share down";
        finds(path, source, &[&format!("{up} | {path} -> {line}")]);
    };
    finds("src/bench/deep.rs", "", &[]);
    up("src/bench.rs", "use crate::report::Report;", "report::Report");
    up("src/bench.rs", "use crate::{text, report::{self as r}};", "report");
    up("src/bench.rs", "use crate::{text::{self, f}, report::{a::{B, C as D}}};", "report::a::B | ");
    up("src/bench.rs", "pub(crate) use crate::report::*;", "report::*");
    up("src/bench.rs", "use super::report;", "report");
    up("src/bench.rs", "use crate::Report;", "Report");
    up("src/bench/deep.rs", "use super::super::report::Report;", "report::Report");
    up("src/bench/deep.rs", "mod inner { fn f() { super::super::super::report::f() } }", "report::f");
    up("src/bench.rs", "pub(in crate::report) struct A;", "report");
    up("src/bench.rs", "struct A(Vec<crate::report::Report>);", "report::Report");
    up("src/bench.rs", "fn f(x: u8) { if let crate::report::MOST = x {} }", "report::MOST");
    up("src/bench.rs", "#[crate::report::attribute] fn f() {}", "report::attribute");
    up("src/bench.rs", "#[a(b = crate::report::A)] struct B;", "report::A");
    up("src/bench.rs", "#[serde(with = \"crate::report::hex\")] struct B;", "report::hex");
    up("src/bench.rs", "fn f() { vec![g(&[crate::report::f::<u8>()])]; }", "report::f");
    up("src/bench/deep.rs", "thread_local! { static A: u8 = super::super::report::A; }", "report::A");
    up("src/bench.rs", "a! { use crate::{text, report::{B}}; }", "report::B");
    up("src/bench.rs", "fn f() { crate::report::say!(); }", "report::say");
    up("src/bench.rs", "fn f() { crate::say!(); }", "say");
    up("src/bench.rs", "use crate::{row, say}; fn f() { say!(row!()); }", "say");
    up("src/bench.rs", "#[cfg(not(test))] use crate::report;", "report");
    finds("src/generate.rs", "mod tests;", &["generate (layer low) imports report (layer high)"]);
    finds("src/bench.rs", "use super::*;", &["bench (layer middle) imports *: name the folders"]);
    finds("src/rules.rs", "use crate::devices::A;", &["rules imports devices, which FORBIDDEN excludes"]);
    finds("src/bench.rs", "fn f() { g!(clap::A); }", &["bench names clap: only commands and main do"]);
}

#[test]
fn tests_and_own_names_are_not_imports() {
    for source in [
        "#[cfg(test)] mod tests { use crate::report; }",
        "#[cfg(all(test, unix))] use crate::report;",
        "impl A { #[cfg(test)] fn f() { crate::report::f() } }",
        "fn f() { #[cfg(test)] crate::report::f(); }",
        "struct A { #[cfg(test)] a: crate::report::A, b: B<C, D> }",
        "use deep::report; mod deep; use self::deep::report as a; use std::report;",
        "/// crate::report::Report\nfn f() { let report = \"crate::report\"; }",
        "mod inner { use super::*; mod report { use super::super::*; } }",
    ] {
        finds("src/bench.rs", source, &[]);
    }
}

#[test]
fn circles_are_compared_with_the_table() {
    let (pair, three) = (("suite", &["bench", "rules"][..]), ("suite", &["bench", "rules", "story"][..]));
    let (two, all) = ("use crate::bench::A;", "use super::story;");
    let ties = "CIRCLES_LEFT if it became smaller | src/bench.rs -> rules | src/rules.rs -> bench::A";
    finds(
        "src/rules.rs",
        two,
        &[&format!("circle of 2 folders, bench, rules: turn an import around, or correct {ties}")],
    );
    finds("src/rules.rs", all, &["circle of 3 folders, bench, rules, story: "]);
    finds("src/commands.rs", "use crate::Exit;", &["circle of 2 folders, commands, main: "]);
    for (source, left, problems) in
        [(two, pair, 0), (two, three, 2), (all, pair, 2), (all, three, 0), ("", pair, 1)]
    {
        assert_eq!(planted("src/rules.rs", source, &[left]).len(), problems, "{source}: {left:?}");
    }
}

#[test]
fn new_and_removed_folders_are_seen() {
    finds("src/new/part.rs", "", &["`new` is in 0 layers: add it to exactly one of LAYERS"]);
    let problems = Walls::default().problems("suite", &[("low", &["gone"])], &[]);
    assert_eq!(problems, ["`gone` is not a folder: remove it from LAYERS"]);
    let programs = [("src/a.rs", "mod b; use b::B;"), ("src/b.rs", "")];
    let files = programs.map(|(path, source)| (path.to_owned(), source.to_owned()));
    let problems =
        Walls::read("", &["src"], &files).problems("suite", &[("low", &["a"]), ("high", &["a", "b"])], &[]);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("`a` is in 2 layers"));
    assert!(problems[1].ends_with("src/a.rs -> b"));
}
