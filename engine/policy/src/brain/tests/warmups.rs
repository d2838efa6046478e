//! Warm-ups of sources and senders, through the tables that shards read.

use proptest::prelude::*;

use crate::lease::LeaseHolder;
use crate::warmup::{DAY, Ladder};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn warming(ladder: &str) -> Setup {
    let plan = WarmUpPlan { ladder: Ladder::by_name(ladder).expect("built in"), start: None, day: 1 };
    let mut setup = setup(1, 2);
    setup.sources[0].warm_up = Some(plan);
    setup.trusted = vec![1];
    setup
}

/// Sends as much of `wanted` as may go in the minute from `now`, of which `bad` of a thousand are refused; how much went.
fn minute(brain: &mut Brain, wanted: u32, bad: u32, now: UnixMs, told: &mut Vec<&'static str>) -> u32 {
    let went = (0..wanted).take_while(|_| brain.tables.standings.take(0, 0)).count() as u32;
    let refused = went * bad / 1000;
    let all = [(Happening::Delivered, went - refused), (Happening::SpamRefused, refused)];
    brain.heard(key(0, 0), counts(&all), now);
    told.extend(codes(&tick(brain, now)));
    went
}

/// What goes on each of `days` when there is more than enough.
fn days(brain: &mut Brain, days: u32, bad: u32, from: UnixMs) -> (Vec<u32>, Vec<&'static str>) {
    let (mut went, mut told) = (Vec::new(), Vec::new());
    for day in 0..days {
        let mut sum = 0;
        for n in 0..1440 {
            sum += minute(brain, 100_000, bad, from + DAY * day + SECOND * 60 * n, &mut told);
        }
        went.push(sum);
    }
    (went, told)
}

#[test]
fn a_clean_source_climbs_its_ladder_and_no_day_exceeds_it() {
    let mut brain = brain_of(warming("generic"));
    let (went, told) = days(&mut brain, 6, 0, START);
    assert_eq!(went, [50, 100, 250, 500, 1000, 2500]);
    assert_eq!(told, ["warmup.advanced"; 5]);
    assert_eq!(brain.tables.standings.at(0, 1).left, None, "the operator's own hosts need no warm-up");
    let view = &brain.warm_ups(START + DAY * 6 - SECOND)[0];
    assert_eq!((view.day, view.per_day, view.used), (6, Some(2500), 2500));
    assert_eq!(view.next_at, START + DAY * 6);
}

#[test]
fn the_messages_of_a_day_are_spread_over_its_hours() {
    let mut brain = brain_of(warming("sparkpost"));
    let mut told = Vec::new();
    let mut hours = Vec::new();
    for hour in 0..24_u32 {
        let minutes = (0..60).map(|n| START + HOUR * hour + SECOND * 60 * n);
        hours.push(minutes.map(|now| minute(&mut brain, 1000, 0, now, &mut told)).sum::<u32>());
    }
    assert_eq!(hours.iter().sum::<u32>(), 200);
    assert!(hours.iter().all(|&count| count <= 25), "{hours:?}");
    assert!(hours[1..22].iter().all(|&count| count >= 7), "{hours:?}");
}

#[test]
fn what_was_not_used_can_be_caught_up_on_but_not_in_one_hour() {
    let mut brain = brain_of(warming("sparkpost"));
    let mut told = Vec::new();
    tick(&mut brain, START + HOUR * 20);
    let evening = (0..4 * 60).map(|n| START + HOUR * 20 + SECOND * 60 * n);
    let went: Vec<u32> = evening.map(|now| minute(&mut brain, 1000, 0, now, &mut told)).collect();
    let hours: Vec<u32> = went.chunks(60).map(|hour| hour.iter().sum()).collect();
    assert_eq!(hours, [25, 25, 25, 25]);
}

#[test]
fn what_comes_back_unsent_may_go_again() {
    let mut brain = brain_of(warming("generic"));
    let take = |brain: &Brain| brain.tables.standings.take(0, 0);
    assert!(take(&brain) && take(&brain) && !take(&brain));
    tick(&mut brain, START + SECOND);
    assert_eq!(brain.warm_ups(START)[0].used, 2);
    brain.tables.standings.give_back(0, 0);
    tick(&mut brain, START + SECOND * 2);
    assert_eq!(brain.warm_ups(START)[0].used, 1);
    assert!(take(&brain) && !take(&brain));
}

