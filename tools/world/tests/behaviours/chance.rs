//! The same seed gives the same world, and questions get the same answers in every run of it.

use proptest::prelude::*;
use world::{Answer, Connection, Counters, Feedback, Stands, World};

use super::START;
use super::{address, at, ip, open, send};

/// Everything that happens in a minute of mail to the builtin world.
fn minute(seed: u64) -> (Vec<Answer>, Vec<Counters>) {
    let mut world = World::builtin(seed);
    let mut answers = Vec::new();
    let domains = ["gmail.test", "outlook.test", "yahoo.test", "libero.test", "somewhere.test"];
    for round in 0..600_u64 {
        let now = at(round * 100);
        let (mut connection, banner) = world.connect(ip((round % 4) as u8 + 2), now);
        answers.push(banner);
        for n in 0..10 {
            let to = format!("reader{}@{}", round * 7 + n, domains[(round + n) as usize % 5]);
            answers.push(send(&mut world, &mut connection, &to, now));
        }
        connection.end(&mut world);
    }
    let counters = world.providers().map(|provider| world.counters(provider)).collect();
    (answers, counters)
}

#[test]
fn the_same_seed_gives_the_same_world_and_another_one_another() {
    let (answers, counters) = minute(7);
    assert_eq!((&answers, &counters), (&minute(7).0, &minute(7).1));
    assert_ne!(answers, minute(8).0);
    assert!(counters.iter().all(|provider| provider.accepted > 900), "{counters:#?}");
    assert!(counters.iter().any(|provider| provider.deferred > 0 && provider.refused > 0));
    assert!(counters.iter().all(|provider| provider.open == 0));
}

#[test]
fn a_seed_in_the_file_goes_before_that_of_the_caller() {
    let text = "seed = 5\n[[provider]]\nname='x'\ndomains=['x.test']\nmailboxes={unknown=0.5}";
    let unknown = |seed| {
        let mut world = World::from_toml(text, seed).expect("a good world");
        let (mut connection, _) = open(&mut world, 2, START);
        let seen: Vec<bool> = (0..64)
            .map(|n| send(&mut world, &mut connection, &format!("r{n}@x.test"), START).cause.is_some())
            .collect();
        connection.end(&mut world);
        seen
    };
    assert_eq!(unknown(1), unknown(2));
}

/// One step of a random story.
#[derive(Clone, Debug)]
enum Deed {
    Connect(u8),
    Send { identity: u8, mailbox: u16 },
    Leave,
    Wait(u32),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        2 => (2_u8..8).prop_map(Deed::Connect),
        8 => (0_u8..4, 0_u16..500).prop_map(|(identity, mailbox)| Deed::Send { identity, mailbox }),
        1 => Just(Deed::Leave),
        2 => (0_u32..600_000).prop_map(Deed::Wait),
    ]
}

/// A provider with everything that a provider can have.
const EVERYTHING: &str = "[[provider]]\nname='x'\ndomains=['x.test']\nmanner='google'\n\
    latency={banner='50ms',command='20ms',body='90ms',jitter=0.5}\nconnections=3\nmessages_per_connection=20\n\
    limits=[{per='ip',rate='2/s',penalty={refusals=5,lasts='1m'}},{per='netblock',rate='600/h'},{per='identity',rate='300/d'}]\n\
    changes=[{after='20m',connections=2,limits=[{per='ip',rate='1/s'}]}]\ngreylist={delay='5m',share=0.1}\n\
    mailboxes={unknown=0.05,abandoned=0.01,full=0.05,full_for='10m',traps=0.02,rate='5/m'}\n\
    readers={complaint=0.05,open=0.4,click=0.3,unsubscribe=0.1,complaint_after='5m'}\ncontent={refused=0.02}\n\
    outages=[{after='30m',lasts='5m',every='1h'}]\nfaults={loss=0.02,tls=0.02,hang_up=0.02}\n\
    reputation={few=20,memory='30m',floor=50,block='10m'}\n\
    [[source]]\nname='a'\nip='127.0.0.2'\n[[source]]\nname='b'\nip='127.0.0.3'\nwarm='3d careful'\n\
    [[identity]]\ndomain='i1.test'\nstanding=0.9\ncomplaint=0.2\n";

