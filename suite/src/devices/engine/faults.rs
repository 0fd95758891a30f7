//! Faults that are not in the hardware: every reference device can have them.

use crate::devices::fault::faults;

faults! {
    LOADED_ONCE "hisi-match-done" G "R-1.1" "Linux vfio hisi_acc, 8c6ac1730a97"
        "a flag of the first load makes the next one a no-op";
    OTHER_SETUP_ACCEPTED "other-setup-accepted" F "R-3.3" ""
        "the configuration in the state is taken over instead of compared";
    WORKS_IN_STOP "rng-virtio-active" G "R-6.1" "QEMU virtio-rng, a23a6d183986"
        "a stopped device goes on working";
    CANCEL_KEEPS_SESSION "cancel-keeps-session" G "R-6.2" ""
        "a pre-copy that was given up is taken for the first pass of the next";
    REFUSAL_RUNS "refusal-runs" D "R-6.3" ""
        "a device that refuses a state goes to RUNNING";
    REFUSAL_STICKS "vfio-realize-cleanup" D "R-6.3" "QEMU vfio, 2b43b2995b02"
        "what a refused load registered stays, and every later load is refused";
    REFUSAL_SURVIVES_RESET "refusal-survives-reset" D "R-6.4" ""
        "memory that a refused state wrote survives the reset";
    PLAIN_FORMAT "plain-format" A "R-6.4" ""
        "nobody looks at the checksum of a state: damage is loaded";
    FIELDS_UNCHECKED "fields-unchecked" A "R-6.4" ""
        "fields of the state are used without a check";
    CUT_ACCEPTED "fc-memfile-eof" B "R-6.4" "Firecracker, a174b0311d89"
        "what is missing at the end is taken for zeros";
    TAIL_IGNORED "fc-stale-tail" B "R-6.4" "Firecracker, cd47c0e943e8"
        "bytes after the end are ignored";
    TAIL_APPLIED "tail-applied" B "R-6.4" ""
        "bytes after the end are taken for memory";
    ERROR_SWALLOWED "vmstate-continue-after-err" B "R-6.4" "QEMU vmstate, 13cde5088923"
        "a state that can't be decoded is logged, and the load goes on";
    PRECOPY_CONSUMES "spdk-precopy-consumes" G "R-6.5" "SPDK, 50a48752551f"
        "what was sent in PRE_COPY is not sent again, though it changed";
    PIECE_LOST "piece-lost" B "R-6.6" ""
        "a piece of less than four bytes is dropped";
    SHORT_READ_TRUNCATES "ch-2gib-short-read" B "R-6.6" "Cloud Hypervisor, bdbea19e239b"
        "what doesn't fit into one small read is taken for sent";
    RESERVES_CLAIMS "versionize-nolimit" A "R-6.7" "versionize, 2d679c6909ce"
        "memory is reserved on the word of a length";
    PACKETS_UNBOUND "qemu-vfio-multifd-queue" A "R-6.7" "QEMU vfio multifd, 2025, limits on device state buffers in flight"
        "each piece is queued in a buffer of the largest size, and nobody counts them";
    RELEASED_TWICE "mlx5-unwind-double" A "R-6.3" "Linux vfio mlx5, cb04444c243c"
        "the session of a load that failed is released in the error path and at the reset once more";
    PART_IS_FAILURE "ch-short-write" B "R-6.6" "Cloud Hypervisor, b910a7922d2c"
        "a carrier that takes only a part of the state makes the save fail";
    DETOUR_TO_STOP_COPY "vfio-savevm-path" G "R-6.5" "QEMU vfio, d742d064c1"
        "PRE_COPY leads to STOP_COPY through RUNNING and STOP, where the session ends";
    CONTINUED_IN_STOP_COPY "qmp-cont-finish" G "R-6.1" "QEMU, 9183dd15334f"
        "a device that is being handed over can be told to go on";
    FRESH_STOPPED "fresh-stopped" G "R-7.1" ""
        "a fresh device is in STOP";
    ARC_MISSING "arc-missing" G "R-7.2" ""
        "STOP_COPY to RUNNING is refused";
    STATE_UNREPORTED "state-unreported" G "R-7.2" ""
        "PRE_COPY is entered and RUNNING reported";
    ILLEGAL_ARC "illegal-arc" G "R-7.2" ""
        "STOP_COPY to PRE_COPY is done";
    SAME_STATE_ENTERED "vfu-same-state" G "R-7.2" "libvfio-user, issue 679"
        "asked for the state that it is in, the device enters it again";
    REFUSED_HALF_WAY "ch-vfio-recover" G "R-7.2" "Cloud Hypervisor, e7c0d690d"
        "a change of state that is refused ends half-way, in STOP";
    ERROR_REQUESTED "error-requested" G "R-7.3" ""
        "ERROR can be asked for";
    JUDGED_LATE "judged-late" G "R-7.4" ""
        "a state is judged when the device is to run, not at STOP";
    EMPTY_ACCEPTED "crosvm-nested-result" G "R-7.4" "crosvm, 7005f04e3451"
        "a state that is missing altogether is a default one";
    READABLE_OUTSIDE "vfioio-datafd" G "R-7.5" "rust-vmm vfio, pull request 140"
        "the last session's bytes can be read again in STOP";
    WRONG_GATE "vfu-wrong-region" G "R-7.5" "libvfio-user, f841231"
        "the gate before the state asks for the wrong thing, and lets a reader in while the device runs";
    SESSION_RESUMED "session-resumed" G "R-7.5" ""
        "a second session goes on where the first was given up";
    END_FORGOTTEN "end-forgotten" G "R-7.5" ""
        "after the end of the stream it begins again";
    ESTIMATE_NOTHING "qemu-vfio-pending" G "R-7.7" "QEMU vfio, 6234505ce848"
        "the state is estimated at no bytes at all";
    RESET_KEEPS_STATE "pds-fds-reset" G "R-7.6" "Linux vfio pds, 8512ed256334"
        "a reset in RESUMING leaves the device and its session there";
    RESET_UNNOTICED "vfu-reset-desync" G "R-7.6" "libvfio-user, 4f4fce4f0c92"
        "a reset while the state is saved resets the device, and the state that is reported stays";
    TOKEN_FOR_STATE "token-for-state" F "R-1.5" ""
        "the state stays in a table of the host, and what is carried says where";
    TOKEN_PADDED "token-padded" F "R-1.5" ""
        "the state stays in a table of the process, and noise of its size is carried that says where";
}
