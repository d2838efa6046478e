//! The engine as a process of its own, killed at random moments under SMTP and HTTP load: acknowledged, arrived and
//! duplicated messages are counted. The long version, with power cuts and faults, is tests/crash/run.py.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use console::{Console, Listeners};
use mta::Engine;
use report::Reporter;

/// Names the configuration to the test that is the engine.
const CHILD: &str = "STAFFETTA_CRASH_CHILD";
/// Names the seed of a run that is to be repeated.
const SEED: &str = "STAFFETTA_CRASH_SEED";
/// How long anything may take before it has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a connection of the load waits for an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long the receiver takes to answer a final dot, so that a kill finds some on their way.
const LATE: Duration = Duration::from_millis(2);
/// Keeps every second message in the spool until a later start.
const HELD: &str = "[provider.held]\ndomains = [\"held.test\"]\nrate = \"1/h\"\n";

#[test]
fn what_was_acknowledged_arrives_after_kills_and_little_comes_twice() {
    let mut chance = Chance::new();
    let mut house = House::new();
    house.start(HELD);
    let load = Load::begin(&house.doors);
    let mut in_flight = 0;
    for _ in 0..3 {
        load.wait_for(40);
        sleep(Duration::from_millis(chance.below(300)));
        in_flight += house.kill();
        house.start(HELD);
    }
    load.wait_for(40);
    let sent = load.end();
    in_flight += house.kill();
    house.start("");
    let count = house.count(&sent);
    println!("{count:?}, {in_flight} final dots in flight at the kills, {chance:?}");
    let Count { acknowledged, lost, strangers, duplicated, .. } = count;
    assert!(acknowledged >= 160 && sent.by_http > 0, "{count:?}, {chance:?}");
    assert_eq!((lost, strangers), (0, 0), "{count:?}, {chance:?}");
    assert!(duplicated <= in_flight, "{in_flight} final dots were in flight: {count:?}, {chance:?}");
    house.wait_empty();
}

#[test]
fn a_spool_that_loses_is_noticed() {
    let mut house = House::new();
    house.start(HELD);
    let load = Load::begin(&house.doors);
    load.wait_for(40);
    let sent = load.end();
    house.kill();
    std::fs::remove_dir_all(house.folder.path().join("data/spool")).expect("the spool is there");
    house.start("");
    house.wait_empty();
    let count = house.count_now(&sent);
    assert!(count.lost > 0, "{count:?}");
}

/// Not a test: the engine that the tests start and kill. It ends with the test that started it.
#[test]
fn the_engine() {
    let Some(config) = std::env::var_os(CHILD) else { return };
    serve(Path::new(&config));
    let mut rest = Vec::new();
    // The other end is closed when the test has died.
    let _ = std::io::stdin().read_to_end(&mut rest);
    std::process::exit(0);
}

fn serve(path: &Path) {
    let text = std::fs::read_to_string(path).expect("the test wrote it");
    let config = Arc::new(policy::config::check("crash.toml", &text).config.expect("a right configuration"));
    let engine = Engine::start(Arc::clone(&config)).expect("the engine starts");
    let handle = engine.handle();
    let reporter = Reporter::start(&config.node.data_dir, handle.readers()).expect("an event store");
    handle.allow_reclaim();
    let console = Console::new(handle, reporter.store()).expect("an API");
    let listeners = engine.runtime().block_on(Listeners::bind(&config)).expect("doors");
    let http = listeners.http_address().expect("it is configured");
    engine.runtime().spawn(console::serve(console, listeners, std::future::pending()));
    println!("ready {} {http}", engine.smtp_addresses()[0]);
    // They live as long as the process.
    std::mem::forget((engine, reporter));
}

/// Where an engine is reached; it changes with each start.
type Doors = Arc<Mutex<Option<(SocketAddr, SocketAddr)>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An engine's directory and receiver, and its process while it runs.
struct House {
    folder: tempfile::TempDir,
    receiver: Receiver,
    doors: Doors,
    child: Option<Child>,
}

