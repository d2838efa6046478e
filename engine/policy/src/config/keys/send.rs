//! The keys of what goes out: sources, pools, routes, classes, providers, connections.

use crate::TlsPolicy;
use crate::config::model::Protocol;

use super::judgement::{WARMUP, WARMUP_DAY, WARMUP_START};
use super::{Key, Kind, NAME, Section, Shape, Standard};

const SHORT: Kind = Kind::Duration { max_days: 1 };
const LONG: Kind = Kind::Duration { max_days: 60 };

pub(super) const SOURCE: Section = Section {
    name: "source",
    shape: Shape::Many,
    about: "An address that mail leaves from. Without any the kernel picks the address.",
    keys: &[
        NAME,
        Key {
            name: "ip",
            kind: Kind::Ip,
            default: Standard::Nothing,
            about: "The local address that connections are bound to; it must be on this host.",
            reason: "Without it the kernel picks.",
        },
        Key {
            name: "device",
            kind: Kind::Device,
            default: Standard::Nothing,
            about: "The network device that connections are bound to.",
            reason: "Without it the routing table decides.",
        },
        Key {
            name: "ehlo",
            kind: Kind::HostName,
            default: Standard::Nothing,
            about: "What EHLO says; it should be the name of the PTR record of the address.",
            reason: "Without it the name of the node.",
        },
        WARMUP,
        WARMUP_START,
        WARMUP_DAY,
    ],
};

pub(super) const POOL: Section = Section {
    name: "pool",
    shape: Shape::Many,
    about: "Sources that share the mail of some classes or accounts. A pool `default` of all sources is there unless you define one of that name.",
    keys: &[
        NAME,
        Key {
            name: "sources",
            kind: Kind::List(&Kind::Share),
            default: Standard::Required,
            about: "Its sources. One of weight 2 gets twice the mail of one of weight 1, which is the weight of a bare name.",
            reason: "",
        },
        Key {
            name: "reserve",
            kind: Kind::List(&Kind::Text),
            default: Standard::Is("[]"),
            about: "Sources that take over for good senders when those are burnt at a provider.",
            reason: "A reserve has to be warmed up first, which nobody can do for you unasked.",
        },
    ],
};

pub(super) const ROUTE: Section = Section {
    name: "route",
    shape: Shape::Many,
    about: "Mail for a domain goes to these hosts instead of its MX. The most specific route decides.",
    keys: &[
        Key {
            name: "domain",
            kind: Kind::DomainPattern,
            default: Standard::Required,
            about: "Which domains.",
            reason: "",
        },
        Key {
            name: "hosts",
            kind: Kind::List(&Kind::HostPort),
            default: Standard::Required,
            about: "Where to, in order of preference. These may be private or loopback addresses.",
            reason: "",
        },
        Key {
            name: "tls",
            kind: Kind::OneOf(&TlsPolicy::NAMES),
            default: Standard::Nothing,
            about: "How connections to them are protected; the names are explained in `[deliver]`.",
            reason: "Without it as the provider or `[deliver]` say.",
        },
        Key {
            name: "tls_name",
            kind: Kind::HostName,
            default: Standard::Nothing,
            about: "The name that the certificates of the hosts must bear, for hosts that are given as addresses.",
            reason: "Without it each host must prove the name, or the address, under which it stands in `hosts`.",
        },
        Key {
            name: "tls_certificate",
            kind: Kind::Path,
            default: Standard::Nothing,
            about: "PEM file with the certificate chain, its own first, that a host is shown which asks for a client certificate.",
            reason: "Needed only where a host knows its clients so; goes with `tls_key`.",
        },
        Key {
            name: "tls_key",
            kind: Kind::Path,
            default: Standard::Nothing,
            about: "PEM file with the private key of `tls_certificate`.",
            reason: "Needed only with `tls_certificate`.",
        },
        Key {
            name: "protocol",
            kind: Kind::OneOf(&Protocol::NAMES),
            default: Standard::Is("\"smtp\""),
            about: "What they speak. LMTP (RFC 2033) is for mail stores: each host needs a port, and each recipient has a reply of its own.",
            reason: "Servers speak SMTP to each other.",
        },
        Key {
            name: "username",
            kind: Kind::Text,
            default: Standard::Nothing,
            about: "The account to log in with (AUTH). The best of SCRAM-SHA-256, PLAIN and LOGIN that the host offers is used; the latter two show the password, so they are used only under TLS with a host that has proved its name (have `tls = \"verified\"`), to a loopback address, or where the route says `tls = \"off\"`.",
            reason: "Without it nobody logs in.",
        },
        Key {
            name: "password",
            kind: Kind::Password,
            default: Standard::Nothing,
            about: "The account's password. It is in no log and no report.",
            reason: "Without it `password_file` is read.",
        },
        Key {
            name: "password_file",
            kind: Kind::Path,
            default: Standard::Nothing,
            about: "A file whose first line is the password, read when the engine starts. Nobody else should be able to read it.",
            reason: "Without it `password` is used.",
        },
    ],
};