#[test]
fn what_goes_beyond_the_allowance_is_counted() {
    let mut brain = brain_of(warming("generic"));
    brain.heard(key(0, 0), counts(&[(Happening::Delivered, 30)]), START);
    tick(&mut brain, START);
    assert_eq!((brain.warm_ups(START)[0].used, brain.tables.standings.at(0, 0).left), (30, Some(0)));
    assert_eq!(brain.warm_ups(START)[0].next_at, START + HOUR);
}

#[test]
fn a_bad_day_steps_back_and_a_block_at_once() {
    let mut brain = brain_of(warming("generic"));
    days(&mut brain, 4, 0, START);
    let (went, told) = days(&mut brain, 1, 200, START + DAY * 4);
    assert!(told.contains(&"warmup.back"), "{told:?}");
    assert!(went[0] <= 500, "it steps back within the day: {went:?}");
    let (went, _) = days(&mut brain, 2, 0, START + DAY * 5);
    assert_eq!(went, [500, 1000], "held for a day, then on");
    let now = START + DAY * 7;
    brain.burnt(0, 0, HOUR, "blocked", now);
    let told = codes(&tick(&mut brain, now));
    assert!(told.contains(&"warmup.back"), "{told:?}");
    let day = brain.warm_ups(now)[0].day;
    assert!(day <= 4, "day {day}");
}

#[test]
fn days_with_too_little_mail_are_held_and_say_nothing() {
    let mut brain = brain_of(warming("generic"));
    let mut told = Vec::new();
    for day in 0..5_u32 {
        for n in 0..20 {
            minute(&mut brain, 1, 0, START + DAY * day + HOUR * n, &mut told);
        }
    }
    assert_eq!(told, Vec::<&str>::new(), "20 of 50 is not enough");
    assert_eq!(brain.warm_ups(START + DAY * 5)[0].day, 1);
}

#[test]
fn a_source_that_was_idle_for_a_month_begins_anew() {
    let mut brain = brain_of(warming("generic"));
    let (_, told) = days(&mut brain, 17, 0, START);
    assert_eq!(told.last(), Some(&"warmup.warm"));
    assert_eq!(brain.tables.standings.at(0, 0).left, None);
    let mut told = Vec::new();
    for day in 17..40_u32 {
        minute(&mut brain, 100, 0, START + DAY * day, &mut told);
    }
    assert_eq!(told, Vec::<&str>::new(), "warm and in use");
    let later = START + DAY * 75;
    assert_eq!(codes(&tick(&mut brain, later)), ["warmup.forgotten"]);
    assert_eq!(brain.tables.standings.at(0, 0).left, Some(2), "an hour of fifty a day");
}

#[test]
fn a_date_ahead_holds_all_and_one_behind_counts_its_days() {
    let start = |start| {
        let mut setup = warming("generic");
        setup.sources[0].warm_up.as_mut().expect("it warms up").start = Some(start);
        brain_of(setup)
    };
    let ahead = start(START + DAY * 2);
    assert_eq!(ahead.tables.standings.at(0, 0).left, Some(0));
    assert_eq!(ahead.warm_ups(START)[0].next_at, START + DAY * 2);
    assert_eq!(start(START - DAY * 3).warm_ups(START)[0].per_day, Some(500));
    assert_eq!(start(START - DAY * 300).tables.standings.at(0, 0).left, None, "warm long since");
}

#[test]
fn a_senders_domain_climbs_through_its_budget() {
    let plan = WarmUpPlan { ladder: Ladder::by_name("sendgrid").expect("built in"), start: None, day: 1 };
    let mut setup = setup(1, 1);
    setup.identities.insert(1, plan);
    let mut brain = brain_of(setup);
    let budgets = std::sync::Arc::clone(&brain.tables.budgets);
    let mut holder = LeaseHolder::default();
    let mut told = Vec::new();
    let mut went = Vec::new();
    for day in 0..3_u32 {
        let mut sum = 0;
        for second in 0..86_400 / 5 {
            let now = START + DAY * day + SECOND * 5 * second;
            let budget = budgets.get(1, 0).expect("limited");
            let count = (0..50).take_while(|_| holder.take(&budget, now).is_ok()).count() as u32;
            sum += count;
            brain.heard(key(0, 0), counts(&[(Happening::Delivered, count)]), now);
            told.extend(codes(&tick(&mut brain, now)));
        }
        went.push(sum);
    }
    assert_eq!(told, ["warmup.advanced"; 2]);
    for (went, allowed) in went.iter().zip([480, 672, 936]) {
        assert!(*went <= allowed + 1 && *went * 10 >= allowed * 9, "{went} of {allowed}");
    }
}

