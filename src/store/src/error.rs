//! What can go wrong with a log, in sentences for the operator.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a log can not be opened or read.
#[derive(Debug)]
pub enum StoreError {
    /// The operating system said no.
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Another process uses the directory.
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Process id written in it, as text; empty when it could not be read.
        holder: String,
    },
    /// Written by a later release.
    Newer {
        /// The file.
        path: PathBuf,
        /// What in it is newer.
        what: String,
    },
    /// What was safely on the disk can not be read any more.
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it, bytes from its start.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// No sealed segment has this number.
    NoSegment(u64),
}

impl StoreError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
        move |source| StoreError::Io { doing, path: path.to_owned(), source }
    }

    /// There was no room for it on the disk.
    pub fn is_full(&self) -> bool {
        matches!(self, StoreError::Io { source, .. } if is_full(source))
    }

    pub(crate) fn damaged(path: &Path, offset: u64, what: impl Into<String>) -> StoreError {
        StoreError::Damaged { path: path.to_owned(), offset, what: what.into() }
    }
}

/// No room, of the disk or of a quota.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The data directory that a file is in: what the directory of its worker is in.
fn data_dir(path: &Path) -> &Path {
    let is_worker =
        |dir: &&Path| dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with("worker-"));
    path.ancestors().find(is_worker).and_then(Path::parent).or(path.parent()).unwrap_or(path)
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Io { doing, path, source } => {
                write!(f, "could not {doing} {}: {source}", path.display())
            }
            StoreError::Locked { path, holder } => write!(
                f,
                "{} is held by process {}: another broker uses this data directory; stop it or choose another \
                 directory",
                path.display(),
                if holder.is_empty() { "unknown" } else { holder }
            ),
            StoreError::Newer { path, what } => write!(
                f,
                "{} was written by a newer release ({what}): start that release, or restore an older copy of the \
                 data directory",
                path.display()
            ),
            StoreError::Damaged { path, offset, what } => write!(
                f,
                "{} is damaged at byte {offset}: {what}. This had been stored safely before, so the broker does \
                 not go on without it. Restore the data directory from a copy, or save what is left: waystation \
                 repair {}",
                path.display(),
                data_dir(path).display()
            ),
            StoreError::NoSegment(no) => write!(f, "no sealed segment numbered {no}"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let StoreError::Io { source, .. } = self { Some(source) } else { None }
    }
}

/// Why a batch was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// The log is closed or closing.
    Closed,
    /// A record is longer than 1 GiB; nothing of the batch was taken.
    TooLarge,
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AppendError::Closed => "the log is closed",
            AppendError::TooLarge => "the record is too large for the log",
        })
    }
}

impl std::error::Error for AppendError {}
