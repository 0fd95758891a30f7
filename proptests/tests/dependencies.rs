//! What `deny.toml` says of the crates that we build on, judged by `cargo metadata`: so that no tool has
//! to be built for the verdict. `scripts/deny` asks cargo-deny.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

#[test]
fn dependencies_are_as_deny_toml_says() {
    assert_eq!(violations(&rules(), &metadata()), Vec::<String>::new());
}

#[test]
fn an_unmaintained_crate_is_required_in_one_version() {
    let (rules, metadata) = (rules(), metadata());
    let mut required = Vec::new();
    for banned in rules.bans.deny.iter().filter(|banned| !banned.wrappers.is_empty()) {
        let wrappers = metadata.packages.iter().filter(|package| banned.wrappers.contains(&package.name));
        let all = wrappers.flat_map(|wrapper| &wrapper.dependencies);
        required.extend(all.filter(|required| required.name == banned.spec).map(|required| &required.req));
    }
    assert!(!required.is_empty() && required.iter().all(|req| req.starts_with('=')), "{required:?}");
}

#[test]
fn nothing_is_allowed_in_vain() {
    let (rules, metadata) = (rules(), metadata());
    for licence in &rules.licenses.allow {
        let mut rules = rules.clone();
        rules.licenses.allow.remove(licence);
        assert_ne!(violations(&rules, &metadata), Vec::<String>::new(), "{licence}");
    }
    let mut rules = rules;
    rules.bans.deny.iter_mut().for_each(|banned| banned.wrappers.clear());
    assert_ne!(violations(&rules, &metadata), Vec::<String>::new());
}

#[test]
fn violations_are_seen() {
    let (rules, metadata) = (rules(), metadata());
    let says = |spoil: &dyn Fn(&mut Package), expected: &str| {
        let mut metadata = metadata.clone();
        let package = metadata.packages.iter_mut().find(|package| package.name == "bincode");
        spoil(package.expect("bincode"));
        let violations = violations(&rules, &metadata);
        assert!(violations.iter().any(|violation| violation.contains(expected)), "{violations:#?}");
    };
    says(&|package| package.license = Some("GPL-2.0-only".into()), "licence GPL-2.0-only");
    says(&|package| package.license = None, "no licence");
    says(&|package| package.source = Some("git+https://example.com/bincode".into()), "comes from git");
    says(&|package| package.source = Some("registry+https://example.com".into()), "comes from registry");
    says(&|package| package.version = "3.0.0".into(), "is empty");
    says(&|package| package.dependencies[0].req = "*".into(), "any version of");
}

/// `deny.toml`. What is not known here can't be judged, and is an error.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    graph: Graph,
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Graph {
    all_features: bool,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Licenses {
    allow: BTreeSet<String>,
    include_dev: bool,
    private: Private,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Private {
    ignore: bool,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Bans {
    multiple_versions: Allow,
    wildcards: Deny,
    allow_wildcard_paths: bool,
    deny: Vec<Banned>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Banned {
    /// `NAME` or `NAME@MAJOR`.
    #[serde(rename = "crate")]
    spec: String,
    reason: String,
    /// The only crates that may depend on it; without any, none may.
    #[serde(default)]
    wrappers: BTreeSet<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Sources {
    unknown_registry: Deny,
    unknown_git: Deny,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Deny {
    Deny,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Allow {
    Allow,
}

#[derive(Clone, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Clone, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Clone, Deserialize)]
struct Node {
    id: String,
    dependencies: BTreeSet<String>,
}

#[derive(Clone, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    /// Nothing for a folder of this repository.
    source: Option<String>,
    /// Nothing if it may be published anywhere.
    publish: Option<Vec<Value>>,
    dependencies: Vec<Dependency>,
}

#[derive(Clone, Deserialize)]
struct Dependency {
    name: String,
    req: String,
    path: Option<String>,
}

fn violations(rules: &Rules, metadata: &Metadata) -> Vec<String> {
    assert!(rules.graph.all_features && rules.licenses.include_dev, "all crates are judged here");
    let (Allow::Allow, Deny::Deny) = (rules.bans.multiple_versions, rules.bans.wildcards);
    let (Deny::Deny, Deny::Deny) = (rules.sources.unknown_registry, rules.sources.unknown_git);
    let mut violations = Vec::new();
    for package in &metadata.packages {
        let of = format!("{} {}", package.name, package.version);
        let is_private = package.publish.as_ref().is_some_and(Vec::is_empty);
        match &package.license {
            _ if is_private && rules.licenses.private.ignore => {}
            Some(licence) if is_allowed(licence, &rules.licenses.allow) => {}
            Some(licence) => violations.push(format!("{of} has the licence {licence}")),
            None => violations.push(format!("{of} has no licence")),
        }
        if let Some(source) = package.source.as_deref().filter(|source| *source != CRATES_IO) {
            violations.push(format!("{of} comes from {source}"));
        }
        for required in package.dependencies.iter().filter(|required| required.req == "*") {
            if required.path.is_none() || !is_private || !rules.bans.allow_wildcard_paths {
                violations.push(format!("{of} takes any version of {}", required.name));
            }
        }
    }
    violations.extend(rules.bans.deny.iter().flat_map(|banned| banned_uses(banned, metadata)));
    violations
}

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn is_allowed(licence: &str, allowed: &BTreeSet<String>) -> bool {
    let parsed = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX);
    parsed.is_ok_and(|parsed| parsed.evaluate(|one| allowed.contains(&one.to_string())))
}

fn banned_uses(banned: &Banned, metadata: &Metadata) -> Vec<String> {
    let (name, major) = banned.spec.split_once('@').unwrap_or((&banned.spec, ""));
    assert!(major.bytes().all(|digit| digit.is_ascii_digit()), "only major versions are known here: {major}");
    let is_meant = |package: &&Package| {
        package.name == name && (major.is_empty() || package.version.split('.').next() == Some(major))
    };
    let mut uses = Vec::new();
    for package in metadata.packages.iter().filter(is_meant) {
        let users = metadata.resolve.nodes.iter().filter(|node| node.dependencies.contains(&package.id));
        let users = users.filter_map(|node| metadata.packages.iter().find(|package| package.id == node.id));
        let unknown = users.map(|user| &user.name).filter(|user| !banned.wrappers.contains(*user));
        let unknown: Vec<&String> = unknown.collect();
        if banned.wrappers.is_empty() || !unknown.is_empty() {
            uses.push(format!("{name} {} is used by {unknown:?}: {}", package.version, banned.reason));
        }
    }
    uses
}

fn rules() -> Rules {
    let text = fs::read_to_string(root().join("deny.toml")).expect("deny.toml");
    toml::from_str(&text).expect("rules that are known here")
}

fn metadata() -> Metadata {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["metadata", "--format-version=1", "--all-features", "--locked"]);
    let asked = cargo.current_dir(root()).stderr(Stdio::inherit()).output().expect("cargo runs");
    serde_json::from_slice(&asked.stdout).expect("what cargo metadata prints")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
