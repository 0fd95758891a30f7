//! The walk of every ordered pair of states under every set of options: as a golden, and
//! against a search of its own.

use migcert_core::device::{Options, State, walk};
use std::fmt::Write;
use std::{env, fs};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../corpus/golden/walks.txt");

/// `FROM TO: STATE STATE ...`, the states entered, for every pair in the order of their numbers.
fn table(options: Options, way: impl Fn(State, State) -> Option<Vec<State>>) -> String {
    let mut text = format!("# p2p={} pre-copy={}\n", options.p2p, options.pre_copy);
    for from in State::ALL {
        for to in State::ALL {
            write!(text, "{from} {to}:").expect("text");
            match way(from, to) {
                None => text.push_str(" refused"),
                Some(states) => states.iter().for_each(|state| write!(text, " {state}").expect("text")),
            }
            text.push('\n');
        }
    }
    text
}

#[test]
fn walks_are_golden() {
    let tables = Options::ALL.map(|options| table(options, |from, to| walk(from, to, options).ok()));
    let now = tables.join("\n");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(GOLDEN, &now).expect("the golden is written");
    }
    let golden = fs::read_to_string(GOLDEN).expect("the golden is read");
    assert_eq!(now, golden, "UPDATE_GOLDEN=1 writes it anew");
}

#[test]
fn walks_agree_with_a_search_of_all_paths() {
    for options in Options::ALL {
        let walked = table(options, |from, to| walk(from, to, options).ok());
        assert_eq!(walked, table(options, |from, to| search(from, to, options)));
    }
}

/// once more, in words of its own: of all ways without a loop, the one that is the shortest.
fn search(from: State, to: State, options: Options) -> Option<Vec<State>> {
    if from == State::Error || to == State::Error || lacks(from, options) || lacks(to, options) {
        return None;
    }
    if from == to {
        return Some(vec![]);
    }
    let saving = [State::PreCopy, State::PreCopyP2p, State::StopCopy];
    let both_save = saving.contains(&from) && saving.contains(&to);
    let mut ways = Vec::new();
    extend(vec![from], to, options, &mut ways);
    ways.retain(|way| {
        let middle = &way[1..way.len() - 1];
        let saves = middle.iter().filter(|state| saving.contains(state)).count();
        // A data session that is open stays open between two saving states.
        let session = if both_save { saves == middle.len() } else { saves == 0 };
        session && !middle.contains(&State::Resuming)
    });
    let shortest = ways.iter().map(Vec::len).min()?;
    ways.retain(|way| way.len() == shortest);
    assert_eq!(ways.len(), 1, "{from} {to}: there is no choice");
    ways.pop().map(|way| way[1..].to_vec())
}

fn extend(way: Vec<State>, to: State, options: Options, ways: &mut Vec<Vec<State>>) {
    let last = way[way.len() - 1];
    if last == to {
        ways.push(way);
        return;
    }
    for next in neighbours(last, options) {
        if !way.contains(&next) {
            extend([&way[..], &[next]].concat(), to, options, ways);
        }
    }
}

fn lacks(state: State, options: Options) -> bool {
    let p2p = [State::RunningP2p, State::PreCopyP2p].contains(&state);
    let pre_copy = [State::PreCopy, State::PreCopyP2p].contains(&state);
    (p2p && !options.p2p) || (pre_copy && !options.pre_copy)
}

/// The arcs out of a state, read state by state where the table is read arc by arc.
fn neighbours(state: State, Options { p2p, pre_copy }: Options) -> Vec<State> {
    let half_running = if p2p { State::RunningP2p } else { State::Running };
    let all: &[(State, bool)] = match state {
        State::Error => &[],
        State::Stop => &[(half_running, true), (State::StopCopy, true), (State::Resuming, true)],
        State::StopCopy | State::Resuming => &[(State::Stop, true)],
        State::Running => &[(if p2p { half_running } else { State::Stop }, true), (State::PreCopy, pre_copy)],
        State::RunningP2p => {
            &[(State::Stop, p2p), (State::Running, p2p), (State::PreCopyP2p, p2p && pre_copy)]
        }
        State::PreCopy if p2p => &[(State::Running, pre_copy), (State::PreCopyP2p, pre_copy)],
        State::PreCopy => &[(State::Running, pre_copy), (State::StopCopy, pre_copy)],
        State::PreCopyP2p => &[
            (State::PreCopy, p2p && pre_copy),
            (State::RunningP2p, p2p && pre_copy),
            (State::StopCopy, p2p && pre_copy),
        ],
    };
    all.iter().filter(|(_, there)| *there).map(|(next, _)| *next).collect()
}
