//! A receiver that does what the recipient's name says: `refuse-…` is unknown, `later-…` is put off once, `full-…` has no
//! room, `drop-…` is put off and the connection cut before the message is answered, everybody else is taken, unless the sender is `nospf@…`. It speaks plain SMTP from a thread
//! per connection and remembers everything.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One message that was taken for one recipient.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) body: String,
    pub(crate) client: IpAddr,
    pub(crate) at: Instant,
}

/// How a receiver treats everybody.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) greeting: &'static str,
    /// One more line of its reply to EHLO.
    pub(crate) offers: &'static str,
    /// What it says to MAIL before it closes the connection.
    pub(crate) hangs_up: Option<&'static str>,
    /// Whether it offers CHUNKING.
    pub(crate) chunking: bool,
    /// How many recipients it takes in one transaction.
    pub(crate) recipients_max: usize,
    /// The last line of its reply to EHLO.
    pub(crate) last_offer: &'static str,
    /// A limit that it tells nobody of: recipients a second; 0 is none.
    pub(crate) rate_max: u32,
    /// The client that it refuses everything from.
    pub(crate) blocks: Option<[u8; 4]>,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            greeting: "220 sink.test ESMTP",
            offers: "SIZE",
            hangs_up: None,
            chunking: true,
            recipients_max: 1000,
            last_offer: "8BITMIME",
            rate_max: 0,
            blocks: None,
        }
    }
}

#[derive(Default)]
struct Seen {
    taken: Vec<Taken>,
    connections: usize,
    transactions: usize,
    put_off: HashMap<String, usize>,
    asked: Vec<String>,
    /// The second that is counted, and the recipients in it.
    second: (u64, u32),
    over_rate: usize,
    /// Mailboxes of `full-…` that have been emptied.
    is_emptied: bool,
}

impl Seen {
    /// Whether one more is within a rate.
    fn within(&mut self, began: Instant, rate_max: u32) -> bool {
        let second = began.elapsed().as_secs();
        if self.second.0 != second {
            self.second = (second, 0);
        }
        self.second.1 += 1;
        let is_within = rate_max == 0 || self.second.1 <= rate_max;
        self.over_rate += usize::from(!is_within);
        is_within
    }
}

/// A running receiver; it ends with the test's process.
#[derive(Clone)]
pub(crate) struct Sink {
    address: SocketAddr,
    began: Instant,
    seen: Arc<Mutex<Seen>>,
}

impl Sink {
    pub(crate) fn start() -> Self {
        Self::with(Manner::default())
    }

    pub(crate) fn with(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let sink = Self { address, began: Instant::now(), seen: Arc::default() };
        let began = sink.began;
        let seen = Arc::clone(&sink.seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                seen.lock().expect("no panic").connections += 1;
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || Session::new(stream, seen, (manner, began)).map(Session::run));
            }
        });
        sink
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.seen.lock().expect("no panic").taken.clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().expect("no panic").taken.len()
    }

    /// Every recipient that was named in RCPT, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.seen.lock().expect("no panic").asked.clone()
    }

    /// How often it has refused somebody for its rate.
    pub(crate) fn over_rate(&self) -> usize {
        self.seen.lock().expect("no panic").over_rate
    }

    /// The mailboxes of `full-…` have room from now on.
    pub(crate) fn empty_mailboxes(&self) {
        self.seen.lock().expect("no panic").is_emptied = true;
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().expect("no panic").connections
    }

    /// Messages that were taken, each for one recipient or more.
    pub(crate) fn transactions(&self) -> usize {
        self.seen.lock().expect("no panic").transactions
    }

    /// Waits until `count` messages were taken.
    pub(crate) fn wait_for(&self, count: usize, patience: Duration) -> Vec<Taken> {
        let began = Instant::now();
        while self.count() < count && began.elapsed() < patience {
            std::thread::sleep(Duration::from_millis(5));
        }
        let taken = self.taken();
        assert!(taken.len() >= count, "{} of {count} messages arrived in {patience:?}", taken.len());
        taken
    }
}

struct Session {
    reader: BufReader<TcpStream>,
    client: IpAddr,
    seen: Arc<Mutex<Seen>>,
    manner: Manner,
    /// When the receiver was started.
    began: Instant,
    from: String,
    to: Vec<String>,
    /// The connection is cut when the message has come.
    cuts: bool,
}

