//! What is taken and what is refused at the door.

use crate::house::{House, PATIENCE, message};

#[test]
fn a_message_by_smtp_arrives_once_with_its_trace() {
    let house = House::start("");
    let mut client = house.client();
    let reply = client.send("ann@sender.test", &["bob@there.test"], &message("one"));
    assert!(reply.starts_with("250 2.0.0 Ok: queued as "), "{reply}");
    let taken = house.sink.wait_for(1, PATIENCE);
    assert_eq!((taken[0].from.as_str(), taken[0].to.as_str()), ("ann@sender.test", "bob@there.test"));
    assert!(taken[0].body.starts_with("Received: from client.test ([127.0.0.1])"), "{}", taken[0].body);
    assert!(taken[0].body.contains("\r\nMessage-ID: <"), "{}", taken[0].body);
    assert!(taken[0].body.ends_with("\r\n\r\nHello.\r\n"), "{:?}", taken[0].body);
    let ledger = house.wait_ledger("delivered", |ledger| ledger.delivered == 1);
    assert_eq!((ledger.accepted, ledger.queued()), (1, 0));
}

#[test]
fn strangers_may_not_relay() {
    let mut house = House::start("");
    house.stop();
    let text = house.text().replace("127.0.0.0/8\"]", "192.0.2.0/24\"]");
    let engine = mta::Engine::start(crate::house::config(&text)).expect("the engine starts");
    let mut client = crate::house::Client::connect(engine.smtp_addresses()[0]);
    client.says("MAIL FROM:<a@b.test>", "250");
    client.says("RCPT TO:<c@d.test>", "550 5.7.1");
    engine.stop();
}

#[test]
fn bare_line_feeds_are_refused_and_never_end_a_message() {
    let house = House::start("");
    for smuggled in ["Hello\n.\r\nMAIL FROM:<x@y.test>\r\n", "Hello\n.\n", "Hello\r\n.\nQUIT\r\n", "a\rb"] {
        let mut client = house.client();
        client.says("MAIL FROM:<a@b.test>", "250");
        client.says("RCPT TO:<c@d.test>", "250");
        client.says("DATA", "354");
        client.write(format!("Subject: x\r\n\r\n{smuggled}").as_bytes());
        client.says("\r\n.", "55");
    }
    assert_eq!(house.handle().ledger().accepted, 0);
    assert_eq!(house.sink.count(), 0);
}

#[test]
fn a_hundred_recipients_in_three_domains_are_a_hundred_stories() {
    let house = House::start("");
    let mut client = house.client();
    let to: Vec<String> = (0..100).map(|n| format!("r{n}@d{}.test", n % 3)).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    client.send("ann@sender.test", &to, &message("to many"));
    let taken = house.sink.wait_for(100, PATIENCE);
    let mut seen: Vec<&str> = taken.iter().map(|taken| taken.to.as_str()).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 100);
    let ledger = house.wait_ledger("all delivered", |ledger| ledger.delivered == 100);
    assert_eq!(ledger.accepted, 100);
}

#[test]
fn directives_in_headers_are_obeyed_and_removed() {
    let house = House::start("");
    let mut client = house.client();
    let begun = std::time::Instant::now();
    let text = format!("X-Staffetta-Not-Before: 1s\r\nX-Staffetta-Class: critical\r\n{}", message("later"));
    client.send("ann@sender.test", &["bob@there.test"], &text);
    let taken = house.sink.wait_for(1, PATIENCE);
    assert!(taken[0].at - begun >= std::time::Duration::from_millis(900), "it waited");
    assert!(!taken[0].body.contains("X-Staffetta"), "{}", taken[0].body);
    let mut client = house.client();
    let wrong =
        client.send("a@b.test", &["c@d.test"], &format!("X-Staffetta-Class: urgent\r\n{}", message("x")));
    assert!(wrong.starts_with("554 5.6.0") && wrong.contains("urgent"), "{wrong}");
}

#[test]
fn pipelined_chunks_are_taken_in_one_flight() {
    let house = House::start("");
    let mut client = house.client();
    let body = message("chunked");
    let flight = format!(
        "MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nBDAT {} LAST\r\n{body}MAIL FROM:<a@b.test>\r\nRCPT TO:<e@f.test>\r\nBDAT {} LAST\r\n{body}",
        body.len(),
        body.len()
    );
    client.write(flight.as_bytes());
    let replies: Vec<String> = (0..6).map(|_| client.reply()).collect();
    assert!(replies.iter().all(|reply| reply.starts_with("250")), "{replies:?}");
    house.sink.wait_for(2, PATIENCE);
}
