//! Group commit as plain sequential code: records in, bytes synced. No thread and no queue; the writer adds those.

use crate::codec;
use crate::disk::{Disk, DiskFile, write_all_at};
use crate::error::is_full;
use crate::format::{BATCH_FRAME_BYTES, BatchMark, HEADER_BYTES, SegmentHeader, frame_bytes};
use crate::group::Group;
use crate::options::LogOptions;
use crate::segment::{SegmentInfo, segment_name};
use crate::shared::Shared;
use model::ids::Lsn;
use model::record::Record;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Length of a segment on a disk that has no room for a longer one.
const SHORT_SEGMENT_BYTES: u64 = 256 * 1024;

/// The writing end of a log.
pub(crate) struct Committer {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) options: LogOptions,
    pub(crate) shared: Arc<Shared>,
    pub(crate) file: Box<dyn DiskFile>,
    /// Of the segment being written.
    pub(crate) header: SegmentHeader,
    /// Place in its file where the next group goes.
    pub(crate) offset: u64,
    /// This opening of the log.
    pub(crate) epoch: u32,
    /// Oldest segment still needed.
    pub(crate) first_segment: u64,
    pub(crate) group: Group,
    /// End of the last record written.
    pub(crate) records_end: u64,
    /// What the last batch frame vouches for.
    pub(crate) vouched: u64,
    /// What the owner gave up; snapshots may hold it back.
    pub(crate) unneeded: Lsn,
}

/// A commit that can not succeed.
#[derive(Debug)]
pub(crate) enum CommitError {
    /// What was written may or may not be on the disk; going on could confirm what is lost.
    Fatal(io::Error),
    /// The disk is full and the log is closing.
    GivenUp(io::Error),
}

impl Committer {
    /// Where the next frame goes.
    pub(crate) fn end(&self) -> u64 {
        self.header.base + (self.offset - HEADER_BYTES)
    }

    /// Every record is synced, and a later batch frame says so.
    pub(crate) fn is_settled(&self) -> bool {
        self.vouched >= self.records_end
    }

    /// Everything written is synced, and nothing is held back for the next flush.
    pub(crate) fn is_synced(&self) -> bool {
        self.group.is_empty() && self.shared.durable() >= self.end()
    }

    /// Writes records, in order, without syncing them.
    pub(crate) fn write(&mut self, records: &[Record]) -> Result<(), CommitError> {
        for record in records {
            self.room_for(codec::frame_bytes_max(record) as u64)?;
            codec::encode(record, &mut self.group);
        }
        Ok(())
    }

    /// Writes a record that is encoded already.
    pub(crate) fn write_encoded(&mut self, kind: u8, payload: &[u8]) -> Result<(), CommitError> {
        self.room_for(frame_bytes(payload.len()) as u64)?;
        self.group.begin_frame(kind);
        self.group.head().extend_from_slice(payload);
        self.group.end_frame();
        Ok(())
    }

    /// Makes sure that a group is begun that has room for so many bytes.
    fn room_for(&mut self, bytes_max: u64) -> Result<(), CommitError> {
        let group_bytes = self.group.len() as u64;
        let full = group_bytes + bytes_max > self.options.commit_bytes_max as u64
            || self.offset + group_bytes + bytes_max > self.header.bytes;
        if full && !self.group.is_empty() {
            self.flush()?;
        }
        if self.group.is_empty() {
            self.begin_group(bytes_max)?;
        }
        Ok(())
    }

    /// Begins a group with room for a frame of `bytes_max`, in a new segment when this one has none left.
    pub(crate) fn begin_group(&mut self, bytes_max: u64) -> Result<(), CommitError> {
        let needed = BATCH_FRAME_BYTES as u64 + bytes_max;
        if self.offset + needed > self.header.bytes {
            self.roll(HEADER_BYTES + needed)?;
        }
        let durable = self.shared.durable();
        let mark = BatchMark {
            durable,
            wall_ms: self.disk.wall_ms(),
            first_segment: self.first_segment,
            records: 0,
        };
        self.group.begin(self.header.salt, self.epoch, self.end(), mark);
        self.vouched = durable;
        Ok(())
    }

    /// Hands the group to the operating system.
    pub(crate) fn flush(&mut self) -> Result<(), CommitError> {
        if self.group.is_empty() {
            return Ok(());
        }
        self.group.seal();
        let (group, file, offset) = (&self.group, self.file.as_ref(), self.offset);
        self.shared.patiently(&self.options, || write_all_at(file, &mut group.io_slices(), offset))?;
        let has_records = self.group.len() > BATCH_FRAME_BYTES;
        self.offset += self.group.len() as u64;
        self.group.clear();
        let end = self.end();
        if has_records {
            self.records_end = end;
            self.shared.end.store(end, Ordering::Relaxed);
        }
        if let Some(current) = self.shared.segments().back_mut() {
            current.end_lsn = Lsn(end);
        }
        Ok(())
    }

    /// Returns once everything written is on the disk.
    pub(crate) fn sync(&mut self) -> Result<(), CommitError> {
        self.flush()?;
        if !self.is_synced() {
            self.file.fdatasync().map_err(CommitError::Fatal)?;
            self.shared.set_durable(self.end());
        }
        Ok(())
    }

    /// Syncs what nobody waited for, and adds a frame that vouches for all that was synced, so that damage to it
    /// can be told from a torn tail.
    pub(crate) fn settle(&mut self) -> Result<(), CommitError> {
        self.sync()?;
        if !self.is_settled() {
            self.mark()?;
        }
        Ok(())
    }

