//! The keys by which mail gets its class: rules of accounts, and what is done about content that repeats.

use crate::classify::Action;

use super::{Key, Kind, Section, Shape, Standard};

pub(super) const RULE: Section = Section {
    name: "rule",
    shape: Shape::Many,
    about: "A class for some of the account's mail. Every key that is written must fit, and the first rule of the account that fits decides; what the message itself says (`X-Staffetta-Class`, `class` of the API, MT-PRIORITY) goes before. docs/classes.md has the whole order.",
    keys: &[
        Key {
            name: "class",
            kind: Kind::Class,
            default: Standard::Required,
            about: "What mail that fits is.",
            reason: "",
        },
        Key {
            name: "sender",
            kind: Kind::SenderPattern,
            default: Standard::Nothing,
            about: "Who wrote it, by the From header (by the envelope sender where that has no address).",
            reason: "Without it anybody.",
        },
        Key {
            name: "subject",
            kind: Kind::Text,
            default: Standard::Nothing,
            about: "What the whole subject is, in upper or lower case: `*` stands for anything, `?` for one letter.",
            reason: "Without it any subject.",
        },
        Key {
            name: "header",
            kind: Kind::Text,
            default: Standard::Nothing,
            about: "A header field that it has: \"List-Id\", or with the value that its first one has: \"X-Kind: alert*\".",
            reason: "Without it any header.",
        },
        Key {
            name: "recipient",
            kind: Kind::SenderPattern,
            default: Standard::Nothing,
            about: "Who all of its recipients are.",
            reason: "Without it anybody.",
        },
    ],
};

pub(super) const CLASSIFY: Section = Section {
    name: "classify",
    shape: Shape::Once,
    about: "What is done about mail that comes message by message as if somebody awaited it, and says the same to many.",
    keys: &[
        Key {
            name: "behaviour",
            kind: Kind::OneOf(&Action::NAMES),
            default: Standard::Is("\"warn\""),
            about: "`warn` counts and logs it (`class.newsletter_in_transactional`), `reclass` makes such a message bulk as well where nothing but the default had given it a class, `off` reads no content.",
            reason: "A guess may be wrong, and a password reset among the bulk is worse than a newsletter among the resets: the operator decides after having seen whom it names.",
        },
        Key {
            name: "window",
            kind: Kind::Duration { max_days: 1 },
            default: Standard::Is("\"1h\""),
            about: "How long content is remembered.",
            reason: "A newsletter that a program sends one by one goes through its list in minutes or hours; what is repeated over days is a template.",
        },
        Key {
            name: "recipients",
            kind: Kind::Integer { min: 20, max: 1_000 },
            default: Standard::Is("200"),
            about: "How many different recipients the same content must have had within the window.",
            reason: "More than a company's distribution list, few enough that most of a newsletter comes after them.",
        },
    ],
};