/// All that is heard in a story.
fn story(seed: u64, deeds: &[Deed]) -> (Vec<Answer>, Vec<Feedback>, Counters, Vec<Stands>) {
    let mut world = World::from_toml(EVERYTHING, seed).expect("a good world");
    let provider = world.provider_named("x").expect("it is there");
    let (mut answers, mut feedback) = (Vec::new(), Vec::new());
    let mut connection: Option<Connection> = None;
    let mut now = START;
    for deed in deeds {
        match deed {
            Deed::Connect(last) => {
                let (next, banner) = world.connect_to(provider, ip(*last), now);
                if let Some(old) = connection.replace(next) {
                    old.end(&mut world);
                }
                answers.push(banner);
            }
            Deed::Send { identity, mailbox } => {
                let Some(connection) = &mut connection else { continue };
                let sender = Some(address(&format!("news@i{identity}.test")));
                let to = format!("r{mailbox}@x.test");
                answers.push(super::send_from(&mut world, connection, &sender, (&to, now)));
            }
            Deed::Leave => {
                if let Some(old) = connection.take() {
                    old.end(&mut world);
                }
            }
            Deed::Wait(ms) => now = mail::UnixMs(now.0 + u64::from(*ms)),
        }
        world.feedback(now, &mut feedback);
    }
    if let Some(old) = connection.take() {
        old.end(&mut world);
    }
    (answers, feedback, world.counters(provider), world.standings(provider))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_story_is_the_same_whenever_it_is_told(seed: u64, deeds in prop::collection::vec(deed(), 0..400)) {
        let first = story(seed, &deeds);
        prop_assert_eq!(&first, &story(seed, &deeds));
        let (answers, feedback, counters, standings) = first;
        prop_assert_eq!(counters.open, 0);
        let sent = answers.iter().filter(|answer| answer.reply.code == 250).count() as u64;
        prop_assert_eq!(counters.accepted, sent);
        prop_assert!(feedback.is_sorted_by_key(|feedback| feedback.at));
        prop_assert!(standings.iter().all(|stands| (0.0..=1.0).contains(&stands.standing)));
        let refused: u64 = counters.causes.iter().map(|(_, count)| count).sum();
        prop_assert_eq!(refused, counters.deferred + counters.refused + counters.turned_away);
    }
}

/// Sends a part of what a random world has to be sent; each recipient once.
fn sweep(seed: u64) -> Vec<Counters> {
    let mut world = World::from_toml(&World::random(seed), seed).expect("a good world");
    let load = world.load().clone();
    let marks = ["reader", "unknown", "full", "trap", "complain"];
    let (mut heard, mut asked) = (Vec::new(), 0);
    for (n, campaign) in (0_u64..).zip(load.campaigns.iter().cycle().take(400)) {
        let now = at(n * 7_000);
        let provider = campaign.to[n as usize % campaign.to.len()].0;
        let source = &load.sources[n as usize % load.sources.len()];
        let (mut connection, banner) = world.connect_to(provider, source.ip, now);
        asked += 1;
        if banner.reply.is_positive() {
            let sender = Some(address(&format!("news@{}", load.identities[campaign.identity].domain)));
            let mark = marks[if n % 3 == 0 { n as usize / 3 % 5 } else { 0 }];
            let to = format!("{mark}{n}@{}", world.domains(provider)[0]);
            super::send_from(&mut world, &mut connection, &sender, (&to, now));
        }
        connection.end(&mut world);
        world.feedback(now, &mut heard);
    }
    let counters: Vec<Counters> = world.providers().map(|provider| world.counters(provider)).collect();
    let told: u64 = counters
        .iter()
        .map(|counted| counted.accepted + counted.deferred + counted.refused + counted.turned_away)
        .sum();
    assert_eq!(told, asked, "seed {seed}: everything has one answer");
    counters
}

#[test]
fn random_worlds_answer_everything_once_and_forget_no_connection() {
    let mut met = std::collections::BTreeSet::new();
    for seed in 0..300 {
        let counters = sweep(seed);
        assert!(counters.iter().all(|counted| counted.open == 0), "seed {seed}");
        met.extend(counters.iter().flat_map(|counted| counted.causes.iter().map(|(cause, _)| cause)));
        if seed % 10 == 0 {
            assert_eq!(counters, sweep(seed), "seed {seed}");
        }
    }
    // All that may be refused to single mails is refused in some of them.
    assert!(met.len() >= 13, "{met:?}");
}
