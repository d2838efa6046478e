//! Burnt sources, slowed senders, scores.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_burnt_source_is_left_at_once_rests_and_is_tried_again_with_less_credit() {
    let mut brain = brain_of(setup(2, 2));
    brain.heard(key(0, 1), counts(&[(Happening::Delivered, 5_000)]), START);
    tick(&mut brain, START);
    let before = brain.tables.standings.at(0, 1).score;
    assert!(before > 90, "{before}");
    brain.burnt(0, 1, HOUR, "550 5.7.1 blocked by example", START);
    assert!(brain.tables.standings.at(0, 1).is_burnt(START), "shards see it before the tick");
    let orders = tick(&mut brain, START + SECOND);
    assert!(orders.contains(&Order::Reroute { source: 0, provider: 1 }), "{orders:?}");
    assert_eq!(
        sentence(&orders, "source.burnt"),
        "source s0 rests at p1 for 60 min: 550 5.7.1 blocked by example"
    );
    brain.burnt(0, 1, HOUR, "again", START + SECOND);
    assert_eq!(tick(&mut brain, START + SECOND * 2), [], "what was under way is no news");
    assert!(
        !brain.tables.standings.at(1, 1).is_burnt(START) && !brain.tables.standings.at(0, 0).is_burnt(START)
    );
    let later = START + SECOND + HOUR;
    let orders = tick(&mut brain, later);
    assert_eq!(codes(&orders), ["source.healed"]);
    assert!(!brain.tables.standings.at(0, 1).is_burnt(later));
    let after = brain.tables.standings.at(0, 1).score;
    assert!(after + 25 < before, "{after} after {before}");
    let mut now = later;
    for _ in 0..10 {
        now = now + HOUR * 24;
        tick(&mut brain, now);
    }
    assert!(brain.tables.standings.at(0, 1).score >= 78, "forgiven within days");
}

#[test]
fn an_operator_ends_a_rest() {
    let mut brain = brain_of(setup(1, 1));
    brain.burnt(0, 0, HOUR, "blocked", START);
    tick(&mut brain, START);
    brain.heal(0, 0, START + SECOND);
    assert!(!brain.tables.standings.at(0, 0).is_burnt(START + SECOND));
    assert_eq!(codes(&tick(&mut brain, START + SECOND)), ["source.healed"]);
    brain.burnt(0, 0, HOUR, "blocked", START + SECOND);
    assert_eq!(
        brain.burnt_sources()[0].until,
        START + SECOND + HOUR * 2,
        "it is the second time all the same"
    );
}

#[test]
fn without_rerouting_the_source_still_rests() {
    let mut setup = setup(1, 1);
    setup.mechanisms.reroute = false;
    let mut brain = brain_of(setup);
    brain.burnt(0, 0, HOUR, "blocked", START);
    assert_eq!(codes(&tick(&mut brain, START)), ["source.burnt"]);
    assert!(brain.tables.standings.at(0, 0).is_burnt(START));
}

#[test]
fn the_sender_of_bad_mail_is_found_when_its_source_is_burnt() {
    let mut brain = brain_of(setup(2, 1));
    let of = |identity| TallyKey { identity, ..key(0, 0) };
    brain.heard(of(1), counts(&[(Happening::Delivered, 5_000), (Happening::Blocked, 200)]), START);
    brain.heard(of(2), counts(&[(Happening::Delivered, 600), (Happening::UnknownUser, 400)]), START);
    brain.burnt(0, 0, HOUR, "blocked", START);
    let gates = &brain.tables.gates;
    assert!(gates.is_good(1), "blocks fall on all who share the source");
    assert!(!gates.is_good(2));
    let later = START + HOUR * 25;
    let told = codes(&tick(&mut brain, later));
    assert!(told.contains(&"sender.good") && brain.tables.gates.is_good(2), "{told:?}");
}

