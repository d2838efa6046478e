//! A fast SMTP receiver for tests and the demo: it takes mail, counts it, and may pretend to be mailbox providers.
//! It keeps nothing unless told to.

mod files;
mod listen;
mod reports;
mod session;
mod tally;
mod timed;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, anyhow};
use mail::UnixMs;
use tokio::sync::watch;
use world::{Latency, World};

pub(crate) use tally::{Tally, final_json, summary};

use files::Files;
use reports::Reports;
use tally::Book;

use crate::ui::human;

/// What a receiver is told at its start.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// Where to listen.
    pub(crate) doors: Vec<Door>,
    /// Who answers; without a world everything is taken.
    pub(crate) world: Option<World>,
    /// Threads, each with its own ring.
    pub(crate) threads: usize,
    /// Messages are kept here.
    pub(crate) keep: Option<PathBuf>,
    /// One line per accepted recipient goes here.
    pub(crate) ids: Option<PathBuf>,
    /// Complaints of the world's readers are written here, as reports.
    pub(crate) reports: Option<PathBuf>,
    /// How far away it pretends to be.
    pub(crate) latency: Latency,
    /// How long messages were on their way is measured.
    pub(crate) timed: bool,
    /// STARTTLS is offered with this.
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
}

/// Where the receiver listens, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Door {
    /// The address; port 0 is any.
    pub(crate) address: SocketAddr,
    /// The provider of the world whose server this is; without one, the recipients decide.
    pub(crate) provider: Option<String>,
}

impl std::str::FromStr for Door {
    type Err = String;

    /// Reads `127.0.0.1:2526` or `gmail=127.0.0.1:2526`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (provider, address) = match text.split_once('=') {
            Some((provider, address)) => (Some(provider.to_owned()), address),
            None => (None, text),
        };
        let address =
            address.parse().map_err(|_| format!("`{address}` is not an address: write 127.0.0.1:2526"))?;
        Ok(Self { address, provider })
    }
}

/// A running receiver.
pub(crate) struct Receiver {
    desk: Arc<Desk>,
    doors: Vec<Door>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads share.
pub(crate) struct Desk {
    book: Mutex<Book>,
    files: Option<Files>,
    reports: Option<Reports>,
    world: Option<Mutex<World>>,
    latency: Latency,
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl Desk {
    /// The world, locked, when there is one.
    fn world(&self) -> Option<MutexGuard<'_, World>> {
        Some(self.world.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets readers see their mail, and writes down what they complain of.
    fn hear(&self) -> anyhow::Result<()> {
        let (Some(reports), Some(mut world)) = (&self.reports, self.world()) else { return Ok(()) };
        let mut heard = Vec::new();
        world.feedback(UnixMs(human::now_ms()), &mut heard);
        reports.write(&world, &heard)
    }

    /// The counts, locked.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receiver {
    /// Listens and begins to take mail.
    ///
    /// # Errors
    /// When an address cannot be listened on, a file cannot be made, or there is no io_uring.
    pub(crate) fn start(options: Options) -> anyhow::Result<Self> {
        let files = Files::open(options.keep.as_deref(), options.ids.as_deref())?;
        check_doors(&options)?;
        let reports = options.reports.as_deref().map(Reports::open).transpose()?;
        let world = options.world.map(Mutex::new);
        let (latency, tls) = (options.latency, options.tls);
        let book = Mutex::new(Book::new(options.timed)?);
        let desk = Arc::new(Desk { book, files, reports, world, latency, tls });
        let (stop, stopped) = watch::channel(false);
        let mut receiver = Self { desk, doors: options.doors, stop, threads: Vec::new() };
        for index in 0..options.threads.max(1) {
            let (thread, bound) = receiver.spawn(index, stopped.clone())?;
            receiver.threads.push(thread);
            // Later threads listen on the ports that the first one got.
            for (door, address) in receiver.doors.iter_mut().zip(bound) {
                door.address = address;
            }
        }
        Ok(receiver)
    }

    fn spawn(
        &self,
        index: usize,
        stopped: watch::Receiver<bool>,
    ) -> anyhow::Result<(JoinHandle<()>, Vec<SocketAddr>)> {
        let (ready, stands) = mpsc::sync_channel(1);
        let desk = Arc::clone(&self.desk);
        let doors = self.doors.clone();
        let body = move || {
            let failed = ready.clone();
            let work = listen::serve(desk, doors, stopped, ready);
            if let Err(fault) = mta::io::block_on(work) {
                // Nobody waits for it any more once the thread stands.
                drop(failed.send(Err(anyhow!(fault))));
            }
        };
        let thread = std::thread::Builder::new().name(format!("receiver-{index}")).spawn(body)?;
        let bound = stands.recv().context("the receiver's thread ended at once")??;
        Ok((thread, bound))
    }

    /// Where it listens, with the ports that were chosen.
    pub(crate) fn doors(&self) -> &[Door] {
        &self.doors
    }

    /// What the providers of the world have counted, by name.
    pub(crate) fn providers(&self) -> Vec<(String, world::Counters)> {
        let world = self.desk.world();
        let world = world.as_deref();
        let all =
            world.into_iter().flat_map(|world| world.providers().map(move |provider| (world, provider)));
        all.map(|(world, provider)| (world.name(provider).to_owned(), world.counters(provider))).collect()
    }

    /// The counts at this moment as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        let providers = self.providers();
        self.desk.book().json(&providers)
    }

    /// The counts at this moment.
    pub(crate) fn tally(&self) -> Tally {
        self.desk.book().tally.clone()
    }

    /// Stops taking mail and gives the final counts.
    ///
    /// # Errors
    /// When the last lines of the files cannot be written.
    pub(crate) fn stop(&mut self) -> anyhow::Result<Tally> {
        self.stop.send_replace(true);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| anyhow!("a thread of the receiver died"))?;
        }
        if let Some(files) = &self.desk.files {
            files.flush()?;
        }
        Ok(self.tally())
    }
}

