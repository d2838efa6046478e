//! Reads the paths and parameters of MAIL and RCPT, strictly (RFC 5321 section 4.1.2, RFC 1870, 3461, 4954, 6152,
//! 6531, 6710, 8689).

use mail::{Address, BodyType, DsnReturn, Envelope, Notify, Recipient, TlsWish};

use super::command::{MAIL_SYNTAX, RCPT_SYNTAX, Refusal, digits};
use crate::wire;

/// Length of ENVID as sent (RFC 3461 section 4.4).
const ENVELOPE_ID_BYTES_MAX: usize = 100;
/// Length of ORCPT as sent (RFC 3461 section 4.2).
const ORIGINAL_BYTES_MAX: usize = 500;

const DUPLICATE: Refusal = "501 5.5.4 A parameter is given twice";
const MALFORMED: Refusal = "501 5.5.4 A parameter's value is malformed";
const UNKNOWN: Refusal = "555 5.5.4 A parameter is not known or was not announced";
/// RFC 8689 section 4.1: the promise was not made in clear.
const NEEDS_TLS: Refusal = "550 5.7.10 REQUIRETLS needs TLS on this connection too";
const NEEDS_SMTPUTF8: Refusal = "553 5.6.7 An address beyond ASCII needs SMTPUTF8";

/// What the session knows that decides how an envelope is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    /// Whether the client said EHLO: only then there are parameters.
    pub(super) extended: bool,
    /// Whether AUTH was announced: only then MAIL may carry it.
    pub(super) auth: bool,
    /// Whether the connection is under TLS: only then REQUIRETLS was announced.
    pub(super) tls: bool,
    /// The longest message that is accepted.
    pub(super) message_bytes_max: u64,
    /// Where a postmaster without domain lives.
    pub(super) hostname: &'a str,
}

/// Reads what stands behind `MAIL FROM:`; returns the envelope without recipients and the announced size.
pub(super) fn mail(arguments: &str, terms: &Terms<'_>) -> Result<(Envelope, Option<u64>), Refusal> {
    let (path, rest) = split_path(arguments).ok_or(MAIL_SYNTAX)?;
    let mut parameters = MailParameters::default();
    for word in rest.split_ascii_whitespace() {
        if !terms.extended {
            return Err(UNKNOWN);
        }
        parameters.add(word, terms.auth)?;
    }
    if parameters.require_tls.is_some() && !terms.tls {
        return Err(NEEDS_TLS);
    }
    if parameters.size.is_some_and(|size| size > terms.message_bytes_max) {
        return Err("552 5.3.4 The message is larger than SIZE announces");
    }
    let smtputf8 = parameters.smtputf8.is_some();
    let sender = match path {
        "" => None,
        path => Some(address(path, smtputf8, "501 5.1.7 The sender's address is malformed")?),
    };
    let envelope = Envelope {
        sender,
        recipients: Vec::new(),
        body: parameters.body.unwrap_or_default(),
        smtputf8,
        dsn_return: parameters.dsn_return.unwrap_or_default(),
        envelope_id: parameters.envelope_id,
        priority: parameters.priority,
        tls: parameters.require_tls.map_or(TlsWish::Unstated, |()| TlsWish::Required),
    };
    Ok((envelope, parameters.size))
}

#[derive(Default)]
struct MailParameters {
    size: Option<u64>,
    body: Option<BodyType>,
    smtputf8: Option<()>,
    dsn_return: Option<DsnReturn>,
    envelope_id: Option<String>,
    priority: Option<i8>,
    auth: Option<()>,
    require_tls: Option<()>,
}

