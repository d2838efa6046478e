//! What a shard tells the brain: it counts what happens to mail, and once a second, while anything happens, hands the
//! counts over and looks at the budgets in use. An idle shard does neither.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use policy::tally::{Counts, Happening, Tally, TallyKey};
use queue::{FlowKey, PathKey};
use rustc_hash::FxHashSet;

use super::Shard;
use super::pacers::TICK;
use crate::brain::{Changed, ToBrain};

/// Senders that are known to have been named; beyond it all are named again.
const MET_MAX: usize = 65_536;
/// Counts that wait while the brain does not listen; beyond it the oldest are given up.
const UNTOLD_MAX: usize = 100_000;

/// What has happened on a shard and was not told yet.
#[derive(Default)]
pub(crate) struct Telling {
    tally: RefCell<Tally>,
    untold: Cell<Vec<(TallyKey, Counts)>>,
    /// Senders whose names were told.
    met: RefCell<FxHashSet<u32>>,
}

impl Shard {
    /// Counts what has happened to a recipient of a flow on a path.
    pub(crate) fn note(&self, path: PathKey, flow: FlowKey, happening: Happening) {
        let key = TallyKey {
            source: path.source,
            provider: path.provider,
            class: flow.class,
            identity: flow.identity,
            tenant: flow.tenant,
            campaign: flow.campaign,
        };
        let mut tally = self.mind.telling.tally.borrow_mut();
        if tally.is_empty() {
            self.bells.stirred.notify_one();
        }
        tally.note(key, happening);
    }

    /// Names a sender that is met for the first time: the brain knows senders by their numbers only.
    pub(super) fn meet(&self, identity: u32, domain: &str) {
        let mut met = self.mind.telling.met.borrow_mut();
        if met.contains(&identity) {
            return;
        }
        if met.len() >= MET_MAX {
            met.clear();
        }
        if self.shared.brain.tell(ToBrain::Met(identity, domain.into())).is_ok() {
            met.insert(identity);
        }
    }

    /// Tells of a change of a budget; when nobody listens, only the log does.
    pub(super) fn tell_changed(&self, changed: Changed) {
        drop(self.shared.brain.tell(ToBrain::Changed(Box::new(changed))));
    }

    /// Looks at the budgets in use and hands over what was counted, until the shard ends.
    pub(super) async fn telling_loop(self: &Rc<Self>) {
        loop {
            self.bells.stirred.notified().await;
            loop {
                tokio::time::sleep(TICK).await;
                let is_in_use = self.tick_budgets(self.now());
                let is_untold = self.tell_counts();
                self.dispatch_wanting();
                if !is_in_use && !is_untold {
                    break;
                }
            }
        }
    }

    /// Hands over what was counted; says whether some of it could not be.
    fn tell_counts(&self) -> bool {
        let mut untold = self.mind.telling.untold.take();
        untold.extend(self.mind.telling.tally.borrow_mut().drain());
        if untold.is_empty() {
            return false;
        }
        let Err(ToBrain::Happened(mut back)) = self.shared.brain.tell(ToBrain::Happened(untold)) else {
            return false;
        };
        let too_many = back.len().saturating_sub(UNTOLD_MAX);
        back.drain(..too_many);
        self.mind.telling.untold.set(back);
        true
    }
}
