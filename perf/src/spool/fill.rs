//! Fills a spool: a campaign that waits for its start, or messages that wait to be sent.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use mail::{CampaignId, UnixMs};
use serde_json::json;
use spool::{CampaignPhase, CampaignState, Durability, Log};

use crate::{files, scene};

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Where `spool/` is to be made; it must not be there yet
    #[arg(long)]
    dir: PathBuf,
    /// Logs to spread them over
    #[arg(long, default_value_t = 1)]
    shards: u8,
    /// Recipients in all
    #[arg(long, default_value_t = 1_000_000)]
    recipients: u64,
    /// Messages with bodies of so many bytes instead of a campaign's recipients
    #[arg(long)]
    message_bytes: Option<usize>,
    /// Every recipient was tried once and deferred
    #[arg(long)]
    deferred: bool,
    /// Size of a segment
    #[arg(long, default_value_t = 256)]
    segment_mib: u64,
}

/// Prints how many recipients wait, and in how many bytes.
pub(crate) fn run(options: &Options) -> Result<()> {
    let (mut waiting, mut bytes) = (0, 0);
    for shard in 0..options.shards {
        let mut log = scene::open(&options.dir, shard, options.segment_mib, Durability::Memory)?;
        let count = share(options.recipients, options.shards, shard);
        match options.message_bytes {
            Some(size) => messages(&mut log, count, size, options.deferred)?,
            None => subscribers(&mut log, count, options.deferred)?,
        }
        log.commit()?;
        waiting += log.waiting_count();
        bytes += log.size().0;
        drop(log);
        files::sync(&options.dir, shard)?;
    }
    println!("{}", json!({ "waiting": waiting, "log_bytes": bytes }));
    Ok(())
}

/// What falls to a shard when everything is spread evenly.
fn share(total: u64, shards: u8, shard: u8) -> u64 {
    total / u64::from(shards) + u64::from(u64::from(shard) < total % u64::from(shards))
}

fn messages(log: &mut Log, count: u64, size: usize, deferred: bool) -> Result<()> {
    let (content, body, addressee) = (scene::message(), scene::noise(size), [scene::addressee()]);
    let outcome = scene::deferred();
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.clear();
        log.append_message(&content, &body, &addressee, &mut ids)?;
        if deferred {
            log.append_outcome(ids[0], &outcome)?;
        }
    }
    Ok(())
}

fn subscribers(log: &mut Log, count: u64, deferred: bool) -> Result<()> {
    let template = log.append_content(&scene::template(), &scene::noise(20_480))?;
    let outcome = scene::deferred();
    for n in 0..count {
        let id = log.append_recipient(&scene::subscriber(template, n))?;
        if deferred {
            log.append_outcome(id, &outcome)?;
        }
    }
    let campaign = CampaignId(template.0);
    let phase = if deferred { CampaignPhase::Running } else { CampaignPhase::Created };
    log.append_campaign_state(&CampaignState { campaign, phase, at: UnixMs(scene::NOW.0) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        let shares: Vec<_> = (0..3).map(|shard| share(11, 3, shard)).collect();
        assert_eq!(shares, [4, 4, 3]);
    }
}
