//! Faults of the block device.

use crate::devices::fault::faults;

faults! {
    QUEUES_FROM_STATE "ahci-ports-varray" A "R-6.4" "QEMU ahci, CVE-2013-4526, ae2158ad6ce0"
        "the number of queues is taken from the state, and the queues are not";
    LOG_LENGTH_WRAPS "mlx5-track-maxmsg" A "R-6.5" "Linux vfio mlx5, b3060198483b"
        "a length is too wide for its type on the way to the log of written memory";
    SPAN_WRAPS "vfu-region-wrap" A "R-6.4" "libvfio-user, 3602ad8f6ebb"
        "sector and sectors of a request wrap around in the check of their sum";
    SELECTED_UNCHECKED "virtio-queue-sel" A "R-6.4" "QEMU virtio, CVE-2013-6399, 4b53c2c72cb5"
        "the selected queue is loaded unchecked, and used at the next access";
    HEAD_UNCHECKED "ssi-sd-arglen" A "R-6.4" "QEMU ssi-sd, CVE-2013-4537, a9c380db3b8c"
        "the place of the next event is loaded unchecked";
    LENGTHS_UNCHECKED "usb-setup-len" A "R-6.4" "QEMU usb, CVE-2013-4541, 9f8e9895c504"
        "how long a transfer is and how far it came are loaded unchecked";
    WHOLE_TRANSFER_REFUSED "usb-postload-fixup" A "R-5.4" "QEMU usb, 719ffe1f5f72"
        "a transfer that is at its end and not completed is refused";
    RING_SIZE_UNCHECKED "lsi-msglen" A "R-6.4" "QEMU lsi53c895a, e58ccf039650"
        "the length of a ring is loaded unchecked, and written to later";
    REQUEST_QUEUE_UNCHECKED "dpdk-inflight-qnum" A "R-6.4" "DPDK vhost, 6442c329b9d2"
        "the queue of a request in flight is loaded unchecked";
    LOG_SIZE_UNCHECKED "qemu-vhost-log-size" A "R-6.7" "QEMU vhost, 240e647a14df"
        "the log of written memory is as large as an address in the state says";
    BUFFERS_LEAK "mlx5-pages-leak" A "R-6.2" "Linux vfio mlx5, 22e87bf3f77c"
        "buffers that a save had taken are not given back when it fails";

    ADDRESS_INFERRED "virtio1-rings" C "R-1.4" "QEMU virtio, 74aae7b22b"
        "only the page of a ring's address is saved, as the old layout had it";
    HALF_ADDRESS_FORGOTTEN "virtio-pci-setup-regs" C "R-1.4" "QEMU virtio-pci, a6df8adf3e"
        "half an address, written while a queue is set up, is not saved";
    USERS_NOT_COUNTED "spdk-cq-refs" C "R-1.4" "SPDK, 945a2e7b766a"
        "the users of the interrupt line are not counted anew after a load";
    INDEX_WRAP_FORGOTTEN "virtio-inuse" C "R-1.4" "QEMU virtio, bccdef6b1a20 and e66bcc408146"
        "how many requests were completed is computed anew without wrapping around";
    CURRENT_FORGOTTEN "ahci-curcmd" C "R-1.4" "QEMU ahci, c27c73aaf924"
        "the request that was being transferred is not found again after a load";
    QUEUE_FORGOTTEN "vblk-mq-rq" C "R-1.4" "QEMU virtio-blk, 30d8bf6d171b"
        "requests in flight are saved without their queue";
    FIRST_TAG_CLEARED "spdk-inflight-default" C "R-1.4" "SPDK vhost, issue 3766"
        "on a queue that completed nothing yet, the request with tag 0 is taken for completed";
    LOST_ON_RECONFIGURE "dpdk-vdpa-blk-drop" C "R-1.4" "DPDK, b90574b10e81"
        "setting up the second queue drops what the first has in flight";
    KICK_FORGOTTEN "ch-eventfd-kick" C "R-1.4" "Cloud Hypervisor, 3e3008f3657c; crosvm, 9d7cd0454b7d"
        "after a load nobody looks at the queues until the next doorbell";
    SIGNAL_FORGOTTEN "hisi-eqe" C "R-1.4" "Linux vfio hisi_acc, 3495cec07877"
        "completions whose interrupt was not raised yet never raise it";
    FIRST_KICK_LOST "spdk-doorbell-window" C "R-1.4" "SPDK, eb0305e0e6ec"
        "a doorbell between the load and the first look at the queues is lost";
    STALE_INDEX_SAVED "dataplane-vring" C "R-1.4" "QEMU virtio-blk, 10a06fd65f"
        "the index of submitted requests is saved as it was when the device started";
    OFFER_OVERWRITTEN "crosvm-acked-vs-avail" C "R-1.4" "crosvm, 07baa786f678"
        "the features that were agreed on overwrite those on offer";
    COMPLETED_FOR_SUBMITTED "dpdk-vringbase-used" C "R-1.4" "DPDK, 90bb22a197ab"
        "the index of completed requests is saved in place of that of submitted ones";
    SIGNALS_TAKEN_EARLY "fc-async-order" C "R-6.5" "Firecracker, 67ba7a20692a"
        "which interrupts are pending is taken when PRE_COPY begins";
    CACHE_KEPT "ch-qcow2-meta" C "R-1.4" "Cloud Hypervisor, b68e7f3d911c; crosvm, 49794f44d"
        "the cache is not written back when the device stops";
    COMPLETED_FORGOTTEN "vdpasim-usedidx" C "R-1.4" "Linux vdpa_sim, b4cca6d48eb3"
        "a load leaves the index of completed requests as a fresh device has it";
    INDEX_FROM_MEMORY "ch-vdpa-base" C "R-1.4" "Cloud Hypervisor, aef0a43b52c2"
        "the index of submitted requests is read from guest memory that is not there yet";

    CACHE_RESET "vnet-offloads-reset" D "R-1.4" "QEMU virtio-net, 7788c3f2e2"
        "features are applied after the load, and the cache mode is what they begin with";
    OLD_FEATURES_CHECKED "virtio-lowfeatures" D "R-1.4" "QEMU virtio, 62cee1a28aad"
        "whether a request in flight is allowed is judged by features that are not loaded yet";
    MASK_NOT_RESTORED "ch-movebar" D "R-6.2" "Cloud Hypervisor, e38c5c434 and e65cca3bf"
        "interrupts are masked for a flush, and stay so when it fails";
    WORKERS_STAY_PARKED "qemu-inactivate-partial" D "R-6.2" "QEMU block, 403d18ae3842 and 6dab4c93ecfa"
        "where one worker can't be parked, those before it stay parked";

    VERSION_COMPARED "esp-eq-version" E "R-1.4" "QEMU esp, 0bcd5a1894"
        "the cache mode, there since level 1, is saved where the level equals 1";
    HOST_FEATURE_OFFERED "vsock-seqpacket" E "R-1.4" "QEMU vhost-vsock, d6a9378f47"
        "a feature is offered where the host has it";
    FEATURE_DROPPED "fc-notif-suppress" E "R-1.4" "Firecracker, a9732918290b"
        "the old representation drops a newer feature that is in use";
    SIGNAL_COMPARED "slotsta-cmask" E "R-5.4" "QEMU pcie, 625b370c45f4"
        "pending interrupts are compared with those of the destination";
    OVERHANGING_RING_REFUSED "guest-pin" E "R-5.4" "QEMU virtio, d68cdae30eef"
        "a ring that the guest put across the end of memory is refused";
    FREE_INDEX_REFUSED "crosvm-vringbase-bound" E "R-5.4" "crosvm, 7067de23bcbd"
        "an index that runs freely is refused where it is beyond the ring";
    NEW_FEATURE_REFUSED "fc-kvmcaps" E "R-5.4" "Firecracker, 56aeeac51c00"
        "the features of a state are compared with the default ones";
    HOST_FEATURE_REFUSED "vhost-unknown-feature" E "R-5.4" "rust-vmm vhost, 7554d06ff4db"
        "a host that offers a feature nobody knows is refused";
    BUSY_REFUSED "full-queue-strict" E "R-5.4" "twin of lsi-msglen: QEMU lsi53c895a, e58ccf039650"
        "as many requests in flight as there are slots are refused";

    FEATURES_UNCHECKED "virtio-features-unchecked" F "R-6.4" "QEMU virtio, 6d74ca5aa83b"
        "features are loaded that were never on offer";
    FEATURES_FORGOTTEN "crosvm-vu-features" F "R-1.4" "crosvm, 430ab9de830b and 18ba2061e"
        "after a load, features are agreed on anew with the default ones";
    CAPACITY_UNCHECKED "fc-pmem-size" F "R-6.4" "Firecracker, bf433f8689e0"
        "the capacity in the state is not compared with that of the disk";
    NEW_KIND_SKIPPED "fc-vhostuser-ignored" F "R-1.4" "Firecracker, a6b64fcb58d9"
        "the old representation leaves out requests of the new kind";
    NEW_KIND_CRASHES "vgpu-blob-block" F "R-5.4" "QEMU virtio-gpu, 9c549ab6895a"
        "a request of the new kind can't be saved in the old representation, and nobody said so";
    NOTHING_IS_FINE "hisi-zero-qp" F "R-1.4" "Linux vfio hisi_acc, c3cbc276c2a3"
        "where the host can't tell what the disk is, the load ends without an error";
    HOST_POINTERS_SAVED "vblk-host-ptr" F "R-1.4" "QEMU virtio-blk, b6a4805b55b4"
        "requests in flight are saved with addresses of this host";
    PADDING_SAVED "virtqueue-elem-raw" F "R-1.1" "QEMU virtio, 36cf2a37132c and 3c3ce981423e"
        "empty slots are saved with what happens to be in them";

    TRACKER_KEPT "mlx5-precopy-leave" G "R-6.2" "Linux vfio mlx5, 6de042240b0f"
        "a pre-copy that is given up goes on tracking, and the next can't begin";
    REPLY_NOT_READ "ch-missing-response" G "R-1.4" "Cloud Hypervisor, cf6763dfdb0f"
        "nobody reads whether a page of the log was put in place";
    LOG_ERROR_IGNORED "vfio-dirtylog-err" G "R-1.4" "QEMU vfio, 236e0a45f5"
        "where changes can't be tracked, PRE_COPY goes on without";
    FLUSH_OVERWRITTEN "qemu-retval-overwritten" G "R-1.4" "QEMU, 2c36076a1153 and e502202c9b"
        "the result of the flush is overwritten by that of what comes after it";
    SOURCE_RECONNECTS "ch-source-reconnect" G "R-6.2" "Cloud Hypervisor, db444715fd36 and c85aa6dfae43"
        "a source that was saved goes back to the disk, and writes what it had read at first";
    LEFT_PAUSED "spdk-paused-subsys" G "R-6.2" "SPDK, 63f6d50b5b86"
        "queues stay paused after a migration that was given up";
    ONLY_FIRST_PARKED "spdk-quiesce-io" G "R-6.1" "SPDK, 667809a4aecb and 0a153e8af4d7"
        "only the first queue is stopped";
    TRANSFER_GOES_ON "ch-async-torn" G "R-6.1" "Cloud Hypervisor, 50f2fd369f3f"
        "a read that has begun goes on writing guest memory after the stop";
    LOG_ENDS_EARLY "vhost-log-early-zero" G "R-6.5" "QEMU vhost, 5c0ba1be3718"
        "the log of written memory ends when the device stops, before it was read";
    LOGS_FIRST_QUEUE "vhost-log-mq" G "R-6.5" "QEMU vhost, 25a2a920dddc and e05ca8200216"
        "only the first queue logs what it writes to guest memory";
    LOGS_NO_LENGTH "vblk-dirty-len" G "R-6.5" "QEMU virtio-blk, 2a6cdd6d3515"
        "what was written is logged with a length of nothing";
    LOGS_WITHOUT_BASE "vfu-dirty" G "R-6.5" "libvfio-user, 6037d88be862 and 4cc22bfd12ab"
        "an offset is logged as if it were an address";
    SAVE_WRITES_MEMORY "ch-dirty-after-state" G "R-6.5" "Cloud Hypervisor, 7042922e839c and c194f63cf45d"
        "saving the device writes to guest memory when its log is closed";
}
