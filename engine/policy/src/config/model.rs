//! What a configuration means: typed, complete, every default filled in, every name resolved to an index.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mail::{Address, Class, Secret};

use crate::brain::{CanarySettings, WarmUpPlan};
use crate::breaker::BreakerSettings;
use crate::classify::{Behaviour, Rule};
use crate::provider::{ProviderIndex, Providers};
use crate::verdict::Rules;
use crate::warmup::Ladder;
use crate::{Network, Rate, TlsPolicy};

/// A checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[node]`
    pub node: Node,
    /// `[spool]`
    pub spool: Spool,
    /// `[[smtp_listener]]`, in the order of the file.
    pub listeners: Vec<Listener>,
    /// `[http]`
    pub http: Option<Http>,
    /// `[dns]`
    pub dns: Dns,
    /// `[[account]]`
    pub accounts: Vec<Account>,
    /// `[[domain]]`
    pub domains: Vec<Domain>,
    /// `[[source]]`; one called `default` that leaves all to the kernel when the file has none. Never empty.
    pub sources: Vec<Source>,
    /// `[[pool]]`; behind them one called `default` of all sources, unless the file has one of that name. Never empty.
    pub pools: Vec<Pool>,
    /// `[[route]]`
    pub routes: Vec<Route>,
    /// `[class.NAME]` and `[classify]`.
    pub classes: Classes,
    /// `[provider.NAME]` over the built-in table.
    pub providers: Providers,
    /// `[[reply_rule]]` before the built-in rules.
    pub replies: Rules,
    /// `[deliver]`
    pub deliver: Deliver,
    /// `[tls_report]`
    pub tls_report: TlsReport,
}

/// `[node]`: this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The host name it goes by in greetings, EHLO, Received and Message-ID; `None` is the system's host name, which the shell reads.
    pub name: Option<String>,
    /// Where the spool and everything else is kept.
    pub data_dir: PathBuf,
    /// How many shards; 0 is one per core.
    pub shards: u16,
    /// The unix socket of the CLI.
    pub control: PathBuf,
}

/// `[spool]`: how accepted mail is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    /// What is awaited before mail is accepted.
    pub durability: Durability,
    /// Size of a segment file.
    pub segment_bytes: u64,
    /// Mail is refused for now when the disk has less room than this.
    pub min_free_bytes: u64,
    /// So much of segments that are done with is kept by each shard to write the next ones over them.
    pub spare_bytes_max: u64,
    /// Mail is refused for now when so many recipients wait.
    pub waiting_max: u64,
}

/// What is awaited before 250 is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The disk has it.
    Disk,
    /// The page cache has it: it survives a crash of the engine, not one of the machine.
    Memory,
}

/// `[[smtp_listener]]`: where mail comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where to listen.
    pub address: SocketAddr,
    /// Who may relay without logging in.
    pub trusted: Vec<Network>,
    /// How connections are protected.
    pub tls: ListenerTls,
    /// Who must log in.
    pub auth: Auth,
    /// The largest message it takes.
    pub message_bytes_max: u64,
    /// Connections at the same time, over all shards.
    pub connections_max: u32,
    /// Certificate chain and private key, PEM files; there is one when `tls` is not off.
    pub certificate: Option<Certificate>,
}

/// The files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// PEM file with the chain, the server's own first.
    pub cert_file: PathBuf,
    /// PEM file with the private key.
    pub key_file: PathBuf,
}

/// How connections of clients are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerTls {
    /// In clear.
    Off,
    /// STARTTLS is offered (RFC 3207).
    StartTls,
    /// TLS from the first byte (RFC 8314).
    Implicit,
}

/// Who must log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// AUTH is not offered.
    Off,
    /// AUTH is offered; trusted networks need not use it.
    Optional,
    /// Nobody may send without it, not even from trusted networks.
    Required,
}

/// `[http]`: API, metrics and console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Where to listen.
    pub address: SocketAddr,
    /// The largest message it takes, the same as a listener's default.
    pub message_bytes_max: u64,
}

/// `[dns]`: whom to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Resolvers; empty: those of the system.
    pub servers: Vec<SocketAddr>,
    /// Whose word on DNSSEC is taken.
    pub dnssec: Dnssec,
    /// DNSKEY records that validation begins with; `None`: those of the root.
    pub trust_anchor_file: Option<PathBuf>,
}

/// Whose word on the signatures of DNS answers is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dnssec {
    /// The AD bit of the resolvers where all of them are on this host; nobody's otherwise.
    #[default]
    Auto,
    /// Nobody's: no answer counts as signed.
    Off,
    /// The AD bit of the resolvers (RFC 6840 section 5.7), wherever they are.
    TrustAd,
    /// The engine checks the signatures itself.
    Validate,
}

