//! What pretend providers answer, each behaviour alone.

use std::time::Duration;

use world::{Cause, Connection, Counters, World};

use super::{START, address, at, counters, ip, open, send, sender, world};

#[test]
fn a_provider_without_rules_takes_everything() {
    let mut world = world("");
    let (mut connection, banner) = open(&mut world, 2, START);
    assert_eq!(banner.reply.to_string(), "220 mx.x.test ESMTP ready");
    for n in 0..100 {
        assert_eq!(send(&mut world, &mut connection, &format!("ann{n}@x.test"), START).reply.code, 250);
    }
    connection.end(&mut world);
    let expected = Counters {
        accepted: 100,
        messages: 100,
        bytes: 1700,
        connections: 1,
        open_peak: 1,
        ..Counters::default()
    };
    assert_eq!(counters(&world), expected);
}

#[test]
fn connections_are_limited_per_source_address() {
    let mut world = world("connections = 2\nmanner = 'google'");
    let (first, _) = open(&mut world, 2, START);
    let (_second, _) = open(&mut world, 2, START);
    let (third, refused) = open(&mut world, 2, START);
    assert_eq!(
        (refused.reply.code, refused.close, refused.cause),
        (421, true, Some(Cause::TooManyConnections))
    );
    assert!(refused.reply.text.contains("127.0.0.2"), "{}", refused.reply);
    third.end(&mut world);
    let (_other, ok) = open(&mut world, 3, START);
    assert_eq!(ok.reply.code, 220, "another address has its own limit");
    first.end(&mut world);
    let (_fourth, ok) = open(&mut world, 2, START);
    assert_eq!(ok.reply.code, 220);
    let counters = counters(&world);
    assert_eq!((counters.connections, counters.turned_away, counters.open, counters.open_peak), (4, 1, 3, 3));
}

#[test]
fn a_session_carries_so_many_messages_and_a_message_so_many_recipients() {
    let mut world = world("messages_per_connection = 2\nrecipients_per_message = 3");
    let (mut connection, _) = open(&mut world, 2, START);
    for n in 0..2 {
        assert_eq!(send(&mut world, &mut connection, &format!("a{n}@x.test"), START).reply.code, 250);
    }
    let answer = send(&mut world, &mut connection, "b@x.test", START);
    assert_eq!((answer.reply.code, answer.close, answer.cause), (421, true, Some(Cause::TooManyMessages)));
    connection.end(&mut world);

    let (mut connection, _) = open(&mut world, 2, START);
    connection.mail(&mut world, &None, START);
    for n in 0..3 {
        assert_eq!(connection.rcpt(&mut world, &address(&format!("a{n}@x.test")), START).reply.code, 250);
    }
    let answer = connection.rcpt(&mut world, &address("a4@x.test"), START);
    assert_eq!(answer.reply.to_string(), "452 4.5.3 Error: too many recipients");
    assert_eq!(connection.body(&mut world, b"x", START).reply.code, 250);
    connection.end(&mut world);
    let counters = counters(&world);
    assert_eq!((counters.accepted, counters.messages, counters.deferred), (5, 3, 2));
}

#[test]
fn a_rate_holds_per_source_address_in_the_words_of_the_provider() {
    let mut world = world("rate = '100/s'\nmanner = 'yahoo'");
    let (mut connection, _) = open(&mut world, 2, START);
    let mut taken = 0;
    for ms in 0..10_000 {
        let answer = send(&mut world, &mut connection, "ann@x.test", at(ms));
        match answer.cause {
            None => taken += 1,
            cause => {
                assert_eq!(cause, Some(Cause::TooFast));
                assert!(answer.reply.text.contains("127.0.0.2"), "{}", answer.reply);
                assert_eq!(answer.close, answer.reply.code == 421);
            }
        }
    }
    assert!((1090..=1110).contains(&taken), "{taken} in ten seconds, with what the bucket held");
    let (mut other, _) = open(&mut world, 3, at(10_000));
    assert_eq!(send(&mut world, &mut other, "ann@x.test", at(10_000)).reply.code, 250);
    connection.end(&mut world);
    other.end(&mut world);
}

