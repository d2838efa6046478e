//! The keys of what comes in and of what the engine itself is: node, spool, listeners, accounts, domains.

use crate::config::model::Dnssec;

use super::classes::RULE;
use super::judgement::{WARMUP, WARMUP_DAY, WARMUP_START};
use super::{Key, Kind, NAME, Section, Shape, Standard};

const GIB: u64 = 1 << 30;
/// Recipients that may wait at most. A shard's queue has 167 million places. Ten million of them are kept for what comes back,
/// and what moves from the timing wheel to its lines may hold two places for a time.
const WAITING_MAX: u64 = 70_000_000;

pub(super) const NODE: Section = Section {
    name: "node",
    shape: Shape::Once,
    about: "This process: what it is called and where it keeps things.",
    keys: &[
        Key {
            name: "name",
            kind: Kind::HostName,
            default: Standard::Nothing,
            about: "The host name it goes by in greetings, EHLO, Received and Message-ID.",
            reason: "Without it the host's own name is used, which is right where that has a PTR record.",
        },
        Key {
            name: "data_dir",
            kind: Kind::Path,
            default: Standard::Required,
            about: "The directory of the spool and everything else that is kept. Relative paths, here and in other keys, start at the configuration file.",
            reason: "",
        },
        Key {
            name: "shards",
            kind: Kind::Integer { min: 0, max: 255 },
            default: Standard::Is("0"),
            about: "Threads that carry mail, each with its own log. 0 is one per core.",
            reason: "A shard that shares its core with another gains nothing.",
        },
        Key {
            name: "control",
            kind: Kind::Path,
            default: Standard::Nothing,
            about: "The unix socket of the command line tools.",
            reason: "Without it the socket is `control.sock` in `data_dir`, so that whoever may read the data may control the engine, and nobody else.",
        },
    ],
};

pub(super) const SPOOL: Section = Section {
    name: "spool",
    shape: Shape::Once,
    about: "How accepted mail is kept.",
    keys: &[
        Key {
            name: "durability",
            kind: Kind::OneOf(&["disk", "memory"]),
            default: Standard::Is("\"disk\""),
            about: "What is awaited before mail is accepted: the disk has it, or only the page cache, which a power cut empties.",
            reason: "No accepted mail is lost; group commit makes that cheap.",
        },
        Key {
            name: "segment",
            kind: Kind::Size { min: 64 << 10, max: 2 * GIB },
            default: Standard::Is("\"128MiB\""),
            about: "Size of a segment file. A message must fit into half of one.",
            reason: "Large enough that a segment lasts a second at full speed, small enough that its room is soon used again.",
        },
        Key {
            name: "min_free",
            kind: Kind::Size { min: 0, max: 1 << 50 },
            default: Standard::Is("\"1GiB\""),
            about: "Mail is refused for now (452) when the disk has less room than this.",
            reason: "Eight segments: room for the outcomes of what is already accepted, also when the disk is shared.",
        },
        Key {
            name: "spare",
            kind: Kind::Size { min: 0, max: 1 << 50 },
            default: Standard::Is("\"512MiB\""),
            about: "Each shard keeps as many segments that are done with as fit into this, and writes the next ones over them; \"0B\" keeps none.",
            reason: "What is written over costs less than a new file. Four segments: they are used in turns when a queue fills and drains. They take an eighth of what the disk has free at most, and are given up below `min_free`.",
        },
        Key {
            name: "waiting_max",
            kind: Kind::Integer { min: 1, max: WAITING_MAX },
            default: Standard::Is("70000000"),
            about: "Mail is refused for now (452) when so many recipients wait. It is looked at once a second.",
            reason: "So many find room in the queue of one shard however they wait, should all be for one provider. Each takes up to 40 bytes of memory.",
        },
    ],
};

pub(super) const SMTP_LISTENER: Section = Section {
    name: "smtp_listener",
    shape: Shape::Many,
    about: "Where mail comes in by SMTP.",
    keys: &[
        Key {
            name: "address",
            kind: Kind::Socket,
            default: Standard::Required,
            about: "Where to listen.",
            reason: "",
        },
        Key {
            name: "trusted",
            kind: Kind::List(&Kind::Network),
            default: Standard::Is("[\"127.0.0.0/8\", \"::1\"]"),
            about: "Who may send without logging in.",
            reason: "Programs on the same host could read the spool anyway; nobody else is trusted unasked.",
        },
        Key {
            name: "tls",
            kind: Kind::OneOf(&["off", "starttls", "implicit"]),
            default: Standard::Is("\"off\""),
            about: "How connections are protected; other than off, it needs `cert_file` and `key_file`.",
            reason: "There is no certificate unless you name one.",
        },
        Key {
            name: "cert_file",
            kind: Kind::Path,
            default: Standard::Nothing,
            about: "PEM file with the certificate chain, the server's own first.",
            reason: "Needed only for TLS.",
        },
        Key {
            name: "key_file",
            kind: Kind::Path,
            default: Standard::Nothing,
            about: "PEM file with the private key.",
            reason: "Needed only for TLS.",
        },
        Key {
            name: "auth",
            kind: Kind::OneOf(&["off", "optional", "required"]),
            default: Standard::Is("\"off\""),
            about: "Whether clients log in: not at all, if they are not trusted, or all of them. It is offered under TLS only, or on loopback.",
            reason: "There are no accounts unless you name some.",
        },
        Key {
            name: "max_message",
            kind: Kind::Size { min: 64 << 10, max: GIB },
            default: Standard::Nothing,
            about: "The largest message it takes.",
            reason: "Without it 50MiB, or half a segment where that is less: twice what most receivers take, so that the receiver decides and not the way there.",
        },
        Key {
            name: "max_connections",
            kind: Kind::Integer { min: 1, max: 1_000_000 },
            default: Standard::Is("1000"),
            about: "Connections at the same time, over all shards; one more is answered 421.",
            reason: "More than any one application opens, and at worst some hundred megabytes of buffers.",
        },
    ],
};

