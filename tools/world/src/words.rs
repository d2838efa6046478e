//! What providers say when they do not take mail, each in its own manner.

use mail::{Enhanced, Reply};
use serde::Deserialize;

/// In whose manner a provider speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manner {
    /// Gmail.
    Google,
    /// Outlook.com and Microsoft 365.
    Microsoft,
    /// Yahoo and AOL.
    Yahoo,
    /// Libero and Virgilio.
    Libero,
    /// A Postfix of one's own.
    #[default]
    Plain,
}

/// Why a provider does not take mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The source address has too many connections open.
    TooManyConnections,
    /// The connection has carried as many messages as it may.
    TooManyMessages,
    /// The message has as many recipients as it may.
    TooManyRecipients,
    /// The source address sends faster than it may.
    TooFast,
    /// The sender is not known yet: it is to come again.
    Greylisted,
    /// There is no such mailbox.
    UnknownUser,
    /// The mailbox is full.
    MailboxFull,
    /// The message looks like spam.
    ContentRefused,
    /// The provider is out of order.
    Outage,
    /// No provider has this domain.
    NotOurs,
}

/// What may stand in a reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'a> {
    pub(crate) ip: &'a str,
    pub(crate) host: &'a str,
    /// The recipient, if one is spoken of.
    pub(crate) to: &'a str,
}

/// The reply that `template` gives: code, enhanced code if there is one, and text with `{ip}`, `{host}`, `{to}` and
/// `{domain}` filled in. `None` when it does not begin with a code of a refusal.
pub(crate) fn fill(template: &str, names: Names<'_>) -> Option<Reply> {
    let (code, rest) = template.split_once(' ').unwrap_or((template, ""));
    let code: u16 = code.parse().ok().filter(|code| (400..600).contains(code))?;
    let first = rest.split(' ').next().unwrap_or_default();
    let enhanced = Enhanced::parse(first);
    let text = if enhanced.is_some() { rest[first.len()..].trim_start() } else { rest };
    let domain = names.to.rsplit('@').next().unwrap_or_default();
    let text = text
        .replace("{ip}", names.ip)
        .replace("{host}", names.host)
        .replace("{to}", names.to)
        .replace("{domain}", domain);
    Some(Reply { code, enhanced, text })
}

/// The template of a manner for a cause.
pub(crate) const fn template(manner: Manner, cause: Cause) -> &'static str {
    match manner {
        Manner::Google => google(cause),
        Manner::Microsoft => microsoft(cause),
        Manner::Yahoo => yahoo(cause),
        Manner::Libero => libero(cause),
        Manner::Plain => plain(cause),
    }
}

const fn google(cause: Cause) -> &'static str {
    match cause {
        Cause::TooManyConnections => {
            "421 4.7.0 [{ip}] Too many concurrent connections from this IP address, please open fewer and try again later. - gsmtp"
        }
        Cause::TooManyMessages => "421 4.7.0 Too many messages in this session, closing connection. - gsmtp",
        Cause::TooFast => {
            "421 4.7.28 [{ip}] Our system has detected an unusual rate of unsolicited mail originating from your IP address. To protect our users from spam, mail sent from your IP address has been temporarily rate limited. Please visit https://support.google.com/mail/?p=UnsolicitedRateLimitError to review our Bulk Email Senders Guidelines. - gsmtp"
        }
        Cause::Greylisted => "421 4.7.0 Try again later, closing connection. - gsmtp",
        Cause::UnknownUser => {
            "550 5.1.1 The email account that you tried to reach does not exist. Please try double-checking the recipient's email address for typos or unnecessary spaces. Learn more at https://support.google.com/mail/?p=NoSuchUser - gsmtp"
        }
        Cause::MailboxFull => {
            "452 4.2.2 The email account that you tried to reach is over quota. Please direct the recipient to https://support.google.com/mail/?p=OverQuotaTemp - gsmtp"
        }
        Cause::ContentRefused => {
            "550 5.7.1 [{ip}] Our system has detected that this message is likely unsolicited mail. To reduce the amount of spam sent to Gmail, this message has been blocked. Please visit https://support.google.com/mail/?p=UnsolicitedMessageError for more information. - gsmtp"
        }
        Cause::Outage => "421 4.3.0 Temporary System Problem. Try again later. - gsmtp",
        Cause::TooManyRecipients | Cause::NotOurs => plain(cause),
    }
}

const fn microsoft(cause: Cause) -> &'static str {
    match cause {
        Cause::TooManyConnections => {
            "421 4.3.2 The maximum number of concurrent server connections has exceeded a per-source limit, closing transmission channel ({ip}) [{host}]"
        }
        Cause::TooManyMessages => {
            "421 4.7.0 Too many messages in this session, closing transmission channel. [{host}]"
        }
        Cause::TooFast => {
            "451 4.7.650 The mail server [{ip}] has been temporarily rate limited due to IP reputation. For e-mail delivery information, see https://postmaster.live.com (S775) [{host}]"
        }
        Cause::Greylisted => "451 4.7.500 Server busy. Please try again later from [{ip}]. (S77714) [{host}]",
        Cause::UnknownUser => {
            "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302). [{host}]"
        }
        Cause::MailboxFull => {
            "452 4.2.2 The recipient's mailbox is full and can't accept messages now. [{host}]"
        }
        Cause::ContentRefused => "550 5.7.1 Message rejected as spam by Content Filtering. [{host}]",
        Cause::Outage => "451 4.3.2 Temporary server error. Please try again later. PRX4 [{host}]",
        Cause::TooManyRecipients | Cause::NotOurs => plain(cause),
    }
}

