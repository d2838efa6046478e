//! What receivers take of one sender, whatever source it leaves from: all shards together draw on one budget, each by
//! tokens on loan. While no sender is limited this costs a look at an empty table.

use std::rc::Rc;

use mail::{Class, UnixMs};
use policy::lease::LeaseHolder;
use queue::{FlowKey, Ticket};
use rustc_hash::FxHashMap;

use super::Shard;
use crate::deliver::Pool;

/// Tokens on loan, by sender and provider.
pub(super) type Leases = FxHashMap<(u32, u16), LeaseHolder>;

/// Loans kept at the same time; beyond it all are given up, which costs the senders a moment each.
const LEASES_MAX: usize = 10_000;

impl Shard {
    /// Takes a token of what the provider of `pool` takes of a flow's sender. Critical mail needs none: it is little, and
    /// somebody waits for it.
    ///
    /// # Errors
    /// There is none: the moment at which there will be one.
    pub(crate) fn take_of_identity(&self, pool: &Pool, flow: FlowKey) -> Result<(), UnixMs> {
        let identities = &self.shared.brain.identities;
        if identities.is_empty() || flow.class == Class::Critical {
            return Ok(());
        }
        let key = (flow.identity, pool.key.provider);
        let Some(budget) = identities.get(key.0, key.1) else { return Ok(()) };
        let mut leases = self.mind.leases.borrow_mut();
        if leases.len() >= LEASES_MAX && !leases.contains_key(&key) {
            leases.clear();
        }
        leases.entry(key).or_default().take(&budget, self.now())
    }

    /// Gives a recipient back whose sender has used up what the receiver takes, and passes its line over until then.
    pub(crate) async fn rest_identity(
        self: &Rc<Self>,
        pool: &Pool,
        (ticket, flow): (Ticket, FlowKey),
        until: UnixMs,
    ) {
        self.put_back(pool, flow, ticket).await;
        self.queue.borrow_mut().rest_flow(pool.path, flow, until);
        // The queue names the path again when the rest ends.
        self.bells.earlier.notify_one();
    }
}
