//! The port to the disk: exactly the operations that the log needs, and nothing that it could get wrong elsewhere.
//!
//! A file's content is safe after [`DiskFile::fdatasync`], its name after [`Disk::sync_dir`]; neither implies the other.

mod real;
mod sim;

pub use real::RealDisk;
pub use sim::SimDisk;

use std::io::{self, IoSlice};
use std::path::Path;

/// A directory tree, and the two things besides files that a log takes from its surroundings.
pub trait Disk: Send + Sync {
    /// Makes a directory and its parents; fine when it is there.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes a file for reading and writing, emptying one that is there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file for reading.
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Renames within one file system, replacing what is there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Names of the files in a directory, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes creations, renames and removals in a directory safe.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes a lock that ends with the returned value or with the process, whichever is first.
    fn lock(&self, path: &Path) -> Result<Box<dyn Send + Sync>, LockError>;

    /// What the holder of a lock left in its file, when somebody has it. Takes nothing and changes nothing.
    fn lock_holder(&self, path: &Path) -> Option<String>;

    /// 64 random bits, for salts.
    fn random(&self) -> u64;

    /// Wall clock, milliseconds since the Unix epoch. Only noted in the files, never decided upon.
    fn wall_ms(&self) -> u64;
}

/// Why a lock was not given.
#[derive(Debug)]
pub enum LockError {
    /// Somebody has it; the text that the holder left in the file, which is its process id.
    Held(String),
    /// Could not ask.
    Io(io::Error),
}

/// One open file. Positions are explicit; there is no cursor.
pub trait DiskFile: Send + Sync {
    /// Length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Reads into `buf` from `offset`; fewer bytes than asked for only at the end of the file or on a whim.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes the parts one after another from `offset`; says how many bytes it took, which may be fewer.
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Reserves room up to `bytes`, which becomes the length. Content that was not written reads as zeroes.
    fn allocate(&self, bytes: u64) -> io::Result<()>;

    /// Returns once everything written is on the disk.
    fn fdatasync(&self) -> io::Result<()>;
}

/// Writes all parts from `offset`. Parts are consumed as they are written.
pub(crate) fn write_all_at(file: &dyn DiskFile, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
    let (mut rest, mut at) = (parts, offset);
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match file.write_at(rest, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                at = at.saturating_add(count as u64);
                IoSlice::advance_slices(&mut rest, count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads until `buf` is full or the file ends; says how many bytes there were.
pub(crate) fn read_full_at(file: &dyn DiskFile, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
