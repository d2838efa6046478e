//! The keys of how mail is judged: canaries, the breaker and the ladders of warm-ups.

use super::{Key, Kind, NAME, Section, Shape, Standard};

pub(super) const CANARY: Section = Section {
    name: "canary",
    shape: Shape::Once,
    about: "How bulk campaigns begin: a few recipients at each provider go first, and the rest in growing steps, each judged by the shares of `[breaker]`. Critical, transactional and personal mail has no canary.",
    keys: &[
        Key {
            name: "enabled",
            kind: Kind::Flag,
            default: Standard::Is("true"),
            about: "Whether campaigns begin with a few.",
            reason: "A bad list is found out by its first hundreds; a million later it has cost the name of the source.",
        },
        Key {
            name: "size",
            kind: Kind::Integer { min: 1, max: 1_000_000 },
            default: Standard::Is("300"),
            about: "Recipients of the first step at each provider at most; at one provider never more than a tenth of those of all, or 25 if that is more.",
            reason: "The fewest that tell a share of 5 % from one of 10 % for sure.",
        },
        Key {
            name: "share",
            kind: Kind::Percent,
            default: Standard::Is("\"0.5%\""),
            about: "Recipients of the first step at all providers together, as a part of the list where its size is known.",
            reason: "What a bad campaign may do before it stops should be lost in what a good one does.",
        },
        Key {
            name: "least",
            kind: Kind::Integer { min: 1, max: 1_000_000 },
            default: Standard::Is("50"),
            about: "Recipients of the first step at all providers together at least, however small the list.",
            reason: "Fewer say nothing for sure.",
        },
        Key {
            name: "growth",
            kind: Kind::Integer { min: 2, max: 100 },
            default: Standard::Is("4"),
            about: "How many times larger each step is than the one before.",
            reason: "300 is 50,000 after four steps, and each is judged by a fourth of what it risks.",
        },
        Key {
            name: "wait",
            kind: Kind::Duration { max_days: 1 },
            default: Standard::Is("\"60s\""),
            about: "How long complaints about the first step are awaited at most. A list whose size is known waits no longer than a fiftieth of the time that it takes to be sent.",
            reason: "The first readers complain within a minute, and a list of hours hardly loses it.",
        },
        Key {
            name: "time_limit",
            kind: Kind::Duration { max_days: 1 },
            default: Standard::Is("\"10m\""),
            about: "The longest that a step waits for outcomes. What is not known by then is taken to be well.",
            reason: "Greylisting puts off everything for minutes and says nothing about the list.",
        },
    ],
};

pub(super) const BREAKER: Section = Section {
    name: "breaker",
    shape: Shape::Once,
    about: "The shares from which on a campaign is paused, or what a tenant sends outside of campaigns. A share counts when its observations say for sure that it is as large: three of ten pause nobody.",
    keys: &[
        Key {
            name: "enabled",
            kind: Kind::Flag,
            default: Standard::Is("true"),
            about: "Whether anything is paused once it is under way. Canaries are judged in any case.",
            reason: "What is resumed by a click is cheaper than a name that is rebuilt in weeks.",
        },
        Key {
            name: "complaints",
            kind: Kind::Percent,
            default: Standard::Is("\"0.3%\""),
            about: "Complaints, of what was delivered.",
            reason: "The limit that Google and Yahoo publish for senders of bulk mail.",
        },
        Key {
            name: "unknown_users",
            kind: Kind::Percent,
            default: Standard::Is("\"10%\""),
            about: "Recipients that are not there, of those with an outcome.",
            reason: "Where large sending services pause a sender; a list that is looked after has below 2 %.",
        },
        Key {
            name: "spam",
            kind: Kind::Percent,
            default: Standard::Is("\"5%\""),
            about: "Messages that were taken for spam, of those with an outcome.",
            reason: "For each that is refused so, many more land in the spam folder.",
        },
        Key {
            name: "blocks",
            kind: Kind::Percent,
            default: Standard::Is("\"30%\""),
            about: "Refusals of the source or the sender, of recipients with an outcome. Those of a source that was refused before, and those by one provider alone, do not count: they are about the source.",
            reason: "Providers that hold back a source for its rate say so in the same words, and that passes.",
        },
        Key {
            name: "campaigns",
            kind: Kind::Integer { min: 1, max: 1000 },
            default: Standard::Is("3"),
            about: "So many campaigns of a tenant paused within a day pause the tenant, all but its critical mail.",
            reason: "One bad list is an accident, three are a habit.",
        },
    ],
};

pub(super) const LADDER: Section = Section {
    name: "ladder",
    shape: Shape::Many,
    about: "A ladder for warming up, beside the built-in ones: `sendgrid`, `sparkpost`, `generic` and `careful`. It is climbed at each provider apart, a step for each clean day that used at least half of it.",
    keys: &[
        NAME,
        Key {
            name: "unit",
            kind: Kind::OneOf(&["day", "hour"]),
            default: Standard::Is("\"day\""),
            about: "What the steps count: messages a day, of which an hour holds at most an eighth, or messages an hour.",
            reason: "As most ladders are published.",
        },
        Key {
            name: "steps",
            kind: Kind::List(&Kind::Integer { min: 1, max: 1_000_000_000 }),
            default: Standard::Required,
            about: "Messages on the first, second, ... day, none fewer than on the day before. Behind the last there is no limit.",
            reason: "",
        },
    ],
};

pub(super) const WARMUP: Key = Key {
    name: "warmup",
    kind: Kind::Text,
    default: Standard::Nothing,
    about: "The ladder by which it is warmed up at each provider: a built-in one or a `[[ladder]]`.",
    reason: "Without it it is taken to be known already, and nothing but what is learned limits it.",
};
pub(super) const WARMUP_START: Key = Key {
    name: "warmup_start",
    kind: Kind::Date,
    default: Standard::Nothing,
    about: "The day on which the ladder begins (UTC). Before it nothing goes. A day in the past: a step was climbed on each day since.",
    reason: "Without it the first start of the engine.",
};
pub(super) const WARMUP_DAY: Key = Key {
    name: "warmup_day",
    kind: Kind::Integer { min: 1, max: 1000 },
    default: Standard::Is("1"),
    about: "The day of the ladder that it begins with.",
    reason: "A source that nobody knows begins at the beginning.",
};