/// What became of the messages of a load.
#[derive(Debug)]
#[expect(dead_code, reason = "they are printed by a test that fails")]
struct Count {
    acknowledged: usize,
    broken_off: usize,
    arrived: usize,
    lost: usize,
    strangers: usize,
    duplicated: usize,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { folder, receiver: Receiver::start(), doors: Doors::default(), child: None }
    }

    /// Starts the engine on what it left behind; `extra` is added to the configuration.
    fn start(&mut self, extra: &str) {
        let (data, receiver) = (self.folder.path().join("data"), self.receiver.address);
        let text = format!(
            "[node]\nname = \"mx.staffetta.test\"\ndata_dir = \"{}\"\nshards = 2\n\
             [spool]\nsegment = \"1MiB\"\nmin_free = \"1MiB\"\n\
             [[smtp_listener]]\naddress = \"127.0.0.1:0\"\n[http]\naddress = \"127.0.0.1:0\"\n\
             [[route]]\ndomain = \"*\"\nhosts = [\"{receiver}\"]\ntls = \"off\"\n{extra}",
            data.display()
        );
        let path = self.folder.path().join("crash.toml");
        std::fs::write(&path, text).expect("room for a configuration");
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["the_engine", "--exact", "--nocapture"])
            .env(CHILD, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this test starts once more");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        self.child = Some(child);
        let doors = lines.map_while(Result::ok).find_map(|line| {
            let (smtp, http) = line.strip_prefix("ready ")?.split_once(' ')?;
            Some((smtp.parse().ok()?, http.parse().ok()?))
        });
        *lock(&self.doors) = Some(doors.expect("the engine says where it is"));
    }

    /// kill -9; how many deliveries may have been under way.
    fn kill(&mut self) -> usize {
        *lock(&self.doors) = None;
        let Some(mut child) = self.child.take() else { return 0 };
        let before = self.receiver.open.load(Ordering::SeqCst);
        child.kill().expect("it runs");
        let after = self.receiver.open.load(Ordering::SeqCst);
        child.wait().expect("it was ours");
        before.max(after)
    }

    /// Waits until everything acknowledged has arrived, or for as long as patience lasts, and counts.
    fn count(&self, sent: &Sent) -> Count {
        let began = Instant::now();
        loop {
            let count = self.count_now(sent);
            if count.lost == 0 || began.elapsed() > PATIENCE {
                return count;
            }
            sleep(Duration::from_millis(20));
        }
    }

    fn count_now(&self, sent: &Sent) -> Count {
        let arrived = lock(&self.receiver.arrived);
        let may_arrive =
            |address: &String| sent.acknowledged.contains(address) || sent.doubtful.contains(address);
        Count {
            acknowledged: sent.acknowledged.len(),
            broken_off: sent.doubtful.len(),
            arrived: arrived.len(),
            lost: sent.acknowledged.iter().filter(|address| !arrived.contains_key(*address)).count(),
            strangers: arrived.keys().filter(|address| !may_arrive(address)).count(),
            duplicated: arrived.values().map(|times| times - 1).sum(),
        }
    }

    /// Waits until the engine's books say that nothing is queued.
    fn wait_empty(&self) {
        let began = Instant::now();
        loop {
            let (_, http) = lock(&self.doors).expect("it runs");
            let ledger =
                Api::connect(http).and_then(|mut api| api.ask("GET", "/v1/ledger", "")).expect("it answers");
            if ledger.1.contains("\"queued\":0,") {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{}", ledger.1);
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Random numbers, the same ones for the same seed.
#[derive(Debug)]
#[expect(dead_code, reason = "the seed is printed by a test that fails")]
struct Chance {
    seed: u64,
    state: u64,
}

impl Chance {
    fn new() -> Self {
        let given = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let seed = given.unwrap_or(u64::from(since.subsec_nanos()));
        Self { seed, state: seed }
    }

    /// SplitMix64.
    fn below(&mut self, limit: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// What a load was told about its messages, by recipient.
#[derive(Default)]
struct Sent {
    acknowledged: HashSet<String>,
    /// Handed over, and the connection broke before the answer.
    doubtful: HashSet<String>,
    by_http: usize,
}

/// Connections that send until they are told to stop, and go on when the engine comes back.
struct Load {
    sent: Arc<Mutex<Sent>>,
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn begin(doors: &Doors) -> Self {
        let (sent, ended, next) = (Arc::default(), Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let threads = (0..6).map(|number| {
            let (doors, by_http) = (Arc::clone(doors), number % 3 == 0);
            let work = Work { sent: Arc::clone(&sent), ended: Arc::clone(&ended), next: Arc::clone(&next) };
            std::thread::spawn(move || work.run(&doors, by_http))
        });
        let threads = threads.collect();
        Self { sent, ended, threads }
    }

    /// Waits until `count` more messages are acknowledged.
    fn wait_for(&self, count: usize) {
        let (began, before) = (Instant::now(), lock(&self.sent).acknowledged.len());
        while lock(&self.sent).acknowledged.len() < before + count {
            assert!(began.elapsed() < PATIENCE, "no more than some {before} messages are acknowledged");
            sleep(Duration::from_millis(2));
        }
    }

    fn end(self) -> Sent {
        self.ended.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().expect("a connection ends in order");
        }
        std::mem::take(&mut lock(&self.sent))
    }
}

/// One connection of a load.
struct Work {
    sent: Arc<Mutex<Sent>>,
    ended: Arc<AtomicBool>,
    next: Arc<AtomicU64>,
}

impl Work {
    fn run(&self, doors: &Doors, by_http: bool) {
        while !self.ended.load(Ordering::SeqCst) {
            let open = *lock(doors);
            // What breaks off is taken up again when the engine is back.
            let _ = match open {
                Some((_, http)) if by_http => self.by_http(http),
                Some((smtp, _)) => self.by_smtp(smtp),
                None => Ok(()),
            };
            sleep(Duration::from_millis(5));
        }
    }

    /// The next recipient: the odd ones are held in the spool.
    fn next(&self) -> Option<String> {
        if self.ended.load(Ordering::SeqCst) {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        Some(format!("r{number}@{}.test", ["open", "held"][usize::from(number % 2 == 1)]))
    }

    fn acknowledged(&self, address: String) {
        let mut sent = lock(&self.sent);
        sent.doubtful.remove(&address);
        sent.acknowledged.insert(address);
    }

    fn by_smtp(&self, door: SocketAddr) -> std::io::Result<()> {
        let mut lines = connect(door)?;
        expect(&mut lines, "", "220")?;
        expect(&mut lines, "EHLO load.test\r\n", "250")?;
        while let Some(address) = self.next() {
            expect(&mut lines, "MAIL FROM:<ann@sender.test>\r\n", "250")?;
            expect(&mut lines, &format!("RCPT TO:<{address}>\r\n"), "250")?;
            expect(&mut lines, "DATA\r\n", "354")?;
            lock(&self.sent).doubtful.insert(address.clone());
            let text =
                format!("From: <ann@sender.test>\r\n\r\n{}{address}\r\n.\r\n", "Some text.\r\n".repeat(100));
            expect(&mut lines, &text, "250")?;
            self.acknowledged(address);
        }
        Ok(())
    }

    fn by_http(&self, door: SocketAddr) -> std::io::Result<()> {
        let mut api = Api::connect(door)?;
        while let Some(address) = self.next() {
            let body =
                format!("{{\"from\": \"ann@sender.test\", \"to\": \"{address}\", \"text\": \"Hello.\"}}");
            lock(&self.sent).doubtful.insert(address.clone());
            let (status, answer) = api.ask("POST", "/v1/messages", &body)?;
            if status != 202 {
                return Err(std::io::Error::other(answer));
            }
            lock(&self.sent).by_http += 1;
            self.acknowledged(address);
        }
        Ok(())
    }
}

fn connect(door: SocketAddr) -> std::io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(door)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

/// Sends a command and reads the reply, of which the code must be the one that is expected.
fn expect(lines: &mut BufReader<TcpStream>, command: &str, code: &str) -> std::io::Result<()> {
    lines.get_mut().write_all(command.as_bytes())?;
    let mut line = String::new();
    while line.as_bytes().get(3) != Some(&b' ') {
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    if line.starts_with(code) { Ok(()) } else { Err(std::io::Error::other(line)) }
}

/// A connection to the HTTP API.
struct Api {
    lines: BufReader<TcpStream>,
}

impl Api {
    fn connect(door: SocketAddr) -> std::io::Result<Self> {
        Ok(Self { lines: connect(door)? })
    }

    /// Status and body of an answer.
    fn ask(&mut self, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.lines.get_mut().write_all((head + body).as_bytes())?;
        let (mut line, mut status, mut length) = (String::new(), 0, 0);
        loop {
            line.clear();
            if self.lines.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if line.trim().is_empty() {
                break;
            }
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                status = rest.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0);
            } else if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().map_err(std::io::Error::other)?;
            }
        }
        let mut answer = vec![0; length];
        self.lines.read_exact(&mut answer)?;
        Ok((status, String::from_utf8_lossy(&answer).into_owned()))
    }
}

/// Takes everything and counts how often each recipient's message came. It does not offer PIPELINING, so that one
/// message is on its way on each connection.
struct Receiver {
    address: SocketAddr,
    arrived: Arc<Mutex<HashMap<String, usize>>>,
    open: Arc<AtomicUsize>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let (arrived, open) = (Arc::default(), Arc::<AtomicUsize>::default());
        let receiver = Self { address, arrived: Arc::clone(&arrived), open: Arc::clone(&open) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (arrived, open) = (Arc::clone(&arrived), Arc::clone(&open));
                open.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    let _ = converse(&stream, &arrived);
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        receiver
    }
}

fn converse(stream: &TcpStream, arrived: &Mutex<HashMap<String, usize>>) -> std::io::Result<()> {
    let (mut lines, mut say, mut to) = (BufReader::new(stream), stream, String::new());
    say.write_all(b"220 receiver.test\r\n")?;
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let reply = match line.get(..4).unwrap_or_default() {
            "RCPT" => {
                to = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                "250 2.1.5 ok"
            }
            "DATA" => {
                say.write_all(b"354 go on\r\n")?;
                while line != ".\r\n" {
                    line.clear();
                    if lines.read_line(&mut line)? == 0 {
                        return Ok(());
                    }
                }
                *lock(arrived).entry(to.clone()).or_default() += 1;
                sleep(LATE);
                "250 2.0.0 taken"
            }
            "QUIT" => "221 2.0.0 bye",
            _ => "250 2.0.0 ok",
        };
        say.write_all(format!("{reply}\r\n").as_bytes())?;
    }
}
