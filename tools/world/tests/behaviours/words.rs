//! What pretend providers say is understood by the rules that judge real ones.

use mail::{Address, Phase, Reply};
use policy::verdict::Rules;
use world::{Cause, World};

use super::START;

const RULES: [(&str, Cause, Phase); 10] = [
    ("connections = 0", Cause::TooManyConnections, Phase::Banner),
    ("messages_per_connection = 0", Cause::TooManyMessages, Phase::Mail),
    ("recipients_per_message = 0", Cause::TooManyRecipients, Phase::Rcpt),
    ("rate = '1/s'", Cause::TooFast, Phase::Rcpt),
    ("rate = '1/h'", Cause::QuotaUsed, Phase::Rcpt),
    ("mailboxes = { rate = '1/m' }", Cause::MailboxBusy, Phase::Rcpt),
    ("greylist = { delay = '5m' }", Cause::Greylisted, Phase::Rcpt),
    ("mailboxes = { unknown = 1.0 }", Cause::UnknownUser, Phase::Rcpt),
    ("mailboxes = { full = 1.0 }", Cause::MailboxFull, Phase::Rcpt),
    ("content = { refused = 1.0 }", Cause::ContentRefused, Phase::Body),
];

/// What a provider with one rule says to the second of two messages.
fn refusal(manner: &str, rule: &str, cause: Cause) -> Reply {
    let text = format!("[[provider]]\nname='x'\ndomains=['x.test']\nmanner='{manner}'\n{rule}");
    let mut world = World::from_toml(&text, 1).expect("a good world");
    let provider = world.provider_named("x").expect("it is there");
    let (mut connection, banner) = world.connect_to(provider, [127, 0, 0, 2].into(), START);
    let to = Address::parse("ann@x.test").expect("a good address");
    let mut answers = vec![banner];
    for _ in 0..2 {
        answers.push(connection.mail(&mut world, &None, START));
        answers.push(connection.rcpt(&mut world, &to, START));
        answers.push(connection.body(&mut world, b"x", START));
    }
    connection.end(&mut world);
    let answer = answers.into_iter().find(|answer| answer.cause == Some(cause));
    answer.expect("the rule refuses one of them").reply
}

#[test]
fn every_refusal_is_judged_as_what_it_is_meant_to_be() {
    let mut wrong = Vec::new();
    for (manner, provider) in [
        ("google", "google"),
        ("microsoft", "microsoft"),
        ("yahoo", "yahoo"),
        ("libero", "italiaonline"),
        ("tiscali", "tiscali"),
        ("aruba", "aruba"),
        ("tim", "tim"),
        ("gmx", "gmx"),
        ("orange", "orange"),
        ("plain", "default"),
    ] {
        for (rule, cause, phase) in RULES {
            let reply = refusal(manner, rule, cause);
            let class = Rules::builtin().judge(phase, &reply, provider).class;
            let expected: &[&str] = match cause {
                Cause::UnknownUser => &["recipient.unknown"],
                Cause::MailboxFull => &["recipient.full"],
                Cause::MailboxBusy => &["recipient.rate"],
                Cause::ContentRefused => &["content", "policy", "reputation"],
                // Large providers do not say that they greylist: all that is plain is that time will help.
                Cause::Greylisted => &["greylist", "rate", "system", "reputation", "blocklist"],
                // Microsoft gives too many connections the code of a full system.
                Cause::TooManyConnections => &["rate", "system"],
                _ => &["rate", "reputation"],
            };
            if !expected.iter().any(|prefix| class.starts_with(prefix)) {
                wrong.push(format!("{manner} {cause:?}: judged {class}: {reply}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
