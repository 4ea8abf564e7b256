//! A disk in memory that remembers what was synced, and can show what a power loss would have left.

use super::{Disk, DiskFile, LockError};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Unit in which unsynced content is lost or kept.
const BLOCK_BYTES: usize = 4096;

/// A simulated disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Clone, Default)]
struct State {
    files: HashMap<u64, Content>,
    names: BTreeMap<PathBuf, u64>,
    /// What `names` was at the last sync of the directories, and what was done since, in order.
    synced_names: BTreeMap<PathBuf, u64>,
    renames: Vec<NameChange>,
    next_file: u64,
    locks: BTreeSet<PathBuf>,
    random: u64,
    clock_ms: u64,
    operations: u64,
    cut_at: Option<u64>,
    image: Option<Box<State>>,
    fail_syncs: bool,
    full: bool,
}

/// A file's bytes now, and the blocks that differ from what was synced, as they were then.
#[derive(Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    synced_len: usize,
    before: BTreeMap<usize, Vec<u8>>,
}

#[derive(Clone)]
enum NameChange {
    Link(PathBuf, u64),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl SimDisk {
    /// An empty disk whose random numbers begin at `seed`.
    pub fn new(seed: u64) -> Self {
        let disk = Self::default();
        disk.state().random = seed;
        disk
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes carried out so far: writes, syncs, creations, renames, removals.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Remembers the state just before change number `at` (from 0), for [`SimDisk::image`].
    pub fn cut_at(&self, at: u64) {
        self.state().cut_at = Some(at);
    }

    /// The cut has happened.
    pub fn is_cut(&self) -> bool {
        self.state().image.is_some()
    }

    /// A disk as a power loss at the cut (or now, without one) may have left it. `seed` chooses which of the unsynced
    /// blocks, lengths and name changes had reached the platters: 0 none, 1 all, others at random. Name changes
    /// survive in order, as on a journaling file system; blocks in any.
    pub fn image(&self, seed: u64) -> SimDisk {
        let state = self.state();
        let mut image = state.image.as_deref().cloned().unwrap_or_else(|| state.clone());
        let mut dice = Dice(seed);
        let survivors = dice.up_to(image.renames.len());
        let mut names = std::mem::take(&mut image.synced_names);
        image.renames.drain(..).take(survivors).for_each(|change| change.apply(&mut names));
        image.files.retain(|file, _| names.values().any(|named| named == file));
        let mut in_order: Vec<_> = image.files.iter_mut().collect();
        in_order.sort_unstable_by_key(|(file, _)| **file);
        in_order.into_iter().for_each(|(_, content)| content.crash(&mut dice));
        let next = State {
            files: image.files,
            synced_names: names.clone(),
            names,
            next_file: image.next_file,
            random: image.random ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            clock_ms: image.clock_ms,
            ..State::default()
        };
        SimDisk(Arc::new(Mutex::new(next)))
    }

    /// From now on syncing fails.
    pub fn fail_syncs(&self) {
        self.state().fail_syncs = true;
    }

    /// From now on, or no more, creating and reserving fails for want of room.
    pub fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    /// All files with their lengths, by name.
    pub fn files(&self) -> Vec<(PathBuf, usize)> {
        let state = self.state();
        let bytes = |file| state.files.get(file).map_or(0, |content| content.bytes.len());
        state.names.iter().map(|(path, file)| (path.clone(), bytes(file))).collect()
    }

    /// Flips one bit of a file, behind everybody's back. Does nothing outside the file.
    pub fn flip(&self, path: &Path, byte: usize, bit: u8) {
        let mut state = self.state();
        let Some(file) = state.names.get(path).copied() else { return };
        let content = state.files.get_mut(&file);
        if let Some(byte) = content.and_then(|content| content.bytes.get_mut(byte)) {
            *byte ^= 1 << (bit & 7);
        }
    }

    /// Shortens a file, behind everybody's back.
    pub fn truncate(&self, path: &Path, bytes: usize) {
        let mut state = self.state();
        let Some(file) = state.names.get(path).copied() else { return };
        if let Some(content) = state.files.get_mut(&file) {
            content.bytes.truncate(bytes);
            content.synced_len = content.synced_len.min(bytes);
            content.before.clear();
        }
    }

    fn open_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = self.state().names.get(path).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimFile { disk: self.clone(), file }))
    }
}

