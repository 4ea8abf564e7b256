//! The store: one checksummed, segmented, append-only log per worker.
//!
//! Owns: how records lie on the disk, group commit, recovery after a crash, reuse of segment files, and the
//! [`disk::Disk`] port with its two implementations. Refuses: what the records mean (that is the engine's fold over
//! them), clocks beyond stamping a batch, and guessing around damage: what was synced and can not be read any more
//! stops the start.

mod codec;
mod commit;
pub mod disk;
mod error;
mod facts;
mod format;
mod group;
mod inspect;
mod log;
mod options;
mod pages;
mod recovery;
mod repair;
mod salvage;
mod scan;
mod sealed;
mod segment;
mod shared;
mod shelf;
mod snapshots;
mod spans;
mod standing;
mod writer;

#[cfg(test)]
mod tests;

pub use codec::{message_bytes, message_from};
pub use error::{AppendError, StoreError};
pub use inspect::{FileReport, Inspection, SegmentReport, inspect};
pub use log::{Batch, LocalLog, WorkerLog, definitions};
pub use options::{CodecLookup, LogOptions};
pub use pages::Pages;
pub use recovery::{Recovery, Stage, TornTail};
pub use repair::{Repair, repair};
pub use salvage::Stretch;
pub use segment::SegmentInfo;
