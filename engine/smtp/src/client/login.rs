//! AUTH (RFC 4954) as the client says it: which mechanism, and what it answers to each challenge. Passwords go out in a
//! form that can be read only to a host that has proved itself under TLS, unless the operator said otherwise.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use mail::Secret;

use super::scram::Scram;

/// The longest command line with an initial response (RFC 4954 section 4: the limit of RFC 5321 section 4.5.3.1.4);
/// a longer one goes without.
const LINE_BYTES_MAX: usize = 512;

/// The account at the server, and how it may be told.
#[derive(Clone, Debug)]
pub struct Login {
    /// The account's name: no control characters.
    pub username: String,
    /// Its password: no control characters.
    pub password: Secret,
    /// Whether PLAIN and LOGIN, which show the password to whoever answers, may be used although the host has not proved
    /// itself under TLS.
    pub in_clear: bool,
    /// At least 18 printable ASCII characters without comma, random and for this connection only (RFC 5802 section 5.1).
    pub nonce: String,
}

/// An exchange under way. What it holds is not shown.
pub(super) enum Exchange {
    /// AUTH PLAIN; the response, until it is sent.
    Plain(Option<String>),
    /// AUTH LOGIN; what is still to be said, the name first.
    Login(Vec<String>),
    /// AUTH SCRAM-SHA-256; the first message, until it is sent.
    Scram(Scram, Option<String>),
    /// Cancelled by us, and why (RFC 4954 section 4).
    Cancelled(&'static str),
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain(...)",
            Self::Login(_) => "Login(...)",
            Self::Scram(..) => "Scram(...)",
            Self::Cancelled(why) => why,
        })
    }
}

impl Exchange {
    /// The best mechanism that is offered and allowed, and the line that begins it. Under TLS with somebody who has not
    /// shown to be the host that was meant (`authenticated`), what shows the password may show it to anybody on the path.
    pub(super) fn begin(
        login: &Login,
        offered: &[String],
        authenticated: bool,
    ) -> Result<(Self, String), &'static str> {
        let offers = |name: &str| offered.iter().any(|mechanism| mechanism == name);
        let may_show = authenticated || login.in_clear;
        let plain = format!("\0{}\0{}", login.username, login.password.reveal());
        // SASLprep (RFC 4013) changes nothing of printable ASCII; other names go by mechanisms that take them as they are.
        let printable = |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if offers("SCRAM-SHA-256") && printable(&login.username) && printable(login.password.reveal()) {
            let (scram, first) = Scram::begin(&login.username, &login.nonce);
            let (line, later) = with_initial("AUTH SCRAM-SHA-256", encode(&first));
            return Ok((Self::Scram(scram, later), line));
        }
        if offers("PLAIN") && may_show {
            let (line, later) = with_initial("AUTH PLAIN", encode(&plain));
            return Ok((Self::Plain(later), line));
        }
        if offers("LOGIN") && may_show {
            let said = vec![encode(login.password.reveal()), encode(&login.username)];
            return Ok((Self::Login(said), "AUTH LOGIN\r\n".to_owned()));
        }
        Err(match (offered.is_empty(), may_show) {
            (true, _) => "the server does not offer AUTH, which the route's login needs",
            (_, true) => "the server offers none of SCRAM-SHA-256, PLAIN and LOGIN",
            (_, false) => {
                "to a server that has not proved itself by TLS the password is not shown, and it offers no AUTH that hides it"
            }
        })
    }

    /// The line that answers a 334 with `challenge`; an error cancels the exchange and is kept.
    pub(super) fn answer(&mut self, challenge: &[u8], login: &Login) -> String {
        let answer = match self {
            Self::Plain(later) | Self::Scram(_, later @ Some(_)) => {
                later.take().ok_or("the server challenges a complete AUTH")
            }
            // What it asks is words for people, in whatever form; the order is fixed.
            Self::Login(said) => said.pop().ok_or("the server challenges a complete AUTH"),
            Self::Scram(scram, None) => decode(challenge)
                .and_then(|message| scram.answer(&message, &login.password))
                .map(|message| encode(&message)),
            Self::Cancelled(why) => Err(*why),
        };
        match answer {
            Ok(line) => line + "\r\n",
            Err(why) => {
                *self = Self::Cancelled(why);
                "*\r\n".to_owned()
            }
        }
    }

    /// Why the server's yes does not count, if it does not.
    pub(super) fn objection(&self) -> Option<&'static str> {
        match self {
            Self::Plain(None) => None,
            Self::Login(said) if said.is_empty() => None,
            Self::Scram(scram, _) if scram.is_verified() => None,
            Self::Scram(..) => {
                Some("the server ended the SCRAM exchange without showing that it knows the password")
            }
            Self::Plain(_) | Self::Login(_) => Some("the server said yes before it was told the password"),
            Self::Cancelled(why) => Some(why),
        }
    }

    /// Why we cancelled it, if we did.
    pub(super) fn cancelled(&self) -> Option<&'static str> {
        match self {
            Self::Cancelled(why) => Some(why),
            _ => None,
        }
    }
}

