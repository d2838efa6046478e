//! A run: threads that share one counter, and what they measured together.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;

use crate::letter::{Letter, recipient};
use crate::pace::{Pace, Parked};
use crate::session::{Progress, Session};
use crate::{Options, usage};

/// Latencies are told apart up to a minute.
const LATENCY_US_MAX: u64 = 60_000_000;
/// Longer silence than this is a fault of the server.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// So many broken connections without an acknowledgement in between, and the server is given up.
const FAULTS_MAX: u32 = 1_000;
/// Errors that are printed; the rest is only counted.
const ERRORS_SHOWN_MAX: usize = 3;

/// What a run measured.
pub struct Report {
    sent: u64,
    failed: u64,
    /// Never begun, because the server was gone.
    unsent: u64,
    bytes: u64,
    /// When the first message could begin, in microseconds since 1970.
    begun_at_us: u64,
    elapsed: Duration,
    cpu: Option<Duration>,
    latencies_us: Histogram<u64>,
    errors: Vec<String>,
}

/// Sends everything.
///
/// # Errors
/// When a file cannot be written. What the server does is in the report.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    let next = AtomicU64::new(0);
    let cpu_before = usage::own();
    let begun = Instant::now();
    let pace = Pace::new(options.rate);
    let threads = options.threads.min(options.connections);
    let share = |thread: u16| usize::from((options.connections + threads - 1 - thread) / threads);
    let tallies: Vec<anyhow::Result<Tally>> = thread::scope(|scope| {
        let work = |thread: u16| Worker::new(options, &next, pace)?.work(share(thread));
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("a thread died"))))
            .collect()
    });
    let elapsed = begun.elapsed();
    let cpu = usage::own().zip(cpu_before).map(|(after, before)| after.saturating_sub(before));
    let mut report = Report {
        sent: 0,
        failed: 0,
        unsent: 0,
        bytes: 0,
        begun_at_us: pace.time_us(begun),
        elapsed,
        cpu,
        latencies_us: Histogram::new_with_max(LATENCY_US_MAX, 3)?,
        errors: Vec::new(),
    };
    let mut acknowledged = Vec::new();
    for tally in tallies {
        report.add(options, tally?, &mut acknowledged)?;
    }
    report.bytes = report.sent * u64::from(options.text.bytes);
    report.unsent = options.messages.saturating_sub(report.sent + report.failed);
    if let Some(file) = &options.acknowledged {
        append(file, &acknowledged)?;
    }
    Ok(report)
}

/// One thread's part: its connections and what they measured.
struct Worker<'a> {
    options: &'a Options,
    next: &'a AtomicU64,
    pace: Pace,
    parked: Parked,
    ready: OwnedFd,
    letter: Letter,
    /// By place, which is also what readiness is told by; empty where the server stayed away.
    sessions: Vec<Option<Place>>,
    tally: Tally,
}

/// A connection and how much it has carried.
struct Place {
    session: Session,
    messages: u64,
}

struct Tally {
    /// Connections that broke since the last acknowledgement.
    faults: u32,
    latencies_us: Histogram<u64>,
    failed: u64,
    errors: Vec<String>,
    acknowledged: Vec<u64>,
}

impl<'a> Worker<'a> {
    fn new(options: &'a Options, next: &'a AtomicU64, pace: Pace) -> anyhow::Result<Self> {
        Ok(Self {
            options,
            next,
            pace,
            parked: Parked::default(),
            ready: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            letter: Letter::new(options, pace.time_us(Instant::now())),
            sessions: Vec::new(),
            tally: Tally {
                faults: 0,
                latencies_us: Histogram::new_with_max(LATENCY_US_MAX, 3)?,
                failed: 0,
                errors: Vec::new(),
                acknowledged: Vec::new(),
            },
        })
    }

    /// Works `connections` connections until the numbers run out. A server that stays away ends a connection, not
    /// what has been measured.
    fn work(mut self, connections: usize) -> anyhow::Result<Tally> {
        self.sessions.resize_with(connections, || None);
        for place in 0..connections {
            self.open(place);
        }
        let mut events = Vec::with_capacity(connections.max(1));
        while self.sessions.iter().any(Option::is_some) {
            let wait = self.parked.wait(Instant::now());
            let timeout = Timespec::try_from(wait.unwrap_or(SILENCE_MAX))?;
            epoll::wait(&self.ready, spare_capacity(&mut events), Some(&timeout))?;
            if events.is_empty() && wait.is_none() {
                self.give_up();
            }
            while let Some((due, number, place)) = self.parked.take_due(Instant::now()) {
                self.begin(place, number, due);
            }
            for event in events.drain(..) {
                self.advance(usize::try_from(event.data.u64())?);
            }
        }
        Ok(self.tally)
    }

