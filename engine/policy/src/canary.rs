//! The gates of campaigns: how many recipients of a campaign may go to each provider before its first ones are judged.
//!
//! Read and taken from by all shards without a lock; [`crate::brain::Brain`] judges and widens. It knows only numbers: it
//! refuses to judge. Asked for bulk campaigns alone: critical, transactional and personal mail has no canary.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use mail::CampaignId;
use rustc_hash::FxHashMap;

/// Campaigns with a gate at the same time: at 24 bytes for each of about 60 providers the table stays below 8 MB. At the limit
/// the oldest open campaign is forgotten, or else the oldest: if anything of it still goes it begins anew, with a canary.
pub const CAMPAIGNS_MAX: usize = 4096;
/// Bad senders known at the same time.
const BAD_SENDERS_MAX: usize = 65_536;
/// The part of the first step over all providers that one of them has at least room for.
const PROVIDERS_SHARE: u64 = 10;
/// The first step over all providers of a list of unknown size, in first steps of one provider.
const UNKNOWN_STEPS: u64 = 3;

/// How large the first step of a campaign is: `[canary]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FirstStep {
    /// Whether there are gates at all.
    pub enabled: bool,
    /// Recipients at one provider.
    pub size: u64,
    /// Recipients at all providers, as a share of the list where its size is known.
    pub share: f64,
    /// Never fewer than this at all providers: fewer tell nothing.
    pub least: u64,
}

impl Default for FirstStep {
    fn default() -> Self {
        Self { enabled: true, size: 300, share: 0.005, least: 50 }
    }
}

impl FirstStep {
    /// Recipients at all providers and at one, of a list of `recipients` (0: unknown).
    #[must_use]
    pub fn of_list(&self, recipients: u64) -> (u64, u64) {
        let total = match recipients {
            0 => self.size.saturating_mul(UNKNOWN_STEPS),
            known => (known as f64 * self.share) as u64,
        };
        let total = total.max(self.least).max(1);
        // Several providers have part in it, so that a slow one does not hold up the judgement.
        let lane = (total / PROVIDERS_SHARE).max(self.least / 2).min(total);
        (total, self.size.min(lane).max(1))
    }
}

/// How many may pass and how many did.
#[derive(Debug, Default)]
struct Allowance {
    allowed: AtomicU64,
    passed: AtomicU64,
    /// Somebody was turned away since this was last asked.
    refused: AtomicBool,
}

impl Allowance {
    fn of(allowed: u64) -> Self {
        Self { allowed: AtomicU64::new(allowed), ..Self::default() }
    }

    fn take(&self) -> bool {
        let within = |passed: u64| (passed < self.allowed.load(Ordering::Acquire)).then_some(passed + 1);
        let taken = self.passed.fetch_update(Ordering::AcqRel, Ordering::Acquire, within).is_ok();
        if !taken {
            self.refused.store(true, Ordering::Release);
        }
        taken
    }

    fn give_back(&self) {
        let _ = self.passed.fetch_update(Ordering::AcqRel, Ordering::Acquire, |passed| passed.checked_sub(1));
    }

    fn view(&self) -> GateView {
        let allowed = self.allowed.load(Ordering::Acquire);
        GateView {
            passed: self.passed.load(Ordering::Acquire),
            allowed: (allowed != u64::MAX).then_some(allowed),
        }
    }

    fn restore(&self, view: GateView) {
        self.passed.store(view.passed, Ordering::Release);
        self.allowed.store(view.allowed.unwrap_or(u64::MAX), Ordering::Release);
    }

    fn room(&self) -> u64 {
        let allowed = self.allowed.load(Ordering::Acquire);
        allowed.saturating_sub(self.passed.load(Ordering::Acquire))
    }
}

/// What a gate has let through, for `why` and the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateView {
    /// Recipients that have passed.
    pub passed: u64,
    /// Recipients that may pass, those included; `None`: the gate is open. 0: it is shut.
    pub allowed: Option<u64>,
}

