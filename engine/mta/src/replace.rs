//! Small files that are replaced as a whole: after a crash there is the old one or the new one, never a part of either.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// The bytes of a file; `None` when there is no such file.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces a file by `bytes`, or makes it; durable when it returns. Only one caller at a time may write one path.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    // The name is in the directory, which has to reach the disk too.
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.json");
        assert_eq!(read(&path).expect("no fault"), None);
        write(&path, b"long one").expect("written");
        write(&path, b"new").expect("written");
        assert_eq!(read(&path).expect("there").as_deref(), Some(&b"new"[..]));
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1);
    }
}