impl Dnssec {
    /// The names of the configuration file, in the order of [`Dnssec::ALL`].
    pub const NAMES: [&'static str; 4] = ["auto", "off", "trust-ad", "validate"];
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Off, Self::TrustAd, Self::Validate];
}

/// `[[account]]`: somebody who may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user name of AUTH and the name in reports.
    pub name: String,
    /// For AUTH.
    pub password_hash: Option<SecretHash>,
    /// For HTTP.
    pub token_hash: Option<SecretHash>,
    /// The class of its mail when a message does not say and no rule fits.
    pub class: Option<Class>,
    /// `[[account.rule]]`, in the order of the file: classes of some of its mail.
    pub rules: Vec<Rule>,
    /// Index of the pool its mail leaves from; `None`: the class's pool.
    pub pool: Option<usize>,
    /// What it may send as: addresses, or `@domain`; empty: anything.
    pub senders: Vec<String>,
    /// Recipients per time; `None` is unlimited.
    pub quota: Option<Rate>,
}

/// What is kept of a password or token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretHash {
    /// The SHA-256 of a secret that is random and long.
    Sha256([u8; 32]),
    /// A PHC string of argon2id, for secrets that people choose.
    Argon2id(String),
}

/// `[[domain]]`: a domain that mail is sent from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Its name, in lower case.
    pub name: String,
    /// The domain that bounces of its mail return to; `None`: the envelope sender as submitted.
    pub return_path: Option<String>,
    /// Keys that its mail is signed with, all of them.
    pub dkim: Vec<DkimKey>,
    /// How it is warmed up; `None`: it is warm.
    pub warm_up: Option<WarmUpPlan>,
}

/// `[[domain.dkim]]`: a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DkimKey {
    /// The `s=` of the signature.
    pub selector: String,
    /// PEM file with the private key.
    pub key_file: PathBuf,
    /// What kind of key it is.
    pub algorithm: DkimAlgorithm,
}

/// The `a=` of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DkimAlgorithm {
    /// RSA with SHA-256 (RFC 6376).
    RsaSha256,
    /// Ed25519 (RFC 8463).
    Ed25519Sha256,
}

/// `[[source]]`: an address that mail leaves from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Its name in reports.
    pub name: String,
    /// The local address; `None`: the kernel picks.
    pub ip: Option<IpAddr>,
    /// The network device to bind to.
    pub device: Option<String>,
    /// What EHLO says; `None`: the node's name.
    pub ehlo: Option<String>,
    /// How it is warmed up; `None`: it is warm.
    pub warm_up: Option<WarmUpPlan>,
}

/// `[[pool]]`: sources that share mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its sources.
    pub sources: Vec<Share>,
    /// Indices of the sources that take over when those are burnt.
    pub reserve: Vec<usize>,
}

/// A source's part in a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Index in [`Config::sources`].
    pub source: usize,
    /// Its share, at least 1.
    pub weight: u32,
}

/// `[[route]]`: mail for a domain goes to these hosts instead of its MX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which domains.
    pub domain: DomainPattern,
    /// Where to, in order of preference.
    pub hosts: Vec<HostPort>,
    /// How connections are protected; `None`: as the provider or `[deliver]` say.
    pub tls: Option<TlsPolicy>,
    /// Whom the certificates of the hosts must name; `None`: each host its own name.
    pub tls_name: Option<String>,
    /// What the hosts are shown when they ask who we are.
    pub certificate: Option<Certificate>,
    /// How its hosts are spoken to.
    pub access: Access,
}

/// How the hosts of a route are spoken to; hosts that DNS names: by SMTP, without a login.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Access {
    /// What they speak.
    pub protocol: Protocol,
    /// Who to be there.
    pub login: Option<Arc<Login>>,
}

/// What the hosts of a route speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RFC 5321.
    #[default]
    Smtp,
    /// RFC 2033.
    Lmtp,
}

impl Protocol {
    /// The names in the file, in the order of the variants.
    pub(crate) const NAMES: [&str; 2] = ["smtp", "lmtp"];
}

/// An account at the hosts of a route (RFC 4954).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Login {
    /// Its name.
    pub username: String,
    /// Its password; empty until the shell has read `password_file`.
    pub password: Secret,
    /// Where the password is, when it is not in the configuration.
    pub password_file: Option<PathBuf>,
    /// Whether the route says that connections are in clear, so that the password may be too. Else it is shown only to a
    /// host that has proved itself.
    pub in_clear: bool,
}

/// Which domains a route is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainPattern {
    /// All.
    Any,
    /// `*.example.test`: all below `.example.test`, which is what is kept here.
    Below(String),
    /// One.
    Exactly(String),
}

