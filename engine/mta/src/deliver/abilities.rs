//! What a site has shown that it can do, or cannot although it offers it. It asks nobody.

use std::cell::Cell;
use std::time::Duration;

use mail::UnixMs;

use super::avoided::Avoided;

/// How long a limit that the site has shown is believed.
const REMEMBERED_FOR: Duration = Duration::from_secs(3600);

/// What is known of a site's abilities.
pub(super) struct Abilities {
    /// Hosts that are spoken to in clear, because their TLS is broken.
    pub(super) broken_tls: Avoided,
    /// Hosts that offer CHUNKING and do not know BDAT.
    pub(super) without_chunking: Avoided,
    /// Hosts that offer PIPELINING and lose replies when it is used.
    pub(super) without_pipelining: Avoided,
    /// Hosts that do not promise TLS all the way (RFC 8689), or do not prove who they are.
    pub(super) without_promise: Avoided,
    /// The site has said that it takes no mail in clear.
    needs_tls: Cell<bool>,
    /// More recipients than this the site has not taken in one transaction, and until when that is believed.
    recipients_max: Cell<(u16, UnixMs)>,
}

impl Default for Abilities {
    fn default() -> Self {
        Self {
            broken_tls: Avoided::abilities(),
            without_chunking: Avoided::abilities(),
            without_pipelining: Avoided::abilities(),
            without_promise: Avoided::abilities(),
            needs_tls: Cell::new(false),
            recipients_max: Cell::new((u16::MAX, UnixMs(0))),
        }
    }
}

impl Abilities {
    pub(super) fn needs_tls(&self) -> bool {
        self.needs_tls.get()
    }

    pub(super) fn require_tls(&self) {
        self.needs_tls.set(true);
        self.broken_tls.clear();
    }

    /// How many recipients the site has lately been seen to take in one transaction, at most.
    pub(super) fn recipients_max(&self, now: UnixMs) -> u16 {
        let (most, until) = self.recipients_max.get();
        if until > now { most } else { u16::MAX }
    }

    /// The site has taken `recipients` in one transaction and refused the next.
    pub(super) fn takes_at_most(&self, recipients: usize, now: UnixMs) {
        let most = u16::try_from(recipients).unwrap_or(u16::MAX).max(1);
        self.recipients_max.set((self.recipients_max(now).min(most), now + REMEMBERED_FOR));
    }
}
