//! What the brain has decided: orders to the shards, and events for whoever reads along.

use mail::{CampaignId, UnixMs};

use crate::standing::Spread;

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// Nothing more of the campaign goes until somebody resumes it.
    PauseCampaign {
        /// Which.
        campaign: CampaignId,
        /// Why, as a sentence.
        reason: String,
    },
    /// Nothing more of the tenant but its critical mail goes until somebody resumes it.
    PauseTenant {
        /// Which, by its hash.
        tenant: u32,
        /// Why, as a sentence.
        reason: String,
    },
    /// More of the campaign may go to the provider: what is held is released, as far as
    /// [`Gates::room`](crate::canary::Gates::room) reaches.
    Open {
        /// Which.
        campaign: CampaignId,
        /// Where to.
        provider: u16,
    },
    /// What waits for the source at the provider goes back to routing.
    Reroute {
        /// Which.
        source: u16,
        /// Where.
        provider: u16,
    },
    /// So many of those that wait for a source go back to routing: others would send them sooner.
    Spread(Spread),
    /// For the log and the feed.
    Tell(Event),
}

/// A decision and its reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When.
    pub at: UnixMs,
    /// What, as a stable dotted word such as `canary.stopped`.
    pub code: &'static str,
    /// Whom it concerns.
    pub subject: Subject,
    /// The numbers that it was decided by.
    pub figures: Vec<(&'static str, f64)>,
    /// The whole as a sentence. Tenants and sender identities are not named in it: the brain knows their hashes only.
    pub sentence: String,
}

/// Whom an event concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A source at a provider.
    Source {
        /// Index in the configuration.
        source: u16,
        /// Index in the configuration.
        provider: u16,
    },
    /// A sender's domain, by its hash, at a provider, or everywhere.
    Identity {
        /// The hash.
        identity: u32,
        /// Index in the configuration.
        provider: Option<u16>,
    },
    /// A campaign, at a provider or as a whole.
    Campaign {
        /// Which.
        campaign: CampaignId,
        /// Index in the configuration.
        provider: Option<u16>,
    },
    /// An account, by its hash.
    Tenant {
        /// The hash.
        tenant: u32,
    },
}

/// Every code that an event can have, with what it means; for the reference of the feed.
pub const CODES: [(&str, &str); 19] = [
    (
        "canary.passed",
        "The first recipients of a campaign were judged well: each provider goes on by itself.",
    ),
    ("canary.widened", "More of a campaign may go to a provider."),
    ("canary.opened", "A campaign has been judged well, and goes without a limit."),
    ("canary.shut", "A campaign goes badly at one provider, and is held there."),
    ("canary.stopped", "A campaign goes badly, and is paused before it has gone far."),
    ("breaker.campaign", "A campaign is paused for its complaints, unknown users, spam refusals or blocks."),
    ("breaker.tenant", "A tenant is paused for its stream, or for several of its campaigns."),
    ("source.burnt", "A provider refuses a source: it rests there, and its mail goes from others."),
    ("source.healed", "A source has rested, and is tried again at a provider."),
    ("sender.bad", "A sender has harmed a source: no other one is risked for it."),
    ("sender.good", "A sender has behaved for a day, and has the help of other sources again."),
    ("identity.slowed", "A provider wants less of a sender's mail."),
    ("identity.freed", "A sender's mail goes to a provider without a limit again."),
    ("warmup.advanced", "A clean day: the next step of the ladder."),
    ("warmup.held", "The same step of the ladder again."),
    ("warmup.back", "A bad day: back on the ladder."),
    ("warmup.warm", "The ladder has been climbed: there is no limit any more."),
    ("warmup.forgotten", "Idle for too long: the ladder begins anew."),
    ("score.alarm", "The score of a source at a provider has fallen within minutes."),
];
