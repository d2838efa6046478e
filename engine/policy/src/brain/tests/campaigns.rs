//! Campaigns from their first recipient to the last, or to their stop.

use proptest::prelude::*;

use super::*;

/// A list and what its recipients are like.
#[derive(Clone, Debug)]
struct List {
    /// Recipients by provider, and the recipients a second that go there.
    parts: Vec<(u64, f64)>,
    unknown: f64,
    spam: f64,
    complains: f64,
    /// Seconds until an outcome, and until a complaint.
    latency: u64,
    complaint_after: u64,
    /// Every first attempt is put off for so many seconds.
    greylisted: u64,
    is_announced: bool,
}

impl List {
    fn good(parts: &[(u64, f64)]) -> Self {
        Self {
            parts: parts.to_vec(),
            unknown: 0.015,
            spam: 0.002,
            complains: 0.0003,
            latency: 2,
            complaint_after: 20,
            greylisted: 0,
            is_announced: true,
        }
    }

    fn size(&self) -> u64 {
        self.parts.iter().map(|part| part.0).sum()
    }

    /// Seconds until the last outcome when nothing is held.
    fn ideal(&self) -> f64 {
        let slowest = self.parts.iter().map(|&(count, rate)| count as f64 / rate).fold(0.0, f64::max);
        slowest + (self.latency + self.greylisted) as f64
    }
}

/// What came of a campaign.
#[derive(Debug)]
struct Came {
    tried: u64,
    /// Those of them that had an outcome: what was put off has harmed nobody.
    exposed: u64,
    stopped: Option<String>,
    seconds: u64,
}

/// One provider's part while it is sent.
#[derive(Clone, Debug, Default)]
struct Lane {
    unasked: u64,
    is_held: bool,
    on_path: f64,
    credit: f64,
}

struct Run<'a> {
    brain: &'a mut Brain,
    list: &'a List,
    dice: Dice,
    lanes: Vec<Lane>,
    exposed: u64,
    /// What will be heard, by the second.
    coming: Vec<Vec<(u16, Happening)>>,
    tried: u64,
}

const CAMPAIGN: CampaignId = CampaignId::from_raw(77);

fn run(brain: &mut Brain, list: &List, seed: u64) -> Came {
    if list.is_announced {
        brain.tables.gates.announce(CAMPAIGN, list.size());
    }
    let lane = |&(unasked, _): &(u64, f64)| Lane { unasked, ..Lane::default() };
    let lanes = list.parts.iter().map(lane).collect();
    let mut run = Run { brain, list, dice: Dice(seed), lanes, coming: Vec::new(), tried: 0, exposed: 0 };
    for second in 0..200_000 {
        if let Some(reason) = run.second(second) {
            return run.came(Some(reason), second);
        }
        let is_sent = run.lanes.iter().all(|lane| lane.unasked == 0 && lane.on_path < 1.0);
        if is_sent && run.coming.iter().skip(second as usize).all(Vec::is_empty) {
            return run.came(None, second);
        }
    }
    panic!("a campaign that neither ended nor stopped: {:?} {:?}", run.lanes, run.brain.campaign(CAMPAIGN));
}

