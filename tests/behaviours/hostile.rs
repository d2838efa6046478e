//! Receivers that break the protocol, once each: every way to do it, at every step, for servers that offer much or
//! little. Whatever they do, each message arrives, once unless its receiver has hidden that it took it, and nobody
//! else's mail is touched.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::house::{House, message};

/// What a receiver says instead of its reply, and whether it hangs up then.
#[derive(Clone, Copy, Debug)]
enum Rudeness {
    /// Something else, and the connection goes on.
    Says(&'static [u8]),
    /// Something else or nothing, and the connection ends.
    Leaves(&'static [u8]),
    /// One line without an end, until the client is gone.
    Babbles,
    /// Continuation lines without a last one, until the client is gone.
    Floods,
}

use Rudeness::{Babbles, Floods, Leaves, Says};

const RUDENESSES: [Rudeness; 18] = [
    Says(b"421 4.3.2 going down\r\n"),
    Says(b"450 4.3.0 not now\r\n"),
    Says(b"999 what\r\n"),
    Says(b"099 what\r\n"),
    Says(b"150 wait\r\n"),
    Says(b"hello there\r\n"),
    Says(b"\r\n"),
    Says(b"250-one\r\n451-4.3.0 two\r\n451 4.3.0 three\r\n"),
    Says(b"451 4.3.0 nul \0 and \xff\xfe\r\n"),
    Says(b"451 4.3.0 ends with LF\n"),
    Says(b"4"),
    Leaves(b""),
    Leaves(b"25"),
    Leaves(b"421 4.3.2 bye\r\n"),
    Leaves(b"451 4.3.0 bye\r\n"),
    Leaves(b"250-half a reply\r\n"),
    Babbles,
    Floods,
];

const STEPS: [&str; 6] = ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "BODY"];
const OFFERS: [&str; 3] = ["250-PIPELINING\r\n250-CHUNKING\r\n", "250-PIPELINING\r\n", ""];

/// One receiver.
struct Receiver {
    offers: &'static str,
    step: &'static str,
    rudeness: Rudeness,
    /// It has been rude already.
    is_tame: AtomicBool,
    kept: AtomicUsize,
    /// Bytes that a client has let it say without an end.
    babbled: Arc<AtomicUsize>,
}

impl Receiver {
    fn start(self: Arc<Self>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let receiver = Arc::clone(&self);
                std::thread::spawn(move || receiver.serve(BufReader::new(stream)));
            }
        });
        address
    }

    /// Says `reply`, or what is said instead at this step; `None` when the connection is over.
    fn say(&self, stream: &mut TcpStream, step: &str, reply: &str) -> Option<()> {
        if step != self.step || self.is_tame.swap(true, Ordering::Relaxed) {
            return stream.write_all(reply.as_bytes()).ok();
        }
        match self.rudeness {
            Says(bytes) => stream.write_all(bytes).ok(),
            Leaves(bytes) => {
                let _ = stream.write_all(bytes);
                None
            }
            Babbles => self.babble(stream, &[b'2'; 4096]),
            Floods => self.babble(stream, &b"250-and another line of this reply\r\n".repeat(100)),
        }
    }

    fn babble(&self, stream: &mut TcpStream, piece: &[u8]) -> Option<()> {
        stream.set_write_timeout(Some(Duration::from_secs(20))).ok()?;
        while stream.write_all(piece).is_ok() {
            self.babbled.fetch_add(piece.len(), Ordering::Relaxed);
        }
        None
    }

    fn serve(&self, mut reader: BufReader<TcpStream>) -> Option<()> {
        self.say(reader.get_mut(), "CONNECT", "220 there.test\r\n")?;
        let (mut line, mut has_sender, mut recipients) = (String::new(), false, 0);
        loop {
            line.clear();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            let reply = match verb.as_str() {
                "EHLO" => format!("250-there.test\r\n{}250 8BITMIME\r\n", self.offers),
                "MAIL" | "RSET" => {
                    (has_sender, recipients) = (verb == "MAIL", 0);
                    "250 ok\r\n".to_owned()
                }
                "RCPT" if has_sender => {
                    recipients += 1;
                    "250 ok\r\n".to_owned()
                }
                "DATA" if recipients > 0 => "354 go on\r\n".to_owned(),
                "BDAT" => {
                    let bytes: usize = line.split_whitespace().nth(1)?.parse().ok()?;
                    std::io::copy(&mut reader.by_ref().take(bytes as u64), &mut std::io::sink()).ok()?;
                    self.end(reader.get_mut(), &mut recipients)?;
                    continue;
                }
                "QUIT" => return reader.get_mut().write_all(b"221 bye\r\n").ok(),
                _ => "503 what\r\n".to_owned(),
            };
            // What it refuses is not there: the client must see that, whatever was said.
            let was_tame = self.is_tame.load(Ordering::Relaxed);
            self.say(reader.get_mut(), &verb, &reply)?;
            if !was_tame && self.is_tame.load(Ordering::Relaxed) {
                (has_sender, recipients) = (has_sender && verb != "MAIL", 0);
                continue;
            }
            if reply.starts_with("354") {
                while reader.read_line(&mut line).ok()? > 0 && !line.ends_with("\r\n.\r\n") && line != ".\r\n"
                {
                }
                self.end(reader.get_mut(), &mut recipients)?;
            }
        }
    }

    /// The message is there: it is kept, and then told so.
    fn end(&self, stream: &mut TcpStream, recipients: &mut usize) -> Option<()> {
        if std::mem::take(recipients) == 0 {
            return stream.write_all(b"503 no recipients\r\n").ok();
        }
        let is_rude = self.step == "BODY" && !self.is_tame.load(Ordering::Relaxed);
        if !is_rude {
            self.kept.fetch_add(1, Ordering::Relaxed);
        }
        self.say(stream, "BODY", "250 taken\r\n")
    }
}

