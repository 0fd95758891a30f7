//! The work of a certification, in pieces.

use crate::case::Draws;
use crate::rule::{On, Rule};
use std::ops::Range;

/// Each rule on each pair of `subjects` implementations that it tests, rule by rule.
pub fn work(rules: &[&'static Rule], subjects: usize) -> Vec<(&'static Rule, (usize, usize))> {
    let all = 0..subjects;
    let pairs: Vec<_> = all.clone().flat_map(|from| all.clone().map(move |to| (from, to))).collect();
    let fits = |rule: &'static Rule, (from, to): (usize, usize)| match rule.on {
        On::One => from == to,
        On::Any => true,
        On::Two => from != to,
    };
    let of = |rule: &&'static Rule| {
        let rule = *rule;
        let pairs = pairs.iter().copied().filter(move |pair| fits(rule, *pair));
        pairs.map(move |pair| (rule, pair)).collect::<Vec<_>>()
    };
    rules.iter().flat_map(of).collect()
}

/// The work on `subjects` implementations, in pieces of at most `most` cases.
pub fn tasks(rules: &[&'static Rule], subjects: usize, cases: u32, most: u32) -> impl Iterator<Item = Task> {
    let whole = work(rules, subjects).into_iter().map(move |(rule, pair)| Task::whole(rule, pair, cases));
    whole.flat_map(move |task| task.pieces(most))
}

/// Some cases of a rule on a pair.
#[derive(Clone, Debug)]
pub struct Task {
    /// The rule.
    pub rule: &'static Rule,
    /// Indices of source and destination.
    pub pair: (usize, usize),
    /// Indices of the cases.
    pub cases: Range<u32>,
}

impl Task {
    /// All cases of a rule on a pair; one case where nothing is drawn.
    pub fn whole(rule: &'static Rule, pair: (usize, usize), cases: u32) -> Task {
        Task { rule, pair, cases: 0..if rule.draws == Draws::Nothing { 1 } else { cases } }
    }

    /// The task in pieces of at most `most` cases; at least one piece.
    pub fn pieces(self, most: u32) -> impl Iterator<Item = Task> {
        let Task { rule, pair, cases } = self;
        let begins = (0..cases.end.max(1)).step_by(most.max(1) as usize);
        begins.map(move |begin| Task { rule, pair, cases: begin..cases.end.min(begin.saturating_add(most)) })
    }
}
