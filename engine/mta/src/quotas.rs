//! What accounts may hand over: their quotas, asked when mail comes in and before anything of it is kept. Shared by all
//! shards; the map never changes, and the counts in it are atomic.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mail::{Class, UnixMs};
use policy::Rate;
use policy::config::Config;
use policy::lease::{AHEAD_MAX, Exceeded, Moments, Quota, QuotaState, SavedQuota};
use rustc_hash::FxHashMap;

use crate::Refusal;

/// The quotas as they are kept, by account.
pub(crate) type SavedQuotas = BTreeMap<String, SavedQuota>;

/// The accounts that have a quota.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    by_account: FxHashMap<String, Quota>,
    /// Something was taken or given back since this was asked last.
    is_changed: AtomicBool,
}

impl Quotas {
    /// Those of a configuration, with what was kept of them.
    pub(crate) fn restored(config: &Config, saved: &SavedQuotas) -> Self {
        let quota = |account: &policy::config::Account| {
            let saved = saved.get(&account.name).copied().unwrap_or_default();
            Some((account.name.clone(), Quota::restored(account.quota?, saved)))
        };
        let by_account = config.accounts.iter().filter_map(quota).collect();
        Self { by_account, is_changed: AtomicBool::new(false) }
    }

    /// To be kept.
    pub(crate) fn saved(&self, now: UnixMs) -> SavedQuotas {
        self.by_account.iter().map(|(account, quota)| (account.clone(), quota.saved(now))).collect()
    }

    /// Whether there is something to be kept that was not there when this was asked last.
    pub(crate) fn have_changed(&self) -> bool {
        self.is_changed.swap(false, Ordering::Relaxed)
    }

    /// The quota of an account, of which something is taken or given back now.
    fn used(&self, account: &str) -> Option<&Quota> {
        let quota = self.by_account.get(account)?;
        // Written once in a while, read for each message: so shards do not take the line from each other.
        if !self.is_changed.load(Ordering::Relaxed) {
            self.is_changed.store(true, Ordering::Relaxed);
        }
        Some(quota)
    }

