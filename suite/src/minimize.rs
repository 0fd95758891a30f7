//! Makes a case smaller while it still breaks its rule.

use crate::case::Case;

/// Tries smaller cases, at most `budget` of them, and keeps those that `breaks` says still do.
///
/// Deterministic: the same case, the same smaller case.
pub fn minimize(mut case: Case, mut budget: u32, breaks: &mut dyn FnMut(&Case) -> bool) -> Case {
    let mut attempt = |smaller: Case, case: &mut Case| {
        let try_it = smaller != *case && budget != 0;
        budget -= u32::from(try_it);
        let better = try_it && breaks(&smaller);
        if better {
            *case = smaller;
        }
        better
    };
    loop {
        let before = case.clone();
        let mut len = case.script.len();
        while len != 0 {
            let mut at = 0;
            while at < case.script.len() {
                let smaller = without_steps(&case, at, len);
                if !attempt(smaller, &mut case) {
                    at += len;
                }
            }
            len /= 2;
        }
        for field in [cut_pieces, cut_damage, cut_walk, usual_pieces, early, one_move] {
            while let Some(smaller) = field(&case) {
                if !attempt(smaller, &mut case) {
                    break;
                }
            }
        }
        for i in (0..case.damage.len()).rev() {
            let mut smaller = case.clone();
            smaller.damage.remove(i);
            attempt(smaller, &mut case);
        }
        if case == before {
            return case;
        }
    }
}

fn without_steps(case: &Case, at: usize, len: usize) -> Case {
    let mut smaller = case.clone();
    let end = (at + len).min(smaller.script.len());
    smaller.script.drain(at..end);
    smaller.at =
        smaller.at.map(|moved| if moved <= at { moved } else { moved.saturating_sub(end - at).max(at) });
    smaller
}

fn cut_pieces(case: &Case) -> Option<Case> {
    let mut smaller = case.clone();
    smaller.pieces.pop().map(|_| smaller)
}

fn cut_damage(case: &Case) -> Option<Case> {
    let mut smaller = case.clone();
    smaller.damage.pop().map(|_| smaller)
}

fn cut_walk(case: &Case) -> Option<Case> {
    let mut smaller = case.clone();
    (!smaller.walk.is_empty()).then(|| smaller.walk.remove(0))?;
    Some(smaller)
}

fn usual_pieces(case: &Case) -> Option<Case> {
    (!case.pieces.is_empty()).then(|| Case { pieces: Vec::new(), ..case.clone() })
}

fn early(case: &Case) -> Option<Case> {
    let [first, second] = case.at;
    (first != 0).then(|| Case { at: [first - 1, second], ..case.clone() })
}

fn one_move(case: &Case) -> Option<Case> {
    let [first, second] = case.at;
    (first < second).then(|| Case { at: [first, second - 1], ..case.clone() })
}
