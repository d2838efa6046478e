//! Where the demo plays: a temporary directory, pretend providers on loopback, and an engine that is pointed at them.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use mta::Handle;
use report::Store;
use tempfile::TempDir;
use world::World;

use crate::house::House;
use crate::receiver::{Door, Options, Receiver, Tally};
use crate::ui::paint::Paint;

/// The seed of the world's chances: every demo meets the same unknown users and full mailboxes.
const SEED: u64 = 7;
/// Addresses that mail leaves from. All of 127.0.0.0/8 is on every Linux host.
const SOURCES: [&str; 4] = ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"];

/// A full mailbox rests for hours, because people take hours to empty one. Those of the pretend providers are emptied within seconds,
/// and the demo is over in less than a minute: it has them tried again like what is greylisted.
const EMPTIED_SOON: &str = "[[reply_rule]]\nname = \"demo.emptied-soon\"\nclass = \"greylist\"\ncodes = [\"452\"]\n\
     enhanced = [\"4.2.2\"]\nsamples = [\"452 4.2.2 Mailbox full\"]\n";

/// A provider as the demo sends to it: its name in the world, its share of the list in percent, and what the engine
/// is told of it.
pub(super) struct Sight {
    pub(super) name: &'static str,
    pub(super) share: u64,
    connections: u32,
    rate: &'static str,
}

/// The providers of the built-in world, with limits a little below those they have: a sender that knows its receivers.
pub(super) const SIGHTS: [Sight; 5] = [
    Sight { name: "gmail", share: 38, connections: 16, rate: "3800/s" },
    Sight { name: "outlook", share: 24, connections: 16, rate: "2800/s" },
    Sight { name: "yahoo", share: 16, connections: 16, rate: "2300/s" },
    Sight { name: "libero", share: 8, connections: 8, rate: "900/s" },
    Sight { name: "small-server", share: 14, connections: 8, rate: "4000/s" },
];

/// The stage while the demo plays, and what is left of it afterwards.
pub(super) struct Stage {
    house: Option<House>,
    receiver: Receiver,
    dir: Option<TempDir>,
    path: PathBuf,
    /// The domains of each provider in the order of [`SIGHTS`].
    domains: Vec<Vec<String>>,
}

/// Where the load goes in.
#[derive(Clone, Debug)]
pub(super) struct Doors {
    pub(super) smtp: SocketAddr,
    pub(super) control: PathBuf,
    pub(super) domains: Vec<Vec<String>>,
}

impl Stage {
    /// Starts providers and engine.
    ///
    /// # Errors
    /// When there is no io_uring, no room in the temporary directory, or no port.
    pub(super) fn set(shards: u16) -> anyhow::Result<Self> {
        let dir =
            tempfile::Builder::new().prefix("staffetta-demo-").tempdir().context("no temporary directory")?;
        let world = World::builtin(SEED);
        let domains =
            SIGHTS.iter().map(|sight| domains_of(&world, sight.name)).collect::<anyhow::Result<Vec<_>>>()?;
        let door = |sight: &Sight| Door {
            address: ([127, 0, 0, 1], 0).into(),
            provider: Some(sight.name.to_owned()),
        };
        let doors = SIGHTS.iter().map(door).collect();
        let receiver =
            Receiver::start(Options { doors, world: Some(world), threads: 1, ..Options::default() })?;
        let path = dir.path().to_owned();
        let text = configuration(&path, shards, receiver.doors(), &domains);
        let file = path.join("staffetta.toml");
        std::fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))?;
        let config = crate::config::load(&file)?;
        let house = Some(House::open(Arc::new(config))?);
        Ok(Self { house, receiver, dir: Some(dir), path, domains })
    }

    fn house(&self) -> &House {
        self.house.as_ref().expect("the house stands until the stage is closed")
    }

    /// What the engine is used by.
    pub(super) fn handle(&self) -> Handle {
        self.house().handle()
    }

    /// What became of everything.
    pub(super) fn store(&self) -> Store {
        self.house().store()
    }

    /// Waits for something that the engine answers.
    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.house().runtime().block_on(work)
    }

    /// Where the load goes in.
    pub(super) fn doors(&self) -> Doors {
        Doors {
            smtp: self.house().smtp_addresses()[0],
            control: self.path.join("control.sock"),
            domains: self.domains.clone(),
        }
    }

    /// The temporary directory.
    pub(super) fn directory(&self) -> &Path {
        &self.path
    }

    /// Stops the engine, then the providers; the directory goes unless it is to be kept.
    ///
    /// # Errors
    /// When the receiver died.
    pub(super) fn close(&mut self, keep: bool) -> anyhow::Result<(Tally, Vec<(String, world::Counters)>)> {
        if let Some(house) = self.house.take() {
            house.close();
        }
        let tally = self.receiver.stop()?;
        if let Some(dir) = self.dir.take_if(|_| keep) {
            self.path = dir.keep();
        } else {
            self.dir = None;
            self.path = PathBuf::new();
        }
        Ok((tally, self.receiver.providers()))
    }

    /// The directory, when it was kept.
    pub(super) fn kept(&self) -> Option<&Path> {
        Some(self.path.as_path()).filter(|path| !path.as_os_str().is_empty())
    }

    /// What is said before the curtain rises.
    pub(super) fn opening(&self, messages: u64, paint: Paint) -> String {
        let providers: Vec<String> = SIGHTS.iter().map(|sight| paint.cyan(sight.name)).collect();
        format!(
            "\n  {}  a newsletter to {} recipients, transactional mail by SMTP, mission-critical mail with deadlines\n  {}  {}\n",
            paint.bold("Staffetta demo"),
            crate::ui::human::count(messages),
            paint.dim("pretend providers on loopback:"),
            providers.join(", "),
        )
    }
}

