//! The keys of the operator's own rules for replies.

use super::{Key, Kind, NAME, Section, Shape, Standard};

/// Phases in which a server answers, as rules name them.
const PHASES: Kind = Kind::OneOf(&["banner", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "body"]);

pub(super) const REPLY_RULE: Section = Section {
    name: "reply_rule",
    shape: Shape::Many,
    about: "What a reply of a receiver means, tried before the built-in rules in the order of the file. Every key that is written must fit, and one entry of each list is enough. docs/replies.md explains them; `staffetta explain-reply` tries them.",
    keys: &[
        NAME,
        Key {
            name: "class",
            kind: Kind::Text,
            default: Standard::Required,
            about: "What such a reply means, such as \"recipient.unknown\"; it decides what is done.",
            reason: "",
        },
        Key {
            name: "providers",
            kind: Kind::List(&Kind::Text),
            default: Standard::Is("[]"),
            about: "Whose replies: names of providers. `microsoft` is also `microsoft-365`.",
            reason: "Everybody's.",
        },
        Key {
            name: "text",
            kind: Kind::List(&Kind::Text),
            default: Standard::Is("[]"),
            about: "Words that are in the reply, in upper or lower case: `*` stands for anything, `#` for one digit.",
            reason: "Any text.",
        },
        Key {
            name: "enhanced",
            kind: Kind::List(&Kind::Text),
            default: Standard::Is("[]"),
            about: "Its enhanced code: \"5.7.1\", \"*.7.1\" for 4 and 5, \"5.7.600-649\", or \"none\".",
            reason: "Any or none.",
        },
        Key {
            name: "codes",
            kind: Kind::List(&Kind::Text),
            default: Standard::Is("[]"),
            about: "The beginning of its code: \"550\", \"55\", \"4\".",
            reason: "Any code.",
        },
        Key {
            name: "phases",
            kind: Kind::List(&PHASES),
            default: Standard::Is("[]"),
            about: "What was being done when it was given.",
            reason: "Anything.",
        },
        Key {
            name: "transient",
            kind: Kind::Text,
            default: Standard::Nothing,
            about: "What is done when the code is 4yz: bounce, defer, slow-down, next-mx, reconnect, require-tls, \"suspend 15m\" or \"hold 1h\".",
            reason: "Without it what the class says.",
        },
        Key {
            name: "permanent",
            kind: Kind::Text,
            default: Standard::Nothing,
            about: "What is done when the code is 5yz; as `transient`.",
            reason: "Without it what the class says.",
        },
        Key {
            name: "samples",
            kind: Kind::List(&Kind::Text),
            default: Standard::Is("[]"),
            about: "Replies that it is for. A sample that the rule does not get is an error.",
            reason: "A rule without samples is a warning: nothing shows that it ever fits.",
        },
        Key {
            name: "others",
            kind: Kind::List(&Kind::Text),
            default: Standard::Is("[]"),
            about: "Replies that it must not fit. One that it fits is an error.",
            reason: "Not every rule has a near miss.",
        },
    ],
};