/// A server and its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// Name or IP address (without brackets).
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// `[class.NAME]` and `[classify]`: the kinds of mail, and how one of them is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classes {
    /// How each is treated, in the order of [`Class::ALL`].
    pub policies: [ClassPolicy; 4],
    /// What is done about content that repeats.
    pub behaviour: Behaviour,
}

/// `[class.NAME]`: how one kind of mail is treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassPolicy {
    /// Index in [`Config::pools`].
    pub pool: usize,
    /// Its share of a path beside the other classes, at least 1.
    pub weight: u32,
    /// How soon a message that names no deadline must arrive; `None`: no hurry.
    pub deadline: Option<Duration>,
    /// When it is given up and bounced.
    pub expiry: Duration,
    /// The waits after the first, second, ... failed attempt; the last repeats. Never empty.
    pub retry: Vec<Duration>,
}

/// `[deliver]`: connections to receivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deliver {
    /// TCP port of receivers.
    pub port: u16,
    /// How connections are protected where neither route nor provider say.
    pub tls: TlsPolicy,
    /// PEM file of authorities that are trusted besides the public ones.
    pub ca_file: Option<PathBuf>,
    /// Whether TLSA records are asked for and heeded (RFC 7672).
    pub dane: bool,
    /// Whether MTA-STS policies are asked for and heeded (RFC 8461).
    pub mta_sts: bool,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long any reply may take at most.
    pub reply_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// Addresses that DNS may name though they are private.
    pub allow_private: Vec<Network>,
    /// How long transactions under way may take to end when the engine stops.
    pub stop_grace: Duration,
    /// `[learning]`: whether limits are learned from replies.
    pub learns: bool,
    /// `[canary]`, `[breaker]` and `[[ladder]]`: how mail is judged.
    pub judgement: Judgement,
}

/// `[canary]`, `[breaker]` and `[[ladder]]`: how mail is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// `[canary]`
    pub canary: CanarySettings,
    /// `[breaker]`
    pub breaker: BreakerSettings,
    /// `[[ladder]]`, and the built-in ones that the file does not replace.
    pub ladders: Vec<Arc<Ladder>>,
}

/// `[tls_report]`: who tells domains how connections to them were protected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsReport {
    /// The address that reports are sent from; without one none is sent.
    pub from: Option<Address>,
    /// The name of the organization that reports.
    pub organization: Option<String>,
    /// Whom to ask about a report.
    pub contact: Option<String>,
}

impl Config {
    /// The route for mail to `domain` (in lower case): the most specific one that fits, and of equals the first.
    #[must_use]
    pub fn route(&self, domain: &str) -> Option<&Route> {
        let mut best: Option<(usize, &Route)> = None;
        for route in &self.routes {
            let Some(rank) = route.domain.rank(domain) else { continue };
            if best.is_none_or(|(highest, _)| rank > highest) {
                best = Some((rank, route));
            }
        }
        best.map(|(_, route)| route)
    }

    /// How mail of `class` is treated.
    #[must_use]
    pub fn class(&self, class: Class) -> &ClassPolicy {
        &self.classes.policies[class.index()]
    }

    /// The waits between attempts: the provider's own schedule where it has one, the class's otherwise. Critical mail
    /// always keeps that of its class, which is made for its deadlines.
    #[must_use]
    pub fn retry(&self, class: Class, provider: ProviderIndex) -> &[Duration] {
        match &self.providers[provider].retry {
            Some(retry) if class != Class::Critical => retry,
            _ => &self.class(class).retry,
        }
    }

    /// How a connection is protected: by the route's word, else the provider's, else that of `[deliver]`.
    #[must_use]
    pub fn tls(&self, route: Option<&Route>, provider: ProviderIndex) -> TlsPolicy {
        route.and_then(|route| route.tls).or(self.providers[provider].tls).unwrap_or(self.deliver.tls)
    }

    /// The account called `name`.
    #[must_use]
    pub fn account(&self, name: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.name == name)
    }

    /// The domain called `name`, or the nearest one above it, as DKIM's relaxed alignment has it (RFC 7489 section 3.1.1).
    #[must_use]
    pub fn domain(&self, name: &str) -> Option<&Domain> {
        let above = |domain: &&Domain| {
            name.strip_suffix(domain.name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.domains.iter().filter(above).max_by_key(|domain| domain.name.len())
    }
}

impl DomainPattern {
    /// How specifically the pattern fits `domain` (in lower case); `None` when it does not.
    #[must_use]
    pub fn rank(&self, domain: &str) -> Option<usize> {
        match self {
            Self::Any => Some(0),
            Self::Below(suffix) => {
                (domain.len() > suffix.len() && domain.ends_with(suffix)).then_some(suffix.len())
            }
            Self::Exactly(name) => (domain == name).then_some(usize::MAX),
        }
    }
}
