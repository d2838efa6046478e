//! Whatever happens, in whatever order and however the clock goes: nothing panics, nothing grows without bound, and what is
//! saved is restored.

use proptest::prelude::*;

use crate::warmup::Ladder;

use super::*;

/// One thing that can happen to a brain.
#[derive(Clone, Debug)]
enum Step {
    Heard {
        key: (u16, u16, u32, u8),
        happening: usize,
        count: u32,
    },
    Pass {
        campaign: u64,
        provider: u16,
        times: u16,
    },
    Announce {
        campaign: u64,
        recipients: u64,
    },
    Burnt {
        source: u16,
        provider: u16,
        seconds: u64,
    },
    Slow {
        identity: u32,
        provider: u16,
    },
    Resume {
        campaign: u64,
        tenant: u32,
    },
    Take {
        source: u16,
        provider: u16,
        times: u16,
    },
    /// Time goes on, or back.
    Time {
        seconds: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    // Indices may be those of another configuration.
    let (source, provider) = (0_u16..5, 0_u16..6);
    prop_oneof![
        6 => ((source.clone(), provider.clone(), 0_u32..6, 0_u8..8), 0_usize..11, 0_u32..2_000)
            .prop_map(|(key, happening, count)| Step::Heard { key, happening, count }),
        4 => (0_u64..6, provider.clone(), 1_u16..500)
            .prop_map(|(campaign, provider, times)| Step::Pass { campaign, provider, times }),
        1 => (0_u64..6, 0_u64..2_000_000).prop_map(|(campaign, recipients)| Step::Announce { campaign, recipients }),
        1 => (source.clone(), provider.clone(), 0_u64..100_000)
            .prop_map(|(source, provider, seconds)| Step::Burnt { source, provider, seconds }),
        1 => (0_u32..6, provider.clone()).prop_map(|(identity, provider)| Step::Slow { identity, provider }),
        1 => (0_u64..6, 0_u32..6).prop_map(|(campaign, tenant)| Step::Resume { campaign, tenant }),
        2 => (source, provider, 1_u16..300)
            .prop_map(|(source, provider, times)| Step::Take { source, provider, times }),
        5 => prop_oneof![Just(1_i64), 1_i64..120, 3_000_i64..200_000, Just(40 * 86_400), -5_000_i64..0]
            .prop_map(|seconds| Step::Time { seconds }),
    ]
}

fn apply(brain: &mut Brain, step: &Step, now: UnixMs) {
    match *step {
        Step::Heard { key: (source, provider, identity, campaign), happening, count } => {
            let campaign = (campaign < 6).then(|| CampaignId::from_raw(campaign.into()));
            let class = if campaign.is_some() { Class::Bulk } else { Class::Transactional };
            let key = TallyKey { source, provider, class, identity, tenant: identity / 2, campaign };
            brain.heard(key, counts(&[(Happening::ALL[happening], count)]), now);
        }
        Step::Pass { campaign, provider, times } => {
            let gates = &brain.tables.gates;
            let passes = |_: &u16| gates.pass(CampaignId::from_raw(campaign), provider);
            let _ = (0..times).take_while(passes).count();
        }
        Step::Announce { campaign, recipients } => {
            brain.tables.gates.announce(CampaignId::from_raw(campaign), recipients);
        }
        Step::Burnt { source, provider, seconds } => {
            brain.burnt(source, provider, SECOND * seconds as u32, "said so", now);
        }
        Step::Slow { identity, provider } => brain.identity_slow(identity, provider, now),
        Step::Resume { campaign, tenant } => {
            brain.resumed_campaign(CampaignId::from_raw(campaign), now);
            brain.resumed_tenant(tenant);
        }
        Step::Take { source, provider, times } => {
            let standings = &brain.tables.standings;
            let _ = (0..times).take_while(|_| standings.take(source, provider)).count();
        }
        Step::Time { .. } => {}
    }
}

fn full_setup() -> Setup {
    let plan = |name, start| WarmUpPlan { ladder: Ladder::by_name(name).expect("built in"), start, day: 1 };
    let mut setup = setup(3, 4);
    setup.sources[0].warm_up = Some(plan("generic", None));
    setup.sources[1].warm_up = Some(plan("sendgrid", Some(START + Duration::from_secs(90_000))));
    setup.identities.insert(1, plan("careful", None));
    setup
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn nothing_panics_grows_or_is_lost(steps in proptest::collection::vec(step(), 1..120)) {
        let setup = full_setup();
        let mut brain = brain_of(setup.clone());
        let mut now = START;
        for step in &steps {
            if let Step::Time { seconds } = *step {
                let by = SECOND * u32::try_from(seconds.unsigned_abs()).expect("days");
                now = if seconds < 0 { now - by } else { now + by };
            }
            apply(&mut brain, step, now);
            let orders = tick(&mut brain, now);
            prop_assert!(orders.len() < 200, "{} orders", orders.len());
            for code in codes(&orders) {
                prop_assert!(CODES.iter().any(|(known, _)| *known == code), "{}", code);
            }
            for (campaign, gates) in brain.tables.gates.campaigns() {
                let (total, lanes) = (gates.total(), (0..gates.lanes()).map(|lane| gates.at(lane).passed).sum::<u64>());
                prop_assert_eq!(total.passed, lanes, "{}", campaign);
            }
            for source in 0..3 {
                prop_assert!(brain.tables.standings.at(source, 2).score <= 100);
            }
        }
        let saved = brain.saved(now);
        let text = serde_json::to_string(&saved).expect("it can be written");
        let read: Saved = serde_json::from_str(&text).expect("it can be read");
        let again = Brain::restored(setup.clone(), Tables::of(&setup), &read, now);
        let (a, b) = (again.burnt_sources(), brain.burnt_sources());
        prop_assert_eq!(a, b);
        for n in 0..6 {
            let total = |brain: &Brain| brain.campaign(CampaignId::from_raw(n)).map(|one| (one.state, one.total.allowed));
            if let Some(before) = total(&brain) {
                prop_assert_eq!(total(&again), Some(before));
            }
        }
    }
}
