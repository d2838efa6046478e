//! The SMTP client hears what a server might say, in any order and cut, while its shell begins transactions, hands out
//! some of what is to be sent, makes handshakes and gives up. The first byte chooses how it is set up.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use mail::{DsnReturn, Phase, Reply, Secret};
use memchr::memmem;
use smtp::client::{Client, ClientConfig, ClientEvent, Login, Protocol, TlsWanted, To, Transaction};
use staffetta_fuzz::input::Input;

const REPLY_BYTES_MAX: usize = 300;
const PASSWORD: &str = "opensesame";
/// It in base64, as AUTH says it.
const PASSWORD_BASE64: &str = "b3BlbnNlc2FtZQ==";
const RECIPIENTS: [&str; 4] = ["a@y.test", "b@y.test", "grå@y.test", "\"q q\"@y.test"];
/// What servers say, so that the fuzzer need not find it out.
const LINES: [&[u8]; 24] = [
    b"220 mx.test\r\n",
    b"250 ok\r\n",
    b"250 2.1.0 ok\r\n",
    b"250-mx.test\r\n250-CHUNKING\r\n250-SIZE 900\r\n250-SMTPUTF8\r\n250 PIPELINING\r\n",
    b"250-mx.test\r\n250-PIPELINING\r\n250 DSN\r\n",
    b"250-mx.test\r\n250-STARTTLS\r\n250-CHUNKING\r\n250-PIPELINING\r\n250 REQUIRETLS\r\n",
    b"250-mx.test\r\n250-AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n250-CHUNKING\r\n250 PIPELINING\r\n",
    b"250-mx.test\r\n250-AUTH LOGIN\r\n250 LIMITS MAILMAX=3 RCPTMAX=2\r\n",
    b"250-mx.test\r\n250 STARTTLS\r\n",
    b"354 go\r\n",
    b"550 5.1.1 no such user\r\n",
    b"452 4.5.3 too many recipients\r\n",
    b"451 4.7.1 later\r\n",
    b"500 what\r\n",
    b"503 5.5.1 bad sequence\r\n",
    b"421 4.3.2 bye\r\n",
    b"334 \r\n",
    b"334 VXNlcm5hbWU6\r\n",
    b"235 welcome\r\n",
    b"535 5.7.8 no\r\n",
    b"250-half a reply\r\n",
    b"221 bye\r\n",
    b"199 odd\r\n",
    b"250 ok\r\n250 ok\r\n250 ok\r\n",
];

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let mut shell = Shell::new(input.u8());
    while !input.is_empty() {
        shell.step(&mut input);
    }
    shell.give_up();
});

struct Shell {
    client: Client,
    /// All that was handed out for sending.
    sent: Vec<u8>,
    /// Final lines of replies that were fed.
    replies: usize,
    /// The unfinished line that was fed last.
    line: Vec<u8>,
    /// Of each transaction: its recipients without an event, how many there were, and how many replies came before it.
    open: BTreeMap<u64, (Vec<bool>, usize)>,
    over: bool,
    /// One long message is enough.
    had_long: bool,
}

