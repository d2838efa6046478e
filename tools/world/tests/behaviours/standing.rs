//! Reputation: what makes a standing worse and better, and what follows from it.

use world::{Cause, Who, World};

use super::{DAY_MS, HOUR_MS, START, address, at, counters, ip, open, send_from, world};

/// A world that judges, with a source and an identity that it knows.
fn judging(lines: &str) -> World {
    let mut world = world(&format!(
        "{lines}\n[[source]]\nname='warm'\nip='127.0.0.2'\n[[source]]\nname='cold'\nip='127.0.0.3'\nwarm=false\n\
         [[source]]\nname='burnt'\nip='127.0.1.4'\nstanding={{ x = 0.05 }}\n\
         [[identity]]\ndomain='good.test'\nstanding=1.0\n[[identity]]\ndomain='bad.test'\nstanding=1.0\ncomplaint=0.02"
    ));
    world.begin(START);
    world
}

/// Sends so many mails, one each `every_ms` from `from_ms` on, and says how many were taken and for which causes others
/// were not.
fn send_many(
    world: &mut World,
    (last, domain): (u8, &str),
    local: &str,
    (count, from_ms, every_ms): (u64, u64, u64),
) -> (u64, Vec<(Cause, u64)>) {
    let before = counters(world);
    let sender = Some(address(&format!("news@{domain}")));
    for n in 0..count {
        let now = at(from_ms + n * every_ms);
        let (mut connection, banner) = open(world, last, now);
        if banner.reply.is_positive() {
            let to = format!("{local}{n}@x.test");
            send_from(world, &mut connection, &sender, (&to, now));
        }
        connection.end(world);
    }
    let after = counters(world);
    let causes = after.causes.iter().map(|(cause, sum)| (cause, sum - before.causes.of(cause)));
    (after.accepted - before.accepted, causes.filter(|&(_, sum)| sum > 0).collect())
}

fn standing(world: &World, who: &Who) -> f64 {
    let provider = world.provider_named("x").expect("it is there");
    let all = world.standings(provider);
    all.into_iter().find(|stands| stands.who == *who).map_or(-1.0, |stands| stands.standing)
}

fn identity(domain: &str) -> Who {
    Who::Identity(domain.into())
}

#[test]
fn wanted_mail_from_known_senders_is_taken_without_end() {
    let mut world = judging("reputation = {}");
    let (taken, causes) = send_many(&mut world, (2, "good.test"), "ann", (20_000, 0, 100));
    assert_eq!((taken, causes), (20_000, Vec::new()));
    assert_eq!(standing(&world, &Who::Ip(ip(2))), 1.0);
    assert_eq!(standing(&world, &Who::Netblock([127, 0, 0, 0].into())), 1.0);
    assert_eq!(standing(&world, &identity("good.test")), 1.0);
}

#[test]
fn complaints_shrink_limits_then_defer_then_block_and_a_block_ends() {
    let mut world = judging("reputation = { memory = '1h' }\nreaders = { complaint_after = '10s' }");
    let (taken, causes) = send_many(&mut world, (2, "bad.test"), "ann", (20_000, 0, 100));
    let of = |cause| causes.iter().find(|(of, _)| *of == cause).map_or(0, |&(_, sum)| sum);
    assert!((200..4000).contains(&taken), "{taken} {causes:?}");
    assert!(of(Cause::IdentityLowStanding) + of(Cause::LowStanding) >= 5, "{causes:?}");
    assert!(of(Cause::Blocked) + of(Cause::IdentityBlocked) > 10_000, "{causes:?}");
    assert!(counters(&world).blocks >= 1 && counters(&world).readers.complaints > 3);
    // Much later the address is taken again, with less trust than before.
    let (taken, causes) = send_many(&mut world, (2, "good.test"), "bob", (100, 4 * HOUR_MS, 1000));
    assert_eq!((taken, causes), (100, Vec::new()));
    let standing = standing(&world, &Who::Ip(ip(2)));
    assert!((0.4..0.9).contains(&standing), "{standing}");
}

#[test]
fn one_trap_does_not_block_a_stranger_and_two_do() {
    let mut world = judging("reputation = {}\nmailboxes = { traps = 1.0 }");
    let (taken, causes) = send_many(&mut world, (3, "good.test"), "ann", (10, 0, 1000));
    assert_eq!((taken, causes), (2, vec![(Cause::Blocked, 8)]));
}

