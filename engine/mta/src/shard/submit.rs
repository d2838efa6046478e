//! Takes mail in: spool first, then `Durable`, then the queue, then the answer. Nothing is promised before.

use std::rc::Rc;
use std::time::Duration;

use mail::{Address, CampaignId, MessageId, RecipientId, UnixMs};
use policy::config::ClassPolicy;
use queue::{FlowKey, Ticket};
use spool::{CampaignPhase, Content, ContentKind, Durable, Needs, Recipient, SpoolError};

use super::Shard;
use super::due::{domain_of, identity_number, tenant_number};
use crate::Refusal;
use crate::campaigns::Campaign;
use crate::classification::ground_of;
use crate::submission::{Accepted, NewRecipient, Submission, SubmissionMeta};

/// A message that has been taken, with the proof that it will survive.
pub(crate) struct Taken {
    pub(crate) accepted: Accepted,
    /// What allows the answer 250 or 202.
    pub(crate) _proof: Durable,
}

impl From<SpoolError> for Refusal {
    fn from(error: SpoolError) -> Self {
        match error {
            SpoolError::NoRoom { .. } => Self::NoRoom(error.to_string()),
            SpoolError::TooLarge { .. } | SpoolError::Encode(_) => Self::invalid("", error.to_string()),
            // Paths of this host are nobody's business outside.
            error if error.is_disk_full() => Self::NoRoom("the disk of the spool is full".to_owned()),
            SpoolError::Io { action, source, .. } => {
                Self::Spool(format!("it cannot {action} a file: {source}"))
            }
            error => Self::Spool(error.to_string()),
        }
    }
}

impl Shard {
    /// Takes one message with its recipients; when it returns, they are durable and on their way.
    pub(crate) async fn submit(self: &Rc<Self>, submission: Submission) -> Result<Taken, Refusal> {
        let Submission { meta, body, recipients } = submission;
        self.submit_in_parts(meta, &[&body], recipients).await
    }

    /// The same of a message that comes in parts, which are looked at before anything is waited for.
    pub(crate) async fn submit_in_parts(
        self: &Rc<Self>,
        meta: SubmissionMeta,
        body: &[&[u8]],
        recipients: Vec<NewRecipient>,
    ) -> Result<Taken, Refusal> {
        self.gate()?;
        let now = self.now();
        let quotas = &self.shared.brain.quotas;
        quotas.take(&meta.tenant, meta.class, recipients.len(), now)?;
        let life = Life::of(self, &meta, now);
        let content = content_of(meta, now, body);
        let records: Vec<Recipient> = recipients.into_iter().map(|new| life.record(new)).collect();
        let mut ids = Vec::with_capacity(records.len());
        let message = self
            .journal
            .append(|log| log.append_message_of(&content, body, &records, &mut ids))
            .inspect_err(|_| quotas.give_back(&content.tenant, content.class, records.len()))?;
        let proof = self.journal.durable().await?;
        self.publish();
        self.counters.messages_in.add(1);
        let bytes: usize = body.iter().map(|part| part.len()).sum();
        self.counters.bytes_in.add(bytes as u64);
        let flow = FlowKey {
            class: content.class,
            tenant: tenant_number(&content.tenant),
            campaign: None,
            identity: identity_number(&content.identity),
        };
        for (id, record) in ids.iter().zip(&records) {
            self.begin(life.ticket(*id), flow, &content, record, now).await;
        }
        Ok(Taken { accepted: Accepted { message, recipients: ids }, _proof: proof })
    }

    async fn begin(
        self: &Rc<Self>,
        ticket: Ticket,
        flow: FlowKey,
        content: &Content,
        to: &Recipient,
        now: UnixMs,
    ) {
        if to.not_before > now || self.shared.is_holding() {
            return self.schedule(ticket, None, to.not_before.max(now));
        }
        let domain = domain_of(&to.address);
        self.route(ticket, flow, &content.identity, domain, content.needs.tls).await;
    }

    /// Takes a campaign; its recipients come later.
    pub(crate) async fn create_campaign(
        &self,
        content: Content,
        draft: Vec<u8>,
    ) -> Result<CampaignId, Refusal> {
        self.gate()?;
        let at = content.accepted_at;
        let campaign = self.journal.append(|log| {
            let campaign = CampaignId(log.append_content(&content, &draft)?.0);
            log.append_campaign_state(&spool::CampaignState { campaign, phase: CampaignPhase::Created, at })?;
            Ok(campaign)
        })?;
        self.journal.durable().await?;
        Ok(campaign)
    }

