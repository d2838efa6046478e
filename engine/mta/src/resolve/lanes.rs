//! How many questions to strangers are open at a time, so arranged that those which nobody answers do not hold up the others.
//!
//! A question begins in the fast lane. One that is not answered soon gives its place there to the next and waits on in
//! the slow lane; when that is full, and others wait to begin, it is given up. So a flood of domains whose name servers
//! are dead costs an answerable question at most its turn in the fast lane, which moves on several hundred times a
//! second, and never the twenty seconds that a dead one takes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

/// How long a question may stay in the fast lane while nobody waits for it.
const PATIENCE: Duration = Duration::from_secs(1);
/// The same while somebody does: longer than nearly every name server in the world takes.
const PATIENCE_CROWDED: Duration = Duration::from_millis(400);

/// Both lanes.
pub(crate) struct Lanes {
    patience: Duration,
    patience_crowded: Duration,
    fast: Semaphore,
    slow: Semaphore,
    /// Questions that wait to begin.
    waiting: AtomicUsize,
}

/// Counts a question that waits for as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lanes {
    /// With the patience for DNS.
    pub(crate) const fn new(fast_max: usize, slow_max: usize) -> Self {
        Self {
            patience: PATIENCE,
            patience_crowded: PATIENCE_CROWDED,
            fast: Semaphore::const_new(fast_max),
            slow: Semaphore::const_new(slow_max),
            waiting: AtomicUsize::new(0),
        }
    }

    /// The same, but a question may stay in the fast lane for `patience`, and for `crowded` while others wait.
    pub(crate) const fn with_patience(self, patience: Duration, crowded: Duration) -> Self {
        Self { patience, patience_crowded: crowded, ..self }
    }

    /// Does `question` when there is room; `None` when it was given up for others.
    pub(crate) async fn pass<T>(&self, question: impl Future<Output = T>) -> Option<T> {
        let place = {
            let _waiting = Waiting::new(&self.waiting);
            self.fast.acquire().await.expect("the lane is never closed")
        };
        let mut question = std::pin::pin!(question);
        for patience in [self.patience_crowded, self.patience.saturating_sub(self.patience_crowded)] {
            if let Ok(answer) = tokio::time::timeout(patience, question.as_mut()).await {
                return Some(answer);
            }
            if self.is_crowded() {
                break;
            }
        }
        loop {
            if let Ok(_slow) = self.slow.try_acquire() {
                drop(place);
                return Some(question.await);
            }
            if self.is_crowded() {
                return None;
            }
            if let Ok(answer) = tokio::time::timeout(self.patience_crowded, question.as_mut()).await {
                return Some(answer);
            }
        }
    }

    fn is_crowded(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;

    fn paused<F: Future>(work: F) -> F::Output {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().expect("a runtime").block_on(work)
    }

    const DEAD: Duration = Duration::from_secs(20);
    const GOOD: Duration = Duration::from_millis(50);

    #[test]
    fn a_flood_of_dead_questions_does_not_hold_up_a_good_one() {
        paused(async {
            let lanes = &Lanes::new(256, 1024);
            let dead = join_all((0..10_000).map(|_| lanes.pass(tokio::time::sleep(DEAD))));
            let good = async {
                tokio::time::sleep(Duration::from_millis(10)).await;
                let began = tokio::time::Instant::now();
                lanes.pass(tokio::time::sleep(GOOD)).await.expect("it is answered");
                began.elapsed()
            };
            let began = tokio::time::Instant::now();
            let (answers, waited) = futures_util::join!(dead, good);
            // 10,000 questions in turns of 256, 0.4 s each.
            assert!(waited < Duration::from_secs(17), "{waited:?}");
            let given_up = answers.iter().filter(|answer| answer.is_none()).count();
            assert!(given_up > 8_000, "{given_up} were given up");
            assert!(began.elapsed() < 2 * DEAD + Duration::from_secs(5), "{:?}", began.elapsed());
        });
    }

    #[test]
    fn slow_questions_end_when_there_is_room() {
        paused(async {
            let lanes = &Lanes::new(4, 4);
            let answers = join_all((0..8).map(|_| lanes.pass(tokio::time::sleep(DEAD)))).await;
            assert!(answers.iter().all(Option::is_some), "eight places for eight");
            let answers = join_all((0..4).map(|_| lanes.pass(tokio::time::sleep(DEAD)))).await;
            assert!(answers.iter().all(Option::is_some));
            assert_eq!((lanes.fast.available_permits(), lanes.slow.available_permits()), (4, 4));
        });
    }

    #[test]
    fn an_abandoned_question_gives_its_place_back() {
        paused(async {
            let lanes = &Lanes::new(1, 1);
            for patience in [1, 500, 3_000] {
                let asked = lanes.pass(tokio::time::sleep(DEAD));
                assert!(tokio::time::timeout(Duration::from_millis(patience), asked).await.is_err());
            }
            assert_eq!((lanes.fast.available_permits(), lanes.slow.available_permits()), (1, 1));
            assert_eq!(lanes.waiting.load(Ordering::Relaxed), 0);
        });
    }
}
