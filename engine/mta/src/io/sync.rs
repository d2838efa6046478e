//! fdatasync on the ring: the shard goes on while the disk works.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::operation;

/// Flushes the data of `file` to the disk; no thread waits and the caller's descriptor stays open.
///
/// What is durable after success is everything that was written before the call. After a failure the disk may hold
/// anything: do not ask again, the kernel may have forgotten the error (see the notes on durability).
///
/// # Errors
/// What the kernel answered.
///
/// # Panics
/// Outside of a shard's runtime.
pub async fn fdatasync(file: &Arc<File>) -> io::Result<()> {
    let (result, ()) = operation::sync(Arc::clone(file)).await;
    result.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::super::runtime::block_on;
    use super::*;
    use std::io::Write;

    #[test]
    fn the_callers_file_stays_open() {
        let file = Arc::new(tempfile::tempfile().expect("a temporary file"));
        block_on(async {
            for round in 0..3 {
                (&*file).write_all(b"record").expect("the file is open");
                fdatasync(&file).await.expect("the disk takes it");
                assert_eq!(file.metadata().expect("the file is open").len(), 6 * (round + 1));
            }
        })
        .expect("a ring");
        assert_eq!(Arc::strong_count(&file), 1);
    }

    #[test]
    fn a_pipe_cannot_be_synced() {
        let (_reader, writer) = std::io::pipe().expect("a pipe");
        let file = Arc::new(File::from(std::os::fd::OwnedFd::from(writer)));
        let result = block_on(async { fdatasync(&file).await }).expect("a ring");
        assert_eq!(result.expect_err("not a file").kind(), io::ErrorKind::InvalidInput);
    }
}
