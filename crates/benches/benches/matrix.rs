//! A thousand descriptions of 8 parameters, read and checked all against all, beside a sample of the
//! same by compiled `jsonschema`.

mod peer;

use divan::black_box;
use migcert_core::compat::check_list;
use migcert_core::fleet::Fleet;
use migcert_core::program::Description;
use std::time::Instant;

fn main() {
    divan::main();
    let count = if peer::quick() { 40 } else { 1000 };
    let documents: Vec<_> = (0..count).map(peer::nic).collect();

    let mut fastest = f64::MAX;
    let mut compatible = 0;
    for _ in 0..if peer::quick() { 1 } else { 5 } {
        let start = Instant::now();
        compatible = matrix(&documents);
        fastest = fastest.min(start.elapsed().as_secs_f64());
    }
    let pairs = (count * count) as f64;
    println!("{count} descriptions, {pairs} pairs, {compatible} compatible");
    println!("{fastest:.3} s (under 1.5 s for 1000), {:.1} million pairs/s", pairs / fastest / 1e6);
    println!("ratio {:.1} (a sample of the peer)", peer_seconds(&documents) / fastest);
}

/// Reads all, checks every source's init values against every destination, every fault of each.
fn matrix(documents: &[String]) -> usize {
    let descriptions: Vec<_> = documents.iter().map(|json| peer::description(json)).collect();
    let fleet = Fleet::new(&descriptions);
    let lists = descriptions.iter().map(|source| source.parameter_list(&source.init()));
    lists
        .map(|list| fleet.list(&list).answers().filter(|answer| black_box(answer).is_compatible()).count())
        .sum()
}

/// What the peer would take for the same: reading and compiling some, and checking each of them
/// against each, scaled up.
fn peer_seconds(documents: &[String]) -> f64 {
    let sample = documents.len().min(100);
    let start = Instant::now();
    let descriptions: Vec<_> = documents[..sample].iter().map(|json| peer::description(json)).collect();
    let compile = |there: &Description| jsonschema::validator_for(&peer::schema(there)).expect("a schema");
    let schemas: Vec<_> = descriptions.iter().map(compile).collect();
    let reading = start.elapsed().as_secs_f64() * documents.len() as f64 / sample as f64;

    let lists: Vec<_> = descriptions.iter().map(|source| source.parameter_list(&source.init())).collect();
    let instances: Vec<_> = lists.iter().map(|list| peer::instance(&list.named)).collect();
    for (list, instance) in lists.iter().zip(&instances).take(10) {
        for (there, schema) in descriptions.iter().zip(&schemas) {
            assert_eq!(check_list(list, there).is_empty(), schema.is_valid(instance), "{instance}");
        }
    }
    let start = Instant::now();
    for instance in &instances {
        schemas.iter().for_each(|schema| drop(black_box(schema.iter_errors(instance).collect::<Vec<_>>())));
    }
    let pairs = (documents.len() * documents.len()) as f64 / (sample * sample) as f64;
    reading + start.elapsed().as_secs_f64() * pairs
}

#[divan::bench(args = [10, 100])]
fn all_against_all(bencher: divan::Bencher<'_, '_>, count: usize) {
    let documents: Vec<_> = (0..count).map(peer::nic).collect();
    bencher.bench_local(|| matrix(&documents));
}