pub(super) const CLASS: Section = Section {
    name: "class",
    shape: Shape::PerClass,
    about: "How one kind of mail is treated. The classes are critical (must arrive by a deadline), transactional (awaited by one reader), personal, and bulk (the same to many).",
    keys: &[
        Key {
            name: "pool",
            kind: Kind::Text,
            default: Standard::Is("\"default\""),
            about: "The pool its mail leaves from.",
            reason: "All sources, until you keep some apart.",
        },
        Key {
            name: "weight",
            kind: Kind::Integer { min: 1, max: 1000 },
            default: Standard::PerClass(["16", "8", "4", "1"]),
            about: "Its share of a path when several classes wait there. Critical mail goes first anyway, as long as it waits.",
            reason: "A newsletter of hours is slowed a little by everything that somebody waits for, and never stopped.",
        },
        Key {
            name: "deadline",
            kind: LONG,
            default: Standard::PerClass(["\"10m\"", "", "", ""]),
            about: "How soon a message that names no deadline must arrive.",
            reason: "Ten minutes is what a one-time code commonly lasts; other mail has no hurry of its own.",
        },
        Key {
            name: "expiry",
            kind: LONG,
            default: Standard::PerClass(["\"4h\"", "\"2d\"", "\"5d\"", "\"3d\""]),
            about: "When it is given up and bounced.",
            reason: "Critical: the sender must learn the same morning that it failed. Transactional: a weekend. Personal: the four to five days of RFC 5321 section 4.5.4.1. Bulk: older news is worth no more attempts.",
        },
        Key {
            name: "retry",
            kind: Kind::List(&LONG),
            default: Standard::PerClass([
                "[\"15s\", \"30s\", \"1m\", \"2m\", \"5m\"]",
                "[\"1m\", \"5m\", \"10m\", \"15m\", \"30m\", \"1h\"]",
                "[\"5m\", \"15m\", \"30m\", \"1h\", \"2h\"]",
                "[\"15m\", \"30m\", \"1h\", \"2h\", \"4h\"]",
            ]),
            about: "The waits after the first, second, ... failed attempt; the last repeats. Each is moved by up to a tenth, so that what failed together does not return together.",
            reason: "Critical: dense, since it is little mail and its deadline is near. Transactional and personal: past the five minutes of common greylisting on the second or first retry. Bulk: sparse, to be cheap for receivers in trouble.",
        },
    ],
};

