//! Blame: a case that breaks a rule and one that it builds on is held against that one alone.

use super::{Caveats, RuleResult};
use crate::finding::Outcome;
use crate::rule::Rule;
use serde::{Deserialize, Serialize};

/// Some cases of a rule on a pair, judged.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// The result where blame goes to base rules.
    pub judged: RuleResult,
    /// The result ignoring base rules, if that may differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alone: Option<RuleResult>,
}

/// The results with blame settled. If no base rule was found broken (it was not selected, or drew other
/// cases), the finding stays with the rule that showed it.
pub fn blame(pieces: Vec<Piece>, caveats: &Caveats) -> Vec<RuleResult> {
    let not_taken: Vec<bool> = {
        let broken = broken(&pieces, caveats);
        pieces.iter().map(|piece| is_not_taken(&piece.judged, &broken, caveats)).collect()
    };
    let settle = |(piece, not_taken): (Piece, bool)| match piece.alone {
        Some(alone) if not_taken => alone,
        _ => piece.judged,
    };
    pieces.into_iter().zip(not_taken).map(settle).collect()
}

/// The indices of pieces that blame base rules none of which was found broken.
pub fn not_taken(pieces: &[Piece], caveats: &Caveats) -> Vec<usize> {
    let broken = broken(pieces, caveats);
    let is = |at: &usize| is_not_taken(&pieces[*at].judged, &broken, caveats);
    (0..pieces.len()).filter(is).collect()
}

fn broken(pieces: &[Piece], caveats: &Caveats) -> Vec<&'static Rule> {
    let judged = pieces.iter().map(|piece| &piece.judged);
    judged.filter(|result| is_broken(result, caveats)).map(|result| result.rule).collect()
}

fn is_broken(result: &RuleResult, caveats: &Caveats) -> bool {
    matches!(result.outcome, Outcome::Broken(_)) && caveats.about(result).is_none()
}

fn is_not_taken(result: &RuleResult, broken: &[&Rule], caveats: &Caveats) -> bool {
    let is_taken = || is_broken(result, caveats) || broken.iter().any(|base| result.rule.builds_on(base));
    result.blamed && !is_taken()
}