    /// Whether no account has one.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_account.is_empty()
    }

    /// Takes places for the recipients of one message.
    ///
    /// # Errors
    /// The account is beyond its quota; nothing was taken.
    pub(crate) fn take(&self, account: &str, class: Class, count: usize, now: UnixMs) -> Result<(), Refusal> {
        let Some(quota) = self.used(account) else { return Ok(()) };
        quota.take(number(count), class, now).map_err(|why| refused(account, quota.state(now), why, now))
    }

    /// Takes places for recipients of a campaign, each with the moment from which it may be sent; `None`: all at once.
    ///
    /// # Errors
    /// They would have to wait too long; nothing was taken.
    pub(crate) fn appoint(
        &self,
        account: &str,
        class: Class,
        count: usize,
        now: UnixMs,
    ) -> Result<Option<Moments>, Refusal> {
        let Some(quota) = self.used(account) else { return Ok(None) };
        let appointed = quota.appoint(number(count), class, now);
        appointed.map(Some).map_err(|why| refused_list(account, quota.state(now), why, now))
    }

    /// Puts places back that were taken for what was not kept, or will not be sent.
    pub(crate) fn give_back(&self, account: &str, class: Class, count: usize) {
        if let Some(quota) = self.used(account) {
            quota.give_back(number(count), class);
        }
    }

    /// Whether recipients of the account's lists have moments of their own, later than now.
    pub(crate) fn has_promised(&self, account: &str, now: UnixMs) -> bool {
        self.by_account.get(account).is_some_and(|quota| quota.state(now).promised > 0)
    }

    /// How the quota of an account stands; `None` when it has none.
    pub(crate) fn state(&self, account: &str, now: UnixMs) -> Option<QuotaState> {
        self.by_account.get(account).map(|quota| quota.state(now))
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn refused(account: &str, state: QuotaState, why: Exceeded, now: UnixMs) -> Refusal {
    let rate = state.rate;
    match why {
        Exceeded::Until(at) => {
            let retry_after = at.since(now);
            let wait = in_words(retry_after);
            let why = format!(
                "the account `{account}` has handed over what its quota allows ({rate}): there is room again in {wait}"
            );
            Refusal::Quota { why, retry_after }
        }
        Exceeded::Never => too_many(account, rate),
    }
}

fn refused_list(account: &str, state: QuotaState, why: Exceeded, now: UnixMs) -> Refusal {
    let (rate, promised) = (state.rate, state.promised);
    match why {
        Exceeded::Until(at) => {
            let retry_after = at.since(now);
            let (wait, days) = (in_words(retry_after), AHEAD_MAX.as_secs() / 86_400);
            let why = format!(
                "{promised} recipients of lists wait for the quota of the account `{account}` ({rate}): more would wait for more than {days} days; hand them in after {wait}"
            );
            Refusal::Quota { why, retry_after }
        }
        Exceeded::Never => too_many(account, rate),
    }
}

fn too_many(account: &str, rate: Rate) -> Refusal {
    let count = rate.count();
    Refusal::invalid(
        "to",
        format!(
            "the quota of the account `{account}` ({rate}) never has room for so many recipients at once: hand over {count} at most"
        ),
    )
}

/// A wait as people say it, rounded up.
fn in_words(wait: Duration) -> String {
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds.div_ceil(60)),
        7200..=172_799 => format!("{} h", seconds.div_ceil(3600)),
        _ => format!("{} days", seconds.div_ceil(86_400)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_700_000_000_000);

    fn quotas(saved: &SavedQuotas) -> Quotas {
        let text = "[node]\ndata_dir = \"/x\"\n[[smtp_listener]]\naddress = \"127.0.0.1:0\"\n[[account]]\nname = \"shop\"\nquota = \"24/d\"\n\
                    [[account]]\nname = \"free\"\n";
        Quotas::restored(&policy::config::check("test.toml", text).config.expect("a configuration"), saved)
    }

    #[test]
    fn only_accounts_with_a_quota_are_counted() {
        let quotas = quotas(&SavedQuotas::default());
        for account in ["free", "unknown", ""] {
            assert_eq!(quotas.take(account, Class::Bulk, 1_000_000, NOW), Ok(()));
            assert_eq!(quotas.appoint(account, Class::Bulk, 1_000_000, NOW), Ok(None));
            assert_eq!(quotas.state(account, NOW), None);
        }
        assert!(quotas.take("shop", Class::Bulk, 20, NOW).is_ok());
        assert_eq!(quotas.state("shop", NOW).map(|state| state.used), Some(20));
    }

    #[test]
    fn a_refusal_names_the_account_the_quota_and_the_wait() {
        let quotas = quotas(&SavedQuotas::default());
        assert!(quotas.take("shop", Class::Bulk, 24, NOW).is_ok());
        let refusal = quotas.take("shop", Class::Bulk, 1, NOW).expect_err("beyond");
        assert_eq!((refusal.code(), refusal.http_status()), ("quota_exceeded", 429));
        assert_eq!(refusal.retry_after(), Some(Duration::from_secs(3600)));
        assert_eq!(
            refusal.reply().to_string(),
            "452 4.7.1 the account `shop` has handed over what its quota allows (24/d): there is room again in 60 min"
        );
        let never = quotas.take("shop", Class::Bulk, 25, NOW).expect_err("never");
        assert_eq!((never.code(), never.field()), ("invalid", Some("to")));
    }

    #[test]
    fn what_was_used_is_kept_by_the_name_of_the_account() {
        let before = quotas(&SavedQuotas::default());
        assert!(!before.have_changed());
        assert!(before.take("shop", Class::Bulk, 20, NOW).is_ok());
        assert!(before.have_changed() && !before.have_changed());
        let after = quotas(&before.saved(NOW));
        assert!(after.take("shop", Class::Bulk, 5, NOW).is_err());
        assert!(after.take("shop", Class::Bulk, 4, NOW).is_ok());
    }
}
