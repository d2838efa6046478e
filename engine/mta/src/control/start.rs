//! Everything that is checked and opened before the engine works; each refusal is one clear sentence.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use content::template::{CampaignDraft, Template};
use mail::CampaignId;
use policy::config::Config;
use spool::{CampaignState, Log, Options, Recovered};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::campaigns::{Campaign, Campaigns};
use crate::io::addresses;
use crate::{NewCampaign, accept};

/// Why the engine does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub(crate) String);

impl StartError {
    pub(super) fn because(why: impl std::fmt::Display) -> Self {
        Self(why.to_string())
    }
}

/// Takes as many open files as this user may have: a connection is one.
pub(super) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

/// Lets the kernel give memory in small pages only: what the queue frees and takes in small pieces would keep many huge
/// pages half empty, a fifth more memory at ten million recipients.
pub(super) fn keep_pages_small() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::info!(%error, "huge pages could not be turned off: the queue takes more memory");
    }
}

/// Says what a configuration gives away.
pub(super) fn warn_of_risks(config: &Config) {
    if config.spool.durability == policy::config::Durability::Memory {
        tracing::warn!("spool.durability is \"memory\": mail that was accepted is LOST when the power fails");
    }
    let has_tokens = config.accounts.iter().any(|account| account.token_hash.is_some());
    if let (Some(http), false) = (&config.http, has_tokens) {
        let address = http.address;
        tracing::info!(%address, "HTTP is open to every program of this host: no account has a token");
    }
}

/// Checks what the host must have: a ring, the source addresses and devices, free ports.
pub(super) fn check_host(config: &Config) -> Result<(), StartError> {
    crate::io::check_kernel().map_err(StartError::because)?;
    let devices = addresses::devices().unwrap_or_default();
    for source in &config.sources {
        if let Some(ip) = source.ip.filter(|ip| !addresses::is_on_host(*ip)) {
            return Err(StartError(absent(&source.name, ip)));
        }
        if let Some(device) = source.device.as_ref().filter(|device| !devices.contains(device)) {
            let name = &source.name;
            return Err(StartError(format!(
                "source {name}: there is no network device {device} on this host"
            )));
        }
    }
    for listener in config.listeners.iter().filter(|listener| listener.address.port() != 0) {
        accept::check_free(listener.address).map_err(StartError)?;
    }
    Ok(())
}

fn absent(source: &str, ip: IpAddr) -> String {
    format!(
        "source {source}: the address {ip} is not on this host; add it with `ip address add {ip} dev DEVICE` or correct the configuration"
    )
}

/// Opens the logs of all shards side by side. There are as many shards as configured, or as logs, whichever is more: a
/// log without a shard would never be finished.
pub(super) fn open_logs(
    data_dir: &Path,
    shards: usize,
    options: Options,
) -> Result<Vec<(Log, Recovered)>, StartError> {
    let shards = shards.max(logs_on_disk(data_dir));
    let open = |index: usize| {
        let shard =
            u8::try_from(index).map_err(|_| StartError("at most 256 shards are possible".to_owned()))?;
        Log::open(data_dir, shard, options).map_err(StartError::because)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..shards).map(|index| scope.spawn(move || open(index))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause)))
            .collect()
    })
}

fn logs_on_disk(data_dir: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(data_dir.join("spool")) else { return 0 };
    let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse::<usize>().ok();
    entries.flatten().filter_map(number).map(|index| index + 1).max().unwrap_or(0)
}

/// Brings the campaigns of a recovered log back.
pub(super) fn recover_campaigns(campaigns: &Campaigns, reader: &spool::Reader, states: &[CampaignState]) {
    for state in states {
        match recover_campaign(reader, state) {
            Ok(campaign) => campaigns.insert(campaign),
            Err(why) => tracing::error!(campaign = %state.campaign, why, "a campaign cannot be recovered"),
        }
    }
}

fn recover_campaign(reader: &spool::Reader, state: &CampaignState) -> Result<Campaign, String> {
    let id = CampaignId(state.campaign.0);
    let content = reader.content(mail::MessageId(id.0)).map_err(|error| error.to_string())?;
    let draft: CampaignDraft = serde_json::from_slice(content.body()).map_err(|error| error.to_string())?;
    let template = Template::compile(&draft).map_err(|error| error.to_string())?;
    let new = NewCampaign { draft, class: content.class(), tenant: content.tenant().to_owned() };
    Ok(Campaign::new(id, new, template, content.accepted_at(), state.phase))
}

/// The name by which the engine calls itself: configured, or the host's.
pub(super) fn host_name(config: &Config) -> String {
    let stated = config.node.name.clone();
    let kernel =
        || std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    stated.or_else(kernel).filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned())
}

/// The address that port 0 became on the first shard, for the others.
pub(super) fn settled(doors: Vec<accept::Door>, addresses: &[SocketAddr]) -> Vec<accept::Door> {
    doors.into_iter().zip(addresses).map(|(door, &address)| door.at(address)).collect()
}

/// How the spool is kept, as configured.
pub(super) fn spool_options(config: &Config) -> Options {
    Options {
        segment_bytes: config.spool.segment_bytes,
        durability: match config.spool.durability {
            policy::config::Durability::Disk => spool::Durability::Disk,
            policy::config::Durability::Memory => spool::Durability::Memory,
        },
        min_free_bytes: config.spool.min_free_bytes,
        spare_bytes_max: config.spool.spare_bytes_max,
    }
}

/// How many shards are asked for: as configured, or one per core.
pub(super) fn shard_count(config: &Config) -> usize {
    match usize::from(config.node.shards) {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        stated => stated,
    }
}

/// Never used twice at the same time: keeps a data directory to one engine.
pub(super) fn lock(data_dir: &Path) -> Result<Arc<spool::SpoolLock>, StartError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
    made.map_err(|error| StartError(format!("the data_dir {} cannot be made: {error}", data_dir.display())))?;
    spool::SpoolLock::acquire(data_dir).map(Arc::new).map_err(StartError::because)
}
