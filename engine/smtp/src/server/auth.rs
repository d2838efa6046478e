//! The exchange of AUTH PLAIN (RFC 4616) and AUTH LOGIN; it refuses to know any account.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::command::Refusal;

/// The longest base64 line of an exchange with its CRLF (RFC 4954 section 4).
pub(super) const RESPONSE_LINE_BYTES_MAX: usize = 12_288 + 2;

const MALFORMED: Refusal = "501 5.5.2 The response is not the base64 that was asked for";

/// Which response is awaited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    /// All of PLAIN in one.
    Plain,
    /// LOGIN: the account's name.
    Identity,
    /// LOGIN: the password.
    Password { identity: String },
}

/// What follows a line of the exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Say this and await the next response.
    Ask(&'static str, Exchange),
    /// The credentials are complete.
    Check { identity: String, password: String },
    /// The exchange is over.
    Refuse(Refusal),
}

/// Reads what stands behind `AUTH`: a mechanism and perhaps an initial response (RFC 4954 section 4).
pub(super) fn begin(arguments: &str) -> Progress {
    let (mechanism, initial) = match arguments.split_once(' ') {
        Some((mechanism, initial)) => (mechanism, Some(initial)),
        None => (arguments, None),
    };
    let (question, exchange) = if mechanism.eq_ignore_ascii_case("PLAIN") {
        ("334 ", Exchange::Plain)
    } else if mechanism.eq_ignore_ascii_case("LOGIN") {
        ("334 VXNlcm5hbWU6", Exchange::Identity)
    } else {
        return Progress::Refuse("504 5.5.4 Only PLAIN and LOGIN are known");
    };
    match initial {
        None => Progress::Ask(question, exchange),
        // RFC 4954 section 4: `=` is an initial response of no bytes.
        Some("=") => respond(exchange, b""),
        Some(initial) => respond(exchange, initial.as_bytes()),
    }
}

/// Reads a response line without its CRLF.
pub(super) fn respond(exchange: Exchange, line: &[u8]) -> Progress {
    if line == b"*" {
        return Progress::Refuse("501 5.7.0 The exchange was cancelled");
    }
    let Some(text) = STANDARD.decode(line).ok().and_then(|bytes| String::from_utf8(bytes).ok()) else {
        return Progress::Refuse(MALFORMED);
    };
    match exchange {
        Exchange::Plain => plain(&text),
        Exchange::Identity if text.is_empty() || text.contains('\0') => Progress::Refuse(MALFORMED),
        Exchange::Identity => Progress::Ask("334 UGFzc3dvcmQ6", Exchange::Password { identity: text }),
        Exchange::Password { identity } => Progress::Check { identity, password: text },
    }
}

/// `[authzid] NUL authcid NUL passwd` (RFC 4616 section 2). To act for somebody else is refused.
fn plain(text: &str) -> Progress {
    let mut parts = text.split('\0');
    let (Some(acting_for), Some(identity), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Progress::Refuse(MALFORMED);
    };
    if identity.is_empty() || password.is_empty() {
        return Progress::Refuse(MALFORMED);
    }
    if !acting_for.is_empty() && acting_for != identity {
        return Progress::Refuse("535 5.7.8 One account cannot act for another");
    }
    Progress::Check { identity: identity.to_owned(), password: password.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(identity: &str, password: &str) -> Progress {
        Progress::Check { identity: identity.into(), password: password.into() }
    }

    #[test]
    fn plain_comes_with_the_command_or_after_it() {
        // "\0ann\0secret"
        assert_eq!(begin("PLAIN AGFubgBzZWNyZXQ="), check("ann", "secret"));
        assert_eq!(begin("plain"), Progress::Ask("334 ", Exchange::Plain));
        assert_eq!(respond(Exchange::Plain, b"AGFubgBzZWNyZXQ="), check("ann", "secret"));
        // "ann\0ann\0secret"
        assert_eq!(respond(Exchange::Plain, b"YW5uAGFubgBzZWNyZXQ="), check("ann", "secret"));
    }

    #[test]
    fn login_asks_twice() {
        assert_eq!(begin("LOGIN"), Progress::Ask("334 VXNlcm5hbWU6", Exchange::Identity));
        let Progress::Ask(_, password) = begin("LOGIN YW5u") else { panic!("the password is missing") };
        assert_eq!(respond(password, b"c2VjcmV0"), check("ann", "secret"));
    }

    #[test]
    fn wrong_responses_end_the_exchange() {
        for (exchange, line, code) in [
            (Exchange::Plain, &b"*"[..], "501 5.7.0"),
            (Exchange::Plain, b"=", "501 5.5.2"),
            (Exchange::Plain, b"AGFubgBzZWNyZXQ", "501 5.5.2"),
            (Exchange::Plain, b"AGFubgBzZWNyZXQ= ", "501 5.5.2"),
            (Exchange::Plain, b"\xff", "501 5.5.2"),
            (Exchange::Plain, b"YW5u", "501 5.5.2"),
            (Exchange::Plain, b"AAA=", "501 5.5.2"),
            // "bob\0ann\0secret"
            (Exchange::Plain, b"Ym9iAGFubgBzZWNyZXQ=", "535 5.7.8"),
            (Exchange::Identity, b"", "501 5.5.2"),
        ] {
            let Progress::Refuse(text) = respond(exchange, line) else { panic!("{line:?}") };
            assert!(text.starts_with(code), "{line:?}: {text}");
        }
        assert_eq!(begin("PLAIN ="), Progress::Refuse(MALFORMED));
        assert!(matches!(begin("CRAM-MD5"), Progress::Refuse(text) if text.starts_with("504")));
        assert!(matches!(begin(""), Progress::Refuse(text) if text.starts_with("504")));
    }
}