pub(super) const HTTP: Section = Section {
    name: "http",
    shape: Shape::Maybe,
    about: "The HTTP API, metrics and console. Without this section there is none.",
    keys: &[Key {
        name: "address",
        kind: Kind::Socket,
        default: Standard::Is("\"127.0.0.1:8025\""),
        about: "Where to listen. Requests need the token of an account; without accounts they are taken from loopback only.",
        reason: "Only this host, until you decide otherwise.",
    }],
};

pub(super) const DNS: Section = Section {
    name: "dns",
    shape: Shape::Once,
    about: "Whom to ask for MX and addresses.",
    keys: &[
        Key {
            name: "servers",
            kind: Kind::List(&Kind::Resolver),
            default: Standard::Is("[]"),
            about: "Resolvers. Block lists and DANE want one of your own, not a public one.",
            reason: "The system's resolvers, from /etc/resolv.conf.",
        },
        Key {
            name: "dnssec",
            kind: Kind::OneOf(&Dnssec::NAMES),
            default: Standard::Is("\"auto\""),
            about: "Whose word on the signatures of DNS answers is taken, which DANE stands on: `trust-ad` believes the resolvers when they say that an answer is signed, `validate` checks the signatures in the engine, `off` believes nobody, `auto` is `trust-ad` where all resolvers are on this host (loopback) and `off` otherwise. A resolver on this host that only forwards, and checks no signatures itself, may pass on anybody's word: have `validate` or `off` beside it.",
            reason: "A validating resolver on this host costs nothing more and nobody stands between; what comes over a network could be anybody's word.",
        },
        Key {
            name: "trust_anchor_file",
            kind: Kind::Path,
            default: Standard::Nothing,
            about: "File of DNSKEY records that validation begins with instead of the root's: for laboratories with a DNS of their own.",
            reason: "Without it the keys of the root, which are compiled in.",
        },
    ],
};

pub(super) const ACCOUNT: Section = Section {
    name: "account",
    shape: Shape::Many,
    about: "Somebody who may send.",
    keys: &[
        NAME,
        Key {
            name: "password_hash",
            kind: Kind::Secret,
            default: Standard::Nothing,
            about: "For AUTH of SMTP; the name is the user name.",
            reason: "Without it the account cannot log in by SMTP.",
        },
        Key {
            name: "token_hash",
            kind: Kind::Secret,
            default: Standard::Nothing,
            about: "For `Authorization: Bearer` of HTTP.",
            reason: "Without it the account cannot use the HTTP API.",
        },
        Key {
            name: "class",
            kind: Kind::Class,
            default: Standard::Nothing,
            about: "The class of its mail when a message does not say and no rule fits.",
            reason: "Without it bulk for campaigns and mail with list headers, transactional otherwise.",
        },
        Key {
            name: "rule",
            kind: Kind::Sections(&RULE),
            default: Standard::Is("[]"),
            about: "Classes of some of its mail; the first rule that fits decides.",
            reason: "An account that sends one kind of mail needs no more than its `class`.",
        },
        Key {
            name: "pool",
            kind: Kind::Text,
            default: Standard::Nothing,
            about: "The pool its mail of every class leaves from.",
            reason: "Without it the pool of the class.",
        },
        Key {
            name: "senders",
            kind: Kind::List(&Kind::SenderPattern),
            default: Standard::Is("[]"),
            about: "What it may send as. Empty is anything.",
            reason: "An account is trusted with its own name until you narrow it.",
        },
        Key {
            name: "quota",
            kind: Kind::Rate,
            default: Standard::Nothing,
            about: "Recipients it may hand over per time. Beyond it messages are refused for now and campaigns wait.",
            reason: "Without it as many as the machine takes.",
        },
    ],
};

pub(super) const DOMAIN: Section = Section {
    name: "domain",
    shape: Shape::Many,
    about: "A domain that mail is sent from, with the domains below it.",
    keys: &[
        Key {
            name: "name",
            kind: Kind::HostName,
            default: Standard::Required,
            about: "The domain of the From header.",
            reason: "",
        },
        Key {
            name: "return_path",
            kind: Kind::HostName,
            default: Standard::Nothing,
            about: "The domain that bounces of its mail return to.",
            reason: "Without it bounces return to the envelope sender as it was submitted.",
        },
        Key {
            name: "dkim",
            kind: Kind::Sections(&DKIM),
            default: Standard::Is("[]"),
            about: "Keys that its mail is signed with, all of them.",
            reason: "Without one its mail is not signed, and the check warns.",
        },
        WARMUP,
        WARMUP_START,
        WARMUP_DAY,
    ],
};

const DKIM: Section = Section {
    name: "dkim",
    shape: Shape::Many,
    about: "A key that the mail of a domain is signed with.",
    keys: &[
        Key {
            name: "selector",
            kind: Kind::HostName,
            default: Standard::Required,
            about: "The public key is in DNS at SELECTOR._domainkey.DOMAIN.",
            reason: "",
        },
        Key {
            name: "key_file",
            kind: Kind::Path,
            default: Standard::Required,
            about: "PEM file with the private key.",
            reason: "",
        },
        Key {
            name: "algorithm",
            kind: Kind::OneOf(&["rsa-sha256", "ed25519-sha256"]),
            default: Standard::Is("\"rsa-sha256\""),
            about: "What kind of key it is.",
            reason: "Every receiver verifies RSA; Microsoft and Yahoo do not verify Ed25519.",
        },
    ],
};
