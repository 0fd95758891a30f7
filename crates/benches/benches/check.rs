//! One configuration of 8 parameters against a prepared description, beside a compiled `jsonschema`
//! of the same constraints. Both find everything that is wrong, and neither puts it into words.

mod peer;

use divan::{Bencher, black_box};
use jsonschema::Validator;
use migcert_core::compat::check_list;
use migcert_core::fleet::Fleet;
use migcert_core::program::{Description, ParameterList};
use migcert_core::version::Request;
use serde_json::Value as Json;
use std::time::Instant;

/// Settings on top of the init values: what the destination takes, and what it doesn't.
const TAKEN: [&str; 8] = [
    "mtu=1400",
    "link-speed=10",
    "num-queues=8,rx-filter-size=64",
    "packed-ring=off,ring-size=100,mtu=900",
    "offloads=csum,mtu=9000",
    "ring-size=2000,mtu=68",
    "vlan-table=4096,mtu=9000",
    "rx-filter-size=1,num-queues=1,mtu=1499",
];
const REFUSED: [&str; 8] = [
    "mtu=9001",
    "link-speed=11,mtu=1400",
    "num-queues=1,rx-filter-size=64,mtu=1400",
    "ring-size=100,mtu=1400",
    "offloads=lro,mtu=9000",
    "ring-size=300,num-queues=3,mtu=1400",
    "mtu=9000",
    "rx-filter-size=65,num-queues=9,vlan-table=1,mtu=67",
];

fn main() {
    divan::main();
    let there = peer::description(&peer::nic(0));
    let schema = jsonschema::validator_for(&peer::schema(&there)).expect("a schema");
    let ([ours, theirs], [ours_no, theirs_no]) =
        (race(&there, &schema, TAKEN), race(&there, &schema, REFUSED));
    println!("taken:   {ours:6.1} ns, jsonschema {theirs:7.1} ns, {:.1} times", theirs / ours);
    println!("refused: {ours_no:6.1} ns, jsonschema {theirs_no:7.1} ns, {:.1} times", theirs_no / ours_no);
    println!("ratio {:.1} (at least 20)", (theirs + theirs_no) / (ours + ours_no));
}

/// Nanoseconds for each configuration: ours and the peer's, which have to agree.
fn race(there: &Description, schema: &Validator, settings: [&str; 8]) -> [f64; 2] {
    let fleet = Fleet::new([there]);
    let lists = settings.map(|settings| list(there, settings));
    let instances = lists.each_ref().map(|list| peer::instance(&list.named));
    let ready = lists.each_ref().map(|list| fleet.list(list));
    for (list, instance) in lists.iter().zip(&instances) {
        assert_eq!(check_list(list, there).is_empty(), schema.is_valid(instance), "{instance}");
        assert_eq!(list.named.len(), 8, "{instance}");
    }
    let ours = || ready.iter().for_each(|list| list.answers().for_each(|answer| drop(black_box(answer))));
    let peer = || instances.iter().for_each(|instance| drop(black_box(errors(schema, instance))));
    let (ours, peer) = turns(5_000, ours, peer);
    [ours / 8.0, peer / 8.0]
}

/// Nanoseconds of the fastest round, each of `times` calls, of two things that take turns.
fn turns(times: u32, mut ours: impl FnMut(), mut peer: impl FnMut()) -> (f64, f64) {
    let (rounds, times) = if peer::quick() { (1, 1) } else { (15, times) };
    let round = |f: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..times).for_each(|_| f());
        start.elapsed().as_nanos() as f64 / f64::from(times)
    };
    (0..rounds)
        .map(|_| (round(&mut ours), round(&mut peer)))
        .fold((f64::MAX, f64::MAX), |best, now| (best.0.min(now.0), best.1.min(now.1)))
}

fn errors<'a>(schema: &'a Validator, instance: &'a Json) -> Vec<jsonschema::ValidationError<'a>> {
    schema.iter_errors(instance).collect()
}

/// The init values, but for some; nothing of it is off.
fn list(there: &Description, settings: &str) -> ParameterList {
    let mut list = there.init();
    for (name, text) in Request::parse([settings]).expect("settings").settings {
        let value = there.params[&name].ty.parse(&text).expect("a value");
        list.insert(name, value);
    }
    list.into()
}

#[divan::bench]
fn prepared(bencher: Bencher<'_, '_>) {
    let there = peer::description(&peer::nic(0));
    let (fleet, list) = (Fleet::new([&there]), list(&there, TAKEN[0]));
    let list = fleet.list(&list);
    bencher.bench_local(|| black_box(&list).answers().all(|answer| answer.is_compatible()));
}

#[divan::bench]
fn not_prepared(bencher: Bencher<'_, '_>) {
    let there = peer::description(&peer::nic(0));
    let list = list(&there, TAKEN[0]);
    bencher.bench_local(|| check_list(black_box(&list), black_box(&there)));
}

#[divan::bench]
fn every_reason_in_words(bencher: Bencher<'_, '_>) {
    let there = peer::description(&peer::nic(0));
    let (fleet, list) = (Fleet::new([&there]), list(&there, REFUSED[7]));
    let list = fleet.list(&list);
    bencher.bench_local(|| black_box(&list).answers().flat_map(|answer| answer.reasons()).count());
}

#[divan::bench]
fn jsonschema_compiled(bencher: Bencher<'_, '_>) {
    let there = peer::description(&peer::nic(0));
    let schema = jsonschema::validator_for(&peer::schema(&there)).expect("a schema");
    let instance = peer::instance(&list(&there, TAKEN[0]).named);
    bencher.bench_local(|| errors(&schema, black_box(&instance)).len());
}
