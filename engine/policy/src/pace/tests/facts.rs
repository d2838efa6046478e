//! What holds of a pacer whatever it is told.

use proptest::prelude::*;

use super::super::*;
use super::limits;
use super::receiver::START;

fn demand(waited_for_rate: bool) -> Demand {
    Demand { ready: 100, connections: 10, waited_for_rate }
}

fn after(seconds: u64) -> UnixMs {
    START + Duration::from_secs(seconds)
}

/// A pacer that has sent so many a second for a minute.
fn busy(rate: f64) -> Pacer {
    let mut pacer = Pacer::new(Caps::new(limits(10, Some(rate)), limits(10, Some(rate))), START);
    for second in 1..=60 {
        (0..rate as u32).for_each(|_| pacer.took(after(second)));
        assert_eq!(pacer.tick(demand(true), after(second)), None, "it is at its ceiling");
    }
    pacer
}

#[test]
fn many_refusals_in_flight_are_one_event() {
    let mut pacer = busy(100.0);
    let change = pacer.refused(Signal::Rate, after(60)).expect("the first changes something");
    assert_eq!(
        (change.what, change.from.as_str(), change.to.as_str()),
        (Changed::Rate, "6000/min", "1800/h")
    );
    let learned = pacer.view().learned;
    for millisecond in 0..200 {
        assert_eq!(pacer.refused(Signal::Rate, after(60) + Duration::from_millis(millisecond)), None);
    }
    assert_eq!(pacer.view().learned, learned);
    assert_eq!(pacer.rests_until(after(60)), Some(after(61)), "a second");
    let kept = learned.rate.expect("a rate").as_per_second();
    assert!((98.5..=99.5).contains(&kept), "just below what is documented and was taken: {kept}");
}

#[test]
fn about_nine_tenths_of_what_was_taken_are_kept() {
    let caps = Caps::new(limits(10, Some(10.0)), limits(10, None));
    let learned = Learned { rate: Some(200.0), ..Learned::default() };
    let mut pacer = Pacer::restored(caps, &learned, START);
    for second in 1..=20 {
        (0..150).for_each(|_| pacer.took(after(second)));
        pacer.tick(demand(false), after(second));
    }
    pacer.refused(Signal::Rate, after(20));
    let kept = pacer.view().learned.rate.expect("a rate").as_per_second();
    assert!((135.0..=150.0).contains(&kept), "of 150, though 200 might have gone: {kept}");
}

#[test]
fn one_message_shows_that_the_limit_is_open() {
    let mut pacer = busy(100.0);
    pacer.refused(Signal::Rate, after(60));
    pacer.took(after(60));
    assert_eq!(pacer.tick(demand(true), after(62)), None, "that was under way before");
    pacer.took(after(62));
    let change = pacer.tick(demand(true), after(63)).expect("it opens");
    assert_eq!((change.from.as_str(), change.what.name()), ("1800/h", "rate"));
    assert_eq!(pacer.view().phase, Phase::Holding);
}

#[test]
fn rests_grow_while_single_messages_are_refused() {
    let mut pacer = busy(100.0);
    let mut now = after(60);
    let mut rests = Vec::new();
    for _ in 0..6 {
        pacer.refused(Signal::Rate, now);
        let until = pacer.rests_until(now).expect("it rests");
        rests.push(until.since(now).as_secs());
        now = until;
    }
    assert_eq!(rests, [1, 2, 4, 8, 16, 48]);
    assert!(pacer.view().learned.rate.is_some_and(|rate| rate.as_per_second() > 90.0), "that says no more");
}

#[test]
fn a_refused_name_costs_more_and_rests_longer() {
    let (mut of_rate, mut of_name) = (busy(100.0), busy(100.0));
    of_rate.refused(Signal::Rate, after(60));
    of_name.refused(Signal::Reputation, after(60));
    let learned = |pacer: &Pacer| pacer.view().learned.rate.map_or(0.0, Rate::as_per_second);
    assert!(learned(&of_name) < 0.6 * learned(&of_rate));
    assert_eq!(of_name.rests_until(after(60)), Some(after(120)));
}

#[test]
fn a_receiver_that_is_not_there_teaches_nothing() {
    let mut pacer = busy(100.0);
    let before = pacer.limits();
    let mut now = after(60);
    for _ in 0..2 {
        assert_eq!(pacer.refused(Signal::Unavailable, now), None);
        assert_eq!(pacer.rests_until(now), None, "a message fails now and then");
    }
    for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(pacer.refused(Signal::Unavailable, now), None);
        let until = pacer.rests_until(now).expect("it rests");
        assert_eq!(until.since(now).as_secs(), expected);
        now = until;
    }
    assert_eq!(pacer.limits(), before);
    pacer.took(now);
    pacer.refused(Signal::Unavailable, now);
    assert_eq!(pacer.rests_until(now), None, "it has taken something in between");
}

#[test]
fn a_connection_that_takes_nothing_is_no_limit() {
    let mut pacer = busy(100.0);
    let before = pacer.limits();
    assert_eq!(pacer.refused(Signal::Session { messages: 0 }, after(60)), None);
    for _ in 0..2 {
        assert_eq!(pacer.refused(Signal::Connections { open: 0 }, after(60)), None);
    }
    assert_eq!(pacer.limits(), before);
    assert!(pacer.rests_until(after(60)).is_some());
}