#[test]
fn switched_off_nothing_is_limited() {
    let mut setup = warming("generic");
    setup.mechanisms.warm_up = false;
    assert_eq!(brain_of(setup).tables.standings.at(0, 0).left, None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn no_day_and_no_hour_exceeds_its_ladder(seed: u64, ladder in 0_usize..4) {
        let ladder = &Ladder::builtin()[ladder];
        let mut brain = brain_of(warming(&ladder.name));
        let mut dice = Dice(seed);
        for day in 0..12_u32 {
            let begins = START + DAY * day;
            let mut step_max = 0;
            let (mut sum, mut hours) = (0_u64, [0_u64; 24]);
            for n in 0..144_u32 {
                let now = begins + SECOND * 600 * n;
                let bad = if dice.roll() < 0.02 { 300 } else { 0 };
                if dice.roll() < 0.003 {
                    brain.burnt(0, 0, SECOND, "blocked", now);
                }
                let wanted = dice.between(0.0, 20_000.0) as u32;
                // The tick of the new day comes first, so that what goes is counted for it.
                tick(&mut brain, now);
                step_max = step_max.max(brain.warm_ups(now)[0].day - 1);
                let went = u64::from(minute(&mut brain, wanted, bad, now, &mut Vec::new()));
                (sum, hours[(n / 6) as usize]) = (sum + went, hours[(n / 6) as usize] + went);
            }
            let (per_day, per_hour) = (ladder.per_day(step_max as usize), ladder.per_hour(step_max as usize));
            prop_assert!(per_day.is_none_or(|most| sum <= most), "{} of {:?}", sum, per_day);
            prop_assert!(per_hour.is_none_or(|most| hours.iter().all(|&hour| hour <= most)), "{:?} of {:?}", hours, per_hour);
        }
    }
}

#[test]
fn a_warm_up_that_is_ordered_holds_at_once_is_climbed_and_is_kept_over_a_restart() {
    let mut setup = setup(2, 3);
    setup.trusted = vec![2];
    let mut brain = brain_of(setup.clone());
    let plan =
        |name: &str, day| WarmUpPlan { ladder: Ladder::by_name(name).expect("built in"), start: None, day };
    assert_eq!(brain.warmable(0, None), [0, 1], "the operator's own hosts need none");
    assert!(brain.warmable(0, Some(2)).is_empty() && brain.warmable(7, None).is_empty());
    brain.warmable(0, None).into_iter().for_each(|at| brain.warm_up(0, at, &plan("generic", 1), START));
    let left = |brain: &Brain, source, provider| brain.tables.standings.at(source, provider).left;
    assert_eq!([left(&brain, 0, 0), left(&brain, 0, 1)], [Some(2); 2], "an hour's share of fifty");
    assert_eq!([left(&brain, 0, 2), left(&brain, 1, 0)], [None; 2]);
    let (went, told) = days(&mut brain, 2, 0, START);
    assert_eq!((went, told), (vec![50, 100], vec!["warmup.advanced"]));

    let now = START + DAY * 2 - SECOND;
    let text = serde_json::to_string(&brain.saved(now)).expect("it can be written");
    let saved: Saved = serde_json::from_str(&text).expect("it can be read");
    let mut again = Brain::restored(setup.clone(), Tables::of(&setup), &saved, now);
    assert_eq!(again.warm_ups(now), brain.warm_ups(now));
    assert_eq!(left(&again, 0, 0), Some(0));

    again.warm_up(0, 0, &plan("careful", 2), now);
    let view = &again.warm_ups(now)[0];
    assert_eq!(
        (view.ladder.as_str(), view.day, view.used),
        ("careful", 2, 0),
        "it begins anew on another ladder"
    );
    again.warm_up(0, 0, &plan("careful", 1000), now);
    assert_eq!((left(&again, 0, 0), again.warm_ups(now)[0].per_day), (None, None), "it is warm");
}
