//! What the brain is compared with: a static configuration, written as its makers advise. Each provider's documented
//! limits; and their advice for a source whose mail a receiver slows or blocks: one message a minute over one
//! connection for an hour and a half, or nothing for two hours where all mail of the address is put off.

use std::collections::BTreeMap;
use std::time::Duration;

use mail::{Reply, UnixMs};
use policy::reaction::Reaction;
use policy::{Limits, Rate};
use queue::PathKey;

use crate::mind::Effect;

/// For how long a budget is throttled.
const THROTTLE: Duration = Duration::from_secs(90 * 60);
/// For how long nothing is sent.
const SUSPENSION: Duration = Duration::from_secs(2 * 3600);
/// Words upon which a budget is throttled, as the shaping rules that come with an open mail engine have them.
const THROTTLING: [&str; 4] = [
    "temporarily deferred",
    "will be permanently deferred",
    "has been temporarily rate limited due to ip reputation",
    "server busy. please try again later from",
];
/// Words upon which it is suspended.
const SUSPENDING: [&str; 2] = ["[ts04]", "[tss04]"];

/// The rules, and the budgets under one of them.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    documented: Vec<Limits>,
    throttled: BTreeMap<(u16, u16), UnixMs>,
}

impl Rules {
    pub(crate) const fn new(documented: Vec<Limits>) -> Self {
        Self { documented, throttled: BTreeMap::new() }
    }

    pub(crate) fn limits(&self, key: PathKey) -> Limits {
        let documented = self.documented[usize::from(key.provider)];
        if self.throttled.contains_key(&(key.source, key.provider)) {
            throttled(documented)
        } else {
            documented
        }
    }

    /// What the words of a refusal call for.
    pub(crate) fn refused(&mut self, key: PathKey, meant: &Reaction, reply: &Reply, now: UnixMs) -> Effect {
        let text = reply.text.to_lowercase();
        if SUSPENDING.iter().any(|words| text.contains(words)) {
            return Effect { rests_until: Some(now + SUSPENSION), ..Effect::default() };
        }
        let is_blocked = meant.burns.is_some();
        if is_blocked || THROTTLING.iter().any(|words| text.contains(words)) {
            self.throttled.insert((key.source, key.provider), now + THROTTLE);
            return Effect { limits: Some(self.limits(key)), ..Effect::default() };
        }
        Effect::default()
    }

    /// Budgets whose time is over, with their limits from now on.
    pub(crate) fn over(&mut self, now: UnixMs) -> Vec<((u16, u16), Limits)> {
        let over: Vec<_> =
            self.throttled.iter().filter(|(_, until)| **until <= now).map(|(key, _)| *key).collect();
        self.throttled.retain(|_, until| *until > now);
        over.into_iter().map(|key| (key, self.documented[usize::from(key.1)])).collect()
    }
}

fn throttled(documented: Limits) -> Limits {
    Limits { connections: 1, rate: Rate::new(1, Duration::from_secs(60)), ..documented }
}
