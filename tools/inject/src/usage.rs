//! The processor time that a process has used, from `/proc`.

use std::time::Duration;

/// Linux counts processor time for `/proc` in hundredths of a second on every architecture (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// User and system time of this process so far; none where there is no `/proc`.
pub(crate) fn own() -> Option<Duration> {
    cpu(std::process::id())
}

/// The same of another process, all its threads together: to the nanosecond while no thread has ended that did much, to a hundredth of a
/// second otherwise. None where there is no such process.
pub fn cpu(process: u32) -> Option<Duration> {
    let whole = parse(&std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?)?;
    // The whole is rounded down; the sum of the threads is exact and misses those that have ended. Neither is ever too large.
    Some(whole.max(threads(process)))
}

/// The time of the threads that live, added up; what cannot be read counts nothing.
fn threads(process: u32) -> Duration {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return Duration::ZERO };
    let time = |thread: std::fs::DirEntry| {
        let schedstat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        schedstat.split(' ').next()?.parse().ok().map(Duration::from_nanos)
    };
    threads.flatten().filter_map(time).sum()
}

/// Fields 14 and 15, counted behind the process's name, which may hold anything.
fn parse(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1000 / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_spaces_do_not_confuse() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 120 30 0 0 20 0 1";
        assert_eq!(parse(stat), Some(Duration::from_millis(1500)));
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn both_ways_of_counting_agree_on_this_process() {
        let before = own().expect("there is /proc");
        let begun = std::time::Instant::now();
        let mut sum = 0_u64;
        while begun.elapsed() < Duration::from_millis(50) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let after = own().expect("there is /proc");
        assert!(after > before && after < before + Duration::from_secs(60), "{before:?} {after:?}");
        assert!(threads(std::process::id()) <= after + Duration::from_secs(1));
        assert_eq!(cpu(0), None);
    }
}