impl MailParameters {
    fn add(&mut self, word: &str, auth_announced: bool) -> Result<(), Refusal> {
        let (keyword, value) = keyword_and_value(word);
        match (keyword.to_ascii_uppercase().as_str(), value) {
            // RFC 1870 section 4: up to 20 digits.
            ("SIZE", Some(value)) if value.len() <= 20 => set(&mut self.size, digits(value)),
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("7BIT") => {
                set(&mut self.body, Some(BodyType::SevenBit))
            }
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("8BITMIME") => {
                set(&mut self.body, Some(BodyType::EightBitMime))
            }
            // RFC 6531 section 3.4: the parameter has no value.
            ("SMTPUTF8", None) => set(&mut self.smtputf8, Some(())),
            // RFC 8689 section 2: the parameter has no value.
            ("REQUIRETLS", None) => set(&mut self.require_tls, Some(())),
            ("RET", Some(value)) if value.eq_ignore_ascii_case("FULL") => {
                set(&mut self.dsn_return, Some(DsnReturn::Full))
            }
            ("RET", Some(value)) if value.eq_ignore_ascii_case("HDRS") => {
                set(&mut self.dsn_return, Some(DsnReturn::Headers))
            }
            ("ENVID", Some(value)) if value.len() <= ENVELOPE_ID_BYTES_MAX => set(
                &mut self.envelope_id,
                wire::decode_xtext(value).filter(|id| !id.is_empty() && id.is_ascii()),
            ),
            // RFC 4954 section 5: who submitted it first. Nobody here relies on it, so it is checked and forgotten.
            ("AUTH", Some(value)) if auth_announced => {
                set(&mut self.auth, wire::decode_xtext(value).filter(|id| !id.is_empty()).map(drop))
            }
            ("MT-PRIORITY", Some(value)) => set(&mut self.priority, priority(value)),
            ("MT-PRIORITY", None) => Err(MALFORMED),
            ("SIZE" | "BODY" | "SMTPUTF8" | "RET" | "ENVID" | "REQUIRETLS", _) => Err(MALFORMED),
            ("AUTH", _) if auth_announced => Err(MALFORMED),
            _ => Err(UNKNOWN),
        }
    }
}

/// One digit, a minus before it unless it is 0 (RFC 6710 section 9).
fn priority(value: &str) -> Option<i8> {
    let digit = value.strip_prefix('-').unwrap_or(value);
    let is_one = digit.len() == 1 && digit.bytes().all(|byte| byte.is_ascii_digit());
    (is_one && value != "-0").then(|| value.parse().ok()).flatten()
}

/// Reads what stands behind `RCPT TO:`.
pub(super) fn rcpt(arguments: &str, smtputf8: bool, terms: &Terms<'_>) -> Result<Recipient, Refusal> {
    let (path, rest) = split_path(arguments).ok_or(RCPT_SYNTAX)?;
    let mut notify = None;
    let mut original = None;
    for word in rest.split_ascii_whitespace() {
        let (keyword, value) = keyword_and_value(word);
        match (keyword.to_ascii_uppercase().as_str(), value) {
            _ if !terms.extended => return Err(UNKNOWN),
            ("NOTIFY", Some(value)) => set(&mut notify, parse_notify(value))?,
            ("ORCPT", Some(value)) => set(&mut original, parse_original(value, smtputf8))?,
            ("NOTIFY" | "ORCPT", None) => return Err(MALFORMED),
            _ => return Err(UNKNOWN),
        }
    }
    const WRONG: Refusal = "501 5.1.3 The recipient's address is malformed";
    // RFC 5321 section 4.5.1: postmaster needs no domain.
    let address = if path.eq_ignore_ascii_case("postmaster") {
        address(&format!("{path}@{}", terms.hostname), true, "550 5.1.1 There is no postmaster here")?
    } else {
        address(path, smtputf8, WRONG)?
    };
    Ok(Recipient { address, notify: notify.unwrap_or_default(), original })
}

/// `NEVER` alone or a list of the other three (RFC 3461 section 4.1).
fn parse_notify(value: &str) -> Option<Notify> {
    if value.eq_ignore_ascii_case("NEVER") {
        return Some(Notify::NEVER);
    }
    value.split(',').try_fold(Notify::NEVER, |notify, word| {
        let event = [("SUCCESS", Notify::SUCCESS), ("FAILURE", Notify::FAILURE), ("DELAY", Notify::DELAY)]
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(word))?;
        Some(notify.with(event.1))
    })
}

/// `type;xtext` (RFC 3461 section 4.2); text beyond ASCII only with SMTPUTF8 (RFC 6533 section 3).
fn parse_original(value: &str, smtputf8: bool) -> Option<String> {
    let (kind, text) = value.split_once(';')?;
    let kind_is_atom = !kind.is_empty()
        && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if !kind_is_atom || value.len() > ORIGINAL_BYTES_MAX || !(smtputf8 || value.is_ascii()) {
        return None;
    }
    let text = wire::decode_xtext(text).filter(|text| !text.is_empty())?;
    Some(format!("{kind};{text}"))
}

