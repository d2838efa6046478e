//! Progress bars on stderr with rate and time left; plain lines now and then when stderr is no terminal.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::human;

/// Seconds between two lines when stderr is no terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(2);
/// The same line is not repeated before this time.
const PLAIN_REPEAT: Duration = Duration::from_secs(60);
/// Redraws per second: smooth to the eye, nothing to the processor.
const REDRAWS_PER_SECOND: u8 = 8;
/// The measured rate forgets with this time constant.
const MEMORY_SECONDS: f64 = 4.0;

/// A group of bars, drawn together.
pub(crate) struct Progress {
    bars: MultiProgress,
    terminal: bool,
    quiet: bool,
}

impl Progress {
    /// Bars on stderr; none at all when `quiet`.
    pub(crate) fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal && !quiet {
            ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND)
        } else {
            ProgressDrawTarget::hidden()
        };
        Self { bars: MultiProgress::with_draw_target(target), terminal, quiet }
    }

    /// A bar for one stream of `total` things.
    pub(crate) fn stream(&self, name: &str, total: u64) -> Stream {
        let bar = self.bars.add(ProgressBar::new(total));
        bar.set_style(style());
        bar.set_prefix(format!("{name:<15}"));
        Stream {
            bar,
            name: name.to_owned(),
            pace: Pace::new(Instant::now()),
            bytes: false,
            plain: !self.terminal && !self.quiet,
            said: Instant::now(),
            said_done: u64::MAX,
        }
    }

    /// Prints a line above the bars.
    pub(crate) fn say(&self, text: &str) {
        if self.quiet {
            return;
        }
        if self.terminal { drop(self.bars.println(text)) } else { eprintln!("{text}") }
    }

    /// Removes the bars from the screen.
    pub(crate) fn clear(&self) {
        drop(self.bars.clear());
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("  {prefix} {bar:24.cyan/blue} {percent:>3}%  {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}

/// One bar.
pub(crate) struct Stream {
    bar: ProgressBar,
    name: String,
    pace: Pace,
    /// What is counted are bytes: only the note tells numbers.
    bytes: bool,
    plain: bool,
    said: Instant,
    said_done: u64,
}

impl Stream {
    /// Sets how far it is; `note` stands behind rate and time left.
    pub(crate) fn set(&mut self, done: u64, note: &str) {
        let now = Instant::now();
        self.pace.observe(done, now);
        let total = self.bar.length().unwrap_or(0);
        let message = self.message(done, total, note);
        self.bar.set_position(done.min(total));
        self.bar.set_message(message.clone());
        let pause = if done == self.said_done { PLAIN_REPEAT } else { PLAIN_INTERVAL };
        if self.plain && now.duration_since(self.said) >= pause {
            self.said_done = done;
            self.said = now;
            let percent = done.saturating_mul(100) / total.max(1);
            eprintln!("{}: {percent}%  {}", self.name, message.trim_start());
        }
    }

    /// The stream counts bytes, which say nothing to people: only share, time left and the note are shown.
    pub(crate) const fn count_bytes(&mut self) {
        self.bytes = true;
    }

    /// Corrects the total.
    pub(crate) fn set_total(&self, total: u64) {
        self.bar.set_length(total);
    }

    /// Leaves the bar as it stands.
    pub(crate) fn finish(&mut self, note: &str) {
        let done =
            if self.bytes { String::new() } else { format!("{:>9}  ", human::count(self.bar.position())) };
        self.bar.abandon_with_message(format!("{done}{note}"));
        if self.plain {
            eprintln!("{}: {}{note}", self.name, done.trim_start());
        }
    }

    fn message(&self, done: u64, total: u64, note: &str) -> String {
        let rate = self.pace.per_second();
        let left = match self.pace.left(done, total) {
            Some(left) if done < total => format!("  ETA {}", human::duration(left)),
            _ => String::new(),
        };
        if self.bytes {
            return format!("{note}{left}");
        }
        let spacer = if note.is_empty() { "" } else { "  " };
        format!("{:>9}  {:>9}{left}{spacer}{note}", human::count(done), human::rate(rate))
    }
}

/// The recent rate of something that only grows.
#[derive(Debug)]
pub(crate) struct Pace {
    last: Option<(u64, Instant)>,
    begun: Instant,
    smooth: f64,
}

impl Pace {
    /// Starts measuring.
    pub(crate) const fn new(now: Instant) -> Self {
        Self { last: None, begun: now, smooth: 0.0 }
    }

    /// The count has reached `done`.
    pub(crate) fn observe(&mut self, done: u64, now: Instant) {
        let Some((before, at)) = self.last else {
            self.last = Some((done, now));
            return;
        };
        let seconds = now.duration_since(at).as_secs_f64();
        if seconds < 0.05 {
            return;
        }
        let fresh = done.saturating_sub(before) as f64 / seconds;
        let age = now.duration_since(self.begun).as_secs_f64();
        let weight = (seconds / age.clamp(seconds, MEMORY_SECONDS)).min(1.0);
        self.smooth += (fresh - self.smooth) * weight;
        self.last = Some((done, now));
    }

    /// The rate now.
    pub(crate) const fn per_second(&self) -> f64 {
        self.smooth
    }

    /// The time until `total` at this rate; none while nothing moves.
    pub(crate) fn left(&self, done: u64, total: u64) -> Option<Duration> {
        let seconds = total.saturating_sub(done) as f64 / self.smooth;
        (seconds.is_finite() && seconds < 1e9).then(|| Duration::from_secs_f64(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pace_tells_rate_and_time_left() {
        let begun = Instant::now();
        let mut pace = Pace::new(begun);
        assert_eq!(pace.left(0, 10), None);
        for step in 0..=20_u64 {
            pace.observe(step * 100, begun + Duration::from_millis(step * 100));
        }
        assert!((pace.per_second() - 1000.0).abs() < 1.0, "{}", pace.per_second());
        assert_eq!(pace.left(2000, 3000).map(|left| left.as_secs()), Some(1));
    }
}