fn receivers() -> Vec<Arc<Receiver>> {
    let mut all = Vec::new();
    for offers in OFFERS {
        for step in STEPS {
            // With CHUNKING nobody says DATA.
            for rudeness in RUDENESSES.into_iter().filter(|_| step != "DATA" || !offers.contains("CHUNKING"))
            {
                all.push(Arc::new(Receiver {
                    offers,
                    step,
                    rudeness,
                    is_tame: AtomicBool::new(false),
                    kept: AtomicUsize::new(0),
                    babbled: Arc::default(),
                }));
            }
        }
    }
    all
}

/// What a step that hangs would need: the patience of RFC 5321 is minutes, so the tests have less.
const LIMITS: &str = "[deliver]\nreply_timeout = \"2s\"\n[class.transactional]\nretry = [\"1s\"]\n\
                      [provider.routed]\npipeline_depth = 4\n";

#[test]
fn every_rudeness_at_every_step_costs_nobody_a_message() {
    let receivers = receivers();
    let mut text = LIMITS.to_owned();
    for (index, receiver) in receivers.iter().enumerate() {
        let address = Arc::clone(receiver).start();
        let _ =
            write!(text, "[[route]]\ndomain = \"d{index}.test\"\nhosts = [\"{address}\"]\ntls = \"off\"\n");
    }
    let house = House::start(&text);
    let mut client = house.client();
    for index in 0..receivers.len() {
        client.send("", &[&format!("bob@d{index}.test")], &message("x"));
    }
    for n in 0..50 {
        client.send("ann@sender.test", &[&format!("r{n}@good.test")], &message("x"));
    }
    house.sink.wait_for(50, Duration::from_secs(5));
    let count = receivers.len() as u64 + 50;
    let began = Instant::now();
    let ledger = house.wait_ledger("all told", |ledger| {
        ledger.delivered == count || began.elapsed() > Duration::from_secs(28)
    });
    let mut wrong = Vec::new();
    for receiver in &receivers {
        let kept = receiver.kept.load(Ordering::Relaxed);
        let babbled = receiver.babbled.load(Ordering::Relaxed);
        // What the kernel's buffers of both sides hold counts too.
        if kept != 1 || babbled > 16 << 20 {
            let (step, rudeness) = (receiver.step, receiver.rudeness);
            let offers = receiver.offers.replace("\r\n", " ");
            wrong.push(format!("{step} {rudeness:?} ({offers}): kept {kept}, babbled {babbled}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{ledger:?}");
    assert_eq!((ledger.delivered, ledger.bounced), (count, 0));
}
