//! Canaries, the breaker, ladders, and who is warmed up by them.

use std::sync::Arc;

use crate::brain::{CanarySettings, WarmUpPlan};
use crate::breaker::BreakerSettings;
use crate::config::model::Judgement;
use crate::config::problems::Complaint;
use crate::config::stated::Block;
use crate::warmup::{Ladder, LadderUnit};

use super::Resolver;

impl Resolver<'_, '_> {
    pub(super) fn judgement(&self, ladders: Vec<Arc<Ladder>>) -> Option<Judgement> {
        let (canary, breaker) = (self.once("canary")?, self.once("breaker")?);
        Some(Judgement {
            canary: CanarySettings {
                enabled: canary.get("enabled")?,
                size: canary.get("size")?,
                share_ppm: canary.get("share")?,
                least: canary.get("least")?,
                growth: canary.get("growth")?,
                wait: canary.get("wait")?,
                time_limit: canary.get("time_limit")?,
            },
            breaker: BreakerSettings {
                enabled: breaker.get("enabled")?,
                complaints_ppm: breaker.get("complaints")?,
                unknown_users_ppm: breaker.get("unknown_users")?,
                spam_ppm: breaker.get("spam")?,
                blocks_ppm: breaker.get("blocks")?,
                campaigns: breaker.get("campaigns")?,
            },
            ladders,
        })
    }

    /// The built-in ladders under those of the file.
    pub(super) fn ladders(&mut self) -> Vec<Arc<Ladder>> {
        self.check_unique("ladder", "name");
        let own: Vec<_> = self.blocks("ladder").iter().filter_map(|block| self.ladder(block)).collect();
        let is_own = |name: &str| own.iter().any(|ladder| ladder.name == name);
        let builtin: Vec<_> =
            Ladder::builtin().iter().filter(|ladder| !is_own(&ladder.name)).cloned().collect();
        own.into_iter().chain(builtin).collect()
    }

    fn ladder(&mut self, block: &Block) -> Option<Arc<Ladder>> {
        let steps: Vec<u32> = block.list("steps").into_iter().map(|(step, _)| step).collect();
        if block.states("steps") && (steps.is_empty() || !steps.is_sorted()) {
            let complaint = Complaint::new(
                "the ladder does not lead up",
                "its list is empty, or a step is smaller than the one before",
                "write the messages of each day in growing order: [50, 100, 200]",
            );
            self.problems.error(&block.place_of("steps"), complaint);
        }
        let unit = block.choice("unit", &[LadderUnit::Day, LadderUnit::Hour])?;
        Some(Arc::new(Ladder { name: block.get("name")?, unit, steps }))
    }

    /// How a source or a domain is warmed up.
    pub(super) fn warm_up(&mut self, block: &Block, ladders: &[Arc<Ladder>]) -> Option<WarmUpPlan> {
        let Some(name) = block.get::<String>("warmup") else {
            for key in ["warmup_start", "warmup_day"] {
                self.check_warms_up(block, key);
            }
            return None;
        };
        let names: Vec<_> = ladders.iter().map(|ladder| ladder.name.as_str()).collect();
        let index = self.look_up("ladder", &name, &names, &block.place_of("warmup"))?;
        let ladder = Arc::clone(ladders.get(index)?);
        Some(WarmUpPlan { ladder, start: block.get("warmup_start"), day: block.get("warmup_day")? })
    }

    fn check_warms_up(&mut self, block: &Block, key: &str) {
        if block.states(key) && !block.has("warmup") {
            let complaint = Complaint::new(
                format!("`{key}` is not used"),
                "nothing is warmed up without a ladder",
                "add warmup = \"sendgrid\", or remove the key",
            );
            self.problems.warning(&block.place_of(key), complaint);
        }
    }
}
