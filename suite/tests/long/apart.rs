//! Instances of device programs are kept apart: a state that is not in the bytes is not found. What
//! can't be kept apart is said, and whoever cheats nobody is judged alike.

use crate::example::{example, write_program};
use serde_json::Value as Json;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// Places where a state is hidden, and what must be kept apart for that to be found.
const CHEATS: &[(&str, &str)] = &[
    ("hides-in-tmp", "/tmp"),
    ("hides-in-shm", "/dev/shm"),
    ("hides-in-var-tmp", "/var/tmp"),
    ("hides-beside-scratch", ""),
    ("hides-in-sysv-shm", "System V IPC"),
    ("hides-in-abstract-socket", "network"),
    ("hides-behind-daemon", "/tmp"),
    ("hides-behind-port", "network"),
    ("hides-by-content", "/tmp"),
];
/// Somebody who has no rights.
const NOBODY: u32 = 65_534;

/// A folder for certifications, by this user or by one who has no rights.
struct Place {
    folder: TempDir,
    user: Option<u32>,
}

impl Place {
    fn of_us() -> Place {
        Place::made_in(&std::env::temp_dir())
    }

    fn made_in(parent: &Path) -> Place {
        let folder = tempfile::Builder::new().prefix("apart").tempdir_in(parent).expect("a folder");
        symlink(example("strangers"), folder.path().join("strangers")).expect("linked");
        symlink(env!("CARGO_BIN_EXE_migcert"), folder.path().join("tester")).expect("linked");
        fs::create_dir(folder.path().join("scratch")).expect("made");
        Place { folder, user: None }
    }

    /// Of nobody, where we may choose who we are. They can't reach where this is built, nor a
    /// directory for temporary files that is ours alone.
    fn of_nobody() -> Place {
        let mut place = Place::made_in(Path::new("/tmp"));
        for (name, from) in
            [("strangers", example("strangers")), ("tester", env!("CARGO_BIN_EXE_migcert").into())]
        {
            fs::remove_file(place.path(name)).expect("removed");
            fs::copy(from, place.path(name)).expect("copied");
        }
        for path in [place.folder.path(), &place.path("scratch")] {
            fs::set_permissions(path, Permissions::from_mode(0o755)).expect("changed");
            if rustix::process::geteuid().is_root() {
                chown(path, Some(NOBODY), Some(NOBODY)).expect("changed");
            }
        }
        place.user = rustix::process::geteuid().is_root().then_some(NOBODY);
        place
    }