#[test]
fn what_was_learned_outlives_a_restart() {
    let mut pacer = busy(100.0);
    pacer.refused(Signal::Rate, after(60));
    pacer.refused(Signal::Connections { open: 4 }, after(60));
    pacer.refused(Signal::Session { messages: 20 }, after(60));
    let text = toml::to_string(&pacer.learned()).expect("it can be written");
    let learned: Learned = toml::from_str(&text).expect("it can be read");
    let caps = Caps::new(limits(10, Some(100.0)), limits(10, Some(100.0)));
    let restored = Pacer::restored(caps, &learned, after(70));
    assert_eq!(restored.limits(), pacer.view().learned);
    assert_eq!(restored.rests_until(after(70)), None);
    // A file that somebody has changed does no harm.
    for rate in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e300] {
        let wrong = Learned { rate: Some(rate), connections: Some(0), ..learned };
        let limits = Pacer::restored(caps, &wrong, after(70)).limits();
        assert!(limits.connections == 1 && limits.rate.is_some_and(|rate| rate.as_per_second() <= 100.0));
    }
}

#[test]
fn a_change_reads_as_a_sentence() {
    let mut pacer = busy(100.0);
    let change = pacer.refused(Signal::Connections { open: 4 }, after(60)).expect("fewer");
    assert_eq!(change.to_string(), "connections from 10 to 4: the receiver refused another connection");
    assert_eq!(pacer.view().reason, change.reason);
}

/// What a pacer can be told.
#[derive(Clone, Copy, Debug)]
enum Told {
    Took(u16),
    Refused(Signal),
    Tick(Demand),
}

fn told() -> impl Strategy<Value = Told> {
    prop_oneof![
        (0_u16..500).prop_map(Told::Took),
        Just(Told::Refused(Signal::Rate)),
        Just(Told::Refused(Signal::Reputation)),
        Just(Told::Refused(Signal::Unavailable)),
        any::<u32>().prop_map(|open| Told::Refused(Signal::Connections { open })),
        any::<u32>().prop_map(|messages| Told::Refused(Signal::Session { messages })),
        (any::<u64>(), any::<u32>(), any::<bool>()).prop_map(|(ready, connections, waited_for_rate)| {
            Told::Tick(Demand { ready, connections, waited_for_rate })
        }),
    ]
}

/// Tells a pacer, with a clock that mostly goes on, and sometimes steps far or back.
fn tell(pacer: &mut Pacer, story: &[(Told, i64)], mut check: impl FnMut(&Pacer, Option<Change>, Limits)) {
    let mut now = START;
    for &(told, step_ms) in story {
        now = UnixMs(now.0.saturating_add_signed(step_ms));
        let before = pacer.limits();
        let change = match told {
            Told::Took(count) => {
                (0..count).for_each(|_| pacer.took(now));
                None
            }
            Told::Refused(signal) => pacer.refused(signal, now),
            Told::Tick(demand) => pacer.tick(demand, now),
        };
        check(pacer, change, before);
    }
}

fn stories() -> impl Strategy<Value = Vec<(Told, i64)>> {
    let step = prop_oneof![8 => 0_i64..5_000, 1 => -100_000_i64..100_000, 1 => any::<i64>()];
    prop::collection::vec((told(), step), 1..200)
}

proptest! {
    #[test]
    fn limits_stay_between_floor_and_ceiling_and_change_only_when_told(
        story in stories(),
        start in prop::option::of(0.001_f64..1e4),
        most in prop::option::of(0.01_f64..1e6),
        (connections, connections_max) in (0_u32..1000, 0_u32..1000),
    ) {
        let caps = Caps::new(limits(connections, start), limits(connections_max, most));
        let mut pacer = Pacer::new(caps, START);
        let most = caps.most.rate.map_or(f64::INFINITY, Rate::as_per_second).max(1.0 / 3600.0);
        tell(&mut pacer, &story, |pacer, change, before| {
            let limits = pacer.limits();
            assert!(limits.connections >= 1 && limits.connections <= connections_max.max(1));
            assert!((1..=1000).contains(&limits.messages_per_connection));
            let rate = limits.rate.map_or(f64::INFINITY, Rate::as_per_second);
            assert!(rate <= most, "{rate} is above {most}");
            assert!(rate > 0.9 / 3600.0, "{rate} is below one an hour");
            assert_eq!(change.is_some(), limits != before, "a change is told");
        });
    }

    #[test]
    fn without_learning_the_limits_stay(story in stories(), rate in prop::option::of(0.01_f64..1e4)) {
        let start = limits(7, rate);
        let caps = Caps::new(start, limits(1000, None)).learning(false);
        let mut pacer = Pacer::new(caps, START);
        tell(&mut pacer, &story, |pacer, change, _| {
            assert_eq!((pacer.limits(), change), (start, None));
        });
        let learned = Learned { rate: Some(1.0), connections: Some(2), ..Learned::default() };
        assert_eq!(Pacer::restored(caps, &learned, START).limits(), start);
    }
}
