//! Inputs of fuzz targets: what is encoded is decoded, and what a mutator makes is a case.

use migcert::case::Case;
use migcert::entry::{self, BadEntry};
use migcert::finding::Outcome;
use migcert::mutate::{cross, mutate};
use migcert::oracle::{Drawn, Target};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

const TARGETS: [&str; 3] = ["check", "migrate", "damage"];

#[test]
fn cases_survive_their_encoding() {
    for (target, drawn) in TARGETS.into_iter().flat_map(|name| drawn(name, 300)) {
        let entry = entry::encode(&drawn.case).expect("not too long");
        assert_eq!(entry::decode(&entry).as_ref(), Ok(&drawn.case));
        let read = target.read(&entry).expect("a case of this target");
        assert_eq!(target.judge_case(&read), target.judge_case(&drawn));
    }
}

#[test]
fn what_is_kept_decodes() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    for target in TARGETS {
        let mut count = 0;
        for folder in ["corpus/seeds", "fuzz/corpus"] {
            // What a fuzzer leaves is not always there; seeds are.
            let Ok(files) = fs::read_dir(root.join(folder).join(target)) else { continue };
            for path in files.map(|entry| entry.expect("an entry").path()) {
                let bytes = fs::read(&path).expect("an input");
                let is_case = bytes.is_empty() || named(target).read(&bytes).is_some();
                let why = entry::decode(&bytes).err();
                assert!(
                    is_case,
                    "{} is no case of `{target}` ({why:?}): scripts/corpus upgrade",
                    path.display()
                );
                count += usize::from(folder == "corpus/seeds");
            }
        }
        assert_ne!(count, 0, "seeds of {target}");
    }
}

#[test]
fn what_is_no_entry_is_none() {
    let (_, drawn) = drawn("migrate", 1).remove(0);
    let entry = entry::encode(&drawn.case).expect("not too long");
    assert_eq!(entry::decode(b"something else"), Err(BadEntry::None));
    for at in 0..entry.len() {
        let cut = entry::decode(&entry[..at]);
        assert!(matches!(cut, Err(BadEntry::None | BadEntry::Damaged)), "cut at {at}: {cut:?}");
        let mut flipped = entry.clone();
        flipped[at] ^= 1;
        assert!(entry::decode(&flipped).is_err(), "flipped at {at}");
    }
}

/// Every part of a case is changed by and by, and nothing that comes out is no case.
#[test]
fn mutations_are_cases() {
    for name in TARGETS {
        let mut changed = BTreeSet::new();
        let (mut made, mut lost) = (0, 0);
        for (i, (target, drawn)) in drawn(name, 40).into_iter().enumerate() {
            let entry = entry::encode(&drawn.case).expect("not too long");
            for seed in 0..25 {
                let seed = i as u32 * 1000 + seed;
                let Some(new) = mutate(target, &entry, entry::MAX, seed) else {
                    lost += 1;
                    continue;
                };
                assert_eq!(mutate(target, &entry, entry::MAX, seed), Some(new.clone()), "deterministic");
                let read = target.read(&new).expect("a case of this target");
                changed.extend(differences(&drawn.case, &read.case));
                let outcome = target.judge_case(&read);
                assert!(!matches!(outcome, Outcome::Broken(_)), "{outcome:?}\n{:?}", read.case);
                assert_eq!(target.judge(&new), outcome, "what is remembered is what the bytes mean");
                made += 1;
            }
        }
        assert!(lost * 3 < made, "{name}: {made} made, {lost} lost");
        let all = ["rule", "source", "destination", "setup", "script", "at", "pieces", "damage", "walk"];
        assert_eq!(changed, BTreeSet::from(all), "{name}");
    }
}

#[test]
fn two_cases_make_one() {
    let entries: Vec<_> = drawn("migrate", 60)
        .into_iter()
        .map(|(target, drawn)| (target, entry::encode(&drawn.case).expect("not too long")))
        .collect();
    let pairs =
        entries.windows(2).filter_map(|pair| cross(pair[0].0, &pair[0].1, &pair[1].1, entry::MAX, 77));
    let crossed: Vec<_> = pairs.collect();
    assert!(!crossed.is_empty());
    assert!(crossed.iter().all(|entry| named("migrate").read(entry).is_some()));
}

fn differences(one: &Case, other: &Case) -> Vec<&'static str> {
    let all = [
        ("rule", one.rule != other.rule),
        ("source", one.source != other.source),
        ("destination", one.destination != other.destination),
        ("setup", one.setup != other.setup),
        ("script", one.script != other.script),
        ("at", one.at != other.at),
        ("pieces", one.pieces != other.pieces),
        ("damage", one.damage != other.damage),
        ("walk", one.walk != other.walk),
    ];
    all.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

fn drawn(name: &str, count: usize) -> Vec<(&'static Target, Drawn)> {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut dna = [0; 1024];
    let drawn = std::iter::repeat_with(|| {
        random.fill_bytes(&mut dna);
        named(name).draw(&dna)
    });
    drawn.flatten().take(count).map(|drawn| (named(name), drawn)).collect()
}

fn named(name: &str) -> &'static Target {
    Target::named(name).expect("a target")
}
