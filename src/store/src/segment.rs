//! Segment files by name: finding them, preparing them ahead, taking them into use, recycling them.

use crate::disk::{Disk, DiskFile, write_all_at};
use crate::format::SegmentHeader;
use model::ids::Lsn;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Zeroes written at once while a file is prepared.
const ZERO_CHUNK_BYTES: usize = 1024 * 1024;
/// Room set aside for a full disk: a few segments of the shortest kind.
const RESERVE_BYTES: u64 = 1024 * 1024;
/// The file that holds it.
const RESERVE: &str = "reserve";
/// Rest between two chunks in the background, so that commits come through.
const ZERO_PAUSE: Duration = Duration::from_millis(2);

/// One segment of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number, which is also its file's name.
    pub no: u64,
    /// Its first record is here or later.
    pub first_lsn: Lsn,
    /// The first place behind it; for the segment being written, where that has come to.
    pub end_lsn: Lsn,
    /// Size of its file.
    pub bytes: u64,
}

/// Name of segment `no`.
pub(crate) fn segment_name(no: u64) -> String {
    format!("{no:016x}.log")
}

/// What a file in a log's directory is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileRole {
    Segment(u64),
    Spare(u64),
    /// A spare that was not finished.
    Unfinished,
    Other,
}

pub(crate) fn role(name: &str) -> FileRole {
    let number = |text: &str, radix| u64::from_str_radix(text, radix).ok();
    if let Some(hex) = name.strip_suffix(".log").filter(|hex| hex.len() == 16) {
        return number(hex, 16).map_or(FileRole::Other, FileRole::Segment);
    }
    match name.strip_prefix("spare-") {
        Some(rest) if rest.ends_with(".tmp") => FileRole::Unfinished,
        Some(rest) => number(rest, 10).map_or(FileRole::Other, FileRole::Spare),
        None => FileRole::Other,
    }
}

/// Files ready to become segments. At most `max`, all of `bytes` length.
pub(crate) struct Spares {
    dir: PathBuf,
    bytes: u64,
    max: usize,
    ready: Mutex<Vec<PathBuf>>,
    next: AtomicU64,
    stop: AtomicBool,
    /// The reserve is there, as far as is known.
    reserved: AtomicBool,
}

impl Spares {
    pub(crate) fn new(dir: &Path, bytes: u64, max: usize) -> Self {
        Self {
            dir: dir.to_owned(),
            bytes,
            max,
            ready: Mutex::new(Vec::new()),
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            reserved: AtomicBool::new(false),
        }
    }

