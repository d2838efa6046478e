//! What class mail gets, by whose word, and what it is then treated like.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use console::{Console, Listeners};
use mail::{Class, MessageId};
use mta::Engine;
use policy::classify::Ground;
use report::Reporter;

use crate::house::{House, PATIENCE, config};
use crate::sink::Sink;

/// `printf %s test | sha256sum`
const ACCOUNT: &str = "[http]\naddress = \"127.0.0.1:0\"\n\
    [[account]]\nname = \"shop\"\nclass = \"transactional\"\n\
    token_hash = \"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"\n\
    [[account.rule]]\nsender = \"@news.example\"\nclass = \"bulk\"\n\
    [[account.rule]]\nsubject = \"[alert] *\"\nclass = \"critical\"\n";

/// A message with nothing of the reader's own, and a way out.
const OFFERS: &str = "Dear reader,\r\nthe spring offers are here: chairs, tables and all that a garden needs.\r\n\
    Unsubscribe: https://shop.test/u\r\n";

/// What the spool has of the message that `reply` names: class, ground and words.
fn kept(house: &House, reply: &str) -> (Class, Option<Ground>, String) {
    let id: MessageId = reply.rsplit(' ').next().and_then(|id| id.parse().ok()).expect(reply);
    let readers = house.handle().readers();
    let head = readers[usize::from(id.0.shard())].content_head(id).expect("it is in the spool");
    let (code, because) = head.ground();
    (head.class(), Ground::from_code(code), because.to_owned())
}

#[test]
fn the_ground_of_the_class_is_kept_with_the_message() {
    let mut house = House::start("");
    let mut replies = Vec::new();
    for (head, class, ground, because) in [
        ("", Class::Transactional, Ground::Default, ""),
        ("X-Staffetta-Class: personal\r\nMT-Priority: 6\r\n", Class::Personal, Ground::Explicit, ""),
        ("MT-Priority: 6\r\n", Class::Critical, Ground::Priority, "MT-PRIORITY 6"),
        ("List-Id: <l.sender.test>\r\n", Class::Bulk, Ground::Headers, "List-Id"),
        (
            "Precedence: bulk\r\nAuto-Submitted: auto-generated\r\n",
            Class::Transactional,
            Ground::Headers,
            "Auto-Submitted",
        ),
    ] {
        let text = format!("{head}From: Ann <ann@sender.test>\r\nSubject: x\r\n\r\nHello.\r\n");
        let reply = house.client().send("ann@sender.test", &["bob@there.test"], &text);
        let expected = (class, Some(ground), because.to_owned());
        assert_eq!(kept(&house, &reply), expected, "{head}");
        replies.push((reply, expected));
    }
    let mut client = house.client();
    client.says("MAIL FROM:<a@b.test> MT-PRIORITY=-4", "250");
    client.says("RCPT TO:<c@d.test>", "250");
    client.says("DATA", "354");
    client.write(b"From: a@b.test\r\nMT-Priority: 6\r\n\r\nHello.\r\n");
    let reply = client.says(".", "250");
    let expected = (Class::Bulk, Some(Ground::Priority), "MT-PRIORITY -4".to_owned());
    assert_eq!(kept(&house, &reply), expected, "the envelope goes before the header");
    // What is said of itself is not added to, nor taken away.
    let taken = house.sink.wait_for(6, PATIENCE);
    let list = taken.iter().find(|taken| taken.body.contains("List-Id")).expect("it arrived");
    let names = list.body.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':'));
    let names: Vec<&str> =
        names.map(|(name, _)| name).filter(|name| !name.starts_with(char::is_whitespace)).collect();
    assert_eq!(names, ["Received", "List-Id", "From", "Subject", "Date", "Message-ID"]);
    house.stop();
    house.begin();
    for (reply, expected) in replies {
        assert_eq!(kept(&house, &reply), expected, "after a restart");
    }
}

#[test]
fn a_newsletter_that_comes_one_by_one_is_a_warning_unless_the_operator_wants_more() {
    for (action, last) in
        [("warn", (Class::Transactional, Ground::Default)), ("reclass", (Class::Bulk, Ground::Behaviour))]
    {
        let house = House::start(&format!("[classify]\nbehaviour = \"{action}\"\nrecipients = 40\n"));
        // Two clients, so that more than one shard takes part.
        let mut clients = [house.client(), house.client()];
        let mut reply = String::new();
        for number in 0..100 {
            let to = format!("r{number}@there.test");
            let text = format!("From: News <news@shop.test>\r\nTo: {to}\r\nSubject: Spring\r\n\r\n{OFFERS}");
            reply = clients[number % 2].send("news@shop.test", &[&to], &text);
            // Awaited mail of the same sender domain, from one template, is let alone.
            let to = format!("c{number}@there.test");
            let code = 7_919 * (number + 13) % 900_000;
            let text = format!(
                "From: Shop <shop@shop.test>\r\nTo: {to}\r\nSubject: Your code\r\n\r\nYour code is {code:06}.\r\nUnsubscribe: never\r\n"
            );
            let awaited = clients[number % 2].send("shop@shop.test", &[&to], &text);
            let (class, ground, _) = kept(&house, &awaited);
            assert_eq!((class, ground), (Class::Transactional, Some(Ground::Default)), "{action} {number}");
        }
        let (class, ground, because) = kept(&house, &reply);
        assert_eq!((class, ground), (last.0, Some(last.1)), "{action}: {because}");
        let counted = house.handle().counters().class_newsletter_in_transactional;
        assert!((10..=90).contains(&counted), "{action}: {counted} of 100");
        assert_eq!(because.contains("says how to unsubscribe"), action == "reclass", "{because}");
    }
}

