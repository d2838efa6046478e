//! Appending to a log: a record goes into the write buffer and into the books, or into neither. Nothing here touches
//! a file unless the buffer or the segment is full.

use mail::{MessageId, Outcome, RecipientId, RecordId};
use rkyv::rancor::Failure;

use crate::books::{Campaign, Retry};
use crate::durable::Position;
use crate::encode::{Encoder, Placed, body_bytes};
use crate::error::SpoolError;
use crate::layout::{Kind, MOVED_PREFIX_BYTES};
use crate::log::{Log, Purpose};
use crate::reader::{HEAD_BYTES, age, recipient_at, segment_at};
use crate::record::{CampaignState, Content, ContentKind, Recipient};
use crate::scan::{Raw, Verify, record_at};
use crate::stored::{ArchivedStoredRecipient, StoredCampaign, StoredContent, StoredOutcome, StoredRecipient};

impl Log {
    /// Appends a message with all its recipients, all or nothing, into one segment; the identifiers of the
    /// recipients are pushed to `ids` in their order. `Recipient::content` is not read. An error leaves nothing
    /// behind, and after [`SpoolError::is_disk_full`] the same call may be made again later.
    ///
    /// # Errors
    /// [`SpoolError::TooLarge`], [`SpoolError::Closed`], [`SpoolError::Encode`], or [`SpoolError::Io`] when the
    /// segment was full and no other could be begun.
    pub fn append_message(
        &mut self,
        content: &Content,
        body: &[u8],
        recipients: &[Recipient],
        ids: &mut Vec<RecipientId>,
    ) -> Result<MessageId, SpoolError> {
        self.append_message_of(content, &[body], recipients, ids)
    }

    /// The same of a message that comes in parts.
    ///
    /// # Errors
    /// As [`Log::append_message`].
    pub fn append_message_of(
        &mut self,
        content: &Content,
        body: &[&[u8]],
        recipients: &[Recipient],
        ids: &mut Vec<RecipientId>,
    ) -> Result<MessageId, SpoolError> {
        let mut places = std::mem::take(&mut self.places);
        let purpose = if content.notice { Purpose::Record } else { Purpose::Accept };
        let message = self.place(purpose, body_bytes(body), |encoder, shard| {
            places.clear();
            let message = encoder.record(Kind::Content, &StoredContent::from(content), body)?;
            let id = RecordId::new(shard, message.position).raw();
            for recipient in recipients {
                places.push(encoder.record(Kind::Recipient, &StoredRecipient::of(id, recipient), &[])?);
            }
            Ok(message)
        })?;
        let id = self.book_content(content, message);
        ids.extend(places.iter().map(|place| self.book_recipient(*place, id)));
        self.places = places;
        Ok(id)
    }

    /// Appends a content alone: a template, or a message whose recipients follow by [`Log::append_recipient`]. A
    /// content without recipients is dropped with its segment, unless it is the template of an open campaign.
    ///
    /// # Errors
    /// As [`Log::append_message`].
    pub fn append_content(&mut self, content: &Content, body: &[u8]) -> Result<MessageId, SpoolError> {
        let placed = self.place(Purpose::Accept, body.len(), |encoder, _| {
            encoder.record(Kind::Content, &StoredContent::from(content), &[body])
        })?;
        Ok(self.book_content(content, placed))
    }

    /// Appends one recipient of a content of this log.
    ///
    /// # Errors
    /// [`SpoolError::UnknownContent`] when the log does not hold the content; else as [`Log::append_message`].
    pub fn append_recipient(&mut self, recipient: &Recipient) -> Result<RecipientId, SpoolError> {
        let content = recipient.content;
        self.check_content(content)?;
        let placed = self.place(Purpose::Accept, 0, |encoder, _| {
            encoder.record(Kind::Recipient, &StoredRecipient::of(content.raw(), recipient), &[])
        })?;
        Ok(self.book_recipient(placed, content))
    }

    /// Appends what became of an attempt and books it. Attempts never go back: an outcome with a smaller number
    /// (a deferral without an attempt) leaves the count as it was.
    ///
    /// # Errors
    /// [`SpoolError::NotWaiting`] when the recipient already has its final outcome or is not of this log; else as
    /// [`Log::append_message`].
    pub fn append_outcome(&mut self, id: RecipientId, outcome: &Outcome) -> Result<Position, SpoolError> {
        let ours = id.0.shard() == self.shared.shard;
        let entry = self.books.find(id.raw()).filter(|_| ours).ok_or(SpoolError::NotWaiting(id))?;
        let placed = self.place(Purpose::Record, 0, |encoder, _| {
            encoder.record(Kind::Outcome, &StoredOutcome::of(id.raw(), outcome), &[])
        })?;
        let end = placed.position + placed.span;
        self.books.record(placed.position, placed.span);
        let attempts = outcome.attempt.max(entry.retry.attempts);
        let retry = Retry::new(attempts, outcome.next_attempt);
        let (shared, encoder) = (&self.shared, &self.encoder);
        let content_of = |position| match encoder.record_at(position) {
            Some((raw, bytes)) => content_in(&raw, bytes),
            None => {
                recipient_at(&shared.segments.load(), position).map(|recipient| recipient.content().raw())
            }
        };
        self.books.outcome(id.raw(), outcome.disposition, retry, end, &content_of);
        Ok(Position(end))
    }