impl Run<'_> {
    fn came(&self, stopped: Option<String>, seconds: u64) -> Came {
        Came { tried: self.tried, exposed: self.exposed, stopped, seconds }
    }

    fn second(&mut self, second: u64) -> Option<String> {
        for provider in 0..self.lanes.len() {
            self.pass(provider as u16);
            self.send(provider as u16, second);
        }
        let now = START + SECOND * second as u32;
        let heard = self.coming.get_mut(second as usize).map(std::mem::take).unwrap_or_default();
        let mut by_provider = vec![Counts::default(); self.lanes.len()];
        heard.into_iter().for_each(|(provider, one)| by_provider[usize::from(provider)].add(one, 1));
        for (provider, counts) in (0..).zip(by_provider).filter(|(_, counts)| !counts.is_empty()) {
            let ended = [Happening::Delivered, Happening::UnknownUser, Happening::SpamRefused];
            self.exposed += ended.map(|one| u64::from(counts[one])).iter().sum::<u64>();
            self.brain.heard(TallyKey { campaign: Some(CAMPAIGN), ..key(0, provider) }, counts, now);
        }
        for order in tick(self.brain, now) {
            match order {
                Order::Open { provider, .. } => self.lanes[usize::from(provider)].is_held = false,
                Order::PauseCampaign { reason, .. } => return Some(reason),
                _ => {}
            }
        }
        None
    }

    /// All that is due asks at once, until it is turned away.
    fn pass(&mut self, provider: u16) {
        let lane = &mut self.lanes[usize::from(provider)];
        while !lane.is_held && lane.unasked > 0 {
            match self.brain.tables.gates.pass(CAMPAIGN, provider) {
                true => (lane.unasked, lane.on_path) = (lane.unasked - 1, lane.on_path + 1.0),
                false => lane.is_held = true,
            }
        }
    }

    fn send(&mut self, provider: u16, second: u64) {
        let rate = self.list.parts[usize::from(provider)].1;
        let lane = &mut self.lanes[usize::from(provider)];
        lane.credit = (lane.credit + rate).min(lane.on_path.max(rate));
        let count = lane.credit.min(lane.on_path).floor();
        (lane.credit, lane.on_path) = (lane.credit - count, lane.on_path - count);
        for _ in 0..count as u64 {
            self.attempt(provider, second);
        }
    }

    fn attempt(&mut self, provider: u16, second: u64) {
        let list = self.list;
        self.tried += 1;
        if list.greylisted > 0 {
            self.hear(second + list.latency, provider, Happening::Deferred);
        }
        let decided = second + list.latency + list.greylisted;
        let roll = self.dice.roll();
        let happening = match roll {
            roll if roll < list.unknown => Happening::UnknownUser,
            roll if roll < list.unknown + list.spam => Happening::SpamRefused,
            _ => Happening::Delivered,
        };
        self.hear(decided, provider, happening);
        if happening == Happening::Delivered && self.dice.roll() < list.complains {
            self.hear(decided + list.complaint_after, provider, Happening::Complaint);
        }
    }

    fn hear(&mut self, second: u64, provider: u16, happening: Happening) {
        let second = second as usize;
        if self.coming.len() <= second {
            self.coming.resize(second + 1, Vec::new());
        }
        self.coming[second].push((provider, happening));
    }
}

#[test]
fn a_good_campaign_passes_and_loses_little_time() {
    let lists = [
        (
            "a million at four providers",
            List::good(&[(500_000, 150.0), (250_000, 100.0), (200_000, 60.0), (50_000, 20.0)]),
        ),
        ("a hundred thousand", List::good(&[(60_000, 50.0), (30_000, 20.0), (10_000, 10.0)])),
        ("ten thousand", List::good(&[(6_000, 10.0), (3_000, 5.0), (1_000, 5.0)])),
        ("a thousand", List::good(&[(700, 2.0), (300, 2.0)])),
        ("unknown size", List { is_announced: false, ..List::good(&[(60_000, 20.0), (30_000, 20.0)]) }),
        ("fast", List::good(&[(500_000, 1500.0), (500_000, 2000.0)])),
        ("many small providers", List::good(&[(2_000, 5.0); 30])),
    ];
    for (what, list) in lists {
        for seed in [1, 2_000_000].into_iter().take(if list.size() > 500_000 { 1 } else { 2 }) {
            let mut brain = brain_of(setup(1, list.parts.len()));
            let came = run(&mut brain, &list, seed);
            assert_eq!((came.stopped, came.tried), (None, list.size()), "{what} {seed}");
            let lost = came.seconds as f64 / (list.ideal() + 25.0) - 1.0;
            assert!(lost < 0.05, "{what}: {lost:.3} of {} s lost (seed {seed})", list.ideal());
        }
    }
}

#[test]
fn a_small_campaign_waits_seconds_at_most() {
    for size in [1, 30, 60, 400, 999] {
        let list = List::good(&[(size, 100.0)]);
        let came = run(&mut brain_of(setup(1, 1)), &list, size);
        assert!(came.stopped.is_none() && came.tried == size);
        assert!(came.seconds as f64 <= list.ideal() + 32.0, "{size}: {} s", came.seconds);
    }
}

