//! Whatever is given as an input, it is read within bounds: an error that names place and cause, in
//! 256 MiB, from which nothing blocks. Every command that reads a file is tried on all that is no
//! file, and on documents that grow when they are read.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Of data, for a child.
const MEMORY_KIB: u32 = 256 << 10;
/// Far more than it takes; a child that blocks is ended then.
const SECONDS: u32 = 120;

/// Runs migcert within bounds; gives how it ended, and what it printed.
fn run(place: &Path, args: &[&str]) -> (Option<i32>, String) {
    let limited = format!("ulimit -d {MEMORY_KIB}; exec timeout -k 5 {SECONDS} \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &limited, "sh", env!("CARGO_BIN_EXE_migcert")]).args(args);
    let run = command.current_dir(place).output().expect("it runs");
    let said = [run.stdout, run.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (run.status.code(), said)
}

/// It is refused with these words, in few of them.
#[track_caller]
fn refused(place: &Path, args: &[&str], words: &str) {
    let (code, said) = run(place, args);
    assert_eq!(code, Some(2), "{args:?}: {}", &said[..said.len().min(2000)]);
    assert!(said.contains(words), "{args:?}: {said}");
    assert!(said.len() < 2000, "{args:?}: {} bytes", said.len());
}

#[test]
fn what_is_no_file_is_not_read() {
    let place = tempfile::tempdir().expect("a folder");
    let at = |name: &str| place.path().join(name);
    let mut named = Vec::new();
    for extension in ["json", "toml", "bin"] {
        let name = |kind: &str| format!("{kind}.{extension}");
        assert!(Command::new("mkfifo").arg(at(&name("fifo"))).status().expect("mkfifo runs").success());
        fs::create_dir(at(&name("folder"))).expect("made");
        symlink("/dev/zero", at(&name("zero"))).expect("linked");
        File::create(at(&name("sparse"))).and_then(|file| file.set_len(1 << 42)).expect("made");
        drop(UnixListener::bind(at(&name("socket"))).expect("made"));
        for (kind, words) in [
            ("fifo", "it is a FIFO"),
            ("folder", "it is a directory"),
            ("zero", "it is a device node"),
            ("sparse", "it has more than"),
            ("socket", "it is a socket"),
            ("nothing", ""),
        ] {
            named.push((extension, name(kind), words));
        }
    }
    for (extension, file, words) in named {
        for command in ["replay", "minimize", "merge"] {
            refused(place.path(), &[command, &file], words);
        }
        refused(place.path(), &["export", &file, "--sh"], words);
        if !file.starts_with("folder") {
            refused(place.path(), &["coverage", "migrate", &file], words);
        }
        refused(place.path(), &["describe", &file], words);
        refused(place.path(), &["check", &file, "builtin:nic"], words);
        refused(place.path(), &["certify", &file], words);
        let known = place.path().join("known");
        let _ = fs::remove_dir_all(&known);
        fs::create_dir(&known).expect("made");
        fs::hard_link(at(&file), known.join(&file))
            .or_else(|_| symlink(at(&file), known.join(&file)))
            .expect("there");
        let certify = ["certify", "builtin:nic", "--only", "R-7.1", "--cases", "1", "--known"];
        if extension == "toml" {
            refused(place.path(), &[&certify[..], &["known"]].concat(), words);
        } else {
            let (_, said) = run(place.path(), &[&certify[..], &["known"]].concat());
            assert!(said.contains("were not read"), "{said}");
        }
        // A folder is where cases may be, however it is called.
        if !file.starts_with("folder") {
            refused(
                place.path(),
                &[&certify[..], &[&file]].concat(),
                if file.starts_with("nothing") { "No such file" } else { "Not a dir" },
            );
        }
        // What is no file is no finding.
        let (code, said) = run(place.path(), &["replay", "--all", "known"]);
        assert_eq!(code, Some(4), "{said}");
    }
}

#[test]
fn documents_that_grow_are_refused() {
    let place = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| fs::write(place.path().join(name), text).expect("written");
    let most = 4 << 20;
    let case = |more: &str| {
        let head = "format = 1\nrule = 'chunking'\nsource = 'builtin:nic'\ndestination = 'builtin:nic'\nmodel = 'm'\n";
        write("case.toml", &format!("{head}{more}\n[setup]\n"));
        refused(place.path(), &["replay", "case.toml"], "case.toml: ");
    };
    case(&format!("pieces = [{}]", "0,".repeat(most / 2 - 200)));
    case(&format!("pieces = [{}]", "0,".repeat(1 << 17)));
    case(&format!("x = {}", "[".repeat(most - 200)));
    case(&format!("x = {}1{}", "{a=".repeat(1 << 18), "}".repeat(1 << 18)));
    case(&format!("{} = 1", "a.".repeat(most / 2 - 200) + "a"));
    case(&format!("[{}]", "a.".repeat(most / 2 - 200) + "a"));
    case(&format!("script = ['{}']", "x".repeat(most - 300)));
    case(&"[[x]]\n".repeat(most / 6 - 50));
    case(&(0..most / 16).map(|i| format!("a{i} = 1\n")).collect::<String>());
    for text in [
        "{\"models\":".repeat(1 << 20),
        "[".repeat(16 << 20),
        format!("{{\"models\": [{}0]}}", "0,".repeat(8 << 20)),
        format!("{{\"models\": [{}0]}}", "0,".repeat((1 << 20) - 10)),
        format!("{{\"models\": [{}0]}}", "[],".repeat((1 << 20) - 10)),
        format!("{{\"models\": {{{}\"x\": 0}}}}", "\"\":0,".repeat(1 << 20)),
        format!("{{{}\"models\": 0}}", (0..1 << 19).map(|i| format!("\"{i}\":{{}},")).collect::<String>()),
        format!("{{\"models\": {{\"m\": {{\"versions\": [{}\"\"]}}}}}}", "\"1\",".repeat(1 << 20)),
        format!("{{\"{}\": 1}}", "x".repeat((16 << 20) - 100)),
        format!("{{\"models\": {{\"{}\": 1}}}}", "x".repeat((16 << 20) - 100)),
    ] {
        write("info.json", &text);
        refused(place.path(), &["describe", "info.json"], "info.json: ");
    }
    for text in [
        "[".repeat(1 << 20),
        format!("{{\"schema\": \"\", \"part\": [{}0]}}", "0,".repeat(8 << 20)),
        format!("{{\"self_test\": [{}0]}}", "[],".repeat(5 << 20)),
        format!(
            "{{\"self_test\": {{{}\"\":0}}}}",
            (0..2 << 20).map(|i| format!("\"{i}\":0,")).collect::<String>()
        ),
        part(&"\"\",".repeat(4 << 20), "", "{}"),
        part("", &"{\"judged\":{\"outcome\":\"held\",\"judged\":0,\"begun\":0}},".repeat(300_000), "{}"),
        part("", "", &format!("[{}0]", "0,".repeat(7 << 20))),
    ] {
        write("report.json", &text);
        refused(place.path(), &["merge", "report.json"], "report.json: ");
        refused(place.path(), &["coverage", "migrate", "report.json"], "report.json: ");
    }
}

/// The report of a part that has these rules, pieces and description.
fn part(rules: &str, pieces: &str, manifest: &str) -> String {
    let list = |items: &str| format!("[{}]", items.trim_end_matches(','));
    format!(
        "{{\"migcert\": \"{}\", \"seed\": 1, \"self_test\": 0, \"part\": {{\"shard\": \"1/1\", \"rules\": {}, \"cases\": 1, \"strict\": false, \"known\": [], \"subjects\": [{{\"name\": \"\", \"sha256\": null, \"manifest\": {manifest}, \"waive\": {{}}, \"is_inert\": false}}], \"pieces\": {}}}}}",
        env!("CARGO_PKG_VERSION"),
        list(rules),
        list(pieces),
    )
}

#[test]
fn scripts_that_grow_are_refused() {
    let place = profile_of();
    let scripts = |text: &str, words: &str| {
        let head =
            "program = '/bin/true'\nwire = 'vfio-user'\nargs = ['{socket}']\ninfo.models.m.params = {}\n";
        fs::write(place.path().join("p.toml"), format!("{head}[scripts]\n{text}")).expect("written");
        refused(place.path(), &["certify", "p.toml"], &format!("p.toml: {words}"));
    };
    scripts("a = ['request a']", "scripts: `a` requests `a`: it has no end");
    let doubling = (0..40).map(|i| format!("s{i} = ['request s{}', 'request s{0}']\n", i + 1));
    scripts(&(doubling.collect::<String>() + "s40 = []"), "scripts.s");
    let chain = |n: u32| (0..n).map(|i| format!("s{i} = ['request s{}']\n", i + 1)).collect::<String>();
    scripts(&chain(20_000), "scripts.s");
    scripts(&format!("a = [{}]", "'read 0:0/1',".repeat(5000)), "scripts.a: more than 4096 accesses");
    let web = |i: u32| {
        format!("s{i} = [{}]\n", (i + 1..300).map(|j| format!("'request s{j}',")).collect::<String>())
    };
    scripts(&(0..300).map(web).collect::<String>(), "scripts.s");
}

fn profile_of() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn a_case_that_grows_when_it_is_played_ends() {
    let place = tempfile::tempdir().expect("a folder");
    let model = "https://migcert.example/devices/nic";
    for (rule, more) in [
        ("damage-is-consistent", format!("damage = [{}]", "'repeat 0 4294967295',".repeat(40))),
        ("load-is-judged-at-stop", format!("damage = [{}]", "'repeat 0 4294967295',".repeat(40))),
        (
            "load-is-bounded",
            format!("damage = [{}]", "'repeat 1 4294967295', 'splice 4294967295',".repeat(40)),
        ),
        (
            "damage-is-noticed",
            format!("damage = [{}]", format!("'extend {}',", "00".repeat(32 << 10)).repeat(60)),
        ),
        ("chunking", "pieces = [4294967295, 1]".to_owned()),
        ("twin-after-load", "script = ['pass 4294967295', 'read 0:0/4']\nat = [1, 1]".to_owned()),
        (
            "twin-after-load",
            format!("script = ['receive {}', 'read 0:0/4']\nat = [1, 1]", "00".repeat(1 << 20)),
        ),
    ] {
        let text = format!(
            "format = 1\nrule = '{rule}'\nsource = 'builtin:nic'\ndestination = 'builtin:nic'\nmodel = '{model}'\n{more}\n\
             [setup.params]\ncompact-rings = false\nnum-queues = 2\nrx-filter-size = 16\n"
        );
        fs::write(place.path().join("case.toml"), text).expect("written");
        let (code, said) = run(place.path(), &["replay", "case.toml"]);
        let said: String = said
            .lines()
            .rev()
            .take(3)
            .map(|line| line.chars().take(300).collect::<String>() + "\n")
            .collect();
        let is_damage = more.starts_with("damage");
        // What grows too much is not tried, what came to nothing can't be judged, and the rest is refused.
        let is_said = [
            "the damage of this case adds more than",
            "the damage left a whole state",
            "the stream goes on after its end mark",
        ];
        assert_ne!(code, Some(100), "{rule}: {said}");
        assert!(matches!(code, Some(0 | 4)) && (code == Some(0) || is_damage), "{rule}: {code:?} {said}");
        assert!(!is_damage || is_said.iter().any(|words| said.contains(words)), "{rule}: {said}");
    }
}