#[test]
fn greylisting_lets_the_same_sender_in_after_its_delay() {
    let mut world = world("greylist = { delay = '5m' }");
    let (mut connection, _) = open(&mut world, 2, START);
    for (ms, code) in [(0, 450), (299_999, 450), (300_000, 250), (300_001, 250)] {
        assert_eq!(send(&mut world, &mut connection, "ann@x.test", at(ms)).reply.code, code, "at {ms}");
    }
    let (mut other, _) = open(&mut world, 3, at(300_001));
    assert_eq!(send(&mut world, &mut other, "ann@x.test", at(300_001)).cause, Some(Cause::Greylisted));
    connection.end(&mut world);
    other.end(&mut world);
    assert_eq!((counters(&world).accepted, counters(&world).deferred), (2, 3));
}

#[test]
fn unknown_users_are_a_share_and_all_who_are_named_so() {
    let mut world = world("mailboxes = { unknown = 0.05 }\nmanner = 'libero'");
    let (mut connection, _) = open(&mut world, 2, START);
    let answer = send(&mut world, &mut connection, "Unknown.person@x.test", START);
    assert_eq!(answer.reply.to_string(), "550 RCPT TO:<Unknown.person@x.test> User unknown");
    let mut unknown = Vec::new();
    for n in 0..10_000 {
        let to = format!("reader{n}@x.test");
        if send(&mut world, &mut connection, &to, START).cause == Some(Cause::UnknownUser) {
            unknown.push(to);
        }
    }
    assert!((430..570).contains(&unknown.len()), "{}", unknown.len());
    for to in &unknown {
        assert_eq!(
            send(&mut world, &mut connection, to, at(1000)).cause,
            Some(Cause::UnknownUser),
            "{to} again"
        );
    }
    connection.end(&mut world);
    assert_eq!(counters(&world).refused, 1 + 2 * unknown.len() as u64);
}

#[test]
fn full_mailboxes_are_emptied_in_turn() {
    let mut world = world("mailboxes = { full = 0.5, full_for = '10s' }");
    let (mut connection, _) = open(&mut world, 2, START);
    let (mut always, mut at_times) = (0, 0);
    for n in 0..200 {
        let to = format!("reader{n}@x.test");
        let full = |world: &mut World, connection: &mut Connection, ms| {
            send(world, connection, &to, at(ms)).cause == Some(Cause::MailboxFull)
        };
        match (full(&mut world, &mut connection, 0), full(&mut world, &mut connection, 10_000)) {
            (false, false) => always += 1,
            (a, b) => {
                assert_ne!(a, b, "{to} is full at one of both moments");
                at_times += 1;
            }
        }
    }
    assert!(at_times > 70 && always > 70, "{at_times} and {always}");
    connection.end(&mut world);
    let mut world = self::world("");
    let (mut connection, _) = open(&mut world, 2, START);
    let answer = send(&mut world, &mut connection, "full@x.test", START);
    assert_eq!((answer.reply.code, answer.cause), (452, Some(Cause::MailboxFull)));
    connection.end(&mut world);
}

#[test]
fn content_is_refused_by_word_and_by_share() {
    let mut world = world("content = { refused_words = ['CHEAP PILLS'], refused = 0.1 }");
    let (mut connection, _) = open(&mut world, 2, START);
    let mut refused = 0;
    for n in 0..1000 {
        let answer = send(&mut world, &mut connection, &format!("a{n}@x.test"), START);
        refused += u32::from(answer.cause == Some(Cause::ContentRefused));
    }
    assert!((70..130).contains(&refused), "{refused}");
    connection.mail(&mut world, &sender(), START);
    for to in ["a@x.test", "b@x.test"] {
        connection.rcpt(&mut world, &address(to), START);
    }
    let answer = connection.body(&mut world, b"Subject: CHEAP PILLS\r\n\r\n", START);
    assert_eq!(answer.reply.code, 554);
    connection.end(&mut world);
    assert_eq!(counters(&world).refused, u64::from(refused) + 2);
}

#[test]
fn an_outage_comes_and_goes_and_comes_again() {
    let mut world = world("manner = 'microsoft'\noutages = [{ after = '10s', lasts = '2s', every = '60s' }]");
    let (mut connection, _) = open(&mut world, 2, START);
    for (ms, out) in
        [(0, false), (9_999, false), (10_000, true), (11_999, true), (12_000, false), (70_500, true)]
    {
        let cause = send(&mut world, &mut connection, "ann@x.test", at(ms)).cause;
        assert_eq!(cause, out.then_some(Cause::Outage), "at {ms}");
    }
    let (refused, banner) = open(&mut world, 2, at(71_000));
    assert_eq!((banner.reply.code, banner.close, banner.cause), (421, true, Some(Cause::Outage)));
    refused.end(&mut world);
    connection.end(&mut world);
    assert_eq!((counters(&world).turned_away, counters(&world).open), (1, 0));
}

