//! Where a path leads now: what DNS said when its recipients came may be over before they leave.

use std::rc::Rc;
use std::sync::Arc;

use mail::{TlsWish, UnixMs};
use policy::verdict::Fault;
use queue::Pull;
use tokio::sync::oneshot;

use super::open::OpenFault;
use super::pool::Pool;
use crate::control::destination::{Destination, Unroutable};
use crate::shard::Shard;

/// Recipients that are routed again at once; the rest follows when the path is looked at again.
const MOVED_MAX: usize = 1_000;

/// The destination of `pool`, asked for again when its time is over. Where it cannot be learnt, the old one serves.
///
/// # Errors
/// When DNS sends the mail elsewhere now, or wants it protected in another way: those who wait are routed again.
pub(super) async fn destination(shard: &Rc<Shard>, pool: &Rc<Pool>) -> Result<Arc<Destination>, OpenFault> {
    let known = pool.destination();
    let Some(domain) = known.domain.as_deref().filter(|_| known.expires <= shard.now()) else {
        return Ok(known);
    };
    match ask(shard, domain, shard.now()).await {
        Some(Ok(new)) if (new.site, new.provider) == (known.site, known.provider) => {
            let new = Arc::new(new);
            shard.pools.aim(pool.path, pool.key, Arc::clone(&new));
            Ok(new)
        }
        Some(Ok(_)) => {
            route_again(shard, pool).await;
            Err(OpenFault::Failed(Fault::DnsFailure, format!("DNS has another answer for {domain} now")))
        }
        Some(Err(_)) | None => Ok(known),
    }
}

/// Asks on the control runtime; `None` when that ends meanwhile. Mail that goes whatever its domain publishes is routed
/// again, and finds its own way, where this is another one.
async fn ask(shard: &Shard, domain: &str, now: UnixMs) -> Option<Result<Destination, Unroutable>> {
    let (tell, told) = oneshot::channel();
    let (shared, domain) = (Arc::clone(&shard.shared), domain.to_owned());
    shard.shared.control.spawn(async move {
        // Nobody waits any more when the shard ends.
        drop(tell.send(shared.destinations.find(&domain, TlsWish::Unstated, now).await));
    });
    told.await.ok()
}

async fn route_again(shard: &Rc<Shard>, pool: &Pool) {
    for _ in 0..MOVED_MAX {
        let pulled = shard.queue.borrow_mut().pull(pool.path, shard.now());
        let Pull::Ticket(ticket, _) = pulled else { return };
        shard.schedule_home(ticket).await;
    }
}
