//! The whole engine in this process, configured as `perf/run` does it, with injector and sink as processes of their own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use console::{Console, Listeners};
use mta::{Engine, Handle};
use report::Reporter;
use serde_json::{Value, json};

use crate::control;

/// What the engine is configured with; `perf/harness/stage.py` fills in its `@names@` in the same way.
const CONFIGURATION: &str = include_str!("../../peers/staffetta/staffetta.toml");
/// How long the engine may take to deliver what it was given.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running engine, its sink and its directory; all gone when it is dropped.
pub(crate) struct House {
    engine: Option<(Engine, Reporter)>,
    sink: Child,
    control: PathBuf,
    programs: PathBuf,
    injected: u64,
    _folder: tempfile::TempDir,
}

impl House {
    /// Starts everything. `programs` is where `staffetta` and `inject` are.
    pub(crate) fn start(programs: &Path, data: &Path, pipeline_depth: u16) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir_in(data)?;
        let (sink, sink_port) = start_sink(programs)?;
        let depth =
            if pipeline_depth > 0 { format!("pipeline_depth = {pipeline_depth}") } else { String::new() };
        let text = CONFIGURATION
            .replace("@dir@", &folder.path().display().to_string())
            .replace("@port@", "0")
            .replace("@sink_port@", &sink_port)
            .replace("@shards@", "")
            .replace("@tls@", "off")
            .replace("@routes@", "")
            .replace("@connections@", "20")
            .replace("@pipeline_depth@", &depth)
            .replace("@domain@", "");
        let mut house = Self {
            engine: None,
            sink,
            control: folder.path().join("control.sock"),
            programs: programs.to_owned(),
            injected: 0,
            _folder: folder,
        };
        house.engine = Some(open(&text)?);
        Ok(house)
    }

    fn engine(&self) -> &Engine {
        &self.engine.as_ref().expect("open until it is dropped").0
    }

    fn handle(&self) -> Handle {
        self.engine().handle()
    }

    /// Sends so many messages by SMTP.
    pub(crate) fn inject(&mut self, messages: u64, bytes: u32) -> anyhow::Result<()> {
        let smtp = self.engine().smtp_addresses().first().context("no listener")?;
        let numbers = [("--messages", messages), ("--first", self.injected), ("--bytes", u64::from(bytes))];
        let mut command = Command::new(self.programs.join("inject"));
        command.args(["--mode", "pipelined", "--connections", "20", "--to", &smtp.to_string()]);
        for (name, number) in numbers {
            command.arg(name).arg(number.to_string());
        }
        let done = command.output().context("inject does not start")?;
        let told = String::from_utf8_lossy(&done.stdout);
        let told: Value = serde_json::from_str(told.lines().last().unwrap_or_default())
            .with_context(|| String::from_utf8_lossy(&done.stderr).into_owned())?;
        if told["failed"] != 0 || told["unsent"] != 0 {
            bail!("the injector: {told}");
        }
        self.injected += messages;
        Ok(())
    }

    /// Waits until the books say that so many more than `before` are delivered.
    pub(crate) fn wait_delivered(&self, before: u64, more: u64) -> anyhow::Result<()> {
        let began = Instant::now();
        while self.delivered() < before + more {
            if began.elapsed() > PATIENCE {
                bail!("{} are delivered instead of {}", self.delivered(), before + more);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Recipients delivered so far.
    pub(crate) fn delivered(&self) -> u64 {
        self.handle().ledger().delivered
    }

    /// Posts JSON to the API.
    pub(crate) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        control::post(&self.control, path, "application/json", body.to_string().as_bytes())
    }

    /// Hands a list of recipients to a campaign.
    pub(crate) fn post_list(&self, campaign: &str, list: &str) -> anyhow::Result<Value> {
        let path = format!("/v1/campaigns/{campaign}/recipients");
        control::post(&self.control, &path, "text/csv", list.as_bytes())
    }

    /// Keeps what comes from now on.
    pub(crate) fn hold(&self) -> anyhow::Result<()> {
        self.post("/v1/queue/suspend", &json!({"for": "12h", "reason": "held for a measurement"})).map(drop)
    }

    /// Lets it go.
    pub(crate) fn release(&self) -> anyhow::Result<()> {
        self.post("/v1/queue/resume", &json!({})).map(drop)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some((engine, reporter)) = self.engine.take() {
            engine.stop();
            reporter.stop();
        }
        // It may have ended by itself.
        let _ = self.sink.kill();
        let _ = self.sink.wait();
    }
}

/// Starts the engine of a configuration with event store and API.
fn open(text: &str) -> anyhow::Result<(Engine, Reporter)> {
    let checked = policy::config::check("staffetta.toml", text);
    let problems: Vec<String> = checked.problems.iter().map(ToString::to_string).collect();
    let config = Arc::new(checked.config.with_context(|| problems.join("\n"))?);
    let engine = Engine::start(Arc::clone(&config))?;
    let handle = engine.handle();
    let reporter = Reporter::start(&config.node.data_dir, handle.readers())?;
    handle.allow_reclaim();
    let console = Console::new(handle, reporter.store())?;
    let listeners = engine.runtime().block_on(Listeners::bind(&config))?;
    engine.runtime().spawn(console::serve(console, listeners, std::future::pending()));
    Ok((engine, reporter))
}

/// The receiver and its port.
fn start_sink(programs: &Path) -> anyhow::Result<(Child, String)> {
    let mut command = Command::new(programs.join("staffetta"));
    command.args(["sink", "--listen", "127.0.0.1:0", "--quiet"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut sink = command.spawn().with_context(|| format!("no {}", programs.join("staffetta").display()))?;
    let mut line = String::new();
    BufReader::new(sink.stdout.take().context("its output is a pipe")?).read_line(&mut line)?;
    let port = line.trim().rsplit_once(':').map(|(_, port)| port.to_owned());
    match port {
        Some(port) => Ok((sink, port)),
        None => {
            // It may have ended by itself.
            let _ = sink.kill();
            let _ = sink.wait();
            bail!("the sink did not start: {line}")
        }
    }
}
