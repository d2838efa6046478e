//! smtp: what one message costs each side of the protocol, on a session that is open already. No socket: bytes are
//! copied in where a socket would have put them.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;

use criterion::{Criterion, Throughput};
use mail::{DsnReturn, Reply};
use smtp::client::{Client, ClientConfig, ClientEvent, To, Transaction};
use smtp::server::{Config, Peer, Session, Step};
use smtp::wire;

const MESSAGE_BYTES: usize = 10 * 1024;
const ENVELOPE: &[u8] =
    b"MAIL FROM:<bounce-4711@shop.example> SIZE=10240 BODY=8BITMIME\r\nRCPT TO:<ann@mail.example>\r\n";
const GREETING: &[u8] = b"220 mx.mail.example ESMTP ready\r\n";
const EHLO_REPLY: &[u8] = b"250-mx.mail.example at your service, [192.0.2.7]\r\n250-SIZE 157286400\r\n\
    250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-DSN\r\n250 SMTPUTF8\r\n";
const TAKEN: &[u8] =
    b"250 2.1.0 OK 5b1f17b1804b1-38.19 - smtp\r\n250 2.1.5 OK 5b1f17b1804b1-38.19 - smtp\r\n\
    250 2.0.0 OK 1731240000 5b1f17b1804b1-38.19 - smtp\r\n";
/// A refusal of several lines, as large providers write them.
const REFUSED: &[u8] = b"250 2.1.0 OK 5b1f17b1804b1-38.19 - smtp\r\n\
    550-5.1.1 The email account that you tried to reach does not exist. Please try\r\n\
    550-5.1.1 double-checking the recipient's email address for typos or\r\n\
    550-5.1.1 unnecessary spaces. For more information, go to\r\n\
    550-5.1.1  https://support.mail.example/mail/?p=NoSuchUser\r\n\
    550 5.1.1 5b1f17b1804b1-38.19 - smtp\r\n503 5.5.1 RCPT first. 5b1f17b1804b1-38.19 - smtp\r\n";

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    server(&mut criterion);
    client(&mut criterion);
    stuffing(&mut criterion);
    replies(&mut criterion);
    criterion.final_summary();
}

fn open_server() -> Session {
    let config = Config { hostname: "mx.mail.example".into(), ..Config::default() };
    let peer = Peer { ip: Ipv4Addr::LOCALHOST.into(), trusted: true };
    let mut session = Session::new(Arc::new(config), peer);
    session.feed(b"EHLO out.shop.example\r\n");
    assert!(matches!(session.step(), Step::NeedInput), "EHLO is answered");
    session.output().clear();
    session
}

/// The message arrives, is stored elsewhere, and its buffer comes back.
fn take(session: &mut Session) {
    let Step::Message(message) = session.step() else { panic!("a whole message is there") };
    session.accept("Ok: queued as 0123456789abc");
    session.recycle(black_box(message).body);
    session.output().clear();
}

fn server(criterion: &mut Criterion) {
    let body = bench::message(MESSAGE_BYTES);
    let mut group = criterion.benchmark_group("smtp/server takes 10 KiB");
    group.throughput(Throughput::Bytes(MESSAGE_BYTES as u64));

    let begin = [ENVELOPE, b"DATA\r\n"].concat();
    let mut stuffed = Vec::new();
    wire::dot_stuff(&[&body], &mut stuffed);
    let mut session = open_server();
    group.bench_function("by DATA", |bencher| {
        bencher.iter(|| {
            session.feed(&begin);
            assert!(matches!(session.step(), Step::NeedInput), "the text is awaited");
            session.output().clear();
            session.feed(&stuffed);
            take(&mut session);
        });
    });

    let flight = [ENVELOPE, format!("BDAT {} LAST\r\n", body.len()).as_bytes(), &body].concat();
    let mut session = open_server();
    group.bench_function("by BDAT in one flight", |bencher| {
        bencher.iter(|| {
            session.feed(&flight);
            take(&mut session);
        });
    });
    group.finish();
}

