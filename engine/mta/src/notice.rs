//! Notices of failure (RFC 3464) to the envelope sender: made when a recipient's outcome is a bounce or an expiry,
//! never in answer to `<>`, and only where the sender wants them.

use content::dsn::{self, Event, Original, RecipientReport, Report};
use mail::{Address, Class, Disposition, DsnReturn, Notify, Outcome, RecipientId, TlsWish, UnixMs};
use spool::{Content, ContentHead, ContentKind, Needs, Recipient};

use crate::shared::Shared;

/// The kind of mail that a notice is: somebody waits for it.
pub(crate) const CLASS: Class = Class::Transactional;

/// A notice ready for the spool.
pub(crate) struct Notice {
    pub(crate) content: Content,
    pub(crate) body: Vec<u8>,
    pub(crate) recipient: Recipient,
}

/// The notice that an outcome calls for, if it does.
pub(crate) fn for_outcome(shared: &Shared, id: RecipientId, outcome: &Outcome) -> Option<Notice> {
    let event = match outcome.disposition {
        Disposition::Bounced => Event::Failed,
        Disposition::Expired => Event::Expired,
        _ => return None,
    };
    let reader = shared.readers.get(usize::from(id.0.shard()))?;
    let recipient = reader.recipient(id).ok()?;
    let original = reader.content(recipient.content()).ok()?;
    // Who sends to a list by template reads the events; a mailbox full of notices would help nobody.
    let wanted = recipient.notify().wants(Notify::FAILURE) && original.kind() == ContentKind::Message;
    // A null reverse-path is no address: no notice about a notice (RFC 5321 section 6.1).
    let to = Address::parse(original.sender()).ok().filter(|_| wanted)?;
    let address = Address::parse(recipient.address()).ok()?;
    let failed = RecipientReport {
        address: &address,
        original: recipient.original(),
        event,
        reply: &outcome.reply,
        remote_host: &outcome.route.mx,
        last_attempt: (outcome.attempt > 0).then_some(outcome.at),
        retry_until: None,
    };
    let body = dsn::bounce(&Report {
        host: &shared.host_name,
        to: &to,
        date: outcome.at,
        message_id: &format!("{id}.notice@{}", shared.host_name),
        arrival: Some(original.accepted_at()),
        envelope_id: original.envelope_id(),
        recipients: &[failed],
        original: match original.dsn_return() {
            DsnReturn::Full => Original::Full(original.body()),
            DsnReturn::Headers => Original::Headers(original.body()),
        },
    });
    Some(notice(shared, &original, body, outcome.at))
}

fn notice(shared: &Shared, original: &ContentHead, body: Vec<u8>, now: UnixMs) -> Notice {
    let expiry = (now + shared.config.class(CLASS).expiry).seconds();
    Notice {
        content: Content {
            accepted_at: now,
            tenant: original.tenant().to_owned(),
            class: CLASS,
            identity: shared.host_name.clone(),
            notice: true,
            // RFC 8689: a notice tells of the message, so it is not to go where the message may not.
            needs: Needs {
                tls: match original.tls_wish() {
                    TlsWish::Required => TlsWish::Required,
                    TlsWish::Unstated | TlsWish::NotRequired => TlsWish::Unstated,
                },
                ..Needs::default()
            },
            ..Content::default()
        },
        body,
        recipient: Recipient {
            address: original.sender().to_owned(),
            expiry: u32::try_from(expiry).unwrap_or(u32::MAX),
            notify: Notify::NEVER,
            ..Recipient::default()
        },
    }
}
