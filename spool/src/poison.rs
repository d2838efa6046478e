//! Remembers at which record a start died, so that a record that makes two starts die is passed over by the third. The
//! note lies in a mapped file: it survives the process, whatever ended it. It refuses to judge records otherwise.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use mail::RecordId;
use rustc_hash::FxHashSet;

use crate::mmap::Mark;
use crate::segment::QUARANTINE;

/// The note: three little-endian numbers of eight bytes. Where the start is now (zero: nowhere), where the last one that
/// did not come to its end was, and how many of those ended there in a row.
const NOTE: &str = "starting";
/// Ending of the copies of records that are passed over.
pub(crate) const POISON: &str = "poison";
/// As many starts must die at a record before it is passed over.
const DEATHS: u64 = 2;

/// Watches one start of a log.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    note: PathBuf,
    /// `None` when the note cannot be kept: then nothing is learnt from this start.
    mark: Option<Mark>,
    /// Positions of records that are passed over.
    poisoned: FxHashSet<u64>,
}

impl Watch {
    /// Begins to watch a start of the log in `directory`.
    pub(crate) fn begin(directory: &Path) -> Self {
        let note = directory.join(NOTE);
        let mut poisoned = known(&directory.join(QUARANTINE));
        let [at, suspect, deaths] = read(&note);
        let (suspect, deaths) = match at {
            0 => (suspect, deaths),
            _ if at == suspect => (at, deaths + 1),
            _ => (at, 1),
        };
        if deaths >= DEATHS {
            poisoned.insert(suspect);
        }
        let mark = write(&note, [0, suspect, deaths]).and_then(|file| Mark::map(&file)).ok();
        Self { note, mark, poisoned }
    }

    /// The record at `position` is next.
    pub(crate) fn at(&mut self, position: u64) {
        if let Some(mark) = &mut self.mark {
            mark.set(position);
        }
    }

    /// Whether the record at `position` is to be passed over.
    pub(crate) fn is_poisoned(&self, position: u64) -> bool {
        !self.poisoned.is_empty() && self.poisoned.contains(&position)
    }

    /// The start has come to its end.
    pub(crate) fn end(self) {
        drop(self.mark);
        // Should it stay, it names no record that anything dies at.
        let _ = fs::remove_file(&self.note);
    }
}

/// Positions of the records of which the quarantine has copies because they were passed over.
fn known(quarantine: &Path) -> FxHashSet<u64> {
    let Ok(entries) = fs::read_dir(quarantine) else { return FxHashSet::default() };
    let poisoned = |path: PathBuf| {
        let is_poison = path.extension().is_some_and(|ending| ending == POISON);
        let id: RecordId = path.file_stem().filter(|_| is_poison)?.to_str()?.parse().ok()?;
        Some(id.position())
    };
    entries.flatten().filter_map(|entry| poisoned(entry.path())).collect()
}

fn read(note: &Path) -> [u64; 3] {
    let bytes = fs::read(note).unwrap_or_default();
    let number = |index: usize| {
        let bytes = bytes.get(index * 8..index * 8 + 8)?.try_into().ok()?;
        Some(u64::from_le_bytes(bytes))
    };
    [0, 1, 2].map(|index| number(index).unwrap_or(0))
}

fn write(note: &Path, numbers: [u64; 3]) -> std::io::Result<File> {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(note)?;
    file.write_all(&numbers.map(u64::to_le_bytes).concat())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A start that dies at the record at `position`.
    fn die_at(directory: &Path, position: u64) -> Watch {
        let mut watch = Watch::begin(directory);
        watch.at(position - 16);
        watch.at(position);
        watch
    }

    #[test]
    fn only_a_record_at_which_two_starts_in_a_row_died_is_passed_over() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let there = directory.path();
        assert!(!die_at(there, 4096).is_poisoned(4096));
        assert!(!die_at(there, 8192).is_poisoned(4096));
        assert!(!die_at(there, 4096).is_poisoned(4096));
        die_at(there, 4096);
        let watch = Watch::begin(there);
        assert!(watch.is_poisoned(4096) && !watch.is_poisoned(8192));
        watch.end();
        let watch = Watch::begin(there);
        assert!(!watch.is_poisoned(4096), "unless a copy was kept, a sound start clears it");
        watch.end();
        assert!(!there.join(NOTE).exists());
    }
}