#[test]
fn a_bad_identity_is_told_apart_from_its_address() {
    // The good mail of the address outweighs the bad.
    let mut world = judging("reputation = { few = 100 }\nreaders = { complaint_after = '1s' }");
    send_many(&mut world, (2, "good.test"), "ann", (20_000, 0, 10));
    send_many(&mut world, (2, "bad.test"), "ann", (3000, 300_000, 10));
    let (ip, bad) = (standing(&world, &Who::Ip(ip(2))), standing(&world, &identity("bad.test")));
    assert!(ip > 0.7 && bad < 0.3, "{ip} {bad}");
    let (taken, causes) = send_many(&mut world, (2, "good.test"), "bob", (100, 600_000, 10));
    assert_eq!((taken, causes), (100, Vec::new()));
    let (_, causes) = send_many(&mut world, (2, "bad.test"), "bob", (100, 700_000, 10));
    assert!(
        causes.iter().all(|(cause, _)| matches!(cause, Cause::IdentityLowStanding | Cause::IdentityBlocked))
    );
    assert!(!causes.is_empty());
}

#[test]
fn unknown_users_and_traps_count_against_the_sender() {
    for (local, wanted, bad) in [("unknown", 700, 300), ("trap", 990, 10)] {
        let mut world = judging("reputation = {}");
        send_many(&mut world, (2, "good.test"), "ann", (wanted, 0, 10));
        send_many(&mut world, (2, "good.test"), local, (bad, 10_000, 10));
        let standing = standing(&world, &Who::Ip(ip(2)));
        assert!(standing < 0.3, "{local}: {standing}");
        assert_eq!(counters(&world).traps > 0, local == "trap", "{}", counters(&world).traps);
    }
}

#[test]
fn a_cold_address_may_send_more_each_day_and_a_jump_is_held_against_it() {
    let mut world = judging("reputation = { rise = 0.2 }\nreaders = { open = 0.2 }");
    let cold = Who::Ip(ip(3));
    let mut trust = Vec::new();
    for (day, volume) in [400, 1000, 2500, 6000].into_iter().enumerate() {
        let (taken, causes) =
            send_many(&mut world, (3, "good.test"), "ann", (volume, day as u64 * DAY_MS, 8000));
        assert_eq!((taken, causes), (volume, Vec::new()), "day {day}");
        trust.push(standing(&world, &cold));
    }
    assert!(trust.is_sorted() && trust[3] > 0.8, "{trust:?}");

    let mut world = judging("reputation = {}");
    let (taken, causes) = send_many(&mut world, (3, "good.test"), "ann", (20_000, 0, 1000));
    assert!((1000..8000).contains(&taken), "{taken} {causes:?}");
    assert!(causes.iter().all(|(cause, _)| cause.is_standing()), "{causes:?}");
}

#[test]
fn a_source_that_is_burnt_at_one_provider_is_refused_from_the_first_mail() {
    let mut world = judging("reputation = {}");
    let provider = world.provider_named("x").expect("it is there");
    let (connection, banner) = world.connect_to(provider, [127, 0, 1, 4].into(), START);
    assert_eq!((banner.cause, banner.close), (Some(Cause::Blocked), true));
    assert!(banner.reply.is_permanent(), "{}", banner.reply);
    connection.end(&mut world);
}

#[test]
fn hammering_a_limit_makes_a_standing_worse_and_the_limit_smaller() {
    let mut world = judging("rate = '10/s'\nreputation = { few = 100 }");
    let (patient, _) = send_many(&mut world, (2, "good.test"), "ann", (1000, 0, 100));
    assert_eq!(patient, 1000);
    assert_eq!(standing(&world, &Who::Ip(ip(2))), 1.0);
    let (hammering, _) = send_many(&mut world, (2, "good.test"), "ann", (20_000, 200_000, 10));
    assert!(hammering < 1600, "{hammering} in the time of 2000");
    assert!(standing(&world, &Who::Ip(ip(2))) < 0.6);
}

#[test]
fn a_bad_address_hurts_its_neighbours_a_little() {
    let mut world = judging("reputation = { few = 100 }\nreaders = { complaint_after = '1s' }");
    send_many(&mut world, (5, "bad.test"), "ann", (400, 0, 10));
    send_many(&mut world, (2, "good.test"), "ann", (2000, 10_000, 10));
    let block = standing(&world, &Who::Netblock([127, 0, 0, 0].into()));
    assert!((0.1..0.99).contains(&block), "{block}");
    assert_eq!(standing(&world, &Who::Ip(ip(2))), 1.0, "by itself it did nothing");
}

#[test]
fn a_provider_without_the_key_judges_nobody() {
    let mut world = judging("");
    let (taken, causes) = send_many(&mut world, (3, "bad.test"), "complain", (3000, 0, 10));
    assert_eq!((taken, causes), (3000, Vec::new()));
    let provider = world.provider_named("x").expect("it is there");
    assert!(world.standings(provider).is_empty());
}