/// Reserved domains of a provider; those of the one that has all others are made up.
fn domains_of(world: &World, name: &str) -> anyhow::Result<Vec<String>> {
    let provider =
        world.provider_named(name).ok_or_else(|| anyhow!("the built-in world has no provider {name}"))?;
    let domains: Vec<String> =
        world.domains(provider).iter().filter(|name| name.ends_with(".test")).cloned().collect();
    if domains.is_empty() {
        return Ok((1..=12).map(|n| format!("company{n}.test")).collect());
    }
    Ok(domains)
}

fn configuration(dir: &Path, shards: u16, doors: &[Door], domains: &[Vec<String>]) -> String {
    let mut text = format!(
        "[node]\nname = \"engine.demo.test\"\ndata_dir = \"{0}/data\"\ncontrol = \"{0}/control.sock\"\nshards = {shards}\n\
         [spool]\nsegment = \"64MiB\"\nmin_free = \"64MiB\"\n\
         [[smtp_listener]]\naddress = \"127.0.0.1:0\"\ntrusted = [\"127.0.0.0/8\"]\n\
         [deliver]\nallow_private = [\"127.0.0.0/8\"]\nstop_grace = \"5s\"\ntls = \"off\"\n",
        dir.display()
    );
    for class in mail::Class::ALL {
        let limits = if class == mail::Class::Critical {
            "deadline = \"10s\"\nexpiry = \"30s\""
        } else {
            "expiry = \"60s\""
        };
        let _ = write!(
            text,
            "[class.{class}]\npool = \"demo\"\n{limits}\nretry = [\"1s\", \"2s\", \"2s\", \"3s\"]\n"
        );
    }
    text.push_str(EMPTIED_SOON);
    for (place, ip) in SOURCES.iter().enumerate() {
        let _ = write!(text, "[[source]]\nname = \"ip{}\"\nip = \"{ip}\"\n", place + 1);
    }
    text.push_str("[[pool]]\nname = \"demo\"\nsources = [\"ip1\", \"ip2\", \"ip3\", \"ip4\"]\n");
    for ((sight, door), domains) in SIGHTS.iter().zip(doors).zip(domains) {
        let catches_all = sight.name == "small-server";
        // Notices of failure go home to the sender, whom the small server has too.
        let own = catches_all.then(|| "trattoria.test".to_owned());
        let known: Vec<&String> = domains.iter().chain(&own).collect();
        let _ = write!(
            text,
            "[provider.\"{}\"]\ndomains = {known:?}\nconnections = {}\nrate = \"{}\"\nmessages_per_connection = 90\n",
            sight.name, sight.connections, sight.rate
        );
        let routed = if catches_all { vec!["*".to_owned()] } else { domains.clone() };
        for domain in routed {
            let _ = write!(text, "[[route]]\ndomain = \"{domain}\"\nhosts = [\"{}\"]\n", door.address);
        }
    }
    text
}
