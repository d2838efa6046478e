//! From the sending side of a world to the mail that is played: campaigns and streams become batches of recipients.

use std::time::Duration;

use mail::{Address, CampaignId, Class};
use policy::brain::identity_of;
use world::load::ListShares;
use world::{ProviderIndex, World};

use crate::letters::{Batch, Letters};
use crate::script::Script;
use crate::stage::Stage;
use crate::{Fault, Only, Options};

/// Recipients that can be played.
const RECIPIENTS_MAX: u64 = 20_000_000;

/// What campaigns and streams have in common.
struct Common<'a> {
    name: &'a str,
    class: Class,
    tenant: Option<usize>,
    identity: usize,
    count: u64,
    list: ListShares,
    bytes: u32,
}

/// How large campaigns are played.
#[derive(Clone, Copy)]
struct Scale {
    asked: u64,
    volume: Option<u64>,
    shrink: u64,
}

impl Scale {
    fn of(self, recipients: u64) -> u64 {
        let wanted = match self.volume {
            Some(volume) => {
                (u128::from(recipients) * u128::from(volume) / u128::from(self.asked.max(1))) as u64
            }
            None => recipients,
        };
        wanted / self.shrink
    }
}

/// Everything set up for the first event.
pub(crate) fn stage(world: World, options: &Options, length: Duration) -> Result<Stage, Fault> {
    let mut script = Script::new(&world, options)?;
    let mut letters = Letters::new(options.seed.unwrap_or(1));
    let load = world.load().clone();
    let asked = load.campaigns.iter().map(|campaign| campaign.recipients).sum::<u64>();
    let scale = Scale { asked, volume: options.volume, shrink: options.shrink.max(1) };
    if scale.of(asked) > RECIPIENTS_MAX {
        return Err(Fault::TooMany(asked));
    }
    for campaign in load.campaigns.iter().filter(|_| options.only != Some(Only::Streams)) {
        let common = Common {
            name: &campaign.name,
            class: campaign.class,
            tenant: campaign.tenant,
            identity: campaign.identity,
            count: scale.of(campaign.recipients),
            list: campaign.list,
            bytes: campaign.size,
        };
        let number = letters.batches.len() as u64 + 1;
        let mut batch = batch(&world, &common);
        batch.campaign = Some(CampaignId::from_raw(number));
        letters.add(batch, &positions(&world, &campaign.to));
        script.starts.push(campaign.starts);
        script.pauses.push(Duration::ZERO);
    }
    for stream in load.streams.iter().filter(|_| options.only != Some(Only::Campaigns)) {
        let pause = stream.rate.per() / stream.rate.count().max(1);
        let lasts = stream.until.unwrap_or(length).min(length).saturating_sub(stream.from);
        let count = (lasts.as_nanos() / pause.as_nanos().max(1)) as u64;
        let count = count.min(RECIPIENTS_MAX.saturating_sub(letters.count()));
        let common = Common {
            name: &stream.name,
            class: stream.class,
            tenant: stream.tenant,
            identity: stream.identity,
            count,
            list: stream.list,
            bytes: stream.size,
        };
        let mut batch = batch(&world, &common);
        batch.deadline_s = stream.deadline.map(|deadline| deadline.as_secs() as u32);
        letters.add(batch, &positions(&world, &stream.to));
        script.starts.push(stream.from);
        script.pauses.push(pause);
    }
    if letters.count() == 0 {
        return Err(Fault::Empty);
    }
    Ok(Stage::new(world, letters, script))
}

fn batch(world: &World, common: &Common<'_>) -> Batch {
    let domain = &world.load().identities[common.identity].domain;
    let sender = Address::parse(&format!("sender@{domain}"));
    let ListShares { unknown, full, trap, complain, mailboxes } = common.list;
    Batch {
        name: common.name.to_owned(),
        class: common.class,
        tenant: common.tenant.map_or(0, |tenant| tenant as u32 + 1),
        sender: sender.unwrap_or_else(|_| Address::parse("sender@sender.example").expect("a plain address")),
        identity: identity_of(domain),
        campaign: None,
        first: 0,
        count: common.count as u32,
        natures: [unknown, full, trap, complain],
        mailboxes,
        bytes: common.bytes,
        deadline_s: None,
    }
}

/// Shares by the position of each provider in the world.
fn positions(world: &World, to: &[(ProviderIndex, f64)]) -> Vec<(u8, f64)> {
    let position =
        |provider: ProviderIndex| world.providers().position(|other| other == provider).unwrap_or(0);
    to.iter().map(|&(provider, share)| (position(provider) as u8, share)).collect()
}
