//! The heads of records as they lie on disk: rkyv archives without maps and shared pointers. A change here is a new
//! `RECORD_VERSION`.

use std::mem::offset_of;
use std::sync::Arc;

use mail::{BodyType, Disposition, DsnReturn, Enhanced, Ledger, Outcome, Phase, Reply, Route, Timings};
use mail::{TlsWish, UnixMs};
use rkyv::with::Inline;
use rkyv::{Archive, Serialize};

use crate::record::{Content, ContentKind, Recipient};

/// Bits of [`StoredContent::flags`].
const EIGHT_BIT: u8 = 1;
const SMTPUTF8: u8 = 2;
const RETURN_FULL: u8 = 4;
const NOTICE: u8 = 8;
const TLS_REQUIRED: u8 = 16;
const TLS_NOT_REQUIRED: u8 = 32;

#[derive(Archive, Serialize)]
pub(crate) struct StoredContent<'a> {
    pub(crate) accepted_at: u64,
    /// Raw identifier; zero when there is none (a content is never at position zero).
    pub(crate) campaign: u64,
    #[rkyv(with = Inline)]
    pub(crate) sender: &'a String,
    #[rkyv(with = Inline)]
    pub(crate) tenant: &'a String,
    #[rkyv(with = Inline)]
    pub(crate) envelope_id: &'a Option<String>,
    #[rkyv(with = Inline)]
    pub(crate) tags: &'a Vec<String>,
    #[rkyv(with = Inline)]
    pub(crate) metadata: &'a String,
    #[rkyv(with = Inline)]
    /// The name of a campaign; of a message, what the ground of its class stands on.
    pub(crate) name: &'a String,
    #[rkyv(with = Inline)]
    pub(crate) identity: &'a String,
    pub(crate) kind: u8,
    pub(crate) class: u8,
    pub(crate) flags: u8,
    /// In the byte that was padding before, and so zero, which stands for a ground that was not told.
    pub(crate) ground: u8,
}

impl<'a> From<&'a Content> for StoredContent<'a> {
    fn from(content: &'a Content) -> Self {
        let eight_bit = if content.needs.body_type == BodyType::EightBitMime { EIGHT_BIT } else { 0 };
        let smtputf8 = if content.needs.smtputf8 { SMTPUTF8 } else { 0 };
        let tls = match content.needs.tls {
            TlsWish::Unstated => 0,
            TlsWish::Required => TLS_REQUIRED,
            TlsWish::NotRequired => TLS_NOT_REQUIRED,
        };
        let full = if content.dsn_return == DsnReturn::Full { RETURN_FULL } else { 0 };
        let notice = if content.notice { NOTICE } else { 0 };
        Self {
            accepted_at: content.accepted_at.0,
            campaign: content.campaign.map_or(0, mail::CampaignId::raw),
            sender: &content.sender,
            tenant: &content.tenant,
            envelope_id: &content.envelope_id,
            tags: &content.tags,
            metadata: &content.metadata,
            name: match content.kind {
                ContentKind::Message => &content.ground.because,
                ContentKind::Template => &content.name,
            },
            identity: &content.identity,
            kind: content.kind as u8,
            class: content.class as u8,
            flags: eight_bit | smtputf8 | full | notice | tls,
            ground: content.ground.code,
        }
    }
}

impl ArchivedStoredContent<'_> {
    pub(crate) fn kind(&self) -> ContentKind {
        if self.kind == ContentKind::Template as u8 { ContentKind::Template } else { ContentKind::Message }
    }

    pub(crate) fn body_type(&self) -> BodyType {
        if self.flags & EIGHT_BIT != 0 { BodyType::EightBitMime } else { BodyType::SevenBit }
    }

    pub(crate) fn smtputf8(&self) -> bool {
        self.flags & SMTPUTF8 != 0
    }

    /// Should both be there, the one that protects more.
    pub(crate) fn tls_wish(&self) -> TlsWish {
        match self.flags {
            flags if flags & TLS_REQUIRED != 0 => TlsWish::Required,
            flags if flags & TLS_NOT_REQUIRED != 0 => TlsWish::NotRequired,
            _ => TlsWish::Unstated,
        }
    }

    pub(crate) fn is_notice(&self) -> bool {
        self.flags & NOTICE != 0
    }

    pub(crate) fn dsn_return(&self) -> DsnReturn {
        if self.flags & RETURN_FULL != 0 { DsnReturn::Full } else { DsnReturn::Headers }
    }
}

#[derive(Archive, Serialize)]
pub(crate) struct StoredRecipient<'a> {
    /// Raw identifier of the content.
    pub(crate) content: u64,
    pub(crate) not_before: u64,
    pub(crate) deadline: u32,
    pub(crate) expiry: u32,
    #[rkyv(with = Inline)]
    pub(crate) address: &'a String,
    #[rkyv(with = Inline)]
    pub(crate) original: &'a Option<String>,
    #[rkyv(with = Inline)]
    pub(crate) values: &'a Vec<String>,
    pub(crate) notify: u8,
}