    /// A program of this kind.
    fn program(&self, kind: &str) -> String {
        let name = format!("strangers+{kind}");
        if !self.path(&name).exists() {
            symlink("strangers", self.path(&name)).expect("linked");
        }
        format!("./{name}")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Certifies, with nothing in the environment that says who does.
    fn certify(&self, subject: &str, settings: &[(&str, &OsStr)]) -> Output {
        self.certify_by(Command::new(self.path("tester")), subject, settings)
    }

    fn certify_by(&self, command: Command, subject: &str, settings: &[(&str, &OsStr)]) -> Output {
        self.certify_one("twin-after-load", command, subject, settings)
    }

    fn certify_one(
        &self,
        rule: &str,
        mut command: Command,
        subject: &str,
        settings: &[(&str, &OsStr)],
    ) -> Output {
        command
            .args(["certify", subject, "--only", rule, "--cases", "12", "--seed", "1"])
            .args(["--format", "json", "--report", "report"])
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("MIGCERT_SCRATCH", self.path("scratch"))
            .envs(settings.iter().copied());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command.output().expect("migcert starts")
    }
}

#[track_caller]
fn json(output: &Output) -> Json {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// What is not kept apart, with the reasons.
fn not_isolated(report: &Json) -> Vec<(String, String)> {
    let all = report["subjects"][0]["isolation"]["not_isolated"].as_array().cloned().unwrap_or_default();
    let text = |json: &Json| json.as_str().unwrap_or_default().to_owned();
    all.iter().map(|each| (text(&each["what"]), text(&each["why"]))).collect()
}

/// Whether a report says that a kind of thing is kept apart.
fn keeps(report: &Json, what: &str) -> bool {
    let all = report["subjects"][0]["isolation"]["isolated"].as_array().cloned().unwrap_or_default();
    all.iter().any(|each| each.as_str().is_some_and(|each| each.contains(what)))
}

#[test]
fn a_state_that_is_hidden_is_not_found() {
    // As this user: the rows of `trust`.
    let place = Place::of_nobody();
    for (kind, needed) in CHEATS {
        let report = json(&place.certify(&place.program(kind), &[]));
        let expected = if needed.is_empty() || keeps(&report, needed) { "fail" } else { "pass" };
        let all = not_isolated(&report);
        let is_said = all.iter().any(|(what, _)| what.contains(needed) || what == "files");
        assert_eq!(report["verdict"], expected, "{kind} as {:?}: {report:#}", place.user);
        assert!(expected == "fail" || is_said, "{kind}: {report:#}");
    }
    // Where nothing is kept apart, something may be there.
    let _ = Command::new(example("strangers")).arg("--forget").status();
}

/// A home directory where disks may lie that hosts share; none where this user may not make one.
fn home(of: &Place) -> Option<TempDir> {
    let own = std::env::var_os("HOME").map(PathBuf::from);
    let mut places = ["/opt", "/var/lib"].map(PathBuf::from).into_iter().chain(own);
    let home = places.find_map(|place| tempfile::Builder::new().prefix("apart").tempdir_in(place).ok())?;
    if let Some(user) = of.user {
        chown(home.path(), Some(user), Some(user)).expect("changed");
    }
    Some(home)
}

/// In the rule that is about files, all of them are apart, whoever starts it; afterwards, nothing is left of
/// what was written, nor of what was mounted.
#[test]
fn a_state_in_files_anywhere_is_not_found() {
    const RULE: &str = "state-is-not-in-files";
    let mounts = || fs::read_to_string("/proc/self/mounts").expect("/proc");
    for place in [Place::of_us(), Place::of_nobody()] {
        let Some(home) = home(&place) else { continue };
        let settings = [("HOME", home.path().as_os_str())];
        let before = mounts();
        for (kind, is_broken) in [
            ("logs-at-home", false),
            ("plain", false),
            ("hides-in-home", true),
            ("hides-in-home-padded", true),
        ] {
            let tester = Command::new(place.path("tester"));
            let report = json(&place.certify_one(RULE, tester, &place.program(kind), &settings));
            let rule = &report["rules"][0];
            let of_others = not_isolated(&report).into_iter().find(|(what, _)| what == "other files");
            let why = of_others.map_or_else(String::new, |(_, why)| why);
            if !why.contains("kept apart in the rule") {
                // Nothing is said to hold that was not tried.
                assert_eq!(rule["outcome"], "not-applicable", "{report:#}");
                continue;
            }
            let who = place.user;
            assert_eq!(
                rule["outcome"],
                if is_broken { "broken" } else { "held" },
                "{kind} as {who:?}: {report:#}"
            );
            if is_broken {
                let hidden = home.path().join("strangers-hidden");
                let observed = rule["findings"][0]["observed"].as_str().unwrap_or_default();
                assert!(observed.contains(&*hidden.to_string_lossy()), "{observed}");
            }
            // Of instances that the other checks of a run move, whose files are shared.
            for name in ["strangers-hidden", "strangers.log"] {
                let _ = fs::remove_file(home.path().join(name));
            }
            assert_eq!(left(home.path()), 0, "{kind} as {who:?}");
        }
        assert_eq!(mounts(), before);
        assert_eq!(left(&place.path("scratch")), 0);
    }
}

/// What can't be tried is not applicable, and says why.
#[test]
fn where_files_are_shared_nothing_is_said_of_them() {
    let place = Place::of_us();
    let outcome = |subject: &str, settings: &[(&str, &OsStr)]| {
        let tester = Command::new(place.path("tester"));
        let report = json(&place.certify_one("state-is-not-in-files", tester, subject, settings));
        let rule = &report["rules"][0];
        [rule["outcome"].to_string(), rule.to_string()]
    };
    let [how, rule] = outcome(&place.program("plain"), &[("MIGCERT_ISOLATE", OsStr::new("no"))]);
    assert!(how.contains("not-applicable") && rule.contains("MIGCERT_ISOLATE says so"), "{rule}");
    for (shared, why) in [("everything", "the profile says so"), ("/", "all files are shared")] {
        let text =
            format!("program = \"./strangers+plain\"\nwire = \"vfio-user\"\nshared = [\"{shared}\"]\n");
        fs::write(place.path("p.toml"), text).expect("written");
        let [how, rule] = outcome("p.toml", &[]);
        assert!(how.contains("not-applicable") && rule.contains(why), "{rule}");
    }
}

#[test]
fn whoever_cheats_nobody_passes_apart_or_not() {
    let no = [("MIGCERT_ISOLATE", OsStr::new("no"))];
    for place in [Place::of_us(), Place::of_nobody()] {
        for settings in [&[][..], &no] {
            let output = place.certify(&place.program("plain"), settings);
            let report = json(&output);
            assert_eq!(report["verdict"], "pass", "{settings:?} as {:?}: {report:#}", place.user);
            let why = not_isolated(&report);
            let is_said = why.iter().any(|(what, why)| what == "files" && why == "MIGCERT_ISOLATE says so");
            assert_eq!(is_said, !settings.is_empty(), "{why:?}");
            let text = fs::read_to_string(place.path("report/report.txt")).expect("a report");
            assert!(text.lines().any(|line| line.starts_with("not isolated: ")), "{text}");
            fs::remove_dir_all(place.path("report")).expect("removed");
        }
        assert_eq!(left(&place.path("scratch")), 0);
    }
}

/// Whatever can't be started for want of processes, nobody is accused of it.
#[test]
fn a_fork_that_fails_is_not_the_programs_fault() {
    let place = Place::of_nobody();
    let mut failed = 0;
    for processes in 2..12 {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nproc={processes}")).arg(place.path("tester"));
        let output = place.certify_by(command, &place.program("plain"), &[]);
        let words = [output.stdout, output.stderr].map(|words| String::from_utf8_lossy(&words).into_owned());
        assert!(![Some(100), Some(2)].contains(&output.status.code()), "{processes}: {words:?}");
        assert!(!words.concat().contains("is gone"), "{processes}: {words:?}");
        failed += usize::from(words.concat().contains("temporarily unavailable"));
    }
    assert_ne!(failed, 0);
}

#[test]
fn a_profile_says_what_is_shared() {
    let place = Place::of_us();
    place.program("hides-in-tmp");
    let profile = |shared: &str| {
        let text =
            format!("program = \"./strangers+hides-in-tmp\"\nwire = \"vfio-user\"\nshared = [{shared}]\n");
        fs::write(place.path("p.toml"), text).expect("written");
    };
    profile("\"everything\"");
    let report = json(&place.certify("p.toml", &[]));
    let said = ("files".to_owned(), "the profile says so".to_owned());
    assert!(not_isolated(&report).contains(&said), "{report:#}");
    profile("\"no-such-file\"");
    let output = place.certify("p.toml", &[]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{words}");
    assert!(words.contains("shared: `no-such-file`"), "{words}");
    let _ = Command::new(example("strangers")).arg("--forget").status();
}

#[test]
fn a_path_of_ours_is_not_the_programs_fault() {
    let place = Place::of_us();
    place.program("plain");
    // It is told of a path of any bytes, and listens in its directory.
    let script = "#!/bin/sh\nfor word; do\n    shift\n    case $word in --socket-path=*) word=--socket-path=socket ;; esac\n    \
                  set -- \"$@\" \"$word\"\ndone\n";
    let script = format!("{script}exec '{}' \"$@\"\n", place.path("strangers+plain").display());
    write_program(&place.path("wrapped"), &script);
    let scratch = place.path("scratch").join(OsStr::from_bytes(b"odd \xff{fd}"));
    fs::create_dir(&scratch).expect("made");
    let output = place.certify("./wrapped", &[("MIGCERT_SCRATCH", scratch.as_os_str())]);
    assert_eq!(json(&output)["verdict"], "pass", "{}", String::from_utf8_lossy(&output.stderr));

    let long = place.path("scratch").join("x".repeat(100));
    fs::create_dir(&long).expect("made");
    let missing = place.path("scratch/missing");
    let cases = [(&long, "set MIGCERT_SCRATCH to a directory with a shorter path"), (&missing, "missing")];
    for (scratch, expected) in cases {
        let output = place.certify("./strangers+plain", &[("MIGCERT_SCRATCH", scratch.as_os_str())]);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(101), "{words}");
        assert!(words.contains(expected), "{words}");
        assert_eq!(left(&long), 0);
    }
}

fn left(folder: &Path) -> usize {
    fs::read_dir(folder).expect("a folder").count()
}
