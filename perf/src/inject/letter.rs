//! The message: made once, its number written over in place for each sending. It refuses to know the protocol.

use crate::Options;

/// Digits of a message's number.
const DIGITS: usize = 10;
/// What stands where the number goes while the text is made; it occurs nowhere else in it.
const MARK: &str = "##########";

/// A message whose number can be changed, with the commands that announce it.
pub(crate) struct Letter {
    /// Headers and body, every line ending in CRLF, none beginning with a dot.
    text: Vec<u8>,
    places: Vec<usize>,
    from: String,
    rcpt: String,
}

impl Letter {
    /// A message as the options want it; `run` tells the messages of different runs apart.
    pub(crate) fn new(options: &Options, run: u64) -> Self {
        let recipient = options.rcpt.replace("{n}", MARK);
        let mut text = format!(
            "From: <{}>\r\nTo: <{recipient}>\r\nSubject: message {MARK}\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\n\
             Message-ID: <{run:x}.{MARK}@inject.test>\r\n",
            options.from
        );
        for line in &options.header {
            text.push_str(line.trim());
            text.push_str("\r\n");
        }
        text.push_str("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n");
        fill(&mut text, options.bytes as usize);
        let places = text.match_indices(MARK).map(|(place, _)| place).collect();
        Self { text: text.into_bytes(), places, from: options.from.clone(), rcpt: options.rcpt.clone() }
    }

    /// Makes it message `number`.
    pub(crate) fn set_number(&mut self, number: u64) {
        let digits = format!("{number:0DIGITS$}");
        for &place in &self.places {
            self.text[place..place + DIGITS].copy_from_slice(&digits.as_bytes()[digits.len() - DIGITS..]);
        }
    }

    /// The message as it goes over the wire before the final dot: no line begins with one, so it needs no stuffing.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// The MAIL command with its line end.
    pub(crate) fn mail(&self) -> String {
        format!("MAIL FROM:<{}>\r\n", self.from)
    }

    /// The recipient of message `number`.
    pub(crate) fn recipient(&self, number: u64) -> String {
        self.rcpt.replace("{n}", &format!("{number:0DIGITS$}"))
    }
}

fn fill(text: &mut String, bytes: usize) {
    const LINE: &str = "The quick brown fox jumps over the lazy dog and runs on to the next line..\r\n";
    while text.len() + LINE.len() <= bytes {
        text.push_str(LINE);
    }
    let rest = bytes.saturating_sub(text.len());
    if rest >= 2 {
        text.push_str(&"x".repeat(rest - 2));
        text.push_str("\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn letter(arguments: &[&str]) -> Letter {
        let arguments = std::iter::once(&"inject").chain(arguments);
        Letter::new(&Options::parse_from(arguments), 7)
    }

    #[test]
    fn it_has_the_wanted_size_and_its_number_everywhere() {
        for bytes in ["600", "1024", "10240"] {
            let mut letter = letter(&["--bytes", bytes]);
            letter.set_number(42);
            let text = String::from_utf8(letter.text().to_vec()).expect("ascii");
            let wanted: usize = bytes.parse().expect("a number");
            assert!(text.len().abs_diff(wanted) <= 1, "{} for {wanted}", text.len());
            assert_eq!(text.matches("0000000042").count(), 3);
            assert!(!text.contains('#') && text.ends_with("\r\n"));
            assert!(text.lines().all(|line| !line.starts_with('.')));
            assert_eq!(letter.recipient(42), "user0000000042@sink.test");
        }
    }

    #[test]
    fn headers_can_be_added() {
        let letter = letter(&["--header", "X-Staffetta-Class: critical"]);
        assert!(letter.text().windows(31).any(|window| window == b"\r\nX-Staffetta-Class: critical\r\n"));
    }
}
