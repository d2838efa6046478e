//! Client and server against each other in memory: every option, every cut of the bytes, every kind of refusal, and
//! connections that break. Whatever happens, each recipient has exactly one story, and the two sides tell the same.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;

use mail::{DsnReturn, Enhanced, Phase, Reply};
use proptest::prelude::*;
use smtp::client::{Client, ClientConfig, ClientEvent, TlsWanted, To, Transaction};
use smtp::server::{Config, Limits, Peer, ReceivedMessage, Session, Step};

/// One message to be sent and what the server's shell does about it.
#[derive(Clone, Debug)]
struct Plan {
    recipients: Vec<&'static str>,
    body: Vec<u8>,
    accepted: bool,
}

#[derive(Clone, Debug)]
struct Setting {
    pipelining: bool,
    chunking: bool,
    gaps: bool,
    pipeline_depth: u16,
    starttls: bool,
    recipients_max: usize,
    message_bytes_max: u64,
    errors_max: usize,
    /// From which message on MAIL is refused, for how many.
    gate: (usize, usize),
    /// How many bytes move at once, in turn.
    cuts: Vec<usize>,
    /// After how many moves the connection breaks.
    breaks: Option<usize>,
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    // The server finds `no-domain` malformed, the client does not look so closely.
    let recipient = prop_oneof![
        6 => Just("b@y.test"), 2 => Just("\"q > q\"@y.test"), 2 => Just("grå@y.test"), 2 => Just("no-domain"),
    ];
    let line =
        prop_oneof![Just(""), Just("."), Just(".."), Just(".x"), Just("text"), Just("QUIT"), Just("ü. .")];
    let body = (proptest::collection::vec(line, 0..12), any::<bool>()).prop_map(|(lines, closed)| {
        let text = lines.join("\r\n");
        if closed && !text.is_empty() { format!("{text}\r\n") } else { text }.into_bytes()
    });
    let large = (1000usize..3000).prop_map(|lines| b".0123456789\r\n".repeat(lines));
    let body = prop_oneof![9 => body, 1 => large];
    let plan = (proptest::collection::vec(recipient, 1..5), body, proptest::bool::weighted(0.8))
        .prop_map(|(recipients, body, accepted)| Plan { recipients, body, accepted });
    proptest::collection::vec(plan, 1..8)
}

fn settings() -> impl Strategy<Value = Setting> {
    let extensions = (any::<bool>(), any::<bool>(), 1u16..5, any::<bool>(), any::<bool>());
    let limits =
        (1usize..5, prop_oneof![Just(100u64), Just(1_000_000)], prop_oneof![Just(2usize), Just(1000)]);
    let cuts = proptest::collection::vec(prop_oneof![1usize..4, 1usize..200, Just(usize::MAX)], 1..6);
    let gate = (0usize..8, 0usize..3);
    let breaks = proptest::option::weighted(0.6, prop_oneof![0usize..40, 0usize..500]);
    (extensions, limits, cuts, gate, breaks).prop_map(|(extensions, limits, cuts, gate, breaks)| Setting {
        pipelining: extensions.0,
        chunking: extensions.1,
        pipeline_depth: extensions.2,
        starttls: extensions.3,
        gaps: extensions.4,
        recipients_max: limits.0,
        message_bytes_max: limits.1,
        errors_max: limits.2,
        gate,
        cuts,
        breaks,
    })
}

/// What became of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Story {
    Answered(Phase, Reply),
    Lost { unknown: bool },
    NotTried,
}

struct World<'a> {
    plans: &'a [Plan],
    setting: &'a Setting,
    client: Client,
    server: Session,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    /// The bodies that belong into gaps between what the client hands out.
    bodies: VecDeque<&'a [u8]>,
    /// Plans begun so far, and which plan each transaction is.
    begun: usize,
    transactions: Vec<usize>,
    received: BTreeMap<usize, ReceivedMessage>,
    stories: BTreeMap<(usize, usize), Story>,
    finished: bool,
}

