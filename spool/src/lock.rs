//! One engine per data directory: a lock file held for as long as the engine runs. The kernel releases it however
//! the engine ends, so there is nothing to clean after a crash.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use crate::error::SpoolError;

/// Keeps a data directory to one engine until it is dropped.
#[derive(Debug)]
pub struct SpoolLock {
    _held: File,
}

impl SpoolLock {
    /// Takes `data_dir/lock`, creating the directory if need be, and writes the process id into it.
    ///
    /// # Errors
    /// [`SpoolError::InUse`] names the process that holds it; [`SpoolError::Io`] when the file cannot be made.
    pub fn acquire(data_dir: &Path) -> Result<Self, SpoolError> {
        fs::create_dir_all(data_dir).map_err(|error| SpoolError::io("create", data_dir, error))?;
        let path = data_dir.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| SpoolError::io("open", &path, error))?;
        try_lock(&file, &path)?;
        let pid = std::process::id();
        // The id is for people; the lock holds without it.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{pid}"));
        Ok(Self { _held: file })
    }
}

/// Locks `file` or says who has it.
pub(crate) fn try_lock(file: &File, path: &Path) -> Result<(), SpoolError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(SpoolError::InUse { path: path.to_owned(), owner: owner(path) }),
        Err(TryLockError::Error(error)) => Err(SpoolError::io("lock", path, error)),
    }
}

/// Who wrote their process id into the lock file.
fn owner(path: &Path) -> String {
    let mut text = String::new();
    let pid = File::open(path)
        .and_then(|file| file.take(20).read_to_string(&mut text))
        .ok()
        .and_then(|_| text.trim().parse::<u32>().ok());
    match pid {
        Some(pid) => format!("process {pid}"),
        None => "its process id is not known".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_engine_is_refused_and_told_the_process_of_the_first() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let first = SpoolLock::acquire(directory.path()).expect("nobody else");
        let refusal = SpoolLock::acquire(directory.path()).expect_err("the lock is held").to_string();
        assert!(refusal.contains(&format!("process {}", std::process::id())), "{refusal}");
        drop(first);
        SpoolLock::acquire(directory.path()).expect("released");
    }
}
