//! How the rest of the house uses the engine: submissions, campaigns, views. Every call is answered by the shard that
//! it concerns.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use content::Mailbox;
use content::template::Template;
use mail::{CampaignId, Ledger, RecipientId, UnixMs};
use policy::classify::Ground;
use policy::config::Config;
use policy::provider::ProviderIndex;
use spool::{CampaignPhase, Content, ContentKind};

use crate::Refusal;
use crate::campaigns::Campaign;
use crate::classification::Classifier;
use crate::counters::Counters;
use crate::holds::{Hold, Receiver};
use crate::https::Https;
use crate::resolve::Resolver;
use crate::shard::Shard;
use crate::shared::Shared;
use crate::submission::{Accepted, NewCampaign, NewRecipient, Submission};
use crate::tls_report::TlsReports;
use crate::views::{Found, HoldView, PathFilter, PathView, WaitingView, Why};

/// The most recipients that [`Handle::add_recipients`] takes at once.
pub const BATCH_MAX: usize = 1_000;

/// A way to use a running engine, from any thread.
#[derive(Clone)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
    next_shard: Arc<AtomicUsize>,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, next_shard: Arc::default() }
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.shared.config)
    }

    /// What decides the class of messages.
    #[must_use]
    pub fn classifier(&self) -> &Classifier {
        &self.shared.counting.classifier
    }

    /// The engine's clock.
    #[must_use]
    pub fn now(&self) -> UnixMs {
        self.shared.clock.now()
    }

    /// Takes one message; it is durable when this returns.
    ///
    /// # Errors
    /// Why it is not taken; nothing of it is kept.
    pub async fn submit(&self, submission: Submission) -> Result<Accepted, Refusal> {
        if submission.recipients.is_empty() {
            return Err(Refusal::invalid("to", "there is no recipient"));
        }
        let shard = self.any_shard();
        self.shared
            .ask(
                shard,
                move |shard| async move { shard.submit(submission).await.map(|taken| taken.accepted) },
            )
            .await?
    }

    /// Takes a campaign, without recipients and not started.
    ///
    /// # Errors
    /// A template that cannot be used, a sender that is no address, or the engine refuses.
    pub async fn create_campaign(&self, new: NewCampaign) -> Result<CampaignId, Refusal> {
        self.create_campaign_on(new, Ground::Campaign).await
    }

    /// The same for a campaign whose class was decided by `ground`.
    ///
    /// # Errors
    /// As [`Handle::create_campaign`].
    pub async fn create_campaign_on(&self, new: NewCampaign, ground: Ground) -> Result<CampaignId, Refusal> {
        let template = Template::compile(&new.draft)
            .map_err(|error| Refusal::Invalid { field: error.part.clone(), why: error.to_string() })?;
        let from =
            Mailbox::parse(&new.draft.from).map_err(|error| Refusal::invalid("from", error.to_string()))?;
        let draft =
            serde_json::to_vec(&new.draft).map_err(|error| Refusal::invalid("", error.to_string()))?;
        let created_at = self.now();
        let content = Content {
            kind: ContentKind::Template,
            accepted_at: created_at,
            sender: from.address.as_str().to_owned(),
            tenant: new.tenant.clone(),
            class: new.class,
            identity: from.address.domain().to_owned(),
            name: new.draft.name.clone(),
            ground: spool::Ground { code: ground.code(), because: String::new() },
            ..Content::default()
        };
        let shard = self.any_shard();
        let id = self
            .shared
            .ask(shard, move |shard| async move { shard.create_campaign(content, draft).await })
            .await??;
        self.shared.campaigns.insert(Campaign::new(id, new, template, created_at, CampaignPhase::Created));
        Ok(id)
    }

    /// Takes recipients of a campaign, at most [`BATCH_MAX`] at once; they are durable when this returns.
    ///
    /// # Errors
    /// There is no such campaign, it is over, or the engine refuses; nothing of the batch is kept.
    pub async fn add_recipients(&self, id: CampaignId, batch: Vec<NewRecipient>) -> Result<(), Refusal> {
        let campaign = self.known(id)?;
        if matches!(campaign.phase(), CampaignPhase::Cancelled | CampaignPhase::Finished) {
            return Err(Refusal::Conflict(format!("the campaign is {}", campaign.phase().name())));
        }
        if batch.len() > BATCH_MAX {
            return Err(Refusal::invalid("recipients", format!("more than {BATCH_MAX} at once")));
        }
        let shard = usize::from(id.0.shard());
        self.shared
            .ask(shard, move |shard| async move { shard.add_recipients(&campaign, batch).await })
            .await?
    }

    /// Starts, pauses, resumes or cancels a campaign; durable when this returns.
    ///
    /// # Errors
    /// There is no such campaign, or its phase does not allow it.
    pub async fn set_campaign(&self, id: CampaignId, phase: CampaignPhase) -> Result<(), Refusal> {
        let campaign = self.known(id)?;
        let shard = usize::from(id.0.shard());
        self.shared.ask(shard, move |shard| async move { shard.set_campaign(campaign, phase).await }).await?
    }

    fn known(&self, id: CampaignId) -> Result<Arc<Campaign>, Refusal> {
        self.campaign(id).ok_or_else(|| Refusal::NotFound(format!("there is no campaign {id}")))
    }

    /// One campaign.
    #[must_use]
    pub fn campaign(&self, id: CampaignId) -> Option<Arc<Campaign>> {
        self.shared.campaigns.get(id)
    }

    /// All campaigns, oldest first.
    #[must_use]
    pub fn campaigns(&self) -> Vec<Arc<Campaign>> {
        self.shared.campaigns.all()
    }

    /// The books of all shards together.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.shared.ledger()
    }

    /// What the engine has counted since it was started.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.counters()
    }

    /// How sessions with receivers were protected, by day and domain.
    #[must_use]
    pub fn tls_reports(&self) -> TlsReports {
        self.shared.counting.tls_reports.clone()
    }

    /// Who asks DNS for what is no destination of mail.
    #[must_use]
    pub fn resolver(&self) -> Resolver {
        self.shared.destinations.resolver().clone()
    }

    /// Who asks hosts over HTTPS.
    #[must_use]
    pub fn https(&self) -> Https {
        self.shared.destinations.https().clone()
    }

    /// The logs, for reading; the index is the shard.
    #[must_use]
    pub fn readers(&self) -> Vec<spool::Reader> {
        self.shared.readers.clone()
    }

    /// Lets the shards drop segments that nobody needs. To be called once the readers of the ledger hold what they have
    /// not read; before that nothing is dropped.
    pub fn allow_reclaim(&self) {
        self.shared.condition.reclaiming.store(true, Ordering::Release);
    }

    /// Whether submissions are taken.
    ///
    /// # Errors
    /// Why not.
    pub fn health(&self) -> Result<(), String> {
        self.shared.gate().map_err(|refusal| refusal.to_string())?;
        match self.shared.recordings.fault() {
            Some((shard, why)) => Err(format!("the spool of shard {shard} accepts nothing: {why}")),
            None => Ok(()),
        }
    }

    /// All paths of all shards.
    pub async fn paths(&self) -> Vec<PathView> {
        self.shared.of_all(|shard| shard.paths()).await.into_iter().flatten().collect()
    }

    /// All waiting recipients, by what they wait for.
    pub async fn waiting(&self) -> WaitingView {
        let mut sum = WaitingView::default();
        for view in self.shared.of_all(|shard| shard.waiting()).await {
            sum.scheduled += view.scheduled;
            sum.ready += view.ready;
            sum.held += view.held;
            sum.resolving += view.resolving;
        }
        sum
    }

    /// Lets the paths that `filter` means rest until `until`; returns how many.
    pub async fn suspend(&self, filter: PathFilter, until: UnixMs, reason: String) -> usize {
        let suspend = move |shard: &Rc<Shard>| shard.suspend_paths(&filter, until, &reason);
        self.shared.of_all(suspend).await.into_iter().sum()
    }

    /// Senders whose mail waits because a receiver refuses it by a fault of our own.
    #[must_use]
    pub fn holds(&self) -> Vec<HoldView> {
        let holds = self.shared.condition.holds.all();
        let view = |((identity, receiver), hold): (&(Box<str>, Receiver), &Hold)| HoldView {
            identity: identity.to_string(),
            provider: self.provider_name(*receiver).to_owned(),
            until: hold.until,
            reason: hold.reply.to_string(),
        };
        let now = self.now();
        holds.iter().filter(|(_, hold)| hold.until > now).map(view).collect()
    }

    fn provider_name(&self, receiver: Receiver) -> &str {
        &self.shared.config.providers[ProviderIndex(receiver.provider())].name
    }

    /// Ends the rest of the paths that `filter` means, and, unless it names a source or a site, what holds mail of
    /// senders for that provider; returns how many paths.
    pub async fn resume(&self, filter: PathFilter) -> usize {
        if filter.source.is_none() && filter.site.is_none() {
            let is_meant = |name: &str| filter.provider.as_deref().is_none_or(|provider| provider == name);
            self.shared.condition.holds.end(|receiver| is_meant(self.provider_name(receiver)));
        }
        self.heal(&filter);
        self.shared.of_all(move |shard| shard.resume_paths(&filter)).await.into_iter().sum()
    }

    /// Whether nothing is sent because the spool was restored from a copy.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        self.shared.is_holding()
    }

    /// Lets mail leave that was held because the spool was restored from a copy; says whether it was.
    #[must_use]
    pub fn release(&self) -> bool {
        self.shared.condition.holding.swap(false, Ordering::AcqRel)
    }

    /// Why a recipient waits; `None` when the spool does not hold it. Whether it has been finished already is told by its
    /// events.
    pub async fn explain(&self, id: RecipientId) -> Option<Why> {
        let reader = self.shared.readers.get(usize::from(id.0.shard()))?;
        let recipient = reader.recipient(id).ok()?;
        let content = reader.content_head(recipient.content()).ok()?;
        let found = self.shared.of_all(move |shard| shard.explain(id)).await.into_iter().flatten().next();
        let found = found.or_else(|| self.unrecordable(id));
        Some(Why::new(&recipient, &content, found))
    }

    /// Why a recipient that no queue holds does not leave, when it is for its log.
    fn unrecordable(&self, id: RecipientId) -> Option<Found> {
        let shard = id.0.shard();
        let fault = self.shared.recordings.fault_of(usize::from(shard))?;
        let words = format!("the spool of shard {shard}, which can write nothing at the moment: {fault}");
        Some(Found::new("spool.fault", words))
    }

    /// A number that is given only once, for Message-IDs of submissions that come by HTTP.
    pub async fn unique(&self) -> Result<u64, Refusal> {
        self.shared.ask(self.any_shard(), |shard| async move { shard.unique() }).await
    }

    /// The shards in turn, apart from those whose spool accepts nothing.
    pub(super) fn any_shard(&self) -> usize {
        let shards = self.shared.shards.len();
        let first = self.next_shard.fetch_add(1, Ordering::Relaxed) % shards;
        let in_turn = (first..first + shards).map(|shard| shard % shards);
        let mut sound = in_turn.filter(|shard| self.shared.recordings.fault_of(*shard).is_none());
        sound.next().unwrap_or(first)
    }
}
