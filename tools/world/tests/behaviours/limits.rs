//! Limits: whom they count, over which time, what they become later, and what going on against them costs.

use std::time::Duration;

use mail::ReversePath;
use world::{Cause, Per, World};

use super::{HOUR_MS, START, address, at, counters, ip, open, send, send_from, visit, world};

fn from(domain: &str) -> ReversePath {
    Some(address(&format!("news@{domain}")))
}

/// How many of `attempts` at `now` are taken from each of the addresses.
fn taken(world: &mut World, addresses: [u8; 2], attempts: u32, now: mail::UnixMs) -> [u32; 2] {
    addresses.map(|last| {
        (0..attempts).map(|_| u32::from(visit(world, last, "ann@x.test", now).cause.is_none())).sum()
    })
}

#[test]
fn a_limit_counts_an_address_a_netblock_or_an_identity() {
    let mut per_ip = world("limits = [{ per = 'ip', rate = '10/h' }]");
    assert_eq!(taken(&mut per_ip, [2, 3], 20, START), [10, 10]);
    let mut per_netblock = world("limits = [{ per = 'netblock', rate = '10/h' }]");
    assert_eq!(taken(&mut per_netblock, [2, 3], 8, START), [8, 2]);
    let (mut elsewhere, _) =
        per_netblock.connect_to(per_netblock.providers().next().expect("one"), [127, 0, 1, 2].into(), START);
    assert_eq!(send(&mut per_netblock, &mut elsewhere, "ann@x.test", START).cause, None);
    elsewhere.end(&mut per_netblock);

    let mut per_identity = world("limits = [{ per = 'identity', rate = '10/s' }]");
    let mut heard = Vec::new();
    for (last, domain) in [(2, "one.test"), (3, "one.test"), (2, "two.test")] {
        let (mut connection, _) = open(&mut per_identity, last, START);
        for _ in 0..8 {
            let answer = send_from(&mut per_identity, &mut connection, &from(domain), ("ann@x.test", START));
            heard.extend(answer.cause);
        }
        connection.end(&mut per_identity);
    }
    assert_eq!(heard, [Cause::IdentityTooFast; 6], "one identity from two addresses is one");
    let (mut connection, _) = open(&mut per_identity, 2, START);
    for _ in 0..30 {
        let answer = send_from(&mut per_identity, &mut connection, &None, ("ann@x.test", START));
        assert_eq!(answer.cause, None, "bounces have no identity");
    }
    connection.end(&mut per_identity);
}

#[test]
fn all_limits_hold_and_one_that_refuses_uses_up_nothing_of_the_others() {
    let mut world = world("limits = [{ per = 'ip', rate = '100/h' }, { per = 'identity', rate = '10/h' }]");
    assert_eq!(taken(&mut world, [2, 3], 50, START), [10, 0]);
    let next_hour = at(HOUR_MS);
    assert_eq!(taken(&mut world, [2, 3], 50, next_hour), [10, 0]);
    assert_eq!(counters(&world).causes.of(Cause::QuotaUsed), 180);
    assert_eq!((counters(&world).causes.rate(), counters(&world).causes.standing()), (180, 0));
}

#[test]
fn quotas_are_counted_in_windows_from_the_beginning_of_the_world() {
    let mut world = world("limits = [{ per = 'ip', rate = '10/h' }]");
    world.begin(START);
    let before = at(HOUR_MS - 1);
    assert_eq!(taken(&mut world, [2, 3], 20, before), [10, 10]);
    assert_eq!(taken(&mut world, [2, 3], 20, at(HOUR_MS)), [10, 10]);
    assert_eq!(taken(&mut world, [2, 3], 20, at(2 * HOUR_MS - 1)), [0, 0]);
}

#[test]
fn limits_change_when_the_file_says_it() {
    let mut world = world(
        "connections = 2\nlimits = [{ per = 'ip', rate = '10/h' }]\n\
         changes = [{ after = '2h', limits = [{ per = 'ip', rate = '4/h' }] }, { after = '1h', connections = 1 }]",
    );
    world.begin(START);
    let provider = world.provider_named("x").expect("it is there");
    assert_eq!(taken(&mut world, [2, 3], 20, START), [10, 10]);
    let (first, _) = open(&mut world, 2, at(1));
    let (second, banner) = open(&mut world, 2, at(1));
    assert_eq!(banner.cause, None);
    second.end(&mut world);
    let (third, banner) = open(&mut world, 2, at(HOUR_MS));
    assert_eq!(banner.cause, Some(Cause::TooManyConnections));
    third.end(&mut world);
    first.end(&mut world);
    assert_eq!(taken(&mut world, [2, 3], 20, at(HOUR_MS)), [10, 10]);
    assert_eq!(taken(&mut world, [2, 3], 20, at(2 * HOUR_MS)), [4, 4]);
    let truth = |hours: u64| world.limits(provider, Duration::from_secs(3600 * hours));
    assert_eq!(
        (truth(0).connections, truth(1).connections, truth(5).connections),
        (Some(2), Some(1), Some(1))
    );
    let counts = [0, 1, 2].map(|hours| truth(hours).rates[0].rate.count());
    assert_eq!((counts, truth(2).rates[0].per), ([10, 10, 4], Per::Ip));
}

