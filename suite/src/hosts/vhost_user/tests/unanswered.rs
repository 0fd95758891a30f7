//! Every request that a backend answers while it is started and saved, and the error where it does
//! not.
//!
//! Independent of load: all answers are in the socket before the frontend asks, and a limit is short
//! only for the answer that never comes.

use super::*;
use std::net::Shutdown;
use std::os::fd::AsFd;
use vhost::vhost_user::message::VhostTransferStateDirection as Direction;

const MINUTE: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(1);

/// Each request that has an answer, its name in errors, and that answer.
const CONVERSATION: &[(u32, &str, u64)] = &[
    // PROTOCOL_FEATURES; DEVICE_STATE.
    (GET_FEATURES, "GET_FEATURES", 1 << 30),
    (GET_PROTOCOL_FEATURES, "GET_PROTOCOL_FEATURES", 1 << 19),
    // It uses the descriptor that it is given.
    (42, "SET_DEVICE_STATE_FD", 1 << 8),
    (43, "CHECK_DEVICE_STATE", 0),
];

/// What a backend does after its last answer.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// It runs and is silent.
    Waits,
    /// It has ended, and its socket is closed.
    Ends,
}

/// The result of the conversation with a backend that gives only the first `count` answers.
fn result(count: usize, then: Then) -> String {
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    for (request, _, answer) in &CONVERSATION[..count] {
        theirs.write_all(&reply(*request, *answer)).expect("it fits");
    }
    let script = if then == Then::Waits { "exec sleep 1000" } else { "exit 3" };
    let (cell, args) = (Cell::alone().expect("a cell"), ["-c", script]);
    let process = Process::start_with(Path::new("/bin/sh"), &args, cell, Some(theirs.as_fd()));
    let mut process = process.expect("it starts");
    // A silent process alone holds the socket: killing it at the limit ends the wait.
    let _kept = (then == Then::Ends).then(|| {
        process.ended(MINUTE).expect("waits").expect("it ended");
        theirs.shutdown(Shutdown::Write).expect("shut");
        theirs
    });
    let limit = |number| if then == Then::Waits && number == count { SHORT } else { MINUTE };
    let saved = Backend::over(process, ours, limit(0)).and_then(|mut backend| {
        backend.limit = limit(2);
        let _stream = backend.transfer(Direction::SAVE)?;
        backend.limit = limit(3);
        backend.check(0)
    });
    saved.map_or_else(|why| why.to_string(), |()| "success".to_owned())
}

#[test]
fn the_conversation_is_complete() {
    assert_eq!(result(CONVERSATION.len(), Then::Ends), "success");
}

#[test]
fn a_request_that_a_backend_died_during_is_named() {
    for (number, (_, request, _)) in CONVERSATION.iter().enumerate() {
        let expected = format!("the device misbehaved: it died during {request}: exit status 3");
        assert_eq!(result(number, Then::Ends), expected);
    }
}

#[test]
fn an_unanswered_request_is_named() {
    // GET_PROTOCOL_FEATURES shares its limit with GET_FEATURES: `tests/rows/hostile.rs` has that.
    for number in [0, 2, 3] {
        let expected = format!("unavailable: no answer within 1ms to {}", CONVERSATION[number].1);
        assert_eq!(result(number, Then::Waits), expected);
    }
}
