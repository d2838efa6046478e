//! One run's stage: a sink in this process, an engine in a process of its own, so that its processor time is told apart, and a
//! directory. All of it is gone when the stage is dropped.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use capacity::{Signing, Work};
use content::dkim;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::config::{self, Setting};
use crate::engine::{Body, Client, Target, value};
use crate::receiver::{Door, Options, Receiver};

/// How long everything may take to arrive after the last of it was submitted.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at the counts.
const LOOK: Duration = Duration::from_millis(5);
/// What the engine complains of is shown up to this length.
const LAST_WORDS_BYTES: usize = 600;

/// An engine and its sink.
pub(super) struct Stage {
    engine: Child,
    smtp: SocketAddr,
    client: Client,
    runtime: Runtime,
    receiver: Receiver,
    /// Removed when they are dropped.
    dir: TempDir,
    _control: TempDir,
}

impl Stage {
    /// Starts sink and engine for a work; the directory is made in `parent`.
    ///
    /// # Errors
    /// When either does not start: with the engine's own words.
    pub(super) fn set(work: Work, parent: &Path, shards: u16) -> anyhow::Result<Self> {
        let dir = directory(Some(parent))?;
        let control_dir = directory(None)?;
        let control = control_dir.path().join("control.sock");
        let receiver = sink(work.tls.then(|| dir.path()))?;
        let key = signing_key(work.signing, dir.path())?;
        let setting = Setting {
            dir: &dir.path().canonicalize()?,
            control: &control,
            sink: receiver.doors()[0].address,
            tls: work.tls,
            shards,
            key: key.as_ref().map(|(file, algorithm)| (file.as_path(), *algorithm)),
        };
        let file = dir.path().join("staffetta.toml");
        std::fs::write(&file, config::text(&setting))?;
        let (engine, smtp) = start(&file, &dir.path().join("engine.log"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = Client::new(Target::Unix(control), None);
        Ok(Self { engine, smtp, client, runtime, receiver, dir, _control: control_dir })
    }

    /// Where the engine takes mail.
    pub(super) const fn smtp(&self) -> SocketAddr {
        self.smtp
    }

    /// Processor time of the engine so far, in seconds.
    ///
    /// # Errors
    /// When it has ended.
    pub(super) fn cpu_s(&self) -> anyhow::Result<f64> {
        let spent = inject::cpu(self.engine.id());
        spent
            .map(|spent| spent.as_secs_f64())
            .ok_or_else(|| anyhow!("the engine has ended: {}", self.last_words()))
    }

    /// POST to the engine's API.
    ///
    /// # Errors
    /// When it refuses.
    pub(super) fn post(&mut self, path: &str, body: Body) -> anyhow::Result<Value> {
        self.runtime.block_on(self.client.post_patiently(path, body))
    }

    /// From now on mail is kept.
    ///
    /// # Errors
    /// When there is no path yet that could be held.
    pub(super) fn hold(&mut self) -> anyhow::Result<()> {
        let held = json!({ "for": "12h", "reason": "held for a measurement" });
        let answer = self.post("/v1/queue/suspend", Body::json(&held))?;
        ensure!(value::number(&answer, "paths") > 0, "there was no path to hold: {answer}");
        Ok(())
    }

    /// Lets go of what is kept.
    ///
    /// # Errors
    /// When the engine refuses.
    pub(super) fn release(&mut self) -> anyhow::Result<()> {
        self.post("/v1/queue/resume", Body::empty()).map(drop)
    }

    /// Waits until so many messages are in the sink and in the ledger as delivered, each once.
    ///
    /// # Errors
    /// When they do not come, or one came twice.
    pub(super) fn wait(&mut self, messages: u64) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        while self.receiver.tally().messages < messages {
            self.pause(until, messages)?;
        }
        loop {
            let ledger = self.runtime.block_on(self.client.get("/v1/ledger"))?;
            if value::number(&ledger, "delivered") >= messages {
                break;
            }
            self.pause(until, messages)?;
        }
        let tally = self.receiver.tally();
        ensure!(
            tally.messages == messages && tally.duplicates == 0,
            "{} messages arrived instead of {messages}, {} of them twice",
            tally.messages,
            tally.duplicates
        );
        Ok(())
    }

    fn pause(&mut self, until: Instant, wanted: u64) -> anyhow::Result<()> {
        if let Some(status) = self.engine.try_wait()? {
            bail!("the engine ended ({status}): {}", self.last_words());
        }
        let arrived = self.receiver.tally().messages;
        ensure!(
            Instant::now() < until,
            "{arrived} of {wanted} messages arrived in time: {}",
            self.last_words()
        );
        std::thread::sleep(LOOK);
        Ok(())
    }

    /// When the sink took the last message, in microseconds since 1970.
    pub(super) fn last_at_us(&self) -> u64 {
        value::number(&self.receiver.json(), "last_at_ms") * 1000
    }

    /// How long messages were on their way, in milliseconds: half within, 99 of 100 within.
    pub(super) fn delivery_ms(&self) -> Option<(f64, f64)> {
        let json = self.receiver.json();
        let times = json.get("delivery_ms")?;
        value::decimal(times, "p50").zip(value::decimal(times, "p99"))
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.dir.path().join("engine.log")).unwrap_or_default();
        let mut start = log.len().saturating_sub(LAST_WORDS_BYTES);
        while !log.is_char_boundary(start) {
            start += 1;
        }
        log[start..].trim().to_owned()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Nothing that it holds is wanted any more; the directory goes with it.
        drop(self.engine.kill());
        drop(self.engine.wait());
        drop(self.receiver.stop());
    }
}