pub(crate) const PROVIDER: Section = Section {
    name: "provider",
    shape: Shape::Named,
    about: "What one mailbox provider is burdened with, for each source address. A name of the built-in table changes that entry (lists are added to), another one makes a new provider. What a provider does not say is as in `[provider.default]`, which is also for receivers that nothing is known about. `[provider.routed]` is for hosts of a `[[route]]` that are no other provider's; it follows `[provider.default]` where that is written in the file. Replies are read as those of the provider whose name this one begins with: `google-workspace` as `google`.",
    keys: &[
        Key {
            name: "mx",
            kind: Kind::List(&Kind::MxPattern),
            default: Standard::Is("[]"),
            about: "It is this provider if all MX hosts of a domain fit one of these.",
            reason: "Known by other marks.",
        },
        Key {
            name: "domains",
            kind: Kind::List(&Kind::HostName),
            default: Standard::Is("[]"),
            about: "Recipient domains that are its own, whatever their MX or route.",
            reason: "Known by other marks.",
        },
        Key {
            name: "networks",
            kind: Kind::List(&Kind::Network),
            default: Standard::Is("[]"),
            about: "It is this provider if all addresses of the MX hosts are within these, for providers whose customers name the hosts.",
            reason: "Known by other marks.",
        },
        Key {
            name: "connections",
            kind: Kind::Integer { min: 1, max: 100_000 },
            default: Standard::Nothing,
            about: "Open connections at the same time: at first, and at most unless `connections_max` is written too.",
            reason: "10 for receivers that nothing is known about: the cautious end of what they allow one address.",
        },
        Key {
            name: "rate",
            kind: Kind::RateOrUnlimited,
            default: Standard::Nothing,
            about: "Recipients per time: at first, and at most unless `rate_max` is written too.",
            reason: "\"100/s\" for receivers that nothing is known about: more than they take from one address, so that only a runaway is held.",
        },
        Key {
            name: "messages_per_connection",
            kind: Kind::Integer { min: 1, max: 1_000_000_000 },
            default: Standard::Nothing,
            about: "Messages after which a connection is closed and a new one made: at first, and at most unless `messages_per_connection_max` is written too.",
            reason: "100 for receivers that nothing is known about: reuse saves them handshakes, and most allow it.",
        },
        Key {
            name: "recipients_per_message",
            kind: Kind::Integer { min: 1, max: 1000 },
            default: Standard::Nothing,
            about: "Recipients of one domain that share a transaction when the message is the same for them.",
            reason: "50 for receivers that nothing is known about: half of what every server has to take (RFC 5321 section 4.5.3.1.8), since some count more as a sign of spam.",
        },
        Key {
            name: "connections_max",
            kind: Kind::Integer { min: 1, max: 100_000 },
            default: Standard::Nothing,
            about: "Up to how many connections may be learned: more are made when all are busy and none is refused.",
            reason: "What is written as `connections` is a hard limit; without either that of the built-in table holds, 20 for receivers that nothing is known about.",
        },
        Key {
            name: "rate_max",
            kind: Kind::RateOrUnlimited,
            default: Standard::Nothing,
            about: "Up to which rate may be learned: more is sent when all is taken and more waits.",
            reason: "What is written as `rate` is a hard limit; without either that of the built-in table holds, \"2000/s\" for receivers that nothing is known about.",
        },
        Key {
            name: "rate_bytes",
            kind: Kind::ByteRateOrUnlimited,
            default: Standard::Nothing,
            about: "Bytes of messages per time, of each source address; each transaction counts its message once. Critical mail counts and is not held up.",
            reason: "Unlimited: receivers count messages; it is for a line that the mail must not fill.",
        },
        Key {
            name: "rate_min",
            kind: Kind::Rate,
            default: Standard::Nothing,
            about: "What a learned rate does not fall below, however much is refused.",
            reason: "\"1/h\": less is not a rate, but a block.",
        },
        Key {
            name: "messages_per_connection_max",
            kind: Kind::Integer { min: 1, max: 1_000_000_000 },
            default: Standard::Nothing,
            about: "Up to how many messages per connection may be learned: more are tried every hour.",
            reason: "Without it `messages_per_connection`: a handshake more costs little.",
        },
        Key {
            name: "pipeline_depth",
            kind: Kind::Integer { min: 1, max: 64 },
            default: Standard::Nothing,
            about: "Messages on the wire of one connection at the same time, where the receiver offers PIPELINING.",
            reason: "1 for receivers that nothing is known about: when a connection breaks, at most one message has an unknown end.",
        },
        Key {
            name: "tls",
            kind: Kind::OneOf(&TlsPolicy::NAMES),
            default: Standard::Nothing,
            about: "How connections to it are protected; the names are explained in `[deliver]`.",
            reason: "Without it as `[deliver]` says.",
        },
        Key {
            name: "retry",
            kind: Kind::List(&LONG),
            default: Standard::Nothing,
            about: "Its own waits between attempts, for all classes but critical.",
            reason: "Without it those of the class.",
        },
    ],
};

