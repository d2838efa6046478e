//! Begins the warm-up of a source while the engine runs, because an operator says so. It refuses to guess names.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use policy::brain::WarmUpPlan;
use policy::config::Source;
use policy::warmup::Ladder;

use super::Handle;
use crate::Refusal;
use crate::brain;
use crate::decisions::{About, Decision};
use crate::shard::Shard;
use crate::views::{WarmUpBegun, WarmUpOrder};

/// The ladder of a source for which neither the order nor the configuration names one.
const LADDER: &str = "generic";
/// The longest that a source rests while what waits for it is taken off its paths: a million recipients in a few seconds.
const REST_MAX: Duration = Duration::from_secs(10);

impl Handle {
    /// Begins a warm-up, or begins it anew. When it returns it holds, also after a restart.
    ///
    /// # Errors
    /// When source, provider or ladder are not known, the day is none, or nothing is warmed up at the provider.
    pub async fn start_warm_up(&self, order: WarmUpOrder) -> Result<WarmUpBegun, Refusal> {
        let shared = &self.shared;
        let WarmUpOrder { source: name, provider, ladder, day } = order;
        let no_source = || Refusal::NotFound(format!("there is no source `{name}`"));
        let index = shared.sources.index_of(&name).ok_or_else(no_source)?;
        let source = shared.sources.get(index);
        let at = match &provider {
            None => None,
            Some(wanted) => {
                let known = shared.config.providers.by_name(wanted);
                let unknown = || Refusal::invalid("provider", format!("there is no provider `{wanted}`"));
                Some(known.ok_or_else(unknown)?.0)
            }
        };
        let ladder = self.ladder(ladder.as_deref(), source)?;
        if day == 0 {
            return Err(Refusal::invalid("day", "days count from 1"));
        }
        let providers = shared.brain.lock().warmable(index, at);
        if providers.is_empty() {
            let why = format!("nothing is warmed up at `{}`", provider.as_deref().unwrap_or("any provider"));
            return Err(Refusal::Conflict(why));
        }
        let per_day = ladder.per_day(day as usize - 1);
        let begun = WarmUpBegun {
            source: name,
            ladder: ladder.name.clone(),
            day,
            per_day,
            providers: providers.len(),
        };
        let moved = self.begin(index, &providers, &WarmUpPlan { ladder, start: None, day }).await;
        self.tell_begun(&begun, provider, moved);
        brain::save(shared).await;
        Ok(begun)
    }

    /// Takes what waits off the source's paths, so that it asks for its place like all that comes: the source rests until none is
    /// left there and the warm-up has begun. How much it was.
    async fn begin(&self, source: u16, providers: &[u16], plan: &WarmUpPlan) -> u64 {
        let (shared, rest) = (&self.shared, self.now() + REST_MAX);
        let standings = &shared.brain.standings;
        let is_rested: Vec<bool> =
            providers.iter().map(|&provider| standings.at(source, provider).is_burnt(self.now())).collect();
        providers.iter().for_each(|&provider| standings.burn(source, provider, rest));
        let mut moved = 0;
        for shard in 0..shared.shards.len() {
            let meant = providers.to_vec();
            let clear = move |shard: Rc<Shard>| async move { shard.clear_paths(source, &meant).await };
            // A shard that takes nothing more ends: its mail is routed anew after the start.
            moved += shared.ask(shard, clear).await.unwrap_or_default();
        }
        let mut brain = shared.brain.lock();
        for (&provider, is_rested) in providers.iter().zip(is_rested) {
            brain.warm_up(source, provider, plan, self.now());
            // It may have been refused meanwhile, which lasts longer.
            if !is_rested && standings.at(source, provider).burnt_until == rest {
                standings.heal(source, provider);
            }
        }
        moved
    }

    fn ladder(&self, named: Option<&str>, source: &Source) -> Result<Arc<Ladder>, Refusal> {
        let (Some(plan), None) = (&source.warm_up, named) else {
            let (wanted, known) = (named.unwrap_or(LADDER), &self.shared.config.deliver.judgement.ladders);
            let found = known.iter().find(|ladder| ladder.name == wanted).cloned();
            let names = || known.iter().map(|ladder| ladder.name.as_str()).collect::<Vec<_>>().join(", ");
            let unknown = || format!("there is no ladder `{wanted}`; there are {}", names());
            return found.ok_or_else(|| Refusal::invalid("ladder", unknown()));
        };
        Ok(Arc::clone(&plan.ladder))
    }

    fn tell_begun(&self, begun: &WarmUpBegun, provider: Option<String>, moved: u64) {
        let WarmUpBegun { source, ladder, day, per_day, providers } = begun;
        let limit = per_day.map_or_else(|| "without a limit".to_owned(), |count| format!("{count} a day"));
        let place = provider.clone().unwrap_or_else(|| format!("all {providers} providers"));
        let reason =
            format!("the operator begins the warm-up of source {source} at {place}: {limit} by {ladder}");
        let figures = BTreeMap::from([
            ("day", f64::from(*day)),
            ("providers", *providers as f64),
            ("rerouted", moved as f64),
        ]);
        self.shared.brain.decisions.add(Decision {
            number: 0,
            at: self.now(),
            kind: "warmup.started",
            about: About { source: Some(source.clone()), provider, ..About::default() },
            from: String::new(),
            to: format!("day {day} of {ladder}"),
            reason,
            figures,
        });
    }
}
