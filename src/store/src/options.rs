//! What an operator may choose about a log, with the defaults.

use model::message::PropertyCodec;
use std::sync::Arc;
use std::time::Duration;

/// Finds the codec that wrote a message's properties by its tag; `None` for a tag that this build does not know.
pub type CodecLookup = Arc<dyn Fn(&str) -> Option<&'static dyn PropertyCodec> + Send + Sync>;

/// Settings of one log.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Size of a segment file in bytes, from which the log grows by renaming in a prepared one. A record that does
    /// not fit gets a larger file of its own.
    pub segment_bytes: u64,
    /// Size of the very first segment; each one after it is twice as large until `segment_bytes` is reached, so
    /// that a broker that stores little takes little. At most `segment_bytes`.
    pub first_segment_bytes: u64,
    /// Zeroed or recycled files kept ready, at most.
    pub spares_max: usize,
    /// Prepare a spare in the background once the current segment is a quarter full.
    pub prepare_spares: bool,
    /// Most bytes that one group commit takes from the queue (but at least one batch).
    pub commit_bytes_max: usize,
    /// What nobody waits for is synced this long after it was written; what was synced is vouched for by a later
    /// frame this long after the log fell idle.
    pub settle_after: Duration,
    /// How long to wait before another attempt to write to a full disk.
    pub full_retry: Duration,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 * 1024 * 1024,
            first_segment_bytes: 4 * 1024 * 1024,
            // A snapshot frees two segments at a time, and may be one or two late.
            spares_max: 4,
            prepare_spares: true,
            commit_bytes_max: model::limits::COMMIT_BYTES_MAX,
            settle_after: Duration::from_millis(100),
            full_retry: Duration::from_millis(500),
        }
    }
}
