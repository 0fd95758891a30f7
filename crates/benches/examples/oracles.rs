//! How fast the oracles are, and what they see: `cargo run --release -p migcert-benches --example oracles [SECONDS]`.

use arbitrary::{Arbitrary, Unstructured};
use migcert::finding::Outcome;
use migcert::generate::family::History;
use migcert::oracle::TARGETS;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

fn main() {
    let seconds = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(2.0);
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut dna = vec![0; 1024];
    let begin = Instant::now();
    for _ in 0..10_000 {
        random.fill_bytes(&mut dna);
        let _ = std::hint::black_box(History::arbitrary(&mut Unstructured::new(&dna)));
    }
    println!("history: {:.1} us", begin.elapsed().as_secs_f64() * 100.0);
    for target in TARGETS {
        let begin = Instant::now();
        let mut count = 0;
        while begin.elapsed() < Duration::from_secs_f64(seconds / 10.0) {
            random.fill_bytes(&mut dna);
            std::hint::black_box(target.draw(&dna));
            count += 1;
        }
        let draws = f64::from(count) / begin.elapsed().as_secs_f64();
        let begin = Instant::now();
        let mut seen = BTreeMap::<String, u32>::new();
        let mut count = 0;
        while begin.elapsed() < Duration::from_secs_f64(seconds) {
            random.fill_bytes(&mut dna);
            count += 1;
            let drawn = target.draw(&dna);
            let outcome = drawn.as_ref().map_or_else(|| target.judge(&dna), |drawn| target.judge_case(drawn));
            *seen.entry(outcome.name().to_owned()).or_default() += 1;
            if let Outcome::Broken(finding) = outcome {
                let rule = drawn.map_or("", |drawn| drawn.rule.id);
                println!("{} {rule}: {finding}", target.name);
            }
        }
        let rate = f64::from(count) / begin.elapsed().as_secs_f64();
        println!("{}: {rate:.0}/s (drawing alone {draws:.0}/s), {seen:?}", target.name);
    }
}
