//! `GET /v1/messages/ID`: what became of each recipient of a message, or of one recipient.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use mail::{CampaignId, Disposition, MessageId, RecipientId, RecordId, UnixMs};
use mta::{Feedback, FeedbackKind, Why};
use policy::classify::Ground;
use report::{Event, Origin, Outcome, Story, Subject, Way, as_text, as_time};
use serde::Serialize;
use spool::{ContentHead, ContentKind, Cursor, Reader, RecordRef};

use crate::app::Console;
use crate::feedback::Told;
use crate::queue::{Ended, Waits, WhyJson};
use crate::{ApiError, Caller, feed, path_id};

/// Most recipients that are shown of one message; more has only a campaign.
const RECIPIENTS_MAX: usize = 1_000;
/// Most events that are read for one message.
const EVENTS_MAX: usize = 50_000;

/// A message with its recipients.
#[derive(Debug, Serialize)]
pub(crate) struct MessageView {
    #[serde(serialize_with = "as_text")]
    id: MessageId,
    #[serde(serialize_with = "as_time")]
    accepted_at: UnixMs,
    sender: String,
    #[serde(flatten)]
    origin: Origin,
    /// What decided its class, as long as the spool has the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    class_ground: Option<GroundView>,
    recipients: Vec<RecipientView>,
}

/// What decided the class of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct GroundView {
    ground: &'static str,
    /// The number of the account's rule, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<u8>,
    /// The rule, field or figures that it stands on.
    #[serde(skip_serializing_if = "String::is_empty")]
    because: String,
}

impl GroundView {
    /// `None` when the message is from before there were grounds, or the engine wrote it itself.
    fn of(head: &ContentHead) -> Option<Self> {
        let (code, because) = head.ground();
        let ground = Ground::from_code(code)?;
        let rule = match ground {
            Ground::Rule(number) => Some(number),
            _ => None,
        };
        Some(Self { ground: ground.name(), rule, because: because.to_owned() })
    }
}

/// A recipient with its attempts.
#[derive(Debug, Serialize)]
pub(crate) struct RecipientView {
    #[serde(serialize_with = "as_text")]
    id: RecipientId,
    address: String,
    /// `queued`, or the final outcome.
    state: &'static str,
    /// While it waits: for what, and until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<Waits>,
    attempts: Vec<Attempt>,
    /// What the recipient did with the message afterwards.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    feedback: Vec<Told>,
}

/// One attempt.
#[derive(Debug, Serialize)]
struct Attempt {
    #[serde(flatten)]
    result: Outcome,
    #[serde(flatten)]
    way: Way,
}

/// What is known of one recipient.
pub(crate) struct Known {
    id: RecipientId,
    message: MessageId,
    accepted_at: UnixMs,
    address: String,
    sender: String,
    origin: Origin,
    events: Vec<Event>,
    why: Option<Why>,
    class_ground: Option<GroundView>,
    feedback: Vec<Told>,
}

