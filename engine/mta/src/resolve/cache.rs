//! A bounded cache with time limits in which identical questions are asked once, and what was true until lately helps
//! over a resolver that is down (RFC 8767).

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustc_hash::FxBuildHasher;
use tokio::sync::OnceCell;

/// An answer and how long it holds.
#[derive(Clone, Debug)]
pub(super) struct Answer<V> {
    pub(super) value: V,
    pub(super) until: Instant,
}

/// What is kept of an answer.
#[derive(Clone)]
struct Entry<V> {
    answer: Answer<V>,
    /// When its own time was over; `answer.until` may have been moved on since, because nothing newer could be had.
    expired: Instant,
}

type Map<V> = HashMap<Arc<str>, V, FxBuildHasher>;

/// For how long answers serve beyond their time.
pub(super) struct Staleness<V> {
    /// Whether a value says only that nothing could be learnt.
    pub(super) is_failure: fn(&V) -> bool,
    /// So long after its time an answer is given at once, while a new one is fetched.
    pub(super) meanwhile: Duration,
    /// So long after its time an answer is better than a failure.
    pub(super) at_most: Duration,
    /// For how long a stale answer is given before asking again.
    pub(super) holds: Duration,
}

/// Answers by name. Two generations: what was used since the last turn, and what was used before; at each turn the
/// older one is dropped. So at most `2 * generation_max` answers are kept, the ones in use among them, in constant
/// time.
pub(super) struct Cache<V> {
    state: Mutex<State<V>>,
    generation_max: usize,
    staleness: Option<Staleness<V>>,
}

struct State<V> {
    recent: Map<Entry<V>>,
    older: Map<Entry<V>>,
    /// Questions being asked now; the askers hold them.
    asked: Map<Weak<OnceCell<Answer<V>>>>,
    /// How many entries of `asked` make it worth looking for abandoned ones.
    asked_prune_at: usize,
}

