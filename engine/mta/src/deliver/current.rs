//! Where a path leads now: what DNS said when its recipients came may be over before they leave.

use std::rc::Rc;
use std::sync::Arc;

use mail::UnixMs;
use policy::verdict::Fault;
use queue::Pull;
use tokio::sync::oneshot;

use super::open::OpenFault;
use super::pool::Pool;
use crate::control::destination::{Destination, Unroutable};
use crate::shard::Shard;

/// Recipients that are routed again at once; the rest follows when the path is looked at again.
const MOVED_MAX: usize = 1_000;

/// The destination of `pool`, asked for again when its time is over. While DNS is silent, the old one serves.
///
/// # Errors
/// When DNS sends the mail elsewhere now or nowhere, or when how it is to be protected has changed or cannot be learnt
/// (RFC 7672 section 2.1.2): those who wait are routed again, each by what holds for its own domain.
pub(super) async fn destination(shard: &Rc<Shard>, pool: &Rc<Pool>) -> Result<Arc<Destination>, OpenFault> {
    let known = pool.destination();
    let Some(domain) = known.domain.as_deref().filter(|_| known.expires <= shard.now()) else {
        return Ok(known);
    };
    match ask(shard, &known, domain, shard.now()).await {
        Some(Ok(new)) if (new.site, new.provider) == (known.site, known.provider) => {
            let new = Arc::new(new);
            shard.aim(pool.path, pool.key, Arc::clone(&new));
            Ok(new)
        }
        Some(Ok(_)) => {
            route_again(shard, pool).await;
            Err(OpenFault::Failed(Fault::DnsFailure, format!("DNS has another answer for {domain} now")))
        }
        Some(Err(fault)) if !fault.temporary || fault.by_protection => {
            route_again(shard, pool).await;
            Err(OpenFault::Failed(fault.fault, fault.reply.text))
        }
        Some(Err(_)) | None => Ok(known),
    }
}

/// Asks on the control runtime, as the destination that was `known` was asked for; `None` when that ends meanwhile.
async fn ask(
    shard: &Shard,
    known: &Destination,
    domain: &str,
    now: UnixMs,
) -> Option<Result<Destination, Unroutable>> {
    let (tell, told) = oneshot::channel();
    let (shared, domain, wish) = (Arc::clone(&shard.shared), domain.to_owned(), known.wish);
    shard.shared.control.spawn(async move {
        // Nobody waits any more when the shard ends.
        drop(tell.send(shared.destinations.find(&domain, wish, now).await));
    });
    told.await.ok()
}

async fn route_again(shard: &Rc<Shard>, pool: &Pool) {
    for _ in 0..MOVED_MAX {
        let pulled = shard.queue.borrow_mut().pull(pool.path, shard.now());
        let Pull::Ticket(ticket, flow) = pulled else { return };
        shard.leaves(pool.key, ticket, flow);
        shard.schedule_home(ticket).await;
    }
}
