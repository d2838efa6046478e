//! From a received message to a submission: what the client asked of us in headers, the class, the trace.

use std::borrow::Cow;
use std::net::IpAddr;

use content::submission::{Received, Stamp, read_directives, received as trace_field};
use mail::{Address, RecordId, TlsWish};
use smallvec::SmallVec;
use smtp::server::ReceivedMessage;

use crate::Refusal;
use crate::classification::Incoming;
use crate::shard::Shard;
use crate::submission::{NewRecipient, SubmissionMeta};

/// Received fields that a message may carry (RFC 5321 section 6.3): more is a loop.
const HOPS_MAX: usize = 100;

/// A message that is ready for the spool.
pub(super) struct Ready<'a> {
    pub(super) meta: SubmissionMeta,
    /// Its head, as it was completed.
    pub(super) head: Vec<u8>,
    /// Its body, as it came.
    pub(super) body: Cow<'a, [u8]>,
    pub(super) recipients: Vec<NewRecipient>,
}

/// Makes a message ready for the spool. Its text is handed in apart: the buffer stays with the session, and the body in it.
pub(super) fn ready<'a>(
    shard: &Shard,
    peer: IpAddr,
    text: &'a [u8],
    received: ReceivedMessage,
) -> Result<Ready<'a>, Refusal> {
    let now = shard.now();
    let unique = shard.unique();
    let id = RecordId::from_raw(unique).to_string();
    let ReceivedMessage { envelope, helo, with, account, .. } = received;
    let host = &shard.shared.host_name;
    let one = match envelope.recipients.as_slice() {
        [only] => Some(only.address.as_str()),
        _ => None,
    };
    let trace = trace_field(&Received {
        helo: &helo,
        peer: Some(peer),
        host,
        with,
        id: &id,
        recipient: one,
        at: now,
    });
    let prepared = read_directives(text, &trace, &Stamp { now, host, unique })
        .map_err(|error| Refusal::invalid(&error.header.clone(), error.to_string()))?;
    if hops(prepared.fields()) > HOPS_MAX {
        return Err(Refusal::invalid("Received", "too many hops: the message goes in a circle"));
    }
    let to: SmallVec<[&Address; 4]> =
        envelope.recipients.iter().map(|recipient| &recipient.address).collect();
    let (class, basis) = shard.shared.counting.classifier.classify(&Incoming {
        now,
        account: account.as_deref().and_then(|name| shard.shared.config.account(name)),
        prepared: &prepared,
        priority: envelope.priority,
        sender: envelope.sender.as_ref(),
        recipients: &to,
    });
    // It borrows from the envelope, which is taken apart now.
    drop(to);
    let directives = prepared.directives;
    let meta = SubmissionMeta {
        basis: Some(basis),
        tenant: account.unwrap_or_default(),
        campaign: directives.campaign,
        tags: directives.tags,
        not_before: directives.not_before,
        deadline: directives.deadline,
        identity: prepared.from.ok().map(|from| from.domain().to_owned()),
        smtputf8: envelope.smtputf8,
        dsn_return: envelope.dsn_return,
        envelope_id: envelope.envelope_id,
        // RFC 8689: REQUIRETLS overrules the header.
        tls: match envelope.tls {
            TlsWish::Unstated => prepared.tls,
            stated => stated,
        },
        ..SubmissionMeta::new(envelope.sender, class)
    };
    let recipients = envelope.recipients.into_iter().map(new_recipient).collect();
    Ok(Ready { meta, head: prepared.head, body: prepared.body, recipients })
}

fn new_recipient(recipient: mail::Recipient) -> NewRecipient {
    let mail::Recipient { address, notify, original } = recipient;
    NewRecipient { address, notify, original, values: Vec::new() }
}

fn hops(head: &[u8]) -> usize {
    content::header::fields(head).filter(|field| field.is("Received")).count()
}
