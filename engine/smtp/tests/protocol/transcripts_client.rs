//! Transcripts of the client: `S` the server says, `C` the client sends, `V` the shell does; `E` an event, `L` a lost
//! recipient.

use mail::{DsnReturn, Phase, Reply, Secret};
use smtp::client::{
    Client, ClientConfig, ClientEvent, ClientFault, Login, Protocol, TlsWanted, To, Transaction,
};

use crate::conversation::{Side, play_all};
use crate::script::{Case, bytes, cases, sent_lines};

#[test]
fn sessions_open_and_end_as_written() {
    play_all(&cases("client_session"), 'S', client);
}

#[test]
fn transactions_go_as_written() {
    play_all(&cases("client_transaction"), 'S', client);
}

#[test]
fn pipelines_go_as_written() {
    play_all(&cases("client_pipeline"), 'S', client);
}

#[test]
fn odd_servers_are_met_as_written() {
    play_all(&cases("client_quirks"), 'S', client);
}

#[test]
fn lmtp_goes_as_written() {
    play_all(&cases("client_lmtp"), 'S', client);
}

#[test]
fn logins_go_as_written() {
    play_all(&cases("client_login"), 'S', client);
}

fn client(case: &Case) -> Sender {
    let mut config = ClientConfig::new("me.test");
    config.tls = match case.setting("tls") {
        Some("required") => TlsWanted::Required,
        Some("off") => TlsWanted::Off,
        _ => TlsWanted::Opportunistic,
    };
    config.pipelining = case.setting("pipelining") != Some("no");
    config.chunking = case.setting("chunking") != Some("no");
    config.pipeline_depth = case.setting("depth").map_or(1, |text| text.parse().expect("a number"));
    config.reply_bytes_max = 500;
    if case.setting("protocol") == Some("lmtp") {
        config.protocol = Protocol::Lmtp;
    }
    config.login =
        case.setting("login").and_then(|login| login.split_once(':')).map(|(name, password)| Login {
            username: name.to_owned(),
            password: Secret::new(password),
            in_clear: case.is_set("clear"),
            nonce: "rOprNGfwEbeRWgbNEkqO".to_owned(),
        });
    Sender { client: Client::new(config), stuck: false }
}

struct Sender {
    client: Client,
    /// The connection takes no bytes.
    stuck: bool,
}

impl Sender {
    fn pump(&mut self) -> Vec<(char, String)> {
        let mut seen = Vec::new();
        while let Some(event) = self.client.poll() {
            seen.push(('E', shown(&event)));
        }
        if !self.stuck {
            seen.extend(self.take(usize::MAX));
        }
        seen
    }

    /// The connection takes `bytes`.
    fn take(&mut self, bytes: usize) -> Vec<(char, String)> {
        let outgoing = self.client.transmit();
        let sent: Vec<u8> = outgoing.drain(..bytes.min(outgoing.len())).collect();
        sent_lines(&sent).into_iter().map(|line| ('C', line)).collect()
    }

    /// `begin sender recipient,recipient body`
    fn begin(&mut self, arguments: &str, require_tls: bool) -> Vec<(char, String)> {
        let mut words = arguments.splitn(3, ' ');
        let sender = words.next().unwrap_or_default().trim_matches(['<', '>']);
        let recipients: Vec<To<'_>> = words.next().unwrap_or_default().split(',').map(To::from).collect();
        let body = bytes(words.next().unwrap_or_default());
        let transaction = Transaction {
            sender,
            recipients: &recipients,
            body: &[&body],
            eight_bit: !body.is_ascii(),
            smtputf8: false,
            dsn_return: DsnReturn::Headers,
            envelope_id: None,
            require_tls,
        };
        match self.client.begin(transaction) {
            Ok(_) => self.pump(),
            Err(unsendable) => vec![('E', format!("unsendable {unsendable}"))],
        }
    }
}

impl Side for Sender {
    fn hear(&mut self, bytes: &[u8]) -> Vec<(char, String)> {
        self.client.receive(bytes);
        self.pump()
    }

    fn obey(&mut self, order: &str) -> Vec<(char, String)> {
        let (verb, rest) = order.split_once(' ').unwrap_or((order, ""));
        match verb {
            "begin" => return self.begin(rest, false),
            "begin-requiretls" => return self.begin(rest, true),
            "tls" => self.client.tls_established(),
            "authentic" => self.client.set_tls_authenticated(true),
            "stick" => self.stuck = true,
            "take" => return self.take(rest.parse().expect("a number")),
            "quit" => self.client.quit(),
            "closed" => {
                let lost = self.client.closed();
                assert!(self.client.is_over());
                return lost
                    .iter()
                    .map(|it| {
                        let unknown = if it.unknown { " unknown" } else { "" };
                        ('L', format!("{}.{} {}{unknown}", it.transaction, it.index, it.phase.name()))
                    })
                    .collect();
            }
            "ready?" => return vec![('E', format!("ready={}", self.client.ready()))],
            "deaf?" => return vec![('E', format!("deaf={}", self.client.may_lack_pipelining()))],
            "over?" => return vec![('E', format!("over={}", self.client.is_over()))],
            "spent?" => return vec![('E', format!("spent={}", self.client.is_spent()))],
            "awaits?" => {
                let awaited = self.client.awaits().map_or("nothing", Phase::name);
                return vec![('E', format!("awaits={awaited} {}s", self.client.timeout().as_secs()))];
            }
            "unstick" => self.stuck = false,
            _ => panic!("unknown order {order:?}"),
        }
        self.pump()
    }
}

fn shown(event: &ClientEvent) -> String {
    let with = |phase: Phase, reply: &Reply| format!("{} {reply}", phase.name());
    match event {
        ClientEvent::StartTls => "starttls".into(),
        ClientEvent::Ready => "ready".into(),
        ClientEvent::Refused { phase, reply } => format!("refused {}", with(*phase, reply)),
        ClientEvent::Recipient { transaction, index, phase, reply } => {
            format!("{transaction}.{index} {}", with(*phase, reply))
        }
        ClientEvent::Untried { transaction, index, reply } => {
            format!("{transaction}.{index} untried {reply}")
        }
        ClientEvent::Done { transaction } => format!("{transaction} done"),
        ClientEvent::Fault(ClientFault::Garbage(line)) => format!("garbage {line}"),
        ClientEvent::Fault(ClientFault::ReplyTooLong { bytes_max }) => format!("too long {bytes_max}"),
        ClientEvent::Fault(ClientFault::Inconsistent(reply)) => format!("inconsistent {reply}"),
        ClientEvent::Fault(ClientFault::NoChunking(reply)) => format!("no chunking {reply}"),
        ClientEvent::Fault(ClientFault::Impostor(why)) => format!("impostor: {why}"),
        ClientEvent::Fault(ClientFault::Unexpected { phase, reply }) => {
            format!("unexpected {}", with(*phase, reply))
        }
    }
}
