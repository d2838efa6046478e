//! A long line: what is put into it at one end comes out at the other one a fixed time later, in order. It reads no clock.

use std::collections::VecDeque;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::units;

/// Longer than any line on earth, and shorter than the patience of those who wait at its end.
const LATENCY_MAX: Duration = Duration::from_secs(60);

/// How long a line is, in time. Reads `100ms` or `1s`, up to a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency(Duration);

impl FromStr for Latency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let latency = units::duration(text).filter(|latency| *latency <= LATENCY_MAX);
        latency.map(Self).ok_or_else(|| format!("`{text}` is not a time up to one minute such as \"100ms\""))
    }
}

/// What is on its way through a line. Several replies may be: none waits for the one before it to arrive, so a client that
/// pipelines pays the latency once for all of them.
#[derive(Clone, Debug)]
pub struct Line {
    latency: Duration,
    under_way: VecDeque<(Instant, Vec<u8>)>,
}

impl Line {
    /// An empty line.
    #[must_use]
    pub const fn new(latency: Latency) -> Self {
        Self { latency: latency.0, under_way: VecDeque::new() }
    }

    /// Puts all of `bytes` in at `now`, and leaves `bytes` empty. Times must not go back.
    pub fn put(&mut self, bytes: &mut Vec<u8>, now: Instant) {
        if bytes.is_empty() {
            return;
        }
        let due = now + self.latency;
        match self.under_way.back_mut() {
            Some((last, text)) if *last == due => text.append(bytes),
            _ => self.under_way.push_back((due, std::mem::take(bytes))),
        }
    }

    /// When something comes out next.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.under_way.front().map(|(due, _)| *due)
    }

    /// What has come out by `now`, oldest first; `None` when it has all been taken.
    pub fn take(&mut self, now: Instant) -> Option<Vec<u8>> {
        let is_due = self.due().is_some_and(|due| due <= now);
        is_due.then(|| self.under_way.pop_front()).flatten().map(|(_, text)| text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_comes_out_one_latency_later_and_in_order() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut line = Line::new("100ms".parse().expect("a latency"));
        let mut text = b"first".to_vec();
        line.put(&mut text, at(0));
        assert!(text.is_empty());
        line.put(&mut b" and more".to_vec(), at(0));
        line.put(&mut b"second".to_vec(), at(40));
        line.put(&mut Vec::new(), at(50));
        assert_eq!((line.due(), line.take(at(99))), (Some(at(100)), None));
        assert_eq!(line.take(at(100)).as_deref(), Some(&b"first and more"[..]));
        assert_eq!((line.due(), line.take(at(139))), (Some(at(140)), None));
        assert_eq!(line.take(at(500)).as_deref(), Some(&b"second"[..]));
        assert_eq!((line.due(), line.take(at(500))), (None, None));
    }

    #[test]
    fn latencies_are_read_strictly() {
        assert_eq!("20ms".parse(), Ok(Latency(Duration::from_millis(20))));
        assert_eq!("0s".parse(), Ok(Latency::default()));
        for text in ["", "100", "2m", "61s", "-1s"] {
            assert!(text.parse::<Latency>().is_err(), "{text}");
        }
    }
}
