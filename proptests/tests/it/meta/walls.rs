//! The wall test: folders import only folders of their own layer or of lower ones, and not in a circle but for those that are left. A
//! folder is a top-level module of a crate with everything below it. The test parses Rust, so it also sees what
//! groups, types and macro calls name. `cargo test -p proptests layers_hold -- --nocapture` prints counts.

mod names;
mod planted;

use super::{manifest, root, rust_under};
use names::Names;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use syn::visit::Visit;

/// Layers from low to high: a name, and its folders.
type Layers = &'static [(&'static str, &'static [&'static str])];

/// Crates, the names of their libraries, and where their sources are.
const CRATES: &[(&str, &str, &[&str])] = &[
    ("core", "migcert_core", &["core/src"]),
    ("suite", "migcert", &["suite/src"]),
    ("fuzz", "migcert_fuzz", &["fuzz/src", "fuzz/fuzz_targets"]),
    ("benches", "migcert_benches", &["crates/benches/benches", "crates/benches/examples"]),
    ("proptests", "proptests", &["proptests/tests/it"]),
];

/// The layers of each crate, in which each of its folders is exactly once.
#[rustfmt::skip]
const LAYERS: &[(&str, Layers)] = &[
    ("core", &[
        ("names and values", &["model", "param", "text"]),
        ("descriptions, states and envelope", &[
            "compat", "device", "envelope", "error", "flat", "fleet", "json", "lint", "manifest", "program",
            "structured", "version",
        ]),
        ("migration", &["migrate"]),
    ]),
    ("suite", &[
        ("tools", &[
            "deadline", "document", "draw", "ending", "files", "implementation", "parallel", "scratch", "text",
        ]),
        ("nouns", &["case", "coverage", "damage", "finding", "isolation", "learned", "rule", "subject"]),
        ("guests and generators", &["generate", "guests"]),
        ("devices and hosts", &["devices", "hosts"]),
        ("bench", &["bench"]),
        ("rules", &["rules"]),
        ("certificate", &["certificate"]),
        ("implementations", &["impls", "profile"]),
        ("engines", &[
            "certify", "entry", "explore", "hostile", "known", "merge", "minimize", "mutate", "oracle", "self_test",
            "zoo",
        ]),
        ("top", &["own", "report"]),
        ("program", &["main", "commands"]),
    ]),
    ("fuzz", &[("targets", &["bytes", "check", "damage", "migrate", "wire"])]),
    ("benches", &[
        ("tools", &["peer"]),
        ("benches", &["check", "envelope", "matrix", "vfio_user"]),
        ("examples", &["budget", "corpus", "cost", "detection", "minimisers", "oracles", "seeds"]),
    ]),
    ("proptests", &[
        ("engine", &["engine"]),
        ("tests", &["corpus", "devices", "entries", "envelope", "memory", "meta", "minimize", "windows"]),
        ("program", &["main"]),
    ]),
];

/// Circles that are left: a crate, and the folders in alphabetical order. This table only shrinks.
#[rustfmt::skip]
const CIRCLES_LEFT: &[(&str, &[&str])] = &[
    ("core", &[
        "compat", "device", "envelope", "error", "flat", "fleet", "json", "lint", "manifest", "program",
        "structured", "version",
    ]),
];

/// Folders that a folder must not import, even where the layers allow it: rules see devices through traits,
/// and devices are not made for the rules that judge them.
const FORBIDDEN: &[(&str, &str, &[&str])] = &[
    ("suite", "bench", &["devices", "hosts"]),
    ("suite", "rules", &["devices", "hosts"]),
    ("suite", "certificate", &["devices", "hosts"]),
    ("suite", "report", &["bench", "certify", "rules"]),
    ("suite", "devices", &["rules", "generate"]),
    ("suite", "hosts", &["rules", "generate"]),
];

/// Packages for the command line, and the only folders that name them.
const ONLY: &[(&str, &[&str], &[&str])] =
    &[("suite", &["anyhow", "clap", "indicatif"], &["commands", "main"])];

/// The folders of a crate and what they import.
#[derive(Default)]
struct Walls {
    folders: BTreeSet<String>,
    /// Lines `file -> path` by the importing folder and the imported one, which is `*` for all of them.
    imports: BTreeMap<(String, String), BTreeSet<String>>,
    /// Lines `file -> path` by the importing folder and the package.
    packages: BTreeMap<(String, String), BTreeSet<String>>,
}

#[test]
fn layers_hold() {
    let mut problems = String::new();
    for (name, library, roots) in CRATES {
        let files = roots.iter().flat_map(|root| sources(root)).collect::<Vec<_>>();
        let walls = Walls::read(library, roots, &files);
        let layers = LAYERS.iter().find(|row| row.0 == *name).expect("its layers").1;
        println!("{name}: {}", walls.counts(layers));
        for problem in walls.problems(name, layers, CIRCLES_LEFT) {
            problems += &format!("{name}: {problem}\n");
        }
    }
    assert!(problems.is_empty(), "walls:\n{problems}");
}