    fn open(&mut self, place: usize) {
        let Options { to, mode, patience, .. } = *self.options;
        let opened = Session::open(to, self.letter.clone(), mode, patience);
        let watched = opened.and_then(|session| {
            // Edge-triggered: told once when something comes, and once when a full socket takes more.
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
            epoll::add(&self.ready, session.stream(), EventData::new_u64(place as u64), flags)?;
            Ok(session)
        });
        match watched {
            Ok(session) => self.sessions[place] = Some(Place { session, messages: 0 }),
            Err(error) => self.tally.complain(&error),
        }
    }

    fn advance(&mut self, place: usize) {
        let mut told = true;
        while let Some(here) = &mut self.sessions[place] {
            match here.session.advance(std::mem::take(&mut told)) {
                Ok(Progress::Waiting) => return,
                Ok(Progress::Free) => {}
                Ok(Progress::Acknowledged(number, latency)) => {
                    here.messages += 1;
                    self.tally.acknowledge(number, latency);
                }
                Err(error) => return self.fail(place, &error),
            }
            self.next_message(place);
        }
    }

    fn next_message(&mut self, place: usize) {
        let Some(here) = self.sessions[place].take() else { return };
        if self.options.per_connection > 0 && here.messages >= self.options.per_connection {
            here.session.quit();
            return self.open(place);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number >= self.options.messages {
            return here.session.quit();
        }
        self.sessions[place] = Some(here);
        let due = self.pace.due(number);
        if due > Instant::now() {
            self.parked.park(due, number, place);
        } else {
            self.begin(place, number, due);
        }
    }

    fn begin(&mut self, place: usize, number: u64, due: Instant) {
        let Some(here) = &mut self.sessions[place] else { return };
        let begun = here.session.begin(self.options.first + number, due, self.pace.time_us(due));
        if let Err(error) = begun {
            self.fail(place, &error);
        }
    }

    /// The connection broke: what it had under way has failed, and it is made again.
    fn fail(&mut self, place: usize, error: &anyhow::Error) {
        let Some(here) = self.sessions[place].take() else { return };
        let was_busy = here.session.is_busy();
        self.parked.forget(place);
        self.tally.complain(error);
        self.tally.failed += u64::from(was_busy);
        drop(here);
        self.tally.faults += 1;
        if self.tally.faults < FAULTS_MAX {
            self.open(place);
        }
    }

    /// Nothing was heard for too long.
    fn give_up(&mut self) {
        let silent = self.sessions.drain(..).flatten().filter(|here| here.session.is_busy()).count();
        self.tally.failed += silent as u64;
        self.tally.complain(&anyhow!("the server was silent for {} s", SILENCE_MAX.as_secs()));
    }
}

impl Tally {
    fn acknowledge(&mut self, number: u64, latency: Duration) {
        self.faults = 0;
        self.latencies_us.saturating_record(latency.as_micros() as u64);
        self.acknowledged.push(number);
    }

    fn complain(&mut self, error: &anyhow::Error) {
        if self.errors.len() < ERRORS_SHOWN_MAX {
            self.errors.push(format!("{error:#}"));
        }
    }
}

impl Report {
    fn add(&mut self, options: &Options, tally: Tally, acknowledged: &mut Vec<String>) -> anyhow::Result<()> {
        self.sent += tally.latencies_us.len();
        self.failed += tally.failed;
        self.latencies_us.add(&tally.latencies_us)?;
        let room = ERRORS_SHOWN_MAX.saturating_sub(self.errors.len());
        self.errors.extend(tally.errors.into_iter().take(room));
        if options.acknowledged.is_some() {
            let recipient = |&number: &u64| recipient(&options.text.rcpt, options.text.destinations, number);
            acknowledged.extend(tally.acknowledged.iter().map(recipient));
        }
        Ok(())
    }

