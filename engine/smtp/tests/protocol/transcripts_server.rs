//! Transcripts of the server: `C` the client says, `S` the server answers, `V` the shell does; `M` a message, `T` STARTTLS,
//! `A` credentials, `Q` a question, `X` the end are what the shell is told of.

use std::net::Ipv4Addr;
use std::sync::Arc;

use mail::{Enhanced, Envelope, Reply, TlsWish};
use smtp::server::{AuthPolicy, Config, Limits, Peer, Question, ReceivedMessage, Session, Step, Verdicts};

use crate::conversation::{Side, play_all};
use crate::script::{Case, cases, escape, sent_lines};

#[test]
fn sessions_go_as_written() {
    play_all(&cases("server_session"), 'C', server);
}

#[test]
fn messages_come_in_as_written() {
    play_all(&cases("server_message"), 'C', server);
}

#[test]
fn smuggling_fails_as_written() {
    play_all(&cases("server_smuggling"), 'C', server);
}

#[test]
fn authentication_goes_as_written() {
    play_all(&cases("server_auth"), 'C', server);
}

#[test]
fn questions_halt_the_session_as_written() {
    play_all(&cases("server_verdicts"), 'C', server);
}

/// The settings of a case as a session.
fn server(case: &Case) -> Server {
    let number =
        |key: &str, default: usize| case.setting(key).map_or(default, |text| text.parse().expect("a number"));
    let limits = Limits::default();
    let config = Config {
        hostname: "mx.test".into(),
        limits: Limits {
            line_bytes: number("line", limits.line_bytes),
            header_bytes: number("header", limits.header_bytes),
            message_bytes: number("message", 1000) as u64,
            recipients: number("recipients", 100),
            errors: number("errors", limits.errors),
            ..limits
        },
        starttls: case.is_set("starttls"),
        auth: match case.setting("auth") {
            Some("optional") => AuthPolicy::Optional,
            Some("required") => AuthPolicy::Required,
            _ => AuthPolicy::Off,
        },
        auth_in_clear: case.is_set("clear"),
    };
    let peer = Peer { ip: Ipv4Addr::LOCALHOST.into(), trusted: case.setting("trusted") != Some("no") };
    let asked = |word: &str| case.setting("ask").is_some_and(|words| words.split(',').any(|it| it == word));
    let verdicts = Verdicts { greeting: asked("greeting"), mail: asked("mail"), recipient: asked("rcpt") };
    let session = Session::with_verdicts(Arc::new(config), peer, verdicts);
    Server { session, idle: String::new(), asked: String::new() }
}

struct Server {
    session: Session,
    /// The step that repeats while nothing happens.
    idle: String,
    /// The question that was asked last.
    asked: String,
}

impl Server {
    fn pump(&mut self) -> Vec<(char, String)> {
        let mut seen = Vec::new();
        loop {
            let step = self.session.step();
            let output = std::mem::take(self.session.output());
            seen.extend(sent_lines(&output).into_iter().map(|line| ('S', line)));
            let (kind, text) = match step {
                Step::NeedInput => break,
                Step::AwaitVerdict => {
                    let question = self.session.question().map(question).unwrap_or_default();
                    if question == self.asked {
                        break;
                    }
                    self.asked.clone_from(&question);
                    ('Q', question)
                }
                Step::Flush => continue,
                Step::Message(message) => ('M', shown(&message)),
                Step::StartTls => ('T', String::new()),
                Step::Authenticate { identity, password } => ('A', format!("{identity} {password}")),
                Step::Close => ('X', String::new()),
            };
            let repeats = matches!(kind, 'T' | 'X');
            if repeats && self.idle == kind.to_string() {
                break;
            }
            self.idle = kind.to_string();
            seen.push((kind, text));
            if repeats {
                break;
            }
        }
        seen
    }
}

fn question(question: Question<'_>) -> String {
    let said = |envelope: &Envelope| {
        let sender = envelope.sender.as_ref().map_or("<>", |sender| sender.as_str());
        let taken: Vec<&str> = envelope.recipients.iter().map(|it| it.address.as_str()).collect();
        format!("{sender} -> [{}]", taken.join(","))
    };
    match question {
        Question::Greeting => "greeting".to_owned(),
        Question::Mail(envelope) => format!("mail {}", said(envelope)),
        Question::Recipient(envelope, recipient) => format!("rcpt {} {}", said(envelope), recipient.address),
    }
}

fn shown(message: &ReceivedMessage) -> String {
    let envelope = &message.envelope;
    let sender = envelope.sender.as_ref().map_or("<>", |sender| sender.as_str());
    let recipients: Vec<&str> = envelope.recipients.iter().map(|it| it.address.as_str()).collect();
    let account = message.account.as_deref().map(|name| format!(" as {name}")).unwrap_or_default();
    let eight_bit = if message.body.is_ascii() { "" } else { " 8bit" };
    let require_tls = if envelope.tls == TlsWish::Required { " requiretls" } else { "" };
    format!(
        "{sender} -> {} with {} from {}{account}{eight_bit}{require_tls}: {}",
        recipients.join(","),
        message.with,
        message.helo,
        escape(&message.body)
    )
}

impl Side for Server {
    fn hear(&mut self, bytes: &[u8]) -> Vec<(char, String)> {
        self.session.feed(bytes);
        self.pump()
    }

    fn obey(&mut self, order: &str) -> Vec<(char, String)> {
        let (verb, rest) = order.split_once(' ').unwrap_or((order, ""));
        match verb {
            "go" => {
                self.asked.clear();
                self.session.go_on();
            }
            "answer" => {
                self.asked.clear();
                self.session.answer(&reply(rest));
            }
            "accept" => self.session.accept(rest),
            "refuse" => self.session.refuse(&reply(rest)),
            "gate" => self.session.set_mail_gate((!rest.is_empty()).then(|| reply(rest))),
            "tls" => self.session.tls_established(),
            "authenticated" => self.session.authenticated(Some(rest.to_owned())),
            "denied" => self.session.authenticated(None),
            "unchecked" => self.session.refuse_authentication(&reply(rest)),
            "close" => self.session.close(&reply(rest)),
            _ => panic!("unknown order {order:?}"),
        }
        self.pump()
    }
}

fn reply(text: &str) -> Reply {
    let mut words = text.splitn(3, ' ');
    let code = words.next().and_then(|word| word.parse().ok()).expect("a code");
    let enhanced = words.next().and_then(Enhanced::parse).expect("an enhanced code");
    Reply::enhanced(code, enhanced, words.next().unwrap_or_default())
}