#[test]
fn a_bad_campaign_stops_below_a_hundredth_of_its_list() {
    let million = [(500_000, 150.0), (250_000, 100.0), (200_000, 60.0), (50_000, 20.0)];
    let lists = [
        ("unknown users", List { unknown: 0.2, ..List::good(&million) }),
        (
            "unknown users, a hundred thousand",
            List { unknown: 0.25, ..List::good(&[(60_000, 50.0), (40_000, 20.0)]) },
        ),
        ("spam", List { spam: 0.12, ..List::good(&million) }),
        ("complaints", List { complains: 0.02, ..List::good(&million) }),
        ("fast and old", List { unknown: 0.3, ..List::good(&[(500_000, 1500.0), (500_000, 2000.0)]) }),
        ("greylisted", List { unknown: 0.3, greylisted: 300, ..List::good(&million) }),
        ("of unknown size", List { unknown: 0.2, is_announced: false, ..List::good(&million) }),
    ];
    for (what, list) in lists {
        for seed in 0..3 {
            let came = run(&mut brain_of(setup(1, list.parts.len())), &list, seed * 10_000_000);
            assert!(came.stopped.is_some(), "{what}: {came:?}");
            let exposed = came.exposed as f64 / list.size() as f64;
            assert!(
                exposed < 0.01,
                "{what} {seed}: {exposed:.4} after {} s: {:?}",
                came.seconds,
                came.stopped
            );
        }
    }
}

#[test]
fn it_says_why_with_figures_and_marks_the_sender() {
    let list = List { unknown: 0.5, ..List::good(&[(50_000, 100.0)]) };
    let mut brain = brain_of(setup(1, 1));
    assert!(brain.tables.gates.is_good(1));
    let came = run(&mut brain, &list, 3);
    let reason = came.stopped.expect("half of it is unknown");
    assert!(reason.contains("unknown users of") && reason.ends_with("of 50000"), "{reason}");
    assert!(!brain.tables.gates.is_good(1), "no other source is risked for it");
    let view = brain.campaign(CAMPAIGN).expect("it has gates");
    assert_eq!((view.state, view.total.allowed), (TrialState::Stopped, Some(0)));
    assert!(!brain.tables.gates.pass(CAMPAIGN, 0));
}

#[test]
fn a_resumed_campaign_begins_with_another_canary() {
    let list = List { unknown: 0.5, ..List::good(&[(50_000, 100.0)]) };
    let mut brain = brain_of(setup(1, 1));
    let first = run(&mut brain, &list, 3);
    brain.resumed_campaign(CAMPAIGN, START);
    assert!(brain.tables.gates.room(CAMPAIGN, 0) <= 250, "half a percent of the list");
    let again = run(&mut brain, &list, 4);
    assert!(again.stopped.is_some() && again.tried < 2 * first.tried.max(250), "{again:?}");
    brain.resumed_campaign(CAMPAIGN, START);
    let better = run(&mut brain, &List::good(&[(5_000, 100.0)]), 5);
    assert_eq!((better.stopped, better.tried), (None, 5_000));
}

#[test]
fn greylisting_costs_a_good_campaign_no_second_wait() {
    let list = List { greylisted: 900, ..List::good(&[(20_000, 20.0)]) };
    let came = run(&mut brain_of(setup(1, 1)), &list, 1);
    assert!(came.stopped.is_none());
    assert!((came.seconds as f64) < list.ideal() + 400.0, "{} of {}", came.seconds, list.ideal());
}

