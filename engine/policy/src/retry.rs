//! When a deferred recipient is tried again.

use std::time::Duration;

use mail::UnixMs;

use crate::source::mixed;

/// The wait when a schedule is empty, which a checked configuration never has.
const FALLBACK: Duration = Duration::from_secs(1800);

/// The moment of the next attempt after `attempts` of them (at least 1) have failed, the last of them at `now`.
///
/// The wait is the entry of `schedule` for that number of attempts; the last entry repeats. It is moved by up to a tenth
/// to either side, by an amount that depends on `seed` (the recipient's number) and `attempts` alone: recipients that failed
/// together do not return together, and the same history gives the same moment after a restart.
#[must_use]
pub fn next_attempt(schedule: &[Duration], attempts: u16, now: UnixMs, seed: u64) -> UnixMs {
    let index = usize::from(attempts.saturating_sub(1)).min(schedule.len().saturating_sub(1));
    let wait = schedule.get(index).copied().unwrap_or(FALLBACK);
    now + jittered(wait, attempts, seed)
}

/// `wait` times a factor from 0.9 to 1.1.
fn jittered(wait: Duration, attempts: u16, seed: u64) -> Duration {
    let thousandths = 900 + mixed(seed ^ mixed(u64::from(attempts))) % 201;
    let ms = wait.as_millis().saturating_mul(u128::from(thousandths)) / 1000;
    Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_700_000_000_000);

    fn wait(schedule: &[u64], attempts: u16, seed: u64) -> u64 {
        let schedule: Vec<_> = schedule.iter().copied().map(Duration::from_secs).collect();
        next_attempt(&schedule, attempts, NOW, seed).since(NOW).as_secs()
    }

    #[test]
    fn each_attempt_has_its_wait_and_the_last_repeats() {
        for (attempts, expected) in [(0, 60), (1, 60), (2, 300), (3, 900), (4, 900), (u16::MAX, 900)] {
            let wait = wait(&[60, 300, 900], attempts, 7);
            assert!((expected * 9 / 10..=expected * 11 / 10).contains(&wait), "{attempts}: {wait}");
        }
    }

    #[test]
    fn the_same_history_gives_the_same_moment() {
        assert_eq!(wait(&[3600], 3, 99), wait(&[3600], 3, 99));
    }

    #[test]
    fn recipients_that_failed_together_return_over_a_fifth_of_the_wait() {
        let waits: std::collections::BTreeSet<_> = (0..10_000).map(|seed| wait(&[3600], 1, seed)).collect();
        assert!(waits.len() > 190, "{} different moments", waits.len());
        assert!(waits.first() < Some(&3260) && waits.last() > Some(&3940));
    }

    #[test]
    fn an_empty_schedule_waits_half_an_hour() {
        assert!((1600..2000).contains(&wait(&[], 1, 1)));
    }
}
