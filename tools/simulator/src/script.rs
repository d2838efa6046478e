//! What a rehearsal plays: the sending side of a world as a configuration, by which the engine's own reading of
//! configurations decides, and the mail that is sent.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use mail::{Address, Class, Phase, RecipientId};
use policy::brain::Mechanisms;
use policy::config::Config;
use policy::source::Candidate;
use policy::warmup::{Ladder, LadderUnit};
use world::load::{Identity, RESERVE, Warmth};
use world::{Answer, Load, ProviderIndex, World};

use crate::letters::Letters;
use crate::rules::Rules;
use crate::{Fault, Options};

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The engine's own policy.
    Brain,
    /// Each provider's documented limits and nothing learned.
    Static,
}

/// The sources of a class.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    pub(crate) main: Vec<Candidate>,
    pub(crate) reserve: Vec<Candidate>,
}

/// Everything that does not change while it is played.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) config: Config,
    pub(crate) mode: Mode,
    pub(crate) mechanisms: Mechanisms,
    /// By the index of the configuration: names, whose replies they speak, and who they are in the world.
    pub(crate) provider_names: Vec<String>,
    pub(crate) manners: Vec<&'static str>,
    pub(crate) worlds: Vec<ProviderIndex>,
    /// By the position in the world: the index of the configuration, and a domain of it.
    of_world: Vec<u16>,
    domains: Vec<String>,
    /// By source.
    pub(crate) ips: Vec<IpAddr>,
    /// By class.
    pub(crate) pools: [Pool; 4],
    /// By batch: when it begins, and how long a stream pauses between two messages.
    pub(crate) starts: Vec<Duration>,
    pub(crate) pauses: Vec<Duration>,
    /// From here to every provider and back.
    pub(crate) round_trip: Duration,
    pub(crate) rules: Rules,
}

/// What is taken for the limit where nothing is documented, as the built-in provider `default` has it.
const CONNECTIONS: u32 = 10;
const MESSAGES_PER_CONNECTION: u32 = 100;
/// What of the engine's policy works in a static configuration.
const NOTHING: Mechanisms = Mechanisms {
    learning: false,
    source_choice: false,
    reroute: false,
    warm_up: false,
    canary: false,
    breaker: false,
    mailbox: false,
    identity: false,
    reserve: false,
};
/// The ladder of sources of which a world says only that nobody knows them.
const LADDER: &str = "careful";

impl Script {
    pub(crate) fn new(world: &World, options: &Options) -> Result<Self, Fault> {
        let load = world.load();
        let mut text = configuration(world, load);
        if let Some(ladder) = &options.ladder {
            text = text.replace(&format!("warmup = {LADDER:?}"), "warmup = \"planned\"") + &planned(ladder);
        }
        let checked = policy::config::check("rehearsal.toml", &text);
        let config = checked.config.ok_or_else(|| {
            let problems: Vec<_> = checked.problems.iter().map(ToString::to_string).collect();
            Fault::Configuration(problems.join("\n"))
        })?;
        let known: Vec<ProviderIndex> = world.providers().collect();
        let index = |name: &str| config.providers.by_name(name).map_or(0, |index| index.0);
        let of_world: Vec<u16> = known.iter().map(|&provider| index(world.name(provider))).collect();
        let count = config.providers.count();
        let mut provider_names = vec![String::new(); count];
        let mut manners = vec!["default"; count];
        let mut worlds = vec![known[0]; count];
        for (&provider, &index) in known.iter().zip(&of_world) {
            let index = usize::from(index);
            world.name(provider).clone_into(&mut provider_names[index]);
            manners[index] = world.manner(provider).provider();
            worlds[index] = provider;
        }
        let documented = config.providers.iter().map(|(_, provider)| provider.limits).collect();
        let ips = match load.sources.is_empty() {
            true => vec![IpAddr::from([192, 0, 2, 1])],
            false => load.sources.iter().map(|source| source.ip).collect(),
        };
        Ok(Self {
            pools: Class::ALL.map(|class| pool(&config, class)),
            domains: known.iter().map(|&provider| a_domain(world, provider)).collect(),
            config,
            mode: options.mode,
            mechanisms: match options.mode {
                Mode::Brain => options.mechanisms,
                Mode::Static => NOTHING,
            },
            provider_names,
            manners,
            worlds,
            of_world,
            ips,
            starts: Vec::new(),
            pauses: Vec::new(),
            round_trip: options.round_trip,
            rules: Rules::new(documented),
        })
    }

    /// The configuration's index of the provider at this position of the world.
    pub(crate) fn provider_of(&self, position: u8) -> u16 {
        self.of_world[usize::from(position)]
    }

    /// The indices of the world's providers.
    pub(crate) fn played(&self) -> impl Iterator<Item = u16> + '_ {
        self.of_world.iter().copied()
    }

    pub(crate) fn weights(&self) -> [u32; 4] {
        Class::ALL.map(|class| self.config.class(class).weight)
    }

    /// Whether limits are learned.
    pub(crate) fn learns(&self) -> bool {
        self.mode == Mode::Brain && self.mechanisms.learning
    }

    pub(crate) const fn critical_share(&self) -> f32 {
        match (self.mode, self.mechanisms.reserve) {
            (Mode::Brain, true) => queue::CRITICAL_SHARE,
            _ => 0.0,
        }
    }

    /// How long an answer is waited for: one that does not come, for as long as there is patience.
    pub(crate) fn waits(&self, phase: Phase, answer: &Answer) -> Duration {
        match answer.fault() {
            Some(policy::verdict::Fault::ReplyTimeout) => {
                self.config.deliver.reply_timeout.min(patience(phase))
            }
            _ => answer.delay,
        }
    }

    pub(crate) fn address(&self, letters: &Letters, id: RecipientId) -> Address {
        let domain = &self.domains[usize::from(letters.provider(id))];
        Address::parse(&format!("{}@{domain}", letters.local(id)))
            .expect("both parts are made of letters and digits")
    }
}

