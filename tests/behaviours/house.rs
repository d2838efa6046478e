//! A whole engine with its own directory and its own receiver, and a client that speaks to it line by line.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use content::template::CampaignDraft;
use mail::{Address, CampaignId, Class, Ledger};
use mta::{Engine, Handle, NewCampaign, NewRecipient, Refusal, StartError};
use policy::config::{Config, check};
use spool::CampaignPhase;

use crate::sink::Sink;

/// How long anything in these tests may take before it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running engine.
pub(crate) struct House {
    engine: Option<Engine>,
    pub(crate) sink: Sink,
    folder: tempfile::TempDir,
    extra: String,
    pub(crate) shards: usize,
    pub(crate) waiting_max: u64,
    segment: &'static str,
}

impl House {
    /// An engine that sends everything to a receiver of its own; `extra` is added to the configuration.
    pub(crate) fn start(extra: &str) -> Self {
        Self::with_sink(Sink::start(), extra)
    }

    pub(crate) fn with_sink(sink: Sink, extra: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let extra = extra.to_owned();
        let mut house =
            Self { engine: None, sink, folder, extra, shards: 2, waiting_max: 1_000_000, segment: "8MiB" };
        house.begin();
        house
    }

    /// With segments of another size.
    pub(crate) fn of_segments(segment: &'static str) -> Self {
        let mut house = Self::start("");
        house.stop();
        house.segment = segment;
        house.begin();
        house
    }

    /// Starts the engine on what it left behind.
    pub(crate) fn begin(&mut self) {
        let config = config(&self.text());
        self.engine = Some(Engine::start(config).expect("the engine starts"));
    }

    /// The same as after a restore from a copy.
    pub(crate) fn begin_restored(&mut self) {
        let config = config(&self.text());
        self.engine = Some(Engine::start_restored(config).expect("the engine starts"));
    }

    /// The configuration.
    pub(crate) fn text(&self) -> String {
        let (folder, sink, shards) = (self.folder.path().display(), self.sink.address(), self.shards);
        let Self { segment, waiting_max, .. } = self;
        format!(
            "[node]\nname = \"mx.staffetta.test\"\ndata_dir = \"{folder}\"\nshards = {shards}\n\
             [spool]\nsegment = \"{segment}\"\nmin_free = \"1MiB\"\nwaiting_max = {waiting_max}\n\
             [[smtp_listener]]\naddress = \"127.0.0.1:0\"\ntrusted = [\"127.0.0.0/8\"]\n\
             [[route]]\ndomain = \"*\"\nhosts = [\"{sink}\"]\ntls = \"off\"\n{}",
            self.extra
        )
    }

    pub(crate) fn set_extra(&mut self, extra: &str) {
        extra.clone_into(&mut self.extra);
    }

    /// Its data directory.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub(crate) fn handle(&self) -> Handle {
        self.engine.as_ref().expect("running").handle()
    }

    pub(crate) fn smtp(&self) -> SocketAddr {
        self.engine.as_ref().expect("running").smtp_addresses()[0]
    }

    /// Runs something that waits.
    pub(crate) fn wait<F: Future>(&self, work: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
    }

    pub(crate) fn stop(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.stop();
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.smtp())
    }

    /// A bulk campaign of an account, without recipients; no name is no account.
    pub(crate) fn campaign(&self, draft: CampaignDraft, account: &str) -> Result<CampaignId, Refusal> {
        let new = NewCampaign { draft, class: Class::Bulk, tenant: account.to_owned() };
        self.wait(self.handle().create_campaign(new))
    }

    /// Adds a list to a campaign, of any length.
    pub(crate) fn add(&self, id: CampaignId, list: &[NewRecipient]) -> Result<(), Refusal> {
        list.chunks(mta::BATCH_MAX)
            .try_for_each(|batch| self.wait(self.handle().add_recipients(id, batch.to_vec())))
    }

    /// Starts, pauses or cancels a campaign.
    pub(crate) fn set(&self, id: CampaignId, phase: CampaignPhase) -> Result<(), Refusal> {
        self.wait(self.handle().set_campaign(id, phase))
    }

    /// Waits until the books satisfy `what`.
    pub(crate) fn wait_ledger(&self, what: &str, done: impl Fn(&Ledger) -> bool) -> Ledger {
        let began = Instant::now();
        loop {
            let ledger = self.handle().ledger();
            assert_eq!(
                ledger.accepted,
                ledger.queued() + ledger.finished(),
                "the ledger balances: {ledger:?}"
            );
            if done(&ledger) {
                return ledger;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: {ledger:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The configuration of `text`, which must be right.
pub(crate) fn config(text: &str) -> Arc<Config> {
    let checked = check("test.toml", text);
    let problems: Vec<String> = checked.problems.iter().map(ToString::to_string).collect();
    Arc::new(checked.config.unwrap_or_else(|| panic!("{}", problems.join("\n"))))
}

/// Why an engine with this configuration does not start.
pub(crate) fn refusal(text: &str) -> StartError {
    match Engine::start(config(text)) {
        Ok(engine) => {
            engine.stop();
            panic!("the engine has started");
        }
        Err(error) => error,
    }
}

/// A client that sends lines and reads replies.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the engine listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("a TCP socket");
        let mut client = Self { reader: BufReader::new(stream) };
        assert!(client.reply().starts_with("220 "), "a greeting");
        client.says("EHLO client.test", "250");
        client
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).expect("the engine reads");
    }

    /// The last line of the next reply.
    pub(crate) fn reply(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            self.reader.read_line(&mut line).expect("a reply in time");
            if line.as_bytes().get(3) != Some(&b'-') {
                return line.trim_end().to_owned();
            }
        }
    }

    pub(crate) fn says(&mut self, command: &str, expected: &str) -> String {
        self.write(format!("{command}\r\n").as_bytes());
        let reply = self.reply();
        assert!(reply.starts_with(expected), "{command} → {reply}, not {expected}");
        reply
    }

    /// Sends one message and returns the reply to it.
    pub(crate) fn send(&mut self, from: &str, to: &[&str], message: &str) -> String {
        self.says(&format!("MAIL FROM:<{from}>"), "250");
        for to in to {
            self.says(&format!("RCPT TO:<{to}>"), "250");
        }
        self.says("DATA", "354");
        self.write(message.as_bytes());
        self.says(".", "")
    }
}

/// A plain message.
pub(crate) fn message(subject: &str) -> String {
    format!("From: Ann <ann@sender.test>\r\nTo: you\r\nSubject: {subject}\r\n\r\nHello.\r\n")
}

/// A plain newsletter, the same for everybody.
pub(crate) fn newsletter() -> CampaignDraft {
    CampaignDraft {
        name: "Spring".to_owned(),
        from: "News <news@sender.test>".to_owned(),
        subject: "Hello".to_owned(),
        text: "Hello.".to_owned(),
        list_unsubscribe_url: "https://sender.test/u".to_owned(),
        ..CampaignDraft::default()
    }
}

/// A recipient without merge values.
pub(crate) fn to(address: &str) -> NewRecipient {
    NewRecipient::plain(Address::parse(address).expect(address))
}
