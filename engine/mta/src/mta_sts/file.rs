//! The file that keeps the policies over a restart: JSON, replaced as a whole.

use std::io;
use std::path::Path;
use std::sync::Arc;

use mail::UnixMs;
use policy::mta_sts::Policy;
use serde::{Deserialize, Serialize};

use super::store::{Held, Store};
use crate::replace;

/// Its name in the data directory.
pub(super) const NAME: &str = "mta-sts.json";

/// One policy.
#[derive(Serialize, Deserialize)]
struct Line {
    domain: String,
    id: String,
    fetched_at: UnixMs,
    policy: String,
}

/// The policies of the file, and its length; none when there is no file. One that does not read as a policy is left out.
pub(super) fn read(path: &Path) -> io::Result<(Store, usize)> {
    let mut store = Store::default();
    let Some(bytes) = replace::read(path)? else { return Ok((store, 0)) };
    let lines: Vec<Line> = serde_json::from_slice(&bytes)?;
    for line in lines {
        let Ok(policy) = Policy::parse(line.policy.as_bytes()) else { continue };
        let held = Held { policy: Arc::new(policy), id: line.id.into(), fetched_at: line.fetched_at };
        // As if it had just been fetched, as far as the next look at the domain is concerned.
        store.keep(line.domain.into(), held, line.fetched_at);
    }
    Ok((store, bytes.len()))
}

/// The contents of the file.
pub(super) fn encode(store: &Store) -> io::Result<Vec<u8>> {
    let line = |(domain, held): (&Arc<str>, &Held)| Line {
        domain: domain.as_ref().to_owned(),
        id: held.id.as_ref().to_owned(),
        fetched_at: held.fetched_at,
        policy: held.policy.to_string(),
    };
    Ok(serde_json::to_vec(&store.all().map(line).collect::<Vec<_>>())?)
}