pub(super) const LEARNING: Section = Section {
    name: "learning",
    shape: Shape::Once,
    about: "Whether the engine learns from the replies of each provider how much it takes from each source. `[provider.NAME]` says where learning begins and how far it may go.",
    keys: &[Key {
        name: "enabled",
        kind: Kind::Flag,
        default: Standard::Is("true"),
        about: "Whether anything is learned. Without it the limits of `[provider.NAME]` are in force as they are.",
        reason: "Real limits are hidden, and change: what is fixed is either refused or wasted.",
    }],
};

pub(super) const DELIVER: Section = Section {
    name: "deliver",
    shape: Shape::Once,
    about: "Connections to receivers.",
    keys: &[
        Key {
            name: "port",
            kind: Kind::Integer { min: 1, max: 65_535 },
            default: Standard::Is("25"),
            about: "TCP port of receivers, and of hosts of a route that name none.",
            reason: "The port of SMTP between servers (RFC 5321).",
        },
        Key {
            name: "tls",
            kind: Kind::OneOf(&TlsPolicy::NAMES),
            default: Standard::Is("\"opportunistic\""),
            about: "How connections are protected where neither route nor provider say: `off` in clear; `opportunistic` encrypted where the server can, whatever its certificate; `required` encrypted or not at all, whatever the certificate; `verified` encrypted, and the certificate must be issued for the host's name by an authority that is trusted. What DANE or MTA-STS say of a domain is heeded on top, unless it is `off`.",
            reason: "Protects against listeners wherever it can be had, and loses no mail where it cannot (RFC 7435).",
        },
        Key {
            name: "ca_file",
            kind: Kind::Path,
            default: Standard::Nothing,
            about: "PEM file of authorities that are trusted besides the public ones, such as that of a private smarthost.",
            reason: "Without it the authorities that Mozilla trusts, which are compiled in.",
        },
        Key {
            name: "dane",
            kind: Kind::Flag,
            default: Standard::Is("true"),
            about: "Whether signed TLSA records of an MX host decide how it is spoken to (RFC 7672). It needs answers that count as signed: see `dns.dnssec`.",
            reason: "Whoever publishes them asks for it, and one who cannot prove himself then is not whom the mail is for.",
        },
        Key {
            name: "mta_sts",
            kind: Kind::Flag,
            default: Standard::Is("true"),
            about: "Whether the MTA-STS policy of a domain decides which of its hosts get its mail, and that they must prove themselves (RFC 8461). Without it neither record nor policy is asked for.",
            reason: "Whoever publishes a policy in mode `enforce` would rather wait for mail than have it read on the way.",
        },
        Key {
            name: "connect_timeout",
            kind: SHORT,
            default: Standard::Is("\"30s\""),
            about: "How long a connection may take to be made.",
            reason: "Four repetitions of a lost SYN; a host that has not answered by then is down, and the next MX is waiting.",
        },
        Key {
            name: "reply_timeout",
            kind: SHORT,
            default: Standard::Is("\"10m\""),
            about: "How long any reply may take at most. Those for which RFC 5321 has less are awaited no longer than that.",
            reason: "The longest of RFC 5321 section 4.5.3.2: a receiver may check a message for as long before it answers for it.",
        },
        Key {
            name: "idle_timeout",
            kind: SHORT,
            default: Standard::Is("\"10s\""),
            about: "How long an unused connection is kept.",
            reason: "Long enough to be reused in a stream of mail, short enough not to hold the receiver's slots.",
        },
        Key {
            name: "allow_private",
            kind: Kind::List(&Kind::Network),
            default: Standard::Is("[]"),
            about: "Addresses that DNS may name though they are private or loopback.",
            reason: "Whoever owns a domain can point its MX at your inner network.",
        },
        Key {
            name: "stop_grace",
            kind: SHORT,
            default: Standard::Is("\"30s\""),
            about: "How long transactions under way may take to end when the engine stops.",
            reason: "Most end within seconds; what does not is tried again after the start, at the price of a possible duplicate.",
        },
    ],
};
