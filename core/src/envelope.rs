//! Chapter: the envelope of a device state.

/// Why bytes are not a state that may be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadState {
    /// In the words of a device that doesn't use this envelope.
    #[error("{0}")]
    ByDevice(String),
    /// The stream ended too early.
    #[error("{wanted} more bytes were announced and {left} came")]
    Short {
        /// What a length announced.
        wanted: u64,
        /// What was there.
        left: usize,
    },
}