#[test]
fn a_campaign_that_goes_badly_at_one_provider_is_held_there_alone() {
    let mut brain = brain_of(setup(1, 2));
    brain.tables.gates.announce(CAMPAIGN, 100_000);
    let gates = std::sync::Arc::clone(&brain.tables.gates);
    let passed = |provider, most: u32| (0..most).filter(|_| gates.pass(CAMPAIGN, provider)).count() as u32;
    let mut told = Vec::new();
    for second in 0..600_u32 {
        let now = START + SECOND * second;
        let (large, small) = (passed(0, 300), passed(1, 1));
        let at = |provider| TallyKey { campaign: Some(CAMPAIGN), ..key(0, provider) };
        brain.heard(at(0), counts(&[(Happening::Delivered, large)]), now);
        brain.heard(at(1), counts(&[(Happening::UnknownUser, small)]), now);
        told.extend(codes(&tick(&mut brain, now)));
    }
    assert!(told.contains(&"canary.shut") && told.contains(&"canary.opened"), "{told:?}");
    assert!(!gates.pass(CAMPAIGN, 1) && gates.pass(CAMPAIGN, 0));
}

#[test]
fn usual_complaints_and_bounces_hold_nothing_at_any_provider() {
    let parts = [(3_000, 40.0); 30];
    let list = List { unknown: 0.04, complains: 0.0015, ..List::good(&parts) };
    for seed in 0..4 {
        let mut brain = brain_of(setup(1, parts.len()));
        let came = run(&mut brain, &list, seed * 1_000_000);
        assert_eq!((came.stopped, came.tried), (None, list.size()), "seed {seed}");
    }
}

#[test]
fn blocks_count_where_they_are_about_the_mail() {
    let blocked = counts(&[(Happening::Blocked, 100), (Happening::Delivered, 30)]);
    // Sources and providers that block, whether the source was burnt there before, and whether the campaign is stopped.
    for (places, burnt, stopped) in [
        (vec![(0, 0), (0, 1)], false, true),
        (vec![(0, 0), (1, 1), (1, 2)], false, true),
        (vec![(0, 0), (0, 1)], true, false),
        (vec![(0, 0), (1, 0)], false, false),
        (vec![(0, 0)], false, false),
    ] {
        for has_canary in [true, false] {
            let mut setup = setup(2, 3);
            setup.mechanisms.canary = has_canary;
            let mut brain = brain_of(setup);
            brain.tables.gates.announce(CAMPAIGN, 1_000_000);
            for &(source, provider) in &places {
                let _ = (0..200).take_while(|_| brain.tables.gates.pass(CAMPAIGN, provider)).count();
                if burnt {
                    brain.burnt(source, provider, Duration::from_secs(900), "550 blocked", START);
                }
                brain.heard(TallyKey { campaign: Some(CAMPAIGN), ..key(source, provider) }, blocked, START);
            }
            let told = codes(&tick(&mut brain, START));
            let paused = told.iter().any(|code| matches!(*code, "canary.stopped" | "breaker.campaign"));
            assert_eq!(paused, stopped, "{places:?} {burnt} {has_canary}: {told:?}");
        }
    }
}

#[test]
fn an_open_campaign_that_turns_bad_is_paused_and_with_the_third_its_tenant() {
    let mut setup = setup(1, 1);
    setup.mechanisms.canary = false;
    let mut brain = brain_of(setup);
    for n in 1..=3 {
        let at = TallyKey { campaign: Some(CampaignId::from_raw(n)), identity: n as u32, ..key(0, 0) };
        brain.heard(at, counts(&[(Happening::Delivered, 20_000), (Happening::Complaint, 10)]), START);
        assert_eq!(codes(&tick(&mut brain, START)), Vec::<&str>::new());
        brain.heard(at, counts(&[(Happening::Complaint, 90)]), START);
        let orders = tick(&mut brain, START);
        let paused = matches!(&orders[..], [.., Order::PauseTenant { tenant: 1, .. }]);
        assert_eq!(paused, n == 3, "{orders:?}");
        let told = sentence(&orders, "breaker.campaign");
        assert!(told.ends_with("100 complaints of 20000 (0.50 %, the limit is 0.3 %)"), "{told}");
        assert_eq!(codes(&tick(&mut brain, START)), Vec::<&str>::new(), "said once");
    }
}