#[test]
fn core_depends_on_no_other_package_of_the_workspace() {
    let core = manifest("core/Cargo.toml");
    for table in ["dependencies", "dev-dependencies"] {
        for package in core[table].as_table().expect("a table").keys() {
            assert!(
                !package.starts_with("migcert"),
                "core depends on {package}: move what it needs into core"
            );
        }
    }
}

#[test]
fn tables_name_what_exists() {
    let folders = |name: &str| -> BTreeSet<&str> {
        let rows = LAYERS.iter().filter(|row| row.0 == name).flat_map(|row| row.1);
        rows.flat_map(|layer| layer.1).copied().collect()
    };
    let forbidden = FORBIDDEN.iter().map(|(name, folder, others)| (name, [&[*folder], *others].concat()));
    let only = ONLY.iter().map(|(name, _, folders)| (name, folders.to_vec()));
    let left = CIRCLES_LEFT.iter().map(|(name, folders)| (name, folders.to_vec()));
    for (name, named) in forbidden.chain(only).chain(left) {
        for folder in named {
            assert!(folders(name).contains(folder), "`{folder}` is not a folder in LAYERS of {name}");
        }
    }
    assert!(CRATES.iter().map(|row| row.0).eq(LAYERS.iter().map(|row| row.0)), "CRATES and LAYERS differ");
    for (name, _, roots) in CRATES {
        assert!(roots.iter().all(|root| !sources(root).is_empty()), "{name} has an empty root");
    }
    let members = manifest("Cargo.toml")["workspace"]["members"].as_array().map_or(0, Vec::len);
    assert_eq!(members, CRATES.len(), "members of the workspace and rows of CRATES");
}

impl Walls {
    /// Reads the files of a crate: pairs of path and source.
    fn read(library: &str, roots: &[&str], files: &[(String, String)]) -> Walls {
        let mut sources = Vec::new();
        for (path, source) in files {
            let (folder, module) = place(roots, path, files);
            let mut names = Names { library, folder, module, ..Names::default() };
            names.visit_file(&syn::parse_file(source).unwrap_or_else(|why| panic!("{path}: {why}")));
            sources.push((path, names));
        }
        let tests: Vec<_> = sources.iter().flat_map(|(_, names)| names.tests.clone()).collect();
        sources.retain(|(_, names)| !tests.iter().any(|test| names.module.starts_with(test)));
        let at_root: BTreeMap<_, _> = sources.iter().flat_map(|(_, names)| names.at_root.clone()).collect();
        assert!(!at_root.contains_key("*"), "{roots:?}: lib.rs re-exports by `*`: write the names");

        let mut walls = Walls::default();
        walls.folders.extend(sources.iter().filter_map(|(_, names)| names.folder.clone()));
        // Folders that `main.rs` declares; there, `crate` is `main.rs`, not the library.
        let of_program = |folder: &str| {
            let declared = vec!["crate".to_owned(), folder.to_owned()];
            let main = sources.iter().find(|(_, names)| names.folder.as_deref() == Some("main"));
            main.is_some_and(|(_, names)| names.paths.contains(&declared))
        };
        for (path, names) in &sources {
            let Some(folder) = &names.folder else { continue };
            for named in &names.paths {
                let line = |named: &[String]| format!("{path} -> {}", named.join("::"));
                let [head, rest @ ..] = &named[..] else { continue };
                if head != "crate" && head != library {
                    let package = (folder.clone(), head.clone());
                    walls.packages.entry(package).or_default().insert(line(named));
                    continue;
                }
                // A name at the root is a folder, or from one: a macro, a re-export, an item of `main.rs`.
                let is_folder = |name: &&String| *name == "*" || walls.folders.contains(*name);
                let name = rest.first();
                let to =
                    name.filter(is_folder).or_else(|| at_root.get(name?)?.iter().find(is_folder)).cloned();
                let to = to.or_else(|| (head == "crate" && of_program(folder)).then(|| "main".to_owned()));
                if let Some(to) = to.filter(|to| to != folder) {
                    walls.imports.entry((folder.clone(), to)).or_default().insert(line(rest));
                }
            }
        }
        walls
    }

