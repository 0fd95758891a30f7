//! Writes the seeds of the targets that draw cases: `cargo run --release -p migcert-benches --example seeds`.
//!
//! Seeds are cases (`migcert::entry`), which outlive changes of the generators.

use migcert::damage::Damage;
use migcert::entry;
use migcert::finding::Outcome;
use migcert::oracle::{Drawn, Target};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::{fs, io};

type Reached = fn(&Drawn) -> bool;

/// A target, the name of a seed, and what it must reach.
#[rustfmt::skip]
const SEEDS: &[(&str, &str, Reached)] = &[
    ("check", "compatible", |d| d.rule.id == "check-is-sound" && d.case.source != d.case.destination),
    ("check", "cannot-be-off", |d| reason(d, "cannot-be-off")),
    ("check", "combination", |d| reason(d, "combination")),
    ("check", "form-differs", |d| reason(d, "form-differs")),
    ("check", "type-differs", |d| reason(d, "type-differs")),
    ("check", "value-not-allowed", |d| reason(d, "value-not-allowed")),
    ("check", "version-unknown", |d| reason(d, "version-unknown")),
    ("migrate", "twin-after-load", |d| works(d, "twin-after-load")),
    ("migrate", "precopy-is-stop-copy", |d| works(d, "precopy-is-stop-copy")),
    ("migrate", "old-level-is-kept", |d| works(d, "old-level-is-kept")),
    ("migrate", "off-is-absence", |d| works(d, "off-is-absence")),
    ("migrate", "ping-pong-nic", |d| works(d, "ping-pong") && is_nic(d)),
    ("migrate", "walks-arrive-nic", |d| works(d, "walks-arrive") && is_nic(d) && d.case.walk.len() > 2),
    ("damage", "damage-is-consistent", |d| works(d, "damage-is-consistent") && resealed(d)),
    ("damage", "damage-is-consistent-nic", |d| works(d, "damage-is-consistent") && resealed(d) && is_nic(d)),
    ("damage", "cut-is-refused", |d| works(d, "cut-is-refused") && !d.case.pieces.is_empty()),
    ("damage", "refusal-can-be-retried", |d| works(d, "refusal-can-be-retried")),
    ("damage", "load-is-bounded", |d| works(d, "load-is-bounded")),
];

fn reason(drawn: &Drawn, id: &str) -> bool {
    drawn.verdict().0.iter().all(|reason| reason.info().id == id) && drawn.rule.id == "check-is-complete"
}

fn works(drawn: &Drawn, rule: &str) -> bool {
    drawn.rule.id == rule && drawn.case.script.len() > 3 && drawn.case.at[0] > 1
}

fn is_nic(drawn: &Drawn) -> bool {
    drawn.source.name.starts_with("builtin:nic")
}

fn resealed(drawn: &Drawn) -> bool {
    drawn.case.damage.len() == 2 && drawn.case.damage.contains(&Damage::Reseal)
}

fn main() -> io::Result<()> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for (name, seed, reached) in SEEDS {
        let Some(target) = Target::named(name) else { continue };
        let mut bytes = vec![0; 512];
        while !is_good(target, &bytes, *reached) {
            random.fill_bytes(&mut bytes);
        }
        shrink(&mut bytes, |bytes| is_good(target, bytes, *reached));
        let folder = format!("{}/../../corpus/seeds/{name}", env!("CARGO_MANIFEST_DIR"));
        fs::create_dir_all(&folder)?;
        let entry = target.draw(&bytes).and_then(|drawn| entry::encode(&drawn.case)).unwrap_or_default();
        fs::write(format!("{folder}/{seed}"), &entry)?;
        println!("{name}/{seed}: {} bytes", entry.len());
    }
    Ok(())
}

fn is_good(target: &Target, bytes: &[u8], reached: Reached) -> bool {
    target.draw(bytes).is_some_and(|drawn| reached(&drawn) && drawn.judge() == Outcome::Held)
}

fn shrink(bytes: &mut Vec<u8>, good: impl Fn(&[u8]) -> bool) {
    for len in (1..=64).rev() {
        let mut at = 0;
        while at < bytes.len() {
            let end = bytes.len().min(at + len);
            let smaller = [&bytes[..at], &bytes[end..]].concat();
            if good(&smaller) {
                *bytes = smaller;
            } else {
                at += 1;
            }
        }
    }
}