    /// Writes and syncs a group without records.
    pub(crate) fn mark(&mut self) -> Result<(), CommitError> {
        self.sync()?;
        self.begin_group(0)?;
        self.sync()
    }

    /// Ends this segment and begins the next one, at least `bytes_min` long.
    fn roll(&mut self, bytes_min: u64) -> Result<(), CommitError> {
        // The next header says that all of this segment was synced.
        self.sync()?;
        let header = SegmentHeader {
            salt: self.disk.random() as u32,
            no: self.header.no + 1,
            base: self.end(),
            epoch: self.epoch,
            created_ms: self.disk.wall_ms(),
            ..self.header
        };
        let wanted = self.header.bytes.saturating_mul(2).min(self.options.segment_bytes);
        let wanted = wanted.max(self.shared.cramped.load(Ordering::Relaxed)).max(bytes_min);
        let begin = || self.shared.begin_segment(self.disk.as_ref(), header, wanted, bytes_min);
        let (file, header) = self.shared.patiently(&self.options, begin)?;
        (self.file, self.header, self.offset) = (file, header, HEADER_BYTES);
        let info = SegmentInfo {
            no: header.no,
            first_lsn: Lsn(header.base),
            end_lsn: Lsn(header.base),
            bytes: header.bytes,
        };
        self.shared.segments().push_back(info);
        Ok(())
    }

    /// Gives up whole segments that end at or below `below`, as far as two snapshots make up for them, now or after
    /// a later call. That they are not needed is synced before the first of them goes.
    pub(crate) fn trim(&mut self, below: Lsn) -> Result<(), CommitError> {
        self.unneeded = self.unneeded.max(below);
        let below = self.unneeded.min(self.shared.trim_limit());
        let current = self.header.no;
        let unneeded: Vec<SegmentInfo> = {
            let segments = self.shared.segments();
            segments.iter().take_while(|info| info.no < current && info.end_lsn <= below).copied().collect()
        };
        let Some(last) = unneeded.last() else { return Ok(()) };
        self.sync()?;
        self.first_segment = self.first_segment.max(last.no + 1);
        self.mark()?;
        for info in &unneeded {
            self.shared.segments().pop_front();
            let path = self.dir.join(segment_name(info.no));
            if let Err(error) = self.shared.spares.recycle(self.disk.as_ref(), &path, info.bytes) {
                // It is left behind and found again at the next start.
                tracing::warn!(path = %path.display(), %error, "could not remove a log segment");
            }
        }
        // Before a recycled file is written to, its old name must be gone for good.
        self.disk.sync_dir(&self.dir).map_err(CommitError::Fatal)
    }
}

impl Shared {
    /// Begins a segment of the wanted length, or a short one when there is no room for that: settlements must find
    /// room on a full disk, because they are what empties it.
    fn begin_segment(
        &self,
        disk: &dyn Disk,
        header: SegmentHeader,
        wanted: u64,
        bytes_min: u64,
    ) -> io::Result<(Box<dyn DiskFile>, SegmentHeader)> {
        let short = bytes_min.max(SHORT_SEGMENT_BYTES);
        match self.spares.begin_segment(disk, header, wanted) {
            Err(error) if is_full(&error) && short < wanted => {
                self.warn_of_full_disk(wanted, &error);
                self.spares.begin_segment(disk, header, short).or_else(|error| {
                    if is_full(&error) && self.spares.use_reserve(disk) {
                        return self.spares.begin_segment(disk, header, short);
                    }
                    Err(error)
                })
            }
            other => other.inspect(|_| self.has_room(disk)),
        }
    }

    /// Publishers are to wait until there is room for `wanted` bytes.
    pub(crate) fn warn_of_full_disk(&self, wanted: u64, error: &io::Error) {
        if self.cramped.swap(wanted, Ordering::Relaxed) == 0 {
            tracing::error!(%error, "the disk is nearly full: publishers wait until there is room");
        }
    }

    /// Ends the alarm when there is room for a segment of normal length again.
    pub(crate) fn look_for_room(&self, disk: &dyn Disk) {
        let wanted = self.cramped.load(Ordering::Relaxed);
        if wanted > 0 && self.spares.has_room(disk, wanted) {
            self.has_room(disk);
        }
    }

    fn has_room(&self, disk: &dyn Disk) {
        self.spares.keep_reserve(disk);
        if self.cramped.swap(0, Ordering::Relaxed) > 0 {
            tracing::info!("the disk has room again");
        }
    }

    /// Carries out an operation that allocates, waiting while the disk is full.
    fn patiently<T>(
        &self,
        options: &LogOptions,
        mut operation: impl FnMut() -> io::Result<T>,
    ) -> Result<T, CommitError> {
        loop {
            let error = match operation() {
                Ok(done) => {
                    if self.disk_full.swap(false, Ordering::Relaxed) {
                        tracing::info!("the disk has room again");
                    }
                    return Ok(done);
                }
                Err(error) => error,
            };
            if !is_full(&error) {
                return Err(CommitError::Fatal(error));
            }
            if !self.disk_full.swap(true, Ordering::Relaxed) {
                tracing::error!(%error, "the disk is full: nothing is confirmed until there is room");
            }
            if self.closing.load(Ordering::Relaxed) {
                return Err(CommitError::GivenUp(error));
            }
            std::thread::sleep(options.full_retry);
        }
    }
}