impl<'a> StoredRecipient<'a> {
    /// `recipient` as one of `content`, whatever its own field says.
    pub(crate) fn of(content: u64, recipient: &'a Recipient) -> Self {
        Self {
            content,
            not_before: recipient.not_before.0,
            deadline: recipient.deadline,
            expiry: recipient.expiry,
            address: &recipient.address,
            original: &recipient.original,
            values: &recipient.values,
            notify: recipient.notify.bits(),
        }
    }
}

#[derive(Archive, Serialize)]
pub(crate) struct StoredOutcome<'a> {
    /// Raw identifier of the recipient.
    pub(crate) recipient: u64,
    pub(crate) at: u64,
    /// Zero when there is none.
    pub(crate) next_attempt: u64,
    pub(crate) connect_ms: u32,
    pub(crate) transaction_ms: u32,
    #[rkyv(with = Inline)]
    pub(crate) verdict: &'a String,
    #[rkyv(with = Inline)]
    pub(crate) text: &'a String,
    #[rkyv(with = Inline)]
    pub(crate) source: &'a String,
    #[rkyv(with = Inline)]
    pub(crate) provider: &'a String,
    #[rkyv(with = Inline)]
    pub(crate) mx: &'a String,
    #[rkyv(with = Inline)]
    pub(crate) address: &'a String,
    #[rkyv(with = Inline)]
    pub(crate) tls: &'a String,
    pub(crate) code: u16,
    /// Subject and detail of the enhanced code, whose class is zero when there is none.
    pub(crate) enhanced: (u16, u16),
    pub(crate) marks: Marks,
}

/// The small numbers of an outcome, apart to keep the struct within the house's bounds.
#[derive(Archive, Serialize)]
pub(crate) struct Marks {
    pub(crate) attempt: u16,
    pub(crate) enhanced_class: u8,
    pub(crate) disposition: u8,
    pub(crate) phase: u8,
}

impl<'a> StoredOutcome<'a> {
    pub(crate) fn of(recipient: u64, outcome: &'a Outcome) -> Self {
        let enhanced = outcome.reply.enhanced.unwrap_or(Enhanced(0, 0, 0));
        Self {
            recipient,
            at: outcome.at.0,
            next_attempt: outcome.next_attempt.map_or(0, |at| at.0),
            connect_ms: outcome.timings.connect_ms,
            transaction_ms: outcome.timings.transaction_ms,
            verdict: &outcome.verdict,
            text: &outcome.reply.text,
            source: &outcome.route.source,
            provider: &outcome.route.provider,
            mx: &outcome.route.mx,
            address: &outcome.route.address,
            tls: &outcome.route.tls,
            code: outcome.reply.code,
            enhanced: (enhanced.1, enhanced.2),
            marks: Marks {
                attempt: outcome.attempt,
                enhanced_class: enhanced.0,
                disposition: outcome.disposition as u8,
                phase: outcome.phase as u8,
            },
        }
    }
}

impl ArchivedStoredOutcome<'_> {
    /// A number this program does not know reads as the disposition that loses nothing: try again.
    pub(crate) fn disposition(&self) -> Disposition {
        Disposition::from_index(self.marks.disposition).unwrap_or(Disposition::Deferred)
    }

    pub(crate) fn next_attempt(&self) -> Option<UnixMs> {
        let at = self.next_attempt.to_native();
        (at != 0).then_some(UnixMs(at))
    }

    pub(crate) fn to_outcome(&self) -> Outcome {
        Outcome {
            at: UnixMs(self.at.to_native()),
            attempt: self.marks.attempt.to_native(),
            disposition: self.disposition(),
            next_attempt: self.next_attempt(),
            phase: self.phase(),
            verdict: self.verdict.as_str().to_owned(),
            reply: Reply {
                code: self.code.to_native(),
                enhanced: self.enhanced_code(),
                text: self.text.as_str().to_owned(),
            },
            route: Arc::new(Route {
                source: self.source.as_str().to_owned(),
                provider: self.provider.as_str().to_owned(),
                mx: self.mx.as_str().to_owned(),
                address: self.address.as_str().to_owned(),
                tls: self.tls.as_str().to_owned(),
            }),
            timings: self.timings(),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        Phase::from_index(self.marks.phase).unwrap_or(Phase::Routing)
    }

    pub(crate) fn enhanced_code(&self) -> Option<Enhanced> {
        let class = self.marks.enhanced_class;
        (class != 0).then(|| Enhanced(class, self.enhanced.0.to_native(), self.enhanced.1.to_native()))
    }

    pub(crate) fn timings(&self) -> Timings {
        Timings { connect_ms: self.connect_ms.to_native(), transaction_ms: self.transaction_ms.to_native() }
    }
}

#[derive(Archive, Serialize)]
pub(crate) struct StoredCampaign {
    pub(crate) campaign: u64,
    pub(crate) at: u64,
    pub(crate) phase: u8,
}

#[derive(Archive, Serialize)]
pub(crate) struct StoredCut {
    /// Position from which on nothing before the segment of this record counts.
    pub(crate) from: u64,
}

