//! What is odd about a device: a row each, chosen by the name that the program is called by.

use std::sync::OnceLock;

/// Name, what a certification of it must come to, and what is odd.
///
/// | | |
/// |---|---|
/// | `clean` | nothing is found |
/// | `learned` | nothing is found, and what can't be compared is named |
/// | `known` | found, where it does not know that it is tested |
/// | `hidden` | found, or the state is said to be too small |
/// | `inert` | never passes |
/// | `broken` | found |
/// | `rude` | does no harm to whoever tests it |
#[rustfmt::skip]
pub(crate) const KINDS: &[(&str, &str, &str)] = &[
    ("plain",                    "clean",   "nothing"),
    ("slow-start",               "clean",   "it takes 50 ms to start"),
    ("ends-with-input",          "clean",   "it ends when its standard input does"),
    ("logs-pid",                 "clean",   "refuses accesses that are no words, and logs its process and the number of the message"),
    ("config-by-carrier",        "clean",   "PCI configuration space is not in the state: whoever carries it writes it"),
    ("refuses-while-saved",      "clean",   "every access is refused in STOP_COPY, as by libvfio-user"),
    ("encrypted",                "clean",   "the state is different each time it is saved, and says the same"),
    ("compressed",               "clean",   "bytes of the state that are 0 are left out"),
    ("logs-at-home",             "clean",   "it keeps a log in the home directory, and the state is in the bytes"),
    ("disk",                     "clean",   "the words lie on a disk, `--disk=PATH` or beside the program, and the state says where"),
    ("never-interrupts",         "clean",   "an interrupt is offered and never raised: what it stands for does not happen"),
    ("only-interrupts",          "clean",   "everything reads 0; a bell that was allowed to interrupt does"),
    ("only-dma",                 "clean",   "everything reads 0; a bell that was allowed to writes into guest memory"),
    ("answers-late",             "clean",   "every answer takes 3 ms"),
    ("answers-in-200-ms",        "clean",   "every answer takes as long"),
    ("answers-in-1000-ms",       "clean",   "every answer takes as long"),
    ("answers-in-9000-ms",       "clean",   "every answer takes as long"),
    ("constant-1",               "inert",   "every word reads 1, and nothing comes of a bell"),
    ("constant-ff",              "inert",   "every byte reads 0xff, and ..."),
    ("offset-reader",            "inert",   "every word reads its own offset, and ..."),
    ("all-errors",               "inert",   "every access is refused"),
    ("zeros",                    "inert",   "everything reads 0, and ..."),
    ("not-migratable",           "inert",   "it does not offer to be migrated"),
    ("all-random",               "inert",   "every read is random"),
    ("clock",                    "learned", "EXTRA is a counter of nanoseconds that never stops"),
    ("slow-clock",               "learned", "EXTRA is the time of day in seconds"),
    ("clock-bits",               "learned", "the low half of EXTRA is a clock, the high half the low half of the first word"),
    ("serial-given",             "clean",   "EXTRA is the serial number that `--serial=NUMBER` gives, or one that is drawn; not in the state"),
    ("random-serial",            "learned", "EXTRA is a serial number, drawn at the start"),
    ("serial-lost",              "broken",  "so it is, and it is not in the state"),
    ("boot-id",                  "learned", "EXTRA is an id, drawn at the start and anew by every bell"),
    ("sensor",                   "learned", "EXTRA is what this instance measures, every 700 ms something else; not in the state"),
    ("dma-serial",               "learned", "what it writes into guest memory has a serial number, drawn at the start"),
    ("dma-serial-lost",          "broken",  "so it has, and it is not in the state"),
    ("flickers",                 "learned", "one read of fifty shows bit 0 of EXTRA"),
    ("random-register",          "learned", "EXTRA reads something else each time"),
    ("random-errno",             "learned", "accesses that are no words are refused with one of two numbers, by chance"),
    ("late-interrupts",          "learned", "interrupts come 1 to 5 ms after the write that causes them, now and then after 30"),
    ("late-status",              "learned", "so does the bit of STATUS that goes with them"),
    ("time-in-state",            "learned", "the state says when it was saved"),
    ("dma-timestamp",            "learned", "what it writes into guest memory says when"),
    ("knows-environment",        "known",   "loses its words where no variable names migcert"),
    ("knows-directory",          "known",   "loses its words where its directory does not name migcert"),
    ("knows-arguments",          "known",   "loses its words where no argument names migcert"),
    ("knows-parent",             "known",   "loses its words where its parent is not called migcert"),
    ("knows-version",            "known",   "loses its words where what the client says of itself does not name migcert"),
    ("knows-any",                "known",   "loses its words where none of these names migcert"),
    ("hides-in-tmp",             "hidden",  "the state is eight bytes that name a place in /tmp"),
    ("hides-in-shm",             "hidden",  "... in /dev/shm"),
    ("hides-in-var-tmp",         "hidden",  "... in /var/tmp"),
    ("hides-next-to-binary",     "hidden",  "... in the directory of the program"),
    ("hides-in-home",            "hidden",  "... in the home directory"),
    ("hides-in-home-padded",     "hidden",  "... as well, with random bytes up to the size of a whole state"),
    ("hides-in-var-lib",         "hidden",  "... in a directory that it makes in /var/lib, or in /opt"),
    ("hides-in-root",            "hidden",  "... in the root directory"),
    ("hides-by-path",            "hidden",  "the state is the path of a file in the home directory, with 16 random digits"),
    ("hides-beside-scratch",     "hidden",  "the state is eight bytes that name a place beside the directory that it is started in"),
    ("hides-in-sysv-shm",        "hidden",  "... in a segment of System V shared memory"),
    ("hides-in-abstract-socket", "hidden",  "... that a daemon keeps behind an abstract socket"),
    ("hides-behind-daemon",      "hidden",  "... that a daemon keeps behind a socket in /tmp"),
    ("hides-behind-port",        "hidden",  "... that a daemon keeps behind a port of 127.0.0.1"),
    ("hides-in-keyring",         "hidden",  "the state is as long as a whole one and names a key in the keyring of the user"),
    ("hides-by-content",         "hidden",  "the state is 256 bytes that are a hash of what is in /tmp"),
    ("constant-state",           "hidden",  "the state is always the same, and what was saved last is in /tmp"),
    ("constant-at-home",         "hidden",  "... in the home directory"),
    ("bar-size-random",          "broken",  "the size of the region differs from start to start"),
    ("binary-changes",           "broken",  "the program is another one after its first start"),
    ("refuses-reset",            "broken",  "a reset is offered and refused"),
    ("loses-words",              "broken",  "the words are not in the state"),
    ("unchecked",                "broken",  "the checksum of a state is not compared"),
    ("refuses-loads",            "broken",  "every load is refused"),
    ("escape-words",             "broken",  "control characters and workflow commands in names and messages; every load is refused"),
    ("exits-in-cell",            "rude",    "does not start where it sees few other processes"),
    ("never-answers",            "rude",    "no read of a region is ever answered"),
];

static KINDS_OF_THIS: OnceLock<Vec<String>> = OnceLock::new();

/// Chooses the kinds, once; those that are not known are an error.
pub(crate) fn choose(kinds: Vec<String>) -> Result<(), String> {
    match kinds.iter().find(|kind| !KINDS.iter().any(|row| row.0 == *kind)) {
        Some(unknown) => Err(format!("kind `{unknown}` is not known")),
        None => KINDS_OF_THIS.set(kinds).map_err(|_| "the kind was chosen already".to_owned()),
    }
}

/// Whether the device is of this kind.
pub(crate) fn is(name: &str) -> bool {
    debug_assert!(KINDS.iter().any(|row| row.0 == name), "`{name}` is not a kind");
    KINDS_OF_THIS.get().is_some_and(|kinds| kinds.iter().any(|kind| kind == name))
}

/// The first kind that begins so.
pub(crate) fn beginning(prefix: &str) -> Option<&'static str> {
    KINDS_OF_THIS.get()?.iter().find(|kind| kind.starts_with(prefix)).map(String::as_str)
}
