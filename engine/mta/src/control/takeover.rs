//! Takes over at a start what the last life of the engine had noted in the outboxes and not written where it belongs: deliveries
//! that are not to be made again, and failures of which the sender is to be told. It refuses to begin a new outbox before that.

use std::path::Path;

use mail::{Outcome, RecipientId};
use spool::{Log, Outbox, SpoolError};

use super::StartError;
use crate::notice;
use crate::shared::Shared;

/// Writes what the outboxes hold and the logs lack, and makes new outboxes: one for each log, or none where there can be none.
pub(super) fn take_over(shared: &Shared, logs: &mut [Log]) -> Result<Vec<Option<Outbox>>, StartError> {
    let data_dir = &shared.config.node.data_dir;
    let left = Outbox::left(data_dir).map_err(StartError::because)?;
    let mut taken = 0;
    for (id, outcome) in left {
        let log = logs.get_mut(usize::from(id.0.shard())).filter(|log| log.lacks(id, &outcome));
        let Some(log) = log else { continue };
        match write(shared, log, id, &outcome) {
            Ok(()) => taken += 1,
            Err(error) => {
                tracing::error!(%id, %error, "an outcome cannot be written: the delivery may be repeated")
            }
        }
    }
    if taken > 0 {
        commit(logs);
        tracing::info!(
            outcomes = taken,
            "outcomes taken over that the last run had not written where they belong"
        );
    }
    // A shard without others sends nothing home.
    let is_alone = logs.len() == 1;
    Ok(logs.iter().map(|log| if is_alone { None } else { outbox(data_dir, log.shard()) }).collect())
}

/// As a shard does: the notice first, which is rather repeated than lost.
fn write(shared: &Shared, log: &mut Log, id: RecipientId, outcome: &Outcome) -> Result<(), SpoolError> {
    if let Some(notice) = notice::for_outcome(shared, id, outcome) {
        log.append_message(&notice.content, &notice.body, &[notice.recipient], &mut Vec::new())?;
    }
    log.append_outcome(id, outcome).map(drop)
}

/// Makes what was taken over durable, before the outboxes go.
fn commit(logs: &mut [Log]) {
    for log in logs {
        if let Err(error) = log.commit() {
            tracing::error!(%error, "outcomes are not on the disk: a power cut now would repeat deliveries");
        }
    }
}

fn outbox(data_dir: &Path, shard: u8) -> Option<Outbox> {
    Outbox::create(data_dir, shard)
        .inspect_err(|error| {
            tracing::info!(shard, %error, "no outbox: deliveries wait for the logs of other shards");
        })
        .ok()
}