/// The gates of one campaign.
#[derive(Debug)]
pub(crate) struct CampaignGates {
    /// How many campaigns came before it.
    serial: u64,
    recipients: AtomicU64,
    total: Allowance,
    lanes: Box<[Allowance]>,
}

impl CampaignGates {
    fn lane(&self, provider: u16) -> Option<&Allowance> {
        self.lanes.get(usize::from(provider)).or_else(|| self.lanes.first())
    }

    fn pass(&self, provider: u16) -> bool {
        let Some(lane) = self.lane(provider) else { return true };
        if !self.total.take() {
            lane.refused.store(true, Ordering::Release);
            return false;
        }
        let passes = lane.take();
        if !passes {
            self.total.give_back();
        }
        passes
    }

    fn is_open(&self) -> bool {
        self.total.allowed.load(Ordering::Acquire) == u64::MAX
            && self.lanes.iter().all(|lane| lane.allowed.load(Ordering::Acquire) == u64::MAX)
    }

    /// The least is the one to be forgotten.
    fn worth(&self) -> (u8, u64) {
        let rank = match () {
            () if self.is_open() => 0,
            () if !self.is_stopped() => 1,
            () => 2,
        };
        (rank, self.serial)
    }

    fn is_stopped(&self) -> bool {
        self.total.allowed.load(Ordering::Acquire) == 0
    }

    /// Allows at least `total` and `lane`, unless the campaign is stopped.
    fn allow(&self, total: u64, lane: u64) {
        if self.is_stopped() {
            return;
        }
        self.total.allowed.fetch_max(total, Ordering::AcqRel);
        for gate in &self.lanes {
            gate.allowed.fetch_max(lane, Ordering::AcqRel);
        }
    }

    /// Recipients of the list that are known of; 0: unknown.
    pub(crate) fn recipients(&self) -> u64 {
        self.recipients.load(Ordering::Acquire)
    }

    /// Whether all of the list that is known of has passed.
    pub(crate) fn is_through(&self) -> bool {
        let recipients = self.recipients();
        recipients > 0 && self.total.passed.load(Ordering::Acquire) >= recipients
    }

    pub(crate) fn total(&self) -> GateView {
        self.total.view()
    }

    pub(crate) fn at(&self, provider: u16) -> GateView {
        self.lane(provider).map_or(GateView { passed: 0, allowed: None }, Allowance::view)
    }

    /// The providers at which somebody was turned away though there is room by now. Each is named once.
    pub(crate) fn awaited(&self) -> Vec<u16> {
        if self.total.room() == 0 {
            return Vec::new();
        }
        let waits = |lane: &Allowance| lane.room() > 0 && lane.refused.swap(false, Ordering::AcqRel);
        (0..).zip(&self.lanes).filter(|(_, lane)| waits(lane)).map(|(provider, _)| provider).collect()
    }

    /// Whether somebody was turned away at `provider` and nobody was told since.
    pub(crate) fn is_awaited(&self, provider: u16) -> bool {
        self.lane(provider).is_some_and(|lane| lane.refused.load(Ordering::Acquire))
    }

    /// So many may pass at `provider`, those that did included; `u64::MAX`: all.
    pub(crate) fn widen(&self, provider: u16, allowed: u64) {
        if let Some(lane) = self.lane(provider) {
            lane.allowed.fetch_max(allowed, Ordering::AcqRel);
        }
    }

    /// What all providers share is no limit any more.
    pub(crate) fn lift_total(&self) {
        self.total.allowed.store(u64::MAX, Ordering::Release);
    }

    /// Nothing more passes.
    pub(crate) fn stop(&self) {
        self.total.allowed.store(0, Ordering::Release);
    }

    /// Nothing more passes at `provider`.
    pub(crate) fn shut(&self, provider: u16) {
        if let Some(lane) = self.lane(provider) {
            lane.allowed.store(0, Ordering::Release);
        }
    }

