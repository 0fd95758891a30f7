//! Faults of device programs: every reference device can have them.

use crate::devices::fault::faults;

faults! {
    VERSION_REFUSED "version-refused" E "R-4.1" ""
        "the oldest described version can't be started";
    UNKNOWN_ACCEPTED "unknown-accepted" F "R-4.3" ""
        "unknown parameters and values are ignored at start";
    CULPRIT_UNNAMED "ch-opaque-error" F "R-4.3" "Cloud Hypervisor, issue 6848"
        "the error of a refused start says only that something is invalid";
    LATEST_REFUSED "latest-refused" E "R-4.4" ""
        "the latest configuration can't be started";
    DESCRIBES_TOO_LITTLE "describes-too-little" E "R-5.2" ""
        "the description leaves out values that start and load take";
    DESCRIBE_DISTURBS "describe-disturbs" G "R-5.3" ""
        "asking for the description disturbs running instances";
    INIT_DIFFERS "init-differs" E "R-8.2" ""
        "without an option the parameter is off, not at its init value";
    ALLOWED_REFUSED "allowed-refused" E "R-8.3" ""
        "a value that is described can't be started";
    DESCRIPTION_UNSTABLE "description-unstable" E "R-8.3" ""
        "the description differs from one time to the next";
}