#[test]
fn bulk_without_a_way_out_is_counted() {
    let house = House::start("");
    let mut client = house.client();
    for head in ["List-Id: <l.x.test>\r\n", "List-Unsubscribe: <https://x.test/u>\r\n", ""] {
        client.send("a@b.test", &["c@d.test"], &format!("{head}From: a@b.test\r\n\r\nHello.\r\n"));
    }
    assert_eq!(house.handle().counters().class_bulk_without_unsubscribe, 1);
}

#[test]
fn each_class_leaves_from_the_sources_of_its_own_pool() {
    let mut extra = String::new();
    for (number, class) in Class::ALL.iter().enumerate() {
        let ip = number + 11;
        extra.push_str(&format!(
            "[[source]]\nname = \"{class}\"\nip = \"127.0.0.{ip}\"\n[[pool]]\nname = \"{class}\"\nsources = [\"{class}\"]\n[class.{class}]\npool = \"{class}\"\n"
        ));
    }
    let house = House::start(&extra);
    let mut client = house.client();
    for class in Class::ALL {
        let text =
            format!("X-Staffetta-Class: {class}\r\nFrom: a@b.test\r\nSubject: {class}\r\n\r\nHello.\r\n");
        client.send("a@b.test", &["c@d.test"], &text);
    }
    let mut from: Vec<(String, String)> = house
        .sink
        .wait_for(4, PATIENCE)
        .iter()
        .map(|taken| {
            let subject = taken.body.lines().find_map(|line| line.strip_prefix("Subject: "));
            (taken.client.to_string(), subject.unwrap_or_default().to_owned())
        })
        .collect();
    from.sort();
    let expected: Vec<(String, String)> = Class::ALL
        .iter()
        .enumerate()
        .map(|(number, class)| (format!("127.0.0.{}", number + 11), class.to_string()))
        .collect();
    assert_eq!(from, expected);
}

/// An engine with its API.
struct Api {
    _folder: tempfile::TempDir,
    engine: Engine,
    reporter: Reporter,
    address: SocketAddr,
}

impl Api {
    fn start(sink: &Sink, extra: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (data, receiver) = (folder.path().display(), sink.address());
        let config = config(&format!(
            "[node]\nname = \"mx.test\"\ndata_dir = \"{data}\"\nshards = 1\n[spool]\nsegment = \"8MiB\"\nmin_free = \"1MiB\"\n\
             [[route]]\ndomain = \"*\"\nhosts = [\"{receiver}\"]\ntls = \"off\"\n{extra}"
        ));
        let engine = Engine::start(Arc::clone(&config)).expect("the engine starts");
        let reporter =
            Reporter::start(folder.path(), engine.handle().readers()).expect("the reporter starts");
        let console = Console::new(engine.handle(), reporter.store()).expect("a console");
        let listeners = engine.runtime().block_on(Listeners::bind(&config)).expect("bound");
        let address = listeners.http_address().expect("an address");
        engine.runtime().spawn(console::serve(console, listeners, std::future::pending()));
        Self { _folder: folder, engine, reporter, address }
    }

    /// The body of the answer.
    fn ask(&self, request: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let length = body.len();
        let head = format!(
            "{request} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer test\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.split_once("\r\n\r\n").expect("a body").1.to_owned()
    }

    /// Hands in a message and gives its story.
    fn story(&self, message: &str) -> String {
        let taken = self.ask("POST /v1/messages", message);
        let id = taken.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect(&taken);
        self.ask(&format!("GET /v1/messages/{id}"), "")
    }

    fn stop(self) {
        self.engine.stop();
        self.reporter.stop();
    }
}

#[test]
fn rules_of_an_account_decide_and_the_story_names_them() {
    let sink = Sink::start();
    let api = Api::start(&sink, ACCOUNT);
    for (message, class, ground) in [
        (
            r#"{"from":"a@news.example","to":"b@x.test","subject":"Hi","text":"t"}"#,
            "bulk",
            r#""class_ground":{"ground":"rule","rule":1,"because":"sender @news.example"}"#,
        ),
        (
            r#"{"from":"a@shop.example","to":"b@x.test","subject":"[ALERT] disk","text":"t"}"#,
            "critical",
            r#""class_ground":{"ground":"rule","rule":2,"because":"subject [alert] *"}"#,
        ),
        (
            r#"{"from":"a@shop.example","to":"b@x.test","subject":"Hi","text":"t"}"#,
            "transactional",
            r#""class_ground":{"ground":"account"}"#,
        ),
        (
            r#"{"from":"a@news.example","to":"b@x.test","subject":"Hi","text":"t","class":"personal"}"#,
            "personal",
            r#""class_ground":{"ground":"explicit"}"#,
        ),
    ] {
        let story = api.story(message);
        assert!(story.contains(ground), "{ground} in {story}");
        assert!(story.contains(&format!("\"class\":\"{class}\"")), "{class} in {story}");
    }
    let campaign = r#"{"from":"a@news.example","name":"n","subject":"Hi","text":"t"}"#;
    let id = api.ask("POST /v1/campaigns", campaign);
    let id = id.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect(&id).to_owned();
    assert!(api.ask(&format!("GET /v1/campaigns/{id}"), "").contains("\"class\":\"bulk\""));
    assert_eq!(
        api.engine.handle().counters().class_bulk_without_unsubscribe,
        2,
        "the first message and the campaign"
    );
    api.stop();
}