    /// Appends a campaign's new phase. A template appended by [`Log::append_content`] is in
    /// [`crate::CampaignPhase::Created`] without it.
    ///
    /// # Errors
    /// [`SpoolError::UnknownContent`] when the log does not hold the template; else as [`Log::append_message`].
    pub fn append_campaign_state(&mut self, state: &CampaignState) -> Result<Position, SpoolError> {
        self.check_content(MessageId(state.campaign.0))?;
        let id = state.campaign.raw();
        let stored = StoredCampaign { campaign: id, at: state.at.0, phase: state.phase as u8 };
        let placed =
            self.place(Purpose::Accept, 0, |encoder, _| encoder.record(Kind::Campaign, &stored, &[]))?;
        self.books.record(placed.position, placed.span);
        let end = placed.position + placed.span;
        self.books.campaign(
            id,
            Campaign { phase: state.phase, at: state.at, position: placed.position },
            end,
        );
        Ok(Position(end))
    }

    /// Encodes records by `encode`, which yields the first of them, so that all lie in one segment: when they do not
    /// fit into this one, once more in the next. On error nothing of them stays in the buffer.
    pub(crate) fn place(
        &mut self,
        purpose: Purpose,
        body_bytes: usize,
        mut encode: impl FnMut(&mut Encoder, u8) -> Result<Placed, SpoolError>,
    ) -> Result<Placed, SpoolError> {
        if purpose == Purpose::Accept {
            self.check_open()?;
        }
        self.check_size(body_bytes as u64)?;
        self.relieve()?;
        let shard = self.shared.shard;
        loop {
            let begin = self.encoder.end();
            let placed = encode(&mut self.encoder, shard);
            let bytes = self.encoder.end() - begin;
            match placed {
                Ok(placed) if self.fits() => {
                    let room = match purpose {
                        Purpose::Accept => self.keep_room_for_outcomes(),
                        Purpose::Record => Ok(()),
                    };
                    return room.map(|()| placed).inspect_err(|_| self.encoder.cut(begin));
                }
                Ok(_) => self.encoder.cut(begin),
                Err(error) => {
                    self.encoder.cut(begin);
                    return Err(error);
                }
            }
            // What passes this check fits into the segment that `roll` begins.
            self.check_size(bytes)?;
            self.roll(bytes, purpose)?;
        }
    }

    /// Whether the content is there, as a content.
    fn check_content(&mut self, id: MessageId) -> Result<(), SpoolError> {
        if self.known_content == id.raw() && self.books.locate(id.raw()).is_some() {
            return Ok(());
        }
        let ours = id.0.shard() == self.shared.shard;
        let position = if ours { self.books.locate(id.raw()) } else { None };
        let kind = position.and_then(|position| self.kind_at(position));
        if !matches!(kind, Some(Kind::Content | Kind::MovedContent)) {
            return Err(SpoolError::UnknownContent(id.0));
        }
        self.known_content = id.raw();
        Ok(())
    }

    fn kind_at(&self, position: u64) -> Option<Kind> {
        if let Some((raw, _)) = self.encoder.record_at(position) {
            return Some(raw.kind);
        }
        let segments = self.shared.segments.load();
        let (segment, offset) = segment_at(&segments, position)?;
        if !segment.can_read(offset..offset + HEAD_BYTES, age(&segments, segment)) {
            return None;
        }
        let raw = record_at(segment.header(), segment.image().bytes(), offset, Verify::Heads).ok()?;
        Some(raw.kind)
    }

    fn check_size(&self, bytes: u64) -> Result<(), SpoolError> {
        let bytes_max = self.record_bytes_max();
        if bytes <= bytes_max { Ok(()) } else { Err(SpoolError::TooLarge { bytes, bytes_max }) }
    }

    fn book_content(&mut self, content: &Content, placed: Placed) -> MessageId {
        let id = RecordId::new(self.shared.shard, placed.position);
        let template_at = (content.kind == ContentKind::Template).then_some(content.accepted_at);
        self.books.record(placed.position, placed.span);
        self.books.content(id.raw(), placed.position, placed.span, template_at);
        self.known_content = id.raw();
        MessageId(id)
    }

    fn book_recipient(&mut self, placed: Placed, content: MessageId) -> RecipientId {
        self.books.record(placed.position, placed.span);
        self.books.recipient(placed.position, placed.span, content.raw());
        RecipientId(RecordId::new(self.shared.shard, placed.position))
    }
}

/// The content that the recipient `raw` in `bytes` is to get.
fn content_in(raw: &Raw, bytes: &[u8]) -> Option<u64> {
    let begin = match raw.kind {
        Kind::Recipient => raw.head.start,
        Kind::MovedRecipient => raw.head.start + MOVED_PREFIX_BYTES,
        _ => return None,
    };
    let archive = bytes.get(begin..raw.head.end)?;
    let archived = rkyv::api::low::access::<ArchivedStoredRecipient<'static>, Failure>(archive).ok()?;
    Some(archived.content.to_native())
}
