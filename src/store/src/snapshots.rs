//! Snapshots: the state that the records below an Lsn add up to, in a file of its own. The two newest are kept, so that
//! damage to one of them costs nothing; the log is trimmed only below the older one.

use crate::disk::Disk;
use crate::error::StoreError;
use crate::options::CodecLookup;
use crate::sealed::{self, Kind};
use crate::shared::Shared;
use model::ids::Lsn;
use model::record::Record;
use std::path::{Path, PathBuf};

/// Valid snapshots kept.
const KEPT: usize = 2;

/// The directory of the snapshots of the log in `dir`.
pub(crate) fn snapshots_dir(dir: &Path) -> PathBuf {
    dir.join("snapshots")
}

fn snapshot_name(at: u64) -> String {
    format!("{at:016x}.snap")
}

fn snapshot_lsn(name: &str) -> Option<u64> {
    let hex = name.strip_suffix(".snap").filter(|hex| hex.len() == 16)?;
    u64::from_str_radix(hex, 16).ok()
}

/// Lsns and files of all snapshots of the log in `dir`, the newest first, valid or not.
pub(crate) fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<(u64, PathBuf)>, StoreError> {
    let dir = snapshots_dir(dir);
    let names = match disk.list(&dir) {
        Ok(names) => names,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("list", &dir)(error)),
    };
    let found = names.iter().filter_map(|name| Some((snapshot_lsn(name)?, dir.join(name))));
    let mut found: Vec<_> = found.collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found)
}

/// What the snapshots of a log have to say at its start.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Lsns of the valid ones that the log reaches back to, ascending.
    pub(crate) valid: Vec<Lsn>,
    /// Where the newest one is, and what it holds.
    pub(crate) newest: Option<(Lsn, Vec<Record>)>,
    /// The log was synced at least up to here.
    pub(crate) synced: u64,
    /// Why the others do not count.
    pub(crate) damage: Vec<StoreError>,
}

impl Found {
    /// Where what counts begins to be in the log.
    pub(crate) fn at(&self) -> Lsn {
        self.newest.as_ref().map_or(Lsn(0), |(at, _)| *at)
    }
}

/// Reads the snapshots of the log `log_id` in `dir`, which begins at `first`. `all`: also checks those that are not
/// used. Errors: a newer format or protocol; the disk. Damage is part of the answer.
pub(crate) fn find(
    disk: &dyn Disk,
    dir: &Path,
    (log_id, first): (u64, u64),
    codecs: &CodecLookup,
    all: bool,
) -> Result<Found, StoreError> {
    let mut found = Found::default();
    for (at, path) in list(disk, dir)? {
        if found.newest.is_some() && !all {
            break;
        }
        match examine(disk, &path, at, log_id, &mut found.synced) {
            // The log was trimmed past it: left behind by a crash.
            Ok(()) if at < first => continue,
            Ok(()) => {}
            Err(error @ StoreError::Damaged { .. }) => {
                found.damage.push(error);
                continue;
            }
            Err(error) => return Err(error),
        }
        if found.newest.is_none() {
            let (file, header) = sealed::open(disk, &path, Kind::Snapshot, at)?;
            let records = sealed::records(&path, (file.as_ref(), &header), codecs)?;
            found.newest = Some((Lsn(at), records));
        }
        found.valid.insert(0, Lsn(at));
    }
    let surplus = found.valid.len().saturating_sub(KEPT);
    found.valid.drain(..surplus);
    Ok(found)
}

/// Whether a snapshot is there whole; notes how far it vouches for the log.
fn examine(disk: &dyn Disk, path: &Path, at: u64, log_id: u64, synced: &mut u64) -> Result<(), StoreError> {
    let (file, header) = sealed::open(disk, path, Kind::Snapshot, at)?;
    if header.log_id != log_id {
        return Err(StoreError::damaged(path, 16, "this snapshot belongs to another log"));
    }
    *synced = (*synced).max(at);
    sealed::frames(path, (file.as_ref(), &header), &mut |_, _, _| Ok(()))
}

/// Writes a snapshot; it counts once this returns. Gives the length of its file. Errors: the disk; then it does not
/// count and nothing else has changed.
pub(crate) fn put(
    disk: &dyn Disk,
    dir: &Path,
    log_id: u64,
    at: Lsn,
    records: &[Record],
) -> Result<u64, StoreError> {
    let snapshots = snapshots_dir(dir);
    disk.create_dir(&snapshots).map_err(StoreError::io("create", &snapshots))?;
    disk.sync_dir(dir).map_err(StoreError::io("sync", dir))?;
    let path = snapshots.join(snapshot_name(at.0));
    let unfinished = path.with_extension("tmp");
    let bytes = sealed::write(disk, &unfinished, Kind::Snapshot, (log_id, at.0), records)?;
    disk.rename(&unfinished, &path).map_err(StoreError::io("rename", &unfinished))?;
    disk.sync_dir(&snapshots).map_err(StoreError::io("sync", &snapshots))?;
    Ok(bytes)
}

/// Removes all files of snapshots but those at `kept`. What can not be removed stays for the next time.
fn tidy(disk: &dyn Disk, dir: &Path, kept: &[Lsn]) {
    let dir = snapshots_dir(dir);
    for name in disk.list(&dir).unwrap_or_default() {
        let unneeded = match snapshot_lsn(&name) {
            Some(at) => !kept.contains(&Lsn(at)),
            None => name.ends_with(".tmp"),
        };
        if unneeded && let Err(error) = disk.remove(&dir.join(&name)) {
            tracing::warn!(path = %dir.join(&name).display(), %error, "could not remove a snapshot");
        }
    }
}

impl Shared {
    /// A snapshot was put: from now on it counts, and only the two newest are kept.
    pub(crate) fn note_snapshot(&self, disk: &dyn Disk, dir: &Path, at: Lsn) {
        let kept = {
            let mut valid = self.snapshots();
            valid.retain(|kept| *kept != at);
            valid.push(at);
            valid.sort_unstable();
            let surplus = valid.len().saturating_sub(KEPT);
            valid.drain(..surplus);
            valid.clone()
        };
        tidy(disk, dir, &kept);
    }
}

/// Where trimming must stop: at the older one of two.
pub(crate) fn trim_limit(valid: &[Lsn]) -> Lsn {
    if valid.len() < KEPT { Lsn(0) } else { valid.first().copied().unwrap_or(Lsn(0)) }
}