const fn yahoo(cause: Cause) -> &'static str {
    match cause {
        Cause::TooManyConnections => {
            "421 4.7.0 Too many concurrent connections from {ip}, please try again later; see https://postmaster.yahooinc.com/error-codes"
        }
        Cause::TooManyMessages => "421 Max message per connection reached, closing transmission channel",
        Cause::TooFast => {
            "421 4.7.0 [TSS04] Messages from {ip} temporarily deferred due to unexpected volume or user complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes"
        }
        Cause::Greylisted => "451 4.7.1 Resources temporarily unavailable. Please try again later [#4.16.5].",
        Cause::UnknownUser => {
            "554 delivery error: dd This user doesn't have a {domain} account ({to}) [-9] - {host}"
        }
        Cause::MailboxFull => "452 4.2.2 delivery error: dd Mailbox over quota ({to}) - {host}",
        Cause::ContentRefused => {
            "554 5.7.9 Message not accepted for policy reasons. See https://postmaster.yahooinc.com/error-codes"
        }
        Cause::Outage => "451 4.3.2 Internal server error",
        Cause::TooManyRecipients | Cause::NotOurs => plain(cause),
    }
}

const fn libero(cause: Cause) -> &'static str {
    match cause {
        Cause::TooManyConnections => "421 {host} Too many connections, slow down.",
        Cause::TooManyMessages => "421 {host} Too many messages in this session, closing.",
        Cause::TooFast => "450 {host} Too many messages, slow down.",
        Cause::Greylisted => "450 4.7.1 <{to}> Temporarily deferred, please try again later",
        Cause::UnknownUser => "550 RCPT TO:<{to}> User unknown",
        Cause::MailboxFull => "452 4.2.2 <{to}> Mailbox full",
        Cause::ContentRefused => "554 5.7.1 Message refused, it looks like spam. {host}",
        Cause::Outage => "451 4.3.0 {host} Service temporarily unavailable",
        Cause::TooManyRecipients | Cause::NotOurs => plain(cause),
    }
}

const fn plain(cause: Cause) -> &'static str {
    match cause {
        Cause::TooManyConnections => "421 4.7.0 {host} Error: too many connections from {ip}",
        Cause::TooManyMessages => "421 4.7.0 {host} Error: too many messages in this session",
        Cause::TooManyRecipients => "452 4.5.3 Error: too many recipients",
        Cause::TooFast => "450 4.7.1 Error: too much mail from {ip}, slow down",
        Cause::Greylisted => "450 4.2.0 <{to}>: Recipient address rejected: Greylisted, try again later",
        Cause::UnknownUser => {
            "550 5.1.1 <{to}>: Recipient address rejected: User unknown in virtual mailbox table"
        }
        Cause::MailboxFull => "452 4.2.2 <{to}>: Recipient address rejected: mailbox is over its quota",
        Cause::ContentRefused => "554 5.7.1 Message rejected: it scores as spam",
        Cause::Outage => "451 4.3.0 Error: queue file write error",
        Cause::NotOurs => "554 5.7.1 <{to}>: Relay access denied",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAUSES: [Cause; 10] = [
        Cause::TooManyConnections,
        Cause::TooManyMessages,
        Cause::TooManyRecipients,
        Cause::TooFast,
        Cause::Greylisted,
        Cause::UnknownUser,
        Cause::MailboxFull,
        Cause::ContentRefused,
        Cause::Outage,
        Cause::NotOurs,
    ];

    #[test]
    fn every_manner_has_whole_words_for_every_cause() {
        let names = Names { ip: "192.0.2.1", host: "mx.x.test", to: "ann@x.test" };
        for manner in [Manner::Google, Manner::Microsoft, Manner::Yahoo, Manner::Libero, Manner::Plain] {
            for cause in CAUSES {
                let reply = fill(template(manner, cause), names).expect("a template is a refusal");
                assert!(!reply.text.contains(['{', '}', '\r', '\n']), "{manner:?} {cause:?}: {reply}");
                let permanent = matches!(cause, Cause::UnknownUser | Cause::ContentRefused | Cause::NotOurs);
                assert_eq!(reply.is_permanent(), permanent, "{manner:?} {cause:?}: {reply}");
            }
        }
    }

    #[test]
    fn a_template_without_a_refusal_is_none() {
        let names = Names { ip: "", host: "", to: "" };
        for template in ["", "250 2.0.0 ok", "abc", "4000 x", "5.1.1 x"] {
            assert_eq!(fill(template, names), None, "{template}");
        }
        assert_eq!(fill("550", names), Some(Reply::new(550, "")));
    }
}