impl<'a> World<'a> {
    fn new(plans: &'a [Plan], setting: &'a Setting) -> Self {
        let config = Config {
            hostname: "mx.test".into(),
            limits: Limits {
                recipients: setting.recipients_max,
                message_bytes: setting.message_bytes_max,
                errors: setting.errors_max,
                ..Limits::default()
            },
            starttls: setting.starttls,
            ..Config::default()
        };
        let peer = Peer { ip: Ipv4Addr::LOCALHOST.into(), trusted: true };
        let mut client = ClientConfig::new("me.test");
        client.pipelining = setting.pipelining;
        client.chunking = setting.chunking;
        client.pipeline_depth = setting.pipeline_depth;
        client.tls = TlsWanted::Opportunistic;
        client.gaps = setting.gaps;
        Self {
            plans,
            setting,
            client: Client::new(client),
            server: Session::new(Arc::new(config), peer),
            to_server: Vec::new(),
            to_client: Vec::new(),
            bodies: VecDeque::new(),
            begun: 0,
            transactions: Vec::new(),
            received: BTreeMap::new(),
            stories: BTreeMap::new(),
            finished: false,
        }
    }

    fn run(mut self) -> Self {
        for turn in 0.. {
            assert!(turn < 500_000, "the two have come to a standstill");
            if self.setting.breaks == Some(turn) || self.client.is_over() || self.finished {
                break;
            }
            let cut = self.setting.cuts[turn % self.setting.cuts.len()];
            self.work_client();
            move_some(&mut self.to_server, cut, |bytes| self.server.feed(bytes));
            self.work_server();
            move_some(&mut self.to_client, cut, |bytes| self.client.receive(bytes));
        }
        self.work_events();
        for lost in self.client.closed() {
            let story = Story::Lost { unknown: lost.unknown };
            self.tell(lost.transaction, lost.index, story);
        }
        self
    }

    fn work_client(&mut self) {
        self.work_events();
        while self.client.ready() {
            let Some(plan) = self.plans.get(self.begun) else { break };
            self.begin(plan);
        }
        if self.begun == self.plans.len() && self.client.in_flight() == 0 {
            self.client.quit();
        }
        self.send();
    }

    /// Hands out what the client has for the server, with bodies where it has left gaps for them.
    fn send(&mut self) {
        let gaps = std::mem::take(self.client.gaps());
        let bytes = self.client.transmit();
        let mut taken = 0;
        for gap in gaps {
            let body = self.bodies.pop_front().expect("a gap has a body");
            assert_eq!(body.len(), gap.bytes, "it fits the gap");
            self.to_server.extend_from_slice(&bytes[taken..gap.at]);
            self.to_server.extend_from_slice(body);
            taken = gap.at;
        }
        self.to_server.extend_from_slice(&bytes[taken..]);
        bytes.clear();
    }

    fn begin(&mut self, plan: &'a Plan) {
        let recipients: Vec<To<'_>> = plan.recipients.iter().map(|address| To::from(*address)).collect();
        let sender = format!("{}@x.test", self.begun);
        let lines: Vec<&[u8]> = plan.body.split_inclusive(|&byte| byte == b'\n').collect();
        let transaction = Transaction {
            sender: &sender,
            recipients: &recipients,
            body: &lines,
            eight_bit: !plan.body.is_ascii(),
            smtputf8: false,
            dsn_return: DsnReturn::Headers,
            envelope_id: None,
            require_tls: false,
        };
        match self.client.begin(transaction) {
            Ok(number) => {
                assert_eq!(number, self.transactions.len() as u64);
                self.transactions.push(self.begun);
                if self.client.gaps().len() > self.bodies.len() {
                    self.bodies.push_back(&plan.body);
                }
            }
            Err(unsendable) => {
                assert_eq!(unsendable.reply.code, 552, "only the size can stand in the way");
                for index in 0..plan.recipients.len() {
                    self.stories.insert((self.begun, index), Story::NotTried);
                }
            }
        }
        self.begun += 1;
    }