impl Shell {
    fn new(setting: u8) -> Self {
        let mut config = ClientConfig::new("me.test");
        config.pipelining = setting & 1 == 0;
        config.chunking = setting & 2 == 0;
        config.pipeline_depth = [1, 2, 3, 8][usize::from(setting >> 2 & 3)];
        config.tls =
            [TlsWanted::Opportunistic, TlsWanted::Off, TlsWanted::Required, TlsWanted::Opportunistic]
                [usize::from(setting >> 4 & 3)];
        config.reply_bytes_max = REPLY_BYTES_MAX;
        config.protocol = if setting & 64 == 0 { Protocol::Smtp } else { Protocol::Lmtp };
        config.login = (setting & 128 != 0).then(|| Login {
            username: "u".to_owned(),
            password: Secret::new(PASSWORD),
            in_clear: true,
            nonce: "0123456789abcdef0123".to_owned(),
        });
        let open = BTreeMap::new();
        Self {
            client: Client::new(config),
            sent: Vec::new(),
            replies: 0,
            line: Vec::new(),
            open,
            over: false,
            had_long: false,
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let order = input.u8();
        match order {
            0..128 => {
                let line = LINES[usize::from(order) % LINES.len()];
                self.take(usize::MAX);
                self.hear(line);
            }
            128..160 => self.hear(LINES[usize::from(order) % LINES.len()]),
            160..176 => {
                let count = usize::from(input.u8());
                self.hear(input.take(count));
            }
            176..208 => self.begin(order, input),
            208..216 => self.take(usize::from(input.u8())),
            216..224 => self.take(usize::MAX),
            224..232 => self.client.tls_established(),
            232..236 => self.client.set_tls_authenticated(order & 1 == 0),
            236..240 => self.client.quit(),
            240..244 => self.look(),
            // A long message is not sent before its envelope is accepted.
            244 if !self.had_long => {
                self.had_long = true;
                self.begin_with(2, 1024 * 1024, false);
            }
            245 => self.hear(&[b'2'; REPLY_BYTES_MAX + 1]),
            _ => {
                self.take(usize::MAX);
                self.hear(b"250 ok\r\n");
            }
        }
        self.work_events();
    }

    fn begin(&mut self, order: u8, input: &mut Input<'_>) {
        let recipients = usize::from(order & 3) + 1;
        self.begin_with(recipients, usize::from(input.u8()) * 4, order & 16 != 0);
    }

    fn begin_with(&mut self, recipients: usize, filler: usize, require_tls: bool) {
        if !self.client.ready() {
            return;
        }
        let recipients: Vec<To<'_>> = RECIPIENTS[..recipients].iter().map(|to| To::from(*to)).collect();
        // The last line tells which transaction it is, wherever the text is cut or stuffed.
        let number = self.open.len();
        let body = format!("{}\r\n.\r\n..dots\r\nEND{number}.\r\n", ".".repeat(filler));
        let sender = format!("s{number}@x.test");
        let transaction = Transaction {
            sender: &sender,
            recipients: &recipients,
            body: &[body.as_bytes()],
            eight_bit: false,
            smtputf8: false,
            dsn_return: DsnReturn::Headers,
            envelope_id: None,
            require_tls,
        };
        if let Ok(begun) = self.client.begin(transaction) {
            assert_eq!(begun, number as u64, "transactions are counted");
            self.open.insert(begun, (vec![false; recipients.len()], self.replies));
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.line.push(*byte);
            if *byte == b'\n' {
                self.replies += usize::from(self.line.get(3) != Some(&b'-'));
                self.line.clear();
            }
        }
        self.client.receive(bytes);
    }

    fn take(&mut self, bytes: usize) {
        let outgoing = self.client.transmit();
        self.sent.extend(outgoing.drain(..bytes.min(outgoing.len())));
    }

    /// What may be asked at any time.
    fn look(&self) {
        // It shows whole messages too.
        if !self.had_long {
            let shown = format!("{:?}", self.client);
            assert!(!shown.contains(PASSWORD) && !shown.contains(PASSWORD_BASE64), "the password is shown");
        }
        assert!(self.client.timeout().as_secs() > 0);
        assert!(self.client.in_flight() <= 8);
        let _ = (self.client.awaits(), self.client.may_lack_pipelining(), self.client.is_spent());
    }

    fn work_events(&mut self) {
        while let Some(event) = self.client.poll() {
            assert!(!self.over, "{event:?} after the end");
            match event {
                ClientEvent::Recipient { transaction, index, phase, reply } => {
                    self.check_begun(transaction, &reply);
                    if phase == Phase::Body && reply.is_positive() {
                        self.check_delivered(transaction, &reply);
                    }
                    self.tell(transaction, index);
                }
                ClientEvent::Untried { transaction, index, .. } => self.tell(transaction, index),
                ClientEvent::Done { transaction } => {
                    assert!(
                        self.open[&transaction].0.iter().all(|told| *told),
                        "done means that all is told"
                    );
                }
                ClientEvent::Refused { .. } | ClientEvent::Fault(_) => {
                    assert!(self.client.is_over());
                    self.over = true;
                }
                ClientEvent::StartTls | ClientEvent::Ready => {}
            }
        }
    }

    fn tell(&mut self, transaction: u64, index: usize) {
        let told = &mut self.open.get_mut(&transaction).expect("it was begun").0[index];
        assert!(!std::mem::replace(told, true), "recipient {index} of {transaction} has two stories");
    }

    /// Its MAIL was handed out: nothing can have answered it before. 421 may come at any time.
    fn check_begun(&self, transaction: u64, reply: &Reply) {
        let mail = format!("MAIL FROM:<s{transaction}@x.test>");
        let is_sent = memmem::find(&self.sent, mail.as_bytes()).is_some();
        assert!(is_sent || reply.code == 421, "{reply}: answered before it was asked");
    }

    /// Its last line was handed out, and MAIL, each RCPT and the message had their replies.
    fn check_delivered(&self, transaction: u64, reply: &Reply) {
        let (told, before) = &self.open[&transaction];
        let end = format!("END{transaction}.\r\n");
        assert!(memmem::find(&self.sent, end.as_bytes()).is_some(), "{reply}: delivered what was not sent");
        assert!(self.replies - before >= told.len() + 2, "{reply}: delivered by a reply to something else");
    }

    /// The connection breaks: all that had no event is named lost.
    fn give_up(mut self) {
        self.look();
        for lost in self.client.closed() {
            self.tell(lost.transaction, lost.index);
        }
        assert!(self.client.is_over() && self.client.closed().is_empty());
        for (transaction, (told, _)) in &self.open {
            assert!(told.iter().all(|told| *told), "a recipient of {transaction} is forgotten");
        }
    }
}
