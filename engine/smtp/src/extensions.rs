//! The service extensions: what a server's EHLO reply offers, and what ours announces.

/// What a server offers; all absent before EHLO and after HELO.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Several commands in one flight (RFC 2920).
    pub pipelining: bool,
    /// BDAT (RFC 3030).
    pub chunking: bool,
    /// Bytes above 127 in the body (RFC 6152).
    pub eight_bit_mime: bool,
    /// Whether it takes the SIZE parameter (RFC 1870).
    pub size: bool,
    /// The longest message it takes; `None` when it does not say or says 0, "no limit".
    pub message_bytes_max: Option<u64>,
    /// TLS on this connection (RFC 3207).
    pub starttls: bool,
    /// UTF-8 in addresses and headers (RFC 6531).
    pub smtputf8: bool,
    /// Requests for delivery status notifications (RFC 3461).
    pub dsn: bool,
    /// Enhanced status codes in replies (RFC 2034).
    pub enhanced_status_codes: bool,
    /// Transactions per session (RFC 9422 MAILMAX).
    pub transactions_max: Option<u32>,
    /// Recipients per transaction: by RFC 9422 RCPTMAX, or as many as were taken before the server said that the next
    /// was one too many (RFC 5321 section 4.5.3.1.10).
    pub recipients_max: Option<u32>,
    /// Domains of recipients per transaction (RFC 9422 RCPTDOMAINMAX).
    pub recipient_domains_max: Option<u32>,
    /// Promises to relay only under TLS what asks for it (RFC 8689); counts only in an EHLO under TLS.
    pub require_tls: bool,
    /// SASL mechanisms in upper case (RFC 4954); at most 32.
    pub auth: Vec<String>,
}

/// How many SASL mechanisms are kept: more than there are.
const MECHANISMS_MAX: usize = 32;

impl Capabilities {
    /// Reads the lines of an EHLO reply without codes; the first is the greeting and is skipped (RFC 5321 section 4.1.1.1).
    /// Unknown keywords and malformed parameters are ignored.
    #[must_use]
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut capabilities = Self::default();
        for line in lines.into_iter().skip(1) {
            let Ok(line) = std::str::from_utf8(line) else { continue };
            let mut words = line.split_ascii_whitespace();
            if let Some(keyword) = words.next() {
                capabilities.add(&keyword.to_ascii_uppercase(), words);
            }
        }
        capabilities
    }

    fn add<'a>(&mut self, keyword: &str, mut words: impl Iterator<Item = &'a str>) {
        match keyword {
            "PIPELINING" => self.pipelining = true,
            "CHUNKING" => self.chunking = true,
            "8BITMIME" => self.eight_bit_mime = true,
            "SIZE" => {
                self.size = true;
                self.message_bytes_max =
                    words.next().and_then(|word| word.parse().ok()).filter(|max| *max > 0);
            }
            "STARTTLS" => self.starttls = true,
            "SMTPUTF8" => self.smtputf8 = true,
            "DSN" => self.dsn = true,
            "REQUIRETLS" => self.require_tls = true,
            "ENHANCEDSTATUSCODES" => self.enhanced_status_codes = true,
            "LIMITS" => words.for_each(|word| self.add_limit(word)),
            "AUTH" => words.for_each(|word| self.add_mechanism(word)),
            // `AUTH=LOGIN PLAIN` is how servers spoke before RFC 2554.
            old if old.starts_with("AUTH=") => {
                self.add_mechanism(&old["AUTH=".len()..]);
                words.for_each(|word| self.add_mechanism(word));
            }
            _ => {}
        }
    }

    fn add_limit(&mut self, word: &str) {
        let Some((name, value)) = word.split_once('=') else { return };
        // RFC 9422 section 4: a limit is 1 to 6 digits and never 0.
        let Some(value) = value.parse().ok().filter(|value| (1..1_000_000).contains(value)) else { return };
        if name.eq_ignore_ascii_case("MAILMAX") {
            self.transactions_max = Some(value);
        } else if name.eq_ignore_ascii_case("RCPTMAX") {
            self.recipients_max = Some(value);
        } else if name.eq_ignore_ascii_case("RCPTDOMAINMAX") {
            self.recipient_domains_max = Some(value);
        }
    }

    fn add_mechanism(&mut self, word: &str) {
        let mechanism = word.to_ascii_uppercase();
        if !mechanism.is_empty() && self.auth.len() < MECHANISMS_MAX && !self.auth.contains(&mechanism) {
            self.auth.push(mechanism);
        }
    }
}