#[test]
fn a_sender_that_burns_a_second_source_gets_no_third() {
    let mut brain = brain_of(setup(3, 1));
    let of = |identity, source| TallyKey { identity, ..key(source, 0) };
    brain.heard(of(1, 0), counts(&[(Happening::Delivered, 800)]), START);
    brain.heard(of(2, 0), counts(&[(Happening::Delivered, 200)]), START);
    brain.burnt(0, 0, HOUR, "blocked", START);
    assert!(brain.tables.gates.is_good(1), "one burn proves nothing");
    brain.burnt(1, 0, HOUR, "blocked", START + SECOND);
    assert!(!brain.tables.gates.is_good(1) && brain.tables.gates.is_good(2));
}

#[test]
fn the_only_sender_keeps_the_help_of_all_sources() {
    let mut brain = brain_of(setup(3, 1));
    brain.heard(key(0, 0), counts(&[(Happening::Delivered, 1_000)]), START);
    brain.burnt(0, 0, HOUR, "blocked", START);
    brain.burnt(1, 0, HOUR, "blocked", START);
    assert!(brain.tables.gates.is_good(1));
}

#[test]
fn a_slowed_sender_has_a_budget_that_grows_and_goes() {
    let mut brain = brain_of(setup(1, 2));
    for second in 0..60 {
        brain.heard(key(0, 1), counts(&[(Happening::Delivered, 50)]), START + SECOND * second);
    }
    let now = START + SECOND * 60;
    brain.identity_slow(1, 1, now);
    let orders = tick(&mut brain, now);
    let told = sentence(&orders, "identity.slowed");
    let rate = brain.slowed_senders()[0].2;
    assert!((24.0..26.0).contains(&rate), "half of what went: {rate}");
    assert_eq!(told, format!("p1 wants less of the sender: {rate:.1} messages a second from now on"));
    assert!(brain.tables.budgets.get(1, 1).is_some() && brain.tables.budgets.get(1, 0).is_none());
    let mut told = Vec::new();
    for minute in 1..60 {
        told.extend(codes(&tick(&mut brain, now + SECOND * 60 * minute)));
    }
    assert_eq!(told, ["identity.freed"]);
    assert!(brain.tables.budgets.is_empty());
    brain.setup.mechanisms.identity = false;
    brain.identity_slow(1, 1, now);
    assert!(brain.tables.budgets.is_empty(), "switched off");
}

#[test]
fn a_sudden_fall_is_an_alarm_once() {
    let mut brain = brain_of(setup(1, 1));
    brain.heard(key(0, 0), counts(&[(Happening::Delivered, 50_000)]), START);
    let later = START + HOUR * 6;
    tick(&mut brain, later);
    brain.heard(key(0, 0), counts(&[(Happening::Delivered, 200), (Happening::SpamRefused, 400)]), later);
    let orders = tick(&mut brain, later);
    assert!(sentence(&orders, "score.alarm").contains("source s0 at p0"), "{orders:?}");
    assert_eq!(codes(&tick(&mut brain, later + SECOND)), Vec::<&str>::new());
    assert!(brain.tables.standings.at(0, 0).score < 80);
}

#[test]
fn every_code_is_in_the_table() {
    let mut seen: Vec<_> = CODES.iter().map(|(code, _)| *code).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), CODES.len());
}

#[test]
fn a_second_of_a_large_installation_is_bounded() {
    // 64 sources, 60 providers, 3,000 campaigns, 20,000 keys heard: the tables stay within their limits.
    let mut brain = brain_of(setup(64, 60));
    let mut dice = Dice(1);
    for n in 0..20_000_u32 {
        let campaign = (n % 2 == 0).then(|| CampaignId::from_raw(u64::from(n % 3_000)));
        let provider = (dice.roll() * 60.0) as u16;
        if let Some(campaign) = campaign {
            let _ = brain.tables.gates.pass(campaign, provider);
        }
        let key = TallyKey { identity: n, tenant: n % 500, campaign, ..key((n % 64) as u16, provider) };
        brain.heard(key, counts(&[(Happening::Delivered, 3)]), START);
    }
    tick(&mut brain, START);
    assert!(brain.reputation.count() <= crate::reputation::RECORDS_MAX);
    assert!(brain.scores(|_| true, 50, START).len() == 50);
}
