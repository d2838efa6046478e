//! A spool in a temporary directory, and mail to put into it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mail::{
    BodyType, Class, Disposition, DsnReturn, Enhanced, Notify, Outcome, Phase, RecipientId, Reply, Route,
    Timings, TlsWish, UnixMs,
};
use spool::{Content, ContentKind, Disk, Durability, Log, Needs, Options, Recipient, Recovered, Waiting};
use tempfile::TempDir;

use crate::rough::RoughDisk;

/// Small segments, so that a test fills many.
pub(crate) const SMALL: u64 = 16 << 10;

/// How many spare segments are kept.
pub(crate) const SPARES: usize = 3;

pub(crate) struct Place {
    pub(crate) directory: TempDir,
    pub(crate) options: Options,
}

impl Place {
    pub(crate) fn new(durability: Durability) -> Self {
        match durability {
            Durability::Memory => Self::volatile(durability),
            Durability::Disk => Self::within(tempfile::tempdir().unwrap(), durability),
        }
    }

    /// Where a sync costs nothing, if there is such a place.
    pub(crate) fn volatile(durability: Durability) -> Self {
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Self::within(directory.unwrap(), durability)
    }

    fn within(directory: TempDir, durability: Durability) -> Self {
        let options = Options {
            segment_bytes: SMALL,
            durability,
            min_free_bytes: 0,
            spare_bytes_max: SPARES as u64 * SMALL,
        };
        Self { directory, options }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn open(&self) -> (Log, Recovered) {
        Log::open(self.path(), 0, self.options).unwrap()
    }

    pub(crate) fn open_on(&self, disk: &Arc<RoughDisk>) -> (Log, Recovered) {
        Log::open_on(Arc::clone(disk) as Arc<dyn Disk>, self.path(), 0, self.options).unwrap()
    }

    pub(crate) fn log(&self) -> Log {
        self.open().0
    }

    pub(crate) fn shard_directory(&self) -> PathBuf {
        self.path().join("spool/0")
    }

    /// The segment files that are in use, oldest first: not the empty one that stands ready behind them.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let is_used =
            |path: &PathBuf| fs::read(path).is_ok_and(|bytes| bytes.iter().skip(4096).any(|byte| *byte != 0));
        let mut files = self.files();
        files.retain(is_used);
        files
    }

    /// All segment files, oldest first.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.ending("seg")
    }

    /// The spare segments.
    pub(crate) fn spares(&self) -> Vec<PathBuf> {
        self.ending("spare")
    }

    fn ending(&self, ending: &str) -> Vec<PathBuf> {
        let mut files: Vec<_> = fs::read_dir(self.shard_directory())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == ending))
            .collect();
        files.sort();
        files
    }
}

pub(crate) fn content(tenant: &str) -> Content {
    Content { tenant: tenant.to_owned(), accepted_at: UnixMs(1_000), ..Content::default() }
}

pub(crate) fn template(name: &str) -> Content {
    Content { kind: ContentKind::Template, class: Class::Bulk, name: name.to_owned(), ..content("news") }
}

/// A content in which no field has its default.
pub(crate) fn full_content() -> Content {
    Content {
        kind: ContentKind::Message,
        accepted_at: UnixMs(1_700_000_000_123),
        sender: "bounce+ålesund@example.test".to_owned(),
        tenant: "acme".to_owned(),
        class: Class::Critical,
        campaign: Some(mail::CampaignId::from_raw(4096)),
        needs: Needs { body_type: BodyType::EightBitMime, smtputf8: true, tls: TlsWish::Required },
        dsn_return: DsnReturn::Full,
        envelope_id: Some("QQ314159".to_owned()),
        tags: vec!["a".to_owned(), "a longer tag".to_owned()],
        metadata: "{\"order\":7}".to_owned(),
        name: String::new(),
        identity: "example.test".to_owned(),
        notice: true,
        ground: spool::Ground { code: 103, because: "sender @news.example".to_owned() },
    }
}

pub(crate) fn recipient(address: &str) -> Recipient {
    Recipient { address: address.to_owned(), ..Recipient::default() }
}

/// A recipient in which no field has its default.
pub(crate) fn full_recipient() -> Recipient {
    Recipient {
        content: mail::MessageId::default(),
        address: "\"a b\"@example.test".to_owned(),
        not_before: UnixMs(1_700_000_001_000),
        deadline: 1_700_000_100,
        expiry: 1_700_400_000,
        notify: Notify::SUCCESS.with(Notify::DELAY),
        original: Some("rfc822;x@example.test".to_owned()),
        values: vec![String::new(), "Ann".to_owned(), "a value longer than eight bytes".to_owned()],
    }
}

pub(crate) fn outcome(disposition: Disposition, attempt: u16) -> Outcome {
    let next_attempt = (!disposition.is_final()).then_some(UnixMs(60_000 * u64::from(attempt)));
    Outcome {
        at: UnixMs(5_000),
        attempt,
        disposition,
        next_attempt,
        phase: Phase::Body,
        verdict: "mailbox.full".to_owned(),
        reply: Reply::enhanced(452, Enhanced(4, 2, 2), "mailbox full, try later"),
        route: Arc::new(Route {
            source: "a".to_owned(),
            provider: "gmail".to_owned(),
            mx: "mx1.example.test".to_owned(),
            address: "192.0.2.1:25".to_owned(),
            tls: "TLSv1.3 TLS_AES_128_GCM_SHA256".to_owned(),
        }),
        timings: Timings { connect_ms: 12, transaction_ms: 345 },
    }
}

/// Appends a message with `recipients` recipients, flushes, and yields their identifiers.
pub(crate) fn send(log: &mut Log, body: &[u8], recipients: usize) -> Vec<RecipientId> {
    let mut ids = Vec::new();
    let recipients: Vec<_> = (0..recipients).map(|n| recipient(&format!("r{n}@example.test"))).collect();
    log.append_message(&content("acme"), body, &recipients, &mut ids).unwrap();
    log.flush().unwrap();
    ids
}

pub(crate) fn finish(log: &mut Log, id: RecipientId) {
    log.append_outcome(id, &outcome(Disposition::Delivered, 1)).unwrap();
}

pub(crate) fn waiting(log: &Log) -> Vec<Waiting> {
    log.waiting().collect()
}

pub(crate) fn waiting_ids(log: &Log) -> Vec<RecipientId> {
    let mut ids: Vec<_> = log.waiting().map(|waiting| waiting.id).collect();
    ids.sort_unstable();
    ids
}

/// One group commit as a shell makes it: the files of the target on the disk, then word of it to the log.
pub(crate) fn sync_on(log: &mut Log, disk: &RoughDisk) {
    let Some(target) = log.sync_target() else { return };
    match target.files().iter().try_for_each(|file| disk.sync(file)) {
        Ok(()) => log.synced(target),
        Err(error) => log.sync_failed(target, &error),
    }
}

/// Whether a segment was written over an old one: its header says so.
pub(crate) fn is_recycled(segment: &Path) -> bool {
    fs::read(segment).is_ok_and(|bytes| bytes.get(51) == Some(&1))
}

/// By what a file is known under any name.
pub(crate) fn inode(file: &Path) -> u64 {
    fs::metadata(file).unwrap().ino()
}

/// Copies a directory with what is in it; files that are mostly holes stay so.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_tree(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}
