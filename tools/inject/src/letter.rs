//! The message with the commands around it: laid out once as it goes over the wire, its number written over in place for
//! each sending. It refuses to know what is answered.

use std::ops::Range;

use crate::{Mode, Options};

/// Digits of a message's number.
const DIGITS: usize = 10;
/// What stands where the number goes while the text is made; it occurs nowhere else in it.
const MARK: &str = "##########";
/// Digits of a destination's number, and what stands in their place.
const DESTINATION_DIGITS: usize = 5;
const DESTINATION_MARK: &str = "%%%%%";
/// Digits of a time in microseconds since 1970, until the year 2286.
const TIME_DIGITS: usize = 16;
/// What stands where the time goes.
const TIME_MARK: &str = "@@@@@@@@@@@@@@@@";

/// Everything that is sent for one message.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    wire: Vec<u8>,
    places: Vec<usize>,
    destination_places: Vec<usize>,
    destinations: u64,
    /// Where the time stands, if it does.
    time_place: Option<usize>,
    /// `MAIL`, `RCPT`, `DATA` (or `BDAT n LAST`), and the message with its final dot (none after BDAT).
    parts: [Range<usize>; 4],
}

/// One part of what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The MAIL command.
    Mail = 0,
    /// The RCPT command.
    Rcpt = 1,
    /// The DATA or BDAT command.
    Data = 2,
    /// The message.
    Body = 3,
}

impl Letter {
    /// A message as the options want it; `run` tells the messages of different runs apart.
    pub(crate) fn new(options: &Options, run: u64) -> Self {
        let recipient = options.text.rcpt.replace("{n}", MARK).replace("{d}", DESTINATION_MARK);
        let mut body = message(options, &recipient, run);
        let data = match options.mode {
            Mode::Flight => format!("BDAT {} LAST\r\n", body.len()),
            Mode::Lockstep | Mode::Pipelined => {
                body.push_str(".\r\n");
                "DATA\r\n".to_owned()
            }
        };
        let mut wire = String::new();
        let mut part = |text: &str| {
            let start = wire.len();
            wire.push_str(text);
            start..wire.len()
        };
        let parts = [
            part(&format!("MAIL FROM:<{}>\r\n", options.text.from)),
            part(&format!("RCPT TO:<{recipient}>\r\n")),
            part(&data),
            part(&body),
        ];
        let places = wire.match_indices(MARK).map(|(place, _)| place).collect();
        let destination_places = wire.match_indices(DESTINATION_MARK).map(|(place, _)| place).collect();
        let destinations = u64::from(options.text.destinations);
        let time_place = wire.find(TIME_MARK);
        Self { wire: wire.into_bytes(), places, destination_places, destinations, time_place, parts }
    }

    /// Makes it message `number`.
    pub(crate) fn set_number(&mut self, number: u64) {
        let digits = format!("{number:0DIGITS$}");
        for &place in &self.places {
            self.wire[place..place + DIGITS].copy_from_slice(&digits.as_bytes()[digits.len() - DIGITS..]);
        }
        if self.destination_places.is_empty() {
            return;
        }
        let digits = format!("{:0DESTINATION_DIGITS$}", number % self.destinations);
        for &place in &self.destination_places {
            self.wire[place..place + DESTINATION_DIGITS].copy_from_slice(digits.as_bytes());
        }
    }

    /// Writes down when it was begun, in microseconds since 1970.
    pub(crate) fn set_time(&mut self, time_us: u64) {
        let Some(place) = self.time_place else { return };
        let digits = format!("{time_us:0TIME_DIGITS$}");
        self.wire[place..place + TIME_DIGITS]
            .copy_from_slice(&digits.as_bytes()[digits.len() - TIME_DIGITS..]);
    }

    /// Where the parts from `first` to `last` stand in [`Letter::wire`].
    pub(crate) fn range(&self, first: Part, last: Part) -> Range<usize> {
        self.parts[first as usize].start..self.parts[last as usize].end
    }