    /// A first step anew, behind what has passed.
    pub(crate) fn restart(&self, first: &FirstStep) {
        let (total, lane_size) = first.of_list(self.recipients());
        for lane in &self.lanes {
            let passed = lane.passed.load(Ordering::Acquire);
            lane.allowed.store(passed.saturating_add(lane_size), Ordering::Release);
        }
        let passed = self.total.passed.load(Ordering::Acquire);
        self.total.allowed.store(passed.saturating_add(total), Ordering::Release);
    }

    /// As it was saved: `None` is open.
    pub(crate) fn restore(&self, recipients: u64, total: GateView) {
        self.recipients.fetch_max(recipients, Ordering::AcqRel);
        self.total.restore(total);
    }

    pub(crate) fn restore_lane(&self, provider: u16, view: GateView) {
        if let Some(lane) = self.lanes.get(usize::from(provider)) {
            lane.restore(view);
        }
    }

    /// How many providers there are gates to.
    pub(crate) fn lanes(&self) -> u16 {
        u16::try_from(self.lanes.len()).unwrap_or(u16::MAX)
    }

    /// Whether anybody has ever passed or been turned away at `provider`.
    pub(crate) fn was_asked(&self, provider: u16) -> bool {
        self.is_awaited(provider) || self.at(provider).passed > 0
    }
}

type Campaigns = FxHashMap<CampaignId, Arc<CampaignGates>>;

/// All gates of the engine.
#[derive(Debug)]
pub struct Gates {
    first: FirstStep,
    providers: usize,
    campaigns: ArcSwap<Campaigns>,
    bad_senders: ArcSwap<BTreeSet<u32>>,
    serial: AtomicU64,
    /// Who changes the map holds this; it is taken once for each campaign.
    changing: Mutex<()>,
}

impl Gates {
    /// Gates to so many providers.
    #[must_use]
    pub fn new(first: FirstStep, providers: usize) -> Self {
        Self {
            first,
            providers: providers.max(1),
            campaigns: ArcSwap::default(),
            bad_senders: ArcSwap::default(),
            serial: AtomicU64::new(0),
            changing: Mutex::new(()),
        }
    }

    /// The list of `campaign` has so many recipients, or so many as yet: its first step is measured by that.
    pub fn announce(&self, campaign: CampaignId, recipients: u64) {
        if !self.first.enabled {
            return;
        }
        let gates = self.gates_of(campaign, recipients);
        let known = gates.recipients.fetch_max(recipients, Ordering::AcqRel).max(recipients);
        let (total, lane) = self.first.of_list(known);
        gates.allow(total, lane);
    }

    /// Takes one of what may go to `provider` for `campaign`: asked once for each recipient, before its first attempt. When it
    /// is false the recipient is held until an [`Order::Open`](crate::brain::Order::Open).
    #[must_use]
    pub fn pass(&self, campaign: CampaignId, provider: u16) -> bool {
        if !self.first.enabled {
            return true;
        }
        match self.campaigns.load().get(&campaign) {
            Some(gates) => gates.pass(provider),
            None => self.gates_of(campaign, 0).pass(provider),
        }
    }

    /// What [`Self::pass`] took was not used: no attempt was made.
    pub fn give_back(&self, campaign: CampaignId, provider: u16) {
        if let Some(gates) = self.campaigns.load().get(&campaign) {
            gates.total.give_back();
            gates.lane(provider).into_iter().for_each(Allowance::give_back);
        }
    }

    /// How many may pass at once; `u64::MAX` when the gate is open or was never asked for.
    #[must_use]
    pub fn room(&self, campaign: CampaignId, provider: u16) -> u64 {
        let campaigns = self.campaigns.load();
        let Some(gates) = campaigns.get(&campaign) else { return u64::MAX };
        gates.lane(provider).map_or(u64::MAX, Allowance::room).min(gates.total.room())
    }

