//! Faults of the card.

use crate::devices::fault::faults;

faults! {
    MASK_FORGOTTEN "macio-regs" C "R-1.4" "QEMU macio, c2a0125a8331"
        "the interrupt mask is not saved";
    PENDING_FORGOTTEN "uhci-irq" C "R-1.4" "QEMU uhci, ecfdc15f4351"
        "an interrupt that was not delivered yet is not saved";
    INDEX_FORGOTTEN "pcihost-cfgaddr" C "R-1.4" "QEMU pci-host, 2ebc21216f58"
        "the index of an index/data pair is not saved";
    RING_INDEX_FORGOTTEN "ring-index-forgotten" C "R-1.4" ""
        "a ring index that no register shows is not saved";
    IN_FLIGHT_LOST "in-flight-lost" C "R-1.4" ""
        "packets that were submitted and not sent yet are not saved";
    FILTER_STALE "vga-chain4" C "R-1.4" "QEMU vga, 138bc2df8431"
        "the look-up table made from the receive filter is not made anew after a load";
    ADDRESS_SWAPPED "hisi-xqe" E "R-1.4" "Linux vfio hisi_acc, 8bb7170c5a05"
        "both halves of the address are saved in the wrong order";
    LINK_FORCED_UP "e1000e-link-resume" D "R-1.4" "QEMU e1000e, 4cadf1023498"
        "the link is up after a load, whatever the state says";
    FILTER_LOST_ON_SECOND "filter-lost-on-second" C "R-1.1" ""
        "a device that was loaded does not save the receive filter";
    CLOCK_IN_STATE "clock-in-state" C "R-1.1" ""
        "a count of saves is part of the state";
    OFF_WRITES_SECTION "hpt-maxpage" E "R-3.4" "QEMU spapr, 3725ef1a94"
        "the section of a parameter is written though it is off";
    OFF_SHOWS "uncor-mask" E "R-3.4" "QEMU pci, 5ed3dabe57"
        "a register tells the release, so that an old driver sees a new device";
    MEMORY_BY_HOST "memory-by-host" F "R-3.1" ""
        "half of packet memory can't be reached on any host but the first";
    OFF_DRIFT "off-drift" E "R-3.4" ""
        "the latest release means another value where a parameter is left out";
    VERSION_DRIFT "version-drift" E "R-4.2" ""
        "the newest release gives a published version another meaning";
    NEWEST_LEVEL_SAVED "newest-level-saved" E "R-4.5" ""
        "a newer release saves rings in its newest form, whatever level it runs at";
    DESCRIBES_TOO_MUCH "describes-too-much" E "R-5.4" ""
        "the largest number of queues starts and can't be loaded";
    SAVE_DELIVERS "ps2-save-irq" C "R-6.2" "QEMU ps2, a1f2ed2ad8b4"
        "saving takes pending interrupts away";
    STOP_FORGETS_QUEUES "ch-vu-not-resumed" G "R-6.2" "Cloud Hypervisor, b47c26fa561c"
        "queues that stopping stopped are not started again";
    LOAD_MERGES "crosvm-warm-msix" C "R-6.4" "crosvm, 275a320702c0"
        "a load adds to what the device had";
    STALE_PRECOPY "fc-rng-dirty" G "R-6.5" "Firecracker, 6d8c3064f00a"
        "packet memory that the device wrote after it was first read is not sent again";
    RESET_KEEPS_FILTER "reset-keeps-filter" C "R-7.6" ""
        "a reset leaves the receive filter as it was";
}