#[test]
fn going_on_against_a_limit_closes_it_for_some_time() {
    let mut world =
        world("limits = [{ per = 'ip', rate = '1/s', penalty = { refusals = 3, lasts = '1m' } }]");
    assert_eq!(taken(&mut world, [2, 3], 4, START), [1, 1], "three refusals are borne");
    assert_eq!(visit(&mut world, 3, "ann@x.test", at(2000)).cause, None);
    assert_eq!(visit(&mut world, 2, "ann@x.test", at(100)).cause, Some(Cause::TooFast), "the fourth is not");
    assert_eq!(visit(&mut world, 2, "ann@x.test", at(50_000)).cause, Some(Cause::TooFast));
    assert_eq!(visit(&mut world, 2, "ann@x.test", at(60_100)).cause, None);
}

#[test]
fn a_mailbox_takes_mail_at_its_own_rate() {
    let mut world = world("mailboxes = { rate = '2/h' }");
    let heard: Vec<_> = (0..3).map(|_| visit(&mut world, 2, "ann@x.test", START).cause).collect();
    assert_eq!(heard, [None, None, Some(Cause::MailboxBusy)]);
    assert_eq!(visit(&mut world, 3, "Ann@x.test", START).cause, Some(Cause::MailboxBusy));
    assert_eq!(visit(&mut world, 3, "bob@x.test", START).cause, None);
    assert_eq!(visit(&mut world, 2, "ann@x.test", at(HOUR_MS)).cause, None);
}

#[test]
fn senders_are_told_the_truth_or_what_the_file_says_or_nothing() {
    let told = |lines: &str| {
        let world = world(&format!("connections = 5\nmessages_per_connection = 20\nrate = '50/s'\n{lines}"));
        let documented = world.documented(world.provider_named("x").expect("it is there"));
        (documented.connections, documented.messages_per_connection, documented.rate.map(|rate| rate.count()))
    };
    assert_eq!(told(""), (Some(5), Some(20), Some(50)));
    assert_eq!(told("documented = { rate = '200/s' }"), (Some(5), Some(20), Some(200)));
    assert_eq!(told("documented = false"), (None, None, None));
}

#[test]
fn silence_and_broken_connections_are_told_as_faults() {
    use policy::verdict::Fault;
    let mut lossy = world("faults = { loss = 0.1, tls = 0.2, hang_up = 0.3 }");
    let (mut lost, mut tls, mut hung_up, mut taken) = (0, 0, 0, 0);
    for n in 0..1000 {
        let (mut connection, banner) = open(&mut lossy, 2, at(n));
        tls += u32::from(connection.tls_fault() == Some(Fault::TlsHandshake));
        if banner.fault() == Some(Fault::ReplyTimeout) {
            lost += 1;
        } else {
            let answer = send(&mut lossy, &mut connection, "ann@x.test", at(n));
            hung_up += u32::from(answer.fault() == Some(Fault::ConnectionLostAfterBody) && answer.close);
            taken += u64::from(answer.cause.is_none());
        }
        connection.end(&mut lossy);
    }
    assert!((70..130).contains(&lost) && (150..250).contains(&tls), "{lost} {tls}");
    assert!((210..330).contains(&hung_up), "{hung_up}");
    assert_eq!((counters(&lossy).accepted, counters(&lossy).open), (taken, 0));
    let mut dead = world("outages = [{ after = '1m', lasts = '1m', silent = true }]");
    dead.begin(START);
    let (connection, banner) = open(&mut dead, 2, at(90_000));
    assert_eq!((banner.fault(), banner.close), (Some(Fault::ReplyTimeout), true));
    connection.end(&mut dead);
    assert_eq!(ip(2).to_string(), "127.0.0.2");
}
