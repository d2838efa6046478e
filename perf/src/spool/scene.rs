//! What is put into the logs: messages of a size, and the recipients of a newsletter as the scenario campaign-20k makes them.

use std::path::Path;

use anyhow::Result;
use mail::{Disposition, MessageId, Outcome, Reply, UnixMs};
use spool::{Content, ContentKind, Durability, Log, Options, Recipient};

/// When everything happens.
pub(crate) const NOW: UnixMs = UnixMs(1_763_820_000_000);
/// How long a recipient may wait.
const EXPIRY_S: u64 = 5 * 86_400;

/// Opens the log of `shard` below `data`.
pub(crate) fn open(data: &Path, shard: u8, segment_mib: u64, durability: Durability) -> Result<Log> {
    let options = Options { segment_bytes: segment_mib << 20, durability, ..Options::default() };
    Ok(Log::open(data, shard, options)?.0)
}

/// The head of a message.
pub(crate) fn message() -> Content {
    Content {
        accepted_at: NOW,
        sender: "bounce-4711@shop.example".into(),
        identity: "shop.example".into(),
        ..Content::default()
    }
}

/// The head of a campaign's template.
pub(crate) fn template() -> Content {
    Content {
        kind: ContentKind::Template,
        class: mail::Class::Bulk,
        tenant: "shop".into(),
        name: "News".into(),
        ..message()
    }
}

/// The one recipient of a message.
pub(crate) fn addressee() -> Recipient {
    Recipient { address: "ann@mail.example".into(), expiry: expiry(), ..Recipient::default() }
}

/// Recipient `n` of a newsletter with five merge fields: about 170 bytes on disk.
pub(crate) fn subscriber(content: MessageId, n: u64) -> Recipient {
    Recipient {
        content,
        address: format!("user{n:07}@sink{}.test", n % 50),
        expiry: expiry(),
        values: vec![
            format!("Name{}", n % 1000),
            format!("City {}", n % 300),
            format!("{n:08x}"),
            format!("Product {}", n % 40),
            format!("{}.90", n % 90),
        ],
        ..Recipient::default()
    }
}

fn expiry() -> u32 {
    u32::try_from(NOW.seconds() + EXPIRY_S).unwrap_or(u32::MAX)
}

/// Bytes that no disk and no checksum finds easier than others.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    noise.truncate(bytes);
    noise
}

/// The first attempt failed for now.
pub(crate) fn deferred() -> Outcome {
    Outcome {
        disposition: Disposition::Deferred,
        next_attempt: Some(UnixMs(NOW.0 + 1_200_000)),
        verdict: "receiver.busy".into(),
        reply: Reply::new(451, "try again later"),
        ..bench::delivered(NOW)
    }
}
