//! Faults of the board.

use crate::devices::fault::faults;

faults! {
    QUEUES_TRUSTED "virtio-vq-count" A "R-6.4" "QEMU virtio, CVE-2013-4151, cc45995294b9"
        "the number of queues in the state bounds the loop that sets them up";
    ACTIVE_UNCHECKED "virtio-net-currq" A "R-6.4" "QEMU virtio-net, CVE-2013-4150, eea750a5623d"
        "the number of queues is compared, and not how many of them are in use";
    CAPACITY_TRUSTED "pcie-aer-logmax" A "R-6.4" "QEMU PCIe AER, CVE-2013-4529, 5f691ff91d32"
        "the capacity of the error log is taken from the state";
    CAUSES_TRUSTED "openpic-nbcpus" A "R-6.4" "QEMU openpic, CVE-2013-4534, 73d963c0a75c"
        "the number of causes in the state bounds the loop over the vector table";
    COUNT_SIGNED "virtio-net-mac-signed" A "R-6.4" "QEMU virtio-net, CVE-2013-4148, 71f7fe48e10a"
        "the length of the log is compared as a signed number and used as an unsigned one";
    SPAN_WRAPS "fc-mmap-offset-ovf" A "R-6.4" "Firecracker, 2167247b5572"
        "the end of the span is computed with wrap-around";
    CURSOR_UNCHECKED "ssd0323-fields" A "R-6.4" "QEMU ssd0323, CVE-2013-4538, ead7a57df37d"
        "a cursor beyond its span is loaded, and walks out of memory";
    ROUTE_UNCHECKED "vmxnet3-validate" A "R-6.4" "QEMU vmxnet3, CVE-2013-4544, 3c99afc779c2"
        "vectors are loaded without a look at the size of the table";
    SENTINEL_INDEXES "usbredir-iface" A "R-5.4" "QEMU usbredir, 7b84b9096656"
        "the number that means no vector is used as an index at load";
    RING_UNCHECKED "stellaris-enet" A "R-6.4" "QEMU stellaris_enet, CVE-2013-4532, 2e1198672759"
        "queues are loaded by hand, without a look at the size of their rings";
    MEMORY_UNWRAPPED "fc-vec-to-array" A "R-6.4" "Firecracker PCI, 717f593b7dfa"
        "memory of another length panics where it is made an array";
    TOUCHED_UNCHECKED "fc-vmclock-unplugged" A "R-6.4" "Firecracker, 0964ab98f"
        "the place of a queue in guest memory is touched before it is checked";
    UNUSED_PANICS "ch-unused-queue-panic" A "R-5.4" "Cloud Hypervisor, 4c6bb7951cdd"
        "a queue that was never set up is loaded as if it had a place";
    SIZES_DISAGREE "fc-msix-sizes" A "R-6.4" "Firecracker, 9c70d1532517"
        "vectors and pending bits may differ in number";
    VECTORS_UNCHECKED "fc-msix-vs-queues" A "R-6.4" "Firecracker, 84712ca22da7"
        "the number of vectors need not fit the number of queues";
    IDS_TWICE "fc-dup-gsi" A "R-6.4" "Firecracker, 7342dd000929"
        "ids under way are loaded without a look at the allocator, or at each other";
    COMMAND_UNCHECKED "fc-balloon-hugepages" A "R-6.4" "Firecracker, 961ec7047"
        "a state may set commands that the device doesn't offer";
    KEY_TRUNCATED "apic-8bit-id" B "R-1.4" "QEMU apic, 0ab994867c"
        "the key of a queue's section has three bits of its number";
    MOVE_FORGOTTEN "ch-pending-bar" C "R-1.4" "Cloud Hypervisor, db93c6fdc7df"
        "a window that is about to move stays where it is";
    SPAN_NOT_LISTED "msr-allowlists" C "R-1.4" "Cloud Hypervisor, f7f9895d5"
        "the list of registers that are saved lacks some that the guest can program";
    MASTER_IN_SHADOW "ch-vfio-pci-command" C "R-1.4" "Cloud Hypervisor vfio, 41027685613a"
        "COMMAND is loaded, and whether the function may begin anything is not derived from it";
    WINDOW_NOT_MAPPED "vfio-subpage-bar" C "R-1.4" "QEMU vfio, f36d4fb85f"
        "the window moves when the guest says so, and not at load";
    SPACE_NOT_SWITCHED "viommu-as" C "R-1.4" "QEMU intel_iommu, 552a1e01a4"
        "the address space is loaded, and DMA goes to the other";
    OLD_ROUTES_HELD "crosvm-irq-tokens" C "R-1.4" "crosvm, 31ee64ebeea1"
        "the worker goes on with the vectors from before the load";
    HELD_FORGOTTEN "balloon-stats-elem" C "R-1.4" "QEMU virtio-balloon, 4a1e48beca"
        "a request that waits for a packet is not saved";
    KICK_NOT_REPEATED "fc-vsock-txkick" C "R-1.4" "Firecracker, 70157ae134ea"
        "queues with requests are not looked at after a load until they are kicked again";
    SIGNALLED_JUMPS "crosvm-eventidx" C "R-1.4" "crosvm, 078ef31b7a8c"
        "what was completed counts as signalled after a load";
    STALE_COPY_SAVED "ch-msix-two-copies" C "R-1.4" "Cloud Hypervisor vfio, 490e338e1645"
        "of two copies of a control bit, the one that the guest's writes don't reach is saved";
    LEXICAL_ORDER "ch-lexical-order" C "R-1.4" "Cloud Hypervisor, 65ec6631fb38"
        "queues are loaded in the order of their names, 11 before 2";
    DROPPED_LATE "crosvm-drop-after-restore" D "R-6.4" "crosvm gpu, a47d80f90232"
        "requests from before a load give their ids back after it";
    RINGS_TOO_EARLY "virtio-regioncache" D "R-1.4" "QEMU virtio, 874adf45dbfb"
        "the places of queues are computed before the address space is loaded";
    PENDING_BEFORE_MASK "vfio-cfg-vs-gic" D "R-1.4" "QEMU vfio, d329f5032e"
        "pending interrupts are loaded before the table, and reach nobody";
    LATE_QUEUES_MISSED "xive-hotplug" D "R-1.4" "QEMU spapr, 310cda5b5e"
        "queues that not every board has are loaded after the list of those with work";
    WORKERS_PARKED "ch-drop-deadlock" D "R-6.3" "Cloud Hypervisor, 1363891df6f5"
        "a load that is refused leaves the workers waiting for it";
    ALIAS_FORGOTTEN "rng-alias" E "R-3.4" "QEMU virtio-rng-pci, bad9c5a516, 62bdb88715"
        "a feature that is off is on in the variant";
    FEATURES_PROBED "kubevirt-uso" F "R-5.4" "KubeVirt, issue 16386"
        "the host is asked what to offer, and no two of them answer the same";
    LOG_NOT_KEPT "ch-logall-2nd" F "R-1.1" "Cloud Hypervisor, issue 8918"
        "a device that was loaded has no log of dirty memory, and can't be saved";
    STOPPED_APART "vfio-multidev-p2p" F "R-1.4" "QEMU vfio, 29d81b71aa"
        "one function writes to the other after that was saved";
    NULL_PLACE "hisi-nodriver" F "R-1.4" "Linux vfio hisi_acc, 2777a40998de"
        "a queue that was never set up is saved with place 0";
    MASTER_FORCED "qemu-runstate" G "R-6.2" "QEMU, a4c6275aa1"
        "a migration that was given up starts functions that the guest had stopped";
    ACTIVATION_STALLS "ch-activation-deadlock" G "R-6.5" "Cloud Hypervisor, 4d727c489907"
        "a queue that is set up in PRE_COPY waits for a lock that is never given back";
    COUNT_NOT_LOGGED "count-not-logged" G "R-6.5" ""
        "what a queue counts in guest memory is not in the log of dirty memory";
    PEER_WRITE_CLEAN "peer-write-clean" G "R-6.5" ""
        "memory that the peer wrote after it was first read is not sent again";
    ROUTE_ERROR_DROPPED "route-error-dropped" G "R-1.4" ""
        "a function whose interrupts the host can't route goes on without any";
    FIRST_STAYS_STOPPED "first-stays-stopped" G "R-6.2" ""
        "where the second function can't be stopped, the first is not started again";
    ROUTES_LEFT "routes-left" D "R-6.3" ""
        "where the second function's interrupts can't be routed, the first one's stay";
    SPAN_STRICT "span-strict" E "R-5.4" "twin of usb-postload-fixup: QEMU usb core, 719ffe1f5f72"
        "a span that reaches the end of memory is refused";
    USED_STRICT "used-strict" E "R-5.4" "twin of crosvm-vringbase-bound: crosvm, 7067de23bcbd"
        "a count of completed requests is refused when it is larger than the ring";
    LOG_STRICT "log-strict" E "R-5.4" "twin of pcie-aer-logmax: QEMU PCIe AER, 5f691ff91d32"
        "a log that is full is refused";
    SHARED_STRICT "shared-vector-strict" E "R-5.4" "twin of fc-dup-gsi: Firecracker, 7342dd000929"
        "two causes with one vector are refused";
    MASKED_STRICT "masked-strict" E "R-5.4" "twin of slotsta-cmask: QEMU pcie, 625b370c45f4"
        "an interrupt that is pending and masked is refused";
}