    fn ready(&self) -> std::sync::MutexGuard<'_, Vec<PathBuf>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fresh_path(&self) -> PathBuf {
        self.dir.join(format!("spare-{}", self.next.fetch_add(1, Ordering::Relaxed)))
    }

    /// Takes over what an earlier run left, as far as it is of use.
    pub(crate) fn adopt(&self, disk: &dyn Disk, names: &[String]) -> io::Result<()> {
        for name in names {
            let path = self.dir.join(name);
            match role(name) {
                FileRole::Spare(number) => {
                    self.next.fetch_max(number.saturating_add(1), Ordering::Relaxed);
                    if disk.open_read(&path)?.size()? == self.bytes && self.offer(&path) {
                        continue;
                    }
                    disk.remove(&path)?;
                }
                FileRole::Unfinished => disk.remove(&path)?,
                FileRole::Other if name == RESERVE => self.reserved.store(true, Ordering::Relaxed),
                FileRole::Segment(_) | FileRole::Other => {}
            }
        }
        Ok(())
    }

    /// Puts a file on the pile; false when there are enough.
    fn offer(&self, path: &Path) -> bool {
        let mut ready = self.ready();
        let room = ready.len() < self.max;
        if room {
            ready.push(path.to_owned());
        }
        room
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ready().is_empty()
    }

    fn take(&self) -> Option<PathBuf> {
        self.ready().pop()
    }

    /// Ends preparation in the background.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Makes one spare of written zeroes: overwriting them later changes no metadata, which makes each sync of the
    /// log two to three times as fast as one that has to allocate.
    pub(crate) fn prepare(&self, disk: &dyn Disk) -> io::Result<()> {
        let path = self.fresh_path();
        let unfinished = path.with_extension("tmp");
        let made = self.zero(disk, &unfinished).and_then(|()| disk.rename(&unfinished, &path));
        if made.is_err() || self.stop.load(Ordering::Relaxed) || !self.offer(&path) {
            let _ = disk.remove(if made.is_ok() { &path } else { &unfinished });
        }
        made
    }

    fn zero(&self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        let file = disk.create(path)?;
        let mut at = 0;
        while at < self.bytes && !self.stop.load(Ordering::Relaxed) {
            at += zero_chunk(file.as_ref(), at, self.bytes)?;
            file.fdatasync()?;
            std::thread::sleep(ZERO_PAUSE);
        }
        Ok(())
    }

    /// True when a segment of this length could be begun.
    pub(crate) fn has_room(&self, disk: &dyn Disk, bytes: u64) -> bool {
        if bytes <= self.bytes && !self.is_empty() {
            return true;
        }
        let path = self.fresh_path().with_extension("tmp");
        let tried = disk.create(&path).and_then(|file| file.allocate(bytes));
        let removed = disk.remove(&path);
        tried.is_ok() && removed.is_ok()
    }

    fn reserve_path(&self) -> PathBuf {
        self.dir.join(RESERVE)
    }

    /// Sets a little room aside for when there is none: what empties a full disk must be logged too.
    pub(crate) fn keep_reserve(&self, disk: &dyn Disk) {
        if self.reserved.swap(true, Ordering::Relaxed) {
            return;
        }
        let path = self.reserve_path();
        let there = disk.open_read(&path).and_then(|file| file.size());
        if there.is_ok_and(|bytes| bytes >= RESERVE_BYTES) {
            return;
        }
        let made = disk.create(&path).and_then(|file| file.allocate(RESERVE_BYTES));
        if made.is_err() {
            self.use_reserve(disk);
        }
    }

    /// Gives the room back that was set aside; false when there is none.
    pub(crate) fn use_reserve(&self, disk: &dyn Disk) -> bool {
        self.reserved.swap(false, Ordering::Relaxed) && disk.remove(&self.reserve_path()).is_ok()
    }

    /// Puts a file that is no segment any more on the pile, or removes it.
    pub(crate) fn recycle(&self, disk: &dyn Disk, path: &Path, bytes: u64) -> io::Result<()> {
        if bytes != self.bytes || self.ready().len() >= self.max {
            return disk.remove(path);
        }
        let spare = self.fresh_path();
        disk.rename(path, &spare)?;
        self.offer(&spare);
        Ok(())
    }

    /// Makes segment `header.no` exist with its header, safely on the disk. `bytes` is how long it must be at
    /// least; a spare is used when one is long enough. Gives back the header as written, with the length.
    pub(crate) fn begin_segment(
        &self,
        disk: &dyn Disk,
        header: SegmentHeader,
        bytes: u64,
    ) -> io::Result<(Box<dyn DiskFile>, SegmentHeader)> {
        let spare = if bytes <= self.bytes { self.take() } else { None };
        let (path, file, bytes) = match spare {
            Some(path) => {
                let file = disk.open(&path)?;
                (path, file, self.bytes)
            }
            None => {
                let path = self.fresh_path();
                let file = disk.create(&path)?;
                self.fill(disk, &path, file.as_ref(), bytes)?;
                (path, file, bytes)
            }
        };
        let header = SegmentHeader { bytes, ..header };
        let block = header.encode();
        write_all_at(file.as_ref(), &mut [IoSlice::new(&block)], 0)?;
        file.fdatasync()?;
        disk.rename(&path, &self.dir.join(segment_name(header.no)))?;
        disk.sync_dir(&self.dir)?;
        Ok((file, header))
    }

    /// Gives a new file its length: small ones by zeroes at once, large ones by reservation.
    fn fill(&self, disk: &dyn Disk, path: &Path, file: &dyn DiskFile, bytes: u64) -> io::Result<()> {
        const ZERO_AT_ONCE_BYTES_MAX: u64 = 8 * 1024 * 1024;
        let write = || {
            file.allocate(bytes)?;
            let mut at = 0;
            while bytes <= ZERO_AT_ONCE_BYTES_MAX && at < bytes {
                at += zero_chunk(file, at, bytes)?;
            }
            Ok(())
        };
        write().inspect_err(|_| {
            // A full disk: what was reserved so far is of no use.
            let _ = disk.remove(path);
        })
    }
}

fn zero_chunk(file: &dyn DiskFile, at: u64, end: u64) -> io::Result<u64> {
    static ZEROES: [u8; ZERO_CHUNK_BYTES] = [0; ZERO_CHUNK_BYTES];
    let count = (ZERO_CHUNK_BYTES as u64).min(end - at);
    let chunk = ZEROES.get(..count as usize).unwrap_or_default();
    write_all_at(file, &mut [IoSlice::new(chunk)], at)?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_name() {
        let check = |name: &str, expected: FileRole| assert_eq!(role(name), expected, "{name}");
        check(&segment_name(255), FileRole::Segment(255));
        check("00000000000000ff.log", FileRole::Segment(255));
        check("ff.log", FileRole::Other);
        check("spare-12", FileRole::Spare(12));
        check("spare-12.tmp", FileRole::Unfinished);
        check("spare-x", FileRole::Other);
        check("lock", FileRole::Other);
    }
}