/// What one session of our server announces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Announcement<'a> {
    pub(crate) hostname: &'a str,
    pub(crate) message_bytes_max: u64,
    pub(crate) recipients_max: usize,
    pub(crate) starttls: bool,
    pub(crate) auth: bool,
    /// RFC 8689 section 2: only under TLS.
    pub(crate) require_tls: bool,
}

impl Announcement<'_> {
    /// Writes the reply to EHLO (RFC 5321 section 4.1.1.1).
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let size = format!("250-SIZE {}\r\n", self.message_bytes_max);
        let limits = format!("250 LIMITS RCPTMAX={}\r\n", self.recipients_max.min(999_999));
        let optional = |offered: bool, line: &'static str| if offered { line } else { "" };
        for part in [
            "250-",
            self.hostname,
            "\r\n250-PIPELINING\r\n",
            &size,
            "250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n250-MT-PRIORITY\r\n",
            optional(self.starttls, "250-STARTTLS\r\n"),
            optional(self.auth, "250-AUTH PLAIN LOGIN\r\n"),
            optional(self.require_tls, "250-REQUIRETLS\r\n"),
            &limits,
        ] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Capabilities {
        Capabilities::parse(text.split('|').map(str::as_bytes))
    }

    #[test]
    fn keywords_are_read_in_any_case_and_the_greeting_is_not_one() {
        let it = parse(
            "PIPELINING greets you|pipelining|Size 1000|8bitmime|CHUNKING|X-UNKNOWN 1|DSN|SMTPUTF8|STARTTLS",
        );
        assert!(
            it.pipelining
                && it.chunking
                && it.eight_bit_mime
                && it.dsn
                && it.smtputf8
                && it.starttls
                && it.size
        );
        assert_eq!(it.message_bytes_max, Some(1000));
        assert!(!parse("PIPELINING").pipelining);
    }

    #[test]
    fn odd_parameters_are_ignored() {
        let it = parse(
            "x|SIZE 0|LIMITS MAILMAX=0 RCPTMAX=7 RCPTDOMAINMAX=1 junk MAILMAX=x|AUTH PLAIN login|AUTH=LOGIN XOAUTH2",
        );
        assert!(it.size && it.message_bytes_max.is_none());
        assert_eq!((it.transactions_max, it.recipients_max), (None, Some(7)));
        assert_eq!(it.recipient_domains_max, Some(1));
        assert_eq!(it.auth, ["PLAIN", "LOGIN", "XOAUTH2"]);
        assert_eq!(parse("x|SIZE|SIZE 99999999999999999999999|\u{fffd}").message_bytes_max, None);
    }

    #[test]
    fn what_we_announce_is_what_we_read() {
        let mut out = Vec::new();
        let all = Announcement {
            hostname: "a.test",
            message_bytes_max: 5,
            recipients_max: 9,
            starttls: true,
            auth: true,
            require_tls: true,
        };
        all.write(&mut out);
        let lines = out.split(|byte| *byte == b'\n').filter(|line| line.len() > 4).map(|line| &line[4..]);
        let it = Capabilities::parse(lines);
        let expected = Capabilities {
            pipelining: true,
            chunking: true,
            eight_bit_mime: true,
            size: true,
            message_bytes_max: Some(5),
            starttls: true,
            smtputf8: true,
            dsn: true,
            enhanced_status_codes: true,
            transactions_max: None,
            recipients_max: Some(9),
            recipient_domains_max: None,
            require_tls: true,
            auth: vec!["PLAIN".into(), "LOGIN".into()],
        };
        assert_eq!(it, expected);
    }
}