/// A sink that takes everything and keeps nothing, with a certificate of its own when `tls` says where to put it.
///
/// # Errors
/// When it cannot listen.
pub(super) fn sink(tls: Option<&Path>) -> anyhow::Result<Receiver> {
    let doors = vec![Door { address: ([127, 0, 0, 1], 0).into(), provider: None }];
    let tls = tls.map(certificate).transpose()?;
    Receiver::start(Options { doors, threads: 1, timed: true, tls, ..Options::default() })
}

fn certificate(dir: &Path) -> anyhow::Result<std::sync::Arc<rustls::ServerConfig>> {
    let made = rcgen::generate_simple_self_signed(["sink.bench.test".to_owned()])?;
    let (certificate, key) = (dir.join("sink.crt"), dir.join("sink.key"));
    std::fs::write(&certificate, made.cert.pem())?;
    std::fs::write(&key, made.signing_key.serialize_pem())?;
    Ok(mta::io::tls::server_config(&certificate, &key)?)
}

fn signing_key(signing: Signing, dir: &Path) -> anyhow::Result<Option<(std::path::PathBuf, &'static str)>> {
    let (pem, algorithm) = match signing {
        Signing::None => return Ok(None),
        Signing::Rsa2048 => (dkim::generate_rsa_2048()?, "rsa-sha256"),
        Signing::Ed25519 => (dkim::generate_ed25519()?, "ed25519-sha256"),
    };
    let file = dir.join("dkim.pem");
    std::fs::write(&file, pem)?;
    Ok(Some((file, algorithm)))
}

fn directory(parent: Option<&Path>) -> anyhow::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("staffetta-bench-");
    match parent {
        Some(parent) => builder
            .tempdir_in(parent)
            .with_context(|| format!("no directory can be made in {}", parent.display())),
        None => builder.tempdir().context("no temporary directory"),
    }
}

/// This program once more, as an engine: the process, and where it takes mail.
fn start(config: &Path, log: &Path) -> anyhow::Result<(Child, SocketAddr)> {
    let program = std::env::current_exe().context("this program's own file is not found")?;
    let mut engine = Command::new(program)
        .args(["serve", "--log", "warn", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(log)?)
        .spawn()
        .context("the engine cannot be started")?;
    let mut line = String::new();
    if let Some(out) = engine.stdout.take() {
        BufReader::new(out).read_line(&mut line)?;
    }
    let smtp = line.split_whitespace().find_map(|word| word.strip_prefix("smtp=")?.parse().ok());
    if let Some(smtp) = smtp {
        return Ok((engine, smtp));
    }
    drop(engine.kill());
    drop(engine.wait());
    let words = std::fs::read_to_string(log).unwrap_or_default();
    bail!("the engine did not start: {}", words.trim())
}
