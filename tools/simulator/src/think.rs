//! The slow decisions, once a second: budgets grow, the brain judges, and what it orders is carried out.

use policy::brain::Order;

use crate::script::Mode;
use crate::stage::Stage;

impl Stage {
    pub(crate) fn think(&mut self) {
        match self.script.mode {
            Mode::Brain => self.judge_the_second(),
            Mode::Static => self.end_throttles(),
        }
    }

    fn judge_the_second(&mut self) {
        let now = self.clock.now();
        for key in self.mind.take_active() {
            let Some(path) = self.queue.find_path(key) else { continue };
            let demand = self.queue.demand(path);
            if let Some(limits) = self.mind.tick(key, demand, now) {
                self.queue.set_limits(path, limits);
            }
        }
        self.mind.report(now);
        let mut orders = Vec::new();
        self.mind.brain.tick(now, &mut orders);
        orders.into_iter().for_each(|order| self.obey(order));
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::PauseCampaign { campaign, .. } => {
                self.mind.stopped.campaigns.insert(campaign);
                self.queue.pause_campaign(campaign);
            }
            Order::PauseTenant { tenant, .. } => {
                self.mind.stopped.tenants.insert(tenant);
                let of_tenant = |batch: &&crate::letters::Batch| batch.tenant == tenant;
                let campaigns: Vec<_> = self
                    .letters
                    .batches
                    .iter()
                    .filter(of_tenant)
                    .filter_map(|batch| batch.campaign)
                    .collect();
                for campaign in campaigns {
                    self.mind.stopped.campaigns.insert(campaign);
                    self.queue.pause_campaign(campaign);
                }
            }
            Order::Open { campaign, provider } => self.release(campaign, Some(provider)),
            Order::Reroute { source, provider } if self.script.mechanisms.reroute => {
                self.reroute(source, provider, usize::MAX);
            }
            Order::Spread(spread) => self.reroute(spread.source, spread.provider, spread.recipients as usize),
            Order::Reroute { .. } => {}
            Order::Tell(event) => {
                let minutes = self.clock.elapsed().as_secs_f64() / 60.0;
                self.measure.told(format!("{minutes:.1} min {}: {}", event.code, event.sentence));
            }
        }
    }

    fn end_throttles(&mut self) {
        for ((source, provider), limits) in self.script.rules.over(self.clock.now()) {
            for path in self.queue.paths_of(source, provider) {
                self.queue.set_limits(path, limits);
            }
        }
    }
}
