//! What a maintainer is told of a step, and which answers no history can give.

use super::notation::{Arg, Gives, Line, Posted, Request, Who, quoted};
use migcert_core::device::{Seen, Sight, Step};

/// A step in the words of a maintainer; what is no step is told as it is.
pub fn tell(words: &str) -> String {
    match words.parse() {
        Ok(Line::Collect) => "the guest waits for everything that is in flight".to_owned(),
        Ok(Line::Unmount) => "the guest unmounts".to_owned(),
        Ok(Line::Send(request, Posted::No)) => sentence(&request),
        Ok(Line::Send(request, Posted::Yes)) => format!("{}, and does not wait", sentence(&request)),
        Err(_) => format!("the guest asks: {words}"),
    }
}

fn sentence(request: &Request) -> String {
    let mut said = request.op.tells.to_owned();
    for (i, arg) in request.args.iter().enumerate() {
        said = said.replace(&format!("{{{i}}}"), &in_words(arg));
    }
    let who = match request.who {
        who if who == Who::default() => "the guest".to_owned(),
        Who { uid, gid, also: None } => format!("user {uid} of group {gid} in the guest"),
        Who { uid, gid, also: Some(also) } => format!("user {uid} of groups {gid} and {also} in the guest"),
    };
    format!("{who} {said}")
}

fn in_words(arg: &Arg) -> String {
    match arg {
        Arg::Node(0) => "the root".to_owned(),
        Arg::Node(n) => format!("node #{n}"),
        Arg::Handle(n) => format!("open file %{n}"),
        Arg::Name(name) => format!("`{name}`"),
        Arg::Text(text, 1) => quoted(text),
        Arg::Text(text, times) => format!("{times} times {}", quoted(text)),
        Arg::Words(words, _) => words.replace('+', ", "),
        arg => arg.to_string(),
    }
}

/// Whether any history without damage could have given this answer.
///
/// # Errors
/// Why none could.
pub fn plausible(step: &Step, seen: &Seen) -> Result<(), String> {
    let Step::Request(words) = step else { return Ok(()) };
    let Ok(Line::Send(request, Posted::No)) = words.parse() else { return Ok(()) };
    let Some(Sight::Words(answer)) = seen.0.last() else { return Ok(()) };
    if let Some(never) = NEVER.iter().find(|never| never.errno == answer) {
        return Err(format!("`{}` gives {answer}: {}", request.op.word, never.why));
    }
    if answer == "EBADF"
        && matches!(request.op.word, "lookup" | "getattr" | "mkdir" | "rename" | "statfs" | "unlink")
    {
        return Err(format!(
            "`{}` gives EBADF: the device does not know a node that the guest knows",
            request.op.word
        ));
    }
    let directory = answer.split(' ').any(|word| word == "directory");
    match request.op.word {
        "create" | "tmpfile" if is_node(answer) && !answer.contains(" file ") => {
            Err(format!("what was created is no file: {answer}"))
        }
        "mkdir" if is_node(answer) && !directory => Err(format!("what was made is no directory: {answer}")),
        "symlink" if is_node(answer) && !answer.contains(" symlink ") => {
            Err(format!("what was made is no symbolic link: {answer}"))
        }
        "lookup" | "link" if is_node(answer) && answer.contains(" links 0 ") => {
            Err(format!("it was found by its name and has no links: {answer}"))
        }
        _ if answer.contains("with another inode number") => {
            Err(format!("a node is another file than before: {answer}"))
        }
        _ if matches!(request.op.gives, Gives::Entry | Gives::EntryOpen) && answer.starts_with("root ") => {
            Err(format!("the root was found inside of itself: {answer}"))
        }
        _ => Ok(()),
    }
}

fn is_node(answer: &str) -> bool {
    answer.starts_with('#')
}

struct Never {
    errno: &'static str,
    why: &'static str,
}

/// Errors that no sane guest gets: it names only what it was given.
const NEVER: &[Never] = &[
    Never { errno: "EIO", why: "the host's file system does not fail" },
    Never { errno: "EUCLEAN", why: "the host's file system is whole" },
    Never { errno: "EPROTO", why: "the guest speaks the protocol that was negotiated" },
    Never { errno: "EFAULT", why: "the guest's memory is where it says" },
    Never { errno: "EMFILE", why: "the guest has few files open" },
    Never { errno: "ENFILE", why: "the guest has few files open" },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_in_words() {
        let says = |words, told: &str| assert_eq!(tell(words), told);
        says("lookup root a", "the guest looks up `a` in the root");
        says("open #3 rw+trunc", "the guest opens node #3 (rw, trunc)");
        says(
            "post write %1 10 \"hello\"",
            "the guest writes \"hello\" at 10 to open file %1, and does not wait",
        );
        says(
            "mkdir #1 n0 0755 as 1000:1000+2000",
            "user 1000 of groups 1000 and 2000 in the guest makes the directory `n0` in node #1 with mode 0755",
        );
        says("dance", "the guest asks: dance");
    }

    #[test]
    fn impossible_answers_are_noticed() {
        let judged = |words: &str, answer: &str| {
            let seen = Seen(vec![Sight::Words(answer.to_owned())]);
            plausible(&Step::Request(words.to_owned()), &seen).is_ok()
        };
        assert!(judged("lookup root a", "ENOENT"));
        assert!(judged("mkdir root a 0755", "#1 directory 0755 owner 0:0"));
        assert!(!judged("mkdir root a 0755", "#1 file 0755 size 0 links 1 owner 0:0"));
        assert!(!judged("getattr #1", "EIO"));
        assert!(!judged("getattr #1", "EBADF"));
        assert!(judged("read %1 0 64", "EBADF"));
        assert!(!judged("lookup root a", "#1 file 0644 size 0 links 0 owner 0:0"));
        assert!(!judged(
            "getattr #1",
            "file 0644 size 0 links 1 owner 0:0 with another inode number than before"
        ));
    }
}