    /// Takes recipients of a campaign; when it returns, they are durable.
    pub(crate) async fn add_recipients(
        self: &Rc<Self>,
        campaign: &Campaign,
        batch: Vec<NewRecipient>,
    ) -> Result<(), Refusal> {
        self.gate()?;
        let now = self.now();
        let quotas = &self.shared.brain.quotas;
        let (tenant, class, count) = (&campaign.tenant, campaign.class, batch.len());
        let moments = quotas.appoint(tenant, class, count, now)?;
        let life = Life::of_campaign(self, campaign, now);
        let policy = self.shared.config.class(class);
        let mut taken = Vec::with_capacity(count);
        let appended = self.journal.append(|log| {
            for (place, new) in (0..).zip(batch) {
                let life = life.from(moments.and_then(|moments| moments.of(place)), policy);
                let record = Recipient { content: MessageId(campaign.id.0), ..life.record(new) };
                taken.push((log.append_recipient(&record)?, life));
            }
            Ok(())
        });
        if let Err(error) = appended {
            // The batch is refused as a whole: whoever sends it again must not send those before the error twice.
            taken.into_iter().for_each(|(id, life)| self.cancel(life.ticket(id)));
            quotas.give_back(tenant, class, count);
            return Err(error.into());
        }
        self.journal.durable().await?;
        self.publish();
        self.announce(campaign, count as u64);
        for (id, life) in taken {
            match campaign.phase() {
                CampaignPhase::Created | CampaignPhase::Paused => {
                    self.hold(campaign.id, None, life.ticket(id))
                }
                _ => self.schedule(life.ticket(id), Some(campaign.id), life.not_before.max(now)),
            }
        }
        Ok(())
    }
}

/// How long the recipients of one submission live, and how urgent they are.
#[derive(Clone, Copy)]
struct Life {
    class: mail::Class,
    not_before: UnixMs,
    deadline: u32,
    expiry: u32,
}

impl Life {
    fn of(shard: &Shard, meta: &SubmissionMeta, now: UnixMs) -> Self {
        let policy = shard.shared.config.class(meta.class);
        let start = meta.not_before.map_or(now, |moment| moment.max(now));
        let deadline = meta.deadline.or_else(|| policy.deadline.map(|after| start + after));
        Self {
            class: meta.class,
            not_before: meta.not_before.unwrap_or_default(),
            deadline: seconds(deadline),
            expiry: seconds(Some(start + policy.expiry)),
        }
    }

    fn of_campaign(shard: &Shard, campaign: &Campaign, now: UnixMs) -> Self {
        let meta = SubmissionMeta::new(None, campaign.class);
        // A campaign may be prepared long before it is started: its time runs from the start, see `campaign::release`.
        let prepared = Duration::from_secs(
            if campaign.phase() == CampaignPhase::Created { PREPARED_DAYS } else { 0 } * 86_400,
        );
        Self::of(shard, &meta, now + prepared)
    }

    /// The same for a recipient that must not be sent before `moment`: it has as much time from then on as its class gives.
    fn from(self, moment: Option<UnixMs>, class: &ClassPolicy) -> Self {
        let Some(moment) = moment else { return self };
        let expiry = self.expiry.max(seconds(Some(moment + class.expiry)));
        let deadline =
            class.deadline.map_or(self.deadline, |after| self.deadline.max(seconds(Some(moment + after))));
        Self { not_before: self.not_before.max(moment), deadline, expiry, ..self }
    }

    fn record(&self, new: NewRecipient) -> Recipient {
        Recipient {
            content: MessageId::default(),
            address: new.address.into_string(),
            not_before: self.not_before,
            deadline: self.deadline,
            expiry: self.expiry,
            notify: new.notify,
            original: new.original,
            values: new.values,
        }
    }

    fn ticket(&self, id: RecipientId) -> Ticket {
        Ticket { id, expiry: self.expiry, deadline: self.deadline, attempts: 0, class: self.class }
    }
}

/// How long a campaign may be prepared before its recipients expire unsent.
const PREPARED_DAYS: u64 = 30;

/// The moment in whole seconds, rounded up; 0 for none.
pub(super) fn seconds(moment: Option<UnixMs>) -> u32 {
    moment.map_or(0, |moment| u32::try_from(moment.0.div_ceil(1000)).unwrap_or(u32::MAX))
}

fn content_of(meta: SubmissionMeta, now: UnixMs, body: &[&[u8]]) -> Content {
    let is_ascii = body.iter().all(|part| part.is_ascii());
    let identity = meta.identity.or_else(|| meta.sender.as_ref().map(|sender| sender.domain().to_owned()));
    Content {
        kind: ContentKind::Message,
        accepted_at: now,
        sender: meta.sender.map(Address::into_string).unwrap_or_default(),
        tenant: meta.tenant,
        class: meta.class,
        campaign: meta.campaign,
        needs: Needs {
            body_type: if is_ascii { mail::BodyType::SevenBit } else { mail::BodyType::EightBitMime },
            smtputf8: meta.smtputf8,
            tls: meta.tls,
        },
        dsn_return: meta.dsn_return,
        envelope_id: meta.envelope_id,
        tags: meta.tags,
        metadata: meta.metadata.unwrap_or_default(),
        name: String::new(),
        identity: identity.unwrap_or_default(),
        notice: false,
        ground: meta.basis.map(ground_of).unwrap_or_default(),
    }
}
