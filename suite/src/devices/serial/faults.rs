//! Faults of the line.

use crate::devices::fault::faults;

faults! {
    TIMERS_UNCHECKED "hpet-num-timers" A "R-6.4" "QEMU hpet, CVE-2013-4527, 3f1c49e2136f"
        "the number of timers in a state bounds a loop over four of them";
    NEGATIVE_FITS "arm-cpreg-neglen" A "R-6.4" "QEMU target-arm, CVE-2013-4531, d2ef4b61fe6d"
        "a number of characters that is negative is not too large";
    RUN_WRAPS "spapr-htab-u16" A "R-5.4" "QEMU spapr, 338c25b692"
        "the length of a run wraps around in the byte it is saved in";
    SPEED_UNCHECKED "tsc210x-resolution" A "R-6.4" "QEMU tsc210x, CVE-2013-4539, 5193be3be35f"
        "an index into the table of speeds is loaded without a check";
    SAVE_OVERRUN "acpi-gpe-save-overrun" A "R-6.2" "QEMU acpi, d9a3b33d2c"
        "a save reads twice as many slots as there are";
    DIVISOR_UNCHECKED "cadence-uart-div0" A "R-6.4" "QEMU cadence_uart, 450aaae8638e"
        "the divisor is checked when it is written, and not when it is loaded";
    PART_TWICE "serial-double" B "R-3.4" "QEMU serial, f602d047ac"
        "a part of the state is saved by the device and by what it is a part of";
    PART_RENAMED "i440fx-idstr" B "R-5.4" "QEMU pc, 04c7d8b8dea7"
        "the name of a section was changed with that of a type";
    ENABLE_GUESSED "fc-uart" C "R-1.4" "Firecracker, 25d7066a8dc3"
        "which interrupts are enabled is not saved but guessed";
    TIMERS_FORGOTTEN "a9gtimer-regs" C "R-1.4" "QEMU a9gtimer, 432732b5e4"
        "registers of timers were added and are not saved";
    TICKS_DROPPED "ch-kvmclock-dropped" C "R-1.4" "Cloud Hypervisor, 324c924ca48d"
        "the tick counter is saved, and a load does not hand it on";
    TIMER_ARMED "i8254-timer" C "R-1.4" "QEMU i8254, c963fee4b0"
        "a load arms timers that have run down";
    SAVED_EARLY "fc-vsock-save-early" C "R-1.1" "Firecracker, 3acf37d3e837"
        "the guest is told of a save after its state was taken";
    SAVE_RAISES "e1000-presave-irq" C "R-1.4" "QEMU e1000, f46efa9b0895"
        "a save raises an interrupt that was not due yet";
    STOPPED_TIMER_STAYS "kvm-its-stale-ite" C "R-5.4" "Linux KVM vgic-its, 7602ffd1d5e8"
        "a timer that the guest stopped leaves an entry that no load accepts";
    RESET_TO_LOADED "ch-reset-after-restore" C "R-7.6" "Cloud Hypervisor, pull request 1120"
        "a reset after a load goes back to what was loaded";
    FIFOS_CLEARED "vnet-vlan-reset" D "R-1.4" "QEMU virtio-net, 06b636a1e2ad"
        "a later step of a load, another order of bytes, clears the FIFOs";
    DIVISOR_TOO_LATE "gicr-order" D "R-1.4" "Cloud Hypervisor, 8744162a0e94"
        "the divisor is loaded after the bit that locks it";
    COPY_LEFT_OVER "fc-snap-files-left" D "R-6.2" "Firecracker, 90891c616"
        "a save that fails leaves on the host what it began there, and nothing is sent any more";
    VERSION_IS_SIZE "wdt-sizeof-version" E "R-5.4" "QEMU i6300esb, c1990468d5"
        "the version of a section is the size of a type";
    VERSION_UNSET "esp-version-unset" E "R-5.4" "QEMU esp, ff4a1daba6"
        "the version of a section is set when the device first works";
    PART_OF_OTHER_VERSION "mos6522-version" E "R-5.4" "QEMU mos6522, 72ee08cf4f"
        "a part is saved with a version that its load does not know";
    VERSION_UNCHECKED "versionize-root-oob" E "R-6.4" "versionize, ab57ce23845e"
        "a version that is not known is an index into a table all the same";
    FIFO_GREW "esp-cmdbuf-size" E "R-5.4" "QEMU esp, cc96677469"
        "FIFOs are saved in the size of the newest release";
    PAGE_GREW "balloon-cfg-size" E "R-3.4" "QEMU virtio-balloon, 2bbadb08ce"
        "the page that identifies the device grew, also where nothing was added";
    SCRATCH_REMOVED "mptsas-removed-field" E "R-1.4" "QEMU mptsas, f077f88912"
        "a field is padded with zeros for older releases, which use it";
    VERSION_TWICE "rtl8139-v4prime" E "R-5.4" "QEMU rtl8139, 46fe8bef4d88"
        "the same version of a section was released with two layouts";
    FIX_UP_HOOKED "gicv3-shiftbug" E "R-1.4" "QEMU gicv3, 341823c17216"
        "a shift in old states is taken back only where a later part is there";
    OWN_AS_DEFAULT "kvmclock-default" E "R-6.4" "QEMU kvmclock, c2b01cfec1"
        "where the tick counter is left out, the device keeps its own";
    NO_DEFAULT "ch-amx-default" E "R-5.4" "Cloud Hypervisor, 0e52be0909ea"
        "a part that may be left out has no default";
    NEEDED_OF_SIBLING "acpi-index-macro" E "R-1.4" "QEMU acpi, a83c284490"
        "whether a part is saved is asked of its neighbour";
    NEEDED_BY_HOST "spapr-ov5" E "R-1.1" "QEMU spapr, 0550b1206a"
        "whether a part is saved depends on what the host can do";
    PART_MISSPELT "balloon-typo" E "R-1.4" "QEMU virtio-balloon, 243a9284a989"
        "a part is saved under a misspelt name, and what is not known is skipped";
    PARTS_REPLACED "dup-subsections" E "R-1.4" "QEMU ich9, 75d663611e"
        "a second list of parts replaces the first";
    PARTS_END_EARLY "null-needed" E "R-1.4" "QEMU vmstate, 6f4923fcad30"
        "a part that is always needed is taken for the end of the list";
    COMPAT_MISPLACED "uso-wrong-machine" E "R-4.2" "QEMU virtio-net, 9710401276a0"
        "what a release added is turned off for the version before the right one";
    COMPAT_ONE_OFF "use-disabled-flag" E "R-4.2" "QEMU virtio-pci, c126b4c57e"
        "what holds for a version holds for the next one too";
    STATUS_COMPARED "slotsta-cmask" E "R-5.4" "QEMU pcie, 625b370c45f4"
        "a load demands of status bits that they are as in a fresh device";
    TRIGGER_STRICT "trigger-strict" E "R-5.4" "twin of guest-pin: QEMU virtio, d68cdae30eef"
        "a load refuses a level that the guest may write and that means the nearest";
    FIFO_STRICT "fifo-bound-strict" E "R-5.4" "twin of arm-cpreg-neglen: QEMU target-arm, d2ef4b61fe6d"
        "a load refuses a FIFO that is full";
    SPEED_STRICT "speed-bound-strict" E "R-5.4" "twin of tsc210x-resolution: QEMU tsc210x, 5193be3be35f"
        "a load refuses the last entry of the table of speeds";
    DIVISOR_STRICT "divisor-strict" E "R-5.4" "twin of cadence-uart-div0: QEMU cadence_uart, 450aaae8638e"
        "a load refuses the smallest divisor";
    FEATURE_STRICT "feature-strict" E "R-5.4" "twin of vhost-unknown-feature: rust-vmm vhost, 7554d06ff4db"
        "a load fails on a host that can do more than the device uses";
    CLOCK_OF_HOST "tsc-freq" F "R-1.4" "Cloud Hypervisor, 44f200d67df7"
        "ticks are those of the host";
    IDENTITY_REGENERATED "hyperv-privs" F "R-5.4" "Cloud Hypervisor, pull request 8380"
        "what identifies the device is made anew from the host, and a state with less is refused";
    FIRMWARE_OF_HOST "romsize" F "R-1.4" "QEMU pci, 8eb85fb5ac"
        "the size of the firmware is that of the file on this host";
    MISMATCH_LOGGED "fc-vendor-log" F "R-6.4" "Firecracker, 87e857a58637"
        "a state of another vendor is logged, and the load goes on";
    CAP_FORGOTTEN "spapr-cap-forgotten" F "R-3.3" "QEMU spapr, 64d4a5343173"
        "a parameter was added and is not in what a state says of its configuration";
    ORDER_TOO_LATE "rng-biendian" F "R-5.4" "QEMU virtio-rng, db12451dec"
        "the FIFOs are loaded in an order of bytes that was not loaded yet";
    CLOCK_NOT_IDLE "crosvm-pvclock-fsm" G "R-6.2" "crosvm, 02c05d6c849d"
        "a device that never worked can't wake";
    OPEN_UNHEARD "open-unheard" G "R-1.4" ""
        "a load goes on though the line could not be opened, and nothing is sent any more";
    OPEN_STICKS "open-sticks" G "R-6.3" ""
        "a line that could not be opened once is taken for open, and every later load is refused";
    HELD_RESUMED "ch-paused-resumed" G "R-6.2" "Cloud Hypervisor, 5c93bcf2d708"
        "a transmitter that the guest held goes on after a migration that failed";
    HINTS_LEFT_OVER "balloon-sdone" G "R-6.2" "QEMU virtio-balloon, dd8eeb9671fc"
        "a pre-copy that was given up is not told of its end, and what it took for free stays free";
    WOKEN_BY_SAVE "crosvm-spurious-wake" G "R-6.2" "crosvm, a9aa81df27cc"
        "the end of a save wakes the device";
    GATE_ARMED "fc-rx-gate" G "R-6.2" "Firecracker, a34d51c93357"
        "a device that was stopped and not loaded waits for an event that nobody sends";
}