    fn work_events(&mut self) {
        while let Some(event) = self.client.poll() {
            match event {
                ClientEvent::StartTls => self.client.tls_established(),
                ClientEvent::Ready | ClientEvent::Refused { .. } => {}
                ClientEvent::Recipient { transaction, index, phase, reply } => {
                    self.tell(transaction, index, Story::Answered(phase, reply));
                }
                ClientEvent::Untried { reply, .. } => panic!("our server knows BDAT: {reply}"),
                ClientEvent::Done { transaction } => {
                    let plan = self.transactions[transaction as usize];
                    let told = self.stories.range((plan, 0)..(plan + 1, 0)).count();
                    assert_eq!(told, self.plans[plan].recipients.len(), "done means that all is told");
                }
                ClientEvent::Fault(fault) => panic!("our own server broke the protocol: {fault}"),
            }
        }
    }

    fn tell(&mut self, transaction: u64, index: usize, story: Story) {
        let plan = self.transactions[transaction as usize];
        let before = self.stories.insert((plan, index), story);
        assert_eq!(before, None, "recipient {index} of message {plan} has two stories");
    }

    fn work_server(&mut self) {
        loop {
            let (first, count) = self.setting.gate;
            let gated = (first..first + count).contains(&self.received.len());
            let gate = gated.then(|| Reply::enhanced(452, Enhanced(4, 3, 1), "full"));
            self.server.set_mail_gate(gate);
            match self.server.step() {
                Step::NeedInput | Step::AwaitVerdict => break,
                Step::Flush => {}
                Step::Message(message) => self.decide(*message),
                Step::StartTls => {
                    self.to_client.append(self.server.output());
                    self.server.tls_established();
                }
                Step::Authenticate { .. } => panic!("nobody authenticates"),
                Step::Close => {
                    self.finished = self.to_client.is_empty() && self.server.output().is_empty();
                    break;
                }
            }
            self.to_client.append(self.server.output());
        }
        self.to_client.append(self.server.output());
    }

    /// The sender's address tells which plan a message is.
    fn decide(&mut self, message: ReceivedMessage) {
        let sender = message.envelope.sender.as_ref().expect("every plan has a sender");
        let plan: usize = sender.local().parse().expect("a sender is a number");
        assert!(same(&self.plans[plan].body, &message.body), "message {plan} was changed on its way");
        if self.plans[plan].accepted {
            self.server.accept("queued");
            let before = self.received.insert(plan, message);
            assert!(before.is_none(), "message {plan} arrived twice");
        } else {
            self.server.refuse(&Reply::enhanced(554, Enhanced(5, 7, 1), "not wanted"));
        }
    }
}

/// Whether a message arrived as it was sent: an unfinished last line is finished on the way.
fn same(sent: &[u8], received: &[u8]) -> bool {
    received == sent || (received.strip_suffix(b"\r\n") == Some(sent) && !sent.is_empty())
}

