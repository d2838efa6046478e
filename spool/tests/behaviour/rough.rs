//! A disk that fails when it is told to and loses power when it is told to. It keeps its files on a real file system, so
//! that they can be mapped, and remembers beside them what would be left after a power cut: of each file what was there
//! at the last sync that succeeded, of each directory the names. What was not synced may or may not be left, page by
//! page and name by name. After a failed sync the written pages count as clean, as on Linux: a later sync that
//! succeeds does not write them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use spool::{Disk, LocalDisk};

const PAGE: usize = 4096;

/// What can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    Create,
    Reserve,
    Write,
    Sync,
    SyncDirectory,
    Remove,
    Open,
    Rename,
}

impl Call {
    pub(crate) const ALL: [Self; 8] = [
        Self::Create,
        Self::Reserve,
        Self::Write,
        Self::Sync,
        Self::SyncDirectory,
        Self::Remove,
        Self::Open,
        Self::Rename,
    ];
}

/// Its state behind a lock: the spool uses it by shared reference.
#[derive(Debug, Default)]
pub(crate) struct RoughDisk {
    state: Mutex<State>,
    /// Of a write that fails, half arrives.
    tears: bool,
}

#[derive(Debug, Default)]
struct State {
    /// Calls that fail from now on: how many of each, and with which error of the system.
    failing: BTreeMap<Call, (u32, i32)>,
    /// What it says to be free, if not what is.
    free: Option<u64>,
    /// By inode.
    files: BTreeMap<u64, Durable>,
    /// Names that a power cut leaves, by directory.
    names: BTreeMap<PathBuf, BTreeMap<PathBuf, u64>>,
}

/// One file.
#[derive(Debug, Default)]
struct Durable {
    /// What a power cut leaves.
    bytes: Vec<u8>,
    /// What the system takes for written: pages that differ are dirty.
    clean: Vec<u8>,
}

pub(crate) const EIO: i32 = 5;
pub(crate) const ENOSPC: i32 = 28;

impl RoughDisk {
    /// One on which half arrives of a write that fails; otherwise nothing does.
    pub(crate) fn tearing() -> Self {
        Self { tears: true, ..Self::default() }
    }

    /// The next `count` calls of `call` fail with `error`.
    pub(crate) fn fail(&self, call: Call, count: u32, error: i32) {
        if count > 0 {
            self.state().failing.insert(call, (count, error));
        }
    }

    /// Says that so much is free.
    pub(crate) fn set_free(&self, bytes: u64) {
        self.state().free = Some(bytes);
    }

    /// Nothing fails any more.
    pub(crate) fn mend(&self) {
        self.state().failing.clear();
    }

    /// Leaves of `directory` (one of its own) what a power cut leaves; `chance` decides for each page and name that was
    /// not synced whether it is there.
    pub(crate) fn power_cut(&self, directory: &Path, mut chance: impl FnMut() -> bool) {
        let state = self.state();
        let now = listing(directory);
        let durable = state.names.get(directory).cloned().unwrap_or_default();
        let all: BTreeSet<&PathBuf> = now.keys().chain(durable.keys()).collect();
        let contents: BTreeMap<u64, Vec<u8>> = now
            .iter()
            .map(|(path, inode)| (*inode, state.left_of(*inode, &fs::read(path).unwrap(), &mut chance)))
            .collect();
        for path in all {
            let (synced, there) = (durable.get(path), now.get(path));
            let left = if synced == there || chance() { there } else { synced };
            let _ = fs::remove_file(path);
            // A file that was removed and whose removal is undone: what was synced of it.
            let lost =
                |inode: &u64| state.files.get(inode).map(|file| file.bytes.clone()).unwrap_or_default();
            if let Some(inode) = left {
                let bytes = contents.get(inode).cloned().unwrap_or_else(|| lost(inode));
                fs::write(path, bytes).unwrap();
            }
        }
        drop(state);
        // From here on everything that is left is on the disk.
        let mut state = self.state();
        state.files.clear();
        state.names.clear();
        for (path, inode) in listing(directory) {
            let bytes = fs::read(&path).unwrap();
            state.files.insert(inode, Durable { clean: bytes.clone(), bytes });
            state.names.entry(directory.to_owned()).or_default().insert(path, inode);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn check(&self, call: Call) -> io::Result<()> {
        let mut state = self.state();
        let Some((count, error)) = state.failing.get_mut(&call) else { return Ok(()) };
        let error = *error;
        *count -= 1;
        if *count == 0 {
            state.failing.remove(&call);
        }
        Err(io::Error::from_raw_os_error(error))
    }
}

impl State {
    /// What a power cut leaves of a file that is `now`.
    fn left_of(&self, inode: u64, now: &[u8], chance: &mut impl FnMut() -> bool) -> Vec<u8> {
        let nothing = Durable::default();
        let file = self.files.get(&inode).unwrap_or(&nothing);
        let mut left = now.to_vec();
        for (page, bytes) in left.chunks_mut(PAGE).enumerate() {
            let at = page * PAGE;
            let dirty = file.clean.get(at..at + bytes.len()) != Some(&*bytes);
            if !dirty || !chance() {
                match file.bytes.get(at..at + bytes.len()) {
                    Some(durable) => bytes.copy_from_slice(durable),
                    None => bytes.fill(0),
                }
            }
        }
        left
    }
}

impl Disk for RoughDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.check(Call::Create)?;
        LocalDisk.create(path)
    }

    fn reserve(&self, file: &File, bytes: u64) -> io::Result<()> {
        // Part of the space is taken also when it fails.
        LocalDisk.reserve(file, bytes / 2)?;
        self.check(Call::Reserve)?;
        LocalDisk.reserve(file, bytes)
    }

    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Err(error) = self.check(Call::Write) {
            let arrives = if self.tears { bytes.len() / 2 } else { 0 };
            LocalDisk.write(file, &bytes[..arrives], offset)?;
            return Err(error);
        }
        LocalDisk.write(file, bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let failed = self.check(Call::Sync);
        let metadata = file.metadata()?;
        let mut now = vec![0; usize::try_from(metadata.len()).unwrap()];
        std::os::unix::fs::FileExt::read_exact_at(file, &mut now, 0)?;
        let mut state = self.state();
        let known = state.files.entry(metadata.ino()).or_default();
        if failed.is_ok() {
            known.bytes.resize(now.len(), 0);
            for (page, bytes) in now.chunks(PAGE).enumerate() {
                let range = page * PAGE..page * PAGE + bytes.len();
                if known.clean.get(range.clone()) != Some(bytes) {
                    known.bytes[range].copy_from_slice(bytes);
                }
            }
        }
        known.clean = now;
        failed
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.check(Call::SyncDirectory)?;
        self.state().names.insert(directory.to_owned(), listing(directory));
        Ok(())
    }

    fn free(&self, directory: &Path) -> io::Result<u64> {
        self.state().free.map_or_else(|| LocalDisk.free(directory), Ok)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.check(Call::Remove)?;
        LocalDisk.remove(path)
    }

    fn writes_in_place(&self, _: &Path) -> bool {
        true
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        self.check(Call::Open)?;
        LocalDisk.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(Call::Rename)?;
        LocalDisk.rename(from, to)
    }
}

/// The segment files in `directory` and the spare one with their inodes.
fn listing(directory: &Path) -> BTreeMap<PathBuf, u64> {
    let entries = fs::read_dir(directory).unwrap().flatten();
    let files = entries
        .filter(|entry| entry.path().extension().is_some_and(|ending| ending == "seg" || ending == "spare"));
    files.map(|entry| (entry.path(), entry.metadata().unwrap().ino())).collect()
}
