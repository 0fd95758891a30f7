//! Green that must not be.

use super::{Files, Row, Stranger, stranger};
use std::fs;
use std::path::Path;

/// The rules that compare a device that moved with one that did not: enough to tell these.
const QUICK: &str = "certify device.toml --seed 1 --cases 10 -j 1 --only R-1";

const fn row(point: &'static str, name: &'static str, kinds: &'static str, status: i32) -> Row {
    Row::new(point, name, Stranger(kinds), QUICK, status)
}

/// One rule, and anything but a pass.
const ANY_SIZE: &str = "sh $M certify device.toml --seed 1 --cases 20 -j 1 --only interface-is-kept; S=$?; test $S = 4 -o $S = 100";

/// Somebody puts another program in its place during the run.
const REPLACED: &str = "sh cp device+plain d; echo >> d; (sleep 2; mv d device+plain) & exec $M certify device.toml --seed 1 --cases 20 -j 1";

const AT_HOME: &[&str] = &["not isolated: ", "other files", "state-is-in-the-bytes       must   broken"];

const INERT: &str = "inert is more than zeros";
pub(super) const IN_THE_BYTES: &str = "the state is in the bytes";
const IN_FILES: &str = "the state is in files that no carrier brings";
const LIES_THERE: &str = "a destination that shares nothing with the source does not take the state";
const UNAWARE: &str = "a program does not know that it is tested";
const SAME: &str = "interfaces and programs stay what they are";

pub(super) const ROWS: &[Row] = &[
    row(INERT, "a_device_that_keeps_what_is_written", "plain", 0).gate(),
    row(INERT, "a_device_that_only_interrupts", "only-interrupts", 0),
    row(INERT, "a_device_that_only_writes_into_memory", "only-dma", 0),
    row(INERT, "one", "constant-1", 4),
    row(INERT, "ones", "constant-ff", 4),
    row(INERT, "zeros", "zeros", 4).gate(),
    row(INERT, "offsets", "offset-reader", 4),
    row(INERT, "errors", "all-errors", 4),
    row(IN_THE_BYTES, "encrypted", "encrypted", 0).gate(),
    row(IN_THE_BYTES, "compressed", "compressed", 0),
    row(IN_THE_BYTES, "in_tmp", "hides-in-tmp", 100).gate(),
    row(IN_THE_BYTES, "in_shm", "hides-in-shm", 100).gate(),
    row(IN_THE_BYTES, "in_var_tmp", "hides-in-var-tmp", 100).gate(),
    row(IN_THE_BYTES, "next_to_the_program", "hides-next-to-binary", 100),
    row(IN_THE_BYTES, "at_home", "hides-in-home", 100).says(&[IN_FILES, "/strangers-hidden`"]),
    row(IN_THE_BYTES, "at_home_behind_a_token_of_any_size", "hides-in-home-padded", 100).says(&[IN_FILES]),
    row(IN_THE_BYTES, "in_a_directory_that_it_makes", "hides-in-var-lib", 100)
        .says(&[IN_FILES, "/strangers/strangers-hidden`"]),
    row(IN_THE_BYTES, "in_the_root_directory", "hides-in-root", 100).says(&[IN_FILES, "`/strangers-hidden`"]),
    row(IN_THE_BYTES, "behind_a_path", "hides-by-path", 100).says(AT_HOME).gate(),
    row(IN_THE_BYTES, "always_the_same_at_home", "constant-at-home", 100).says(AT_HOME),
    row(IN_THE_BYTES, "where_nothing_can_be_read", "only-dma+constant-at-home", 100).says(AT_HOME),
    // Nobody is accused of files that a destination doesn't need, or that hosts share.
    row(IN_THE_BYTES, "a_log_at_home", "logs-at-home", 0)
        .says(&["kept apart in the rule"])
        .never(&[IN_FILES]),
    Row::new(IN_THE_BYTES, "a_disk_that_an_argument_names", Files(disk_by_argument), QUICK, 0)
        .says(&["strangers-disk (named in the arguments", LIES_THERE])
        .never(&[IN_FILES]),
    Row::new(IN_THE_BYTES, "a_disk_that_the_profile_names", Files(disk_by_profile), QUICK, 0)
        .says(&["strangers-disk (the profile says so", LIES_THERE])
        .never(&[IN_FILES]),
    Row::new(IN_THE_BYTES, "at_home_though_a_disk_is_named", Files(home_beside_disk), QUICK, 100)
        .says(&[IN_FILES]),
    row(IN_THE_BYTES, "beside_its_directory", "hides-beside-scratch", 100),
    row(IN_THE_BYTES, "in_sysv_memory", "hides-in-sysv-shm", 100).gate(),
    row(IN_THE_BYTES, "behind_an_abstract_socket", "hides-in-abstract-socket", 100).gate(),
    row(IN_THE_BYTES, "behind_a_daemon", "hides-behind-daemon", 100).gate(),
    row(IN_THE_BYTES, "behind_a_port", "hides-behind-port", 100).gate(),
    row(IN_THE_BYTES, "in_a_keyring", "hides-in-keyring", 100),
    row(IN_THE_BYTES, "behind_a_hash", "hides-by-content", 100),
    row(IN_THE_BYTES, "always_the_same", "constant-state", 100),
    row(UNAWARE, "by_its_environment", "knows-environment", 100),
    row(UNAWARE, "by_its_directory", "knows-directory", 100),
    row(UNAWARE, "by_its_arguments", "knows-arguments", 100),
    row(UNAWARE, "by_its_parent", "knows-parent", 100),
    row(UNAWARE, "by_what_the_client_says", "knows-version", 100),
    row(UNAWARE, "by_being_kept_apart", "exits-in-cell+hides-in-home-padded", 4)
        .says(&["shared = [\"everything\"]"]),
    row(UNAWARE, "by_anything", "knows-any", 100).gate(),
    // Where chance makes the sizes the same now and then, the finding is flaky and the verdict incomplete.
    Row::new(SAME, "a_region_of_any_size", Stranger("bar-size-random"), ANY_SIZE, 0)
        .says(&["have other registers"])
        .never(&["\npass"]),
    // Its instances can't reach the file itself, where they have files of their own.
    Row::new(SAME, "another_program_afterwards", Stranger("plain"), REPLACED, 4).says(&["changed"]),
];

fn disk_by_argument(place: &Path) {
    let disk = place.join("strangers-disk");
    with_disk(place, &format!("program = \"./device+disk --disk={}\"", disk.display()));
}

fn disk_by_profile(place: &Path) {
    with_disk(place, "shared = [\"strangers-disk\"]\nprogram = \"./device+disk\"");
}

/// What is hidden elsewhere is not excused by a disk.
fn home_beside_disk(place: &Path) {
    with_disk_of(
        place,
        "hides-by-path",
        "shared = [\"strangers-disk\"]\nprogram = \"./device+hides-by-path\"",
    );
}

/// A device with a disk, and this instead of the first line of its profile.
fn with_disk(place: &Path, program: &str) {
    with_disk_of(place, "disk", program);
}

fn with_disk_of(place: &Path, kinds: &str, program: &str) {
    stranger(place, kinds);
    fs::write(place.join("strangers-disk"), "").expect("written");
    let profile = fs::read_to_string(place.join("device.toml")).expect("there");
    let rest = profile.split_once('\n').expect("lines").1;
    fs::write(place.join("device.toml"), format!("{program}\n{rest}")).expect("written");
}