/// Shows a message or a recipient.
pub(crate) async fn show(
    State(console): State<Console>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<MessageView>, ApiError> {
    let id: RecordId = path_id::parse(&id)?;
    if console.handle.campaign(CampaignId(id)).is_some_and(|campaign| caller.may_see(&campaign.tenant)) {
        let message = format!("{id} is a campaign: see /v1/campaigns/{id}, or ask for one of its recipients");
        return Err(ApiError::new(StatusCode::NOT_FOUND, "is_campaign", message));
    }
    let message = MessageId(id);
    let stories = feed::blocking(&console.store, move |store| store.message(message, EVENTS_MAX)).await?;
    let head = console.reader(id).and_then(|reader| reader.content_head(message).ok());
    if head.is_none() && stories.is_empty() {
        let known = recipient(&console, &caller, RecipientId(id)).await?;
        return Ok(Json(known.into_message()));
    }
    whole_message(&console, &caller, message, head, stories).await.map(Json)
}

async fn whole_message(
    console: &Console,
    caller: &Caller,
    id: MessageId,
    head: Option<ContentHead>,
    stories: Vec<Story>,
) -> Result<MessageView, ApiError> {
    let told = stories.first().and_then(|story| story.events.first()).map(|event| event.subject.clone());
    let known = head.as_ref().map(|head| (head.accepted_at(), head.sender().to_owned(), origin_of(head)));
    let known = known.or(told.map(|subject| (subject.accepted_at, subject.sender, subject.origin)));
    let (accepted_at, sender, origin) = known.ok_or_else(|| nothing(id.0))?;
    if !caller.may_see(&origin.tenant) {
        return Err(nothing(id.0));
    }
    let mut recipients: Vec<(RecipientId, String)> =
        console.reader(id.0).map(|reader| recipients_of(reader, id)).unwrap_or_default();
    for story in &stories {
        if !recipients.iter().any(|(known, _)| *known == story.recipient) {
            let address = story.events.first().map(|event| event.subject.address.clone());
            recipients.push((story.recipient, address.unwrap_or_default()));
        }
    }
    recipients.sort_by_key(|(recipient, _)| *recipient);
    recipients.truncate(RECIPIENTS_MAX);
    let mut views = Vec::with_capacity(recipients.len());
    for (recipient, address) in recipients {
        let place = stories.binary_search_by_key(&recipient, |story| story.recipient);
        let events = place.map(|place| stories[place].events.clone()).unwrap_or_default();
        let (sender, origin) = (sender.clone(), origin.clone());
        let mut known = Known::new(
            recipient,
            Subject { recipient, message: id, address, sender, accepted_at, metadata: None, origin },
            events,
        );
        known.ask_why(console).await;
        views.push(known.into_view());
    }
    let class_ground = head.as_ref().and_then(GroundView::of);
    Ok(MessageView { id, accepted_at, sender, origin, class_ground, recipients: views })
}

/// The recipients that the spool has of a message: they lie right behind it.
fn recipients_of(reader: &Reader, message: MessageId) -> Vec<(RecipientId, String)> {
    let mut records = reader.tail(Cursor(message.0.position()));
    if records.next().is_none_or(|(id, _)| id != message.0) {
        return Vec::new();
    }
    records
        .map_while(|(_, record)| match record {
            RecordRef::Recipient(recipient) if recipient.content() == message => {
                Some((recipient.id(), recipient.address().to_owned()))
            }
            _ => None,
        })
        .take(RECIPIENTS_MAX)
        .collect()
}

/// Everything that is known of a recipient that the caller may see.
pub(crate) async fn recipient(
    console: &Console,
    caller: &Caller,
    id: RecipientId,
) -> Result<Known, ApiError> {
    let events = feed::blocking(&console.store, move |store| store.story(id)).await?;
    let found = console.reader(id.0).and_then(|reader| in_spool(reader, id));
    let subject =
        found.or_else(|| events.last().map(|event| event.subject.clone())).ok_or_else(|| nothing(id.0))?;
    if !caller.may_see(&subject.origin.tenant) {
        return Err(nothing(id.0));
    }
    let ground = console.ground_of(subject.message);
    let mut known = Known { class_ground: ground, ..Known::new(id, subject, events) };
    known.ask_why(console).await;
    Ok(known)
}

/// A recipient as the spool has it; `None` when it has been finished and reclaimed, or never was.
fn in_spool(reader: &Reader, id: RecipientId) -> Option<Subject> {
    let recipient = reader.recipient(id).ok()?;
    let head = reader.content_head(recipient.content()).ok()?;
    Some(Subject {
        recipient: id,
        message: recipient.content(),
        address: recipient.address().to_owned(),
        sender: head.sender().to_owned(),
        accepted_at: head.accepted_at(),
        metadata: None,
        origin: origin_of(&head),
    })
}

fn origin_of(head: &ContentHead) -> Origin {
    let own = (head.kind() == ContentKind::Template).then(|| CampaignId(head.id().0));
    Origin {
        tenant: head.tenant().to_owned(),
        class: head.class(),
        campaign: own.or(head.campaign()),
        campaign_name: head.name().to_owned(),
        tags: head.tags().map(str::to_owned).collect(),
    }
}

/// A reply as it was said.
fn words(code: u16, enhanced: &str, reply: &str) -> String {
    match (code, enhanced) {
        (0, _) => reply.to_owned(),
        (code, "") => format!("{code} {reply}"),
        (code, enhanced) => format!("{code} {enhanced} {reply}"),
    }
}

fn nothing(id: RecordId) -> ApiError {
    ApiError::not_found(format!("there is no message or recipient {id}, or it was forgotten"))
}

impl Known {
    fn new(id: RecipientId, subject: Subject, events: Vec<Event>) -> Self {
        let Subject { message, address, sender, accepted_at, origin, .. } = subject;
        Self {
            id,
            message,
            accepted_at,
            address,
            sender,
            origin,
            events,
            why: None,
            class_ground: None,
            feedback: Vec::new(),
        }
    }

    /// What `kind` of feedback on the message concerns: the way that delivered it, or the last one tried.
    pub(crate) fn feedback(&self, console: &Console, kind: FeedbackKind) -> Feedback {
        let is_delivered = |event: &&Event| event.result.disposition == Disposition::Delivered;
        let event = self.events.iter().rev().find(is_delivered).or(self.events.last());
        let route = event.map(|event| &event.way.route);
        let domain = self.sender.rsplit('@').next().unwrap_or_default();
        Feedback {
            kind,
            class: self.origin.class,
            identity: console.identity(self.message).unwrap_or_else(|| domain.to_owned()),
            tenant: self.origin.tenant.clone(),
            campaign: self.origin.campaign,
            source: route.map(|route| route.source.clone()).unwrap_or_default(),
            provider: route.map(|route| route.provider.clone()).unwrap_or_default(),
        }
    }

    /// The last event, if it is the final outcome.
    fn end(&self) -> Option<&Event> {
        self.events.last().filter(|event| event.result.disposition.is_final())
    }

    fn state(&self) -> &'static str {
        self.end().map_or("queued", |event| event.result.disposition.name())
    }

    /// Asks the engine what the recipient waits for, unless it has been finished, and for what it did then.
    async fn ask_why(&mut self, console: &Console) {
        if self.end().is_none() {
            self.why = console.handle.explain(self.id).await;
        } else {
            self.feedback = console.feedback.told(self.id).await;
        }
    }

    /// What the recipient waits for, with what its last attempt says of it.
    fn waits(&self) -> Option<Waits> {
        let mut waits = Waits::from(self.why.clone()?);
        if let Some(last) = self.events.last() {
            let Outcome { verdict, code, enhanced, reply, .. } = &last.result;
            waits.refine(verdict, &words(*code, enhanced, reply));
        }
        Some(waits)
    }

    /// The answer to `why`.
    pub(crate) fn why(self) -> Result<WhyJson, ApiError> {
        let state = self.state();
        let waits = match self.end() {
            Some(end) => self.finished(end),
            None => self.waits().ok_or_else(|| nothing(self.id.0))?,
        };
        Ok(WhyJson::new(self.id, state, waits))
    }

    /// Nothing is waited for any more, and the sentence says how it ended.
    fn finished(&self, end: &Event) -> Waits {
        let result = &end.result;
        let reply = words(result.code, &result.enhanced, &result.reply);
        let ended = match result.disposition {
            Disposition::Delivered => format!("nothing: delivered to {}", end.way.route.mx),
            disposition => format!("nothing: {} after {} attempts", disposition.name(), result.attempt),
        };
        Waits::ended(
            &self.address,
            self.origin.class,
            Ended {
                code: format!("ended.{}", result.disposition.name()),
                words: format!("{ended} ({reply})"),
            },
            self.accepted_at,
            result.at,
        )
    }

    fn into_view(self) -> RecipientView {
        let (state, waiting) = (self.state(), self.waits());
        let attempts =
            self.events.into_iter().map(|event| Attempt { result: event.result, way: event.way }).collect();
        RecipientView {
            id: self.id,
            state,
            address: self.address,
            waiting,
            feedback: self.feedback,
            attempts,
        }
    }

    fn into_message(self) -> MessageView {
        MessageView {
            id: self.message,
            accepted_at: self.accepted_at,
            sender: self.sender.clone(),
            origin: self.origin.clone(),
            class_ground: self.class_ground.clone(),
            recipients: vec![self.into_view()],
        }
    }
}

impl Console {
    /// What decided the class of a message, as long as the spool has it.
    fn ground_of(&self, message: MessageId) -> Option<GroundView> {
        self.reader(message.0)?.content_head(message).ok().as_ref().and_then(GroundView::of)
    }

    /// The domain that a message is sent for, as long as the spool has it.
    fn identity(&self, message: MessageId) -> Option<String> {
        let head = self.reader(message.0)?.content_head(message).ok()?;
        Some(head.identity().to_owned())
    }

    /// The log that holds the record `id`.
    fn reader(&self, id: RecordId) -> Option<&Reader> {
        self.readers.get(usize::from(id.shard()))
    }
}