impl Session {
    fn new(
        stream: TcpStream,
        seen: Arc<Mutex<Seen>>,
        (manner, began): (Manner, Instant),
    ) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        let client = stream.peer_addr()?.ip();
        let (from, to) = (String::new(), Vec::new());
        Ok(Self { reader: BufReader::new(stream), client, seen, manner, began, from, to, cuts: false })
    }

    fn say(&mut self, reply: &str) -> Option<()> {
        self.reader.get_mut().write_all(format!("{reply}\r\n").as_bytes()).ok()
    }

    fn run(mut self) -> Option<()> {
        self.say(self.manner.greeting)?;
        let mut line = String::new();
        loop {
            line.clear();
            if self.reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let upper = line.trim_end().to_ascii_uppercase();
            match upper.split([' ', ':']).next().unwrap_or_default() {
                "EHLO" => {
                    let (offers, last) = (self.manner.offers, self.manner.last_offer);
                    let chunking = if self.manner.chunking { "250-CHUNKING\r\n" } else { "" };
                    self.say(&format!(
                        "250-sink.test\r\n250-PIPELINING\r\n{chunking}250-{offers}\r\n250 {last}"
                    ))?;
                }
                "MAIL" => {
                    if let Some(reply) = self.manner.hangs_up {
                        return self.say(reply);
                    }
                    self.from = path_of(&line);
                    self.to.clear();
                    if self.is_blocked() {
                        self.say("554 5.7.1 Service unavailable; Client host blocked using bl.test")?;
                        continue;
                    }
                    let accepted = !self.from.starts_with("nospf@");
                    self.say(if accepted { "250 2.1.0 ok" } else { "550 5.7.23 SPF validation failed" })?;
                }
                "RCPT" => self.recipient(&path_of(&line))?,
                "BDAT" => self.chunk(&upper)?,
                "DATA" if !self.manner.chunking && !self.to.is_empty() => self.data()?,
                "RSET" | "NOOP" => self.say("250 2.0.0 ok")?,
                "QUIT" => return self.say("221 2.0.0 bye"),
                _ => self.say("502 5.5.1 what?")?,
            }
        }
    }

    fn is_blocked(&self) -> bool {
        self.manner.blocks.is_some_and(|blocked| self.client == IpAddr::from(blocked))
    }

    fn recipient(&mut self, to: &str) -> Option<()> {
        if self.is_blocked() {
            return self.say("503 5.5.1 no sender");
        }
        self.seen.lock().expect("no panic").asked.push(to.to_owned());
        if to.starts_with("drop") {
            self.cuts = true;
            return self.say("450 4.2.0 later");
        }
        if !self.seen.lock().expect("no panic").within(self.began, self.manner.rate_max) {
            return self.say("450 4.7.0 Rate limit exceeded, slow down");
        }
        if to.starts_with("full") && !self.seen.lock().expect("no panic").is_emptied {
            return self.say("452 4.2.2 The mailbox is full");
        }
        if to.starts_with("refuse") {
            return self.say("550 5.1.1 no such user here");
        }
        if to.starts_with("later") {
            let mut seen = self.seen.lock().expect("no panic");
            let tries = seen.put_off.entry(to.to_owned()).or_default();
            *tries += 1;
            if *tries == 1 {
                drop(seen);
                return self.say("450 4.2.0 greylisted, come back");
            }
        }
        if self.to.len() >= self.manner.recipients_max {
            return self.say("452 4.5.3 too many recipients");
        }
        self.to.push(to.to_owned());
        self.say("250 2.1.5 ok")
    }

    fn chunk(&mut self, command: &str) -> Option<()> {
        let size: usize = command.split(' ').nth(1)?.parse().ok()?;
        let mut body = vec![0; size];
        self.reader.read_exact(&mut body).ok()?;
        if self.cuts {
            return None;
        }
        if self.to.is_empty() {
            return self.say("503 5.5.1 no valid recipients");
        }
        self.take(&body)
    }

    fn data(&mut self) -> Option<()> {
        self.say("354 go on")?;
        let (mut body, mut line) = (Vec::new(), Vec::new());
        loop {
            line.clear();
            self.reader.read_until(b'\n', &mut line).ok()?;
            match line.as_slice() {
                b".\r\n" => return self.take(&body),
                b"" => return None,
                _ => body.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line)),
            }
        }
    }

    fn take(&mut self, body: &[u8]) -> Option<()> {
        let body = String::from_utf8_lossy(body).into_owned();
        let taken = |to: String| Taken {
            from: self.from.clone(),
            to,
            body: body.clone(),
            client: self.client,
            at: Instant::now(),
        };
        let taken: Vec<Taken> = std::mem::take(&mut self.to).into_iter().map(taken).collect();
        let mut seen = self.seen.lock().expect("no panic");
        seen.transactions += 1;
        seen.taken.extend(taken);
        drop(seen);
        self.say("250 2.0.0 taken")
    }
}

fn path_of(line: &str) -> String {
    let inside = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.map(|(path, _)| path.to_owned()).unwrap_or_default()
}