fn move_some(buffer: &mut Vec<u8>, count: usize, take: impl FnOnce(&[u8])) {
    let count = count.min(buffer.len());
    take(&buffer[..count]);
    buffer.drain(..count);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_recipient_has_one_story_and_both_sides_tell_it(plans in plans(), setting in settings()) {
        let world = World::new(&plans, &setting).run();
        for &plan in &world.transactions {
            let mut delivered = Vec::new();
            let mut unknown = Vec::new();
            for (index, address) in plans[plan].recipients.iter().enumerate() {
                match world.stories.get(&(plan, index)) {
                    Some(Story::Answered(Phase::Body, reply)) if reply.is_positive() => delivered.push(*address),
                    Some(Story::Answered(_, reply)) => prop_assert!(reply.code >= 400, "{}", reply),
                    Some(Story::Lost { unknown: true }) => unknown.push(*address),
                    Some(Story::Lost { unknown: false }) => {}
                    story => prop_assert!(false, "message {plan}, recipient {index}: {story:?}"),
                }
            }
            prop_assert!(delivered.is_empty() || unknown.is_empty());
            let arrived: Option<Vec<&str>> = world.received.get(&plan).map(|message| {
                message.envelope.recipients.iter().map(|it| it.address.as_str()).collect()
            });
            match arrived {
                None => prop_assert_eq!(delivered.len(), 0, "message {} was delivered to nowhere", plan),
                // Nobody knows of it: only those that the server had taken before are among the recipients.
                Some(arrived) if delivered.is_empty() => {
                    prop_assert!(arrived.iter().all(|address| unknown.contains(address)), "{plan}: {arrived:?}");
                }
                Some(arrived) => prop_assert_eq!(arrived, delivered),
            }
            if setting.breaks.is_none() && setting.errors_max > 100 {
                prop_assert_eq!(unknown.len(), 0, "message {} is unknown although nothing broke", plan);
            }
        }
        if setting.breaks.is_none() && setting.errors_max > 100 {
            prop_assert_eq!(world.stories.len(), plans.iter().map(|plan| plan.recipients.len()).sum::<usize>());
        }
    }

    #[test]
    fn no_bytes_panic_the_server(pieces in proptest::collection::vec(noise(), 0..40), cut in 1usize..20) {
        let config = Config { starttls: true, auth: smtp::server::AuthPolicy::Optional, auth_in_clear: true, ..Config::default() };
        let peer = Peer { ip: Ipv4Addr::LOCALHOST.into(), trusted: true };
        let mut session = Session::new(Arc::new(config), peer);
        for bytes in pieces.concat().chunks(cut) {
            session.feed(bytes);
            for _ in 0..20 {
                match session.step() {
                    Step::NeedInput | Step::Close => break,
                    Step::Flush => session.output().clear(),
                    Step::Message(_) | Step::AwaitVerdict => session.accept("ok"),
                    Step::StartTls => session.tls_established(),
                    Step::Authenticate { .. } => session.authenticated(None),
                }
            }
        }
        prop_assert!(session.output().split(|byte| *byte == b'\n').all(|line| line.len() <= 512));
    }

    #[test]
    fn no_bytes_panic_the_client(pieces in proptest::collection::vec(reply_noise(), 0..40), cut in 1usize..20) {
        let mut config = ClientConfig::new("me.test");
        config.pipeline_depth = 3;
        let mut client = Client::new(config);
        let recipients = [To::from("b@y.test"), To::from("c@y.test")];
        let mut open = 0;
        for bytes in pieces.concat().chunks(cut) {
            client.receive(bytes);
            while let Some(event) = client.poll() {
                match event {
                    ClientEvent::StartTls => client.tls_established(),
                    ClientEvent::Recipient { .. } | ClientEvent::Untried { .. } => open -= 1,
                    _ => {}
                }
            }
            if client.ready() {
                let transaction = Transaction {
                    sender: "",
                    recipients: &recipients,
                    body: &[b"x\r\n"],
                    eight_bit: false,
                    smtputf8: false,
                    dsn_return: DsnReturn::Full,
                    envelope_id: Some("e"),
                    require_tls: false,
                };
                open += client.begin(transaction).map_or(0, |_| recipients.len());
            }
            client.transmit().clear();
        }
        prop_assert_eq!(client.closed().len(), open);
    }
}

/// Lines of a client, mostly sensible.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop_oneof![
            Just("EHLO c\r\n"), Just("MAIL FROM:<a@x.test>\r\n"), Just("RCPT TO:<b@y.test>\r\n"), Just("DATA\r\n"),
            Just("BDAT 4\r\n"), Just("BDAT 9 LAST\r\n"), Just(".\r\n"), Just("..\r\n"), Just("STARTTLS\r\n"),
            Just("AUTH LOGIN\r\n"), Just("YQ==\r\n"), Just("RSET\r\n"), Just("MAIL FROM:<\"a SIZE=1\r\n"),
        ].prop_map(|line| line.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..30),
        1 => proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.')], 1..5),
    ]
}

/// Lines of a server, mostly sensible.
fn reply_noise() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop_oneof![
            4 => Just("250 ok\r\n"), 1 => Just("220 hello\r\n"), 1 => Just("354 go\r\n"), 1 => Just("550 no\r\n"),
            1 => Just("250-a\r\n250-CHUNKING\r\n250 PIPELINING\r\n"), 1 => Just("250-a\r\n250 STARTTLS\r\n"),
        ].prop_map(|line: &str| line.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..30),
        1 => Just(b"421 bye\r\n".to_vec()),
    ]
}
