//! Page files: stretches of messages outside of the log, one file each. Owns the files and their numbers; which of them
//! are needed, the owner of the messages says.

use crate::disk::Disk;
use crate::error::StoreError;
use crate::options::CodecLookup;
use crate::recovery;
use crate::sealed::{self, Extent, Kind, SealedHeader};
use model::record::{Page, Record};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Name of the file of page `no`.
pub(crate) fn page_name(no: u64) -> String {
    format!("{no:016x}.page")
}

/// The number in the name of a page file.
pub(crate) fn page_number(name: &str) -> Option<u64> {
    let hex = name.strip_suffix(".page").filter(|hex| hex.len() == 16)?;
    u64::from_str_radix(hex, 16).ok()
}

/// The page files of one worker.
pub struct Pages {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    codecs: CodecLookup,
    next: AtomicU64,
    /// Of the log in the directory above; found when it is first needed, because that makes it.
    log_id: OnceLock<u64>,
}

impl Pages {
    /// The pages in `dir`, which is made when it is not there and lies in the directory of the worker's log. Changes no
    /// page. Errors: the disk.
    pub fn open(dir: &Path, disk: Arc<dyn Disk>, codecs: CodecLookup) -> Result<Self, StoreError> {
        disk.create_dir(dir).map_err(StoreError::io("create", dir))?;
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            disk.sync_dir(parent).map_err(StoreError::io("sync", parent))?;
        }
        let pages =
            Self { dir: dir.to_owned(), disk, codecs, next: AtomicU64::new(1), log_id: OnceLock::new() };
        pages.numbers()?.into_iter().for_each(|no| pages.reserve(no));
        Ok(pages)
    }

    fn numbers(&self) -> Result<Vec<u64>, StoreError> {
        let names = self.disk.list(&self.dir).map_err(StoreError::io("list", &self.dir))?;
        Ok(names.iter().filter_map(|name| page_number(name)).collect())
    }

    fn path(&self, no: u64) -> PathBuf {
        self.dir.join(page_name(no))
    }

    fn log_id(&self) -> u64 {
        let find = || recovery::identity(self.disk.as_ref(), self.dir.parent()?).ok()?;
        *self.log_id.get_or_init(|| find().map_or(0, |(log_id, _)| log_id))
    }

    /// New pages get numbers above this one.
    pub fn reserve(&self, no: u64) {
        self.next.fetch_max(no.saturating_add(1), Ordering::Relaxed);
    }

    /// Writes a page; file and directory are synced when this returns. Gives its number and the length of the file.
    /// Errors: the disk, also a full one ([`StoreError::is_full`]); then nothing is left of the file.
    pub fn write(&self, records: &[Record]) -> Result<(u64, u64), StoreError> {
        let no = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.path(no);
        let names = (self.log_id(), no);
        let bytes = sealed::write(self.disk.as_ref(), &path, Kind::Page, names, records)?;
        if let Err(error) = self.disk.sync_dir(&self.dir) {
            self.remove(no);
            return Err(StoreError::io("sync", &self.dir)(error));
        }
        Ok((no, bytes))
    }

    /// Reads a page. Errors: anything about it that is not as it was written is [`StoreError::Damaged`], with the file
    /// and the place; a newer format or protocol; the disk.
    pub fn read(&self, page: &Page) -> Result<Vec<Record>, StoreError> {
        let path = self.path(page.no);
        let (file, header) = sealed::open(self.disk.as_ref(), &path, Kind::Page, page.no)?;
        self.compare(&path, page, &header)?;
        let records = sealed::records(&path, (file.as_ref(), &header), &self.codecs)?;
        if Extent::of(&records) != header.extent {
            return Err(StoreError::damaged(&path, 0, "it holds other messages than it says"));
        }
        Ok(records)
    }

    /// Whether the file of a page is there, and is the one meant, by its first block and its length. Errors: as
    /// [`Pages::read`].
    pub fn check(&self, page: &Page) -> Result<(), StoreError> {
        let path = self.path(page.no);
        let (_, header) = sealed::open(self.disk.as_ref(), &path, Kind::Page, page.no)?;
        self.compare(&path, page, &header)
    }

    fn compare(&self, path: &Path, page: &Page, header: &SealedHeader) -> Result<(), StoreError> {
        if header.log_id != self.log_id() {
            return Err(StoreError::damaged(path, 16, "this page belongs to another log"));
        }
        if header.bytes != page.file_bytes {
            let what = format!("it is {} bytes long, the log says {}", header.bytes, page.file_bytes);
            return Err(StoreError::damaged(path, 32, what));
        }
        let Extent { first, messages, .. } = header.extent;
        if first != page.first || messages != page.count {
            let what = format!(
                "it holds {messages} messages from {first} on, the log says {} from {}",
                page.count, page.first
            );
            return Err(StoreError::damaged(path, 44, what));
        }
        Ok(())
    }

    /// Removes a page; fine when it is not there. What can not be removed is found again at the next start.
    pub fn remove(&self, no: u64) {
        let path = self.path(no);
        match self.disk.remove(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(path = %path.display(), %error, "could not remove a page"),
        }
    }

    /// Removes every page that is not needed: what a crash left between writing and noting, or noting and removing.
    pub fn retain(&self, needed: &dyn Fn(u64) -> bool) {
        match self.numbers() {
            Ok(numbers) => numbers.into_iter().filter(|no| !needed(*no)).for_each(|no| self.remove(no)),
            Err(error) => tracing::warn!(%error, "could not look for pages that are not needed"),
        }
    }
}
