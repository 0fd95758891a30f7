//! What a guest finds that knows nothing of a device but its regions: a register that is not saved, is
//! saved in the wrong place or in part, wherever it is and however wide, within a few cases.

mod device;

use device::{Kind, Map, Mapped};
use migcert::certificate::RuleResult;
use migcert::certify::{Budget, Job, certify};
use migcert::finding::Outcome;
use migcert::known::Known;
use migcert::parallel::{self, Threads};
use migcert::rule::Rule;
use migcert::rules;
use migcert::subject::Subject;
use migcert_core::program::Program;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use Kind::{Behind, Bits, Clear, Count, Plain, Queue, Raise};

#[rustfmt::skip]
const MAPS: &[Map] = &[
    Map { name: "words", strict: false, regions: &[(0, 0x100)], registers: &[
        (0, 0x00, 4, Plain), (0, 0x04, 4, Plain), (0, 0x08, 4, Bits(3)), (0, 0x0c, 4, Plain),
        (0, 0x14, 4, Plain), (0, 0x18, 8, Plain), (0, 0x20, 8, Plain),
        (0, 0x40, 4, Plain), (0, 0x44, 4, Plain), (0, 0x48, 4, Plain), (0, 0x4c, 4, Plain), (0, 0x7c, 4, Plain),
    ] },
    Map { name: "widths", strict: true, regions: &[(0, 0x1000)], registers: &[
        (0, 0x00, 1, Plain), (0, 0x01, 1, Plain), (0, 0x02, 2, Plain), (0, 0x04, 4, Plain), (0, 0x08, 8, Plain),
        (0, 0x10, 2, Plain), (0, 0x12, 2, Plain), (0, 0x14, 1, Plain), (0, 0x15, 1, Bits(0x0f)),
        (0, 0x18, 8, Plain), (0, 0x20, 8, Plain), (0, 0x28, 2, Plain), (0, 0x2a, 2, Plain), (0, 0x2c, 4, Plain),
    ] },
    Map { name: "far", strict: false, regions: &[(0, 0x1_0000)], registers: &[
        (0, 0x000, 4, Plain), (0, 0x004, 4, Plain), (0, 0x100, 4, Plain), (0, 0x104, 4, Plain),
        (0, 0x200, 4, Bits(0xff)), (0, 0x1000, 4, Plain), (0, 0x1004, 4, Plain), (0, 0x8000, 4, Plain),
    ] },
    Map { name: "bars", strict: true, regions: &[(0, 0x20), (2, 0x4000), (4, 0x1000)], registers: &[
        (0, 0x0, 1, Plain), (0, 0x1, 1, Plain), (0, 0x5, 1, Plain), (0, 0x7, 1, Bits(7)),
        (2, 0x00, 4, Plain), (2, 0x04, 4, Plain), (2, 0x1c, 4, Plain), (2, 0x100, 4, Plain),
        (4, 0x00, 4, Plain), (4, 0x10, 4, Plain), (4, 0x200, 4, Plain),
    ] },
    Map { name: "acts", strict: true, regions: &[(0, 0x1000)], registers: &[
        (0, 0x00, 4, Plain), (0, 0x04, 4, Bits(7)), (0, 0x08, 4, Behind(1, 8)),
        (0, 0x0c, 4, Clear), (0, 0x10, 4, Raise(3)), (0, 0x14, 4, Queue), (0, 0x18, 4, Count),
        (0, 0x1c, 4, Bits(0xf)), (0, 0x20, 4, Behind(7, 4)), (0, 0x24, 2, Bits(3)), (0, 0x26, 2, Behind(9, 4)),
        (0, 0x28, 1, Bits(3)), (0, 0x29, 1, Behind(11, 4)), (0, 0x104, 4, Clear), (0, 0x100, 4, Raise(13)),
    ] },
];

/// So many cases must do.
const FEW: u32 = 10;
/// So many are tried by default.
const USUAL: u32 = 40;
/// On the average, guests do at most so much in a case, and so much more for each region.
const PRICE: u64 = 130;
const PRICE_OF_REGION: u64 = 90;

fn subject(program: &Mapped) -> Subject {
    let manifest = program.describe().expect("described");
    Subject::new(program.map.name.to_owned(), Box::new(program.clone()), manifest).timeless()
}

fn results(program: &Mapped, rules: Vec<&'static Rule>, cases: u32) -> Vec<RuleResult> {
    let subjects = [subject(program)];
    let job = Job {
        subjects: &subjects,
        rules,
        seed: 1,
        cases,
        fit: None,
        shrinks: 0,
        threads: Threads::exactly(1),
        budget: Budget::unlimited(),
        known: &Known::default(),
        reuse: false,
        reopen: &|_| Ok(subject(program)),
    };
    certify(&job, &|_| ())
}

/// What is not found within so many cases: of registers that keep what is written, and of others; and
/// how many faults there are.
fn missed(cases: u32) -> [(Vec<String>, usize); 2] {
    let of = |map: &'static Map| map.faults().into_iter().map(move |(fault, plain)| (map, fault, plain));
    let all: Vec<_> = MAPS.iter().flat_map(of).collect();
    let found = parallel::each(&all, parallel::jobs(), |(map, fault, _)| {
        let program = Mapped { map, fault: Some(*fault), accesses: Arc::default() };
        let twin = rules::named("twin-after-load").expect("a rule");
        matches!(results(&program, vec![twin], cases)[..], [RuleResult { outcome: Outcome::Broken(_), .. }])
    });
    [true, false].map(|wanted| {
        let of_kind = all.iter().zip(&found).filter(|((_, _, plain), _)| *plain == wanted);
        let missed = of_kind.clone().filter(|(_, found)| !**found);
        let missed = missed.map(|((map, fault, _), _)| format!("{} {fault:?}", map.name));
        (missed.collect(), of_kind.count())
    })
}

#[test]
fn what_a_device_loses_is_found_within_few_cases() {
    let [(plain, of_plain), (others, of_others)] = missed(FEW);
    println!("{FEW} cases: {} of {of_plain}, {} of {of_others} are missed", plain.len(), others.len());
    assert_eq!(plain, [""; 0], "of {of_plain}: registers that keep what is written");
    // One of many words behind an index is seen by chance.
    assert!(others.len() <= of_others / 2, "of {of_others}: {others:?}");
}

/// Each access takes a message over a wire.
#[test]
fn a_device_that_loses_nothing_is_left_alone_and_asked_little() {
    for (map, cases) in MAPS.iter().flat_map(|map| [(map, FEW), (map, USUAL)]) {
        let program = Mapped { map, fault: None, accesses: Arc::default() };
        let results = results(&program, rules::ALL.to_vec(), cases);
        for result in &results {
            let is_fine = matches!(result.outcome, Outcome::Held | Outcome::NotApplicable(_));
            assert!(is_fine, "{}, {}: {:?}", map.name, result.rule.id, result.outcome);
        }
        let begun: u32 = results.iter().map(|result| result.begun).sum();
        let accesses = program.accesses.load(Relaxed) / u64::from(begun);
        println!("{}: {accesses} accesses in each of {cases} cases", map.name);
        let most = PRICE + PRICE_OF_REGION * map.regions.len() as u64;
        assert!(accesses <= most, "{}: {accesses} accesses in each of {cases} cases", map.name);
    }
}
