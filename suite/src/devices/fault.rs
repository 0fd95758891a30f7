//! Faults that can be planted in the reference devices: a row each, and one place in a device.

/// The faults planted in one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults(u128);

impl Faults {
    /// Plants one.
    pub fn plant(&mut self, fault: Fault) {
        self.0 |= 1 << fault as u32;
    }

    /// Whether it is planted.
    pub fn has(self, fault: Fault) -> bool {
        self.0 & 1 << fault as u32 != 0
    }
}

/// A fault, and what there is to say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Stable name: `builtin:nic+NAME`.
    pub id: &'static str,
    /// Where it is planted.
    pub fault: Fault,
    /// The requirement that it breaks.
    pub breaks: &'static str,
    /// What is wrong, in one sentence.
    pub what: &'static str,
}

macro_rules! faults {
    ($($fault:ident $id:literal $breaks:literal $what:literal)*) => {
        /// A place in a device where something can be wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Fault {
            $(#[doc = $what] $fault,)*
        }

        /// Every fault, by chapter.
        pub static FAULTS: &[Row] = &[
            $(Row { id: $id, fault: Fault::$fault, breaks: $breaks, what: $what },)*
        ];
    };
}

faults! {
    MaskForgotten "mask-forgotten" "R-1.4" "the interrupt mask is not saved"
    PendingForgotten "pending-forgotten" "R-1.4" "an interrupt that was not delivered yet is not saved"
    IndexForgotten "index-forgotten" "R-1.4" "the index of an index/data pair is not saved"
    RingIndexForgotten "ring-index-forgotten" "R-1.4" "a ring index that no register shows is not saved"
    InFlightLost "in-flight-lost" "R-1.4" "packets that were submitted and not sent yet are not saved"
    FilterStale "filter-stale" "R-1.4" "the look-up table made from the receive filter is not made anew after a load"
    MacSwapped "mac-swapped" "R-1.4" "both halves of the address are saved in the wrong order"
    LinkForcedUp "link-forced-up" "R-1.4" "the link is up after a load, whatever the state says"
    FilterLostOnSecond "filter-lost-on-second" "R-1.1" "a device that was loaded does not save the receive filter"
    LoadedOnce "loaded-once" "R-1.1" "a flag of the first load makes the next one a no-op"
    OtherSetupAccepted "other-setup-accepted" "R-3.3" "the configuration in the state is taken over instead of compared"
    OffWritesSection "off-writes-section" "R-3.4" "the section of a parameter is written though it is off"
    OffShows "off-shows" "R-3.4" "a register tells the release, so that an old driver sees a new device"
    VersionRefused "version-refused" "R-4.1" "the oldest described version can't be started"
    VersionDrift "version-drift" "R-4.2" "the newest release gives a published version another meaning"
    UnknownAccepted "unknown-accepted" "R-4.3" "unknown parameters and values are ignored at start"
    CulpritUnnamed "culprit-unnamed" "R-4.3" "the error of a refused start says only that something is invalid"
    LatestRefused "latest-refused" "R-4.4" "the latest configuration can't be started"
    NewestLevelSaved "newest-level-saved" "R-4.5" "a newer release saves rings in its newest form, whatever level it runs at"
    DescribesTooLittle "describes-too-little" "R-5.2" "the description leaves out a value that start and load take"
    DescribeDisturbs "describe-disturbs" "R-5.3" "asking for the description takes the link of running instances down"
    DescribesTooMuch "describes-too-much" "R-5.4" "the largest number of queues starts and can't be loaded"
    WorksInStop "works-in-stop" "R-6.1" "a stopped device goes on sending"
    SaveDelivers "save-delivers" "R-6.2" "saving takes pending interrupts away"
    StopForgetsQueues "stop-forgets-queues" "R-6.2" "queues that stopping stopped are not started again"
    CancelKeepsSession "cancel-keeps-session" "R-6.2" "a pre-copy that was given up is taken for the first pass of the next"
    RefusalRuns "refusal-runs" "R-6.3" "a device that refuses a state goes to RUNNING"
    RefusalSticks "refusal-sticks" "R-6.3" "after one refused state, every state is refused"
    RefusalSurvivesReset "refusal-survives-reset" "R-6.4" "packet memory of a refused state survives the reset"
    PlainFormat "plain-format" "R-6.4" "the state has no checksums: damage is loaded"
    FieldsUnchecked "fields-unchecked" "R-6.4" "fields of the state are used without a check"
    CutAccepted "cut-accepted" "R-6.4" "what is missing at the end is taken for zeros"
    TailIgnored "tail-ignored" "R-6.4" "bytes after the end are ignored"
    TailApplied "tail-applied" "R-6.4" "bytes after the end are taken for packet memory"
    ErrorSwallowed "error-swallowed" "R-6.4" "a state that can't be decoded is logged, and the load goes on"
    LoadMerges "load-merges" "R-6.4" "a load adds to what the device had"
    StalePrecopy "stale-precopy" "R-6.5" "packet memory that the device wrote after it was first read is not sent again"
    PrecopyConsumes "precopy-consumes" "R-6.5" "registers are sent in PRE_COPY and not again"
    PieceLost "piece-lost" "R-6.6" "a piece of less than four bytes is dropped"
    ShortReadTruncates "short-read-truncates" "R-6.6" "what doesn't fit into a small read is dropped"
    ReservesClaims "reserves-claims" "R-6.7" "memory is reserved on the word of a length"
    FreshStopped "fresh-stopped" "R-7.1" "a fresh device is in STOP"
    ArcMissing "arc-missing" "R-7.2" "STOP_COPY to RUNNING is refused"
    StateUnreported "state-unreported" "R-7.2" "PRE_COPY is entered and RUNNING reported"
    IllegalArc "illegal-arc" "R-7.2" "STOP_COPY to PRE_COPY is done"
    ErrorRequested "error-requested" "R-7.3" "ERROR can be asked for"
    JudgedLate "judged-late" "R-7.4" "a state is judged when the device is to run, not at STOP"
    EmptyAccepted "empty-accepted" "R-7.4" "a load of no bytes at all is accepted"
    ReadableOutside "readable-outside" "R-7.5" "the last session's bytes can be read again in STOP"
    SessionResumed "session-resumed" "R-7.5" "a second session goes on where the first was given up"
    EndForgotten "end-forgotten" "R-7.5" "after the end of the stream it begins again"
    ResetKeepsFilter "reset-keeps-filter" "R-7.6" "a reset leaves the receive filter as it was"
    ResetKeepsState "reset-keeps-state" "R-7.6" "a reset in RESUMING leaves the device there"
    EstimateNothing "estimate-nothing" "R-7.7" "the state is estimated at no bytes at all"
    InitDiffers "init-differs" "R-8.2" "without an option the parameter is not at its init value"
    AllowedRefused "allowed-refused" "R-8.3" "a value that is described can't be started"
    DescriptionUnstable "description-unstable" "R-8.3" "the description differs from one time to the next"
    ClockInState "clock-in-state" "R-1.1" "a count of saves is part of the state"
}
