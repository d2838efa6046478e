//! What a peer can make us store, and what is not copied or allocated again.

use std::net::Ipv4Addr;
use std::sync::Arc;

use smtp::client::{Client, ClientConfig, ClientEvent, ClientFault};
use smtp::server::{Config, Limits, Peer, Session, Step};

const ENVELOPE: &[u8] = b"EHLO c\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\n";

fn session() -> Session {
    let config = Config { hostname: "mx.test".into(), ..Config::default() };
    Session::new(Arc::new(config), Peer { ip: Ipv4Addr::LOCALHOST.into(), trusted: true })
}

#[test]
fn a_flood_of_commands_is_answered_in_portions() {
    let mut session = session();
    session.feed(&b"EHLO c\r\n".repeat(8000));
    let mut portions = 0;
    while matches!(session.step(), Step::Flush) {
        assert!(session.output().len() < 20_000, "the output has a bound");
        session.output().clear();
        portions += 1;
    }
    assert!(portions > 50);
}

#[test]
fn input_behind_a_message_waits_for_its_verdict_and_has_a_bound() {
    let mut session = session();
    session.feed(ENVELOPE);
    session.feed(b"BDAT 3 LAST\r\nx\r\n");
    assert!(matches!(session.step(), Step::Message(_)));
    assert!(session.wants_input());
    session.feed(&b"NOOP\r\n".repeat(11_000));
    assert!(!session.wants_input());
    assert!(matches!(session.step(), Step::AwaitVerdict));
    session.accept("ok");
    while matches!(session.step(), Step::Flush) {
        session.output().clear();
    }
    assert!(session.wants_input());
}

#[test]
fn a_line_without_end_is_not_kept() {
    let mut session = session();
    for _ in 0..1000 {
        session.feed(&[b'x'; 1000]);
        assert!(matches!(session.step(), Step::NeedInput));
        assert!(session.waiting() <= 2048);
    }
    session.output().clear();
    session.feed(b"\r\n");
    session.step();
    assert_eq!(session.output(), b"500 5.5.2 Line too long\r\n");
}

#[test]
fn a_message_beyond_the_limit_is_not_kept() {
    for command in [&b"DATA\r\n"[..], b"BDAT 18446744073709551615 LAST\r\n"] {
        let limits = Limits { message_bytes: 10_000, ..Limits::default() };
        let config = Config { hostname: "mx.test".into(), limits, ..Config::default() };
        let mut session =
            Session::new(Arc::new(config), Peer { ip: Ipv4Addr::LOCALHOST.into(), trusted: true });
        session.feed(ENVELOPE);
        session.feed(command);
        for _ in 0..1000 {
            session.feed(&[b'x'; 1000]);
            assert!(matches!(session.step(), Step::NeedInput));
            assert_eq!(session.waiting(), 0);
        }
    }
}

#[test]
fn text_does_not_wait_but_what_follows_it_does() {
    for (command, text) in
        [(&b"DATA\r\n"[..], "A: b\r\n.\r\n"), (b"BDAT 4\r\n", "A: b"), (b"BDAT 6 LAST\r\n", "A: b\r\n")]
    {
        let mut session = session();
        session.feed(ENVELOPE);
        session.feed(command);
        assert!(matches!(session.step(), Step::NeedInput));
        session.output().clear();
        let (last, pieces) = text.as_bytes().split_last().expect("a text");
        for piece in pieces.chunks(1) {
            session.feed(piece);
            assert!(matches!(session.step(), Step::NeedInput));
            // A dot, and a CR behind it, say nothing by themselves.
            assert!(session.waiting() <= 2, "{text:?}");
        }
        session.feed(&[*last]);
        session.feed(b"NOOP\r\n");
        assert!(session.waiting() >= 6);
        if let Step::Message(message) = session.step() {
            assert_eq!(message.body, b"A: b\r\n");
            session.accept("ok");
            session.step();
        }
        assert!(session.output().ends_with(b"250 2.0.0 OK\r\n"));
        assert_eq!(session.waiting(), 0);
    }
}

#[test]
fn a_recycled_buffer_is_used_for_the_next_message() {
    let mut session = session();
    session.recycle(Vec::with_capacity(20_000));
    session.feed(ENVELOPE);
    session.feed(b"DATA\r\n");
    session.step();
    session.feed(b"x\r\n.\r\n");
    let Step::Message(message) = session.step() else { panic!("the message is complete") };
    assert!(message.body.capacity() >= 20_000);
}

/// A server says `piece` again and again; how many bytes the client takes before it gives up.
fn heard_in_all(piece: &[u8]) -> usize {
    let mut client = Client::new(ClientConfig::new("me.test"));
    let mut heard = 0;
    while !client.is_over() {
        client.receive(piece);
        heard += piece.len();
        assert!(heard < 1 << 30, "a gigabyte is listened to");
    }
    let fault = std::iter::from_fn(|| client.poll()).last();
    assert!(
        matches!(fault, Some(ClientEvent::Fault(ClientFault::ReplyTooLong { bytes_max: 65_536 }))),
        "{fault:?}"
    );
    heard
}

#[test]
fn an_endless_reply_is_listened_to_for_64_kib() {
    let line = [&b"220-"[..], &[b'x'; 508]].concat();
    let lines = b"220-and so on\r\n".repeat(8);
    for piece in [&line[..], &lines, b"2"] {
        let heard = heard_in_all(piece);
        assert!(heard <= 65_536 + piece.len(), "{heard} bytes were taken");
    }
}

#[test]
fn what_a_server_says_ahead_is_not_listened_to() {
    let mut client = Client::new(ClientConfig::new("me.test"));
    client.receive(&b"220 me first\r\n".repeat(100_000));
    assert!(client.is_over());
    assert_eq!(std::iter::from_fn(|| client.poll()).count(), 1, "one fault, however much was said");
}
