//! The processor time that a process has used, from `/proc`.

use std::time::Duration;

/// Linux counts processor time for `/proc` in hundredths of a second on every architecture (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// User and system time of this process so far; none where there is no `/proc`.
pub(crate) fn own() -> Option<Duration> {
    cpu(std::process::id())
}

/// The same of another process, all its threads together, to a hundredth of a second.
pub fn cpu(process: u32) -> Option<Duration> {
    parse(&std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
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
}
