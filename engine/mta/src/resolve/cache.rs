//! A bounded cache with time limits in which identical questions are asked once.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use rustc_hash::FxBuildHasher;
use tokio::sync::OnceCell;

/// An answer and how long it holds.
#[derive(Clone, Debug)]
pub(super) struct Answer<V> {
    pub(super) value: V,
    pub(super) until: Instant,
}

type Map<V> = HashMap<Arc<str>, V, FxBuildHasher>;

/// Answers by name. Two generations: what was used since the last turn, and what was used before; at each turn the
/// older one is dropped. So at most `2 * generation_max` answers are kept, the ones in use among them, in constant
/// time.
pub(super) struct Cache<V> {
    state: Mutex<State<V>>,
    generation_max: usize,
}

struct State<V> {
    recent: Map<Answer<V>>,
    older: Map<Answer<V>>,
    /// Questions being asked now; the askers hold them.
    asked: Map<Weak<OnceCell<Answer<V>>>>,
    /// How many entries of `asked` make it worth looking for abandoned ones.
    asked_prune_at: usize,
}

/// Below this, abandoned questions are not looked for.
const ASKED_PRUNE_MIN: usize = 256;

impl<V: Clone> Cache<V> {
    /// A cache for about `answers_max` answers.
    pub(super) fn new(answers_max: usize) -> Self {
        let state = State {
            recent: Map::default(),
            older: Map::default(),
            asked: Map::default(),
            asked_prune_at: ASKED_PRUNE_MIN,
        };
        Self { state: Mutex::new(state), generation_max: (answers_max / 2).max(1) }
    }

    /// The answer for `name`, from the cache or from `ask`. However many want the same answer at once, one asks; when
    /// it is dropped in the middle, the next one asks.
    pub(super) async fn get<F>(&self, name: &str, ask: impl FnOnce() -> F) -> Answer<V>
    where
        F: Future<Output = Answer<V>>,
    {
        let question = match self.look_up(name) {
            Ok(answer) => return answer,
            Err(question) => question,
        };
        let asking = async {
            let answer = ask().await;
            self.put(name, answer.clone());
            answer
        };
        question.get_or_init(|| asking).await.clone()
    }

    fn look_up(&self, name: &str) -> Result<Answer<V>, Arc<OnceCell<Answer<V>>>> {
        let mut state = self.lock();
        if let Some(answer) = state.find(name, Instant::now(), self.generation_max) {
            return Ok(answer);
        }
        if let Some(question) = state.asked.get(name).and_then(Weak::upgrade) {
            return Err(question);
        }
        state.forget_abandoned();
        let question = Arc::new(OnceCell::new());
        state.asked.insert(name.into(), Arc::downgrade(&question));
        Err(question)
    }

    fn put(&self, name: &str, answer: Answer<V>) {
        let mut state = self.lock();
        state.asked.remove(name);
        state.insert(name.into(), answer, self.generation_max);
    }

    /// How many answers are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let state = self.lock();
        state.recent.len() + state.older.len()
    }

    fn lock(&self) -> MutexGuard<'_, State<V>> {
        // No code that can panic runs under the lock, so a poisoned one is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: Clone> State<V> {
    fn find(&mut self, name: &str, now: Instant, generation_max: usize) -> Option<Answer<V>> {
        if let Some(answer) = self.recent.get(name) {
            return (answer.until > now).then(|| answer.clone());
        }
        let (name, answer) = self.older.remove_entry(name)?;
        if answer.until <= now {
            return None;
        }
        self.insert(name, answer.clone(), generation_max);
        Some(answer)
    }

    fn insert(&mut self, name: Arc<str>, answer: Answer<V>, generation_max: usize) {
        if self.recent.len() >= generation_max {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(name, answer);
    }

    fn forget_abandoned(&mut self) {
        if self.asked.len() >= self.asked_prune_at {
            self.asked.retain(|_, question| question.strong_count() > 0);
            self.asked_prune_at = (2 * self.asked.len()).max(ASKED_PRUNE_MIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    fn answer(value: u32, holds: Duration) -> Answer<u32> {
        Answer { value, until: Instant::now() + holds }
    }

    const LONG: Duration = Duration::from_secs(60);

    fn on_tokio<F: Future>(work: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
    }

    #[test]
    fn equal_questions_are_asked_once_until_the_answer_expires() {
        on_tokio(async {
            let (cache, asked) = (Cache::new(10), &AtomicU32::new(0));
            let ask = |holds| {
                cache.get("a", move || async move {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    answer(asked.fetch_add(1, Ordering::Relaxed), holds)
                })
            };
            let short = Duration::from_millis(30);
            let all = futures_util::future::join_all((0..50).map(|_| ask(short))).await;
            assert!(all.iter().all(|answer| answer.value == 0));
            tokio::time::sleep(2 * short).await;
            assert_eq!(ask(LONG).await.value, 1);
            assert_eq!(ask(LONG).await.value, 1);
        });
    }

    #[test]
    fn a_dropped_asker_is_followed_by_the_next() {
        on_tokio(async {
            let cache = Cache::new(10);
            let never = cache.get("a", std::future::pending);
            assert!(tokio::time::timeout(Duration::from_millis(1), never).await.is_err());
            assert_eq!(cache.get("a", || async { answer(2, LONG) }).await.value, 2);
            for number in 0..10_000 {
                let name = number.to_string();
                let never = cache.get(&name, std::future::pending);
                let mut never = std::pin::pin!(never);
                assert!(futures_util::poll!(never.as_mut()).is_pending());
            }
            assert!(cache.lock().asked.len() <= 2 * ASKED_PRUNE_MIN);
        });
    }

    #[test]
    fn the_number_of_answers_is_bounded_and_those_in_use_stay() {
        on_tokio(async {
            let cache = Cache::new(100);
            let fixed = || async { answer(u32::MAX, LONG) };
            for number in 0..10_000 {
                cache.get(&number.to_string(), || async move { answer(number, LONG) }).await;
                if number % 20 == 0 {
                    cache.get("used", fixed).await;
                }
                assert!(cache.len() <= 100);
            }
            let kept = cache.get("used", || async { answer(0, LONG) }).await;
            assert_eq!(kept.value, u32::MAX);
        });
    }
}
