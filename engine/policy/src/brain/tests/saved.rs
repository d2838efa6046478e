//! A brain after a restart, and after a change of the configuration between.

use crate::warmup::Ladder;

use super::*;

fn lived() -> (Setup, Brain, UnixMs) {
    let plan = WarmUpPlan { ladder: Ladder::by_name("generic").expect("built in"), start: None, day: 3 };
    let mut setup = setup(2, 3);
    setup.sources[1].warm_up = Some(plan.clone());
    setup.identities.insert(9, plan);
    let mut brain = brain_of(setup.clone());
    let campaign = CampaignId::from_raw(u64::MAX - 3);
    brain.tables.gates.announce(campaign, 100_000);
    let passed = (0..1000).filter(|_| brain.tables.gates.pass(campaign, 1)).count() as u32;
    let at = TallyKey { campaign: Some(campaign), ..key(0, 1) };
    brain.heard(at, counts(&[(Happening::Delivered, passed - 4), (Happening::UnknownUser, 4)]), START);
    brain.heard(key(0, 2), counts(&[(Happening::Delivered, 900), (Happening::Blocked, 90)]), START);
    for _ in 0..5 {
        assert!(brain.tables.standings.take(1, 2));
    }
    brain.burnt(0, 1, Duration::from_secs(1800), "blocked", START);
    brain.identity_slow(1, 2, START);
    brain.set_bad(44, None, START);
    let now = START + SECOND;
    tick(&mut brain, now);
    (setup, brain, now)
}

fn restored(setup: &Setup, saved: &Saved, now: UnixMs) -> Brain {
    Brain::restored(setup.clone(), Tables::of(setup), saved, now)
}

#[test]
fn a_restart_changes_nothing() {
    let (setup, brain, now) = lived();
    let text = serde_json::to_string(&brain.saved(now)).expect("it can be written");
    let saved: Saved = serde_json::from_str(&text).expect("it can be read");
    let again = restored(&setup, &saved, now);
    assert_eq!(again.saved(now), saved, "and saved again it is the same");
    let campaign = CampaignId::from_raw(u64::MAX - 3);
    assert_eq!(again.campaign(campaign).map(|one| one.total), brain.campaign(campaign).map(|one| one.total));
    assert_eq!(again.tables.gates.room(campaign, 1), brain.tables.gates.room(campaign, 1));
    assert_eq!(
        again.tables.standings.at(1, 2),
        brain.tables.standings.at(1, 2),
        "the allowance that is left"
    );
    assert_eq!(again.tables.standings.at(0, 1).burnt_until, brain.tables.standings.at(0, 1).burnt_until);
    assert!(again.tables.budgets.get(1, 2).is_some() && !again.tables.gates.is_good(44));
    let score = |brain: &Brain| brain.score(Component::Source(0), Some(2), now).value;
    assert_eq!(score(&again), score(&brain));
}

#[test]
fn names_count_and_not_indices() {
    let (mut setup, brain, now) = lived();
    let saved = brain.saved(now);
    setup.sources.reverse();
    setup.providers = ["new", "p2", "p1"].map(str::to_owned).to_vec();
    let again = restored(&setup, &saved, now);
    assert!(again.tables.standings.at(1, 2).is_burnt(now), "s0 at p1");
    let seen = |source, provider| again.score(Component::Source(source), Some(provider), now).parts.seen;
    assert!((seen(1, 1) - 990.0).abs() < 1.0, "s0 at p2");
    assert_eq!(seen(1, 0), 0.0);
    assert!(again.warm_ups(now).iter().any(|one| one.who == Climbing::Source(0) && one.used == 5));
}

#[test]
fn what_is_of_another_version_or_gone_begins_anew() {
    let (setup, brain, now) = lived();
    let mut value = serde_json::to_value(brain.saved(now)).expect("it can be written");
    value["version"] = 99.into();
    let other: Saved = serde_json::from_value(value).expect("it can be read");
    let again = restored(&setup, &other, now);
    assert!(!again.tables.standings.at(0, 1).is_burnt(now));
    let empty: Saved = serde_json::from_str("{}").expect("everything may be missing");
    assert!(restored(&setup, &empty, now).burnt_sources().is_empty());
    let none = restored(&super::setup(0, 0), &brain.saved(now), now);
    assert!(none.warm_ups(now).is_empty());
}