fn address(path: &str, smtputf8: bool, malformed: Refusal) -> Result<Address, Refusal> {
    let address = Address::parse(path).map_err(|_| malformed)?;
    if smtputf8 || address.is_ascii() { Ok(address) } else { Err(NEEDS_SMTPUTF8) }
}

fn keyword_and_value(word: &str) -> (&str, Option<&str>) {
    match word.split_once('=') {
        Some((keyword, value)) => (keyword, Some(value)),
        None => (word, None),
    }
}

fn set<T>(slot: &mut Option<T>, value: Option<T>) -> Result<(), Refusal> {
    if slot.is_some() {
        return Err(DUPLICATE);
    }
    *slot = Some(value.ok_or(MALFORMED)?);
    Ok(())
}

/// Splits `<path> parameters` into the path without brackets and source route, and the parameters. Blanks before the
/// bracket are tolerated as everywhere else on the net, although RFC 5321 section 3.3 forbids them.
fn split_path(arguments: &str) -> Option<(&str, &str)> {
    let inner = arguments.trim_start_matches(' ').strip_prefix('<')?;
    let end = closing_bracket(inner)?;
    let (path, rest) = (&inner[..end], &inner[end + 1..]);
    if !rest.is_empty() && !rest.starts_with(' ') {
        return None;
    }
    Some((without_route(path)?, rest))
}

/// The first `>` outside a quoted string.
fn closing_bracket(text: &str) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    text.bytes().position(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' => return !quoted,
            _ => {}
        }
        false
    })
}