fn check_doors(options: &Options) -> anyhow::Result<()> {
    for name in options.doors.iter().filter_map(|door| door.provider.as_ref()) {
        let Some(world) = &options.world else {
            anyhow::bail!("there is no provider `{name}` without a world: give --world");
        };
        if world.provider_named(name).is_none() {
            let names: Vec<&str> = world.providers().map(|provider| world.name(provider)).collect();
            anyhow::bail!("the world has no provider `{name}`; it has {}", names.join(", "));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpStream;
    use std::time::{Duration, Instant};

    const WORLD: &str = "[[provider]]\nname = \"strict\"\ndomains = [\"strict.test\"]\n\
                         [[provider]]\nname = \"all\"\ndomains = [\"*\"]\n";

    /// Says all lines, each after the reply to the one before; the replies.
    fn talk(address: SocketAddr, lines: &[&str]) -> Vec<String> {
        let mut stream = TcpStream::connect(address).expect("connected");
        let mut replies = BufReader::new(stream.try_clone().expect("a clone"));
        let mut read = || {
            loop {
                let mut line = String::new();
                replies.read_line(&mut line).expect("a reply");
                if line.as_bytes().get(3) != Some(&b'-') {
                    return line.trim_end().to_owned();
                }
            }
        };
        let mut said = vec![read()];
        for line in lines {
            stream.write_all(line.as_bytes()).expect("sent");
            said.push(read());
        }
        said
    }

    fn start(options: Options) -> Receiver {
        let any = |door: &str| door.parse().expect("a door");
        let doors = if options.world.is_some() {
            vec![any("strict=127.0.0.1:0"), any("127.0.0.1:0")]
        } else {
            vec![any("127.0.0.1:0")]
        };
        Receiver::start(Options { doors, threads: 2, ..options }).expect("a receiver")
    }

    #[test]
    fn messages_are_taken_counted_and_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let (keep, ids) = (dir.path().join("kept"), dir.path().join("ids"));
        let mut receiver =
            start(Options { keep: Some(keep.clone()), ids: Some(ids.clone()), ..Options::default() });
        let message = "Message-ID: <1@x.test>\r\nSubject: s\r\n\r\nhi\r\n.\r\n";
        let lines =
            ["EHLO me\r\n", "MAIL FROM:<a@x.test>\r\n", "RCPT TO:<b@y.test>\r\n", "DATA\r\n", message];
        for _ in 0..2 {
            let replies = talk(receiver.doors()[0].address, &lines);
            assert!(replies[5].starts_with("250 "), "{replies:?}");
        }
        let tally = receiver.stop().expect("stopped");
        assert_eq!((tally.messages, tally.duplicates, tally.connections), (2, 1, 2));
        let kept = std::fs::read_to_string(keep.join("000000002.eml")).expect("kept");
        assert_eq!(kept, message.trim_end_matches(".\r\n"));
        let ids = std::fs::read_to_string(ids).expect("lines");
        assert!(ids.lines().count() == 2 && ids.contains("127.0.0.1 b@y.test <1@x.test>"), "{ids}");
    }

    #[test]
    fn stamped_messages_are_timed_and_their_sizes_told() {
        let mut receiver = start(Options { timed: true, ..Options::default() });
        let begun_us = (human::now_ms() - 2000) * 1000;
        for head in [format!("X-Inject-Time: {begun_us:016}\r\n"), String::new()] {
            let message = format!("{head}Subject: s\r\n\r\nhi\r\n.\r\n");
            let lines =
                ["EHLO me\r\n", "MAIL FROM:<a@x.test>\r\n", "RCPT TO:<b@y.test>\r\n", "DATA\r\n", &message];
            talk(receiver.doors()[0].address, &lines);
        }
        let told = receiver.json();
        receiver.stop().expect("stopped");
        assert_eq!((&told["messages"], &told["delivery_ms"]["count"]), (&2.into(), &1.into()), "{told}");
        assert!(told["delivery_ms"]["p50"].as_f64().is_some_and(|ms| ms >= 1990.0), "{told}");
        assert_eq!((&told["bytes_min"], &told["bytes_max"]), (&18.into(), &51.into()), "{told}");
    }

    #[test]
    fn a_world_decides_whose_mail_a_server_takes() {
        let world = World::from_toml(WORLD, 1).expect("a world");
        let mut receiver = start(Options { world: Some(world), ..Options::default() });
        let lines = [
            "EHLO me\r\n",
            "MAIL FROM:<a@x.test>\r\n",
            "RCPT TO:<b@other.test>\r\n",
            "RCPT TO:<c@strict.test>\r\n",
        ];
        let replies = talk(receiver.doors()[0].address, &lines);
        assert!(replies[3].starts_with("554 ") && replies[4].starts_with("250 "), "{replies:?}");
        let replies = talk(receiver.doors()[1].address, &lines);
        assert!(replies[3].starts_with("250 ") && replies[4].starts_with("250 "), "{replies:?}");
        receiver.stop().expect("stopped");
    }

    #[test]
    fn replies_come_one_latency_after_their_commands_and_not_one_after_the_other() {
        let latency = "80ms".parse().expect("a latency");
        let mut receiver = start(Options { latency, ..Options::default() });
        let begun = Instant::now();
        let replies = talk(receiver.doors()[0].address, &["EHLO me\r\n", "NOOP\r\n"]);
        let lock_step = begun.elapsed();
        assert!(replies.len() == 3 && lock_step >= Duration::from_millis(240), "{replies:?} {lock_step:?}");
        let mut stream = TcpStream::connect(receiver.doors()[0].address).expect("connected");
        let begun = Instant::now();
        stream.write_all(&b"NOOP\r\n".repeat(50)).expect("sent");
        stream.write_all(b"QUIT\r\n").expect("sent");
        let replies: Vec<_> = BufReader::new(stream).lines().map(|line| line.expect("a reply")).collect();
        let pipelined = begun.elapsed();
        assert_eq!(replies.len(), 52);
        assert!(
            pipelined >= Duration::from_millis(80) && pipelined < Duration::from_secs(2),
            "{pipelined:?}"
        );
        receiver.stop().expect("stopped");
    }

    #[test]
    fn starttls_is_offered_only_with_a_certificate() {
        let made = rcgen::generate_simple_self_signed(["sink.test".to_owned()]).expect("a certificate");
        let dir = tempfile::tempdir().expect("a directory");
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        std::fs::write(&cert, made.cert.pem()).expect("written");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
        let tls = Some(mta::io::tls::server_config(&cert, &key).expect("they go together"));
        for (tls, code) in [(tls, "220 "), (None, "502 ")] {
            let mut receiver = start(Options { tls, ..Options::default() });
            let replies = talk(receiver.doors()[0].address, &["EHLO me\r\n", "STARTTLS\r\n"]);
            assert!(replies[2].starts_with(code), "{replies:?}");
            receiver.stop().expect("stopped");
        }
    }

    #[test]
    fn a_server_may_fall_silent_or_hang_up_instead_of_answering() {
        let world = "[[provider]]\nname = \"strict\"\ndomains = [\"strict.test\"]\nfaults = { loss = 1.0 }\n\
                     [[provider]]\nname = \"all\"\ndomains = [\"*\"]\nfaults = { hang_up = 1.0 }\n";
        let world = World::from_toml(world, 1).ok();
        let mut receiver = start(Options { world, ..Options::default() });
        let mut silent = TcpStream::connect(receiver.doors()[0].address).expect("connected");
        silent.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
        silent.write_all(b"EHLO me\r\n").expect("sent");
        let heard = std::io::Read::read(&mut silent, &mut [0; 64]);
        assert!(heard.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
        let lines = [
            "EHLO me\r\n",
            "MAIL FROM:<a@x.test>\r\n",
            "RCPT TO:<b@other.test>\r\n",
            "DATA\r\n",
            "Subject: s\r\n\r\nhi\r\n.\r\n",
        ];
        let mut stream = TcpStream::connect(receiver.doors()[1].address).expect("connected");
        stream.write_all(lines.concat().as_bytes()).expect("sent");
        let replies: Vec<String> = BufReader::new(stream).lines().map_while(Result::ok).collect();
        assert!(replies.last().is_some_and(|last| last.starts_with("354 ")), "{replies:?}");
        let tally = receiver.stop().expect("stopped");
        assert_eq!((tally.messages, tally.connections), (0, 2));
    }

    #[test]
    fn complaints_are_written_as_reports() {
        let dir = tempfile::tempdir().expect("a directory");
        let world = "[[provider]]\nname = \"strict\"\ndomains = [\"strict.test\"]\nhost = \"mx.strict.test\"\n\
                     readers = { complaint_after = \"0s\" }\n";
        let world = World::from_toml(world, 1).ok();
        let reports = dir.path().join("reports");
        let mut receiver = start(Options { world, reports: Some(reports.clone()), ..Options::default() });
        let message = "Message-ID: <1@x.test>\r\nSubject: s\r\n\r\nhi\r\n.\r\n";
        for to in ["ann@strict.test", "complain@strict.test"] {
            let to = format!("RCPT TO:<{to}>\r\n");
            let lines = ["EHLO me\r\n", "MAIL FROM:<a@x.test>\r\n", &to, "DATA\r\n", message];
            let replies = talk(receiver.doors()[0].address, &lines);
            assert!(replies[5].starts_with("250 "), "{replies:?}");
        }
        let file = reports.join("000000001.eml");
        let until = Instant::now() + Duration::from_secs(10);
        while !file.exists() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        receiver.stop().expect("stopped");
        let report = std::fs::read_to_string(&file).expect("a report");
        for part in ["Feedback-Type: abuse", "<complain@strict.test>", "<1@x.test>", "mx.strict.test"] {
            assert!(report.contains(part), "{report}");
        }
        assert!(!file.with_file_name("000000002.eml").exists());
    }

    #[test]
    fn doors_of_unknown_providers_are_refused() {
        assert!("gmail=somewhere".parse::<Door>().is_err());
        let doors = vec!["nobody=127.0.0.1:0".parse().expect("a door")];
        let error =
            Receiver::start(Options { doors: doors.clone(), ..Options::default() }).err().expect("refused");
        assert!(error.to_string().contains("--world"), "{error}");
        let world = World::from_toml(WORLD, 1).ok();
        let error = Receiver::start(Options { doors, world, ..Options::default() }).err().expect("refused");
        assert!(error.to_string().contains("strict, all"), "{error}");
    }
}
