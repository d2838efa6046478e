//! What each shard counts while it works: plain numbers that only grow, or gauges, read by anyone at any time.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// The counters of one shard. Written by that shard only, relaxed; a reader sees each number whole.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub(crate) struct ShardCounters {
            $(pub(crate) $name: Count,)+
        }

        /// The counters of the whole engine at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)+
        }

        impl Counters {
            /// Adds what one shard has counted.
            pub(crate) fn add(&mut self, shard: &ShardCounters) {
                $(self.$name += shard.$name.read();)+
            }

            /// Every counter with its name.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)+].into_iter()
            }
        }
    };
}

counters! {
    /// SMTP connections accepted.
    inbound_connections,
    /// SMTP sessions open now.
    inbound_open,
    /// Messages accepted, by SMTP and HTTP.
    messages_in,
    /// Messages refused at accept.
    messages_refused,
    /// Bytes of accepted messages.
    bytes_in,
    /// Connections opened to receivers.
    outbound_connections,
    /// Connections to receivers open now.
    outbound_open,
    /// Connections to receivers that could not be made.
    outbound_failures,
    /// Transactions finished with receivers, whatever their end.
    transactions_out,
    /// Bytes of messages handed to receivers.
    bytes_out,
    /// Attempts that ended in a deferral.
    deferrals,
    /// Notices of failure (DSN) written.
    notices,
    /// Recipients that were handed to another shard.
    handovers,
    /// Group commits made durable.
    commits,
    /// Messages that were newsletters though they came as if somebody awaited them (`class.newsletter_in_transactional`).
    class_newsletter_in_transactional,
    /// Bulk messages that came with no `List-Unsubscribe` (`class.bulk_without_unsubscribe`).
    class_bulk_without_unsubscribe,
    /// Acceptances that waited for those commits; divided by commits: the mean group.
    commit_waiters,
}

/// One number with a single writer.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, amount: u64) {
        let now = self.0.load(Ordering::Relaxed);
        self.0.store(now.wrapping_add(amount), Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, amount: u64) {
        let now = self.0.load(Ordering::Relaxed);
        self.0.store(now.wrapping_sub(amount), Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
