//! Questions to shards from any thread: each is answered by the shard that it concerns.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::shard::{Shard, ToShard};
use crate::shared::Shared;
use crate::{Refusal, io};

/// How long a full ring is waited for before the engine is called busy.
const RING_PATIENCE: Duration = Duration::from_secs(10);
/// How long is rested between two looks at a full ring.
const RING_PAUSE: Duration = Duration::from_millis(1);

impl Shared {
    /// Asks every shard the same.
    pub(crate) async fn of_all<R: Send + 'static>(
        &self,
        what: impl Fn(&Rc<Shard>) -> R + Clone + Send + 'static,
    ) -> Vec<R> {
        let mut answers = Vec::new();
        for shard in 0..self.shards.len() {
            let what = what.clone();
            if let Ok(answer) = self.ask(shard, move |shard| async move { what(&shard) }).await {
                answers.push(answer);
            }
        }
        answers
    }

    /// Runs `work` on a shard and brings its result.
    pub(crate) async fn ask<Work, R>(
        &self,
        shard: usize,
        work: impl FnOnce(Rc<Shard>) -> Work + Send + 'static,
    ) -> Result<R, Refusal>
    where
        Work: Future<Output = R> + 'static,
        R: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let mut message = ToShard::Call(Box::new(move |shard: &Rc<Shard>| {
            let work = work(Rc::clone(shard));
            io::spawn(async move {
                // Whoever asked may have gone.
                let _ = answer.send(work.await);
            });
        }));
        let began = std::time::Instant::now();
        while let Err(back) = self.shards[shard].try_send(message) {
            if began.elapsed() > RING_PATIENCE {
                return Err(Refusal::Busy("the engine has more to do than it can take in".to_owned()));
            }
            message = back;
            tokio::time::sleep(RING_PAUSE).await;
        }
        answered.await.map_err(|_| Refusal::Stopping)
    }
}