fn open_client(config: ClientConfig) -> Client {
    let mut client = Client::new(config);
    client.receive(GREETING);
    client.transmit().clear();
    client.receive(EHLO_REPLY);
    assert_eq!(client.poll(), Some(ClientEvent::Ready));
    client
}

/// Sends one message and hears `replies`; a session that needs RSET first hears one more.
fn send(client: &mut Client, body: &[u8], replies: &[&[u8]]) {
    let transaction = Transaction {
        sender: "bounce-4711@shop.example",
        recipients: &[To::from("ann@mail.example")],
        body: &[body],
        eight_bit: false,
        smtputf8: false,
        dsn_return: DsnReturn::Headers,
        envelope_id: None,
        require_tls: false,
    };
    client.begin(transaction).expect("the server takes such a message");
    if client.transmit().starts_with(b"RSET") {
        client.receive(b"250 2.0.0 OK\r\n");
    }
    for reply in replies {
        black_box(client.transmit()).clear();
        client.receive(reply);
    }
    while let Some(event) = client.poll() {
        black_box(event);
    }
    assert!(client.ready(), "the transaction is done");
}

fn client(criterion: &mut Criterion) {
    let body = bench::message(MESSAGE_BYTES);
    let mut group = criterion.benchmark_group("smtp/client sends 10 KiB");
    group.throughput(Throughput::Bytes(MESSAGE_BYTES as u64));

    let mut client = open_client(ClientConfig::new("out.shop.example"));
    group.bench_function("in one flight", |bencher| {
        bencher.iter(|| send(&mut client, &body, &[TAKEN]));
    });

    let mut client = open_client(ClientConfig { chunking: false, ..ClientConfig::new("out.shop.example") });
    let mut answers = TAKEN.split_inclusive(|byte| *byte == b'\n');
    let both: Vec<u8> = answers.by_ref().take(2).flatten().copied().collect();
    let last = answers.next().expect("the last of three replies");
    let go_on = [&both[..], b"354 Go ahead\r\n"].concat();
    group.bench_function("by DATA", |bencher| {
        bencher.iter(|| send(&mut client, &body, &[&go_on, last]));
    });
    group.finish();
}

/// The text of DATA by itself: as most mail is, without a dot at the start of a line, and with one in every fourth.
fn stuffing(criterion: &mut Criterion) {
    let dotted = bench::message(MESSAGE_BYTES);
    let plain: Vec<u8> = dotted.iter().map(|byte| if *byte == b'.' { b',' } else { *byte }).collect();
    let mut group = criterion.benchmark_group("smtp/dot-stuffing of 10 KiB");
    group.throughput(Throughput::Bytes(MESSAGE_BYTES as u64));
    let mut out = Vec::new();
    for (name, text) in [("no dots", &plain), ("a dot in every fourth line", &dotted)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                wire::dot_stuff(&[black_box(text)], &mut out);
                black_box(&out);
            });
        });
    }
    group.bench_function("a copy", |bencher| {
        bencher.iter(|| {
            out.clear();
            out.extend_from_slice(black_box(&plain));
            black_box(&out);
        });
    });
    group.finish();
}

fn replies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("smtp/replies");
    group.bench_function("open a session: EHLO's 8 lines", |bencher| {
        bencher.iter(|| black_box(open_client(ClientConfig::new("out.shop.example"))));
    });

    let mut client = open_client(ClientConfig::new("out.shop.example"));
    group.bench_function("a refusal of 5 lines", |bencher| {
        bencher.iter(|| send(&mut client, b"Subject: x\r\n\r\n", &[REFUSED]));
    });

    let reply = Reply::enhanced(250, mail::Enhanced(2, 0, 0), "Ok: queued as 0123456789abc");
    let mut out = Vec::new();
    group.bench_function("write one of 1 line", |bencher| {
        bencher.iter(|| {
            out.clear();
            wire::write_reply(black_box(&reply), &mut out);
        });
    });
    group.finish();
}
