//! What the limits of a provider let through, all sources and senders together: what a perfect sender would reach.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use world::load::{Source, Warmth};
use world::{Per, ProviderIndex};

use crate::stage::Stage;

/// A rate over longer than this is a quota: it lets bursts through, and says nothing of a minute.
const QUOTA: Duration = Duration::from_secs(3600);

/// Recipients per second from `since` on; `None` when no limit counts in seconds or minutes, or when something else counts
/// for more than limits: how a source stands there.
pub(crate) fn of(stage: &Stage, provider: ProviderIndex, since: Duration) -> Option<f64> {
    let is_in_question =
        |source: &Source| source.warm != Warmth::Warm || source.standing.with(provider).is_some();
    if stage.world.load().sources.iter().any(is_in_question) {
        return None;
    }
    let limits = stage.world.limits(provider, since);
    let sharers = |per: Per| match per {
        Per::Ip => stage.script.ips.len(),
        Per::Netblock => stage.script.ips.iter().map(netblock).collect::<BTreeSet<_>>().len(),
        Per::Identity => identities(stage, provider),
    };
    let rates = limits.rates.iter().filter(|limit| limit.rate.per() < QUOTA);
    let per_second = |limit: &world::Limit| limit.rate.as_per_second() * sharers(limit.per) as f64;
    let transaction = stage.world.transaction_time(provider) + stage.script.round_trip;
    let connections = limits.connections.map(|connections| {
        connections as f64 * stage.script.ips.len() as f64 / transaction.as_secs_f64().max(0.001)
    });
    rates.map(per_second).chain(connections).reduce(f64::min)
}

fn netblock(ip: &IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets()[..3].to_vec(),
        IpAddr::V6(ip) => ip.octets()[..8].to_vec(),
    }
}

/// Senders that write to the provider.
fn identities(stage: &Stage, provider: ProviderIndex) -> usize {
    let load = stage.world.load();
    let writes = |to: &[(ProviderIndex, f64)]| to.iter().any(|&(to, share)| to == provider && share > 0.0);
    let campaigns =
        load.campaigns.iter().filter(|campaign| writes(&campaign.to)).map(|campaign| campaign.identity);
    let streams = load.streams.iter().filter(|stream| writes(&stream.to)).map(|stream| stream.identity);
    campaigns.chain(streams).collect::<BTreeSet<_>>().len().max(1)
}
