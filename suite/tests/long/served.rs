//! The planted faults over a socket: on instances that are used again as on new ones.

use migcert::certify::{self, Budget, Job};
use migcert::devices::{self, Faulty};
use migcert::finding::Outcome;
use migcert::hosts::template::Template;
use migcert::hosts::vfio_user::{Config, Socket, VfioUser};
use migcert::known::Known;
use migcert::parallel::{self, Threads};
use migcert::rules;
use migcert::subject::Subject;
use migcert_core::program::Program;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A reference device, served over a socket to each who connects.
fn served(name: &str) -> Option<Subject> {
    let args = ["serve", name].map(Template::exactly).to_vec();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_migcert"));
    let config = Config { args, socket: Socket::Descriptor, ..Config::standard(program) };
    let program = Box::new(VfioUser::new(config));
    let manifest = program.describe().ok()?;
    let subject = Subject::new(name.to_owned(), program, manifest);
    let (model, described) = subject.manifest.models.iter().next()?;
    subject.interface(model, &described.latest()).ok()?;
    Some(subject.timeless())
}

/// The rules that a device breaks, and how many cases were tried on instances that were used before.
fn broken(name: &str, reuse: bool) -> Option<(BTreeSet<&'static str>, u32)> {
    let subjects = [served(name)?];
    let known = Known::default();
    let reopen = |name: &str| served(name).ok_or_else(|| "it does not start".to_owned());
    let job = Job {
        subjects: &subjects,
        rules: rules::ALL.to_vec(),
        seed: 1,
        cases: 10,
        fit: None,
        shrinks: 0,
        threads: Threads::exactly(1),
        budget: Budget::unlimited(),
        known: &known,
        reuse,
        reopen: &reopen,
    };
    let run = certify::run(&job, &|_| ());
    let broken = run
        .pieces
        .iter()
        .map(|piece| &piece.judged)
        .filter(|judged| matches!(judged.outcome, Outcome::Broken(_)));
    let again = run.reused.into_iter().flatten().map(|reused| reused.cases).sum();
    Some((broken.map(|judged| judged.rule.id).collect(), again))
}

#[test]
fn what_new_instances_show_is_shown_by_those_that_are_used_again() {
    let only = std::env::var("FAULTS").unwrap_or_default();
    let faulty: Vec<Faulty> = devices::faulty()
        .filter(|faulty| only.is_empty() || only.split(',').any(|id| id == faulty.fault.id))
        .collect();
    let rows = parallel::each(&faulty, parallel::jobs(), |faulty| {
        let row = broken(&faulty.name, false).zip(broken(&faulty.name, true));
        if let Some(((new, _), (again, cases))) = &row {
            let only_new: Vec<_> = new.difference(again).collect();
            let only_again: Vec<_> = again.difference(new).collect();
            println!(
                "{}: {} rules broken, {cases} cases again; only on new ones: {only_new:?}; only on others: {only_again:?}",
                faulty.fault.id,
                new.len()
            );
        }
        row
    });
    let rows: Vec<_> = faulty.iter().zip(rows).filter_map(|(faulty, row)| Some((faulty, row?))).collect();
    let breaks = |faulty: &Faulty, broken: &BTreeSet<&str>| {
        rules::ALL.iter().any(|rule| rule.cites == faulty.fault.breaks && broken.contains(rule.id))
    };
    let missed: Vec<_> = rows
        .iter()
        .filter(|(faulty, ((new, _), (again, _)))| {
            new.is_empty() != again.is_empty() || breaks(faulty, new) && !breaks(faulty, again)
        })
        .map(|(faulty, _)| faulty.fault.id)
        .collect();
    let found = rows.iter().filter(|(faulty, ((new, _), _))| breaks(faulty, new)).count();
    let again = rows.iter().filter(|(_, (_, (_, cases)))| *cases != 0).count();
    println!("{} faults served, {found} of them found; instances used again with {again}", rows.len());
    assert!(missed.is_empty(), "missed on instances that are used again: {missed:?}");
}
