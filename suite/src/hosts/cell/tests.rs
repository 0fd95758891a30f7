use super::plan::Own;
use super::*;
use crate::hosts::leftovers::sleeper;
use crate::hosts::process::Process;
use crate::isolation::Channel;
use std::time::{Duration, Instant};

/// Only what hangs takes that long.
const SOON: Duration = Duration::from_secs(300);

/// What a shell prints in a cell.
#[track_caller]
fn says(cell: Cell, script: &str) -> String {
    let mut shell = start(cell, script);
    shell.ended(SOON).expect("waits").expect("ends");
    shell.output()
}

#[track_caller]
fn start(cell: Cell, script: &str) -> Process {
    Process::start(Path::new("/bin/sh"), &["-c", script], cell).expect("sh starts")
}

/// Waits until a program has printed something.
#[track_caller]
fn until_printed(process: &Process) {
    until_it_says(process, |said| !said.is_empty());
}

#[track_caller]
fn until_it_says(process: &Process, is_said: impl Fn(&str) -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_said(&process.output()) {
        assert!(Instant::now() < deadline, "{}", process.output());
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn is_writable(place: &Path) -> bool {
    place.is_dir() && rustix::fs::access(place, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Places for files that nobody keeps, as far as this user can write there and a cell has its own.
/// Nothing is written where it has not: that would stay.
fn places(isolation: &Isolation) -> Vec<PathBuf> {
    let fixed = ["/tmp", "/var/tmp", "/dev/shm", "/run"].map(PathBuf::from);
    let is_own = |place: &PathBuf| isolation.apart.contains(&Channel::Files(place.clone()));
    fixed.into_iter().filter(|place| is_writable(place) && is_own(place)).collect()
}

/// A name that only this process gives to files.
fn name() -> String {
    format!("of-a-cell-{}", std::process::id())
}

#[test]
fn files_are_a_cells_own() {
    let cell = Cell::alone().expect("a cell");
    let apart = cell.isolation();
    if !apart.keeps_files_apart() {
        assert!(!apart.shared.is_empty(), "{apart:?}");
        return;
    }
    let files: Vec<PathBuf> = places(&apart).iter().map(|place| place.join(name())).collect();
    assert!(!files.is_empty(), "{apart:?}");
    let write: String = files.iter().map(|file| format!("echo x >{}; ", file.display())).collect();
    let read: String = files.iter().map(|file| format!("cat {}; ", file.display())).collect();
    let writer = start(cell, &format!("{write} {read} sleep 1000"));
    until_it_says(&writer, |said| said == "x\n".repeat(files.len()));
    assert_eq!(says(Cell::alone().expect("a cell"), &format!("({read}) 2>/dev/null")), "");
    let outside: Vec<&PathBuf> = files.iter().filter(|file| file.exists()).collect();
    assert!(outside.is_empty(), "{outside:?}");
    drop(writer);
    // Whoever comes later does not find it either, in however many cells.
    let later: Vec<_> = (0..4).map(|_| Cell::alone().expect("a cell")).collect();
    for cell in later {
        assert_eq!(says(cell, &format!("({read}) 2>/dev/null")), "");
    }
}

/// Cells that no other test uses.
fn idle() -> &'static Idle {
    Box::leak(Box::default())
}

/// A cell with all files of its own, where this machine allows it.
fn apart() -> Option<Cell> {
    apart_from(&WAITING)
}

fn apart_from(idle: &'static Idle) -> Option<Cell> {
    let shares = Shares { own: Own::All, ..Shares::default() };
    let cell = Cell::open_from(idle, &[], &shares).expect("a cell");
    let isolation = cell.isolation();
    let is_said = isolation.shared.iter().any(|shared| !shared.why.is_empty());
    assert!(isolation.apart.contains(&Channel::OtherFiles) || is_said, "{isolation:?}");
    isolation.apart.contains(&Channel::OtherFiles).then_some(cell)
}

#[test]
#[ignore = "long: writes into system folders where nothing keeps them apart"]
fn all_files_are_a_cells_own() {
    const NAME: &str = "of-a-cell-with-all-files";
    // Wherever this user may write.
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let all = ["/", "/opt", "/var/lib", "/srv", "/usr/lib", "/etc", "/dev/shm", "/tmp"].map(PathBuf::from);
    let all: Vec<PathBuf> = all.into_iter().chain(home).filter(|place| is_writable(place)).collect();
    let files: Vec<String> = all.iter().map(|place| place.join(NAME).display().to_string()).collect();
    let Some(cell) = apart() else { return };
    let written = Arc::new(written::Written::default());
    let cell = cell.keeping(&written);
    let script =
        format!("for f in {0}; do echo x >$f; done; cat {0}; cat /etc/passwd; echo y", files.join(" "));
    let writer = start(cell, &format!("{script}; sleep 1000"));
    until_it_says(&writer, |said| said.ends_with("y\n"));
    let reader = apart().expect("as before");
    assert_eq!(says(reader, &format!("cat {} 2>/dev/null", files.join(" "))), "");
    let outside: Vec<&String> = files.iter().filter(|file| Path::new(file).exists()).collect();
    assert_eq!(outside, [""; 0]);
    let passwd = std::fs::read_to_string("/etc/passwd").expect("there");
    assert!(writer.output().contains(&"x\n".repeat(files.len())), "{}", writer.output());
    assert!(writer.output().contains(&passwd));
    drop(writer);
    let names = written.names();
    let expected = files.iter().filter(|file| !file.starts_with("/dev") && !file.starts_with("/tmp"));
    let missing: Vec<_> = expected.take(3).filter(|file| !names.contains(file)).collect();
    assert!(missing.is_empty(), "{missing:?} of {names:?}");
    assert_eq!(says(apart().expect("as before"), &format!("cat {} 2>/dev/null", files.join(" "))), "");
}

#[test]
fn what_is_named_is_shared_although_all_files_are_apart() {
    let place = tempfile::tempdir().expect("a directory");
    let place = std::fs::canonicalize(place.path()).expect("a path");
    let disk = place.join("disk");
    std::fs::write(&disk, "first").expect("written");
    let paths = [(disk.clone(), "named".to_owned())].into();
    let shares = Shares { paths, own: Own::All, ..Shares::default() };
    let cell = Cell::open(&[], &shares).expect("a cell");
    if cell.isolation().apart.contains(&Channel::OtherFiles) {
        let script =
            format!("cat {0}; echo second >{0}; echo x >{1}/beside", disk.display(), place.display());
        assert_eq!(says(cell, &script), "first");
        assert_eq!(std::fs::read_to_string(&disk).expect("there"), "second\n");
        assert!(!place.join("beside").exists());
    }
}

#[test]
fn a_cell_with_all_files_is_used_again_if_nothing_changed() {
    let directory = |cell: &Cell| cell.made().expect("made").directory.path().to_path_buf();
    let (idle, place) = (idle(), tempfile::tempdir().expect("a directory"));
    let Some(cell) = apart_from(idle) else { return };
    let first = directory(&cell);
    assert_eq!(says(cell, "echo x >file; cat file"), "x\n");
    let cell = apart_from(idle).expect("as before");
    assert_eq!(directory(&cell), first);
    let file = place.path().join("of-a-cell");
    assert_eq!(says(cell, &format!("echo x >{0}; cat {0}", file.display())), "x\n");
    // Otherwise it was not the cell's own.
    if !file.exists() {
        assert_ne!(directory(&apart_from(idle).expect("as before")), first);
    }
}

#[test]
fn a_cell_in_which_nothing_changed_is_used_again() {
    let idle = idle();
    let open = || Cell::open_from(idle, &[], &Shares::default()).expect("a cell");
    let directory = |cell: &Cell| cell.made().expect("made").directory.path().to_path_buf();
    let cell = open();
    let first = directory(&cell);
    assert_eq!(says(cell, "echo x >file; cat file"), "x\n");
    let cell = open();
    assert_eq!(directory(&cell), first);
    if !cell.isolation().keeps_files_apart() {
        return;
    }
    let file = Path::new("/tmp").join(name()).display().to_string();
    let write = format!("echo x >{file}");
    let changes = [&write, "mkdir ../x", "touch -d 1970-01-01 /tmp", "mount -t tmpfs x /mnt"];
    // Others may not mount.
    let changes = if rustix::process::geteuid().is_root() { &changes[..] } else { &changes[..3] };
    for change in changes {
        let cell = open();
        let before = directory(&cell);
        says(cell, change);
        let cell = open();
        assert_ne!(directory(&cell), before, "{change}");
        assert_eq!(
            says(
                cell,
                &format!("cat {file}; ls -d ../x; find /tmp -maxdepth 0 ! -newermt 1971-01-01; ls /mnt/x")
            ),
            says(open(), &format!("cat {file}; ls -d ../x; ls /mnt/x"))
        );
    }
}

#[test]
fn what_arguments_name_is_shared() {
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("disk");
    std::fs::write(&file, "first").expect("written");
    let args = [format!("--disk={},ro", file.display())];
    let paths = plan::named(args.clone()).into_iter().map(|path| (path, "named".to_owned())).collect();
    let shares = Shares { paths, ..Shares::default() };
    let script =
        format!("cat {0}; echo second >{0}; echo x >{1}/beside", file.display(), place.path().display());
    let cell = Cell::open(&[], &shares).expect("a cell");
    let is_apart = cell.isolation().keeps_files_apart();
    assert_eq!(says(cell, &script), "first");
    assert_eq!(std::fs::read_to_string(&file).expect("there"), "second\n");
    assert_eq!(place.path().join("beside").exists(), !is_apart);
}

#[test]
fn other_cells_are_not_seen() {
    let one = Cell::alone().expect("a cell");
    let isolation = one.isolation();
    let directory = one.made().expect("made").directory.path().to_path_buf();
    let one = start(one, "echo x >file; echo y; sleep 1000");
    until_printed(&one);
    let two = Cell::alone().expect("a cell");
    let run = directory.parent().expect("a folder").display().to_string();
    let seen = says(two, &format!("ls {run}; cat {}/*/file 2>/dev/null", directory.display()));
    if isolation.keeps_files_apart() {
        assert_eq!(seen.lines().count(), 1, "{seen}");
        assert!(!seen.contains('x') || !seen.lines().any(|line| line == "x"), "{seen}");
    }
    if isolation.apart.contains(&Channel::Processes) {
        let seen = says(
            Cell::alone().expect("a cell"),
            "ls -d /proc/[0-9]*; cat /proc/1/comm; tr -d '\\0' </proc/1/cmdline",
        );
        assert!(seen.lines().count() <= 5, "{seen}");
        assert!(seen.ends_with("init\n"), "{seen}");
    }
    drop(one);
}

#[test]
fn nothing_that_was_started_stays() {
    // In a session of its own, an orphan, without environment and descriptors.
    let seconds = sleeper::seconds(1002);
    let away = format!("exec sleep {seconds} </dev/null >/dev/null 2>&1");
    let script = format!("(env -i setsid sh -c '(cd /; {away}) &') & wait; echo started; sleep 1000");
    let shell = start(Cell::alone().expect("a cell"), &script);
    sleeper::until_it_runs(&seconds);
    drop(shell);
    assert!(!sleeper::runs(&seconds));
}

#[test]
fn orphans_do_not_stay_as_zombies() {
    // Each inner shell ends before what it started, which then ends as an orphan.
    let script = "for i in 1 2 3 4 5 6 7 8; do sh -c 'sleep 0.01 &'; done; echo done; sleep 1000";
    let shell = start(Cell::alone().expect("a cell"), script);
    until_printed(&shell);
    // All of them have been started, and are the keeper's until it has taken notice of their end.
    let shell_is = shell.number().expect("it runs");
    let parents = || {
        let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter_map(|pid| Some((pid, parent(pid)?))).collect::<Vec<_>>()
    };
    let keeper = parent(shell_is).expect("it runs");
    let children = || parents().into_iter().filter(|(_, of)| *of == keeper).map(|(pid, _)| pid);
    let deadline = Instant::now() + SOON;
    while children().any(|pid| pid != shell_is) {
        assert!(Instant::now() < deadline, "{} zombies", children().count() - 1);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(children().collect::<Vec<_>>(), [shell_is]);
}

/// The process that a process is a child of.
fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may have any in it; state and parent follow.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

#[test]
fn numbers_of_processes_differ() {
    if !Path::new("/proc/sys/kernel/ns_last_pid").exists() {
        return;
    }
    let number = || says(Cell::alone().expect("a cell"), "echo $$");
    let numbers: std::collections::BTreeSet<String> = (0..5).map(|_| number()).collect();
    assert_eq!(numbers.len(), 5, "{numbers:?}");
}

#[test]
fn a_program_that_is_not_there_is_an_error() {
    let start = |name: &str| Process::start::<&str>(Path::new(name), &[], Cell::alone().expect("a cell"));
    let kind = |name| start(name).expect_err("no program").kind();
    assert_eq!(kind("/no/such/program"), io::ErrorKind::NotFound);
    assert_eq!(kind("no-such-program"), io::ErrorKind::NotFound);
    assert_eq!(kind("/etc/passwd"), io::ErrorKind::PermissionDenied);
}

#[test]
fn what_is_ours_does_not_show() {
    let cell = Cell::alone().expect("a cell");
    let script = "env; pwd; cat /proc/self/cmdline /proc/self/mountinfo /proc/$PPID/cmdline /proc/$PPID/environ \
                  /proc/$PPID/comm; ls -l /proc/self/fd; \
                  for p in $PPID 1; do ls -l /proc/$p/exe /proc/$p/cwd /proc/$p/root /proc/$p/fd; \
                  cat /proc/$p/mountinfo; done 2>/dev/null; echo end";
    let says = says(cell, script);
    // The checkout may have any name, and so may the folder for temporary files.
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(1).expect("a folder");
    let says = says.replace(&checkout.display().to_string(), "");
    let says = says.replace(&std::env::temp_dir().display().to_string(), "");
    assert!(says.ends_with("end\n"), "{says}");
    assert!(!says.contains("migcert") && !says.contains("MIGCERT"), "{says}");
}