/// How long a reply is waited for at most, whatever is configured: RFC 5321 section 4.5.3.2.
const fn patience(phase: Phase) -> Duration {
    match phase {
        Phase::Body => Duration::from_secs(10 * 60),
        _ => Duration::from_secs(5 * 60),
    }
}

/// The world's sending side as an operator would write it.
fn configuration(world: &World, load: &Load) -> String {
    let mut text = String::from(
        "[node]\nname = \"rehearsal.test\"\ndata_dir = \"/nonexistent\"\n\n[[smtp_listener]]\naddress = \"127.0.0.1:2525\"\n\n",
    );
    for source in &load.sources {
        let _ = writeln!(
            text,
            "[[source]]\nname = {:?}\nip = \"{}\"\n{}",
            source.name,
            source.ip,
            warm_up(&source.warm)
        );
    }
    // Where no source is known yet, a sender that nobody knows begins with them.
    if load.sources.iter().any(|source| source.warm == Warmth::Cold) {
        let is_known = |identity: &Identity| identity.standing.all.is_some() || identity.usual.is_some();
        for identity in load.identities.iter().filter(|identity| !is_known(identity)) {
            let _ = writeln!(text, "[[domain]]\nname = {:?}\n{}", identity.domain, warm_up(&Warmth::Cold));
        }
    }
    let mut pools: Vec<&str> = load.sources.iter().map(|source| source.pool.as_str()).collect();
    pools.sort_unstable();
    pools.dedup();
    let members = |pool: &str| {
        let names = load.sources.iter().filter(|source| source.pool == pool);
        names.map(|source| format!("{:?}", source.name)).collect::<Vec<_>>().join(", ")
    };
    let first = pools.iter().copied().find(|&pool| pool != RESERVE);
    for pool in pools.iter().copied().filter(|&pool| pool != RESERVE) {
        let _ = writeln!(text, "[[pool]]\nname = {pool:?}\nsources = [{}]", members(pool));
        if pools.contains(&RESERVE) {
            let _ = writeln!(text, "reserve = [{}]", members(RESERVE));
        }
        text.push('\n');
    }
    for class in Class::ALL {
        let main = if pools.contains(&"main") { Some("main") } else { first };
        let own = pools.iter().copied().find(|&pool| pool == class.name()).or(main);
        if let Some(pool) = own {
            let _ = writeln!(text, "[class.{}]\npool = {pool:?}\n", class.name());
        }
    }
    for provider in world.providers() {
        text.push_str(&provider_section(world, provider));
    }
    text
}

/// The ladder by which a source that is not known is warmed up.
fn warm_up(warmth: &Warmth) -> String {
    match warmth {
        Warmth::Warm => String::new(),
        Warmth::Cold => format!("warmup = {LADDER:?}\n"),
        Warmth::Ladder { age, name } => {
            format!("warmup = {name:?}\nwarmup_day = {}\n", age.as_secs() / 86_400 + 1)
        }
    }
}

/// A ladder as an operator writes one.
fn planned(ladder: &Ladder) -> String {
    let unit = match ladder.unit {
        LadderUnit::Day => "day",
        LadderUnit::Hour => "hour",
    };
    format!("[[ladder]]\nname = \"planned\"\nunit = \"{unit}\"\nsteps = {:?}\n", ladder.steps)
}

fn provider_section(world: &World, provider: ProviderIndex) -> String {
    let documented = world.documented(provider);
    let rate = documented.rate.map_or_else(|| "unlimited".to_owned(), |rate| rate.to_string());
    let connections = documented.connections.unwrap_or(CONNECTIONS);
    let most = connections.saturating_mul(8).max(40);
    format!(
        "[provider.{:?}]\ndomains = [{:?}]\nconnections = {connections}\nconnections_max = {most}\nrate = \"{rate}\"\nrate_max = \"unlimited\"\n\
         messages_per_connection = {}\nrecipients_per_message = {}\npipeline_depth = {}\n\n",
        world.name(provider),
        a_domain(world, provider),
        documented.messages_per_connection.unwrap_or(MESSAGES_PER_CONNECTION),
        documented.recipients_per_message.unwrap_or(50),
        documented.pipeline_depth.unwrap_or(1),
    )
}

fn pool(config: &Config, class: Class) -> Pool {
    let pool = &config.pools[config.class(class).pool];
    let candidate = |source: usize, weight| Candidate { source: source as u16, weight };
    Pool {
        main: pool.sources.iter().map(|share| candidate(share.source, share.weight)).collect(),
        reserve: pool.reserve.iter().map(|&source| candidate(source, 1)).collect(),
    }
}

fn a_domain(world: &World, provider: ProviderIndex) -> String {
    let named = world.domains(provider).into_iter().find(|domain| domain != "*");
    named.unwrap_or_else(|| "somewhere.example".to_owned())
}