#[test]
fn replies_take_their_time_with_some_chance_in_it() {
    let mut world = world("latency = { banner = '50ms', command = '10ms', body = '100ms', jitter = 0.2 }");
    let (mut connection, banner) = open(&mut world, 2, START);
    let near = |delay: Duration, ms: f64| (0.8 * ms..=1.2 * ms).contains(&(delay.as_secs_f64() * 1000.0));
    assert!(near(banner.delay, 50.0), "{:?}", banner.delay);
    let mut delays = Vec::new();
    for n in 0..100 {
        let answer = send(&mut world, &mut connection, &format!("a{n}@x.test"), START);
        assert!(near(answer.delay, 100.0), "{:?}", answer.delay);
        delays.push(answer.delay);
    }
    delays.sort_unstable();
    delays.dedup();
    assert!(delays.len() > 90);
    assert!(near(connection.mail(&mut world, &None, START).delay, 10.0));
    connection.end(&mut world);
}

#[test]
fn words_of_its_own_go_before_those_of_the_manner() {
    let mut world =
        world("replies = { unknown_user = '551 5.1.6 {to} moved away from {domain}, says {host}' }");
    let (mut connection, _) = open(&mut world, 2, START);
    let answer = send(&mut world, &mut connection, "unknown@x.test", START);
    assert_eq!(answer.reply.to_string(), "551 5.1.6 unknown@x.test moved away from x.test, says mx.x.test");
    connection.end(&mut world);
}

#[test]
fn behind_one_address_the_recipients_decide_whose_mail_it_is() {
    let text = "[[provider]]\nname='a'\ndomains=['a.test']\nconnections=1\n[[provider]]\nname='b'\ndomains=['b.test']";
    let mut world = World::from_toml(text, 1).expect("a good world");
    let (mut first, banner) = world.connect(ip(2), START);
    assert_eq!(banner.reply.code, 220);
    first.mail(&mut world, &sender(), START);
    for (to, code) in [("x@a.test", 250), ("x@b.test", 250), ("x@c.test", 554)] {
        assert_eq!(first.rcpt(&mut world, &address(to), START).reply.code, code, "{to}");
    }
    assert_eq!(first.body(&mut world, b"x", START).reply.code, 250);
    let (mut second, _) = world.connect(ip(2), START);
    assert_eq!(send(&mut world, &mut second, "x@b.test", START).reply.code, 250);
    let answer = send(&mut world, &mut second, "x@a.test", START);
    assert_eq!((answer.cause, answer.close), (Some(Cause::TooManyConnections), true));
    first.end(&mut world);
    second.end(&mut world);
    let counted: Vec<_> = world.providers().map(|provider| world.counters(provider)).collect();
    assert_eq!((counted[0].accepted, counted[1].accepted), (1, 2));
    assert_eq!((counted[0].open, counted[1].open, counted[1].connections), (0, 0, 2));
    assert_eq!((counted[0].deferred, counted[0].turned_away), (1, 1));
}

#[test]
fn a_server_of_one_provider_takes_no_mail_for_others() {
    let text = "[[provider]]\nname='x'\ndomains=['x.test']\n[[provider]]\nname='rest'\ndomains=['*']";
    let mut world = World::from_toml(text, 1).expect("a good world");
    let (mut connection, _) = open(&mut world, 2, START);
    assert_eq!(send(&mut world, &mut connection, "ann@y.test", START).cause, Some(Cause::NotOurs));
    assert_eq!(send(&mut world, &mut connection, "ann@x.test", START).reply.code, 250);
    connection.end(&mut world);
}

#[test]
fn commands_out_of_order_are_answered_with_503() {
    let mut world = world("");
    let (mut connection, _) = open(&mut world, 2, START);
    assert_eq!(connection.rcpt(&mut world, &address("a@x.test"), START).reply.code, 503);
    connection.mail(&mut world, &sender(), START);
    assert_eq!(connection.body(&mut world, b"x", START).reply.code, 503);
    connection.mail(&mut world, &sender(), START);
    connection.rcpt(&mut world, &address("a@x.test"), START);
    connection.reset();
    assert_eq!(connection.body(&mut world, b"x", START).reply.code, 503);
    connection.end(&mut world);
    assert_eq!(counters(&world).messages, 0);
}