    /// What breaks the layers or a table, and what to do.
    fn problems(&self, name: &str, layers: Layers, left: &[(&str, &[&str])]) -> Vec<String> {
        let mut problems = Vec::new();
        let rows: Vec<&str> = layers.iter().flat_map(|layer| layer.1).copied().collect();
        let folders: BTreeSet<&str> = self.folders.iter().map(String::as_str).chain(rows.clone()).collect();
        for folder in folders {
            let count = rows.iter().filter(|row| **row == folder).count();
            if !self.folders.contains(folder) {
                problems.push(format!("`{folder}` is not a folder: remove it from LAYERS"));
            } else if count != 1 {
                problems.push(format!("`{folder}` is in {count} layers: add it to exactly one of LAYERS"));
            }
        }
        let mut add = |problem: String, lines: &BTreeSet<String>| {
            problems.push(lines.iter().fold(problem, |problem, line| problem + "\n    " + line));
        };
        for ((from, to), lines) in &self.imports {
            let layer = |folder| layer(layers, folder).map_or("none", |at| layers[at].0);
            let import = format!("{from} (layer {}) imports {to}", layer(from));
            if to == "*" {
                add(format!("{import}: name the folders"), lines);
            } else if is_upward(layers, from, to) {
                add(format!("{import} (layer {}): move what they share down", layer(to)), lines);
            } else if FORBIDDEN.iter().any(|row| (row.0, row.1) == (name, from) && row.2.contains(&&**to)) {
                add(format!("{from} imports {to}, which FORBIDDEN excludes: use a trait"), lines);
            }
        }
        for ((folder, package), lines) in &self.packages {
            let is_only = |row: &&(_, &[&str], &[&str])| row.0 == name && row.1.contains(&&**package);
            if let Some(row) = ONLY.iter().find(is_only).filter(|row| !row.2.contains(&&**folder)) {
                add(format!("{folder} names {package}: only {} do", row.2.join(" and ")), lines);
            }
        }
        let circles = self.circles();
        let left: Vec<_> = left.iter().filter(|row| row.0 == name).map(|row| row.1.to_vec()).collect();
        for circle in circles.iter().filter(|circle| !left.contains(circle)) {
            let is_in = |folder: &String| circle.contains(&&**folder);
            let ties = self.imports.iter().filter(|((from, to), _)| is_in(from) && is_in(to));
            let lines = ties.filter_map(|(_, lines)| lines.first().cloned()).collect();
            let what = "turn an import around, or correct CIRCLES_LEFT if it became smaller";
            add(format!("circle of {} folders, {}: {what}", circle.len(), circle.join(", ")), &lines);
        }
        for circle in left.iter().filter(|circle| !circles.contains(circle)) {
            problems.push(format!("CIRCLES_LEFT has a circle that changed or ended: {}", circle.join(", ")));
        }
        problems
    }

    /// Folders that import each other, directly or not, in order.
    fn circles(&self) -> Vec<Vec<&str>> {
        let reach = |start: &str| {
            let (mut reached, mut next) = (BTreeSet::new(), vec![start.to_owned()]);
            while let Some(folder) = next.pop() {
                let imported = self.imports.keys().filter(|(from, _)| *from == folder).map(|(_, to)| to);
                next.extend(imported.filter(|to| reached.insert(to.to_string())).cloned());
            }
            reached
        };
        let reached: BTreeMap<&str, _> =
            self.folders.iter().map(|folder| (&**folder, reach(folder))).collect();
        let circle = |folder: &str| -> Vec<&str> {
            let others = reached
                .iter()
                .filter(|(other, back)| reached[folder].contains(**other) && back.contains(folder));
            others.map(|(other, _)| *other).collect()
        };
        let circles: BTreeSet<_> = self.folders.iter().map(|folder| circle(folder)).collect();
        circles.into_iter().filter(|circle| !circle.is_empty()).collect()
    }

    /// A line to quote: `28 folders, circles of 9 and 21, 30 upward imports in 96 lines`.
    fn counts(&self, layers: Layers) -> String {
        let sizes: Vec<_> = self.circles().iter().map(|circle| circle.len().to_string()).collect();
        let upward = self.imports.iter().filter(|((from, to), _)| is_upward(layers, from, to));
        let lines: Vec<_> = upward.map(|(_, lines)| lines.len()).collect();
        let circles = if sizes.is_empty() {
            "no circles".to_owned()
        } else {
            format!("circles of {}", sizes.join(" and "))
        };
        let (folders, upward, lines) = (self.folders.len(), lines.len(), lines.iter().sum::<usize>());
        format!("{folders} folders, {circles}, {upward} upward imports in {lines} lines")
    }
}

/// The position of a folder's layer.
fn layer(layers: Layers, folder: &str) -> Option<usize> {
    layers.iter().position(|layer| layer.1.contains(&folder))
}

fn is_upward(layers: Layers, from: &str, to: &str) -> bool {
    layer(layers, from).zip(layer(layers, to)).is_some_and(|(from, to)| from < to)
}

/// The folder and the module of a file. `lib.rs` has no folder; without it and `main.rs`, each file directly
/// in a root is a program.
fn place(roots: &[&str], path: &str, files: &[(String, String)]) -> (Option<String>, Vec<String>) {
    let under = roots.iter().find_map(|root| Some((root, path.strip_prefix(root)?.strip_prefix('/')?)));
    let (root, file) = under.expect("a file under a root");
    let has = |file: &str| files.iter().any(|(path, _)| *path == format!("{root}/{file}"));
    let mut module: Vec<String> = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if module.len() > 1 && module.last().is_some_and(|last| last == "main" || last == "mod") {
        module.pop();
    }
    match &module[..] {
        [name] if name == "lib" => (None, vec![]),
        [name] if name == "main" || !has("lib.rs") && !has("main.rs") => (Some(name.clone()), vec![]),
        _ => (Some(module[0].clone()), module),
    }
}

/// The files of Rust below a folder: pairs of path and source.
fn sources(folder: &str) -> Vec<(String, String)> {
    let paths = rust_under(folder).into_iter().map(|path| path.to_str().expect("UTF-8").to_owned());
    paths.map(|path| (path.clone(), fs::read_to_string(root().join(path)).expect("code"))).collect()
}
