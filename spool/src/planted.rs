//! Bugs that can be planted, to show that a test catches each of them. Without the feature `planted-bugs` there are
//! none, and nothing of this is compiled in; with it, `STAFFETTA_PLANT` names the one that is planted.

/// A bug that breaks a promise of the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// `acknowledge-before-sync`: what is written counts as durable.
    AcknowledgeBeforeSync,
    /// `no-crc`: every checksum is taken for right.
    NoCrc,
    /// `retry-fsync`: after a sync that failed another one of the same file is believed.
    RetryFsync,
    /// `no-directory-sync`: the names of new files are not made durable.
    NoDirectorySync,
}

/// Whether `bug` is planted in this process.
#[cfg(feature = "planted-bugs")]
pub(crate) fn is(bug: Bug) -> bool {
    use std::sync::OnceLock;

    static PLANTED: OnceLock<Option<Bug>> = OnceLock::new();
    let planted = PLANTED.get_or_init(|| match std::env::var("STAFFETTA_PLANT").ok()?.as_str() {
        "acknowledge-before-sync" => Some(Bug::AcknowledgeBeforeSync),
        "no-crc" => Some(Bug::NoCrc),
        "retry-fsync" => Some(Bug::RetryFsync),
        "no-directory-sync" => Some(Bug::NoDirectorySync),
        "" => None,
        other => panic!("STAFFETTA_PLANT names no bug: {other}"),
    });
    *planted == Some(bug)
}

/// Whether `bug` is planted in this process: never.
#[cfg(not(feature = "planted-bugs"))]
pub(crate) const fn is(_: Bug) -> bool {
    false
}