    /// The gate of `campaign` at `provider`: the narrower of its own and the one over all providers; `None` when nobody has
    /// asked for it.
    #[must_use]
    pub fn view(&self, campaign: CampaignId, provider: u16) -> Option<GateView> {
        let gates = self.campaigns.load().get(&campaign).cloned()?;
        let (own, total) = (gates.at(provider), gates.total());
        let narrower =
            |view: GateView| view.allowed.map_or(u64::MAX, |allowed| allowed.saturating_sub(view.passed));
        Some(if narrower(own) <= narrower(total) { own } else { total })
    }

    /// Whether the sender of `identity` has earned the help of reserve sources: it has, until a campaign or stream of it is
    /// judged bad.
    #[must_use]
    pub fn is_good(&self, identity: u32) -> bool {
        !self.bad_senders.load().contains(&identity)
    }

    pub(crate) fn set_good(&self, identity: u32, good: bool) {
        if self.is_good(identity) == good {
            return;
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut senders = BTreeSet::clone(&self.bad_senders.load());
        if good {
            senders.remove(&identity);
        } else if senders.len() < BAD_SENDERS_MAX {
            senders.insert(identity);
        }
        self.bad_senders.store(Arc::new(senders));
    }

    pub(crate) fn first(&self) -> &FirstStep {
        &self.first
    }

    pub(crate) fn campaign(&self, campaign: CampaignId) -> Option<Arc<CampaignGates>> {
        self.campaigns.load().get(&campaign).cloned()
    }

    /// All campaigns with gates, in the order of their numbers, so that equal histories are judged in equal order.
    pub(crate) fn campaigns(&self) -> Vec<(CampaignId, Arc<CampaignGates>)> {
        let mut list: Vec<_> =
            self.campaigns.load().iter().map(|(&campaign, gates)| (campaign, Arc::clone(gates))).collect();
        list.sort_unstable_by_key(|&(campaign, _)| campaign);
        list
    }

    pub(crate) fn forget(&self, forgotten: &[CampaignId]) {
        if forgotten.is_empty() {
            return;
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut campaigns = Campaigns::clone(&self.campaigns.load());
        forgotten.iter().for_each(|campaign| drop(campaigns.remove(campaign)));
        self.campaigns.store(Arc::new(campaigns));
    }

    /// The gates of `campaign`, made for a list of so many (0: unknown) when there are none.
    pub(crate) fn gates_of(&self, campaign: CampaignId, recipients: u64) -> Arc<CampaignGates> {
        if let Some(gates) = self.campaign(campaign) {
            return gates;
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut campaigns = Campaigns::clone(&self.campaigns.load());
        if let Some(gates) = campaigns.get(&campaign) {
            return Arc::clone(gates);
        }
        if campaigns.len() >= CAMPAIGNS_MAX
            && let Some((&first, _)) = campaigns.iter().min_by_key(|(_, gates)| gates.worth())
        {
            campaigns.remove(&first);
        }
        let (total, lane) = self.first.of_list(recipients);
        let gates = Arc::new(CampaignGates {
            serial: self.serial.fetch_add(1, Ordering::Relaxed),
            recipients: AtomicU64::new(recipients),
            total: Allowance::of(total),
            lanes: (0..self.providers).map(|_| Allowance::of(lane)).collect(),
        });
        campaigns.insert(campaign, Arc::clone(&gates));
        self.campaigns.store(Arc::new(campaigns));
        gates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAMPAIGN: CampaignId = CampaignId::from_raw(9);

    #[test]
    fn first_steps_by_the_size_of_the_list() {
        let first = FirstStep::default();
        for (recipients, total, lane) in [
            (0, 900, 90),
            (1, 50, 25),
            (1_000, 50, 25),
            (20_000, 100, 25),
            (100_000, 500, 50),
            (1_000_000, 5_000, 300),
            (100_000_000, 500_000, 300),
        ] {
            assert_eq!(first.of_list(recipients), (total, lane), "{recipients}");
        }
        let odd = FirstStep { size: 1, share: 0.0, least: 0, ..first };
        assert_eq!(odd.of_list(5), (1, 1), "never nobody: nothing would be learned");
    }

    #[test]
    fn a_step_is_taken_once_and_what_is_given_back_can_be_taken_again() {
        let gates = Gates::new(FirstStep::default(), 3);
        gates.announce(CAMPAIGN, 10_000);
        assert_eq!((0..100).filter(|_| gates.pass(CAMPAIGN, 0)).count(), 25);
        assert_eq!((0..100).filter(|_| gates.pass(CAMPAIGN, 1)).count(), 25);
        assert!(!gates.pass(CAMPAIGN, 2), "the step over all is used up");
        assert_eq!(gates.view(CAMPAIGN, 2), Some(GateView { passed: 50, allowed: Some(50) }));
        gates.give_back(CAMPAIGN, 0);
        assert_eq!(gates.room(CAMPAIGN, 2), 1);
        assert!(gates.pass(CAMPAIGN, 2) && !gates.pass(CAMPAIGN, 2));
        gates.announce(CAMPAIGN, 40_000);
        assert_eq!(gates.room(CAMPAIGN, 2), 24, "the list has grown, and its first step with it");
        gates.announce(CAMPAIGN, 10);
        assert_eq!(gates.room(CAMPAIGN, 2), 24, "and never shrinks");
    }

    #[test]
    fn a_stopped_campaign_stays_so_when_its_list_grows() {
        let gates = Gates::new(FirstStep::default(), 1);
        gates.announce(CAMPAIGN, 10_000);
        gates.campaign(CAMPAIGN).expect("announced").stop();
        gates.announce(CAMPAIGN, 10_000_000);
        assert!(!gates.pass(CAMPAIGN, 0));
    }

    #[test]
    fn without_canaries_everything_passes_and_nothing_is_kept() {
        let gates = Gates::new(FirstStep { enabled: false, ..FirstStep::default() }, 1);
        gates.announce(CAMPAIGN, 10_000);
        assert!((0..10_000).all(|_| gates.pass(CAMPAIGN, 0)));
        assert_eq!((gates.view(CAMPAIGN, 0), gates.room(CAMPAIGN, 0)), (None, u64::MAX));
    }

    #[test]
    fn a_provider_of_another_configuration_shares_the_first_gate() {
        let gates = Gates::new(FirstStep::default(), 1);
        assert!((0..90).all(|_| gates.pass(CAMPAIGN, 77)) && !gates.pass(CAMPAIGN, 0));
    }

    #[test]
    fn bad_senders_are_known_to_all() {
        let gates = Gates::new(FirstStep::default(), 1);
        gates.set_good(5, false);
        assert!(!gates.is_good(5) && gates.is_good(6));
        gates.set_good(5, true);
        assert!(gates.is_good(5));
    }

    #[test]
    fn many_shards_never_pass_more_than_is_allowed() {
        let gates = Gates::new(FirstStep::default(), 4);
        gates.announce(CAMPAIGN, 1_000_000);
        let shard = |seed: u64| {
            let gates = &gates;
            move || {
                let mut passed = 0_u64;
                for n in 0..5_000 {
                    let provider = ((n + seed) % 4) as u16;
                    let passes = gates.pass(CAMPAIGN, provider);
                    // Each third one is not used after all.
                    match passes && n % 3 == 0 {
                        true => gates.give_back(CAMPAIGN, provider),
                        false => passed += u64::from(passes),
                    }
                }
                passed
            }
        };
        let sum: u64 = std::thread::scope(|scope| {
            let shards: Vec<_> = (0..4).map(|seed| scope.spawn(shard(seed))).collect();
            shards.into_iter().map(|shard| shard.join().expect("no panic")).sum()
        });
        let gates = gates.campaign(CAMPAIGN).expect("announced");
        assert_eq!((gates.total().passed, sum), (1_200, 1_200), "four providers of 300");
        assert!((0..4).all(|provider| gates.at(provider).passed == 300));
    }
}
