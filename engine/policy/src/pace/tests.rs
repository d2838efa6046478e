//! Pacers against receivers whose limits they do not know.

mod facts;
mod receiver;

use receiver::{Hidden, Quota, Scene};

use super::*;
use crate::source::mixed;

fn limits(connections: u32, rate: Option<f64>) -> Limits {
    Limits {
        connections,
        rate: rate.map(Rate::from_per_second),
        messages_per_connection: 1000,
        recipients_per_message: 1,
        pipeline_depth: 1,
    }
}

/// Learning from a rate that is documented, with connections enough.
fn caps(start: f64) -> Caps {
    Caps::new(limits(400, Some(start)), limits(400, None))
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOURLY: Duration = Duration::from_secs(3600);
const DAILY: Duration = Duration::from_secs(86_400);

/// The part of a limit that is to be used, and the part of the attempts that may be refused for the rate.
const USED: f64 = 0.85;
const REFUSED: f64 = 0.02;

/// The minute after `from` in which the limit is first used as it should be.
fn reached(scene: &Scene, from: usize, limit: f64) -> usize {
    let is_there = |minute: &receiver::Minute| minute.accepted as f64 / 60.0 >= USED * limit;
    scene.minutes[from..].iter().position(is_there).unwrap_or(usize::MAX)
}

#[test]
fn a_hidden_limit_is_found_within_minutes_and_used() {
    for (start, factor) in
        [(10.0, 0.05), (100.0, 0.05), (10.0, 0.2), (1.0, 0.5), (10.0, 1.0), (20.0, 3.0), (5.0, 20.0)]
    {
        for burst in [1.0, 10.0, 60.0] {
            let limit = start * factor;
            let mut scene = Scene::new(caps(start), Hidden::rate(limit, burst), 1);
            scene.run_to(40);
            let words = format!("{start}/s is documented, {limit}/s with a burst of {burst} s true");
            assert!(reached(&scene, 0, limit) < 10, "{words}: reached late");
            let (used, refused) = scene.figures(15, 40);
            assert!(used / limit >= USED, "{words}: {:.3} used", used / limit);
            assert!(scene.figures(10, 40).1 < REFUSED, "{words}: {:.4} refused", scene.figures(10, 40).1);
            let most = if limit >= 3.0 { 0.005 } else { 0.02 };
            assert!(refused < most, "{words}: {refused:.4} refused");
        }
    }
}

#[test]
fn a_limit_that_changes_is_found_again_within_a_quarter_of_an_hour() {
    for (start, limit) in [(10.0, 10.0), (50.0, 5.0), (5.0, 50.0), (1.0, 0.5)] {
        // Of slower limits nothing is seen within minutes.
        for factor in [0.2, 0.5, 2.0, 5.0].into_iter().filter(|factor| factor * limit >= 0.5) {
            // One message a second without any burst cannot be met: replies take up to 150 ms more or less.
            for burst in [2.0, 10.0] {
                let mut scene = Scene::new(caps(start), Hidden::rate(limit, burst), 2);
                scene.run_to(30);
                let changed = limit * factor;
                scene.hidden.rate = changed;
                scene.hidden.tokens = scene.hidden.tokens.min(changed * burst);
                scene.run_to(65);
                let words = format!("{limit}/s with a burst of {burst} s, then {changed}/s");
                assert!(reached(&scene, 30, changed) < 16, "{words}: reached late");
                let (used, _) = scene.figures(46, 65);
                assert!(used / changed >= USED, "{words}: {:.3} used", used / changed);
                let (_, refused) = scene.figures(10, 65);
                assert!(refused < REFUSED, "{words}: {refused:.4} refused");
            }
        }
    }
}

#[test]
fn short_windows_are_paced_like_rates() {
    for (count, window, is_of_clock) in
        [(30, SECOND, true), (600, MINUTE, true), (60, MINUTE, true), (600, MINUTE, false)]
    {
        let limit = count as f64 / window.as_secs_f64();
        let hidden = Hidden::quotas(vec![Quota::new(count, window, is_of_clock)]);
        let mut scene = Scene::new(caps(50.0), hidden, 3);
        scene.run_to(120);
        let (used, refused) = scene.figures(15, 120);
        assert!(used / limit >= USED, "{count} in {window:?}: {:.3} used", used / limit);
        assert!(refused < 0.005, "{count} in {window:?}: {refused:.4} refused");
    }
}

#[test]
fn quotas_are_used_to_the_full_and_resumed_when_they_open() {
    for (start, count, window, is_of_clock) in [
        (100.0, 1_000, HOURLY, true),
        (100.0, 1_000, HOURLY, false),
        (10.0, 100, HOURLY, true),
        (1.0, 100, HOURLY, false),
        (10.0, 10_000, HOURLY, true),
        (100.0, 5_000, DAILY, true),
        (100.0, 5_000, DAILY, false),
    ] {
        let hidden = Hidden::quotas(vec![Quota::new(count, window, is_of_clock)]);
        let mut scene = Scene::new(caps(start), hidden, 4);
        let minutes = window.as_secs() / 60;
        let words = format!("{count} in {window:?}, of the clock: {is_of_clock}");
        scene.run_to(minutes * 4);
        let hours_of_three = (minutes * 3) as f64 * 60.0 / window.as_secs_f64();
        let accepted = scene.figures(minutes as usize, minutes as usize * 4).0 * minutes as f64 * 180.0;
        let used = accepted / hours_of_three / count as f64;
        assert!(used >= USED, "{words}: {used:.3} used");
        let (_, refused) = scene.figures(10, minutes as usize * 4);
        assert!(refused < REFUSED, "{words}: {refused:.4} refused");
    }
}

#[test]
fn a_rate_below_a_quota_and_the_quota_are_both_kept() {
    let quota = Quota::new(20_000, HOURLY, true);
    let hidden = Hidden { quotas: vec![quota], ..Hidden::rate(20.0, 1.0) };
    let mut scene = Scene::new(caps(50.0), hidden, 5);
    scene.run_to(240);
    let (used, refused) = scene.figures(60, 240);
    assert!(used * 3600.0 / 20_000.0 >= USED, "{used}/s");
    assert!(refused < 0.005, "{refused:.4} refused");
}

/// A number from 0 to 1 after another, from a seed.
fn dice(seed: u64) -> impl FnMut() -> f64 {
    let mut state = mixed(seed);
    move || {
        state = mixed(state);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[test]
fn any_quota_with_any_rate_beside_it_is_used() {
    for seed in 0..30 {
        let mut dice = dice(seed + 5000);
        let start = (dice() * 100.0_f64.ln()).exp();
        let count = (100.0 * (dice() * 200.0_f64.ln()).exp()) as u64;
        let is_of_clock = dice() < 0.5;
        let rate = if dice() < 0.3 { 2.0 + dice() * 30.0 } else { 1e6 };
        let quotas = vec![Quota::new(count, HOURLY, is_of_clock)];
        let mut scene = Scene::new(caps(start), Hidden { quotas, ..Hidden::rate(rate, 2.0) }, seed);
        scene.run_to(300);
        let limit = rate.min(count as f64 / 3600.0);
        let ((used, _), (_, refused)) = (scene.figures(60, 300), scene.figures(10, 300));
        let words = format!("seed {seed}: {count}/h and {rate:.1}/s from {start:.1}/s");
        assert!(used / limit >= USED, "{words}: {:.3} used", used / limit);
        assert!(refused < REFUSED, "{words}: {refused:.4} refused");
    }
}

#[test]
fn any_rate_that_changes_to_any_other_is_found() {
    for seed in 0..40 {
        let mut dice = dice(seed + 1000);
        let start = (dice() * 100.0_f64.ln()).exp();
        let limit = (start * 20.0_f64.powf(dice() * 2.0 - 1.0)).clamp(1.0, 100.0);
        let burst = 2.0 * (dice() * 30.0_f64.ln()).exp();
        let changed = (limit * 0.2 * 25.0_f64.powf(dice())).clamp(0.5, 200.0);
        let mut scene = Scene::new(caps(start), Hidden::rate(limit, burst), seed);
        scene.run_to(35);
        scene.hidden.rate = changed;
        scene.hidden.tokens = scene.hidden.tokens.min(changed * burst);
        scene.run_to(70);
        let words =
            format!("seed {seed}: {limit:.2}/s from {start:.2}/s, burst {burst:.1} s, then {changed:.2}/s");
        assert!(reached(&scene, 0, limit) < 15 && reached(&scene, 35, changed) < 15, "{words}: late");
        let used = (scene.figures(15, 35).0 / limit).min(scene.figures(50, 70).0 / changed);
        assert!(used >= USED, "{words}: {used:.3} used");
        let (_, refused) = scene.figures(10, 70);
        assert!(refused < REFUSED, "{words}: {refused:.4} refused");
    }
}

#[test]
fn a_receiver_that_loses_patience_is_not_provoked() {
    for patience in [10, 30] {
        let hidden = Hidden { patience: Some(patience), ..Hidden::rate(20.0, 1.0) };
        let mut scene = Scene::new(caps(50.0), hidden, 6);
        scene.run_to(90);
        assert_eq!(scene.hidden.angry_until_ms, 0, "patience {patience}");
        assert!(scene.figures(15, 90).0 >= USED * 20.0, "patience {patience}");
    }
    // A start of many times the limit costs us our name at first; it is won back.
    let hidden = Hidden { patience: Some(10), ..Hidden::rate(2.0, 1.0) };
    let mut scene = Scene::new(caps(50.0), hidden, 6);
    scene.run_to(180);
    assert!(scene.hidden.angry_until_ms > 0);
    let (used, refused) = scene.figures(90, 180);
    assert!(used >= USED * 2.0 && refused < REFUSED, "{used:.2}/s used, {refused:.4} refused");
}

#[test]
fn connections_are_learned_and_learned_again() {
    for hidden in [1, 3, 10, 30] {
        let caps = Caps::new(limits(10, Some(1000.0)), limits(100, None));
        let mut scene = Scene::new(caps, Hidden { connections: hidden, ..Hidden::rate(1e5, 1.0) }, 7);
        scene.run_to(15);
        let is_near = |found: u32, limit: u32| (limit * 85 / 100..=limit + 1).contains(&found);
        let found = scene.pacer.limits().connections;
        assert!(is_near(found, hidden), "{hidden}: {found}");
        scene.hidden.connections = hidden * 3;
        scene.run_to(30);
        let found = scene.pacer.limits().connections;
        assert!(is_near(found, hidden * 3), "{hidden} and then {}: {found}", hidden * 3);
        let (_, refused) = scene.figures(10, 30);
        assert!(refused < 0.005, "{hidden}: {refused:.4} refused");
    }
}

#[test]
fn the_messages_of_a_connection_are_remembered() {
    for hidden in [5, 20, 90] {
        let caps = Caps::new(limits(10, Some(50.0)), limits(50, None));
        let mut scene =
            Scene::new(caps, Hidden { messages_per_connection: hidden, ..Hidden::rate(1e5, 1.0) }, 8);
        scene.run_to(90);
        assert_eq!(scene.pacer.limits().messages_per_connection, hidden);
        assert!(scene.figures(10, 90).1 < 0.001);
    }
}

#[test]
fn an_unlimited_rate_is_learned_from_its_first_refusal() {
    for limit in [1.0, 30.0, 300.0] {
        let caps = Caps::new(limits(100, None), limits(100, None));
        let mut scene = Scene::new(caps, Hidden::rate(limit, 3.0), 9);
        scene.run_to(40);
        let (used, refused) = scene.figures(15, 40);
        assert!(used / limit >= USED && refused < REFUSED, "{limit}: {used:.2} used, {refused:.4} refused");
    }
    let caps = Caps::new(limits(100, None), limits(100, None));
    let mut scene = Scene::new(caps, Hidden::rate(1e6, 1.0), 9);
    scene.run_to(10);
    assert_eq!(scene.pacer.limits().rate, None, "nothing was refused");
}

#[test]
fn little_mail_is_no_reason_to_grow() {
    let mut scene = Scene::new(caps(10.0), Hidden::rate(1000.0, 1.0), 10);
    scene.supply_per_second = Some(3.0);
    scene.run_to(30);
    assert_eq!(scene.pacer.limits().rate, Some(Rate::from_per_second(10.0)));
    assert!(scene.changes.is_empty(), "{:?}", scene.changes);
}

#[test]
fn the_same_seed_makes_the_same_changes() {
    let changes = |seed| {
        let mut scene = Scene::new(caps(10.0), Hidden::rate(3.0, 1.0), seed);
        scene.run_to(20);
        scene.changes
    };
    assert_eq!(changes(11), changes(11));
}