#[test]
fn a_bad_stream_pauses_its_tenant_but_critical_mail_never_does() {
    let mut brain = brain_of(setup(1, 1));
    let bad = counts(&[(Happening::Delivered, 300), (Happening::UnknownUser, 700)]);
    brain.heard(TallyKey { class: Class::Critical, ..key(0, 0) }, bad, START);
    assert_eq!(codes(&tick(&mut brain, START)), Vec::<&str>::new());
    brain.heard(TallyKey { class: Class::Transactional, ..key(0, 0) }, bad, START);
    let orders = tick(&mut brain, START);
    let told = sentence(&orders, "breaker.tenant");
    assert!(told.contains("mail outside of campaigns has 700 unknown users of 1000"), "{told}");
    brain.resumed_tenant(1);
    brain.heard(key(0, 0), counts(&[(Happening::Delivered, 1)]), START);
    assert_eq!(codes(&tick(&mut brain, START)), Vec::<&str>::new(), "what was is forgiven");
}

#[test]
fn without_the_breaker_and_the_canary_nothing_is_paused() {
    let mut setup = setup(1, 1);
    (setup.mechanisms.canary, setup.breaker) = (false, BreakerSettings { enabled: false, ..setup.breaker });
    let list = List { unknown: 0.6, ..List::good(&[(5_000, 500.0)]) };
    let came = run(&mut brain_of(setup), &list, 1);
    assert_eq!((came.stopped, came.tried), (None, 5_000));
}

#[test]
fn thousands_of_campaigns_stay_bounded_and_none_waits_for_another() {
    let mut brain = brain_of(setup(1, 1));
    let most = crate::canary::CAMPAIGNS_MAX as u64;
    let gates = std::sync::Arc::clone(&brain.tables.gates);
    let of = |raw| CampaignId::from_raw(raw);
    assert!((0..most).all(|n| gates.pass(of(n), 0)));
    brain.trials.stop(of(0), &gates);
    gates.campaign(of(7)).expect("it has passed").widen(0, u64::MAX);
    gates.campaign(of(7)).expect("it has passed").lift_total();
    assert!(gates.pass(of(most), 0) && gates.campaign(of(7)).is_none(), "an open one makes room");
    assert!(gates.pass(of(most + 1), 0) && gates.campaign(of(1)).is_none(), "or else the oldest");
    assert!(gates.campaign(of(0)).is_some(), "a stopped one last of all");
    (0..10).for_each(|_| drop(tick(&mut brain, START)));
    assert!(brain.trials.iter().count() <= most as usize);
    let now = START + Duration::from_secs(8 * 86_400);
    (0..20).for_each(|round| drop(tick(&mut brain, now + SECOND * round)));
    assert_eq!(gates.campaigns().len(), 0, "those that nobody has used for a week are forgotten");
}

#[test]
fn a_campaign_that_is_through_is_forgotten_within_an_hour_or_two() {
    let mut brain = brain_of(setup(1, 1));
    let came = run(&mut brain, &List::good(&[(400, 100.0)]), 1);
    let end = START + SECOND * came.seconds as u32;
    tick(&mut brain, end + Duration::from_secs(3000));
    assert!(brain.campaign(CAMPAIGN).is_some());
    tick(&mut brain, end + Duration::from_secs(7200));
    assert!(brain.campaign(CAMPAIGN).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_campaign_ends_open_or_stopped(
        sizes in proptest::collection::vec(1_u64..4_000, 1..8),
        rate in 1.0_f64..200.0, unknown in 0.0_f64..0.4, spam in 0.0_f64..0.15, complains in 0.0_f64..0.02,
        latency in 0_u64..30, greylisted in prop_oneof![Just(0_u64), 1_u64..2_000], is_announced: bool, seed: u64,
    ) {
        let parts = sizes.iter().map(|&size| (size, rate)).collect();
        let list =
            List { parts, unknown, spam, complains, latency, complaint_after: 30, greylisted, is_announced };
        let mut brain = brain_of(setup(1, list.parts.len()));
        let came = run(&mut brain, &list, seed);
        prop_assert!(came.stopped.is_some() || came.tried == list.size());
        let view = brain.campaign(CAMPAIGN).expect("it has gates");
        prop_assert!(view.total.passed <= list.size());
        let sum: u64 = view.providers.iter().map(|(_, gate)| gate.passed).sum();
        prop_assert_eq!(sum, view.total.passed, "what all have passed is what each has");
        prop_assert!(came.tried <= sum);
    }
}