    /// All that is sent, in order. No line of the message begins with a dot, so it needs no stuffing.
    pub(crate) fn wire(&self) -> &[u8] {
        &self.wire
    }
}

/// The recipient of message `number`, of messages to so many destinations.
pub(crate) fn recipient(pattern: &str, destinations: u32, number: u64) -> String {
    let destination = number % u64::from(destinations);
    pattern
        .replace("{n}", &format!("{number:0DIGITS$}"))
        .replace("{d}", &format!("{destination:0DESTINATION_DIGITS$}"))
}

fn message(options: &Options, recipient: &str, run: u64) -> String {
    let mut text = format!(
        "From: <{}>\r\nTo: <{recipient}>\r\nSubject: message {MARK}\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\n\
         Message-ID: <{run:x}.{MARK}@inject.test>\r\n",
        options.text.from
    );
    if options.text.stamp {
        text.push_str(&format!("X-Inject-Time: {TIME_MARK}\r\n"));
    }
    for line in &options.text.header {
        text.push_str(line.trim());
        text.push_str("\r\n");
    }
    text.push_str("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n");
    fill(&mut text, options.text.bytes as usize);
    text
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
    use crate::Text;

    fn letter(mode: Mode, text: Text) -> Letter {
        Letter::new(&Options { mode, text, ..Options::default() }, 7)
    }

    #[test]
    fn it_has_the_wanted_size_and_its_number_everywhere() {
        for bytes in [600, 1024, 10_240] {
            let mut letter = letter(Mode::Flight, Text { bytes, ..Text::default() });
            letter.set_number(42);
            let body = letter.wire()[letter.range(Part::Body, Part::Body)].to_vec();
            let body = String::from_utf8(body).expect("ascii");
            assert!(body.len().abs_diff(bytes as usize) <= 1, "{} for {bytes}", body.len());
            assert_eq!(body.matches("0000000042").count(), 3);
            assert!(!body.contains('#') && body.ends_with("\r\n"));
            assert!(body.lines().all(|line| !line.starts_with('.')));
            let flight = String::from_utf8_lossy(letter.wire()).into_owned();
            assert!(flight.contains(&format!("<user0000000042@sink.test>\r\nBDAT {} LAST\r\n", body.len())));
            assert_eq!(recipient("user{n}@sink.test", 1, 42), "user0000000042@sink.test");
        }
    }

    #[test]
    fn destinations_take_turns() {
        let rcpt = "u{n}@d{d}.test".to_owned();
        let mut letter = letter(Mode::Lockstep, Text { rcpt, destinations: 3, ..Text::default() });
        letter.set_number(5);
        let wire = String::from_utf8_lossy(letter.wire()).into_owned();
        assert_eq!(wire.matches("u0000000005@d00002.test").count(), 2);
        assert_eq!(recipient("u{n}@d{d}.test", 3, 5), "u0000000005@d00002.test");
    }

    #[test]
    fn headers_can_be_added() {
        let header = vec!["X-Staffetta-Class: critical".to_owned()];
        let letter = letter(Mode::Lockstep, Text { header, ..Text::default() });
        let wire = String::from_utf8_lossy(letter.wire()).into_owned();
        assert!(wire.contains("\r\nX-Staffetta-Class: critical\r\n") && wire.ends_with("\r\n.\r\n"));
    }

    #[test]
    fn the_time_is_written_over_in_place() {
        let mut letter = letter(Mode::Lockstep, Text { stamp: true, ..Text::default() });
        for time_us in [1_790_000_000_123_456, 5] {
            letter.set_time(time_us);
            let wire = String::from_utf8_lossy(letter.wire()).into_owned();
            assert!(wire.contains(&format!("\r\nX-Inject-Time: {time_us:016}\r\n")), "{wire}");
        }
    }
}