/// Random choices of one crash.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn up_to(&mut self, max: usize) -> usize {
        match self.0 {
            0 => 0,
            1 => max,
            _ => (self.roll() % (max as u64 + 1)) as usize,
        }
    }
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            NameChange::Link(path, file) => {
                names.insert(path, file);
            }
            NameChange::Unlink(path) => {
                names.remove(&path);
            }
            NameChange::Rename(from, to) => {
                if let Some(file) = names.remove(&from) {
                    names.insert(to, file);
                }
            }
        }
    }
}

impl Content {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        for block in offset / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES) {
            let from = (block * BLOCK_BYTES).min(self.bytes.len());
            let to = (from + BLOCK_BYTES).min(self.bytes.len());
            let now = self.bytes.get(from..to).unwrap_or_default();
            self.before.entry(block).or_insert_with(|| now.to_vec());
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        if let Some(place) = self.bytes.get_mut(offset..end) {
            place.copy_from_slice(bytes);
        }
    }

    fn sync(&mut self) {
        self.before.clear();
        self.synced_len = self.bytes.len();
    }

    /// Undoes what did not survive.
    fn crash(&mut self, dice: &mut Dice) {
        if dice.up_to(1) == 0 {
            self.bytes.truncate(self.synced_len);
        }
        let len = self.bytes.len();
        for (block, before) in std::mem::take(&mut self.before) {
            if dice.up_to(1) == 1 {
                continue;
            }
            let from = (block * BLOCK_BYTES).min(len);
            let to = (from + BLOCK_BYTES).min(len);
            let mut old = before;
            old.resize(to - from, 0);
            if let Some(lost) = self.bytes.get_mut(from..to) {
                lost.copy_from_slice(&old);
            }
        }
        self.synced_len = len;
    }
}

impl State {
    /// Counts a change, after remembering the state before it when that is the one to cut at.
    fn change(&mut self) {
        if self.cut_at == Some(self.operations) && self.image.is_none() {
            self.image = Some(Box::new(State { image: None, ..self.clone() }));
        }
        self.operations += 1;
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        if state.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.change();
        let file = state.next_file;
        state.next_file += 1;
        state.files.insert(file, Content::default());
        state.names.insert(path.to_owned(), file);
        state.renames.push(NameChange::Link(path.to_owned(), file));
        drop(state);
        Ok(Box::new(SimFile { disk: self.clone(), file }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open_file(path)
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change();
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let change = NameChange::Rename(from.to_owned(), to.to_owned());
        change.clone().apply(&mut state.names);
        state.renames.push(change);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change();
        state.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        state.renames.push(NameChange::Unlink(path.to_owned()));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change();
        state.synced_names = state.names.clone();
        state.renames.clear();
        Ok(())
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Send + Sync>, LockError> {
        if !self.state().locks.insert(path.to_owned()) {
            return Err(LockError::Held("another".to_owned()));
        }
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_owned() }))
    }

    fn lock_holder(&self, path: &Path) -> Option<String> {
        self.state().locks.contains(path).then(|| "another".to_owned())
    }

    fn random(&self) -> u64 {
        let mut state = self.state();
        let mut dice = Dice(state.random);
        let rolled = dice.roll();
        state.random = dice.0;
        rolled
    }

    fn wall_ms(&self) -> u64 {
        let mut state = self.state();
        state.clock_ms += 1;
        state.clock_ms
    }
}

struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state().locks.remove(&self.path);
    }
}

struct SimFile {
    disk: SimDisk,
    file: u64,
}

impl SimFile {
    fn with<T>(&self, act: impl FnOnce(&mut Content) -> T) -> io::Result<T> {
        self.disk.state().files.get_mut(&self.file).map(act).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        self.with(|content| content.bytes.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|content| {
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(content.bytes.len());
            let there = content.bytes.get(from..).unwrap_or_default();
            let count = buf.len().min(there.len());
            if let (Some(to), Some(from)) = (buf.get_mut(..count), there.get(..count)) {
                to.copy_from_slice(from);
            }
            count
        })
    }

    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.disk.state().change();
        self.with(|content| {
            let mut at = offset as usize;
            for part in parts {
                content.write(part, at);
                at += part.len();
            }
            at - offset as usize
        })
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.change();
        drop(state);
        self.with(|content| content.bytes.resize((bytes as usize).max(content.bytes.len()), 0))
    }

    fn fdatasync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.fail_syncs {
            return Err(io::Error::other("sync failed"));
        }
        state.change();
        drop(state);
        self.with(Content::sync)
    }
}