    /// Messages that were acknowledged, per second.
    pub fn per_second(&self) -> f64 {
        self.sent as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Processor time that this process used meanwhile, in microseconds per acknowledged message; none without `/proc`.
    pub fn cpu_us_per_message(&self) -> Option<f64> {
        self.cpu.map(|cpu| cpu.as_micros() as f64 / self.sent.max(1) as f64)
    }

    /// The time within which this part of the messages was acknowledged, in milliseconds.
    pub fn latency_ms(&self, quantile: f64) -> f64 {
        self.latencies_us.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// When the first message could begin, in microseconds since 1970.
    pub const fn begun_at_us(&self) -> u64 {
        self.begun_at_us
    }

    /// What went wrong, the first few in words.
    pub fn errors(&self) -> &[String] {
        &self.errors
    }

    /// Every message was acknowledged.
    pub const fn is_clean(&self) -> bool {
        self.failed == 0 && self.unsent == 0
    }

    /// One line of JSON.
    pub fn to_json(&self) -> serde_json::Value {
        let seconds = self.elapsed.as_secs_f64();
        let quantile_ms = |quantile| self.latency_ms(quantile);
        serde_json::json!({
            "sent": self.sent,
            "failed": self.failed,
            "unsent": self.unsent,
            "begun_at_us": self.begun_at_us,
            "seconds": seconds,
            "per_second": self.per_second(),
            "megabytes_per_second": self.bytes as f64 / seconds.max(1e-9) / 1e6,
            "cpu_us_per_message": self.cpu_us_per_message(),
            "latency_ms": {
                "p50": quantile_ms(0.5), "p95": quantile_ms(0.95), "p99": quantile_ms(0.99),
                "max": self.latencies_us.max() as f64 / 1000.0,
            },
            "errors": self.errors,
        })
    }
}

fn append(file: &Path, lines: &[String]) -> anyhow::Result<()> {
    let cannot = || format!("{} cannot be written", file.display());
    let out = OpenOptions::new().create(true).append(true).open(file).with_context(cannot)?;
    let mut out = BufWriter::new(out);
    for line in lines {
        writeln!(out, "{line}").with_context(cannot)?;
    }
    out.flush().with_context(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mode;
    use std::io::{BufRead, BufReader};
    use std::net::{TcpListener, TcpStream};

    /// Answers every command of one connection; the messages it took.
    fn serve(stream: TcpStream) -> u64 {
        let mut input = BufReader::new(stream.try_clone().expect("a clone"));
        let mut output = stream;
        let mut taken = 0;
        let mut in_data = false;
        output.write_all(b"220 x\r\n").expect("written");
        let mut line = String::new();
        while input.read_line(&mut line).unwrap_or(0) > 0 {
            let reply: &[u8] = match line.as_str() {
                ".\r\n" => {
                    (in_data, taken) = (false, taken + 1);
                    b"250 ok\r\n"
                }
                _ if in_data => b"",
                "DATA\r\n" => {
                    in_data = true;
                    b"354 go\r\n"
                }
                text if text.starts_with("EHLO") => b"250-x\r\n250 PIPELINING\r\n",
                text if text.starts_with("QUIT") => b"221 bye\r\n",
                text if text.starts_with("BDAT") => {
                    let bytes: u64 = text.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a size");
                    std::io::copy(&mut std::io::Read::take(&mut input, bytes), &mut std::io::sink())
                        .expect("read");
                    taken += 1;
                    b"250 ok\r\n"
                }
                _ => b"250 ok\r\n",
            };
            output.write_all(reply).expect("written");
            line.clear();
        }
        taken
    }

    #[test]
    fn all_messages_are_sent_in_every_mode() {
        for mode in [Mode::Lockstep, Mode::Pipelined, Mode::Flight] {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let to = listener.local_addr().expect("an address");
            let server = thread::spawn(move || {
                let sessions: Vec<_> = listener
                    .incoming()
                    .take(2)
                    .map(|stream| thread::spawn(|| serve(stream.expect("a peer"))))
                    .collect();
                sessions.into_iter().map(|session| session.join().expect("a session")).sum::<u64>()
            });
            let options = Options { to, connections: 2, messages: 25, mode, ..Options::default() };
            let report = run(&options).expect("a report");
            assert!(report.is_clean(), "{:?}", report.errors);
            assert_eq!((report.sent, server.join().expect("a count")), (25, 25), "{mode:?}");
        }
    }

    #[test]
    fn a_server_that_is_not_there_is_named() {
        let to = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
        let options = Options { to, patience: Duration::ZERO, ..Options::default() };
        let report = run(&options).expect("a report");
        assert!(!report.is_clean() && report.errors[0].contains(&to.to_string()), "{:?}", report.errors);
    }
}