/// An answer whose time is over.
pub(super) struct Stale<V> {
    pub(super) answer: Answer<V>,
    /// Whether nobody fetches a new one yet.
    pub(super) is_alone: bool,
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
        Self { state: Mutex::new(state), generation_max: (answers_max / 2).max(1), staleness: None }
    }

    /// The same; its answers serve beyond their time.
    pub(super) fn with_stale(answers_max: usize, staleness: Staleness<V>) -> Self {
        Self { staleness: Some(staleness), ..Self::new(answers_max) }
    }

    /// The answer for `name`, from the cache or from `ask`. However many want the same answer at once, one asks; when
    /// it is dropped in the middle, the next one asks. Where `ask` learns nothing, an older answer may serve.
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
            self.put(name, answer)
        };
        question.get_or_init(|| asking).await.clone()
    }

    /// An answer for `name` that may be given though its time is over; whoever takes it while it is alone fetches a new
    /// one with [`Cache::get`] in the background.
    pub(super) fn stale(&self, name: &str) -> Option<Stale<V>> {
        let staleness = self.staleness.as_ref()?;
        let now = Instant::now();
        let mut state = self.lock();
        let is_alone = state.asked.get(name).is_none_or(|question| question.strong_count() == 0);
        let entry = state.find(name, self.generation_max)?;
        let is_due = entry.answer.until <= now && now < entry.expired + staleness.meanwhile;
        let answer = Answer { value: entry.answer.value.clone(), until: now + staleness.holds };
        (is_due && !(staleness.is_failure)(&answer.value)).then_some(Stale { answer, is_alone })
    }

    fn look_up(&self, name: &str) -> Result<Answer<V>, Arc<OnceCell<Answer<V>>>> {
        let mut state = self.lock();
        if let Some(entry) = state.find(name, self.generation_max)
            && entry.answer.until > Instant::now()
        {
            return Ok(entry.answer.clone());
        }
        if let Some(question) = state.asked.get(name).and_then(Weak::upgrade) {
            return Err(question);
        }
        state.forget_abandoned();
        let question = Arc::new(OnceCell::new());
        state.asked.insert(name.into(), Arc::downgrade(&question));
        Err(question)
    }

    /// Keeps `answer`, or the one before it where that is better; gives what is kept.
    fn put(&self, name: &str, answer: Answer<V>) -> Answer<V> {
        let mut state = self.lock();
        state.asked.remove(name);
        let mut entry = Entry { expired: answer.until, answer };
        if let Some(older) = self.better(&mut state, name, &entry.answer.value) {
            entry = older;
        }
        let answer = entry.answer.clone();
        state.insert(name.into(), entry, self.generation_max);
        answer
    }

    /// The answer before, if `value` says nothing and that one did.
    fn better(&self, state: &mut State<V>, name: &str, value: &V) -> Option<Entry<V>> {
        let staleness = self.staleness.as_ref().filter(|staleness| (staleness.is_failure)(value))?;
        let older = state.find(name, self.generation_max)?;
        let now = Instant::now();
        if (staleness.is_failure)(&older.answer.value) || now >= older.expired + staleness.at_most {
            return None;
        }
        let answer = Answer { value: older.answer.value.clone(), until: now + staleness.holds };
        Some(Entry { answer, expired: older.expired })
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
    /// What is kept of `name`, whether its time is over or not; it counts as used.
    fn find(&mut self, name: &str, generation_max: usize) -> Option<&Entry<V>> {
        if !self.recent.contains_key(name) {
            let (name, entry) = self.older.remove_entry(name)?;
            self.insert(name, entry, generation_max);
        }
        self.recent.get(name)
    }

    fn insert(&mut self, name: Arc<str>, entry: Entry<V>, generation_max: usize) {
        if self.recent.len() >= generation_max {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(name, entry);
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

    const FAILED: u32 = 0;

    /// Answers of 20 ms that serve 100 ms longer, 40 ms of them at once.
    fn stale_cache() -> Cache<u32> {
        let ms = Duration::from_millis;
        let is_failure = |value: &u32| *value == FAILED;
        let staleness = Staleness { is_failure, meanwhile: ms(40), at_most: ms(100), holds: ms(10) };
        Cache::with_stale(10, staleness)
    }

    #[test]
    fn an_answer_serves_beyond_its_time_while_nothing_can_be_learnt() {
        on_tokio(async {
            let (cache, short) = (stale_cache(), Duration::from_millis(20));
            let fails = || async { answer(FAILED, short) };
            assert_eq!(cache.get("a", || async { answer(7, short) }).await.value, 7);
            assert!(cache.stale("a").is_none(), "it is fresh");
            tokio::time::sleep(short).await;
            assert!(cache.stale("a").is_some_and(|stale| stale.is_alone && stale.answer.value == 7));
            let kept = cache.get("a", fails).await;
            assert_eq!(kept.value, 7, "better than a failure");
            assert!(kept.until <= Instant::now() + Duration::from_millis(10));
            tokio::time::sleep(Duration::from_millis(45)).await;
            assert!(cache.stale("a").is_none(), "too old to be given without asking");
            assert_eq!(cache.get("a", fails).await.value, 7);
            tokio::time::sleep(Duration::from_millis(80)).await;
            assert_eq!(cache.get("a", fails).await.value, FAILED, "too old to be true");
            assert_eq!(cache.get("b", fails).await.value, FAILED, "there was none before");
        });
    }

    #[test]
    fn a_stale_answer_does_not_outlive_a_new_one() {
        on_tokio(async {
            let (cache, short) = (stale_cache(), Duration::from_millis(20));
            cache.get("a", || async { answer(7, short) }).await;
            tokio::time::sleep(short).await;
            let slow = cache.get("a", || async {
                tokio::time::sleep(Duration::from_millis(5)).await;
                answer(8, LONG)
            });
            let mut slow = std::pin::pin!(slow);
            assert!(futures_util::poll!(slow.as_mut()).is_pending());
            assert!(cache.stale("a").is_some_and(|stale| !stale.is_alone && stale.answer.value == 7));
            assert_eq!(slow.await.value, 8);
            assert!(cache.stale("a").is_none());
            assert_eq!(cache.get("a", || async { answer(9, LONG) }).await.value, 8);
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