#[derive(Archive, Serialize)]
pub(crate) struct StoredTotals {
    accepted: u64,
    delivered: u64,
    bounced: u64,
    expired: u64,
    cancelled: u64,
    suppressed: u64,
    unknown_retries: u64,
    /// Written when the log was opened, after recovery: it overrules what the records before it add up to.
    pub(crate) opening: bool,
}

impl StoredTotals {
    pub(crate) fn of(ledger: &Ledger, opening: bool) -> Self {
        Self {
            accepted: ledger.accepted,
            delivered: ledger.delivered,
            bounced: ledger.bounced,
            expired: ledger.expired,
            cancelled: ledger.cancelled,
            suppressed: ledger.suppressed,
            unknown_retries: ledger.unknown_retries,
            opening,
        }
    }
}

impl ArchivedStoredTotals {
    pub(crate) fn ledger(&self) -> Ledger {
        Ledger {
            accepted: self.accepted.to_native(),
            delivered: self.delivered.to_native(),
            bounced: self.bounced.to_native(),
            expired: self.expired.to_native(),
            cancelled: self.cancelled.to_native(),
            suppressed: self.suppressed.to_native(),
            unknown_retries: self.unknown_retries.to_native(),
        }
    }
}

// The layouts are the format: a change of one of these numbers (also by a feature of rkyv that another crate turns
// on) is a new `RECORD_VERSION`.
const _: () = {
    assert!(size_of::<ArchivedStoredContent<'_>>() == 80 && align_of::<ArchivedStoredContent<'_>>() == 8);
    assert!(offset_of!(ArchivedStoredContent<'_>, sender) == 16);
    assert!(offset_of!(ArchivedStoredContent<'_>, envelope_id) == 32);
    assert!(offset_of!(ArchivedStoredContent<'_>, tags) == 44);
    assert!(offset_of!(ArchivedStoredContent<'_>, flags) == 78);
    assert!(offset_of!(ArchivedStoredContent<'_>, ground) == 79);
    assert!(size_of::<ArchivedStoredRecipient<'_>>() == 56);
    assert!(offset_of!(ArchivedStoredRecipient<'_>, address) == 24);
    assert!(offset_of!(ArchivedStoredRecipient<'_>, values) == 44);
    assert!(offset_of!(ArchivedStoredRecipient<'_>, notify) == 52);
    assert!(size_of::<ArchivedStoredOutcome<'_>>() == 104);
    assert!(offset_of!(ArchivedStoredOutcome<'_>, verdict) == 32);
    assert!(offset_of!(ArchivedStoredOutcome<'_>, code) == 88);
    assert!(offset_of!(ArchivedStoredOutcome<'_>, marks) == 94);
    assert!(size_of::<ArchivedStoredCampaign>() == 24 && offset_of!(ArchivedStoredCampaign, phase) == 16);
    assert!(size_of::<ArchivedStoredCut>() == 8);
    assert!(size_of::<ArchivedStoredTotals>() == 64 && offset_of!(ArchivedStoredTotals, opening) == 56);
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Contents as they were before the byte of the ground, which lay in their padding.
    #[derive(Archive, Serialize)]
    struct Before<'a> {
        accepted_at: u64,
        campaign: u64,
        #[rkyv(with = Inline)]
        sender: &'a String,
        #[rkyv(with = Inline)]
        tenant: &'a String,
        #[rkyv(with = Inline)]
        envelope_id: &'a Option<String>,
        #[rkyv(with = Inline)]
        tags: &'a Vec<String>,
        #[rkyv(with = Inline)]
        metadata: &'a String,
        #[rkyv(with = Inline)]
        name: &'a String,
        #[rkyv(with = Inline)]
        identity: &'a String,
        kind: u8,
        class: u8,
        flags: u8,
    }

    #[test]
    fn contents_of_before_there_were_grounds_read_as_such_without_one() {
        let content = Content {
            sender: "bounces@news.example".to_owned(),
            tags: vec!["a tag".to_owned()],
            notice: true,
            ..Content::default()
        };
        let now = StoredContent::from(&content);
        let before = Before {
            accepted_at: now.accepted_at,
            campaign: now.campaign,
            sender: now.sender,
            tenant: now.tenant,
            envelope_id: now.envelope_id,
            tags: now.tags,
            metadata: now.metadata,
            name: now.name,
            identity: now.identity,
            kind: now.kind,
            class: now.class,
            flags: now.flags,
        };
        let before = rkyv::to_bytes::<rkyv::rancor::Error>(&before).expect("an archive");
        let now = rkyv::to_bytes::<rkyv::rancor::Error>(&now).expect("an archive");
        assert_eq!(before.as_slice(), now.as_slice(), "the same bytes, zero where the ground is");
        let read =
            rkyv::access::<ArchivedStoredContent<'_>, rkyv::rancor::Error>(&before).expect("a content");
        assert_eq!((read.ground, read.is_notice(), read.sender.as_str()), (0, true, "bounces@news.example"));
    }
}