/// The line that begins an exchange, and the initial response if it has to wait for its challenge.
fn with_initial(command: &str, response: String) -> (String, Option<String>) {
    if command.len() + response.len() + 3 > LINE_BYTES_MAX {
        return (format!("{command}\r\n"), Some(response));
    }
    (format!("{command} {response}\r\n"), None)
}

fn encode(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

fn decode(challenge: &[u8]) -> Result<String, &'static str> {
    let bytes = BASE64_STANDARD.decode(challenge).map_err(|_| "the server's challenge is not base64")?;
    String::from_utf8(bytes).map_err(|_| "the server's challenge is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(in_clear: bool) -> Login {
        Login { username: "u".into(), password: Secret::new("p"), in_clear, nonce: "n".repeat(18) }
    }

    fn begun(login: &Login, offered: &str, authenticated: bool) -> Result<String, &'static str> {
        let offered: Vec<String> = offered.split_whitespace().map(str::to_owned).collect();
        Exchange::begin(login, &offered, authenticated).map(|(_, line)| line)
    }

    #[test]
    fn the_best_mechanism_that_is_offered_and_allowed_is_taken() {
        for (offered, authenticated, in_clear, line) in [
            ("LOGIN PLAIN SCRAM-SHA-256", false, false, Some("AUTH SCRAM-SHA-256 ")),
            ("LOGIN PLAIN SCRAM-SHA-1", true, false, Some("AUTH PLAIN AHUAcA==\r\n")),
            ("LOGIN XOAUTH2", true, false, Some("AUTH LOGIN\r\n")),
            ("LOGIN PLAIN", false, false, None),
            ("LOGIN PLAIN", false, true, Some("AUTH PLAIN ")),
            ("GSSAPI", true, true, None),
            ("", true, true, None),
        ] {
            let begun = begun(&login(in_clear), offered, authenticated);
            assert_eq!(begun.is_ok(), line.is_some(), "{offered} {begun:?}");
            assert!(begun.unwrap_or_default().starts_with(line.unwrap_or_default()), "{offered}");
        }
    }

    #[test]
    fn names_beyond_ascii_do_not_go_by_scram() {
        let login = Login { username: "ü".into(), ..login(false) };
        assert_eq!(begun(&login, "SCRAM-SHA-256 PLAIN", true).as_deref(), Ok("AUTH PLAIN AMO8AHA=\r\n"));
    }

    #[test]
    fn a_long_response_waits_for_its_challenge() {
        let login = Login { password: Secret::new("p".repeat(500)), ..login(false) };
        let (mut exchange, line) = Exchange::begin(&login, &["PLAIN".to_owned()], true).unwrap();
        assert_eq!((line.as_str(), exchange.objection().is_some()), ("AUTH PLAIN\r\n", true));
        assert!(exchange.answer(b"", &login).len() > 600 && exchange.objection().is_none());
    }

    #[test]
    fn nothing_shows_the_password() {
        let login = Login { password: Secret::new("hunter2"), ..login(true) };
        let offered = ["LOGIN".to_owned()];
        let (exchange, _) = Exchange::begin(&login, &offered, true).unwrap();
        let shown = format!("{login:?} {exchange:?}");
        assert!(!shown.contains("hunter2") && !shown.contains(&encode("hunter2")), "{shown}");
    }
}