/// RFC 5321 section 4.1.1.3 and appendix C: `@a,@b:user@c` is accepted and its route ignored.
fn without_route(path: &str) -> Option<&str> {
    if !path.starts_with('@') {
        return Some(path);
    }
    let (route, mailbox) = path.split_once(':')?;
    let hops_ok = route
        .split(',')
        .all(|hop| hop.strip_prefix('@').is_some_and(|name| Address::parse(&format!("x@{name}")).is_ok()));
    (hops_ok && !mailbox.is_empty()).then_some(mailbox)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms<'static> =
        Terms { extended: true, auth: true, tls: true, message_bytes_max: 1000, hostname: "mx.test" };

    #[test]
    fn mail_parameters_reach_the_envelope() {
        let (envelope, size) =
            mail("<A@X.test> size=999 BODY=8bitmime SMTPUTF8 RET=full ENVID=a+2Bb AUTH=<>", &TERMS).unwrap();
        assert_eq!(envelope.sender.unwrap().as_str(), "A@x.test");
        assert_eq!((size, envelope.body, envelope.smtputf8), (Some(999), BodyType::EightBitMime, true));
        assert_eq!((envelope.dsn_return, envelope.envelope_id.as_deref()), (DsnReturn::Full, Some("a+b")));
        assert_eq!(mail(" <>", &TERMS).unwrap().0, Envelope::default());
        for (written, priority) in [("-9", -9), ("0", 0), ("4", 4)] {
            let (envelope, _) = mail(&format!("<> mt-priority={written}"), &TERMS).unwrap();
            assert_eq!(envelope.priority, Some(priority), "{written}");
        }
    }

    #[test]
    fn wrong_mail_arguments_are_refused() {
        let long_id = format!("<> ENVID={}", "a".repeat(101));
        for (arguments, code) in [
            ("a@b", "501 5.5.4"),
            ("<a@b", "501 5.5.4"),
            ("<a@b>SIZE=1", "501 5.5.4"),
            ("<a b@c>", "501 5.1.7"),
            ("<@>", "501 5.5.4"),
            ("<grå@x.test>", "553 5.6.7"),
            ("<> SIZE=1001", "552 5.3.4"),
            ("<> SIZE", "501 5.5.4"),
            ("<> SIZE=", "501 5.5.4"),
            ("<> SIZE=+1", "501 5.5.4"),
            ("<> SIZE=999999999999999999999", "501 5.5.4"),
            ("<> SIZE=1 size=1", "501 5.5.4"),
            ("<> BODY=BINARYMIME", "501 5.5.4"),
            ("<> BODY", "501 5.5.4"),
            ("<> SMTPUTF8=yes", "501 5.5.4"),
            ("<> RET=SOME", "501 5.5.4"),
            ("<> ENVID=", "501 5.5.4"),
            ("<> ENVID=a+zz", "501 5.5.4"),
            (long_id.as_str(), "501 5.5.4"),
            ("<> AUTH=", "501 5.5.4"),
            ("<> MT-PRIORITY", "501 5.5.4"),
            ("<> MT-PRIORITY=", "501 5.5.4"),
            ("<> MT-PRIORITY=10", "501 5.5.4"),
            ("<> MT-PRIORITY=-0", "501 5.5.4"),
            ("<> MT-PRIORITY=+4", "501 5.5.4"),
            ("<> MT-PRIORITY=1 MT-PRIORITY=1", "501 5.5.4"),
            ("<> NOTIFY=NEVER", "555 5.5.4"),
            ("<> FOO", "555 5.5.4"),
            ("<> =", "555 5.5.4"),
        ] {
            let refusal = mail(arguments, &TERMS).expect_err(arguments);
            assert!(refusal.starts_with(code), "{arguments}: {refusal}");
        }
        let helo = Terms { extended: false, ..TERMS };
        assert_eq!(mail("<> SIZE=1", &helo), Err(UNKNOWN));
        assert_eq!(rcpt("<a@b> NOTIFY=NEVER", false, &helo), Err(UNKNOWN));
        assert_eq!(mail("<> AUTH=<>", &Terms { auth: false, ..TERMS }), Err(UNKNOWN));
    }

    #[test]
    fn rcpt_parameters_reach_the_recipient() {
        let it = rcpt("<b@y.test> NOTIFY=success,DELAY ORCPT=rfc822;b+2Bc@y.test", false, &TERMS).unwrap();
        assert_eq!(it.notify, Notify::SUCCESS.with(Notify::DELAY));
        assert_eq!(it.original.as_deref(), Some("rfc822;b+c@y.test"));
        for (path, address) in [
            ("<Postmaster>", "Postmaster@mx.test"),
            ("<@a.test,@b.test:c@d.test>", "c@d.test"),
            ("<\"a>b\\\"\"@c.test>", "\"a>b\\\"\"@c.test"),
            ("<a@[IPv6:::1]>", "a@[ipv6:::1]"),
        ] {
            assert_eq!(rcpt(path, false, &TERMS).unwrap().address.as_str(), address);
        }
        assert!(rcpt("<grå@x.test> ORCPT=utf-8;grå@x.test", true, &TERMS).is_ok());
    }

    #[test]
    fn wrong_rcpt_arguments_are_refused() {
        for (arguments, code) in [
            ("<>", "501 5.1.3"),
            ("<a>", "501 5.1.3"),
            ("a@b", "501 5.5.4"),
            ("<@a.test:>", "501 5.5.4"),
            ("<@a b:c@d>", "501 5.5.4"),
            ("<\"a>b@c>", "501 5.5.4"),
            ("<a@b> NOTIFY=", "501 5.5.4"),
            ("<a@b> NOTIFY=NEVER,DELAY", "501 5.5.4"),
            ("<a@b> NOTIFY=SOMETIMES", "501 5.5.4"),
            ("<a@b> NOTIFY=NEVER NOTIFY=NEVER", "501 5.5.4"),
            ("<a@b> ORCPT=x@y", "501 5.5.4"),
            ("<a@b> ORCPT=;x@y", "501 5.5.4"),
            ("<a@b> ORCPT=rfc822;", "501 5.5.4"),
            ("<a@b> ORCPT=utf-8;grå@x", "501 5.5.4"),
            ("<a@b> SIZE=1", "555 5.5.4"),
            ("<grå@x.test>", "553 5.6.7"),
        ] {
            let refusal = rcpt(arguments, false, &TERMS).expect_err(arguments);
            assert!(refusal.starts_with(code), "{arguments}: {refusal}");
        }
    }
}
