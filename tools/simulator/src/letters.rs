//! The mail of a rehearsal: who writes to whom, and what has become of each recipient. It refuses to know the way there.

use mail::{Address, CampaignId, Class, RecipientId};
use policy::source::mixed;

/// A campaign or a stream: mail of one kind from one sender.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) name: String,
    pub(crate) class: Class,
    /// Position among the tenants of the world.
    pub(crate) tenant: u32,
    pub(crate) sender: Address,
    /// The number by which the queue knows the sender's domain.
    pub(crate) identity: u32,
    /// A campaign's number; a stream has none.
    pub(crate) campaign: Option<CampaignId>,
    /// The first of its recipients, which lie side by side.
    pub(crate) first: u32,
    pub(crate) count: u32,
    /// Shares of addresses that do not exist, are full, are traps, and whose owners complain.
    pub(crate) natures: [f64; 4],
    /// How many mailboxes it goes to, when many messages go to the same ones.
    pub(crate) mailboxes: Option<u64>,
    /// Bytes of one message.
    pub(crate) bytes: u32,
    /// Seconds within which it must arrive.
    pub(crate) deadline_s: Option<u32>,
}

/// What those are called in addresses.
const NATURES: [&str; 4] = ["unknown", "full", "trap", "complain"];

/// What has become of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fate {
    /// Not yet sent by its author.
    Unsent,
    Waiting,
    Delivered,
    Bounced,
    Expired,
    Cancelled,
}

/// All recipients.
#[derive(Debug)]
pub(crate) struct Letters {
    pub(crate) batches: Vec<Batch>,
    seed: u64,
    /// Per recipient: its batch, its provider's position in the world, what became of it, how often it was offered.
    batch: Vec<u16>,
    provider: Vec<u8>,
    fate: Vec<Fate>,
    offered: Vec<bool>,
    /// By [`Fate`].
    counts: [u64; 6],
    /// By batch.
    waiting: Vec<u64>,
}

impl Letters {
    pub(crate) const fn new(seed: u64) -> Self {
        Self {
            batches: Vec::new(),
            seed,
            batch: Vec::new(),
            provider: Vec::new(),
            fate: Vec::new(),
            offered: Vec::new(),
            counts: [0; 6],
            waiting: Vec::new(),
        }
    }

    /// Adds a batch whose recipients are shared out over providers by `shares` (of the position of each; they sum to 1).
    pub(crate) fn add(&mut self, mut batch: Batch, shares: &[(u8, f64)]) {
        batch.first = self.batch.len() as u32;
        let number = self.batches.len() as u16;
        for index in 0..batch.count {
            let chance = portion(self.seed ^ mixed(u64::from(batch.first + index)), 1);
            self.batch.push(number);
            self.provider.push(pick(shares, chance));
        }
        let total = self.batch.len();
        self.fate.resize(total, Fate::Unsent);
        self.offered.resize(total, false);
        self.counts[Fate::Unsent as usize] += u64::from(batch.count);
        self.waiting.push(0);
        self.batches.push(batch);
    }

    /// Whether the end of a batch is the end of what is sent: streams go on beside campaigns.
    pub(crate) fn is_awaited(&self, batch: &Batch) -> bool {
        batch.campaign.is_some() || self.batches[0].campaign.is_none()
    }

    pub(crate) fn count(&self) -> u64 {
        self.batch.len() as u64
    }

    pub(crate) fn batch_index(&self, id: RecipientId) -> usize {
        usize::from(self.batch[index_of(id)])
    }

    pub(crate) fn batch(&self, id: RecipientId) -> &Batch {
        &self.batches[self.batch_index(id)]
    }

    /// The provider's position in the world.
    pub(crate) fn provider(&self, id: RecipientId) -> u8 {
        self.provider[index_of(id)]
    }

    pub(crate) fn fate(&self, id: RecipientId) -> Fate {
        self.fate[index_of(id)]
    }

    /// Writes down what becomes of a recipient.
    pub(crate) fn set(&mut self, id: RecipientId, fate: Fate) {
        let waiting = &mut self.waiting[usize::from(self.batch[index_of(id)])];
        let place = &mut self.fate[index_of(id)];
        *waiting -= u64::from(*place == Fate::Waiting);
        *waiting += u64::from(fate == Fate::Waiting);
        self.counts[*place as usize] -= 1;
        self.counts[fate as usize] += 1;
        *place = fate;
    }

    /// Notes that a provider was offered a recipient.
    pub(crate) fn offer(&mut self, id: RecipientId) {
        self.offered[index_of(id)] = true;
    }

    pub(crate) fn of(&self, fate: Fate) -> u64 {
        self.counts[fate as usize]
    }

    /// Recipients that wait of the batches that are meant.
    pub(crate) fn waiting(&self, meant: impl Fn(&Batch) -> bool) -> u64 {
        self.batches
            .iter()
            .zip(&self.waiting)
            .filter(|(batch, _)| meant(batch))
            .map(|(_, waiting)| waiting)
            .sum()
    }

    /// Recipients of a batch with this fate. Walks over them.
    pub(crate) fn of_batch(&self, batch: &Batch, fate: Fate) -> u64 {
        let range = batch.first as usize..(batch.first + batch.count) as usize;
        self.fate[range].iter().filter(|&&has| has == fate).count() as u64
    }

    /// Recipients of a batch that a provider was offered. Walks over them.
    pub(crate) fn offered(&self, batch: &Batch) -> u64 {
        let range = batch.first as usize..(batch.first + batch.count) as usize;
        self.offered[range].iter().filter(|&&was| was).count() as u64
    }

    /// What distinguishes the mailbox of a recipient from others.
    pub(crate) fn mailbox(&self, id: RecipientId) -> u64 {
        let batch = self.batch(id);
        let index = index_of(id) as u32;
        let number = match batch.mailboxes {
            Some(mailboxes) => u64::from(index - batch.first) % mailboxes.max(1),
            None => u64::from(index),
        };
        let space = if batch.mailboxes.is_some() { u64::from(batch.first) << 32 } else { 1 << 63 };
        mixed(self.seed ^ number ^ space)
    }

    /// The part before the @: it says what kind of mailbox it is.
    pub(crate) fn local(&self, id: RecipientId) -> String {
        let mailbox = self.mailbox(id);
        let mut chance = portion(mailbox, 2);
        for (share, nature) in self.batch(id).natures.iter().zip(NATURES) {
            if chance < *share {
                return format!("{nature}{mailbox:x}");
            }
            chance -= share;
        }
        format!("u{mailbox:x}")
    }
}

pub(crate) fn index_of(id: RecipientId) -> usize {
    // Ids begin at 1: 0 names nobody.
    id.raw() as usize - 1
}

pub(crate) fn id_of(index: u32) -> RecipientId {
    RecipientId::from_raw(u64::from(index) + 1)
}

/// A number between 0 and 1 (not included) that depends on nothing but its arguments.
pub(crate) fn portion(seed: u64, salt: u64) -> f64 {
    (mixed(seed ^ mixed(salt)) >> 11) as f64 / (1_u64 << 53) as f64
}

fn pick(shares: &[(u8, f64)], mut chance: f64) -> u8 {
    for &(provider, share) in shares {
        if chance < share {
            return provider;
        }
        chance -= share;
    }
    shares.last().map_or(0, |&(provider, _)| provider)
}
